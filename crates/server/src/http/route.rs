//! What a path stands for.

use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use throughline_wire::event::check_channel_name;
use throughline_wire::message::{ErrorCode, ReplyError};

use super::answer::Fault;
use super::assets::Asset;

const CHANNELS: &str = "/throughline/v1/channels";

/// What there is, for those who look elsewhere.
const PLACES: &str = "/ (a page that shows the realm working), /healthz, /metrics, /throughline/v1/websocket, \
     /throughline/v1/stream, /throughline/v1/poll, /throughline/v1/uplink, /throughline/v1/diagnose, /throughline/v1/probe/{inspect,post,poll,stream,websocket}, \
     /throughline/v1/client.js, /throughline/v1/channels, /throughline/v1/channels/{name} and \
     /throughline/v1/channels/{name}/events";

/// The target of a request.
#[derive(Debug)]
pub(super) enum Route {
    Asset(&'static Asset),
    Health,
    Metrics,
    /// What became of a WebSocket handshake.
    Diagnose,
    Channels,
    /// One channel, by its checked name.
    Channel(String),
    /// The events of one.
    Events(String),
}

impl Route {
    /// The route of a path as it was sent, without the query.
    pub(super) fn of(path: &str) -> Result<Route, Fault> {
        match path {
            "/healthz" => return Ok(Route::Health),
            "/metrics" => return Ok(Route::Metrics),
            "/throughline/v1/diagnose" => return Ok(Route::Diagnose),
            CHANNELS => return Ok(Route::Channels),
            _ => {}
        }
        if let Some(asset) = Asset::at(path) {
            return Ok(Route::Asset(asset));
        }
        let rest = path.strip_prefix(CHANNELS).and_then(|rest| rest.strip_prefix('/')).ok_or_else(|| nothing(path))?;
        // The last segment is told from a part of the name before decoding: `a%2Fevents` is a channel.
        match rest.strip_suffix("/events") {
            Some(name) => channel_name(name).map(Route::Events),
            None => channel_name(rest).map(Route::Channel),
        }
    }

    /// What can be done there.
    pub(super) const fn methods(&self) -> &'static [Method] {
        match self {
            Route::Asset(_) | Route::Health | Route::Metrics | Route::Diagnose | Route::Channels => {
                &[Method::GET, Method::HEAD]
            }
            Route::Channel(_) => &[Method::GET, Method::HEAD, Method::PUT, Method::DELETE],
            Route::Events(_) => &[Method::GET, Method::HEAD, Method::POST],
        }
    }
}

fn nothing(path: &str) -> Fault {
    Fault::new(StatusCode::NOT_FOUND, "not_found", format!("nothing is at {path}; there are {PLACES}"))
}

fn channel_name(encoded: &str) -> Result<String, Fault> {
    let bad = |message: String| Fault::from(ReplyError::new(ErrorCode::BadChannelName, message));
    let name = percent_decode_str(encoded).decode_utf8().map_err(|_| bad("a channel name is not UTF-8".to_owned()))?;
    check_channel_name(&name).map_err(|e| bad(e.to_string()))?;
    Ok(name.into_owned())
}
