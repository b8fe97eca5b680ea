//! In place of NTLM and Negotiate, where this crate was built without the feature `negotiate`: nothing is begun.

use std::fmt;

use super::admission::Fault;

/// The way out where a proxy asks for what is not spoken.
pub(super) const BEYOND: &str = "NTLM and Negotiate are spoken when it is built with --features negotiate; \
                                 else a local proxy that signs in (cntlm, px) may stand between";

/// None.
pub(super) const WAYS: [Way; 0] = [];

/// There is none.
#[derive(Clone, Copy)]
pub(super) enum Way {}

impl Way {
    pub(super) const fn scheme(self) -> &'static str {
        match self {}
    }
}

/// None is begun.
pub(super) enum Handshake {}

impl Handshake {
    pub(super) async fn begin(way: Way, _: &str, _: &str, _: &str) -> Result<(Handshake, String), Fault> {
        match way {}
    }

    pub(super) const fn scheme(&self) -> &'static str {
        match *self {}
    }

    pub(super) async fn go_on(self, _: Option<&str>) -> Result<(Handshake, String), Fault> {
        match self {}
    }
}

impl fmt::Display for Handshake {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}
