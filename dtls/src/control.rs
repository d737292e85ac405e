//! What do records other than application data mean to an established association, and how is it
//! ended? (RFC 5246 section 7.2, RFC 6347 section 4.2.4)

use crate::Drop;
use crate::alert::{Alert, Description, Level};
use crate::established::{Established, LAST_FLIGHT, SealError};
use crate::handshake::{self, Fragment, MessageType};
use crate::key_schedule::VERIFY_DATA_BYTES;
use crate::record::{self, ContentType, DTLS_1_2, HEADER_BYTES};
use crate::return_routability::PathMessage;

/// What the owner of the association does about an opened record that is not application data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Count it, nothing else.
    Ignored(Drop),
    /// The peer is done: answer with [`Established::close_notify`] and forget the association.
    CloseNotify,
    /// The peer gave up: forget the association, answer nothing.
    FatalAlert(Description),
    /// The client did not hear our Finished: send [`Established::last_flight_again`].
    FinishedAgain,
    /// The client wants new keys: refuse with [`Established::no_renegotiation`], and go on.
    Renegotiation,
    /// About the path (RFC 9853): answer a challenge with [`Established::path_message`], to where
    /// it came from; the rest is for the check under way, if there is one.
    Path(PathMessage),
}

/// Reads an authenticated record that is not application data.
pub fn on_control(content_type: ContentType, content: &[u8]) -> Control {
    match content_type {
        ContentType::ALERT => match Alert::parse(content) {
            None => Control::Ignored(Drop::Malformed),
            Some(Alert { description: Description::CLOSE_NOTIFY, .. }) => Control::CloseNotify,
            Some(Alert { level: Level::Fatal, description }) => Control::FatalAlert(description),
            Some(Alert { level: Level::Warning, .. }) => Control::Ignored(Drop::AlertIgnored),
        },
        ContentType::HANDSHAKE => match Fragment::parse(content) {
            Err(drop) => Control::Ignored(drop),
            Ok((Fragment { msg_type, .. }, _)) => match msg_type {
                MessageType::FINISHED => Control::FinishedAgain,
                MessageType::CLIENT_HELLO | MessageType::HELLO_REQUEST => Control::Renegotiation,
                _ => Control::Ignored(Drop::Unexpected),
            },
        },
        ContentType::RETURN_ROUTABILITY_CHECK => {
            PathMessage::parse(content).map_or_else(Control::Ignored, Control::Path)
        }
        ContentType::APPLICATION_DATA => Control::Ignored(Drop::Unexpected),
        _ => Control::Ignored(Drop::ContentType),
    }
}

impl Established {
    /// Writes `close_notify` and returns its length; nothing is sent or received afterwards.
    pub fn close_notify(&mut self, out: &mut [u8]) -> Result<usize, SealError> {
        self.alert(Alert::warning(Description::CLOSE_NOTIFY), out)
    }

    /// Writes a refusal to negotiate again; the association goes on (RFC 5746 section 4.5).
    pub fn no_renegotiation(&mut self, out: &mut [u8]) -> Result<usize, SealError> {
        self.alert(Alert::warning(Description::NO_RENEGOTIATION), out)
    }

    /// Writes an alert and returns its length; `close_notify` and fatal ones close.
    pub fn alert(&mut self, alert: Alert, out: &mut [u8]) -> Result<usize, SealError> {
        let len = self.seal(ContentType::ALERT, &alert.bytes(), out)?;
        if alert.level == Level::Fatal || alert.description == Description::CLOSE_NOTIFY {
            self.set_closed();
        }
        Ok(len)
    }

    /// Writes our ChangeCipherSpec and Finished with new record numbers into one datagram and
    /// returns its length; `None` if that is not our duty (any more): the peer sent application
    /// data since, so it has them, or its Finished was the last one.
    pub fn last_flight_again(&mut self, out: &mut [u8]) -> Option<usize> {
        if !self.has_flag(LAST_FLIGHT) || out.len() < CCS_RECORD_BYTES {
            return None;
        }
        let sequence = u32::from(self.last_sequence_high) << 16 | u32::from(self.last_sequence_low);
        if sequence > LAST_SEQUENCE_MAX {
            return None;
        }
        let mut finished = [0; handshake::HEADER_BYTES + VERIFY_DATA_BYTES];
        let (head, body) = finished.split_at_mut(handshake::HEADER_BYTES);
        let (seq, len) = (self.last_message_seq, VERIFY_DATA_BYTES);
        head.copy_from_slice(&handshake::header(MessageType::FINISHED, len, seq, 0, len));
        body.copy_from_slice(&self.last_verify_data);
        let (ccs, rest) = out.split_at_mut(CCS_RECORD_BYTES);
        let finished_len = self.seal(ContentType::HANDSHAKE, &finished, rest).ok()?;
        write_change_cipher_spec(ccs, sequence.into());
        self.set_last_sequence(sequence + 1);
        Some(CCS_RECORD_BYTES + finished_len)
    }

    /// From now on [`last_flight_again`](Self::last_flight_again) is our duty. `sequence` is the
    /// next record number of epoch 0, at most [`LAST_SEQUENCE_MAX`].
    pub(crate) fn keep_last_flight(
        &mut self,
        verify_data: [u8; VERIFY_DATA_BYTES],
        message_seq: u16,
        sequence: u32,
    ) {
        self.last_verify_data = verify_data;
        self.last_message_seq = message_seq;
        self.set_last_sequence(sequence);
        self.set_last_flight();
    }

    fn set_last_sequence(&mut self, sequence: u32) {
        self.last_sequence_low = sequence as u16;
        self.last_sequence_high = (sequence >> 16) as u8;
    }
}

/// Length of a ChangeCipherSpec's record, bytes.
pub(crate) const CCS_RECORD_BYTES: usize = HEADER_BYTES + 1;
/// Highest record number of epoch 0 that an association remembers: 24 bits, less one that can be
/// counted up. A ClientHello numbered close to it begins no handshake.
pub(crate) const LAST_SEQUENCE_MAX: u32 = (1 << 24) - 2;

/// Writes a ChangeCipherSpec record at the front of `out`.
pub(crate) fn write_change_cipher_spec(out: &mut [u8], sequence: u64) {
    let kind = ContentType::CHANGE_CIPHER_SPEC;
    let header_len = record::write_header(out, kind, DTLS_1_2, 0, sequence, &[], 1);
    out[header_len] = 1;
}
