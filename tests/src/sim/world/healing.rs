//! How do faults begin and end, and what must hold once they are over?

use std::net::SocketAddr;

use tidegate_controlplane::core::{Reply, Request};
use tidegate_dataplane::fate::{Counters, Gauge};
use tidegate_dataplane::slab::State;
use tidegate_faults::Doom;

use super::super::dataplane::{Datagram, Origin};
use super::super::plan::{Fault, Kind, Weather};
use super::super::provision::device_id;
use super::super::unsecured::home;
use super::{CALM_MS, Event, HEALING_MS, QUIET_MS, START_MS, World};

/// When a process dies at the latest, after its fault began.
fn dies_within_ms(doom: Doom) -> u64 {
    match doom {
        Doom::After(_) => 5_000,
        Doom::At(_) => 40_000,
    }
}
/// Longest pause of a process, milliseconds.
const DOWN_MS_MAX: u64 = 45_000;
/// A device that waits for its last message speaks this often.
const SPEAKS_EVERY_MS: u64 = 180_000;
/// The application tries to send the last word again after this.
const AGAIN_MS: u64 = 20_000;

impl World {
    pub(super) fn fault_begins(&mut self, number: usize) {
        let Fault { for_ms, kind, .. } = self.plan.faults[number];
        let until_ms = self.now_ms + for_ms;
        self.trace.note(self.now_ms, "fault", number, format!("{kind:?}").as_bytes());
        let down_ms = for_ms.min(DOWN_MS_MAX) + 1;
        match kind {
            Kind::Weather(weather) => self.network.weather = weather,
            Kind::Blackhole { device, up, down } => {
                if let Some(place) = self.place(device) {
                    self.network.block(place, up, down, true);
                }
            }
            Kind::Rebind { device } => self.rebinds(device, number),
            Kind::Swap { device, other } => self.swaps_addresses(device, other),
            Kind::Reuse { device, other } => self.takes_old_address(other, device, number),
            Kind::Reboot { device } => {
                if let Some(place) = self.place(device) {
                    self.devices[place].reboots();
                    self.sessions[place] = None;
                    if self.devices[place].is_plain() {
                        self.checks.downlinks.on_rebooted(device);
                    }
                }
            }
            Kind::Sleep { device } => {
                if let Some(place) = self.place(device) {
                    self.devices[place].asleep_until_ms = until_ms;
                }
            }
            Kind::CrashDataplane { doom, keeps_memory } => {
                self.dataplane.doom = keeps_memory.then_some(doom);
                let at_latest_ms = if keeps_memory { dies_within_ms(doom) } else { 0 };
                self.after(at_latest_ms, Event::EdgeDies { keeps_memory });
                self.after(at_latest_ms + down_ms, Event::EdgeStarts);
            }
            Kind::CrashControlplane { doom } => {
                self.control.doom = Some(doom);
                let at_latest_ms = dies_within_ms(doom);
                self.after(at_latest_ms, Event::ControlDies);
                self.after(at_latest_ms + down_ms, Event::ControlStarts);
            }
            Kind::Stall => self.control.stalls_until_ms = self.now_ms + down_ms,
            Kind::FullRings => {
                self.control.stalls_until_ms = self.now_ms + down_ms;
                self.dataplane.fills_rings();
            }
            Kind::Mtu { bytes } => self.network.mtu = bytes,
            Kind::ClockStep { by_s } => self.unix_off_s += by_s,
            Kind::SlowStore { sync_ms } => self.control.sync_ms = sync_ms,
            Kind::FullStore => self.control.is_full = true,
            Kind::BrokerDown => self.broker_goes(),
            Kind::BrokerSlow { confirm_ms } => self.broker.confirm_ms = confirm_ms,
            Kind::Adversary { per_s } => {
                self.after(1, Event::Stranger { until_ms, every_ms: 1_000 / per_s });
            }
        }
        self.at(until_ms, Event::FaultEnds(number));
    }

    fn swaps_addresses(&mut self, device: usize, other: usize) {
        if let (Some(one), Some(other)) = (self.place(device), self.place(other)) {
            let addresses = (self.devices[one].address, self.devices[other].address);
            if self.may_have(one, addresses.1) && self.may_have(other, addresses.0) {
                self.devices[one].address = addresses.1;
                self.devices[other].address = addresses.0;
            }
        }
    }

    /// `other` gets the address that `device` moves away from.
    fn takes_old_address(&mut self, other: usize, device: usize, number: usize) {
        if let (Some(one), Some(taker)) = (self.place(device), self.place(other))
            && device != other
        {
            let address = self.devices[one].address;
            self.rebinds(device, number);
            if self.may_have(taker, address) {
                self.devices[taker].address = address;
            }
        }
    }

    /// Whether a device may be where another one is taken for.
    fn may_have(&self, place: usize, address: SocketAddr) -> bool {
        self.turns.unsecured.may_have(self.devices[place].number, address)
    }

    fn rebinds(&mut self, device: usize, number: usize) {
        if let Some(place) = self.place(device) {
            let port = 20_000 + number as u16 * 64 + device as u16;
            let moves = self.turns.unsecured.is_any_port(device);
            let ip = if moves { home(device).ip() } else { [172, 16, 0, 1].into() };
            self.devices[place].address = SocketAddr::new(ip, port);
        }
    }

    pub(super) fn fault_ends(&mut self, number: usize) {
        if self.is_healed {
            return;
        }
        match self.plan.faults[number].kind {
            Kind::Weather(_) => self.network.weather = Weather::default(),
            Kind::Blackhole { device, up, down } => {
                if let Some(place) = self.place(device) {
                    self.network.block(place, up, down, false);
                }
            }
            Kind::Sleep { device } => {
                if let Some(place) = self.place(device) {
                    self.devices[place].on_due(self.now_ms);
                    self.follows_device(place);
                }
            }
            Kind::Mtu { .. } => self.network.mtu = usize::MAX,
            Kind::SlowStore { .. } => self.control.sync_ms = 0,
            Kind::FullStore => self.control.is_full = false,
            Kind::BrokerDown => self.broker.is_up = true,
            Kind::BrokerSlow { .. } => self.broker.confirm_ms = 0,
            _ => {}
        }
    }

    /// Nothing goes wrong any more.
    pub(super) fn heals(&mut self) {
        self.note("everything heals", 0, &[]);
        self.is_healed = true;
        self.network.clears();
        self.control.sync_ms = 0;
        self.control.is_full = false;
        self.control.doom = None;
        self.control.stalls_until_ms = self.now_ms;
        self.dataplane.doom = None;
        (self.broker.is_up, self.broker.confirm_ms) = (true, 0);
        self.agenda.retain(|_, event| {
            !matches!(event, Event::EdgeDies { .. } | Event::ControlDies | Event::FaultBegins(_))
        });
        self.edge_starts();
        self.control_starts();
        self.wake_control();
        for place in 0..self.devices.len() {
            let device = &mut self.devices[place];
            device.asleep_until_ms = 0;
            if device.is_plain() && self.turns.unsecured.who(device.address) != Some(device.number)
            {
                // Nobody knows it where it is.
                device.address = home(device.number);
            }
            self.devices[place].on_due(self.now_ms);
            self.follows_device(place);
        }
        self.after(CALM_MS, Event::LastWords);
        self.after(CALM_MS + HEALING_MS, Event::Noise);
        self.after(CALM_MS + HEALING_MS + QUIET_MS, Event::Ends);
    }

    /// Each device asks, and the application has something for it; again as long as that has not
    /// arrived, since what waits in a queue goes when its device shows itself.
    pub(super) fn last_words(&mut self) {
        let held = self.turns.plain.nobody_barred(&self.dataplane.seats);
        self.checks.blame(held);
        let mut is_done = true;
        for place in 0..self.devices.len() {
            let number = self.devices[place].number;
            if !self.checks.uplinks.allows(number) {
                self.sets_policy(number, true);
            }
            if self.turns.plain.is_barred(number) {
                self.sets_security(place, true);
            }
            if !self.has_last_word(number) {
                is_done = false;
                self.sets_value(number);
                self.devices[place].wants_last(self.now_ms);
                self.follows_device(place);
                self.last_word(number);
            }
        }
        if !is_done && self.now_ms < START_MS + self.plan.storm_ms + HEALING_MS {
            self.after(SPEAKS_EVERY_MS, Event::LastWords);
        }
    }

    fn has_last_word(&self, device: usize) -> bool {
        let said = self.application.last_words.get(&device);
        said.is_some_and(|said| self.checks.downlinks.was_seen(said))
    }

    /// The application has one more message for the device.
    pub(super) fn last_word(&mut self, device: usize) {
        let is_accepted = self.application.last_words.contains_key(&device);
        if is_accepted || self.now_ms > START_MS + self.plan.storm_ms + HEALING_MS {
            return;
        }
        self.application_sends('z', device, true, true);
        self.after(AGAIN_MS, Event::LastWord(device));
    }

    /// Every device got through, both ways. Something arrives, so that the workers say once more
    /// what they count.
    pub(super) fn makes_noise(&mut self) {
        for place in 0..self.devices.len() {
            let number = self.devices[place].number;
            if !self.devices[place].is_content() {
                self.checks.blame(Err(format!("device {number} does not get through")));
            }
            if !self.has_last_word(number) {
                self.checks.blame(Err(format!("nothing gets through to device {number}")));
            }
            if !self.checks.values.has_heard(number) {
                self.checks.blame(Err(format!("device {number} observes an old value")));
            }
        }
        // From now on nothing is observed: it would be asked for again now and then.
        for (device, message) in self.checks.downlinks.observing().collect::<Vec<_>>() {
            let (device, message) = (device_id(device), Some(message));
            self.requests(Request::Delete { device, message }, None);
        }
        for worker in 0..self.dataplane.seats.len() {
            self.after(QUIET_MS - 10_000, Event::Spark(worker));
        }
    }

    /// A byte from nowhere.
    pub(super) fn sparks(&mut self, worker: usize) {
        let from = SocketAddr::from(([192, 0, 2, 1], 5_000));
        let (is_plain, origin) = (false, Origin::Stranger);
        let datagram = Datagram { from, is_plain, bytes: vec![0], origin };
        self.dataplane.seats[worker].inbox.push_back(datagram);
        self.wake_edge(worker, self.now_ms);
    }

    /// Nothing is left under way, and every buffer is back.
    pub(super) fn ends(&mut self) {
        self.is_over = true;
        let held = self.checks.downlinks.at_the_end();
        self.checks.blame(held);
        let held = self.checks.uplinks.at_the_end();
        self.checks.blame(held);
        let downlinks = &self.checks.downlinks;
        let held = self
            .checks
            .states
            .at_the_end(|device| downlinks.observing().any(|(of, _)| of == device));
        self.checks.blame(held);
        let held = self.is_drained();
        self.checks.blame(held);
    }

    fn workers_are_drained(&mut self) -> Result<(), String> {
        for (index, seat) in self.dataplane.seats.iter_mut().enumerate() {
            let Some(worker) = &mut seat.worker else { return Err("a worker is missing".into()) };
            let used = worker.up().capacity() - worker.up().free_bytes();
            if used > 0 {
                return Err(format!("{used} bytes of worker {index}'s ring are not released"));
            }
            let slab = worker.slab();
            let reserved = |slot: &u32| slab.get(*slot).state() == State::Reserved;
            let reserved = (0..slab.used()).filter(reserved).count();
            if reserved > 0 {
                return Err(format!("{reserved} slots of worker {index} wait for nothing"));
            }
            let bodies = worker.upload_bytes();
            if bodies > 0 {
                return Err(format!("{bodies} bytes of bodies are left in worker {index}"));
            }
        }
        Ok(())
    }

    fn is_drained(&mut self) -> Result<(), String> {
        let unsaved = self.control.unsynced.len() + self.control.writes.unsaved();
        if !self.broker.is_idle() || unsaved > 0 {
            return Err("publishes or writes are left".to_owned());
        }
        for link in &self.control.links {
            let left = link.window.outstanding();
            if left > 0 || link.window.has_outgoing() {
                return Err(format!("{left} entries of worker {} are not finished", link.worker));
            }
        }
        self.workers_are_drained()?;
        let now = self.control.now(self.now_ms, self.unix_ms());
        let to = self.control.next_request();
        let Some(core) = &mut self.control.core else { return Err("there is no core".into()) };
        core.on_request(now, to, Request::Health);
        let mut effects = Vec::new();
        core.take_effects(&mut effects);
        let health = effects.into_iter().find_map(|effect| match effect {
            tidegate_controlplane::core::Effect::Reply {
                reply: Ok(Reply::Health(health)), ..
            } => Some(health),
            _ => None,
        });
        let health = health.ok_or("the core says nothing of its health")?;
        if health.in_flight > 0 || health.open_messages > 0 || health.malformed > 0 {
            return Err(format!(
                "{} publishes, {} messages open, {} entries malformed",
                health.in_flight, health.open_messages, health.malformed
            ));
        }
        if health.outbox.entries > 0 || health.uplinks_dropped > 0 {
            let (left, dropped) = (health.outbox.entries, health.uplinks_dropped);
            return Err(format!("{left} entries are left in the outbox, {dropped} were dropped"));
        }
        for worker in &health.workers {
            for gauge in [Gauge::Exchanges, Gauge::Downlinks, Gauge::Handshakes] {
                let left = worker.counters.get(Counters::COUNT + gauge as usize);
                if left != Some(&0) {
                    let name = gauge.name();
                    return Err(format!("worker {}: {left:?} {name}", worker.worker));
                }
            }
        }
        Ok(())
    }
}
