//! What is this message to its receiver? The table of RFC 7252 sections 4.2 and 4.3.

use crate::message::{Message, Type};

/// Sorts a well-formed message. Malformed ones carry their verdict in
/// [`FormatError`](crate::message::FormatError).
#[inline]
pub fn triage(message: &Message<'_>) -> Triage {
    let code = message.code;
    let kind = match code.class() {
        0 if code.detail() == 0 => Kind::Empty,
        0 => Kind::Request,
        2..=5 => Kind::Response,
        _ => Kind::Reserved,
    };
    match (message.ty, kind) {
        (Type::Con | Type::Non, Kind::Request) => Triage::Request,
        (Type::Con | Type::Non | Type::Ack, Kind::Response) => Triage::Response,
        (Type::Con, Kind::Empty) => Triage::Ping,
        (Type::Ack, Kind::Empty) => Triage::EmptyAck,
        (Type::Rst, Kind::Empty) => Triage::Reset,
        (Type::Ack, Kind::Request) => Triage::AckWithRequest,
        (Type::Con, Kind::Reserved) => Triage::Reject { reset: true },
        (Type::Non, Kind::Empty | Kind::Reserved) => Triage::Reject { reset: false },
        (Type::Ack, Kind::Reserved) | (Type::Rst, _) => Triage::Ignore,
    }
}

/// What to do with a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Triage {
    /// A CON or NON request.
    Request,
    /// A response: CON, NON, or piggybacked on an ACK.
    Response,
    /// An ACK of a CON of ours.
    EmptyAck,
    /// A RST for a CON or NON of ours.
    Reset,
    /// An Empty CON: answer RST ("CoAP ping", section 4.3).
    Ping,
    /// An ACK that carries a request: illegal (section 4.2), yet one existing client acknowledges a
    /// block and asks for the next this way. Count it as the ACK; when it acknowledged something,
    /// the request may be served, as if it were Non-confirmable: its Message ID is ours.
    AckWithRequest,
    /// No message of CoAP over UDP.
    Reject {
        /// Answer RST (it was Confirmable); otherwise stay silent. *Why:* a RST to a NON is
        /// optional (section 4.3), and silence can't be made to amplify.
        reset: bool,
    },
    /// Ignore silently: an ACK or RST is never answered.
    Ignore,
}

enum Kind {
    Empty,
    Request,
    Response,
    Reserved,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn sort(ty: u8, code: u8) -> Triage {
        triage(&Message::parse(&[0x40 | ty << 4, code, 0x12, 0x34]).unwrap())
    }

    /// RFC 7252 table 1, and the reserved classes beside it.
    #[test]
    fn every_type_and_class_has_its_place() {
        const RESET: Triage = Triage::Reject { reset: true };
        const SILENT: Triage = Triage::Reject { reset: false };
        let rows = [
            // class        CON              NON              ACK                     RST
            (0x00, Triage::Ping, SILENT, Triage::EmptyAck, Triage::Reset),
            (0x01, Triage::Request, Triage::Request, Triage::AckWithRequest, Triage::Ignore),
            (0x1f, Triage::Request, Triage::Request, Triage::AckWithRequest, Triage::Ignore),
            (0x20, RESET, SILENT, Triage::Ignore, Triage::Ignore),
            (0x3f, RESET, SILENT, Triage::Ignore, Triage::Ignore),
            (0x40, Triage::Response, Triage::Response, Triage::Response, Triage::Ignore),
            (0xbf, Triage::Response, Triage::Response, Triage::Response, Triage::Ignore),
            (0xc0, RESET, SILENT, Triage::Ignore, Triage::Ignore),
            (0xff, RESET, SILENT, Triage::Ignore, Triage::Ignore),
        ];
        for (code, con, non, ack, rst) in rows {
            let expected = [con, non, ack, rst];
            for ty in 0..4 {
                assert_eq!(sort(ty, code), expected[usize::from(ty)], "type {ty} code {code:#x}");
            }
        }
    }
}
