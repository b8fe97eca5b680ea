//! The HTTP side: what is asked, and how answers are read.

mod fake;

use fake::Server;
use throughline_client::http::{ChannelSpec, ChannelType, HttpError};
use throughline_client::{Body, Data, Eid, GapReason, PublishNumber, Realm};
use throughline_wire::event::SessionId;

fn response(status: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nThroughline: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Makes a call on a realm below the prefix `/p` that gives this answer; gives the request too.
async fn call<T>(status: &str, body: &str, call: impl AsyncFnOnce(Realm) -> T) -> (String, T) {
    let server = Server::start().await;
    let realm = Realm::new(format!("{}/p", server.url()).parse().expect("a good address"));
    let response = response(status, body);
    tokio::join!(server.answer(&response), call(realm))
}

#[tokio::test]
async fn channels_are_read() {
    let body = r#"{"channels":[{"name":"a/b","type":"mixed","capacity":5,"bytes":null,"ttl":null,"epoch":"00000000000000ff","first":"1","last":"3","events":3}]}"#;
    let (request, channels) = call("200 OK", body, async |realm| realm.channels().await).await;
    assert!(request.starts_with("GET /p/throughline/v1/channels?limit=1000 HTTP/1.1\r\n"), "{request}");
    let channels = channels.unwrap();
    assert_eq!(channels.len(), 1);
    let channel = &channels[0];
    assert_eq!((channel.name.as_str(), channel.kind, channel.capacity), ("a/b", ChannelType::Mixed, Some(5)));
    assert_eq!((channel.first, channel.last, channel.events), (Eid(1), Eid(3), 3));
}

fn page_of_channels(name: &str, next: &str) -> String {
    let channel = format!(
        r#"{{"name":"{name}","type":"reliable","capacity":5,"bytes":null,"ttl":null,"epoch":"00000000000000ff","first":"1","last":"3","events":3}}"#
    );
    response("200 OK", &format!(r#"{{"channels":[{channel}]{next}}}"#))
}

#[tokio::test]
async fn channels_come_page_by_page() {
    let server = Server::start().await;
    let realm = Realm::new(server.url().parse().unwrap());
    let pages = [page_of_channels("a/b", r#","next":"a/b","more":true"#), page_of_channels("c", "")];
    let answers = async { [server.answer(&pages[0]).await, server.answer(&pages[1]).await] };
    let (requests, channels) = tokio::join!(answers, realm.channels());
    assert!(
        requests[1].starts_with("GET /throughline/v1/channels?after=a%2Fb&limit=1000 HTTP/1.1\r\n"),
        "{requests:?}"
    );
    assert_eq!(channels.unwrap().iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["a/b", "c"]);
    // A server that gives the same page for ever is not asked for ever.
    let page = page_of_channels("a", r#","next":"a","more":true"#);
    let answers = async { [server.answer(&page).await, server.answer(&page).await] };
    let (_, channels) = tokio::join!(answers, realm.channels());
    assert!(matches!(channels, Err(HttpError::Answer(_))), "{channels:?}");
}

#[tokio::test]
async fn channels_are_created_and_deleted() {
    let spec = ChannelSpec { kind: ChannelType::Persistent, capacity: Some(9), bytes: None, ttl: None };
    let (request, new) = call("201 Created", "{}", async |realm| realm.create_channel("a/b:c", &spec).await).await;
    assert!(request.starts_with("PUT /p/throughline/v1/channels/a/b:c HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(r#"{"type":"persistent","capacity":9}"#), "{request}");
    assert!(new.unwrap());
    let (_, new) = call("200 OK", "{}", async |realm| realm.create_channel("c", &spec).await).await;
    assert!(!new.unwrap());
    let (request, deleted) = call("204 No Content", "", async |realm| realm.delete_channel("c").await).await;
    assert!(request.starts_with("DELETE /p/throughline/v1/channels/c HTTP/1.1\r\n"), "{request}");
    deleted.unwrap();
}

#[tokio::test]
async fn an_event_is_published() {
    let body = Body { tag: Some("ä&b".into()), ttl: Some(5), ..Body::new(Data::text("hello")) };
    let number = Some(PublishNumber { session: SessionId(255), id: 4 });
    let answer = r#"{"channel":"c","eid":"42","duplicate":true}"#;
    let (request, published) =
        call("200 OK", answer, async |realm| realm.publish("c", &body, true, number).await).await;
    let published = published.unwrap();
    assert_eq!((published.eid, published.duplicate), (Eid(42), true));
    let target = "POST /p/throughline/v1/channels/c/events?tag=%C3%A4%26b&ttl=5&persistent=true HTTP/1.1\r\n";
    assert!(request.starts_with(target), "{request}");
    for part in
        ["throughline-session: 000000000000000000000000000000ff", "throughline-id: 4", "text/plain", "\r\n\r\nhello"]
    {
        assert!(request.contains(part), "{part}: {request}");
    }
    let bytes = Body::new(Data::bytes(vec![1, 2]));
    let (request, _) =
        call("201 Created", r#"{"eid":"1"}"#, async |realm| realm.publish("c", &bytes, false, None).await).await;
    assert!(request.contains("application/octet-stream"), "{request}");
}

#[tokio::test]
async fn kept_events_are_paged_through() {
    let answer = r#"{"channel":"c","epoch":"0000000000000001","events":[{"eid":"7","time":5,"tag":"t","base64":"AP8="}],"next":"8","more":true,"gap":{"from":"1","to":"6","reason":"capacity"}}"#;
    let (request, page) = call("200 OK", answer, async |realm| realm.replay("c", Some(Eid(1)), 10).await).await;
    assert!(request.starts_with("GET /p/throughline/v1/channels/c/events?from=1&limit=10 HTTP/1.1\r\n"), "{request}");
    let page = page.unwrap();
    assert_eq!((page.next, page.more, page.events.len()), (Eid(8), true, 1));
    assert_eq!(page.events[0].body.data, Data::bytes(vec![0, 255]));
    let gap = page.gap.unwrap();
    assert_eq!((gap.from, gap.to, gap.reason), (Eid(1), Eid(6), GapReason::Capacity));
}

#[tokio::test]
async fn errors_are_the_realm_s_own_or_name_who_answered() {
    let answer = r#"{"error":{"code":"unknown_channel","message":"no channel \"c\"; create it"}}"#;
    let (_, error) = call("404 Not Found", answer, async |realm| realm.channel("c").await).await;
    let error = error.unwrap_err();
    assert!(
        matches!(&error, HttpError::Refused { status: 404, error } if error.code == "unknown_channel"),
        "{error:?}"
    );
    assert!(error.to_string().contains("create it"), "{error}");

    let (_, error) = call("200 OK", "no json", async |realm| realm.channel("c").await).await;
    assert!(matches!(error, Err(HttpError::Answer(_))), "{error:?}");

    let server = Server::start().await;
    let realm = Realm::new(server.url().parse().unwrap());
    let foreign = "HTTP/1.1 200 OK\r\nServer: other\r\nContent-Length: 2\r\n\r\nhi";
    let (_, error) = tokio::join!(server.answer(foreign), realm.channels());
    let text = error.unwrap_err().to_string();
    assert!(text.contains("not a Throughline realm") && text.contains("other"), "{text}");

    let error = realm.channel("a//b").await.unwrap_err();
    assert!(matches!(error, HttpError::Request(_)), "{error:?}");
}
