//! How links end: the realm stops, or closes one of them.

use throughline_wire::close::CloseCode;
use throughline_wire::event::Eid;
use throughline_wire::hixie;
use throughline_wire::http::CHUNK_END;
use throughline_wire::message::{CloseReason, ServerMessage};
use throughline_wire::ws;

use super::framing::Framing;
use super::link::{End, Life, Link};
use super::{CLOSE_MS, LinkId, Now, Shard, Sock};

impl<S: Sock> Shard<S> {
    /// Tells every client that the server is stopping, and closes each link once its publishes are answered and its
    /// subscriptions have everything.
    pub fn drain(&mut self) {
        self.draining = true;
        let ids: Vec<LinkId> =
            self.links.iter().map(|(key, link)| LinkId { key: key as u32, generation: link.generation }).collect();
        for id in ids {
            self.drain_link(id);
        }
    }

    pub(super) fn drain_link(&mut self, id: LinkId) {
        let after = self.settings.drain_spread_ms;
        let welcomed = |l: &mut Link<S>| l.is_open() && matches!(&l.end, End::Session(s) if s.session().is_some());
        if self.link_mut(id).is_some_and(welcomed) {
            self.send(id, &ServerMessage::Drain { after });
        }
        self.enqueue(id);
    }

    pub(super) fn close_if_drained(&mut self, now: Now, id: LinkId) {
        if !self.draining {
            return;
        }
        let Shard { links, slots, .. } = self;
        let Some(link) = links.get(id.key as usize) else { return };
        let head = |slot: u32| slots.get(slot as usize).map_or(Eid::NONE, |s| s.channel.head());
        let given = link.subs.iter().all(|s| !s.reading && s.cursor >= head(s.slot));
        if link.is_open() && link.inflight == 0 && given && !link.is_behind() {
            self.close(now, id, CloseReason::new(CloseCode::Drain, "the server is stopping"), true);
        }
    }

    /// Begins to close a link. With `answer`, the peer's close frame is awaited; without, what it sends is ignored.
    pub(super) fn close(&mut self, now: Now, id: LinkId, reason: CloseReason, answer: bool) {
        let Shard { links, encoder, .. } = self;
        let link = links.get_mut(id.key as usize).filter(|l| l.generation == id.generation);
        let Some(link) = link.filter(|l| l.is_open()) else { return };
        let (code, deadline) = (reason.code, now.monotonic + CLOSE_MS);
        let finish = match link.framing {
            Framing::Plain | Framing::Deflated(_) => {
                ws::write_close(link.control(), code.code(), &reason.reason);
                !answer
            }
            Framing::Hixie => {
                // Its close frame has no code; none is needed to say that all is well.
                if matches!(link.end, End::Session(_)) && code != CloseCode::Normal {
                    let message = ServerMessage::Close { code: code.code(), reason: reason.reason };
                    encoder.message(link.framing, &message, link.control());
                }
                link.control().extend_from_slice(&hixie::CLOSE);
                !answer
            }
            Framing::Http { chunked, .. } => {
                let message = ServerMessage::Close { code: code.code(), reason: reason.reason };
                encoder.message(link.framing, &message, link.control());
                let end: &[u8] = if chunked { CHUNK_END } else { &[] };
                link.control().extend_from_slice(end);
                true
            }
        };
        link.life = Life::Closing { deadline, finish };
        self.counts.link_closed(code);
        self.wheel.insert(id, now.monotonic + CLOSE_MS);
        self.enqueue(id);
        self.note_resumed(id);
    }
}
