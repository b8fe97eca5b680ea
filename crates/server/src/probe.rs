//! Probes: addresses that show what a path does to what passes it. PROTOCOL.md section 12.
//!
//! [`serve`] answers all of them but WebSocket, whose handshake is an ordinary one for a link that echoes ([`greeting`]).

mod call;
mod inspect;
mod rates;
mod stream;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use throughline_wire::message::{ErrorCode, ReplyError};
use tokio::time::{Instant, sleep};

use crate::config::ProbeSettings;
use crate::fnv::fnv1a;
use crate::http::answer::{Fault, json};
use crate::http::request::{Query, read_body};
use crate::http::{self, Body, Context, cors};
use crate::network::Network;
use crate::runtime::{Local, Phase};
use crate::transport::unbuffered;
use rates::Rates;

pub(crate) use inspect::{Arrival, ArrivedHost, RawHead, Way, arrived_host, hello};
pub(crate) use stream::{ProbeStream, run};

const PREFIX: &str = "/throughline/v1/probe/";

/// The probes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Inspect,
    Post,
    Poll,
    Stream,
    WebSocket,
}

impl Kind {
    /// Every kind.
    pub(crate) const ALL: [Kind; 5] = [Kind::Inspect, Kind::Post, Kind::Poll, Kind::Stream, Kind::WebSocket];

    /// As its address ends.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Inspect => "inspect",
            Kind::Post => "post",
            Kind::Poll => "poll",
            Kind::Stream => "stream",
            Kind::WebSocket => "websocket",
        }
    }

    /// What a path is for, where that is a probe without an upgrade.
    pub(crate) fn of(path: &str) -> Option<Kind> {
        let name = path.strip_prefix(PREFIX)?;
        Kind::ALL.into_iter().find(|kind| *kind != Kind::WebSocket && kind.name() == name)
    }

    const fn methods(self) -> &'static str {
        match self {
            Kind::Inspect => "GET, POST",
            Kind::Post => "POST",
            Kind::Poll | Kind::Stream | Kind::WebSocket => "GET",
        }
    }
}

/// True for a request whose head is to be shown as it came.
pub(crate) fn is_inspection(target: &str) -> bool {
    target.contains("/throughline/v1/probe/inspect")
}

/// What is left of the bounds on probes.
#[derive(Debug)]
pub(crate) struct Probes {
    rates: Mutex<Rates>,
    /// Streams and polls under way.
    held: AtomicU64,
}

impl Probes {
    pub(crate) fn new(settings: &ProbeSettings) -> Probes {
        Probes { rates: Mutex::new(Rates::new(settings.per_minute_max)), held: AtomicU64::new(0) }
    }
}

/// A stream or a poll, counted until it is dropped.
struct Held(Arc<Context>);

impl Held {
    fn new(context: &Arc<Context>) -> Result<Held, Fault> {
        let max = context.config.probes.held_max;
        let before = context.probes.held.fetch_add(1, Ordering::Relaxed);
        let held = Held(Arc::clone(context));
        if before < max {
            return Ok(held);
        }
        context.metrics.probes_refused.inc();
        let text =
            format!("the realm has probes.held_max = {max} streams and polls of probes under way; come back later");
        Err(ReplyError::limit(ErrorCode::Overloaded, text, max).into())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.probes.held.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A fault where probes are switched off.
pub(crate) fn check_enabled(context: &Context) -> Result<(), Fault> {
    if context.config.probes.enabled {
        return Ok(());
    }
    let text = "the realm has its probes switched off (probes.enabled = false)";
    Err(Fault::new(StatusCode::NOT_FOUND, "not_found", text))
}

/// Counts a probe against what its network may ask for.
pub(crate) fn check_rate(context: &Context, address: Option<IpAddr>) -> Result<(), Fault> {
    let network = Network::of(address);
    let mut rates = context.probes.rates.lock().unwrap_or_else(PoisonError::into_inner);
    let Err(wait_ms) = rates.take(network, context.unix_ms()) else { return Ok(()) };
    drop(rates);
    context.metrics.probes_refused.inc();
    let max = context.config.probes.per_minute_max;
    let text = format!("this network has sent more than probes.per_minute_max = {max} probes per minute; repeat later");
    let fault = Fault::new(StatusCode::TOO_MANY_REQUESTS, "too_many_probes", text).limit(max);
    Err(fault.header(RETRY_AFTER, HeaderValue::from(wait_ms.div_ceil(1000).max(1))))
}

/// Whether an echo is asked to say first what it sees of its handshake.
pub(crate) fn greeting(query: Option<&str>) -> Result<bool, Fault> {
    let pairs = query.unwrap_or_default().split('&');
    match pairs.into_iter().find_map(|pair| pair.strip_prefix("hello=")) {
        None | Some("0") => Ok(false),
        Some("1") => Ok(true),
        Some(other) => Err(Fault::bad_request(format!("hello={other:?}: expected 0 or 1"))),
    }
}

/// What became of a request.
pub(crate) enum Outcome {
    Answer(Response<Body>),
    /// The connection becomes a stream.
    Stream(Box<ProbeStream>),
}

/// Answers a request to one of the paths of [`Kind::of`].
pub(crate) async fn serve<B>(local: &Rc<Local>, kind: Kind, arrival: Arrival, request: Request<B>) -> Outcome
where
    B: hyper::body::Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    match respond(local, kind, &arrival, &head, body).await {
        Ok(Outcome::Answer(response)) => Outcome::Answer(http::complete(&head, &local.http, unbuffered(response))),
        Ok(stream) => {
            local.http.metrics.http_requests.inc();
            stream
        }
        Err(fault) => {
            let response = local.http.noted(fault).into_response();
            Outcome::Answer(http::complete(&head, &local.http, unbuffered(response)))
        }
    }
}

async fn respond<B>(local: &Rc<Local>, kind: Kind, arrival: &Arrival, head: &Parts, body: B) -> Result<Outcome, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let context = &local.http;
    check_enabled(context)?;
    check_method(kind, head)?;
    let query = Query::lenient(head)?;
    cors::check_link(&head.method, &head.headers, call::is_embedded(kind, &query), &context.config.origins)?;
    if context.is_draining() {
        return Err(Fault::draining());
    }
    check_rate(context, arrival.client.address)?;
    if kind == Kind::Stream {
        let stream = stream::open(context, head, &query)?;
        context.metrics.probed(kind);
        return Ok(Outcome::Stream(Box::new(stream)));
    }
    if kind == Kind::Poll {
        let (time, held) = (call::hold(&query)?, Held::new(context)?);
        context.metrics.probed(kind);
        return Ok(Outcome::Answer(hold(local, time, held).await));
    }
    // What a request that is inspected brings is read too: it would stand in the way of what comes behind.
    let max = context.config.limits.event_bytes_max;
    let body = read_body(body, max, "limits.event_bytes_max", context).await?;
    context.metrics.probed(kind);
    let text = match kind {
        Kind::Inspect => inspect::write_inspect(arrival, head),
        _ => format!("{{\"bytes\":{},\"fnv1a\":\"{:016x}\"}}", body.bytes.len(), fnv1a(&body.bytes)).into_bytes(),
    };
    Ok(Outcome::Answer(json(StatusCode::OK, text)))
}

fn check_method(kind: Kind, head: &Parts) -> Result<(), Fault> {
    let allowed = kind.methods();
    if allowed.split(", ").any(|method| head.method == method) {
        return Ok(());
    }
    let text = format!("{} is not possible here; {allowed} is", head.method);
    let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", text);
    Err(fault.header(ALLOW, HeaderValue::from_static(allowed)))
}

/// Answers after a time, or at once when the realm stops.
async fn hold(local: &Local, hold: Duration, held: Held) -> Response<Body> {
    let begin = Instant::now();
    let mut phase = local.phase.clone();
    tokio::select! {
        () = sleep(hold) => {}
        _ = phase.wait_for(|phase| *phase != Phase::Running) => {}
    }
    drop(held);
    json(StatusCode::OK, format!("{{\"held_ms\":{}}}", begin.elapsed().as_millis()))
}
