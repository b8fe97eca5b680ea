//! Many clients behind a proxy share one connection of HTTP/2: what one of them does not take is no concern of the others.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use h2::client::{self, SendRequest};
use h2::ext::Protocol;
use h2::{Reason, RecvStream};
use hyper::{Method, Request, Response, StatusCode};
use throughline_server::Realm;
use throughline_server::config::Config;
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

/// Most streams of a connection.
const STREAMS: usize = 16;
/// Bytes that each stream may be sent ahead of what is read.
const STREAM_WINDOW: u32 = 65_535;
/// The same of a connection, beyond what all streams of a test take.
const WINDOW: u32 = 1 << 24;

fn realm(data: &Path, settings: &str) -> Realm {
    let toml = format!("listen = \"127.0.0.1:0\"\ndata = {data:?}\nshards = 1\n{settings}");
    Realm::start(Config::load(Some(("test.toml", &toml)), &[]).unwrap()).unwrap()
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

struct Proxy {
    connection: SendRequest<Bytes>,
    links: u128,
}

impl Proxy {
    async fn connect(realm: &Realm) -> Proxy {
        Proxy::connect_with(realm, STREAM_WINDOW).await
    }

    async fn connect_with(realm: &Realm, stream_window: u32) -> Proxy {
        let socket = TcpStream::connect(realm.address()).await.unwrap();
        let mut builder = client::Builder::new();
        builder.initial_window_size(stream_window).initial_connection_window_size(WINDOW);
        let (connection, driver) = builder.handshake(socket).await.unwrap();
        tokio::spawn(driver);
        Proxy { connection, links: 0 }
    }

    async fn ask(
        &mut self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> Result<Response<RecvStream>, h2::Error> {
        let uri = format!("http://localhost/throughline/v1/{path}");
        let request = Request::builder().method(method).uri(uri).body(()).unwrap();
        self.connection = self.connection.clone().ready().await?;
        let (answer, mut stream) = self.connection.send_request(request, false)?;
        stream.send_data(body.into(), true)?;
        answer.await
    }

    async fn publish(&mut self, channel: &str, data: &str) {
        let answer = self.ask(Method::POST, &format!("channels/{channel}/events"), data.to_owned()).await.unwrap();
        assert_eq!(answer.status(), StatusCode::CREATED);
    }

    /// Opens a WebSocket, which is over with its answer.
    async fn websocket(&mut self) -> Result<Response<RecvStream>, h2::Error> {
        let request = Request::builder()
            .method(Method::CONNECT)
            .uri("http://localhost/throughline/v1/websocket")
            .header("sec-websocket-version", "13")
            .extension(Protocol::from_static("websocket"))
            .body(())
            .unwrap();
        self.connection = self.connection.clone().ready().await?;
        self.connection.send_request(request, false)?.0.await
    }

    /// Opens a link that subscribes to a channel.
    async fn link(&mut self, channel: &str) -> Result<Response<RecvStream>, h2::Error> {
        self.links += 1;
        let path = format!("stream?link={:032x}&as=lines&n=1", self.links);
        let first = format!(
            "{{\"type\":\"connect\",\"versions\":[1]}}\n\
             {{\"type\":\"subscribe\",\"id\":1,\"channel\":\"{channel}\",\"from\":\"new\"}}\n"
        );
        self.ask(Method::POST, &path, first).await
    }
}

/// Reads on until a text has come.
async fn until(stream: &mut RecvStream, text: &str) {
    let mut got = String::new();
    while !got.contains(text) {
        let Some(data) = stream.data().await else { panic!("{text} did not come: {got}") };
        let data = data.unwrap();
        stream.flow_control().release_capacity(data.len()).unwrap();
        got.push_str(&String::from_utf8_lossy(&data));
    }
}

/// Takes what comes without opening the window, until the stream is over; how many bytes came, and why it is over.
async fn stall(stream: &mut RecvStream) -> (usize, Option<Reason>) {
    let mut came = 0;
    loop {
        match stream.data().await {
            Some(Ok(data)) => came += data.len(),
            Some(Err(e)) => return (came, e.reason()),
            None => return (came, None),
        }
    }
}

#[test]
fn streams_whose_clients_take_nothing_are_reset_and_the_others_live_on() {
    let folder = tempfile::tempdir().unwrap();
    let realm = realm(folder.path(), &format!("timeouts.body_ms = 100\nhttp2.streams_max = {STREAMS}\n"));
    runtime().block_on(async {
        let mut proxy = Proxy::connect(&realm).await;
        let mut link = proxy.link("news").await.unwrap().into_body();
        until(&mut link, "\"reply\"").await;
        proxy.publish("big", &"x".repeat(500_000)).await;
        let mut stalled = Vec::new();
        for _ in 2..STREAMS {
            let answer = proxy.ask(Method::GET, "channels/big/events?from=all", "").await.unwrap();
            stalled.push(answer.into_body());
        }
        for (round, stream) in stalled.iter_mut().enumerate() {
            assert_eq!(stall(stream).await, (STREAM_WINDOW as usize, Some(Reason::CANCEL)));
            proxy.publish("news", &format!("event {round}.")).await;
            until(&mut link, &format!("event {round}.")).await;
        }
        // Each would keep its place, if anything of it were held.
        let mut others = Vec::new();
        for _ in 1..STREAMS {
            others.push(proxy.link("news").await.unwrap().into_body());
        }
        for other in &mut others {
            until(other, "\"reply\"").await;
        }
    });
    realm.stop();
}

#[test]
fn a_stream_whose_client_takes_a_few_bytes_at_a_time_is_reset() {
    let folder = tempfile::tempdir().unwrap();
    let realm = realm(folder.path(), "timeouts.body_ms = 100\n");
    let reason = runtime().block_on(async {
        let mut proxy = Proxy::connect_with(&realm, 16).await;
        proxy.publish("big", &"x".repeat(100_000)).await;
        let answer = proxy.ask(Method::GET, "channels/big/events?from=all", "").await.unwrap();
        let mut stream = answer.into_body();
        // Some bytes well within each time in which it may take none.
        let mut pace = tokio::time::interval(Duration::from_millis(10));
        loop {
            pace.tick().await;
            match stream.data().await {
                Some(Ok(data)) => stream.flow_control().release_capacity(data.len()).unwrap(),
                Some(Err(e)) => return e.reason(),
                None => return None,
            }
        }
    });
    assert_eq!(reason, Some(Reason::CANCEL));
    realm.stop();
}

#[test]
fn links_within_a_connection_count_as_connections() {
    let folder = tempfile::tempdir().unwrap();
    let realm = realm(folder.path(), "limits.connections_max = 4\n");
    runtime().block_on(async {
        let mut proxy = Proxy::connect(&realm).await;
        let mut links = Vec::new();
        for _ in 0..3 {
            links.push(proxy.link("news").await.unwrap().into_body());
        }
        for mut refused in [proxy.link("news").await.unwrap(), proxy.websocket().await.unwrap()] {
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
            until(refused.body_mut(), "\"overloaded\"").await;
        }
        proxy.publish("news", "through").await;
        for link in &mut links {
            until(link, "through").await;
        }
        links.clear();
        while proxy.websocket().await.unwrap().status() != StatusCode::OK {}
    });
    realm.stop();
}
