//! Connections between the client and the server, with a middlebox in each.

use std::collections::VecDeque;
use std::rc::Rc;

use throughline_wire::message::{ClientMessage, ServerMessage};

use super::queue::{Due, Queue};
use super::rule::{Class, Rule, Weather};
use crate::random::Random;

/// A part of a client's stream of messages: only with its last unit a message has come.
#[derive(Clone, Debug)]
pub enum Unit {
    /// A part of a message that is not its last.
    Part,
    /// The last part.
    Message(ClientMessage),
}

/// A numbered piece of a client's stream of messages.
#[derive(Debug)]
pub struct Piece {
    /// From 1.
    pub number: u64,
    /// What it holds.
    pub units: Vec<Unit>,
}

/// A request of the client.
#[derive(Clone, Debug)]
pub enum Request {
    /// An upgrade.
    WebSocket,
    /// Opens a stream; with the first piece.
    Stream {
        /// Names the link.
        link: u64,
        /// The first piece.
        piece: Rc<Piece>,
    },
    /// A poll.
    Poll {
        /// Names the link.
        link: u64,
        /// The last answer received.
        ack: u64,
        /// How long the answer may be held back, milliseconds.
        hold: u64,
        /// The first piece, with the first poll.
        piece: Option<Rc<Piece>>,
    },
    /// A further piece.
    Uplink {
        /// Names the link.
        link: u64,
        /// The piece.
        piece: Rc<Piece>,
    },
}

/// What goes to the server.
#[derive(Clone, Debug)]
pub enum Up {
    /// The request that opens the connection.
    Open(Request),
    /// A message on a WebSocket.
    Message(ClientMessage),
    /// Nothing more comes.
    End,
}

/// How a request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// As asked.
    Ok,
    /// The server refused.
    Ours(u16),
    /// A middlebox refused.
    Theirs(u16),
}

/// An answer to a poll.
#[derive(Debug)]
pub struct Answer {
    /// Its number; that of the last one when it is empty.
    pub number: u64,
    /// What it holds.
    pub messages: Vec<ServerMessage>,
}

/// What goes to the client.
#[derive(Clone, Debug)]
pub enum Down {
    /// The head of the answer.
    Head(Status),
    /// A message on a WebSocket or a stream.
    Message(ServerMessage),
    /// The answer to a poll.
    Answer(Rc<Answer>),
    /// Nothing more comes; `clean` if the sender said so.
    End {
        /// False after a reset.
        clean: bool,
    },
}

/// Due time of what a middlebox keeps back.
const KEPT: u64 = u64::MAX;

#[derive(Debug)]
struct Pipe<T> {
    items: VecDeque<(u64, u32, T)>,
    last: u64,
    bytes: u32,
    /// Whatever goes in does not come out.
    dead: bool,
    /// So many items pass, then it is dead.
    left: Option<u32>,
    ended: bool,
}

impl<T> Pipe<T> {
    const fn new() -> Pipe<T> {
        Pipe { items: VecDeque::new(), last: 0, bytes: 0, dead: false, left: None, ended: false }
    }

    fn put(&mut self, due: u64, bytes: u32, item: T) -> u64 {
        let due = if due == KEPT { KEPT } else { due.max(self.last) };
        if due != KEPT {
            self.last = due;
        }
        self.bytes = self.bytes.saturating_add(bytes);
        self.items.push_back((due, bytes, item));
        due
    }

    fn take(&mut self, now: u64) -> Option<T> {
        if self.items.front()?.0 > now {
            return None;
        }
        let (_, bytes, item) = self.items.pop_front()?;
        self.bytes = self.bytes.saturating_sub(bytes);
        Some(item)
    }

    /// True when the next item does not pass.
    fn spent(&mut self) -> bool {
        match &mut self.left {
            _ if self.dead => true,
            None => false,
            Some(0) => {
                self.dead = true;
                true
            }
            Some(n) => {
                *n -= 1;
                false
            }
        }
    }

    /// Of what is on its way nothing arrives.
    fn spill(&mut self) {
        self.items.clear();
        self.bytes = 0;
    }
}

/// A connection: a request and what follows.
#[derive(Debug)]
struct Connection {
    class: Class,
    carrier: u32,
    rule: Rule,
    up: Pipe<Up>,
    down: Pipe<Down>,
    /// The response is kept back: to its end, or to so many bytes.
    keeps: Option<u32>,
    /// A reset comes in place of what does not pass.
    resets: bool,
    /// Answers to be dropped, since the request was repeated.
    skip: u32,
    passed_at: u64,
    answered: bool,
}

/// The network of one client.
#[derive(Debug)]
pub struct Net {
    /// Virtual time.
    pub queue: Queue,
    /// What the path does to new connections.
    pub weather: Weather,
    /// How often each rule was met.
    pub met: [u64; 15],
    random: Random,
    connections: Vec<Connection>,
    delay: u64,
    jitter: u64,
    /// What happens, in words, if someone wants to read it.
    pub trace: Option<Vec<String>>,
}

impl Net {
    /// A network with this latency of one direction, milliseconds.
    pub fn new(random: Random, delay: u64, jitter: u64) -> Net {
        let (queue, weather) = (Queue::default(), Weather::FAIR);
        Net { queue, weather, met: [0; 15], random, connections: Vec::new(), delay, jitter, trace: None }
    }

    /// Virtual time.
    pub const fn now(&self) -> u64 {
        self.queue.now()
    }

    /// Writes down what happens, for those who want to read it.
    pub fn note(&mut self, text: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{:>8} {}", self.queue.now(), text()));
        }
    }

    /// The carrier that opened a connection.
    pub fn carrier(&self, id: u32) -> Option<u32> {
        self.connections.get(id as usize).map(|c| c.carrier)
    }

    /// Opens a connection with a request.
    pub fn open(&mut self, class: Class, carrier: u32, request: Request) -> u32 {
        let id = self.connections.len() as u32;
        let rule = self.weather.rule(class);
        self.connections.push(Connection {
            class,
            carrier,
            rule,
            up: Pipe::new(),
            down: Pipe::new(),
            keeps: None,
            resets: false,
            skip: 0,
            passed_at: self.now(),
            answered: false,
        });
        self.met[rule.index()] += 1;
        self.note(|| format!("#{id} {class:?} of link {carrier} meets {rule:?}"));
        self.connections[id as usize].up.last = self.now() + self.round_trip(class);
        if self.begin(id, rule) {
            if rule == Rule::Repeat && class >= Class::LongPoll {
                self.connections[id as usize].skip = 1;
                self.send_up(id, Up::Open(request.clone()), 200);
            }
            self.send_up(id, Up::Open(request), 200);
        }
        id
    }

    /// What it takes to connect; short requests find a connection open.
    const fn round_trip(&self, class: Class) -> u64 {
        if class as usize >= Class::LongPoll as usize { 0 } else { self.delay * 2 }
    }

    /// The middlebox looks at a new connection; false when the server does not learn of it.
    fn begin(&mut self, id: u32, rule: Rule) -> bool {
        let status = if self.random.one_in(2) { 403 } else { 502 };
        let connection = &mut self.connections[id as usize];
        match rule {
            Rule::Sound | Rule::Repeat => {}
            Rule::Slow(_) => {}
            Rule::Refuse => {
                self.hand_down(id, Down::Head(Status::Theirs(status)), 100);
                self.hand_down(id, Down::End { clean: true }, 0);
                self.connections[id as usize].up.dead = true;
                return false;
            }
            Rule::Reset => {
                self.hand_down(id, Down::End { clean: false }, 0);
                self.connections[id as usize].up.dead = true;
                return false;
            }
            Rule::BlackHole => {
                (connection.up.dead, connection.down.dead) = (true, true);
                return false;
            }
            Rule::Swallow(n) => (connection.up.left, connection.down.left) = (Some(n + 1), Some(n + 1)),
            Rule::LoseReply => connection.down.dead = true,
            Rule::ResetReply => (connection.down.left, connection.resets) = (Some(0), true),
            Rule::BufferToEnd => connection.keeps = Some(u32::MAX),
            Rule::Buffer(bytes) => connection.keeps = Some(bytes),
            Rule::Cut(ms) | Rule::Age(ms) | Rule::Idle(ms) | Rule::Impatient(ms) => {
                self.queue.after(ms, Due::Middlebox(id));
            }
        }
        true
    }

    fn latency(&mut self, id: u32) -> u64 {
        let slow = match self.connections[id as usize].rule {
            Rule::Slow(ms) => ms,
            _ => 0,
        };
        self.delay + slow + self.random.below(self.jitter + 1)
    }

    /// The client sends.
    pub fn send_up(&mut self, id: u32, item: Up, bytes: u32) {
        let due = self.now() + self.latency(id);
        let now = self.now();
        let connection = &mut self.connections[id as usize];
        if connection.up.ended {
            return;
        }
        connection.up.ended = matches!(item, Up::End);
        if connection.up.spent() {
            connection.up.bytes = connection.up.bytes.saturating_add(bytes);
            return;
        }
        connection.passed_at = now;
        let due = connection.up.put(due, bytes, item);
        self.queue.at(due, Due::Up(id));
    }

    /// The server sends.
    pub fn send_down(&mut self, id: u32, item: Down, bytes: u32) {
        let connection = &mut self.connections[id as usize];
        if connection.down.ended {
            return;
        }
        connection.answered = true;
        let end = matches!(item, Down::End { .. });
        if connection.skip > 0 {
            connection.skip -= u32::from(end);
            return;
        }
        connection.down.ended = end;
        if connection.down.spent() {
            connection.down.bytes = connection.down.bytes.saturating_add(bytes);
            if core::mem::take(&mut connection.resets) {
                connection.down.ended = true;
                self.hand_down(id, Down::End { clean: false }, 0);
            }
            return;
        }
        connection.passed_at = self.queue.now();
        if let Some(most) = connection.keeps {
            connection.down.put(KEPT, bytes, item);
            if end || connection.down.bytes >= most {
                self.release(id);
            }
            return;
        }
        self.hand_down(id, item, bytes);
    }

    /// Puts something on the way to the client, whoever says it.
    fn hand_down(&mut self, id: u32, item: Down, bytes: u32) {
        let due = self.now() + self.latency(id);
        let due = self.connections[id as usize].down.put(due, bytes, item);
        self.queue.at(due, Due::Down(id));
    }

    /// What was kept back goes on.
    fn release(&mut self, id: u32) {
        let due = self.now() + self.latency(id);
        let pipe = &mut self.connections[id as usize].down;
        let due = due.max(pipe.last);
        pipe.last = due;
        for (at, _, _) in pipe.items.iter_mut().filter(|(at, _, _)| *at == KEPT) {
            *at = due;
            self.queue.at(due, Due::Down(id));
        }
    }

    /// Something reached the server.
    pub fn arrived_up(&mut self, id: u32) -> Option<Up> {
        let now = self.now();
        let item = self.connections[id as usize].up.take(now);
        self.note(|| format!("#{id} -> server {item:?}"));
        item
    }

    /// Something reached the client; gives the carrier too.
    pub fn arrived_down(&mut self, id: u32) -> Option<(u32, Down)> {
        let now = self.now();
        let connection = &mut self.connections[id as usize];
        let carrier = connection.carrier;
        let item = connection.down.take(now);
        self.note(|| format!("#{id} -> client {item:?}"));
        item.map(|item| (carrier, item))
    }

    /// Bytes on their way to the client.
    pub fn down_bytes(&self, id: u32) -> u32 {
        self.connections[id as usize].down.bytes
    }

    /// Bytes on their way to the server.
    pub fn up_bytes(&self, id: u32) -> u32 {
        self.connections[id as usize].up.bytes
    }

    /// A middlebox's timer on a connection.
    pub fn middlebox(&mut self, id: u32) {
        let now = self.now();
        let connection = &mut self.connections[id as usize];
        match connection.rule {
            Rule::Cut(_) => self.cut(id, false),
            Rule::Age(_) => self.cut(id, true),
            Rule::Idle(ms) if now >= connection.passed_at + ms => {
                (connection.up.dead, connection.down.dead) = (true, true);
            }
            Rule::Idle(ms) => self.queue.at(connection.passed_at + ms, Due::Middlebox(id)),
            Rule::Impatient(_) if !connection.answered => {
                self.hand_down(id, Down::Head(Status::Theirs(504)), 100);
                self.cut(id, true);
            }
            _ => {}
        }
    }

    /// Ends a connection for both sides.
    pub fn cut(&mut self, id: u32, clean: bool) {
        let spill = !clean && self.random.one_in(2);
        let connection = &mut self.connections[id as usize];
        if spill {
            connection.up.spill();
            connection.down.spill();
        }
        if !core::mem::replace(&mut connection.up.dead, true) {
            let due = connection.up.put(self.queue.now() + self.delay, 0, Up::End);
            self.queue.at(due, Due::Up(id));
        }
        if !core::mem::replace(&mut connection.down.dead, true) {
            connection.down.ended = true;
            self.release(id);
            self.hand_down(id, Down::End { clean }, 0);
        }
    }

    /// Other weather. What is under way may feel it, too.
    pub fn change(&mut self, weather: Weather, all: bool) {
        self.note(|| format!("{weather:?}, for connections under way too: {all}"));
        self.weather = weather;
        if !all {
            return;
        }
        for id in 0..self.connections.len() as u32 {
            let connection = &mut self.connections[id as usize];
            let rule = self.weather.rule(connection.class);
            let over = connection.up.ended && connection.down.ended;
            if over || connection.rule == rule {
                continue;
            }
            self.met[rule.index()] += 1;
            connection.keeps = None;
            self.release(id);
            let connection = &mut self.connections[id as usize];
            match rule {
                Rule::Refuse | Rule::Reset => self.cut(id, false),
                Rule::Sound | Rule::Repeat => connection.rule = Rule::Sound,
                rule => {
                    connection.rule = rule;
                    self.begin(id, rule);
                }
            }
        }
    }

    /// The path is as if nothing had been: connections that suffer are cut.
    pub fn clear(&mut self) {
        self.weather = Weather::FAIR;
        for id in 0..self.connections.len() as u32 {
            let connection = &mut self.connections[id as usize];
            if connection.rule == Rule::Sound && !connection.up.dead && !connection.down.dead {
                continue;
            }
            connection.rule = Rule::Sound;
            (connection.up.dead, connection.down.dead) = (connection.up.ended, connection.down.ended);
            self.cut(id, false);
        }
    }

    /// True when something is wrong with a connection that may silence it.
    pub fn suffers(&self, id: u32) -> bool {
        let connection = &self.connections[id as usize];
        connection.rule != Rule::Sound || connection.up.dead || connection.down.dead
    }

    /// Connections made so far.
    pub fn len(&self) -> usize {
        self.connections.len()
    }

    /// True before the first.
    pub fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }
}
