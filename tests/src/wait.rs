//! How long may anything take? Waiting for what must happen, with one give-up for all stories.

use std::sync::OnceLock;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a story waits for one thing. *Why so long:* two cores, many stories at once, and a CoAP
/// client that repeats itself after 2, 4 and 8 seconds; a pass never waits for it.
pub fn patience() -> Duration {
    let left = END.get().map_or(GIVE_UP, |end| end.saturating_duration_since(Instant::now()));
    left.min(GIVE_UP)
}

/// Bounds the whole process: from then on nothing is waited for.
pub fn give_up_everything_at(end: Instant) {
    let _ = END.set(end);
}

/// Asks again and again until there is an answer.
///
/// # Panics
/// When there is none after [`patience`].
pub fn eventually<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    eventually_or_say(what, || ask().ok_or(String::new()))
}

/// The same; what stood in the way at last is told.
///
/// # Panics
/// When there is no answer after [`patience`].
pub fn eventually_or_say<T>(what: &str, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let give_up = Instant::now() + patience();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(at_last) => assert!(Instant::now() < give_up, "gave up waiting: {what} {at_last}"),
        }
        sleep(ASK_EVERY);
    }
}

static END: OnceLock<Instant> = OnceLock::new();
const GIVE_UP: Duration = Duration::from_mins(1);
const ASK_EVERY: Duration = Duration::from_millis(10);
