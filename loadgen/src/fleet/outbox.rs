//! What goes out next? Datagrams of many devices, sealed together and then sent.

use std::io;

use arrayvec::ArrayVec;
use tidegate_crypto::aead;
use tidegate_dtls::established::SealPlan;
use tidegate_dtls::record::ContentType;

use super::devices::Devices;
use super::sockets::{BATCH_MAX, DATAGRAM_BYTES, Sent, Sockets, buffers};
use crate::measurement::Measurement;

/// The datagrams of one turn.
pub(super) struct Outbox {
    buffers: Box<[[u8; DATAGRAM_BYTES]; BATCH_MAX]>,
    entries: ArrayVec<Entry, BATCH_MAX>,
}

struct Entry {
    device: u32,
    len: u16,
    /// Still to be sealed.
    plan: Option<SealPlan>,
}

/// What a message leaves free at the end of its buffer: the type behind it and the tag.
const TAIL_BYTES: usize = 32;

impl Outbox {
    pub(super) fn new() -> Self {
        Self { buffers: buffers(), entries: ArrayVec::new() }
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.is_full()
    }

    /// Queues a message that `fill` writes, in a record where the device has a session; false when
    /// there is none or it can't be written. Not to be called when full.
    pub(super) fn message(
        &mut self,
        devices: &mut Devices,
        device: u32,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let buffer = &mut self.buffers[self.entries.len()];
        let is_secured = devices.is_secured();
        let (len, plan) = match devices.session_mut(device) {
            Some(session) => {
                let head = session.header_len();
                let Some(len) = fill(&mut buffer[head..DATAGRAM_BYTES - TAIL_BYTES]) else {
                    return false;
                };
                match session.plan_seal(ContentType::APPLICATION_DATA, len, buffer) {
                    Ok(plan) => (plan.datagram_len(), Some(plan)),
                    Err(_) => return false,
                }
            }
            // Never in the clear what belongs into a session.
            None if is_secured => return false,
            None => match fill(buffer) {
                Some(len) => (len, None),
                None => return false,
            },
        };
        self.entries.push(Entry { device, len: len as u16, plan });
        true
    }

    /// Queues a datagram that is ready; false when `fill` has none. Not to be called when full.
    pub(super) fn ready(
        &mut self,
        device: u32,
        fill: impl FnOnce(&mut [u8]) -> Option<usize>,
    ) -> bool {
        let len = fill(&mut self.buffers[self.entries.len()]);
        self.entries.extend(len.map(|len| Entry { device, len: len as u16, plan: None }));
        len.is_some()
    }

    /// Seals and sends everything.
    pub(super) fn flush(
        &mut self,
        devices: &mut Devices,
        sockets: &mut Sockets,
        measurement: &mut Measurement,
    ) -> io::Result<()> {
        if self.entries.is_empty() {
            return Ok(());
        }
        self.seal(devices);
        let (mut datagrams, mut bytes) = (0, 0);
        for (entry, buffer) in self.entries.iter().zip(self.buffers.iter()) {
            let datagram = &buffer[..entry.len.into()];
            let plane = devices.row(entry.device).plane;
            let mut sent = sockets.send(entry.device, plane, datagram)?;
            if sent == Sent::Unreachable {
                // That was about an earlier one; this one has not gone.
                devices.row_mut(entry.device).is_refused = true;
                sent = sockets.send(entry.device, plane, datagram)?;
            }
            if sent == Sent::Gone {
                datagrams += 1;
                bytes += u64::from(entry.len);
            }
        }
        measurement.record_out(datagrams, bytes);
        self.entries.clear();
        Ok(())
    }

    fn seal(&mut self, devices: &Devices) {
        let mut jobs: ArrayVec<aead::Job<'_>, BATCH_MAX> = self
            .entries
            .iter()
            .zip(self.buffers.iter_mut())
            .filter_map(|(entry, buffer)| {
                let session = devices.session(entry.device)?;
                Some(session.seal_job(entry.plan.as_ref()?, buffer))
            })
            .collect();
        aead::seal(&mut jobs);
    }
}
