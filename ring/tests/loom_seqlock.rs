//! Does a reader see whole entries in every interleaving the memory model allows?
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p tidegate-ring --release --test loom_seqlock
//! ```
//! The model runs the crate's own code over loom's atomics. Bound: a writer and a reader, two
//! writes to one entry of three words.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::thread;
use tidegate_ring::seqlock::Seqlocks;

#[test]
fn a_reader_sees_a_whole_entry_or_nothing() {
    let read: [StdArc<AtomicUsize>; 4] = Default::default();
    let seen = read.clone();
    loom::model(move || {
        let table = Seqlocks::<3>::heap(1, 1);
        let reader = thread::spawn({
            let (table, seen) = (table.clone(), seen.clone());
            move || match table.read(0) {
                None => seen[3].fetch_add(1, Ordering::Relaxed),
                Some([first, second, third]) => {
                    assert_eq!((first >> 32, second), (third, third), "one write's");
                    seen[third as usize].fetch_add(1, Ordering::Relaxed)
                }
            }
        });
        table.write(0, &[1 << 32, 1, 1]);
        table.write(0, &[2 << 32, 2, 2]);
        reader.join().unwrap();
    });
    // The control: the model has been at every place, in the middle of a write too.
    assert!(read.iter().all(|times| times.load(Ordering::Relaxed) > 0), "{read:?}");
}
