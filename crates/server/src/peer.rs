//! Whom a connection and its requests come from, whatever stands in between: the one answer that logs, origins, limits and
//! diagnosis use.

use std::net::{IpAddr, SocketAddr};

use throughline_wire::proxy_protocol::Header;

use crate::config::{Proxies, listed};

/// Where a connection comes from: known before its first request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// The other end, or whom it speaks for by a PROXY header. Never an IPv4 address in the clothes of IPv6.
    pub(crate) address: Option<IpAddr>,
    /// It speaks TLS with the realm, or with a proxy that says so.
    pub(crate) secure: bool,
    /// What its requests say of whom they were forwarded for is believed.
    pub(crate) trusted: bool,
}

impl Source {
    /// The other end of a connection.
    pub(crate) fn of(peer: Option<SocketAddr>, proxies: &Proxies) -> Source {
        let plain = Source { address: None, secure: false, trusted: false };
        plain.at(peer.map(|peer| peer.ip()), proxies)
    }

    /// Whom a PROXY header names; a proxy that speaks for itself is left as it is.
    pub(crate) fn told(self, header: Header, proxies: &Proxies) -> Source {
        let secure = header.tls.unwrap_or(self.secure);
        let address = header.client.map(|client| client.ip()).or(self.address);
        Source { secure, ..self }.at(address, proxies)
    }

    fn at(self, address: Option<IpAddr>, proxies: &Proxies) -> Source {
        let address = address.map(|address| address.to_canonical());
        Source { address, trusted: address.is_some_and(|address| listed(&proxies.trusted, address)), ..self }
    }
}
