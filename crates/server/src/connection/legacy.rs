//! Handshakes of the drafts before version numbers. Hixie-76 sends eight bytes behind its request that are no part of it
//! for any parser of HTTP, nor for many a proxy.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use throughline_wire::hixie::{self, Draft, KEY3_BYTES};
use tokio::io::AsyncReadExt;

use super::say;
use crate::runtime::{Local, Phase};
use crate::socket::Stream;
use crate::upgrade::AcceptedDraft;
use crate::waiting::Awaited;

/// The headers whose values have spaces that count.
const KEYS: [&str; 2] = ["Sec-WebSocket-Key1", "Sec-WebSocket-Key2"];

/// Puts the keys into a head's headers as they came, with the spaces at their ends. Requests that hyper has parsed have
/// lost these; they come from proxies, which take them away as well.
pub(super) fn restore_keys<'a>(head: &'a [u8], headers: &mut [(&str, &'a [u8])]) {
    for key in KEYS {
        let header = headers.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(key));
        if let (Some((_, value)), Some(raw)) = (header, hixie::untrimmed(head, key)) {
            *value = raw;
        }
    }
}

/// What has come of a request's body until now.
pub(super) fn what_came(mut body: Awaited<Incoming>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut cx = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut body).poll_frame(&mut cx) {
        bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data));
    }
    bytes
}

/// Answers a handshake. `early` are bytes that came behind the request; those that are part of the handshake are taken
/// out. False when the key bytes of hixie-76 did not come: the connection is of no use.
///
/// The answer's head goes out before the key bytes are waited for: proxies make a tunnel of the connection when they
/// see it, and pass those bytes on only then.
pub(super) async fn shake_hands(
    local: &Local,
    stream: &mut Stream,
    draft: AcceptedDraft,
    early: &mut Vec<u8>,
) -> io::Result<bool> {
    say(local, stream, &draft.answer.head).await?;
    if draft.answer.draft == Draft::Hixie75 {
        return Ok(true);
    }
    let mut phase = local.phase.clone();
    let limit = Duration::from_millis(local.http.config.websocket.key_ms);
    let key = tokio::select! {
        key = tokio::time::timeout(limit, key_bytes(stream, early)) => key,
        _ = phase.wait_for(|p| *p != Phase::Running) => return Ok(false),
    };
    let Ok(key) = key else {
        lost(local, draft, early.len());
        return Ok(false);
    };
    say(local, stream, &draft.answer.digest(key?)).await?;
    Ok(true)
}

/// Takes the key bytes out of `early`, and what is missing from the connection.
async fn key_bytes(stream: &mut Stream, early: &mut Vec<u8>) -> io::Result<[u8; KEY3_BYTES]> {
    while early.len() < KEY3_BYTES {
        let mut buffer = [0; KEY3_BYTES];
        let missing = KEY3_BYTES - early.len();
        let n = stream.read(&mut buffer[..missing]).await?;
        if n == 0 {
            let text = "the client went away before the key bytes of its hixie-76 handshake";
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        early.extend_from_slice(&buffer[..n]);
    }
    let mut key = [0; KEY3_BYTES];
    for (byte, taken) in key.iter_mut().zip(early.drain(..KEY3_BYTES)) {
        *byte = taken;
    }
    Ok(key)
}

/// Tells the operator, and the client should it ask, that the key bytes did not come.
fn lost(local: &Local, draft: AcceptedDraft, came: usize) {
    let ms = local.http.config.websocket.key_ms;
    let AcceptedDraft { attempt, path, .. } = draft;
    let reason = format!(
        "{came} of the {KEY3_BYTES} key bytes of a hixie-76 handshake came within {ms} ms (websocket.key_ms): a layer-7 proxy \
         dropped the key bytes ({path}); let that proxy pass this path on as TCP, or use a client of version 8 or later"
    );
    local.http.metrics.keys_lost.inc();
    if let Some(times) = local.keys_lost.happened(local.clock.now().monotonic) {
        tracing::warn!(times, "{reason}");
    }
    if let Some(attempt) = attempt {
        local.http.attempts.note(attempt.refused("key_bytes_lost", &reason));
    }
}
