//! What pages of other origins may do: CORS, and which requests of browsers are refused. PROTOCOL.md section 10.7.

use hyper::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, HOST, HeaderMap, HeaderName,
    HeaderValue, ORIGIN, REFERER, VARY,
};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};

use super::answer::{BAD_ORIGIN, Fault, whole};
use super::body::Body;
use crate::config::{Grant, Origins};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const REQUEST_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-request-private-network");
const ALLOW_PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");
/// Seconds for which a browser need not ask again.
const PREFLIGHT_MAX_AGE_S: &str = "7200";

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// True for paths of the protocol, whose answers other pages may be allowed to read. Below a prefix that nobody took away there is
/// nothing, and a page has to be able to read that it is the realm which says so.
pub(crate) fn concerns(path: &str) -> bool {
    path.contains("/throughline/v1/")
}

/// Tells the browser who may read an answer.
pub(crate) fn allow(request: &HeaderMap, origins: &Origins, answer: &mut HeaderMap) {
    answer.insert(VARY, HeaderValue::from_static("Origin"));
    let Some(origin) = request.get(ORIGIN) else { return };
    let grant = origin.to_str().ok().and_then(|origin| origins.grant(origin, text(request, HOST)));
    match grant {
        None => return,
        Some(Grant::Any) => answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")),
        Some(Grant::Own) => {
            answer.insert(ACCESS_CONTROL_ALLOW_CREDENTIALS, HeaderValue::from_static("true"));
            answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone())
        }
    };
    answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Throughline"));
}

/// Answers an `OPTIONS` request, which says what a page may do next.
pub(super) fn preflight(head: &Parts, origins: &Origins) -> Result<Response<Body>, Fault> {
    check(&head.headers, origins)?;
    let mut response = whole(StatusCode::NO_CONTENT, "");
    let answer = response.headers_mut();
    answer.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, HEAD, POST, PUT, DELETE"));
    let headers = HeaderValue::from_static("content-type, throughline-session, throughline-id");
    answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, headers);
    answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(PREFLIGHT_MAX_AGE_S));
    if text(&head.headers, REQUEST_PRIVATE_NETWORK) == Some("true") {
        answer.insert(ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// What browsers say, and no page can change, of a request to the very address that its page came from. It holds where a proxy
/// put a `Host` of its own into the request too.
pub(crate) const SAME_ORIGIN: &str = "same-origin";

/// A page of another site can make a browser send requests that change things; the browser tells where it came from.
pub(crate) fn check(headers: &HeaderMap, origins: &Origins) -> Result<(), Fault> {
    if text(headers, SEC_FETCH_SITE) == Some(SAME_ORIGIN) {
        return Ok(());
    }
    for origin in headers.get_all(ORIGIN) {
        let origin = String::from_utf8_lossy(origin.as_bytes());
        if !origins.allow(&origin, text(headers, HOST)) {
            return Err(Fault::bad_origin(&origin));
        }
    }
    Ok(())
}

/// The same for requests that open or feed a link. Scripts, frames and images are loaded by `GET` without an `Origin`. `embedded`
/// says that a page of another site would gain something by that; then other headers have to say where the request came from.
/// Old browsers send a form's `POST` without an `Origin` too, but then with a `Referer`.
pub(crate) fn check_link(method: &Method, headers: &HeaderMap, embedded: bool, origins: &Origins) -> Result<(), Fault> {
    check(headers, origins)?;
    if headers.contains_key(ORIGIN) || origins.any() {
        return Ok(());
    }
    let embedded = embedded && method == Method::GET;
    let site = text(headers, SEC_FETCH_SITE);
    if matches!(site, Some(SAME_ORIGIN | "none")) {
        return Ok(());
    }
    match headers.get(REFERER).map(|value| String::from_utf8_lossy(value.as_bytes())) {
        Some(referer) => {
            let origin = origin_of(&referer);
            if origins.allow(origin, text(headers, HOST)) { Ok(()) } else { Err(Fault::bad_origin(origin)) }
        }
        None if site.is_none() && !embedded => Ok(()),
        None => {
            let text =
                "the browser does not tell which page asks; load scripts and frames with referrerpolicy=\"origin\"";
            Err(Fault::new(StatusCode::FORBIDDEN, BAD_ORIGIN, text))
        }
    }
}

/// The origin of an address.
fn origin_of(address: &str) -> &str {
    let authority = address.find("://").map_or(0, |at| at + 3);
    let end = address.get(authority..).and_then(|rest| rest.find(['/', '?', '#']));
    end.and_then(|end| address.get(..authority + end)).unwrap_or(address)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn origins(allowed: &str) -> Origins {
        let toml = format!("[origins]\nallowed = [{allowed}]\n");
        Config::load(Some(("t.toml", &toml)), &[]).unwrap().origins
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(*value).unwrap()))
            .collect()
    }

    #[test]
    fn who_may_read_an_answer() {
        let exact = "\"https://a.example\"";
        let cases = [
            (exact, Some("https://a.example"), Some("https://a.example"), true),
            (exact, Some("https://b.example"), None, false),
            (exact, Some("http://realm:9000"), Some("http://realm:9000"), true),
            (exact, None, None, false),
            ("\"*\"", Some("https://b.example"), Some("*"), false),
            ("\"*\"", Some("null"), Some("*"), false),
            ("\"*\", \"https://a.example\"", Some("https://a.example"), Some("https://a.example"), true),
            ("\"null\"", Some("null"), Some("*"), false),
            ("", Some("null"), None, false),
        ];
        for (allowed, origin, expected, credentials) in cases {
            let mut request = headers(&[("host", "realm:9000")]);
            if let Some(origin) = origin {
                request.insert(ORIGIN, HeaderValue::from_str(origin).unwrap());
            }
            let mut answer = HeaderMap::new();
            allow(&request, &origins(allowed), &mut answer);
            assert_eq!(text(&answer, ACCESS_CONTROL_ALLOW_ORIGIN), expected, "{allowed} {origin:?}");
            assert_eq!(answer.contains_key(ACCESS_CONTROL_ALLOW_CREDENTIALS), credentials, "{allowed} {origin:?}");
            assert_eq!(text(&answer, VARY), Some("Origin"));
        }
    }

    /// Method, headers, allowed when embedded, allowed otherwise.
    type Case<'a> = (Method, &'a [(&'static str, &'a str)], bool, bool);

    #[test]
    fn a_page_of_the_realm_is_known_behind_a_proxy_with_a_host_of_its_own() {
        let page = ("origin", "http://live.example");
        for (site, allowed) in
            [(Some("same-origin"), true), (Some("same-site"), false), (Some("cross-site"), false), (None, false)]
        {
            let site = site.map(|site| ("sec-fetch-site", site));
            let given: Vec<_> = [page, ("host", "127.0.0.1:9000")].into_iter().chain(site).collect();
            assert_eq!(check(&headers(&given), &origins("")).is_ok(), allowed, "{site:?}");
        }
    }

    #[test]
    fn where_a_link_request_may_come_from() {
        let listed = origins("\"https://a.example\"");
        let cases: [Case<'_>; 14] = [
            (Method::GET, &[], false, true),
            (Method::POST, &[], true, true),
            (Method::GET, &[("origin", "https://a.example")], true, true),
            (Method::POST, &[("origin", "https://b.example")], false, false),
            (Method::POST, &[("referer", "https://b.example/form")], false, false),
            (Method::POST, &[("referer", "https://a.example/form")], true, true),
            (Method::GET, &[("sec-fetch-site", "same-origin")], true, true),
            (Method::GET, &[("sec-fetch-site", "none")], true, true),
            (Method::GET, &[("sec-fetch-site", "cross-site")], false, false),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("referer", "https://a.example/x?y")], true, true),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("referer", "https://b.example/")], false, false),
            (Method::GET, &[("referer", "https://a.example.evil/")], false, false),
            (Method::GET, &[("referer", "http://realm:9000/page#x")], true, true),
            (Method::GET, &[("referer", "rubbish")], false, false),
        ];
        for (method, pairs, embedded, otherwise) in cases {
            let pairs: Vec<_> = pairs.iter().copied().chain([("host", "realm:9000")]).collect();
            let given = headers(&pairs);
            assert_eq!(check_link(&method, &given, true, &listed).is_ok(), embedded, "{method} {given:?} embedded");
            assert_eq!(check_link(&method, &given, false, &listed).is_ok(), otherwise, "{method} {given:?}");
        }
        assert!(check_link(&Method::GET, &headers(&[]), true, &origins("\"*\"")).is_ok());
    }
}
