//! The golden vectors that Rust and TypeScript share.

use std::fs;
use std::path::Path;

use serde_json::Value;
use throughline_wire::message::{Carriage, ClientMessage, DecodeError, MessageKind, ServerMessage};
use throughline_wire::properties::Properties;

fn read(file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../conformance/vectors").join(file);
    let text = fs::read_to_string(path).expect("the vectors are in the repository");
    serde_json::from_str(&text).expect("a JSON array")
}

fn unhex(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|i| u8::from_str_radix(&hex[i..i + 2], 16).expect("hexadecimal")).collect()
}

/// Decodes, and encodes again what was understood.
fn recode(direction: &str, carriage: Carriage<'_>) -> Result<(MessageKind, Vec<u8>), DecodeError> {
    let mut out = Vec::new();
    let kind = match direction {
        "client" => ClientMessage::decode(carriage)?.encode(&mut out),
        _ => ServerMessage::decode(carriage)?.encode(&mut out),
    };
    Ok((kind, out))
}

#[test]
fn messages() {
    let vectors = read("messages.json");
    assert!(vectors.len() > 100);
    for vector in &vectors {
        let string = |member: &str| vector[member].as_str();
        let (name, direction) = (string("name").expect("name"), string("direction").expect("direction"));
        let bytes = string("text").map_or_else(|| unhex(string("hex").expect("hex")), |text| text.as_bytes().to_vec());
        let kind = if string("text").is_some() || string("carriage") == Some("text") {
            MessageKind::Text
        } else {
            MessageKind::Binary
        };
        let carriage = |kind, bytes| match kind {
            MessageKind::Text => Carriage::Text(bytes),
            MessageKind::Binary => Carriage::Binary(bytes),
        };
        match recode(direction, carriage(kind, &bytes)) {
            Ok((again, out)) => {
                assert_eq!(vector["ok"], true, "{name} was understood");
                assert_eq!((again, &out) == (kind, &bytes), vector["same"] == true, "{name}");
                assert_eq!(recode(direction, carriage(again, &out)), Ok((again, out.clone())), "{name}");
            }
            Err(DecodeError::Malformed(text)) => {
                assert_eq!((&vector["ok"], string("fault")), (&false.into(), Some("malformed")), "{name}: {text}");
            }
            Err(DecodeError::Request { id, error }) => {
                assert_eq!((&vector["ok"], string("fault")), (&false.into(), Some("request")), "{name}: {error}");
                assert_eq!((Some(id), Some(&*error.code)), (vector["id"].as_u64(), string("code")), "{name}");
            }
        }
    }
}

#[test]
fn properties() {
    for vector in read("properties.json") {
        let name = &vector["name"];
        match Properties::from_json(vector["json"].as_str().expect("json")) {
            Ok(properties) => {
                assert_eq!(vector["ok"], true, "{name} was understood");
                assert_eq!(vector["canonical"], properties.as_json(), "{name}");
                let map = properties.to_map().expect("checked");
                assert_eq!(Properties::from_map(&map), Ok(properties), "{name}");
            }
            Err(e) => assert_eq!(vector["ok"], false, "{name}: {e}"),
        }
    }
}
