//! What goes out on a stream of HTTP/2: as its window takes it, and only while its client takes something. Nothing is handed over
//! that the window does not take, so that a stream which is given up leaves nothing with its connection.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use hyper::body::{Body, Frame, SizeHint};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::replay::STEP_BYTES;
use crate::pipe::Far;
use crate::waiting::Awaited;

/// How long a client may take to end a WebSocket that its link has ended.
const LINGER: Duration = Duration::from_secs(3);

/// The client's side of a stream.
#[derive(Debug)]
pub(super) struct Outgoing {
    stream: SendStream<Bytes>,
    /// How long the client may take next to nothing of what is over.
    patience: Duration,
}

/// The stream is over before everything was sent.
#[derive(Debug)]
pub(super) struct Cut;

impl Outgoing {
    pub(super) fn new(stream: SendStream<Bytes>, patience: Duration) -> Outgoing {
        Outgoing { stream, patience }
    }

    /// Sends an answer that is there as a whole.
    pub(super) async fn whole(mut self, answer: Bytes) -> Result<(), Cut> {
        self.hand(answer, true, || true).await
    }

    /// Sends what a link writes until it is over. While it is not, it is the link that judges its client.
    pub(super) async fn link(&mut self, far: &Far) -> Result<(), Cut> {
        while let Some(part) = poll_fn(|cx| self.poll_part(far, cx)).await? {
            self.hand(part, false, || far.is_finished()).await?;
        }
        self.stream.send_data(Bytes::new(), true).map_err(|_| Cut)
    }

    fn poll_part(&mut self, far: &Far, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Cut>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut));
        }
        far.poll_take(cx).map(Ok)
    }

    /// Hands bytes over as the window takes them. Resets the stream when too little was taken for too long of what was `over` before.
    async fn hand(&mut self, mut rest: Bytes, last: bool, over: impl Fn() -> bool) -> Result<(), Cut> {
        let (mut due, mut taken) = (Instant::now() + self.patience, 0);
        while !rest.is_empty() {
            self.stream.reserve_capacity(rest.len());
            let was_over = over();
            match timeout_at(due, poll_fn(|cx| self.poll_room(cx))).await {
                Ok(room) => {
                    let part = rest.split_to(room?.min(rest.len()));
                    taken += part.len();
                    if !was_over || taken >= STEP_BYTES {
                        (due, taken) = (Instant::now() + self.patience, 0);
                    }
                    self.stream.send_data(part, last && rest.is_empty()).map_err(|_| Cut)?;
                }
                Err(_) if was_over => {
                    tracing::debug!(
                        "a stream is reset: its client took nothing of an answer in time (timeouts.body_ms)"
                    );
                    self.stream.send_reset(Reason::CANCEL);
                    return Err(Cut);
                }
                Err(_) => due = Instant::now() + self.patience,
            }
        }
        Ok(())
    }

    /// How many bytes the window takes, once it takes some.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Cut>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Cut));
        }
        while self.stream.capacity() == 0 {
            if !matches!(ready!(self.stream.poll_capacity(cx)), Some(Ok(_))) {
                return Poll::Ready(Err(Cut));
            }
        }
        Poll::Ready(Ok(self.stream.capacity()))
    }

    /// Carries the bytes of a WebSocket between its stream and its link, until both have ended.
    pub(super) async fn carry(mut self, mut incoming: Awaited<Incoming>, far: Far) {
        let mut up = pin!(async {
            loop {
                poll_fn(|cx| far.poll_room(cx)).await;
                let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await else { break };
                far.put(frame.data_ref().map_or(&[], |data| data));
            }
            far.end();
        });
        let mut down = pin!(self.link(&far));
        // A stream that breaks ends both ways; the link learns it from the end of what it reads.
        tokio::select! {
            () = &mut up => down.await.unwrap_or_default(),
            sent = &mut down => if sent.is_ok() {
                // A stream that is dropped before its client has ended it is reset, which may overtake the last bytes there.
                timeout(LINGER, up).await.unwrap_or_default();
            },
        }
    }
}

/// The body of a request. The window opens as it is read.
#[derive(Debug)]
pub(super) struct Incoming {
    stream: RecvStream,
    /// How many bytes are to come, where that was said.
    left: Option<u64>,
}

impl Incoming {
    pub(super) fn new(stream: RecvStream, length: Option<u64>) -> Incoming {
        Incoming { stream, left: length }
    }
}

impl Body for Incoming {
    type Data = Bytes;
    type Error = h2::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, h2::Error>>> {
        let this = self.get_mut();
        let data = match ready!(this.stream.poll_data(cx)) {
            Some(Ok(data)) => data,
            Some(Err(e)) => return Poll::Ready(Some(Err(e))),
            None => return Poll::Ready(None),
        };
        this.left = this.left.map(|left| left.saturating_sub(data.len() as u64));
        // It fails for more than has come only.
        let _ = this.stream.flow_control().release_capacity(data.len());
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map(SizeHint::with_exact).unwrap_or_default()
    }
}
