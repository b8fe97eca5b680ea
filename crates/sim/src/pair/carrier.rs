//! The client's end of a link: one request that stays open, or a chain of them.

mod http;

use std::collections::VecDeque;
use std::rc::Rc;

use throughline_wire::message::{ClientMessage, ServerMessage};

use super::Sabotage;
use super::net::{Down, Net, Piece, Request, Status, Unit, Up};
use super::queue::Due;
use super::rule::Class;

/// Bytes that a carrier takes before its session has to wait.
const OUT_BYTES_MAX: u32 = 6_000;
/// Bytes in one piece: of a body, and of a URL.
const PIECE_BYTES: u32 = 4_000;
const URL_BYTES: u32 = 1_500;

/// What a carrier tells.
#[derive(Debug)]
pub enum Told {
    /// The handshake is done, or the head of the answer came.
    Opened,
    /// Bytes came that are no message, such as an empty answer.
    Heard,
    /// A message.
    Message(ServerMessage),
    /// A request that carried messages up was answered.
    Uplinked,
    /// Polls are held so long from now on, milliseconds.
    HoldLearned(u64),
    /// As many bytes came as one stream should carry.
    Full,
    /// The link is over. An answer that refused it, if that is how it ended.
    Lost(Option<Status>),
}

/// A request under way, and how often it was made.
#[derive(Debug)]
struct Uplink {
    connection: Option<u32>,
    piece: Rc<Piece>,
    tries: u32,
    /// When it is given up, or made again.
    until: u64,
}

#[derive(Debug, Default)]
struct Polling {
    connection: Option<u32>,
    ack: u64,
    tries: u32,
    since: u64,
    until: u64,
}

/// The client's end of a link.
#[derive(Debug)]
pub struct Carrier {
    id: u32,
    /// Which transport.
    pub class: Class,
    name: u64,
    /// Of a WebSocket or a stream.
    connection: Option<u32>,
    /// When it was begun.
    pub since: u64,
    opened: bool,
    over: bool,
    out: VecDeque<Unit>,
    out_bytes: u32,
    pieces: u64,
    uplink: Option<Uplink>,
    polling: Polling,
    /// How long polls may be held, milliseconds.
    hold: u64,
    /// How many in a row were held to their end.
    held: u32,
    /// The first piece, until an answer showed that it came.
    first: Option<Rc<Piece>>,
    /// Bytes that came on a stream, and how many should.
    received: (u32, u32),
    sabotage: Sabotage,
}

/// How a link is begun.
#[derive(Debug)]
pub struct Beginning {
    /// By which transport.
    pub class: Class,
    /// Its secret name, on HTTP.
    pub name: u64,
    /// Its first messages.
    pub first: Vec<ClientMessage>,
    /// What follows them without waiting.
    pub probe: ClientMessage,
    /// How long polls may be held, milliseconds.
    pub hold: u64,
    /// Bytes after which a stream is to be replaced.
    pub full: u32,
}

/// Bytes that a message stands for.
pub fn weight(message: &ClientMessage) -> u32 {
    match message {
        ClientMessage::Publish { body, .. } => 100 + body.data.len() as u32,
        _ => 80,
    }
}

impl Carrier {
    /// Begins a link with its first messages.
    pub fn begin(net: &mut Net, id: u32, beginning: Beginning) -> Carrier {
        let Beginning { class, name, first, probe, hold, full } = beginning;
        let mut carrier = Carrier {
            id,
            class,
            name,
            connection: None,
            since: net.now(),
            opened: false,
            over: false,
            out: VecDeque::new(),
            out_bytes: 0,
            pieces: 0,
            uplink: None,
            polling: Polling::default(),
            hold,
            held: 0,
            first: None,
            received: (0, full),
            sabotage: Sabotage::None,
        };
        if class == Class::WebSocket {
            carrier.connection = Some(net.open(class, id, Request::WebSocket));
            first.into_iter().chain([probe]).for_each(|m| carrier.queue(m));
            return carrier;
        }
        carrier.begin_http(net, first, probe);
        carrier
    }

    /// Does something wrong on purpose.
    pub const fn sabotage(&mut self, sabotage: Sabotage) {
        self.sabotage = sabotage;
    }

    /// True when more can be sent.
    pub const fn has_room(&self) -> bool {
        !self.over && self.out_bytes < OUT_BYTES_MAX
    }

    /// True once the handshake is done; on HTTP, from the beginning.
    pub fn is_open(&self) -> bool {
        self.opened || self.class != Class::WebSocket
    }

    /// True when nothing more comes of it.
    pub const fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes waiting to be sent.
    pub const fn out_bytes(&self) -> u32 {
        self.out_bytes
    }

    /// True when the network did something to it that may silence it.
    pub fn suffers(&self, net: &Net) -> bool {
        let connections = [self.connection, self.polling.connection, self.uplink.as_ref().and_then(|u| u.connection)];
        connections.into_iter().flatten().any(|c| net.suffers(c))
    }

    fn queue(&mut self, message: ClientMessage) {
        let bytes = weight(&message);
        self.out_bytes += bytes;
        let part = if self.class == Class::JsonpPoll { URL_BYTES } else { PIECE_BYTES };
        (0..bytes / part).for_each(|_| self.out.push_back(Unit::Part));
        self.out.push_back(Unit::Message(message));
    }

    /// Sends a message.
    pub fn send(&mut self, net: &mut Net, message: ClientMessage) {
        if self.over {
            return;
        }
        self.queue(message);
        self.pump(net);
    }

    fn pump(&mut self, net: &mut Net) {
        if self.class != Class::WebSocket {
            return self.pump_http(net);
        }
        let Some(connection) = self.connection else { return };
        while self.opened
            && net.up_bytes(connection) < OUT_BYTES_MAX
            && let Some(unit) = self.out.pop_front()
        {
            if let Unit::Message(message) = unit {
                let bytes = weight(&message);
                self.out_bytes -= bytes;
                net.send_up(connection, Up::Message(message), bytes);
            }
        }
    }

    /// What was sent has arrived, so that there is room for more.
    pub fn writable(&mut self, net: &mut Net) {
        if !self.over && self.class == Class::WebSocket {
            self.pump(net);
        }
    }

    /// Something came on one of its connections. Gives what it means, in order.
    pub fn arrived(&mut self, net: &mut Net, connection: u32, item: Down, told: &mut Vec<Told>) {
        if self.over {
            return;
        }
        if self.connection != Some(connection) {
            return self.arrived_http(net, connection, item, told);
        }
        match item {
            Down::Head(Status::Ok) => {
                self.opened = true;
                told.push(Told::Opened);
                self.pump(net);
            }
            Down::Head(status) => self.lose(net, Some(status), told),
            Down::Message(message) => {
                let (received, full) = self.received;
                self.received.0 += super::host::weight(&message);
                told.push(Told::Message(message));
                if self.class != Class::WebSocket && received < full && self.received.0 >= full {
                    told.push(Told::Full);
                }
            }
            Down::End { .. } => self.lose(net, None, told),
            Down::Answer(_) => {}
        }
    }

    fn lose(&mut self, net: &mut Net, status: Option<Status>, told: &mut Vec<Told>) {
        self.drop_connections(net);
        told.push(Told::Lost(status));
    }

    fn drop_connections(&mut self, net: &mut Net) {
        self.over = true;
        self.out.clear();
        self.out_bytes = 0;
        let uplink = self.uplink.take().and_then(|u| u.connection);
        for connection in [self.connection, self.polling.connection, uplink].into_iter().flatten() {
            net.send_up(connection, Up::End, 0);
        }
        self.polling.connection = None;
    }

    /// Closes the link.
    pub fn close(&mut self, net: &mut Net) {
        if self.over {
            return;
        }
        self.drop_connections(net);
        if self.connection.is_none() {
            self.say_goodbye(net);
        }
    }

    /// A poll link has no connection whose end would tell the server.
    fn say_goodbye(&mut self, net: &mut Net) {
        let units = vec![Unit::Message(ClientMessage::Close { reason: None })];
        let piece = Rc::new(Piece { number: self.pieces + 1, units });
        net.open(Class::Uplink, self.id, Request::Uplink { link: self.name, piece });
    }

    fn wake(&self, net: &mut Net, at: u64) {
        net.queue.at(at, Due::Carrier(self.id));
    }
}
