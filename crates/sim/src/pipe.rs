//! Connections as pairs of byte pipes, and what the network between does to them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::rc::Rc;

use crate::random::Random;

/// One direction of a connection.
#[derive(Debug)]
pub struct Pipe {
    bytes: VecDeque<u8>,
    /// How many of the bytes may be taken from when on; both increase.
    due: VecDeque<(usize, u64)>,
    /// Bytes taken and given since the beginning.
    taken: usize,
    given: usize,
    /// What the two sockets and the path hold together.
    capacity: usize,
    latency_ms: u64,
    stalled_until: u64,
    /// Bytes go in and never come out.
    swallows: bool,
    /// Nothing more comes after what is in here.
    ended: bool,
}

impl Pipe {
    /// An empty pipe.
    pub const fn new(capacity: usize, latency_ms: u64) -> Pipe {
        Pipe {
            bytes: VecDeque::new(),
            due: VecDeque::new(),
            taken: 0,
            given: 0,
            capacity,
            latency_ms,
            stalled_until: 0,
            swallows: false,
            ended: false,
        }
    }

    /// Room for more bytes.
    pub fn room(&self) -> usize {
        if self.ended { 0 } else { self.capacity.saturating_sub(self.bytes.len()) }
    }

    /// Takes in what fits; says how much that was.
    pub fn write(&mut self, now: u64, bytes: &[u8]) -> usize {
        let n = bytes.len().min(self.room());
        self.bytes.extend(bytes.iter().take(n));
        self.given += n;
        if n > 0 {
            self.due.push_back((self.given, now + self.latency_ms));
        }
        n
    }

    /// Gives a slice of random length of what has arrived.
    pub fn read(&mut self, now: u64, random: &mut Random) -> Vec<u8> {
        if now < self.stalled_until || self.swallows {
            return Vec::new();
        }
        let ready = self.due.iter().take_while(|(_, at)| *at <= now).last().map_or(self.taken, |(upto, _)| *upto);
        let ready = (ready - self.taken).min(self.bytes.len());
        let n = match random.below(4) {
            0 => random.index(ready.min(8) + 1),
            1 => random.index(ready + 1),
            _ => ready,
        };
        self.taken += n;
        while self.due.front().is_some_and(|(upto, _)| *upto <= self.taken) {
            self.due.pop_front();
        }
        self.bytes.drain(..n).collect()
    }

    /// True when the reader sees the end of the connection.
    pub fn at_end(&self) -> bool {
        self.ended && (self.bytes.is_empty() || self.swallows)
    }

    /// The writer has finished.
    pub const fn finish(&mut self) {
        self.ended = true;
    }

    /// The connection breaks: some of what is under way still arrives, cut at any byte.
    pub fn cut(&mut self, random: &mut Random) {
        let kept = random.index(self.bytes.len() + 1);
        self.bytes.truncate(kept);
        self.due = VecDeque::from([(self.taken + kept, 0)]);
        self.ended = true;
        self.stalled_until = 0;
    }

    /// Nothing arrives until then.
    pub fn stall(&mut self, until: u64) {
        self.stalled_until = self.stalled_until.max(until);
    }

    /// Faults have stopped: what was held back arrives, and the path is as wide as `capacity`. What was swallowed stays lost.
    pub const fn release(&mut self, capacity: usize) {
        self.stalled_until = 0;
        self.capacity = capacity;
    }

    /// From now on nothing arrives.
    pub const fn swallow(&mut self) {
        self.swallows = true;
    }
}

/// Both directions.
#[derive(Debug)]
pub struct Connection {
    /// From client to server.
    pub up: Pipe,
    /// From server to client.
    pub down: Pipe,
    /// The virtual time, for the server's writes.
    pub now: u64,
}

/// A connection as both its ends hold it.
#[derive(Clone, Debug)]
pub struct Shared(pub Rc<RefCell<Connection>>);

impl Shared {
    /// Two pipes.
    pub fn new(now: u64, up: Pipe, down: Pipe) -> Shared {
        Shared(Rc::new(RefCell::new(Connection { up, down, now })))
    }

    /// Breaks the connection.
    pub fn cut(&self, random: &mut Random) {
        let mut connection = self.0.borrow_mut();
        connection.up.cut(random);
        connection.down.cut(random);
    }

    /// The server writes: what fits, or `WouldBlock`.
    pub fn write_down(&self, bytes: &[u8]) -> io::Result<usize> {
        let connection = &mut *self.0.borrow_mut();
        if connection.down.ended {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        match connection.down.write(connection.now, bytes) {
            0 if !bytes.is_empty() => Err(io::ErrorKind::WouldBlock.into()),
            n => Ok(n),
        }
    }

    /// The same for several slices; the network may take part of any.
    pub fn write_down_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut total = 0;
        for slice in slices {
            match self.write_down(slice) {
                Ok(n) if n < slice.len() => return Ok(total + n),
                Ok(n) => total += n,
                Err(_) if total > 0 => return Ok(total),
                Err(e) => return Err(e),
            }
        }
        Ok(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_all(pipe: &mut Pipe, now: u64) -> Vec<u8> {
        let mut random = Random::new(1);
        (0..100).flat_map(|_| pipe.read(now, &mut random)).collect()
    }

    #[test]
    fn bytes_arrive_late_in_order_and_no_more_than_fit() {
        let mut pipe = Pipe::new(4, 10);
        assert_eq!(pipe.write(0, b"abcdef"), 4);
        assert_eq!(read_all(&mut pipe, 9), b"");
        assert_eq!(read_all(&mut pipe, 10), b"abcd");
        assert_eq!(pipe.write(10, b"ef"), 2);
        pipe.stall(50);
        assert_eq!(read_all(&mut pipe, 49), b"");
        assert!(!pipe.at_end());
        pipe.finish();
        assert_eq!(read_all(&mut pipe, 50), b"ef");
        assert!(pipe.at_end());
    }

    #[test]
    fn a_cut_leaves_a_beginning_of_what_was_under_way() {
        let mut lengths = std::collections::BTreeSet::new();
        for seed in 0..100 {
            let mut pipe = Pipe::new(100, 10);
            pipe.write(0, b"abcd");
            pipe.cut(&mut Random::new(seed));
            let got = read_all(&mut pipe, 0);
            assert!(b"abcd".starts_with(&got));
            assert!(pipe.at_end());
            assert_eq!(pipe.write(0, b"e"), 0);
            lengths.insert(got.len());
        }
        assert_eq!(lengths.len(), 5, "every byte is cut at");
    }

    #[test]
    fn what_is_swallowed_never_arrives() {
        let mut pipe = Pipe::new(100, 0);
        pipe.swallow();
        assert_eq!(pipe.write(0, b"abcd"), 4);
        assert_eq!(read_all(&mut pipe, 1000), b"");
    }
}
