//! Probes: requests in, bytes out.

#![allow(clippy::unwrap_used, reason = "a test that fails should stop")]

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use throughline_server::Realm;
use throughline_server::config::Config;

/// Longer than anything here takes: a read that waits so long has found a server that waits for ever.
const HANGS: Duration = Duration::from_secs(60);

struct World {
    realm: Realm,
    _folder: tempfile::TempDir,
}

impl World {
    fn new(toml: &str) -> World {
        let folder = tempfile::tempdir().unwrap();
        let toml = format!("listen = \"127.0.0.1:0\"\ndata = {:?}\nshards = 1\n{toml}", folder.path());
        let config = Config::load(Some(("test.toml", &toml)), &[]).unwrap();
        World { realm: Realm::start(config).unwrap(), _folder: folder }
    }

    fn connect(&self) -> TcpStream {
        let client = TcpStream::connect(self.realm.address()).unwrap();
        client.set_read_timeout(Some(HANGS)).unwrap();
        client
    }

    /// Sends a request, whose lines end with `|` here, and reads to the end of the connection: head and body.
    fn ask(&self, request: &str) -> (String, String) {
        let mut client = self.connect();
        client.write_all(request.replace('|', "\r\n").as_bytes()).unwrap();
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }

    /// Asks for a path with `Connection: close`; the status and the body.
    fn get(&self, path: &str) -> (u16, String) {
        let (head, body) =
            self.ask(&format!("GET /throughline/v1/probe/{path} HTTP/1.1|Host: realm|Connection: close||"));
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body)
    }
}

/// Times are the one thing that no run repeats.
fn without_times(body: &str) -> String {
    let mut parts = body.split("\"at\":");
    let mut out = parts.next().unwrap().to_owned();
    for part in parts {
        let (at, rest) = part.split_once(',').unwrap();
        assert!(at.bytes().all(|b| b.is_ascii_digit()), "{at}");
        out.push_str("\"at\":0,");
        // What the time took of the padding.
        let (before, after) = rest.split_once("\"pad\":\"").unwrap();
        out.push_str(&format!("{before}\"pad\":\"{}{after}", ".".repeat(at.len() - 1)));
    }
    out
}

#[test]
fn inspect_shows_a_request_as_it_came() {
    let world = World::new("");
    let (head, body) = world.ask(
        "POST /throughline/v1/probe/inspect?a=%22&b HTTP/1.1|hOST: realm|X-b: 2|COOKIE: a=b|x-A: 1|X-b: ü\"|\
         Proxy-authorization: Basic eA==|Connection: close|Content-Length: 2||xy",
    );
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    for line in ["throughline: 1", "cache-control: no-cache, no-store, no-transform", "content-type: application/json"]
    {
        assert!(head.lines().any(|known| known == line), "{line} is not in {head}");
    }
    assert_eq!(
        body,
        "{\"type\":\"inspect\",\"method\":\"POST\",\"target\":\"/throughline/v1/probe/inspect?a=%22&b\",\"target_bytes\":37,\
         \"http\":\"1.1\",\"raw\":true,\"headers\":[[\"hOST\",\"realm\"],[\"X-b\",\"2\"],[\"COOKIE\",\"...\"],[\"x-A\",\"1\"],\
         [\"X-b\",\"ü\\\"\"],[\"Proxy-authorization\",\"...\"],[\"Connection\",\"close\"],[\"Content-Length\",\"2\"]],\
         \"header_bytes\":91,\"address\":\"127.0.0.1\",\"tls\":null,\"secure\":false,\"network\":\"a46389197016e91e\"}"
    );
    world.realm.stop();
}

#[test]
fn a_later_request_of_a_connection_says_that_letter_case_is_lost() {
    let world = World::new("");
    let first = "GET /healthz HTTP/1.1|Host: realm||";
    let (_, body) = world.ask(&format!(
        "{first}GET http://realm/throughline/v1/probe/inspect HTTP/1.1|X-Case: Kept|HOST: realm|Connection: close||"
    ));
    let (_, body) = body.split_once("\r\n\r\n").unwrap();
    assert!(body.contains("\"target\":\"http://realm/throughline/v1/probe/inspect\",\"target_bytes\":41,"), "{body}");
    assert!(
        body.contains(
            "\"raw\":false,\"headers\":[[\"x-case\",\"Kept\"],[\"host\",\"realm\"],[\"connection\",\"close\"]]"
        ),
        "{body}"
    );
    world.realm.stop();
}

#[test]
fn long_targets_and_values_are_cut_and_counted() {
    let world = World::new("");
    let (long, value) = ("x".repeat(5000), "ü".repeat(1500));
    let (_, body) =
        world.ask(&format!("GET /throughline/v1/probe/inspect?{long} HTTP/1.0|A: {value}|B: {}||", "y".repeat(1024)));
    assert!(body.contains(&format!(
        "\"target\":\"/throughline/v1/probe/inspect?{}\",\"target_bytes\":5030,",
        "x".repeat(2018)
    )));
    assert!(body.contains(&format!(
        "[\"A\",\"{}\"],[\"B\",\"{}\"]],\"header_bytes\":4026,",
        "ü".repeat(1024),
        "y".repeat(1024)
    )));
    assert!(body.contains("\"http\":\"1.0\""));
    world.realm.stop();
}

#[test]
fn post_tells_length_and_hash() {
    let world = World::new("limits.event_bytes_max = 1024\n");
    let post = |body: &str, headers: &str| {
        world.ask(&format!("POST /throughline/v1/probe/post HTTP/1.1|Host: realm|Connection: close|{headers}||{body}"))
    };
    assert_eq!(post("", "Content-Length: 0").1, "{\"bytes\":0,\"fnv1a\":\"cbf29ce484222325\"}");
    assert_eq!(post("foobar", "Content-Length: 6").1, "{\"bytes\":6,\"fnv1a\":\"85944171f73967e8\"}");
    assert_eq!(post("3|foo|3|bar|0||", "Transfer-Encoding: chunked").1, "{\"bytes\":6,\"fnv1a\":\"85944171f73967e8\"}");
    let (head, body) = post(&"x".repeat(1025), "Content-Length: 1025");
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    assert!(body.contains("\"event_too_large\"") && body.contains("limits.event_bytes_max = 1024"), "{body}");
    world.realm.stop();
}

#[test]
fn a_stream_has_the_bytes_of_one_that_carries_a_link() {
    let world = World::new("");
    let ask = |query: &str, version: &str| {
        world.ask(&format!("GET /throughline/v1/probe/stream?gap=0&n=2&{query} HTTP/{version}|Host: realm:9000|Referer: http://realm:9000/page||"))
    };
    let message = |k: u32| format!("{{\"type\":\"probe\",\"n\":{k},\"at\":0,\"of\":2,\"pad\":\"{}\"}}", ".".repeat(19));
    let (head, body) = ask("", "1.1");
    let expected = "HTTP/1.1 200 OK\r\nthroughline: 1\r\ncontent-type: text/plain; charset=utf-8\r\n\
                    x-content-type-options: nosniff\r\ncache-control: no-cache, no-store, no-transform\r\n\
                    x-accel-buffering: no\r\nvary: Origin\r\nconnection: close\r\ntransfer-encoding: chunked";
    assert_eq!(head, expected);
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let padding = format!("{}\n", " ".repeat(2047));
    let lines = [1, 2].map(|k| format!("{}\n", message(k)));
    assert_eq!(without_times(&body), format!("{}{}{}0\r\n\r\n", chunk(&padding), chunk(&lines[0]), chunk(&lines[1])));

    let (head, body) = ask("type=sse", "1.0");
    assert!(head.starts_with("HTTP/1.0 200 OK\r\n") && head.ends_with("\r\nconnection: close"), "{head}");
    assert!(head.contains("\r\ncontent-type: text/event-stream; charset=utf-8\r\n"), "{head}");
    let padding = format!(":{}\n\n", " ".repeat(2045));
    assert_eq!(without_times(&body), format!("{padding}data: {}\n\ndata: {}\n\n", message(1), message(2)));

    let (_, body) = ask("type=iframe&origin=http://realm:9000", "1.0");
    assert!(body.contains("parent.postMessage({throughline:\"probe\",data:d},\"http://realm:9000\")"), "{body}");
    assert_eq!(body.matches("<script>m(\"{\\\"type\\\":\\\"probe\\\"").count(), 2, "{body}");
    world.realm.stop();
}

#[test]
fn a_message_has_the_size_that_was_asked_for() {
    let world = World::new("");
    for size in [64, 65, 1000, 16_384] {
        let (_, body) =
            world.ask(&format!("GET /throughline/v1/probe/stream?gap=0&n=1000&size={size} HTTP/1.0|Host: realm||"));
        let sizes: Vec<_> = body.lines().skip(1).map(str::len).collect();
        assert_eq!(sizes, vec![size; 1000]);
    }
    world.realm.stop();
}

#[test]
fn polls_are_held_and_answered_whole() {
    let world = World::new("");
    let (status, body) = world.get("poll?hold=0");
    assert_eq!(status, 200);
    assert!(body.starts_with("{\"held_ms\":") && body.ends_with('}'), "{body}");
    let (_, body) = world.get("poll?hold=1");
    let held: u64 = body.trim_start_matches("{\"held_ms\":").trim_end_matches('}').parse().unwrap();
    assert!(held >= 1000, "{body}");
    world.realm.stop();
}

#[test]
fn what_is_malformed_is_refused_with_the_range() {
    let world = World::new("");
    let cases = [
        ("stream?n=0", 400, "expected a number from 1 to 1000"),
        ("stream?gap=1e3", 400, "expected a number from 0 to 60000"),
        ("stream?size=16385", 400, "expected a number from 64 to 16384"),
        ("stream?n=10&n=10", 400, "given twice"),
        ("stream?type=%ff", 400, "not UTF-8"),
        ("stream?type=iframe&origin=http://realm", 403, "does not tell which page asks"),
        ("poll?hold=61", 400, "expected a number from 0 to 60"),
        ("post", 405, "GET is not possible here; POST is"),
        ("nothing", 404, "probe/{inspect,post,poll,stream,websocket}"),
        ("websocket?hello=1", 426, ""),
    ];
    for (path, expected, part) in cases {
        let (status, body) = world.get(path);
        assert_eq!(status, expected, "{path}: {body}");
        assert!(body.contains(part), "{path}: {body}");
    }
    let (_, body) = world.ask(
        "GET /throughline/v1/probe/stream?type=iframe HTTP/1.1|Host: realm|Sec-Fetch-Site: same-origin|Connection: close||",
    );
    assert!(body.contains("the query lacks origin"), "{body}");
    world.realm.stop();
}

#[test]
fn origins_are_judged_as_those_of_links() {
    let world = World::new("origins.allowed = [\"https://app.example\"]\n");
    let ask = |origin: &str| {
        world.ask(&format!(
            "GET /throughline/v1/probe/inspect HTTP/1.1|Host: realm|Origin: {origin}|Connection: close||"
        ))
    };
    let (head, _) = ask("https://app.example");
    assert!(head.contains("\r\naccess-control-allow-origin: https://app.example\r\n"), "{head}");
    let (head, body) = ask("https://evil.example");
    assert!(head.starts_with("HTTP/1.1 403 ") && body.contains("bad_origin"), "{head} {body}");
    assert!(!head.contains("access-control-allow-origin"), "{head}");
    world.realm.stop();
}

#[test]
fn networks_that_ask_too_often_are_told_when_to_come_back() {
    let world = World::new("probes.per_minute_max = 3\n");
    for _ in 0..3 {
        assert_eq!(world.get("inspect").0, 200);
    }
    let (head, body) = world.ask("GET /throughline/v1/probe/inspect HTTP/1.1|Host: realm|Connection: close||");
    assert!(head.starts_with("HTTP/1.1 429 ") && head.contains("\r\nretry-after: "), "{head}");
    assert!(body.contains("\"too_many_probes\"") && body.contains("\"limit\":3"), "{body}");
    world.realm.stop();
}

#[test]
fn switched_off_they_are_not_there() {
    let world = World::new("probes.enabled = false\n");
    for path in ["inspect", "poll", "stream", "post"] {
        let (status, body) = world.get(path);
        assert_eq!(status, 404, "{path}");
        assert!(body.contains("probes.enabled = false"), "{body}");
    }
    let (head, _) = world.ask(
        "GET /throughline/v1/probe/websocket HTTP/1.1|Host: realm|Upgrade: websocket|Connection: Upgrade, close|\
         Sec-WebSocket-Version: 13|Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==||",
    );
    assert!(head.starts_with("HTTP/1.1 404 "), "{head}");
    world.realm.stop();
}

#[test]
fn those_under_way_are_bounded_and_end_with_their_clients() {
    let world = World::new("probes.held_max = 2\nprobes.per_minute_max = 1000000\n");
    let begun = |path: &str| {
        let mut client = world.connect();
        client
            .write_all(format!("GET /throughline/v1/probe/{path} HTTP/1.1\r\nHost: realm\r\n\r\n").as_bytes())
            .unwrap();
        client
    };
    let mut stream = begun("stream?n=2&gap=60000");
    stream.read_exact(&mut [0; 1000]).unwrap();
    let poll = begun("poll?hold=60");
    let status = || world.get("poll?hold=0").0;
    while status() != 503 {}
    // One leaves by the end of its side, one by a reset or an end of both.
    stream.shutdown(Shutdown::Write).unwrap();
    drop(poll);
    while status() != 200 {}
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).unwrap();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "a stream that is cut does not end like one that is whole");
    let (first, second) = (begun("poll?hold=60"), begun("poll?hold=60"));
    while status() != 503 {}
    drop((first, second));
    while status() != 200 {}
    world.realm.stop();
}

#[test]
fn a_realm_that_stops_ends_them_whole() {
    let world = World::new("");
    let ask = |path: &str| {
        let mut client = world.connect();
        client
            .write_all(format!("GET /throughline/v1/probe/{path} HTTP/1.1\r\nHost: realm\r\n\r\n").as_bytes())
            .unwrap();
        client
    };
    let mut poll = ask("poll?hold=60");
    let mut stream = ask("stream?n=3&gap=60000");
    let mut text = String::new();
    while !text.contains("\"n\":1,") {
        let mut part = [0; 4096];
        let n = stream.read(&mut part).unwrap();
        text.push_str(std::str::from_utf8(&part[..n]).unwrap());
    }
    while !world.ask("GET /metrics HTTP/1.0||").1.contains("throughline_probes_total{kind=\"poll\"} 1") {}
    let World { realm, _folder } = world;
    realm.stop();
    stream.read_to_string(&mut text).unwrap();
    assert!(text.ends_with("\"}\n\r\n0\r\n\r\n"), "{text}");
    assert_eq!(text.matches("\"type\":\"probe\"").count(), 1);
    let mut answer = String::new();
    poll.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("{\"held_ms\":"), "{answer}");
}
