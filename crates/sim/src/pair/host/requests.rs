//! Requests: links that open, pieces of the client's messages, polls and their answers.

use std::rc::Rc;

use super::{ANSWER_BYTES_MAX, Host, Polls, Way, next_message, weight};
use crate::pair::Sabotage;
use crate::pair::net::{Answer, Down, Net, Piece, Request, Status, Unit};
use crate::pair::queue::Due;

/// How long an uplink request waits for a link that is not there yet, milliseconds.
const WAIT_MS: u64 = 2_000;

impl Host {
    pub(super) fn request(&mut self, net: &mut Net, connection: u32, request: Request) {
        if net.now() < self.down_until {
            return net.cut(connection, false);
        }
        match request {
            Request::WebSocket => {
                self.begin(net, None, Way::Connection(connection));
                net.send_down(connection, Down::Head(Status::Ok), 200);
            }
            Request::Stream { link, piece } => {
                if self.named(link).is_some() {
                    return refuse(net, connection, 409);
                }
                let id = self.begin(net, Some(link), Way::Connection(connection));
                net.send_down(connection, Down::Head(Status::Ok), 2_300);
                self.take(net, id, &piece);
                self.opened(net, link);
            }
            Request::Poll { link, ack, hold, piece } => self.poll(net, connection, link, (ack, hold), piece),
            Request::Uplink { link, ref piece } => match self.named(link) {
                Some(id) => self.uplink(net, connection, id, piece),
                None => {
                    self.waiting.push((connection, request, net.now() + WAIT_MS));
                    net.queue.after(WAIT_MS, Due::Wait(connection));
                }
            },
        }
    }

    fn named(&self, name: u64) -> Option<u32> {
        let place = self.links.iter().position(|l| l.as_ref().is_some_and(|l| l.name == Some(name)))?;
        Some(place as u32)
    }

    /// Uplink requests that came before their link go on.
    fn opened(&mut self, net: &mut Net, name: u64) {
        let Some(id) = self.named(name) else { return };
        while let Some(place) =
            self.waiting.iter().position(|(_, r, _)| matches!(r, Request::Uplink { link, .. } if *link == name))
        {
            let (connection, request, _) = self.waiting.remove(place);
            if let Request::Uplink { piece, .. } = request {
                self.uplink(net, connection, id, &piece);
            }
        }
    }

    /// An uplink request has waited long enough.
    pub fn waited(&mut self, net: &mut Net, connection: u32) {
        let now = net.now();
        if let Some(place) = self.waiting.iter().position(|(c, _, until)| *c == connection && *until <= now) {
            self.waiting.remove(place);
            refuse(net, connection, 404);
        }
    }

    fn uplink(&mut self, net: &mut Net, connection: u32, id: u32, piece: &Rc<Piece>) {
        if self.take(net, id, piece) {
            net.send_down(connection, Down::Head(Status::Ok), 100);
            net.send_down(connection, Down::End { clean: true }, 0);
        } else {
            refuse(net, connection, 409);
        }
    }

    /// Takes a piece, or knows it; false when one was left out.
    fn take(&mut self, net: &mut Net, id: u32, piece: &Rc<Piece>) -> bool {
        let again = self.sabotage == Sabotage::PiecesTwice;
        let Some(link) = self.link(id) else { return false };
        if piece.number > link.taken + 1 {
            return false;
        }
        let known = piece.number <= link.taken;
        if known && !again {
            return true;
        }
        link.taken = link.taken.max(piece.number);
        self.heard(net, id);
        for unit in &piece.units {
            if let Unit::Message(message) = unit {
                self.message(net, id, message.clone());
            }
        }
        true
    }

    fn poll(&mut self, net: &mut Net, connection: u32, name: u64, poll: (u64, u64), piece: Option<Rc<Piece>>) {
        let (ack, hold) = poll;
        let id = match self.named(name) {
            Some(id) => id,
            None if ack > 0 => return refuse(net, connection, 404),
            None => self.begin(net, Some(name), Way::Polls(Polls::default())),
        };
        self.heard(net, id);
        let sabotage = self.sabotage;
        let Some(link) = self.link(id) else { return };
        let Way::Polls(polls) = &mut link.way else { return refuse(net, connection, 409) };
        if let Some((older, _)) = polls.held.take() {
            let number = polls.number;
            reply(net, older, Rc::new(Answer { number, messages: Vec::new() }));
        }
        if sabotage == Sabotage::ForgetAnswers {
            polls.number = ack;
        }
        if ack == polls.number {
            polls.kept = None;
        } else if ack + 1 != polls.number || polls.kept.is_none() {
            return refuse(net, connection, 409);
        }
        if let Some(piece) = piece {
            self.take(net, id, &piece);
            self.opened(net, name);
        }
        let until = net.now() + hold;
        let Some(link) = self.link(id) else { return };
        if let Way::Polls(polls) = &mut link.way {
            polls.held = Some((connection, until));
            net.queue.at(until, Due::Hold(id));
        }
        self.answer(net, id, false);
    }

    /// The time to hold a poll is over.
    pub fn held(&mut self, net: &mut Net, id: u32) {
        let now = net.now();
        let Some(link) = self.link(id) else { return };
        let Way::Polls(polls) = &mut link.way else { return };
        if let Some((connection, until)) = polls.held
            && until <= now
        {
            polls.held = None;
            let number = polls.number;
            reply(net, connection, Rc::new(Answer { number, messages: Vec::new() }));
        }
    }

    /// Answers the poll that waits, if there is something to be told. The last answer goes first while it is not
    /// acknowledged.
    pub(super) fn answer(&mut self, net: &mut Net, id: u32, last: bool) {
        let skips = self.sabotage == Sabotage::SkipGap;
        let Some(link) = self.links.get_mut(id as usize).and_then(Option::as_mut) else { return };
        let Way::Polls(polls) = &mut link.way else { return };
        let Some((connection, _)) = polls.held else { return };
        if let Some(kept) = &polls.kept {
            polls.held = None;
            return reply(net, connection, kept.clone());
        }
        let mut messages: Vec<_> = polls.control.drain(..).collect();
        let mut bytes = 0;
        while !last
            && bytes < ANSWER_BYTES_MAX
            && let Some(message) = next_message(&self.channels, &mut link.given, skips)
        {
            bytes += weight(&message);
            messages.push(message);
        }
        if messages.is_empty() {
            return;
        }
        polls.number += 1;
        let answer = Rc::new(Answer { number: polls.number, messages });
        polls.kept = Some(answer.clone());
        polls.held = None;
        reply(net, connection, answer);
    }
}

fn reply(net: &mut Net, connection: u32, answer: Rc<Answer>) {
    let bytes = answer.messages.iter().map(weight).sum::<u32>() + 100;
    net.send_down(connection, Down::Head(Status::Ok), 100);
    net.send_down(connection, Down::Answer(answer), bytes);
    net.send_down(connection, Down::End { clean: true }, 0);
}

fn refuse(net: &mut Net, connection: u32, status: u16) {
    net.send_down(connection, Down::Head(Status::Ours(status)), 100);
    net.send_down(connection, Down::End { clean: true }, 0);
}
