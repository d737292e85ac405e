//! Which notification is the newest? The Observe option of RFC 7641, read by both roles.

use crate::option::Number;
use crate::option::list::Options;

/// What a request asks for by Observe (section 2). Any other value is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    /// 0: tell me of changes, too.
    Register,
    /// 1: tell me of changes no more.
    Deregister,
}

impl Wish {
    /// Of a request's options.
    pub fn of(options: &Options<'_>) -> Option<Self> {
        match options.uint(Number::OBSERVE)? {
            0 => Some(Self::Register),
            1 => Some(Self::Deregister),
            _ => None,
        }
    }
}

/// The sequence number in a notification; `None`: it is the last one, or none at all.
pub fn sequence(options: &Options<'_>) -> Option<u32> {
    options.uint(Number::OBSERVE)
}

/// The freshest notification of one observation so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Freshest {
    sequence: u32,
    at_ms: u64,
}

impl Freshest {
    /// The first one.
    pub const fn new(now_ms: u64, sequence: u32) -> Self {
        Self { sequence, at_ms: now_ms }
    }

    /// Its number.
    pub const fn sequence(self) -> u32 {
        self.sequence
    }

    /// Takes one that is fresher than all before; false: it is not, and says nothing new (section
    /// 3.4). The numbers wrap at 24 bits; after 128 s any number is fresh.
    pub fn takes(&mut self, now_ms: u64, sequence: u32) -> bool {
        let (before, now) = (self.sequence, sequence);
        let is_fresher = (before < now && now - before < HALF)
            || (before > now && before - now > HALF)
            || now_ms > self.at_ms + LAST_WORD_MS;
        if is_fresher {
            *self = Self::new(now_ms, sequence);
        }
        is_fresher
    }
}

/// Half of the numbers there are.
const HALF: u32 = 1 << 23;
/// So long after a notification the next one is fresh, whatever its number, milliseconds.
const LAST_WORD_MS: u64 = 128_000;
/// Numbers have so many bits.
pub const SEQUENCE_BITS: u32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(before: u32, sequence: u32, later_ms: u64) -> bool {
        Freshest::new(1_000, before).takes(1_000 + later_ms, sequence)
    }

    /// Both sides of each line of section 3.4.
    #[test]
    fn a_number_is_fresh_for_half_of_the_numbers_ahead() {
        assert!(takes(5, 6, 0) && !takes(5, 5, 0) && !takes(6, 5, 0));
        assert!(takes(5, 5 + HALF - 1, 0) && !takes(5, 5 + HALF, 0));
        let last = (1 << SEQUENCE_BITS) - 1;
        assert!(takes(last, 0, 0), "it wraps");
        assert!(takes(HALF + 7, 6, 0) && !takes(HALF + 7, 7, 0));
    }

    #[test]
    fn after_128_seconds_every_number_is_fresh() {
        assert!(!takes(6, 5, 128_000) && takes(6, 5, 128_001));
    }

    #[test]
    fn what_was_taken_is_what_the_next_one_is_compared_with() {
        let mut freshest = Freshest::new(0, 1);
        assert!(freshest.takes(0, 3) && !freshest.takes(0, 2) && freshest.takes(0, 4));
        assert!(!freshest.takes(128_000, 2), "what was dropped does not count");
        assert!(freshest.takes(128_001, 2));
    }
}
