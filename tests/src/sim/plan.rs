//! What is going to happen in a run? Everything that a seed decides beforehand: who is there, what
//! they do when, and what goes wrong. A part that is left out changes nothing of the rest.

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_controlplane::core::ConfirmedBy;
use tidegate_faults::{Doom, Point};
use tidegate_ring::policy::Rate;

use super::seed;

/// One run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Of everything.
    pub seed: u64,
    /// Worker threads of the dataplane.
    pub(crate) workers: u8,
    /// When the faults are over, milliseconds from the start.
    pub(crate) storm_ms: u64,
    /// Bytes of each ring.
    pub(crate) ring_bytes: usize,
    /// What a 2.xx to an uplink means.
    pub(crate) confirmed_by: ConfirmedBy,
    /// How many uplinks of one device are let through.
    pub(crate) device_uplinks: Rate,
    pub(crate) devices: Vec<DevicePlan>,
    pub(crate) faults: Vec<Fault>,
    pub(crate) actions: Vec<Action>,
}

/// One device.
#[derive(Clone, Debug)]
pub(crate) struct DevicePlan {
    /// Its number, which it keeps when others are left out.
    pub(crate) number: usize,
    pub(crate) security: Security,
    /// The edge may open a session to it: where it is at first.
    pub(crate) listens: bool,
    pub(crate) cid: Cid,
    /// It offers the session it had when it comes back.
    pub(crate) resumes: bool,
    /// It answers a challenge at a new address (RFC 9853).
    pub(crate) return_routability: bool,
    /// One way through the network, milliseconds.
    pub(crate) latency_ms: u64,
    /// What it asks to be done has to be said lately ([`FRESH_S`]).
    pub(crate) is_fresh: bool,
    /// SZX of the blocks of its long requests.
    pub(crate) szx: u32,
    /// It speaks Q-Block (RFC 9177).
    pub(crate) is_quick: bool,
}

/// How the edge knows a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Security {
    /// By a pre-shared key, over DTLS.
    Psk,
    /// By the address it sends plain CoAP from; by any port of it, or by one alone.
    Plain { any_port: bool },
}

impl Security {
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Self::Plain { .. })
    }

    fn new(seed: u64, number: usize) -> Self {
        let mut random = seed::stream(seed, "security", number);
        match random.random_range(0..5) {
            0 => Self::Plain { any_port: random.random() },
            _ => Self::Psk,
        }
    }
}

/// The Connection ID a device asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cid {
    /// It knows none.
    Without,
    /// It sends the edge's and wants none.
    Empty,
    /// Of so many bytes.
    Of(usize),
}

/// What somebody does by their own will.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Action {
    pub(crate) at_ms: u64,
    pub(crate) device: usize,
    pub(crate) what: What,
}

/// The deed.
#[derive(Clone, Copy, Debug)]
pub(crate) enum What {
    /// The device sends a request: CoAP method 1–4.
    Uplink { confirmable: bool, method: u8 },
    /// The application sends one to the device.
    Downlink { confirmable: bool, queued: bool },
    /// The application deletes what waits for the device.
    Delete,
    /// What the device asks is allowed from now on, or forbidden.
    Policy { allows: bool },
    /// The device says something that is no request: see [`Odd`].
    Odd(Odd),
    /// The device observes what the edge has for it.
    Watch,
    /// The application sets that anew.
    Value,
    /// The application observes the device's state.
    Observe,
    /// That is another one.
    State,
    /// The right to do without security is taken from a device that does, or given back.
    Security { allows: bool },
}

/// What a device may say that is no request to be served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Odd {
    /// Is anybody there? An empty CON.
    Ping,
    /// Bytes that are no CoAP.
    Noise,
    /// A request with a critical option that nobody knows.
    Critical,
    /// A response that nobody asked for.
    Response,
}

/// What goes wrong, from when on, for how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) at_ms: u64,
    pub(crate) for_ms: u64,
    pub(crate) kind: Kind,
}

/// The fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    /// Of everyone's datagrams, in percent; `jitter_ms` reorders them.
    Weather(Weather),
    /// Nothing goes from a device, or to it.
    Blackhole { device: usize, up: bool, down: bool },
    /// The device's translator gives it another address.
    Rebind { device: usize },
    /// Two devices have each other's address from now on.
    Swap { device: usize, other: usize },
    /// The device gets the address that another one had before.
    Reuse { device: usize, other: usize },
    /// The device starts anew; all it has is its credential, and perhaps the session to resume.
    Reboot { device: usize },
    /// The device hears nothing and says nothing.
    Sleep { device: usize },
    /// The dataplane dies.
    CrashDataplane { doom: Doom, keeps_memory: bool },
    /// The control plane does.
    CrashControlplane { doom: Doom },
    /// The control plane stands still.
    Stall,
    /// It does, and the rings toward it are full.
    FullRings,
    /// Datagrams of more bytes are lost.
    Mtu { bytes: usize },
    /// The time of day jumps, seconds; the other clock does not.
    ClockStep { by_s: i64 },
    /// The store takes so long for each sync, milliseconds.
    SlowStore { sync_ms: u64 },
    /// The store takes nothing.
    FullStore,
    /// The broker is gone.
    BrokerDown,
    /// It takes so long to confirm, milliseconds.
    BrokerSlow { confirm_ms: u64 },
    /// A stranger who hears everything sends `per_s` datagrams.
    Adversary { per_s: u64 },
}

/// What happens to datagrams, percent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Weather {
    pub(crate) lost: u32,
    /// Lost while it rains: bursts of some seconds.
    pub(crate) burst: u32,
    pub(crate) doubled: u32,
    pub(crate) flipped: u32,
    pub(crate) cut: u32,
    pub(crate) jitter_ms: u64,
}

/// What may go wrong in a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Climate {
    /// Nothing: the control of every other run.
    Fair,
    /// Everything.
    Foul,
}

impl Plan {
    /// What `seed` decides.
    pub fn new(seed: u64, climate: Climate) -> Self {
        let mut random = seed::stream(seed, "plan", 0);
        let storm_ms = random.random_range(4..12) * 60_000;
        let count = random.random_range(3..10);
        let devices = (0..count).map(|number| DevicePlan::new(seed, number)).collect();
        let mut plan = Self {
            seed,
            workers: if random.random_range(0..3) == 0 { 2 } else { 1 },
            storm_ms,
            ring_bytes: if random.random_range(0..4) == 0 { 1 << 19 } else { 1 << 20 },
            confirmed_by: confirmed_by(seed),
            device_uplinks: device_uplinks(seed),
            devices,
            faults: Vec::new(),
            actions: Vec::new(),
        };
        for device in 0..count {
            let mut random = seed::stream(seed, "actions", device);
            for _ in 0..random.random_range(5..25) {
                let at_ms = random.random_range(0..storm_ms);
                plan.actions.push(Action { at_ms, device, what: what(&mut random) });
            }
            if plan.devices[device].security.is_plain() {
                plan.changes_sheet(device);
            }
        }
        if climate == Climate::Foul {
            let mut random = seed::stream(seed, "faults", 0);
            for number in 0..random.random_range(3..22) {
                let mut random = seed::stream(seed, "fault", number);
                plan.faults.push(Fault::new(&mut random, storm_ms, count));
            }
            if plan.confirmed_by == ConfirmedBy::Ring {
                // What that promises is with the rings.
                plan.faults.iter_mut().for_each(Fault::keep_memory);
            }
        }
        plan.actions.sort_by_key(|action| action.at_ms);
        plan.faults.sort_by_key(|fault| fault.at_ms);
        plan
    }
}

impl Plan {
    /// Now and then a plain device may not be one for a while.
    fn changes_sheet(&mut self, device: usize) {
        let mut random = seed::stream(self.seed, "sheet", device);
        for _ in 0..random.random_range(0..3) {
            for allows in [false, true] {
                let at_ms = random.random_range(0..self.storm_ms);
                self.actions.push(Action { at_ms, device, what: What::Security { allows } });
            }
        }
    }
}

impl DevicePlan {
    fn new(seed: u64, number: usize) -> Self {
        let mut random = seed::stream(seed, "device", number);
        let cid = match random.random_range(0..5) {
            0 => Cid::Without,
            1 => Cid::Empty,
            _ => Cid::Of(random.random_range(1..9)),
        };
        Self {
            number,
            security: Security::new(seed, number),
            listens: listens(seed, number),
            cid,
            resumes: random.random(),
            return_routability: random.random(),
            latency_ms: random.random_range(2..250),
            is_fresh: is_fresh(seed, number),
            szx: random.random_range(3..6),
            is_quick: !Security::new(seed, number).is_plain()
                && seed::stream(seed, "quick", number).random_range(0..3) == 0,
        }
    }
}

fn what(random: &mut StdRng) -> What {
    match random.random_range(0..32) {
        0..=11 => {
            let method = [3, 3, 3, 4, 1, 2][random.random_range(0..6)];
            What::Uplink { confirmable: random.random_range(0..4) > 0, method }
        }
        12..=18 => What::Downlink {
            confirmable: random.random_range(0..4) > 0,
            queued: random.random_range(0..3) > 0,
        },
        19 => What::Delete,
        20 | 21 => What::Watch,
        22..=24 => What::Value,
        26 => What::Observe,
        27..=30 => What::State,
        25 => {
            let all = [Odd::Ping, Odd::Noise, Odd::Critical, Odd::Response];
            What::Odd(all[random.random_range(0..all.len())])
        }
        _ => What::Policy { allows: random.random() },
    }
}

/// One in three of those with security.
fn listens(seed: u64, number: usize) -> bool {
    let is_drawn = seed::stream(seed, "listens", number).random_range(0..3) == 0;
    is_drawn && !Security::new(seed, number).is_plain()
}

/// Half of the plain devices have to show that they speak now (RFC 9175): of others nothing old is
/// taken in any case.
fn is_fresh(seed: u64, number: usize) -> bool {
    Security::new(seed, number).is_plain() && seed::stream(seed, "freshness", number).random()
}

/// How lately, seconds.
pub(crate) const FRESH_S: u32 = 90;

fn confirmed_by(seed: u64) -> ConfirmedBy {
    match seed::stream(seed, "confirmed by", 0).random_range(0..5) {
        0 | 1 => ConfirmedBy::Store,
        2 => ConfirmedBy::Ring,
        _ => ConfirmedBy::Destination,
    }
}

/// In a quarter of the runs two at once, and then one in a quarter of a minute.
fn device_uplinks(seed: u64) -> Rate {
    match seed::stream(seed, "quota", 0).random_range(0..4) {
        0 => Rate { interval_us: 15_000_000, burst: 2 },
        _ => Rate::default(),
    }
}

impl Fault {
    fn keep_memory(&mut self) {
        if let Kind::CrashDataplane { keeps_memory, .. } = &mut self.kind {
            *keeps_memory = true;
        }
    }

    fn new(random: &mut StdRng, storm_ms: u64, devices: usize) -> Self {
        let at_ms = random.random_range(0..storm_ms);
        let longest_ms = (storm_ms - at_ms).min(180_000);
        let for_ms = random.random_range(0..=longest_ms);
        let device = random.random_range(0..devices);
        let other = random.random_range(0..devices);
        let kind = match random.random_range(0..25) {
            0..=3 => Kind::Weather(Weather::new(random)),
            4 => {
                let up = random.random();
                Kind::Blackhole { device, up, down: !up || random.random() }
            }
            5 | 6 => Kind::Rebind { device },
            7 => Kind::Swap { device, other },
            8 => Kind::Reuse { device, other },
            9 => Kind::Reboot { device },
            10 => Kind::Sleep { device },
            11..=13 => Kind::CrashDataplane {
                doom: doom(random, Point::of_workers()),
                keeps_memory: random.random_range(0..4) > 0,
            },
            14..=16 => Kind::CrashControlplane { doom: doom(random, Point::of_core()) },
            17 => Kind::Stall,
            18 => Kind::SlowStore { sync_ms: random.random_range(50..5_000) },
            19 => [Kind::FullStore, Kind::BrokerDown][random.random_range(0..2)],
            20 => Kind::BrokerSlow { confirm_ms: random.random_range(500..15_000) },
            21 => Kind::FullRings,
            22 => Kind::Mtu { bytes: random.random_range(60..700) },
            23 => Kind::ClockStep { by_s: random.random_range(-40_000..40_000) },
            _ => Kind::Adversary { per_s: random.random_range(1..40) },
        };
        Self { at_ms, for_ms, kind }
    }
}

/// After some effects more, or the next time that a process comes to one of these points.
fn doom(random: &mut StdRng, points: &[Point]) -> Doom {
    let after = random.random_range(0..40);
    let at = points[random.random_range(0..points.len())];
    if random.random() { Doom::After(after) } else { Doom::At(at) }
}

impl Weather {
    fn new(random: &mut StdRng) -> Self {
        let mut maybe = |most| if random.random() { random.random_range(0..most) } else { 0 };
        Self {
            lost: maybe(50),
            burst: maybe(100),
            doubled: maybe(40),
            flipped: maybe(25),
            cut: maybe(15),
            jitter_ms: u64::from(maybe(6_000)),
        }
    }
}
