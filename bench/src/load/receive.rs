//! What arrives: steps of the handshake, messages, acknowledgements, keep-alives.

use std::io::{self, Read};

use memchr::memmem;

use super::connection::{Role, State};
use super::{Load, READ_BYTES, Record, SEQUENCE_BITS};
use crate::clock::now;
use crate::marker::{MARK, scan};
use crate::profile::Step;
use crate::template::{Context, fill};

impl Load {
    pub(super) fn readable(&mut self, i: usize) {
        let mut buffer = std::mem::take(&mut self.buffer);
        if let Some(end) = self.read(i, &mut buffer) {
            self.received(i, &buffer[..end]);
        }
        self.buffer = buffer;
    }

    /// Reads behind what the last read left over; returns where the whole ends.
    fn read(&mut self, i: usize, buffer: &mut [u8]) -> Option<usize> {
        let connection = &mut self.connections[i];
        let carried = usize::from(connection.carry_len);
        buffer[..carried].copy_from_slice(&connection.carry[..carried]);
        let mut stream = connection.stream.as_ref()?;
        match stream.read(&mut buffer[carried..carried + READ_BYTES]) {
            Ok(0) => self.kill(i),
            Ok(n) => {
                if connection.role == Role::Subscriber {
                    self.counts.bytes += n as u64;
                    self.counts.reads += 1;
                }
                return Some(carried + n);
            }
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.kill(i),
        }
        None
    }

    fn received(&mut self, i: usize, data: &[u8]) {
        let connection = &mut self.connections[i];
        match (connection.state, connection.role) {
            (State::Ready, Role::Subscriber) => self.messages(i, data),
            (State::Ready, Role::Publisher(_)) => self.acknowledgements(i, data),
            _ => {
                connection.inbox.extend_from_slice(data);
                self.advance(i);
            }
        }
    }

    fn messages(&mut self, i: usize, data: &[u8]) {
        let connection = &mut self.connections[i];
        let (time, record) = (now(), self.record == Record::Deliveries);
        let (counts, latency) = (&mut self.counts, &mut self.latency);
        let before = counts.delivered;
        let left = scan(data, |sent, sequence| {
            let publisher = (sequence >> SEQUENCE_BITS) as usize;
            match connection.arrived(publisher, sequence & ((1 << SEQUENCE_BITS) - 1)) {
                Some(missing) => counts.gaps += missing,
                None => counts.late += 1,
            }
            counts.delivered += 1;
            if record {
                latency.add(time.saturating_sub(sent));
            }
        });
        connection.carry(&data[left..]);
        if counts.delivered == before {
            self.reply(i, data);
        }
    }

    fn acknowledgements(&mut self, i: usize, data: &[u8]) {
        if let Some(ack) = &self.publisher.endpoint.ack {
            let connection = &mut self.connections[i];
            let (time, record) = (now(), self.record == Record::Acknowledgements);
            let mut after = 0;
            for at in memmem::find_iter(data, ack.as_bytes()) {
                after = at + ack.len();
                self.counts.acknowledged += 1;
                let sent = connection.sent.pop_front();
                if let Some(sent) = sent.filter(|_| record) {
                    self.latency.add(time.saturating_sub(sent));
                }
            }
            let kept = data.len() - after.max((data.len() + 1).saturating_sub(ack.len().min(MARK)));
            connection.carry(&data[data.len() - kept..]);
        }
        self.reply(i, data);
    }

    /// Answers keep-alives.
    fn reply(&mut self, i: usize, data: &[u8]) {
        let connection = &mut self.connections[i];
        let side = if connection.role == Role::Subscriber { &self.subscriber } else { &self.publisher };
        let mut answered = false;
        for (seen, answer) in &side.replies {
            if seen.find(data).is_some() {
                connection.out.extend_from_slice(answer);
                answered = true;
            }
        }
        if answered {
            self.flush(i);
        }
    }

    /// Takes the steps of the handshake that what was received allows.
    pub(super) fn advance(&mut self, i: usize) {
        while let State::Handshake(step) = self.connections[i].state {
            let connection = &mut self.connections[i];
            let side = if connection.role == Role::Subscriber { &self.subscriber } else { &self.publisher };
            let inbox = &mut connection.inbox;
            match side.steps.get(step) {
                None => return self.got_ready(i),
                Some(Step::Await(wanted)) => match memmem::find(inbox, wanted) {
                    Some(at) => drop(inbox.drain(..at + wanted.len())),
                    None => return,
                },
                Some(Step::Capture(prefix, end)) => {
                    let Some(at) = memmem::find(inbox, prefix).map(|at| at + prefix.len()) else { return };
                    let Some(len) = memmem::find(&inbox[at..], end) else { return };
                    connection.captured = inbox[at..at + len].to_vec();
                    inbox.drain(..at + len + end.len());
                }
                Some(Step::Send(template, binary)) => {
                    let context = Context {
                        channel: &self.channels[connection.channel].name,
                        id: self.id * 1_000_000 + i as u64,
                        captured: &connection.captured,
                        ..Context::default()
                    };
                    let data = fill(template, &context);
                    side.endpoint.frame(*binary, &data, &mut connection.out);
                    self.flush(i);
                }
            }
            if let State::Handshake(step) = &mut self.connections[i].state {
                *step += 1;
            }
        }
    }

    fn got_ready(&mut self, i: usize) {
        let connection = &mut self.connections[i];
        connection.state = State::Ready;
        let left = std::mem::take(&mut connection.inbox);
        if connection.role == Role::Subscriber {
            self.channels[connection.channel].subscribers += 1;
            self.ready += 1;
        }
        if !left.is_empty() {
            self.received(i, &left);
        }
    }
}
