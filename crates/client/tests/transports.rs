//! The same promises over each transport, against the real server.

mod real;

use real::{Middlebox, Realm, only};
use throughline_client::{
    Body, ChannelType, Cursor, Data, Delivery, Eid, From, GapReason, Session, Subscription, TRANSPORTS, Transport,
};

fn text(text: &str) -> Body {
    Body::new(Data::text(text))
}

/// The next event's data, past what only tells where the subscription stands.
async fn event(subscription: &mut Subscription) -> (Eid, Data) {
    loop {
        match subscription.next().await {
            Delivery::Event(event) => return (event.eid, event.body.data),
            Delivery::Standing { .. } => {}
            other => panic!("no event: {other:?}"),
        }
    }
}

async fn standing(subscription: &mut Subscription) -> Cursor {
    match subscription.next().await {
        Delivery::Standing { cursor, .. } => cursor,
        other => panic!("it does not stand: {other:?}"),
    }
}

async fn publish(session: &Session, channel: &str, data: &str) -> Eid {
    session.publish(channel, text(data), None).await.expect("published").eid
}

#[tokio::test]
async fn events_go_both_ways() {
    for transport in TRANSPORTS {
        let mut realm = Realm::start();
        realm.create("a", ChannelType::Reliable, None).await;
        realm.create("b/c", ChannelType::Persistent, None).await;
        let session = realm.session(transport).await;
        assert_eq!(session.path().transport, Some(transport));
        let (mut a, mut b) = (session.subscribe("a", From::New).unwrap(), session.subscribe("b/c", From::All).unwrap());
        standing(&mut a).await;
        let bytes: Vec<u8> = (0..=255).collect();
        for data in [Data::text("zwölf\n\u{2028}</script>"), Data::bytes(bytes), Data::text("")] {
            for (channel, subscription) in [("a", &mut a), ("b/c", &mut b)] {
                let published = session.publish(channel, Body::new(data.clone()), None).await.unwrap();
                assert_eq!(event(subscription).await, (published.eid, data.clone()), "{transport}");
            }
        }
        session.close().await;
        realm.stop().await;
    }
}

#[tokio::test]
async fn what_is_kept_is_replayed_and_what_is_not_is_told() {
    for transport in TRANSPORTS {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Reliable, Some(3)).await;
        let session = realm.session(transport).await;
        for n in 1..=10 {
            assert_eq!(publish(&session, "c", &n.to_string()).await, Eid(n));
        }
        let mut all = session.subscribe("c", From::Eid(Eid(2))).unwrap();
        standing(&mut all).await;
        let Delivery::Gap(gap) = all.next().await else { panic!("{transport}: no gap") };
        assert_eq!((gap.from, gap.to, gap.reason), (Eid(2), Eid(7), GapReason::Capacity));
        for n in 8..=10 {
            assert_eq!(event(&mut all).await, (Eid(n), Data::text(n.to_string())));
        }
        session.close().await;
        realm.stop().await;
    }
}

#[tokio::test]
async fn a_mebibyte_goes_through() {
    for transport in TRANSPORTS {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Reliable, None).await;
        let session = realm.session(transport).await;
        let mut subscription = session.subscribe("c", From::New).unwrap();
        standing(&mut subscription).await;
        let mebibyte = 1 << 20;
        for data in [Data::text("x".repeat(mebibyte)), Data::bytes(vec![0xff; mebibyte])] {
            session.publish("c", Body::new(data.clone()), None).await.unwrap();
            assert!(event(&mut subscription).await.1 == data, "{transport}");
        }
        session.close().await;
        realm.stop().await;
    }
}

/// Each place where an answer can be lost.
const LOSSES: [(Transport, &str); 5] = [
    (Transport::WebSocket, "/websocket"),
    (Transport::HttpStream, "/stream?"),
    (Transport::HttpStream, "/uplink?"),
    (Transport::LongPoll, "/poll?"),
    (Transport::LongPoll, "/uplink?"),
];

#[tokio::test]
async fn a_publish_whose_answer_is_lost_is_stored_and_given_once() {
    for (transport, resource) in LOSSES {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Persistent, None).await;
        let middlebox = Middlebox::before(&realm).await;
        let session = Session::connect(middlebox.url(), only(transport)).await.unwrap();
        let mut subscription = session.subscribe("c", From::New).unwrap();
        standing(&mut subscription).await;
        publish(&session, "c", "1").await;
        middlebox.lose(resource);
        for n in 2..=5 {
            publish(&session, "c", &n.to_string()).await;
        }
        assert!(middlebox.has_lost(), "{transport} {resource}");
        for n in 1..=5 {
            assert_eq!(event(&mut subscription).await, (Eid(n), Data::text(n.to_string())), "{transport} {resource}");
        }
        assert_eq!(realm.http().channel("c").await.unwrap().events, 5, "{transport} {resource}");
        session.close().await;
        realm.stop().await;
    }
}

#[tokio::test]
async fn a_cut_link_is_resumed() {
    for transport in TRANSPORTS {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Reliable, None).await;
        let middlebox = Middlebox::before(&realm).await;
        let session = Session::connect(middlebox.url(), only(transport)).await.unwrap();
        let other = realm.session(transport).await;
        let mut subscription = session.subscribe("c", From::New).unwrap();
        standing(&mut subscription).await;
        for n in 1..=3 {
            publish(&other, "c", "before").await;
            middlebox.cut();
            publish(&other, "c", "after").await;
            assert_eq!(event(&mut subscription).await, (Eid(2 * n - 1), Data::text("before")), "{transport}");
            assert_eq!(event(&mut subscription).await, (Eid(2 * n), Data::text("after")), "{transport}");
        }
        session.close().await;
        other.close().await;
        realm.stop().await;
    }
}

#[tokio::test]
async fn a_slow_program_loses_nothing() {
    const EVENTS: u64 = 2000;
    for transport in TRANSPORTS {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Reliable, None).await;
        let mut options = only(transport);
        options.buffer_events_max = 10;
        let session = Session::connect(&realm.url(), options).await.unwrap();
        let mut subscription = session.subscribe("c", From::New).unwrap();
        standing(&mut subscription).await;
        let other = realm.session(transport).await;
        let data = "x".repeat(4096);
        let mut receipts = Vec::new();
        for _ in 0..EVENTS {
            receipts.push(other.publish_queued("c", text(&data), None).await.unwrap());
        }
        for receipt in receipts {
            receipt.await.unwrap();
        }
        for n in 1..=EVENTS {
            assert_eq!(event(&mut subscription).await.0, Eid(n), "{transport}");
        }
        session.close().await;
        other.close().await;
        realm.stop().await;
    }
}

#[tokio::test]
async fn a_realm_that_starts_again_goes_on() {
    for transport in TRANSPORTS {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Persistent, None).await;
        let session = realm.session(transport).await;
        let mut subscription = session.subscribe("c", From::New).unwrap();
        standing(&mut subscription).await;
        publish(&session, "c", "before").await;
        assert_eq!(event(&mut subscription).await, (Eid(1), Data::text("before")));
        realm.stop().await;
        let receipt = session.publish_queued("c", text("while"), None).await.unwrap();
        realm.restart();
        let eid = receipt.await.unwrap().eid;
        assert_eq!(event(&mut subscription).await, (eid, Data::text("while")), "{transport}");
        session.close().await;
        realm.stop().await;
    }
}
