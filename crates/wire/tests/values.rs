//! Random messages and dictionaries come back as they went, and nothing that comes in makes a decoder panic.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use throughline_wire::close::{CloseCode, Reconnect, reconnect_after};
use throughline_wire::event::{Body, Data, Eid, Epoch, Event, SAFE_INTEGER_MAX, SessionId};
use throughline_wire::message::{
    Carriage, ClientMessage, CloseReason, ErrorCode, From, Gap, GapReason, Limits, MessageKind, Reply, ReplyError,
    ServerMessage, encode_event_object,
};
use throughline_wire::properties::{PROPERTIES_DEPTH_MAX, Properties, Value};

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<String>().prop_map(Value::String),
        any::<bool>().prop_map(Value::Boolean),
        any::<f64>().prop_map(Value::Double),
        any::<f32>().prop_map(Value::Float),
        any::<i64>().prop_map(Value::Long),
        any::<i32>().prop_map(Value::Integer),
        any::<i8>().prop_map(Value::Byte),
        any::<char>().prop_map(Value::Char),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::Array),
            btree_map("[a-z\u{e9}]{1,8}", inner, 0..6).prop_map(Value::Dictionary),
        ]
    })
}

fn map() -> impl Strategy<Value = BTreeMap<String, Value>> {
    btree_map("\\PC{1,20}", value(), 0..6)
}

fn properties() -> impl Strategy<Value = Properties> {
    map().prop_filter_map("small enough", |map| Properties::from_map(&map).ok())
}

fn id() -> impl Strategy<Value = u64> {
    1..=SAFE_INTEGER_MAX
}

fn channel() -> impl Strategy<Value = Box<str>> {
    "[a-zA-Z0-9_.:-]{1,20}(/[a-zA-Z0-9_.:-]{1,10}){0,3}".prop_map(String::into_boxed_str)
}

fn body() -> impl Strategy<Value = Body> {
    let data = prop_oneof![any::<String>().prop_map(Data::text), vec(any::<u8>(), 0..100).prop_map(Data::bytes)];
    let tag = option::of("\\PC{0,60}".prop_map(String::into_boxed_str));
    (data, tag, option::of(properties()), option::of(id())).prop_map(|(data, tag, properties, ttl)| Body {
        data,
        tag,
        properties,
        ttl,
    })
}

fn client_message() -> impl Strategy<Value = ClientMessage> {
    let from = prop_oneof![
        Just(From::New),
        Just(From::All),
        any::<u64>().prop_map(|eid| From::Eid(Eid(eid))),
        any::<(u64, u64)>().prop_map(|(after, epoch)| From::After { after: Eid(after), epoch: Epoch(epoch) }),
    ];
    let client = option::of("[ -~]{0,64}".prop_map(String::into_boxed_str));
    prop_oneof![
        (vec(any::<u64>(), 0..4), option::of(any::<u128>().prop_map(SessionId)), client, any::<Option<u64>>())
            .prop_map(|(versions, session, client, heartbeat)| ClientMessage::Connect {
                versions,
                session,
                client,
                heartbeat
            }),
        (id(), channel(), from).prop_map(|(id, channel, from)| ClientMessage::Subscribe { id, channel, from }),
        (id(), channel()).prop_map(|(id, channel)| ClientMessage::Unsubscribe { id, channel }),
        (id(), channel(), body(), any::<Option<bool>>())
            .prop_map(|(id, channel, body, persistent)| ClientMessage::Publish { id, channel, body, persistent }),
        Just(ClientMessage::Ping),
        Just(ClientMessage::Pong),
        ("[a-z-]{0,32}", "[a-z]{0,32}", any::<u64>(), option::of("[ -~]{0,200}")).prop_map(
            |(transport, failure, after, detail)| ClientMessage::Report {
                transport: transport.into(),
                failure: failure.into(),
                after,
                detail: detail.map(String::into_boxed_str),
            }
        ),
        any::<Option<String>>().prop_map(|reason| ClientMessage::Close { reason }),
    ]
}

fn reply() -> impl Strategy<Value = Result<Reply, ReplyError>> {
    prop_oneof![
        Just(Ok(Reply::Unsubscribed)),
        any::<(u32, u64, u64)>().prop_map(|(number, epoch, eid)| Ok(Reply::Subscribed {
            number,
            epoch: Epoch(epoch),
            eid: Eid(eid)
        })),
        any::<(u64, bool)>().prop_map(|(eid, duplicate)| Ok(Reply::Published { eid: Eid(eid), duplicate })),
        (prop::sample::select(&ErrorCode::ALL[..]), any::<String>(), any::<Option<u64>>())
            .prop_map(|(code, message, limit)| Err(ReplyError { limit, ..ReplyError::new(code, message) })),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    (any::<u64>(), any::<u64>(), body()).prop_map(|(eid, time, body)| Event { eid: Eid(eid), time, body })
}

fn server_message() -> impl Strategy<Value = ServerMessage> {
    let reasons = [GapReason::Capacity, GapReason::Expired, GapReason::Epoch, GapReason::Restart];
    let gap = (any::<u64>(), any::<u64>(), any::<u64>(), prop::sample::select(reasons.to_vec()))
        .prop_map(|(from, to, epoch, reason)| Gap { from: Eid(from), to: Eid(to), epoch: Epoch(epoch), reason });
    let limits = any::<(u64, u64, u64)>().prop_map(|(event_bytes, publishes_max, subscriptions_max)| Limits {
        event_bytes,
        publishes_max,
        subscriptions_max,
    });
    prop_oneof![
        (any::<u64>(), any::<u128>().prop_map(SessionId), any::<u64>(), limits, option::of("[0-9a-z]{0,32}")).prop_map(
            |(version, session, heartbeat, limits, network)| {
                let network = network.map(String::into_boxed_str);
                ServerMessage::Welcome { version, session, heartbeat, limits, network }
            }
        ),
        (any::<u64>(), reply()).prop_map(|(id, result)| ServerMessage::Reply { id, result }),
        (any::<u32>(), event()).prop_map(|(channel, event)| ServerMessage::Event { channel, event }),
        (any::<u32>(), gap).prop_map(|(channel, gap)| ServerMessage::Gap { channel, gap }),
        (any::<u32>(), any::<String>())
            .prop_map(|(channel, reason)| ServerMessage::End { channel, reason: reason.into_boxed_str() }),
        Just(ServerMessage::Ping),
        Just(ServerMessage::Pong),
        any::<u64>().prop_map(|after| ServerMessage::Drain { after }),
        any::<(u16, String)>().prop_map(|(code, reason)| ServerMessage::Close { code, reason }),
    ]
}

fn carriage(kind: MessageKind, bytes: &[u8]) -> Carriage<'_> {
    match kind {
        MessageKind::Text => Carriage::Text(bytes),
        MessageKind::Binary => Carriage::Binary(bytes),
    }
}

/// NaN is not equal to itself, but its spelling is.
fn spelling(map: &BTreeMap<String, Value>) -> String {
    format!("{map:?}")
}

proptest! {
    #[test]
    fn client_messages_come_back(message in client_message()) {
        let mut out = Vec::new();
        let kind = message.encode(&mut out);
        prop_assert_eq!(ClientMessage::decode(carriage(kind, &out)), Ok(message));
    }

    #[test]
    fn client_messages_come_back_from_a_line_of_text(message in client_message()) {
        let mut out = Vec::new();
        message.encode_text(&mut out);
        prop_assert!(!out.contains(&b'\n'));
        prop_assert_eq!(ClientMessage::decode(Carriage::Text(&out)), Ok(message));
    }

    #[test]
    fn server_messages_come_back(message in server_message()) {
        let mut out = Vec::new();
        let kind = message.encode(&mut out);
        prop_assert_eq!(ServerMessage::decode(carriage(kind, &out)), Ok(message));
    }

    #[test]
    fn server_messages_come_back_from_a_line_of_text(message in server_message()) {
        let mut out = Vec::new();
        message.encode_text(&mut out);
        prop_assert!(!out.contains(&b'\n'));
        prop_assert_eq!(ServerMessage::decode(Carriage::Text(&out)), Ok(message));
    }

    #[test]
    fn properties_come_back_with_their_types(map in map()) {
        let properties = Properties::from_map(&map).expect("small");
        prop_assert_eq!(spelling(&properties.to_map().expect("what was written")), spelling(&map));
        prop_assert_eq!(Properties::from_json(properties.as_json()), Ok(properties));
    }

    #[test]
    fn listed_events_are_json_without_type_and_channel(event in event()) {
        let mut out = Vec::new();
        encode_event_object(&event, &mut out);
        let json: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
        prop_assert_eq!(&json["eid"], &event.eid.to_string());
        prop_assert!(json.get("type").is_none() && json.get("channel").is_none());
        prop_assert_eq!(json["data"].as_str(), event.body.data.as_text());
        prop_assert_eq!(json["base64"].is_string(), !event.body.data.is_text());
    }

    #[test]
    fn any_input_has_an_outcome(bytes in vec(any::<u8>(), 0..100), at: prop::sample::Index, message in client_message()) {
        let mut damaged = Vec::new();
        let kind = message.encode(&mut damaged);
        let at = at.index(damaged.len());
        damaged[at] = damaged[at].wrapping_add(1);
        for carriage in [carriage(kind, &damaged), Carriage::Text(&bytes), Carriage::Binary(&bytes)] {
            let faults = [
                ClientMessage::decode(carriage).err().map(|e| e.to_string()),
                ServerMessage::decode(carriage).err().map(|e| e.to_string()),
            ];
            prop_assert!(faults.into_iter().flatten().all(|text| !text.is_empty()));
        }
    }

    #[test]
    fn close_reasons_fit_a_frame(reason: String) {
        let cut = CloseReason::new(CloseCode::Drain, reason.clone());
        prop_assert!(cut.reason.len() <= CloseReason::BYTES_MAX && reason.starts_with(&cut.reason));
        prop_assert!(cut.reason == reason || cut.reason.len() + 4 > CloseReason::BYTES_MAX);
    }
}

#[test]
fn dictionaries_nest_to_their_depth_and_no_deeper() {
    let nested = |depth: usize| {
        let mut map = BTreeMap::new();
        for _ in 1..depth {
            map = BTreeMap::from([("a".to_owned(), Value::Dictionary(map))]);
        }
        Properties::from_map(&map)
    };
    assert!(nested(PROPERTIES_DEPTH_MAX).is_ok());
    assert!(nested(PROPERTIES_DEPTH_MAX + 1).is_err());
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = format!("{{\"type\":\"ping\",\"x\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(ClientMessage::decode(Carriage::Text(deep.as_bytes())), Ok(ClientMessage::Ping));
    let properties = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert!(Properties::from_json(&properties).is_err());
}

#[test]
fn close_codes_say_whether_to_come_back() {
    let cases = [(4000, Reconnect::Now), (4099, Reconnect::Now), (4100, Reconnect::Later), (4199, Reconnect::Later)];
    for (code, reconnect) in cases {
        assert_eq!(reconnect_after(code), reconnect, "{code}");
    }
    let others = [(4200, Reconnect::Never), (1000, Reconnect::Now), (1006, Reconnect::Later), (1002, Reconnect::Never)];
    for (code, reconnect) in others {
        assert_eq!(reconnect_after(code), reconnect, "{code}");
    }
}

#[test]
fn a_json_string_escapes_what_has_to_be_wherever_it_stands() {
    for length in [1, 31, 32, 33, 64, 100] {
        for at in 0..length {
            for special in ['"', '\\', '\n', '\u{1}', '\u{1f}', '\u{7f}', 'é'] {
                let mut text = "x".repeat(length);
                text.replace_range(at..at + 1, &special.to_string());
                let mut json = Vec::new();
                throughline_wire::message::write_json_string(&mut json, &text);
                assert_eq!(serde_json::from_slice::<String>(&json).ok(), Some(text));
            }
        }
    }
}
