//! What the realm counts for its operators, in the OpenMetrics text format.

use std::sync::atomic::Ordering;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as PrometheusCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
use prometheus_client::registry::{Registry, Unit};
use throughline_engine::Totals;
use throughline_wire::close::CloseCode;
use throughline_wire::path::{Failure, Transport};
use throughline_wire::ws::Version;

use crate::probe;

/// A number that only grows. Adding is one atomic operation.
#[derive(Clone, Debug, Default)]
pub struct Counter(PrometheusCounter);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// The number.
    pub fn get(&self) -> u64 {
        self.0.get()
    }

    /// Takes over a number that is counted elsewhere.
    fn set(&self, n: u64) {
        self.0.inner().store(n, Ordering::Relaxed);
    }
}

/// A number that grows and shrinks. Changing it is one atomic operation.
#[derive(Clone, Debug, Default)]
pub struct Gauge(PrometheusGauge);

impl Gauge {
    /// Adds one.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// Takes one away.
    pub fn dec(&self) {
        self.0.dec();
    }

    /// The number.
    pub fn get(&self) -> i64 {
        self.0.get()
    }

    fn set(&self, n: u64) {
        self.0.set(i64::try_from(n).unwrap_or(i64::MAX));
    }
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    /// Events written to links; one for each subscriber that an event is given to.
    pub delivered: Counter,
    /// Bytes of events written to links, as they are on the wire.
    pub bytes_out: Counter,
    /// Gaps reported to subscribers.
    pub gaps: Counter,
    /// HTTP requests answered, WebSocket handshakes not among them.
    pub http_requests: Counter,
    /// Of these, those that were refused or failed: status 400 and above.
    pub http_errors: Counter,
    /// Connections of hixie-76 whose key bytes did not come.
    pub keys_lost: Counter,
    /// Connections for which the realm waits.
    pub connections_waiting: Gauge,
    /// Of these, those that were closed to make room.
    pub waiting_closed: Counter,
    /// Requests refused since they could be read in two ways.
    pub requests_refused: Counter,
    /// Requests with headers of a proxy that is not trusted.
    pub forwarded_ignored: Counter,
    /// Requests refused for what a trusted proxy said of them.
    pub forwarded_refused: Counter,
    /// Probes that were refused because there were too many.
    pub probes_refused: Counter,
    /// Links closed since unfinished messages reached their bound.
    pub partials_refused: Counter,
    /// Links on polls ended since answers that were not acknowledged reached their bound.
    pub polls_ended: Counter,
    /// Connections of HTTP/2.
    pub http2_connections: Counter,
    /// WebSocket handshakes accepted within them.
    pub http2_websockets: Counter,
    /// WebSocket handshakes accepted, in the order of [`Version::ALL`].
    accepted: [Counter; Version::ALL.len()],
    /// Probes that were let pass, in the order of [`probe::Kind::ALL`].
    probes: [Counter; probe::Kind::ALL.len()],
    /// Links that are open, in the order of [`Transport::ALL`].
    open: [Gauge; Transport::ALL.len()],
    closed: [Counter; CloseCode::ALL.len()],
    path_failures: Family<PathFailure, PrometheusCounter>,
    engine: EngineNumbers,
    registry: Registry,
}

/// Labels of a failure that a client reported: its transport and its kind.
type PathFailure = Vec<(&'static str, &'static str)>;

/// Counted by the engine, taken over when they are asked for.
#[derive(Debug, Default)]
struct EngineNumbers {
    channels: Gauge,
    events: Gauge,
    bytes: Gauge,
    published: Counter,
    duplicates: Counter,
    rejected: Counter,
}

impl EngineNumbers {
    fn take(&self, totals: &Totals) {
        self.channels.set(totals.channels);
        self.events.set(totals.events);
        self.bytes.set(totals.bytes);
        self.published.set(totals.published);
        self.duplicates.set(totals.duplicates);
        self.rejected.set(totals.rejected);
    }

    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("channels", "Channels that exist", &self.channels),
            ("events_kept", "Events that all channels keep, in memory or on disk", &self.events),
        ];
        for (name, help, gauge) in gauges {
            registry.register(name, help, gauge.0.clone());
        }
        registry.register_with_unit("events_kept", "Bytes of these events", Unit::Bytes, self.bytes.0.clone());
        let counters = [
            ("events_published", "Events accepted since the start", &self.published),
            ("publishes_duplicate", "Publishes that were repetitions, answered and not stored again", &self.duplicates),
            ("publishes_rejected", "Publishes answered with an error by the engine", &self.rejected),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.0.clone());
        }
    }
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Metrics {
        let mut registry = Registry::with_prefix("throughline");
        let links: Family<Vec<(&'static str, &'static str)>, PrometheusGauge> = Family::default();
        let open = Transport::ALL.map(|t| Gauge(links.get_or_create(&vec![("transport", t.name())]).clone()));
        registry.register("links_open", "Links that are open", links);
        let codes: Family<Vec<(&'static str, String)>, PrometheusCounter> = Family::default();
        let closed = CloseCode::ALL.map(|code| {
            let labels = vec![("code", code.code().to_string()), ("name", code.name().to_owned())];
            Counter(codes.get_or_create(&labels).clone())
        });
        registry.register("links_closed", "Links that the realm closed, by close code", codes);
        let versions: Family<Vec<(&'static str, &'static str)>, PrometheusCounter> = Family::default();
        let accepted = Version::ALL.map(|v| Counter(versions.get_or_create(&vec![("version", v.name())]).clone()));
        registry.register("websockets_accepted", "WebSocket handshakes accepted, by version", versions);
        let kinds: Family<Vec<(&'static str, &'static str)>, PrometheusCounter> = Family::default();
        let probes = probe::Kind::ALL.map(|kind| Counter(kinds.get_or_create(&vec![("kind", kind.name())]).clone()));
        registry.register("probes", "Probes that were let pass, by kind", kinds);
        let metrics = Metrics {
            probes,
            probes_refused: Counter::default(),
            keys_lost: Counter::default(),
            connections_waiting: Gauge::default(),
            waiting_closed: Counter::default(),
            requests_refused: Counter::default(),
            forwarded_ignored: Counter::default(),
            forwarded_refused: Counter::default(),
            partials_refused: Counter::default(),
            polls_ended: Counter::default(),
            http2_connections: Counter::default(),
            http2_websockets: Counter::default(),
            accepted,
            delivered: Counter::default(),
            bytes_out: Counter::default(),
            gaps: Counter::default(),
            http_requests: Counter::default(),
            http_errors: Counter::default(),
            open,
            closed,
            path_failures: Family::default(),
            engine: EngineNumbers::default(),
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Metrics { registry, ..metrics }
    }

    fn register(&self, registry: &mut Registry) {
        let counters = [
            ("events_delivered", "Events written to links, counted for each subscriber", &self.delivered),
            ("gaps_reported", "Gaps reported to subscribers", &self.gaps),
            ("websocket_keys_lost", "Connections of hixie-76 whose key bytes did not come", &self.keys_lost),
            ("waiting_closed", "Connections closed since the realm had waited for them longest", &self.waiting_closed),
            ("requests_refused", "Requests refused since they could be read in two ways", &self.requests_refused),
            (
                "forwarded_ignored",
                "Requests whose forwarded headers came from no trusted proxy",
                &self.forwarded_ignored,
            ),
            ("forwarded_refused", "Requests refused for a trusted proxy's forwarded headers", &self.forwarded_refused),
            ("probes_refused", "Probes refused because there were too many", &self.probes_refused),
            ("partials_refused", "Links closed at limits.partial_bytes_max", &self.partials_refused),
            ("polls_ended", "Links on polls ended at limits.poll_bytes_max", &self.polls_ended),
            ("http2_connections", "Connections of HTTP/2 accepted", &self.http2_connections),
            ("http2_websockets", "WebSocket handshakes accepted within HTTP/2", &self.http2_websockets),
            ("http_requests", "HTTP requests answered, without WebSocket handshakes", &self.http_requests),
            ("http_errors", "HTTP requests answered with a status of 400 and above", &self.http_errors),
        ];
        for (name, help, counter) in counters {
            registry.register(name, help, counter.0.clone());
        }
        let help = "Connections for which the realm waits: for a request, or for its answer to be taken";
        registry.register("connections_waiting", help, self.connections_waiting.0.clone());
        let help = "Bytes of events written to links";
        registry.register_with_unit("delivered", help, Unit::Bytes, self.bytes_out.0.clone());
        let help = "Failed attempts and lost links that clients reported, by transport and kind";
        registry.register("path_failures", help, self.path_failures.clone());
        self.engine.register(registry);
    }

    /// Counts what a client reported of its path. Words that this version does not know count as `other`.
    pub fn path_failed(&self, transport: &str, failure: &str) {
        let transport = Transport::from_name(transport).map_or("other", Transport::name);
        let failure = Failure::from_name(failure).map_or("other", Failure::name);
        self.path_failures.get_or_create(&vec![("transport", transport), ("failure", failure)]).inc();
    }

    /// Links of a transport that are open.
    pub fn links_open(&self, transport: Transport) -> &Gauge {
        let [best, others @ ..] = &self.open;
        // The array has an entry for each, in the order of their ranks.
        usize::from(transport.rank()).checked_sub(1).and_then(|at| others.get(at)).unwrap_or(best)
    }

    /// Counts a WebSocket handshake that was accepted.
    pub fn websocket_accepted(&self, version: Version) {
        if let Some((_, counter)) = Version::ALL.iter().zip(&self.accepted).find(|(known, _)| **known == version) {
            counter.inc();
        }
    }

    /// Counts a probe that was let pass.
    pub(crate) fn probed(&self, kind: probe::Kind) {
        if let Some((_, counter)) = probe::Kind::ALL.iter().zip(&self.probes).find(|(known, _)| **known == kind) {
            counter.inc();
        }
    }

    /// Counts a link that the realm closed.
    pub fn link_closed(&self, code: CloseCode) {
        if let Some((_, counter)) = CloseCode::ALL.iter().zip(&self.closed).find(|(known, _)| **known == code) {
            counter.inc();
        }
    }

    /// The text of `/metrics`.
    pub fn render(&self, totals: &Totals) -> String {
        self.engine.take(totals);
        let mut text = String::new();
        // Writing into a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_counted_is_shown() {
        let metrics = Metrics::new();
        metrics.links_open(Transport::WebSocket).inc();
        metrics.links_open(Transport::WebSocket).inc();
        metrics.links_open(Transport::WebSocket).dec();
        metrics.delivered.add(7);
        metrics.bytes_out.add(70);
        metrics.link_closed(CloseCode::Heartbeat);
        metrics.websocket_accepted(Version::Hixie76);
        metrics.probed(probe::Kind::Poll);
        let totals = Totals { channels: 3, events: 4, bytes: 5, published: 6, duplicates: 1, ..Totals::default() };
        let text = metrics.render(&totals);
        for line in [
            "throughline_links_open{transport=\"websocket\"} 1",
            "throughline_links_open{transport=\"jsonp-poll\"} 0",
            "throughline_events_delivered_total 7",
            "throughline_delivered_bytes_total 70",
            "throughline_links_closed_total{code=\"4001\",name=\"heartbeat\"} 1",
            "throughline_links_closed_total{code=\"1009\",name=\"too_big\"} 0",
            "throughline_websockets_accepted_total{version=\"hixie-76\"} 1",
            "throughline_websockets_accepted_total{version=\"13\"} 0",
            "throughline_websocket_keys_lost_total 0",
            "throughline_probes_total{kind=\"poll\"} 1",
            "throughline_probes_total{kind=\"websocket\"} 0",
            "throughline_probes_refused_total 0",
            "throughline_channels 3",
            "throughline_events_kept 4",
            "throughline_events_kept_bytes 5",
            "throughline_events_published_total 6",
            "throughline_publishes_duplicate_total 1",
            "throughline_gaps_reported_total 0",
            "# EOF",
        ] {
            assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
        }
    }
}
