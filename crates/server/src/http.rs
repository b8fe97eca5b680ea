//! Ordinary HTTP: the page, health, metrics, channel administration, publish and replay. PROTOCOL.md section 9.
//!
//! [`serve`] answers one request and touches no socket. WebSocket handshakes are not its matter, but
//! share its policy on origins ([`origin_allowed`]) and the shape of its errors ([`error`]).

pub(crate) mod answer;
mod assets;
mod bodies;
mod body;
mod channels;
pub(crate) mod cors;
mod diagnose;
mod events;
pub(crate) mod request;
mod route;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use bytes::Bytes;
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response, StatusCode};
use throughline_engine::Engine;

use crate::addresses::Addresses;
use crate::budget::Budget;
use crate::clock::Clock;
use crate::config::{Config, Origins};
use crate::metrics::Metrics;
use crate::probe::Probes;
use crate::rare::Rare;
use crate::transport::Directory;
use answer::{BAD_ORIGIN, Fault, whole};
use bodies::Bodies;
use request::Query;
use route::Route;

pub(crate) use answer::{crowded_response, plain_response, refused_response};
pub use answer::{error, full_response};
pub use body::Body;
pub(crate) use diagnose::{Attempt, Attempts};

/// What every request is answered from.
pub struct Context {
    /// The realm's channels.
    pub engine: Arc<Engine>,
    /// The realm's configuration.
    pub config: Arc<Config>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// The links that requests may reach.
    pub(crate) links: Arc<Directory>,
    /// WebSocket handshakes that clients may ask about.
    pub(crate) attempts: Attempts,
    /// What probes may still do.
    pub(crate) probes: Probes,
    now: fn() -> u64,
    clock: Clock,
    /// Lines of the log about pages that may not use the realm.
    origins_refused: Rare,
    draining: AtomicBool,
    /// Connections of the realm, and links within those that carry many.
    pub(crate) connections: Arc<AtomicUsize>,
    /// Connections by the address that they come from.
    pub(crate) addresses: Arc<Addresses>,
    /// What requests bring at this moment.
    bodies: Bodies,
    /// What pages of events hold on their way to clients.
    answers: Arc<Budget>,
}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("draining", &self.draining)
            .field("bodies", &self.bodies)
            .finish_non_exhaustive()
    }
}

impl Context {
    /// `now` gives the time in milliseconds since 1970.
    pub fn new(engine: Arc<Engine>, config: Arc<Config>, metrics: Arc<Metrics>, now: fn() -> u64) -> Context {
        let limits = &config.limits;
        let links = Arc::new(Directory::new(limits.poll_bytes_max, limits.poll_links_max));
        let (attempts, probes) = (Attempts::default(), Probes::new(&config.probes));
        let (bodies, answers) = (Bodies::new(limits.pending_bytes_max), Arc::new(Budget::new(limits.answer_bytes_max)));
        let draining = AtomicBool::new(false);
        let (connections, addresses) = (Arc::default(), Addresses::new(limits.connections_per_address_max));
        let (clock, origins_refused) = (Clock::start(), Rare::default());
        Context {
            engine,
            config,
            metrics,
            links,
            attempts,
            probes,
            now,
            clock,
            origins_refused,
            draining,
            connections,
            addresses,
            bodies,
            answers,
        }
    }

    /// From now on nothing new is accepted.
    pub fn set_draining(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// True when the realm is stopping.
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// True when there are as many connections as `limits.connections_max` allows.
    pub(crate) fn is_full(&self) -> bool {
        self.connections.load(Ordering::Relaxed) as u64 >= self.config.limits.connections_max
    }

    /// Milliseconds since 1970.
    pub(crate) fn unix_ms(&self) -> u64 {
        (self.now)()
    }

    /// Gives back why a request is refused; what the operator has to know of is counted and told.
    pub(crate) fn noted(&self, fault: Fault) -> Fault {
        if fault.error().code == BAD_ORIGIN {
            self.metrics.origins_refused.inc();
            if let Some(times) = self.origins_refused.happened(self.clock.now().monotonic) {
                tracing::info!(times, "a request is refused: {}", fault.error().message);
            }
        }
        fault
    }

    /// Calls the engine where it may wait for the disk.
    async fn blocking<T: Send + 'static>(&self, call: impl FnOnce(&Engine) -> T + Send + 'static) -> Result<T, Fault> {
        let engine = Arc::clone(&self.engine);
        // The one way to fail is that the realm stops before the call began.
        tokio::task::spawn_blocking(move || call(&engine)).await.map_err(|_| Fault::draining())
    }
}

/// Whether a request with this `Origin` header and this `Host` header comes from a page that may use the realm; see
/// [`Origins::allow`] for the rules. Requests without an `Origin` come from no page and need not be asked about.
pub fn origin_allowed(origin: &str, host: Option<&str>, policy: &Origins) -> bool {
    policy.allow(origin, host)
}

/// Answers a request. Every fault is an answer: 4xx for the client's, 5xx for the realm's.
pub async fn serve<B>(request: Request<B>, context: &Context) -> Response<Body>
where
    B: hyper::body::Body<Data = Bytes>,
{
    let (head, body) = request.into_parts();
    let response = respond(&head, body, context).await;
    let response = response.unwrap_or_else(|fault| context.noted(fault).into_response());
    complete(&head, context, response)
}

/// What every answer goes through last.
pub(crate) fn complete(head: &Parts, context: &Context, mut response: Response<Body>) -> Response<Body> {
    context.metrics.http_requests.inc();
    if response.status().as_u16() >= 400 {
        context.metrics.http_failed(answer::code(&response));
    }
    if cors::concerns(head.uri.path()) {
        cors::allow(&head.headers, &context.config.origins, response.headers_mut());
    }
    answer::finish(&head.method, response)
}

async fn respond<B>(head: &Parts, body: B, context: &Context) -> Result<Response<Body>, Fault>
where
    B: hyper::body::Body<Data = Bytes>,
{
    if head.method == Method::OPTIONS && cors::concerns(head.uri.path()) {
        return cors::preflight(head, &context.config.origins);
    }
    let route = Route::of(head.uri.path())?;
    if !route.methods().contains(&head.method) {
        return Err(method_not_allowed(&route, &head.method));
    }
    if !head.method.is_safe() {
        cors::check(&head.headers, &context.config.origins)?;
        if context.is_draining() {
            return Err(Fault::draining());
        }
    }
    match (route, &head.method) {
        (Route::Asset(asset), _) => Ok(assets::answer(asset, head)),
        (Route::Health, _) => Ok(health(context)),
        (Route::Metrics, _) => metrics(context).await,
        (Route::Diagnose, _) => diagnose(head, context),
        (Route::Channels, _) => channels::list(head, context).await,
        (Route::Channel(name), &Method::PUT) => channels::create(name, head, body, context).await,
        (Route::Channel(name), &Method::DELETE) => channels::delete(name, context).await,
        (Route::Channel(name), _) => channels::show(&name, context),
        (Route::Events(name), &Method::POST) => events::publish(name, head, body, context).await,
        (Route::Events(name), _) => events::replay(&name, head, context).await,
    }
}

fn method_not_allowed(route: &Route, method: &Method) -> Fault {
    let allowed = route.methods().iter().map(Method::as_str).collect::<Vec<_>>().join(", ");
    let message = format!("{method} is not possible here; {allowed} are");
    let fault = Fault::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message);
    match HeaderValue::try_from(allowed) {
        Ok(value) => fault.header(ALLOW, value),
        Err(_) => fault,
    }
}

fn diagnose(head: &Parts, context: &Context) -> Result<Response<Body>, Fault> {
    let query = Query::lenient(head)?;
    match query.get("id") {
        Some(id) => Ok(context.attempts.answer(id)),
        None => Err(Fault::bad_request("the query gives no id: /throughline/v1/diagnose?id=...")),
    }
}

fn health(context: &Context) -> Response<Body> {
    let (status, word) = match context.is_draining() {
        false => (StatusCode::OK, "ok"),
        true => (StatusCode::SERVICE_UNAVAILABLE, "draining"),
    };
    // A realm whose disk is full still delivers, so nobody should be sent elsewhere for that.
    let store = if context.metrics.store_is_full() { ",\"store\":\"full\"" } else { "" };
    answer::json(status, format!("{{\"status\":\"{word}\"{store}}}"))
}

async fn metrics(context: &Context) -> Result<Response<Body>, Fault> {
    let totals = context.blocking(Engine::totals).await?;
    let mut response = whole(StatusCode::OK, context.metrics.render(&totals));
    let kind = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(response)
}

#[cfg(test)]
mod tests;
