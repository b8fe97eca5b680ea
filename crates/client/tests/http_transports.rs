//! Sessions over HTTP against a scripted server: what goes over the wire, and what becomes of it when answers are lost.

mod fake;

use fake::http::{HttpServer, Request, Stream, answer};
use fake::{EPOCH, HEARTBEAT_MS, SESSION, event, only, published, subscribed, welcome};
use throughline_client::{Body, Data, Delivery, Eid, From, Session, State, Transport};
use throughline_wire::message::{ClientMessage, ServerMessage};

#[track_caller]
fn event_text(delivery: Delivery) -> String {
    let Delivery::Event(event) = delivery else { panic!("no event: {delivery:?}") };
    event.body.data.as_text().expect("text").to_owned()
}

/// A link that a test serves.
struct Served {
    down: Stream,
    id: String,
    /// What the client sent first.
    messages: Vec<ClientMessage>,
}

/// Takes a stream, welcomes the session and answers the ping that comes beside it.
async fn stream(server: &mut HttpServer) -> Served {
    let request = server.next("stream").await;
    assert_eq!((request.query("as"), request.query("n")), (Some("lines"), Some("1")));
    let id = request.query("link").expect("a link id").to_owned();
    assert!(id.len() == 32 && id.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{id}");
    let messages = request.messages();
    let mut down = request.stream().await;
    let (probe, ping) = piece(server).await;
    assert_eq!((ping.as_slice(), probe.query("n")), (&[ClientMessage::Ping][..], Some("2")));
    assert_eq!(probe.query("link"), Some(&*id));
    probe.taken().await;
    down.send(&[welcome(HEARTBEAT_MS), ServerMessage::Pong]).await;
    Served { down, id, messages }
}

/// The next request of the uplink, whose messages are whole.
async fn piece(server: &mut HttpServer) -> (Request, Vec<ClientMessage>) {
    let request = server.next("uplink").await;
    let messages = request.messages();
    (request, messages)
}

#[tokio::test]
async fn a_stream_carries_down_and_pieces_carry_up() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::HttpStream)).unwrap();
    let mut subscription = session.subscribe("c", From::All).unwrap();
    let Served { mut down, messages, .. } = stream(&mut server).await;
    let [ClientMessage::Connect { session: None, .. }, ClientMessage::Subscribe { id, .. }] = messages.as_slice()
    else {
        panic!("{messages:?}")
    };
    // However the lines are cut.
    let text = fake::http::lines(&[subscribed(*id, 0), event(1, "one"), event(2, "zwölf")]);
    for byte in 0..text.len() {
        if text.is_char_boundary(byte) {
            let end = (byte + 1..=text.len()).find(|end| text.is_char_boundary(*end)).unwrap();
            down.chunk(&text[byte..end]).await;
        }
    }
    assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
    assert_eq!(event_text(subscription.next().await), "one");
    assert_eq!(event_text(subscription.next().await), "zwölf");

    let receipt = session.publish_queued("c", Body::new(Data::bytes(vec![0, 255])), None).await.unwrap();
    let (request, messages) = piece(&mut server).await;
    let [ClientMessage::Publish { id, body, .. }] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!((request.query("n"), body.data.as_bytes().as_ref()), (Some("3"), &[0, 255][..]));
    let number = *id;
    request.taken().await;
    down.send(&[published(number, 3, false)]).await;
    assert_eq!(receipt.await.unwrap().eid, Eid(3));
}

#[tokio::test]
async fn a_piece_without_an_answer_is_sent_again_as_it_was() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::HttpStream)).unwrap();
    let receipt = session.publish_queued("c", Body::new(Data::text("a")), None).await.unwrap();
    let Served { mut down, .. } = stream(&mut server).await;
    let (first, messages) = piece(&mut server).await;
    let [.., ClientMessage::Publish { id, .. }] = messages.as_slice() else { panic!("{messages:?}") };
    let (number, body, unique) = (first.query("n").unwrap().to_owned(), first.body.clone(), first.target.clone());
    drop(first);
    let (second, _) = piece(&mut server).await;
    assert_eq!((second.query("n"), &second.body), (Some(&*number), &body));
    assert_ne!(second.target, unique, "no two requests have one address");
    second.raw("HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n").await;
    let (third, _) = piece(&mut server).await;
    assert_eq!((third.query("n"), &third.body), (Some(&*number), &body));
    third.taken().await;
    down.send(&[published(*id, 1, false)]).await;
    assert_eq!(receipt.await.unwrap().eid, Eid(1));
}

#[tokio::test]
async fn a_piece_that_is_sent_again_holds_nothing_that_came_later() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::HttpStream)).unwrap();
    let first = session.publish_queued("c", Body::new(Data::text("a")), None).await.unwrap();
    let Served { mut down, .. } = stream(&mut server).await;
    let (lost, _) = piece(&mut server).await;
    let (number, body) = (lost.query("n").unwrap().to_owned(), lost.body.clone());
    // Queued while the piece, which the server has taken, waits for its answer.
    let second = session.publish_queued("c", Body::new(Data::text("b")), None).await.unwrap();
    drop(lost);
    let (again, _) = piece(&mut server).await;
    assert_eq!((again.query("n"), &again.body), (Some(&*number), &body));
    again.taken().await;
    let mut texts = vec![body];
    while !texts.concat().contains("\"b\"") {
        let (next, _) = piece(&mut server).await;
        texts.push(next.body.clone());
        next.taken().await;
    }
    let text = texts.concat();
    let numbers =
        text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64());
    for (eid, number) in (1..).zip(numbers) {
        down.send(&[published(number, eid, false)]).await;
    }
    assert_eq!((first.await.unwrap().eid, second.await.unwrap().eid), (Eid(1), Eid(2)));
}

#[tokio::test]
async fn pieces_shrink_when_something_on_the_way_refuses_large_ones() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::HttpStream)).unwrap();
    let text = "€".repeat(3000);
    let receipt = session.publish_queued("c", Body::new(Data::text(&text)), None).await.unwrap();
    let Served { mut down, .. } = stream(&mut server).await;
    let mut up = String::new();
    let mut last = 2;
    while !up.ends_with('\n') {
        let request = server.next("uplink").await;
        if request.body.len() > 2048 {
            request.raw("HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n").await;
            continue;
        }
        assert_eq!(request.query("n").unwrap().parse(), Ok(last + 1));
        last += 1;
        up.push_str(&request.body);
        request.taken().await;
    }
    let line = up.lines().last().unwrap();
    assert!(line.contains(&text), "{line}");
    let message: serde_json::Value = serde_json::from_str(line).unwrap();
    down.send(&[published(message["id"].as_u64().unwrap(), 1, false)]).await;
    receipt.await.unwrap();
}

#[tokio::test]
async fn a_stream_that_ends_is_followed_by_another_link_of_the_same_session() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::HttpStream)).unwrap();
    let mut subscription = session.subscribe("c", From::All).unwrap();
    let Served { mut down, id: first, messages } = stream(&mut server).await;
    let [.., ClientMessage::Subscribe { id, .. }] = messages.as_slice() else { panic!("{messages:?}") };
    down.send(&[subscribed(*id, 0), event(1, "one")]).await;
    // Half a line is no message.
    down.chunk("{\"type\":\"ev").await;
    assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
    assert_eq!(event_text(subscription.next().await), "one");
    down.end().await;

    let Served { mut down, id: second, messages } = stream(&mut server).await;
    assert_ne!(first, second);
    let [ClientMessage::Connect { session, .. }, ClientMessage::Subscribe { id, from, .. }] = messages.as_slice()
    else {
        panic!("{messages:?}")
    };
    assert_eq!(*session, Some(SESSION));
    assert_eq!(*from, From::After { after: Eid(1), epoch: EPOCH });
    down.send(&[subscribed(*id, 1), event(2, "two")]).await;
    assert!(matches!(subscription.next().await, Delivery::Standing { resumed: true, .. }));
    assert_eq!(event_text(subscription.next().await), "two");
}

#[tokio::test]
async fn closing_tells_the_server() {
    for transport in [Transport::HttpStream, Transport::LongPoll] {
        let mut server = HttpServer::start().await;
        let session = Session::start(&server.url(), only(transport)).unwrap();
        let mut states = session.state();
        let held = match transport {
            Transport::LongPoll => {
                let (poll, _) = opened(&mut server).await;
                poll.polled(1, &[welcome(HEARTBEAT_MS), ServerMessage::Pong]).await;
                None
            }
            _ => Some(stream(&mut server).await),
        };
        states.wait_for(|state| *state == State::Open).await.unwrap();
        let closing = tokio::spawn(session.close());
        loop {
            let (request, messages) = piece(&mut server).await;
            request.taken().await;
            if matches!(messages.last(), Some(ClientMessage::Close { .. })) {
                break;
            }
        }
        closing.await.unwrap();
        drop(held);
    }
}

/// What something that is no realm answers, and what a person then reads.
#[tokio::test]
async fn foreign_answers_are_told_from_the_realms_own() {
    for (transport, resource) in [(Transport::HttpStream, "stream"), (Transport::LongPoll, "poll")] {
        let table = [
            (
                "HTTP/1.1 200 OK\r\nServer: portal\r\nContent-Length: 5\r\n\r\nlogin",
                "not a Throughline realm (status 200, Server: portal",
            ),
            ("HTTP/1.1 407 Proxy\r\nVia: 1.1 cache\r\nContent-Length: 0\r\n\r\n", "status 407, Via: 1.1 cache"),
            (
                "HTTP/1.1 403 Forbidden\r\nThroughline: 1\r\nContent-Length: 52\r\n\r\n{\"error\":{\"code\":\"bad_origin\",\"message\":\"not here\"}}",
                "the realm refused: not here (bad_origin, status 403)",
            ),
        ];
        for (response, words) in table {
            let mut server = HttpServer::start().await;
            let url = server.url();
            let connecting = tokio::spawn(async move { Session::connect(&url, only(transport)).await.map(drop) });
            server.next(resource).await.raw(response).await;
            let text = connecting.await.unwrap().unwrap_err().to_string();
            assert!(text.contains(words), "{transport}: {text}");
        }
    }
}

/// The poll that opens a link, and what it brought.
async fn opened(server: &mut HttpServer) -> (Request, Vec<ClientMessage>) {
    let poll = server.next("poll").await;
    assert_eq!((poll.query("ack"), poll.query("n"), poll.query("hold")), (Some("0"), Some("1"), Some("12000")));
    let messages = poll.messages();
    assert!(matches!(messages.first(), Some(ClientMessage::Connect { .. })), "{messages:?}");
    (poll, messages)
}

#[tokio::test]
async fn answers_of_polls_are_acknowledged_and_taken_once() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::LongPoll)).unwrap();
    let mut subscription = session.subscribe("c", From::All).unwrap();
    let (poll, messages) = opened(&mut server).await;
    let [_, ClientMessage::Subscribe { id, .. }, ClientMessage::Ping] = messages.as_slice() else {
        panic!("{messages:?}")
    };
    poll.polled(1, &[welcome(HEARTBEAT_MS), subscribed(*id, 0), event(1, "one"), ServerMessage::Pong]).await;
    let poll = server.next("poll").await;
    assert_eq!((poll.query("ack"), poll.query("n")), (Some("1"), None));
    // The answer is lost on its way: the same is asked for once more, and held for a shorter time.
    drop(poll);
    let poll = server.next("poll").await;
    assert_eq!((poll.query("ack"), poll.query("hold")), (Some("1"), Some("6000")));
    poll.polled(2, &[event(2, "two")]).await;
    let poll = server.next("poll").await;
    assert_eq!(poll.query("ack"), Some("2"));
    poll.polled(2, &[event(2, "two")]).await;
    let poll = server.next("poll").await;
    assert_eq!(poll.query("ack"), Some("2"));
    // A proxy's answer on an open link is no reason to give up.
    poll.raw("HTTP/1.1 504 Gateway Timeout\r\nContent-Length: 0\r\n\r\n").await;
    let poll = server.next("poll").await;
    assert_eq!((poll.query("ack"), poll.query("hold")), (Some("2"), Some("3000")));
    poll.polled(2, &[]).await;
    let poll = server.next("poll").await;
    // An answer of which whole lines are missing is asked for again.
    let text = answer(3, &[event(3, "three"), ServerMessage::Ping]);
    let end = text.trim_end().rfind('\n').unwrap();
    poll.raw(&format!("HTTP/1.1 200 OK\r\nThroughline: 1\r\nConnection: close\r\n\r\n{}\n", &text[..end])).await;
    let poll = server.next("poll").await;
    assert_eq!(poll.query("ack"), Some("2"));
    poll.polled(3, &[event(3, "three")]).await;
    assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
    for word in ["one", "two", "three"] {
        assert_eq!(event_text(subscription.next().await), word);
    }

    let receipt = session.publish_queued("c", Body::new(Data::text("up")), None).await.unwrap();
    let (request, messages) = piece(&mut server).await;
    let [ClientMessage::Publish { id, .. }] = messages.as_slice() else { panic!("{messages:?}") };
    assert_eq!(request.query("n"), Some("2"));
    request.taken().await;
    server.next("poll").await.polled(4, &[published(*id, 4, false)]).await;
    assert_eq!(receipt.await.unwrap().eid, Eid(4));
}

#[tokio::test]
async fn a_link_that_the_realm_has_forgotten_is_followed_by_another() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::LongPoll)).unwrap();
    let (poll, _) = opened(&mut server).await;
    let link = poll.query("link").unwrap().to_owned();
    poll.polled(1, &[welcome(HEARTBEAT_MS), ServerMessage::Pong]).await;
    let body = "{\"error\":{\"code\":\"unknown_link\",\"message\":\"no such link\"}}";
    let refusal = format!("HTTP/1.1 404 Not Found\r\nThroughline: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    server.next("poll").await.raw(&refusal).await;
    // What is seen of the state may leave out a pause that the jitter made short; what failed stays.
    let path = session.path_changes().wait_for(|path| !path.failures.is_empty()).await.unwrap().clone();
    let detail = path.failures[0].detail.as_deref().unwrap_or_default();
    assert!(detail.contains("unknown_link"), "{path:?}");
    let (poll, messages) = opened(&mut server).await;
    assert_ne!(poll.query("link"), Some(&*link));
    assert!(matches!(messages.first(), Some(ClientMessage::Connect { session: Some(SESSION), .. })), "{messages:?}");
}

#[tokio::test]
async fn the_servers_close_ends_the_link_with_its_code() {
    let mut server = HttpServer::start().await;
    let session = Session::start(&server.url(), only(Transport::HttpStream)).unwrap();
    let Served { mut down, .. } = stream(&mut server).await;
    down.send(&[ServerMessage::Close { code: 4200, reason: "no such thing".into() }]).await;
    let state = session.state().wait_for(|state| matches!(state, State::Closed { .. })).await.unwrap().clone();
    assert!(matches!(state, State::Closed { code: 4200, .. }), "{state:?}");
}
