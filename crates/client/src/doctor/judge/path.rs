//! The way that was asked about, and which transports work on it.

use url::Url;

use super::super::observations::{Observations, Trial};
use super::answers::{Flow, flow};

/// Transports as findings name them, best first.
pub(super) const TRANSPORTS: [&str; 5] = ["websocket", "chunk", "sse", "iframe", "poll"];
/// Those that send by POST.
pub(super) const HTTP: [&str; 4] = ["chunk", "sse", "iframe", "poll"];

/// Observations, seen from the way that clients would go.
pub(super) struct Path<'a> {
    pub(super) observations: &'a Observations,
    /// `browser`, `proxy` or `direct`.
    way: &'static str,
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// Host and port as the address has them.
    pub(super) authority: String,
    pub(super) prefix: String,
}

impl<'a> Path<'a> {
    pub(super) fn new(observations: &'a Observations) -> Path<'a> {
        let way = match observations {
            Observations { browser: true, .. } => "browser",
            Observations { proxy: Some(_), .. } => "proxy",
            _ => "direct",
        };
        let url = Url::parse(&observations.url).ok();
        let url = url.as_ref();
        Path {
            observations,
            way,
            secure: observations.url.starts_with("https:"),
            host: url.and_then(Url::host_str).unwrap_or_default().to_owned(),
            port: url.and_then(Url::port_or_known_default).unwrap_or_default(),
            authority: url.map(Url::authority).unwrap_or_default().to_owned(),
            prefix: url.map(|url| url.path().trim_end_matches('/')).unwrap_or_default().to_owned(),
        }
    }

    /// The trials of clients' own way.
    pub(super) fn trials(&self) -> impl Iterator<Item = &'a Trial> {
        self.aside(self.way, self.secure)
    }

    /// The trials of any way.
    pub(super) fn aside(&self, way: &str, secure: bool) -> impl Iterator<Item = &'a Trial> {
        self.observations.trials.iter().filter(move |trial| trial.way == way && trial.secure == secure)
    }

    /// The trials on the clients' way, but for TLS.
    pub(super) fn other_scheme(&self) -> impl Iterator<Item = &'a Trial> {
        self.aside(self.way, !self.secure)
    }

    /// The trials of the same address without the forward proxy.
    pub(super) fn without_proxy(&self) -> impl Iterator<Item = &'a Trial> {
        let direct = self.way == "proxy";
        self.aside("direct", self.secure).filter(move |_| direct)
    }

    pub(super) fn all(&self, what: &'static str) -> impl Iterator<Item = &'a Trial> {
        self.trials().filter(move |trial| trial.what == what)
    }

    pub(super) fn first(&self, what: &'static str) -> Option<&'a Trial> {
        self.all(what).next()
    }

    /// The trial that tells whether a transport opens: of a probe, or of a session where probes are off.
    pub(super) fn opening(&self, transport: &str) -> Option<&'a Trial> {
        let session = match transport {
            "websocket" => "websocket",
            "chunk" => "http-stream",
            "poll" => "long-poll",
            _ => "none",
        };
        if let Some(trial) = self.all("session").find(|trial| trial.kind.as_deref() == Some(session)) {
            return Some(trial);
        }
        match transport {
            "websocket" => self.all("websocket").find(|trial| trial.kind.as_deref() == Some("13")),
            "poll" => self.all("poll").find(|trial| trial.fault.is_none()).or_else(|| self.first("poll")),
            kind => self.all("stream").find(|trial| trial.kind.as_deref() == Some(kind)),
        }
    }

    /// Whether a session would work over it; `None` where that was not tried.
    pub(super) fn works_over(&self, transport: &str) -> Option<bool> {
        let trial = self.opening(transport).filter(|trial| !self.unprobed(trial))?;
        let sends = transport == "websocket"
            || trial.what == "session"
            || self.first("post").is_none_or(|post| post.fault.is_none());
        let flows = trial.what != "stream" || matches!(flow(trial), Flow::Live | Flow::Delayed { .. });
        Some(trial.fault.is_none() && sends && flows)
    }

    /// The realm answers no such probe, for now or at all: nothing can be told of the path.
    fn unprobed(&self, trial: &Trial) -> bool {
        let answer = trial.answer.as_ref().filter(|answer| answer.ours && trial.what != "session");
        match answer.and_then(|answer| answer.code.as_deref()) {
            Some("not_found") => self.first("realm").is_some_and(|realm| realm.fault.is_none()),
            code => code == Some("too_many_probes"),
        }
    }

    /// The transports that work, best first.
    pub(super) fn works(&self) -> Vec<&'static str> {
        TRANSPORTS.into_iter().filter(|transport| self.works_over(transport) == Some(true)).collect()
    }

    /// The transports that were tried and do not work.
    pub(super) fn fails(&self) -> Vec<&'static str> {
        TRANSPORTS.into_iter().filter(|transport| self.works_over(transport) == Some(false)).collect()
    }

    /// The transports whose opening failed in a way.
    pub(super) fn failing(&self, failed: impl Fn(&Trial) -> bool) -> Vec<&'static str> {
        TRANSPORTS.into_iter().filter(|transport| self.opening(transport).is_some_and(&failed)).collect()
    }

    /// Plain requests pass: some answer of the realm was had.
    pub(super) fn http_passes(&self) -> bool {
        let other = |trial: &Trial| matches!(&*trial.what, "websocket" | "http2" | "root");
        self.trials().any(|trial| trial.fault.is_none() && !other(trial))
    }

    /// The trial of HTTP/2, where it is spoken.
    pub(super) fn http2(&self) -> Option<&'a Trial> {
        self.first("http2").filter(|trial| trial.extended_connect.is_some())
    }

    /// The origin of the realm's own pages at this address.
    pub(super) fn origin(&self) -> String {
        format!("{}://{}", if self.secure { "https" } else { "http" }, self.authority)
    }

    /// The address with this scheme.
    pub(super) fn with_scheme(&self, scheme: &str) -> String {
        format!("{scheme}://{}{}", self.authority, self.prefix)
    }
}
