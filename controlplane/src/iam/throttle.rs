//! How often may an account call an operation? A token bucket for each account and operation.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::store::account::Account;

/// All buckets. *Bound:* accounts that call × operations; full ones are forgotten.
#[derive(Default)]
pub struct Throttle {
    buckets: Mutex<HashMap<(Account, &'static str), Bucket>>,
}

/// Holds what one second brings.
struct Bucket {
    /// In thousandths of a call.
    level: u64,
    filled_ms: u64,
    /// Calls in a second.
    rate: u64,
}

/// At so many, those that are full again are forgotten.
const BUCKETS_MAX: usize = 65_536;

impl Throttle {
    /// Takes a token, if there is one.
    pub fn admits(&self, account: Account, action: &'static str, rate: u64, now_ms: u64) -> bool {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= BUCKETS_MAX {
            buckets.retain(|_, bucket| !bucket.is_full(now_ms));
        }
        let full = Bucket { level: rate * WHOLE, filled_ms: now_ms, rate };
        let bucket = buckets.entry((account, action)).or_insert(full);
        bucket.fill(rate, now_ms);
        let has_token = bucket.level >= WHOLE;
        bucket.level -= if has_token { WHOLE } else { 0 };
        has_token
    }
}

const WHOLE: u64 = 1_000;

impl Bucket {
    fn fill(&mut self, rate: u64, now_ms: u64) {
        // A rate a second is as many thousandths a millisecond.
        let new = now_ms.saturating_sub(self.filled_ms).saturating_mul(rate);
        self.level = self.level.saturating_add(new).min(rate * WHOLE);
        (self.filled_ms, self.rate) = (now_ms.max(self.filled_ms), rate);
    }

    fn is_full(&self, now_ms: u64) -> bool {
        let new = now_ms.saturating_sub(self.filled_ms).saturating_mul(self.rate);
        self.level.saturating_add(new) >= self.rate * WHOLE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_calls_are_admitted_and_no_more_until_time_has_passed() {
        let throttle = Throttle::default();
        let one = |now_ms| throttle.admits(Account(1), "iot:ListTopicRules", 4, now_ms);
        assert_eq!((0..5).map(|_| one(1_000)).collect::<Vec<_>>(), [true, true, true, true, false]);
        assert!(!one(1_249));
        assert!(one(1_250), "a quarter of a second brings one");
        assert!(!one(1_250));
        assert!((0..4).all(|_| one(9_000)) && !one(9_000), "no more than a second's are saved");
    }

    #[test]
    fn accounts_and_operations_have_buckets_of_their_own() {
        let throttle = Throttle::default();
        assert!(throttle.admits(Account(1), "a", 1, 0));
        assert!(!throttle.admits(Account(1), "a", 1, 0));
        assert!(throttle.admits(Account(1), "b", 1, 0));
        assert!(throttle.admits(Account(2), "a", 1, 0));
        assert!(!throttle.admits(Account(1), "a", 1, 0));
        assert!(throttle.admits(Account(1), "a", 2, 500), "a new rate holds at once");
    }
}
