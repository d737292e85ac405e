//! What was measured in one phase? Counters and latencies second by second, recorded by one engine
//! thread without a lock and merged over threads.
//!
//! An engine calls [`Measurement::set_now`] once a turn, [`Measurement::advance`] about once a
//! second and the `record_…` methods between, then [`Measurement::finish`]; what `advance` hands
//! back goes to the live view. Instants are nanoseconds since the phase began, the same instant for
//! every thread.
//! Bound: [`INTERVALS_MAX`] intervals; a longer phase has longer ones.

mod tally;

use hdrhistogram::Histogram;

pub use self::tally::{ErrorKind, Tally};

/// One thread's measurement of one phase, or that of several merged.
#[derive(Clone, Debug)]
pub struct Measurement {
    intervals: Vec<Interval>,
    interval_ns: u64,
    /// When the current interval, the last of `intervals`, ends.
    interval_end_ns: u64,
    /// Requests: from the instant at which each should have been sent to its response, ns.
    pub latency_ns: Histogram<u64>,
    /// The same from the instant at which it was first sent. Only of open loops: in a closed loop
    /// a request is due when it is sent.
    pub since_sent_ns: Histogram<u64>,
    /// Handshakes: from the instant at which each should have begun to its Finished, ns.
    pub handshake_ns: Histogram<u64>,
    /// Responses by code (RFC 7252 section 12.1); of bare datagrams there are none.
    pub codes: Box<[u64; 256]>,
    /// How long the phase took, ns: that of the longest thread, late answers waited for.
    pub wall_ns: u64,
    /// When the last request or handshake was completed, ns.
    pub last_completed_ns: u64,
    now_ns: u64,
    /// Threads that were merged into this.
    pub threads: u32,
    /// Wall time of all threads together, ns.
    pub threads_wall_ns: u64,
    /// Share of its wall time that the busiest thread spent on the CPU, 0.0..=1.0.
    pub busiest_thread: f64,
    /// Whether [`Self::record_server_cpu`] was ever called.
    pub has_server_cpu: bool,
}

/// What happened in one stretch of a phase.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Which one, from 0: it begins `index * length_ns` after the phase.
    pub index: usize,
    /// How long it is, ns.
    pub length_ns: u64,
    /// Counters.
    pub tally: Tally,
    /// As [`Measurement::latency_ns`], to one percent.
    pub latency_ns: Histogram<u32>,
    /// As [`Measurement::handshake_ns`], to one percent.
    pub handshake_ns: Histogram<u32>,
}

/// How long something took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Latency {
    /// Since it should have been sent, ns.
    pub since_due_ns: u64,
    /// Since it was first sent, ns; `None` in a closed loop, where both are the same.
    pub since_sent_ns: Option<u64>,
}

/// More intervals than that become half as many of twice the length.
pub const INTERVALS_MAX: usize = 1_024;

/// A thread that spends more of its time on the CPU than that is what is measured, not the server.
pub const BOTTLENECK: f64 = 0.9;

const SECOND_NS: u64 = 1_000_000_000;
/// Longer ones are recorded as that long: an hour.
const LATENCY_NS_MAX: u64 = 3_600 * SECOND_NS;

impl Measurement {
    /// At the beginning of a phase.
    pub fn new() -> Self {
        Self {
            intervals: vec![Interval::new(0, SECOND_NS)],
            interval_ns: SECOND_NS,
            interval_end_ns: SECOND_NS,
            latency_ns: fine(),
            since_sent_ns: fine(),
            handshake_ns: fine(),
            codes: Box::new([0; 256]),
            wall_ns: 0,
            last_completed_ns: 0,
            now_ns: 0,
            threads: 1,
            threads_wall_ns: 0,
            busiest_thread: 0.0,
            has_server_cpu: false,
        }
    }

    /// The time is now `now_ns`. Cheap: once a turn, so that [`Self::last_completed_ns`] is true.
    pub fn set_now(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
    }

    /// The time is now `now_ns`; what is recorded from here on belongs to the interval it is in.
    /// Hands back the interval that is thereby over, for the live view.
    pub fn advance(&mut self, now_ns: u64) -> Option<Interval> {
        self.now_ns = now_ns;
        if now_ns < self.interval_end_ns {
            return None;
        }
        let over = self.intervals.last().cloned();
        while now_ns >= self.interval_end_ns {
            if self.intervals.len() == INTERVALS_MAX {
                self.coarsen();
                continue;
            }
            self.intervals.push(Interval::new(self.intervals.len(), self.interval_ns));
            self.interval_end_ns += self.interval_ns;
        }
        over
    }

    /// Half as many intervals of twice the length. The last one is over, or it would not be
    /// the last of an even number.
    fn coarsen(&mut self) {
        self.interval_ns *= 2;
        let fine = std::mem::take(&mut self.intervals);
        for interval in fine {
            let index = interval.index / 2;
            if self.intervals.len() == index {
                self.intervals.push(Interval { index, length_ns: self.interval_ns, ..interval });
            } else {
                self.intervals[index].absorb(&interval);
            }
        }
        self.interval_end_ns = self.intervals.len() as u64 * self.interval_ns;
    }

    fn now(&mut self) -> &mut Interval {
        self.intervals.last_mut().expect("there is always a current interval")
    }

    fn tally_now(&mut self) -> &mut Tally {
        &mut self.now().tally
    }

    /// A request was sent for the first time. Of a body in blocks, the first block.
    pub fn record_request(&mut self) {
        self.tally_now().requests += 1;
    }

    /// A request was answered by a 2.xx; of a body in blocks, its last block.
    pub fn record_response(&mut self, code: u8, latency: Latency) {
        self.codes[usize::from(code)] += 1;
        self.record_completed(latency);
    }

    /// A request was answered by a 4.xx or 5.xx. Its latency stays out of the histograms: a server
    /// that refuses quickly is not a fast one.
    pub fn record_refusal(&mut self, code: u8) {
        self.codes[usize::from(code)] += 1;
        let is_client_error = code >> 5 == 4;
        let kind = if is_client_error { ErrorKind::Response4xx } else { ErrorKind::Response5xx };
        self.record_error(kind);
    }

    /// A bare datagram came back.
    pub fn record_completed(&mut self, latency: Latency) {
        self.last_completed_ns = self.now_ns;
        let now = self.now();
        now.tally.completed += 1;
        now.latency_ns.saturating_record(latency.since_due_ns);
        self.latency_ns.saturating_record(latency.since_due_ns);
        if let Some(since_sent_ns) = latency.since_sent_ns {
            self.since_sent_ns.saturating_record(since_sent_ns);
        }
    }

    /// A device sent its first ClientHello.
    pub fn record_handshake_begun(&mut self) {
        self.tally_now().handshakes_begun += 1;
    }

    /// A device has a session, `since_due_ns` after it should have begun.
    pub fn record_handshake(&mut self, is_resumed: bool, since_due_ns: u64) {
        self.last_completed_ns = self.now_ns;
        let now = self.now();
        let tally = &mut now.tally;
        *if is_resumed { &mut tally.handshakes_resumed } else { &mut tally.handshakes_full } += 1;
        now.handshake_ns.saturating_record(since_due_ns);
        self.handshake_ns.saturating_record(since_due_ns);
    }

    /// A request, a handshake or a session ended badly.
    pub fn record_error(&mut self, kind: ErrorKind) {
        self.tally_now().errors[kind as usize] += 1;
    }

    /// A request or a flight was sent once more.
    pub fn record_retransmission(&mut self) {
        self.tally_now().retransmissions += 1;
    }

    /// A device answered a request of the server.
    pub fn record_downlink(&mut self) {
        self.tally_now().downlinks += 1;
    }

    /// A device moved to another address or port.
    pub fn record_rebind(&mut self) {
        self.tally_now().rebinds += 1;
    }

    /// Datagrams of together `bytes` UDP payload went out.
    pub fn record_out(&mut self, datagrams: u64, bytes: u64) {
        let tally = self.tally_now();
        tally.datagrams_out += datagrams;
        tally.bytes_out += bytes;
    }

    /// Datagrams of together `bytes` UDP payload came in.
    pub fn record_in(&mut self, datagrams: u64, bytes: u64) {
        let tally = self.tally_now();
        tally.datagrams_in += datagrams;
        tally.bytes_in += bytes;
    }

    /// This thread was on the CPU (user and system) for `cpu_ns` since the last call.
    pub fn record_own_cpu(&mut self, cpu_ns: u64) {
        self.tally_now().own_cpu_ns += cpu_ns;
    }

    /// The server was on the CPU for `cpu_ns` since the last call. One thread's job.
    pub fn record_server_cpu(&mut self, cpu_ns: u64) {
        self.has_server_cpu = true;
        self.tally_now().server_cpu_ns += cpu_ns;
    }

    /// The phase is over for this thread, after `wall_ns`.
    pub fn finish(&mut self, wall_ns: u64) {
        self.wall_ns = wall_ns;
        self.threads_wall_ns = wall_ns;
        self.busiest_thread = self.total().own_cpu_ns as f64 / wall_ns.max(1) as f64;
    }

    /// What another thread measured in the same phase, added.
    pub fn merge(&mut self, mut other: Self) {
        while self.interval_ns < other.interval_ns {
            self.coarsen();
        }
        while other.interval_ns < self.interval_ns {
            other.coarsen();
        }
        for interval in other.intervals {
            match self.intervals.get_mut(interval.index) {
                Some(own) => own.absorb(&interval),
                None => self.intervals.push(interval),
            }
        }
        self.interval_end_ns = self.intervals.len() as u64 * self.interval_ns;
        for (own, theirs) in [
            (&mut self.latency_ns, &other.latency_ns),
            (&mut self.since_sent_ns, &other.since_sent_ns),
            (&mut self.handshake_ns, &other.handshake_ns),
        ] {
            own.add(theirs).expect("the same bounds");
        }
        for (own, theirs) in self.codes.iter_mut().zip(other.codes.iter()) {
            *own += theirs;
        }
        self.wall_ns = self.wall_ns.max(other.wall_ns);
        self.last_completed_ns = self.last_completed_ns.max(other.last_completed_ns);
        self.threads += other.threads;
        self.threads_wall_ns += other.threads_wall_ns;
        self.busiest_thread = self.busiest_thread.max(other.busiest_thread);
        self.has_server_cpu |= other.has_server_cpu;
    }

    /// Second by second (or longer, see [`INTERVALS_MAX`]); the last one is shorter than the others
    /// unless the phase ended with it.
    pub fn intervals(&self) -> &[Interval] {
        &self.intervals
    }

    /// Of the whole phase.
    pub fn total(&self) -> Tally {
        self.intervals.iter().fold(Tally::default(), |mut total, interval| {
            total.add(&interval.tally);
            total
        })
    }

    /// Whether a thread of ours was so busy that the figures may be ours and not the server's.
    pub fn is_bottleneck(&self) -> bool {
        self.busiest_thread >= BOTTLENECK
    }
}

impl Default for Measurement {
    fn default() -> Self {
        Self::new()
    }
}

impl Interval {
    /// Nothing happened yet.
    pub fn new(index: usize, length_ns: u64) -> Self {
        let (tally, latency_ns, handshake_ns) = (Tally::default(), coarse(), coarse());
        Self { index, length_ns, tally, latency_ns, handshake_ns }
    }

    /// Adds what happened in another one: of another thread, or a neighbour.
    pub fn absorb(&mut self, other: &Self) {
        self.tally.add(&other.tally);
        self.latency_ns.add(&other.latency_ns).expect("the same bounds");
        self.handshake_ns.add(&other.handshake_ns).expect("the same bounds");
    }
}

/// Three digits, 256 KiB.
fn fine() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).expect("good bounds")
}

/// Two digits, 14 KiB.
fn coarse() -> Histogram<u32> {
    Histogram::new_with_bounds(64, LATENCY_NS_MAX, 2).expect("good bounds")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const MS: u64 = 1_000_000;

    fn closed(ms: u64) -> Latency {
        Latency { since_due_ns: ms * MS, since_sent_ns: None }
    }

    #[test]
    fn each_event_belongs_to_the_second_it_happens_in() {
        let mut measurement = Measurement::new();
        assert!(measurement.advance(0).is_none());
        measurement.record_request();
        assert!(measurement.advance(SECOND_NS - 1).is_none(), "the first second is not over");
        measurement.record_response(0x44, closed(2));
        let over = measurement.advance(SECOND_NS).unwrap();
        assert_eq!((over.index, over.tally.requests, over.tally.completed), (0, 1, 1));
        assert_eq!(over.latency_ns.len(), 1);
        measurement.record_request();
        measurement.record_refusal(0xa3);

        let counts: Vec<_> =
            measurement.intervals().iter().map(|i| (i.tally.requests, i.tally.errors())).collect();
        assert_eq!(counts, [(1, 0), (1, 1)]);
        assert_eq!(measurement.total().requests, 2);
        assert_eq!(measurement.codes[0x44], 1);
        assert_eq!(measurement.latency_ns.len(), 1, "a refusal has no latency");
    }

    /// A phase may be over before its first second is.
    #[test]
    fn the_last_completion_has_its_instant() {
        let mut measurement = Measurement::new();
        measurement.set_now(250 * MS);
        measurement.record_handshake(false, MS);
        measurement.set_now(300 * MS);
        assert_eq!(measurement.last_completed_ns, 250 * MS);
        measurement.record_completed(closed(1));
        measurement.record_error(ErrorKind::Timeout);
        assert_eq!(measurement.last_completed_ns, 300 * MS);
    }

    #[test]
    fn seconds_in_which_nothing_happens_are_there() {
        let mut measurement = Measurement::new();
        measurement.record_request();
        let over = measurement.advance(3 * SECOND_NS + 1).unwrap();
        assert_eq!(over.tally.requests, 1);
        measurement.record_request();
        let requests: Vec<_> = measurement.intervals().iter().map(|i| i.tally.requests).collect();
        assert_eq!(requests, [1, 0, 0, 1]);
        let indices: Vec<_> = measurement.intervals().iter().map(|i| i.index).collect();
        assert_eq!(indices, [0, 1, 2, 3]);
    }

    #[test]
    fn a_long_phase_has_longer_intervals_and_loses_nothing() {
        let mut measurement = Measurement::new();
        for second in 0..INTERVALS_MAX as u64 {
            measurement.advance(second * SECOND_NS);
            measurement.record_request();
        }
        assert_eq!(measurement.intervals().len(), INTERVALS_MAX);
        let over = measurement.advance(INTERVALS_MAX as u64 * SECOND_NS).unwrap();
        assert_eq!((over.length_ns, over.tally.requests), (SECOND_NS, 1), "as it was");
        measurement.record_request();

        let intervals = measurement.intervals();
        assert_eq!(intervals.len(), INTERVALS_MAX / 2 + 1);
        assert!(intervals.iter().all(|interval| interval.length_ns == 2 * SECOND_NS));
        assert!(intervals.iter().enumerate().all(|(index, interval)| interval.index == index));
        assert_eq!(intervals.first().unwrap().tally.requests, 2);
        assert_eq!(intervals.last().unwrap().tally.requests, 1);
        assert_eq!(measurement.total().requests, INTERVALS_MAX as u64 + 1);
    }

    #[test]
    fn threads_are_merged_second_by_second() {
        let (mut one, mut two) = (Measurement::new(), Measurement::new());
        one.record_request();
        one.record_completed(Latency { since_due_ns: 9 * MS, since_sent_ns: Some(MS) });
        one.record_own_cpu(500 * MS);
        one.finish(SECOND_NS / 2 * 3);
        two.record_request();
        two.advance(SECOND_NS);
        two.record_request();
        two.record_response(0x45, closed(1));
        two.record_error(ErrorKind::Timeout);
        two.record_own_cpu(1_900 * MS);
        two.finish(2 * SECOND_NS);
        assert!(!one.is_bottleneck() && two.is_bottleneck());

        one.merge(two);
        let requests: Vec<_> = one.intervals().iter().map(|i| i.tally.requests).collect();
        assert_eq!(requests, [2, 1]);
        assert_eq!((one.latency_ns.len(), one.since_sent_ns.len()), (2, 1));
        assert_eq!(one.total().error(ErrorKind::Timeout), 1);
        assert_eq!((one.threads, one.wall_ns), (2, 2 * SECOND_NS));
        assert_eq!(one.threads_wall_ns, SECOND_NS / 2 * 7);
        assert_eq!(one.total().own_cpu_ns, 2_400 * MS);
        assert!(one.is_bottleneck(), "one busy thread is enough");
    }

    #[test]
    fn threads_with_intervals_of_different_length_are_merged_too() {
        let merged = |is_long_first: bool| {
            let (mut long, mut short) = (Measurement::new(), Measurement::new());
            long.record_request();
            long.advance(INTERVALS_MAX as u64 * SECOND_NS);
            short.advance(3 * SECOND_NS);
            short.record_request();
            let (mut one, two) = if is_long_first { (long, short) } else { (short, long) };
            one.merge(two);
            one
        };
        for measurement in [merged(true), merged(false)] {
            let intervals = measurement.intervals();
            assert_eq!(intervals.len(), INTERVALS_MAX / 2 + 1);
            assert!(intervals.iter().all(|interval| interval.length_ns == 2 * SECOND_NS));
            let requests: Vec<_> = intervals[..3].iter().map(|i| i.tally.requests).collect();
            assert_eq!(requests, [1, 1, 0]);
        }
    }

    #[test]
    fn full_and_resumed_handshakes_have_one_histogram() {
        let mut measurement = Measurement::new();
        measurement.record_handshake_begun();
        measurement.record_handshake(false, 3 * MS);
        measurement.record_handshake_begun();
        measurement.record_handshake(true, MS);
        let total = measurement.total();
        assert_eq!((total.handshakes_begun, total.handshakes()), (2, 2));
        assert_eq!((total.handshakes_full, total.handshakes_resumed), (1, 1));
        assert_eq!(measurement.handshake_ns.len(), 2);
        assert_eq!(measurement.latency_ns.len(), 0);
    }
}
