//! A server that does what a test tells it, byte by byte if need be.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed step of the script fails the test")]

pub(crate) mod http;

use throughline_client::{Options, Transport};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{Carriage, ClientMessage, From, Limits, MessageKind, Reply, ServerMessage};
use throughline_wire::ws::deflate::{Compressor, Inflater, Settings};
use throughline_wire::ws::handshake::{accept, parse_request_head};
use throughline_wire::ws::{self, Decoder, Opcode, Role, Versions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

pub(crate) const SESSION: SessionId = SessionId(7);
pub(crate) const EPOCH: Epoch = Epoch(3);
/// Long enough to stay out of the way.
pub(crate) const HEARTBEAT_MS: u64 = 60_000;

/// Options for a session over one transport: the server of a test expects no other.
pub(crate) fn only(transport: Transport) -> Options {
    let mut options = Options::default();
    options.transports = vec![transport];
    options
}

pub(crate) struct Server {
    listener: TcpListener,
}

impl Server {
    pub(crate) async fn start() -> Server {
        Server { listener: TcpListener::bind("127.0.0.1:0").await.unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.listener.local_addr().unwrap())
    }

    /// Answers one request with these bytes and closes; gives the request's head and what came with it.
    pub(crate) async fn answer(&self, response: &str) -> String {
        let (mut stream, _) = self.listener.accept().await.unwrap();
        let mut request = Vec::new();
        loop {
            let n = stream.read_buf(&mut request).await.unwrap();
            let text = String::from_utf8_lossy(&request).into_owned();
            if n == 0 || whole(&text) {
                stream.write_all(response.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
                return text;
            }
        }
    }

    /// Takes a WebSocket handshake.
    pub(crate) async fn accept(&self) -> Peer {
        let (stream, _) = self.listener.accept().await.unwrap();
        Peer::shake(stream).await
    }

    /// Takes a handshake and the `connect`, welcomes the session and proves the link; gives the session that the client
    /// presented.
    pub(crate) async fn welcome(&self, heartbeat: u64) -> (Peer, Option<SessionId>) {
        let mut peer = self.accept().await;
        let ClientMessage::Connect { session, .. } = peer.next().await else { panic!("no connect first") };
        peer.send(welcome(heartbeat)).await;
        peer.send(ServerMessage::Pong).await;
        (peer, session)
    }
}

/// True when the head and as much body as it announces are there.
fn whole(request: &str) -> bool {
    let Some((head, body)) = request.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length: ")?.parse().ok());
    body.len() >= length.unwrap_or(0)
}

/// One connection, from the server's side.
pub(crate) struct Peer {
    pub(crate) incoming: Incoming,
    pub(crate) write: OwnedWriteHalf,
    compressor: Option<Compressor>,
}

/// What a client sends.
pub(crate) struct Incoming {
    read: OwnedReadHalf,
    decoder: Decoder,
    inflater: Option<Inflater>,
    input: Vec<u8>,
}

pub(crate) enum Came {
    Message(ClientMessage),
    Close(u16),
    Ended,
}

impl Peer {
    async fn shake(mut stream: TcpStream) -> Peer {
        let mut input = Vec::new();
        let head = loop {
            assert_ne!(stream.read_buf(&mut input).await.unwrap(), 0, "ended within the handshake");
            if let Some(head) = parse_request_head(&input).unwrap() {
                break head;
            }
        };
        let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        let accepted = accept(&head.method, headers, Versions::ALL, Some(&Settings::default())).unwrap();
        stream.write_all(&accepted.response_head()).await.unwrap();
        input.drain(..head.len);
        let (read, write) = stream.into_split();
        let agreed = accepted.deflate;
        let inflater = agreed.map(|a| Inflater::new(a.client_max_window_bits, a.client_context_takeover));
        let decoder = Decoder::new(Role::Server, agreed.is_some());
        let compressor = agreed.map(|a| Compressor::new(a.server_max_window_bits));
        Peer { incoming: Incoming { read, decoder, inflater, input }, write, compressor }
    }

    /// True when permessage-deflate was agreed.
    pub(crate) const fn compresses(&self) -> bool {
        self.compressor.is_some()
    }

    /// What comes next, past reports and past pings, which are answered.
    pub(crate) async fn came(&mut self) -> Came {
        loop {
            match self.incoming.came().await {
                Came::Message(ClientMessage::Ping) => self.send(ServerMessage::Pong).await,
                Came::Message(ClientMessage::Report { .. }) => {}
                came => return came,
            }
        }
    }

    /// The next message, which has to come.
    pub(crate) async fn next(&mut self) -> ClientMessage {
        match self.came().await {
            Came::Message(message) => message,
            Came::Close(code) => panic!("the client closed with {code}"),
            Came::Ended => panic!("the client ended the connection"),
        }
    }

    pub(crate) async fn next_publish(&mut self) -> (u64, String) {
        match self.next().await {
            ClientMessage::Publish { id, body, .. } => (id, body.data.as_text().unwrap_or("bytes").to_owned()),
            other => panic!("no publish: {other:?}"),
        }
    }

    pub(crate) async fn next_subscribe(&mut self) -> (u64, From) {
        match self.next().await {
            ClientMessage::Subscribe { id, from, .. } => (id, from),
            other => panic!("no subscribe: {other:?}"),
        }
    }

    pub(crate) async fn send(&mut self, message: ServerMessage) {
        let mut frame = Vec::new();
        self.frame(&message, &mut frame);
        self.write.write_all(&frame).await.unwrap();
    }

    pub(crate) fn frame(&mut self, message: &ServerMessage, out: &mut Vec<u8>) {
        let mut payload = Vec::new();
        let text = message.encode(&mut payload) == MessageKind::Text;
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        match &mut self.compressor {
            Some(compressor) => {
                let mut compressed = Vec::new();
                compressor.compress(&payload, &mut compressed);
                ws::write_frame(out, opcode, true, &compressed);
            }
            None => ws::write_frame(out, opcode, false, &payload),
        }
    }

    pub(crate) async fn publish_reply(&mut self, id: u64, eid: u64, duplicate: bool) {
        self.send(published(id, eid, duplicate)).await;
    }

    pub(crate) async fn subscribe_reply(&mut self, id: u64, eid: u64) {
        self.send(subscribed(id, eid)).await;
    }

    pub(crate) async fn event(&mut self, eid: u64, text: &str) {
        self.send(event(eid, text)).await;
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let mut frame = Vec::new();
        ws::write_close(&mut frame, code, reason);
        self.write.write_all(&frame).await.unwrap();
    }
}

impl Incoming {
    /// The next message or close; pings and pongs of WebSocket are passed over.
    pub(crate) async fn came(&mut self) -> Came {
        loop {
            let mut rest = self.input.as_mut_slice();
            let inflater = self.inflater.as_mut();
            let decoded = self.decoder.decode(&mut rest, inflater, 1 << 24).unwrap();
            let left = rest.len();
            let came = match decoded {
                Some(ws::Message::Text(text)) => {
                    Some(Ok(ClientMessage::decode(Carriage::Text(text.as_bytes())).unwrap()))
                }
                Some(ws::Message::Binary(b)) => Some(Ok(ClientMessage::decode(Carriage::Binary(b)).unwrap())),
                Some(ws::Message::Close(said)) => Some(Err(said.map_or(1005, |(code, _)| code))),
                Some(_) => None,
                None => {
                    self.input.clear();
                    if self.read.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                        return Came::Ended;
                    }
                    continue;
                }
            };
            self.input.drain(..self.input.len() - left);
            match came {
                Some(Ok(message)) => return Came::Message(message),
                Some(Err(code)) => return Came::Close(code),
                None => {}
            }
        }
    }
}

pub(crate) fn welcome(heartbeat: u64) -> ServerMessage {
    let limits = Limits { event_bytes: 1 << 20, publishes_max: 256, subscriptions_max: 10 };
    ServerMessage::Welcome { version: 1, session: SESSION, heartbeat, limits, network: None }
}

pub(crate) fn subscribed(id: u64, eid: u64) -> ServerMessage {
    ServerMessage::Reply { id, result: Ok(Reply::Subscribed { number: 0, epoch: EPOCH, eid: Eid(eid) }) }
}

pub(crate) fn published(id: u64, eid: u64, duplicate: bool) -> ServerMessage {
    ServerMessage::Reply { id, result: Ok(Reply::Published { eid: Eid(eid), duplicate }) }
}

pub(crate) fn event(eid: u64, text: &str) -> ServerMessage {
    ServerMessage::Event { channel: 0, event: Event { eid: Eid(eid), time: 1, body: Body::new(Data::text(text)) } }
}
