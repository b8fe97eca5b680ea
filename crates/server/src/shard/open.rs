//! How a link begins.

use throughline_session::ServerSession;
use throughline_wire::hixie;
use throughline_wire::http::Form;
use throughline_wire::message::MessageKind;
use throughline_wire::ws::deflate::{Agreed, Inflater};
use throughline_wire::ws::{Decoder, Role};

use super::framing::Framing;
use super::link::{End, Inlet, Link};
use super::uplink::Uplink;
use super::{LinkId, Now, Shard, Sock};
use crate::network::Network;
use throughline_wire::path::Transport;

/// What a WebSocket connection is opened for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A session.
    Session,
    /// Giving back every message as it came.
    Echo,
}

impl End {
    fn of(purpose: Purpose, now: Now) -> End {
        match purpose {
            Purpose::Session => End::Session(ServerSession::new(now.monotonic)),
            Purpose::Echo => End::Echo(now.monotonic),
        }
    }
}

/// What a link on one of the HTTP transports begins with.
#[derive(Debug)]
pub struct HttpLink {
    /// Which transport, for the counts.
    pub transport: Transport,
    /// How its messages stand in the body.
    pub form: Form,
    /// Each message is a chunk, and the last chunk follows the `close` message.
    pub chunked: bool,
    /// What goes out before any message: the head of the answer, the padding.
    pub start: Vec<u8>,
    /// Where the client is, for its `welcome`.
    pub network: Option<Network>,
}

impl<S: Sock> Shard<S> {
    /// Takes over a connection whose WebSocket handshake is done.
    pub fn open(&mut self, now: Now, sock: S, purpose: Purpose, deflate: Option<Agreed>) -> LinkId {
        let framing = Framing::of(deflate.as_ref());
        let decoder = Decoder::new(Role::Server, deflate.is_some());
        let own = |agreed: &Agreed| Box::new(Inflater::new(agreed.client_max_window_bits, true));
        let inlet = Inlet::WebSocket {
            decoder,
            deflate: deflate.is_some(),
            inflater: deflate.as_ref().filter(|agreed| agreed.client_context_takeover).map(own),
        };
        self.insert(Link::new(sock, self.generation, Transport::WebSocket, framing, inlet, End::of(purpose, now)))
    }

    /// The same for the drafts before version numbers, whose frames carry nothing but text.
    pub fn open_hixie(&mut self, now: Now, sock: S, purpose: Purpose) -> LinkId {
        let inlet = Inlet::Hixie(Box::new(hixie::Decoder::new()));
        let end = End::of(purpose, now);
        self.insert(Link::new(sock, self.generation, Transport::WebSocket, Framing::Hixie, inlet, end))
    }

    /// Says where the client of a link is, before anything is heard of it.
    pub fn set_network(&mut self, id: LinkId, network: Option<Network>) {
        if let Some(link) = self.link_mut(id) {
            link.network = network;
        }
    }

    /// Has the first word on a link that echoes, before anything is heard of it.
    pub fn greet(&mut self, id: LinkId, text: &[u8]) {
        let Shard { links, encoder, .. } = self;
        if let Some(link) = links.get_mut(id.key as usize).filter(|link| link.generation == id.generation) {
            encoder.frame(link.framing.control(), MessageKind::Text, text, link.control());
        }
        self.enqueue(id);
    }

    /// Opens a link on one of the HTTP transports. Its socket is where the body of the answer goes; what the client says
    /// comes by [`Shard::on_piece`].
    pub fn open_http(&mut self, now: Now, sock: S, http: HttpLink) -> LinkId {
        let HttpLink { transport, form, chunked, start, network } = http;
        let framing = Framing::Http { form, chunked };
        let inlet = Inlet::Http(Box::new(Uplink::new()));
        let end = End::Session(ServerSession::new(now.monotonic));
        let mut link = Link::new(sock, self.generation, transport, framing, inlet, end);
        link.network = network;
        if !start.is_empty() {
            link.control().extend_from_slice(&start);
        }
        let id = self.insert(link);
        self.enqueue(id);
        id
    }

    fn insert(&mut self, mut link: Link<S>) -> LinkId {
        self.generation = self.generation.wrapping_add(1);
        link.generation = self.generation;
        self.counts.links_open(link.transport).inc();
        let id = LinkId { key: self.links.insert(link) as u32, generation: self.generation };
        self.wheel.insert(id, self.deadline(id));
        if self.draining {
            self.drain_link(id);
        }
        id
    }
}
