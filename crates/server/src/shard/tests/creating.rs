//! Channels that the disk has not taken yet.

use throughline_engine::store::StoreError;
use throughline_wire::event::Eid;

use super::*;

impl World {
    /// A world whose realm creates persistent channels on first use.
    fn of_disk() -> World {
        let attributes = ChannelAttributes { kind: ChannelKind::Persistent, capacity: None, bytes: None, ttl: None };
        World::with(Settings { defaults: attributes, ..Settings::default() })
    }

    fn ask(&mut self, id: LinkId, channel: &str, requests: &[u64]) {
        for request in requests {
            let (id_, channel) = (*request, channel.into());
            let message = match request % 3 {
                0 => ClientMessage::Subscribe { id: id_, channel, from: From::New },
                1 => {
                    let body = Body::new(Data::text(format!("event {request}")));
                    ClientMessage::Publish { id: id_, channel, body, persistent: None }
                }
                _ => ClientMessage::Unsubscribe { id: id_, channel },
            };
            self.say(id, &message);
        }
        self.turn();
    }
}

/// The messages of a kind, in order, by the values of a member.
fn members(peer: &Peer, member: &str) -> Vec<String> {
    let text = String::from_utf8_lossy(&peer.0.borrow().received).into_owned();
    let key = format!("\"{member}\":");
    text.split(&key).skip(1).map(|rest| rest.split([',', '}']).next().unwrap().to_owned()).collect()
}

#[test]
fn a_subscription_to_a_new_channel_is_answered_when_the_disk_has_it_and_misses_nothing() {
    let mut world = World::of_disk();
    let (id, peer) = world.subscriber();
    peer.0.borrow_mut().received.clear();
    world.ask(id, "new", &[3, 4]);
    assert_eq!(peer.bytes(), 0, "nothing is said before the disk has answered");
    world.say(id, &ClientMessage::Ping);
    world.turn();
    assert_eq!(peer.received("pong"), 1, "and nobody waits");
    world.store.commit();
    world.turn();
    assert_eq!(peer.received("event 4"), 1);
    let text = String::from_utf8_lossy(&peer.0.borrow().received).into_owned();
    assert!(text.find("\"id\":3") < text.find("event 4"), "the reply comes first: {text}");
    assert!(world.shard.owed.is_empty());
}

#[test]
fn requests_of_a_channel_that_is_created_are_answered_in_their_order() {
    let mut world = World::of_disk();
    let (id, peer) = world.subscriber();
    peer.0.borrow_mut().received.clear();
    world.ask(id, "new", &[3, 5, 6]);
    assert_eq!(peer.bytes(), 0);
    world.store.commit();
    // One that comes when the disk has answered and the shard has not heard of it.
    world.say(id, &ClientMessage::Unsubscribe { id: 8, channel: "new".into() });
    world.turn();
    assert_eq!(members(&peer, "id"), ["3", "5", "6", "8"]);
    assert_eq!(peer.received("error"), 0);
    assert!(world.shard.owed.is_empty() && world.shard.wants_input(id));
}

#[test]
fn a_refused_subscription_to_a_new_channel_waits_in_its_place_and_counts() {
    let mut world = World::of_disk();
    let (id, peer) = world.subscriber();
    peer.0.borrow_mut().received.clear();
    let beyond = |id| ClientMessage::Subscribe { id, channel: "new".into(), from: From::Eid(Eid(9)) };
    world.ask(id, "new", &[3, 6, 8]);
    world.say(id, &beyond(9));
    world.turn();
    assert_eq!(peer.bytes(), 0);
    world.store.commit();
    world.turn();
    assert_eq!(members(&peer, "id"), ["3", "6", "8", "9"]);
    assert_eq!((peer.received("already_subscribed"), peer.received("bad_position")), (1, 1));

    let max = ServerSettings::default().limits.publishes_max;
    for n in 0..max {
        assert!(world.shard.wants_input(id));
        let channel = format!("new/{n}").into();
        world.say(id, &ClientMessage::Subscribe { id: 10 + n, channel, from: From::Eid(Eid(9)) });
    }
    assert!(!world.shard.wants_input(id));
    world.store.commit();
    world.turn();
    assert!(world.shard.owed.is_empty() && world.shard.wants_input(id));
}

#[test]
fn what_waits_for_a_channel_that_fails_is_told_why() {
    let mut world = World::of_disk();
    let (id, peer) = world.subscriber();
    peer.0.borrow_mut().received.clear();
    world.store.fail(Some(StoreError::Full("0 bytes".into())));
    world.ask(id, "new", &[3, 4]);
    world.store.commit();
    world.turn();
    assert_eq!((peer.received("store_full"), peer.received("\"end\"")), (2, 0));
    world.store.fail(None);
    peer.0.borrow_mut().received.clear();
    world.ask(id, "new", &[6, 7]);
    world.store.commit();
    world.turn();
    assert_eq!((peer.received("error"), peer.received("event 7")), (0, 1));
}

#[test]
fn a_link_has_no_more_requests_waiting_for_channels_than_publishes() {
    let mut world = World::of_disk();
    let (id, _) = world.subscriber();
    let max = ServerSettings::default().limits.publishes_max;
    for n in 0..max {
        assert!(world.shard.wants_input(id));
        world.ask(id, &format!("new/{n}"), &[3]);
    }
    assert!(!world.shard.wants_input(id));
    world.store.commit();
    world.turn();
    assert_eq!(world.shard.take_resumed(), [id]);
}

#[test]
fn a_link_that_is_gone_leaves_nothing_of_what_it_waited_for() {
    let mut world = World::of_disk();
    let [(gone, _), (other, peer)] = [world.subscriber(), world.subscriber()];
    for id in [gone, other] {
        world.ask(id, "new", &[3]);
        world.ask(id, "another", &[6]);
    }
    world.shard.remove(gone);
    assert!(world.shard.owed.keys().all(|(id, _)| *id == other));
    assert_eq!(world.shard.owed.len(), 2);
    peer.0.borrow_mut().received.clear();
    world.store.commit();
    world.turn();
    assert_eq!(members(&peer, "id"), ["3", "6"]);
    assert!(world.shard.owed.is_empty());
}
