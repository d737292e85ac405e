//! Which entries can be released, when they are finished out of order?

use std::collections::VecDeque;

use crate::layout::Seq;

/// Takes entries in ring order and their completion in any order, and says how far the ring can
/// be released: behind the last entry before which everything is done.
///
/// *Bound:* `outstanding_max` entries, fixed when made; memory never grows after.
#[derive(Debug)]
pub struct ReleaseLedger {
    /// Entries taken and not releasable yet, in ring order; the front one is never done.
    waiting: VecDeque<(Seq, bool)>,
    outstanding_max: usize,
}

impl ReleaseLedger {
    /// Room for `outstanding_max` entries between the last release and the newest taken.
    pub fn new(outstanding_max: usize) -> Self {
        Self { waiting: VecDeque::with_capacity(outstanding_max), outstanding_max }
    }

    /// Is there room for another entry? If not, leave it in the ring: do not call `next`.
    pub fn has_room(&self) -> bool {
        self.waiting.len() < self.outstanding_max
    }

    /// Entries taken that are not releasable yet.
    pub fn outstanding(&self) -> usize {
        self.waiting.len()
    }

    /// An entry was read from the ring.
    ///
    /// Asserts ring order.
    pub fn taken(&mut self, seq: Seq) -> Result<(), LedgerFull> {
        if !self.has_room() {
            return Err(LedgerFull);
        }
        assert!(self.waiting.back().is_none_or(|(last, _)| *last < seq), "taken out of ring order");
        self.waiting.push_back((seq, false));
        Ok(())
    }

    /// An entry is finished. Returns what can be released now, if that moved on. Finishing an
    /// entry twice, or one that was never taken, changes nothing.
    pub fn done(&mut self, seq: Seq) -> Option<Seq> {
        let at = self.waiting.binary_search_by_key(&seq, |(waiting, _)| *waiting).ok()?;
        self.waiting[at].1 = true;
        let mut releasable = None;
        while let Some((seq, true)) = self.waiting.front() {
            releasable = Some(*seq);
            self.waiting.pop_front();
        }
        releasable
    }

    /// Forgets everything, for a consumer that attaches anew.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

/// Too many entries are unfinished: finish some before reading on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LedgerFull;
