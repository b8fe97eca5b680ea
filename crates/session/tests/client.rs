//! The client's end, message by message and at exact times.

use throughline_session::{
    ClientEvent, ClientSession, ClientSettings, ClientState, Cursor, LinkCommand, LinkLoss, PublishError, PublishFault,
    SubscribeError, SubscriptionId,
};
use throughline_wire::close::{CloseCode, Reconnect, reconnect_after};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{
    ClientMessage, ErrorCode, From, Gap, GapReason, Limits, Reply, ReplyError, ServerMessage,
};

const EPOCH: Epoch = Epoch(1);

struct Client {
    session: ClientSession,
    now: u64,
}

impl Client {
    fn new() -> Client {
        Client { session: ClientSession::new(ClientSettings::default(), 1, 0), now: 0 }
    }

    /// A client whose first link is open and welcomed.
    fn welcomed() -> Client {
        let mut client = Client::new();
        client.link();
        client.welcome();
        client.drain();
        client
    }

    /// Lets time pass until a link is asked for, and opens it.
    fn link(&mut self) -> Vec<ClientMessage> {
        if let ClientState::Waiting { until } = self.session.state() {
            self.now = self.now.max(until);
            self.session.tick(self.now);
        }
        assert_eq!(self.session.poll_link(), Some(LinkCommand::Open));
        self.session.link_opened(self.now);
        self.sent()
    }

    fn give(&mut self, message: ServerMessage) {
        self.session.input(self.now, Ok(message));
    }

    fn welcome(&mut self) {
        let limits = Limits { event_bytes: 1000, publishes_max: 3, subscriptions_max: 10 };
        self.give(ServerMessage::Welcome { version: 1, session: SessionId(7), heartbeat: 10_000, limits });
    }

    fn reply(&mut self, id: u64, result: Result<Reply, ReplyError>) {
        self.give(ServerMessage::Reply { id, result });
    }

    fn subscribed(&mut self, id: u64, epoch: Epoch, eid: u64) {
        self.reply(id, Ok(Reply::Subscribed { number: 5, epoch, eid: Eid(eid) }));
    }

    fn event(&mut self, eid: u64) {
        self.give(ServerMessage::Event { channel: 5, event: event(eid) });
    }

    fn gap(&mut self, from: u64, to: u64, epoch: Epoch, reason: GapReason) {
        self.give(ServerMessage::Gap { channel: 5, gap: gap(from, to, epoch, reason) });
    }

    fn publish(&mut self) -> u64 {
        self.session.publish("c", body(1), None).expect("there is room")
    }

    fn sent(&mut self) -> Vec<ClientMessage> {
        std::iter::from_fn(|| self.session.poll_transmit()).collect()
    }

    fn drain(&mut self) -> Vec<ClientEvent> {
        std::iter::from_fn(|| self.session.poll_event()).collect()
    }

    /// EIDs of events and ranges of gaps that were handed out, in order.
    fn given(&mut self) -> Vec<(u64, u64)> {
        let range = |e| match e {
            ClientEvent::Event { event, .. } => Some((event.eid.0, event.eid.0)),
            ClientEvent::Gap { gap, .. } => Some((gap.from.0, gap.to.0)),
            _ => None,
        };
        self.drain().into_iter().filter_map(range).collect()
    }

    fn break_link(&mut self) {
        self.session.link_lost(self.now, LinkLoss::Broken("cut".into()));
    }

    fn close_link(&mut self, code: u16) {
        self.session.link_lost(self.now, LinkLoss::Closed { code, reason: "so".into() });
    }

    fn wait(&self) -> u64 {
        self.session.poll_timeout().expect("the session is not over") - self.now
    }
}

fn body(bytes: usize) -> Body {
    Body::new(Data::text("x".repeat(bytes)))
}

fn event(eid: u64) -> Event {
    Event { eid: Eid(eid), time: 0, body: body(1) }
}

fn gap(from: u64, to: u64, epoch: Epoch, reason: GapReason) -> Gap {
    Gap { from: Eid(from), to: Eid(to), epoch, reason }
}

fn subscribe(id: u64, from: From) -> ClientMessage {
    ClientMessage::Subscribe { id, channel: "c".into(), from }
}

fn after(eid: u64) -> From {
    From::After { after: Eid(eid), epoch: EPOCH }
}

fn publish_ids(messages: &[ClientMessage]) -> Vec<u64> {
    let id = |m: &ClientMessage| if let ClientMessage::Publish { id, .. } = m { Some(*id) } else { None };
    messages.iter().filter_map(id).collect()
}

fn refusal(code: ErrorCode) -> Result<Reply, ReplyError> {
    Err(ReplyError::new(code, "no"))
}

fn connect(session: Option<SessionId>) -> ClientMessage {
    ClientMessage::Connect { versions: vec![1], session, client: None }
}

/// A client with a subscription that stands at `eid`.
fn subscribed(from: From, eid: u64) -> (Client, SubscriptionId) {
    let mut client = Client::welcomed();
    let id = client.session.subscribe("c", from).expect("a good name");
    client.sent();
    client.subscribed(1, EPOCH, eid);
    client.drain();
    (client, id)
}

#[test]
fn the_first_link_carries_connect_and_requests_and_publishes_wait_for_the_session() {
    let mut client = Client::new();
    client.session.subscribe("c", From::All).expect("a good name");
    client.publish();
    assert_eq!(client.sent(), [], "there is no link");
    assert_eq!(client.link(), [connect(None), subscribe(1, From::All)]);
    client.welcome();
    assert_eq!(publish_ids(&client.sent()), [2]);
    assert_eq!(client.session.state(), ClientState::Open);
    assert_eq!(client.session.session(), Some(SessionId(7)));
}

#[test]
fn a_new_link_carries_everything_at_once_and_ids_only_increase() {
    let (mut client, _) = subscribed(From::All, 0);
    client.event(4);
    for _ in 0..5 {
        client.publish();
    }
    assert_eq!(publish_ids(&client.sent()), [2, 3, 4], "as many as the window allows");
    client.reply(3, Ok(Reply::Published { eid: Eid(9), duplicate: false }));
    assert_eq!(publish_ids(&client.sent()), [5]);
    client.break_link();
    assert_eq!(client.sent(), []);
    let sent = client.link();
    assert_eq!(sent[..2], [connect(Some(SessionId(7))), subscribe(6, after(4))]);
    assert_eq!(publish_ids(&sent), [2, 4, 5]);
    client.welcome();
    client.reply(2, Ok(Reply::Published { eid: Eid(8), duplicate: true }));
    assert_eq!(publish_ids(&client.sent()), [7], "never an id below one that was used");
    let published = client.drain();
    assert!(published.contains(&ClientEvent::Published { id: 1, eid: Eid(8), duplicate: true }), "{published:?}");
    assert!(published.contains(&ClientEvent::Published { id: 2, eid: Eid(9), duplicate: false }));
}

#[test]
fn an_answer_is_taken_once() {
    let mut client = Client::welcomed();
    let id = client.publish();
    client.sent();
    for eid in [1, 2] {
        client.reply(1, Ok(Reply::Published { eid: Eid(eid), duplicate: false }));
    }
    assert_eq!(client.drain(), [ClientEvent::Published { id, eid: Eid(1), duplicate: false }]);
    assert_eq!(client.session.unanswered(), 0);
}

#[test]
fn the_queue_is_bounded_by_number_and_bytes() {
    let settings = ClientSettings { queue_publishes_max: 3, queue_bytes_max: 100, ..ClientSettings::default() };
    let mut session = ClientSession::new(settings, 1, 0);
    for _ in 0..3 {
        session.publish("c", body(1), None).expect("there is room");
    }
    assert_eq!(session.publish("c", body(1), None), Err(PublishError::Full { publishes: 3, bytes: 6 }));

    let settings = ClientSettings { queue_bytes_max: 100, ..ClientSettings::default() };
    let mut session = ClientSession::new(settings, 1, 0);
    session.publish("c", body(5000), None).expect("one is taken whatever its size");
    assert_eq!(session.publish("c", body(1), None), Err(PublishError::Full { publishes: 1, bytes: 5001 }));
    assert_eq!((session.unanswered(), session.unanswered_bytes()), (1, 5001));
}

#[test]
fn room_comes_back_with_an_answer() {
    let settings = ClientSettings { queue_publishes_max: 1, ..ClientSettings::default() };
    let mut client = Client { session: ClientSession::new(settings, 1, 0), now: 0 };
    client.link();
    client.welcome();
    client.publish();
    client.sent();
    assert!(client.session.publish("c", body(1), None).is_err());
    client.reply(1, refusal(ErrorCode::StoreFull));
    client.publish();
}

#[test]
fn names_and_sizes_are_checked_before_anything_is_sent() {
    let mut client = Client::new();
    client.publish();
    let large = client.session.publish("c", body(1001), None).expect("no limit is known yet");
    assert!(matches!(client.session.publish("/", body(1), None), Err(PublishError::Channel(_))));
    assert!(matches!(client.session.subscribe("", From::New), Err(SubscribeError::Channel(_))));
    let id = client.session.subscribe("c", From::New).expect("a good name");
    assert_eq!(client.session.subscribe("c", From::All), Err(SubscribeError::Already(id)));
    client.link();
    client.welcome();
    let refused = client.drain().into_iter().find_map(|e| match e {
        ClientEvent::PublishFailed { id, fault: PublishFault::Refused(error) } => Some((id, error)),
        _ => None,
    });
    let (id, error) = refused.expect("the large one cannot be sent");
    assert_eq!((id, error.limit), (large, Some(1000)));
    assert_eq!(client.session.publish("c", body(1001), None), Err(PublishError::TooLarge { bytes: 1001, limit: 1000 }));
    assert_eq!(publish_ids(&client.sent()).len(), 1);
}

#[test]
fn refused_publishes_are_reported_and_draining_ones_go_on_the_next_link() {
    let mut client = Client::welcomed();
    for code in [ErrorCode::StoreFull, ErrorCode::Overloaded, ErrorCode::NotPersistent] {
        let id = client.publish();
        let number = publish_ids(&client.sent())[0];
        client.reply(number, refusal(code));
        let ClientEvent::PublishFailed { id: failed, fault: PublishFault::Refused(error) } = &client.drain()[0] else {
            panic!("{code:?} was not reported");
        };
        assert_eq!((*failed, error.is(code)), (id, true));
    }
    client.publish();
    client.publish();
    assert_eq!(publish_ids(&client.sent()), [4, 5]);
    client.reply(4, refusal(ErrorCode::Draining));
    client.publish();
    assert_eq!(client.sent(), [], "this link takes no more");
    client.reply(5, Ok(Reply::Published { eid: Eid(1), duplicate: false }));
    assert_eq!(client.drain().len(), 1);
    client.close_link(4000);
    assert_eq!(publish_ids(&client.link()), [4, 6]);
}

#[test]
fn events_at_or_below_the_cursor_are_dropped() {
    let (mut client, id) = subscribed(From::All, 3);
    for eid in [3, 4, 4, 2, 9, 9] {
        client.event(eid);
    }
    assert_eq!(client.given(), [(4, 4), (9, 9)]);
    assert_eq!(client.session.cursor(id), Some(Cursor { epoch: EPOCH, eid: Eid(9) }));
}

#[test]
fn gaps_move_the_cursor_and_are_cut_to_what_was_not_given() {
    let (mut client, _) = subscribed(From::All, 3);
    client.gap(1, 3, EPOCH, GapReason::Expired);
    client.gap(2, 7, EPOCH, GapReason::Capacity);
    client.gap(4, 7, EPOCH, GapReason::Capacity);
    client.event(7);
    client.event(8);
    assert_eq!(client.given(), [(4, 7), (8, 8)]);
    client.break_link();
    assert_eq!(client.link()[1], subscribe(2, after(8)));
}

#[test]
fn a_gap_that_was_announced_but_not_given_is_asked_for_again() {
    // The reply stands at 50, so a gap 11..50 follows; the link breaks in between.
    let (mut client, _) = subscribed(From::All, 10);
    client.break_link();
    assert_eq!(client.link()[1], subscribe(2, after(10)));
    client.welcome();
    client.subscribed(2, EPOCH, 50);
    client.break_link();
    assert_eq!(client.link()[1], subscribe(3, after(10)));
    client.welcome();
    client.subscribed(3, EPOCH, 60);
    client.gap(11, 60, EPOCH, GapReason::Capacity);
    assert_eq!(client.given(), [(11, 60)]);

    // The same where the subscription begins.
    let (mut client, _) = subscribed(From::Eid(Eid(5)), 20);
    client.break_link();
    assert_eq!(client.link()[1], subscribe(2, after(4)));
}

#[test]
fn another_history_is_told_once_and_begins_where_the_server_said() {
    let new = Epoch(2);
    let (mut client, id) = subscribed(From::All, 10);
    client.break_link();
    client.link();
    client.welcome();
    client.subscribed(2, new, 3);
    client.break_link();
    assert_eq!(client.link()[1], subscribe(3, after(10)), "the gap has not come");
    client.welcome();
    client.subscribed(3, new, 3);
    client.gap(11, 0, new, GapReason::Epoch);
    client.gap(11, 0, new, GapReason::Epoch);
    assert_eq!(client.session.cursor(id), Some(Cursor { epoch: new, eid: Eid(3) }));
    client.event(3);
    client.event(4);
    assert_eq!(client.given(), [(11, 0), (4, 4)]);
}

#[test]
fn another_history_that_the_server_did_not_tell_is_told_all_the_same() {
    for first in [GapReason::Capacity, GapReason::Epoch] {
        let (mut client, _) = subscribed(From::All, 10);
        client.break_link();
        client.link();
        client.welcome();
        client.subscribed(2, Epoch(2), 0);
        if first == GapReason::Capacity {
            client.gap(1, 2, Epoch(2), first);
            assert_eq!(client.given(), [(11, 0), (1, 2)]);
        } else {
            client.event(1);
            assert_eq!(client.given(), [(11, 0), (1, 1)]);
        }
    }
}

#[test]
fn a_kept_cursor_is_taken_up() {
    let mut client = Client::welcomed();
    client.session.subscribe("c", after(6)).expect("a good name");
    assert_eq!(client.sent(), [subscribe(1, after(6))]);
    client.subscribed(1, EPOCH, 6);
    client.event(6);
    client.event(7);
    assert_eq!(client.given(), [(7, 7)]);
}

#[test]
fn subscriptions_that_end_are_not_resumed() {
    for ends in 0..3 {
        let (mut client, id) = subscribed(From::All, 0);
        match ends {
            0 => client.give(ServerMessage::End { channel: 5, reason: "deleted".into() }),
            1 => assert!(client.session.unsubscribe(id)),
            _ => {
                client.break_link();
                client.link();
                client.welcome();
                client.reply(2, refusal(ErrorCode::UnknownChannel));
                let events = client.drain();
                assert!(events.iter().any(|e| matches!(e, ClientEvent::SubscribeFailed { .. })), "{events:?}");
            }
        }
        assert!(!client.session.unsubscribe(id), "it is over");
        client.break_link();
        assert_eq!(client.link().len(), 1, "connect alone");
        client.session.subscribe("c", From::New).expect("the channel is free again");
    }
}

#[test]
fn a_subscription_refused_by_a_draining_server_is_asked_for_again() {
    let mut client = Client::welcomed();
    client.session.subscribe("c", From::All).expect("a good name");
    client.sent();
    client.reply(1, refusal(ErrorCode::Draining));
    assert_eq!(client.drain(), []);
    client.close_link(4000);
    assert_eq!(client.link()[1], subscribe(2, From::All));
}

#[test]
fn nothing_comes_after_unsubscribing_and_the_same_number_may_come_again() {
    let (mut client, id) = subscribed(From::All, 0);
    client.event(1);
    assert!(client.session.unsubscribe(id));
    assert_eq!(client.given(), [], "not even what waited");
    client.event(2);
    client.gap(3, 4, EPOCH, GapReason::Capacity);
    client.session.subscribe("c", From::All).expect("the channel is free");
    client.event(5);
    let unsubscribe = ClientMessage::Unsubscribe { id: 2, channel: "c".into() };
    assert_eq!(client.sent(), [unsubscribe, subscribe(3, From::All)]);
    client.reply(2, Ok(Reply::Unsubscribed));
    client.subscribed(3, EPOCH, 0);
    client.event(1);
    assert_eq!(client.given(), [(1, 1)]);
    assert_eq!(client.session.state(), ClientState::Open);
}

#[test]
fn a_subscription_ended_while_its_request_is_under_way_leaves_nothing() {
    let mut client = Client::welcomed();
    let id = client.session.subscribe("c", From::All).expect("a good name");
    assert_eq!(client.sent().len(), 1);
    assert!(client.session.unsubscribe(id));
    assert_eq!(client.sent().len(), 1);
    client.subscribed(1, EPOCH, 0);
    client.event(1);
    client.reply(2, Ok(Reply::Unsubscribed));
    assert_eq!(client.drain(), []);
    assert_eq!(client.session.state(), ClientState::Open);

    let id = client.session.subscribe("c", From::All).expect("a good name");
    assert!(client.session.unsubscribe(id));
    assert_eq!(client.sent(), [], "what was not sent needs no end");
}

#[test]
fn after_every_close_code_the_client_does_what_the_table_says() {
    for code in CloseCode::ALL.map(CloseCode::code).into_iter().chain([1006, 3000, 4099, 4199, 4299, 4300]) {
        let mut client = Client::welcomed();
        let id = client.publish();
        client.sent();
        client.close_link(code);
        match reconnect_after(code) {
            Reconnect::Now => assert!(client.wait() <= 250, "{code}"),
            Reconnect::Later => assert!(client.wait() <= 2000, "{code}"),
            Reconnect::Never => {
                let events = client.drain();
                assert_eq!(client.session.state(), ClientState::Closed, "{code}");
                assert_eq!(client.session.poll_timeout(), None);
                assert_eq!(client.session.poll_link(), None, "the link is closed already");
                let failed = ClientEvent::PublishFailed { id, fault: PublishFault::Closed { sent: true } };
                let closed = ClientEvent::Closed { code, reason: "so".into() };
                assert_eq!(events[2..], [failed, closed], "{code}");
                continue;
            }
        }
        assert_eq!(publish_ids(&client.link()), [1], "{code}");
    }
}

#[test]
fn delays_grow_to_a_bound_and_differ() {
    let longest = |loss: &LinkLoss, n: usize| {
        let last_wait = |seed| {
            let mut client = Client { session: ClientSession::new(ClientSettings::default(), seed, 0), now: 0 };
            for _ in 0..n {
                client.session.link_lost(client.now, loss.clone());
                client.now += client.wait();
                client.session.tick(client.now);
            }
            client.session.link_lost(client.now, loss.clone());
            client.wait()
        };
        let mut waits: Vec<u64> = (0..200).map(last_wait).collect();
        waits.sort_unstable();
        waits.dedup();
        assert!(waits.len() > 50, "delays are random");
        waits[waits.len() - 1]
    };
    let broken = LinkLoss::Broken("cut".into());
    for (n, bound) in [(0, 250), (1, 500), (3, 2000), (12, 30_000), (40, 30_000)] {
        let wait = longest(&broken, n);
        assert!(wait <= bound && wait > bound / 2, "{n}: {wait}");
    }
    let later = LinkLoss::Closed { code: 4100, reason: String::new() };
    let wait = longest(&later, 0);
    assert!(wait <= 2000 && wait > 1000, "{wait}");
}

#[test]
fn a_link_that_lived_begins_the_count_anew_and_one_that_died_young_does_not() {
    let mut client = Client::welcomed();
    for _ in 0..9 {
        client.now += 9_999;
        client.break_link();
        client.link();
        client.welcome();
    }
    client.now += 10_000;
    client.break_link();
    assert!(client.wait() <= 250);
}

#[test]
fn a_draining_server_is_left_when_it_closes_and_the_delay_is_as_it_asked() {
    let mut longest = 0;
    for seed in 0..50 {
        let mut client = Client { session: ClientSession::new(ClientSettings::default(), seed, 0), now: 0 };
        client.link();
        client.welcome();
        client.give(ServerMessage::Drain { after: 60_000 });
        assert_eq!(client.session.state(), ClientState::Open);
        client.close_link(4000);
        longest = longest.max(client.wait());
        client.link();
        client.close_link(4000);
        assert!(client.wait() <= 500, "what was asked for counts once");
    }
    assert!(longest > 30_000 && longest <= 60_000, "{longest}");

    let mut client = Client::welcomed();
    client.give(ServerMessage::Drain { after: u64::MAX });
    client.close_link(4000);
    assert!(client.wait() <= 300_000);
}

#[test]
fn a_refusal_is_waited_for_and_a_hopeless_address_ends_the_session() {
    let mut client = Client::new();
    let refused = LinkLoss::Refused { retry_after_ms: Some(5_000), reason: "full".into() };
    assert_eq!(client.session.poll_link(), Some(LinkCommand::Open));
    client.session.link_lost(0, refused);
    assert!((5_000..=7_000).contains(&client.wait()));
    client.now += client.wait();
    client.session.tick(client.now);
    client.session.link_lost(client.now, LinkLoss::Hopeless("status 403".into()));
    let events = client.drain();
    assert_eq!(events.last(), Some(&ClientEvent::Closed { code: 1006, reason: "status 403".into() }));
}

#[test]
fn links_that_do_not_open_or_are_not_welcomed_are_given_up() {
    let mut client = Client::new();
    assert_eq!(client.session.poll_link(), Some(LinkCommand::Open));
    assert_eq!(client.session.poll_timeout(), Some(10_000));
    client.session.tick(9_999);
    assert_eq!(client.session.poll_link(), None);
    client.session.tick(10_000);
    assert!(matches!(client.session.poll_link(), Some(LinkCommand::Close { code: 4001, .. })));
    client.now = 10_000;
    client.link();
    client.now += 10_000;
    client.session.tick(client.now);
    assert!(matches!(client.session.poll_link(), Some(LinkCommand::Close { code: 4001, .. })));
    assert!(matches!(client.session.state(), ClientState::Waiting { .. }));
}

#[test]
fn an_order_that_was_not_taken_is_taken_back() {
    let mut session = ClientSession::new(ClientSettings::default(), 1, 0);
    session.close();
    assert_eq!(session.poll_link(), None);
    let mut session = ClientSession::new(ClientSettings::default(), 1, 0);
    for n in 1..50 {
        session.tick(n * 100_000);
    }
    assert!(std::iter::from_fn(|| session.poll_link()).count() <= 1);
}

#[test]
fn silence_brings_a_ping_then_the_next_link() {
    let mut client = Client::welcomed();
    assert_eq!(client.session.poll_timeout(), Some(10_000));
    client.session.tick(9_999);
    assert_eq!(client.sent(), []);
    client.session.tick(10_000);
    assert_eq!(client.sent(), [ClientMessage::Ping]);
    assert_eq!(client.session.poll_timeout(), Some(30_000));
    client.session.heard(29_000);
    assert_eq!(client.session.poll_timeout(), Some(39_000));
    client.session.tick(50_000);
    assert_eq!(client.sent(), [ClientMessage::Ping]);
    client.session.tick(69_999);
    assert_eq!(client.session.state(), ClientState::Open, "a late tick leaves time for the answer");
    client.session.tick(70_000);
    assert!(matches!(client.session.poll_link(), Some(LinkCommand::Close { code: 4001, .. })));
    assert_eq!(client.sent(), []);
}

#[test]
fn a_paused_link_pings_and_lives() {
    let mut client = Client::welcomed();
    client.session.pause();
    for n in 1..=20 {
        client.session.tick(n * 10_000);
        assert_eq!(client.sent(), [ClientMessage::Ping], "{n}");
    }
    client.session.resume(200_000);
    assert_eq!(client.session.poll_timeout(), Some(210_000));
    assert_eq!(client.session.state(), ClientState::Open);
}

#[test]
fn any_number_of_pings_takes_one_answer() {
    let mut client = Client::welcomed();
    for _ in 0..1000 {
        client.give(ServerMessage::Ping);
    }
    assert_eq!(client.sent(), [ClientMessage::Pong]);
    client.give(ServerMessage::Pong);
    assert_eq!(client.sent(), []);
}

#[test]
fn a_server_that_breaks_the_protocol_is_left_for_a_while() {
    let faults: [fn(&mut Client); 8] = [
        |c| c.welcome(),
        |c| c.event(1),
        |c| c.gap(1, 2, EPOCH, GapReason::Capacity),
        |c| c.give(ServerMessage::End { channel: 5, reason: "deleted".into() }),
        |c| {
            c.publish();
            c.sent();
            c.reply(1, Ok(Reply::Unsubscribed));
        },
        |c| {
            c.session.subscribe("c", From::All).expect("a good name");
            c.sent();
            c.reply(1, Ok(Reply::Published { eid: Eid(1), duplicate: false }));
        },
        |c| {
            c.break_link();
            c.link();
            c.give(ServerMessage::Ping);
        },
        |c| {
            c.break_link();
            c.link();
            let limits = c.session.limits().expect("a welcome came");
            c.give(ServerMessage::Welcome { version: 1, session: SessionId(8), heartbeat: 1, limits });
        },
    ];
    for (n, fault) in faults.into_iter().enumerate() {
        let mut client = Client::welcomed();
        fault(&mut client);
        let command = client.session.poll_link();
        assert!(matches!(command, Some(LinkCommand::Close { code: 4200, .. })), "{n}: {command:?}");
        assert!(client.wait() <= 4_000, "{n}");
        client.link();
    }
}

#[test]
fn close_says_of_every_publish_whether_it_was_sent() {
    let mut client = Client::welcomed();
    let first = client.publish();
    client.sent();
    let second = client.publish();
    client.session.close();
    assert!(matches!(client.session.poll_link(), Some(LinkCommand::Close { code: 1000, .. })));
    let failed = |id, sent| ClientEvent::PublishFailed { id, fault: PublishFault::Closed { sent } };
    let events = client.drain();
    assert_eq!(
        events[..3],
        [ClientEvent::StateChanged(ClientState::Closed), failed(first, true), failed(second, false)]
    );
    assert!(matches!(events[3], ClientEvent::Closed { code: 1000, .. }));
    client.session.close();
    client.welcome();
    client.session.tick(u64::MAX);
    client.break_link();
    client.session.link_opened(0);
    assert_eq!((client.drain(), client.sent(), client.session.poll_link()), (vec![], vec![], None));
    assert_eq!(client.session.publish("c", body(1), None), Err(PublishError::Closed));
    assert_eq!(client.session.subscribe("c", From::New), Err(SubscribeError::Closed));
}

#[test]
fn the_close_message_of_other_transports_ends_the_link_as_a_close_frame_does() {
    let mut client = Client::welcomed();
    client.give(ServerMessage::Close { code: 4000, reason: "stopping".into() });
    assert!(matches!(client.session.poll_link(), Some(LinkCommand::Close { code: 1000, .. })));
    assert!(client.wait() <= 250);
    client.link();
    client.give(ServerMessage::Close { code: 4201, reason: "old".into() });
    assert_eq!(client.session.state(), ClientState::Closed);
}

#[test]
fn a_long_client_name_is_cut_at_a_character() {
    let settings = ClientSettings { client: Some("\u{e4}".repeat(40).into()), ..ClientSettings::default() };
    let mut client = Client { session: ClientSession::new(settings, 1, 0), now: 0 };
    let sent = client.link();
    assert!(matches!(&sent[0], ClientMessage::Connect { client: Some(c), .. } if c.len() == 64), "{sent:?}");
}
