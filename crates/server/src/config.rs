//! The realm's configuration: one TOML file, and flags that go before it.
//!
//! Two stages: what was written (with its places in the file) becomes a [`Config`], in which every value is within its
//! limits and all fit together. Every setting is defined once, in `settings`; the file's reference,
//! `docs/configuration.md`, is made from the same list by [`render`].

mod document;
mod networks;
mod origins;
mod public;
mod raw;
mod settings;
mod suggest;
mod value;

use throughline_engine::ChannelAttributes;
use throughline_session::ServerSettings;
use throughline_wire::event::check_channel_name;
use throughline_wire::message::Limits as Announced;

pub use document::render;
pub use networks::{BadRange, Range};
pub use origins::{BadOrigin, Grant, Origin, OriginRule};
pub use public::{BadHostName, BadPublicUrl, HostName, PublicUrl};
pub use raw::ConfigError;
pub use settings::{
    ChannelDefaults, Config, Limits, LongPoll, Origins, ProbeSettings, Proxies, SECTIONS, SETTINGS, Section, Setting,
    Storage, Timeouts, Tls, WebSocket,
};
pub use value::{LogLevel, Rule, UnknownLevel};

pub(crate) use networks::listed;
pub(crate) use suggest::nearest;

use raw::{ChannelEntry, RawConfig, Reader};

/// A channel of the configuration: it exists from the realm's start on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfiguredChannel {
    name: String,
    attributes: ChannelAttributes,
}

/// The members of a `[[channel]]`.
const CHANNEL_MEMBERS: [&str; 5] = ["name", "type", "capacity", "bytes", "ttl_ms"];

impl Config {
    /// Reads a configuration: `toml` is a file's name, for messages, and its text; `overrides` are paths of settings with values
    /// from the command line, which go before the file's. What neither says has its default.
    ///
    /// # Errors
    /// Every fault at once: text that is not TOML, unknown settings, values of the wrong type or out of bounds.
    pub fn load(toml: Option<(&str, &str)>, overrides: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let mut raw = toml.map(|(file, text)| RawConfig::parse(file, text)).unwrap_or_default();
        for (path, text) in overrides {
            raw.set(path, text);
        }
        let mut reader = Reader::new(&raw);
        let config = Config::read(&mut reader);
        let config = config.map(|config| config.with_channels(&mut reader));
        reader.finish()?;
        // Without a fault every setting had a value.
        config.ok_or_else(|| ConfigError::internal("a setting's default breaks its own rule"))
    }

    fn with_channels(mut self, reader: &mut Reader<'_>) -> Config {
        if let Some(url) = &self.public_url {
            url.belongs_to(&mut self.origins);
        }
        self.check_sizes(reader);
        self.check_listener(reader);
        for entry in reader.channels() {
            let Some(channel) = self.configured_channel(reader, entry) else { continue };
            if self.configured.iter().any(|other| other.name == channel.name) {
                reader.fault(&entry.place, format_args!("channel {:?} is configured twice", channel.name));
            }
            self.configured.push(channel);
        }
        self
    }

    /// What is bounded has room for one event of the largest size, and what is bounded for all links together for the largest
    /// messages of some.
    fn check_sizes(&self, reader: &mut Reader<'_>) {
        let Limits { event_bytes_max, publish_bytes_max, pending_bytes_max, poll_bytes_max, partial_bytes_max, .. } =
            self.limits;
        let small = |(_, value, times): &(&str, u64, u64)| *value < event_bytes_max.saturating_mul(*times);
        for (path, value, times) in [
            ("limits.publish_bytes_max", publish_bytes_max, 1),
            ("limits.pending_bytes_max", pending_bytes_max, 1),
            ("limits.poll_bytes_max", poll_bytes_max, 16),
            ("limits.partial_bytes_max", partial_bytes_max, 8),
        ]
        .iter()
        .filter(|limit| small(limit))
        {
            let needed = event_bytes_max.saturating_mul(*times);
            let room = match times {
                1 => "one event".to_owned(),
                _ => format!("{times} events"),
            };
            // Where it was not written, the fault lies where the size of an event was.
            match reader.given(path) {
                Some(place) => reader.fault(
                    place,
                    format_args!("{path} = {value}: too small for {room} of limits.event_bytes_max = {event_bytes_max} bytes"),
                ),
                None => reader.fault(
                    reader.place("limits.event_bytes_max"),
                    format_args!(
                        "limits.event_bytes_max = {event_bytes_max}: {path} has to have room for {room}, so set it too, to \
                         {needed} or more"
                    ),
                ),
            }
        }
    }

    fn check_listener(&self, reader: &mut Reader<'_>) {
        let listen = &self.listen;
        if !listen.rsplit_once(':').is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok()) {
            let text = format!(
                "listen = {listen:?}: expected HOST:PORT, as 127.0.0.1:9000 (this machine) or 0.0.0.0:9000 (all networks)"
            );
            reader.fault(reader.place("listen"), text);
        }
    }

    fn configured_channel(&self, reader: &mut Reader<'_>, entry: &ChannelEntry) -> Option<ConfiguredChannel> {
        reader.unknown_members(&entry.entries, &CHANNEL_MEMBERS, "[[channel]]");
        let name = match entry.entries.get("name") {
            Some(raw::Located { raw: raw::Raw::Text(name), place, .. }) => match check_channel_name(name) {
                Ok(()) => name.clone(),
                Err(e) => {
                    reader.fault(place, format_args!("name = {name:?}: {e}"));
                    return None;
                }
            },
            _ => {
                reader.fault(&entry.place, "[[channel]] needs a name: name = \"prices\"");
                return None;
            }
        };
        let defaults = &self.channel_defaults;
        let attributes = ChannelDefaults {
            kind: member(reader, entry, "type", defaults.kind)?,
            capacity: member(reader, entry, "capacity", defaults.capacity)?,
            bytes: member(reader, entry, "bytes", defaults.bytes)?,
            ttl_ms: member(reader, entry, "ttl_ms", defaults.ttl_ms)?,
        };
        Some(ConfiguredChannel { name, attributes: attributes.attributes() })
    }

    /// What the engine is opened with.
    pub fn engine_settings(&self) -> throughline_engine::Settings {
        throughline_engine::Settings {
            auto_create: self.auto_create,
            restored: self.restored,
            defaults: self.channel_defaults.attributes(),
            publish_memory_ms: self.store.publish_memory_ms,
            publish_memory_bytes_max: self.limits.publish_memory_bytes_max,
            pending_bytes_max: self.limits.pending_bytes_max,
            channels_max: size(self.limits.channels_max),
            retained_bytes_max: self.limits.retained_bytes_max,
            ..throughline_engine::Settings::default()
        }
    }

    /// What the store is opened with.
    pub fn store_settings(&self) -> throughline_store::StoreSettings {
        throughline_store::StoreSettings {
            free_bytes_min: self.store.free_bytes_min,
            cache_bytes: self.store.cache_bytes,
            commit_events_max: size(self.store.commit_events_max),
            commit_bytes_max: size(self.store.commit_bytes_max),
            publish_memory_ms: self.store.publish_memory_ms,
            ..throughline_store::StoreSettings::new(&self.data)
        }
    }

    /// The channels that exist from the start, by name.
    pub fn configured_channels(&self) -> Vec<(String, ChannelAttributes)> {
        self.configured.iter().map(|channel| (channel.name.clone(), channel.attributes)).collect()
    }

    /// Longest message of a client, bytes: an event's data with escapes or base64, and its header.
    pub(crate) fn message_bytes_max(&self) -> u64 {
        self.limits.event_bytes_max.saturating_mul(2).saturating_add(65_536)
    }

    /// What the server's end of every link is told.
    pub fn session_settings(&self) -> ServerSettings {
        ServerSettings {
            heartbeat_ms: self.timeouts.heartbeat_ms,
            heartbeat_max_ms: self.timeouts.heartbeat_max_ms,
            connect_timeout_ms: self.timeouts.connect_ms,
            limits: Announced {
                event_bytes: self.limits.event_bytes_max,
                publishes_max: self.limits.publishes_max,
                subscriptions_max: self.limits.subscriptions_max,
            },
            ..ServerSettings::default()
        }
    }
}

/// A limit as a size in memory; a limit beyond what can be addressed is none.
fn size(limit: u64) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

/// A member of a `[[channel]]`, which obeys the rule of the default it stands in for.
fn member<T: value::Value>(reader: &mut Reader<'_>, entry: &ChannelEntry, name: &str, default: T) -> Option<T> {
    let Some(located) = entry.entries.get(name) else { return Some(default) };
    let setting = Setting::find(&format!("channels.defaults.{name}"))?;
    reader.value(name, setting, located)
}

impl ChannelDefaults {
    /// As the engine has them: no limit is `None`.
    pub fn attributes(&self) -> ChannelAttributes {
        let limit = |value: u64| (value > 0).then_some(value);
        ChannelAttributes {
            kind: self.kind,
            capacity: limit(self.capacity),
            bytes: limit(self.bytes),
            ttl: limit(self.ttl_ms),
        }
    }
}

#[cfg(test)]
mod tests;
