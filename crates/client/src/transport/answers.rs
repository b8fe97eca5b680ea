//! Answers of polls and of uplink requests: PROTOCOL.md, HTTP transports.

use serde::Deserialize;

/// Splits the answer of a poll into its number and the lines of its messages; `None` when it was cut on its way.
pub(super) fn answer(body: &[u8]) -> Result<Option<(u64, impl Iterator<Item = &[u8]>)>, String> {
    #[derive(Deserialize)]
    struct Head<'a> {
        r#type: &'a str,
        number: u64,
        messages: u64,
    }
    let Some(text) = body.strip_suffix(b"\n") else { return Ok(None) };
    let mut lines = text.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next().ok_or("the answer to a poll is empty")?;
    match serde_json::from_slice::<Head<'_>>(first) {
        Ok(Head { r#type: "answer", number, messages }) => {
            Ok((lines.clone().count() as u64 == messages).then_some((number, lines)))
        }
        _ => Err("the answer to a poll does not begin with its number".to_owned()),
    }
}

/// The number of the piece that the answer of an uplink request acknowledges.
pub(super) fn taken(body: &[u8]) -> Result<u64, String> {
    #[derive(Deserialize)]
    struct Taken<'a> {
        r#type: &'a str,
        n: u64,
    }
    match serde_json::from_slice::<Taken<'_>>(body) {
        Ok(Taken { r#type: "taken", n }) => Ok(n),
        _ => Err("the answer to a piece does not say that it was taken".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn answers_of_polls() {
        let whole = b"{\"type\":\"answer\",\"number\":7,\"messages\":2}\n{\"type\":\"pong\"}\n{\"type\":\"ping\"}\n";
        let (number, lines) = answer(whole).unwrap().unwrap();
        assert_eq!((number, lines.count()), (7, 2));
        for end in 0..whole.len() {
            assert!(answer(&whole[..end]).unwrap().is_none(), "cut at {end}, which may be the end of a line");
        }
        let empty = b"{\"type\":\"answer\",\"number\":0,\"messages\":0}\n";
        assert_eq!(answer(empty).unwrap().unwrap().1.count(), 0);
        for bad in [
            "",
            "<html>",
            "{\"type\":\"pong\"}",
            "{\"type\":\"answer\"}",
            "{\"type\":\"answer\",\"number\":-1,\"messages\":0}",
        ] {
            assert!(answer(format!("{bad}\n").as_bytes()).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_of_pieces() {
        assert_eq!(taken(b"{\"type\":\"taken\",\"n\":3}\n"), Ok(3));
        for bad in ["", "{}", "{\"type\":\"taken\"}", "{\"type\":\"answer\",\"n\":3}"] {
            assert!(taken(bad.as_bytes()).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_answer_is_fatal(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(Some((_, lines))) = answer(&bytes) {
                prop_assert!(lines.count() <= bytes.len());
            }
            prop_assert!(taken(&bytes).is_err());
        }
    }
}
