//! Properties as they are typed: `NAME=TEXT` or `NAME:=JSON`.

use std::collections::BTreeMap;
use std::str::FromStr;

use throughline_client::{Properties, Value};
use throughline_wire::message::write_json_string;

/// One property.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Property {
    name: String,
    value: Value,
}

impl FromStr for Property {
    type Err = String;

    fn from_str(text: &str) -> Result<Property, String> {
        let (name, value) = text.split_once('=').ok_or("expected NAME=TEXT or NAME:=JSON")?;
        let Some(name) = name.strip_suffix(':') else {
            return Ok(Property { name: name.to_owned(), value: Value::String(value.to_owned()) });
        };
        let mut json = b"{".to_vec();
        write_json_string(&mut json, name);
        json.push(b':');
        json.extend_from_slice(value.as_bytes());
        json.push(b'}');
        let parsed = Properties::from_json(&String::from_utf8_lossy(&json)).and_then(|p| p.to_map());
        let mut map = parsed.map_err(|e| format!("{name}: {e}"))?;
        match (map.remove(name), map.is_empty()) {
            (Some(value), true) => Ok(Property { name: name.to_owned(), value }),
            _ => Err(format!("{name}: expected one JSON value")),
        }
    }
}

/// The dictionary of all; `None` when there is none.
pub(crate) fn dictionary(properties: Vec<Property>) -> Result<Option<Properties>, String> {
    if properties.is_empty() {
        return Ok(None);
    }
    let mut map = BTreeMap::new();
    for Property { name, value } in properties {
        if map.insert(name.clone(), value).is_some() {
            return Err(format!("property {name:?} was given twice"));
        }
    }
    Properties::from_map(&map).map(Some).map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(texts: &[&str]) -> Result<String, String> {
        let parsed: Result<Vec<Property>, String> = texts.iter().map(|text| text.parse()).collect();
        Ok(dictionary(parsed?)?.map(|p| p.as_json().to_owned()).unwrap_or_default())
    }

    #[test]
    fn texts_and_typed_values() {
        let table: [(&[&str], &str); 4] = [
            (&[], ""),
            (&["a=1", "b=x=y", "c="], r#"{"a":"1","b":"x=y","c":""}"#),
            (&["n:=1.5", "t:=true", r#"l:={"long":"9"}"#], r#"{"l":{"long":"9"},"n":1.5,"t":true}"#),
            (&["q\"=v"], r#"{"q\"":"v"}"#),
        ];
        for (texts, expected) in table {
            assert_eq!(json(texts).as_deref(), Ok(expected), "{texts:?}");
        }
    }

    #[test]
    fn faults() {
        for texts in [&["a"][..], &["=v"], &["a:=null"], &["a:=1,\"b\":2"], &["a:="], &["a=1", "a=2"]] {
            assert!(json(texts).is_err(), "{texts:?}");
        }
    }
}
