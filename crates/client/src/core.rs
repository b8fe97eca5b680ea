//! What a session's handles and its driver share: the state machine, and who waits for what.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use throughline_session::{ClientEvent, ClientState, LinkLoss, Links, PathSummary, PublishFault, SubscriptionId};
use tokio::sync::{Notify, oneshot, watch};
use tokio::time::Instant;

use crate::session::{Published, State};
use crate::subscription::{Delivery, Ended};

pub(crate) type Answer = Result<Published, PublishFault>;

/// Shared by all handles of one session and its driver.
pub(crate) struct Shared {
    core: Mutex<Core>,
    /// The driver has to look.
    pub(crate) wake: Notify,
    /// A publish was answered: there may be room in the queue.
    pub(crate) room: Notify,
    pub(crate) state: watch::Sender<State>,
    pub(crate) path: watch::Sender<PathSummary>,
    /// True once the last link's closing handshake is over.
    pub(crate) finished: watch::Sender<bool>,
    epoch: Instant,
}

pub(crate) struct Core {
    pub(crate) links: Links,
    receipts: HashMap<u64, oneshot::Sender<Answer>>,
    inboxes: HashMap<SubscriptionId, Inbox>,
    last_loss: Option<Arc<LinkLoss>>,
    limits: BufferLimits,
    /// Subscriptions whose inbox is full.
    full: usize,
}

#[derive(Clone, Copy)]
pub(crate) struct BufferLimits {
    pub(crate) events_max: usize,
    pub(crate) bytes_max: usize,
}

/// What has come for one subscription and was not taken.
#[derive(Default)]
pub(crate) struct Inbox {
    pub(crate) queue: VecDeque<Delivery>,
    pub(crate) waker: Option<Waker>,
    bytes: usize,
    full: bool,
}

impl Shared {
    pub(crate) fn new(links: Links, limits: BufferLimits, epoch: Instant) -> Shared {
        let path = watch::Sender::new(links.path());
        let core = Core { links, receipts: HashMap::new(), inboxes: HashMap::new(), last_loss: None, limits, full: 0 };
        Shared {
            core: Mutex::new(core),
            wake: Notify::new(),
            room: Notify::new(),
            state: watch::Sender::new(State::Connecting),
            path,
            finished: watch::Sender::new(false),
            epoch,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, Core> {
        // A panic elsewhere cannot leave the state half changed: no user code runs under the lock.
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Milliseconds since the session began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// The instant of such a number of milliseconds.
    pub(crate) fn instant(&self, at: u64) -> Instant {
        self.epoch + std::time::Duration::from_millis(at)
    }

    /// Hands out what the state machine has to say. To be called after every change of it.
    pub(crate) fn dispatch(&self, core: &mut Core) {
        let mut moved = false;
        while core.links.poll_path().is_some() {
            moved = true;
        }
        if moved {
            self.path.send_replace(core.links.path());
        }
        while let Some(event) = core.links.poll_event() {
            match event {
                ClientEvent::StateChanged(state) => {
                    // Answers of open publishes and the reason follow; `Closed` is told with them.
                    if state != ClientState::Closed {
                        self.state.send_replace(State::from_session(state, core.last_loss.clone()));
                    }
                }
                ClientEvent::Published { id, eid, duplicate } => {
                    core.answer(id, Ok(Published { eid, duplicate }));
                    self.room.notify_waiters();
                }
                ClientEvent::PublishFailed { id, fault } => {
                    core.answer(id, Err(fault));
                    self.room.notify_waiters();
                }
                ClientEvent::Closed { code, reason } => {
                    let reason: Arc<str> = reason.into();
                    core.close_inboxes(&reason);
                    self.state.send_replace(State::Closed { code, reason });
                    self.room.notify_waiters();
                }
                ClientEvent::LinkLost(loss) => core.last_loss = Some(Arc::new(loss)),
                ClientEvent::Welcome { .. } => core.last_loss = None,
                event => core.deliver(event),
            }
        }
    }
}

impl Core {
    pub(crate) fn add_receipt(&mut self, id: u64) -> oneshot::Receiver<Answer> {
        let (sender, receiver) = oneshot::channel();
        self.receipts.insert(id, sender);
        receiver
    }

    fn answer(&mut self, id: u64, answer: Answer) {
        if let Some(receipt) = self.receipts.remove(&id) {
            // Nobody may be waiting for it any more.
            let _ = receipt.send(answer);
        }
    }

    pub(crate) fn add_inbox(&mut self, id: SubscriptionId) {
        self.inboxes.insert(id, Inbox::default());
    }

    /// True when the socket was not read because of this one alone.
    pub(crate) fn remove_inbox(&mut self, id: SubscriptionId) -> bool {
        let full = self.inboxes.remove(&id).is_some_and(|inbox| inbox.full);
        self.full -= usize::from(full);
        full && self.full == 0
    }

    /// True while a subscription holds as much as it may.
    pub(crate) const fn is_full(&self) -> bool {
        self.full > 0
    }

    /// Swaps what has come into `taken`, which is empty; true when the socket may be read again because of it.
    pub(crate) fn take(&mut self, id: SubscriptionId, taken: &mut VecDeque<Delivery>, waker: Option<&Waker>) -> bool {
        let Some(inbox) = self.inboxes.get_mut(&id) else { return false };
        std::mem::swap(&mut inbox.queue, taken);
        inbox.bytes = 0;
        inbox.waker = if taken.is_empty() { waker.cloned() } else { None };
        let was_full = std::mem::take(&mut inbox.full);
        self.full -= usize::from(was_full);
        was_full && self.full == 0
    }

    fn deliver(&mut self, event: ClientEvent) {
        let (id, delivery) = match event {
            ClientEvent::Event { subscription, event, .. } => (subscription, Delivery::Event(event)),
            ClientEvent::Gap { subscription, gap, .. } => (subscription, Delivery::Gap(gap)),
            ClientEvent::Subscribed { subscription, cursor, resumed, .. } => {
                (subscription, Delivery::Standing { cursor, resumed })
            }
            ClientEvent::Ended { subscription, reason, .. } => {
                (subscription, Delivery::Ended(Ended::ByServer(reason.into())))
            }
            ClientEvent::SubscribeFailed { subscription, error, .. } => {
                (subscription, Delivery::Ended(Ended::Refused(error)))
            }
            _ => return,
        };
        let limits = self.limits;
        let Some(inbox) = self.inboxes.get_mut(&id) else { return };
        inbox.push(delivery);
        if !inbox.full && (inbox.queue.len() >= limits.events_max || inbox.bytes >= limits.bytes_max) {
            inbox.full = true;
            self.full += 1;
        }
    }

    fn close_inboxes(&mut self, reason: &Arc<str>) {
        for inbox in self.inboxes.values_mut() {
            inbox.push(Delivery::Ended(Ended::SessionClosed(Arc::clone(reason))));
        }
    }
}

impl Inbox {
    fn push(&mut self, delivery: Delivery) {
        if let Delivery::Event(event) = &delivery {
            self.bytes += event.body.weight();
        }
        self.queue.push_back(delivery);
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }
}
