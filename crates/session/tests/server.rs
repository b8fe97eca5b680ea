//! The server's end of a link, message by message and at exact times.

use throughline_session::{Input, ServerSession, ServerSettings, Tick};
use throughline_wire::close::CloseCode;
use throughline_wire::event::{Body, Data, SessionId};
use throughline_wire::message::{Carriage, ClientMessage, CloseReason, ErrorCode, From, ServerMessage};

const SETTINGS: fn() -> ServerSettings = ServerSettings::default;

fn connect(versions: &[u64], session: Option<SessionId>) -> ClientMessage {
    ClientMessage::Connect { versions: versions.to_vec(), session, client: None, heartbeat: None }
}

fn give(link: &mut ServerSession, message: ClientMessage) -> Input {
    link.input(&SETTINGS(), Ok(message), || 7)
}

fn open(now: u64) -> ServerSession {
    let mut link = ServerSession::new(now);
    link.heard(now);
    assert!(matches!(give(&mut link, connect(&[1], None)), Input::Send(ServerMessage::Welcome { .. })));
    link
}

#[track_caller]
fn closed_with(input: Input, code: CloseCode) {
    assert!(matches!(&input, Input::Close(CloseReason { code: c, .. }) if *c == code), "{input:?}");
}

fn publish(id: u64, bytes: usize) -> ClientMessage {
    let body = Body::new(Data::bytes(vec![0; bytes]));
    ClientMessage::Publish { id, channel: "c".into(), body, persistent: None }
}

#[test]
fn the_state_of_a_link_is_small() {
    assert!(size_of::<ServerSession>() <= 48, "{}", size_of::<ServerSession>());
}

#[test]
fn a_new_session_gets_a_fresh_id_and_an_old_one_keeps_its_own() {
    let mut link = ServerSession::new(0);
    assert_eq!(link.session(), None);
    let Input::Send(ServerMessage::Welcome { version, session, heartbeat, limits, network: None }) =
        give(&mut link, connect(&[9, 1], None))
    else {
        panic!("no welcome");
    };
    assert_eq!((version, session, heartbeat, limits), (1, SessionId(7), 10_000, SETTINGS().limits));
    assert_eq!(link.session(), Some(SessionId(7)));

    let mut link = ServerSession::new(0);
    let answer = link.input(&SETTINGS(), Ok(connect(&[1], Some(SessionId(3)))), || unreachable!("an id was presented"));
    assert!(matches!(answer, Input::Send(ServerMessage::Welcome { session: SessionId(3), .. })));
}

#[test]
fn no_common_version_closes() {
    for versions in [&[][..], &[2], &[0, 2, 3, 4, 5, 6, 7, 8, 9]] {
        closed_with(give(&mut ServerSession::new(0), connect(versions, None)), CloseCode::Version);
    }
}

#[test]
fn connect_is_first_and_once() {
    let others = [
        ClientMessage::Ping,
        ClientMessage::Pong,
        ClientMessage::Close { reason: None },
        publish(1, 1),
        ClientMessage::Subscribe { id: 1, channel: "c".into(), from: From::New },
        ClientMessage::Unsubscribe { id: 1, channel: "c".into() },
    ];
    for other in others {
        let mut link = ServerSession::new(0);
        closed_with(give(&mut link, other), CloseCode::ConnectExpected);
        assert_eq!(give(&mut link, connect(&[1], None)), Input::Nothing, "a closed link stays closed");
        assert_eq!(link.session(), None);
    }
    let mut link = ServerSession::new(0);
    let bad_request =
        ClientMessage::decode(Carriage::Text(br#"{"type":"subscribe","id":1,"channel":"/","from":"new"}"#));
    closed_with(link.input(&SETTINGS(), bad_request, || 7), CloseCode::ConnectExpected);
    closed_with(give(&mut open(0), connect(&[1], None)), CloseCode::ConnectExpected);
}

#[test]
fn requests_are_handed_on_and_bad_ones_answered() {
    let mut link = open(0);
    let subscribe = ClientMessage::Subscribe { id: 1, channel: "c".into(), from: From::All };
    assert_eq!(give(&mut link, subscribe), Input::Subscribe { id: 1, channel: "c".into(), from: From::All });
    let unsubscribe = ClientMessage::Unsubscribe { id: 2, channel: "c".into() };
    assert_eq!(give(&mut link, unsubscribe), Input::Unsubscribe { id: 2, channel: "c".into() });
    for id in [3, 4, 3] {
        let input = give(&mut link, publish(id, 1));
        assert!(matches!(input, Input::Publish { session: SessionId(7), id: i, .. } if i == id), "{input:?}");
    }
    let bad = ClientMessage::decode(Carriage::Text(br#"{"type":"subscribe","id":5,"channel":"/","from":"new"}"#));
    let Input::Send(ServerMessage::Reply { id: 5, result: Err(error) }) = link.input(&SETTINGS(), bad, || 7) else {
        panic!("no reply");
    };
    assert!(error.is(ErrorCode::BadChannelName));
    assert_eq!(give(&mut link, ClientMessage::Ping), Input::Send(ServerMessage::Pong));
    assert_eq!(give(&mut link, ClientMessage::Pong), Input::Nothing);
}

#[test]
fn the_size_of_an_event_is_bounded_and_the_answer_names_the_limit() {
    let mut link = open(0);
    let limit = SETTINGS().limits.event_bytes;
    assert!(matches!(give(&mut link, publish(1, limit as usize)), Input::Publish { .. }));
    let Input::Send(ServerMessage::Reply { id: 2, result: Err(error) }) =
        give(&mut link, publish(2, limit as usize + 1))
    else {
        panic!("no reply");
    };
    assert!(error.is(ErrorCode::EventTooLarge));
    assert_eq!(error.limit, Some(limit));
}

#[test]
fn a_malformed_message_closes_and_the_reason_names_the_fault() {
    for mut link in [ServerSession::new(0), open(0)] {
        let bad = ClientMessage::decode(Carriage::Text(br#"{"type":"jump"}"#));
        let Input::Close(reason) = link.input(&SETTINGS(), bad, || 7) else { panic!("not closed") };
        assert_eq!(reason.code, CloseCode::BadMessage);
        assert!(reason.reason.contains("jump"));
        assert_eq!(give(&mut link, ClientMessage::Ping), Input::Nothing);
        assert_eq!(link.deadline(&SETTINGS()), u64::MAX);
        assert_eq!(link.tick(u64::MAX, &SETTINGS()), Tick::Nothing);
    }
}

#[test]
fn a_client_that_closes_is_closed_normally() {
    closed_with(give(&mut open(0), ClientMessage::Close { reason: None }), CloseCode::Normal);
}

#[test]
fn a_link_without_connect_is_closed_however_much_it_sends() {
    let mut link = ServerSession::new(5);
    link.heard(9_000);
    assert_eq!(link.deadline(&SETTINGS()), 10_005);
    assert_eq!(link.tick(10_004, &SETTINGS()), Tick::Nothing);
    let Tick::Close(reason) = link.tick(10_005, &SETTINGS()) else { panic!("not closed") };
    assert_eq!(reason.code, CloseCode::ConnectTimeout);
}

#[test]
fn silence_brings_a_ping_then_the_end() {
    let mut link = open(100);
    assert_eq!(link.tick(10_099, &SETTINGS()), Tick::Nothing);
    assert_eq!(link.tick(10_100, &SETTINGS()), Tick::Ping);
    assert_eq!(link.tick(10_100, &SETTINGS()), Tick::Nothing, "one ping for one silence");
    assert_eq!(link.deadline(&SETTINGS()), 30_100);
    assert_eq!(link.tick(30_099, &SETTINGS()), Tick::Nothing);
    let Tick::Close(reason) = link.tick(30_100, &SETTINGS()) else { panic!("not closed") };
    assert_eq!(reason.code, CloseCode::Heartbeat);

    let mut link = open(0);
    assert_eq!(link.tick(500_000, &SETTINGS()), Tick::Ping);
    assert_eq!(link.tick(519_999, &SETTINGS()), Tick::Nothing, "a late tick leaves time for the answer");

    let mut link = open(0);
    assert_eq!(link.tick(10_000, &SETTINGS()), Tick::Ping);
    link.heard(10_050);
    assert_eq!(link.deadline(&SETTINGS()), 20_050, "anything heard starts anew");
    assert_eq!(link.tick(20_050, &SETTINGS()), Tick::Ping);
}

/// Connects with a wish for a heartbeat; gives what was granted, and the link.
fn granted(settings: &ServerSettings, wish: Option<u64>) -> (u64, ServerSession) {
    let mut link = ServerSession::new(0);
    let connect = ClientMessage::Connect { versions: vec![1], session: None, client: None, heartbeat: wish };
    match link.input(settings, Ok(connect), || 7) {
        Input::Send(ServerMessage::Welcome { heartbeat, .. }) => (heartbeat, link),
        other => panic!("no welcome: {other:?}"),
    }
}

#[test]
fn a_heartbeat_is_granted_within_bounds_and_holds_for_its_link() {
    let settings = SETTINGS();
    for (wish, expected) in [(None, 10_000), (Some(0), 5_000), (Some(7_000), 7_000), (Some(u64::MAX), 25_000)] {
        let (heartbeat, mut link) = granted(&settings, wish);
        assert_eq!(heartbeat, expected, "{wish:?}");
        assert_eq!(link.deadline(&settings), expected);
        assert_eq!(link.tick(expected, &settings), Tick::Ping);
        assert_eq!(link.deadline(&settings), expected * 3);
    }
    let fixed = settings.with_fixed_heartbeat(30_000);
    for wish in [None, Some(5_000)] {
        assert_eq!(granted(&fixed, wish).0, 30_000, "{wish:?}");
    }
}

#[test]
fn a_report_is_passed_on_and_not_answered() {
    let (transport, failure): (Box<str>, Box<str>) = ("websocket".into(), "of_tomorrow".into());
    let report = ClientMessage::Report {
        transport: transport.clone(),
        failure: failure.clone(),
        after: 200,
        detail: Some("403".into()),
    };
    let input = give(&mut open(0), report.clone());
    assert_eq!(input, Input::Report { transport, failure, after: 200, detail: Some("403".into()) });
    closed_with(give(&mut ServerSession::new(0), report), CloseCode::ConnectExpected);
}
