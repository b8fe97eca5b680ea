//! The row of an event.
//!
//! Version, flags, time, then what the flags announce (time to live, tag, properties, origin), then the data to the
//! end of the row. The EID is in the row's key.

use bytes::Bytes;
use throughline_engine::types::Origin;
use throughline_wire::event::{Body, Data, Eid, Event, SessionId};
use throughline_wire::properties::Properties;

use crate::codec::{BadRow, Reader, put_varint, utf8};

const VERSION: u8 = 1;
const TEXT: u8 = 1;
const TTL: u8 = 2;
const TAG: u8 = 4;
const PROPERTIES: u8 = 8;
const ORIGIN: u8 = 16;
const KNOWN: u8 = TEXT | TTL | TAG | PROPERTIES | ORIGIN;

/// Appends the row of an event to `out`.
pub(crate) fn encode(event: &Event, origin: Option<Origin>, out: &mut Vec<u8>) {
    let body = &event.body;
    let flag = |set: bool, bit: u8| if set { bit } else { 0 };
    let flags = flag(body.data.is_text(), TEXT)
        | flag(body.ttl.is_some(), TTL)
        | flag(body.tag.is_some(), TAG)
        | flag(body.properties.is_some(), PROPERTIES)
        | flag(origin.is_some(), ORIGIN);
    out.extend_from_slice(&[VERSION, flags]);
    put_varint(out, event.time);
    if let Some(ttl) = body.ttl {
        put_varint(out, ttl);
    }
    if let Some(tag) = &body.tag {
        put_varint(out, tag.len() as u64);
        out.extend_from_slice(tag.as_bytes());
    }
    if let Some(properties) = &body.properties {
        put_varint(out, properties.as_json().len() as u64);
        out.extend_from_slice(properties.as_json().as_bytes());
    }
    if let Some(origin) = origin {
        out.extend_from_slice(&origin.session.0.to_be_bytes());
        put_varint(out, origin.number);
    }
    out.extend_from_slice(body.data.as_bytes());
}

/// The parts of a row, still borrowed from it.
struct Parts<'a> {
    text: bool,
    time: u64,
    ttl: Option<u64>,
    tag: Option<&'a [u8]>,
    properties: Option<&'a [u8]>,
    origin: Option<Origin>,
    data: &'a [u8],
}

fn split(row: &[u8]) -> Result<Parts<'_>, BadRow> {
    let mut reader = Reader::new(row);
    reader.version(VERSION)?;
    let flags = reader.byte()?;
    if flags & !KNOWN != 0 {
        return Err(BadRow("unknown flag"));
    }
    let time = reader.varint()?;
    let ttl = if flags & TTL != 0 { Some(reader.varint()?) } else { None };
    let tag = if flags & TAG != 0 { Some(reader.counted()?) } else { None };
    let properties = if flags & PROPERTIES != 0 { Some(reader.counted()?) } else { None };
    let origin = if flags & ORIGIN != 0 {
        let session = SessionId(u128::from_be_bytes(reader.array()?));
        Some(Origin { session, number: reader.varint()? })
    } else {
        None
    };
    Ok(Parts { text: flags & TEXT != 0, time, ttl, tag, properties, origin, data: reader.rest() })
}

/// The event of a row, and who published it.
pub(crate) fn decode(eid: Eid, row: &[u8]) -> Result<(Event, Option<Origin>), BadRow> {
    let parts = split(row)?;
    let bytes = Bytes::copy_from_slice(parts.data);
    let data = if parts.text {
        Data::text_from_utf8(bytes).map_err(|_| BadRow("text is not UTF-8"))?
    } else {
        Data::bytes(bytes)
    };
    let tag = parts.tag.map(utf8).transpose()?.map(Box::from);
    let properties = parts.properties.map(utf8).transpose()?.map(Properties::from_trusted_json);
    let body = Body { data, tag, properties, ttl: parts.ttl };
    Ok((Event { eid, time: parts.time, body }, parts.origin))
}

/// [`Body::weight`] of the event of a row.
pub(crate) fn weight(row: &[u8]) -> Result<u64, BadRow> {
    let parts = split(row)?;
    let length = |part: Option<&[u8]>| part.map_or(0, <[u8]>::len);
    Ok((parts.data.len() + length(parts.tag) + length(parts.properties)) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn event() -> impl Strategy<Value = (Event, Option<Origin>)> {
        let data = prop_oneof![
            vec(any::<u8>(), 0..200).prop_map(Data::bytes),
            vec(any::<char>(), 0..80).prop_map(|c| Data::text(c.into_iter().collect::<String>())),
        ];
        let tag = option::of(vec(any::<char>(), 0..20).prop_map(|c| c.into_iter().collect::<String>().into()));
        let properties = option::of(any::<i32>().prop_map(|n| format!("{{\"a\":{{\"integer\":{n}}}}}")));
        let origin = option::of((any::<u128>(), any::<u64>()));
        (any::<u64>(), any::<u64>(), data, tag, properties, option::of(any::<u64>()), origin).prop_map(
            |(eid, time, data, tag, properties, ttl, origin)| {
                let properties = properties.map(Properties::from_trusted_json);
                let event = Event { eid: Eid(eid), time, body: Body { data, tag, properties, ttl } };
                (event, origin.map(|(session, number)| Origin { session: SessionId(session), number }))
            },
        )
    }

    proptest! {
        #[test]
        fn events_come_back((event, origin) in event()) {
            let mut row = Vec::new();
            encode(&event, origin, &mut row);
            prop_assert_eq!(weight(&row), Ok(event.body.weight() as u64));
            prop_assert_eq!(decode(event.eid, &row), Ok((event, origin)));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(mut row in vec(any::<u8>(), 0..100), plausible: bool) {
            if plausible && row.len() > 1 {
                row[0] = VERSION;
                row[1] &= KNOWN;
            }
            if let Ok((event, _)) = decode(Eid(1), &row) {
                prop_assert!(event.body.weight() <= row.len());
                prop_assert_eq!(weight(&row), Ok(event.body.weight() as u64));
            }
        }

        #[test]
        fn damaged_rows_never_panic((event, origin) in event(), at: prop::sample::Index, to: u8, cut: prop::sample::Index) {
            let mut row = Vec::new();
            encode(&event, origin, &mut row);
            let at = at.index(row.len());
            row[at] = to;
            row.truncate(cut.index(row.len() + 1));
            if let Ok((event, _)) = decode(event.eid, &row) {
                prop_assert!(event.body.weight() <= row.len());
            }
        }
    }

    #[test]
    fn rows_of_another_version_are_refused() {
        assert_eq!(decode(Eid(1), &[2, 0, 0]).map(|_| ()), Err(BadRow("version of the row is unknown")));
        assert_eq!(decode(Eid(1), &[1, 128, 0]).map(|_| ()), Err(BadRow("unknown flag")));
    }
}
