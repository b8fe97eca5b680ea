//! Clients that do not take what they asked for.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use throughline_server::Realm;
use throughline_server::config::Config;

/// Longer than anything here takes: a write that waits so long has found a server that waits for ever.
const HANGS: Duration = Duration::from_secs(60);

fn impatient(data: &Path) -> Realm {
    let toml = format!(
        "listen = \"127.0.0.1:0\"\ndata = {data:?}\nshards = 1\ntimeouts.body_ms = 100\ntimeouts.connect_ms = 100\n"
    );
    Realm::start(Config::load(Some(("test.toml", &toml)), &[]).unwrap()).unwrap()
}

#[test]
fn a_client_that_takes_no_answers_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let realm = impatient(folder.path());
    let mut client = TcpStream::connect(realm.address()).unwrap();
    client.set_write_timeout(Some(HANGS)).unwrap();
    // Its answers fill the buffers on the way, then its requests do, and from then on only an end can follow.
    let request = b"GET /throughline/v1/client.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let error = std::iter::repeat_with(|| client.write_all(&request)).find_map(Result::err).unwrap();
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the server holds on to a client that takes nothing");
    realm.stop();
}

/// A frame of HTTP/2 (RFC 9113 section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

fn number(at: &[u8]) -> u32 {
    u32::from_be_bytes(at[..4].try_into().unwrap())
}

/// The kind, the stream and the payload of the next frame.
fn read_frame(client: &mut TcpStream) -> (u8, u32, Vec<u8>) {
    let mut head = [0; 9];
    client.read_exact(&mut head).unwrap();
    let mut payload = vec![0; usize::from(u16::from_be_bytes([head[1], head[2]]))];
    client.read_exact(&mut payload).unwrap();
    (head[3], number(&head[5..]), payload)
}

/// Opens a connection of HTTP/2 whose streams may be sent `window` bytes each.
fn begin(realm: &Realm, window: u32) -> TcpStream {
    let mut client = TcpStream::connect(realm.address()).unwrap();
    client.set_read_timeout(Some(HANGS)).unwrap();
    let settings = [&[0, 4][..], &window.to_be_bytes()].concat();
    client.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &*frame(4, 0, 0, &settings)].concat()).unwrap();
    client
}

#[test]
fn a_websocket_within_http2_that_is_over_is_not_kept_for_a_client_that_takes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let realm = impatient(folder.path());
    let mut client = begin(&realm, 0);
    let headers = [
        (":method", "CONNECT"),
        (":protocol", "websocket"),
        (":scheme", "http"),
        (":authority", "localhost"),
        (":path", "/throughline/v1/websocket"),
        ("sec-websocket-version", "13"),
    ];
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let block = headers.map(|(name, value)| [vec![0], text(name), text(value)].concat()).concat();
    // It says nothing, so that its link is over soon, and has no room for that word.
    client.write_all(&frame(1, 4, 1, &block)).unwrap();
    let (stream, reason) = loop {
        let (kind, stream, payload) = read_frame(&mut client);
        assert_ne!(kind, 7, "the connection is told to go");
        if kind == 3 {
            break (stream, payload);
        }
    };
    // CANCEL (RFC 9113 section 7).
    assert_eq!((stream, &*reason), (1, &[0, 0, 0, 8][..]));
    realm.stop();
}

#[test]
fn a_stream_within_http2_that_is_not_read_leaves_room_for_others() {
    let folder = tempfile::tempdir().unwrap();
    let realm = impatient(folder.path());
    let mut client = begin(&realm, 65_535);
    let (mut stream, mut connection) = (None, None);
    while stream.is_none() || connection.is_none() {
        let (kind, _, payload) = read_frame(&mut client);
        match kind {
            4 if !payload.is_empty() => {
                stream = payload.chunks(6).find(|setting| setting[1] == 4).map(|setting| number(&setting[2..]));
            }
            8 => connection = Some(65_535 + number(&payload)),
            _ => {}
        }
    }
    let (stream, connection) = (stream.unwrap(), connection.unwrap());
    assert!(stream <= connection / 16, "{stream} of {connection} bytes are one stream's");
    realm.stop();
}
