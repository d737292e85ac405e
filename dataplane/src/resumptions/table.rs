//! Where do entries live? `worker-N.resume`: a head, then entries of 128 bytes that every worker
//! of the process reads and one writes.
//!
//! The file belongs to one boot of one machine, like the slab's: ages count by its clock.

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use tidegate_ring::seqlock::Seqlocks;
use zeroize::Zeroizing;

/// One worker's entries.
#[derive(Debug)]
pub(super) struct Table {
    entries: Seqlocks<ENTRY_WORDS>,
    capacity: u32,
}

/// What an entry holds; the low half of the first word is its generation.
pub(super) type Words = [u64; ENTRY_WORDS];

impl Table {
    /// Maps `path`. What it holds is kept when the file is of this worker, boot and layout; entries
    /// beyond `capacity` are cut off. A capacity of 0 needs no file, and an old one is removed.
    pub(super) fn open(
        path: &Path,
        worker: u8,
        capacity: u32,
        boot_id: [u8; 16],
    ) -> io::Result<Self> {
        if capacity == 0 {
            return match std::fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(Self::anonymous(0)),
            };
        }
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        let head = head(worker, boot_id);
        let mut found = [0; 8 * HEAD_FIELDS];
        let expected = head.iter().flat_map(|word| word.to_ne_bytes());
        if file.read_exact_at(&mut found, 0).is_err() || !expected.eq(found) {
            file.set_len(0)?;
        }
        file.set_len(8 * (HEAD_WORDS + capacity as usize * ENTRY_WORDS) as u64)?;
        let table = Self { entries: Seqlocks::map(&file, HEAD_WORDS)?, capacity };
        head.iter().enumerate().for_each(|(at, word)| table.entries.set_head(at, *word));
        Ok(table)
    }

    /// A table that ends with this process, for tests and simulation.
    pub(super) fn anonymous(capacity: u32) -> Self {
        Self { entries: Seqlocks::heap(HEAD_WORDS, capacity as usize), capacity }
    }

    /// How many entries fit.
    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }

    /// Entries ever used: the rest of the file was never touched, and is not looked at.
    pub(super) fn used(&self) -> u32 {
        u32::try_from(self.entries.head(USED)).unwrap_or(u32::MAX).min(self.capacity)
    }

    /// The owner is about to use the entries below `used`.
    pub(super) fn set_used(&self, used: u32) {
        self.entries.set_head(USED, used.into());
    }

    /// An entry as its owner last wrote it; `None` while it writes, and when it died writing. A
    /// reader need not try again: what is being written was promised to nobody yet.
    pub(super) fn read(&self, index: u32) -> Option<Zeroizing<Words>> {
        let is_used = index < self.used();
        is_used.then(|| self.entries.read(index as usize))?.map(Zeroizing::new)
    }

    /// Writes an entry; the owner's alone.
    pub(super) fn write(&self, index: u32, words: &Words) {
        self.entries.write(index as usize, words);
    }

    /// Counts the lives of an entry.
    pub(super) fn generation(&self, index: u32) -> u32 {
        self.entries.generation(index as usize)
    }
}

/// The file's first words: what it is, whose, and of which boot.
fn head(worker: u8, boot_id: [u8; 16]) -> [u64; HEAD_FIELDS] {
    let [low, high] = [0, 8].map(|at| u64::from_ne_bytes(std::array::from_fn(|i| boot_id[at + i])));
    [u64::from_ne_bytes(MAGIC), (ENTRY_WORDS as u64) << 8 | u64::from(worker), low, high]
}

/// Words of one entry: 128 bytes, two cache lines.
pub(super) const ENTRY_WORDS: usize = 16;
/// A page, so that entries are aligned to their cache lines.
pub(super) const HEAD_WORDS: usize = 512;
const HEAD_FIELDS: usize = 4;
/// The word of the head that says how many entries were ever used.
pub(super) const USED: usize = HEAD_FIELDS;
/// The last byte is the version of the entry layout.
const MAGIC: [u8; 8] = [b'T', b'G', b'R', b'E', b'S', b'U', b'M', LAYOUT];
/// Which layout the entries have: sessions of another one are not resumed.
pub const LAYOUT: u8 = 2;
