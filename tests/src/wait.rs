//! How long may anything take? Waiting for what must happen, with one give-up for all stories.

use std::thread::sleep;
use std::time::{Duration, Instant};

/// When a story gives up. *Why so long:* two cores, many stories at once, and a CoAP client that
/// repeats itself after 2, 4 and 8 seconds; a pass never waits for it.
pub const GIVE_UP: Duration = Duration::from_mins(1);

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none after [`GIVE_UP`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < GIVE_UP, "gave up waiting: {what}");
        sleep(ASK_EVERY);
    }
}

const ASK_EVERY: Duration = Duration::from_millis(10);
