//! How did the run go? One text for the terminal, one JSON document for scripts, one page for
//! people, all from the same figures.

pub mod figures;
mod html;
mod json;
mod machine;
pub(crate) mod number;
pub(crate) mod text;

use std::time::SystemTime;

use self::figures::Figures;
pub use self::machine::Machine;
use crate::measurement::Measurement;
use crate::scenario::{Phase, Scenario};
use crate::thresholds::{Verdict, judge};

/// A run and what was measured in it.
#[derive(Clone, Debug)]
pub struct Run {
    /// What was to be done.
    pub scenario: Scenario,
    /// When it began.
    pub began: SystemTime,
    /// What it ran on.
    pub machine: Machine,
    /// Whether somebody ended it early.
    pub is_stopped: bool,
    /// Phases that were carried out, the last perhaps in part, in the scenario's order.
    pub measurements: Vec<Measurement>,
}

/// One phase, ready to be shown.
#[derive(Debug)]
pub struct Outcome<'a> {
    /// What was to be done.
    pub phase: &'a Phase,
    /// What was measured.
    pub measurement: &'a Measurement,
    /// What that means.
    pub figures: Figures,
    /// The limits.
    pub verdicts: Vec<Verdict>,
}

impl Run {
    /// Before the first phase, now.
    pub fn new(scenario: Scenario) -> Self {
        let (began, machine) = (SystemTime::now(), Machine::of_this_process());
        Self { scenario, began, machine, is_stopped: false, measurements: Vec::new() }
    }

    /// The phases that were carried out.
    pub fn outcomes(&self) -> impl Iterator<Item = Outcome<'_>> {
        self.scenario.phases.iter().zip(&self.measurements).map(|(phase, measurement)| {
            let figures = Figures::new(phase, measurement);
            let verdicts = judge(&self.scenario.thresholds_of(phase), &figures);
            Outcome { phase, measurement, figures, verdicts }
        })
    }

    /// Whether every phase was carried out to its end.
    pub fn is_whole(&self) -> bool {
        !self.is_stopped && self.measurements.len() == self.scenario.phases.len()
    }

    /// Whether every phase was carried out and reached its limits.
    pub fn is_passed(&self) -> bool {
        self.is_whole() && self.outcomes().all(|outcome| outcome.is_passed())
    }

    /// For the terminal, after the last phase.
    pub fn to_text(&self) -> String {
        text::of(self)
    }

    /// For people: a page of HTML that needs nothing beside itself.
    pub fn to_html(&self) -> String {
        html::of(self)
    }

    /// For scripts.
    pub fn to_json(&self) -> serde_json::Value {
        json::of(self)
    }
}

impl Outcome<'_> {
    /// Whether all limits were reached.
    pub fn is_passed(&self) -> bool {
        self.verdicts.iter().all(Verdict::is_reached)
    }
}
