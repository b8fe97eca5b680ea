//! What a proxy answers: heads that are taken whole or refused, and bodies that are read past.

use tokio::io::AsyncReadExt;

use super::Stream;
use crate::error::{self, ProxyAnswer, excerpt};

/// Longest head of a proxy's answer, bytes.
pub(super) const HEAD_BYTES_MAX: usize = 16 << 10;
/// Most headers in it.
const HEADERS_MAX: usize = 100;
/// Longest body of a refusal that is read past, so that the connection can be used again, bytes.
const BODY_BYTES_MAX: u64 = 64 << 10;

/// A proxy's answer.
pub(super) struct Answer {
    pub(super) status: u16,
    /// It is of HTTP/1.0, which closes unless it says otherwise.
    old: bool,
    headers: Vec<(String, String)>,
    /// What of its body has come.
    pub(super) body: Vec<u8>,
}

impl Answer {
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    pub(super) fn says_close(&self) -> bool {
        let says = |token| self.lists("connection", token) || self.lists("proxy-connection", token);
        says("close") || (self.old && !says("keep-alive"))
    }

    fn lists(&self, name: &str, token: &str) -> bool {
        self.all(name).flat_map(|value| value.split(',')).any(|word| word.trim().eq_ignore_ascii_case(token))
    }

    /// Length of the body, where it is announced.
    fn length(&self) -> Option<u64> {
        if self.all("transfer-encoding").next().is_some() {
            return None;
        }
        self.all("content-length").next()?.trim().parse().ok()
    }

    /// The answer for whoever wants to see it.
    pub(super) fn told(&self) -> ProxyAnswer {
        let first = |name| self.all(name).next().map(str::to_owned);
        let challenges = self.all("proxy-authenticate").map(str::to_owned).collect();
        let answer = error::Answer {
            status: self.status,
            server: first("server"),
            via: first("via"),
            body: excerpt(&self.body),
        };
        ProxyAnswer { answer, challenges, credentials_refused: false }
    }
}

/// Reads the head of an answer, of at most `head_bytes_max`, and no byte of a tunnel that stays in it unseen.
pub(super) async fn read(stream: &mut Stream, head_bytes_max: usize) -> Result<Answer, String> {
    let mut bytes = Vec::with_capacity(1024);
    let mut passed = 0;
    loop {
        let n = stream.read_buf(&mut bytes).await.map_err(|e| format!("it ended the connection: {e}"))?;
        loop {
            match parse(&bytes)? {
                Some((answer, len)) if (100..200).contains(&answer.status) => {
                    // Interim answers count as well: there may be no end to them.
                    passed += len;
                    bytes.drain(..len);
                }
                Some((answer, _)) => return Ok(answer),
                None => break,
            }
        }
        if n == 0 {
            return Err("it ended the connection without an answer".to_owned());
        }
        if passed + bytes.len() > head_bytes_max {
            return Err(format!("the head of its answer has more than {head_bytes_max} bytes"));
        }
    }
}

/// The head of an answer and its length, once it is whole.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, String> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    let parsed = response.parse(bytes).map_err(|e| format!("its answer is no HTTP ({e}): {:?}", excerpt(bytes)))?;
    let httparse::Status::Complete(len) = parsed else { return Ok(None) };
    let header = |h: &httparse::Header<'_>| (h.name.to_owned(), String::from_utf8_lossy(h.value).into_owned());
    let headers = response.headers.iter().map(header).collect();
    let body = bytes.get(len..).unwrap_or_default().to_vec();
    let old = response.version == Some(0);
    Ok(Some((Answer { status: response.code.unwrap_or(0), old, headers, body }, len)))
}

/// Reads the rest of the body of an answer to this method; false when the connection is of no further use.
pub(super) async fn read_past(stream: &mut Stream, answer: &Answer, method: &str) -> bool {
    if method == "HEAD" {
        return answer.body.is_empty();
    }
    if answer.lists("transfer-encoding", "chunked") {
        return read_past_chunks(stream, answer.body.clone()).await.is_some();
    }
    let Some(length) = answer.length().filter(|length| *length <= BODY_BYTES_MAX) else { return false };
    let Some(rest) = length.checked_sub(answer.body.len() as u64) else { return false };
    let mut rest = vec![0; rest as usize];
    stream.read_exact(&mut rest).await.is_ok()
}

/// The same for a body in chunks (RFC 9112, 7.1), of which `bytes` have come.
async fn read_past_chunks(stream: &mut Stream, mut bytes: Vec<u8>) -> Option<()> {
    let mut at = 0;
    loop {
        if let Some(rest) = bytes.get(at..) {
            match httparse::parse_chunk_size(rest).ok()? {
                // Behind the last one: trailers, if any, and an empty line.
                httparse::Status::Complete((line, 0)) => {
                    let trailers = rest.get(line.checked_sub(2)?..)?;
                    if let Some(end) = trailers.windows(4).position(|window| window == b"\r\n\r\n") {
                        return (end + 4 == trailers.len()).then_some(());
                    }
                }
                httparse::Status::Complete((line, length)) => {
                    at = (at + line).checked_add(usize::try_from(length).ok()?)?.checked_add(2)?;
                    continue;
                }
                httparse::Status::Partial => {}
            }
        }
        if bytes.len() as u64 > BODY_BYTES_MAX || stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;

    use super::*;

    #[test]
    fn answers_are_taken_whole_or_refused() {
        assert!(parse(b"HTTP/1.1 200 OK\r\nX: y\r\n").unwrap().is_none());
        let (answer, len) =
            parse(b"HTTP/1.0 407 Who\r\nproxy-authenticate: Basic realm=\"x\"\r\n\r\nbody").unwrap().unwrap();
        assert_eq!((answer.status, len, answer.body.as_slice()), (407, 57, &b"body"[..]));
        assert_eq!(answer.all("Proxy-Authenticate").collect::<Vec<_>>(), ["Basic realm=\"x\""]);
        for bad in [&b"SSH-2.0-x\r\n"[..], b"HTTP/1.1 200 OK\r\n folded: x\r\n\r\n", b"HTTP/1.1 20\r\n\r\n"] {
            assert!(parse(bad).is_err(), "{}", String::from_utf8_lossy(bad));
        }
    }

    #[test]
    fn only_a_known_length_is_read_past() {
        let answer = |text: &str| parse(text.as_bytes()).unwrap().unwrap().0;
        assert_eq!(answer("HTTP/1.1 407 x\r\nContent-Length: 12\r\n\r\n").length(), Some(12));
        assert_eq!(answer("HTTP/1.1 407 x\r\nContent-Length: -1\r\n\r\n").length(), None);
        assert_eq!(answer("HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n").length(), None);
    }

    #[test]
    fn connections_end_as_the_version_has_it() {
        let closes = |text: &str| parse(text.as_bytes()).unwrap().unwrap().0.says_close();
        for (text, close) in [
            ("HTTP/1.1 407 x\r\n\r\n", false),
            ("HTTP/1.1 407 x\r\nProxy-Connection: Close\r\n\r\n", true),
            ("HTTP/1.0 407 x\r\n\r\n", true),
            ("HTTP/1.0 407 x\r\nProxy-Connection: Keep-Alive\r\n\r\n", false),
        ] {
            assert_eq!(closes(text), close, "{text:?}");
        }
    }

    #[tokio::test]
    async fn bodies_in_chunks_are_read_to_their_very_end() {
        const HEAD: &str = "HTTP/1.1 407 x\r\nTransfer-Encoding: chunked\r\n\r\n";
        let huge = format!("{:x}\r\n", 1_u64 << 40);
        let cases = [
            ("0\r\n\r\n", true),
            ("4\r\nwho?\r\n2;x=y\r\nme\r\n0\r\n\r\n", true),
            ("1\r\nx\r\n0\r\nExpires: never\r\n\r\n", true),
            ("4\r\nwho", false),
            ("no size\r\n", false),
            (&huge, false),
        ];
        for (body, kept) in cases {
            // Cut at every place: it does not depend on how the bytes come.
            for at in 0..body.len() {
                let (near, mut far) = tokio::io::duplex(64);
                let mut stream: Stream = Box::new(near);
                let (mut answer, _) = parse(HEAD.as_bytes()).unwrap().unwrap();
                answer.body = body.as_bytes()[..at].to_vec();
                far.write_all(&body.as_bytes()[at..]).await.unwrap();
                if !kept {
                    drop(far);
                }
                assert_eq!(read_past(&mut stream, &answer, "CONNECT").await, kept, "{body:?} at {at}");
            }
        }
        let (near, _far) = tokio::io::duplex(64);
        let (answer, _) = parse(format!("{HEAD}0\r\n\r\nmore").as_bytes()).unwrap().unwrap();
        let mut stream: Stream = Box::new(near);
        assert!(!read_past(&mut stream, &answer, "CONNECT").await);
    }
}
