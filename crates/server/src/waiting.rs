//! Connections for which the realm waits: for the rest of a request, or for the client to take an answer or to ask again. They
//! cost the client nothing, so each shard has no more of them than its share; one more ends the one that was waited for longest.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::metrics::Metrics;

/// The connections of a shard that are waited for, the longest first.
#[derive(Debug)]
pub(crate) struct Waiting {
    max: usize,
    entries: RefCell<BTreeMap<u64, Rc<End>>>,
    next: Cell<u64>,
    metrics: Arc<Metrics>,
}

/// What a connection learns when it has to make room.
#[derive(Debug, Default)]
struct End {
    over: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// One connection; it is waited for between [`begin`](Wait::begin) and [`end`](Wait::end).
#[derive(Debug)]
pub(crate) struct Wait {
    list: Rc<Waiting>,
    /// Its place, while it is waited for.
    place: Cell<Option<u64>>,
    end: Rc<End>,
}

impl Waiting {
    /// For at most `max` connections, and at least one.
    pub(crate) fn new(max: usize, metrics: Arc<Metrics>) -> Rc<Waiting> {
        Rc::new(Waiting { max: max.max(1), entries: RefCell::default(), next: Cell::new(0), metrics })
    }

    /// A connection that is waited for from now on.
    pub(crate) fn connection(self: &Rc<Self>) -> Wait {
        let wait = Wait { list: Rc::clone(self), place: Cell::new(None), end: Rc::default() };
        wait.begin();
        wait
    }

    fn make_room(&self) {
        let mut entries = self.entries.borrow_mut();
        while entries.len() > self.max {
            let Some((_, end)) = entries.pop_first() else { return };
            self.metrics.connections_waiting.dec();
            self.metrics.waiting_closed.inc();
            end.over.set(true);
            if let Some(waker) = end.waker.take() {
                waker.wake();
            }
        }
    }
}

impl Wait {
    /// The client has to do something next.
    pub(crate) fn begin(&self) {
        if self.place.get().is_some() {
            return;
        }
        let place = self.list.next.get();
        self.list.next.set(place + 1);
        self.place.set(Some(place));
        self.list.entries.borrow_mut().insert(place, Rc::clone(&self.end));
        self.list.metrics.connections_waiting.inc();
        self.list.make_room();
    }

    /// The realm has to do something next.
    pub(crate) fn end(&self) {
        if let Some(place) = self.place.take()
            && self.list.entries.borrow_mut().remove(&place).is_some()
        {
            self.list.metrics.connections_waiting.dec();
        }
    }

    /// Ready when the connection has to make room for others.
    pub(crate) async fn over(&self) -> io::Error {
        poll_fn(|cx| self.poll_over(cx)).await;
        let text = "the realm had waited for it longest, and waits for others (limits.waiting_connections_max)";
        io::Error::new(io::ErrorKind::TimedOut, text)
    }

    fn poll_over(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.end.over.get() {
            return Poll::Ready(());
        }
        *self.end.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.end();
    }
}

/// The body of a request, which tells when it is whole or nobody wants the rest.
pub(crate) struct Awaited<B> {
    inner: B,
    whole: Option<Box<dyn FnOnce()>>,
}

impl<B: Body<Data = Bytes>> Awaited<B> {
    /// Calls `whole` at once when there is nothing to wait for.
    pub(crate) fn new(inner: B, whole: impl FnOnce() + 'static) -> Awaited<B> {
        let mut body = Awaited { inner, whole: Some(Box::new(whole)) };
        body.look(false);
        body
    }

    fn look(&mut self, over: bool) {
        if (over || self.inner.is_end_stream())
            && let Some(whole) = self.whole.take()
        {
            whole();
        }
    }
}

impl<B> Drop for Awaited<B> {
    fn drop(&mut self) {
        if let Some(whole) = self.whole.take() {
            whole();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Awaited<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        this.look(matches!(polled, Poll::Ready(None | Some(Err(_)))));
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_waited_for_longest_makes_room() {
        let metrics = Arc::new(Metrics::new());
        let list = Waiting::new(2, Arc::clone(&metrics));
        let is_over = |wait: &Wait| wait.poll_over(&mut Context::from_waker(Waker::noop())).is_ready();
        let (first, second) = (list.connection(), list.connection());
        first.end();
        let third = list.connection();
        assert!(![&first, &second, &third].into_iter().any(is_over));
        first.begin();
        assert_eq!([&first, &second, &third].map(is_over), [false, true, false]);
        third.begin();
        let fourth = list.connection();
        assert_eq!([&first, &third, &fourth].map(is_over), [false, true, false]);
        assert_eq!((metrics.connections_waiting.get(), metrics.waiting_closed.get()), (2, 2));
        drop((first, second, third, fourth));
        assert_eq!(metrics.connections_waiting.get(), 0);
    }
}
