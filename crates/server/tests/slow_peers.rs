//! Clients that do not take what they asked for.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

use std::io::Write;
use std::net::TcpStream;
use std::time::Duration;

use throughline_server::Realm;
use throughline_server::config::Config;

/// Longer than anything here takes: a write that waits so long has found a server that waits for ever.
const HANGS: Duration = Duration::from_secs(60);

#[test]
fn a_client_that_takes_no_answers_is_disconnected() {
    let folder = tempfile::tempdir().unwrap();
    let toml = format!("listen = \"127.0.0.1:0\"\ndata = {:?}\nshards = 1\ntimeouts.body_ms = 100\n", folder.path());
    let config = Config::load(Some(("test.toml", &toml)), &[]).unwrap();
    let realm = Realm::start(config).unwrap();
    let mut client = TcpStream::connect(realm.address()).unwrap();
    client.set_write_timeout(Some(HANGS)).unwrap();
    // Its answers fill the buffers on the way, then its requests do, and from then on only an end can follow.
    let request = b"GET /throughline/v1/client.js HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(1000);
    let error = std::iter::repeat_with(|| client.write_all(&request)).find_map(Result::err).unwrap();
    assert_ne!(error.kind(), std::io::ErrorKind::WouldBlock, "the server holds on to a client that takes nothing");
    realm.stop();
}
