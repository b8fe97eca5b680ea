use throughline_engine::store::StoreError;

use super::*;

const EVENTS: &str = "/throughline/v1/channels/a/events";
const CHANNEL: &str = "/throughline/v1/channels/a";
const SESSION: (&str, &str) = ("Throughline-Session", "000102030405060708090a0b0c0d0e0f");

/// Requests that are refused: method, target, headers, body, status, code, and a part of the message.
type Refused<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str, &'a str);

async fn refused(realm: &Realm, cases: &[Refused<'_>]) {
    for (method, target, headers, body, status, code, message) in cases {
        let answer = realm.send(method, target, headers, body).await;
        assert_eq!(answer.status, *status, "{method} {target} {headers:?}: {}", answer.body);
        assert_eq!(answer.header("content-type"), "application/json");
        let error: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        assert_eq!(error["error"]["code"], *code, "{method} {target} {headers:?}: {}", answer.body);
        let text = error["error"]["message"].as_str().unwrap();
        assert!(text.contains(message), "{method} {target} {headers:?}: {text}");
    }
}

#[tokio::test]
async fn bad_publishes() {
    let realm = Realm::new("");
    let long = format!("{EVENTS}?tag={}", "x".repeat(256));
    let id = |value| [SESSION, ("Throughline-Id", value)];
    let (zero, huge, signed) = (id("0"), id("9007199254740992"), id("+1"));
    refused(
        &realm,
        &[
            ("POST", &long, &[], b"x", 400, "bad_event", "tag has 256 bytes, at most 255"),
            ("POST", &format!("{EVENTS}?ttl=0"), &[], b"x", 400, "bad_event", "ttl is \"0\""),
            ("POST", &format!("{EVENTS}?ttl=-1"), &[], b"x", 400, "bad_event", "ttl is \"-1\""),
            ("POST", &format!("{EVENTS}?ttl=9007199254740992"), &[], b"x", 400, "bad_event", "2^53-1"),
            ("POST", &format!("{EVENTS}?persistent=yes"), &[], b"x", 400, "bad_request", "expected true or false"),
            (
                "POST",
                &format!("{EVENTS}?persistant=true"),
                &[],
                b"x",
                400,
                "bad_request",
                "did you mean \"persistent\"?",
            ),
            ("POST", &format!("{EVENTS}?tag=a&tag=b"), &[], b"x", 400, "bad_request", "given twice"),
            ("POST", &format!("{EVENTS}?tag=%ff"), &[], b"x", 400, "bad_request", "not UTF-8"),
            ("POST", &format!("{EVENTS}?persistent=true"), &[], b"x", 400, "not_persistent", ""),
            ("POST", EVENTS, &[], b"\xff", 400, "bad_event", "application/octet-stream"),
            ("POST", EVENTS, &[("Content-Type", "text/image/png")], b"\xff", 400, "bad_event", "UTF-8"),
            ("POST", EVENTS, &[SESSION], b"x", 400, "bad_request", "go together"),
            ("POST", EVENTS, &[("Throughline-Id", "1")], b"x", 400, "bad_request", "go together"),
            (
                "POST",
                EVENTS,
                &[("Throughline-Session", "1"), ("Throughline-Id", "1")],
                b"x",
                400,
                "bad_request",
                "32 lower-case",
            ),
            ("POST", EVENTS, &zero, b"x", 400, "bad_request", "1 to 2^53-1"),
            ("POST", EVENTS, &huge, b"x", 400, "bad_request", "1 to 2^53-1"),
            ("POST", EVENTS, &signed, b"x", 400, "bad_request", "1 to 2^53-1"),
            ("POST", "/throughline/v1/channels/a%20b/events", &[], b"x", 400, "bad_channel_name", "' '"),
            ("POST", "/throughline/v1/channels/a%ff/events", &[], b"x", 400, "bad_channel_name", "not UTF-8"),
            ("POST", "/throughline/v1/channels//events", &[], b"x", 400, "bad_channel_name", "empty"),
            ("POST", "/throughline/v1/channels/a//b/events", &[], b"x", 400, "bad_channel_name", "two in a row"),
            ("POST", CHANNEL, &[], b"x", 405, "method_not_allowed", "GET, HEAD, PUT, DELETE"),
        ],
    )
    .await;
    assert!(realm.context.engine.channels().iter().all(|channel| channel.status().events == 0));
}

#[tokio::test]
async fn bad_reads_and_creations() {
    let realm = Realm::new("");
    realm.send("PUT", CHANNEL, &[], b"").await;
    refused(
        &realm,
        &[
            ("GET", &format!("{EVENTS}?from=0"), &[], b"", 400, "bad_position", "a number from 1"),
            ("GET", &format!("{EVENTS}?from=new"), &[], b"", 400, "bad_position", "\"all\" or an EID"),
            ("GET", &format!("{EVENTS}?from=01"), &[], b"", 400, "bad_position", ""),
            ("GET", &format!("{EVENTS}?limit=0"), &[], b"", 400, "bad_request", "1 to 1000"),
            ("GET", &format!("{EVENTS}?limit=1001"), &[], b"", 400, "bad_request", "1 to 1000"),
            ("GET", &format!("{EVENTS}?limit=%2B5"), &[], b"", 400, "bad_request", "1 to 1000"),
            ("GET", "/throughline/v1/channels/b/events", &[], b"", 404, "unknown_channel", "\"b\""),
            ("GET", "/throughline/v1/channels/b", &[], b"", 404, "unknown_channel", "\"b\""),
            ("DELETE", "/throughline/v1/channels/b", &[], b"", 404, "unknown_channel", "\"b\""),
            ("PUT", CHANNEL, &[], b"{", 400, "bad_request", "no JSON"),
            ("PUT", CHANNEL, &[], b"[]", 400, "bad_request", "no JSON object"),
            ("PUT", CHANNEL, &[], b"{\"type\":1}", 400, "bad_request", "no string"),
            (
                "PUT",
                CHANNEL,
                &[],
                b"{\"type\":\"durable\"}",
                400,
                "bad_request",
                "transient, reliable, persistent or mixed",
            ),
            ("PUT", CHANNEL, &[], b"{\"capacity\":0}", 400, "bad_request", "null for no limit"),
            ("PUT", CHANNEL, &[], b"{\"ttl\":-1}", 400, "bad_request", "null for no limit"),
            ("PUT", CHANNEL, &[], b"{\"bytes\":1.5}", 400, "bad_request", "null for no limit"),
            ("PUT", CHANNEL, &[], b"{\"capacty\":5}", 400, "bad_request", "did you mean \"capacity\"?"),
            ("PUT", CHANNEL, &[], b"{\"type\":\"transient\"}", 409, "conflict", "exists as"),
            ("PUT", EVENTS, &[], b"", 405, "method_not_allowed", "GET, HEAD, POST"),
            ("PUT", &format!("{CHANNEL}?type=transient"), &[], b"", 400, "bad_request", "unknown query parameter"),
            ("OPTIONS", "/healthz", &[], b"", 405, "method_not_allowed", "GET, HEAD"),
            ("GET", "/throughline/v1/diagnose", &[], b"", 400, "bad_request", "no id"),
            ("POST", "/healthz", &[], b"", 405, "method_not_allowed", ""),
            ("POST", "/", &[], b"", 405, "method_not_allowed", ""),
            ("GET", "/throughline/v1", &[], b"", 404, "not_found", "/throughline/v1/channels"),
            ("GET", "/throughline/v2/channels", &[], b"", 404, "not_found", "/healthz"),
            ("GET", "/throughline/v1/channelsx", &[], b"", 404, "not_found", ""),
            ("GET", "/favicon.ico", &[], b"", 404, "not_found", ""),
        ],
    )
    .await;
    let allowed = realm.send("PATCH", CHANNEL, &[], b"").await;
    assert_eq!((allowed.status, allowed.header("allow")), (405, "GET, HEAD, PUT, DELETE"));
}

#[tokio::test]
async fn text_and_bytes_by_content_type() {
    let realm = Realm::new("");
    let cases = [
        ("", true),
        ("text/plain; charset=utf-8", true),
        ("application/json", true),
        ("application/x-www-form-urlencoded", true),
        ("application/octet-stream", false),
        ("Application/Octet-Stream; x=y", false),
        ("image/png", false),
        ("audio/ogg", false),
        ("video/mp4", false),
    ];
    for (kind, text) in cases {
        let headers = [("Content-Type", kind)];
        let headers = if kind.is_empty() { &headers[..0] } else { &headers };
        assert_eq!(realm.send("POST", EVENTS, headers, b"abc").await.status, 201, "{kind}");
        let eid = realm.context.engine.channel("a").unwrap().status().last;
        let page = realm.send("GET", &format!("{EVENTS}?from={eid}"), &[], b"").await;
        assert_eq!(page.body.contains("\"data\":\"abc\""), text, "{kind}: {}", page.body);
        assert_eq!(page.body.contains("\"base64\":\"YWJj\""), !text, "{kind}: {}", page.body);
    }
}

#[tokio::test]
async fn what_the_query_says_of_an_event_comes_back() {
    let realm = Realm::new("");
    let target = format!("{EVENTS}?tag=a+b%2B%22&ttl=5000");
    assert_eq!(realm.send("POST", &target, &[], b"").await.body, "{\"channel\":\"a\",\"eid\":\"1\"}");
    let page = realm.send("GET", EVENTS, &[], b"").await;
    assert!(
        page.body.contains(r#"[{"eid":"1","time":1700000000000,"tag":"a b+\"","ttl":5000,"data":""}]"#),
        "{}",
        page.body
    );
}

#[tokio::test]
async fn a_repeated_publish_is_stored_once_also_after_a_restart() {
    let realm = Realm::new("[channels.defaults]\ntype = \"persistent\"");
    let headers = [SESSION, ("Throughline-Id", "7")];
    let first = realm.send("POST", EVENTS, &headers, b"x").await;
    assert_eq!((first.status, first.body.as_str()), (201, r#"{"channel":"a","eid":"1"}"#));
    let again = realm.send("POST", EVENTS, &headers, b"x").await;
    assert_eq!((again.status, again.body.as_str()), (200, r#"{"channel":"a","eid":"1","duplicate":true}"#));
    let restarted = realm.restarted();
    let again = restarted.send("POST", EVENTS, &headers, b"x").await;
    assert_eq!((again.status, again.body.as_str()), (200, r#"{"channel":"a","eid":"1","duplicate":true}"#));
    assert_eq!(restarted.send("POST", EVENTS, &[], b"y").await.body, r#"{"channel":"a","eid":"2"}"#);
}

#[tokio::test]
async fn pages_follow_one_another_through_memory_and_disk() {
    let realm = Realm::new("[[channel]]\nname = \"a\"\ntype = \"persistent\"");
    let count = 3000;
    for i in 0..count {
        assert_eq!(realm.send("POST", EVENTS, &[], i.to_string().as_bytes()).await.status, 201);
    }
    let (mut from, mut seen) = ("all".to_owned(), 0);
    loop {
        let page = realm.send("GET", &format!("{EVENTS}?from={from}&limit=700"), &[], b"").await;
        let page: serde_json::Value = serde_json::from_str(&page.body).unwrap();
        assert!(page.get("gap").is_none());
        for event in page["events"].as_array().unwrap() {
            assert_eq!(event["data"], seen.to_string());
            seen += 1;
        }
        from = page["next"].as_str().unwrap().to_owned();
        if page.get("more").is_none() {
            break;
        }
    }
    assert_eq!(seen, count);
    // The next page can be asked for before there is anything on it.
    let page = realm.send("GET", &format!("{EVENTS}?from={from}"), &[], b"").await;
    assert!(page.body.contains("\"events\":[],\"next\":\"3001\"}"), "{}", page.body);
}

#[tokio::test]
async fn bodies_are_bounded_while_they_are_read() {
    let realm = Realm::new("limits.event_bytes_max = 2048");
    let whole = realm.send("POST", EVENTS, &[], &[b'x'; 2049]).await;
    let endless = Endless(Bytes::from_static(&[b'x'; 100]));
    let streamed = realm.send_body("POST", EVENTS, &[], endless).await;
    for answer in [whole, streamed] {
        assert_eq!(answer.status, 413);
        assert!(
            answer.body.contains("\"code\":\"event_too_large\"") && answer.body.contains("\"limit\":2048"),
            "{}",
            answer.body
        );
    }
    let description = realm.send("PUT", CHANNEL, &[], &[b' '; 65_537]).await;
    assert_eq!((description.status, description.body.contains("\"limit\":65536")), (413, true), "{}", description.body);
    assert_eq!(realm.send("POST", EVENTS, &[], &[b'x'; 2048]).await.status, 201);
    assert_eq!(realm.context.bodies.budget().used(), 0);
}

#[tokio::test]
async fn a_body_in_pieces_is_put_together() {
    let realm = Realm::new("");
    let pieces = ["wo", "e t", "", "on"];
    let body = Pieces(pieces.to_vec());
    assert_eq!(realm.send_body("POST", EVENTS, &[], body).await.status, 201);
    assert!(realm.send("GET", EVENTS, &[], b"").await.body.contains("\"data\":\"one two\""));
}

#[tokio::test]
async fn all_bodies_together_are_bounded_and_the_oldest_make_room() {
    let realm = Realm::new("limits.event_bytes_max = 1048576\nlimits.pending_bytes_max = 1048576");
    const HALF: Bytes = Bytes::from_static(&[b'x'; 600_000]);
    let slow = realm.send_body("POST", EVENTS, &[], Slow(Some(HALF)));
    let quick = async {
        // The slow one has begun: it was polled first.
        let answer = realm.send("POST", EVENTS, &[], &HALF).await;
        assert_eq!(answer.status, 201, "{}", answer.body);
    };
    let (slow, ()) = tokio::join!(slow, quick);
    assert_eq!((slow.status, slow.header("retry-after")), (503, "1"));
    assert!(slow.body.contains("\"code\":\"overloaded\""), "{}", slow.body);
    assert_eq!(realm.context.bodies.budget().used(), 0);
}

#[tokio::test]
async fn pages_end_by_their_bytes_and_those_under_way_are_bounded() {
    let realm = Realm::new("limits.answer_bytes_max = 16777216");
    for _ in 0..3 {
        // JSON makes six bytes of each.
        assert_eq!(realm.send("POST", EVENTS, &[], &[1; 1_000_000]).await.status, 201);
    }
    let page = realm.send("GET", EVENTS, &[], b"").await;
    assert_eq!(page.body.matches("\"eid\":").count(), 1);
    assert!(page.body.ends_with("],\"next\":\"2\",\"more\":true}"));
    let rest = realm.send("GET", &format!("{EVENTS}?from=3"), &[], b"").await;
    assert!(rest.body.ends_with("],\"next\":\"4\"}"));
    let answers = &realm.context.answers;
    assert_eq!(answers.used(), 0);
    answers.add(12_000_000);
    let refused = realm.send("GET", EVENTS, &[], b"").await;
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("limits.answer_bytes_max"), "{}", refused.body);
    answers.give_back(12_000_000);
    assert!(answers.take_alone(20_000_000), "one that is larger than all may be is sent when it is alone");
    assert!(!answers.take_alone(1));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_given_up() {
    let realm = Realm::new("timeouts.body_ms = 100");
    let answer = realm.send_body("POST", EVENTS, &[], Slow(None)).await;
    assert_eq!(answer.status, 408);
    assert!(answer.body.contains("timeouts.body_ms = 100"), "{}", answer.body);
}

#[tokio::test]
async fn a_full_or_broken_disk_is_told_and_nothing_is_stored() {
    let realm = Realm::new("[[channel]]\nname = \"a\"\ntype = \"persistent\"");
    realm.store.fail(Some(StoreError::Full("no space".to_owned())));
    refused(&realm, &[("POST", EVENTS, &[], b"x", 507, "store_full", "make room")]).await;
    realm.store.fail(Some(StoreError::Failed("input/output error".to_owned())));
    refused(&realm, &[("POST", EVENTS, &[], b"x", 500, "store_failed", "")]).await;
    realm.store.fail(None);
    assert_eq!(realm.send("POST", EVENTS, &[], b"x").await.status, 201);
    let page = realm.send("GET", EVENTS, &[], b"").await;
    assert_eq!(page.body.matches("\"eid\"").count(), 1, "{}", page.body);
}

#[tokio::test]
async fn pages_from_elsewhere_change_nothing() {
    let realm = Realm::new("origins.allowed = [\"https://app.example.com\"]");
    for (method, target) in [("POST", EVENTS), ("PUT", CHANNEL), ("DELETE", CHANNEL)] {
        for origin in ["https://evil.example", "null", "http://localhost:9001", "https://app.example.com:8443"] {
            refused(&realm, &[(method, target, &[("Origin", origin)], b"", 403, "bad_origin", "origins.allowed")])
                .await;
        }
    }
    assert!(realm.context.engine.channels().is_empty());
    for origin in ["http://localhost:9000", "https://app.example.com"] {
        assert_eq!(realm.send("POST", EVENTS, &[("Origin", origin)], b"x").await.status, 201, "{origin}");
    }
    let two = [("Origin", "http://localhost:9000"), ("Origin", "https://evil.example")];
    assert_eq!(realm.send("POST", EVENTS, &two, b"x").await.status, 403);
    // Reading is left to the browser's own rule: the page cannot see the answer.
    assert_eq!(realm.send("GET", EVENTS, &[("Origin", "https://evil.example")], b"").await.status, 200);
}

#[tokio::test]
async fn a_realm_without_auto_create_has_the_operators_channels_only() {
    let realm = Realm::new("auto_create = false\n[[channel]]\nname = \"a\"");
    assert_eq!(realm.send("POST", EVENTS, &[], b"x").await.status, 201);
    refused(&realm, &[("POST", "/throughline/v1/channels/b/events", &[], b"x", 404, "unknown_channel", "")]).await;
    assert_eq!(realm.send("PUT", "/throughline/v1/channels/b", &[], b"").await.status, 201);
    assert_eq!(realm.send("POST", "/throughline/v1/channels/b/events", &[], b"x").await.status, 201);
}

#[tokio::test]
async fn creation_is_repeatable_and_null_is_no_limit() {
    let realm = Realm::new("");
    let text = br#"{"type":"mixed","capacity":5,"bytes":null,"ttl":60000}"#;
    let first = realm.send("PUT", CHANNEL, &[], text).await;
    assert!(
        first.body.starts_with(r#"{"name":"a","type":"mixed","capacity":5,"bytes":null,"ttl":60000,"#),
        "{}",
        first.body
    );
    let again = realm.send("PUT", CHANNEL, &[], text).await;
    assert_eq!((first.status, again.status), (201, 200));
    assert_eq!(first.body, again.body);
    assert_eq!(realm.send("GET", CHANNEL, &[], b"").await.body, first.body);
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let realm = Realm::new("");
    realm.send("POST", EVENTS, &[], b"x").await;
    for target in
        ["/", "/healthz", "/throughline/v1/channels", CHANNEL, EVENTS, "/throughline/v1/client.js", "/nothing"]
    {
        let get = realm.send("GET", target, &[], b"").await;
        let head = realm.send("HEAD", target, &[], b"").await;
        assert_eq!((get.status, &get.head), (head.status, &head.head), "{target}");
        assert_eq!(get.head[CONTENT_LENGTH], get.body.len().to_string(), "{target}");
        assert!(head.body.is_empty() && !get.body.is_empty(), "{target}");
    }
}

#[tokio::test]
async fn the_page_and_its_files() {
    let realm = Realm::new("");
    let cases = [
        ("/", "text/html; charset=utf-8"),
        ("/throughline/v1/page.js", "text/javascript; charset=utf-8"),
        ("/throughline/v1/page.css", "text/css; charset=utf-8"),
        ("/throughline/v1/client.js", "text/javascript; charset=utf-8"),
        ("/throughline/v1/client.iife.js", "text/javascript; charset=utf-8"),
    ];
    for (target, kind) in cases {
        let first = realm.send("GET", target, &[], b"").await;
        assert_eq!((first.status, first.header("content-type")), (200, kind));
        assert_eq!((first.header("cache-control"), first.header("x-content-type-options")), ("no-cache", "nosniff"));
        let tag = first.head[ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
            let again = realm.send("GET", target, &[("If-None-Match", &known)], b"").await;
            assert_eq!(
                (again.status, again.body.as_str(), again.header("etag")),
                (304, "", tag.as_str()),
                "{target} {known}"
            );
        }
        let other = realm.send("GET", target, &[("If-None-Match", "\"x\"")], b"").await;
        assert_eq!((other.status, other.body), (200, first.body), "{target}");
        assert_eq!(first.head.contains_key("content-security-policy"), target == "/", "{target}");
    }
    let policy = realm.send("GET", "/", &[], b"").await.header("content-security-policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self';") && !policy.contains("unsafe"), "{policy}");
}

#[tokio::test]
async fn a_stopping_realm_reads_but_takes_nothing() {
    let realm = Realm::new("");
    realm.send("POST", EVENTS, &[], b"x").await;
    realm.context.set_draining();
    for (method, target) in [("POST", EVENTS), ("PUT", CHANNEL), ("DELETE", CHANNEL)] {
        refused(&realm, &[(method, target, &[], b"", 503, "draining", "stopping")]).await;
    }
    let health = realm.send("GET", "/healthz", &[], b"").await;
    assert_eq!((health.status, health.body.as_str()), (503, r#"{"status":"draining"}"#));
    assert_eq!(realm.send("GET", EVENTS, &[], b"").await.status, 200);
}

#[tokio::test]
async fn channels_are_paged_by_name() {
    let realm = Realm::new("");
    for name in ["b", "a/b", "d", "c", "a"] {
        realm.send("PUT", &format!("/throughline/v1/channels/{name}"), &[], b"").await;
    }
    let pages = [
        ("", vec!["a", "a/b", "b", "c", "d"], None),
        ("?limit=5", vec!["a", "a/b", "b", "c", "d"], None),
        ("?limit=2", vec!["a", "a/b"], Some("a/b")),
        ("?after=a%2Fb&limit=2", vec!["b", "c"], Some("c")),
        ("?after=c&limit=2", vec!["d"], None),
        // A channel that was deleted between two pages.
        ("?after=bb&limit=1", vec!["c"], Some("c")),
        ("?after=d", vec![], None),
    ];
    for (query, names, next) in pages {
        let answer = realm.send("GET", &format!("/throughline/v1/channels{query}"), &[], b"").await;
        let page: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let found: Vec<_> = page["channels"].as_array().unwrap().iter().map(|c| c["name"].as_str().unwrap()).collect();
        assert_eq!(found, names, "{query}");
        assert_eq!((page["next"].as_str(), page["more"].as_bool()), (next, next.map(|_| true)), "{query}");
    }
    for query in ["limit=0", "limit=1001", "limit=+1", "from=a"] {
        let target = format!("/throughline/v1/channels?{query}");
        refused(&realm, &[("GET", &target, &[], b"", 400, "bad_request", "")]).await;
    }
}

#[tokio::test]
async fn metrics_show_what_happened() {
    let realm = Realm::new("");
    let headers = [SESSION, ("Throughline-Id", "1")];
    realm.send("POST", EVENTS, &headers, b"abc").await;
    realm.send("POST", EVENTS, &headers, b"abc").await;
    realm.send("GET", "/nothing", &[], b"").await;
    let answer = realm.send("GET", "/metrics", &[], b"").await;
    assert_eq!(answer.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    for line in [
        "throughline_channels 1",
        "throughline_events_published_total 1",
        "throughline_publishes_duplicate_total 1",
        "throughline_events_kept 1",
        "throughline_http_requests_total 3",
        "throughline_http_errors_total{code=\"not_found\"} 1",
    ] {
        assert!(answer.body.lines().any(|l| l == line), "{line} is not in\n{}", answer.body);
    }
}

#[test]
fn the_answer_of_a_full_realm_is_whole_http() {
    let answer = String::from_utf8(full_response()).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 503 Service Unavailable\r\nThroughline: 1\r\n"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    let body: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(body["error"]["code"], "overloaded");
}

/// What hyper makes of the answers on a connection, as bytes.
async fn exchange(realm: &'static Realm, requests: &'static str) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let (mut client, server) = tokio::io::duplex(1 << 16);
    let service = hyper::service::service_fn(move |request: Request<hyper::body::Incoming>| async move {
        Ok::<_, std::convert::Infallible>(serve(request, &realm.context).await)
    });
    let connection =
        hyper::server::conn::http1::Builder::new().serve_connection(hyper_util::rt::TokioIo::new(server), service);
    client.write_all(requests.as_bytes()).await.unwrap();
    let mut answers = String::new();
    let (served, read) = tokio::join!(connection, client.read_to_string(&mut answers));
    served.unwrap();
    read.unwrap();
    answers
}

#[tokio::test]
async fn answers_are_well_formed_on_a_connection() {
    let realm: &'static Realm = Box::leak(Box::new(Realm::new("limits.event_bytes_max = 1024")));
    let answers = exchange(
        realm,
        "HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n\
         PUT /throughline/v1/channels/a HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n\
         DELETE /throughline/v1/channels/a HTTP/1.1\r\nHost: a\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\nIf-None-Match: *\r\n\r\n\
         POST /throughline/v1/channels/b/events HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n\
         3\r\none\r\n0\r\n\r\n\
         POST /throughline/v1/channels/b/events HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 1025\r\n\r\n",
    )
    .await;
    let heads: Vec<_> = answers.split("HTTP/1.1 ").skip(1).collect();
    let statuses: Vec<_> = heads.iter().map(|head| &head[..3]).collect();
    assert_eq!(statuses, ["200", "201", "204", "304", "201", "413"], "{answers}");
    assert!(heads[0].contains("content-length: 15\r\n") && heads[0].ends_with("\r\n\r\n"), "{answers}");
    for empty in [heads[2], heads[3]] {
        assert!(empty.ends_with("\r\n\r\n") && !empty.contains("content-length"), "{answers}");
    }
    assert!(heads[4].ends_with("{\"channel\":\"b\",\"eid\":\"1\"}"), "{answers}");
    assert!(heads.iter().all(|head| head.contains("throughline: 1\r\n")), "{answers}");
}
