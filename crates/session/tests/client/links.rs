//! When links are opened, given up and closed.

use super::*;

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
            c.welcome_as(SessionId(8));
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
