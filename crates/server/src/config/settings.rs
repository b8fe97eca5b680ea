//! The list of settings. From this one list come the types of [`Config`], what is accepted in the file and on the
//! command line, the checks, and `docs/configuration.md`.

use throughline_engine::ChannelKind;
use throughline_wire::forwarded::Family;
use throughline_wire::ws::Versions;

use super::networks::Range;
use super::origins::OriginRule;
use super::public::{HostName, PublicUrl};
use super::raw::Reader;
use super::value::{LogLevel, Rule};

/// One setting, as its documentation and the command line's help see it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// Where it stands in the file: `limits.event_bytes_max`.
    pub path: &'static str,
    /// What values are allowed.
    pub rule: Rule,
    /// The default, as it would be written in the file.
    pub default: &'static str,
    /// Another value, as it would be written in the file.
    pub example: &'static str,
    /// What it does, what it costs and when to change it.
    pub doc: &'static str,
    /// True when the command line has a flag of the same name, which goes before the file.
    pub flag: bool,
}

impl Setting {
    /// The setting at a path.
    pub fn find(path: &str) -> Option<&'static Setting> {
        SETTINGS.iter().find(|setting| setting.path == path)
    }

    /// The first sentence of the documentation, for a flag's help.
    pub fn summary(&self) -> &'static str {
        let text = self.doc.trim_start();
        text.split_once(".\n").or_else(|| text.split_once(". ")).map_or(text, |(first, _)| first).trim_end()
    }
}

/// One section of the settings.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    /// Name of its table in the file; empty for the settings outside any table.
    pub table: &'static str,
    /// What its settings have in common.
    pub doc: &'static str,
    /// Its settings.
    pub settings: &'static [Setting],
}

macro_rules! path {
    // `type` is a word of the language and cannot be a field's name.
    ($table:literal, kind) => {
        concat!($table, ".type")
    };
    ($table:literal, $field:ident) => {
        concat!($table, ".", stringify!($field))
    };
}

macro_rules! flag {
    () => {
        false
    };
    (flag) => {
        true
    };
}

macro_rules! settings {
    (
        $(#[doc = $root_doc:literal])+
        {
            $($(#[doc = $doc:literal])+ $field:ident: $type:ty = $default:literal, $rule:expr, $example:literal $(, $flag:ident)?;)+
        }
        $(
            $(#[doc = $group_doc:literal])+
            $group:ident: $Group:ident = $table:literal
            {
                $($(#[doc = $gdoc:literal])+ $gfield:ident: $gtype:ty = $gdefault:literal, $grule:expr, $gexample:literal;)+
            }
        )+
    ) => {
        /// A realm's configuration: every value is within its limits, and they fit together. Made by
        /// [`Config::load`] only.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
            $($(#[doc = $group_doc])+ pub $group: $Group,)+
            pub(super) configured: Vec<super::ConfiguredChannel>,
            /// The store comes from a backup: every channel on it begins a new epoch. Said by a flag alone, for one start.
            pub restored: bool,
        }

        $(
            $(#[doc = $group_doc])+
            #[derive(Clone, Debug)]
            #[non_exhaustive]
            pub struct $Group {
                $($(#[doc = $gdoc])+ pub $gfield: $gtype,)+
            }

            impl $Group {
                fn read(reader: &mut Reader<'_>) -> Option<$Group> {
                    $(let $gfield = reader.setting(path!($table, $gfield));)+
                    Some($Group { $($gfield: $gfield?,)+ })
                }
            }
        )+

        impl Config {
            /// Reads every setting; `None` when one had no legal value, which the reader then holds.
            pub(super) fn read(reader: &mut Reader<'_>) -> Option<Config> {
                $(let $field = reader.setting(stringify!($field));)+
                $(let $group = $Group::read(reader);)+
                Some(Config { $($field: $field?,)+ $($group: $group?,)+ configured: Vec::new(), restored: false })
            }
        }

        /// Every section, in the order of the documentation.
        pub static SECTIONS: &[Section] = &[
            Section {
                table: "",
                doc: concat!($($root_doc, "\n"),+),
                settings: &[$(Setting {
                    path: stringify!($field), rule: $rule, default: $default, example: $example,
                    doc: concat!($($doc, "\n"),+), flag: flag!($($flag)?),
                },)+],
            },
            $(Section {
                table: $table,
                doc: concat!($($group_doc, "\n"),+),
                settings: &[$(Setting {
                    path: path!($table, $gfield), rule: $grule, default: $gdefault, example: $gexample,
                    doc: concat!($($gdoc, "\n"),+), flag: false,
                },)+],
            },)+
        ];

        /// Every setting, in the order of the documentation.
        pub static SETTINGS: &[Setting] = &[
            $(Setting {
                path: stringify!($field), rule: $rule, default: $default, example: $example,
                doc: concat!($($doc, "\n"),+), flag: flag!($($flag)?),
            },)+
            $($(Setting {
                path: path!($table, $gfield), rule: $grule, default: $gdefault, example: $gexample,
                doc: concat!($($gdoc, "\n"),+), flag: false,
            },)+)+
        ];
    };
}

const fn bytes(min: u64, max: u64) -> Rule {
    Rule::Number { unit: "bytes", min, max }
}

const fn ms(min: u64, max: u64) -> Rule {
    Rule::Number { unit: "milliseconds", min, max }
}

const fn count(unit: &'static str, min: u64, max: u64) -> Rule {
    Rule::Number { unit, min, max }
}

/// 2^53-1, the largest number that JSON carries everywhere.
const SAFE_MAX: u64 = (1 << 53) - 1;

settings! {
    /// These stand at the top of the file, before the first table.
    {
        /// The address that clients connect to, host and port. Behind a reverse proxy on the same machine leave it at
        /// 127.0.0.1; `0.0.0.0:9000` or `[::]:9000` serves every network that the machine is on. Port 0 lets the
        /// system choose one, which is printed.
        listen: String = "\"127.0.0.1:9000\"", Rule::Text, "\"0.0.0.0:9000\"", flag;
        /// The address by which clients come when a proxy in front gives the realm another one: scheme, host, a port when it is not
        /// the scheme's own, and the path that the proxy takes away. It is printed at the start, pages from there are the
        /// realm's own, and requests that a trusted proxy passes on without saying which host they are for count as sent there.
        public_url: Option<PublicUrl> = "\"\"", Rule::Url, "\"https://example.com/live\"";
        /// The directory of the realm's store; it is made when it does not exist. One realm at a time uses it. Put it on
        /// a disk of its own when persistent channels are busy: each group of persistent events waits for that disk.
        data: String = "\"./data\"", Rule::Text, "\"/var/lib/throughline\"", flag;
        /// How many threads serve connections; 0 means one per core. Fewer leave cores to other programs on the machine;
        /// more than there are cores gains nothing.
        shards: u64 = "0", count("threads", 0, 1024), "4";
        /// Whether a channel that does not exist comes into being when a client publishes or subscribes to it. Turn it off where
        /// every channel is created by the operator: then a misspelt name is an error instead of a new channel.
        auto_create: bool = "true", Rule::Flag, "false";
        /// What is written to standard error. `debug` and `trace` tell of single connections and cost speed.
        log: LogLevel = "\"info\"", Rule::Words(LogLevel::NAMES), "\"warn\"";
    }

    /// Which web pages may use the realm. A browser says in the `Origin` header where a page came from; programs that are no
    /// browsers send none and are not concerned.
    origins: Origins = "origins"
    {
        /// Pages from these origins are allowed, beside those that came from the realm's own address as the `Host` header gives
        /// it. An entry is a scheme, a host and a port when it is not the scheme's own; `"*"` allows every page, so
        /// that any site a user visits can publish from within that user's network; `"null"` allows pages without an origin (files,
        /// sandboxed frames).
        allowed: Vec<OriginRule> = "[]", Rule::Origins, "[\"https://app.example.com\", \"http://localhost:3000\"]";
        /// The realm's own host names. When there are any, a request for another `Host` is refused with 421 `unknown_host`. A site
        /// can make its own name lead to a realm in its visitor's network (DNS rebinding), and its pages would be the realm's
        /// own: list the names where the realm is not meant for everybody who can reach it. The name in `public_url` is added;
        /// addresses and `localhost` need not be listed, since no site can bear these names. A proxy that writes a name of its own into
        /// `Host` needs that name listed. Empty means any name.
        hosts: Vec<HostName> = "[]", Rule::Hosts, "[\"realm.example.com\"]";
    }

    /// Bounds on what clients can make the realm hold. Each is refused with an error that names the limit.
    limits: Limits = "limits"
    {
        /// Most connections at a time, of any kind; one more is answered 503 and closed. A link within a connection of HTTP/2
        /// counts as one, and is refused with 503 alone. An idle subscribed connection costs about
        /// 1 KiB of the realm's memory besides the system's own buffers, and one file descriptor: raise the
        /// system's limit of open files with it.
        connections_max: u64 = "100000", count("connections", 1, 10_000_000), "20000";
        /// Most connections at a time from one address, of IPv6 from one network of 64 bits; one more is answered 503 and closed.
        /// 0 means no limit. Behind a PROXY header it is the client's address that counts. Connections of `proxies.trusted`
        /// are not counted, since each carries the requests of many clients; another proxy, or a network behind one address,
        /// counts as one client. One that has said nothing yet is bounded by `waiting_connections_max` alone.
        connections_per_address_max: u64 = "0", count("connections", 0, 10_000_000), "200";
        /// Most connections at a time for which the realm waits: for a TLS handshake, the head or the body of a request, for the
        /// client to take an answer, or to ask again. One more closes the one that was waited for longest, so that slow clients
        /// cannot keep others out. Each shard has an equal share of it. Links are not among these, nor are requests that
        /// wait for the realm. Each may hold up to 64 KiB of a head, or an answer: lower it under attack.
        waiting_connections_max: u64 = "25000", count("connections", 1, 10_000_000), "5000";
        /// Most links on polls (`long-poll`, `jsonp-poll`) at a time; one more is answered 503. Such a link has a connection only
        /// while it asks, so `connections_max` does not bound it. Each may hold up to 128 KiB that its client
        /// has not taken or not acknowledged, or two messages where these are larger; `poll_bytes_max` bounds all of them.
        poll_links_max: u64 = "20000", count("links", 0, 10_000_000), "5000";
        /// Most bytes of messages that all links on polls hold together until their clients acknowledge them. Half of it is divided
        /// into equal shares, one for each of `poll_links_max` links; what is larger waits until there is room in the other half. While
        /// some wait, links are ended that have acknowledged nothing for ten seconds; their clients resume on new ones. At least
        /// 16 times `event_bytes_max`.
        poll_bytes_max: u64 = "268435456", bytes(1_048_576, 1 << 50), "67108864";
        /// Most bytes of messages that clients have begun to send and not finished, on all links together. When it is passed, the links
        /// whose messages have been unfinished for longest are closed with 4100; their clients come back later and repeat them. At
        /// least 8 times `event_bytes_max`.
        partial_bytes_max: u64 = "268435456", bytes(1_048_576, 1 << 50), "67108864";
        /// Largest data of one event; more is refused with `event_too_large`. Large things are better
        /// stored elsewhere and announced by an event.
        event_bytes_max: u64 = "1048576", bytes(1024, 16_777_216), "65536";
        /// Most subscriptions of one link; one more is refused with `too_many_subscriptions`. Each costs a little memory, and
        /// a link that falls behind is looked at for every one of them.
        subscriptions_max: u64 = "1000", count("subscriptions", 1, 1_000_000), "100";
        /// Most publishes of a session without an answer; clients are told and wait. Raise it for single publishers of
        /// persistent events over long distances: a session's rate is at most this per round trip.
        publishes_max: u64 = "256", count("publishes", 1, 1024), "64";
        /// Most event data that one link may have waiting for the disk. Beyond it nothing more is read from the link until
        /// the disk has caught up.
        publish_bytes_max: u64 = "8388608", bytes(65_536, 1_073_741_824), "4194304";
        /// Most bytes of replies that may wait for one link. Beyond it nothing more is read from the link until its client
        /// has taken some.
        control_bytes_max: u64 = "65536", bytes(4096, 16_777_216), "32768";
        /// Most bytes, about, that the publish numbers of all sessions take in memory, 24 for each number and 128 for a session on a channel.
        /// When it is passed, the sessions that published longest ago are forgotten before `store.publish_memory_ms` is over, on the
        /// channels that remember most, in memory and on disk: one of them that repeats a publish whose answer it never got
        /// may store it twice.
        publish_memory_bytes_max: u64 = "268435456", bytes(1_048_576, 1 << 50), "67108864";
        /// Most channels; one more is refused with `overloaded`. Each costs some hundred bytes of memory besides its events.
        channels_max: u64 = "100000", count("channels", 1, 10_000_000), "1000";
        /// Most bytes of event data that all channels together keep in memory. Set it to what the machine can spare. When it is passed,
        /// the oldest events of the fullest channels leave memory every second: those on disk are read from there, the others are gone. A
        /// publish that would take a sixteenth more than the limit until then is refused with `overloaded`, to be repeated later.
        retained_bytes_max: u64 = "1073741824", bytes(1_048_576, 1 << 50), "268435456";
        /// Most bytes of event data that may wait for the disk in all, and, counted apart, that HTTP requests may be sending at a
        /// time. Beyond it a publish is refused with `overloaded`, to be repeated later; of requests those whose bodies have been
        /// unfinished longest.
        pending_bytes_max: u64 = "67108864", bytes(1_048_576, 1 << 40), "33554432";
        /// Most bytes of pages of events (`GET` on a channel's events) that may be on their way to clients. Beyond it such a
        /// request is answered 503 with `overloaded`, to be repeated later.
        answer_bytes_max: u64 = "67108864", bytes(16_777_216, 1 << 40), "33554432";
    }

    /// How long the realm waits for its peers.
    timeouts: Timeouts = "timeouts"
    {
        /// Time for the head of a request to arrive whole, counted from when the realm begins to wait for it: so also how long an HTTP
        /// connection may be kept open between two requests. Lower it under attack by slow clients.
        head_ms: u64 = "10000", ms(100, 600_000), "5000";
        /// Time for the body of an HTTP request to arrive whole. A client that takes less than 16 KiB of an answer in as long is
        /// disconnected; within HTTP/2 that stream alone is reset. Links, streams of events among them, may be as slow as they
        /// like. Raise it for large events over slow lines.
        body_ms: u64 = "30000", ms(100, 3_600_000), "60000";
        /// Time from the opening of a WebSocket to the client's first message.
        connect_ms: u64 = "10000", ms(100, 600_000), "5000";
        /// Silence after which each side asks whether the other lives; after three times this a link is dead. Proxies and
        /// firewalls forget connections that are silent for longer than some tens of seconds: lower is safer,
        /// higher spares batteries and mobile networks.
        heartbeat_ms: u64 = "10000", ms(1000, 600_000), "5000";
        /// Longest interval that a client is granted in place of `heartbeat_ms` when it asks for one, as clients do that have learned what
        /// their path bears; the shortest is 5 seconds. Links on polls have 30 seconds whatever is asked.
        heartbeat_max_ms: u64 = "25000", ms(1000, 600_000), "60000";
        /// How long a stopping realm goes on giving clients what is theirs before it ends their connections. Clients return
        /// after a random delay up to this, so that they do not come all at once.
        drain_ms: u64 = "10000", ms(0, 600_000), "30000";
    }

    /// TLS. Without certificates the realm speaks plain HTTP only. With them it serves both on its one address: a
    /// connection's first byte tells which it is. The files are read again when they change and on SIGHUP, and
    /// connections that live are not disturbed by it.
    tls: Tls = "tls"
    {
        /// Files with a certificate and the certificates that lead from it to a root, in PEM. A client is served with the first that
        /// holds the name it asks for (SNI), else with the first of all.
        certificates: Vec<String> = "[]", Rule::Texts, "[\"/etc/throughline/fullchain.pem\"]";
        /// Files with the private keys of `certificates`, in PEM, in the same order.
        keys: Vec<String> = "[]", Rule::Texts, "[\"/etc/throughline/privkey.pem\"]";
        /// Whether the realm makes itself a certificate for `localhost`, `127.0.0.1` and `::1`, for development. It is kept in the
        /// data directory, so that it is accepted once; no browser trusts it unasked.
        self_signed: bool = "false", Rule::Flag, "true";
        /// Whether connections without TLS are served too. When they are not, a request that comes without it is
        /// answered with 400 and the reason.
        plain: bool = "true", Rule::Flag, "false";
        /// Files with root certificates, in PEM. When there are any, clients have to show a certificate that leads to one of them.
        client_roots: Vec<String> = "[]", Rule::Texts, "[\"/etc/throughline/clients.pem\"]";
        /// Whether a client without a certificate is served in spite of `client_roots`; a wrong one is refused.
        client_optional: bool = "false", Rule::Flag, "true";
    }

    /// Proxies in front of the realm, and what is believed of what they say. An entry is an address or a range of addresses.
    proxies: Proxies = "proxies"
    {
        /// Proxies that begin every connection with a PROXY header, version 1 or 2, which says whom they speak for. A connection
        /// from one of them that begins otherwise is closed, and so is one with such a header from anywhere else: both are logged.
        proxy_protocol_from: Vec<Range> = "[]", Rule::Ranges, "[\"10.0.0.2\"]";
        /// Proxies whose `X-Forwarded-For`, `X-Forwarded-Proto`, `X-Forwarded-Host` and `X-Forwarded-Prefix`, or whose `Forwarded`, are
        /// believed. They have to set these themselves, or to append to what came: what a client wrote must not pass
        /// unchanged. The client is the rightmost address that is not listed here. What one of these proxies writes and cannot be
        /// read is answered 400, with a line in the log. From everybody else these headers mean nothing; they are only counted.
        trusted: Vec<Range> = "[]", Rule::Ranges, "[\"127.0.0.1\", \"10.0.0.0/24\"]";
        /// Which headers the trusted proxies write: `x-forwarded`, or `forwarded` (RFC 7239). Those of the other kind come from
        /// clients and mean nothing.
        headers: Family = "\"x-forwarded\"", Rule::Words(&["x-forwarded", "forwarded"]), "\"forwarded\"";
    }

    /// WebSocket links.
    websocket: WebSocket = "websocket"
    {
        /// The versions of WebSocket that are spoken. Every browser since 2012 speaks 13. Clients of hixie-76 and hixie-75 do not mask what they
        /// send, so that a page could make a proxy that does not know WebSocket take a message for a request and keep a forged
        /// answer; and hixie-75 does not prove that the server understood it. Where no client needs the old versions, write `["13"]`.
        versions: Versions = "[\"13\", \"8\", \"7\", \"hixie-76\", \"hixie-75\"]",
            Rule::Several(&["13", "8", "7", "hixie-76", "hixie-75"]), "[\"13\"]";
        /// How long the eight key bytes of a hixie-76 handshake may take to come once it was answered. Proxies that do not know that version
        /// drop them; such a connection is closed after this time, with a line in the log.
        key_ms: u64 = "2000", ms(100, 10_000), "1000";
        /// Whether `permessage-deflate` is agreed to. An event is compressed once for all its receivers, so it costs little
        /// processor time for channels with many subscribers and saves most of the bytes of JSON.
        compression: bool = "true", Rule::Flag, "false";
        /// Messages below this size go uncompressed: there is little to win and a price to pay. With 0 every
        /// message is compressed, even one that grows by it.
        compression_bytes_min: u64 = "512", bytes(0, 16_777_216), "1024";
        /// Whether a client may compress each message with the help of those before. It makes small messages from clients smaller and
        /// costs some tens of KiB of memory for every such link.
        client_context_takeover: bool = "false", Rule::Flag, "true";
    }

    /// HTTP/2, agreed on inside TLS (ALPN), or begun at once without TLS by a proxy that was told so. Everything is served over it,
    /// WebSocket too (RFC 8441).
    http2: Http2 = "http2"
    {
        /// Whether HTTP/2 is spoken at all.
        enabled: bool = "true", Rule::Flag, "false";
        /// Whether browsers are told that they may open WebSockets within a connection of HTTP/2. Turn it off when something in front
        /// passes that on and then fails to carry them: browsers open a connection of their own for WebSocket then.
        websocket: bool = "true", Rule::Flag, "false";
        /// Most requests and links at a time on one connection. A browser has one connection for all its tabs.
        streams_max: u64 = "256", count("streams", 16, 65_536), "1000";
    }

    /// Links on polls.
    long_poll: LongPoll = "long_poll"
    {
        /// How long a poll is held at most when there is nothing to say. Clients begin with less and learn what their path
        /// bears. Lower it when a proxy in front of the realm ends requests that are silent for as long.
        hold_max_ms: u64 = "25000", ms(1000, 25_000), "12000";
    }

    /// Addresses below `/throughline/v1/probe` that show what a path does to what passes it; `throughline doctor` and the page's own doctor
    /// live on them. They carry no session and change nothing.
    probes: ProbeSettings = "probes"
    {
        /// Whether they are there. Without them a path that fails can only be guessed at.
        enabled: bool = "true", Rule::Flag, "false";
        /// Most probes per minute from one network (an IPv4 address without its last byte, the first 48 bits of one of IPv6); one more is
        /// answered 429. As many may come at once, after as long a rest. An examination of a path takes some hundred. Behind a proxy that
        /// is not in `proxies.trusted` all clients are one network. WebSockets that only echo are not counted.
        per_minute_max: u64 = "600", count("probes per minute", 1, 1_000_000), "120";
        /// Most streams and polls of probes under way at a time; one more is answered 503. Each has a connection, or a part of one, for
        /// up to two minutes.
        held_max: u64 = "1000", count("requests", 1, 1_000_000), "100";
    }

    /// What channels keep when their creator does not say: channels that come into being by use, and attributes left out of
    /// `[[channel]]` or of a creation by HTTP.
    channel_defaults: ChannelDefaults = "channels.defaults"
    {
        /// `transient` keeps nothing; `reliable` keeps events in memory; `persistent` keeps events on disk, and answers and delivers them
        /// only when they are there; on a `mixed` channel each event says.
        kind: ChannelKind = "\"reliable\"", Rule::Words(&["transient", "reliable", "persistent", "mixed"]), "\"persistent\"";
        /// Most events that a channel keeps; the oldest go first. 0 means no limit but `bytes`.
        capacity: u64 = "10000", count("events", 0, SAFE_MAX), "1000";
        /// Most bytes of event data that a channel keeps. 0 means no limit but `capacity`.
        bytes: u64 = "67108864", bytes(0, SAFE_MAX), "1048576";
        /// How long an event is kept at most. 0 means for ever. An event's own time to live may only shorten it.
        ttl_ms: u64 = "0", ms(0, SAFE_MAX), "3600000";
    }

    /// The realm's disk.
    store: Storage = "store"
    {
        /// Space that is left free on the disk of `data`. With less than this, persistent publishes are refused with `store_full`
        /// until there is room again; everything else goes on.
        free_bytes_min: u64 = "67108864", bytes(1_048_576, 1 << 50), "1073741824";
        /// Memory for recently read parts of the store. Raise it when many clients at a time replay old events.
        cache_bytes: u64 = "33554432", bytes(1_048_576, 1 << 40), "268435456";
        /// Most events in one group commit. While one is written the next gathers, so the size follows the load;
        /// this only bounds how long a commit can take.
        commit_events_max: u64 = "4096", count("events", 1, 1_000_000), "1024";
        /// Most bytes in one group commit.
        commit_bytes_max: u64 = "16777216", bytes(1_048_576, 1_073_741_824), "8388608";
        /// How long the publish numbers of a silent session are remembered. A client that was away for longer and repeats a
        /// publish whose answer it never got may store it twice. A session costs up to 16 KiB per channel for this time.
        publish_memory_ms: u64 = "86400000", ms(60_000, 31_536_000_000), "604800000";
    }
}
