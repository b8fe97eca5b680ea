//! The typed property dictionary of an event: PROTOCOL.md section 3.1.

use alloc::borrow::ToOwned;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

use serde_json::Value as Json;

/// Longest JSON form of a dictionary, bytes.
pub const PROPERTIES_BYTES_MAX: usize = 32_768;
/// Longest key, bytes.
pub const PROPERTY_KEY_BYTES_MAX: usize = 255;
/// Deepest nesting of dictionaries and arrays; the dictionary itself counts as 1.
pub const PROPERTIES_DEPTH_MAX: usize = 8;

/// A typed value. 64-bit integers are exact.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Text.
    String(String),
    /// True or false.
    Boolean(bool),
    /// 64-bit floating point.
    Double(f64),
    /// 32-bit floating point.
    Float(f32),
    /// 64-bit integer.
    Long(i64),
    /// 32-bit integer.
    Integer(i32),
    /// Signed 8-bit integer.
    Byte(i8),
    /// One Unicode scalar value.
    Char(char),
    /// Values in order, of any types.
    Array(Vec<Value>),
    /// Values by name.
    Dictionary(BTreeMap<String, Value>),
}

/// A dictionary in its JSON form, checked once and then carried as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Properties(Box<str>);

/// Why a text is no dictionary of typed values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadProperties(String);

impl fmt::Display for BadProperties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "properties: {}", self.0)
    }
}

impl core::error::Error for BadProperties {}

impl Properties {
    /// Checks a dictionary in JSON form and brings it into its one canonical spelling (keys sorted).
    pub fn from_json(json: &str) -> Result<Properties, BadProperties> {
        if json.len() > PROPERTIES_BYTES_MAX {
            return Err(too_long(json.len()));
        }
        let value: Json = serde_json::from_str(json).map_err(|e| BadProperties(e.to_string()))?;
        let Json::Object(members) = value else {
            return Err(BadProperties("expected a JSON object".to_owned()));
        };
        Properties::from_map(&dictionary(&members, 1)?)
    }

    /// The JSON form of typed values; fails when it is over the limits of this module.
    pub fn from_map(map: &BTreeMap<String, Value>) -> Result<Properties, BadProperties> {
        let json = Json::Object(members(map, 1)?).to_string();
        if json.len() > PROPERTIES_BYTES_MAX {
            return Err(too_long(json.len()));
        }
        Ok(Properties(json.into_boxed_str()))
    }

    /// Takes a text that [`Properties::as_json`] gave out, for stores that keep it.
    pub fn from_trusted_json(json: impl Into<Box<str>>) -> Properties {
        Properties(json.into())
    }

    /// The JSON form.
    pub const fn as_json(&self) -> &str {
        &self.0
    }

    /// The typed values.
    pub fn to_map(&self) -> Result<BTreeMap<String, Value>, BadProperties> {
        match serde_json::from_str(&self.0) {
            Ok(Json::Object(members)) => dictionary(&members, 1),
            Ok(_) => Err(BadProperties("expected a JSON object".to_owned())),
            Err(e) => Err(BadProperties(e.to_string())),
        }
    }
}

fn too_long(n: usize) -> BadProperties {
    BadProperties(format!("{n} bytes of JSON, at most {PROPERTIES_BYTES_MAX} are allowed"))
}

fn check_depth(depth: usize) -> Result<(), BadProperties> {
    if depth > PROPERTIES_DEPTH_MAX {
        return Err(BadProperties(format!("nested deeper than {PROPERTIES_DEPTH_MAX}")));
    }
    Ok(())
}

fn check_key(key: &str) -> Result<(), BadProperties> {
    if key.is_empty() || key.len() > PROPERTY_KEY_BYTES_MAX {
        let n = key.len();
        return Err(BadProperties(format!("a key has {n} bytes, 1 to {PROPERTY_KEY_BYTES_MAX} are allowed")));
    }
    Ok(())
}

type Members = serde_json::Map<String, Json>;

fn dictionary(members: &Members, depth: usize) -> Result<BTreeMap<String, Value>, BadProperties> {
    check_depth(depth)?;
    let mut map = BTreeMap::new();
    for (key, json) in members {
        check_key(key)?;
        let value = value(json, depth).map_err(|e| BadProperties(format!("{key:?}: {}", e.0)))?;
        map.insert(key.clone(), value);
    }
    Ok(map)
}

fn value(json: &Json, depth: usize) -> Result<Value, BadProperties> {
    Ok(match json {
        Json::String(s) => Value::String(s.clone()),
        Json::Bool(b) => Value::Boolean(*b),
        Json::Number(n) => Value::Double(n.as_f64().ok_or_else(|| BadProperties("number out of range".to_owned()))?),
        Json::Array(items) => {
            check_depth(depth + 1)?;
            Value::Array(items.iter().map(|item| value(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Json::Object(members) => typed(members, depth)?,
        Json::Null => return Err(BadProperties("null is not a value".to_owned())),
    })
}

fn typed(members: &Members, depth: usize) -> Result<Value, BadProperties> {
    let mut only = members.iter();
    let (Some((name, json)), None) = (only.next(), only.next()) else {
        return Err(BadProperties("expected an object with one member that names the type".to_owned()));
    };
    let wrong = || BadProperties(format!("{json} is no {name}"));
    let integer = |min: i64, max: i64| json.as_i64().filter(|n| (min..=max).contains(n)).ok_or_else(wrong);
    Ok(match name.as_str() {
        "dictionary" => Value::Dictionary(dictionary(json.as_object().ok_or_else(wrong)?, depth + 1)?),
        "long" => Value::Long(json.as_str().and_then(parse_long).ok_or_else(wrong)?),
        "integer" => Value::Integer(integer(i32::MIN.into(), i32::MAX.into())? as i32),
        "byte" => Value::Byte(integer(i8::MIN.into(), i8::MAX.into())? as i8),
        "char" => Value::Char(json.as_str().and_then(single_char).ok_or_else(wrong)?),
        "double" => Value::Double(special(json).ok_or_else(wrong)?),
        "float" => {
            let wide = special(json).or_else(|| json.as_f64()).ok_or_else(wrong)?;
            let float = wide as f32;
            if wide.is_finite() && !float.is_finite() {
                return Err(wrong());
            }
            Value::Float(float)
        }
        _ => return Err(BadProperties(format!("unknown type {name:?}"))),
    })
}

/// Decimal in its one spelling: no plus sign, no leading zeros, no "-0".
fn parse_long(s: &str) -> Option<i64> {
    let n: i64 = s.parse().ok()?;
    (n.to_string() == s).then_some(n)
}

fn single_char(s: &str) -> Option<char> {
    let mut chars = s.chars();
    let first = chars.next()?;
    chars.next().is_none().then_some(first)
}

fn special(json: &Json) -> Option<f64> {
    match json.as_str()? {
        "NaN" => Some(f64::NAN),
        "Infinity" => Some(f64::INFINITY),
        "-Infinity" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

fn members(map: &BTreeMap<String, Value>, depth: usize) -> Result<Members, BadProperties> {
    check_depth(depth)?;
    let mut members = Members::new();
    for (key, value) in map {
        check_key(key)?;
        members.insert(key.clone(), to_json(value, depth)?);
    }
    Ok(members)
}

fn to_json(value: &Value, depth: usize) -> Result<Json, BadProperties> {
    let tagged = |name: &str, json: Json| {
        let mut members = Members::new();
        members.insert(name.to_owned(), json);
        Json::Object(members)
    };
    Ok(match value {
        Value::String(s) => Json::String(s.clone()),
        Value::Boolean(b) => Json::Bool(*b),
        Value::Double(d) => match serde_json::Number::from_f64(*d) {
            Some(n) => Json::Number(n),
            None => tagged("double", Json::String(special_name(*d).to_owned())),
        },
        Value::Float(f) => match shortest(*f) {
            Some(n) => tagged("float", Json::Number(n)),
            None => tagged("float", Json::String(special_name(f64::from(*f)).to_owned())),
        },
        Value::Long(n) => tagged("long", Json::String(n.to_string())),
        Value::Integer(n) => tagged("integer", Json::Number((*n).into())),
        Value::Byte(n) => tagged("byte", Json::Number((*n).into())),
        Value::Char(c) => tagged("char", Json::String(c.to_string())),
        Value::Array(items) => {
            check_depth(depth + 1)?;
            Json::Array(items.iter().map(|item| to_json(item, depth + 1)).collect::<Result<_, _>>()?)
        }
        Value::Dictionary(map) => tagged("dictionary", Json::Object(members(map, depth + 1)?)),
    })
}

/// The shortest decimal that reads back as `f`, so that 0.1 stays 0.1; `None` for NaN and the infinities.
fn shortest(f: f32) -> Option<serde_json::Number> {
    serde_json::Number::from_f64(f.to_string().parse().ok()?)
}

const fn special_name(d: f64) -> &'static str {
    if d.is_nan() {
        "NaN"
    } else if d > 0.0 {
        "Infinity"
    } else {
        "-Infinity"
    }
}
