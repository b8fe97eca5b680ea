//! What is subscribed to, over several links.

use super::*;

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
fn another_history_does_not_begin_before_what_was_given() {
    let new = Epoch(2);
    let (mut client, _) = subscribed(From::All, 10);
    client.break_link();
    client.link();
    client.welcome();
    client.subscribed(2, new, 0);
    // A link that was asked for with an older cursor counts from there.
    client.gap(9, 0, new, GapReason::Epoch);
    assert_eq!(client.given(), [(11, 0)]);
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
