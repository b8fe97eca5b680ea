//! Connections that are turned away.

/// Why a connection came to nothing before it asked for anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Turned {
    /// `limits.connections_max` was reached.
    Full,
    /// Its address had as many as `limits.connections_per_address_max` allows.
    Crowded,
    /// It said nothing, or no whole request, within `timeouts.head_ms`.
    Silent,
    /// Its PROXY header is none, or came from somebody who may not send one.
    ProxyHeader,
    /// It did not speak TLS, and has to (`tls.plain`).
    Plain,
    /// Its TLS handshake failed.
    Tls,
}

impl Turned {
    pub(super) const ALL: [Turned; 6] =
        [Turned::Full, Turned::Crowded, Turned::Silent, Turned::ProxyHeader, Turned::Plain, Turned::Tls];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Turned::Full => "connections_max",
            Turned::Crowded => "connections_per_address_max",
            Turned::Silent => "no_request",
            Turned::ProxyHeader => "proxy_header",
            Turned::Plain => "tls_required",
            Turned::Tls => "tls_handshake",
        }
    }
}
