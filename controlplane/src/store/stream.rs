//! How long is the embedded stream? The ledger of its ends, and what has to go.
//!
//! An entry is `unix_ms:8 | body`. Cursors start at 1, ascend by 1 and are never reused, also not
//! when everything was trimmed. *Bound:* entries, bytes and age; the oldest go first.

use super::StoreError;

/// The ends of the stream, kept beside it in the same write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ledger {
    /// Cursor of the oldest entry kept; `last + 1` when empty.
    pub first: u64,
    /// Cursor of the newest entry ever; 0 when there never was one.
    pub last: u64,
    /// Bytes of the entries kept.
    pub bytes: u64,
}

/// How much of the stream is kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Entries.
    pub entries_max: u64,
    /// Bytes.
    pub bytes_max: u64,
    /// Milliseconds.
    pub age_max_ms: u64,
}

impl Retention {
    /// Nothing is ever trimmed.
    pub const ALL: Self = Self { entries_max: u64::MAX, bytes_max: u64::MAX, age_max_ms: u64::MAX };
}

impl Default for Ledger {
    fn default() -> Self {
        Self { first: 1, last: 0, bytes: 0 }
    }
}

impl Ledger {
    /// Entries kept.
    pub fn entries(&self) -> u64 {
        self.last + 1 - self.first
    }

    /// Takes the next cursor for an entry of `bytes`.
    pub fn append(&mut self, bytes: usize) -> u64 {
        self.last += 1;
        self.bytes += bytes as u64;
        self.last
    }

    /// Has the oldest entry (written at `oldest_unix_ms`) to go?
    pub fn is_over(&self, keep: &Retention, oldest_unix_ms: u64, now_unix_ms: u64) -> bool {
        self.entries() > keep.entries_max
            || self.bytes > keep.bytes_max
            || now_unix_ms.saturating_sub(oldest_unix_ms) > keep.age_max_ms
    }

    /// The oldest entry of `bytes` goes; its cursor.
    pub fn trim(&mut self, bytes: usize) -> u64 {
        self.first += 1;
        self.bytes = self.bytes.saturating_sub(bytes as u64);
        self.first - 1
    }

    /// An entry of `before` bytes has `after` now.
    pub fn replace(&mut self, before: usize, after: usize) {
        self.bytes = (self.bytes + after as u64).saturating_sub(before as u64);
    }

    /// As stored.
    pub fn encode(&self) -> [u8; 24] {
        let mut out = [0; 24];
        out[..8].copy_from_slice(&self.first.to_be_bytes());
        out[8..16].copy_from_slice(&self.last.to_be_bytes());
        out[16..].copy_from_slice(&self.bytes.to_be_bytes());
        out
    }

    /// From what was stored.
    pub fn decode(bytes: &[u8]) -> Result<Self, StoreError> {
        let word = |at: usize| Some(u64::from_be_bytes(*bytes.get(at..)?.first_chunk::<8>()?));
        match (word(0), word(8), word(16)) {
            (Some(first), Some(last), Some(bytes)) if first >= 1 && first <= last + 1 => {
                Ok(Self { first, last, bytes })
            }
            _ => Err(StoreError::Corrupt("stream ledger")),
        }
    }
}

/// When an entry was written; 0 for one that is too short.
pub fn written_unix_ms(entry: &[u8]) -> u64 {
    entry.first_chunk::<8>().map_or(0, |ms| u64::from_be_bytes(*ms))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn each_bound_lets_exactly_so_much_stay() {
        let keep = Retention { entries_max: 2, bytes_max: 100, age_max_ms: 10 };
        let mut ledger = Ledger::default();
        assert_eq!((ledger.append(50), ledger.append(50)), (1, 2));
        assert!(!ledger.is_over(&keep, 0, 10), "two entries, 100 bytes, 10 ms old: all allowed");
        assert!(ledger.is_over(&keep, 0, 11), "too old");
        ledger.append(0);
        assert!(ledger.is_over(&keep, 0, 0), "too many");
        assert_eq!(ledger.trim(50), 1);
        ledger.append(0);
        ledger.trim(50);
        let mut ledger = Ledger { bytes: 101, ..ledger };
        assert!(ledger.is_over(&keep, 0, 0), "too large");
        ledger.bytes = 100;
        assert!(!ledger.is_over(&keep, 0, 0));
        assert_eq!(Ledger::decode(&ledger.encode()).unwrap(), ledger);
    }

    #[test]
    fn a_damaged_ledger_is_said() {
        assert!(Ledger::decode(&[0; 23]).is_err());
        assert!(Ledger::decode(&[0; 24]).is_err(), "cursors start at 1");
    }
}
