//! One worker's rings, from our side: entries in, posts out, and what may be released.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use tidegate_ring::link::ControlEnds;
use tidegate_ring::{Corrupt, ENTRY_BYTES_MAX, ReleaseLedger, Seq};
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::core::{Core, LinkId, Now, Post};

/// One attachment.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) ends: ControlEnds,
    ledger: ReleaseLedger,
    /// What did not fit into the ring yet.
    outgoing: VecDeque<Post>,
    bell: JoinHandle<()>,
}

/// Bound: entries read and not released. More than the publishes in flight, so that credentials
/// and outcomes get through behind a slow broker.
const OUTSTANDING_MAX: usize = 65_536;
/// Bound: posts waiting for room; at the bound no more entries are read.
const OUTGOING_MAX: usize = 8_192;

/// What reading came to.
pub(super) enum Took {
    Entry,
    Nothing,
    /// The ring can't be used any more.
    Unusable(Corrupt),
}

impl Link {
    pub(super) fn new(id: LinkId, ends: ControlEnds, rung: Arc<Notify>) -> io::Result<Self> {
        let fifo = ends.bell.as_fd().try_clone_to_owned()?;
        let fifo = pipe::Receiver::from_owned_fd(fifo)?;
        let bell = tokio::spawn(listen(fifo, rung));
        let ledger = ReleaseLedger::new(OUTSTANDING_MAX);
        Ok(Self { id, ends, ledger, outgoing: VecDeque::new(), bell })
    }

    /// One entry, if there is one and we may take it.
    pub(super) fn take(&mut self, now: Now, core: &mut Core) -> Took {
        if self.is_blocked() {
            return Took::Nothing;
        }
        match self.ends.up.next() {
            Ok(Some(entry)) => {
                if self.ledger.taken(entry.seq).is_ok() {
                    core.on_entry(now, self.id, entry.seq, entry.kind, entry.bytes);
                }
                Took::Entry
            }
            Ok(None) => Took::Nothing,
            Err(Corrupt::Entry) => self.discard(),
            Err(corrupt) => Took::Unusable(corrupt),
        }
    }

    pub(super) fn post(&mut self, post: Post) {
        assert!(post.bytes.len() <= ENTRY_BYTES_MAX, "Bound: tails fit TAIL_BYTES_MAX");
        self.outgoing.push_back(post);
    }

    pub(super) fn done(&mut self, seq: Seq) {
        if let Some(seq) = self.ledger.done(seq) {
            self.ends.up.release(seq);
        }
    }

    pub(super) fn with_next(&mut self, seq: Seq) {
        self.ledger.with_next(seq);
    }

    /// Writes what fits and wakes the worker. What a post finishes is finished only now.
    pub(super) fn flush(&mut self) {
        let mut has_written = false;
        while let Some(post) = self.outgoing.front() {
            if self.ends.down.push(post.kind as u8, &[&post.bytes], 0).is_err() {
                break;
            }
            has_written = true;
            let finishes = post.finishes;
            self.outgoing.pop_front();
            if let Some(seq) = finishes {
                self.done(seq);
            }
        }
        if has_written {
            self.ends.down.wake_if_sleeping();
        }
    }

    pub(super) fn has_outgoing(&self) -> bool {
        !self.outgoing.is_empty()
    }

    /// May we sleep? A blocked link has nothing to wake up for.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        self.is_blocked() || self.ends.up.prepare_sleep()
    }

    fn is_blocked(&self) -> bool {
        !self.ledger.has_room() || self.outgoing.len() >= OUTGOING_MAX
    }

    /// Entries that make no sense: nothing of them was promised to anyone.
    fn discard(&mut self) -> Took {
        self.ledger.clear();
        match self.ends.up.discard() {
            Ok(bytes) => {
                tracing::error!(worker = self.ends.worker, bytes, "a damaged ring was emptied");
                Took::Entry
            }
            Err(corrupt) => Took::Unusable(corrupt),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.bell.abort();
    }
}

/// Tells when the bell rings.
async fn listen(fifo: pipe::Receiver, rung: Arc<Notify>) {
    let mut rings = [0; 64];
    while fifo.readable().await.is_ok() {
        match fifo.try_read(&mut rings) {
            Ok(0) => return,
            Ok(_) => rung.notify_one(),
            // Would block: not readable any more.
            Err(_) => {}
        }
    }
}
