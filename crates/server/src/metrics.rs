//! What the realm counts for its operators, in the OpenMetrics text format.

mod engine;
mod store;
mod turned;

use std::borrow::Cow;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter as PrometheusCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge as PrometheusGauge;
use prometheus_client::registry::{Registry, Unit};
use throughline_engine::Totals;
use throughline_store::Progress;
use throughline_wire::close::CloseCode;
use throughline_wire::event::Eid;
use throughline_wire::message::{Gap, GapReason};
use throughline_wire::path::{Failure, Transport};
use throughline_wire::ws::Version;

use crate::probe;
use engine::EngineNumbers;
use store::StoreNumbers;

pub(crate) use turned::Turned;

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
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Metrics {
    /// Events written to links; one for each subscriber that an event is given to.
    pub delivered: Counter,
    /// Bytes of events written to links, as they are on the wire.
    pub bytes_out: Counter,
    /// Pages read for one link that lags, in the order of [`Source::ALL`].
    pages: [Counter; Source::ALL.len()],
    /// Gaps reported to subscribers, and the events in them, in the order of [`GapReason::ALL`].
    gaps: [(Counter, Counter); GapReason::ALL.len()],
    /// HTTP requests answered, WebSocket handshakes not among them.
    pub http_requests: Counter,
    http_errors: Family<Code, PrometheusCounter>,
    websockets_refused: Family<Code, PrometheusCounter>,
    replies_refused: Family<Code, PrometheusCounter>,
    /// Connections that came to nothing, in the order of [`Turned::ALL`].
    turned: [Counter; Turned::ALL.len()],
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
    /// Requests and WebSocket handshakes of pages whose origin is not allowed.
    pub origins_refused: Counter,
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
    store: StoreNumbers,
    registry: Registry,
}

/// The label of what was answered with an error.
type Code = [(&'static str, &'static str); 1];

/// Labels of a failure that a client reported: its transport and its kind.
type PathFailure = Vec<(&'static str, &'static str)>;

/// Where a page for one link comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    Memory,
    Disk,
}

impl Source {
    const ALL: [Source; 2] = [Source::Memory, Source::Disk];

    const fn name(self) -> &'static str {
        match self {
            Source::Memory => "memory",
            Source::Disk => "disk",
        }
    }
}

/// Registers counters that one label tells apart.
fn counters_by<const N: usize>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: [&'static str; N],
) -> [Counter; N] {
    let family: Family<Code, PrometheusCounter> = Family::default();
    let counters = values.map(|value| Counter(family.get_or_create(&[(label, value)]).clone()));
    registry.register(name, help, family);
    counters
}

/// The counter of one of a closed set.
fn of<T: Copy + PartialEq, C, const N: usize>(all: [T; N], counters: &[C; N], wanted: T) -> Option<&C> {
    all.iter().zip(counters).find(|(known, _)| **known == wanted).map(|(_, counter)| counter)
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
        let help = "WebSocket handshakes accepted, by version";
        let accepted =
            counters_by(&mut registry, "websockets_accepted", help, "version", Version::ALL.map(Version::name));
        let help = "Probes that were let pass, by kind";
        let probes = counters_by(&mut registry, "probes", help, "kind", probe::Kind::ALL.map(probe::Kind::name));
        let help = "Pages read for single links that lag, by where they came from";
        let pages = counters_by(&mut registry, "pages_read", help, "source", Source::ALL.map(Source::name));
        let reasons = GapReason::ALL.map(GapReason::name);
        let help = "Gaps reported to subscribers, by reason";
        let told = counters_by(&mut registry, "gaps_reported", help, "reason", reasons);
        let help = "Events in these gaps, where their number is known, counted for each subscriber";
        let missed = counters_by(&mut registry, "events_missed", help, "reason", reasons);
        let mut missed = missed.into_iter();
        let gaps = told.map(|told| (told, missed.next().unwrap_or_default()));
        let help = "Connections that came to nothing before they asked for anything, by reason";
        let turned = counters_by(&mut registry, "connections_refused", help, "reason", Turned::ALL.map(Turned::name));
        let engine = EngineNumbers::register(&mut registry);
        let store = StoreNumbers::register(&mut registry);
        let metrics = Metrics {
            probes,
            probes_refused: Counter::default(),
            origins_refused: Counter::default(),
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
            pages,
            gaps,
            http_requests: Counter::default(),
            http_errors: Family::default(),
            websockets_refused: Family::default(),
            replies_refused: Family::default(),
            turned,
            open,
            closed,
            path_failures: Family::default(),
            engine,
            store,
            registry: Registry::default(),
        };
        metrics.register(&mut registry);
        Metrics { registry, ..metrics }
    }

    fn register(&self, registry: &mut Registry) {
        let counters = [
            ("events_delivered", "Events written to links, counted for each subscriber", &self.delivered),
            ("websocket_keys_lost", "Connections of hixie-76 whose key bytes did not come", &self.keys_lost),
            ("waiting_closed", "Connections closed since the realm had waited for them longest", &self.waiting_closed),
            ("requests_refused", "Requests refused since they could be read in two ways", &self.requests_refused),
            (
                "forwarded_ignored",
                "Requests whose forwarded headers came from no trusted proxy",
                &self.forwarded_ignored,
            ),
            ("forwarded_refused", "Requests refused for a trusted proxy's forwarded headers", &self.forwarded_refused),
            (
                "origins_refused",
                "Requests and WebSocket handshakes of pages that may not use the realm",
                &self.origins_refused,
            ),
            ("probes_refused", "Probes refused because there were too many", &self.probes_refused),
            ("partials_refused", "Links closed at limits.partial_bytes_max", &self.partials_refused),
            ("polls_ended", "Links on polls ended at limits.poll_bytes_max", &self.polls_ended),
            ("http2_connections", "Connections of HTTP/2 accepted", &self.http2_connections),
            ("http2_websockets", "WebSocket handshakes accepted within HTTP/2", &self.http2_websockets),
            ("http_requests", "HTTP requests answered, without WebSocket handshakes", &self.http_requests),
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
        let families = [
            ("http_errors", "HTTP requests answered with a status of 400 and above, by code", &self.http_errors),
            ("websockets_refused", "WebSocket handshakes refused, by code", &self.websockets_refused),
            ("replies_refused", "Requests of sessions answered with an error, by code", &self.replies_refused),
        ];
        for (name, help, family) in families {
            registry.register(name, help, family.clone());
        }
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
        if let Some(counter) = of(Version::ALL, &self.accepted, version) {
            counter.inc();
        }
    }

    /// Counts a WebSocket handshake that was refused.
    pub(crate) fn websocket_refused(&self, code: Cow<'static, str>) {
        self.websockets_refused.get_or_create(&label(code)).inc();
    }

    /// Counts a request that was answered with a status of 400 and above. It is among [`Metrics::http_requests`] too.
    pub(crate) fn http_failed(&self, code: Cow<'static, str>) {
        self.http_errors.get_or_create(&label(code)).inc();
    }

    /// Counts a session's request that was answered with an error.
    pub(crate) fn reply_refused(&self, code: Cow<'static, str>) {
        self.replies_refused.get_or_create(&label(code)).inc();
    }

    /// Counts a connection that came to nothing.
    pub(crate) fn turned_away(&self, why: Turned) {
        if let Some(counter) = of(Turned::ALL, &self.turned, why) {
            counter.inc();
        }
    }

    /// Counts a page that was read for one link.
    pub(crate) fn page_read(&self, source: Source) {
        if let Some(counter) = of(Source::ALL, &self.pages, source) {
            counter.inc();
        }
    }

    /// Counts a gap that a subscriber was told of.
    pub(crate) fn gap(&self, gap: &Gap) {
        let Some((told, missed)) = of(GapReason::ALL, &self.gaps, gap.reason) else { return };
        told.inc();
        if gap.to != Eid::NONE {
            missed.add(gap.to.0.saturating_sub(gap.from.0).saturating_add(1));
        }
    }

    /// Counts what the store tells; to be given to it when it is opened.
    pub(crate) fn watch_store(&self) -> impl FnMut(Progress<'_>) + Send + use<> {
        self.store.watch()
    }

    /// Whether the store refuses events for want of room.
    pub(crate) fn store_is_full(&self) -> bool {
        self.store.is_full()
    }

    /// Counts a read that the store did not do.
    pub(crate) fn read_failed(&self) {
        self.store.reads_failed.inc();
    }

    /// Counts a probe that was let pass.
    pub(crate) fn probed(&self, kind: probe::Kind) {
        if let Some(counter) = of(probe::Kind::ALL, &self.probes, kind) {
            counter.inc();
        }
    }

    /// Counts a link that the realm closed.
    pub fn link_closed(&self, code: CloseCode) {
        if let Some(counter) = of(CloseCode::ALL, &self.closed, code) {
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

/// A code as a label. Those of the realm are part of its text, so that no client can make new ones.
fn label(code: Cow<'static, str>) -> Code {
    match code {
        Cow::Borrowed(code) => [("code", code)],
        Cow::Owned(_) => [("code", "other")],
    }
}

#[cfg(test)]
mod tests {
    use throughline_engine::store::StoreError;
    use throughline_wire::event::Epoch;

    use super::*;

    fn is_shown(metrics: &Metrics, totals: &Totals, lines: &[&str]) {
        let text = metrics.render(totals);
        for line in lines {
            assert!(text.lines().any(|l| l == *line), "{line} is not in\n{text}");
        }
    }

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
        metrics.turned_away(Turned::Plain);
        metrics.page_read(Source::Disk);
        metrics.reply_refused("overloaded".into());
        metrics.reply_refused("of a client's making".to_owned().into());
        metrics.gap(&Gap { from: Eid(3), to: Eid(7), epoch: Epoch(1), reason: GapReason::Capacity });
        metrics.gap(&Gap { from: Eid(3), to: Eid::NONE, epoch: Epoch(1), reason: GapReason::Epoch });
        let totals = Totals { channels: 3, events: 4, bytes: 5, published: 6, duplicates: 1, ..Totals::default() };
        let lines = [
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
            "throughline_gaps_reported_total{reason=\"capacity\"} 1",
            "throughline_gaps_reported_total{reason=\"epoch\"} 1",
            "throughline_events_missed_total{reason=\"capacity\"} 5",
            "throughline_events_missed_total{reason=\"epoch\"} 0",
            "throughline_connections_refused_total{reason=\"tls_required\"} 1",
            "throughline_connections_refused_total{reason=\"connections_max\"} 0",
            "throughline_pages_read_total{source=\"disk\"} 1",
            "throughline_replies_refused_total{code=\"overloaded\"} 1",
            "throughline_replies_refused_total{code=\"other\"} 1",
            "# EOF",
        ];
        is_shown(&metrics, &totals, &lines);
    }

    #[test]
    fn commits_and_errors_of_the_store_are_shown() {
        let metrics = Metrics::new();
        let mut watch = metrics.watch_store();
        for (events, oldest) in [(3, Some(0)), (0, None)] {
            watch(Progress::Begun);
            watch(Progress::Committed { events, oldest });
        }
        watch(Progress::Failed(&StoreError::Full(String::new())));
        watch(Progress::Failed(&StoreError::Failed(String::new())));
        metrics.read_failed();
        let lines = [
            "throughline_store_commit_seconds_count 2",
            "throughline_store_commit_events_count 2",
            "throughline_store_commit_events_sum 3.0",
            "throughline_store_commit_events_bucket{le=\"4.0\"} 2",
            // An event of 1970 has waited for longer than any bucket says.
            "throughline_store_latency_seconds_bucket{le=\"16.384\"} 0",
            "throughline_store_latency_seconds_count 1",
            "throughline_store_errors_total{kind=\"full\"} 1",
            "throughline_store_errors_total{kind=\"write\"} 1",
            "throughline_store_errors_total{kind=\"read\"} 1",
        ];
        is_shown(&metrics, &Totals::default(), &lines);
    }
}
