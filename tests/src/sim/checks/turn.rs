//! What did one turn of a worker do with its datagrams? Each has one fate, the fates are the right
//! ones, addresses move for a reason, and strangers cost nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use tidegate_dataplane::fate::{Counters, Fate, Tally};
use tidegate_dataplane::slab::State;
use tidegate_dataplane::worker::Worker;
use tidegate_ring::contract::SessionRef;

use super::{Plain, Wire};
use crate::sim::dataplane::{Datagram, Origin};
use crate::sim::provision::number_of;
use crate::sim::stranger::is_strangers;
use crate::sim::unsecured::Unsecured;

/// What devices' records reached the edge: a replay window of its own.
pub(crate) struct Turn {
    pub(crate) unsecured: Unsecured,
    pub(crate) plain: Plain,
    /// Sessions that the edge opened by itself.
    pub(crate) opened: u64,
    windows: BTreeMap<usize, Window>,
}

#[derive(Default)]
struct Window {
    seen: BTreeSet<u64>,
    /// Of these, what the edge died of before it said that it had them.
    doubted: BTreeSet<u64>,
}

impl Window {
    /// The newest record that the edge has; with or without those that it may not have.
    fn newest(&self, with_doubted: bool) -> Option<u64> {
        let has = |sequence: &&u64| with_doubted || !self.doubted.contains(*sequence);
        self.seen.iter().rev().find(has).copied()
    }
}

/// How far back the edge's window reaches.
const WINDOW: u64 = 64;

/// A worker before its turn.
pub(crate) struct Before {
    counters: Counters,
    peers: BTreeMap<SessionRef, SocketAddr>,
    live: u32,
}

/// What a datagram is to the window.
pub(crate) struct Judged {
    from: SocketAddr,
    /// The session of a whole record that comes for the first time and is not too old.
    fresh: Option<usize>,
    /// The session of one that may have come before: the edge died of it.
    doubted: Option<usize>,
    /// And is newer than all before.
    is_newest: bool,
    origin: Origin,
    speaks: Speaks,
}

/// To which socket it came, and whose word it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaks {
    Dtls,
    /// Plain CoAP, from the address of a device that may speak it.
    Plain(usize),
    /// From anywhere else.
    PlainStranger,
}

impl Judged {
    fn of(datagram: &Datagram, unsecured: &Unsecured) -> Self {
        let Datagram { from, origin, .. } = *datagram;
        let plain = unsecured.who(from).map_or(Speaks::PlainStranger, Speaks::Plain);
        let speaks = if datagram.is_plain { plain } else { Speaks::Dtls };
        Self { from, fresh: None, doubted: None, is_newest: false, origin, speaks }
    }

    /// It is the word of a plain device.
    fn is_plain(&self) -> bool {
        matches!(self.speaks, Speaks::Plain(_))
    }
}

impl Before {
    pub(crate) fn of(worker: &Worker) -> Self {
        Self {
            counters: worker.counters().clone(),
            peers: peers(worker).map(|(session, peer, _)| (session, peer)).collect(),
            live: worker.slab().live(),
        }
    }
}

fn peers(worker: &Worker) -> impl Iterator<Item = (SessionRef, SocketAddr, [u8; 16])> {
    let slab = worker.slab();
    (0..slab.used()).filter(|slot| slab.get(*slot).is_session()).map(|slot| {
        let entry = slab.get(slot);
        (slab.session(slot), entry.peer.address(), entry.device)
    })
}

impl Turn {
    pub(crate) fn new(unsecured: Unsecured) -> Self {
        Self { unsecured, plain: Plain::default(), opened: 0, windows: BTreeMap::new() }
    }

    /// A worker is given these.
    pub(crate) fn judge_all(&mut self, datagrams: &[Datagram]) -> Vec<Judged> {
        datagrams.iter().map(|datagram| self.judge(datagram)).collect()
    }

    /// A worker has dealt with these, and with so many letters of others.
    pub(crate) fn check(
        &mut self,
        wire: &Wire,
        before: &Before,
        worker: &Worker,
        judged: &[Judged],
        letters: u64,
    ) -> Result<(), String> {
        fates(wire, before, worker, judged, letters)?;
        once(before, worker)?;
        self.opened +=
            worker.counters().of(Tally::Connected) - before.counters.of(Tally::Connected);
        let accepted =
            worker.counters().fate(Fate::Accepted) - before.counters.fate(Fate::Accepted);
        let is_good =
            |judged: &&Judged| judged.fresh.or(judged.doubted).is_some() || judged.is_plain();
        if accepted < judged.iter().filter(is_good).count() as u64 {
            // One that comes before its session is up may find no room: it counts when it comes
            // again.
            self.doubt(judged);
        }
        if letters == 0 {
            moves(wire, before, worker, judged)?;
        }
        let only_strangers = judged.iter().all(|judged| is_strangers(judged.from));
        if !judged.is_empty() && letters == 0 && only_strangers {
            let live = worker.slab().live();
            // One for each session that the edge begins by itself.
            let connects =
                worker.counters().of(Tally::Connect) - before.counters.of(Tally::Connect);
            if live > before.live + connects as u32 {
                return Err(format!("strangers took memory: {} slots, now {live}", before.live));
            }
        }
        Ok(())
    }

    /// Whether the edge surely has this record.
    pub(crate) fn knows(&self, origin: Origin) -> bool {
        let Origin::Record(session, sequence) = origin else { return false };
        let has = |window: &Window| {
            window.seen.contains(&sequence) && !window.doubted.contains(&sequence)
        };
        self.windows.get(&session).is_some_and(has)
    }

    fn judge(&mut self, datagram: &Datagram) -> Judged {
        let mut judged = Judged::of(datagram, &self.unsecured);
        match judged.speaks {
            Speaks::Plain(device) => self.plain.on_datagram(device, judged.from),
            Speaks::PlainStranger => self.plain.of_strangers += 1,
            Speaks::Dtls => {}
        }
        if let Origin::Record(session, sequence) = datagram.origin {
            let window = self.windows.entry(session).or_default();
            let is_inside =
                |newest: Option<u64>| newest.is_none_or(|newest| sequence + WINDOW > newest);
            let (surely, perhaps) = (window.newest(false), window.newest(true));
            judged.is_newest = surely.is_none_or(|newest| sequence > newest);
            let is_new = window.seen.insert(sequence);
            if is_new && is_inside(perhaps) {
                judged.fresh = Some(session);
            } else if is_inside(surely) && (is_new || window.doubted.remove(&sequence)) {
                judged.doubted = Some(session);
            }
        }
        judged
    }

    /// The edge died while it had these: it may have dealt with them or not.
    pub(crate) fn doubt(&mut self, judged: &[Judged]) {
        for judged in judged {
            if let Origin::Record(session, sequence) = judged.origin
                && judged.fresh.or(judged.doubted).is_some()
            {
                self.windows.entry(session).or_default().doubted.insert(sequence);
            }
        }
    }

    /// The sessions that a worker goes on with have keys.
    pub(crate) fn all_whole(worker: &Worker) -> Result<(), String> {
        let slab = worker.slab();
        let is_half = |slot: &u32| {
            let entry = slab.get(*slot);
            entry.state() == State::Established && entry.dtls.suite().is_none()
        };
        match (0..slab.used()).find(is_half) {
            Some(slot) => Err(format!("slot {slot} is a session without keys")),
            None => Ok(()),
        }
    }
}

/// A session begins once and ends once: what is counted is what there is.
fn once(before: &Before, worker: &Worker) -> Result<(), String> {
    let count = |tally| worker.counters().of(tally) - before.counters.of(tally);
    let (began, ended) = (count(Tally::SessionUp), count(Tally::SessionDown));
    let (was, is) = (before.peers.len() as u64, peers(worker).count() as u64);
    if was + began != is + ended {
        return Err(format!("{was} sessions, {began} began and {ended} ended: now {is}"));
    }
    Ok(())
}

/// Nothing fresh is taken for a replay, and nothing but what is fresh is accepted.
fn fates(
    wire: &Wire,
    before: &Before,
    worker: &Worker,
    judged: &[Judged],
    letters: u64,
) -> Result<(), String> {
    let count = |fate| worker.counters().fate(fate) - before.counters.fate(fate);
    let fresh = judged.iter().filter(|judged| judged.fresh.is_some()).count() as u64;
    let of_handshakes =
        judged.iter().filter(|judged| judged.origin == Origin::Handshake).count() as u64;
    // Without a Connection ID whoever has the address now is asked.
    let is_found = |judged: &&Judged| judged.fresh.is_some_and(|session| wire.has_cid(session));
    let found = judged.iter().filter(is_found).count() as u64;
    let replayed = count(Fate::Replayed);
    if replayed > judged.len() as u64 - found + letters {
        return Err(format!(
            "{replayed} datagrams called replayed, {fresh} of {} were not",
            judged.len()
        ));
    }
    let accepted = count(Fate::Accepted);
    // A record that came to another worker before, which did not know its session, is good here.
    let is_nameless = |judged: &&Judged| {
        let Origin::Record(session, _) = judged.origin else { return false };
        judged.fresh.is_none() && !wire.has_cid(session)
    };
    let nameless = judged.iter().filter(is_nameless).count() as u64;
    let doubted = judged.iter().filter(|judged| judged.doubted.is_some()).count() as u64;
    // Without security whatever comes from a device's address is its word.
    let plain = judged.iter().filter(|judged| judged.is_plain()).count() as u64;
    let strangers = judged.iter().filter(|judged| judged.speaks == Speaks::PlainStranger);
    let (strangers, refused) = (strangers.count() as u64, count(Fate::NoSecStranger));
    if refused < strangers || refused > strangers + plain {
        return Err(format!("{strangers} strangers spoke plainly, {refused} were called so"));
    }
    // A repeated last flight of a handshake is a record too.
    if accepted > fresh + doubted + nameless + of_handshakes + plain + letters {
        return Err(format!("{accepted} datagrams accepted, {fresh} were good"));
    }
    let total = worker.counters().datagrams() - before.counters.datagrams();
    if total != judged.len() as u64 + letters {
        return Err(format!("{} datagrams have {total} fates", judged.len() as u64 + letters));
    }
    Ok(())
}

/// An address moves to where a newer authentic record came from, and nowhere else.
fn moves(wire: &Wire, before: &Before, worker: &Worker, judged: &[Judged]) -> Result<(), String> {
    for (session, peer, device) in peers(worker) {
        let Some(was) = before.peers.get(&session).filter(|was| **was != peer) else { continue };
        let device = number_of(device);
        let has_reason = judged.iter().any(|judged| {
            let is_good = |session| {
                Some(wire.device(session)) == device
                    && (judged.is_newest || wire.has_return_routability(session))
            };
            // The last flight of a handshake may come again from elsewhere.
            let is_flight = judged.origin == Origin::Handshake;
            let session = judged.fresh.or(judged.doubted);
            judged.from == peer && (is_flight || session.is_some_and(is_good))
        });
        if !has_reason {
            return Err(format!("the session of device {device:?} moved from {was} to {peer}"));
        }
    }
    Ok(())
}
