//! How fast may blocks go that are not asked for one by one? The parameters of RFC 9177 section
//! 7.2, and what follows from them.
//!
//! No knobs: both ends must have the same ones, and nobody negotiates them.

use crate::timing::Timing;

/// MAX_PAYLOADS: blocks that may be under way at any one time.
pub const MAX_PAYLOADS: u32 = 10;

/// NON_MAX_RETRANSMIT: how often missing blocks are asked for without a word from the peer.
pub const NON_MAX_RETRANSMIT: u8 = Timing::DEFAULT.max_retransmit;

/// NON_TIMEOUT, ms: between two sets of blocks, before it is spread.
pub const NON_TIMEOUT_MS: u64 = Timing::DEFAULT.ack_timeout_ms as u64;

/// NON_RECEIVE_TIMEOUT, ms: how long a missing block is waited for.
pub const NON_RECEIVE_TIMEOUT_MS: u64 = 2 * NON_TIMEOUT_MS;

/// NON_PARTIAL_TIMEOUT, ms: how long a body is kept that is not whole.
pub const NON_PARTIAL_TIMEOUT_MS: u64 = Timing::DEFAULT.exchange_lifetime_ms();

/// NON_TIMEOUT_RANDOM, ms: between two sets. `jitter` is random over all of `u16`.
pub const fn non_timeout_random_ms(jitter: u16) -> u64 {
    Timing::DEFAULT.first_timeout_ms(jitter)
}

/// How long to wait when missing blocks have been asked for so often, ms.
pub const fn time_to_wait_ms(asked: u8) -> u64 {
    NON_RECEIVE_TIMEOUT_MS << asked
}

/// The first block behind the set that this block is in.
pub const fn set_end(number: u32) -> u32 {
    (number / MAX_PAYLOADS + 1) * MAX_PAYLOADS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9177 table 3.
    #[test]
    fn parameters_are_those_of_the_table() {
        assert_eq!((MAX_PAYLOADS, NON_MAX_RETRANSMIT), (10, 4));
        assert_eq!((NON_TIMEOUT_MS, NON_RECEIVE_TIMEOUT_MS), (2_000, 4_000));
        assert_eq!(NON_PARTIAL_TIMEOUT_MS, 247_000);
        assert_eq!([0, u16::MAX].map(non_timeout_random_ms), [2_000, 3_000]);
        // "MUST always be greater than NON_TIMEOUT_RANDOM by at least one second".
        assert!(NON_RECEIVE_TIMEOUT_MS >= non_timeout_random_ms(u16::MAX) + 1_000);
    }

    #[test]
    fn sets_begin_at_multiples_of_max_payloads() {
        assert_eq!([0, 9, 10, 19].map(set_end), [10, 10, 20, 20]);
    }
}
