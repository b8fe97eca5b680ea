//! PROTOCOL.md and the types say the same.

use std::collections::{BTreeMap, BTreeSet};

use throughline_wire::close::{CloseCode, Reconnect, reconnect_after};
use throughline_wire::message::{Carriage, ClientMessage, DecodeError, ErrorCode, ServerMessage};
use throughline_xtask::{markdown, report, tree};

const CLIENT_TYPES: [&str; 8] = ["connect", "subscribe", "unsubscribe", "publish", "ping", "pong", "report", "close"];
const SERVER_TYPES: [&str; 9] = ["welcome", "reply", "event", "gap", "end", "ping", "pong", "drain", "close"];

/// The word on the wire. A new variant does not compile until it has one here, and in the list above.
fn client_type(message: &ClientMessage) -> &'static str {
    match message {
        ClientMessage::Connect { .. } => "connect",
        ClientMessage::Subscribe { .. } => "subscribe",
        ClientMessage::Unsubscribe { .. } => "unsubscribe",
        ClientMessage::Publish { .. } => "publish",
        ClientMessage::Ping => "ping",
        ClientMessage::Pong => "pong",
        ClientMessage::Report { .. } => "report",
        ClientMessage::Close { .. } => "close",
    }
}

fn server_type(message: &ServerMessage) -> &'static str {
    match message {
        ServerMessage::Welcome { .. } => "welcome",
        ServerMessage::Reply { .. } => "reply",
        ServerMessage::Event { .. } => "event",
        ServerMessage::Gap { .. } => "gap",
        ServerMessage::End { .. } => "end",
        ServerMessage::Ping => "ping",
        ServerMessage::Pong => "pong",
        ServerMessage::Drain { .. } => "drain",
        ServerMessage::Close { .. } => "close",
    }
}

/// Rows of the table of section 7: code and what it says of reconnecting.
fn documented_close_codes() -> BTreeMap<u16, String> {
    let text = tree::read("PROTOCOL.md");
    let rows = markdown::rows(markdown::section(&text, "## 7."));
    rows.iter().filter_map(|row| Some((row.first()?.parse().ok()?, row.get(2)?.clone()))).collect()
}

/// First cells of the table of section 4.3.
fn documented_error_codes() -> BTreeSet<String> {
    let text = tree::read("PROTOCOL.md");
    let rows = markdown::rows(markdown::section(&text, "### 4.3"));
    rows.iter().filter_map(|row| Some(row.first()?.strip_prefix('`')?.strip_suffix('`')?.to_owned())).collect()
}

/// Names in bold code, as sections 4.1 and 4.2 introduce messages.
fn documented_messages(heading: &str) -> BTreeSet<String> {
    let text = tree::read("PROTOCOL.md");
    let parts: Vec<String> = markdown::section(&text, heading).split("**`").skip(1).map(str::to_owned).collect();
    parts.iter().filter_map(|part| Some(part.split_once("`**")?.0.to_owned())).collect()
}

fn words(expected: &str) -> Reconnect {
    match expected.split([',', ' ']).next() {
        Some("now") => Reconnect::Now,
        Some("later") => Reconnect::Later,
        Some("no") => Reconnect::Never,
        _ => panic!("PROTOCOL.md section 7: {expected:?} is none of now, later, no"),
    }
}

#[test]
fn close_codes_are_those_of_section_7() {
    let documented = documented_close_codes();
    let coded: BTreeSet<u16> = CloseCode::ALL.iter().map(|code| code.code()).collect();
    assert_eq!(documented.keys().copied().collect::<BTreeSet<_>>(), coded, "PROTOCOL.md section 7 and CloseCode::ALL");
    for (code, reconnect) in documented {
        assert_eq!(reconnect_after(code), words(&reconnect), "close code {code}: PROTOCOL.md and reconnect_after");
    }
}

#[test]
fn error_codes_are_those_of_section_4_3() {
    let coded: BTreeSet<String> = ErrorCode::ALL.iter().map(|code| code.name().to_owned()).collect();
    assert_eq!(documented_error_codes(), coded, "PROTOCOL.md section 4.3 and ErrorCode::ALL");
}

#[test]
fn message_types_are_those_of_section_4() {
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(documented_messages("### 4.1"), set(&CLIENT_TYPES), "PROTOCOL.md section 4.1 and ClientMessage");
    assert_eq!(documented_messages("### 4.2"), set(&SERVER_TYPES), "PROTOCOL.md section 4.2 and ServerMessage");
}

#[test]
fn every_message_type_is_understood() {
    let mut findings = Vec::new();
    let mut check = |name: &str, decoded: Result<&'static str, DecodeError>| match decoded {
        Ok(decoded) if decoded == name => {}
        Ok(decoded) => findings.push(format!("{name}: decoded as {decoded}")),
        Err(error) if error.to_string().contains("unknown message type") => findings.push(format!("{name}: {error}")),
        Err(_) => {}
    };
    for name in CLIENT_TYPES {
        let json = format!("{{\"type\":\"{name}\"}}");
        check(name, ClientMessage::decode(Carriage::Text(json.as_bytes())).map(|message| client_type(&message)));
    }
    for name in SERVER_TYPES {
        let json = format!("{{\"type\":\"{name}\"}}");
        check(name, ServerMessage::decode(Carriage::Text(json.as_bytes())).map(|message| server_type(&message)));
    }
    report::none("the codec knows every message of section 4", "add it to the codec", &findings);
}

/// Words in double quotes, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('"').skip(1).step_by(2)
}

/// What stands between the line that holds `begin` and the next line that begins with `end`.
fn block(path: &str, begin: &str, end: char) -> String {
    let text = tree::read(path);
    let lines = text.lines().skip_while(|line| !line.contains(begin)).skip(1).take_while(|line| !line.starts_with(end));
    let block: String = lines.map(|line| format!("{line}\n")).collect();
    assert!(!block.is_empty(), "{path}: nothing stands below a line with {begin:?}");
    block
}

#[test]
fn typescript_knows_the_same_close_codes() {
    let text = block("client-js/src/close.ts", "export const CloseCode", '}');
    let pairs = text.lines().filter_map(|line| line.trim().trim_end_matches(',').split_once(": "));
    let typescript: BTreeSet<(&str, u16)> = pairs.filter_map(|(name, code)| Some((name, code.parse().ok()?))).collect();
    let rust = CloseCode::ALL.iter().map(|code| (code.name(), code.code())).collect();
    assert_eq!(typescript, rust, "client-js/src/close.ts and CloseCode::ALL");
}

#[test]
fn typescript_knows_the_same_error_codes() {
    let text = block("client-js/src/errors.ts", "export const ERROR_CODES", ']');
    let typescript: BTreeSet<&str> = quoted(&text).collect();
    assert_eq!(
        typescript,
        ErrorCode::ALL.iter().map(|code| code.name()).collect(),
        "client-js/src/errors.ts and ErrorCode::ALL"
    );
}

#[test]
fn typescript_knows_the_same_messages() {
    let text = tree::read("client-js/src/messages.ts");
    let fields = text.lines().filter_map(|line| line.split_once("readonly type: ")?.1.split([';', '}']).next());
    let typescript: BTreeSet<&str> = fields.flat_map(quoted).collect();
    let rust = CLIENT_TYPES.into_iter().chain(SERVER_TYPES).collect();
    assert_eq!(typescript, rust, "client-js/src/messages.ts and the messages of section 4");
}
