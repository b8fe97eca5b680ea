//! A realm whose disk counts as full.

mod realm;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::Stdio;

use realm::{Realm, interrupt};

/// No disk has as much as has to be free here.
const FULL: &str = "store.free_bytes_min = 1125899906842624\n";

fn full_realm() -> Realm {
    let mut realm = Realm::start();
    realm.ok("channel create logs --type persistent");
    realm.kill();
    realm.restart_with(FULL, &[]);
    realm
}

#[test]
fn ctrl_c_ends_lines_that_wait_for_room() {
    let realm = full_realm();
    let mut command = realm.command("publish logs --lines");
    let mut publisher = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("a process");
    let mut said = BufReader::new(publisher.stderr.take().expect("its words")).lines();
    let mut says = |part: &str| {
        let line = said.next().expect("a line").expect("text");
        assert!(line.contains(part), "{line}");
    };
    // The input goes on, so that nothing but the interrupts ends it.
    let mut input = publisher.stdin.take().expect("its input");
    input.write_all(b"line\n").expect("taken");
    says("trying again");
    interrupt(publisher.id());
    says("Ctrl-C again to give up");
    interrupt(publisher.id());
    says("interrupted before all lines were acknowledged (0 acknowledged)");
    assert_eq!(publisher.wait().expect("its end").code(), Some(1));
}

#[test]
fn health_tells_that_the_disk_is_full() {
    let realm = full_realm();
    assert!(realm.fails(1, "publish logs x").contains("store_full"));
    let mut stream = TcpStream::connect(realm.listen()).expect("a connection");
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").expect("taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("{\"status\":\"ok\",\"store\":\"full\"}"),
        "{answer}"
    );
}
