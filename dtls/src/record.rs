//! Where does a record begin and end, and what stands in its header? (RFC 6347 section 4.1,
//! RFC 9146 section 4)
//!
//! Layout only: nothing is judged but lengths. A [`Record`] holds places in the datagram, not
//! borrows of it, so that the fragment can be opened in place.

use std::ops::Range;

use crate::Drop;

/// One record's header, and where its parts lie in the datagram it was parsed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// As received: [`ContentType::TLS12_CID`] for every record with a Connection ID.
    pub content_type: ContentType,
    /// As received, e.g. [`DTLS_1_2`].
    pub version: u16,
    /// 0 before the first ChangeCipherSpec.
    pub epoch: u16,
    /// 48 bits, of this epoch.
    pub sequence: u64,
    start: u16,
    fragment_start: u16,
    end: u16,
}

/// `version` of DTLS 1.2 (one's complement of 1.2).
pub const DTLS_1_2: u16 = 0xfefd;
/// `version` of DTLS 1.0, in which many first ClientHellos and our HelloVerifyRequest travel.
pub const DTLS_1_0: u16 = 0xfeff;
/// Header of a record without a Connection ID, bytes.
pub const HEADER_BYTES: usize = 13;
/// Longest Connection ID this crate sends or expects, bytes. *Bound:* RFC 9146 allows 255; a peer
/// that announces more is answered without one.
pub const CID_BYTES_MAX: usize = 32;
/// Most content a record may carry, bytes (RFC 5246 section 6.2.1).
pub const CONTENT_BYTES_MAX: usize = 1 << 14;
/// The last sequence number of an epoch.
pub const SEQUENCE_MAX: u64 = (1 << 48) - 1;

impl Record {
    /// The record that starts at byte `at` of `datagram`. `own_cid_len` is the length of the
    /// Connection IDs we announce, which records of type 25 do not say themselves.
    ///
    /// # Errors
    /// [`Drop::Truncated`] when no end can be found: the rest of the datagram is lost with it.
    #[inline]
    pub fn parse(datagram: &[u8], at: usize, own_cid_len: usize) -> Result<Self, Drop> {
        let record = datagram.get(at..).ok_or(Drop::Truncated)?;
        let (head, _) = record.split_first_chunk::<11>().ok_or(Drop::Truncated)?;
        let [kind, v0, v1, e0, e1, s @ ..] = *head;
        let content_type = ContentType(kind);
        let cid_len = if content_type == ContentType::TLS12_CID { own_cid_len } else { 0 };
        let length = record.get(11 + cid_len..HEADER_BYTES + cid_len).ok_or(Drop::Truncated)?;
        let fragment_start = at + HEADER_BYTES + cid_len;
        let end = fragment_start + usize::from(u16::from_be_bytes([length[0], length[1]]));
        if end > datagram.len() || end > usize::from(u16::MAX) {
            return Err(Drop::Truncated);
        }
        Ok(Self {
            content_type,
            version: u16::from_be_bytes([v0, v1]),
            epoch: u16::from_be_bytes([e0, e1]),
            sequence: u64::from_be_bytes([0, 0, s[0], s[1], s[2], s[3], s[4], s[5]]),
            start: at as u16,
            fragment_start: fragment_start as u16,
            end: end as u16,
        })
    }

    /// Its first byte's place in the datagram.
    #[inline]
    pub fn start(&self) -> usize {
        self.start.into()
    }
    /// Where the next record starts.
    #[inline]
    pub fn end(&self) -> usize {
        self.end.into()
    }
    /// Where the fragment lies: plaintext in epoch 0, else explicit nonce, ciphertext and tag.
    #[inline]
    pub fn fragment(&self) -> Range<usize> {
        self.fragment_start.into()..self.end.into()
    }
    /// Where the Connection ID lies; empty unless the type is 25.
    #[inline]
    pub fn cid(&self) -> Range<usize> {
        self.start() + 11..usize::from(self.fragment_start) - 2
    }
}

/// Where the first protected record (epoch 1 or later) of a datagram starts, if it has one. A
/// client that repeats its last flight puts it behind plaintext that is nobody's any more, and
/// the protected part belongs to its session.
pub fn protected_part(datagram: &[u8], own_cid_len: usize) -> Option<usize> {
    let mut at = 0;
    loop {
        let record = Record::parse(datagram, at, own_cid_len).ok()?;
        if record.epoch > 0 {
            return Some(at);
        }
        at = record.end();
    }
}

/// A record's content type; any byte may arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContentType(pub u8);

impl ContentType {
    /// `change_cipher_spec`
    pub const CHANGE_CIPHER_SPEC: Self = Self(20);
    /// `alert`
    pub const ALERT: Self = Self(21);
    /// `handshake`
    pub const HANDSHAKE: Self = Self(22);
    /// `application_data`
    pub const APPLICATION_DATA: Self = Self(23);
    /// `heartbeat`, never negotiated here.
    pub const HEARTBEAT: Self = Self(24);
    /// `tls12_cid`: the real type is inside (RFC 9146 section 4).
    pub const TLS12_CID: Self = Self(25);
    /// `return_routability_check` (RFC 9853).
    pub const RETURN_ROUTABILITY_CHECK: Self = Self(27);
}

/// Writes the header of a record that carries `fragment_len` bytes and returns the header's
/// length; `cid` is empty unless the type is 25.
///
/// # Panics
/// If `out` has no room for the header, or a field is out of range: the caller chose them.
#[inline]
pub(crate) fn write_header(
    out: &mut [u8],
    content_type: ContentType,
    version: u16,
    epoch: u16,
    sequence: u64,
    cid: &[u8],
    fragment_len: usize,
) -> usize {
    assert!(sequence <= SEQUENCE_MAX, "sequence number of 48 bits");
    let len = u16::try_from(fragment_len).expect("fragment of at most 65535 bytes");
    out[0] = content_type.0;
    out[1..3].copy_from_slice(&version.to_be_bytes());
    out[3..5].copy_from_slice(&epoch.to_be_bytes());
    out[5..11].copy_from_slice(&sequence.to_be_bytes()[2..]);
    out[11..11 + cid.len()].copy_from_slice(cid);
    out[11 + cid.len()..HEADER_BYTES + cid.len()].copy_from_slice(&len.to_be_bytes());
    HEADER_BYTES + cid.len()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn record(content_type: ContentType, cid: &[u8], fragment: &[u8]) -> Vec<u8> {
        let mut out = vec![0; HEADER_BYTES + cid.len()];
        write_header(&mut out, content_type, DTLS_1_2, 1, 0x0102_0304_0506, cid, fragment.len());
        out.extend_from_slice(fragment);
        out
    }

    #[test]
    fn several_records_in_one_datagram_are_found_one_after_the_other() {
        let mut datagram = record(ContentType::HANDSHAKE, b"", b"abc");
        datagram.extend(record(ContentType::TLS12_CID, b"\x07\x08", b""));
        let first = Record::parse(&datagram, 0, 2).unwrap();
        assert_eq!((first.epoch, first.sequence, first.version), (1, 0x0102_0304_0506, DTLS_1_2));
        assert_eq!(&datagram[first.fragment()], b"abc");
        assert!(first.cid().is_empty());
        let second = Record::parse(&datagram, first.end(), 2).unwrap();
        assert_eq!(second.content_type, ContentType::TLS12_CID);
        assert_eq!(&datagram[second.cid()], b"\x07\x08");
        assert!(second.fragment().is_empty());
        assert_eq!(second.end(), datagram.len());
        assert_eq!(Record::parse(&datagram, second.end(), 2), Err(Drop::Truncated));
    }

    #[test]
    fn every_cut_is_noticed_and_the_whole_is_not() {
        let whole = record(ContentType::TLS12_CID, b"123456", b"fragment");
        for len in 0..whole.len() {
            assert_eq!(Record::parse(&whole[..len], 0, 6), Err(Drop::Truncated), "{len} bytes");
        }
        assert!(Record::parse(&whole, 0, 6).is_ok());
    }

    #[test]
    fn the_protected_part_follows_the_plaintext() {
        let mut datagram = record(ContentType::HANDSHAKE, b"", b"abc");
        datagram[4] = 0;
        assert_eq!(protected_part(&datagram, 2), None);
        let plaintext = datagram.len();
        datagram.extend(record(ContentType::TLS12_CID, b"\x07\x08", b"def"));
        assert_eq!(protected_part(&datagram, 2), Some(plaintext));
        assert_eq!(protected_part(&datagram[plaintext..], 2), Some(0));
        assert_eq!(protected_part(&datagram[..datagram.len() - 1], 2), None);
    }

    #[test]
    fn a_place_past_the_end_is_no_record() {
        assert_eq!(Record::parse(&[0; 20], 21, 0), Err(Drop::Truncated));
        assert_eq!(Record::parse(&[0; 20], usize::MAX, 0), Err(Drop::Truncated));
    }
}
