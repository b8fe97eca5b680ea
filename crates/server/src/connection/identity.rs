//! Whom a request comes from, before anything is done about it.

use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Request, Response, Version};

use crate::http::{Body, cors};
use crate::peer::{Client, Refused, Source};
use crate::probe::ArrivedHost;
use crate::runtime::Local;

/// Learns whom a request comes from. Everything behind finds in its `Host` what the client asked for.
pub(super) fn identify<B>(
    local: &Local,
    came: Source,
    request: &mut Request<B>,
) -> Result<Client, Box<Response<Body>>> {
    let arrived = request.headers().get(HOST).cloned();
    // An absolute target goes before the header (RFC 9112 section 3.2.2); HTTP/2 has no other place for the host.
    let host = request.uri().authority().and_then(|authority| HeaderValue::try_from(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(HOST, host);
    }
    let http_1_0 = request.version() < Version::HTTP_11;
    let headers = request.headers();
    let values: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    match came.client(&values, http_1_0, &local.http.config) {
        Ok(client) => {
            count(local, &client);
            if let Ok(host) = HeaderValue::try_from(client.host.as_str())
                && !host.is_empty()
            {
                request.headers_mut().insert(HOST, host);
            }
            if let Some(arrived) = arrived.filter(|arrived| Some(arrived) != request.headers().get(HOST)) {
                request.extensions_mut().insert(ArrivedHost(arrived));
            }
            Ok(client)
        }
        Err(refused) => {
            note(local, came, &refused);
            let fault = refused.fault();
            local.http.metrics.http_failed(fault.error().code.clone());
            let mut response = fault.into_response();
            if cors::concerns(request.uri().path()) {
                cors::allow(headers, &local.http.config.origins, response.headers_mut());
            }
            if request.version() < Version::HTTP_2 {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Err(Box::new(response))
        }
    }
}

/// The same of a head that no HTTP library has seen; what is refused gets its answer from there.
pub(super) fn identify_head(local: &Local, came: Source, headers: &[(&str, &[u8])]) -> Option<Client> {
    came.client(headers, false, &local.http.config).ok()
}

/// Counts what is not believed.
pub(super) fn count(local: &Local, client: &Client) {
    if client.ignored {
        local.http.metrics.forwarded_ignored.inc();
    }
}

/// Tells the operator of a proxy that cannot be understood.
fn note(local: &Local, came: Source, refused: &Refused) {
    local.http.metrics.http_requests.inc();
    let Refused::Forwarded(bad) = refused else { return };
    local.http.metrics.forwarded_refused.inc();
    if let Some(times) = local.forwarded_refused.happened(local.clock.now().monotonic) {
        let peer = came.address.map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
        tracing::warn!(
            times,
            "a request that {peer} forwards is refused: {bad} (proxies.trusted lists it; proxies.headers says which headers it writes)"
        );
    }
}
