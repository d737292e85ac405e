//! What is one session, as it lies in memory? 240 bytes that need nothing beside them.

use crate::net::peer::Peer;
use tidegate_coap::dedup::Window;
use tidegate_dtls::established::Established;
use tidegate_faults::{Bug, has};
use tidegate_ring::contract::DeviceId;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// One session.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Slot {
    /// Counts the lives of this slot, two per life; odd while it is rewritten.
    pub(super) generation: u32,
    /// Random per life; a Connection ID with another tag finds nothing.
    pub(super) tag: u16,
    /// [`State`] as a byte.
    pub(super) state: u8,
    /// `ring::contract::Network` of the credential.
    pub network: u8,
    /// The authenticated device.
    pub device: DeviceId,
    /// Where the newest authentic record came from; replies go there.
    pub peer: Peer,
    /// When the last authentic record came, seconds of `CLOCK_BOOTTIME`. In a free slot: the next
    /// free one.
    pub last_seen_s: u32,
    /// Message ID of our next message to this device.
    pub next_mid: u16,
    /// The worker whose table keeps what resumes this session, plus one; 0: nothing does;
    /// [`CONNECTED`]: nothing does, and we opened it.
    origin: u8,
    /// `ring::contract::Claim` by which the device was let in; 0: not known.
    pub claim: u8,
    /// Which policies and quotas of the policy sheet count: `ring::contract::Credential`.
    pub class: u16,
    /// 1: the control plane was told of the session. One of which it was not can't be revoked, and
    /// does not outlive the process.
    pub told: u8,
    /// Not used yet, zero.
    spare: u8,
    /// Requests seen lately and what they were answered.
    pub dedup: Window,
    /// DTLS keys, sequence numbers, replay window. *Why last:* a request of a 128-bit suite and a
    /// Connection ID of up to 16 bytes touches nothing behind [`HOT_BYTES`].
    pub dtls: Established,
}

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);
const _: () = assert!(std::mem::offset_of!(Slot, dtls) + 88 == HOT_BYTES);

/// `origin` of a session that we opened. No worker has this number: there are 64 at most.
const CONNECTED: u8 = u8::MAX;

/// What a slot is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Nothing.
    Free,
    /// A handshake that has this slot's Connection ID is in progress.
    Reserved,
    /// A session.
    Established,
    /// An endpoint without security: a session whose `dtls` is empty and whose identity is its
    /// address.
    NoSec,
}

impl Slot {
    /// What the slot is used for; a byte no version wrote counts as free.
    #[inline]
    pub fn state(&self) -> State {
        match self.state {
            1 => State::Reserved,
            2 => State::Established,
            3 => State::NoSec,
            _ => State::Free,
        }
    }

    /// Whether it is in use by more than a handshake.
    #[inline]
    pub fn is_session(&self) -> bool {
        matches!(self.state(), State::Established | State::NoSec)
    }

    /// The worker whose table keeps what resumes this session.
    pub fn resumable_at(&self) -> Option<u8> {
        Some(self.origin).filter(|origin| *origin != CONNECTED)?.checked_sub(1)
    }

    /// The table of `worker` keeps what resumes this session.
    pub fn set_resumable_at(&mut self, worker: u8) {
        self.origin = worker + 1;
    }

    /// Whether we opened this session: the device is the server.
    pub fn is_connected(&self) -> bool {
        self.origin == CONNECTED
    }

    /// We opened this session.
    pub fn set_connected(&mut self) {
        self.origin = CONNECTED;
    }

    /// Takes the next Message ID.
    #[inline]
    pub fn take_mid(&mut self) -> u16 {
        let mid = self.next_mid;
        self.next_mid = mid.wrapping_add(u16::from(!has(Bug::MessageIdReused) || mid & 3 > 0));
        mid
    }
}

/// Bytes of one slot. *Why not 256:* nobody pays for the fill. One in four begins where a cache
/// line does and has all that a request touches in three of them, the others in four.
pub const SLOT_BYTES: usize = 240;
/// The part of it that requests touch, from its beginning.
pub(super) const HOT_BYTES: usize = 192;
/// Bytes of a cache line.
pub(super) const LINE_BYTES: usize = 64;
