//! How do entries cross between the two processes? Single-producer single-consumer byte rings in
//! shared-memory files, and the contract of what is in them.
//!
//! ```text
//!            tail (released)      read (private)              head (committed)
//!              ▼                    ▼                           ▼
//!   ┄ free ┄ ┃ entry ┃ entry ┃ ... ┃ entry ┃ entry ┃ entry ... ┃ ┄ free ┄
//!              held by the consumer   committed, not yet taken
//! ```
//!
//! Positions are byte counts since the ring was made: they only grow, and `position % capacity`
//! is the place in the file. `head` is written by the producer alone, `tail` by the consumer alone.
//!
//! *Invariant:* bytes in `tail..head` are never written. So whoever is killed, at whatever
//! instruction, the other side and its own successor find a whole number of whole entries there:
//! an entry appears by one store (`head`) and disappears by one store (`tail`).
//!
//! *Why copies:* the other process is trusted for nothing. All shared memory is a slice of
//! [`AtomicU64`](std::sync::atomic::AtomicU64), read and written word by word through private
//! buffers, so a peer that scribbles over the file at any moment can make us read wrong bytes, and
//! nothing worse: no reference into shared memory ever exists, and a length is looked at once.
//! A copy of 256 bytes costs less than 10 ns each way.
//!
//! Known limit: a process of the same user can truncate the file, and the next access is a SIGBUS.
//! It could as well send SIGKILL; the run directory (0700) and the files (0600) keep others out.
//!
//! [`seqlock`] is for one process: what one of its threads writes and all of them read.
//!
//! Model-checked orderings: `RUSTFLAGS="--cfg loom" cargo test -p tidegate-ring --release
//! --test loom_ring --test loom_seqlock`.

mod consumer;
pub mod contract;
pub mod counters;
#[cfg(not(loom))]
mod doorbell;
#[cfg(all(test, not(loom)))]
mod killed;
mod layout;
mod ledger;
#[cfg(not(loom))]
pub mod link;
pub mod policy;
mod producer;
pub mod seqlock;
mod shm;
pub mod trust;

pub use consumer::{Consumer, Entry};
#[cfg(not(loom))]
pub use doorbell::Doorbell;
pub use layout::{Corrupt, ENTRY_BYTES_MAX, Seq};
pub use ledger::{LedgerFull, ReleaseLedger};
pub use producer::{Full, Grant, Producer};

/// A ring over this process's own memory: the same code without the file and the doorbell, for
/// the simulator and for tests.
///
/// `capacity_bytes` is rounded up to a power of two, at least 64. Entries longer than
/// `capacity - 8` never fit.
pub fn heap_pair(capacity_bytes: usize) -> (Producer, Consumer) {
    let capacity = layout::capacity_for(capacity_bytes, layout::HEAP_CAPACITY_BYTES_MIN);
    let words = shm::Words::heap(layout::HEADER_WORDS + capacity / 8);
    let header = layout::header_words(layout::Direction::Up, capacity);
    for (word, value) in words.iter().zip(header) {
        word.store(value, shm::Ordering::Relaxed);
    }
    let ring = layout::Ring::open(words, layout::Direction::Up)
        .unwrap_or_else(|_| unreachable!("the header was written one line above"));
    let producer = Producer::attach(ring.clone());
    let consumer = Consumer::attach(ring);
    match (producer, consumer) {
        (Ok(producer), Ok(consumer)) => (producer, consumer),
        _ => unreachable!("a new ring has valid cursors"),
    }
}
