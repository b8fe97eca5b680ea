//! PROXY headers: those of the specification, every way to cut them, and what is none.

use std::net::SocketAddr;

use proptest::prelude::*;
use throughline_wire::proxy_protocol::{BadHeader, Header, begins, parse};

const SIGNATURE: &[u8] = b"\r\n\r\n\x00\r\nQUIT\n";

fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let size = u16::try_from(rest.len()).expect("short").to_be_bytes();
    [SIGNATURE, &[command, family], &size, rest].concat()
}

fn v2_of(client: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
    let port = client.port().to_be_bytes();
    match client {
        SocketAddr::V4(v4) => {
            v2(0x21, 0x11, &[&v4.ip().octets()[..], &[127, 0, 0, 1], &port, &[1, 187], tlvs].concat())
        }
        SocketAddr::V6(v6) => v2(0x21, 0x21, &[&v6.ip().octets()[..], &[0; 16], &port, &[1, 187], tlvs].concat()),
    }
}

fn v1_of(client: SocketAddr) -> Vec<u8> {
    let (family, other) = if client.is_ipv4() { ("TCP4", "127.0.0.1") } else { ("TCP6", "::1") };
    format!("PROXY {family} {} {other} {} 443\r\n", client.ip(), client.port()).into_bytes()
}

#[test]
fn headers_that_tell_nobody() {
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ffff:f...f ffff 65535 65535\r\n"] {
        assert_eq!(parse(header), Ok(Some(Header { client: None, tls: None, len: header.len() })));
    }
    for header in [v2(0x20, 0x00, &[]), v2(0x20, 0x11, &[9; 12]), v2(0x21, 0x00, &[])] {
        assert_eq!(parse(&header), Ok(Some(Header { client: None, tls: None, len: header.len() })));
    }
}

#[test]
fn tls_of_the_client_is_told() {
    let client = "192.0.2.1:5".parse().unwrap();
    let told = |tlvs: &[u8]| parse(&v2_of(client, tlvs)).unwrap().unwrap().tls;
    assert_eq!(told(&[]), None);
    assert_eq!(told(&[0x04, 0, 2, 0, 0]), None);
    assert_eq!(told(&[0x04, 0, 1, 0, 0x20, 0, 5, 1, 0, 0, 0, 0]), Some(true));
    assert_eq!(told(&[0x20, 0, 5, 0, 0, 0, 0, 0]), Some(false));
}

#[test]
fn malformed_headers_are_refused() {
    let long = [b"PROXY TCP4 ".to_vec(), vec![b'1'; 100]].concat();
    let texts = [
        "PROXY TCP4 192.0.2.1 127.0.0.1 5\r\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 5 6 7\r\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 5 6\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 5 65536\r\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 +5 6\r\n",
        "PROXY TCP4 192.0.2.1 127.0.0.1 05 6\r\n",
        "PROXY TCP4 ::1 ::1 5 6\r\n",
        "PROXY TCP6 192.0.2.1 127.0.0.1 5 6\r\n",
        "PROXY TCP4  192.0.2.1 127.0.0.1 5 6\r\n",
        "PROXY TCP4 192.0.2.256 127.0.0.1 5 6\r\n",
        "PROXY UDP4 192.0.2.1 127.0.0.1 5 6\r\n",
        "PROXY \r\n",
        "PROXY UNKNOWN\u{e9}\r\n",
    ];
    let v2s = [
        v2(0x11, 0x11, &[0; 12]),
        v2(0x22, 0x11, &[0; 12]),
        v2(0x21, 0x11, &[0; 11]),
        v2(0x21, 0x21, &[0; 35]),
        v2(0x21, 0x12, &[0; 12]),
        v2(0x21, 0x31, &[0; 216]),
        v2_of("192.0.2.1:5".parse().unwrap(), &[0x20, 0]),
        v2_of("192.0.2.1:5".parse().unwrap(), &[0x20, 0, 9, 1]),
        v2_of("192.0.2.1:5".parse().unwrap(), &[0x20, 0, 0]),
        v2(0x21, 0x11, &[0; 5000]),
    ];
    for bytes in texts.iter().map(|text| text.as_bytes().to_vec()).chain(v2s).chain([long]) {
        let parsed = parse(&bytes);
        assert!(matches!(parsed, Err(BadHeader::Malformed(_))), "{parsed:?} {}", bytes.escape_ascii());
    }
}

#[test]
fn other_bytes_are_no_header() {
    for bytes in ["GET / HTTP/1.1\r\n", "PROXYTCP4", "\x16\x03\x01", "\r\nGET", "PRI * HTTP/2.0", "POST /"] {
        assert_eq!(parse(bytes.as_bytes()), Err(BadHeader::Missing), "{bytes:?}");
        assert_eq!(begins(bytes.as_bytes()), Some(false), "{bytes:?}");
    }
}

proptest! {
    #[test]
    fn a_header_is_read_however_it_is_cut(client: SocketAddr, old: bool, tail: Vec<u8>, at in 0usize..200) {
        // A scope and a flow label are of one machine only.
        let client = SocketAddr::new(client.ip(), client.port());
        let header = if old { v1_of(client) } else { v2_of(client, &[]) };
        let whole = [&header[..], &tail].concat();
        let expected = Header { client: Some(client), tls: None, len: header.len() };
        prop_assert_eq!(parse(&whole), Ok(Some(expected)));
        prop_assert_eq!(parse(&header[..at.min(header.len() - 1)]), Ok(None));
    }

    #[test]
    fn nothing_that_comes_makes_it_panic_and_more_never_undoes_a_verdict(
        old: bool,
        rest in proptest::collection::vec(any::<u8>(), 0..150),
    ) {
        let bytes = if old { [b"PROXY ", &rest[..]].concat() } else { [SIGNATURE, &rest].concat() };
        let verdict = parse(&bytes);
        for at in 0..bytes.len() {
            match parse(&bytes[..at]) {
                Ok(None) => {}
                earlier => prop_assert_eq!(earlier, verdict),
            }
        }
    }
}
