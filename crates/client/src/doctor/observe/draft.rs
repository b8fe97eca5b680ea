//! A client of the drafts hixie-76 and hixie-75, as far as an echo needs one.

use throughline_wire::hixie;
use throughline_wire::ws::{Message, Version};
use tokio::io::AsyncReadExt;

use super::way::{Way, ms_since};
use super::websocket::{Opening, sent, write};
use crate::error::excerpt;
use crate::net::Stream;

/// The example of draft-hixie-thewebsocketprotocol-76, section 1.2: keys, key bytes, and the answer to them. They need not be
/// secret.
const KEY1: &str = "4 @1  46546xW%0l 1 5";
const KEY2: &str = "12998 5 Y3 1  .P00";
const KEY3: &[u8; 8] = b"^n:ds[4U";
const DIGEST: &[u8; 16] = b"8jKS'y:G*Co,Wxa-";
/// Longest head of an answer, bytes.
const HEAD_BYTES_MAX: usize = 16 << 10;
/// Longest message, bytes.
const MESSAGE_BYTES_MAX: usize = 64 << 10;

/// An open connection.
pub(super) struct DraftSocket {
    stream: Stream,
    decoder: hixie::Decoder,
    input: Vec<u8>,
}

impl DraftSocket {
    /// `input` came behind the handshake.
    pub(super) fn new(stream: Stream, input: Vec<u8>) -> DraftSocket {
        DraftSocket { stream, decoder: hixie::Decoder::new(), input }
    }

    pub(super) async fn send(&mut self, text: &str) -> Result<(), ()> {
        let mut frame = Vec::with_capacity(text.len() + 2);
        hixie::write_text(&mut frame, text.as_bytes());
        write(&mut self.stream, &frame).await.ok_or(())
    }

    /// The next message; none when the connection is over.
    pub(super) async fn recv(&mut self) -> Option<String> {
        loop {
            let mut rest = self.input.as_slice();
            let decoded = match self.decoder.decode(&mut rest, MESSAGE_BYTES_MAX) {
                Ok(Some(Message::Text(text))) => Some(text.to_owned()),
                Ok(None) => None,
                Ok(Some(_)) | Err(_) => return None,
            };
            let used = self.input.len() - rest.len();
            self.input.drain(..used);
            if decoded.is_some() {
                return decoded;
            }
            let read = self.stream.read_buf(&mut self.input).await;
            if !matches!(read, Ok(n) if n > 0) {
                return None;
            }
        }
    }
}

impl Opening<'_> {
    /// The handshake. The key bytes go out behind the request in a write of their own, as a browser's do.
    pub(super) async fn shake_draft(&mut self) -> Option<Vec<u8>> {
        let with_keys = self.version == Version::Hixie76;
        let request = request(self.way, with_keys, self.target);
        self.trial.sent = sent(&request);
        let mut written = write(self.stream, request.as_bytes()).await;
        if with_keys && written.is_some() {
            written = write(self.stream, KEY3).await;
        }
        if written.is_none() {
            self.fail("reset");
            return None;
        }
        let mut bytes = Vec::with_capacity(1024);
        let len = self.head(&mut bytes).await?;
        self.trial.head_ms = Some(ms_since(self.begin));
        if !with_keys {
            return Some(bytes.split_off(len));
        }
        while bytes.len() < len + DIGEST.len() {
            if !matches!(self.stream.read_buf(&mut bytes).await, Ok(n) if n > 0) {
                self.fail("cut");
                return None;
            }
        }
        let mut behind = bytes.split_off(len);
        let leftover = behind.split_off(DIGEST.len());
        if behind != DIGEST {
            self.fail_with("altered", "the proof of the key bytes is wrong".to_owned());
            return None;
        }
        Some(leftover)
    }

    /// Reads the head of a good answer and gives its length.
    async fn head(&mut self, bytes: &mut Vec<u8>) -> Option<usize> {
        loop {
            let ended = !matches!(self.stream.read_buf(bytes).await, Ok(n) if n > 0);
            let mut headers = [httparse::EMPTY_HEADER; 64];
            let mut response = httparse::Response::new(&mut headers);
            match response.parse(bytes) {
                Ok(httparse::Status::Complete(len)) if response.code == Some(101) => return Some(len),
                Ok(httparse::Status::Complete(_)) => {
                    let status = response.code.unwrap_or_default();
                    let headers: Vec<_> = response.headers.iter().map(|header| (header.name, header.value)).collect();
                    self.refused(status, &headers, bytes.clone()).await;
                    return None;
                }
                Ok(httparse::Status::Partial) if ended || bytes.len() > HEAD_BYTES_MAX => {
                    self.fail("reset");
                    return None;
                }
                Ok(httparse::Status::Partial) => {}
                Err(_) => {
                    self.fail_with("not-http", excerpt(bytes));
                    return None;
                }
            }
        }
    }
}

fn request(way: &Way, with_keys: bool, target: &str) -> String {
    let origin = way.origin.clone().unwrap_or_else(|| way.own_origin());
    let host = way.url.authority();
    let start = format!(
        "GET {target} HTTP/1.1\r\nUpgrade: WebSocket\r\nConnection: Upgrade\r\nHost: {host}\r\nOrigin: {origin}\r\n"
    );
    if with_keys {
        format!("{start}Sec-WebSocket-Key1: {KEY1}\r\nSec-WebSocket-Key2: {KEY2}\r\n\r\n")
    } else {
        format!("{start}\r\n")
    }
}
