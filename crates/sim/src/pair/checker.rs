//! What must hold in every run.

use throughline_session::Cursor;
use throughline_wire::event::{Eid, Event};
use throughline_wire::message::{From, Gap, GapReason};

use super::realm::{Channel, History, Mark, mark_of};
use crate::checker::Violation;

/// What one subscription was given.
#[derive(Debug)]
pub struct Reader {
    /// Place of its channel.
    pub channel: usize,
    from: From,
    cursor: Option<Cursor>,
    /// Where the server said last that the subscription goes on.
    told: Option<Cursor>,
}

fn between(history: &History, after: Eid, before: Eid) -> Option<Eid> {
    let place = history.events.partition_point(|(eid, _)| *eid <= after);
    history.events.get(place).map(|(eid, _)| *eid).filter(|eid| *eid < before)
}

fn mark_at(history: &History, eid: Eid) -> Option<Mark> {
    let place = history.events.binary_search_by_key(&eid, |(eid, _)| *eid).ok()?;
    history.events.get(place).map(|(_, mark)| *mark)
}

fn history(channel: &Channel, cursor: Cursor) -> Result<&History, Violation> {
    let found = channel.histories.iter().find(|h| h.epoch == cursor.epoch);
    found.ok_or_else(|| format!("{}: there never was an epoch {}", channel.name, cursor.epoch))
}

impl Reader {
    /// A subscription that was asked for.
    pub const fn new(channel: usize, from: From) -> Reader {
        Reader { channel, from, cursor: None, told: None }
    }

    /// True when an event was asked for and no answer but a refusal came.
    pub const fn never_stood_at_an_event(&self) -> bool {
        self.cursor.is_none() && matches!(self.from, From::Eid(_))
    }

    /// It stands; the server goes on after `told`.
    pub fn subscribed(&mut self, channel: &Channel, told: Cursor) -> Result<(), Violation> {
        self.told = Some(told);
        if self.cursor.is_some() {
            return Ok(());
        }
        let own = match self.from {
            From::Eid(first) => Cursor { eid: told.eid.min(Eid(first.0.saturating_sub(1))), ..told },
            _ => told,
        };
        let history = history(channel, own)?;
        let first = history.events.first().map_or(Eid::NONE, |(eid, _)| *eid);
        let fits = match self.from {
            From::All => own.eid <= history.floor || own.eid < first,
            From::Eid(eid) => own.eid < eid && between(history, own.eid, eid).is_none(),
            From::New | From::After { .. } => own.eid <= history.events.last().map_or(Eid::NONE, |(eid, _)| *eid),
        };
        if !fits {
            return Err(format!("{}: {:?} was asked for, given was after {}", channel.name, self.from, own.eid));
        }
        self.cursor = Some(own);
        Ok(())
    }

    /// An event came.
    pub fn event(&mut self, channel: &Channel, event: &Event) -> Result<(), Violation> {
        let name = channel.name;
        let Some(cursor) = &mut self.cursor else { return Err(format!("{name}: event before subscribed")) };
        let (eid, after) = (event.eid, cursor.eid);
        if eid <= after {
            return Err(format!("{name}: event {eid} came after {after}"));
        }
        let history = history(channel, *cursor)?;
        if let Some(missed) = between(history, after, eid) {
            return Err(format!("{name}: {missed} was missed in silence between {after} and {eid}"));
        }
        if mark_at(history, eid) != Some(mark_of(&event.body)) {
            return Err(format!("{name}: event {eid} is not the one that was stored"));
        }
        cursor.eid = eid;
        Ok(())
    }

    /// A gap came.
    pub fn gap(&mut self, channel: &Channel, gap: &Gap) -> Result<(), Violation> {
        let name = channel.name;
        let Some(cursor) = &mut self.cursor else { return Err(format!("{name}: gap before subscribed")) };
        if gap.from != cursor.eid.next() {
            return Err(format!("{name}: {gap:?} does not begin after the cursor {}", cursor.eid));
        }
        if gap.reason == GapReason::Epoch {
            let old = channel.histories.iter().position(|h| h.epoch == cursor.epoch);
            let new = channel.histories.iter().position(|h| h.epoch == gap.epoch);
            if new.is_none() || old >= new {
                return Err(format!("{name}: {gap:?} names no later history"));
            }
            let told = self.told.filter(|told| told.epoch == gap.epoch);
            let own = told.unwrap_or(Cursor { epoch: gap.epoch, eid: Eid::NONE });
            if between(history(channel, own)?, history(channel, own)?.floor, own.eid.next()).is_some() {
                return Err(format!("{name}: {gap:?} skips what is kept: goes on after {}", own.eid));
            }
            *cursor = own;
            return Ok(());
        }
        let history = history(channel, *cursor)?;
        if gap.epoch != cursor.epoch || gap.to < gap.from || gap.to > history.floor {
            return Err(format!("{name}: {gap:?} at {cursor:?}; kept is what is after {}", history.floor));
        }
        cursor.eid = gap.to;
        Ok(())
    }

    /// At the end: everything up to the head has been given.
    pub fn finished(&self, channel: &Channel) -> Result<(), Violation> {
        let name = channel.name;
        let Some(cursor) = self.cursor else { return Err(format!("{name}: never subscribed")) };
        if cursor.epoch != channel.epoch() {
            return Err(format!("{name}: stands in another history than the channel"));
        }
        match between(history(channel, cursor)?, cursor.eid, Eid(u64::MAX)) {
            Some(missed) => Err(format!("{name}: {missed} never came; stands at {}", cursor.eid)),
            None => Ok(()),
        }
    }
}

/// A publish of the run and what the session said of it.
#[derive(Clone, Copy, Debug)]
pub struct Published {
    /// Place of its channel.
    pub channel: usize,
    /// The answer.
    pub answer: Option<Eid>,
}

/// A publish was answered: it is stored under that id.
pub fn answered(channel: &Channel, mark: u64, eid: Eid) -> Result<(), Violation> {
    if channel.histories.iter().rev().any(|h| mark_at(h, eid) == Some(Some(mark))) {
        return Ok(());
    }
    Err(format!("{}: publish {mark} was answered with {eid} and is not stored there", channel.name))
}

/// At the end: publishes are stored once, in the order in which they were made.
pub fn stored(channel: &Channel, place: usize, published: &[Published]) -> Result<(), Violation> {
    let mut last = 0;
    let mut found = vec![false; published.len() + 1];
    for history in &channel.histories {
        if !channel.durable {
            last = 0;
        }
        for mark in history.events.iter().filter_map(|(_, mark)| *mark) {
            if mark <= last {
                return Err(format!("{}: publish {mark} is stored after {last}", channel.name));
            }
            last = mark;
            if let Some(found) = found.get_mut(mark as usize) {
                *found = true;
            }
        }
    }
    let lost = (1..=published.len()).find(|mark| published[mark - 1].channel == place && !found[*mark]);
    lost.map_or(Ok(()), |mark| Err(format!("{}: publish {mark} is not stored", channel.name)))
}
