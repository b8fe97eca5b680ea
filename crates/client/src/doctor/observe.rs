//! Trying everything that could carry a session, on every way to the realm.

mod draft;
mod http2;
mod limits;
mod requests;
mod streams;
mod way;
mod websocket;

use std::sync::Arc;
use std::time::Duration;

use throughline_wire::path::Transport;
use throughline_wire::ws::Version;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::observations::{Observations, Trial};
use crate::error::ConnectError;
use crate::net::{ProxyChoice, Route, Witness};
use crate::options::Options;
use crate::session::Session;
use crate::url::RealmUrl;
use way::Way;

/// Time for a connection, for the head of an answer, and for what is to follow at once, milliseconds.
const PATIENCE_MS: u64 = 8_000;
/// A poll is held for so long, where there is time for it, seconds: what clients begin with.
const HOLD_S: u64 = 12;

/// How thoroughly a path is examined.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Plan {
    /// How long connections are left silent, seconds. Default 20, at most [`IDLE_S_MAX`]; 0 leaves that out, and polls that
    /// are held long.
    pub idle_s: u64,
    /// The origin of a page that requests claim to come from. Default none, as of a program.
    pub origin: Option<String>,
}

impl Default for Plan {
    fn default() -> Plan {
        Plan { idle_s: 20, origin: None }
    }
}

/// Longest silence that is tried, seconds: an hour.
pub const IDLE_S_MAX: u64 = 3_600;

/// Tries everything, and tells `told` of each trial as it ends. It takes the idle time, or what a silent path makes of it.
///
/// # Errors
/// When the route itself makes no sense, such as the address of a proxy. What fails on the way is observed.
pub async fn observe(url: &RealmUrl, plan: &Plan, mut told: impl FnMut(&Trial)) -> Result<Observations, ConnectError> {
    let proxy = url.route().proxy_authority(url)?;
    let witness = Witness::new(url.route()).map_err(|fault| tls_fault(url, fault))?;
    let ways = ways(url, proxy.is_some(), &Arc::new(witness), plan);
    let (sender, mut trials) = unbounded_channel();
    let mut examined = JoinSet::new();
    for (at, way) in ways.into_iter().enumerate() {
        examined.spawn(examine(way, at == 0, plan.idle_s.min(IDLE_S_MAX), sender.clone()));
    }
    drop(sender);
    let mut observations =
        Observations { url: url.to_string(), origin: plan.origin.clone(), proxy, ..Observations::default() };
    while let Some(trial) = trials.recv().await {
        told(&trial);
        observations.trials.push(trial);
    }
    Ok(observations)
}

fn tls_fault(url: &RealmUrl, fault: String) -> ConnectError {
    ConnectError::Tls { authority: url.authority().to_owned(), fault }
}

/// Every way to the realm, that of clients first: with and without TLS, and without the proxy where there is one.
fn ways(url: &RealmUrl, proxied: bool, witness: &Arc<Witness>, plan: &Plan) -> Vec<Way> {
    let direct = Route::new(ProxyChoice::None, url.route().roots().to_vec()).unwrap_or_default();
    let mut ways = Vec::new();
    let mut add = |name, route: &Route| {
        for url in [Some(url.clone()), other_scheme(url)].into_iter().flatten() {
            ways.push(Way {
                name,
                url: url.through(route.clone()),
                witness: Arc::clone(witness),
                origin: plan.origin.clone(),
            });
        }
    };
    if proxied {
        add("proxy", url.route());
    }
    add("direct", &direct);
    ways
}

/// The same address with TLS, or without.
fn other_scheme(url: &RealmUrl) -> Option<RealmUrl> {
    let scheme = if url.is_tls() { "http" } else { "https" };
    format!("{scheme}://{}{}", url.authority(), url.prefix()).parse().ok()
}

/// Everything on one way. On others than the clients' own it ends where no connection opens, and leaves out what takes long.
async fn examine(way: Way, own: bool, idle_s: u64, out: UnboundedSender<Trial>) {
    let (inspect, realm) = tokio::join!(requests::inspect(&way), requests::realm(&way, "realm"));
    let off =
        inspect.answer.as_ref().is_some_and(|answer| answer.ours && answer.status == 404) && realm.fault.is_none();
    let lost = realm.fault.is_some();
    let open = !inspect.fault.as_deref().is_some_and(is_closed);
    // Nobody listens to the rest when the receiver is gone.
    let _ = (out.send(inspect), out.send(realm));
    if !own && !open {
        return;
    }
    let mut trials = JoinSet::new();
    for version in Version::ALL {
        trials.spawn(websocket::trial(way.clone(), version));
    }
    for kind in streams::KINDS {
        trials.spawn(streams::trial(way.clone(), kind));
    }
    trials.spawn(requests::poll(way.clone(), 1));
    trials.spawn(requests::post(way.clone(), own));
    if own {
        trials.spawn(limits::header(way.clone()));
        trials.spawn(limits::address(way.clone()));
        if way.url.is_tls() {
            trials.spawn(http2::trial(way.clone()));
        }
        if idle_s > 0 {
            trials.spawn(requests::poll(way.clone(), HOLD_S.min(idle_s)));
            trials.spawn(websocket::idle(way.clone(), idle_s));
            trials.spawn(streams::idle(way.clone(), idle_s));
        }
        if lost && !way.url.prefix().is_empty() {
            trials.spawn(root(way.clone()));
        }
        if off {
            trials.spawn(websocket::session(way.clone()));
            for transport in [Transport::HttpStream, Transport::LongPoll] {
                trials.spawn(session(way.clone(), transport));
            }
        }
    }
    while let Some(Ok(trial)) = trials.join_next().await {
        if trial.what != "idle" || has_begun(&trial) {
            let _ = out.send(trial);
        }
    }
}

/// Whether anything came before the silence: where it did not, the other trials tell why.
fn has_begun(trial: &Trial) -> bool {
    trial.first_ms.is_some()
}

/// Faults after which no other request on the way is of use.
fn is_closed(fault: &str) -> bool {
    matches!(
        fault,
        "unresolved"
            | "refused"
            | "unreachable"
            | "proxy-unreachable"
            | "credentials"
            | "credentials-refused"
            | "tunnel-refused"
            | "tls"
            | "not-tls"
            | "not-http"
    )
}

/// Whether there is a realm at the address without its path.
async fn root(way: Way) -> Trial {
    let bare = RealmUrl::without_prefix(&way.url);
    requests::realm(&Way { url: bare, ..way }, "root").await
}

/// Whether a session opens, where probes are switched off.
async fn session(way: Way, transport: Transport) -> Trial {
    let mut trial = Trial { kind: Some(transport.name().to_owned()), ..way.trial("session") };
    let options = Options { transports: vec![transport], route: way.url.route().clone(), ..Options::default() };
    let opened = timeout(Duration::from_millis(PATIENCE_MS), Session::connect(&way.url.to_string(), options)).await;
    match opened {
        Ok(Ok(session)) => {
            // It has nothing to say; one that does not end in time ends with its last handle.
            let _ = timeout(Duration::from_millis(PATIENCE_MS), session.close()).await;
        }
        Ok(Err(error)) => (trial.fault, trial.detail) = (Some("failed".to_owned()), Some(error.to_string())),
        Err(_) => (trial.fault, trial.after_ms) = (Some("silent".to_owned()), Some(PATIENCE_MS)),
    }
    trial
}
