//! What is known of a run that goes on? Seconds of several threads put together, gauges, phases
//! that are over.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use crate::measurement::{Interval, Tally};
use crate::progress::Progress;
use crate::report::figures::{Figures, Unit};
use crate::report::number::{count, duration, measured};
use crate::scenario::{Phase, Scenario};

/// Seconds that are kept for the curves.
pub(super) const SECONDS_KEPT: usize = 60;
/// Plain lines come every second for so long.
const EVERY_SECOND: usize = 10;
/// Then every so many.
const SELDOM: usize = 10;

/// A run as far as it went.
#[derive(Debug)]
pub(super) struct State {
    pub(super) scenario: Scenario,
    threads: usize,
    /// Of the phases that are over.
    pub(super) over: Vec<Figures>,
    pub(super) current: Option<Current>,
}

/// The phase that goes on.
#[derive(Debug)]
pub(super) struct Current {
    pub(super) index: usize,
    begun: Instant,
    /// Of all seconds that are over.
    pub(super) total: Tally,
    pub(super) sessions: u32,
    pub(super) outstanding: u32,
    /// Seconds that all threads are done with, by their beginning in ns.
    whole: BTreeMap<u64, Interval>,
    /// Those that some are done with, and how many threads are.
    partial: BTreeMap<u64, (usize, Interval)>,
}

impl State {
    pub(super) fn new(scenario: Scenario, threads: usize) -> Self {
        Self { scenario, threads: threads.max(1), over: Vec::new(), current: None }
    }

    pub(super) fn on_progress(&mut self, progress: Progress) {
        match progress {
            Progress::PhaseBegun(index) => self.current = Some(Current::new(index)),
            Progress::Interval(interval) => {
                let threads = self.threads;
                if let Some(current) = &mut self.current {
                    current.on_interval(*interval, threads);
                }
            }
            Progress::Gauges { sessions, outstanding } => {
                if let Some(current) = &mut self.current {
                    (current.sessions, current.outstanding) = (sessions, outstanding);
                }
            }
            Progress::PhaseOver(measurement) => {
                let Some(current) = self.current.take() else { return };
                let phase = &self.scenario.phases[current.index];
                self.over.push(Figures::new(phase, &measurement));
            }
        }
    }

    /// The same, and what is to be said about it in plain lines.
    pub(super) fn on_progress_plain(&mut self, progress: Progress) -> Vec<String> {
        let (seconds, phases) =
            (self.current.as_ref().map_or(0, Current::seconds), self.over.len());
        self.on_progress(progress);
        let mut lines = Vec::new();
        if let Some(current) = &self.current
            && current.seconds() > seconds
            && (seconds < EVERY_SECOND || current.seconds().is_multiple_of(SELDOM))
        {
            lines.push(self.second(current));
        }
        if let Some(figures) = self.over.get(phases) {
            let phase = &self.scenario.phases[phases];
            lines.push(format!("{}: over: {}", phase.name, summary(figures)));
        }
        lines
    }

    fn second(&self, current: &Current) -> String {
        let phase = &self.scenario.phases[current.index];
        let Some(last) = current.last() else { return String::new() };
        let end_s = (last.index + 1) as f64 * last.length_ns as f64 / 1e9;
        let mut line =
            format!("{}: {}: {}/s", phase.name, duration(end_s), measured(rate(phase, last)));
        if let Some([p50, p99, max]) = latency_ms(phase, last) {
            let [p50, p99, max] = [p50, p99, max].map(measured);
            write!(line, ", p50 {p50} ms, p99 {p99} ms, max {max} ms").expect("memory");
        }
        if current.total.errors() > 0 {
            write!(line, ", {} errors so far", count(current.total.errors())).expect("memory");
        }
        line
    }
}

impl Current {
    fn new(index: usize) -> Self {
        Self {
            index,
            begun: Instant::now(),
            total: Tally::default(),
            sessions: 0,
            outstanding: 0,
            whole: BTreeMap::new(),
            partial: BTreeMap::new(),
        }
    }

    fn on_interval(&mut self, interval: Interval, threads: usize) {
        self.total.add(&interval.tally);
        let begin_ns = interval.index as u64 * interval.length_ns;
        let (done, sum) = self
            .partial
            .entry(begin_ns)
            .or_insert_with(|| (0, Interval::new(interval.index, interval.length_ns)));
        sum.absorb(&interval);
        *done += 1;
        if *done >= threads {
            // Earlier ones that a thread passed over in its sleep are over, too.
            let rest = self.partial.split_off(&(begin_ns + 1));
            for (begin_ns, (_, interval)) in std::mem::replace(&mut self.partial, rest) {
                self.whole.insert(begin_ns, interval);
            }
        }
        while self.whole.len() > SECONDS_KEPT {
            self.whole.pop_first();
        }
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The last second that is over.
    pub(super) fn last(&self) -> Option<&Interval> {
        self.whole.last_key_value().map(|(_, interval)| interval)
    }

    /// Up to [`SECONDS_KEPT`] of them.
    pub(super) fn history(&self) -> impl Iterator<Item = &Interval> {
        self.whole.values()
    }

    /// How many are over.
    fn seconds(&self) -> usize {
        self.last().map_or(0, |last| last.index + 1)
    }
}

/// Completed per second.
pub(super) fn rate(phase: &Phase, interval: &Interval) -> f64 {
    let completed = match Unit::of(phase.kind) {
        Unit::Requests => interval.tally.completed,
        Unit::Handshakes => interval.tally.handshakes(),
    };
    completed as f64 / (interval.length_ns as f64 / 1e9)
}

/// Median, 99th percentile and longest; `None` when nothing was completed.
pub(super) fn latency_ms(phase: &Phase, interval: &Interval) -> Option<[f64; 3]> {
    let histogram = match Unit::of(phase.kind) {
        Unit::Requests => &interval.latency_ns,
        Unit::Handshakes => &interval.handshake_ns,
    };
    let ms = |percentile| histogram.value_at_percentile(percentile) as f64 / 1e6;
    (!histogram.is_empty()).then(|| [50.0, 99.0, 100.0].map(ms))
}

/// A finished phase in half a line.
pub(super) fn summary(figures: &Figures) -> String {
    let mut text = format!(
        "{} {}, {}/s",
        count(figures.completed),
        figures.unit.name(),
        measured(figures.rate_per_s)
    );
    if let Some(latency) = &figures.latency_ms {
        let [p50, p99] = [latency.p50, latency.p99].map(measured);
        write!(text, ", p50 {p50} ms, p99 {p99} ms").expect("memory");
    }
    match figures.errors {
        0 => text + ", no errors",
        errors => text + &format!(", {} errors", count(errors)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;
    use crate::measurement::{ErrorKind, Latency, Measurement};

    const SECOND_NS: u64 = 1_000_000_000;

    /// Two phases; `threads` threads.
    pub(in crate::view) fn state(threads: usize) -> State {
        let text = "[target]\nserver = 'coap://127.0.0.1'\n\
            [[phase]]\nname = 'warm'\nkind = 'requests'\noutstanding = 1\ncount = 5\nrequest = [{}]\n\
            [[phase]]\nname = 'steady'\nkind = 'requests'\nrate_per_s = 5\nduration_s = 60\n\
            request = [{}]\n";
        State::new(Scenario::parse(text, &[]).unwrap(), threads)
    }

    /// A second in which so many requests were completed.
    pub(in crate::view) fn second(index: usize, completed: u64) -> Progress {
        let mut measurement = Measurement::new();
        measurement.advance(index as u64 * SECOND_NS);
        for _ in 0..completed {
            measurement.record_request();
            measurement.record_completed(Latency { since_due_ns: 1_000_000, since_sent_ns: None });
        }
        Progress::Interval(Box::new(measurement.advance((index as u64 + 1) * SECOND_NS).unwrap()))
    }

    #[test]
    fn a_second_is_over_when_all_threads_are_done_with_it() {
        let mut state = state(2);
        state.on_progress(Progress::PhaseBegun(0));
        let completed =
            |state: &State| state.current.as_ref()?.last().map(|last| last.tally.completed);
        state.on_progress(second(0, 3));
        assert_eq!(completed(&state), None);
        state.on_progress(second(1, 10));
        state.on_progress(second(0, 4));
        assert_eq!(completed(&state), Some(7));
        state.on_progress(second(1, 20));
        assert_eq!(completed(&state), Some(30));
        assert_eq!(state.current.unwrap().total.completed, 37);
    }

    #[test]
    fn a_second_that_a_thread_slept_through_is_over_with_the_next() {
        let mut state = state(2);
        state.on_progress(Progress::PhaseBegun(0));
        for progress in [second(0, 1), second(1, 1), second(2, 1), second(2, 1)] {
            state.on_progress(progress);
        }
        let current = state.current.unwrap();
        let each: Vec<_> = current.history().map(|i| (i.index, i.tally.completed)).collect();
        assert_eq!(each, [(0, 1), (1, 1), (2, 2)]);
    }

    #[test]
    fn plain_lines_come_often_at_first_and_seldom_later() {
        let mut state = state(1);
        assert!(state.on_progress_plain(Progress::PhaseBegun(0)).is_empty());
        let spoken = (0..40).filter(|&index| !state.on_progress_plain(second(index, 5)).is_empty());
        let expected = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 19, 29, 39];
        assert_eq!(spoken.collect::<Vec<_>>(), expected);
        let line = state.on_progress_plain(Progress::PhaseBegun(1));
        assert!(line.is_empty());
    }

    #[test]
    fn a_plain_line_says_rate_latency_and_errors() {
        let mut state = state(1);
        state.on_progress(Progress::PhaseBegun(0));
        let lines = state.on_progress_plain(second(0, 5));
        assert!(lines[0].starts_with("warm: 1 s: 5.00/s, p50 1.0"), "{lines:?}");
        assert!(!lines[0].contains("errors"));

        let mut measurement = Measurement::new();
        measurement.record_error(ErrorKind::Timeout);
        let with_error = measurement.advance(SECOND_NS).unwrap();
        state.on_progress(Progress::Interval(Box::new(with_error)));
        let lines = state.on_progress_plain(second(1, 5));
        assert!(lines[0].ends_with(", 1 errors so far"), "{lines:?}");
        let lines = state.on_progress_plain(Progress::PhaseOver(Box::new(measurement)));
        assert_eq!(lines, ["warm: over: 0 requests, 0/s, 1 errors"]);
    }
}
