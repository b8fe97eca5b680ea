//! Ways to a realm: with TLS, and through forward proxies of each kind, which here are small and strict.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod real;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use real::{Realm, only, read_head};
use throughline_client::{
    Body, Data, Delivery, From, Options, ProxyChoice, Realm as HttpSide, Route, Session, State, TRANSPORTS, Transport,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What a proxy wants and does.
#[derive(Clone, Copy)]
enum Manner {
    /// Lets everything through.
    Open,
    /// Asks for Basic credentials, and closes after asking.
    Basic,
    /// Asks for Basic credentials, and takes none.
    Refusing,
    /// Asks for Basic credentials, and takes one request on each connection without saying so, as tinyproxy does.
    Single,
    /// Asks for Digest credentials with a body, and keeps the connection.
    Digest,
    /// Asks for Digest credentials, and allows no tunnel.
    DigestNoTunnel,
    /// Reads requests, and allows no tunnel.
    NoTunnel,
    /// SOCKS 5 with user and password.
    Socks,
    /// Answers with something that is no HTTP.
    Nonsense,
}

struct Proxy {
    address: SocketAddr,
    /// First lines of what it was asked, and for each time that credentials were shown a word of that.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    async fn start(manner: Manner) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&asked);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let log = Arc::clone(&log);
                tokio::spawn(async move {
                    // A client that went away has ended its connection, and nothing else.
                    let _ = match manner {
                        Manner::Socks => socks(stream).await,
                        manner => http(stream, manner, &log).await,
                    };
                });
            }
        });
        Proxy { address, asked }
    }

    fn route(&self, scheme: &str, user: &str, roots: &[&Realm]) -> Route {
        let url = format!("{scheme}://{user}{}", self.address);
        Route::new(ProxyChoice::Url(url), roots.iter().map(|realm| realm.root()).collect()).unwrap()
    }

    fn asked(&self, what: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|line| line.starts_with(what)).count()
    }
}

async fn http(mut stream: TcpStream, manner: Manner, log: &Mutex<Vec<String>>) -> std::io::Result<()> {
    while let Some(bytes) = read_head(&mut stream).await? {
        let head = String::from_utf8_lossy(&bytes).into_owned();
        let line = head.lines().next().unwrap_or_default().to_owned();
        log.lock().unwrap().push(line.clone());
        let shown = |scheme: &str| head.to_lowercase().contains(&format!("\r\nproxy-authorization: {scheme}"));
        if shown("") {
            log.lock().unwrap().push("credentials".to_owned());
        }
        let refusal = match manner {
            Manner::Nonsense => "SSH-2.0-nothing\r\n\r\n",
            Manner::NoTunnel | Manner::DigestNoTunnel if line.starts_with("CONNECT") => {
                "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"
            }
            Manner::Basic | Manner::Single if !shown("basic dxnlcjpwyxnz") => {
                "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\nConnection: close\r\n\r\n"
            }
            Manner::Refusing => {
                "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\nConnection: close\r\n\r\n"
            }
            Manner::DigestNoTunnel if !shown("digest") => {
                "HTTP/1.1 407 Who\r\nProxy-Authenticate: Digest realm=\"p\", nonce=\"n\", qop=\"auth\"\r\nConnection: close\r\n\r\n"
            }
            Manner::DigestNoTunnel => "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n",
            Manner::Digest if !(shown("digest username=\"user\"") && head.contains("qop=auth, nc=00000001")) => {
                "HTTP/1.1 407 Who\r\nProxy-Authenticate: Basic realm=\"p\"\r\nProxy-Authenticate: Digest realm=\"p\", \
                 nonce=\"n\", qop=\"auth\", algorithm=SHA-256\r\nContent-Length: 4\r\n\r\nwho?"
            }
            _ => "",
        };
        if !refusal.is_empty() {
            stream.write_all(refusal.as_bytes()).await?;
            if matches!(manner, Manner::Digest) {
                continue;
            }
            return Ok(());
        }
        let target = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let authority = target.strip_prefix("http://").unwrap_or(&target).split('/').next().unwrap_or_default();
        let mut far = TcpStream::connect(authority).await?;
        if line.starts_with("CONNECT") {
            stream.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await?;
        } else if matches!(manner, Manner::Single) {
            let asked = head.replacen("\r\n", "\r\nConnection: close\r\n", 1);
            far.write_all(asked.as_bytes()).await?;
            return single(stream, far).await;
        } else {
            far.write_all(&bytes).await?;
        }
        return copy_bidirectional(&mut stream, &mut far).await.map(drop);
    }
    Ok(())
}

/// Passes on what there is yet of one request, and its answer without what it says of the connection.
async fn single(mut near: TcpStream, mut far: TcpStream) -> std::io::Result<()> {
    let (mut near_reads, mut near_writes) = near.split();
    let (mut far_reads, mut far_writes) = far.split();
    let answer = async {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(far_reads.read_u8().await?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        assert!(head.to_lowercase().contains("\r\nconnection: close\r\n"), "{head}");
        let lines = head.split_inclusive("\r\n").filter(|line| !line.to_lowercase().starts_with("connection:"));
        near_writes.write_all(lines.collect::<String>().as_bytes()).await?;
        tokio::io::copy(&mut far_reads, &mut near_writes).await.map(drop)
    };
    tokio::select! {
        answered = answer => answered,
        gone = tokio::io::copy(&mut near_reads, &mut far_writes) => gone.map(drop),
    }
}

async fn socks(mut stream: TcpStream) -> std::io::Result<()> {
    let mut greeting = [0; 2];
    stream.read_exact(&mut greeting).await?;
    let mut methods = vec![0; greeting[1].into()];
    stream.read_exact(&mut methods).await?;
    if !methods.contains(&2) {
        return stream.write_all(&[5, 0xff]).await;
    }
    stream.write_all(&[5, 2]).await?;
    let mut credentials = [0; 11];
    stream.read_exact(&mut credentials).await?;
    if credentials != *b"\x01\x04user\x04pass" {
        return stream.write_all(&[1, 1]).await;
    }
    stream.write_all(&[1, 0]).await?;
    let mut request = [0; 10];
    stream.read_exact(&mut request).await?;
    assert_eq!(request[..4], [5, 1, 0, 1]);
    let address = SocketAddr::from((
        [request[4], request[5], request[6], request[7]],
        u16::from_be_bytes([request[8], request[9]]),
    ));
    let mut far = TcpStream::connect(address).await?;
    stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await?;
    copy_bidirectional(&mut stream, &mut far).await.map(drop)
}

fn over(transport: Transport, route: Route) -> Options {
    let mut options = only(transport);
    options.route = route;
    options
}

/// A session by which events go both ways, large ones as well.
async fn works(url: &str, options: Options) -> Session {
    let session = Session::connect(url, options).await.unwrap();
    let mut subscription = session.subscribe("c", From::New).unwrap();
    assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
    for text in ["short".to_owned(), "long ".repeat(40_000)] {
        let published = session.publish("c", Body::new(Data::text(&text)), None).await.unwrap();
        match subscription.next().await {
            Delivery::Event(event) => assert_eq!((event.eid, event.body.data), (published.eid, Data::text(&text))),
            other => panic!("no event: {other:?}"),
        }
    }
    session
}

#[tokio::test]
async fn each_transport_works_with_tls() {
    let mut realm = Realm::start();
    let route = Route::new(ProxyChoice::None, vec![realm.root()]).unwrap();
    for transport in TRANSPORTS {
        works(&realm.secure_url(), over(transport, route.clone())).await.close().await;
    }
    let api = HttpSide::new(realm.secure_url().parse::<throughline_client::RealmUrl>().unwrap().through(route));
    assert_eq!(api.channels().await.unwrap().len(), 1);
    realm.stop().await;
}

#[tokio::test]
async fn who_is_not_trusted_is_told_with_the_way_out() {
    let mut realm = Realm::start();
    let route = Route::new(ProxyChoice::None, Vec::new()).unwrap();
    let said = Session::connect(&realm.secure_url(), over(Transport::WebSocket, route)).await.unwrap_err().to_string();
    assert!(said.contains("--ca FILE"), "{said}");
    realm.stop().await;
}

#[tokio::test]
async fn tunnels_carry_every_transport_once_the_proxy_knows_who_asks() {
    let mut realm = Realm::start();
    for (manner, user) in [(Manner::Open, ""), (Manner::Basic, "user:pass@"), (Manner::Digest, "user:pass@")] {
        let proxy = Proxy::start(manner).await;
        for transport in TRANSPORTS {
            works(&realm.secure_url(), over(transport, proxy.route("http", user, &[&realm]))).await.close().await;
        }
        assert!(proxy.asked("CONNECT 127.0.0.1:") >= 3 && proxy.asked("POST") == 0);
    }
    realm.stop().await;
}

#[tokio::test]
async fn a_proxy_that_allows_no_tunnel_is_given_requests_to_read() {
    let mut realm = Realm::start();
    let proxy = Proxy::start(Manner::NoTunnel).await;
    let mut options = Options::default();
    options.route = proxy.route("http", "", &[]);
    let session = works(&realm.url(), options).await;
    assert_eq!(session.path().transport, Some(Transport::HttpStream));
    assert!(proxy.asked("CONNECT") >= 1 && proxy.asked("POST http://127.0.0.1:") >= 1);
    session.close().await;
    realm.stop().await;
}

#[tokio::test]
async fn a_proxy_that_takes_one_request_on_each_connection_is_shown_credentials_and_passes_requests() {
    let mut realm = Realm::start();
    for transport in TRANSPORTS.into_iter().filter(|transport| *transport != Transport::WebSocket) {
        let proxy = Proxy::start(Manner::Single).await;
        let session = Session::connect(&realm.url(), over(transport, proxy.route("http", "user:pass@", &[]))).await;
        let session = session.unwrap();
        session.publish("c", Body::new(Data::text("said")), None).await.unwrap();
        assert!(proxy.asked("HEAD http://127.0.0.1:") >= 2 && proxy.asked("CONNECT") == 0);
        session.close().await;
    }
    realm.stop().await;
}

#[tokio::test]
async fn socks_proxies_carry_every_transport() {
    let mut realm = Realm::start();
    let proxy = Proxy::start(Manner::Socks).await;
    for transport in TRANSPORTS {
        works(&realm.url(), over(transport, proxy.route("socks5", "user:pass@", &[]))).await.close().await;
    }
    realm.stop().await;
}

#[tokio::test]
async fn a_fault_of_the_proxy_names_it_and_the_way_out() {
    let mut realm = Realm::start();
    let cases = [
        (Manner::Basic, "http", "", "give them as --proxy"),
        (Manner::Basic, "http", "user:wrong@", "check user and password"),
        (Manner::NoTunnel, "http", "", "allows no tunnel to port"),
        (Manner::Nonsense, "http", "", "its answer is no HTTP"),
        (Manner::Socks, "socks5", "", "it opens no way to 127.0.0.1"),
    ];
    for (manner, scheme, user, words) in cases {
        let proxy = Proxy::start(manner).await;
        let options = over(Transport::WebSocket, proxy.route(scheme, user, &[]));
        let said = Session::connect(&realm.url(), options).await.unwrap_err().to_string();
        assert!(said.contains(words) && said.contains(&proxy.address.to_string()), "{said}");
        assert!(!said.contains("wrong"), "a password is shown: {said}");
    }
    realm.stop().await;
}

#[tokio::test]
async fn where_digest_needs_a_tunnel_http_transports_are_not_called_the_way_out() {
    let proxy = Proxy::start(Manner::DigestNoTunnel).await;
    let options = over(Transport::LongPoll, proxy.route("http", "user:pass@", &[]));
    let said = Session::connect("http://realm.invalid:9000", options).await.unwrap_err().to_string();
    assert!(said.contains("have the proxy allow CONNECT to realm.invalid:9000"), "{said}");
    assert!(!said.contains("HTTP transports"), "{said}");
}

#[tokio::test]
async fn a_handshake_of_tls_that_is_cut_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // Something is stopping there: it has read the first message and goes.
            let _ = stream.read(&mut [0; 16]).await;
        }
    });
    let session = Session::start(&url, Options::default()).unwrap();
    let mut states = session.state();
    let decided = |state: &State| matches!(state, State::Waiting { cause: Some(_) } | State::Closed { .. });
    let state = states.wait_for(decided).await.unwrap().clone();
    assert!(matches!(state, State::Waiting { .. }), "{state:?}");
    session.close().await;
}

/// An address at which now one server answers and now another.
struct Place {
    address: SocketAddr,
    target: watch::Sender<SocketAddr>,
}

impl Place {
    async fn before(to: SocketAddr) -> Place {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let target = watch::Sender::new(to);
        let targets = target.subscribe();
        tokio::spawn(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let mut targets = targets.clone();
                tokio::spawn(async move {
                    let to = *targets.borrow_and_update();
                    let Ok(mut far) = TcpStream::connect(to).await else { return };
                    tokio::select! {
                        _ = copy_bidirectional(&mut near, &mut far) => {}
                        _ = targets.changed() => {}
                    }
                });
            }
        });
        Place { address, target }
    }

    /// Cuts the connections; those that come are for another.
    fn lead_to(&self, to: SocketAddr) {
        self.target.send_replace(to);
    }
}

#[tokio::test]
async fn a_session_that_was_there_outlasts_a_certificate_that_is_not_trusted() {
    let (mut realm, mut stranger) = (Realm::start(), Realm::start());
    let route = Route::new(ProxyChoice::None, vec![realm.root()]).unwrap();
    for transport in TRANSPORTS {
        let place = Place::before(realm.address()).await;
        let session = works(&format!("https://{}", place.address), over(transport, route.clone())).await;
        let mut subscription = session.subscribe("c", From::New).unwrap();
        assert!(matches!(subscription.next().await, Delivery::Standing { .. }));
        let mut states = session.state();
        place.lead_to(stranger.address());
        let told = |state: &State| match state {
            State::Waiting { cause: Some(cause) } => format!("{cause:?}").contains("--ca FILE"),
            State::Closed { .. } => true,
            _ => false,
        };
        let state = states.wait_for(told).await.unwrap().clone();
        assert!(matches!(state, State::Waiting { .. }), "{transport}: {state:?}");
        let publishing = tokio::spawn({
            let session = session.clone();
            async move { session.publish("c", Body::new(Data::text("said to nobody else")), None).await }
        });
        place.lead_to(realm.address());
        let published = publishing.await.unwrap().unwrap();
        loop {
            match subscription.next().await {
                Delivery::Event(event) => break assert_eq!(event.eid, published.eid),
                Delivery::Standing { resumed, .. } => assert!(resumed),
                other => panic!("{transport}: {other:?}"),
            }
        }
        session.close().await;
    }
    let asked = stranger.metrics().await;
    // Its metrics are the first thing that it was asked for.
    for counter in ["throughline_http_requests_total 0", "throughline_websockets_accepted_total{version=\"13\"} 0"] {
        assert!(asked.lines().any(|line| line == counter), "the stranger was told something: {asked}");
    }
    realm.stop().await;
    stranger.stop().await;
}

#[tokio::test]
async fn a_session_that_was_there_waits_where_its_password_is_no_longer_taken() {
    let mut realm = Realm::start();
    for transport in TRANSPORTS {
        let (proxy, refusing) = (Proxy::start(Manner::Basic).await, Proxy::start(Manner::Refusing).await);
        let place = Place::before(proxy.address).await;
        let url = format!("http://user:pass@{}", place.address);
        let route = Route::new(ProxyChoice::Url(url), Vec::new()).unwrap();
        let session = works(&realm.url(), over(transport, route)).await;
        let mut states = session.state();
        place.lead_to(refusing.address);
        let told = |state: &State| match state {
            State::Waiting { cause: Some(cause) } => format!("{cause:?}").contains("it is not asked again"),
            State::Closed { .. } => true,
            _ => false,
        };
        let state = states.wait_for(told).await.unwrap().clone();
        assert!(matches!(state, State::Waiting { .. }), "{transport}: {state:?}");
        // The two connections of an HTTP transport may ask at the same time.
        let most = if transport == Transport::WebSocket { 1 } else { 2 };
        assert!((1..=most).contains(&refusing.asked("credentials")), "{transport}: {}", refusing.asked("credentials"));
        session.close().await;
    }
    realm.stop().await;
}
