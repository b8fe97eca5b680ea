//! Links on the HTTP transports: their bytes, their pieces, their ends.

use std::sync::Mutex;

use throughline_wire::http::Form;
use throughline_wire::path::Transport;

use super::*;

/// Outcomes of pieces; `None` for those that nobody answered.
type Outcomes = Arc<Mutex<Vec<PieceOutcome>>>;

const CONNECT: &str = "{\"type\":\"connect\",\"versions\":[1]}\n";
const SUBSCRIBE: &str = "{\"type\":\"subscribe\",\"id\":1,\"channel\":\"c\",\"from\":\"new\"}\n";

impl World {
    fn http(&mut self, transport: Transport, form: Form, chunked: bool) -> (LinkId, Peer) {
        let peer = Peer::default();
        peer.allow(usize::MAX);
        let http = HttpLink { transport, form, chunked, start: b"HEAD".to_vec(), network: None };
        (self.shard.open_http(NOW, peer.clone(), http), peer)
    }

    fn stream(&mut self) -> (LinkId, Peer) {
        let (id, peer) = self.http(Transport::HttpStream, Form::Lines, true);
        assert_eq!(self.piece(id, 1, &format!("{CONNECT}{SUBSCRIBE}")), [PieceOutcome::Taken]);
        self.turn();
        (id, peer)
    }

    fn piece(&mut self, id: LinkId, number: u64, text: &str) -> Vec<PieceOutcome> {
        let outcomes = Outcomes::default();
        self.piece_to(id, number, text, &outcomes);
        outcomes.lock().unwrap().clone()
    }

    fn piece_to(&mut self, id: LinkId, number: u64, text: &str, outcomes: &Outcomes) {
        let outcomes = Arc::clone(outcomes);
        let done = PieceDone::new(move |outcome| outcomes.lock().unwrap().push(outcome));
        self.shard.on_piece(NOW, id, number, text.as_bytes(), done);
    }

    fn publish_bytes(&self, data: &'static [u8]) {
        let channel = self.engine.channel("c").unwrap();
        let publish = Publish { channel, origin: None, body: Body::new(Data::bytes(data)), persistent: None };
        assert!(self.engine.publish(publish, NOW.unix, |_| ()).is_none());
        self.store.commit();
    }
}

fn publish(id: u64) -> String {
    format!("{{\"type\":\"publish\",\"id\":{id},\"channel\":\"d\",\"data\":\"x\"}}\n")
}

fn text(peer: &Peer) -> String {
    String::from_utf8(peer.0.borrow().received.clone()).unwrap()
}

#[test]
fn events_in_each_framing() {
    let text_event = r#"{"type":"event","channel":0,"eid":"1","time":1700000000000,"data":"<a>"}"#;
    let byte_event = r#"{"type":"event","channel":0,"eid":"2","time":1700000000000,"base64":"AP8="}"#;
    let script =
        |json: &str| format!("<script>m(\"{}\")</script>\n", json.replace('"', "\\\"").replace('<', "\\u003c"));
    let body = |form: Form, json: &str| match form {
        Form::Lines => format!("{json}\n"),
        Form::EventStream => format!("data: {json}\n\n"),
        Form::Script => script(json),
    };
    let mut world = World::new();
    let mut peers = Vec::new();
    for form in Form::ALL {
        for chunked in [false, true] {
            let (id, peer) = world.http(Transport::HttpStream, form, chunked);
            world.piece(id, 1, &format!("{CONNECT}{SUBSCRIBE}"));
            peers.push((form, chunked, peer));
        }
    }
    world.turn();
    let before: Vec<usize> = peers.iter().map(|(_, _, peer)| peer.bytes()).collect();
    world.publish("c", "<a>");
    world.publish_bytes(b"\0\xff");
    world.turn();
    for ((form, chunked, peer), before) in peers.iter().zip(before) {
        let expected: String = [text_event, byte_event]
            .map(|json| body(*form, json))
            .map(|body| if *chunked { format!("{:x}\r\n{body}\r\n", body.len()) } else { body })
            .concat();
        assert_eq!(text(peer)[before..], expected, "{form:?} chunked: {chunked}");
        assert!(text(peer).starts_with("HEAD"));
    }
}

#[test]
fn pieces_are_taken_once_and_in_order() {
    let mut world = World::new();
    let (id, peer) = world.stream();
    let ping = "{\"type\":\"ping\"}\n";
    assert_eq!(world.piece(id, 3, ping), [PieceOutcome::Skipped { expected: 2 }]);
    for _ in 0..3 {
        assert_eq!(world.piece(id, 2, ping), [PieceOutcome::Taken]);
    }
    assert_eq!(world.piece(id, 1, ping), [PieceOutcome::Taken]);
    world.flush();
    assert_eq!(peer.received("pong"), 1);
    world.shard.remove(id);
    assert_eq!(world.piece(id, 3, ping), [], "who asks for a link that is gone is not answered");
}

#[test]
fn an_answer_to_a_piece_waits_until_the_link_takes_input_again() {
    let mut world = World::new();
    let (id, _peer) = world.stream();
    let many: String = (2..).map(publish).take(256).collect();
    let outcomes = Outcomes::default();
    world.piece_to(id, 2, &many, &outcomes);
    world.piece_to(id, 2, &many, &outcomes);
    world.turn();
    assert_eq!(*outcomes.lock().unwrap(), []);
    world.store.commit();
    world.turn();
    assert_eq!(*outcomes.lock().unwrap(), [PieceOutcome::Taken; 2]);
}

#[test]
fn a_client_that_does_not_wait_for_its_answers_fills_no_memory() {
    let mut world = World::new();
    let (id, peer) = world.stream();
    peer.allow(0);
    let many = "{\"type\":\"ping\"}\n".repeat(6_000);
    let outcomes = Outcomes::default();
    for number in 2..5 {
        world.piece_to(id, number, &many, &outcomes);
        world.turn();
    }
    assert_eq!(*outcomes.lock().unwrap(), [PieceOutcome::Skipped { expected: 3 }], "held, held, out of turn");
    let held = world.shard.link_mut(id).unwrap().control_bytes();
    assert!(held < (1 << 16) + 100, "of one piece no more is taken than control_bytes_max allows, but {held}");
    peer.allow(usize::MAX);
    world.shard.on_writable(id);
    world.flush();
    (0..100).for_each(|_| world.turn());
    assert_eq!(peer.received("pong"), 6_000, "of the first only");
    let expected = [PieceOutcome::Skipped { expected: 3 }, PieceOutcome::Taken, PieceOutcome::Refused];
    assert_eq!(*outcomes.lock().unwrap(), expected);
    assert_eq!(world.piece(id, 3, "{\"type\":\"ping\"}\n"), [PieceOutcome::Taken]);
}

#[test]
fn a_piece_brings_no_more_publishes_than_may_be_without_an_answer() {
    let mut world = World::new();
    let (id, peer) = world.stream();
    let many: String = (2..).map(publish).take(1_024).collect();
    let outcomes = Outcomes::default();
    world.piece_to(id, 2, &many, &outcomes);
    for answered in (0..1_024).step_by(256) {
        (0..10).for_each(|_| world.turn());
        assert_eq!(*outcomes.lock().unwrap(), []);
        assert_eq!(peer.received("\"eid\":\""), 1 + answered, "and the subscription's");
        world.store.commit();
    }
    (0..10).for_each(|_| world.turn());
    assert_eq!(*outcomes.lock().unwrap(), [PieceOutcome::Taken]);
    assert_eq!(peer.received("\"eid\":\""), 1 + 1_024);
}

#[test]
fn what_comes_behind_a_streams_request_means_nothing() {
    let mut world = World::new();
    let (id, peer) = world.stream();
    let before = peer.bytes();
    world.shard.on_bytes(NOW, id, &mut b"GET / HTTP/1.1\r\n\r\n".to_vec());
    world.flush();
    assert_eq!(peer.bytes(), before);
    assert!(world.shard.wants_input(id));
}

#[test]
fn a_stream_ends_with_its_close_message_and_the_last_chunk() {
    let mut world = World::new();
    let (id, peer) = world.stream();
    world.piece(id, 2, "{\"type\":\"close\"}\n{\"type\":\"ping\"}\n");
    world.flush();
    let expected = "{\"type\":\"close\",\"code\":1000,\"reason\":\"the client closed\"}\n\r\n0\r\n\r\n";
    assert!(text(&peer).ends_with(expected), "{}", text(&peer));
}

#[test]
fn a_draining_stream_gets_word_and_end_at_once() {
    let mut world = World::new();
    let (_, peer) = world.http(Transport::LongPoll, Form::Lines, false);
    let (other, silent) = world.http(Transport::HttpStream, Form::Lines, false);
    world.flush();
    world.piece(other, 1, CONNECT);
    world.flush();
    world.shard.drain();
    world.flush();
    assert!(text(&silent).contains("\"type\":\"drain\""), "{}", text(&silent));
    assert!(text(&silent).ends_with("\"code\":4000,\"reason\":\"the server is stopping\"}\n"), "{}", text(&silent));
    assert!(text(&peer).contains("\"code\":4000"));
}

#[test]
fn polls_have_a_heartbeat_of_their_own_and_die_by_it() {
    let mut world = World::new();
    let (id, peer) = world.http(Transport::JsonpPoll, Form::Lines, false);
    world.piece(id, 1, "{\"type\":\"connect\",\"versions\":[1],\"heartbeat\":7000}\n");
    world.flush();
    assert!(text(&peer).contains("\"heartbeat\":30000"), "{}", text(&peer));
    let at = |monotonic| Now { monotonic, unix: NOW.unix + monotonic };
    let run = |world: &mut World, until: u64| {
        while let Some(due) = world.shard.next_timeout().filter(|due| *due <= until) {
            world.shard.on_timeout(at(due));
            while world.shard.flush(at(due)) {}
        }
    };
    run(&mut world, 29_000);
    world.shard.deliver(at(29_000), [Mail::Heard(id)]);
    run(&mut world, 58_000);
    assert_eq!(peer.received("ping"), 0, "a poll that comes is a sign of life");
    run(&mut world, 60_000);
    assert_eq!((peer.received("ping"), peer.received("close")), (1, 0));
    run(&mut world, 120_000);
    assert_eq!(peer.received("\"code\":4001"), 1);
}
