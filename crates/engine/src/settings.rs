//! What an engine is told when it is opened.

use crate::types::{ChannelAttributes, ChannelKind};

/// Limits and defaults of a realm's engine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Create channels on first use, with `defaults`. Default true.
    pub auto_create: bool,
    /// The disk holds an older state than clients may know, from a backup: every channel on it begins a new epoch, so that none of them
    /// takes an EID that is given out again for one it has had. Default false.
    pub restored: bool,
    /// Attributes of channels that are created on first use. Default: reliable, 10,000 events, 64 MiB, no time to live.
    pub defaults: ChannelAttributes,
    /// Events that a `transient`, `persistent` or `mixed` channel holds in memory for its readers. Default 1,024.
    /// Readers that lag further read the disk, or on a `transient` channel miss events.
    pub ring_events_max: usize,
    /// Bytes of event bodies that such a channel holds in memory. Default 4 MiB. The newest event always fits.
    pub ring_bytes_max: usize,
    /// Publish numbers remembered for each session and channel. Default 1,024; must not be below the number of publishes
    /// a session may have unanswered. 16 bytes each.
    pub publish_window: usize,
    /// Milliseconds after which the publish numbers of a silent session are forgotten. Default 24 h. They are looked for at every
    /// eighth of this time, so they may live an eighth longer.
    pub publish_memory_ms: u64,
    /// Bytes that the publish numbers of all sessions take together, about. Default 256 MiB. When it is passed, the channels with the
    /// most forget their oldest sessions every second until a sixteenth is free, and one that holds a sixteenth does so at once.
    pub publish_memory_bytes_max: u64,
    /// Bytes of all events together that wait for the disk. Default 64 MiB. Beyond it publishes fail as `overloaded`.
    pub pending_bytes_max: u64,
    /// Most channels. Default 100,000. Beyond it none is created: `overloaded`.
    pub channels_max: usize,
    /// Bytes of all events in memory together, with 200 for the upkeep of each. Default 1 GiB. When it is passed, a channel that
    /// takes an event gives up as much of its own oldest, and every second the fullest channels give up theirs, the newest too,
    /// until a sixteenth is free. What would take a sixteenth more than the limit until then is refused as `overloaded`. Events
    /// on disk are then merely read from there; `mixed` channels, which cannot give up events in memory without those on disk
    /// between them, refuse events in memory as `overloaded`.
    pub retained_bytes_max: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            auto_create: true,
            restored: false,
            defaults: ChannelAttributes {
                kind: ChannelKind::Reliable,
                capacity: Some(10_000),
                bytes: Some(64 << 20),
                ttl: None,
            },
            ring_events_max: 1_024,
            ring_bytes_max: 4 << 20,
            publish_window: 1_024,
            publish_memory_ms: 24 * 60 * 60 * 1_000,
            publish_memory_bytes_max: 256 << 20,
            pending_bytes_max: 64 << 20,
            channels_max: 100_000,
            retained_bytes_max: 1 << 30,
        }
    }
}
