//! What does the control plane want? Its ring entries, parsed as if hostile.

use super::Worker;
use crate::bounds::{ENTRIES_PER_TURN_MAX, OUTBOX_SLOTS};
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use tidegate_ring::contract::{self as wire, EndReason, Kind, SessionRef};
use tidegate_ring::{Consumer, Corrupt};

impl Worker {
    /// Deals with a turn's entries of the downlink ring, as many as half the outbox has room for
    /// (the rest is for the turn's datagrams), and seals what they cause in one batch.
    pub fn on_entries(
        &mut self,
        now: Now,
        down: &mut Consumer,
        outbox: &mut Outbox,
    ) -> Result<(), Corrupt> {
        let mut done = Ok(None);
        for _ in 0..ENTRIES_PER_TURN_MAX {
            if outbox.room() < OUTBOX_SLOTS / 2 {
                break;
            }
            match down.next() {
                Ok(Some(entry)) => {
                    self.take_entry(now, entry.kind, entry.bytes, outbox);
                    done = Ok(Some(entry.seq));
                }
                Ok(None) => break,
                Err(corrupt) => {
                    done = Err(corrupt);
                    break;
                }
            }
        }
        self.seal_all(outbox);
        if let Some(seq) = done? {
            down.release(seq);
        }
        Ok(())
    }

    /// Deals with one entry of the downlink ring.
    pub fn on_entry(&mut self, now: Now, kind: u8, bytes: &[u8], outbox: &mut Outbox) {
        self.take_entry(now, kind, bytes, outbox);
        self.seal_all(outbox);
    }

    fn take_entry(&mut self, now: Now, kind: u8, bytes: &[u8], outbox: &mut Outbox) {
        if self.dispatch(now, kind, bytes, outbox).is_none() {
            self.counters.tally(Tally::EntryRefused);
        }
    }

    /// `None` when the entry is of no known kind or too short for it.
    fn dispatch(&mut self, now: Now, kind: u8, bytes: &[u8], outbox: &mut Outbox) -> Option<()> {
        let kind = Kind::from_wire(kind)?;
        match kind {
            Kind::Credential => {
                let (answer, key) = wire::Credential::split(bytes)?;
                self.on_credential(now, answer, key, outbox);
            }
            Kind::CredentialDropped => {
                let (dropped, _) = wire::CredentialDropped::split(bytes)?;
                self.forget_credential(&dropped.device);
            }
            Kind::SessionEnd => self.on_session_end(now, bytes, outbox)?,
            Kind::Published => self.on_published_entry(now, bytes, outbox)?,
            Kind::Answer => {
                let (answer, message) = wire::Answer::split(bytes)?;
                self.on_answer(now, answer, message, outbox);
            }
            Kind::Downlink => {
                let (downlink, message) = wire::Downlink::split(bytes)?;
                self.on_downlink(now, downlink, message, outbox);
            }
            Kind::Notify => {
                let (notify, message) = wire::Downlink::split(bytes)?;
                self.on_notify(now, notify, message, outbox);
            }
            Kind::Cancel => {
                let (cancel, _) = wire::Cancel::split(bytes)?;
                self.on_cancel(now, cancel, outbox);
            }
            Kind::Trust | Kind::Policies | Kind::Class => self.learn(now, kind, bytes, outbox)?,
            Kind::Piece => {
                let (piece, bytes) = wire::Piece::split(bytes)?;
                self.on_piece(now, piece, bytes, outbox);
            }
            Kind::Connect => {
                let (connect, tail) = wire::Connect::split(bytes)?;
                self.on_connect(now, connect, tail, outbox)?;
            }
            Kind::Hello
            | Kind::Uplink
            | Kind::Body
            | Kind::Wanted
            | Kind::Notification
            | Kind::CredentialWanted
            | Kind::Outcome
            | Kind::SessionUp
            | Kind::SessionDown
            | Kind::Counters
            | Kind::ConnectFailed
            | Kind::Notice => return None,
        }
        Some(())
    }

    /// What holds for devices to come: whom to trust, what each may do.
    fn learn(&mut self, now: Now, kind: Kind, bytes: &[u8], outbox: &mut Outbox) -> Option<()> {
        match kind {
            Kind::Trust => {
                let (piece, bytes) = wire::Trust::split(bytes)?;
                self.on_trust(now, piece, bytes, outbox);
            }
            Kind::Policies => {
                let (piece, bytes) = wire::Policies::split(bytes)?;
                self.on_policies(piece, bytes);
            }
            Kind::Class => {
                let (order, _) = wire::Class::split(bytes)?;
                self.on_class(order);
            }
            _ => return None,
        }
        Some(())
    }

    fn forget_credential(&mut self, device: &wire::DeviceId) {
        self.credentials.forget(device);
        self.forget_resumable(device);
    }

    fn on_published_entry(&mut self, now: Now, bytes: &[u8], outbox: &mut Outbox) -> Option<()> {
        let (published, _) = wire::Published::split(bytes)?;
        let publication = wire::Publication::from_wire(published.publication)?;
        self.on_published(now, published, publication, outbox);
        Some(())
    }

    /// `None` when the reason is none.
    fn on_session_end(&mut self, now: Now, bytes: &[u8], outbox: &mut Outbox) -> Option<()> {
        let (end, _) = wire::SessionEnd::split(bytes)?;
        let reason = EndReason::from_wire(end.reason)?;
        if let Some(slot) = self.session_of(end.session.get(), &end.device) {
            self.end_session(now, slot, reason, outbox);
        }
        Some(())
    }

    /// The slot of a session reference, when it still is that device's.
    pub(super) fn session_of(&self, session: u64, device: &wire::DeviceId) -> Option<u32> {
        let slot = self.slab.resolve(SessionRef(session))?;
        (self.slab.get(slot).device == *device).then_some(slot)
    }
}
