//! Has this record been seen before? A sliding window over one epoch's sequence numbers
//! (RFC 6347 section 4.1.2.6).
//!
//! Knows no keys: the association asks before opening and commits after.
//! *Bound:* 64 numbers back. *Why:* a radio link reorders by tens, never by hundreds.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::Drop;

/// The window; lives in shared memory, so every bit pattern is a window.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct Replay {
    /// Highest sequence number received; 0 when `seen` is 0.
    newest: u64,
    /// Bit `n`: `newest - n` was received. Zero before the first record.
    seen: u64,
}

/// How far back the window reaches, numbers.
pub const WINDOW: u64 = u64::BITS as u64;

impl Replay {
    /// Whether a record with this number may be opened.
    #[inline]
    pub fn check(&self, sequence: u64) -> Result<(), Drop> {
        let Some(age) = self.newest.checked_sub(sequence) else { return Ok(()) };
        if age >= WINDOW {
            Err(Drop::TooOld)
        } else if self.seen >> age & 1 == 1 {
            Err(Drop::Replayed)
        } else {
            Ok(())
        }
    }

    /// Takes an authenticated record's number into the window and says whether it is newer than
    /// everything before: only then may the peer's address move (RFC 9146 section 6).
    #[inline]
    pub fn commit(&mut self, sequence: u64) -> bool {
        if let Some(age) = self.newest.checked_sub(sequence)
            && self.seen != 0
        {
            self.seen |= 1u64.checked_shl(age.try_into().unwrap_or(u32::MAX)).unwrap_or(0);
            return false;
        }
        let ahead = sequence.saturating_sub(self.newest);
        let shift = ahead.try_into().unwrap_or(u32::MAX);
        self.seen = self.seen.checked_shl(shift).unwrap_or(0) | 1;
        self.newest = sequence;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_first_record_may_have_any_number() {
        for sequence in [0, 1, 63, 64, 1 << 47] {
            let mut window = Replay::default();
            assert_eq!(window.check(sequence), Ok(()));
            assert!(window.commit(sequence), "{sequence} is newest");
            assert_eq!(window.check(sequence), Err(Drop::Replayed));
        }
    }

    #[test]
    fn sixty_three_back_is_inside_and_sixty_four_is_not() {
        let mut window = Replay::default();
        window.commit(1000);
        assert_eq!(window.check(1000 - 63), Ok(()));
        assert_eq!(window.check(1000 - 64), Err(Drop::TooOld));
        assert!(!window.commit(1000 - 63), "older than the newest");
        assert_eq!(window.check(1000 - 63), Err(Drop::Replayed));
        assert!(window.commit(1001));
        assert_eq!(window.check(1000 - 63), Err(Drop::TooOld));
    }

    #[test]
    fn a_jump_of_a_whole_window_forgets_all_of_it() {
        for jump in [63, 64, 65, 1 << 40] {
            let mut window = Replay::default();
            window.commit(5);
            window.commit(5 + jump);
            let expected = if jump < WINDOW { Err(Drop::Replayed) } else { Err(Drop::TooOld) };
            assert_eq!(window.check(5), expected);
            assert_eq!(window.check(5 + jump - 1), Ok(()));
        }
    }

    proptest! {
        /// The window against a set of everything received.
        #[test]
        fn agrees_with_a_set(numbers in prop::collection::vec(0u64..200, 1..300)) {
            let mut window = Replay::default();
            let mut seen = std::collections::HashSet::new();
            for sequence in numbers {
                let newest = seen.iter().max().copied();
                let expected = match newest {
                    Some(newest) if sequence + 64 <= newest => Err(Drop::TooOld),
                    _ if seen.contains(&sequence) => Err(Drop::Replayed),
                    _ => Ok(()),
                };
                prop_assert_eq!(window.check(sequence), expected);
                if expected.is_ok() {
                    prop_assert_eq!(window.commit(sequence), newest.is_none_or(|n| sequence > n));
                    seen.insert(sequence);
                }
            }
        }

        #[test]
        fn any_bit_pattern_is_a_window(newest: u64, seen: u64, sequence: u64) {
            let mut window = Replay { newest, seen };
            let _ = window.check(sequence);
            window.commit(sequence);
            prop_assert!(window.check(sequence).is_err());
        }
    }
}
