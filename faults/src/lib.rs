//! What can a test make go wrong inside the edge? Bugs planted on purpose, one at a time, and the
//! instants at which a process may die.
//!
//! Nothing of it is in what ships: without the feature `armed`, which only the simulator's own
//! binary asks for (`make sim`), [`has`] is a constant `false`, [`may_die`] is nothing, and the
//! compiler leaves out what they guard. The daemons assert at compile time that they are not
//! [`IS_ARMED`].
//!
//! Everything here is of one thread, like everything of a simulated run.

#![forbid(unsafe_code)]

mod bugs;
pub mod deaths;

pub use bugs::Bug;
pub use deaths::{Doom, Point};

/// Whether bugs can be planted at all in this build.
pub const IS_ARMED: bool = cfg!(feature = "armed");

/// Whether this bug is planted here: never in what ships.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn has(_: Bug) -> bool {
    false
}

/// Here the process may die: never in what ships.
#[cfg(not(feature = "armed"))]
#[inline]
pub const fn may_die(_: Point) {}

#[cfg(feature = "armed")]
pub use bugs::{has, plant};

/// Here the process may die: it unwinds to whoever plays the operating system.
#[cfg(feature = "armed")]
pub fn may_die(point: Point) {
    if deaths::is_inside() && deaths::strikes(point) {
        std::panic::resume_unwind(Box::new(deaths::Death));
    }
}
