//! Trials of WebSocket in every version.

use std::time::Duration;

use throughline_wire::ws::Version;
use throughline_wire::ws::handshake::{ClientHandshake, HandshakeError, Unexpected};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::observations::{Seen, Trial};
use super::PATIENCE_MS;
use super::draft::{self, DraftSocket};
use super::requests::{answer_of, diagnose, nonce};
use super::way::{Way, fail, ms_since};
use crate::net::Stream;
use crate::websocket::{Connection, ConnectionOptions, Frame, Message};

/// What is echoed, bytes: enough to be worth compressing.
const ECHO_BYTES: usize = 1024;
/// So long a connection has to stand before it is believed, milliseconds.
const STAY_MS: u64 = 1_000;

/// A connection that is open.
enum Socket {
    /// Versions 13, 8 and 7: their frames are the same.
    Framed(Box<Connection>),
    /// Hixie.
    Draft(Box<DraftSocket>),
}

/// How a connection was lost: it ended, or it says nothing.
enum Lost {
    Ended,
    Silent,
}

impl Socket {
    async fn send(&mut self, text: &str) -> Result<(), Lost> {
        let sent = match self {
            Socket::Framed(connection) => connection.send(Frame::Text(text.as_bytes())).await.is_ok(),
            Socket::Draft(socket) => socket.send(text).await.is_ok(),
        };
        if sent { Ok(()) } else { Err(Lost::Ended) }
    }

    async fn recv(&mut self) -> Result<String, Lost> {
        let received = async {
            match self {
                Socket::Framed(connection) => match connection.recv().await {
                    Ok(Message::Text(text)) => Some(text),
                    Ok(Message::Binary(bytes)) => Some(String::from_utf8_lossy(&bytes).into_owned()),
                    Ok(Message::Close(..)) | Err(_) => None,
                },
                Socket::Draft(socket) => socket.recv().await,
            }
        };
        let received = timeout(Duration::from_millis(PATIENCE_MS), received).await;
        received.map_err(|_| Lost::Silent)?.ok_or(Lost::Ended)
    }
}

/// One version: the handshake, the realm's hello, and echoes for a while.
pub(super) async fn trial(way: Way, version: Version) -> Trial {
    let mut trial = Trial { kind: Some(version.name().to_owned()), ..way.trial("websocket") };
    let id = format!("doctor-{}", nonce());
    let resource = format!("/probe/websocket?hello=1&id={id}");
    if let Some((mut socket, begin)) = open(&way, version, &resource, &mut trial).await
        && let Err(lost) = converse(&mut socket, begin, &mut trial).await
    {
        let fault = match lost {
            Lost::Ended => "cut",
            Lost::Silent => "mute",
        };
        fail(&mut trial, fault, begin);
    }
    let reached = trial.connect_ms.is_some() && !matches!(trial.fault.as_deref(), None | Some("certificate"));
    if reached && trial.head_ms.is_none() || version == Version::Hixie76 && trial.fault.is_some() {
        trial.diagnose = diagnose(&way, &id).await;
    }
    trial
}

/// A connection in which nothing passes for a while.
pub(super) async fn idle(way: Way, idle_s: u64) -> Trial {
    let mut trial = Trial { kind: Some("websocket".to_owned()), idle_s: Some(idle_s), ..way.trial("idle") };
    let Some((mut socket, begin)) = open(&way, Version::V13, "/probe/websocket?hello=1", &mut trial).await else {
        return trial;
    };
    let waited = async {
        socket.recv().await?;
        trial.first_ms = Some(ms_since(begin));
        let rest = Instant::now() + Duration::from_secs(idle_s);
        sleep_until(rest).await;
        echo(&mut socket).await.map(drop)
    };
    match waited.await {
        Ok(()) => {}
        Err(Lost::Ended) => fail(&mut trial, "cut", begin),
        Err(Lost::Silent) => fail(&mut trial, "silent", begin),
    }
    trial
}

/// Whether a session's own address opens, where probes are switched off.
pub(super) async fn session(way: Way) -> Trial {
    let mut trial = Trial { kind: Some("websocket".to_owned()), ..way.trial("session") };
    open(&way, Version::V13, "/websocket", &mut trial).await;
    trial
}

/// The realm's hello, then echoes.
async fn converse(socket: &mut Socket, begin: Instant, trial: &mut Trial) -> Result<(), Lost> {
    let hello = socket.recv().await?;
    trial.first_ms = Some(ms_since(begin));
    match serde_json::from_str::<Seen>(&hello) {
        Ok(seen) => trial.seen = Some(seen),
        Err(error) => {
            trial.detail = Some(format!("the first message is not what the realm writes: {error}"));
            fail(trial, "altered", begin);
            return Ok(());
        }
    }
    let stay = Instant::now() + Duration::from_millis(STAY_MS);
    for last in [false, true] {
        let sent = Instant::now();
        if !echo(socket).await? {
            trial.detail = Some(format!("an echo of {ECHO_BYTES} bytes comes back otherwise"));
            fail(trial, "altered", begin);
            return Ok(());
        }
        trial.round_trip_ms = trial.round_trip_ms.or(Some(ms_since(sent)));
        if !last {
            sleep_until(stay).await;
        }
    }
    Ok(())
}

/// Sends a text and awaits it; false when another one comes.
async fn echo(socket: &mut Socket) -> Result<bool, Lost> {
    let mut text = nonce();
    while text.len() < ECHO_BYTES {
        text.push_str(" what goes out comes back, letter by letter;");
    }
    socket.send(&text).await?;
    Ok(socket.recv().await? == text)
}

/// Opens a connection of a version; with it comes when the request was sent.
async fn open(way: &Way, version: Version, resource: &str, trial: &mut Trial) -> Option<(Socket, Instant)> {
    let mut stream = way.connect(trial).await?;
    let begin = Instant::now();
    let target = way.url.path(resource);
    let shaken = timeout(Duration::from_millis(PATIENCE_MS), async {
        if version.has_number() {
            shake(&mut stream, way, version, &target, trial, begin).await.map(Shaken::Framed)
        } else {
            draft::shake(&mut stream, way, version, &target, trial, begin).await.map(Shaken::Draft)
        }
    });
    match shaken.await {
        Ok(Some(Shaken::Framed((deflate, leftover)))) => {
            let connection = Connection::new(stream, deflate, &leftover, &ConnectionOptions::default());
            Some((Socket::Framed(Box::new(connection)), begin))
        }
        Ok(Some(Shaken::Draft(leftover))) => Some((Socket::Draft(Box::new(DraftSocket::new(stream, leftover))), begin)),
        Ok(None) => None,
        Err(_) => {
            // Of hixie-76 the head may have come, and only the proof of the key bytes be missing.
            fail(trial, if trial.head_ms.is_some() { "mute" } else { "silent" }, begin);
            None
        }
    }
}

/// What a handshake agreed on, with the bytes that came behind it.
enum Shaken {
    Framed((Option<throughline_wire::ws::deflate::Agreed>, Vec<u8>)),
    Draft(Vec<u8>),
}

/// The handshake of versions with a number.
async fn shake(
    stream: &mut Stream,
    way: &Way,
    version: Version,
    target: &str,
    trial: &mut Trial,
    begin: Instant,
) -> Option<(Option<throughline_wire::ws::deflate::Agreed>, Vec<u8>)> {
    let mut key = [0; 16];
    // The key is no secret: it only shows that the answer belongs to this request.
    let _ = getrandom::fill(&mut key);
    let handshake = ClientHandshake {
        host: way.url.authority(),
        path: target,
        key,
        subprotocol: true,
        origin: way.origin.as_deref(),
        // Drafts had another form of it.
        deflate: version == Version::V13,
    };
    let request = String::from_utf8_lossy(&handshake.request()).into_owned();
    let number = format!("Sec-WebSocket-Version: {}", version.name());
    let mut request = request.replace("Sec-WebSocket-Version: 13", &number);
    if version != Version::V13 {
        request = request.replace("\r\nOrigin: ", "\r\nSec-WebSocket-Origin: ");
    }
    trial.sent = sent(&request);
    let mut bytes = Vec::with_capacity(4096);
    if write(stream, request.as_bytes()).await.is_none() {
        fail(trial, "reset", begin);
        return None;
    }
    loop {
        let ended = !matches!(stream.read_buf(&mut bytes).await, Ok(n) if n > 0);
        match handshake.check(&bytes) {
            Ok(Some(agreement)) => {
                trial.head_ms = Some(ms_since(begin));
                return Some((agreement.deflate, bytes.get(agreement.len..).unwrap_or_default().to_vec()));
            }
            Ok(None) if ended => {
                fail(trial, "reset", begin);
                return None;
            }
            Ok(None) => {}
            Err(error) => {
                refused(stream, bytes, error, trial, begin).await;
                return None;
            }
        }
    }
}

/// Puts down an answer that is no good one.
async fn refused(stream: &mut Stream, bytes: Vec<u8>, error: HandshakeError, trial: &mut Trial, begin: Instant) {
    match error {
        HandshakeError::Unexpected(answer) => {
            let Unexpected { status, headers, .. } = &*answer;
            let length = answer.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            let body = rest(stream, bytes, length).await;
            let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
            trial.answer = Some(answer_of(*status, &headers, &body));
            fail(trial, "answered", begin);
        }
        HandshakeError::NotHttp(_) => {
            trial.detail = Some(crate::error::excerpt(&bytes));
            fail(trial, "not-http", begin);
        }
        other => {
            trial.detail = Some(other.to_string());
            fail(trial, "altered", begin);
        }
    }
}

/// Most bytes of a refusal that are of interest.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// The body of an answer whose head has come.
pub(super) async fn rest(stream: &mut Stream, mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
    let head = bytes.windows(4).position(|window| window == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
    while bytes.len() < head.saturating_add(length).min(REFUSAL_BYTES_MAX) {
        match stream.read_buf(&mut bytes).await {
            Ok(n) if n > 0 => {}
            _ => break,
        }
    }
    bytes.split_off(head.min(bytes.len()))
}

pub(super) async fn write(stream: &mut Stream, bytes: &[u8]) -> Option<()> {
    stream.write_all(bytes).await.ok()?;
    stream.flush().await.ok()
}

/// The headers of a request as it was written.
pub(super) fn sent(request: &str) -> Vec<(String, String)> {
    let pair = |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
    request.lines().skip(1).filter_map(pair).collect()
}
