//! The commands against a realm, each as a process of its own.

mod realm;

use std::io::Write as _;
use std::process::Stdio;

use realm::Realm;

#[test]
fn what_is_published_is_printed() {
    let realm = Realm::start();
    assert_eq!(realm.ok("channel create c --type persistent"), "");
    assert_eq!(realm.ok("publish c hello"), "1\n");
    assert_eq!(realm.fed("publish c --tag t --property n:=1.5", b"two\nlines"), "2\n");
    assert_eq!(realm.fed("publish c --lines", b"a\n\nlast"), "3\n");
    assert_eq!(realm.ok("subscribe c --from all --count 5"), "hello\ntwo\nlines\na\n\nlast\n");
    assert_eq!(realm.ok("subscribe c --from 5 --count 1"), "last\n");
    let json = realm.ok("subscribe c --from 2 --count 1 --json");
    assert!(json.starts_with("{\"eid\":\"2\",\"time\":"), "{json}");
    assert!(json.ends_with(",\"tag\":\"t\",\"properties\":{\"n\":1.5},\"data\":\"two\\nlines\"}\n"), "{json}");
}

#[test]
fn a_failure_is_a_failure_though_nobody_reads() {
    let realm = Realm::start();
    let mut command = realm.command("publish c --lines --persistent");
    let mut publisher = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("a process");
    drop(publisher.stdout.take());
    let mut input = publisher.stdin.take().expect("its input");
    // The default channel keeps nothing on disk.
    input.write_all(b"line\n").expect("taken");
    drop(input);
    assert_eq!(publisher.wait().expect("its end").code(), Some(1));
}

#[test]
fn ctrl_c_ends_a_subscription_whose_output_nobody_takes() {
    let realm = Realm::start();
    realm.ok("channel create c --type reliable");
    let lines = format!("{}\n", "x".repeat(1000)).repeat(2000);
    realm.fed("publish c --lines", lines.as_bytes());
    let mut subscriber = realm.start_command("subscribe c --from all");
    assert_eq!(subscriber.line().len(), 1000);
    subscriber.interrupt();
    assert!(subscriber.child.wait().expect("its end").success());
}

#[test]
fn every_transport_carries_the_same() {
    let realm = Realm::start();
    realm.ok("channel create c --type persistent");
    for (n, transport) in ["websocket", "http-stream", "long-poll"].into_iter().enumerate() {
        let eid = format!("{}\n", n + 1);
        assert_eq!(realm.ok(&format!("publish c {transport} --transport {transport}")), eid);
        let line = format!("subscribe c --from {} --count 1 --transport {transport}", n + 1);
        assert_eq!(realm.ok(&line), format!("{transport}\n"));
    }
    let said = realm.fails(2, "subscribe c --transport pigeon");
    assert!(said.contains("expected websocket, http-stream or long-poll"), "{said}");
}

#[test]
fn bytes_stay_bytes() {
    let realm = Realm::start();
    realm.ok("channel create c --type reliable");
    realm.fed("publish c", &[0, 0xff, 10]);
    realm.fed("publish c --bytes", b"text");
    let json = realm.ok("subscribe c --from all --count 2 --json");
    let mut lines = json.lines();
    assert!(lines.next().expect("a line").ends_with("\"base64\":\"AP8K\"}"), "{json}");
    assert!(lines.next().expect("a line").ends_with("\"base64\":\"dGV4dA==\"}"), "{json}");
    let raw = realm.run("subscribe c --from all --count 1");
    assert_eq!(raw.stdout, [0, 0xff, 10, b'\n']);
}

#[test]
fn events_are_printed_as_they_come() {
    let realm = Realm::start();
    realm.ok("channel create c --type reliable");
    realm.ok("publish c first");
    let mut subscriber = realm.start_command("subscribe c --from all");
    assert_eq!(subscriber.line(), "first");
    realm.ok("publish c second");
    assert_eq!(subscriber.line(), "second");
    realm.ok("channel delete c");
    let (succeeded, rest) = subscriber.end();
    assert!(!succeeded);
    assert_eq!(rest, "");
}

#[test]
fn events_not_kept_are_reported() {
    let realm = Realm::start();
    realm.ok("channel create c --type reliable --capacity 2");
    realm.fed("publish c --lines", b"1\n2\n3\n4\n5\n");
    let output = realm.run("subscribe c --from 1 --count 2");
    assert_eq!(output.stdout, b"4\n5\n");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "missed 1..3 (capacity)\n");
}

#[test]
fn channels_are_administered() {
    let realm = Realm::start();
    realm.ok("channel create b/c --type reliable --capacity 7 --ttl 60000");
    realm.ok("channel create b/c --type reliable --capacity 7 --ttl 60000");
    assert!(realm.fails(1, "channel create b/c --type mixed").contains("conflict"));
    let list = realm.ok("channel list");
    assert!(list.starts_with("NAME  TYPE      CAPACITY"), "{list}");
    assert!(list.contains("b/c   reliable         7"), "{list}");
    assert!(realm.ok("channel show b/c --json").contains("\"capacity\":7"));
    assert!(realm.ok("channel show b/c").contains("\nttl       60000\n"));
    realm.ok("channel delete b/c");
    let unknown = realm.fails(1, "channel show b/c");
    assert!(unknown.contains("`throughline channel create b/c --type TYPE`") && !unknown.contains("PUT"), "{unknown}");
    realm.ok("channel create timed --type reliable --ttl 90s");
    assert!(realm.ok("channel show timed").contains("\nttl       90000\n"));
    assert!(realm.fails(2, "publish c x --ttl 5w").contains("as in 90s"));
}

#[test]
fn faults_are_told_in_one_line() {
    let mut realm = Realm::start();
    realm.fails(2, "subscribe a//b");
    realm.fails(2, "--url https://example.org subscribe c");
    let text = realm.fails(1, "publish c x --persistent");
    assert!(text.contains("not_persistent"), "{text}");
    realm.kill();
    for line in ["publish c x", "subscribe c", "channel list"] {
        let text = realm.fails(1, line);
        assert!(text.contains("nothing listens on 127.0.0.1:") && text.lines().count() == 1, "{text}");
    }
}
