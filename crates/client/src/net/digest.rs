//! Digest authentication (RFC 7616): MD5 and SHA-256, `-sess` or not, with `qop=auth` or, as of old, without.

use md5::{Digest as _, Md5};
use sha2::Sha256;

/// A challenge of the scheme `Digest`.
#[derive(Debug)]
pub(super) struct Challenge {
    realm: String,
    nonce: String,
    opaque: Option<String>,
    algorithm: Algorithm,
    session: bool,
    auth: bool,
    /// The credentials were good, and only the nonce was old.
    pub(super) stale: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Algorithm {
    Md5,
    Sha256,
}

impl Challenge {
    /// `None` for another scheme, and for what this client cannot answer.
    pub(super) fn parse(header: &str) -> Option<Challenge> {
        let (scheme, rest) = header.trim().split_once(' ')?;
        if !scheme.eq_ignore_ascii_case("digest") {
            return None;
        }
        let parameters = parameters(rest);
        let get = |name: &str| parameters.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_str());
        let algorithm = get("algorithm").unwrap_or("MD5").to_ascii_lowercase();
        let (name, session) = algorithm.strip_suffix("-sess").map_or((&*algorithm, false), |name| (name, true));
        let algorithm = match name {
            "md5" => Algorithm::Md5,
            "sha-256" => Algorithm::Sha256,
            _ => return None,
        };
        let auth = match get("qop") {
            None => false,
            Some(list) if list.split(',').any(|word| word.trim().eq_ignore_ascii_case("auth")) => true,
            Some(_) => return None,
        };
        Some(Challenge {
            realm: get("realm")?.to_owned(),
            nonce: get("nonce")?.to_owned(),
            opaque: get("opaque").map(str::to_owned),
            algorithm,
            session,
            auth,
            stale: get("stale").is_some_and(|value| value.eq_ignore_ascii_case("true")),
        })
    }

    /// Of several, the one to answer has the most.
    pub(super) fn strength(&self) -> impl Ord + use<> {
        (self.algorithm, self.auth)
    }

    /// The credentials for one request.
    pub(super) fn answer(&self, method: &str, uri: &str, user: &str, password: &str) -> String {
        let mut bytes = [0; 16];
        // It only keeps others from choosing all that is hashed.
        let _ = getrandom::fill(&mut bytes);
        self.answer_with(method, uri, user, password, &hex(&bytes))
    }

    fn answer_with(&self, method: &str, uri: &str, user: &str, password: &str, cnonce: &str) -> String {
        const COUNT: &str = "00000001";
        let Challenge { realm, nonce, .. } = self;
        let mut secret = self.hash(&format!("{user}:{realm}:{password}"));
        if self.session {
            secret = self.hash(&format!("{secret}:{nonce}:{cnonce}"));
        }
        let request = self.hash(&format!("{method}:{uri}"));
        let response = if self.auth {
            self.hash(&format!("{secret}:{nonce}:{COUNT}:{cnonce}:auth:{request}"))
        } else {
            self.hash(&format!("{secret}:{nonce}:{request}"))
        };
        let algorithm = match self.algorithm {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha256 => "SHA-256",
        };
        let session = if self.session { "-sess" } else { "" };
        let mut out = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{response}\", algorithm={algorithm}{session}",
            quoted(user),
            quoted(realm),
            quoted(nonce),
            quoted(uri)
        );
        if self.auth {
            out += &format!(", qop=auth, nc={COUNT}, cnonce=\"{cnonce}\"");
        } else if self.session {
            out += &format!(", cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = &self.opaque {
            out += &format!(", opaque={}", quoted(opaque));
        }
        out
    }

    fn hash(&self, text: &str) -> String {
        match self.algorithm {
            Algorithm::Md5 => hex(&Md5::digest(text)),
            Algorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A quoted-string (RFC 9110, 5.6.4). What could end the header line is left out.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars().filter(|c| !c.is_control()) {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// The parameters of a challenge: `name=token` or `name="text"`, with commas between.
fn parameters(mut text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    while let Some((name, rest)) = text.split_once('=') {
        let name = name.trim_matches([' ', ',', '\t']).to_owned();
        let rest = rest.trim_start();
        let (value, behind) = if let Some(quoted) = rest.strip_prefix('"') {
            unquoted(quoted)
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            (rest[..end].trim().to_owned(), &rest[end..])
        };
        found.push((name, value));
        text = behind;
    }
    found
}

/// A text up to its closing quote, and what is behind that.
fn unquoted(text: &str) -> (String, &str) {
    let mut value = String::new();
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return (value, &text[at + 1..]),
            '\\' => value.extend(characters.next().map(|(_, c)| c)),
            c => value.push(c),
        }
    }
    (value, "")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USER: (&str, &str) = ("Mufasa", "Circle of Life");

    #[test]
    fn the_examples_of_rfc_7616() {
        let challenge = |algorithm: &str| {
            let text = format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            );
            Challenge::parse(&text).unwrap()
        };
        let cnonce = "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ";
        let md5 = challenge("MD5").answer_with("GET", "/dir/index.html", USER.0, USER.1, cnonce);
        assert!(md5.contains("response=\"8ca523f5e9506fed4657c9700eebdbec\""), "{md5}");
        let sha = challenge("SHA-256").answer_with("GET", "/dir/index.html", USER.0, USER.1, cnonce);
        let response = "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1";
        assert!(sha.contains(response) && sha.contains("opaque=\"FQhe/"), "{sha}");
        assert!(challenge("SHA-256").strength() > challenge("MD5").strength());
    }

    #[test]
    fn the_example_of_rfc_2069_without_qop() {
        let challenge = Challenge::parse("digest realm=\"a\\\"b\", nonce=\"n\", stale=TRUE").unwrap();
        assert!(challenge.stale && !challenge.auth);
        let answer = challenge.answer_with("CONNECT", "h:1", "u", "p", "c");
        assert!(answer.contains("realm=\"a\\\"b\"") && !answer.contains("cnonce"), "{answer}");
    }

    #[test]
    fn what_cannot_be_answered_is_no_challenge() {
        for text in [
            "Basic realm=\"x\"",
            "Digest nonce=\"x\"",
            "Digest",
            "Digest realm=a, nonce=b, algorithm=SHA3",
            "Digest realm=a, nonce=b, qop=auth-int",
        ] {
            assert!(Challenge::parse(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_a_challenge(text in "(Digest )?[ -~äöü\"\\\\=,]{0,200}") {
            if let Some(challenge) = Challenge::parse(&text) {
                let answer = challenge.answer("CONNECT", "h:1", "u\r\nx", "p");
                prop_assert!(!answer.contains(['\r', '\n']));
            }
        }
    }
}
