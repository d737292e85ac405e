//! How do many threads read entries that one of them writes, without a lock? Each entry is some
//! atomic words, and the low half of the first is its generation: odd while the owner writes.
//!
//! A reader that saw it odd, or changed, has read nothing. It does not try again: that is for a
//! caller who waits for what is being written. Like the rings, entries live in a file that outlives
//! the process; one whose owner died writing it stays odd.
//! *Invariant:* one thread at a time writes; its owner sees to that.
//!
//! Tests: `tests/loom_seqlock.rs` (every interleaving), below (threads).

use crate::shm::{Ordering, Words, fence};

/// Entries of `WORDS` words behind a head of some words, in a mapped file or on the heap.
#[derive(Clone)]
pub struct Seqlocks<const WORDS: usize> {
    words: Words,
    head_words: usize,
}

impl<const WORDS: usize> Seqlocks<WORDS> {
    /// Entries of zeros that end with this process.
    pub fn heap(head_words: usize, count: usize) -> Self {
        Self { words: Words::heap(head_words + count * WORDS), head_words }
    }

    /// The whole of `file`, which nobody cuts while it is mapped.
    #[cfg(not(loom))]
    pub fn map(file: &std::fs::File, head_words: usize) -> std::io::Result<Self> {
        Ok(Self { words: Words::map(file)?, head_words })
    }

    /// How many entries there are.
    pub fn count(&self) -> usize {
        self.words.len().saturating_sub(self.head_words) / WORDS
    }

    /// A word of the head.
    pub fn head(&self, at: usize) -> u64 {
        assert!(at < self.head_words, "a word of the head");
        self.words[at].load(Ordering::Relaxed)
    }

    /// Changes a word of the head; the owner's alone.
    pub fn set_head(&self, at: usize, value: u64) {
        assert!(at < self.head_words, "a word of the head");
        self.words[at].store(value, Ordering::Relaxed);
    }

    /// An entry as its owner last wrote it; `None` while it writes, when it died writing, and when
    /// there is no such entry.
    pub fn read(&self, index: usize) -> Option<[u64; WORDS]> {
        if index >= self.count() {
            return None;
        }
        let start = self.start(index);
        let before = self.words[start].load(Ordering::Acquire);
        if before & 1 == 1 {
            return None;
        }
        let mut copy = [before; WORDS];
        for (copy, at) in copy.iter_mut().zip(start..).skip(1) {
            *copy = self.words[at].load(Ordering::Relaxed);
        }
        // Whatever was read above was read before what follows.
        fence(Ordering::Acquire);
        (self.words[start].load(Ordering::Relaxed) == before).then_some(copy)
    }

    /// Writes an entry, all but its generation; the owner's alone.
    pub fn write(&self, index: usize, entry: &[u64; WORDS]) {
        let start = self.start(index);
        let odd = self.generation(index) | 1;
        self.words[start].store(odd.into(), Ordering::Relaxed);
        // A reader that sees any word of what follows sees the odd generation too.
        fence(Ordering::Release);
        for (word, at) in entry.iter().zip(start..).skip(1) {
            self.words[at].store(*word, Ordering::Relaxed);
        }
        let high = entry[0] & !u64::from(u32::MAX);
        self.words[start].store(high | u64::from(odd.wrapping_add(1)), Ordering::Release);
    }

    /// Counts the writes to an entry, by two; odd when its owner died writing it.
    pub fn generation(&self, index: usize) -> u32 {
        self.words[self.start(index)].load(Ordering::Relaxed) as u32
    }

    fn start(&self, index: usize) -> usize {
        self.head_words + index * WORDS
    }
}

impl<const WORDS: usize> std::fmt::Debug for Seqlocks<WORDS> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Seqlocks").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    use std::sync::atomic::AtomicBool;

    /// Each entry is written with equal words; no reader ever sees two different ones.
    #[test]
    fn readers_see_whole_entries() {
        const WRITES: u64 = 50_000;
        let table = Seqlocks::<16>::heap(1, 2);
        let is_over = AtomicBool::new(false);
        let reader = || {
            let mut newest = 0;
            loop {
                let last_round = is_over.load(Ordering::Acquire);
                for entry in (0..2).filter_map(|index| table.read(index)) {
                    let value = entry[1];
                    assert!(entry[1..].iter().all(|word| *word == value), "{entry:?}");
                    assert_eq!(entry[0] >> 32, value, "the first word is of the same write");
                    newest = newest.max(value);
                }
                if last_round {
                    return newest;
                }
            }
        };
        std::thread::scope(|scope| {
            let readers = [scope.spawn(reader), scope.spawn(reader)];
            for value in 1..=WRITES {
                let mut entry = [value; 16];
                entry[0] = value << 32;
                table.write(value as usize % 2, &entry);
            }
            is_over.store(true, Ordering::Release);
            for reader in readers {
                assert_eq!(reader.join().ok(), Some(WRITES), "what was written last is there");
            }
        });
    }

    #[test]
    fn an_entry_whose_owner_died_writing_is_not_read_until_it_is_written_again() {
        let table = Seqlocks::<4>::heap(1, 1);
        table.write(0, &[7; 4]);
        assert_eq!((table.read(0).map(|entry| entry[3]), table.generation(0)), (Some(7), 2));
        table.words[table.start(0)].fetch_or(1, Ordering::Relaxed);
        assert_eq!(table.read(0), None);
        table.write(0, &[8; 4]);
        assert_eq!((table.read(0).map(|entry| entry[3]), table.generation(0)), (Some(8), 4));
    }

    #[test]
    fn there_is_nothing_beyond_the_last_entry() {
        let table = Seqlocks::<4>::heap(3, 2);
        assert_eq!(table.count(), 2);
        assert!(table.read(1).is_some() && table.read(2).is_none());
        assert!(table.read(usize::MAX).is_none());
    }
}
