//! What must hold in every run, checked while it goes on.

use std::collections::{BTreeMap, BTreeSet};

use throughline_engine::ChannelKind;
use throughline_session::Cursor;
use throughline_wire::event::{Eid, Epoch, Event};
use throughline_wire::message::{From, Gap, GapReason};

use crate::realm::Kind;

/// A rule that was broken, in words.
pub type Violation = String;

/// What the text of an event begins with that has to be on disk.
pub const DURABLE: char = 'd';

/// An event as the realm holds it, whatever became of the one who published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Channel name.
    pub channel: String,
    /// The channel's history.
    pub epoch: Epoch,
    /// Its id.
    pub eid: Eid,
    /// Its data, different for every publish of a run.
    pub text: String,
}

/// All events that any subscriber could have seen, by channel and history.
#[derive(Debug, Default)]
pub struct Truth {
    histories: BTreeMap<(String, u64), BTreeMap<u64, String>>,
    /// Texts stored, by channel and history.
    texts: BTreeMap<(String, u64), BTreeSet<String>>,
}

impl Truth {
    /// The realm has an event. None may be stored twice, and ids only increase.
    pub fn store(&mut self, event: Stored) -> Result<(), Violation> {
        let key = (event.channel.clone(), event.epoch.0);
        let history = self.histories.entry(key.clone()).or_default();
        if let Some((last, text)) = history.last_key_value()
            && *last >= event.eid.0
        {
            return Err(format!("{event:?} came after {last} ({text})"));
        }
        if !self.texts.entry(key).or_default().insert(event.text.clone()) {
            return Err(format!("{event:?} was stored twice"));
        }
        history.insert(event.eid.0, event.text);
        Ok(())
    }

    /// The text of an event.
    pub fn text(&self, channel: &str, epoch: Epoch, eid: Eid) -> Option<&str> {
        self.histories.get(&(channel.to_owned(), epoch.0))?.get(&eid.0).map(String::as_str)
    }

    /// The first event between two ids, exclusive.
    fn between(&self, channel: &str, epoch: Epoch, after: Eid, before: Eid) -> Option<u64> {
        let history = self.histories.get(&(channel.to_owned(), epoch.0))?;
        if after.0.checked_add(1)? >= before.0 {
            return None;
        }
        history.range(after.0 + 1..before.0).next().map(|(eid, _)| *eid)
    }

    /// After a restart: all events on disk that were seen of a history must still be there. `kept` is what is there.
    /// Of a channel that keeps some events in memory these may be gone, and may be published again.
    pub fn survived(&mut self, channel: &str, epoch: Epoch, kept: &[(Eid, String)]) -> Result<(), Violation> {
        let kept: BTreeMap<u64, &str> = kept.iter().map(|(eid, text)| (eid.0, text.as_str())).collect();
        let key = (channel.to_owned(), epoch.0);
        for (eid, text) in self.histories.get(&key).into_iter().flatten() {
            if kept.get(eid) == Some(&text.as_str()) {
                continue;
            }
            if text.starts_with(DURABLE) {
                return Err(format!("{channel}: event {eid} ({text}) was seen before the restart and is gone"));
            }
            if let Some(texts) = self.texts.get_mut(&key) {
                texts.remove(text);
            }
        }
        Ok(())
    }

    /// How often an event was stored in all histories of a channel.
    pub fn copies(&self, channel: &str, text: &str) -> usize {
        let histories = self.histories.iter().filter(|((name, _), _)| name == channel);
        histories.flat_map(|(_, events)| events.values()).filter(|t| *t == text).count()
    }
}

/// What one subscription was given.
#[derive(Debug)]
pub struct Reader {
    /// Channel name.
    pub channel: String,
    from: From,
    /// The channel gives up nothing while the realm runs.
    unlimited: bool,
    /// Nor at a restart, or it begins another history: "all" means from the first event on.
    whole: bool,
    cursor: Option<Cursor>,
}

impl Reader {
    /// A subscription that was asked for.
    pub fn new(kind: Kind, from: From) -> Reader {
        let whole = kind.unlimited() && kind.kind != ChannelKind::Mixed;
        Reader { channel: kind.name.to_owned(), from, unlimited: kind.unlimited(), whole, cursor: None }
    }

    /// True when an event was asked for and no answer but a refusal came.
    pub fn never_stood_at_an_event(&self) -> bool {
        self.cursor.is_none() && matches!(self.from, From::Eid(_))
    }

    /// Where it stands.
    pub const fn cursor(&self) -> Option<Cursor> {
        self.cursor
    }

    /// It stands, at the session's cursor.
    pub fn subscribed(&mut self, own: Option<Cursor>) -> Result<(), Violation> {
        let Some(own) = own else { return Err(format!("{}: subscribed without a cursor", self.channel)) };
        if self.cursor.is_none() {
            if self.from == From::All && self.whole && own.eid != Eid::NONE {
                return Err(format!("{}: all was asked for, given was after {}", self.channel, own.eid));
            }
            if let From::Eid(first) = self.from
                && own.eid >= first
            {
                return Err(format!("{}: {first} was asked for, given was after {}", self.channel, own.eid));
            }
            self.cursor = Some(own);
        }
        Ok(())
    }

    /// An event came.
    pub fn event(&mut self, truth: &Truth, event: &Event) -> Result<(), Violation> {
        let Some(cursor) = &mut self.cursor else { return Err(format!("{}: event before subscribed", self.channel)) };
        let (eid, epoch) = (event.eid, cursor.epoch);
        if eid <= cursor.eid {
            return Err(format!("{}: event {eid} came after {}", self.channel, cursor.eid));
        }
        if let Some(missed) = truth.between(&self.channel, epoch, cursor.eid, eid) {
            let after = cursor.eid;
            return Err(format!("{}: {missed} was missed in silence between {after} and {eid}", self.channel));
        }
        let stored = truth.text(&self.channel, epoch, eid);
        // Of a channel that gives up events, some come and go between two looks at it.
        if stored != event.body.data.as_text() && (stored.is_some() || self.unlimited) {
            return Err(format!("{}: event {eid} holds {:?}, stored was {stored:?}", self.channel, event.body.data));
        }
        cursor.eid = eid;
        Ok(())
    }

    /// A gap came; `own` is the session's cursor after it.
    pub fn gap(&mut self, gap: &Gap, own: Option<Cursor>) -> Result<(), Violation> {
        let Some(cursor) = &mut self.cursor else { return Err(format!("{}: gap before subscribed", self.channel)) };
        if gap.from != cursor.eid.next() {
            return Err(format!("{}: {gap:?} does not begin after the cursor {}", self.channel, cursor.eid));
        }
        if gap.reason == GapReason::Epoch {
            if gap.epoch == cursor.epoch {
                return Err(format!("{}: {gap:?} names the epoch that was known", self.channel));
            }
            // Where the new history begins to be given is the server's word; that nothing of it is missed is seen by the
            // events that follow, unless the channel keeps only a part.
            let eid = own.filter(|own| own.epoch == gap.epoch && !self.unlimited).map_or(Eid::NONE, |own| own.eid);
            *cursor = Cursor { epoch: gap.epoch, eid };
            return Ok(());
        }
        if gap.epoch != cursor.epoch || gap.to < gap.from {
            return Err(format!("{}: {gap:?} at {cursor:?}", self.channel));
        }
        if self.unlimited && (self.whole || gap.reason != GapReason::Restart) {
            return Err(format!("{}: {gap:?} on a channel that keeps everything", self.channel));
        }
        cursor.eid = gap.to;
        Ok(())
    }

    /// At the end: everything up to the head has been given.
    pub fn finished(&self, truth: &Truth, head: Cursor) -> Result<(), Violation> {
        let Some(cursor) = self.cursor else { return Err(format!("{}: never subscribed", self.channel)) };
        if cursor.epoch != head.epoch {
            return Err(format!("{}: stands in another history than the channel", self.channel));
        }
        match truth.between(&self.channel, cursor.epoch, cursor.eid, head.eid.next()) {
            Some(missed) => Err(format!("{}: {missed} never came; stands at {}", self.channel, cursor.eid)),
            None => Ok(()),
        }
    }
}
