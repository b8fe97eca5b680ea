//! The way up on HTTP transports: the client's messages as one stream of bytes, cut into numbered pieces that may be repeated.

use std::future::{Future, pending};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use throughline_wire::message::ClientMessage;
use tokio::time::sleep;

use super::answers;
use super::fault::Fault;
use super::requests::{LinkId, Requests};
use crate::error::ConnectError;
use crate::options::Options;
use crate::url::RealmUrl;

/// Most bytes of a piece: what passed all intermediaries that were measured.
const PIECE_BYTES_MAX: usize = 256 << 10;
/// Most bytes of a piece once something on the way refused a larger one.
const SMALL_PIECE_BYTES: usize = 2 << 10;
/// Time for the answer to a piece before it is sent again, milliseconds. The server holds it back while it takes no input.
const ANSWER_TIMEOUT_MS: u64 = 20_000;
/// Failures in a row after which the link is over.
const FAILURES_MAX: u32 = 5;
/// As after so many failures a piece waits that the realm has held back.
const HELD_BACK: u32 = 2;
/// Output beyond this is not kept allocated once it is sent, bytes.
const KEPT_BYTES: usize = 1 << 20;

type Outcome = (Requests, Result<Bytes, ConnectError>);

/// Sends what is queued, a piece at a time on a connection of its own.
pub(super) struct Uplink {
    /// Absent while a piece is under way.
    requests: Option<Requests>,
    /// What was queued and not acknowledged; the next piece is its beginning.
    pending: Vec<u8>,
    under_way: Option<Piece>,
    /// Length of the next piece once it was sent: its number stands for these bytes from then on. Zero before.
    cut: usize,
    /// The next piece may have arrived, though no answer did.
    doubtful: bool,
    /// Of the next piece.
    number: u64,
    piece_bytes_max: usize,
    failures: u32,
}

type Piece = Pin<Box<dyn Future<Output = Outcome> + Send>>;

impl Uplink {
    /// The first piece travels in the request that opens the link.
    pub(super) const fn new(url: RealmUrl, link: LinkId, options: &Options) -> Uplink {
        Uplink {
            requests: Some(Requests::new(url, link, options.open_timeout_ms)),
            pending: Vec::new(),
            under_way: None,
            cut: 0,
            doubtful: false,
            number: 2,
            piece_bytes_max: PIECE_BYTES_MAX,
            failures: 0,
        }
    }

    /// Encodes a message to be sent.
    pub(super) fn queue(&mut self, message: &ClientMessage) {
        message.encode_text(&mut self.pending);
        self.pending.push(b'\n');
    }

    /// Bytes without an acknowledgement.
    pub(super) const fn queued_bytes(&self) -> usize {
        self.pending.len()
    }

    /// Waits until a piece was acknowledged, or the link is over. Cancel-safe.
    pub(super) async fn drive(&mut self) -> Result<(), Fault> {
        loop {
            if self.under_way.is_none() && !self.begin() {
                return pending().await;
            }
            let Some(piece) = &mut self.under_way else { return pending().await };
            let (requests, outcome) = piece.as_mut().await;
            self.under_way = None;
            self.requests = Some(requests);
            match outcome {
                Ok(answer) => return self.taken(&answer),
                Err(error) => self.failed(error)?,
            }
        }
    }

    /// Puts a piece on its way; false when there is nothing to send.
    fn begin(&mut self) -> bool {
        if self.cut == 0 {
            self.cut = cut(&self.pending, self.piece_bytes_max);
        }
        let Some(mut requests) = self.requests.take_if(|_| self.cut > 0) else { return false };
        let body = Bytes::copy_from_slice(self.pending.get(..self.cut).unwrap_or_default());
        let query = format!("&n={}", self.number);
        let wait = pause(self.failures);
        self.under_way = Some(Box::pin(async move {
            sleep(wait).await;
            let outcome = requests.call("/uplink", &query, body, ANSWER_TIMEOUT_MS).await;
            (requests, outcome)
        }));
        true
    }

    fn taken(&mut self, answer: &[u8]) -> Result<(), Fault> {
        let n = answers::taken(answer).map_err(Fault::broken)?;
        if n != self.number {
            return Err(Fault::broken(format_args!("piece {n} was acknowledged in place of {}", self.number)));
        }
        self.number += 1;
        self.failures = 0;
        self.doubtful = false;
        self.pending.drain(..std::mem::take(&mut self.cut));
        if self.pending.is_empty() {
            self.pending.shrink_to(KEPT_BYTES);
        }
        Ok(())
    }

    /// Decides whether the piece is sent again.
    fn failed(&mut self, error: ConnectError) -> Result<(), Fault> {
        let too_large = matches!(&error, ConnectError::NotARealm { answer, .. } if answer.status == 413);
        if too_large && self.cut > SMALL_PIECE_BYTES && !self.doubtful {
            // The server never had it, so that its number is free for a smaller one.
            self.piece_bytes_max = SMALL_PIECE_BYTES;
            self.cut = 0;
            return Ok(());
        }
        self.doubtful = true;
        match error {
            // Silence is for the heartbeat to judge: the server may hold the answer back on purpose.
            ConnectError::TimedOut { .. } => {}
            // The realm has held it back for as long as it holds requests. That is no fault of the path, however often.
            ConnectError::Refused { status: 503, .. } => self.failures = HELD_BACK,
            _ => self.failures += 1,
        }
        if is_passing(&error) && self.failures < FAILURES_MAX { Ok(()) } else { Err(error.into()) }
    }
}

/// Messages as a piece.
pub(super) fn piece<'a>(messages: impl IntoIterator<Item = &'a ClientMessage>) -> Bytes {
    let mut out = Vec::new();
    for message in messages {
        message.encode_text(&mut out);
        out.push(b'\n');
    }
    Bytes::from(out)
}

/// True for a failure that the next request may not meet: the connection broke, or a proxy could not reach the realm.
pub(super) const fn is_passing(error: &ConnectError) -> bool {
    match error {
        ConnectError::NotARealm { answer, .. } => matches!(answer.status, 408 | 429 | 502..=504),
        ConnectError::Refused { status, .. } => matches!(*status, 429 | 503),
        ConnectError::Url(_) => false,
        _ => true,
    }
}

/// The wait before a request that follows so many failures in a row.
pub(super) const fn pause(failures: u32) -> Duration {
    match failures {
        0 | 1 => Duration::ZERO,
        n => Duration::from_millis(125 << if n < 5 { n } else { 5 }),
    }
}

/// Where the beginning of `pending` is cut: at most `bytes_max` bytes, at a character's border.
fn cut(pending: &[u8], bytes_max: usize) -> usize {
    let mut end = pending.len().min(bytes_max);
    while end > 0 && pending.get(end).is_some_and(|byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_end_at_the_border_of_a_character() {
        let text = "aé€😀".as_bytes();
        let cuts: Vec<usize> = (4..=text.len()).map(|max| cut(text, max)).collect();
        assert_eq!(cuts, [3, 3, 6, 6, 6, 6, 10]);
        assert_eq!(cut(b"", 10), 0);
    }

    #[test]
    fn what_the_realm_holds_back_is_sent_again_for_as_long_as_it_takes() {
        let id = LinkId::draw().unwrap();
        let mut uplink = Uplink::new("http://h".parse().unwrap(), id, &Options::default());
        let refused = |status| ConnectError::Refused {
            status,
            code: "overloaded".to_owned(),
            message: String::new(),
            retry_after_ms: None,
        };
        for _ in 0..20 {
            uplink.failed(refused(503)).unwrap();
            assert_ne!(pause(uplink.failures), Duration::ZERO);
        }
        uplink.failed(refused(404)).unwrap_err();
    }

    #[test]
    fn pauses_grow_and_end() {
        let pauses: Vec<u128> = [0, 1, 2, 3, 4, 5, 100].map(|n| pause(n).as_millis()).to_vec();
        assert_eq!(pauses, [0, 0, 500, 1000, 2000, 4000, 4000]);
    }
}
