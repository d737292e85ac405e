//! What does an engine tell while it runs? Events for the live view and the reports, sent over a
//! channel that whoever shows them reads from: an engine never waits for a terminal.

use crate::measurement::{Interval, Measurement};

/// Something to show. An engine sends them over a `std::sync::mpsc::Sender<Progress>`.
#[derive(Debug)]
pub enum Progress {
    /// A phase begins: its number in the scenario, from 0.
    PhaseBegun(usize),
    /// What [`Measurement::advance`] handed back in one of the engine's threads.
    Interval(Box<Interval>),
    /// How many devices have a session (of plain CoAP: an address), and requests and handshakes
    /// under way, over all threads. About once a second.
    Gauges {
        /// Sessions up.
        sessions: u32,
        /// Requests and handshakes under way.
        outstanding: u32,
    },
    /// The phase is over: all threads merged.
    PhaseOver(Box<Measurement>),
}
