//! Opening a connection: TCP, then the handshake of RFC 6455 section 4.1.

use std::time::Duration;

use throughline_wire::ws::deflate::{Agreed, Compressor, Inflater, WINDOW_BITS_MIN};
use throughline_wire::ws::handshake::{Answer as Agreement, ClientHandshake, HandshakeError, Unexpected};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::{Connection, ConnectionOptions};
use crate::error::{Answer, ConnectError, excerpt};
use crate::http::request::{REFUSAL_BYTES_MAX, own_refusal};
use crate::net::{self, Stream};
use crate::url::RealmUrl;

pub(super) async fn open(
    url: &RealmUrl,
    target: &str,
    options: &ConnectionOptions,
) -> Result<Connection, ConnectError> {
    let mut stream = net::connect(url, options.open_timeout_ms).await?;
    let limit = Duration::from_millis(options.open_timeout_ms);
    let outcome = timeout(limit, shake(&mut stream, url, target, options)).await;
    let (agreement, bytes) = outcome.unwrap_or_else(|_| {
        let authority = url.authority().to_owned();
        let waited_for = "answer to the WebSocket handshake";
        Err(ConnectError::TimedOut { authority, waited_for, after_ms: options.open_timeout_ms })
    })?;
    let leftover = bytes.get(agreement.len..).unwrap_or_default();
    Ok(Connection::new(stream, agreement.deflate, leftover, options))
}

pub(super) fn inflater(agreed: &Agreed) -> Inflater {
    // The offer demands `server_no_context_takeover`.
    Inflater::new(agreed.server_max_window_bits, false)
}

/// `None` when the server allows a window so small that DEFLATE cannot keep to it: messages then go uncompressed.
pub(super) fn compressor(agreed: &Agreed) -> Option<Compressor> {
    let bits = agreed.client_max_window_bits;
    (bits >= WINDOW_BITS_MIN).then(|| Compressor::new(bits))
}

/// Sends the request and reads until the answer's head is complete; gives all bytes that were read.
async fn shake(
    stream: &mut Stream,
    url: &RealmUrl,
    target: &str,
    options: &ConnectionOptions,
) -> Result<(Agreement, Vec<u8>), ConnectError> {
    let broken = |fault: String| ConnectError::Broken { authority: url.authority().to_owned(), fault };
    let mut key = [0; 16];
    // The key is no secret: it only shows that the answer belongs to this request.
    let _ = getrandom::fill(&mut key);
    let handshake = ClientHandshake {
        host: url.authority(),
        path: target,
        key,
        subprotocol: options.subprotocol,
        origin: None,
        deflate: options.deflate,
    };
    stream.write_all(&handshake.request()).await.map_err(|e| broken(e.to_string()))?;
    stream.flush().await.map_err(|e| broken(e.to_string()))?;
    let mut bytes = Vec::with_capacity(4096);
    loop {
        let n = stream.read_buf(&mut bytes).await.map_err(|e| broken(e.to_string()))?;
        match handshake.check(&bytes) {
            Ok(Some(agreement)) => return Ok((agreement, bytes)),
            Ok(None) if n == 0 && bytes.is_empty() => return Err(broken("it was closed without an answer".to_owned())),
            Ok(None) if n == 0 => return Err(broken("it was closed within the answer's head".to_owned())),
            Ok(None) => {}
            Err(HandshakeError::Unexpected(answer)) => {
                let body = rest_of_body(stream, bytes, &answer).await;
                return Err(refusal(url, &answer, &body));
            }
            Err(error) => {
                let answer = Answer { body: format!("{error}; it began {:?}", excerpt(&bytes)), ..Answer::default() };
                return Err(ConnectError::NotARealm { authority: url.authority().to_owned(), answer });
            }
        }
    }
}

/// Reads on until the body is there, as far as its length is known and it is of use.
async fn rest_of_body(stream: &mut Stream, mut bytes: Vec<u8>, answer: &Unexpected) -> Vec<u8> {
    let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    let length = answer.header("content-length").and_then(|text| text.parse::<usize>().ok()).unwrap_or(0);
    let whole = head.saturating_add(length).min(REFUSAL_BYTES_MAX);
    while bytes.len() < whole {
        match stream.read_buf(&mut bytes).await {
            Ok(n) if n > 0 => {}
            _ => break,
        }
    }
    bytes.split_off(head.min(bytes.len()))
}

fn refusal(url: &RealmUrl, answer: &Unexpected, body: &[u8]) -> ConnectError {
    let text = |name: &str| answer.header(name).map(str::to_owned);
    let status = answer.status;
    if answer.from_throughline() {
        return own_refusal(status, &answer.reason, answer.header("retry-after"), body);
    }
    let answer = Answer { status, server: text("server"), via: text("via"), body: excerpt(body) };
    ConnectError::NotARealm { authority: url.authority().to_owned(), answer }
}
