//! What of a worker's rings is not finished: entries read and not released, posts that wait for
//! room?
//!
//! Knows no bell and no file: the simulator is another owner.

use std::collections::VecDeque;

use tidegate_ring::{Consumer, Corrupt, ENTRY_BYTES_MAX, Producer, ReleaseLedger, Seq};

use crate::core::{Core, LinkId, Now, Post};

/// The entries and posts of one attachment.
pub struct Window {
    ledger: ReleaseLedger,
    /// What did not fit into the ring yet.
    outgoing: VecDeque<Post>,
}

/// Bound: entries read and not released. More than the publishes in flight, so that credentials
/// and outcomes get through behind a slow broker.
const OUTSTANDING_MAX: usize = 65_536;
/// Bound: posts waiting for room; at the bound no more entries are read.
const OUTGOING_MAX: usize = 8_192;

/// What reading came to.
#[derive(Debug)]
pub enum Took {
    /// The core has an entry.
    Entry,
    /// There is none, or we may not take it now.
    Nothing,
    /// The ring can't be used any more.
    Unusable(Corrupt),
}

impl Default for Window {
    fn default() -> Self {
        Self { ledger: ReleaseLedger::new(OUTSTANDING_MAX), outgoing: VecDeque::new() }
    }
}

impl Window {
    /// Gives the core one entry, if there is one and we may take it.
    pub fn take(&mut self, up: &mut Consumer, link: LinkId, now: Now, core: &mut Core) -> Took {
        if self.is_blocked() {
            return Took::Nothing;
        }
        match up.next() {
            Ok(Some(entry)) => {
                if self.ledger.taken(entry.seq).is_ok() {
                    core.on_entry(now, link, entry.seq, entry.kind, entry.bytes);
                }
                Took::Entry
            }
            Ok(None) => Took::Nothing,
            Err(Corrupt::Entry) => self.discard(up),
            Err(corrupt) => Took::Unusable(corrupt),
        }
    }

    /// Is to be written by the next [`Self::flush`].
    pub fn post(&mut self, post: Post) {
        assert!(post.bytes.len() <= ENTRY_BYTES_MAX, "Bound: tails fit TAIL_BYTES_MAX");
        self.outgoing.push_back(post);
    }

    /// The entry is finished.
    pub fn done(&mut self, up: &mut Consumer, seq: Seq) {
        if let Some(seq) = self.ledger.done(seq) {
            up.release(seq);
        }
    }

    /// The entry is finished together with the next one.
    pub fn with_next(&mut self, seq: Seq) {
        self.ledger.with_next(seq);
    }

    /// Writes what fits; true: something. What a post finishes is finished only now.
    pub fn flush(&mut self, up: &mut Consumer, down: &mut Producer) -> bool {
        let mut has_written = false;
        while let Some(post) = self.outgoing.front() {
            if down.push(post.kind as u8, &[&post.bytes], 0).is_err() {
                break;
            }
            has_written = true;
            let finishes = post.finishes;
            self.outgoing.pop_front();
            if let Some(seq) = finishes {
                self.done(up, seq);
            }
        }
        has_written
    }

    /// Whether posts wait for room.
    pub fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// Whether nothing more may be read.
    pub fn is_blocked(&self) -> bool {
        !self.ledger.has_room() || self.outgoing.len() >= OUTGOING_MAX
    }

    /// Entries read and not released.
    pub fn outstanding(&self) -> usize {
        self.ledger.outstanding()
    }

    /// Entries that make no sense: nothing of them was promised to anyone.
    fn discard(&mut self, up: &mut Consumer) -> Took {
        self.ledger.clear();
        match up.discard() {
            Ok(bytes) => {
                tracing::error!(bytes, "a damaged ring was emptied");
                Took::Entry
            }
            Err(corrupt) => Took::Unusable(corrupt),
        }
    }
}
