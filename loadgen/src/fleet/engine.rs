//! What does one thread do? Turns: what is due begins, timers fire, everything goes out together,
//! and what comes in meanwhile is handled in batches.
//!
//! Instants ending in `_ns` count from the engine's beginning, those of [`Pace`] and
//! [`Measurement`] from the phase's.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::time::{ClockId, clock_gettime};

use super::devices::{Devices, State};
use super::exchanges::Exchanges;
use super::handshakes::{Attempts, Goal};
use super::inbox;
use super::messages::{Filler, Template};
use super::outbox::Outbox;
use super::pace::{Dice, Pace, Rounds};
use super::setup::{Setup, Share};
use super::sockets::{BATCH_MAX, Inbox, Sockets};
use super::timers::Timers;
use crate::cpu;
use crate::measurement::{ErrorKind, Interval, Measurement};
use crate::scenario::{Kind, Load, Phase, Transport, Wake};

/// One thread's devices, and all they do.
pub(super) struct Engine {
    pub(super) setup: Arc<Setup>,
    pub(super) share: Share,
    pub(super) devices: Devices,
    pub(super) sockets: Sockets,
    pub(super) outbox: Outbox,
    pub(super) exchanges: Exchanges,
    pub(super) attempts: Attempts,
    pub(super) timers: Timers,
    pub(super) dice: Dice,
    pub(super) filler: Filler,
    pub(super) measurement: Measurement,
    pub(super) phase: Current,
    rounds: Rounds,
    clock: Instant,
    /// When this turn's datagrams came.
    pub(super) now_ns: u64,
    own_cpu_ns: u64,
    server_cpu_ns: u64,
    /// When the next second is over.
    tell_ns: u64,
    /// More was due than was begun in this turn.
    has_more: bool,
}

/// The phase under way.
pub(super) struct Current {
    pub(super) phase: Phase,
    /// Its place in the scenario.
    pub(super) number: usize,
    pub(super) templates: Vec<Template>,
    /// Sums of weights, each with its template's.
    weights: Vec<u32>,
    pub(super) pace: Pace,
    pub(super) is_open_loop: bool,
    pub(super) start_ns: u64,
    end_ns: Option<u64>,
}

/// What a thread tells once a second.
pub(super) struct Second {
    pub(super) interval: Interval,
    pub(super) sessions: u32,
    pub(super) outstanding: u32,
}

/// How many devices are asked whether they are free before a turn gives up.
const TRIES_MAX: u32 = 64;
/// How many units begin before what came in is looked at.
const BEGUN_MAX: usize = BATCH_MAX;
/// How long an open loop may send late what was due before its end, ns.
const GRACE_NS: u64 = 100_000_000;
/// A turn is never longer, ns: whoever stops the run is heard.
const PATIENCE_NS: u64 = 50_000_000;

impl Engine {
    pub(super) fn new(setup: &Arc<Setup>, share: Share) -> io::Result<Self> {
        let fleet = &setup.scenario.fleet;
        let seed = Dice::new(fleet.seed ^ u64::from(share.thread) << 48).roll();
        let is_secured = setup.transport == Transport::Dtls;
        Ok(Self {
            devices: Devices::new(share.devices, is_secured, setup.resumes(), seed),
            sockets: setup.sockets(share)?,
            outbox: Outbox::new(),
            exchanges: Exchanges::default(),
            attempts: Attempts::default(),
            timers: Timers::new(0),
            dice: Dice::new(seed),
            filler: Filler::new(fleet.seed),
            measurement: Measurement::new(),
            phase: Current::new(setup, share, 0, 0),
            rounds: Rounds::new(share.devices, seed),
            clock: Instant::now(),
            now_ns: 0,
            own_cpu_ns: 0,
            server_cpu_ns: 0,
            tell_ns: 0,
            has_more: false,
            setup: Arc::clone(setup),
            share,
        })
    }

    /// One phase, from `start` to the end of everything that was begun in it.
    pub(super) fn run(
        &mut self,
        phase: usize,
        start: Instant,
        stop: &AtomicBool,
        tell: &mut dyn FnMut(Second),
    ) -> io::Result<Measurement> {
        let start_ns = start.saturating_duration_since(self.clock).as_nanos() as u64;
        self.phase = Current::new(&self.setup, self.share, phase, start_ns);
        if self.phase.phase.kind == Kind::Connect {
            let missing = self.devices.len() - self.devices.up;
            self.phase.pace.limit(missing.into());
        }
        self.measurement = Measurement::new();
        (self.own_cpu_ns, self.server_cpu_ns) = (thread_cpu_ns(), self.server_cpu_ns()?);
        self.tell_ns = SECOND_NS;
        let mut inbox = Inbox::new();
        self.read_clock();
        while !self.is_over(stop) {
            self.turn(&mut inbox)?;
            self.tell(tell)?;
        }
        self.measure_cpu()?;
        // What was still to come when somebody ended the run was nobody's fault.
        let unsent = if stop.load(Ordering::Relaxed) { 0 } else { self.phase.pace.unsent() };
        for _ in 0..unsent {
            self.measurement.record_error(ErrorKind::Unsent);
        }
        self.measurement.finish(self.since_start_ns());
        Ok(std::mem::take(&mut self.measurement))
    }

    fn turn(&mut self, inbox: &mut Inbox) -> io::Result<()> {
        self.fire()?;
        self.begin_what_is_due()?;
        self.flush()?;
        self.sockets.wait(self.patience_ns())?;
        loop {
            let devices = &self.devices;
            self.sockets.receive(inbox, |device| devices.row(device).plane)?;
            self.read_clock();
            for device in &inbox.refused {
                self.devices.row_mut(*device).is_refused = true;
            }
            if inbox.got.is_empty() && inbox.refused.is_empty() {
                return Ok(());
            }
            self.on_batch(inbox)?;
            self.begin_what_is_due()?;
            self.flush()?;
        }
    }

    fn on_batch(&mut self, inbox: &mut Inbox) -> io::Result<()> {
        let bytes = inbox.got.iter().map(|got| u64::from(got.len)).sum();
        self.measurement.record_in(inbox.got.len() as u64, bytes);
        let contents = match self.setup.transport {
            Transport::Dtls => inbox::open(inbox, &mut self.devices, self.setup.own_cid_len),
            Transport::Coap | Transport::Udp => inbox::clear(inbox),
        };
        for (at, content) in contents.into_iter().enumerate() {
            let got = inbox.got[at];
            self.on_datagram(got.device, content, &mut inbox.buffers[at][..got.len.into()])?;
        }
        Ok(())
    }

    /// Timers, of requests and of handshakes.
    fn fire(&mut self) -> io::Result<()> {
        let mut due = Vec::new();
        self.timers.fire(self.now_ns / 1_000_000, &mut due);
        for id in due {
            if id & ATTEMPT == 0 {
                self.on_request_timer(id)?;
            } else {
                self.on_handshake_timer(id & !ATTEMPT)?;
            }
        }
        Ok(())
    }

    fn begin_what_is_due(&mut self) -> io::Result<()> {
        self.has_more = true;
        for _ in 0..BEGUN_MAX {
            let since_start_ns = self.since_start_ns();
            let late_ns = self.phase.end_ns.map_or(0, |end| since_start_ns.saturating_sub(end));
            let due_ns = self.phase.pace.next(since_start_ns);
            let late_max_ns = if self.phase.is_open_loop { GRACE_NS } else { 0 };
            let device = due_ns.filter(|_| late_ns <= late_max_ns).and_then(|_| self.pick());
            let (Some(due_ns), Some(device)) = (due_ns, device) else {
                self.has_more = false;
                break;
            };
            self.phase.pace.begin();
            self.begin(device, self.phase.start_ns + due_ns)?;
        }
        Ok(())
    }

    /// A device that can do something now.
    fn pick(&mut self) -> Option<u32> {
        let kind = self.phase.phase.kind;
        let tries = if kind == Kind::Connect { self.devices.len() } else { TRIES_MAX };
        for _ in 0..tries {
            let device = self.rounds.next();
            let row = self.devices.row(device);
            let is_free = match kind {
                Kind::Connect => row.state == State::Out,
                Kind::Storm => row.state != State::ShakingHands && row.in_flight == 0,
                Kind::Requests | Kind::Sleepy => {
                    row.state != State::ShakingHands && row.in_flight < self.setup.timing.nstart
                }
            };
            if is_free {
                return Some(device);
            }
        }
        None
    }

    fn begin(&mut self, device: u32, due_ns: u64) -> io::Result<()> {
        let (kind, wake) = (self.phase.phase.kind, self.phase.phase.wake);
        match kind {
            Kind::Connect => self.shake_hands(device, due_ns, Goal::Session, false),
            Kind::Storm => {
                self.close(device)?;
                let percent = u32::from(self.phase.phase.resume_percent);
                let resumes = self.dice.below(100) < percent;
                self.shake_hands(device, due_ns, Goal::Session, resumes)
            }
            Kind::Sleepy if wake != Wake::Session => {
                self.close(device)?;
                self.shake_hands(device, due_ns, Goal::Request, wake == Wake::Resumed)
            }
            Kind::Requests | Kind::Sleepy => {
                if self.devices.row(device).state == State::Up {
                    self.request(device, due_ns)
                } else {
                    self.shake_hands(device, due_ns, Goal::Request, false)
                }
            }
        }
    }

    /// The device forgets its session, without a word.
    pub(super) fn leave(&mut self, device: u32) -> io::Result<()> {
        if self.devices.session(device).is_some() {
            // What waits to be sealed is this session's.
            self.flush()?;
            self.devices.part(device);
        }
        Ok(())
    }

    /// The same, with a close_notify unless the phase leaves sessions open.
    fn close(&mut self, device: u32) -> io::Result<()> {
        if self.devices.session(device).is_some() {
            self.flush()?;
            if let Some(mut session) = self.devices.part(device)
                && !self.phase.phase.leave_open
            {
                self.outbox.ready(device, |out| session.close_notify(out).ok());
            }
        }
        Ok(())
    }

    /// A device that shakes hands again comes from where the server has not seen it, if there is
    /// such a place.
    pub(super) fn move_on(&mut self, device: u32) -> io::Result<()> {
        if self.devices.row(device).is_known_there && !self.phase.phase.keep_port {
            self.flush()?;
            let row = self.devices.row_mut(device);
            row.plane = self.sockets.rebind(device, row.plane);
        }
        self.devices.row_mut(device).is_known_there = true;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.outbox.flush(&mut self.devices, &mut self.sockets, &mut self.measurement)
    }

    /// Makes room for one more datagram.
    pub(super) fn make_room(&mut self) -> io::Result<()> {
        if self.outbox.is_full() { self.flush() } else { Ok(()) }
    }

    fn is_over(&self, stop: &AtomicBool) -> bool {
        if stop.load(Ordering::Relaxed) {
            return true;
        }
        let since_start_ns = self.since_start_ns();
        let pace = &self.phase.pace;
        let is_late = self.phase.end_ns.is_some_and(|end| since_start_ns > end + GRACE_NS);
        let has_begun_all = pace.is_over(since_start_ns)
            && (!self.phase.is_open_loop || pace.unsent() == 0 || is_late);
        has_begun_all && pace.outstanding() == 0
    }

    /// How long nothing has to be done, unless something comes in.
    fn patience_ns(&self) -> u64 {
        if self.has_more {
            return 0;
        }
        let since_start_ns = self.since_start_ns();
        let is_late = self.phase.end_ns.is_some_and(|end| since_start_ns > end);
        let pace_ns = self.phase.pace.due_ns(since_start_ns).filter(|_| !is_late);
        let timer_ns = self.timers.due_ms().map(|ms| ms * 1_000_000);
        let until = [
            // Nobody was free: whoever will be comes with a datagram or a timer.
            pace_ns.filter(|due_ns| *due_ns > since_start_ns).map(|due| due - since_start_ns),
            timer_ns.map(|due_ns| due_ns.saturating_sub(self.now_ns)),
        ];
        let soonest_ns = until.into_iter().flatten().min();
        let is_behind = pace_ns.is_some_and(|due_ns| due_ns <= since_start_ns);
        let most_ns = if is_behind { 1_000_000 } else { PATIENCE_NS };
        soonest_ns.unwrap_or(most_ns).min(most_ns)
    }

    pub(super) fn read_clock(&mut self) {
        self.now_ns = self.clock.elapsed().as_nanos() as u64;
        self.measurement.set_now(self.since_start_ns());
    }

    pub(super) fn since_start_ns(&self) -> u64 {
        self.now_ns.saturating_sub(self.phase.start_ns)
    }

    /// Once a second: what was measured, and what it cost.
    fn tell(&mut self, tell: &mut dyn FnMut(Second)) -> io::Result<()> {
        if self.since_start_ns() < self.tell_ns {
            return Ok(());
        }
        self.measure_cpu()?;
        let now_ns = self.since_start_ns();
        self.tell_ns = (now_ns / SECOND_NS + 1) * SECOND_NS;
        if let Some(interval) = self.measurement.advance(now_ns) {
            let outstanding = self.phase.pace.outstanding() as u32;
            tell(Second { interval, sessions: self.devices.up, outstanding });
        }
        Ok(())
    }

    fn measure_cpu(&mut self) -> io::Result<()> {
        let own_ns = thread_cpu_ns();
        self.measurement.record_own_cpu(own_ns - std::mem::replace(&mut self.own_cpu_ns, own_ns));
        if self.share.thread == 0 && !self.setup.scenario.target.server_pid.is_empty() {
            let now_ns = self.server_cpu_ns()?;
            let before_ns = std::mem::replace(&mut self.server_cpu_ns, now_ns);
            self.measurement.record_server_cpu(now_ns.saturating_sub(before_ns));
        }
        Ok(())
    }

    fn server_cpu_ns(&self) -> io::Result<u64> {
        Ok(cpu::of_all(&self.setup.scenario.target.server_pid)?.total().as_nanos() as u64)
    }
}

/// In the wheel: a handshake's place, not a request's.
pub(super) const ATTEMPT: u32 = 1 << 31;
const SECOND_NS: u64 = 1_000_000_000;

impl Current {
    fn new(setup: &Setup, share: Share, number: usize, start_ns: u64) -> Self {
        let phase = &setup.scenario.phases[number];
        let load = phase.load(setup.scenario.fleet.devices);
        let end_ns = phase.duration().map(|duration| duration.as_nanos() as u64);
        let mut sum = 0;
        let weights = phase.requests.iter().map(|request| {
            sum += request.weight;
            sum
        });
        Self {
            weights: weights.collect(),
            templates: phase.requests.iter().map(Template::new).collect(),
            pace: Pace::new(load, phase.count, end_ns, (share.thread, setup.threads)),
            is_open_loop: matches!(load, Load::Open { .. }),
            phase: phase.clone(),
            number,
            start_ns,
            end_ns,
        }
    }

    /// Which kind of request is next.
    pub(super) fn template(&self, dice: &mut Dice) -> u16 {
        let [.., sum] = self.weights[..] else { return 0 };
        if self.weights.len() == 1 {
            return 0;
        }
        let roll = dice.below(sum);
        self.weights.partition_point(|weight| *weight <= roll) as u16
    }
}

/// User and system time of this thread.
fn thread_cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    time.tv_sec as u64 * SECOND_NS + time.tv_nsec as u64
}
