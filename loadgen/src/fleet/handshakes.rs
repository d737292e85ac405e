//! How does a device of a fleet get its session? Handshakes under way, each a [`Device`].

use std::io;
use std::time::{SystemTime, UNIX_EPOCH};

use rand::random;
use tidegate_crypto::secret::Key;
use tidegate_dtls::Failure;
use tidegate_dtls::client::Randoms;

use super::devices::State;
use super::engine::{ATTEMPT, Engine};
use super::exchanges::NONE;
use crate::device::{Device, End};
use crate::measurement::ErrorKind;
use crate::scenario::Kind;

/// The handshakes of one thread.
#[derive(Default)]
pub(super) struct Attempts {
    places: Vec<Option<Attempt>>,
    free: Vec<u32>,
}

struct Attempt {
    device: u32,
    machine: Device,
    due_ns: u64,
    give_up_ms: u64,
    goal: Goal,
    /// When the wheel looks at it, ms.
    armed_ms: u64,
}

/// What for?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goal {
    /// The session is all that is wanted.
    Session,
    /// A request follows.
    Request,
}

impl Attempts {
    fn put(&mut self, attempt: Attempt) -> u32 {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() as u32 - 1
        });
        self.places[place as usize] = Some(attempt);
        place
    }

    fn get(&mut self, place: u32) -> Option<&mut Attempt> {
        self.places.get_mut(place as usize)?.as_mut()
    }

    fn take(&mut self, place: u32) -> Option<Attempt> {
        let attempt = self.places.get_mut(place as usize)?.take()?;
        self.free.push(place);
        Some(attempt)
    }
}

impl Engine {
    /// A device without a session begins to get one.
    pub(super) fn shake_hands(
        &mut self,
        device: u32,
        due_ns: u64,
        goal: Goal,
        resumes: bool,
    ) -> io::Result<()> {
        self.move_on(device)?;
        let unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
        let now_ms = self.now_ns / 1_000_000;
        let setup = &self.setup;
        let offer = &setup.offers[self.phase.number];
        let machine = Device::new(
            &offer.config,
            now_ms,
            unix_s,
            offer.own_cid.as_deref(),
            // Keys are no part of what a seed repeats.
            &Randoms { random: random(), ephemeral_seed: Key::new(random()) },
            setup.credential_of(self.share.first + device),
            self.devices.kept(device).filter(|_| resumes),
        );
        let give_up_ms = now_ms + setup.scenario.dtls.timeout_s * 1_000;
        let attempt = Attempt { device, machine, due_ns, give_up_ms, goal, armed_ms: u64::MAX };
        let place = self.attempts.put(attempt);
        let row = self.devices.row_mut(device);
        (row.state, row.attempt) = (State::ShakingHands, place);
        self.measurement.record_handshake_begun();
        self.step(place)
    }

    /// A datagram for a device that is shaking hands.
    pub(super) fn on_handshake(&mut self, device: u32, datagram: &mut [u8]) -> io::Result<()> {
        let place = self.devices.row(device).attempt;
        let now_ms = self.now_ns / 1_000_000;
        let Some(attempt) = self.attempts.get(place) else { return Ok(()) };
        attempt.machine.on_datagram(now_ms, datagram);
        self.step(place)
    }

    pub(super) fn on_handshake_timer(&mut self, place: u32) -> io::Result<()> {
        let now_ms = self.now_ns / 1_000_000;
        let Some(attempt) = self.attempts.get(place) else { return Ok(()) };
        if attempt.armed_ms > now_ms {
            return Ok(()); // It is in the wheel once more.
        }
        attempt.armed_ms = u64::MAX;
        if attempt.give_up_ms <= now_ms {
            let is_refused = self.devices.row(attempt.device).is_refused;
            let kind =
                if is_refused { ErrorKind::Unreachable } else { ErrorKind::HandshakeTimeout };
            self.fail_handshake(place, kind);
            return Ok(());
        }
        if attempt.machine.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
            attempt.machine.on_due(now_ms);
            self.measurement.record_retransmission();
        }
        self.step(place)
    }

    /// Sends what the machine wants sent, and sees whether it is over.
    fn step(&mut self, place: u32) -> io::Result<()> {
        loop {
            self.make_room()?;
            let Some(attempt) = self.attempts.get(place) else { return Ok(()) };
            let machine = &mut attempt.machine;
            if !self.outbox.ready(attempt.device, |out| machine.poll_transmit(out)) {
                break;
            }
        }
        let Some(attempt) = self.attempts.get(place) else { return Ok(()) };
        if attempt.machine.is_up() {
            return self.complete_handshake(place);
        }
        if let Some(end) = attempt.machine.end() {
            let kind = match end {
                End::Failed(Failure::PeerAlert(_)) | End::Closed => ErrorKind::HandshakeAlert,
                End::Failed(Failure::Timeout | Failure::WrongKey) => ErrorKind::HandshakeTimeout,
                End::Failed(_) => ErrorKind::HandshakeFailed,
            };
            self.fail_handshake(place, kind);
            return Ok(());
        }
        let due_ms = attempt.machine.due_ms().unwrap_or(u64::MAX).min(attempt.give_up_ms);
        if due_ms < attempt.armed_ms {
            attempt.armed_ms = self.timers.arm(place | ATTEMPT, due_ms);
        }
        Ok(())
    }

    fn complete_handshake(&mut self, place: u32) -> io::Result<()> {
        let Some(Attempt { device, mut machine, due_ns, goal, .. }) = self.attempts.take(place)
        else {
            return Ok(());
        };
        self.devices.row_mut(device).attempt = NONE;
        let since_due_ns = self.now_ns.saturating_sub(due_ns);
        self.measurement.record_handshake(machine.is_resumed(), since_due_ns);
        let session = *machine.session().expect("it is up");
        self.devices.establish(device, session, machine.resumable());
        if goal == Goal::Request {
            return self.request(device, due_ns);
        }
        self.phase.pace.end();
        if self.phase.phase.kind == Kind::Storm && !self.phase.phase.leave_open {
            self.make_room()?;
            if let Some(mut session) = self.devices.part(device) {
                self.outbox.ready(device, |out| session.close_notify(out).ok());
            }
        }
        Ok(())
    }

    fn fail_handshake(&mut self, place: u32, kind: ErrorKind) {
        let Some(attempt) = self.attempts.take(place) else { return };
        let row = self.devices.row_mut(attempt.device);
        (row.state, row.attempt) = (State::Out, NONE);
        self.devices.forget(attempt.device);
        self.measurement.record_error(kind);
        self.phase.pace.end();
    }
}
