//! A realm in this process, and something between it and its clients that breaks what a test tells it to.
#![allow(dead_code, reason = "each test program uses its part")]
#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tempfile::TempDir;
use throughline_client::http::Realm as HttpSide;
use throughline_client::{ChannelSpec, ChannelType, Options, Session, Transport};
use throughline_server::Realm as Server;
use throughline_server::config::Config;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// A realm with a data directory that vanishes.
pub(crate) struct Realm {
    folder: TempDir,
    server: Option<Server>,
    address: SocketAddr,
}

impl Realm {
    pub(crate) fn start() -> Realm {
        let folder = TempDir::new().unwrap();
        let server = serve(&folder, "127.0.0.1:0");
        let address = server.address();
        Realm { folder, server: Some(server), address }
    }

    /// Stops the server.
    pub(crate) async fn stop(&mut self) {
        let server = self.server.take();
        tokio::task::spawn_blocking(move || drop(server)).await.unwrap();
    }

    /// Starts it again where it was.
    pub(crate) fn restart(&mut self) {
        self.server = Some(serve(&self.folder, &self.address.to_string()));
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn secure_url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The file with the certificate that it made itself.
    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("data/self-signed.pem")
    }

    pub(crate) fn http(&self) -> HttpSide {
        HttpSide::new(self.url().parse().unwrap())
    }

    pub(crate) async fn create(&self, channel: &str, kind: ChannelType, capacity: Option<u64>) {
        let spec = ChannelSpec { kind, capacity, bytes: None, ttl: None };
        self.http().create_channel(channel, &spec).await.unwrap();
    }

    /// What Prometheus would read.
    pub(crate) async fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    /// A session that may use this transport only.
    pub(crate) async fn session(&self, transport: Transport) -> Session {
        Session::connect(&self.url(), only(transport)).await.unwrap()
    }
}

fn serve(folder: &TempDir, listen: &str) -> Server {
    let data = folder.path().join("data");
    let overrides =
        [("listen", listen), ("data", data.to_str().unwrap()), ("shards", "2"), ("tls.self_signed", "true")];
    Server::start(Config::load(None, &overrides).unwrap()).unwrap()
}

pub(crate) fn only(transport: Transport) -> Options {
    let mut options = Options::default();
    options.transports = vec![transport];
    options
}

/// What something on the way does to connections that are made from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rule {
    Pass,
    /// Handshakes of WebSocket are answered 403.
    NoWebSocket,
    /// Handshakes of WebSocket are not answered.
    NoAnswer,
    /// They lose their upgrade, which the realm then says.
    Stripped,
    /// They pass, and no frame after them.
    NoFrames,
    /// They are answered 403, and streams are kept back until they end, which they do not.
    Buffered,
}

/// Relays connections to a realm.
pub(crate) struct Middlebox {
    url: String,
    state: Arc<State>,
    acceptor: JoinHandle<()>,
}

struct State {
    target: SocketAddr,
    rule: Mutex<Rule>,
    /// On connections to this resource the next bytes from the server are lost, and the connection with them.
    lose: Mutex<Option<&'static str>>,
    cuts: watch::Sender<u64>,
    connections: AtomicUsize,
}

impl Drop for Middlebox {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

impl Middlebox {
    pub(crate) async fn before(realm: &Realm) -> Middlebox {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State {
            target: realm.address,
            rule: Mutex::new(Rule::Pass),
            lose: Mutex::new(None),
            cuts: watch::Sender::new(0),
            connections: AtomicUsize::new(0),
        });
        let shared = Arc::clone(&state);
        let acceptor = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                shared.connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(relay(client, Arc::clone(&shared)));
            }
        });
        Middlebox { url, state, acceptor }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many were made.
    pub(crate) fn connections(&self) -> usize {
        self.state.connections.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, rule: Rule) {
        *self.state.rule.lock().unwrap() = rule;
    }

    /// Loses what the server says next on a connection to `resource`, and cuts it.
    pub(crate) fn lose(&self, resource: &'static str) {
        *self.state.lose.lock().unwrap() = Some(resource);
    }

    /// True once that has happened.
    pub(crate) fn has_lost(&self) -> bool {
        self.state.lose.lock().unwrap().is_none()
    }

    /// Cuts all connections.
    pub(crate) fn cut(&self) {
        self.state.cuts.send_modify(|cuts| *cuts += 1);
    }
}

/// What comes up to the end of a head, with what came behind it; `None` when the connection ends before.
pub(crate) async fn read_head(stream: &mut TcpStream) -> std::io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|window| window == b"\r\n\r\n") {
        if stream.read_buf(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(head))
}

async fn relay(mut client: TcpStream, state: Arc<State>) {
    let mut cuts = state.cuts.subscribe();
    let Ok(Some(mut head)) = read_head(&mut client).await else { return };
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let rule = *state.rule.lock().unwrap();
    let websocket = text.contains("upgrade: websocket");
    if rule == Rule::NoAnswer && websocket {
        // Until the client gives up.
        let _ = client.read(&mut [0]).await;
        return;
    }
    if matches!(rule, Rule::NoWebSocket | Rule::Buffered) && websocket {
        let refusal = b"HTTP/1.1 403 Forbidden\r\nServer: middlebox\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        // The client may be gone; so below.
        let _ = client.write_all(refusal).await;
        return;
    }
    if rule == Rule::Stripped && websocket {
        let at = text.find("upgrade: websocket").unwrap();
        head.drain(at..at + "upgrade: websocket\r\n".len());
    }
    let path = text.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut held = rule == Rule::Buffered && path.contains("/stream?");
    let Ok(mut server) = TcpStream::connect(state.target).await else { return };
    if server.write_all(&head).await.is_err() {
        return;
    }
    let (mut up, mut down) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let passed = tokio::select! {
            _ = cuts.changed() => return,
            read = client.read(&mut up) => match read {
                Ok(n) if n > 0 => server.write_all(&up[..n]).await,
                _ => return,
            },
            read = server.read(&mut down) => match read {
                Ok(n) if n > 0 && state.loses(&path) => return,
                Ok(n) if n > 0 && held => Ok(()),
                Ok(n) if n > 0 => {
                    // The head of the answer, and nothing after it: the realm speaks only when it is spoken to.
                    held = rule == Rule::NoFrames && websocket;
                    client.write_all(&down[..n]).await
                }
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

impl State {
    fn loses(&self, path: &str) -> bool {
        let mut lose = self.lose.lock().unwrap();
        lose.take_if(|resource| path.contains(*resource)).is_some()
    }
}
