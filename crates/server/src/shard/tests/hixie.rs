//! Links of the drafts before version numbers.

use throughline_wire::hixie;

use super::*;

fn link(world: &mut World) -> (LinkId, Peer) {
    let peer = Peer::default();
    peer.allow(usize::MAX);
    (world.shard.open_hixie(NOW, peer.clone(), Purpose::Session), peer)
}

fn say(world: &mut World, id: LinkId, message: &ClientMessage) {
    let (mut text, mut frame) = (Vec::new(), Vec::new());
    message.encode(&mut text);
    hixie::write_text(&mut frame, &text);
    for byte in frame {
        world.shard.on_bytes(NOW, id, &mut [byte]);
    }
}

#[test]
fn events_are_text_between_two_bytes_beside_other_framings() {
    let mut world = World::new();
    let (_, modern) = world.subscriber();
    let links: Vec<_> = (0..3).map(|_| link(&mut world)).collect();
    for (id, _) in &links {
        say(
            &mut world,
            *id,
            &ClientMessage::Connect { versions: vec![1], session: None, client: None, heartbeat: None },
        );
        say(&mut world, *id, &ClientMessage::Subscribe { id: 1, channel: "c".into(), from: From::New });
    }
    world.turn();
    world.publish("c", "payload");
    world.turn();
    assert_eq!(modern.received("payload"), 1);
    for (id, peer) in links {
        assert_eq!(peer.received("payload"), 1);
        world.shard.on_bytes(NOW, id, &mut [0xFF, 0x00]);
        world.turn();
        assert!(peer.0.borrow().received.ends_with(b"}\xFF\xFF\x00"), "no message before the answer to a close");
    }
}

#[test]
fn a_close_of_the_realm_tells_its_code_before_the_close_frame() {
    let mut world = World::new();
    let (id, peer) = link(&mut world);
    world.shard.on_bytes(NOW, id, &mut [0x00, 0xC3, 0x28, 0xFF]);
    world.turn();
    let bytes = &peer.0.borrow().received;
    assert!(bytes.starts_with(b"\0{\"type\":\"close\",\"code\":1007,"), "{}", String::from_utf8_lossy(bytes));
    assert!(bytes.ends_with(b"}\xFF\xFF\x00"));
}
