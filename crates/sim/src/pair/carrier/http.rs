//! Links on HTTP: pieces go up one at a time and are repeated, polls are made one after the other.

use std::rc::Rc;

use throughline_wire::message::ClientMessage;

use super::{Carrier, PIECE_BYTES, Polling, Told, URL_BYTES, Uplink, weight};
use crate::pair::Sabotage;
use crate::pair::net::{Answer, Down, Net, Piece, Request, Status, Unit};
use crate::pair::rule::Class;

/// How long an uplink request may take, milliseconds.
const UPLINK_MS: u64 = 8_000;
/// How long after the hold an answer may take, milliseconds.
const POLL_MS: u64 = 8_000;
/// A request that failed is made again after this, milliseconds; then after twice that.
const AGAIN_MS: u64 = 250;
/// How often a request is made before the link is held for broken.
const TRIES_MAX: u32 = 4;

/// Bounds of the time that polls are held, milliseconds, and by how much it grows after so many were held to their end.
const HOLD_MS: (u64, u64) = (3_000, 25_000);
const HOLD_STEP_MS: u64 = 4_000;
const HELD_TIMES: u32 = 3;

impl Carrier {
    const fn polls(&self) -> bool {
        matches!(self.class, Class::LongPoll | Class::JsonpPoll)
    }

    pub(super) fn begin_http(&mut self, net: &mut Net, first: Vec<ClientMessage>, probe: ClientMessage) {
        first.into_iter().for_each(|m| self.queue(m));
        if self.polls() {
            self.queue(probe);
            self.first = Some(Rc::new(self.cut_piece()));
            self.poll(net);
        } else {
            let piece = Rc::new(self.cut_piece());
            self.connection = Some(net.open(self.class, self.id, Request::Stream { link: self.name, piece }));
            self.queue(probe);
        }
        self.pump_http(net);
    }

    /// The next piece of what waits.
    fn cut_piece(&mut self) -> Piece {
        let most = if self.class == Class::JsonpPoll { URL_BYTES } else { PIECE_BYTES };
        let (mut units, mut bytes) = (Vec::new(), 0);
        while bytes < most
            && let Some(unit) = self.out.pop_front()
        {
            match &unit {
                Unit::Part => bytes += most,
                Unit::Message(message) => {
                    self.out_bytes -= weight(message);
                    bytes += weight(message) % most;
                }
            }
            units.push(unit);
        }
        self.pieces += 1;
        Piece { number: self.pieces, units }
    }

    pub(super) fn pump_http(&mut self, net: &mut Net) {
        // What comes after the first piece of a poll waits until an answer shows that the link is there.
        if self.uplink.is_some() || self.out.is_empty() || self.over || self.first.is_some() {
            return;
        }
        let piece = Rc::new(self.cut_piece());
        self.uplink = Some(Uplink { connection: None, piece, tries: 0, until: 0 });
        self.send_piece(net);
    }

    fn send_piece(&mut self, net: &mut Net) {
        let (link, id, until) = (self.name, self.id, net.now() + UPLINK_MS);
        let Some(uplink) = &mut self.uplink else { return };
        uplink.tries += 1;
        uplink.until = until;
        uplink.connection = Some(net.open(Class::Uplink, id, Request::Uplink { link, piece: uplink.piece.clone() }));
        self.wake(net, until);
    }

    fn poll(&mut self, net: &mut Net) {
        let until = net.now() + self.hold + POLL_MS;
        let hold = if self.opened { self.hold } else { 0 };
        let early = self.sabotage == Sabotage::AckEarly && self.polling.tries > 0;
        self.polling.ack += u64::from(early);
        let ack = self.polling.ack;
        let request = Request::Poll { link: self.name, ack, hold, piece: self.first.clone() };
        self.polling.tries += 1;
        self.polling.since = net.now();
        self.polling.until = until;
        self.polling.connection = Some(net.open(self.class, self.id, request));
        self.wake(net, until);
    }

    pub(super) fn arrived_http(&mut self, net: &mut Net, connection: u32, item: Down, told: &mut Vec<Told>) {
        if self.polling.connection == Some(connection) {
            return self.polled(net, item, told);
        }
        let Some(uplink) = &mut self.uplink else { return };
        if uplink.connection != Some(connection) {
            return;
        }
        match item {
            Down::Head(Status::Ok) => {
                self.uplink = None;
                told.push(Told::Uplinked);
                self.pump_http(net);
            }
            Down::Head(status @ Status::Ours(_)) => self.lose(net, Some(status), told),
            Down::Head(Status::Theirs(_)) | Down::End { .. } => {
                uplink.connection = None;
                uplink.until = net.now() + (AGAIN_MS << uplink.tries);
                let (until, tries) = (uplink.until, uplink.tries);
                if tries >= TRIES_MAX {
                    return self.lose(net, None, told);
                }
                self.wake(net, until);
            }
            Down::Message(_) | Down::Answer(_) => {}
        }
    }

    fn polled(&mut self, net: &mut Net, item: Down, told: &mut Vec<Told>) {
        match item {
            Down::Head(Status::Ok) => {
                if !core::mem::replace(&mut self.opened, true) {
                    told.push(Told::Opened);
                }
                self.first = None;
                self.pump_http(net);
            }
            Down::Head(status @ Status::Ours(_)) => self.lose(net, Some(status), told),
            Down::Answer(answer) => self.answered(net, &answer, told),
            Down::Head(Status::Theirs(_)) | Down::End { .. } => {
                self.polling.connection = None;
                self.hold_failed(told);
                let (tries, opened) = (self.polling.tries, self.opened);
                if tries >= TRIES_MAX || !opened {
                    return self.lose(net, None, told);
                }
                self.polling.until = net.now() + (AGAIN_MS << tries);
                self.wake(net, self.polling.until);
            }
            Down::Message(_) => {}
        }
    }

    fn answered(&mut self, net: &mut Net, answer: &Answer, told: &mut Vec<Told>) {
        if answer.number == self.polling.ack + 1 {
            self.polling.ack = answer.number;
            told.extend(answer.messages.iter().cloned().map(Told::Message));
        } else if answer.number == self.polling.ack && answer.messages.is_empty() {
            told.push(Told::Heard);
            if net.now() - self.polling.since >= self.hold {
                self.held_to_the_end(told);
            }
        }
        self.polling = Polling { tries: 0, ..core::mem::take(&mut self.polling) };
        self.poll(net);
    }

    fn held_to_the_end(&mut self, told: &mut Vec<Told>) {
        self.held += 1;
        if self.held >= HELD_TIMES {
            self.held = 0;
            self.hold = (self.hold + HOLD_STEP_MS).min(HOLD_MS.1);
            told.push(Told::HoldLearned(self.hold));
        }
    }

    fn hold_failed(&mut self, told: &mut Vec<Told>) {
        self.held = 0;
        self.hold = (self.hold / 2).max(HOLD_MS.0);
        told.push(Told::HoldLearned(self.hold));
    }

    /// Time has passed.
    pub fn tick(&mut self, net: &mut Net, told: &mut Vec<Told>) {
        let now = net.now();
        if self.over {
            return;
        }
        if let Some(Uplink { connection, until, tries, .. }) = &self.uplink
            && *until <= now
        {
            if *tries >= TRIES_MAX {
                return self.lose(net, None, told);
            }
            let old = *connection;
            self.leave(net, old);
            self.send_piece(net);
        }
        if self.polls() && self.polling.until <= now {
            if self.polling.tries >= TRIES_MAX || !self.opened {
                return self.lose(net, None, told);
            }
            self.hold_failed(told);
            let old = self.polling.connection;
            self.leave(net, old);
            self.poll(net);
        }
    }

    fn leave(&self, net: &mut Net, connection: Option<u32>) {
        if let Some(connection) = connection {
            net.send_up(connection, crate::pair::net::Up::End, 0);
        }
    }
}
