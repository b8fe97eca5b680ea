//! One connection.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::marker::MARK;

/// Source addresses that connections take in turn, so that tens of thousands do not run out of ports.
const SOURCES: usize = 8;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Subscriber,
    /// The n-th publisher.
    Publisher(usize),
}

/// How far a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Connecting,
    /// Before the n-th step.
    Handshake(usize),
    Ready,
    Dead,
}

#[derive(Debug)]
pub(super) struct Connection {
    /// None once dead.
    pub(super) stream: Option<TcpStream>,
    pub(super) state: State,
    pub(super) role: Role,
    pub(super) channel: usize,
    /// The end of the last read, where it may be the beginning of a marker or of an acknowledgement.
    pub(super) carry: [u8; MARK],
    pub(super) carry_len: u8,
    /// Subscriber: the number awaited from each publisher.
    pub(super) next: Vec<u32>,
    /// What was received and no step has consumed.
    pub(super) inbox: Vec<u8>,
    /// What the last capture step kept.
    pub(super) captured: Vec<u8>,
    /// What is to be sent, from `out_at` on.
    pub(super) out: Vec<u8>,
    pub(super) out_at: usize,
    /// The loop waits for the socket to become writable.
    pub(super) writing: bool,
    /// Publisher: times of the messages without an acknowledgement.
    pub(super) sent: VecDeque<u64>,
    /// Publisher: messages so far.
    pub(super) n: u64,
}

impl Connection {
    pub(super) fn open(to: SocketAddrV4, index: usize, channel: usize, role: Role) -> io::Result<Connection> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM.nonblocking().cloexec(), None)?;
        socket.set_tcp_nodelay(true)?;
        // A reset at the end leaves no port waiting.
        socket.set_linger(Some(Duration::ZERO))?;
        let source = Ipv4Addr::new(127, 0, 0, 2 + (index % SOURCES) as u8);
        socket.bind(&SocketAddrV4::new(source, 0).into())?;
        match socket.connect(&to.into()) {
            Err(e) if e.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => return Err(e),
            Ok(()) | Err(_) => {}
        }
        Ok(Connection {
            stream: Some(socket.into()),
            state: State::Connecting,
            role,
            channel,
            carry: [0; MARK],
            carry_len: 0,
            next: Vec::new(),
            inbox: Vec::new(),
            captured: Vec::new(),
            out: Vec::new(),
            out_at: 0,
            writing: true,
            sent: VecDeque::new(),
            n: 0,
        })
    }

    /// Keeps the end of a read for the next one.
    pub(super) fn carry(&mut self, end: &[u8]) {
        self.carry_len = end.len() as u8;
        self.carry[..end.len()].copy_from_slice(end);
    }

    /// Notes the arrival of a message; returns how many are missing before it, or None if it is late.
    pub(super) fn arrived(&mut self, publisher: usize, sequence: u32) -> Option<u64> {
        if self.next.len() <= publisher {
            self.next.resize(publisher + 1, 0);
        }
        let next = &mut self.next[publisher];
        let missing = u64::from(sequence.checked_sub(*next)?);
        *next = sequence + 1;
        Some(missing)
    }
}
