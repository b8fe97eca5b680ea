//! Sessions against a scripted server: what goes over the wire, and what the program sees.

mod fake;

use fake::{Came, HEARTBEAT_MS, SESSION, Server, only};
use throughline_client::{
    Body, Cursor, Data, Delivery, Eid, Ended, From, Gap, GapReason, PublishFault, Session, State, Transport,
};
use throughline_wire::message::{ClientMessage, ErrorCode, ReplyError, ServerMessage};
use tokio::io::AsyncWriteExt;

fn text(text: &str) -> Body {
    Body::new(Data::text(text))
}

#[track_caller]
fn event_text(delivery: Delivery) -> String {
    let Delivery::Event(event) = delivery else { panic!("no event: {delivery:?}") };
    event.body.data.as_text().expect("text").to_owned()
}

#[tokio::test]
async fn publishes_without_an_answer_are_repeated_in_order_under_their_numbers() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    let mut receipts = Vec::new();
    for data in ["a", "b", "c"] {
        receipts.push(session.publish_queued("c", text(data), None).await.unwrap());
    }
    let (mut peer, presented) = server.welcome(HEARTBEAT_MS).await;
    assert_eq!(presented, None);
    let sent = [peer.next_publish().await, peer.next_publish().await, peer.next_publish().await];
    assert_eq!(sent.each_ref().map(|(_, data)| data.as_str()), ["a", "b", "c"]);
    peer.publish_reply(sent[0].0, 10, false).await;
    let mut receipts = receipts.into_iter();
    assert_eq!(receipts.next().unwrap().await.unwrap().eid, Eid(10));
    drop(peer);

    let (mut peer, presented) = server.welcome(HEARTBEAT_MS).await;
    assert_eq!(presented, Some(SESSION));
    assert_eq!([peer.next_publish().await, peer.next_publish().await], sent[1..]);
    // Answers may overtake one another.
    peer.publish_reply(sent[2].0, 12, false).await;
    peer.publish_reply(sent[1].0, 11, true).await;
    let answers = [receipts.next().unwrap().await.unwrap(), receipts.next().unwrap().await.unwrap()];
    assert_eq!(answers.map(|p| (p.eid, p.duplicate)), [(Eid(11), true), (Eid(12), false)]);
}

#[tokio::test]
async fn a_subscription_goes_on_at_its_cursor() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    let mut subscription = session.subscribe("c", From::All).unwrap();
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    let (id, from) = peer.next_subscribe().await;
    assert_eq!(from, From::All);
    peer.subscribe_reply(id, 0).await;
    peer.event(1, "one").await;
    peer.event(2, "two").await;
    let cursor = Cursor { epoch: fake::EPOCH, eid: Eid(0) };
    assert_eq!(subscription.next().await, Delivery::Standing { cursor, resumed: false });
    assert_eq!(event_text(subscription.next().await), "one");
    assert_eq!(event_text(subscription.next().await), "two");
    drop(peer);

    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    let (id, from) = peer.next_subscribe().await;
    assert_eq!(from, From::After { after: Eid(2), epoch: fake::EPOCH });
    peer.subscribe_reply(id, 2).await;
    peer.event(2, "two again").await;
    let gap = Gap { from: Eid(3), to: Eid(4), epoch: fake::EPOCH, reason: GapReason::Capacity };
    peer.send(ServerMessage::Gap { channel: 0, gap }).await;
    peer.event(5, "five").await;
    let cursor = Cursor { epoch: fake::EPOCH, eid: Eid(2) };
    assert_eq!(subscription.next().await, Delivery::Standing { cursor, resumed: true });
    assert_eq!(subscription.next().await, Delivery::Gap(gap));
    assert_eq!(event_text(subscription.next().await), "five");

    peer.send(ServerMessage::End { channel: 0, reason: "deleted".into() }).await;
    let ended = Delivery::Ended(Ended::ByServer("deleted".into()));
    assert_eq!(subscription.next().await, ended);
    assert_eq!(subscription.next().await, ended);
}

/// Events of this many bytes in this number are more than the buffers of two sockets can hold.
const EVENT_BYTES: usize = 64 << 10;
const EVENTS: u64 = 1000;

#[tokio::test]
async fn a_slow_program_holds_the_server_back_and_keeps_the_link() {
    let server = Server::start().await;
    let mut options = only(Transport::WebSocket);
    options.buffer_events_max = 10;
    let session = Session::start(&server.url(), options).unwrap();
    let mut subscription = session.subscribe("c", From::All).unwrap();
    // Short, so that three heartbeats pass soon: a link that is only not read must not be taken for dead.
    let (mut peer, _) = server.welcome(100).await;
    let (id, _) = peer.next_subscribe().await;
    peer.subscribe_reply(id, 0).await;
    let data = "x".repeat(EVENT_BYTES);
    let mut bytes = Vec::new();
    for eid in 1..=EVENTS {
        peer.frame(&fake::event(eid, &data), &mut bytes);
    }
    let fake::Peer { mut incoming, mut write, .. } = peer;
    let (mut pings, mut written) = (0, 0);
    // Until three pings have come, which the client sends while it does not read, beside the one that proved the link.
    while pings < 4 {
        tokio::select! {
            came = incoming.came() => {
                assert!(matches!(came, Came::Message(ClientMessage::Ping)));
                pings += 1;
            }
            ready = write.writable() => {
                ready.unwrap();
                written += write.try_write(&bytes[written..]).unwrap_or(0);
                assert!(written < bytes.len(), "nothing held the server back");
            }
        }
    }
    bytes.drain(..written);
    let rest = tokio::spawn(async move {
        write.write_all(&bytes).await.unwrap();
        write
    });
    assert!(matches!(subscription.next().await, Delivery::Standing { resumed: false, .. }));
    for eid in 1..=EVENTS {
        let Delivery::Event(event) = subscription.next().await else { panic!("no event {eid}") };
        assert_eq!((event.eid, event.body.data.len()), (Eid(eid), EVENT_BYTES));
    }
    rest.await.unwrap();
}

#[tokio::test]
async fn a_full_queue_waits_for_an_answer() {
    let server = Server::start().await;
    let mut options = only(Transport::WebSocket);
    options.queue_publishes_max = 1;
    let session = Session::start(&server.url(), options).unwrap();
    let first = session.publish_queued("c", text("a"), None).await.unwrap();
    assert!(session.try_publish("c", text("b"), None).is_err());
    let second = tokio::spawn({
        let session = session.clone();
        async move { session.publish("c", text("b"), None).await }
    });
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    let (id, _) = peer.next_publish().await;
    peer.publish_reply(id, 1, false).await;
    assert_eq!(first.await.unwrap().eid, Eid(1));
    let (id, data) = peer.next_publish().await;
    assert_eq!(data, "b");
    peer.publish_reply(id, 2, false).await;
    assert_eq!(second.await.unwrap().unwrap().eid, Eid(2));
}

#[tokio::test]
async fn refusals_reach_those_who_asked() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    let mut subscription = session.subscribe("c", From::New).unwrap();
    let receipt = session.publish_queued("c", text("a"), None).await.unwrap();
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    let (subscribe, _) = peer.next_subscribe().await;
    let (publish, _) = peer.next_publish().await;
    let error = ReplyError::new(ErrorCode::UnknownChannel, "no such channel");
    for id in [subscribe, publish] {
        peer.send(ServerMessage::Reply { id, result: Err(error.clone()) }).await;
    }
    assert_eq!(subscription.next().await, Delivery::Ended(Ended::Refused(error.clone())));
    assert_eq!(receipt.await, Err(PublishFault::Refused(error)));
}

#[tokio::test]
async fn a_close_code_of_no_return_ends_the_session() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    let mut subscription = session.subscribe("c", From::New).unwrap();
    let receipt = session.publish_queued("c", text("a"), None).await.unwrap();
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    assert!(matches!(peer.came().await, Came::Message(ClientMessage::Subscribe { .. })));
    assert!(matches!(peer.came().await, Came::Message(ClientMessage::Publish { .. })));
    peer.close(4200, "bad message").await;
    assert!(matches!(peer.came().await, Came::Close(4200)));
    assert_eq!(receipt.await, Err(PublishFault::Closed { sent: true }));
    let Delivery::Ended(Ended::SessionClosed(reason)) = subscription.next().await else { panic!("not ended") };
    assert!(reason.contains("bad message"), "{reason}");
    let closed = session.state().wait_for(|state| matches!(state, State::Closed { .. })).await.unwrap().clone();
    assert!(matches!(closed, State::Closed { code: 4200, .. }), "{closed:?}");
}

#[tokio::test]
async fn closing_says_goodbye() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    session.state().wait_for(|state| *state == State::Open).await.unwrap();
    let closing = tokio::spawn(session.close());
    let Came::Close(code) = peer.came().await else { panic!("no close frame") };
    assert_eq!(code, 1000);
    peer.close(1000, "").await;
    drop(peer);
    closing.await.unwrap();
}

#[tokio::test]
async fn dropping_the_last_handle_closes_and_a_subscription_is_one() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    let mut subscription = session.subscribe("c", From::New).unwrap();
    drop(session);
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    let (id, _) = peer.next_subscribe().await;
    peer.subscribe_reply(id, 0).await;
    peer.event(1, "one").await;
    assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
    assert_eq!(event_text(subscription.next().await), "one");
    drop(subscription);
    loop {
        match peer.came().await {
            Came::Close(code) => break assert_eq!(code, 1000),
            Came::Message(ClientMessage::Unsubscribe { .. }) => {}
            Came::Message(other) => panic!("{other:?}"),
            Came::Ended => panic!("ended without a close frame"),
        }
    }
}

#[tokio::test]
async fn compressed_messages_both_ways() {
    let server = Server::start().await;
    let mut options = only(Transport::WebSocket);
    options.compression = true;
    let session = Session::start(&server.url(), options).unwrap();
    let mut subscription = session.subscribe("c", From::New).unwrap();
    let long = "all work and no play ".repeat(500);
    let receipt = session.publish_queued("c", text(&long), None).await.unwrap();
    let (mut peer, _) = server.welcome(HEARTBEAT_MS).await;
    assert!(peer.compresses());
    let (id, _) = peer.next_subscribe().await;
    peer.subscribe_reply(id, 0).await;
    let (id, data) = peer.next_publish().await;
    assert_eq!(data, long);
    peer.publish_reply(id, 1, false).await;
    peer.event(1, &long).await;
    assert_eq!(receipt.await.unwrap().eid, Eid(1));
    assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
    assert_eq!(event_text(subscription.next().await), long);
}
