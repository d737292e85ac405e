//! How does a process die in the middle of something? It unwinds to here, and what was not in
//! shared memory is gone.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use tidegate_faults::deaths::{Death, runs, strikes};
use tidegate_faults::{Doom, Point};

/// Whether a process with this doom dies here.
pub(super) fn dies_at(doom: &mut Option<Doom>, point: Point) -> bool {
    runs(doom.take());
    let dies = strikes(point);
    *doom = runs(None);
    dies
}

/// A process with this doom does something; `None`: it died of it.
pub(super) fn lives<T>(doom: &mut Option<Doom>, act: impl FnOnce() -> T) -> Option<T> {
    runs(doom.take());
    // What it was changing is thrown away, or is shared memory, which has to bear that.
    let done = catch_unwind(AssertUnwindSafe(act));
    *doom = runs(None);
    match done {
        Ok(done) => Some(done),
        Err(cause) if cause.is::<Death>() => None,
        Err(cause) => resume_unwind(cause),
    }
}
