//! Candidates and their adoption, message by message.

use throughline_session::{
    Adoption, Candidate, ClientEvent, ClientSession, ClientSettings, ClientState, Cursor, Greeting, Known, LinkCommand,
    LinkLoss, Memory, Report, Verdict,
};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SessionId};
use throughline_wire::message::{Carriage, ClientMessage, From, Limits, Reply, ServerMessage};
use throughline_wire::path::{Failure, Transport};

const SESSION: SessionId = SessionId(7);
const EPOCH: Epoch = Epoch(1);
const LIMITS: Limits = Limits { event_bytes: 1000, publishes_max: 10, subscriptions_max: 10 };

fn welcome(session: SessionId) -> ServerMessage {
    ServerMessage::Welcome { version: 1, session, heartbeat: 10_000, limits: LIMITS, network: Some("n".into()) }
}

fn event(eid: u64) -> ServerMessage {
    let event = Event { eid: Eid(eid), time: 1, body: Body::new(Data::text("x")) };
    ServerMessage::Event { channel: 5, event }
}

fn stands(id: u64, eid: u64) -> ServerMessage {
    ServerMessage::Reply { id, result: Ok(Reply::Subscribed { number: 5, epoch: EPOCH, eid: Eid(eid) }) }
}

fn adoption(greeting: Greeting, kept: Vec<ServerMessage>) -> Adoption {
    Adoption { greeting, session: SESSION, heartbeat: 10_000, limits: LIMITS, kept, rtt: 100 }
}

fn new_session() -> ClientSession {
    ClientSession::new(ClientSettings::default(), 1, 0)
}

fn sent(session: &mut ClientSession) -> Vec<ClientMessage> {
    std::iter::from_fn(|| session.poll_transmit()).collect()
}

fn eids(session: &mut ClientSession) -> Vec<u64> {
    let events = std::iter::from_fn(|| session.poll_event());
    events.filter_map(|e| if let ClientEvent::Event { event, .. } = e { Some(event.eid.0) } else { None }).collect()
}

fn publish(session: &mut ClientSession) {
    session.publish("c", Body::new(Data::text("x")), None).expect("there is room");
}

fn ids(messages: &[ClientMessage]) -> Vec<(char, u64)> {
    let id = |m: &ClientMessage| match m {
        ClientMessage::Publish { id, .. } => ('p', *id),
        ClientMessage::Subscribe { id, .. } => ('s', *id),
        ClientMessage::Unsubscribe { id, .. } => ('u', *id),
        other => panic!("{other:?}"),
    };
    messages.iter().map(id).collect()
}

#[test]
fn a_first_flight_holds_the_subscriptions_and_what_came_in_answer_is_given_on_adoption() {
    let mut session = new_session();
    session.subscribe("c", From::New).unwrap();
    publish(&mut session);
    let greeting = session.greeting(Some(15_000));
    assert!(matches!(greeting.messages[0], ClientMessage::Connect { session: None, heartbeat: Some(15_000), .. }));
    assert_eq!(ids(&greeting.messages[1..]), [('s', 1)]);
    assert_eq!(sent(&mut session), [], "nothing goes out before a link is adopted");
    assert!(session.adopt(100, adoption(greeting, vec![stands(1, 4), event(5)])));
    assert_eq!((session.state(), session.session()), (ClientState::Open, Some(SESSION)));
    assert_eq!(eids(&mut session), [5]);
    assert_eq!(ids(&sent(&mut session)), [('p', 2)], "the subscription stands already");
}

#[test]
fn a_takeover_asks_with_cursors_and_repeats_publishes_in_order_before_new_ones() {
    let mut session = new_session();
    session.subscribe("c", From::New).unwrap();
    let first = session.greeting(None);
    assert!(session.adopt(100, adoption(first, vec![stands(1, 4), event(5)])));
    publish(&mut session);
    publish(&mut session);
    assert_eq!(ids(&sent(&mut session)), [('p', 2), ('p', 3)]);
    let second = session.greeting(None);
    assert_eq!(second.messages.len(), 1, "beside a live link nothing but connect is sent: {second:?}");
    session.input(200, Ok(event(6)));
    publish(&mut session);
    assert!(session.adopt(300, adoption(second, vec![])));
    let again = sent(&mut session);
    assert_eq!(ids(&again), [('s', 4), ('p', 2), ('p', 3), ('p', 5)]);
    let after = From::After { after: Eid(6), epoch: EPOCH };
    assert!(matches!(&again[0], ClientMessage::Subscribe { from, .. } if *from == after), "{again:?}");
    session.input(400, Ok(stands(4, 6)));
    session.input(400, Ok(event(6)));
    session.input(400, Ok(event(7)));
    assert_eq!(eids(&mut session), [5, 6, 7], "an overlap is dropped");
}

#[test]
fn a_subscription_that_may_have_begun_too_late_is_made_anew() {
    let mut session = new_session();
    let id = session.subscribe("c", From::New).unwrap();
    let (slow, fast) = (session.greeting(None), session.greeting(None));
    assert!(session.adopt(100, adoption(fast, vec![stands(2, 4), event(5)])));
    // The slow one began after event 8; events 6 to 8 were under way on the fast one.
    assert!(session.adopt(200, adoption(slow, vec![stands(1, 8), event(9)])));
    assert_eq!(eids(&mut session), [5]);
    let again = sent(&mut session);
    assert_eq!(ids(&again), [('u', 3), ('s', 4)]);
    session.input(300, Ok(ServerMessage::Reply { id: 3, result: Ok(Reply::Unsubscribed) }));
    session.input(300, Ok(stands(4, 5)));
    (6..=9).for_each(|eid| session.input(300, Ok(event(eid))));
    assert_eq!(eids(&mut session), [6, 7, 8, 9]);
    assert_eq!(session.cursor(id), Some(Cursor { epoch: EPOCH, eid: Eid(9) }));
}

#[test]
fn what_was_ended_while_a_candidate_proved_itself_is_ended_there_too() {
    let mut session = new_session();
    let id = session.subscribe("c", From::New).unwrap();
    let greeting = session.greeting(None);
    assert!(session.unsubscribe(id));
    session.subscribe("d", From::All).unwrap();
    assert!(session.adopt(100, adoption(greeting, vec![stands(1, 4), event(5)])));
    assert_eq!(ids(&sent(&mut session)), [('u', 2), ('s', 3)]);
    assert!(eids(&mut session).is_empty());
    assert_eq!(session.state(), ClientState::Open);
}

#[test]
fn another_session_is_not_adopted() {
    let mut session = new_session();
    let (one, other) = (session.greeting(None), session.greeting(None));
    assert!(session.adopt(1, adoption(one, vec![])));
    assert!(!session.adopt(2, Adoption { session: SessionId(8), ..adoption(other, vec![]) }));
    assert_eq!(session.session(), Some(SESSION));
    let late = session.greeting(None);
    session.close();
    assert!(!session.adopt(3, adoption(late, vec![])));
}

/// A session whose link has been silent since `since` while a publish waits.
fn silent(since: u64) -> ClientSession {
    let mut session = new_session();
    let greeting = session.greeting(None);
    assert!(session.adopt(since, adoption(greeting, vec![])));
    publish(&mut session);
    assert_eq!(sent(&mut session).len(), 1);
    session.transmitted(since);
    while session.poll_link().is_some() {}
    session
}

#[test]
fn a_link_is_asked_then_doubted_then_trusted_again() {
    let mut session = silent(1_000);
    assert_eq!(session.poll_timeout(), Some(3_000), "four round trips, at least 2 s");
    session.tick(3_000);
    assert_eq!((sent(&mut session), session.poll_link()), (vec![ClientMessage::Ping], None));
    session.tick(5_000);
    assert_eq!((session.poll_link(), session.is_doubted()), (Some(LinkCommand::Doubt), true));
    session.heard(5_500);
    assert_eq!((session.poll_link(), session.is_doubted()), (Some(LinkCommand::Trust), false));
    session.input(5_500, Ok(ServerMessage::Pong));
    session.input(
        5_500,
        Ok(ServerMessage::Reply { id: 1, result: Ok(Reply::Published { eid: Eid(1), duplicate: false }) }),
    );
    assert_eq!(session.poll_timeout(), Some(15_500), "nothing is outstanding: only the heartbeat is left");
}

/// Adopts another link and sends on it; gives how long it may be silent.
fn next_wait(session: &mut ClientSession, now: u64) -> u64 {
    let greeting = session.greeting(None);
    assert!(session.adopt(now, adoption(greeting, vec![])));
    publish(session);
    sent(session);
    session.transmitted(now);
    session.poll_timeout().expect("it is not over") - now
}

#[test]
fn a_link_that_is_left_in_doubt_gives_the_next_one_more_time_until_something_is_answered() {
    let mut session = silent(0);
    session.tick(2_000);
    session.tick(4_000);
    assert_eq!(next_wait(&mut session, 4_000), 4_000);
    session.tick(8_000);
    session.tick(12_000);
    assert_eq!(next_wait(&mut session, 12_000), 8_000);
    assert_eq!(next_wait(&mut session, 13_000), 8_000, "this one was left without a doubt");
    session.input(
        13_500,
        Ok(ServerMessage::Reply { id: 1, result: Ok(Reply::Published { eid: Eid(1), duplicate: false }) }),
    );
    assert_eq!(next_wait(&mut session, 14_000), 2_000);
}

#[test]
fn a_candidate_is_proven_by_welcome_and_pong_and_nothing_less() {
    let mut session = new_session();
    let mut candidate = Candidate::new(0, Transport::WebSocket, session.greeting(None));
    candidate.opened(30);
    assert!(matches!(candidate.input(40, None, Ok(ServerMessage::Pong)), Verdict::Ended { code: 4200, .. }));
    assert_eq!(candidate.input(50, None, Ok(welcome(SESSION))), Verdict::Waits);
    assert_eq!(candidate.input(50, None, Ok(ServerMessage::Ping)), Verdict::Pong);
    assert_eq!(candidate.input(55, None, Ok(event(1))), Verdict::Waits);
    assert_eq!((candidate.failure(60, false), candidate.failure(60, true)), (Failure::Cut, Failure::Swallowed));
    assert_eq!(candidate.input(90, None, Ok(ServerMessage::Pong)), Verdict::Proven);
    assert_eq!((candidate.rtt(), candidate.network()), (Some(60), Some("n")));
    assert_eq!(candidate.input(99, Some(SESSION), Ok(ServerMessage::Pong)), Verdict::Answered);
    assert_eq!((candidate.failure(10_089, false), candidate.failure(10_090, false)), (Failure::Cut, Failure::Idle));
    let adoption = candidate.into_adoption().expect("it is proven");
    assert_eq!((adoption.session, adoption.kept, adoption.rtt), (SESSION, vec![event(1)], 60));
}

#[test]
fn candidates_that_cannot_be_adopted_say_so() {
    let fresh = || Candidate::new(0, Transport::HttpStream, new_session().greeting(None));
    assert_eq!(fresh().input(1, Some(SESSION), Ok(welcome(SessionId(8)))), Verdict::Foreign);
    let mut late = fresh();
    assert_eq!(late.input(1, None, Ok(welcome(SessionId(8)))), Verdict::Waits);
    assert_eq!(late.input(2, Some(SESSION), Ok(ServerMessage::Pong)), Verdict::Foreign);
    let close = ServerMessage::Close { code: 4100, reason: "full".into() };
    assert_eq!(fresh().input(1, None, Ok(close)), Verdict::Ended { code: 4100, reason: "full".into() });
    let broken = ServerMessage::decode(Carriage::Text(b"<html>"));
    assert!(matches!(fresh().input(1, None, broken), Verdict::Ended { code: 4200, .. }));
    assert!(fresh().into_adoption().is_none());
    let mut buffered = fresh();
    assert_eq!((buffered.failure(9, false), buffered.failure(9, true)), (Failure::Refused, Failure::Silent));
    buffered.uplinked();
    assert_eq!(buffered.failure(9, true), Failure::Buffered);
}

#[test]
fn a_flood_before_the_proof_is_not_kept_and_asked_for_again() {
    let mut session = new_session();
    session.subscribe("c", From::All).unwrap();
    let mut greeting = session.greeting(None);
    greeting.messages.clear();
    let mut candidate = Candidate::new(0, Transport::HttpStream, greeting);
    candidate.input(1, None, Ok(welcome(SESSION)));
    candidate.input(1, None, Ok(stands(1, 0)));
    for eid in 1..=2_000 {
        candidate.input(1, None, Ok(event(eid)));
    }
    assert_eq!(candidate.input(2, None, Ok(ServerMessage::Pong)), Verdict::Proven);
    let adoption = candidate.into_adoption().expect("it is proven");
    assert_eq!(adoption.kept, [stands(1, 0)]);
    assert!(session.adopt(2, adoption));
    session.input(3, Ok(event(2_001)));
    assert_eq!(ids(&sent(&mut session)), [('u', 2), ('s', 3)]);
    assert!(eids(&mut session).is_empty());
}

#[test]
fn reports_wait_for_a_link_and_are_few() {
    let mut session = new_session();
    for after in 0..20 {
        let detail = Some("é".repeat(150).into());
        session.report(Report { transport: Transport::WebSocket, failure: Failure::Cut, after, detail });
    }
    let greeting = session.greeting(None);
    assert!(session.adopt(1, adoption(greeting, vec![])));
    let sent = sent(&mut session);
    assert_eq!(sent.len(), 8);
    assert!(matches!(&sent[0], ClientMessage::Report { after: 12, detail: Some(d), .. } if d.len() == 200), "{sent:?}");
}

#[test]
fn a_lost_link_is_followed_by_a_first_flight_with_cursors() {
    let mut session = new_session();
    session.subscribe("c", From::New).unwrap();
    let greeting = session.greeting(None);
    assert!(session.adopt(1, adoption(greeting, vec![stands(1, 4)])));
    session.link_lost(20_000, LinkLoss::Broken("cut".into()));
    let greeting = session.greeting(None);
    let after = From::After { after: Eid(4), epoch: EPOCH };
    assert!(matches!(&greeting.messages[1], ClientMessage::Subscribe { from, .. } if *from == after));
    assert_eq!(greeting.session, Some(SESSION));
}

#[test]
fn a_memory_learns_and_forgets() {
    let mut memory = Memory::default();
    memory.ended(0, 10_000, 3, false);
    assert_eq!(memory.last(), None, "nothing is known of no network");
    memory.adopted(1_000, "home", Transport::LongPoll);
    memory.held(1_000, 16_000);
    memory.ended(1_000, 10_000, 2, false);
    assert_eq!(memory.last().and_then(|k| k.heartbeat), None, "two silent intervals are not enough");
    for (interval, survived, silent, expected) in
        [(10_000, 3, false, 15_000), (25_000, 9, false, 25_000), (25_000, 9, true, 16_666), (6_000, 0, true, 5_000)]
    {
        memory.ended(1_000, interval, survived, silent);
        assert_eq!(memory.last().and_then(|k| k.heartbeat), Some(expected));
    }
    memory.adopted(2_000, "away", Transport::WebSocket);
    memory.adopted(3_000, "home", Transport::HttpStream);
    let home = Known {
        network: "home".into(),
        at: 3_000,
        transport: Transport::HttpStream,
        heartbeat: Some(5_000),
        hold_ms: 16_000,
    };
    assert_eq!(memory.last(), Some(&home));
    memory.forget(3_602_000);
    assert_eq!(memory.known, [home]);
    for n in 0..20 {
        memory.adopted(4_000, &n.to_string(), Transport::WebSocket);
    }
    assert_eq!(memory.known.len(), 8);
    memory.forget(0);
    assert_eq!(memory.known, [], "what was learned in the future is not trusted");
}

#[test]
fn silent_intervals_that_a_link_survives_are_counted_whoever_asks() {
    let mut session = new_session();
    let greeting = session.greeting(None);
    assert!(session.adopt(0, adoption(greeting, vec![])));
    session.tick(10_000);
    session.heard(10_100);
    session.heard(19_200);
    session.heard(20_000);
    assert_eq!(session.heartbeat(), Some((10_000, 2)));
    session.link_lost(20_000, LinkLoss::Broken("cut".into()));
    assert_eq!(session.heartbeat(), Some((10_000, 2)), "known until the next link");
}
