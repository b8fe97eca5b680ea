//! A round: which transport is tried next.

use alloc::vec::Vec;

use throughline_wire::path::Transport;

/// The first of each group in a list.
pub(super) fn heads(list: &[Transport]) -> Vec<Transport> {
    let mut heads: Vec<Transport> = Vec::new();
    for transport in list {
        if heads.iter().all(|head| head.group() != transport.group()) {
            heads.push(*transport);
        }
    }
    heads
}

/// One search for a link that works.
#[derive(Debug)]
pub(super) struct Round {
    list: Vec<Transport>,
    tried: Vec<Transport>,
    /// Worked before: it is started sooner than others, beside the walk.
    beside: Option<Transport>,
    /// It has started something.
    begun: bool,
    /// Of the walk, what was started last: the number of the attempt, and its transport.
    walk: Option<(u64, Transport)>,
}

impl Round {
    /// `running` are tried already.
    pub(super) fn new(list: Vec<Transport>, running: Vec<Transport>, worked: Option<Transport>) -> Round {
        let beside = worked.filter(|t| !running.contains(t));
        Round { list, tried: running, beside, begun: false, walk: None }
    }

    /// Over `home`, and then one of `others`: of the best of each group, which are `heads`, by turns, and after each turn through
    /// these one of the rest.
    pub(super) fn pair(
        home: Transport,
        others: Vec<Transport>,
        heads: &[Transport],
        turn: usize,
        running: Vec<Transport>,
    ) -> Round {
        let (likely, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|transport| heads.contains(transport));
        let cycle = (likely.len() + usize::from(!rest.is_empty())).max(1);
        let other = likely.get(turn % cycle).or_else(|| rest.get(turn / cycle % rest.len().max(1)));
        Round::new([home].into_iter().chain(other.copied()).collect(), running, None)
    }

    fn left(&self) -> impl Iterator<Item = Transport> {
        self.list.iter().copied().filter(|t| !self.tried.contains(t))
    }

    pub(super) const fn has_begun(&self) -> bool {
        self.begun
    }

    /// True when the next one is what worked before, which waits less.
    pub(super) const fn is_hurried(&self) -> bool {
        self.begun && self.beside.is_some()
    }

    pub(super) fn has_tried(&self, transport: Transport) -> bool {
        self.tried.contains(&transport)
    }

    /// What is tried next; `runs` tells of an attempt whether it has not failed. `None` when everything was tried.
    pub(super) fn next(&self, runs: impl Fn(u64) -> bool) -> Option<Transport> {
        if self.is_hurried() {
            return self.beside;
        }
        let wanted = self.walk.and_then(|(attempt, last)| {
            let silent = runs(attempt);
            self.left().find(|t| if silent { t.group() > last.group() } else { *t > last })
        });
        wanted.or_else(|| self.left().next())
    }

    pub(super) fn started(&mut self, attempt: u64, transport: Transport) {
        self.tried.push(transport);
        let besides = self.begun && self.beside == Some(transport);
        if self.beside == Some(transport) {
            self.beside = None;
        }
        if !besides {
            self.walk = Some((attempt, transport));
        }
        self.begun = true;
    }
}
