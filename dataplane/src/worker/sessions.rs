//! How do sessions end, and what is done for them once a second?

use super::{HOUSEKEEPING_MS, Worker};
use crate::bounds::{EVICTION_SAMPLES, IDLE_SWEEP_SLOTS, RESUMPTION_SWEEP};
use crate::clock::Now;
use crate::fate::{Counters, Gauge, Tally};
use crate::net::batch::Outbox;
use crate::net::stats::Stats;
use crate::slab::State;
use arrayvec::ArrayVec;
use rand::Rng;
use tidegate_dtls::Suite;
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::{self as wire, EndReason};
use tidegate_ring::counters::GAUGES;
use zerocopy::IntoBytes;

/// How the device of a new session was let in.
#[derive(Debug)]
pub(super) struct Admitted<'a> {
    /// What was valid then.
    pub(super) stamp: u64,
    /// What the device claimed to be.
    pub(super) claim: wire::Claim,
    /// The name it claimed, as `contract::Claim` describes it; empty when it was resumed.
    pub(super) name: &'a [u8],
    /// An earlier session was resumed.
    pub(super) resumed: bool,
    /// We opened it.
    pub(super) connected: bool,
}

impl Worker {
    /// Tells the control plane of a new session, leaving `headroom` bytes of the ring free; false
    /// when there was no room.
    pub(super) fn tell_session_up(
        &mut self,
        now: Now,
        slot: u32,
        admitted: &Admitted<'_>,
        headroom: usize,
    ) -> bool {
        let entry = self.slab.get(slot);
        let is_secure = entry.state() == State::Established;
        let up = wire::SessionUp {
            device: entry.device,
            session: self.slab.session(slot).0.into(),
            at_unix_ms: now.unix_ms.into(),
            suite: entry.dtls.suite().filter(|_| is_secure).map_or(0, Suite::code).into(),
            peer_port: entry.peer.port().into(),
            peer_ip: entry.peer.ip_bytes(),
            stamp: admitted.stamp.into(),
            class: entry.class.into(),
            has_cid: (is_secure && entry.dtls.own_cid_len() > 0).into(),
            network: entry.network,
            claim: admitted.claim as u8,
            resumed: admitted.resumed.into(),
            connected: admitted.connected.into(),
        };
        let parts = [up.as_bytes(), admitted.name];
        let is_told = self.up.push(wire::Kind::SessionUp, &parts, headroom).is_ok();
        self.slab.get_mut(slot).told = is_told.into();
        is_told
    }

    /// There was no room to tell of a session: it can't be revoked, nor found, so it ends, and its
    /// device is asked to come again.
    pub(super) fn end_untold(&mut self, now: Now, slot: u32, outbox: &mut Outbox) {
        self.counters.tally(Tally::NoticeLost);
        self.send_record(slot, outbox, |dtls, out| dtls.close_notify(out).ok());
        self.end_session(now, slot, EndReason::Evicted, outbox);
    }

    /// Forgets a session and the downlinks of its line; exchanges notice by their timers. The
    /// device is not told: an alert to a stale address would reach the next device there.
    pub(super) fn end_session(
        &mut self,
        now: Now,
        slot: u32,
        reason: EndReason,
        outbox: &mut Outbox,
    ) {
        self.seal_all(outbox);
        self.forget_session(now, slot, reason);
    }

    /// The same for a session that has nothing to send.
    pub(super) fn forget_session(&mut self, now: Now, slot: u32, reason: EndReason) {
        self.end_downlinks(now, slot);
        self.forget_observations(slot);
        self.end_check(slot);
        self.policies.forget(slot);
        let entry = self.slab.get(slot);
        self.nosec.on_ended(slot, &entry.peer);
        if self.by_peer.get(&entry.peer) == Some(&slot) {
            self.by_peer.remove(&entry.peer);
        }
        if entry.is_connected() && entry.dtls.own_cid_len() == 0 {
            self.handover.unexpect(&entry.peer);
        }
        let down = wire::SessionDown {
            device: entry.device,
            session: self.slab.session(slot).0.into(),
            at_unix_ms: now.unix_ms.into(),
            reason: reason as u8,
        };
        self.notify(wire::Kind::SessionDown, down.as_bytes(), &[]);
        self.slab.release(slot);
        self.counters.tally(Tally::SessionDown);
    }

    /// After a restart: sessions without Connection ID are found by address again, and requests
    /// the last process was working on count as never seen, so that their copies are served.
    pub(super) fn take_over_sessions(&mut self, now: Now) {
        for slot in 0..self.slab.used() {
            let entry = self.slab.get_mut(slot);
            if !entry.is_session() {
                continue;
            }
            entry.dedup.forget_waiting();
            if has(Bug::SequenceStoredRarely) {
                let stored = entry.dtls.write_sequence() & !7;
                entry.dtls.as_mut_bytes()[..8].copy_from_slice(&stored.to_ne_bytes());
            }
            let is_nosec_socket = self.config.is_nosec(entry.peer.socket());
            if entry.told == 0 {
                // The process died between the handshake and the ring.
                self.forget_session(now, slot, EndReason::Broken);
                continue;
            }
            match entry.state() {
                State::NoSec if is_nosec_socket => self.nosec.on_taken_over(slot, entry),
                // The operator took its socket away.
                State::NoSec => self.forget_session(now, slot, EndReason::CredentialDropped),
                _ if entry.dtls.own_cid_len() == 0 => {
                    if entry.is_connected() {
                        self.handover.expect(&entry.peer);
                    }
                    self.by_peer.insert(entry.peer, slot);
                }
                _ => {}
            }
        }
    }

    /// The slab is full: ends the longest idle of a few sessions picked at random. *Why not the
    /// longest idle of all:* that would need a scan or a list through every session.
    pub(super) fn make_room(&mut self, now: Now, outbox: &mut Outbox) -> bool {
        let used = self.slab.used();
        let victim = (0..EVICTION_SAMPLES)
            .map(|_| self.random.random_range(0..used))
            .filter(|slot| self.slab.get(*slot).is_session())
            .min_by_key(|slot| self.slab.get(*slot).last_seen_s);
        if let Some(slot) = victim {
            self.counters.tally(Tally::Evicted);
            self.end_session(now, slot, EndReason::Evicted, outbox);
        }
        victim.is_some()
    }

    /// Once a second.
    pub(super) fn on_housekeeping(&mut self, now: Now, outbox: &mut Outbox) {
        self.wheel.arm(self.timers.housekeeping(), now.ms + HOUSEKEEPING_MS);
        if now.ms >= self.cookies.due_ms() {
            self.cookies.rotate(now.ms, &self.random.random());
        }
        self.sweep_idle(now, outbox);
        self.resumptions.sweep(now.s(), RESUMPTION_SWEEP);
        self.sweep_uploads(now);
        self.finished.sweep(now.ms);
        self.sweep_answers(now);
        let _ = self.up.greet();
        if self.counters != self.counters_told {
            self.tell_counters();
        }
    }

    /// Looks at the next part of the slab for sessions nobody has used for too long.
    fn sweep_idle(&mut self, now: Now, outbox: &mut Outbox) {
        let timeout_s = self.config.sessions.idle_timeout_s;
        let used = self.slab.used();
        if timeout_s == 0 || used == 0 {
            return;
        }
        for _ in 0..IDLE_SWEEP_SLOTS.min(used) {
            let slot = self.sweep_at % used;
            self.sweep_at = (slot + 1) % used;
            let entry = self.slab.get(slot);
            let idle_s = now.s().saturating_sub(entry.last_seen_s);
            if entry.is_session() && idle_s >= timeout_s {
                self.end_session(now, slot, EndReason::Idle, outbox);
            }
        }
    }

    /// What the sockets have lost so far, for the metrics.
    pub fn on_network(&mut self, stats: &Stats) {
        self.counters.set(Tally::KernelDropped, stats.kernel_drops);
        self.counters.set(Tally::StrangersDropped, stats.stranger_drops);
        self.counters.set(Tally::SendRefused, stats.send_errors.total());
    }

    fn tell_counters(&mut self) {
        let mut values = [0; (Counters::COUNT + GAUGES) * 8];
        let gauges =
            Gauge::ALL.iter().map(|gauge| self.gauge(*gauge)).collect::<ArrayVec<_, GAUGES>>();
        let all = self.counters.values().iter().chain(&gauges);
        for (bytes, value) in values.chunks_exact_mut(8).zip(all) {
            bytes.copy_from_slice(&value.to_le_bytes());
        }
        self.counters_told.clone_from(&self.counters);
        let head = wire::Counters { count: ((Counters::COUNT + GAUGES) as u32).into() };
        self.notify(wire::Kind::Counters, head.as_bytes(), &values);
    }

    /// What there is right now.
    fn gauge(&mut self, gauge: Gauge) -> u64 {
        match gauge {
            Gauge::Sessions => self.slab.live().into(),
            Gauge::SessionsMax => self.slab.capacity().into(),
            Gauge::Resumable => self.resumptions.len() as u64,
            Gauge::Handshakes => self.by_peer_handshake.len() as u64,
            Gauge::Exchanges => self.exchanges.len().into(),
            Gauge::Downlinks => self.downlinks.len().into(),
            Gauge::Observations => self.observations.len() as u64,
            Gauge::Uploads => self.uploads.len() as u64,
            Gauge::UploadBytes => self.uploads.memory().0,
            Gauge::UploadBytesMax => self.uploads.memory().1,
            Gauge::RingBacklog => (self.up.ring().capacity() - self.up.free_bytes()) as u64,
            Gauge::RingCapacity => self.up.ring().capacity() as u64,
        }
    }
}
