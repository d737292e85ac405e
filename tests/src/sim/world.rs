//! In what order does everything happen? One agenda, one clock.

mod control;
mod edge;
mod healing;
mod people;

use std::collections::BTreeMap;

use tidegate_dataplane::clock::Now;
use tidegate_dataplane::net::peer::Peer;

use super::Outcome;
use super::broker::{Broker, OnItsWay};
use super::checks::{Checks, Turn};
use super::controlplane::ControlPlane;
use super::dataplane::{Datagram, Dataplane};
use super::device::Device;
use super::network::Network;
use super::plan::Plan;
use super::provision::{UNIX_MS, provision};
use super::stranger::Stranger;
use super::trace::Trace;
use super::unsecured::Unsecured;
use people::Application;

/// Everything there is.
pub(crate) struct World {
    plan: Plan,
    now_ms: u64,
    /// How far the time of day is off, seconds.
    unix_off_s: i64,
    agenda: BTreeMap<(u64, u64), Event>,
    last_entry: u64,
    trace: Trace,
    devices: Vec<Device>,
    network: Network,
    stranger: Stranger,
    dataplane: Dataplane,
    control: ControlPlane,
    /// Counts the lives of the control plane: what an earlier one began is void.
    life: u32,
    broker: Broker,
    application: Application,
    checks: Checks,
    turns: Turn,
    /// Each session of each device, by the device's place, while it lasts.
    sessions: Vec<Option<usize>>,
    device_turns_ms: Vec<Option<u64>>,
    is_healed: bool,
    is_over: bool,
}

/// What is on the agenda.
#[derive(Clone)]
enum Event {
    /// The plan's action of this number.
    Action(usize),
    /// The plan's fault of this number begins.
    FaultBegins(usize),
    FaultEnds(usize),
    /// A device's timer.
    Device(usize),
    ToEdge(Datagram),
    /// Whoever has the address gets it.
    ToDevice(Peer, Vec<u8>),
    EdgeTurn(usize),
    EdgeStarts,
    EdgeDies {
        keeps_memory: bool,
    },
    ControlTurn,
    ControlStarts,
    ControlDies,
    /// In this life: so many transactions are synced.
    Synced(u32, usize),
    /// In this life.
    BrokerConnects(u32),
    BrokerHas(OnItsWay),
    BrokerConfirms(u32, OnItsWay),
    /// The application answers the request of this token.
    Answers {
        token: String,
        device: usize,
        serial: u32,
    },
    /// The stranger sends until then, so many milliseconds apart.
    Stranger {
        until_ms: u64,
        every_ms: u64,
    },
    Heals,
    /// Every device is asked for one more request, and gets one more.
    LastWords,
    /// The application tries again to send the last one.
    LastWord(usize),
    Noise,
    Spark(usize),
    Ends,
}

/// Where the clock begins: a machine that has been up for a while.
const START_MS: u64 = 90_000_000;
/// After the storm: time to come back.
const CALM_MS: u64 = 60_000;
/// Time for everyone to get through both ways: three times what the core waits for the outcome of a
/// message that a process took with it.
const HEALING_MS: u64 = 2_100_000;
/// Then nothing is under way any more.
const QUIET_MS: u64 = 330_000;

impl World {
    pub(crate) fn new(plan: Plan, keeps_lines: bool) -> Self {
        let run_seed = plan.seed;
        let latencies: Vec<_> =
            plan.devices.iter().map(|device| (device.number, device.latency_ms)).collect();
        let devices: Vec<_> =
            plan.devices.iter().map(|device| Device::new(run_seed, device)).collect();
        let count = devices.len();
        Self {
            now_ms: START_MS,
            unix_off_s: 0,
            agenda: BTreeMap::new(),
            last_entry: 0,
            trace: Trace::new(keeps_lines),
            devices,
            network: Network::new(run_seed, &latencies),
            stranger: Stranger::new(run_seed),
            dataplane: Dataplane::new(&plan),
            control: ControlPlane::new(&plan),
            life: 0,
            broker: Broker::new(run_seed),
            application: Application::new(run_seed),
            checks: Checks::new(plan.device_uplinks),
            turns: Turn::new(Unsecured::of(&plan.devices)),
            sessions: vec![None; count],
            device_turns_ms: vec![None; count],
            is_healed: false,
            is_over: false,
            plan,
        }
    }

    pub(crate) fn run(mut self) -> Outcome {
        tidegate_faults::deaths::take();
        self.begins();
        while !self.is_over
            && self.checks.violation().is_none()
            && let Some(((ms, _), event)) = self.agenda.pop_first()
        {
            self.now_ms = self.now_ms.max(ms);
            self.checks.interruptions.ms = self.now_ms;
            self.happens(event);
        }
        let violation = self.checks.violation().map(|text| {
            let at_ms = self.now_ms - START_MS;
            format!("at {}.{:03} s: {text}", at_ms / 1_000, at_ms % 1_000)
        });
        Outcome {
            hash: self.trace.hash(),
            events: self.trace.events(),
            simulated_ms: self.now_ms - START_MS,
            violation,
            counts: self.counts(),
            counters: self.dataplane.counters(),
            died_at: tidegate_faults::deaths::take(),
            lines: self.trace.into_lines(),
        }
    }

    fn counts(&self) -> Vec<(&'static str, u64)> {
        let checks = &self.checks;
        vec![
            ("uplinks acknowledged", checks.uplinks.acknowledged),
            ("events published", checks.uplinks.published),
            ("events published again", checks.uplinks.doubled),
            ("steps of delivered downlinks", checks.downlinks.delivered),
            ("values that devices heard of", checks.values.heard),
            ("states of devices published", checks.states.published),
            ("sessions that the edge opened", self.turns.opened),
            ("sessions of plain devices", self.turns.plain.begun),
            ("plain datagrams of strangers", self.turns.plain.of_strangers),
            ("records of the edge", checks.wire.records),
            ("plain messages of the edge", checks.wire.plain_messages),
            ("retransmissions of the edge", checks.wire.retransmissions),
            ("deaths of the dataplane", checks.interruptions.dataplane.into()),
        ]
    }

    fn begins(&mut self) {
        provision(&*self.control.store, &self.plan.devices);
        for (number, action) in self.plan.actions.clone().iter().enumerate() {
            self.at(START_MS + action.at_ms, Event::Action(number));
        }
        for (number, fault) in self.plan.faults.clone().iter().enumerate() {
            self.at(START_MS + fault.at_ms, Event::FaultBegins(number));
        }
        self.at(START_MS + self.plan.storm_ms, Event::Heals);
        self.takes_new_memory();
        self.edge_starts();
        self.control_starts();
    }

    fn happens(&mut self, event: Event) {
        match event {
            Event::Action(number) => self.acts(number),
            Event::FaultBegins(number) => self.fault_begins(number),
            Event::FaultEnds(number) => self.fault_ends(number),
            Event::Device(device) => {
                self.device_turns_ms[device] = None;
                self.devices[device].on_due(self.now_ms);
                self.follows_device(device);
            }
            Event::ToEdge(datagram) => self.arrives_at_edge(datagram),
            Event::ToDevice(peer, bytes) => self.arrives_at_device(peer, bytes),
            Event::EdgeTurn(worker) => self.edge_turn(worker),
            Event::EdgeStarts => self.edge_starts(),
            Event::EdgeDies { keeps_memory } => self.edge_dies(keeps_memory),
            Event::ControlTurn => self.control_turn(),
            Event::ControlStarts => self.control_starts(),
            Event::ControlDies => self.control_dies(),
            Event::Synced(life, count) => self.synced(life, count),
            Event::BrokerConnects(life) => self.broker_connects(life),
            Event::BrokerHas(publish) => self.broker_has(&publish),
            Event::BrokerConfirms(life, publish) => self.broker_confirms(life, &publish),
            Event::Answers { token, device, serial } => self.answers(token, device, serial),
            Event::Stranger { until_ms, every_ms } => self.stranger_sends(until_ms, every_ms),
            Event::Heals => self.heals(),
            Event::LastWords => self.last_words(),
            Event::LastWord(device) => self.last_word(device),
            Event::Noise => self.makes_noise(),
            Event::Spark(worker) => self.sparks(worker),
            Event::Ends => self.ends(),
        }
    }

    /// Puts an event on the agenda.
    fn at(&mut self, ms: u64, event: Event) {
        self.last_entry += 1;
        self.agenda.insert((ms, self.last_entry), event);
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.at(self.now_ms + ms, event);
    }

    fn unix_ms(&self) -> u64 {
        (UNIX_MS + self.now_ms - START_MS).saturating_add_signed(self.unix_off_s * 1_000)
    }

    fn edge_now(&self) -> Now {
        Now { ms: self.now_ms, unix_ms: self.unix_ms() }
    }
}
