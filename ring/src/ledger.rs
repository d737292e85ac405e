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
    waiting: VecDeque<(Seq, Stage)>,
    outstanding_max: usize,
}

/// What of an entry is still to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    /// Finished with the entry behind it.
    WithNext,
    Done,
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
        self.waiting.push_back((seq, Stage::Open));
        Ok(())
    }

    /// An entry is a part of the one behind it: it is finished when that is.
    pub fn with_next(&mut self, seq: Seq) {
        if let Ok(at) = self.waiting.binary_search_by_key(&seq, |(waiting, _)| *waiting) {
            self.waiting[at].1 = Stage::WithNext;
        }
    }

    /// An entry is finished. Returns what can be released now, if that moved on. Finishing an
    /// entry twice, or one that was never taken, changes nothing.
    pub fn done(&mut self, seq: Seq) -> Option<Seq> {
        let at = self.waiting.binary_search_by_key(&seq, |(waiting, _)| *waiting).ok()?;
        self.waiting[at].1 = Stage::Done;
        let parts = self.waiting.range_mut(..at).rev();
        for (_, stage) in parts.take_while(|(_, stage)| *stage == Stage::WithNext) {
            *stage = Stage::Done;
        }
        let mut releasable = None;
        while let Some((seq, Stage::Done)) = self.waiting.front() {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn ledger_of(entries: u64) -> ReleaseLedger {
        let mut ledger = ReleaseLedger::new(entries as usize);
        for n in 1..=entries {
            ledger.taken(Seq(n * 8)).unwrap();
        }
        ledger
    }

    /// Only what has nothing unfinished before it is released.
    #[test]
    fn the_contiguous_prefix_is_released() {
        let mut ledger = ledger_of(4);
        assert_eq!(ledger.done(Seq(16)), None);
        assert_eq!(ledger.done(Seq(8)), Some(Seq(16)));
        assert_eq!(ledger.done(Seq(32)), None);
        assert_eq!(ledger.done(Seq(24)), Some(Seq(32)));
        assert_eq!(ledger.outstanding(), 0);
    }

    /// All 120 orders of five completions: a release never passes an unfinished entry, and at the
    /// end everything is released.
    #[test]
    fn every_order_of_completion() {
        fn orders(left: &mut Vec<u64>, order: &mut Vec<u64>, check: &mut impl FnMut(&[u64])) {
            if left.is_empty() {
                return check(order);
            }
            for at in 0..left.len() {
                order.push(left.remove(at));
                orders(left, order, check);
                left.insert(at, order.pop().unwrap());
            }
        }
        let mut tried = 0;
        orders(&mut (1..=5).collect(), &mut Vec::new(), &mut |order| {
            let (mut ledger, mut released, mut finished) = (ledger_of(5), 0, Vec::new());
            for n in order {
                finished.push(*n);
                released = ledger.done(Seq(n * 8)).map_or(released, |seq| seq.0 / 8);
                let prefix = (1..=5).take_while(|n| finished.contains(n)).count();
                assert_eq!(released, prefix as u64, "{order:?} after {n}");
            }
            tried += 1;
        });
        assert_eq!(tried, 120);
    }

    /// Entries 2 and 3 are parts of 4: they are finished with it, and not before.
    #[test]
    fn parts_are_finished_with_the_entry_behind_them() {
        for done_first in [1, 4, 5] {
            let mut ledger = ledger_of(5);
            ledger.with_next(Seq(16));
            ledger.with_next(Seq(24));
            let order = [1, 4, 5].into_iter().cycle().skip_while(|n| *n != done_first).take(3);
            let mut finished = Vec::new();
            for n in order {
                finished.push(n);
                let released = ledger.done(Seq(n * 8)).map_or(0, |seq| seq.0 / 8);
                let expected = match (finished.contains(&1), finished.contains(&4)) {
                    (true, true) if finished.contains(&5) => 5,
                    (true, true) => 4,
                    (true, false) if n == 1 => 1,
                    _ => 0,
                };
                assert_eq!(released, expected, "{finished:?}");
            }
            assert_eq!(ledger.outstanding(), 0);
        }
    }

    #[test]
    fn full_at_its_bound_and_not_before() {
        let mut ledger = ReleaseLedger::new(2);
        ledger.taken(Seq(8)).unwrap();
        assert!(ledger.has_room());
        ledger.taken(Seq(16)).unwrap();
        assert_eq!((ledger.has_room(), ledger.taken(Seq(24))), (false, Err(LedgerFull)));
        assert_eq!(ledger.done(Seq(8)), Some(Seq(8)));
        assert_eq!(ledger.taken(Seq(24)), Ok(()));
    }

    #[test]
    fn finished_twice_or_never_taken_changes_nothing() {
        let mut ledger = ledger_of(2);
        assert_eq!(ledger.done(Seq(12)), None);
        assert_eq!(ledger.done(Seq(8)), Some(Seq(8)));
        assert_eq!((ledger.done(Seq(8)), ledger.outstanding()), (None, 1));
    }
}
