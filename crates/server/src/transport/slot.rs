//! Where the body of a poll link's answers gathers between polls: PROTOCOL.md section 10.5.
//!
//! The link's shard writes lines, polls take them as numbered answers, on whichever threads they come. An answer is kept until
//! a poll acknowledges it, so that one that was lost on the way is given again.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use super::share::PollBytes;

/// Bytes that gather for the next answer; what is more stays in the channels' rings. One message may be larger.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Times that [`PollSlot::sweep`] finds the same answer before it gives its link up.
const STALE_SWEEPS: u32 = 10;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct PollSlot {
    bytes: Arc<PollBytes>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Lines of the next answer.
    filling: Vec<u8>,
    /// The next line does not fit; cleared when `filling` is taken.
    full: bool,
    /// Number of the last answer with messages; 0 before the first.
    number: u64,
    /// That answer, until it is acknowledged.
    kept: Option<Bytes>,
    /// What of both came from the pool of all links, bytes.
    pooled: usize,
    /// Length of the line that found too little there; 0 when none did.
    wanted: usize,
    /// How often the link was found with an answer that was not acknowledged.
    stale: u32,
    /// Counts polls: only the latest is given anything.
    turn: u64,
    poll: Option<Waker>,
    writer: Option<Waker>,
    reaper: Option<Waker>,
    /// Nothing more will be written.
    ended: bool,
    /// The link is over, whatever was not taken.
    dead: bool,
}

/// What a poll is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) number: u64,
    /// Lines; empty when there was nothing to say.
    pub(crate) lines: Bytes,
}

/// How a poll begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// The answer that it did not acknowledge.
    Repeated(Answer),
    /// It may wait, by [`PollSlot::poll_answer`] with this turn.
    Wait(u64),
    /// It acknowledges an answer that is neither the last, of this number, nor the one before.
    Conflict(u64),
}

fn wake(waker: &mut Option<Waker>) {
    if let Some(waker) = waker.take() {
        waker.wake();
    }
}

impl State {
    fn over(&self) -> bool {
        self.dead || (self.ended && self.filling.is_empty())
    }

    /// Bytes that are held.
    fn total(&self) -> usize {
        self.filling.len() + self.kept.as_ref().map_or(0, Bytes::len)
    }

    /// Gives back what is not needed any more.
    fn settle(&mut self, shared: &PollBytes) {
        let total = self.total();
        shared.hold(&mut self.pooled, total);
    }

    /// How much of `bytes`, which are whole lines, is taken now.
    fn take(&mut self, bytes: &[u8], shared: &PollBytes) -> io::Result<usize> {
        if self.dead {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let room = ANSWER_BYTES_MAX.saturating_sub(self.filling.len());
        let line_end = |part: &[u8]| part.iter().rposition(|b| *b == b'\n').map(|at| at + 1);
        let fits = if bytes.len() <= room { Some(bytes.len()) } else { bytes.get(..room).and_then(line_end) };
        let first_line = || bytes.iter().position(|b| *b == b'\n').map_or(bytes.len(), |at| at + 1);
        let taken = fits.or_else(|| self.filling.is_empty().then(first_line));
        let Some(taken) = taken.filter(|_| !self.full) else {
            self.full = true;
            return Err(io::ErrorKind::WouldBlock.into());
        };
        let total = self.total();
        let taken = match shared.hold(&mut self.pooled, total + taken) {
            true => Some(taken),
            // As much as fits the link's own share.
            false => bytes.get(..shared.share().saturating_sub(total)).and_then(line_end),
        };
        let Some(taken) = taken else {
            self.wanted = first_line();
            return Err(io::ErrorKind::WouldBlock.into());
        };
        self.wanted = 0;
        self.filling.extend_from_slice(bytes.get(..taken).unwrap_or_default());
        Ok(taken)
    }
}

impl PollSlot {
    /// Of a link that shares `bytes` with others.
    pub(crate) fn new(bytes: Arc<PollBytes>) -> PollSlot {
        PollSlot { bytes, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes lines for the next answer, cut only between lines; `WouldBlock` until that was taken.
    pub(crate) fn write<'a>(&self, slices: impl IntoIterator<Item = &'a [u8]>) -> io::Result<usize> {
        let mut state = self.state();
        let mut total = 0;
        for slice in slices {
            match state.take(slice, &self.bytes) {
                Ok(n) => {
                    total += n;
                    if n < slice.len() {
                        break;
                    }
                }
                Err(e) if total == 0 => return Err(e),
                Err(_) => break,
            }
        }
        wake(&mut state.poll);
        Ok(total)
    }

    /// Ready when [`PollSlot::write`] takes something.
    pub(crate) fn poll_writable(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.full && !state.dead {
            state.writer = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let has_room = |state: &State| self.bytes.has_room(state.pooled, state.total() + state.wanted);
        if state.wanted > 0 && !state.dead && !has_room(&state) {
            state.writer = Some(cx.waker().clone());
            self.bytes.await_room(cx.waker().clone());
            // What was given back just before woke nobody.
            if !has_room(&state) {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// For when links wait for room: gives this one up when it has held more than its share through several calls, and its client
    /// has not acknowledged an answer between them. True when it did.
    pub(crate) fn sweep(&self) -> bool {
        {
            let mut state = self.state();
            if state.pooled == 0 || state.dead {
                return false;
            }
            state.stale += 1;
            if state.stale <= STALE_SWEEPS {
                return false;
            }
        }
        self.abort();
        true
    }

    /// True when no answer was ever acknowledged.
    pub(crate) fn is_untaken(&self) -> bool {
        let state = self.state();
        state.number == 0 || (state.number == 1 && state.kept.is_some())
    }

    /// Nothing more will be written; the next poll gets what there is.
    pub(crate) fn finish(&self) {
        let mut state = self.state();
        state.ended = true;
        wake(&mut state.poll);
        wake(&mut state.reaper);
    }

    /// Nothing more will be taken.
    pub(crate) fn abort(&self) {
        let mut state = self.state();
        state.dead = true;
        (state.filling, state.kept) = (Vec::new(), None);
        state.settle(&self.bytes);
        wake(&mut state.poll);
        wake(&mut state.writer);
        wake(&mut state.reaper);
    }

    /// Ready when the link is over.
    pub(crate) fn poll_over(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.over() {
            return Poll::Ready(());
        }
        state.reaper = Some(cx.waker().clone());
        Poll::Pending
    }

    /// A poll came that acknowledges answer `ack`. One that is held already is over.
    pub(crate) fn begin(&self, ack: u64) -> Begin {
        let mut state = self.state();
        let number = state.number;
        let begin = if ack == number {
            if state.kept.take().is_some() {
                state.stale = 0;
                state.settle(&self.bytes);
                wake(&mut state.writer);
            }
            Begin::Wait(state.turn + 1)
        } else {
            match &state.kept {
                Some(lines) if ack.checked_add(1) == Some(number) => {
                    Begin::Repeated(Answer { number, lines: lines.clone() })
                }
                _ => return Begin::Conflict(number),
            }
        };
        state.turn += 1;
        wake(&mut state.poll);
        begin
    }

    /// What the poll of `turn` is given, as soon as there is something, or another poll has come. `None` when the link is
    /// over.
    pub(crate) fn poll_answer(&self, turn: u64, cx: &Context<'_>) -> Poll<Option<Answer>> {
        let mut state = self.state();
        if state.turn != turn {
            return Poll::Ready(Some(Answer { number: state.number, lines: Bytes::new() }));
        }
        if state.over() {
            return Poll::Ready(None);
        }
        if state.filling.is_empty() {
            state.poll = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let lines = Bytes::from(std::mem::take(&mut state.filling).into_boxed_slice());
        state.full = false;
        state.number += 1;
        state.kept = Some(lines.clone());
        wake(&mut state.writer);
        if state.ended {
            wake(&mut state.reaper);
        }
        Poll::Ready(Some(Answer { number: state.number, lines }))
    }

    /// What a poll is given that has waited long enough.
    pub(crate) fn nothing(&self) -> Answer {
        Answer { number: self.state().number, lines: Bytes::new() }
    }
}

impl Drop for PollSlot {
    fn drop(&mut self) {
        let mut state = self.state();
        (state.filling, state.kept) = (Vec::new(), None);
        state.settle(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slot that need not share.
    fn alone() -> PollSlot {
        PollSlot::new(Arc::new(PollBytes::new(u64::MAX, 1)))
    }

    fn ask(slot: &PollSlot, turn: u64) -> Poll<Option<Answer>> {
        slot.poll_answer(turn, &Context::from_waker(Waker::noop()))
    }

    fn answer(number: u64, lines: &str) -> Answer {
        Answer { number, lines: Bytes::copy_from_slice(lines.as_bytes()) }
    }

    fn given(number: u64, lines: &str) -> Poll<Option<Answer>> {
        Poll::Ready(Some(answer(number, lines)))
    }

    #[test]
    fn an_answer_comes_again_until_it_is_acknowledged() {
        let slot = alone();
        assert_eq!(slot.begin(0), Begin::Wait(1));
        assert_eq!(ask(&slot, 1), Poll::Pending);
        slot.write([&b"a\n"[..]]).unwrap();
        assert_eq!(ask(&slot, 1), given(1, "a\n"));
        slot.write([&b"b\n"[..]]).unwrap();
        for _ in 0..3 {
            assert_eq!(slot.begin(0), Begin::Repeated(answer(1, "a\n")));
            assert!(slot.is_untaken());
        }
        let Begin::Wait(turn) = slot.begin(1) else { panic!("acknowledged") };
        assert!(!slot.is_untaken());
        assert_eq!(ask(&slot, turn), given(2, "b\n"));
        assert!(!slot.is_untaken());
        for ack in [0, 4, u64::MAX] {
            assert_eq!(slot.begin(ack), Begin::Conflict(2));
        }
        assert!(matches!(slot.begin(2), Begin::Wait(_)));
        assert_eq!(slot.begin(1), Begin::Conflict(2), "what was acknowledged is gone");
        assert_eq!(slot.nothing(), answer(2, ""));
    }

    #[test]
    fn the_latest_poll_is_the_one_that_is_answered() {
        let slot = alone();
        let (Begin::Wait(older), Begin::Wait(newer)) = (slot.begin(0), slot.begin(0)) else { panic!("both wait") };
        slot.write([&b"a\n"[..]]).unwrap();
        assert_eq!(ask(&slot, older), given(0, ""));
        assert_eq!(ask(&slot, newer), given(1, "a\n"));
    }

    #[test]
    fn it_is_full_at_a_limit_and_takes_whole_lines_only() {
        let slot = alone();
        let line = [vec![b'x'; 999], vec![b'\n']].concat();
        let many = line.repeat(100);
        assert_eq!(slot.write([&many[..]]).unwrap(), 65_000);
        let error = slot.write([&many[65_000..]]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        let cx = Context::from_waker(Waker::noop());
        assert!(slot.poll_writable(&cx).is_pending());
        let Begin::Wait(turn) = slot.begin(0) else { panic!("it waits") };
        let Poll::Ready(Some(first)) = ask(&slot, turn) else { panic!("there is an answer") };
        assert_eq!(first.lines.len(), 65_000);
        assert!(slot.poll_writable(&cx).is_ready());
        let huge = [vec![b'y'; 1 << 20], vec![b'\n'], line].concat();
        assert_eq!(slot.write([&huge[..]]).unwrap(), (1 << 20) + 1, "one message fits whatever its size");
        assert!(slot.write([&huge[(1 << 20) + 1..]]).is_err());
    }

    #[test]
    fn slices_in_a_row_are_taken_as_far_as_they_fit() {
        let slot = alone();
        let line = [vec![b'x'; 39_999], vec![b'\n']].concat();
        assert_eq!(slot.write([&line[..], &line[..], &line[..]]).unwrap(), 40_000);
    }

    #[test]
    fn the_end_is_told_after_the_last_answer() {
        let slot = alone();
        let cx = Context::from_waker(Waker::noop());
        slot.write([&b"bye\n"[..]]).unwrap();
        slot.finish();
        assert!(slot.poll_over(&cx).is_pending());
        let Begin::Wait(turn) = slot.begin(0) else { panic!("it waits") };
        assert_eq!(ask(&slot, turn), given(1, "bye\n"));
        assert!(slot.poll_over(&cx).is_ready());
        assert_eq!(ask(&slot, turn), Poll::Ready(None));
        let slot = alone();
        slot.write([&b"lost\n"[..]]).unwrap();
        slot.abort();
        assert!(slot.poll_over(&cx).is_ready());
        assert!(slot.write([&b"more\n"[..]]).is_err());
    }

    #[test]
    fn many_links_hold_no_more_than_is_allowed_and_small_messages_always_pass() {
        let (max, links) = (100_000, 50);
        let bytes = Arc::new(PollBytes::new(max, links));
        let slots: Vec<PollSlot> = (0..links).map(|_| PollSlot::new(Arc::clone(&bytes))).collect();
        let (large, small) = ([vec![b'x'; 9_999], vec![b'\n']].concat(), [vec![b's'; 899], vec![b'\n']].concat());
        let held = || slots.iter().map(|slot| slot.state().total() as u64).sum::<u64>();
        let refused = slots.iter().filter(|slot| slot.write([&large[..]]).is_err()).count();
        assert_eq!(refused, 45, "each of the others holds 9,000 bytes beyond its share");
        for slot in slots.iter().skip(10) {
            assert_eq!(slot.write([&small[..]]).unwrap(), 900);
        }
        for _ in 0..100 {
            slots.iter().for_each(|slot| drop(slot.write([&small[..], &large[..]])));
            assert!(held() <= max);
        }
    }

    #[test]
    fn who_waits_for_room_is_woken_by_an_acknowledgement() {
        let bytes = Arc::new(PollBytes::new(10_000, 10));
        let (holder, other) = (PollSlot::new(Arc::clone(&bytes)), PollSlot::new(Arc::clone(&bytes)));
        let line = [vec![b'x'; 4_999], vec![b'\n']].concat();
        let cx = Context::from_waker(Waker::noop());
        holder.write([&line[..]]).unwrap();
        assert_eq!(other.write([&line[..]]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        assert!(other.poll_writable(&cx).is_pending());
        assert!(bytes.is_short());
        let Begin::Wait(turn) = holder.begin(0) else { panic!("it waits") };
        assert!(ask(&holder, turn).is_ready());
        assert!(other.poll_writable(&cx).is_pending(), "the answer may have to be given again");
        assert!(matches!(holder.begin(1), Begin::Wait(_)));
        assert!(other.poll_writable(&cx).is_ready());
        assert_eq!(other.write([&line[..]]).unwrap(), 5_000);
        drop((holder, other));
        assert_eq!(bytes.pooled(), 0);
    }

    #[test]
    fn a_link_that_acknowledges_nothing_is_given_up_for_others() {
        let bytes = Arc::new(PollBytes::new(10_000, 10));
        let slot = PollSlot::new(Arc::clone(&bytes));
        let line = [vec![b'x'; 4_999], vec![b'\n']].concat();
        slot.write([&line[..]]).unwrap();
        let Begin::Wait(turn) = slot.begin(0) else { panic!("it waits") };
        assert!(ask(&slot, turn).is_ready());
        for _ in 0..STALE_SWEEPS {
            assert!(!slot.sweep());
            assert!(matches!(slot.begin(0), Begin::Repeated(_)), "asking again is no progress");
        }
        assert!(slot.sweep());
        assert_eq!(bytes.pooled(), 0);
        assert!(slot.poll_over(&Context::from_waker(Waker::noop())).is_ready());
    }
}
