//! How does a stranger become a session? Half-open handshakes, and the doors they pass.
//!
//! ```text
//! ClientHello ── greet ──▶ HelloVerifyRequest                      (no state)
//! ClientHello + cookie ──▶ slot reserved, handshake begins         (bounded by `half_open`)
//! ClientKeyExchange, or the
//! proof of a certificate ▶ credential: remembered, or asked of the control plane meanwhile
//! Finished ──────────────▶ slot established, SessionUp on the ring
//! ```

use super::Worker;
use super::credentials::{Credential, Name, Owner, certificate_name};
use super::notices::{empty_notice, mishap};
use super::resume::Resumption;
use super::sessions::Admitted;
use crate::bounds::HANDSHAKE_LIFETIME_MS;
use crate::clock::Now;
use crate::fate::{Fate, Tally, of_drop, of_failure};
use crate::net::batch::Outbox;
use crate::net::peer::Peer;
use crate::pool::Key;
use crate::slab::{CID_BYTES, State};
use rand::Rng;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::record::protected_part;
use tidegate_dtls::server::{self, Answer, Event, Greeting, Handshake, Randoms};
use tidegate_faults::{Point, may_die};
use tidegate_ring::contract::{self as wire, Mishap};
use zerocopy::IntoBytes;
use zeroize::Zeroize;

/// One handshake in progress.
#[derive(Debug)]
pub(super) struct HalfOpen {
    dtls: Handshake,
    /// Reserved for it; its Connection ID names this slot.
    slot: u32,
    peer: Peer,
    began_ms: u64,
    /// What the client claims to be, once it has and unless nobody is that.
    name: Option<Name>,
    /// Whose that is, once the control plane has said so.
    owner: Option<Owner>,
    /// What it may resume, and what may be resumed after it.
    resumption: Resumption,
}

impl Worker {
    /// A datagram of unprotected records: the beginning or the middle of a handshake. Returns how
    /// it ended and how many bytes the handshake consumed; what follows belongs to the session.
    pub(super) fn on_handshake(
        &mut self,
        now: Now,
        peer: Peer,
        datagram: &mut [u8],
        outbox: &mut Outbox,
    ) -> (Fate, usize) {
        if is_client_hello(datagram) {
            let Some(index) = outbox.begin(peer) else {
                self.counters.tally(Tally::OutboxFull);
                return (Fate::HelloVerified, datagram.len());
            };
            let out = outbox.buffer_mut(index);
            match server::greet(&self.cookies, now.ms, peer.as_bytes(), datagram, out) {
                Greeting::Verify(bytes) => {
                    outbox.commit(index, bytes);
                    return (Fate::HelloVerified, datagram.len());
                }
                Greeting::Proven => return self.on_proven_hello(now, peer, datagram, outbox),
                Greeting::Drop(reason) if !self.by_peer_handshake.contains_key(&peer) => {
                    return (of_drop(reason), datagram.len());
                }
                Greeting::Drop(_) => {}
            }
        }
        if let Some(number) = self.connects.find(&peer)
            && !self.by_peer_handshake.contains_key(&peer)
        {
            return self.feed_connect(now, number, Some(peer), datagram, outbox);
        }
        // A client that did not hear our last flight repeats its own: the unprotected part of that
        // is void by then, and its Finished is the session's.
        let protected_at = protected_part(datagram, CID_BYTES).unwrap_or(datagram.len());
        match (self.by_peer_handshake.get(&peer), self.by_peer.get(&peer)) {
            (Some(_), Some(&slot)) if self.opens_on_a_copy(slot, &datagram[protected_at..]) => {
                (Fate::Unprotected, protected_at)
            }
            (Some(&number), _) => self.feed(now, number, datagram, outbox),
            (None, _) => (Fate::Unprotected, protected_at),
        }
    }

    /// A ClientHello with a valid cookie: a repetition of one under way, or a new handshake, which
    /// replaces one this peer began and did not finish (RFC 6347 section 4.2.8).
    fn on_proven_hello(
        &mut self,
        now: Now,
        peer: Peer,
        datagram: &mut [u8],
        outbox: &mut Outbox,
    ) -> (Fate, usize) {
        if let Some(&number) = self.by_peer_handshake.get(&peer) {
            let known = self.handshakes.get(number).expect("the table names live handshakes");
            if !known.dtls.is_stranger(datagram) {
                return self.feed(now, number, datagram, outbox);
            }
            self.abandon(number);
        }
        if !self.quota.allows(&peer) {
            return (Fate::SourceLimit, datagram.len());
        }
        let (tag, nonce) = (self.random.random(), self.random.random());
        if self.handshakes.is_full() || (self.slab.is_full() && !self.make_room(now, outbox)) {
            return (Fate::NoRoom, datagram.len());
        }
        let slot = self.slab.reserve(peer, tag, now.s()).expect("there is room for one more");
        let cid = self.slab.cid(slot);
        let own_cid: &[u8] = if self.config.handshake.connection_id { &cid } else { &[] };
        let resumption =
            self.begin_resumption(now, server::session_id(datagram).unwrap_or_default());
        // At once: an array that is drawn by itself takes four bytes for each of its own.
        let mut drawn = [0; 32 + 32 + 48];
        self.random.fill(&mut drawn);
        let (random, secrets) = drawn.split_first_chunk().expect("it is longer");
        let (fake_key, seed) = secrets.split_first_chunk().expect("it is longer");
        let randoms = Randoms {
            random: *random,
            fake_key: *fake_key,
            ephemeral_seed: *seed.first_chunk().expect("it is as long"),
            session_id: resumption.new_id(),
        };
        drawn.zeroize();
        let unix_s = now.unix_ms / 1_000;
        let resumable = resumption.resumable();
        let dtls = Handshake::new(&self.dtls_config, now.ms, unix_s, own_cid, &randoms, resumable);
        let began_ms = now.ms;
        let half_open =
            HalfOpen { dtls, slot, peer, began_ms, name: None, owner: None, resumption };
        let half_open = Box::new(half_open);
        let key = self.handshakes.insert(nonce, half_open).expect("checked for room above");
        self.by_peer_handshake.insert(peer, key.number);
        self.quota.take(&peer);
        self.feed(now, key.number, datagram, outbox)
    }

    /// A protected record for a slot whose handshake is not complete: its Finished.
    pub(super) fn on_reserved(
        &mut self,
        now: Now,
        slot: u32,
        datagram: &mut [u8],
        outbox: &mut Outbox,
    ) -> (Fate, usize) {
        let peer = self.slab.get(slot).peer;
        if let Some(number) = self.connects.of_slot(slot, &peer) {
            return self.feed_connect(now, number, None, datagram, outbox);
        }
        match self.by_peer_handshake.get(&peer) {
            Some(&number) if self.handshakes.get(number).is_some_and(|h| h.slot == slot) => {
                self.feed(now, number, datagram, outbox)
            }
            _ => (Fate::UnknownCid, datagram.len()),
        }
    }

    fn feed(
        &mut self,
        now: Now,
        number: u32,
        datagram: &mut [u8],
        outbox: &mut Outbox,
    ) -> (Fate, usize) {
        let half_open = self.handshakes.get_mut(number).expect("the caller found it");
        // What was held since the last datagram may have been dropped meanwhile: not this one's.
        half_open.dtls.take_drop();
        let consumed = half_open.dtls.on_datagram(now.ms, datagram);
        let fate = half_open.dtls.take_drop().map_or(Fate::Handshake, of_drop);
        self.pump(now, number, outbox);
        (fate, consumed)
    }

    /// Does what the handshake wants done: events, then datagrams, then its timer.
    pub(super) fn pump(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let mut established = None;
        while let Some(event) = self.handshakes.get_mut(number).and_then(|h| h.dtls.poll_event()) {
            match event {
                Event::CredentialWanted => self.on_credential_wanted(now, number),
                Event::Established(session) => established = Some(session),
                Event::Failed(failure) => {
                    self.transmit(number, outbox);
                    return self.fail(now, number, of_failure(failure), mishap(failure));
                }
            }
        }
        self.transmit(number, outbox);
        if let Some(session) = established {
            self.on_established(now, number, session, outbox);
        } else if let Some(half_open) = self.handshakes.get(number) {
            let over_ms = half_open.began_ms + HANDSHAKE_LIFETIME_MS;
            let due_ms = half_open.dtls.due_ms().map_or(over_ms, |due| due.min(over_ms));
            self.wheel.arm(number, due_ms);
        }
    }

    /// A handshake's timer: repeat a flight, or give up.
    pub(super) fn on_handshake_due(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(half_open) = self.handshakes.get_mut(number) else { return };
        if now.ms >= half_open.began_ms + HANDSHAKE_LIFETIME_MS {
            return self.fail(now, number, Tally::HandshakeTimeout, Mishap::Timeout);
        }
        half_open.dtls.on_due(now.ms);
        self.pump(now, number, outbox);
    }

    fn transmit(&mut self, number: u32, outbox: &mut Outbox) {
        let Some(half_open) = self.handshakes.get_mut(number) else { return };
        while let Some(index) = outbox.begin(half_open.peer) {
            match half_open.dtls.poll_transmit(outbox.buffer_mut(index)) {
                Some(bytes) => outbox.commit(index, bytes),
                None => return,
            }
        }
        // What did not fit is sent again by the flight's timer.
        self.counters.tally(Tally::OutboxFull);
    }

    fn on_credential_wanted(&mut self, now: Now, number: u32) {
        let key = self.handshakes.key(number);
        let half_open = self.handshakes.get_mut(number).expect("it just asked");
        let Some(name) = half_open.dtls.claim().and_then(Name::of) else {
            // Nobody could have been provisioned by that.
            return half_open.dtls.on_credential(now.ms, Answer::Unknown);
        };
        if let Some(credential) = self.credentials.recall(&name, now.s()) {
            (half_open.name, half_open.owner) = (Some(name), Some(credential.owner));
            half_open.dtls.on_credential(now.ms, credential.answer());
            self.counters.tally(Tally::CredentialRemembered);
            return;
        }
        let request =
            wire::CredentialWanted { request: key.to_wire().into(), claim: name.claim as u8 };
        let parts = [request.as_bytes(), &name.bytes];
        if self.up.push(wire::Kind::CredentialWanted, &parts, 0).is_ok() {
            half_open.name = Some(name);
            self.counters.tally(Tally::CredentialWanted);
        } else {
            // The control plane has stood still for a whole ring: the device tries again.
            self.counters.tally(Tally::NoticeLost);
            self.fail(now, number, Tally::HandshakeUnavailable, Mishap::Unavailable);
        }
    }

    /// The control plane's answer to [`Self::on_credential_wanted`].
    pub(super) fn on_credential(
        &mut self,
        now: Now,
        answer: &wire::Credential,
        key: &[u8],
        outbox: &mut Outbox,
    ) {
        let Some(number) = self.handshakes.resolve(Key::from_wire(answer.request.get())) else {
            return;
        };
        let half_open = self.handshakes.get_mut(number).expect("the key resolved");
        // An answer to nothing that was asked, or another answer.
        let Some(name) = half_open.name.as_ref().filter(|_| half_open.owner.is_none()) else {
            return self.counters.tally(Tally::EntryRefused);
        };
        match wire::Verdict::from_wire(answer.verdict) {
            // A pre-shared key comes with its identity, and with nothing else.
            Some(wire::Verdict::Known)
                if name.is_psk() != key.is_empty()
                    && wire::Network::from_wire(answer.network).is_some() =>
            {
                let (device, network) = (answer.device, answer.network);
                let (stamp, class) = (answer.stamp.get(), answer.class.get());
                let owner = Owner { device, network, stamp, class };
                let key = name.is_psk().then(|| Secret::new(key));
                let credential = Credential { owner, key, at_s: now.s() };
                half_open.dtls.on_credential(now.ms, credential.answer());
                half_open.owner = Some(owner);
                self.credentials.remember(name, credential);
            }
            Some(wire::Verdict::Unknown) => {
                half_open.name = None;
                half_open.dtls.on_credential(now.ms, Answer::Unknown);
            }
            Some(wire::Verdict::Unavailable) => {
                return self.fail(now, number, Tally::HandshakeUnavailable, Mishap::Unavailable);
            }
            _ => {
                self.counters.tally(Tally::EntryRefused);
                return self.fail(now, number, Tally::HandshakeUnavailable, Mishap::Unavailable);
            }
        }
        self.pump(now, number, outbox);
    }

    /// Finished verified: the slot becomes a session.
    fn on_established(
        &mut self,
        now: Now,
        number: u32,
        session: tidegate_dtls::established::Established,
        outbox: &mut Outbox,
    ) {
        let mut half_open = self.take_half_open(number).expect("it is established now");
        let resumed = half_open.dtls.is_resumed();
        let (owner, name) = if resumed {
            half_open.resumption.owner().expect("what is resumed was found")
        } else {
            let name = half_open.name.take().expect("a credential was asked for by a name");
            (half_open.owner.expect("without a credential no Finished verifies"), name)
        };
        let mid = self.random.random();
        let slot = half_open.slot;
        self.slab.get_mut(slot).class = owner.class;
        self.slab.establish(slot, owner.device, owner.network, session, mid);
        may_die(Point::SlotWhole);
        self.slab.get_mut(slot).claim = name.claim as u8;
        let has_cid = self.slab.get(slot).dtls.own_cid_len() > 0;
        if !has_cid && let Some(old) = self.by_peer.insert(half_open.peer, slot) {
            // RFC 6347 section 4.2.8: only now is the old association of this address dropped.
            self.end_session(now, old, wire::EndReason::Replaced, outbox);
        }
        if resumed {
            self.on_resumed(slot, &half_open.resumption);
        } else {
            self.keep_resumable(
                now,
                slot,
                &half_open.resumption,
                &owner,
                name.claim,
                &half_open.dtls,
            );
        }
        self.counters.tally(Tally::SessionUp);
        let admitted = Admitted {
            stamp: owner.stamp,
            claim: name.claim,
            name: &name.bytes,
            resumed,
            connected: false,
        };
        if !self.tell_session_up(now, slot, &admitted, 0) {
            return self.end_untold(now, slot, outbox);
        }
        let mut held = half_open.dtls.take_held();
        self.on_held(now, slot, half_open.peer, &mut held, outbox);
    }

    /// The customer's log hears of a handshake whose device is known, or may be.
    fn note_handshake(&mut self, now: Now, number: u32, mishap: Mishap) {
        let Some(half_open) = self.handshakes.get(number) else { return };
        let mut notice = wire::Notice { detail: mishap as u8, ..empty_notice(now) };
        let resumed = || half_open.resumption.owner().map(|(owner, _)| owner);
        if let Some(owner) = half_open.owner.or_else(resumed) {
            notice.device = owner.device;
            notice.class = owner.class.into();
            notice.event = wire::Event::HandshakeFailed as u8;
            self.tell_notice(now, &notice, &[]);
        } else if let Some(leaf) = half_open.dtls.refused_certificate() {
            let name = certificate_name(leaf);
            notice.event = wire::Event::HandshakeUnproven as u8;
            notice.code = wire::Claim::Certificate as u8;
            self.tell_notice(now, &notice, &name);
        }
    }

    /// A handshake failed.
    fn fail(&mut self, now: Now, number: u32, reason: Tally, mishap: Mishap) {
        self.note_handshake(now, number, mishap);
        let half_open = self.handshakes.get(number);
        let is_known = half_open.is_some_and(|half_open| half_open.owner.is_some());
        let is_asked = half_open.is_some_and(|half_open| half_open.name.is_some());
        self.counters.tally(Tally::HandshakeFailed);
        self.counters.tally(match reason {
            // Not the peer: the control plane.
            Tally::HandshakeTimeout if is_asked && !is_known => Tally::HandshakeUnavailable,
            reason => reason,
        });
        if is_known {
            self.counters.tally(Tally::HandshakeKnown);
        }
        self.abandon(number);
    }

    /// Forgets a handshake and frees its slot.
    fn abandon(&mut self, number: u32) {
        let Some(half_open) = self.take_half_open(number) else { return };
        self.cancel_resumption(&half_open.resumption);
        if self.slab.get(half_open.slot).state() == State::Reserved {
            self.slab.release(half_open.slot);
        }
    }

    /// A handshake is over, one way or the other.
    fn take_half_open(&mut self, number: u32) -> Option<Box<HalfOpen>> {
        let half_open = self.handshakes.remove(number)?;
        self.by_peer_handshake.remove(&half_open.peer);
        self.quota.give_back(&half_open.peer);
        self.wheel.disarm(number);
        Some(half_open)
    }
}

/// Whether the first record is an unprotected handshake record that begins with a ClientHello.
pub(super) fn is_client_hello(datagram: &[u8]) -> bool {
    const HANDSHAKE: u8 = 22;
    const CLIENT_HELLO: u8 = 1;
    let plaintext = datagram.get(3..5) == Some(&[0, 0]);
    datagram.first() == Some(&HANDSHAKE) && plaintext && datagram.get(13) == Some(&CLIENT_HELLO)
}
