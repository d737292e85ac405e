//! What becomes of a write that the store refuses? What it would have changed is kept and written
//! again, until the store takes it: core and store don't go apart.
//!
//! A later write of the same key wins over an earlier one that is tried again, whichever of them
//! the store took. A ring entry whose write was refused is finished once that is made up for: if
//! the process dies before, the entry is read again. A message that was to be accepted, a resource
//! that was to be set or an uplink that was to be kept is not: the application hears that it was
//! refused, as it does of a deletion, which is made up for, and the device that it may try again.
//!
//! Knows no store and no clock: the simulator is another owner.
//! *Bound:* [`UNSAVED_MAX`] changes; at the bound no more ring entries are read, and what comes
//! without them (deadlines of open messages, the customer's log) has bounds of its own.

use std::collections::{BTreeMap, VecDeque};

use crate::core::Ticket;
use crate::store::account::Account;
use crate::store::{Change, StoreError, Table, Transaction};

/// The core's writes that are not durable.
#[derive(Default)]
pub struct Writes {
    /// Submitted, in order.
    in_flight: VecDeque<InFlight>,
    /// How many of these are tried again.
    tries: usize,
    /// Refused, the newest of each key.
    unsaved: BTreeMap<Place, Unsaved>,
    /// Whose entries are finished when nothing is unsaved any more.
    waiting: Vec<Ticket>,
    last: u64,
    retry_ms: Option<u64>,
}

/// Names one write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId(u64);

type Place = (Table, Vec<u8>);

struct InFlight {
    id: WriteId,
    account: Option<Account>,
    changes: Vec<Change>,
    ticket: Option<Ticket>,
    is_again: bool,
}

struct Unsaved {
    id: WriteId,
    account: Option<Account>,
    change: Change,
}

/// What the core is to be told.
pub type Told = (Ticket, Result<(), StoreError>);

/// Bound: changes that the store has refused and that are kept.
pub const UNSAVED_MAX: usize = 65_536;
/// What was refused is tried again after this, milliseconds.
const RETRY_MS: u64 = 1_000;

impl Writes {
    /// This goes to the store now; [`Self::on_result`] follows.
    pub fn begin(&mut self, transaction: &Transaction, ticket: Option<Ticket>) -> WriteId {
        self.submit(transaction, ticket, false)
    }

    fn submit(
        &mut self,
        transaction: &Transaction,
        ticket: Option<Ticket>,
        is_again: bool,
    ) -> WriteId {
        debug_assert!(transaction.guards.is_empty(), "the core asks nothing of what is there");
        self.last += 1;
        let id = WriteId(self.last);
        let (account, changes) = (transaction.account, transaction.changes.clone());
        self.tries += usize::from(is_again);
        self.in_flight.push_back(InFlight { id, account, changes, ticket, is_again });
        id
    }

    /// What became of a write, and what the core has to know of it.
    pub fn on_result(
        &mut self,
        now_ms: u64,
        id: WriteId,
        result: Result<(), StoreError>,
    ) -> Vec<Told> {
        let at = self.in_flight.iter().position(|write| write.id == id);
        let Some(write) = at.and_then(|at| self.in_flight.remove(at)) else { return Vec::new() };
        self.tries -= usize::from(write.is_again);
        let mut told = Vec::new();
        match result {
            Ok(()) => {
                self.is_saved(&write);
                told.extend(write.ticket.map(|ticket| (ticket, Ok(()))));
            }
            Err(error) => told.extend(self.is_refused(now_ms, write, error)),
        }
        if self.unsaved.is_empty() && self.tries == 0 {
            self.retry_ms = None;
            told.extend(self.waiting.drain(..).map(|ticket| (ticket, Ok(()))));
        }
        told
    }

    /// What was refused before of the same keys is of the past.
    fn is_saved(&mut self, write: &InFlight) {
        if self.unsaved.is_empty() {
            return;
        }
        for place in write.changes.iter().filter_map(place) {
            if self.unsaved.get(&place).is_some_and(|unsaved| unsaved.id < write.id) {
                self.unsaved.remove(&place);
            }
        }
    }

    fn is_refused(&mut self, now_ms: u64, write: InFlight, error: StoreError) -> Option<Told> {
        let InFlight { id, account, changes, ticket, .. } = write;
        let told = match ticket {
            Some(Ticket::Accepted { .. } | Ticket::Resource { .. } | Ticket::Uplink { .. }) => {
                return ticket.map(|ticket| (ticket, Err(error)));
            }
            Some(Ticket::Replied { .. }) => ticket.map(|ticket| (ticket, Err(error))),
            Some(Ticket::Entry { .. } | Ticket::Response { .. } | Ticket::Promised { .. }) => {
                self.waiting.extend(ticket);
                None
            }
            None => None,
        };
        for change in changes {
            let Some(place) = place(&change) else { continue };
            if self.unsaved.get(&place).is_none_or(|unsaved| unsaved.id < id) {
                self.unsaved.insert(place, Unsaved { id, account, change });
            }
        }
        self.retry_ms.get_or_insert(now_ms + RETRY_MS);
        told
    }

    /// What is to be tried again now, each under its name. What is being written meanwhile waits:
    /// it may be newer.
    pub fn retry(&mut self, now_ms: u64) -> Vec<(WriteId, Transaction)> {
        if self.retry_ms.is_none_or(|retry_ms| retry_ms > now_ms) {
            return Vec::new();
        }
        let under_way = self.in_flight.iter().flat_map(|write| write.changes.iter());
        let under_way: Vec<_> = under_way.filter_map(place).collect();
        let mut by_account: BTreeMap<Option<u64>, Transaction> = BTreeMap::new();
        for (place, unsaved) in std::mem::take(&mut self.unsaved) {
            if under_way.contains(&place) {
                self.unsaved.insert(place, unsaved);
                continue;
            }
            let account = unsaved.account.map(|account| account.0);
            let transaction = by_account.entry(account).or_default();
            transaction.account = unsaved.account;
            transaction.changes.push(unsaved.change);
        }
        self.retry_ms = (!self.unsaved.is_empty()).then_some(now_ms + RETRY_MS);
        let again = by_account.into_values();
        again.map(|transaction| (self.submit(&transaction, None, true), transaction)).collect()
    }

    /// When [`Self::retry`] has something.
    pub fn due_ms(&self) -> Option<u64> {
        self.retry_ms
    }

    /// Changes that the store has refused so far.
    pub fn unsaved(&self) -> usize {
        self.unsaved.len()
    }

    /// Nothing more may be begun that can wait.
    pub fn is_full(&self) -> bool {
        self.unsaved.len() >= UNSAVED_MAX
    }
}

fn place(change: &Change) -> Option<Place> {
    match change {
        Change::Put(table, key, _) | Change::Delete(table, key) => Some((*table, key.clone())),
        // The core appends nothing: its publisher does.
        Change::Append(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_ring::Seq;

    use super::*;
    use crate::core::LinkId;

    fn entry(seq: u64) -> Ticket {
        Ticket::Entry { link: LinkId(1), seq: Seq(seq * 8) }
    }

    fn put(key: u8, value: u8) -> Transaction {
        let mut transaction = Transaction::new();
        transaction.put(Table::Queue, [key], [value]);
        transaction
    }

    fn failed() -> Result<(), StoreError> {
        Err(StoreError::Failed("no space is left".to_owned()))
    }

    #[test]
    fn an_entry_is_finished_once_its_write_is_made_up_for() {
        let mut writes = Writes::default();
        let id = writes.begin(&put(1, 1), Some(entry(1)));
        assert_eq!(writes.on_result(0, id, failed()), []);
        assert_eq!((writes.unsaved(), writes.due_ms()), (1, Some(RETRY_MS)));
        assert!(writes.retry(RETRY_MS - 1).is_empty());
        let again = writes.retry(RETRY_MS);
        assert_eq!(writes.on_result(RETRY_MS, again[0].0, failed()), [], "and refused again");
        let again = writes.retry(2 * RETRY_MS);
        assert_eq!(again[0].1.changes, put(1, 1).changes);
        assert_eq!(writes.on_result(2 * RETRY_MS, again[0].0, Ok(())), [(entry(1), Ok(()))]);
        assert_eq!((writes.unsaved(), writes.due_ms()), (0, None));
    }

    /// What a device was told is there: its entry waits, too.
    #[test]
    fn what_was_promised_is_made_up_for() {
        let mut writes = Writes::default();
        let promised = Ticket::Promised { number: 1 };
        let id = writes.begin(&put(1, 1), Some(promised));
        assert_eq!(writes.on_result(0, id, failed()), []);
        let again = writes.retry(RETRY_MS);
        assert_eq!(writes.on_result(RETRY_MS, again[0].0, Ok(())), [(promised, Ok(()))]);
    }

    /// An earlier write never comes over a later one.
    #[test]
    fn the_last_write_of_a_key_wins() {
        let mut writes = Writes::default();
        let first = writes.begin(&put(1, 1), None);
        let later = writes.begin(&put(1, 2), None);
        writes.on_result(0, first, failed());
        assert!(writes.retry(RETRY_MS).is_empty(), "the later one is under way");
        writes.on_result(RETRY_MS, later, Ok(()));
        assert_eq!((writes.unsaved(), writes.due_ms()), (0, None));
    }

    #[test]
    fn the_application_hears_of_its_own_and_only_a_deletion_is_made_up_for() {
        let mut writes = Writes::default();
        let to = crate::core::RequestId(1);
        let (device, message) = (crate::model::DeviceId([1; 16]), crate::model::MessageId([2; 16]));
        for (ticket, kept) in
            [(Ticket::Accepted { to, device, message }, 0), (Ticket::Replied { to }, 1)]
        {
            let id = writes.begin(&put(1, 1), Some(ticket));
            assert_eq!(writes.on_result(0, id, failed()), [(ticket, failed())]);
            assert_eq!(writes.unsaved(), kept);
        }
    }

    #[test]
    fn full_at_its_bound_and_not_before() {
        let mut writes = Writes::default();
        let mut transaction = Transaction::new();
        for key in 1..UNSAVED_MAX as u32 {
            transaction.put(Table::Queue, key.to_be_bytes(), [1]);
        }
        let id = writes.begin(&transaction, None);
        writes.on_result(0, id, failed());
        assert!(!writes.is_full());
        let id = writes.begin(&put(1, 1), None);
        writes.on_result(0, id, failed());
        assert!(writes.is_full());
    }

    proptest! {
        /// Whatever the store refuses when, in the end it holds what was written last, and every
        /// entry is finished once.
        #[test]
        fn in_the_end_the_store_holds_what_was_written_last(
            steps in prop::collection::vec((0u8..4, 0u8..6, any::<bool>()), 1..60)
        ) {
            let (mut writes, mut model) = (Writes::default(), BTreeMap::new());
            let (mut disk, mut finished) = (BTreeMap::new(), Vec::new());
            let mut queue: VecDeque<(WriteId, Transaction)> = VecDeque::new();
            let (mut now_ms, mut begun) = (0, 0);
            let mut answer = |writes: &mut Writes, now_ms, write: (WriteId, Transaction), good| {
                let result = if good { Ok(()) } else { failed() };
                if good {
                    for change in &write.1.changes {
                        let Change::Put(_, key, value) = change else { unreachable!() };
                        disk.insert(key.clone(), value.clone());
                    }
                }
                finished.extend(writes.on_result(now_ms, write.0, result));
            };
            for (what, key, good) in steps {
                now_ms += 400;
                match what {
                    0 | 1 => {
                        begun += 1;
                        let transaction = put(key, begun as u8);
                        model.insert(vec![key], vec![begun as u8]);
                        queue.push_back((writes.begin(&transaction, Some(entry(begun))), transaction));
                    }
                    2 => queue.extend(writes.retry(now_ms)),
                    _ => if let Some(write) = queue.pop_front() {
                        answer(&mut writes, now_ms, write, good);
                    },
                }
            }
            for _ in 0..3 {
                now_ms += 2 * RETRY_MS;
                while let Some(write) = queue.pop_front() {
                    answer(&mut writes, now_ms, write, true);
                }
                queue.extend(writes.retry(now_ms));
            }
            prop_assert_eq!(writes.unsaved(), 0);
            prop_assert_eq!(finished.len() as u64, begun);
            prop_assert_eq!(disk, model);
        }
    }
}
