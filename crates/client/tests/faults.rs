//! What a person reads when something is wrong: one line that names who answered and the way out.

mod fake;

use fake::{HEARTBEAT_MS, Server, only};
use throughline_client::{Session, State, Transport};

/// The error of connecting to a server that gives this answer.
async fn refused(response: &str) -> String {
    let server = Server::start().await;
    let url = server.url();
    let (_, session) = tokio::join!(server.answer(response), Session::connect(&url, only(Transport::WebSocket)));
    let text = session.expect_err("no realm").to_string();
    assert!(!text.contains('\n'), "{text}");
    text
}

#[track_caller]
fn has(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
}

#[tokio::test]
async fn something_else_answers() {
    let page =
        "HTTP/1.1 404 Not Found\r\nServer: nginx\r\nVia: 1.1 cache\r\nContent-Length: 20\r\n\r\n<h1>Not\nFound</h1>..";
    has(&refused(page).await, &["not a Throughline realm", "404", "nginx", "1.1 cache", "Not Found", "prefix"]);
    has(&refused("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await, &["not a Throughline realm", "200"]);
    has(&refused("SSH-2.0-OpenSSH_9.2\r\n").await, &["not a Throughline realm", "SSH-2.0"]);
    has(&refused("").await, &["closed without an answer"]);
}

#[tokio::test]
async fn the_realm_refuses_in_its_own_words() {
    let body = r#"{"error":{"code":"bad_origin","message":"this origin may not"}}"#;
    let forbidden = format!("HTTP/1.1 403 Forbidden\r\nThroughline: 1\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    has(&refused(&forbidden).await, &["the realm refused", "this origin may not", "bad_origin", "403"]);
}

#[tokio::test]
async fn a_refusal_for_now_is_tried_again() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    server.answer("HTTP/1.1 502 Bad Gateway\r\nServer: proxy\r\nContent-Length: 0\r\n\r\n").await;
    let _peer = server.welcome(HEARTBEAT_MS).await;
    session.state().wait_for(|state| *state == State::Open).await.unwrap();
}

#[tokio::test]
async fn what_stands_in_for_a_realm_that_was_there_is_waited_out() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    drop(server.welcome(HEARTBEAT_MS).await);
    server.answer("HTTP/1.1 404 Not Found\r\nServer: proxy\r\nContent-Length: 0\r\n\r\n").await;
    let _peer = server.welcome(HEARTBEAT_MS).await;
    session.state().wait_for(|state| *state == State::Open).await.unwrap();
}

#[tokio::test]
async fn a_refusal_for_good_is_not() {
    let server = Server::start().await;
    let session = Session::start(&server.url(), only(Transport::WebSocket)).unwrap();
    server.answer("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n").await;
    let state = session.state().wait_for(|state| matches!(state, State::Closed { .. })).await.unwrap().clone();
    let State::Closed { reason, .. } = state else { panic!("{state:?}") };
    has(&reason, &["not a Throughline realm"]);
}

#[tokio::test]
async fn nothing_listens() {
    let url = {
        // Its port is free again afterwards.
        let server = Server::start().await;
        server.url()
    };
    let text = Session::connect(&url, only(Transport::WebSocket)).await.unwrap_err().to_string();
    has(&text, &["nothing listens on 127.0.0.1:", "throughline serve"]);
}

#[tokio::test]
async fn what_speaks_no_tls_is_told_apart() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let answer = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await.unwrap();
        std::future::pending::<()>().await;
    });
    let url = format!("https://{address}");
    let text = Session::connect(&url, only(Transport::WebSocket)).await.unwrap_err().to_string();
    has(&text, &["no TLS with 127.0.0.1:", "does not speak TLS", "http://"]);
}
