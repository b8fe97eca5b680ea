//! The way through a network that lets less and less through, and back.

mod real;

use std::time::Duration;

use real::{Middlebox, Realm, Rule};
use throughline_client::session::describe_loss;
use throughline_client::{
    Body, ChannelType, Data, Delivery, Eid, Failure, From, Options, Session, State, Subscription, Transport,
};

async fn expect(subscription: &mut Subscription, eid: u64) {
    loop {
        match subscription.next().await {
            Delivery::Event(event) => return assert_eq!(event.eid, Eid(eid)),
            Delivery::Standing { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Lets this much time pass at once, so that what waits for it is due.
async fn skip(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

#[tokio::test]
async fn down_the_ladder_and_up_again() {
    let mut realm = Realm::start();
    realm.create("c", ChannelType::Reliable, None).await;
    let middlebox = Middlebox::before(&realm).await;
    middlebox.set(Rule::NoWebSocket);
    let session = Session::connect(middlebox.url(), Options::default()).await.unwrap();
    let mut path = session.path_changes();
    let now = path.wait_for(|path| path.transport == Some(Transport::HttpStream)).await.unwrap().clone();
    assert!(
        now.failures.iter().any(|f| f.transport == Transport::WebSocket && f.failure == Failure::Refused),
        "{:?}",
        now.failures
    );
    let mut subscription = session.subscribe("c", From::All).unwrap();
    let body = || Body::new(Data::text("x"));
    session.publish("c", body(), None).await.unwrap();
    expect(&mut subscription, 1).await;

    // The realm is told, some time after.
    while !realm.metrics().await.contains("{transport=\"websocket\",failure=\"refused\"}") {}

    middlebox.set(Rule::Buffered);
    middlebox.cut();
    path.wait_for(|path| path.transport == Some(Transport::LongPoll)).await.unwrap();
    session.publish("c", body(), None).await.unwrap();
    expect(&mut subscription, 2).await;

    middlebox.set(Rule::Pass);
    skip(40).await;
    path.wait_for(|path| path.transport == Some(Transport::WebSocket)).await.unwrap();
    session.publish("c", body(), None).await.unwrap();
    expect(&mut subscription, 3).await;
    session.close().await;
    realm.stop().await;
}

#[tokio::test]
async fn a_stripped_upgrade_ends_no_session_that_was_there() {
    let mut realm = Realm::start();
    realm.create("c", ChannelType::Reliable, None).await;
    let middlebox = Middlebox::before(&realm).await;
    let mut options = Options::default();
    options.transports = vec![Transport::WebSocket];
    let session = Session::connect(middlebox.url(), options).await.unwrap();
    let mut subscription = session.subscribe("c", From::All).unwrap();
    middlebox.set(Rule::Stripped);
    middlebox.cut();
    let mut states = session.state();
    let stripped = |state: &State| match state {
        State::Waiting { cause: Some(loss) } => describe_loss(loss).contains("upgrade_required"),
        State::Closed { reason, .. } => panic!("{reason}"),
        _ => false,
    };
    states.wait_for(stripped).await.unwrap();
    middlebox.set(Rule::Pass);
    skip(40).await;
    session.publish("c", Body::new(Data::text("x")), None).await.unwrap();
    expect(&mut subscription, 1).await;
    session.close().await;
    realm.stop().await;
}

#[tokio::test]
async fn silence_is_told_from_frames_that_are_swallowed() {
    for (rule, failure) in [(Rule::NoAnswer, Failure::Silent), (Rule::NoFrames, Failure::Swallowed)] {
        let mut realm = Realm::start();
        realm.create("c", ChannelType::Reliable, None).await;
        let middlebox = Middlebox::before(&realm).await;
        middlebox.set(rule);
        let session = Session::connect(middlebox.url(), Options::default()).await.unwrap();
        assert_ne!(session.path().transport, Some(Transport::WebSocket));
        let mut path = session.path_changes();
        // WebSocket goes on trying beside it for as long as it may.
        skip(10).await;
        let told = path.wait_for(|path| !path.failures.is_empty()).await.unwrap().clone();
        assert_eq!((told.failures[0].transport, told.failures[0].failure), (Transport::WebSocket, failure));
        session.publish("c", Body::new(Data::text("x")), None).await.unwrap();
        session.close().await;
        realm.stop().await;
    }
}

#[tokio::test]
async fn a_healthy_path_makes_one_connection() {
    // While a blocking task runs, time that is paused stands still: no machine is too slow for this.
    tokio::time::pause();
    let (thaw, thawed) = std::sync::mpsc::channel::<()>();
    let frozen = tokio::task::spawn_blocking(move || thawed.recv());
    let mut realm = Realm::start();
    let middlebox = Middlebox::before(&realm).await;
    let session = Session::connect(middlebox.url(), Options::default()).await.unwrap();
    session.publish("c", Body::new(Data::text("x")), None).await.unwrap();
    let path = session.path();
    assert_eq!((path.transport, path.failures.len()), (Some(Transport::WebSocket), 0));
    assert!(path.rtt.is_some() && path.network.is_some(), "{path:?}");
    assert_eq!(middlebox.connections(), 1);
    session.close().await;
    realm.stop().await;
    drop(thaw);
    frozen.await.unwrap().unwrap_err();
}
