//! How does the edge open a session to a device that listens? Handshakes in which we are the
//! client, on the control plane's order, with the device's own pre-shared key.
//!
//! ```text
//! Connect ──▶ slot reserved, ClientHello      (bounded by `CONNECTS_MAX`)
//! Finished ─▶ slot established, SessionUp with `connected` = 1
//! too long, or refused ─▶ ConnectFailed
//! ```
//!
//! All of them live on [`CONNECTOR`]: the kernel gives an answer to whichever worker its hash
//! picks, and that one hands it over, because the peer is expected there. Once a session has a
//! Connection ID its records find their way by it; one without stays expected.

use super::Worker;
use super::sessions::Admitted;
use crate::bounds::{CONNECTS_MAX, HANDSHAKE_LIFETIME_MS, IDENTITY_BYTES_MAX};
use crate::clock::Now;
use crate::fate::{Fate, Tally, of_drop};
use crate::handover::CONNECTOR;
use crate::net::batch::Outbox;
use crate::net::peer::Peer;
use crate::pool::Pool;
use crate::slab::State;
use foldhash::quality::RandomState;
use hashbrown::HashMap;
use rand::Rng;
use std::net::{Ipv6Addr, SocketAddr};
use std::sync::Arc;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{self, Credential, Event, Handshake, Randoms};
use tidegate_dtls::{Established, Suite, server};
use tidegate_faults::{Bug, has};
use tidegate_ring::contract as wire;
use zerocopy::IntoBytes;

/// The sessions being opened.
#[derive(Debug)]
pub(super) struct Connects {
    /// `None` when no suite with a pre-shared key is configured.
    config: Option<Arc<client::Config>>,
    pool: Pool<Connecting>,
    /// By peer, wherever it writes to.
    by_peer: HashMap<Peer, u32, RandomState>,
}

/// One of them.
#[derive(Debug)]
struct Connecting {
    dtls: Handshake,
    /// Reserved for it; its Connection ID names this slot.
    slot: u32,
    /// As it was last heard; before that, as we were told.
    peer: Peer,
    began_ms: u64,
    order: wire::Connect,
    identity: Box<[u8]>,
}

impl Connects {
    /// Offers what devices are offered when they come by themselves.
    pub(super) fn new(served: &server::Config) -> Self {
        let is_psk = |suite: &&Suite| suite.key_exchange().is_psk();
        let suites: Vec<Suite> = served.suites.iter().filter(is_psk).copied().collect();
        let config = client::Config {
            suites,
            groups: served.groups.clone(),
            return_routability: served.return_routability,
            link: served.link,
            ..client::Config::default()
        };
        let config = Some(config).filter(|config| !config.suites.is_empty()).map(Arc::new);
        Self { config, pool: Pool::new(CONNECTS_MAX), by_peer: HashMap::default() }
    }

    /// The one to this peer.
    pub(super) fn find(&self, peer: &Peer) -> Option<u32> {
        if self.by_peer.is_empty() {
            return None;
        }
        self.by_peer.get(&peer.anywhere()).copied()
    }

    /// The one that has this slot.
    pub(super) fn of_slot(&self, slot: u32, peer: &Peer) -> Option<u32> {
        let number = self.find(peer)?;
        (self.pool.get(number)?.slot == slot).then_some(number)
    }
}

impl Worker {
    /// The control plane wants a session; `tail` is the identity, then the key. `None` when the
    /// order makes no sense.
    pub(super) fn on_connect(
        &mut self,
        now: Now,
        order: &wire::Connect,
        tail: &[u8],
        outbox: &mut Outbox,
    ) -> Option<()> {
        let (identity, key) = tail.split_at_checked(order.identity_len.get().into())?;
        let is_sound = self.index == CONNECTOR
            && !key.is_empty()
            && (1..=IDENTITY_BYTES_MAX).contains(&identity.len())
            && order.peer_port.get() != 0
            && wire::Network::from_wire(order.network).is_some();
        if !is_sound {
            return None;
        }
        let Some(number) = self.begin_connect(now, order, identity, key, outbox) else {
            self.tell_connect_failed(order);
            return Some(());
        };
        self.counters.tally(Tally::Connect);
        self.pump_connect(now, number, outbox);
        Some(())
    }

    /// `None` when there is no room, no way there, or one is being opened there already.
    fn begin_connect(
        &mut self,
        now: Now,
        order: &wire::Connect,
        identity: &[u8],
        key: &[u8],
        outbox: &mut Outbox,
    ) -> Option<u32> {
        let config = Arc::clone(self.connects.config.as_ref()?);
        let peer = self.peer_at(order)?;
        if self.connects.find(&peer).is_some()
            || self.connects.pool.is_full()
            || (self.slab.is_full() && !self.make_room(now, outbox))
        {
            return None;
        }
        let slot = self.slab.reserve(peer, self.random.random(), now.s())?;
        let cid = self.slab.cid(slot);
        let own_cid = self.config.handshake.connection_id.then_some(&cid[..]);
        let randoms = Randoms::expand(&self.random.random());
        let credential = Credential::Psk { identity: identity.to_vec(), psk: Secret::new(key) };
        let unix_s = now.unix_ms / 1_000;
        let dtls = Handshake::new(&config, now.ms, unix_s, own_cid, &randoms, credential, None);
        let (order, identity) = (*order, identity.into());
        let connecting = Connecting { dtls, slot, peer, began_ms: now.ms, order, identity };
        let key = self.connects.pool.insert(0, connecting).expect("checked for room above");
        self.connects.by_peer.insert(peer, key.number);
        self.handover.expect(&peer);
        Some(key.number)
    }

    /// The peer on the first of our DTLS sockets that speaks its kind of address.
    fn peer_at(&self, order: &wire::Connect) -> Option<Peer> {
        let ip = Ipv6Addr::from(order.peer_ip).to_canonical();
        let address = SocketAddr::new(ip, order.peer_port.get());
        let speaks = |listen: &SocketAddr| listen.is_ipv4() == address.is_ipv4();
        let socket = self.config.listen.iter().position(speaks)?;
        (!ip.is_unspecified() && !ip.is_multicast()).then(|| Peer::new(address, socket as u8))
    }

    /// A datagram for a session being opened. Returns how it ended and how many bytes of it were
    /// the handshake's.
    pub(super) fn feed_connect(
        &mut self,
        now: Now,
        number: u32,
        peer: Option<Peer>,
        datagram: &mut [u8],
        outbox: &mut Outbox,
    ) -> (Fate, usize) {
        let connecting = self.connects.pool.get_mut(number).expect("the caller found it");
        // Which of our addresses it answers to is known only now.
        connecting.peer = peer.unwrap_or(connecting.peer);
        connecting.dtls.take_drop();
        let consumed = connecting.dtls.on_datagram(now.ms, datagram);
        let fate = connecting.dtls.take_drop().map_or(Fate::Handshake, of_drop);
        self.pump_connect(now, number, outbox);
        (fate, consumed)
    }

    fn pump_connect(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(connecting) = self.connects.pool.get_mut(number) else { return };
        let event = connecting.dtls.poll_event();
        let fits = loop {
            let Some(index) = outbox.begin(connecting.peer) else { break false };
            match connecting.dtls.poll_transmit(outbox.buffer_mut(index)) {
                Some(bytes) => outbox.commit(index, bytes),
                None => break true,
            }
        };
        if !fits {
            // It is sent again by the flight's timer.
            self.counters.tally(Tally::OutboxFull);
        }
        match event {
            Some(Event::Established(session)) => self.on_connected(now, number, session, outbox),
            Some(Event::Failed(_)) => self.fail_connect(number),
            None => {
                let over_ms = connecting.began_ms + HANDSHAKE_LIFETIME_MS;
                let due_ms = connecting.dtls.due_ms().map_or(over_ms, |due| due.min(over_ms));
                self.wheel.arm(self.timers.connect(number), due_ms);
            }
        }
    }

    /// Its timer: repeat a flight, or give up.
    pub(super) fn on_connect_due(&mut self, now: Now, number: u32, outbox: &mut Outbox) {
        let Some(connecting) = self.connects.pool.get_mut(number) else { return };
        if now.ms >= connecting.began_ms + HANDSHAKE_LIFETIME_MS {
            return self.fail_connect(number);
        }
        connecting.dtls.on_due(now.ms);
        self.pump_connect(now, number, outbox);
    }

    /// The device's Finished is verified: the slot becomes a session like any other.
    fn on_connected(&mut self, now: Now, number: u32, session: Established, outbox: &mut Outbox) {
        let needs_ems = self.config.handshake.require_extended_master_secret;
        if needs_ems && !session.has_extended_master_secret() {
            return self.fail_connect(number);
        }
        let mut connecting = self.take_connecting(number).expect("it is established now");
        let Connecting { slot, peer, order, .. } = connecting;
        self.slab.get_mut(slot).class = order.class.get();
        self.slab.establish(slot, order.device, order.network, session, self.random.random());
        let entry = self.slab.get_mut(slot);
        entry.peer = peer;
        entry.claim = wire::Claim::PskIdentity as u8;
        entry.set_connected();
        if entry.dtls.own_cid_len() > 0 {
            self.handover.unexpect(&peer);
        } else if let Some(old) = self.by_peer.insert(peer, slot) {
            self.end_session(now, old, wire::EndReason::Replaced, outbox);
        }
        self.counters.tally(Tally::SessionUp);
        self.counters.tally(Tally::Connected);
        let admitted = Admitted {
            stamp: order.stamp.get(),
            claim: wire::Claim::PskIdentity,
            name: &connecting.identity,
            resumed: false,
            connected: true,
        };
        if !self.tell_session_up(now, slot, &admitted, 0) {
            return self.end_untold(now, slot, outbox);
        }
        let mut held = connecting.dtls.take_held();
        self.on_held(now, slot, peer, &mut held, outbox);
    }

    fn fail_connect(&mut self, number: u32) {
        let Some(connecting) = self.take_connecting(number) else { return };
        self.handover.unexpect(&connecting.peer);
        let keeps = has(Bug::ConnectKept);
        if self.slab.get(connecting.slot).state() == State::Reserved && !keeps {
            self.slab.release(connecting.slot);
        }
        self.tell_connect_failed(&connecting.order);
    }

    fn tell_connect_failed(&mut self, order: &wire::Connect) {
        self.counters.tally(Tally::ConnectFailed);
        let failed = wire::ConnectFailed { device: order.device, attempt: order.attempt };
        self.notify(wire::Kind::ConnectFailed, failed.as_bytes(), &[]);
    }

    /// It is over, one way or the other.
    fn take_connecting(&mut self, number: u32) -> Option<Connecting> {
        let connecting = self.connects.pool.remove(number)?;
        self.connects.by_peer.remove(&connecting.peer.anywhere());
        self.wheel.disarm(self.timers.connect(number));
        Some(connecting)
    }

    /// Whether a datagram that leads nowhere on this worker may be for a session that another one
    /// opens, or has opened.
    pub(super) fn is_for_connector(&self, peer: &Peer) -> bool {
        self.index != CONNECTOR && !self.handed_over && self.handover.is_expected(peer)
    }
}
