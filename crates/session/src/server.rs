//! One link's end at the server: who is first to speak, which version, whether the peer still lives.

use alloc::boxed::Box;
use alloc::format;

use throughline_wire::close::CloseCode;
use throughline_wire::event::{Body, SessionId};
use throughline_wire::message::{
    ClientMessage, CloseReason, DecodeError, ErrorCode, From, Limits, ReplyError, ServerMessage, VERSION,
};

/// What holds for every link of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerSettings {
    /// Silence after which the server asks whether the client lives, milliseconds; default 10,000. It is announced in
    /// `welcome`, and the client asks after the same silence. After three times this a link is dead (section 6).
    /// It holds for links whose `connect` asks for none; what one asks for is taken between the two bounds below.
    pub heartbeat_ms: u64,
    /// Shortest interval that a client is granted, milliseconds; default 5,000. At or above `heartbeat_max_ms`, all links
    /// have `heartbeat_ms`.
    pub heartbeat_min_ms: u64,
    /// Longest interval that a client is granted, milliseconds; default 25,000.
    pub heartbeat_max_ms: u64,
    /// Time from the handshake to `connect`, milliseconds; default 10,000 (section 6).
    pub connect_timeout_ms: u64,
    /// What `welcome` announces. Of these, `event_bytes` is enforced here, the others where the counts are known.
    pub limits: Limits,
}

impl Default for ServerSettings {
    /// 10 s (5 to 25 s), 10 s; events of 1 MiB, 256 publishes under way, 1,000 subscriptions.
    fn default() -> ServerSettings {
        let limits = Limits { event_bytes: 1 << 20, publishes_max: 256, subscriptions_max: 1000 };
        ServerSettings {
            heartbeat_ms: 10_000,
            heartbeat_min_ms: 5_000,
            heartbeat_max_ms: 25_000,
            connect_timeout_ms: 10_000,
            limits,
        }
    }
}

impl ServerSettings {
    /// The same for links whose heartbeat is not the client's to choose, such as those made of polls, where a poll that is
    /// held is no silence.
    #[must_use]
    pub const fn with_fixed_heartbeat(self, heartbeat_ms: u64) -> ServerSettings {
        ServerSettings { heartbeat_ms, heartbeat_min_ms: heartbeat_ms, heartbeat_max_ms: heartbeat_ms, ..self }
    }

    /// What holds for a link whose `connect` asked for `wish`.
    fn heartbeat(&self, wish: Option<u64>) -> u32 {
        let granted = match wish {
            Some(wish) if self.heartbeat_min_ms < self.heartbeat_max_ms => {
                wish.clamp(self.heartbeat_min_ms, self.heartbeat_max_ms)
            }
            _ => self.heartbeat_ms,
        };
        u32::try_from(granted).unwrap_or(u32::MAX)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// No `connect` yet; `since` is when the link began.
    Waiting,
    /// Connected; `since` is when something came last.
    Open,
    /// As `Open`, and a ping is out.
    Pinged,
    /// A close was handed out.
    Closed,
}

/// One link's end at the server. 32 bytes. All calls of one link are to be given the same [`ServerSettings`].
///
/// Obligations of the caller: [`heard`](ServerSession::heard) whenever bytes came, before the messages they held go to
/// [`input`](ServerSession::input) in their order; [`tick`](ServerSession::tick) not long after
/// [`deadline`](ServerSession::deadline), which is to be asked again after a tick and after `connect` came. Once a close
/// was handed out nothing else will be.
#[derive(Clone, Debug)]
pub struct ServerSession {
    session: SessionId,
    since: u64,
    /// The interval that was granted, milliseconds.
    heartbeat: u32,
    phase: Phase,
}

/// What a message asks of the server.
#[derive(Debug, PartialEq)]
pub enum Input {
    /// Nothing.
    Nothing,
    /// To send this.
    Send(ServerMessage),
    /// To begin a subscription and answer `id`.
    Subscribe {
        /// The request.
        id: u64,
        /// Channel name, checked.
        channel: Box<str>,
        /// Where to begin.
        from: From,
    },
    /// To end a subscription and answer `id`.
    Unsubscribe {
        /// The request.
        id: u64,
        /// Channel name, checked.
        channel: Box<str>,
    },
    /// To publish and answer `id`.
    Publish {
        /// The publisher.
        session: SessionId,
        /// The publish number; a repetition comes with the old one.
        id: u64,
        /// Channel name, checked.
        channel: Box<str>,
        /// The event; its data are within the limit.
        body: Body,
        /// The client's wish on channels of type `mixed`.
        persistent: Option<bool>,
    },
    /// To count what the client learned about its path. The words may be of a newer version.
    Report {
        /// The transport that failed.
        transport: Box<str>,
        /// How it failed.
        failure: Box<str>,
        /// How long after its beginning, milliseconds.
        after: u64,
        /// More, for the operator.
        detail: Option<Box<str>>,
    },
    /// To close the link.
    Close(CloseReason),
}

/// What the passing of time asks of the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Tick {
    /// Nothing.
    Nothing,
    /// To send a `ping`.
    Ping,
    /// To close the link.
    Close(CloseReason),
}

impl ServerSession {
    /// A link whose handshake was done at `now`.
    pub const fn new(now: u64) -> ServerSession {
        ServerSession { session: SessionId(0), since: now, heartbeat: 0, phase: Phase::Waiting }
    }

    /// The session this link carries; `None` before `connect`.
    pub fn session(&self) -> Option<SessionId> {
        let named = matches!(self.phase, Phase::Open | Phase::Pinged);
        named.then_some(self.session)
    }

    /// Any bytes came. They prove life, but only `connect` ends the wait for `connect`.
    pub fn heard(&mut self, now: u64) {
        if matches!(self.phase, Phase::Open | Phase::Pinged) {
            self.since = self.since.max(now);
            self.phase = Phase::Open;
        }
    }

    /// Takes one message. The `welcome` that it gives names no network: the caller knows whether the client's address is
    /// its own, and puts the name in. `fresh` makes the id of a new session, from a source that nobody can guess.
    pub fn input(
        &mut self,
        settings: &ServerSettings,
        message: Result<ClientMessage, DecodeError>,
        fresh: impl FnOnce() -> u128,
    ) -> Input {
        match (self.phase, message) {
            (Phase::Closed, _) => Input::Nothing,
            (_, Err(DecodeError::Malformed(text))) => self.close(CloseCode::BadMessage, text),
            (Phase::Waiting, Ok(ClientMessage::Connect { versions, session, heartbeat, .. })) => {
                if !versions.contains(&VERSION) {
                    let text =
                        format!("this server speaks protocol version {VERSION}; offered were {}", List(&versions));
                    return self.close(CloseCode::Version, text);
                }
                self.session = session.unwrap_or_else(|| SessionId(fresh()));
                self.heartbeat = settings.heartbeat(heartbeat);
                self.phase = Phase::Open;
                Input::Send(ServerMessage::Welcome {
                    version: VERSION,
                    session: self.session,
                    heartbeat: self.heartbeat.into(),
                    limits: settings.limits,
                    network: None,
                })
            }
            (Phase::Waiting, _) => self.close(CloseCode::ConnectExpected, "the first message has to be connect"),
            (_, Ok(ClientMessage::Connect { .. })) => {
                self.close(CloseCode::ConnectExpected, "a second connect on one link")
            }
            (_, Err(DecodeError::Request { id, error })) => refuse(id, error),
            (_, Ok(message)) => self.request(settings, message),
        }
    }

    fn request(&mut self, settings: &ServerSettings, message: ClientMessage) -> Input {
        match message {
            ClientMessage::Subscribe { id, channel, from } => Input::Subscribe { id, channel, from },
            ClientMessage::Unsubscribe { id, channel } => Input::Unsubscribe { id, channel },
            ClientMessage::Publish { id, channel, body, persistent } => {
                let (bytes, limit) = (body.data.len() as u64, settings.limits.event_bytes);
                if bytes > limit {
                    let text = format!(
                        "the event's data have {bytes} bytes, over event_bytes ({limit}); split them or raise the limit"
                    );
                    return refuse(id, ReplyError::limit(ErrorCode::EventTooLarge, text, limit));
                }
                Input::Publish { session: self.session, id, channel, body, persistent }
            }
            ClientMessage::Ping => Input::Send(ServerMessage::Pong),
            ClientMessage::Report { transport, failure, after, detail } => {
                Input::Report { transport, failure, after, detail }
            }
            ClientMessage::Close { .. } => self.close(CloseCode::Normal, "the client closed"),
            ClientMessage::Pong | ClientMessage::Connect { .. } => Input::Nothing,
        }
    }

    /// When [`tick`](ServerSession::tick) is due; `u64::MAX` once closed. It moves later as bytes come, so a caller may
    /// keep the time it was told and ask again when that has come.
    pub const fn deadline(&self, settings: &ServerSettings) -> u64 {
        let heartbeat = self.heartbeat as u64;
        let wait = match self.phase {
            Phase::Waiting => settings.connect_timeout_ms,
            Phase::Open => heartbeat,
            Phase::Pinged => heartbeat.saturating_mul(3),
            Phase::Closed => u64::MAX,
        };
        self.since.saturating_add(wait)
    }

    /// Time has passed. Any number of calls is harmless.
    pub fn tick(&mut self, now: u64, settings: &ServerSettings) -> Tick {
        if now < self.deadline(settings) {
            return Tick::Nothing;
        }
        let (code, text) = match self.phase {
            Phase::Closed => return Tick::Nothing,
            Phase::Open => {
                self.phase = Phase::Pinged;
                // A late tick must not shorten the time that the peer has for its answer.
                self.since = now.saturating_sub(self.heartbeat.into());
                return Tick::Ping;
            }
            Phase::Waiting => {
                let text = format!("no connect came within {} ms of the handshake", settings.connect_timeout_ms);
                (CloseCode::ConnectTimeout, text)
            }
            Phase::Pinged => {
                let text = format!("nothing was heard for {} ms", now.saturating_sub(self.since));
                (CloseCode::Heartbeat, text)
            }
        };
        self.phase = Phase::Closed;
        Tick::Close(CloseReason::new(code, text))
    }

    fn close(&mut self, code: CloseCode, text: impl Into<alloc::string::String>) -> Input {
        self.phase = Phase::Closed;
        Input::Close(CloseReason::new(code, text))
    }
}

fn refuse(id: u64, error: ReplyError) -> Input {
    Input::Send(ServerMessage::Reply { id, result: Err(error) })
}

/// Shows the first few of a list that the peer made as long as it liked.
struct List<'a>(&'a [u64]);

impl core::fmt::Display for List<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        let shown = self.0.get(..self.0.len().min(4)).unwrap_or(&[]);
        f.debug_list().entries(shown).finish()?;
        if shown.len() < self.0.len() { write!(f, " and {} more", self.0.len() - shown.len()) } else { Ok(()) }
    }
}
