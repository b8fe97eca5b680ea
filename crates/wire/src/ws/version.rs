//! The versions of WebSocket that were ever deployed.

use alloc::string::String;
use core::str::FromStr;

/// A version of WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// RFC 6455, `Sec-WebSocket-Version: 13`.
    V13,
    /// draft-ietf-hybi-thewebsocketprotocol-08 to -12, `Sec-WebSocket-Version: 8`. Its frames are those of RFC 6455.
    V8,
    /// draft-ietf-hybi-thewebsocketprotocol-07, `Sec-WebSocket-Version: 7`. Its frames are those of RFC 6455.
    V7,
    /// draft-hixie-thewebsocketprotocol-76: see [`hixie`](crate::hixie).
    Hixie76,
    /// draft-hixie-thewebsocketprotocol-75.
    Hixie75,
}

impl Version {
    /// All, the newest first.
    pub const ALL: [Version; 5] = [Version::V13, Version::V8, Version::V7, Version::Hixie76, Version::Hixie75];

    /// What it is called in settings.
    pub const fn name(self) -> &'static str {
        match self {
            Version::V13 => "13",
            Version::V8 => "8",
            Version::V7 => "7",
            Version::Hixie76 => "hixie-76",
            Version::Hixie75 => "hixie-75",
        }
    }

    /// True for those that `Sec-WebSocket-Version` names.
    pub const fn has_number(self) -> bool {
        matches!(self, Version::V13 | Version::V8 | Version::V7)
    }
}

/// A word that names no version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownVersion;

impl FromStr for Version {
    type Err = UnknownVersion;

    fn from_str(s: &str) -> Result<Version, UnknownVersion> {
        Version::ALL.into_iter().find(|version| version.name() == s).ok_or(UnknownVersion)
    }
}

/// Some of the versions: what a server speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions(u8);

impl Versions {
    /// Every version.
    pub const ALL: Versions = Versions(0b1_1111);

    /// True when `version` is among them.
    pub const fn contains(self, version: Version) -> bool {
        self.0 & (1 << version as u8) != 0
    }

    /// The value of `Sec-WebSocket-Version` that lists them (RFC 6455 section 4.4); empty when none has a number.
    pub fn header(self) -> String {
        let mut list = String::new();
        for version in Version::ALL.into_iter().filter(|v| v.has_number() && self.contains(*v)) {
            list.push_str(if list.is_empty() { "" } else { ", " });
            list.push_str(version.name());
        }
        list
    }

    /// The version with a number that a `Sec-WebSocket-Version` asks for, if it is among these.
    pub(super) fn numbered(self, value: &[u8]) -> Option<Version> {
        let version: Version = core::str::from_utf8(value).ok()?.parse().ok()?;
        (version.has_number() && self.contains(version)).then_some(version)
    }
}

impl FromIterator<Version> for Versions {
    fn from_iter<I: IntoIterator<Item = Version>>(versions: I) -> Versions {
        Versions(versions.into_iter().fold(0, |set, version| set | 1 << version as u8))
    }
}
