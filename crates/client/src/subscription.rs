//! A subscription, as the program that reads it sees it.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, Waker};

use throughline_session::{Cursor, SubscriptionId};
use throughline_wire::event::Event;
use throughline_wire::message::{Gap, ReplyError};

use crate::session::Handle;

/// What a subscription gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Delivery {
    /// The server has taken the subscription up, for the first time or after a new connection. Keeping the cursor of the
    /// last delivery on disk is all that is needed to resume in another process.
    Standing {
        /// Events come after this one.
        cursor: Cursor,
        /// False the first time.
        resumed: bool,
    },
    /// An event. Each comes once, in the order of its EIDs.
    Event(Event),
    /// Events that will not come.
    Gap(Gap),
    /// The subscription is over; from now on it gives nothing else.
    Ended(Ended),
}

/// Why a subscription is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The server ended it; holds the word of section 4.2: `deleted`.
    ByServer(Arc<str>),
    /// The server refused it.
    Refused(ReplyError),
    /// The session is over; holds why.
    SessionClosed(Arc<str>),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::ByServer(reason) if &**reason == "deleted" => f.write_str("the channel was deleted"),
            Ended::ByServer(reason) => write!(f, "the server ended the subscription: {reason}"),
            Ended::Refused(error) => write!(f, "the subscription was refused: {error}"),
            Ended::SessionClosed(reason) => f.write_str(reason),
        }
    }
}

impl std::error::Error for Ended {}

/// Receives a channel. Dropping it ends the subscription.
///
/// A program that does not take what comes is waited for: past the limits of [`Options`](crate::Options) the socket is not
/// read, which holds back all subscriptions of the session. The server then keeps the events as the channel allows, and
/// tells of what it could not keep by a [`Delivery::Gap`].
pub struct Subscription {
    handle: Arc<Handle>,
    id: SubscriptionId,
    channel: Arc<str>,
    ready: VecDeque<Delivery>,
    ended: Option<Ended>,
}

impl Subscription {
    pub(crate) const fn new(handle: Arc<Handle>, id: SubscriptionId, channel: Arc<str>) -> Subscription {
        Subscription { handle, id, channel, ready: VecDeque::new(), ended: None }
    }

    /// The channel's name.
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Waits for what comes next. Cancel-safe. After [`Delivery::Ended`] it gives the same again at once.
    pub async fn next(&mut self) -> Delivery {
        poll_fn(|context| match self.pull(Some(context.waker())) {
            Some(delivery) => Poll::Ready(delivery),
            None => Poll::Pending,
        })
        .await
    }

    /// What has come already, if anything; does not wait.
    pub fn try_next(&mut self) -> Option<Delivery> {
        self.pull(None)
    }

    fn pull(&mut self, waker: Option<&Waker>) -> Option<Delivery> {
        if let Some(ended) = &self.ended {
            return Some(Delivery::Ended(ended.clone()));
        }
        if self.ready.is_empty() {
            let shared = &self.handle.shared;
            if shared.lock().take(self.id, &mut self.ready, waker) {
                shared.wake.notify_one();
            }
        }
        let delivery = self.ready.pop_front()?;
        if let Delivery::Ended(ended) = &delivery {
            self.ended = Some(ended.clone());
        }
        Some(delivery)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("channel", &self.channel).finish_non_exhaustive()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let shared = &self.handle.shared;
        let mut core = shared.lock();
        core.remove_inbox(self.id);
        core.links.session_mut().unsubscribe(self.id);
        drop(core);
        shared.wake.notify_one();
    }
}
