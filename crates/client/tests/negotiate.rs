//! NTLM and Negotiate at forward proxies: every step on one connection, and steps that lead nowhere end with a reason.

#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

mod real;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use real::{Realm, only, read_head};
use sspi::{
    AuthIdentity, BufferType, CredentialUse, DataRepresentation, Ntlm, SecurityBuffer, ServerRequestFlags, Sspi,
    SspiImpl, Username,
};
use throughline_client::{Body, Data, ProxyChoice, Realm as HttpSide, RealmUrl, Route, Session, TRANSPORTS, Transport};
use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

/// What a proxy offers and does.
#[derive(Clone)]
struct Manner {
    /// Its `Proxy-Authenticate` headers.
    offers: &'static [&'static str],
    /// The scheme by which it lets connections in.
    scheme: &'static str,
    /// What it answers to the first step, in place of a challenge.
    instead: Option<String>,
    /// Whether it ends the connection with that answer.
    ends: bool,
    chunked: bool,
}

const NTLM: Manner = Manner { offers: &["NTLM"], scheme: "NTLM", instead: None, ends: false, chunked: false };

struct Proxy {
    address: SocketAddr,
    /// Number of the connection and head of each request.
    heads: Arc<Mutex<Vec<(usize, String)>>>,
}

impl Proxy {
    async fn start(manner: Manner) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heads);
        tokio::spawn(async move {
            let mut number = 0;
            while let Ok((stream, _)) = listener.accept().await {
                number += 1;
                let gate = Gate { manner: manner.clone(), number, log: Arc::clone(&log), context: None };
                // A client that went away has ended its connection, and nothing else.
                tokio::spawn(async move { drop(gate.serve(stream).await) });
            }
        });
        Proxy { address, heads }
    }

    fn route(&self, user: &str, realm: Option<&Realm>) -> Route {
        let url = format!("http://{user}{}", self.address);
        Route::new(ProxyChoice::Url(url), realm.iter().map(|realm| realm.root()).collect()).unwrap()
    }

    fn heads(&self) -> Vec<(usize, String)> {
        self.heads.lock().unwrap().clone()
    }

    /// What is said of an attempt that cannot succeed.
    async fn refusal(&self, user: &str) -> String {
        let mut options = only(Transport::WebSocket);
        options.route = self.route(user, None);
        Session::connect("http://realm.invalid:9000", options).await.unwrap_err().to_string()
    }

    /// The words by which credentials were shown.
    fn shown(&self) -> Vec<String> {
        let heads = self.heads();
        let values = heads.iter().filter_map(|(_, head)| value_of(head, "proxy-authorization"));
        values.map(|value| value.split(' ').next().unwrap().to_owned()).collect()
    }
}

fn value_of<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value)
}

/// One connection of a proxy.
struct Gate {
    manner: Manner,
    number: usize,
    log: Arc<Mutex<Vec<(usize, String)>>>,
    context: Option<Ntlm>,
}

impl Gate {
    async fn serve(mut self, mut stream: TcpStream) -> std::io::Result<()> {
        while let Some(bytes) = read_head(&mut stream).await? {
            let head = String::from_utf8_lossy(&bytes).into_owned();
            self.log.lock().unwrap().push((self.number, head.clone()));
            if let Some(challenges) = self.challenges(&head) {
                let lines: String = challenges.iter().map(|text| format!("Proxy-Authenticate: {text}\r\n")).collect();
                let body = match (head.starts_with("HEAD"), self.manner.chunked) {
                    (true, _) => "Content-Length: 9\r\n\r\n",
                    (_, true) => "Transfer-Encoding: chunked\r\n\r\n3\r\nwho\r\n1;x=y\r\n?\r\n0\r\n\r\n",
                    (_, false) => "Content-Length: 4\r\n\r\nwho?",
                };
                stream.write_all(format!("HTTP/1.1 407 Who\r\n{lines}{body}").as_bytes()).await?;
                if self.manner.ends && self.context.is_some() {
                    return Ok(());
                }
                continue;
            }
            let target = head.split(' ').nth(1).unwrap_or_default();
            let authority = target.strip_prefix("http://").unwrap_or(target).split('/').next().unwrap_or_default();
            let mut far = TcpStream::connect(authority).await?;
            if head.starts_with("CONNECT") {
                stream.write_all(b"HTTP/1.1 200 Go on\r\n\r\n").await?;
            } else {
                // A connection that was let in stays so: what comes on it is the realm's.
                far.write_all(&bytes).await?;
            }
            return copy_bidirectional(&mut stream, &mut far).await.map(drop);
        }
        Ok(())
    }

    /// What this request is challenged with, unless it may pass.
    fn challenges(&mut self, head: &str) -> Option<Vec<String>> {
        let offers = || self.manner.offers.iter().map(|offer| (*offer).to_owned()).collect();
        let Some((scheme, token)) = value_of(head, "proxy-authorization").and_then(|v| v.split_once(' ')) else {
            return Some(offers());
        };
        if scheme == "Basic" {
            let good = token == BASE64_STANDARD.encode("OFFICE\\user:pass");
            return (!good).then(offers);
        }
        if scheme != self.manner.scheme {
            return Some(offers());
        }
        assert_eq!(value_of(head, "proxy-connection"), Some("keep-alive"));
        let first = self.context.is_none();
        let package = self.context.get_or_insert_with(Ntlm::new);
        if first && let Some(instead) = &self.manner.instead {
            return Some(vec![format!("{scheme} {instead}").trim_end().to_owned()]);
        }
        match accept(package, BASE64_STANDARD.decode(token).unwrap()) {
            Some(challenge) if first => Some(vec![format!("{scheme} {}", BASE64_STANDARD.encode(challenge))]),
            Some(_) => None,
            None => Some(vec![scheme.to_owned()]),
        }
    }
}

/// The other side of NTLM; nothing when the proof is not good.
fn accept(package: &mut Ntlm, token: Vec<u8>) -> Option<Vec<u8>> {
    let username = Username::parse("OFFICE\\user").unwrap();
    let identity = AuthIdentity { username, password: "pass".to_owned().into() };
    let acquired = package.acquire_credentials_handle().with_credential_use(CredentialUse::Inbound);
    let mut credentials = acquired.with_auth_data(&identity).execute(package).unwrap().credentials_handle;
    let mut input = [SecurityBuffer::new(token, BufferType::Token)];
    let mut output = [SecurityBuffer::new(Vec::new(), BufferType::Token)];
    let step = package
        .accept_security_context()
        .with_credentials_handle(&mut credentials)
        .with_context_requirements(ServerRequestFlags::ALLOCATE_MEMORY)
        .with_target_data_representation(DataRepresentation::Native)
        .with_input(&mut input)
        .with_output(&mut output);
    let stepped = package.accept_security_context_impl(step).unwrap().resolve_to_result().unwrap();
    if stepped.status == sspi::SecurityStatus::CompleteNeeded {
        package.complete_auth_token(&mut output).ok()?;
    }
    let [token] = output;
    Some(token.buffer)
}

#[tokio::test]
async fn every_transport_passes_once_its_connection_is_let_in() {
    let mut realm = Realm::start();
    let negotiate = Manner { offers: &["Basic realm=\"x\"", "Negotiate, NTLM"], scheme: "Negotiate", ..NTLM };
    for manner in [NTLM, Manner { chunked: true, ..NTLM }, negotiate] {
        let scheme = manner.scheme;
        let proxy = Proxy::start(manner).await;
        let route = proxy.route("OFFICE\\user:pass@", Some(&realm));
        for transport in TRANSPORTS {
            for url in [realm.url(), realm.secure_url()] {
                let mut options = only(transport);
                options.route = route.clone();
                let session = Session::connect(&url, options).await.unwrap();
                session.publish("c", Body::new(Data::text("said")), None).await.unwrap();
                session.close().await;
            }
        }
        for url in [realm.url(), realm.secure_url()] {
            let api = HttpSide::new(url.parse::<RealmUrl>().unwrap().through(route.clone()));
            assert_eq!(api.channels().await.unwrap().len(), 1);
        }
        assert!(proxy.shown().iter().all(|shown| shown == scheme), "{:?}", proxy.shown());
        let heads = proxy.heads();
        let last = heads.iter().map(|(number, _)| *number).max().unwrap();
        for number in 1..=last {
            let shown = heads.iter().filter(|(n, head)| *n == number && head.contains("Proxy-Authorization")).count();
            assert_eq!(shown, 2, "types 1 and 3 on connection {number} of {last}: {heads:?}");
        }
    }
    realm.stop().await;
}

#[tokio::test]
async fn a_proof_that_is_not_taken_is_shown_once_and_by_nothing_weaker() {
    for (scheme, offers) in [("NTLM", &["NTLM", "Basic realm=\"x\""]), ("Negotiate", &["Negotiate", "NTLM"])] {
        let proxy = Proxy::start(Manner { offers, scheme, ..NTLM }).await;
        let said = proxy.refusal("OFFICE%5Cuser:wrong@").await;
        for words in [scheme, "after type 3", "check user and password", &proxy.address.to_string()] {
            assert!(said.contains(words), "{words}: {said}");
        }
        assert!(!said.contains("wrong"), "{said}");
        assert_eq!(proxy.shown(), [scheme, scheme]);
    }
}

#[tokio::test]
async fn steps_that_lead_nowhere_are_named() {
    let huge = BASE64_STANDARD.encode(vec![0; (48 << 10) + 1]);
    let endless = BASE64_STANDARD.encode(vec![0; 128 << 10]);
    let other = BASE64_STANDARD.encode(b"NTLMSSP\0\x03\0\0\0");
    let cut = BASE64_STANDARD.encode(b"NTLMSSP\0\x02\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff");
    let cases = [
        ("", "no challenge (type 2)"),
        ("====", "no base64"),
        ("TlRM", "its token is of no use"),
        (&other, "its token is of no use"),
        (&cut, "its token is of no use"),
        (&huge, "more than 49152 bytes"),
        (&endless, "the head of its answer has more than"),
    ];
    for scheme in ["NTLM", "Negotiate"] {
        for (instead, words) in cases {
            let offers = if scheme == "NTLM" { &["NTLM"] } else { &["Negotiate"] };
            let proxy = Proxy::start(Manner { offers, scheme, instead: Some(instead.to_owned()), ..NTLM }).await;
            let said = proxy.refusal("user@OFFICE.TEST:secret@").await;
            for words in [words, scheme, "after type 1", &proxy.address.to_string()] {
                assert!(said.contains(words), "{words}: {said}");
            }
            assert!(!said.contains("secret"), "{said}");
            assert_eq!(proxy.shown(), [scheme], "{words}");
        }
    }
}

#[tokio::test]
async fn a_proxy_that_ends_the_connection_between_the_steps_is_named() {
    let proxy = Proxy::start(Manner { ends: true, ..NTLM }).await;
    let said = proxy.refusal("user:secret@").await;
    assert!(said.contains("NTLM, after type 3: it ended the connection"), "{said}");
    assert!(said.contains(&proxy.address.to_string()), "{said}");
}

#[tokio::test]
async fn what_cannot_be_used_leaves_its_place_to_the_next_scheme() {
    let mut realm = Realm::start();
    let offers = &["Basic realm=\"x\"", "NTLM", "Negotiate"];
    let instead = Some(String::new());
    let proxy = Proxy::start(Manner { offers, instead, ..NTLM }).await;
    let mut options = only(Transport::WebSocket);
    options.route = proxy.route("OFFICE\\user:pass@", None);
    Session::connect(&realm.url(), options).await.unwrap().close().await;
    assert_eq!(proxy.shown(), ["Negotiate", "NTLM", "Basic"]);
    realm.stop().await;
}

#[tokio::test]
async fn a_password_that_the_last_scheme_shows_in_vain_is_named_behind_what_failed_before() {
    let offers = &["Basic realm=\"x\"", "NTLM"];
    let proxy = Proxy::start(Manner { offers, instead: Some(String::new()), ..NTLM }).await;
    let said = proxy.refusal("OFFICE%5Cuser:wrong@").await;
    for words in ["NTLM, after type 1", "Basic: it does not take these credentials; check user and password"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    assert_eq!(proxy.shown(), ["NTLM", "Basic"]);
}
