//! Messages that clients begin and do not finish.

use throughline_wire::http::Form;
use throughline_wire::path::Transport;

use super::*;

/// The beginning of a message that is never finished.
const BEGUN_BYTES: usize = 20_000;

impl World {
    fn begin(&mut self, id: LinkId) {
        let mut frame = Vec::new();
        ws::write_masked_frame(&mut frame, Opcode::Text, false, &vec![b'x'; 60_000], [0; 4]);
        self.shard.on_bytes(NOW, id, &mut frame[..BEGUN_BYTES]);
        self.turn();
    }

    fn partial_bytes(&self) -> u64 {
        self.shard.partials.budget().used()
    }
}

#[test]
fn many_unfinished_messages_stay_below_the_bound_and_the_oldest_go() {
    let mut world = World::new();
    let (ordinary, peer) = world.subscriber();
    let links: Vec<_> = (0..20).map(|_| world.subscriber()).collect();
    for (id, _) in &links {
        world.begin(*id);
        assert!(world.partial_bytes() <= PARTIAL_BYTES_MAX);
        // One that finishes what it begins is not the oldest.
        let publish = ClientMessage::Ping;
        let (mut text, mut frame) = (Vec::new(), Vec::new());
        publish.encode(&mut text);
        ws::write_masked_frame(&mut frame, Opcode::Text, false, &text, [1, 2, 3, 4]);
        let (first, second) = frame.split_at_mut(5);
        world.shard.on_bytes(NOW, ordinary, first);
        world.shard.on_bytes(NOW, ordinary, second);
        world.turn();
    }
    let closed: Vec<_> = links.iter().map(|(_, peer)| peer.received("limits.partial_bytes_max")).collect();
    assert!(closed.iter().rev().take(4).all(|times| *times == 0), "the latest live");
    assert!(closed.iter().take(15).all(|times| *times == 1), "the oldest were closed: {closed:?}");
    assert_eq!(peer.received("pong"), 20);
    for (id, _) in links {
        world.shard.remove(id);
    }
    assert_eq!(world.partial_bytes(), 0);
}

#[test]
fn pieces_are_bounded_too() {
    let mut world = World::new();
    let mut peers = Vec::new();
    for _ in 0..20 {
        let peer = Peer::default();
        peer.allow(usize::MAX);
        let (transport, form) = (Transport::HttpStream, Form::Lines);
        let http = HttpLink { transport, form, chunked: true, start: Vec::new(), network: None };
        let id = world.shard.open_http(NOW, peer.clone(), http);
        world.shard.on_piece(NOW, id, 1, &[b'x'; BEGUN_BYTES], PieceDone::new(|_| ()));
        world.turn();
        assert!(world.partial_bytes() <= PARTIAL_BYTES_MAX);
        peers.push(peer);
    }
    assert_eq!(peers.iter().filter(|peer| peer.received("\"code\":4100") == 1).count(), 15);
}
