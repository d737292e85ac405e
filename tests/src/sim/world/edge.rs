//! What happens at the edge? Datagrams in, turns of the workers, datagrams out, deaths and starts.

use tidegate_dataplane::bounds::{BATCH_MAX, OUTBOX_SLOTS};
use tidegate_dataplane::net::batch::{Batch, Datagram as Received};
use tidegate_faults::Point;

use super::super::checks::{Before, Turn};
use super::super::dataplane::{Datagram, Origin};
use super::super::stranger::speaks;
use super::super::unsecured::{is_plain, peer};
use super::{Event, World};

impl World {
    /// The dataplane has no memory of an earlier life.
    pub(super) fn takes_new_memory(&mut self) {
        self.checks.states.on_memory_lost();
        let others = self.dataplane.lies_down(self.plan.workers);
        let gone = self.control.replaces_rings(others);
        if let Some(core) = &mut self.control.core {
            for link in gone {
                core.on_detached(link);
            }
        }
    }

    pub(super) fn edge_starts(&mut self) {
        if self.dataplane.is_alive() {
            return;
        }
        self.note("the dataplane starts", 0, &[]);
        self.dataplane.starts(self.edge_now());
        for seat in &self.dataplane.seats {
            let held = seat.worker.as_ref().map_or(Ok(()), Turn::all_whole);
            self.checks.blame(held);
        }
        for worker in 0..self.dataplane.seats.len() {
            self.wake_edge(worker, self.now_ms);
        }
        self.wake_control();
    }

    pub(super) fn edge_dies(&mut self, keeps_memory: bool) {
        if !self.dataplane.is_alive() {
            return;
        }
        self.note("the dataplane dies", usize::from(keeps_memory), &[]);
        self.checks.interruptions.dataplane += 1;
        self.dataplane.dies();
        if !keeps_memory {
            self.takes_new_memory();
        }
    }

    pub(super) fn arrives_at_edge(&mut self, datagram: Datagram) {
        if !self.dataplane.is_alive() {
            return;
        }
        let worker = self.dataplane.lands_on(&datagram);
        if let Origin::Plain(number) = datagram.origin
            && let Some(place) = self.place(number)
        {
            self.devices[place].arrived += u32::from(speaks(&datagram.bytes));
        }
        self.trace.note(self.now_ms, "arrives at", worker, &datagram.bytes);
        self.dataplane.seats[worker].inbox.push_back(datagram);
        let soon_ms = self.now_ms + self.dataplane.wakes_in_ms();
        self.wake_edge(worker, soon_ms);
    }

    /// The worker has a turn then, or before.
    pub(super) fn wake_edge(&mut self, worker: usize, at_ms: u64) {
        let seat = &mut self.dataplane.seats[worker];
        let is_earlier = seat.turn_ms.is_none_or(|turn_ms| at_ms < turn_ms);
        if seat.worker.is_some() && is_earlier {
            seat.turn_ms = Some(at_ms);
            self.at(at_ms, Event::EdgeTurn(worker));
        }
    }

    /// One turn, in the order of the dataplane's shell.
    pub(super) fn edge_turn(&mut self, index: usize) {
        let now = self.edge_now();
        let seat = &mut self.dataplane.seats[index];
        if seat.turn_ms.is_none_or(|turn_ms| turn_ms > self.now_ms) {
            return;
        }
        seat.turn_ms = None;
        let Some(worker) = &mut seat.worker else { return };
        let committed = worker.up().committed();
        let taken = seat.inbox.len().min(BATCH_MAX);
        let mut datagrams: Vec<Datagram> = seat.inbox.drain(..taken).collect();
        let judged = self.turns.judge_all(&datagrams);
        let before = Before::of(worker);
        seat.received += taken as u64;

        let done = self.dataplane.lives(index, |worker, down, outbox| {
            worker.on_entries(now, down, outbox).expect("our own ring");
            let mut batch = Batch::new();
            for datagram in &mut datagrams {
                let peer = peer(datagram.from, datagram.is_plain);
                batch.push(Received { peer, bytes: &mut datagram.bytes, truncated: false });
            }
            worker.on_datagrams(now, &mut batch, outbox);
        });
        if done.is_none() {
            self.turns.doubt(&judged);
            return self.edge_dies(true);
        }
        if self.flush_edge(index) {
            return;
        }
        let letters = self.takes_letters(index);
        let done = letters.and_then(|letters| {
            self.dataplane.seats[index].received += letters;
            self.dataplane.lives(index, |worker, _, outbox| worker.on_due(now, outbox))
        });
        let (Some(letters), Some(())) = (letters, done) else { return self.edge_dies(true) };
        let Some(worker) = &mut self.dataplane.seats[index].worker else { return };
        let held = self.turns.check(&self.checks.wire, &before, worker, &judged, letters);
        self.checks.blame(held);
        let now = self.checks.interruptions;
        match self.turns.plain.on_turn(index, worker, now) {
            Ok(begun) => begun
                .into_iter()
                .for_each(|device| self.checks.uplinks.on_forgotten(device, now.ms)),
            Err(text) => self.checks.blame(Err(text)),
        }
        if self.flush_edge(index) {
            return;
        }
        let has_written = committed != self.committed(index);
        self.after_edge_turn(index, has_written);
    }

    fn committed(&mut self, index: usize) -> tidegate_ring::Seq {
        let worker = self.dataplane.seats[index].worker.as_mut();
        worker.map_or(tidegate_ring::Seq(0), |worker| worker.up().committed())
    }

    /// What other workers have for this one; `None`: the process died of it.
    fn takes_letters(&mut self, index: usize) -> Option<u64> {
        let now = self.edge_now();
        let mut letters = 0;
        while self.dataplane.outbox.room() > OUTBOX_SLOTS / 2
            && let Some(mut letter) = self.dataplane.handover.take(index as u8)
        {
            let is_datagram = matches!(letter, tidegate_dataplane::handover::Letter::Datagram(_));
            letters += u64::from(is_datagram);
            self.dataplane.lives(index, |worker, _, outbox| {
                worker.on_letter(now, &mut letter, outbox);
            })?;
        }
        Some(letters)
    }

    /// Whoever has something to do gets a turn.
    fn after_edge_turn(&mut self, index: usize, has_written: bool) {
        let seat = &mut self.dataplane.seats[index];
        let Some(worker) = &mut seat.worker else { return };
        let posted = worker.take_posted();
        let received = worker.counters().datagrams();
        let mut next_ms = worker.due_ms().map(|due_ms| due_ms.max(self.now_ms));
        if !seat.inbox.is_empty() || seat.down.as_mut().is_some_and(|down| !down.prepare_sleep()) {
            next_ms = Some(self.now_ms);
        }
        if received != seat.received {
            let told = seat.received;
            self.checks.blame(Err(format!("{told} datagrams received, {received} counted")));
        }
        if let Some(next_ms) = next_ms {
            self.wake_edge(index, next_ms);
        }
        for other in (0..self.dataplane.seats.len()).filter(|other| posted >> other & 1 == 1) {
            self.wake_edge(other, self.now_ms);
        }
        if has_written {
            self.wake_control();
        }
    }

    /// Sends what stands in the outbox; true: the dataplane died meanwhile.
    fn flush_edge(&mut self, index: usize) -> bool {
        let sent: Vec<_> = self.dataplane.outbox.datagrams().collect();
        let sent: Vec<_> = sent.into_iter().map(|(peer, bytes)| (peer, bytes.to_vec())).collect();
        self.dataplane.outbox.clear();
        for (peer, bytes) in sent {
            if self.dataplane.dies_at(Point::DatagramLeaves) {
                self.edge_dies(true);
                return true;
            }
            self.trace.note(self.now_ms, "the edge sends", bytes.len(), &bytes);
            let to = self.place_at(&peer);
            let held = if is_plain(&peer) {
                let session = self.dataplane.session_at(index, &peer);
                let device = self.turns.unsecured.who(peer.address());
                self.checks.wire.on_plain(self.now_ms, device, session, &bytes)
            } else {
                self.checks.wire.on_sent(self.now_ms, to, &bytes)
            };
            self.checks.blame(held);
            let Some(place) = to else {
                self.strangers_get(peer.address(), bytes.len());
                continue;
            };
            for arrival in self.network.down(self.now_ms, place, &bytes) {
                if arrival.is_whole || !is_plain(&peer) {
                    self.after(arrival.after_ms, Event::ToDevice(peer, arrival.bytes));
                }
            }
        }
        if self.dataplane.dies_at(Point::TurnSent) {
            self.edge_dies(true);
            return true;
        }
        false
    }
}
