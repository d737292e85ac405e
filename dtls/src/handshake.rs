//! What stands in front of each handshake message and each of its fragments? (RFC 6347 section
//! 4.2.2)

use crate::Drop;
use crate::wire::Reader;

/// A fragment of a handshake message; the whole message when [`Fragment::is_whole`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fragment<'a> {
    /// Which message it is a part of.
    pub msg_type: MessageType,
    /// Length of the whole message, bytes; 24 bits.
    pub length: u32,
    /// Counts the messages of one side of one handshake.
    pub message_seq: u16,
    /// Where `body` starts in the message, bytes.
    pub offset: u32,
    /// This part of the message.
    pub body: &'a [u8],
}

/// Length of the header in front of each fragment, bytes.
pub const HEADER_BYTES: usize = 12;

impl<'a> Fragment<'a> {
    /// Takes the fragment at the front of `content`, a handshake record's content, and returns
    /// what follows it.
    pub fn parse(content: &'a [u8]) -> Result<(Self, &'a [u8]), Drop> {
        let (head, tail) = content.split_first_chunk::<HEADER_BYTES>().ok_or(Drop::Malformed)?;
        let mut head = Reader::new(head);
        let (msg_type, length) = head.u8().zip(head.u24()).ok_or(Drop::Malformed)?;
        let message_seq = head.u16().ok_or(Drop::Malformed)?;
        let (offset, len) = head.u24().zip(head.u24()).ok_or(Drop::Malformed)?;
        if offset + len > length {
            return Err(Drop::Malformed);
        }
        let (body, rest) = tail.split_at_checked(len as usize).ok_or(Drop::Malformed)?;
        let msg_type = MessageType(msg_type);
        Ok((Self { msg_type, length, message_seq, offset, body }, rest))
    }

    /// Whether nothing of the message is missing.
    pub fn is_whole(&self) -> bool {
        self.body.len() == self.length as usize
    }
}

/// A handshake message's type; any byte may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MessageType(pub u8);

impl MessageType {
    /// `hello_request`
    pub const HELLO_REQUEST: Self = Self(0);
    /// `client_hello`
    pub const CLIENT_HELLO: Self = Self(1);
    /// `server_hello`
    pub const SERVER_HELLO: Self = Self(2);
    /// `hello_verify_request`
    pub const HELLO_VERIFY_REQUEST: Self = Self(3);
    /// `certificate`
    pub const CERTIFICATE: Self = Self(11);
    /// `server_key_exchange`
    pub const SERVER_KEY_EXCHANGE: Self = Self(12);
    /// `certificate_request`
    pub const CERTIFICATE_REQUEST: Self = Self(13);
    /// `server_hello_done`
    pub const SERVER_HELLO_DONE: Self = Self(14);
    /// `certificate_verify`
    pub const CERTIFICATE_VERIFY: Self = Self(15);
    /// `client_key_exchange`
    pub const CLIENT_KEY_EXCHANGE: Self = Self(16);
    /// `finished`: the only one that travels protected.
    pub const FINISHED: Self = Self(20);
}

/// The header of one fragment.
///
/// # Panics
/// If a number does not fit its 24 bits.
pub(crate) fn header(
    msg_type: MessageType,
    message_len: usize,
    message_seq: u16,
    offset: usize,
    fragment_len: usize,
) -> [u8; HEADER_BYTES] {
    let [l0, l1, l2] = u24(message_len);
    let [o0, o1, o2] = u24(offset);
    let [f0, f1, f2] = u24(fragment_len);
    let [s0, s1] = message_seq.to_be_bytes();
    [msg_type.0, l0, l1, l2, s0, s1, o0, o1, o2, f0, f1, f2]
}

fn u24(number: usize) -> [u8; 3] {
    assert!(number < 1 << 24, "24 bits");
    let [_, bytes @ ..] = (number as u32).to_be_bytes();
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn two_messages_in_one_record_are_read_one_after_the_other() {
        let mut content = header(MessageType::SERVER_HELLO, 300, 7, 256, 3).to_vec();
        content.extend_from_slice(b"abc");
        content.extend(header(MessageType::SERVER_HELLO_DONE, 0, 8, 0, 0));
        let (first, rest) = Fragment::parse(&content).unwrap();
        assert_eq!(first.msg_type, MessageType::SERVER_HELLO);
        assert_eq!((first.length, first.message_seq, first.offset), (300, 7, 256));
        assert_eq!(first.body, b"abc");
        assert!(!first.is_whole());
        let (second, rest) = Fragment::parse(rest).unwrap();
        assert!(second.is_whole() && rest.is_empty());
        assert_eq!(Fragment::parse(rest), Err(Drop::Malformed));
    }

    #[test]
    fn a_fragment_may_reach_the_end_of_its_message_and_not_past_it() {
        let fragment = |offset| {
            let mut bytes = header(MessageType::FINISHED, 10, 0, offset, 4).to_vec();
            bytes.extend([0; 4]);
            bytes
        };
        assert!(Fragment::parse(&fragment(6)).is_ok());
        assert_eq!(Fragment::parse(&fragment(7)), Err(Drop::Malformed));
        assert_eq!(Fragment::parse(&fragment(6)[..15]), Err(Drop::Malformed));
    }
}
