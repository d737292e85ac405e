//! What did devices and server say to each other? Follows the DTLS 1.2 handshakes of a capture with
//! pre-shared keys and opens what they protect.
//!
//! ```text
//! file ─▶ capture::Capture ─▶ frame::Datagram ─▶ follow ─▶ association::Association ─▶ Event
//!                                                            (keys, both Finished)      └─▶ print
//! ```
//!
//! Records, handshake messages, key schedule and CoAP are read by the same code that the edge runs.
//! A record's CID leads to its association also when the device's address has changed.

pub mod association;
pub mod capture;
mod follow;
pub mod frame;
mod keys;
pub mod print;

use std::collections::BTreeMap;

use tidegate_coap::message::Message;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::Drop;
use tidegate_dtls::alert::Alert;
use tidegate_dtls::handshake::MessageType;
use tidegate_dtls::record::ContentType;

use association::Association;
use capture::{Capture, CaptureError};
use frame::Skipped;

/// Everything that could be read from a capture.
#[derive(Debug, Default)]
pub struct Decoded {
    /// In the order of their first ClientHello.
    pub associations: Vec<Association>,
    /// What happened, in the capture's order.
    pub events: Vec<Event>,
    /// What became of the packets.
    pub counts: Counts,
    /// Nanoseconds since 1970-01-01T00:00Z of the first packet.
    pub start_ns: u64,
}

/// What became of the packets of a capture; each is in `skipped`, `not_dtls` or `datagrams`.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets of the file.
    pub packets: usize,
    /// The file ends in the middle of something.
    pub is_cut: bool,
    /// Packets without a readable UDP datagram.
    pub skipped: BTreeMap<Skipped, usize>,
    /// Datagrams that do not start with a DTLS record.
    pub not_dtls: usize,
    /// Datagrams that do.
    pub datagrams: usize,
    /// Records of associations whose handshake is not in the capture.
    pub unattributed: usize,
    /// Datagrams that end in the middle of a record.
    pub truncated: usize,
}

/// Something one end said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Nanoseconds since 1970-01-01T00:00Z.
    pub time_ns: u64,
    /// Index into [`Decoded::associations`].
    pub association: usize,
    /// Who said it.
    pub direction: Direction,
    /// What.
    pub what: What,
}

/// Which way something travelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Client to server.
    ToServer,
    /// Server to client.
    ToClient,
}

/// What one end said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A whole handshake message other than Finished, put together from its fragments.
    Handshake {
        /// Its type.
        msg_type: MessageType,
        /// Its number.
        message_seq: u16,
        /// Length of its body, bytes.
        body_bytes: usize,
    },
    /// Everything that follows is protected.
    ChangeCipherSpec,
    /// A Finished, opened; `is_verified` says whether it fits the handshake before it.
    Finished {
        /// Its `verify_data` is the one that the transcript leads to.
        is_verified: bool,
    },
    /// An alert; `None` if it can't be read.
    Alert {
        /// What it says.
        alert: Option<Alert>,
        /// Whether it was in a protected record.
        is_protected: bool,
    },
    /// A CoAP message, as it travelled inside its record.
    Coap(Vec<u8>),
    /// Application data that is no CoAP message.
    NotCoap(Vec<u8>),
    /// An opened record of some other type.
    Other {
        /// The type.
        content_type: ContentType,
        /// Length of the content, bytes.
        content_bytes: usize,
    },
    /// A record that could not be used.
    Refused(Drop),
}

impl Event {
    /// The CoAP message, if it is one.
    pub fn message(&self) -> Option<Message<'_>> {
        match &self.what {
            What::Coap(bytes) => Message::parse(bytes).ok(),
            _ => None,
        }
    }
}

impl Decoded {
    /// Decodes a pcap or pcapng file. `psks` are tried one after the other for each handshake.
    pub fn from_capture(file: &[u8], psks: &[Secret]) -> Result<Self, CaptureError> {
        let capture = Capture::parse(file)?;
        Ok(follow::follow(&capture, psks))
    }

    /// The CoAP messages, in the capture's order.
    pub fn messages(&self) -> impl Iterator<Item = (&Event, Message<'_>)> {
        self.events.iter().filter_map(|event| Some((event, event.message()?)))
    }

    /// Whether there is an association, and nothing of any was left closed or unverified.
    pub fn is_complete(&self) -> bool {
        !self.associations.is_empty() && self.associations.iter().all(Association::is_complete)
    }
}
