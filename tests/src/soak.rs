//! Is anything lost when processes are killed under load? Devices count upwards while either
//! process, both, or the broker is killed at random instants; then what was promised to the
//! devices is compared with what a subscriber got.

mod device;
mod subscriber;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use serde_json::{Value, json};
use tidegate_dtls::client::Config;

use crate::edge::{Edge, Options as EdgeOptions, Provisioned};
use crate::mosquitto::Mosquitto;
use crate::wait::patience;
use device::{Shared, SoakDevice};
use subscriber::Subscriber;

/// How hard, how long.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Devices, each with a session of its own.
    pub devices: u32,
    /// Kills.
    pub rounds: u32,
    /// Of everything random here.
    pub seed: u64,
    /// From one promise to a device's next request, on average, milliseconds.
    pub pause_ms: u64,
    /// Of these each round picks one.
    pub victims: &'static [Victim],
}

/// What is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The process with the sessions.
    Dataplane,
    /// The process with the queues.
    Controlplane,
    /// Both at once.
    Both,
    /// Stopped in order, for it keeps nothing over a `kill -9`, and started again.
    Broker,
    /// One process after the other stopped in order, and started from another file.
    Upgrade,
}

/// What `make soak` kills.
pub const VICTIMS: &[Victim] =
    &[Victim::Dataplane, Victim::Controlplane, Victim::Both, Victim::Broker];

/// One kill, and how the edge came back from it.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// What was killed.
    pub victim: Victim,
    /// From the kill to the first promise to any device.
    pub first: Duration,
    /// From the kill until 99 % of the devices had been promised something again.
    pub most: Duration,
    /// Sessions there were, and those of them that had to be made anew by then.
    pub sessions: (u32, u32),
    /// Arrivals of a number beyond its first, by then.
    pub doubled: usize,
}

/// What came of it.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// In order.
    pub rounds: Vec<Round>,
    /// Numbers that were answered 2.04.
    pub promised: usize,
    /// Of these, those that no subscriber got. There must be none.
    pub lost: usize,
    /// Arrivals of a number beyond its first.
    pub doubled: usize,
    /// Arrivals of what no device sent. There must be none.
    pub invented: usize,
    /// Requests that were answered otherwise (5.03): the device knows.
    pub refused: u32,
    /// Sessions that had to be made anew.
    pub lost_sessions: u32,
}

/// Devices, the edge they talk to, and who hears of it.
struct Soak {
    devices: Vec<SoakDevice>,
    shared: Shared,
    started: Instant,
    edge: Edge,
    broker: Mosquitto,
    subscriber: Subscriber,
}

/// Runs a soak; `tell` hears of each round.
///
/// # Panics
/// When the edge does not come back at all.
pub fn run(options: &Options, mut tell: impl FnMut(usize, &Round)) -> Report {
    let mut soak = Soak::start(options);
    let mut report = Report::default();
    for number in 0..options.rounds as usize {
        let wait_ms = soak.shared.random.random_range(0..=2 * options.pause_ms);
        soak.turn_for(Duration::from_millis(wait_ms));
        let victims = options.victims;
        let victim = victims[soak.shared.random.random_range(0..victims.len())];
        let round = soak.round(victim);
        tell(number, &round);
        report.rounds.push(round);
    }
    soak.drain();
    soak.count(&mut report);
    report
}

impl Soak {
    fn start(options: &Options) -> Self {
        let broker = Mosquitto::start_durable();
        let subscriber = Subscriber::start(broker.port(), "soak/#");
        let edge = Edge::with(&EdgeOptions {
            mqtt_url: Some(broker.url()),
            sessions: options.devices.max(1_024),
            handshake: format!(
                "half_open = {0}\nhalf_open_per_source = {0}\n",
                options.devices.max(1)
            ),
            ..EdgeOptions::default()
        });
        let mut shared = Shared {
            edge: SocketAddr::from((Ipv4Addr::LOCALHOST, edge.coap_port)),
            config: Arc::new(Config::default()),
            random: StdRng::seed_from_u64(options.seed),
            pause_ms: options.pause_ms,
        };
        let devices = (0..options.devices).map(|number| {
            let device = edge.provision_as(Provisioned {
                id: String::new(),
                identity: format!("urn:dev:soak:{number:020}"),
                secret: format!("soak-secret-{number:020}"),
                destination: format!("soak-{number}"),
                topic: format!("soak/{number}"),
            });
            let key = String::from_utf8(device.key()).expect("a key that is text");
            SoakDevice::new(&mut shared, number, device.identity, key)
        });
        let devices = devices.collect();
        let mut soak = Self { devices, shared, started: Instant::now(), edge, broker, subscriber };
        soak.turn_until("every device has been promised something", |soak| {
            soak.devices.iter().all(|device| !device.promised.is_empty())
        });
        soak
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn turn(&mut self, sends: bool) {
        for device in &mut self.devices {
            let now_ms = self.started.elapsed().as_millis() as u64;
            if device.is_cut_off(now_ms) {
                device.comes_again(now_ms, &mut self.shared);
            }
            device.turn(now_ms, &mut self.shared, sends);
        }
        std::thread::sleep(TURN);
    }

    fn turn_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.turn(true);
        }
    }

    fn turn_until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let give_up = Instant::now() + 2 * patience();
        while !is_so(self) {
            assert!(Instant::now() < give_up, "gave up waiting: {what}");
            self.turn(true);
        }
    }

    fn round(&mut self, victim: Victim) -> Round {
        let (sessions, lost_before) = (self.devices.len() as u32, self.lost_sessions());
        let doubled_before = self.doubled();
        let killed = Instant::now();
        let killed_ms = self.now_ms();
        if matches!(victim, Victim::Dataplane | Victim::Both) {
            self.edge.kill_dataplane();
        }
        if matches!(victim, Victim::Controlplane | Victim::Both) {
            self.edge.kill_controlplane();
        }
        match victim {
            Victim::Dataplane => self.edge.start_dataplane(),
            Victim::Controlplane => self.edge.start_controlplane(),
            Victim::Both => {
                self.edge.start_dataplane();
                self.edge.start_controlplane();
            }
            Victim::Broker => {
                self.broker.stop_in_order();
                self.turn_for(BROKER_AWAY);
                self.broker.go_on();
            }
            Victim::Upgrade => self.edge.upgrade(),
        }
        let since = |device: &SoakDevice| device.promised_ms.is_some_and(|at| at > killed_ms);
        self.turn_until("a promise after the kill", |soak| soak.devices.iter().any(since));
        let first = killed.elapsed();
        self.turn_until("promises to most devices after the kill", |soak| {
            let served = soak.devices.iter().filter(|device| since(device)).count();
            served * 100 >= soak.devices.len() * 99
        });
        let most = killed.elapsed();
        let sessions = (sessions, self.lost_sessions() - lost_before);
        Round { victim, first, most, sessions, doubled: self.doubled() - doubled_before }
    }

    fn lost_sessions(&self) -> u32 {
        self.devices.iter().map(|device| device.lost_sessions).sum()
    }

    fn doubled(&self) -> usize {
        self.subscriber.arrivals().values().map(|times| *times as usize - 1).sum()
    }

    /// Nothing new is begun; what is under way comes to its end, and what was promised arrives.
    fn drain(&mut self) {
        let give_up = Instant::now() + 2 * patience();
        while !self.devices.iter().all(|device| device.is_idle() && device.is_up()) {
            assert!(Instant::now() < give_up, "gave up waiting: requests under way end");
            self.turn(false);
        }
        // When something was lost this waits for nothing, and the report says so.
        let give_up = Instant::now() + patience();
        while self.missing() > 0 && Instant::now() < give_up {
            std::thread::sleep(TURN);
        }
    }

    fn missing(&self) -> usize {
        let arrivals = self.subscriber.arrivals();
        let promised =
            self.devices.iter().zip(0..).flat_map(|(device, number)| {
                device.promised.iter().map(move |count| (number, *count))
            });
        promised.filter(|promise| !arrivals.contains_key(promise)).count()
    }

    fn count(&self, report: &mut Report) {
        report.lost = self.missing();
        for device in &self.devices {
            report.promised += device.promised.len();
            report.refused += device.refused;
            report.lost_sessions += device.lost_sessions;
        }
        report.doubled = self.doubled();
        let was_sent = |(number, count): &&(u32, u32)| {
            let device = self.devices.get(*number as usize);
            device.is_some_and(|device| *count <= device.count())
        };
        let arrivals = self.subscriber.arrivals();
        report.invented = arrivals.keys().filter(|arrival| !was_sent(arrival)).count();
    }
}

impl Report {
    /// One line for the record of runs: for each victim, how often, and how the edge came back.
    #[must_use]
    pub fn json(&self, options: &Options) -> Value {
        let recovery = options.victims.iter().map(|victim| {
            let of = self.rounds.iter().filter(|round| round.victim == *victim);
            let sessions: u32 = of.clone().map(|round| round.sessions.0).sum();
            let sessions_lost: u32 = of.clone().map(|round| round.sessions.1).sum();
            let doubled: usize = of.clone().map(|round| round.doubled).sum();
            let (mut first, mut most): (Vec<_>, Vec<_>) =
                of.map(|round| (round.first.as_millis(), round.most.as_millis())).unzip();
            first.sort_unstable();
            most.sort_unstable();
            let median = |sorted: &[u128]| sorted.get(sorted.len() / 2).copied();
            json!({
                "victim": format!("{victim:?}").to_lowercase(),
                "rounds": first.len(), "sessions": sessions, "sessions_lost": sessions_lost,
                "doubled": doubled,
                "first_reply_ms": {"median": median(&first), "worst": first.last()},
                "most_devices_ms": {"median": median(&most), "worst": most.last()},
            })
        });
        let recovery: Vec<Value> = recovery.collect();
        json!({
            "devices": options.devices, "seed": options.seed, "rounds": self.rounds.len(),
            "acknowledged": self.promised, "acknowledged_lost": self.lost, "doubled": self.doubled,
            "invented": self.invented, "refused": self.refused,
            "sessions_lost": self.lost_sessions, "recovery": recovery,
        })
    }
}

const TURN: Duration = Duration::from_millis(1);
const BROKER_AWAY: Duration = Duration::from_millis(700);
