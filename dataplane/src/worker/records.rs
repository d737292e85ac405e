//! What happens to a batch of datagrams? Classified, opened together, dealt with one by one.
//!
//! A datagram may hold several records: each round takes the next record of every datagram that
//! has one left, so that independent records are opened in one batch. A record's replay check is
//! made before opening and again when it is committed, so two copies in one round can't both pass.

use super::Worker;
use super::handshakes::is_client_hello;
use crate::bounds::{BATCH_MAX, DATAGRAM_BYTES_MAX, RECORDS_PER_DATAGRAM_MAX};
use crate::clock::Now;
use crate::fate::{Fate, Tally, of_drop};
use crate::handover::{CONNECTOR, Letter};
use crate::net::batch::{Batch, Outbox};
use crate::net::peer::Peer;
use crate::slab::{CID_BYTES, State};
use arrayvec::ArrayVec;
use tidegate_crypto::aead;
use tidegate_dtls::established::{Control, Established, OpenPlan, Opened, on_control};
use tidegate_dtls::record::{ContentType, Record};
use tidegate_faults::{Bug, Point, has, may_die};
use tidegate_ring::contract::EndReason;

/// Where the first record of a datagram leads.
enum Lane {
    /// A session's protected record.
    Session(u32),
    /// A protected record for a handshake that is not complete.
    Reserved(u32),
    /// An unprotected record.
    Handshake,
    /// Another worker's session.
    HandOver(u8),
    /// Nowhere.
    Drop(Fate),
}

/// The next record to look at in one datagram.
#[derive(Clone, Copy)]
struct Work {
    /// Its place in the batch.
    datagram: u16,
    /// Where the record starts, bytes.
    at: u16,
    slot: u32,
}

impl Work {
    fn new(datagram: usize, at: usize, slot: u32) -> Self {
        Self { datagram: datagram as u16, at: at as u16, slot }
    }

    fn datagram(self) -> usize {
        self.datagram.into()
    }
}

/// How each datagram of the batch ended, once known.
type Fates = [Option<Fate>; BATCH_MAX];

impl Worker {
    /// Deals with a batch: the only entrance for datagrams.
    pub fn on_datagrams(&mut self, now: Now, batch: &mut Batch<'_>, outbox: &mut Outbox) {
        self.prefetch(batch);
        let mut fates: Fates = [None; BATCH_MAX];
        let mut work: ArrayVec<Work, BATCH_MAX> = ArrayVec::new();
        for (datagram, received) in batch.iter_mut().enumerate() {
            let (peer, truncated) = (received.peer, received.truncated);
            if truncated {
                fates[datagram] = Some(Fate::Truncated);
            } else if self.config.is_nosec(peer.socket()) {
                fates[datagram] = Some(self.on_nosec(now, peer, received.bytes, outbox));
            } else if let Some(next) =
                self.enter(now, peer, received.bytes, datagram, &mut fates[datagram], outbox)
            {
                work.push(next);
            }
        }
        for _ in 0..RECORDS_PER_DATAGRAM_MAX {
            if work.is_empty() {
                break;
            }
            work = self.round(now, batch, work, &mut fates, outbox);
        }
        self.seal_all(outbox);
        for fate in fates.iter().take(batch.len()) {
            let fate = fate.unwrap_or(Fate::NotDtls);
            if !(has(Bug::FateForgotten) && fate == Fate::UnknownCid) {
                self.counters.end(fate);
            }
        }
    }

    /// Has the slots of a batch brought from memory all at once, not one after the other.
    fn prefetch(&self, batch: &Batch<'_>) {
        for index in 0..batch.len() {
            let bytes = &*batch[index].bytes;
            if bytes.first() == Some(&ContentType::TLS12_CID.0)
                && let Some(cid) = bytes.get(11..).and_then(|from_cid| from_cid.first_chunk())
            {
                self.slab.prefetch(*cid);
            }
        }
    }

    /// A datagram that another worker received, or something it has to tell.
    pub fn on_letter(&mut self, now: Now, letter: &mut Letter, outbox: &mut Outbox) {
        match letter {
            Letter::Datagram(datagram) => {
                let peer = datagram.peer;
                let mut batch = Batch::of_one(peer, datagram.bytes_mut());
                self.handed_over = true;
                self.on_datagrams(now, &mut batch, outbox);
                self.handed_over = false;
            }
            Letter::NotResumable(device) => self.forget_resumable(device),
        }
    }

    /// Posts a letter to another worker; false when it has no room, or there is no such worker.
    pub(super) fn post(&mut self, worker: u8, letter: Letter) -> bool {
        let posted = self.handover.post(worker, letter);
        if posted {
            self.posted |= 1u64.checked_shl(worker.into()).unwrap_or(0);
        }
        posted
    }

    /// Sends a datagram's first record down its lane. Returns the session record to open next.
    fn enter(
        &mut self,
        now: Now,
        peer: Peer,
        bytes: &mut [u8],
        datagram: usize,
        fate: &mut Option<Fate>,
        outbox: &mut Outbox,
    ) -> Option<Work> {
        let (end, consumed) = match self.classify(peer, bytes) {
            Lane::Session(slot) => return Some(Work::new(datagram, 0, slot)),
            Lane::Reserved(slot) => self.on_reserved(now, slot, bytes, outbox),
            Lane::Handshake => self.on_handshake(now, peer, bytes, outbox),
            Lane::HandOver(worker) => (self.hand_over(worker, peer, bytes), bytes.len()),
            Lane::Drop(end) => (end, bytes.len()),
        };
        *fate = Some(end);
        // Application data may ride behind the Finished that made the session.
        let rest = bytes.get(consumed..).filter(|rest| !rest.is_empty())?;
        let is_nobodys = end == Fate::Unprotected;
        match self.classify(peer, rest) {
            Lane::Session(slot) => Some(Work::new(datagram, consumed, slot)),
            // A last flight from a new address: only its Connection ID says whose plaintext it is.
            Lane::Reserved(slot) if is_nobodys => {
                let (end, consumed) = self.on_reserved(now, slot, bytes, outbox);
                *fate = Some(end);
                let rest = bytes.get(consumed..).filter(|rest| !rest.is_empty())?;
                match self.classify(peer, rest) {
                    Lane::Session(slot) => Some(Work::new(datagram, consumed, slot)),
                    _ => None,
                }
            }
            Lane::HandOver(worker) => {
                let part = if is_nobodys { bytes } else { &bytes[consumed..] };
                *fate = Some(self.hand_over(worker, peer, part));
                None
            }
            _ => None,
        }
    }

    fn classify(&self, peer: Peer, bytes: &[u8]) -> Lane {
        let Some(&kind) = bytes.first() else { return Lane::Drop(Fate::Empty) };
        if bytes.len() < tidegate_dtls::record::HEADER_BYTES {
            return Lane::Drop(Fate::NotDtls);
        }
        let epoch = u16::from_be_bytes([bytes[3], bytes[4]]);
        match (ContentType(kind), epoch) {
            (ContentType::TLS12_CID, _) => self.classify_cid(&bytes[11..]),
            (ContentType::HANDSHAKE | ContentType::CHANGE_CIPHER_SPEC | ContentType::ALERT, 0) => {
                let is_ours = self.by_peer_handshake.contains_key(&peer) || is_client_hello(bytes);
                if !is_ours && self.is_for_connector(&peer) {
                    return Lane::HandOver(CONNECTOR);
                }
                Lane::Handshake
            }
            (ContentType::HANDSHAKE, 1..) if self.by_peer_handshake.contains_key(&peer) => {
                // A repeated Finished is the session's, even when a late copy of its ClientHello
                // has begun a handshake that will never go on.
                match self.by_peer.get(&peer) {
                    Some(&slot) if self.opens_on_a_copy(slot, bytes) => Lane::Session(slot),
                    _ => Lane::Handshake,
                }
            }
            (ContentType(20..=23), 1..) => match self.by_peer.get(&peer) {
                Some(&slot) => Lane::Session(slot),
                None if self.connects.find(&peer).is_some() => Lane::Handshake,
                None if self.is_for_connector(&peer) => Lane::HandOver(CONNECTOR),
                None => Lane::Drop(Fate::UnknownPeer),
            },
            (ContentType::APPLICATION_DATA, 0) => Lane::Drop(Fate::Unprotected),
            _ => Lane::Drop(Fate::NotDtls),
        }
    }

    /// Whether a session's keys fit the first record; nothing is changed. For the rare datagram
    /// that could be a session's or a handshake's.
    pub(super) fn opens_on_a_copy(&self, slot: u32, bytes: &[u8]) -> bool {
        let mut copy = [0; DATAGRAM_BYTES_MAX];
        let Some(copy) = copy.get_mut(..bytes.len()) else { return false };
        copy.copy_from_slice(bytes);
        let mut dtls = self.slab.get(slot).dtls;
        let opened = Record::parse(copy, 0, CID_BYTES).and_then(|record| dtls.open(&record, copy));
        dtls.wipe();
        opened.is_ok()
    }

    fn classify_cid(&self, from_cid: &[u8]) -> Lane {
        let Some(cid) = from_cid.get(..CID_BYTES) else { return Lane::Drop(Fate::NotDtls) };
        match self.slab.find(cid) {
            Some(slot) if self.slab.get(slot).state() == State::Reserved => Lane::Reserved(slot),
            Some(slot) => Lane::Session(slot),
            None if cid[0] != self.index && !self.handed_over => Lane::HandOver(cid[0]),
            None => Lane::Drop(Fate::UnknownCid),
        }
    }

    fn hand_over(&mut self, worker: u8, peer: Peer, bytes: &[u8]) -> Fate {
        let letter = Letter::datagram(peer, bytes);
        let posted = letter.is_some_and(|letter| self.post(worker, letter));
        if posted { Fate::HandedOver } else { Fate::HandoverFull }
    }

    /// Opens one record of each datagram and deals with its content. Returns what is left.
    fn round(
        &mut self,
        now: Now,
        batch: &mut Batch<'_>,
        work: ArrayVec<Work, BATCH_MAX>,
        fates: &mut Fates,
        outbox: &mut Outbox,
    ) -> ArrayVec<Work, BATCH_MAX> {
        let mut left: ArrayVec<Work, BATCH_MAX> = ArrayVec::new();
        let mut plans: ArrayVec<(Work, OpenPlan), BATCH_MAX> = ArrayVec::new();
        for item in work {
            let bytes = &*batch[item.datagram()].bytes;
            let record = match Record::parse(bytes, item.at.into(), CID_BYTES) {
                Ok(record) => record,
                Err(reason) => {
                    settle(&mut fates[item.datagram()], of_drop(reason));
                    continue;
                }
            };
            if record.end() < bytes.len() {
                left.push(Work { at: record.end() as u16, ..item });
            }
            match self.slab.get(item.slot).dtls.plan_open(&record) {
                Ok(plan) => plans.push((item, plan)),
                Err(reason) => {
                    if reason == tidegate_dtls::Drop::Closed {
                        // Too many records failed to authenticate: the keys are given up.
                        self.end_session(now, item.slot, EndReason::Broken, outbox);
                    }
                    settle(&mut fates[item.datagram()], of_drop(reason));
                }
            }
        }
        let verified = self.open(batch, &plans);
        for (index, (item, plan)) in plans.iter().enumerate() {
            let received = &batch[item.datagram()];
            let authentic = verified >> index & 1 == 1;
            let entry = self.slab.get_mut(item.slot);
            let end = match entry.dtls.finish_open(plan, authentic, received.bytes) {
                Ok(opened) => {
                    may_die(Point::RecordAccepted);
                    self.on_opened(now, item.slot, received.peer, &opened, received.bytes, outbox)
                }
                Err(reason) => of_drop(reason),
            };
            settle(&mut fates[item.datagram()], end);
        }
        left
    }

    /// Opens all planned records at once; bit `n` of the answer: the `n`th is authentic.
    fn open(&self, batch: &mut Batch<'_>, plans: &ArrayVec<(Work, OpenPlan), BATCH_MAX>) -> u64 {
        let mut jobs: ArrayVec<aead::Job<'_>, BATCH_MAX> = ArrayVec::new();
        let mut next = plans.iter().peekable();
        for (datagram, received) in batch.iter_mut().enumerate() {
            // Plans are in the order of the datagrams, at most one for each.
            if let Some((item, plan)) = next.next_if(|(item, _)| item.datagram() == datagram) {
                jobs.push(self.slab.get(item.slot).dtls.open_job(plan, received.bytes));
            }
        }
        debug_assert_eq!(jobs.len(), plans.len());
        aead::open(&mut jobs);
        jobs.iter().enumerate().fold(0, |bits, (index, job)| bits | u64::from(job.done) << index)
    }

    /// Records that came before their session was established, kept by its handshake meanwhile.
    pub(super) fn on_held(
        &mut self,
        now: Now,
        slot: u32,
        peer: Peer,
        held: &mut [u8],
        outbox: &mut Outbox,
    ) {
        let mut at = 0;
        while let Ok(record) = Record::parse(held, at, CID_BYTES) {
            at = record.end();
            if let Ok(opened) = self.slab.get_mut(slot).dtls.open(&record, held) {
                self.on_opened(now, slot, peer, &opened, held, outbox);
            }
        }
    }

    /// An authentic record: moves the address when it is the newest, then looks at the content.
    fn on_opened(
        &mut self,
        now: Now,
        slot: u32,
        peer: Peer,
        opened: &Opened,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) -> Fate {
        let entry = self.slab.get_mut(slot);
        entry.last_seen_s = now.s();
        let content = &bytes[opened.content.clone()];
        self.on_path(now, slot, peer, opened.is_newest, content.len(), outbox);
        if opened.content_type == ContentType::APPLICATION_DATA {
            self.on_message(now, slot, content, outbox);
            return Fate::Accepted;
        }
        match on_control(opened.content_type, content) {
            Control::CloseNotify => {
                self.send_record(slot, outbox, |dtls, out| dtls.close_notify(out).ok());
                self.end_session(now, slot, EndReason::Closed, outbox);
            }
            Control::FatalAlert(_) => {
                self.invalidate(slot);
                self.end_session(now, slot, EndReason::Broken, outbox);
            }
            Control::FinishedAgain => {
                self.counters.tally(Tally::FinishedRepeated);
                self.send_record(slot, outbox, Established::last_flight_again);
            }
            Control::Renegotiation => {
                self.send_record(slot, outbox, |dtls, out| dtls.no_renegotiation(out).ok());
            }
            Control::Path(message) => self.on_path_message(now, slot, peer, message, outbox),
            Control::Ignored(reason) => return of_drop(reason),
        }
        Fate::Accepted
    }
}

/// Keeps the fate of the first accepted record, or else of the first record.
fn settle(fate: &mut Option<Fate>, end: Fate) {
    let keeps = matches!(fate, Some(Fate::Accepted | Fate::Handshake));
    if fate.is_none() || (!keeps && end == Fate::Accepted) {
        *fate = Some(end);
    }
}
