//! What the realm saw of attempts to open a WebSocket: scripts are told nothing but that one failed.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use hyper::{Response, StatusCode};
use throughline_wire::message::write_json_string;

use super::answer::json;
use super::body::Body;

/// Attempts that are remembered.
const ATTEMPTS_MAX: usize = 1024;
/// Longest id that a client may give an attempt, bytes.
const ID_BYTES_MAX: usize = 64;
/// Longest part of a header that is kept, characters.
const HEADER_CHARS_MAX: usize = 200;

/// A WebSocket handshake as it reached the realm.
#[derive(Clone, Debug)]
pub(crate) struct Attempt {
    id: String,
    http: &'static str,
    via: Option<String>,
    forwarded: Option<String>,
    origin: Option<String>,
    /// Whether it still asked for an upgrade.
    upgrade: bool,
    /// Code and message of the refusal.
    refusal: Option<(String, String)>,
}

impl Attempt {
    /// An attempt with these headers, accepted for now; `None` when the query gives it no id.
    pub(crate) fn of<'a>(
        query: Option<&str>,
        http_1_0: bool,
        headers: impl Iterator<Item = (&'a str, &'a [u8])> + Clone,
    ) -> Option<Attempt> {
        let id = query?.split('&').find_map(|pair| pair.strip_prefix("id="))?;
        let find = |wanted: &str| {
            let (_, value) = headers.clone().find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
            Some(String::from_utf8_lossy(value).chars().take(HEADER_CHARS_MAX).collect::<String>())
        };
        is_id(id).then(|| Attempt {
            id: id.to_owned(),
            http: if http_1_0 { "1.0" } else { "1.1" },
            via: find("via"),
            forwarded: find("x-forwarded-for").or_else(|| find("forwarded")),
            origin: find("origin"),
            upgrade: find("upgrade").is_some(),
            refusal: None,
        })
    }

    /// It was refused.
    pub(crate) fn refused(self, code: &str, message: &str) -> Attempt {
        Attempt { refusal: Some((code.to_owned(), message.to_owned())), ..self }
    }

    fn write(&self) -> Vec<u8> {
        let mut out = b"{\"seen\":true,\"outcome\":".to_vec();
        let refusal = self.refusal.as_ref();
        write_json_string(&mut out, if refusal.is_some() { "refused" } else { "accepted" });
        let members = [
            ("code", refusal.map(|(code, _)| code)),
            ("message", refusal.map(|(_, message)| message)),
            ("via", self.via.as_ref()),
            ("forwarded", self.forwarded.as_ref()),
            ("origin", self.origin.as_ref()),
        ];
        for (name, value) in members {
            out.extend_from_slice(format!(",\"{name}\":").as_bytes());
            match value {
                Some(value) => write_json_string(&mut out, value),
                None => out.extend_from_slice(b"null"),
            }
        }
        out.extend_from_slice(format!(",\"http\":\"{}\",\"upgrade\":{}}}", self.http, self.upgrade).as_bytes());
        out
    }
}

/// True for what may name an attempt.
fn is_id(id: &str) -> bool {
    let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(known)
}

/// The latest attempts.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<VecDeque<Attempt>>);

impl Attempts {
    pub(crate) fn note(&self, attempt: Attempt) {
        let mut attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if attempts.len() == ATTEMPTS_MAX {
            attempts.pop_front();
        }
        attempts.push_back(attempt);
    }

    /// The answer to `GET /diagnose`.
    pub(super) fn answer(&self, id: &str) -> Response<Body> {
        let attempts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = attempts.iter().rev().find(|attempt| attempt.id == id);
        json(StatusCode::OK, found.map_or_else(|| b"{\"seen\":false}".to_vec(), Attempt::write))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_attempt_of_an_id_is_told_and_old_ones_are_forgotten() {
        let attempts = Attempts::default();
        let headers = [("Via", &b"1.0 \"squid\""[..]), ("Origin", b"http://a")];
        let attempt = |id: &str| Attempt::of(Some(&format!("u=1&id={id}")), true, headers.iter().copied());
        attempts.note(attempt("one").unwrap());
        attempts.note(attempt("one").unwrap().refused("upgrade_required", "it was removed"));
        let text = String::from_utf8(attempts.0.lock().unwrap().back().unwrap().write()).unwrap();
        assert_eq!(
            text,
            r#"{"seen":true,"outcome":"refused","code":"upgrade_required","message":"it was removed","via":"1.0 \"squid\"","forwarded":null,"origin":"http://a","http":"1.0","upgrade":false}"#
        );
        assert!(attempts.answer("one").body().len().unwrap() > 100);
        for i in 0..ATTEMPTS_MAX {
            attempts.note(attempt(&format!("n{i}")).unwrap());
        }
        assert_eq!(attempts.answer("one").body().len(), Some("{\"seen\":false}".len() as u64));
        for bad in ["", "a b", "a/b", &"x".repeat(65)] {
            assert!(attempt(bad).is_none(), "{bad}");
        }
        assert!(Attempt::of(Some("u=1"), false, headers.iter().copied()).is_none());
        assert!(Attempt::of(None, false, headers.iter().copied()).is_none());
    }
}
