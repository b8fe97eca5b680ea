//! Trials by plain requests.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::http::response::Parts;
use hyper::{Method, Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::super::observations::{Answer, Trial};
use super::PATIENCE_MS;
use super::way::{Way, fail, ms_since};
use crate::error::excerpt;
use crate::http::request::is_ours;
use crate::net::Form;

/// Sizes of bodies that are tried, bytes.
const BODIES: [usize; 3] = [4 << 10, 64 << 10, 256 << 10];
/// Most bytes of an answer that are read; those of the realm's probes have a few thousand.
const ANSWER_BYTES_MAX: usize = 256 << 10;
/// Program and version, as in the header `User-Agent`.
pub(super) const AGENT: &str = concat!("throughline-doctor/", env!("CARGO_PKG_VERSION"));

/// What is asked for.
pub(super) struct Ask {
    pub(super) method: Method,
    /// Below `{prefix}/throughline/v1`, with a query.
    pub(super) resource: String,
    /// Beside those of every request.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
}

impl Ask {
    pub(super) fn get(resource: impl Into<String>) -> Ask {
        Ask { method: Method::GET, resource: resource.into(), headers: Vec::new(), body: Bytes::new() }
    }

    /// Names and values, in the order in which they are sent.
    fn headers(&self, way: &Way) -> Vec<(String, String)> {
        let mut headers = vec![
            ("Host".to_owned(), way.url.authority().to_owned()),
            ("User-Agent".to_owned(), AGENT.to_owned()),
            ("Accept".to_owned(), "*/*".to_owned()),
        ];
        headers.extend(way.origin.clone().map(|origin| ("Origin".to_owned(), origin)));
        headers.extend(self.headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        headers
    }

    fn request(&self, way: &Way, form: &Form) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let target = format!("{}{}", form.front, way.url.path(&self.resource));
        let mut request = Request::builder().method(self.method.clone()).uri(target);
        for (name, value) in self.headers(way) {
            request = request.header(name, value);
        }
        if let Some(value) = &form.authorization {
            request = request.header(header::PROXY_AUTHORIZATION, value);
        }
        if self.method == Method::POST {
            request = request.header(header::CONTENT_LENGTH, self.body.len());
        }
        request.body(Full::new(self.body.clone()))
    }
}

/// A connection for requests. It is driven until it is dropped.
pub(super) struct Talk {
    form: Form,
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

impl Drop for Talk {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl Talk {
    pub(super) async fn open(way: &Way, trial: &mut Trial) -> Option<Talk> {
        let (stream, form) = way.connect_for_requests(trial).await?;
        let shaken = http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await;
        let (sender, connection) = shaken.map_err(|e| fail(trial, fault_of(&e), Instant::now())).ok()?;
        // How it ends is told to whoever waits for an answer.
        let driver = tokio::spawn(async move { drop(connection.await) });
        Some(Talk { form, sender, driver })
    }

    /// Sends a request and awaits the head of an answer for `patience_ms`; puts down who answered.
    async fn send(&mut self, way: &Way, ask: &Ask, trial: &mut Trial, patience_ms: u64) -> Option<Response<Incoming>> {
        let begin = Instant::now();
        let request = match ask.request(way, &self.form) {
            Ok(request) => request,
            Err(error) => {
                trial.detail = Some(error.to_string());
                fail(trial, "failed", begin);
                return None;
            }
        };
        let answered = timeout(Duration::from_millis(patience_ms), self.sender.send_request(request)).await;
        match answered {
            Ok(Ok(response)) => {
                trial.head_ms = Some(ms_since(begin));
                Some(response)
            }
            Ok(Err(error)) => {
                trial.detail = Some(crate::http::request::describe(&error));
                fail(trial, fault_of(&error), begin);
                None
            }
            Err(_) => {
                fail(trial, "silent", begin);
                None
            }
        }
    }

    /// The same, and only the realm's own answer with status 200 is hoped for.
    pub(super) async fn ask(&mut self, way: &Way, ask: &Ask, trial: &mut Trial, patience_ms: u64) -> Option<Incoming> {
        let begin = Instant::now();
        let (head, body) = self.send(way, ask, trial, patience_ms).await?.into_parts();
        if head.status == StatusCode::OK && is_ours(&head.headers) {
            // Kept only where it betrays somebody.
            let bare = Answer { status: 200, ours: true, ..Answer::default() };
            trial.answer = Some(answer(&head, &[])).filter(|answer| *answer != bare);
            return Some(body);
        }
        let reading = timeout(Duration::from_millis(PATIENCE_MS), read(body));
        let text = reading.await.unwrap_or_default();
        trial.answer = Some(answer(&head, &text));
        let shown = way.url.route().shows_credentials(&way.url);
        let fault = match (head.status.as_u16(), shown) {
            (407, false) => "credentials",
            (407, true) => "credentials-refused",
            _ => "answered",
        };
        fail(trial, fault, begin);
        None
    }

    /// The whole body of such an answer.
    pub(super) async fn ask_whole(
        &mut self,
        way: &Way,
        ask: &Ask,
        trial: &mut Trial,
        patience_ms: u64,
    ) -> Option<Vec<u8>> {
        let begin = Instant::now();
        let body = self.ask(way, ask, trial, patience_ms).await?;
        let read = timeout(Duration::from_millis(patience_ms), read(body)).await;
        read.map_err(|_| fail(trial, "mute", begin)).ok()
    }
}

/// Reads a body as far as it comes and is not too long.
async fn read(mut body: Incoming) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Ok(data) = frame.into_data() {
            bytes.extend_from_slice(&data);
        }
        if bytes.len() > ANSWER_BYTES_MAX {
            break;
        }
    }
    bytes
}

/// Why there is no answer.
pub(super) fn fault_of(error: &hyper::Error) -> &'static str {
    if error.is_parse() { "not-http" } else { "reset" }
}

/// The head of an answer as it is put down, with the beginning of a body that is none of the realm's.
pub(super) fn answer(head: &Parts, body: &[u8]) -> Answer {
    let headers: Vec<_> = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
    answer_of(head.status.as_u16(), &headers, body)
}

/// The same of headers however they were read.
pub(super) fn answer_of(status: u16, headers: &[(&str, &[u8])], body: &[u8]) -> Answer {
    let all = |wanted: &'static str| {
        let named = headers.iter().filter(move |(name, _)| name.eq_ignore_ascii_case(wanted));
        named.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
    };
    let ours = all("throughline").next().is_some();
    let error = crate::http::error_object(body).filter(|_| ours);
    let unusual = |name: &String| name.starts_with("x-") && !USUAL.contains(&name.as_str());
    Answer {
        status,
        ours,
        server: all("server").next(),
        via: all("via").next(),
        encoding: all("content-encoding").next().filter(|encoding| encoding != "identity"),
        code: error.as_ref().map(|error| error.code.to_string()),
        message: error.map(|error| error.message),
        headers: headers.iter().map(|(name, _)| name.to_ascii_lowercase()).filter(unusual).collect(),
        body: Some(excerpt(body)).filter(|text| !ours && !text.is_empty()),
        schemes: all("proxy-authenticate").map(|value| scheme(&value)).collect(),
    }
}

/// Headers that the realm's answers have.
const USUAL: [&str; 2] = ["x-accel-buffering", "x-content-type-options"];

/// The word by which a challenge begins.
pub(super) fn scheme(challenge: &str) -> String {
    challenge.split(' ').next().unwrap_or_default().to_owned()
}

/// The request as it arrives, and a round trip on the same connection.
pub(super) async fn inspect(way: &Way) -> Trial {
    let mut trial = way.trial("inspect");
    let Some(mut talk) = Talk::open(way, &mut trial).await else { return trial };
    let ask = Ask::get(unique("/probe/inspect"));
    trial.sent = ask.headers(way);
    let begin = Instant::now();
    let Some(body) = talk.ask_whole(way, &ask, &mut trial, PATIENCE_MS).await else { return trial };
    match serde_json::from_slice(&body) {
        Ok(seen) => trial.seen = Some(seen),
        Err(error) => {
            trial.detail = Some(format!("the answer is not what the realm writes: {error}"));
            fail(&mut trial, "altered", begin);
            return trial;
        }
    }
    let mut again = way.trial("realm");
    if talk.sender.ready().await.is_ok()
        && talk.ask_whole(way, &Ask::get(unique("/diagnose?id=doctor")), &mut again, PATIENCE_MS).await.is_some()
    {
        trial.round_trip_ms = again.head_ms;
    }
    trial
}

/// Whether a realm answers at all.
pub(super) async fn realm(way: &Way, what: &'static str) -> Trial {
    let mut trial = way.trial(what);
    if let Some(mut talk) = Talk::open(way, &mut trial).await {
        talk.ask_whole(way, &Ask::get(unique("/diagnose?id=doctor")), &mut trial, PATIENCE_MS).await;
    }
    trial
}

/// What the realm says became of a handshake.
pub(super) async fn diagnose(way: &Way, id: &str) -> Option<super::super::observations::Diagnosis> {
    let mut trial = way.trial("realm");
    let mut talk = Talk::open(way, &mut trial).await?;
    let ask = Ask::get(unique(&format!("/diagnose?id={id}")));
    let body = talk.ask_whole(way, &ask, &mut trial, PATIENCE_MS).await?;
    serde_json::from_slice(&body).ok()
}

/// An answer that takes `hold_s` seconds.
pub(super) async fn poll(way: Way, hold_s: u64) -> Trial {
    let mut trial = Trial { hold_s: Some(hold_s), ..way.trial("poll") };
    if let Some(mut talk) = Talk::open(&way, &mut trial).await {
        let ask = Ask::get(unique(&format!("/probe/poll?hold={hold_s}")));
        talk.ask_whole(&way, &ask, &mut trial, hold_s * 1000 + PATIENCE_MS).await;
    }
    trial
}

#[derive(Deserialize)]
struct Posted {
    bytes: usize,
    fnv1a: String,
}

/// Bodies, if `all` ever longer ones.
pub(super) async fn post(way: Way, all: bool) -> Trial {
    let mut trial = way.trial("post");
    for size in BODIES.into_iter().take(if all { BODIES.len() } else { 1 }) {
        let mut longer = way.trial("post");
        posted(&way, size, &mut longer).await;
        let limit_of_realm = longer.answer.as_ref().is_some_and(|answer| answer.ours) && longer.fault.is_some();
        if trial.passed.is_some() && limit_of_realm {
            return trial;
        }
        if trial.passed.is_some() && longer.fault.as_deref().is_some_and(|fault| fault != "certificate") {
            return Trial { failed: Some(size as u64), answer: longer.answer, ..trial };
        }
        trial = Trial { passed: Some(size as u64).filter(|_| longer.head_ms.is_some()), ..longer };
        if trial.fault.as_deref().is_some_and(|fault| fault != "certificate") {
            trial.passed = None;
            return trial;
        }
    }
    trial
}

async fn posted(way: &Way, size: usize, trial: &mut Trial) {
    // Bytes of every value, so that whatever rewrites contents has something to rewrite.
    let body: Bytes = (0..size).map(|n| (n * 31 + n / 251) as u8).collect();
    let sum = fnv1a(&body);
    let Some(mut talk) = Talk::open(way, trial).await else { return };
    let headers = vec![("Content-Type", "text/plain;charset=UTF-8".to_owned())];
    let ask = Ask { method: Method::POST, resource: unique("/probe/post"), headers, body };
    let begin = Instant::now();
    let Some(answer) = talk.ask_whole(way, &ask, trial, PATIENCE_MS).await else { return };
    match serde_json::from_slice::<Posted>(&answer) {
        Ok(Posted { bytes, fnv1a }) if bytes == size && fnv1a == format!("{sum:016x}") => return,
        Ok(Posted { bytes, .. }) if bytes == size => {
            trial.detail = Some("other bytes arrive than were sent".to_owned())
        }
        Ok(Posted { bytes, .. }) => trial.detail = Some(format!("{bytes} of {size} bytes arrive")),
        Err(error) => trial.detail = Some(format!("the answer is not what the realm writes: {error}")),
    }
    fail(trial, "altered", begin);
}

/// FNV-1a, 64 bits.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The resource with a parameter that no other request has: caches go by the address.
pub(super) fn unique(resource: &str) -> String {
    let join = if resource.contains('?') { '&' } else { '?' };
    format!("{resource}{join}u={}", nonce())
}

/// Sixteen hexadecimal digits that were not there before.
pub(super) fn nonce() -> String {
    let mut bytes = [0; 8];
    // They need not be secret.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        assert_eq!(format!("{:016x}", fnv1a(b"")), "cbf29ce484222325");
        assert_eq!(format!("{:016x}", fnv1a(b"foobar")), "85944171f73967e8");
    }
}
