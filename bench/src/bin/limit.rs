//! The least that a server can do: a frame is encoded once, and the same bytes go to every subscriber of the channel
//! with one system call each. `limit PORT batch|single|answered`; publishers connect to PORT + 1.
//!
//! `batch`: all messages of one read of a publisher leave in one send per subscriber; `single`: one send per message and
//! subscriber; `answered`: as `single`, and the publisher is told `ok` for each read. Subscribers speak WebSocket (text frame `S<channel>`), a publisher sends lines `channel payload`.

use std::collections::{HashMap, VecDeque};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::process::ExitCode;
use std::rc::Rc;

use memchr::{memchr, memrchr};
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use socket2::{Domain, Socket, Type};
use throughline_wire::ws::handshake::{accept, parse_request_head};
use throughline_wire::ws::{Opcode, Versions, write_frame};

/// Keys of the two listeners; connections follow.
const LISTENERS: [u64; 2] = [0, 1];
const BACKLOG: i32 = 4096;
const EVENTS: usize = 1024;
const READ_BYTES: usize = 65_536;

type Topics = HashMap<Vec<u8>, Vec<u64>>;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Batch,
    Single,
    Answered,
}

impl Mode {
    fn of(name: &str) -> Option<Mode> {
        match name {
            "batch" => Some(Mode::Batch),
            "single" => Some(Mode::Single),
            "answered" => Some(Mode::Answered),
            _ => None,
        }
    }
}

struct Connection {
    stream: TcpStream,
    /// The handshake is done.
    open: bool,
    publisher: bool,
    inbox: Vec<u8>,
    /// What could not be sent at once, and how much of it was.
    queue: VecDeque<(Rc<Vec<u8>>, usize)>,
}

struct Limit {
    epoll: std::os::fd::OwnedFd,
    listeners: [TcpListener; 2],
    connections: HashMap<u64, Connection>,
    topics: Topics,
    mode: Mode,
    next_key: u64,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let port = args.first().and_then(|port| port.parse().ok());
    let (Some(port), Some(mode)) = (port, args.get(1).and_then(|name| Mode::of(name))) else {
        throughline_bench::say("usage: limit PORT batch|single|answered");
        return ExitCode::from(2);
    };
    match Limit::listen(port, mode).and_then(Limit::serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            throughline_bench::say(&format!("limit: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn listener(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
    socket.set_reuse_address(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

impl Limit {
    fn listen(port: u16, mode: Mode) -> io::Result<Limit> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let listeners = [listener(port)?, listener(port + 1)?];
        for (key, listener) in LISTENERS.iter().zip(&listeners) {
            epoll::add(&epoll, listener, EventData::new_u64(*key), EventFlags::IN)?;
        }
        let (connections, topics) = (HashMap::new(), HashMap::new());
        Ok(Limit { epoll, listeners, connections, topics, mode, next_key: LISTENERS.len() as u64 })
    }

    fn serve(mut self) -> io::Result<()> {
        let mut events = Vec::with_capacity(EVENTS);
        let mut buffer = vec![0; READ_BYTES];
        loop {
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), None) {
                Err(rustix::io::Errno::INTR) => continue,
                done => done?,
            };
            for event in &events {
                let (key, flags) = (event.data.u64(), event.flags);
                if LISTENERS.contains(&key) {
                    self.accept(key as usize)?;
                    continue;
                }
                if flags.contains(EventFlags::OUT) {
                    self.flush(key);
                }
                if !flags.difference(EventFlags::OUT).is_empty() {
                    self.readable(key, &mut buffer);
                }
            }
        }
    }

    fn accept(&mut self, listener: usize) -> io::Result<()> {
        while let Ok((stream, _)) = self.listeners[listener].accept() {
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            epoll::add(&self.epoll, &stream, EventData::new_u64(self.next_key), EventFlags::IN)?;
            let publisher = listener == 1;
            let connection =
                Connection { stream, open: publisher, publisher, inbox: Vec::new(), queue: VecDeque::new() };
            self.connections.insert(self.next_key, connection);
            self.next_key += 1;
        }
        Ok(())
    }

    fn readable(&mut self, key: u64, buffer: &mut [u8]) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        match (&connection.stream).read(buffer) {
            Ok(0) => self.remove(key),
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.remove(key),
            Ok(n) => {
                connection.inbox.extend_from_slice(&buffer[..n]);
                if connection.publisher {
                    self.published(key);
                } else {
                    self.asked(key);
                }
            }
        }
    }

    fn published(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let Some(last) = memrchr(b'\n', &connection.inbox) else { return };
        let rest = connection.inbox.split_off(last + 1);
        let lines = std::mem::replace(&mut connection.inbox, rest);
        let mut batches: Vec<(&[u8], Vec<u8>)> = Vec::new();
        for line in lines.split(|b| *b == b'\n') {
            let Some(space) = memchr(b' ', line) else { continue };
            let (topic, payload) = (&line[..space], &line[space + 1..]);
            let batch = match batches.iter().position(|batch| batch.0 == topic && self.mode == Mode::Batch) {
                Some(batch) => batch,
                None => {
                    batches.push((topic, Vec::with_capacity(8192)));
                    batches.len() - 1
                }
            };
            write_frame(&mut batches[batch].1, Opcode::Text, false, payload);
        }
        if self.mode == Mode::Answered {
            let answers = b"ok\n".repeat(batches.len());
            connection.queue.push_back((Rc::new(answers), 0));
            self.flush(key);
        }
        for (topic, frames) in batches {
            self.broadcast(topic, frames);
        }
    }

    fn broadcast(&mut self, topic: &[u8], frames: Vec<u8>) {
        let Some(subscribers) = self.topics.get(topic) else { return };
        let frames = Rc::new(frames);
        let mut behind = Vec::new();
        for key in subscribers {
            let Some(connection) = self.connections.get(key) else { continue };
            if !connection.queue.is_empty() {
                behind.push((*key, 0));
                continue;
            }
            let sent = (&connection.stream).write(&frames).unwrap_or(0);
            if sent < frames.len() {
                behind.push((*key, sent));
            }
        }
        for (key, sent) in behind {
            if let Some(connection) = self.connections.get_mut(&key) {
                connection.queue.push_back((frames.clone(), sent));
                self.flush(key);
            }
        }
    }

    /// The handshake, then subscriptions.
    fn asked(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        if !connection.open {
            let Ok(head) = parse_request_head(&connection.inbox) else { return self.remove(key) };
            let Some(head) = head else { return };
            let headers = head.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            let Ok(accepted) = accept(&head.method, headers, Versions::ALL, None) else { return self.remove(key) };
            connection.inbox.drain(..head.len);
            connection.open = true;
            connection.queue.push_back((Rc::new(accepted.response_head()), 0));
        }
        while let Some(text) = short_frame(&mut connection.inbox) {
            if let Some(topic) = text.strip_prefix(b"S") {
                self.topics.entry(topic.to_vec()).or_default().push(key);
                connection.queue.push_back((Rc::new(b"\x81\x02ok".to_vec()), 0));
            }
        }
        self.flush(key);
    }

    fn flush(&mut self, key: u64) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let mut flags = EventFlags::IN;
        while let Some((bytes, at)) = connection.queue.front_mut() {
            match (&connection.stream).write(&bytes[*at..]) {
                Ok(n) => *at += n,
                Err(_) => {
                    flags |= EventFlags::OUT;
                    break;
                }
            }
            if *at == bytes.len() {
                connection.queue.pop_front();
            }
        }
        let data = EventData::new_u64(key);
        if epoll::modify(&self.epoll, &connection.stream, data, flags).is_err() {
            self.remove(key);
        }
    }

    fn remove(&mut self, key: u64) {
        if self.connections.remove(&key).is_some() {
            self.topics.values_mut().for_each(|subscribers| subscribers.retain(|other| *other != key));
        }
    }
}

/// Takes a masked frame of less than 126 bytes; a subscriber sends no other.
fn short_frame(inbox: &mut Vec<u8>) -> Option<Vec<u8>> {
    let len = usize::from(inbox.get(1)? & 127);
    let payload = inbox.get(6..6 + len)?;
    let text = payload.iter().enumerate().map(|(i, b)| b ^ inbox[2 + i % 4]).collect();
    inbox.drain(..6 + len);
    Some(text)
}
