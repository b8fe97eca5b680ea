//! Trials of WebSocket in every version.

use std::time::Duration;

use throughline_wire::ws::Version;
use throughline_wire::ws::deflate::Agreed;
use throughline_wire::ws::handshake::{ClientHandshake, HandshakeError, Unexpected};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::super::observations::{Seen, Trial};
use super::PATIENCE_MS;
use super::draft::DraftSocket;
use super::requests::{answer_of, diagnose, nonce};
use super::way::{Way, fail, ms_since};
use crate::error::excerpt;
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
    let mut opening = Opening { stream: &mut stream, way, version, target: &target, trial, begin };
    let shaken = timeout(Duration::from_millis(PATIENCE_MS), async {
        if version.has_number() {
            opening.shake().await.map(Shaken::Framed)
        } else {
            opening.shake_draft().await.map(Shaken::Draft)
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
            opening.fail(if opening.trial.head_ms.is_some() { "mute" } else { "silent" });
            None
        }
    }
}

/// What a handshake agreed on, with the bytes that came behind it.
enum Shaken {
    Framed((Option<Agreed>, Vec<u8>)),
    Draft(Vec<u8>),
}

/// A handshake under way.
pub(super) struct Opening<'a> {
    pub(super) stream: &'a mut Stream,
    pub(super) way: &'a Way,
    pub(super) version: Version,
    pub(super) target: &'a str,
    /// Where it is put down what comes of it.
    pub(super) trial: &'a mut Trial,
    pub(super) begin: Instant,
}

impl Opening<'_> {
    /// Puts down why it failed.
    pub(super) fn fail(&mut self, fault: &str) {
        fail(self.trial, fault, self.begin);
    }

    /// The same, with what came or is wrong.
    pub(super) fn fail_with(&mut self, fault: &str, detail: String) {
        self.trial.detail = Some(detail);
        self.fail(fault);
    }

    /// Puts down an answer that is no good one; `bytes` begin with its head.
    pub(super) async fn refused(&mut self, status: u16, headers: &[(&str, &[u8])], bytes: Vec<u8>) {
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|(_, value)| str::from_utf8(value).ok()?.parse().ok()).unwrap_or(0);
        let body = rest(self.stream, bytes, length).await;
        self.trial.answer = Some(answer_of(status, headers, &body));
        self.fail("answered");
    }

    /// The handshake of versions with a number.
    async fn shake(&mut self) -> Option<(Option<Agreed>, Vec<u8>)> {
        let mut key = [0; 16];
        // The key is no secret: it only shows that the answer belongs to this request.
        let _ = getrandom::fill(&mut key);
        let handshake = ClientHandshake {
            host: self.way.url.authority(),
            path: self.target,
            key,
            subprotocol: true,
            origin: self.way.origin.as_deref(),
            // Drafts had another form of it.
            deflate: self.version == Version::V13,
        };
        let request = String::from_utf8_lossy(&handshake.request()).into_owned();
        let number = format!("Sec-WebSocket-Version: {}", self.version.name());
        let mut request = request.replace("Sec-WebSocket-Version: 13", &number);
        if self.version != Version::V13 {
            request = request.replace("\r\nOrigin: ", "\r\nSec-WebSocket-Origin: ");
        }
        self.trial.sent = sent(&request);
        let mut bytes = Vec::with_capacity(4096);
        if write(self.stream, request.as_bytes()).await.is_none() {
            self.fail("reset");
            return None;
        }
        loop {
            let ended = !matches!(self.stream.read_buf(&mut bytes).await, Ok(n) if n > 0);
            match handshake.check(&bytes) {
                Ok(Some(agreement)) => {
                    self.trial.head_ms = Some(ms_since(self.begin));
                    return Some((agreement.deflate, bytes.get(agreement.len..).unwrap_or_default().to_vec()));
                }
                Ok(None) if ended => {
                    self.fail("reset");
                    return None;
                }
                Ok(None) => {}
                Err(error) => {
                    self.no_agreement(bytes, error).await;
                    return None;
                }
            }
        }
    }

    async fn no_agreement(&mut self, bytes: Vec<u8>, error: HandshakeError) {
        match error {
            HandshakeError::Unexpected(answer) => {
                let Unexpected { status, headers, .. } = &*answer;
                let headers: Vec<_> = headers.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
                self.refused(*status, &headers, bytes).await;
            }
            HandshakeError::NotHttp(_) => self.fail_with("not-http", excerpt(&bytes)),
            other => self.fail_with("altered", other.to_string()),
        }
    }
}

/// Most bytes of a refusal that are of interest.
const REFUSAL_BYTES_MAX: usize = 16 << 10;

/// The body of an answer whose head has come.
async fn rest(stream: &mut Stream, mut bytes: Vec<u8>, length: usize) -> Vec<u8> {
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
