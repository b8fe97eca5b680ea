//! What is published, and what becomes of it.

use super::*;

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
