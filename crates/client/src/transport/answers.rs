//! Answers of polls and of uplink requests: PROTOCOL.md, HTTP transports.

use serde::Deserialize;

/// Splits the answer of a poll into its number and the lines of its messages.
pub(super) fn answer(body: &[u8]) -> Result<(u64, impl Iterator<Item = &[u8]>), String> {
    #[derive(Deserialize)]
    struct Head<'a> {
        r#type: &'a str,
        number: u64,
    }
    let mut lines = body.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty());
    let first = lines.next().ok_or("the answer to a poll is empty")?;
    match serde_json::from_slice::<Head<'_>>(first) {
        Ok(Head { r#type: "answer", number }) => Ok((number, lines)),
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
        let (number, lines) = answer(b"{\"type\":\"answer\",\"number\":7}\n{\"type\":\"pong\"}\n").unwrap();
        assert_eq!((number, lines.collect::<Vec<_>>()), (7, vec![&b"{\"type\":\"pong\"}"[..]]));
        assert_eq!(answer(b"{\"type\":\"answer\",\"number\":0}\n").unwrap().1.count(), 0);
        for bad in
            ["", "\n", "<html>", "{\"type\":\"pong\"}", "{\"type\":\"answer\"}", "{\"type\":\"answer\",\"number\":-1}"]
        {
            assert!(answer(bad.as_bytes()).is_err(), "{bad}");
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
            if let Ok((_, lines)) = answer(&bytes) {
                prop_assert!(lines.count() <= bytes.len());
            }
            prop_assert!(taken(&bytes).is_err());
        }
    }
}
