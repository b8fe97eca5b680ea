//! Challenges of proxies (407) that are none, cannot be answered, or never end: each ends the attempt with a reason, and credentials
//! are shown to nobody but the proxy.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod real;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use real::{only, read_head};
use throughline_client::{Options, ProxyChoice, Route, Session, State, TRANSPORTS, Transport};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Answers every request, on every connection, with the same bytes, and keeps the heads that it was sent.
struct Peer {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Peer {
    async fn start(answer: impl Into<String>, endless: &'static str) -> Peer {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&heads), answer.into());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, answer) = (Arc::clone(&log), answer.clone());
                tokio::spawn(async move {
                    while let Ok(Some(bytes)) = read_head(&mut stream).await {
                        log.lock().unwrap().push(String::from_utf8_lossy(&bytes).to_lowercase());
                        let mut sent = stream.write_all(answer.as_bytes()).await;
                        while sent.is_ok() && !endless.is_empty() {
                            sent = stream.write_all(endless.as_bytes()).await;
                        }
                    }
                });
            }
        });
        Peer { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }

    /// What an attempt through this proxy comes to.
    async fn refusal(&self, transport: Transport, user: &str) -> String {
        let route = Route::new(ProxyChoice::Url(format!("http://{user}{}", self.address)), Vec::new()).unwrap();
        attempt("http://realm.invalid:9000", transport, route).await
    }
}

/// What is said of an attempt that cannot succeed.
async fn attempt(url: &str, transport: Transport, route: Route) -> String {
    let mut options: Options = only(transport);
    options.route = route;
    options.open_timeout_ms = 2_000;
    Session::connect(url, options).await.unwrap_err().to_string()
}

const CREDENTIALS: &str = "user:secret@";

fn challenge(lines: &str) -> String {
    format!("HTTP/1.1 407 Proxy Authentication Required\r\n{lines}Content-Length: 0\r\n\r\n")
}

#[tokio::test]
async fn a_realm_that_asks_for_a_proxys_credentials_gets_none() {
    let realm = Peer::start(challenge("Proxy-Authenticate: Basic realm=\"x\"\r\n"), "").await;
    for transport in TRANSPORTS {
        let route = Route::new(ProxyChoice::None, Vec::new()).unwrap();
        let said = attempt(&format!("http://{}", realm.address), transport, route).await;
        assert!(said.contains("407"), "{transport:?}: {said}");
    }
    assert!(realm.heads().iter().all(|head| !head.contains("authorization")));
}

#[tokio::test]
async fn a_realm_behind_a_tunnel_gets_no_credentials_either() {
    // The tunnel opens, and what is behind it challenges as a proxy would.
    let opened = "HTTP/1.1 200 Go on\r\n\r\n";
    let behind = challenge("Proxy-Authenticate: Basic realm=\"x\"\r\n");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let heads = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&heads);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            for answer in [opened, &behind] {
                let mut bytes = Vec::new();
                while !bytes.windows(4).any(|w| w == b"\r\n\r\n") {
                    if !matches!(stream.read_buf(&mut bytes).await, Ok(1..)) {
                        break;
                    }
                }
                log.lock().unwrap().push(String::from_utf8_lossy(&bytes).to_lowercase());
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        }
    });
    let route = Route::new(ProxyChoice::Url(format!("http://{CREDENTIALS}{address}")), Vec::new()).unwrap();
    let said = attempt("http://realm.invalid:9000", Transport::WebSocket, route).await;
    assert!(said.contains("407"), "{said}");
    let heads = heads.lock().unwrap();
    assert!(heads.iter().any(|head| head.starts_with("get ")), "{heads:?}");
    assert!(
        heads.iter().filter(|head| head.starts_with("get ")).all(|head| !head.contains("authorization")),
        "{heads:?}"
    );
}

#[tokio::test]
async fn challenges_that_cannot_be_answered_are_named() {
    let lines = [
        "",
        "Proxy-Authenticate:\r\n",
        "Proxy-Authenticate: Digest\r\n",
        "Proxy-Authenticate: Digest realm=\r\n",
        "Proxy-Authenticate: Digest realm=\"x\", nonce=\"unfinished\r\n",
        "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=SHA-512-256\r\n",
        "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", algorithm=\r\n",
        "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth-int\"\r\n",
        "Proxy-Authenticate: NTLM\r\n",
        "Proxy-Authenticate: ====,,,,\"\\\r\n",
    ];
    for line in lines {
        let proxy = Peer::start(challenge(line), "").await;
        let said = proxy.refusal(Transport::WebSocket, CREDENTIALS).await;
        let named = said.contains(&proxy.address.to_string()) && (said.contains("credentials"));
        assert!(named && !said.contains("secret"), "{line:?}: {said}");
        assert!(proxy.heads().len() <= 3, "{line:?}: {} requests", proxy.heads().len());
    }
}

#[tokio::test]
async fn a_proxy_that_asks_for_ever_is_left() {
    let stale = "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth\", stale=true\r\n";
    for line in [stale, "Proxy-Authenticate: Basic realm=\"x\"\r\n"] {
        let proxy = Peer::start(challenge(line), "").await;
        let said = proxy.refusal(Transport::WebSocket, CREDENTIALS).await;
        assert!(said.contains("check user and password"), "{line:?}: {said}");
        assert!(proxy.heads().len() <= 3, "{line:?}: {} requests", proxy.heads().len());
    }
}

#[tokio::test]
async fn a_password_that_is_not_taken_is_shown_once() {
    let digest = "Proxy-Authenticate: Digest realm=\"x\", nonce=\"n\", qop=\"auth\"\r\n";
    for line in [digest, "Proxy-Authenticate: Basic realm=\"x\"\r\n"] {
        let proxy = Peer::start(challenge(line), "").await;
        let url = format!("http://{CREDENTIALS}{}", proxy.address);
        let mut options = Options::default();
        options.route = Route::new(ProxyChoice::Url(url), Vec::new()).unwrap();
        let route = options.route.clone();
        let session = Session::start("http://realm.invalid:9000", options).unwrap();
        let mut states = session.state();
        let state = states.wait_for(|state| matches!(state, State::Closed { .. })).await.unwrap().clone();
        let State::Closed { reason, .. } = state else { return };
        assert!(reason.contains("check user and password") && !reason.contains("secret"), "{line:?}: {reason}");
        for transport in TRANSPORTS {
            let said = attempt("http://realm.invalid:9000", transport, route.clone()).await;
            assert!(said.contains("it is not asked again"), "{line:?}: {said}");
        }
        let shown = proxy.heads().iter().filter(|head| head.contains("proxy-authorization: ")).count();
        assert_eq!(shown, 1, "{line:?}");
    }
}

#[tokio::test]
async fn heads_without_an_end_are_refused() {
    for (answer, endless) in [("HTTP/1.1 407 Who\r\nX: ", "yyyyyyyyyyyyyyyy"), ("", "HTTP/1.1 100 Continue\r\n\r\n")] {
        let proxy = Peer::start(answer, endless).await;
        let said = proxy.refusal(Transport::WebSocket, CREDENTIALS).await;
        assert!(said.contains("more than 16384 bytes"), "{said}");
    }
    let proxy = Peer::start(format!("HTTP/1.1 407 Who\r\n{}\r\n", "X: y\r\n".repeat(500)), "").await;
    assert!(proxy.refusal(Transport::WebSocket, CREDENTIALS).await.contains("its answer is no HTTP"));
}
