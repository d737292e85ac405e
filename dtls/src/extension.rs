//! What do the extensions of the hellos say, and how are ours written? (RFC 5246 section 7.4.1.4)
//!
//! Known ones become fields of [`Extensions`]; unknown ones are skipped, as every receiver must.
//! One that appears twice, or does not have its own form, makes the whole hello illegal.

use crate::wire::{Reader, put_vector8, put_vector16};

/// The extensions of one hello that mean something to this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// `max_fragment_length`: the code, 1–4 (RFC 6066 section 4).
    pub max_fragment_length: Option<u8>,
    /// `supported_groups`, as pairs of bytes (RFC 8422 section 5.1.1).
    pub supported_groups: Option<&'a [u8]>,
    /// `extended_master_secret` (RFC 7627 section 5.1).
    pub extended_master_secret: bool,
    /// `connection_id`: what the sender wants to find in records toward it; may be empty
    /// (RFC 9146 section 3).
    pub connection_id: Option<&'a [u8]>,
    /// `renegotiation_info`: the `renegotiated_connection` inside (RFC 5746 section 3.2).
    pub renegotiation_info: Option<&'a [u8]>,
    /// Something else was there, e.g. an extension that a ServerHello may not bring unasked.
    pub others: bool,
}

/// Why a hello's extensions, or the hello itself, can't be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HelloError {
    /// Lengths do not fit together: `decode_error`.
    Decode,
    /// A value that the RFC does not allow: `illegal_parameter`.
    Illegal,
}

/// Most extensions one hello may have. *Bound:* looking for repeated ones takes the square.
pub const EXTENSIONS_MAX: usize = 64;

/// `max_fragment_length`
const MAX_FRAGMENT_LENGTH: u16 = 1;
/// `supported_groups`
const SUPPORTED_GROUPS: u16 = 10;
/// `extended_master_secret`
const EXTENDED_MASTER_SECRET: u16 = 23;
/// `connection_id`. The numbers of its drafts, 53 and 254, protect records in another way and are
/// skipped like any unknown extension.
const CONNECTION_ID: u16 = 54;
/// `renegotiation_info`
const RENEGOTIATION_INFO: u16 = 0xff01;

impl<'a> Extensions<'a> {
    /// Reads the content of the extension block.
    pub fn parse(block: &'a [u8]) -> Result<Self, HelloError> {
        let mut extensions = Self::default();
        let mut reader = Reader::new(block);
        let mut seen = [0u16; EXTENSIONS_MAX];
        let mut count = 0;
        while !reader.is_empty() {
            let (number, data) = reader.u16().zip(reader.vector16()).ok_or(HelloError::Decode)?;
            if count == EXTENSIONS_MAX || seen[..count].contains(&number) {
                return Err(HelloError::Illegal);
            }
            seen[count] = number;
            count += 1;
            extensions.read(number, data)?;
        }
        Ok(extensions)
    }

    /// Appends the block with its length; nothing at all when no extension is set.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut block = Vec::new();
        if let Some(renegotiated_connection) = self.renegotiation_info {
            put(&mut block, RENEGOTIATION_INFO, |data| put_vector8(data, renegotiated_connection));
        }
        if self.extended_master_secret {
            put(&mut block, EXTENDED_MASTER_SECRET, |_| {});
        }
        if let Some(code) = self.max_fragment_length {
            put(&mut block, MAX_FRAGMENT_LENGTH, |data| data.push(code));
        }
        if let Some(groups) = self.supported_groups {
            put(&mut block, SUPPORTED_GROUPS, |data| put_vector16(data, groups));
        }
        if let Some(cid) = self.connection_id {
            put(&mut block, CONNECTION_ID, |data| put_vector8(data, cid));
        }
        if !block.is_empty() {
            put_vector16(out, &block);
        }
    }

    fn read(&mut self, number: u16, data: &'a [u8]) -> Result<(), HelloError> {
        let mut reader = Reader::new(data);
        match number {
            MAX_FRAGMENT_LENGTH => {
                let code = reader.u8().ok_or(HelloError::Decode)?;
                self.max_fragment_length = Some(code);
                if fragment_bytes_max(code).is_none() {
                    return Err(HelloError::Illegal);
                }
            }
            SUPPORTED_GROUPS => {
                let groups = reader.vector16().ok_or(HelloError::Decode)?;
                self.supported_groups = Some(groups);
                if groups.len() % 2 != 0 {
                    return Err(HelloError::Decode);
                }
            }
            EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            CONNECTION_ID => {
                self.connection_id = Some(reader.vector8().ok_or(HelloError::Decode)?);
            }
            RENEGOTIATION_INFO => {
                self.renegotiation_info = Some(reader.vector8().ok_or(HelloError::Decode)?);
            }
            _ => {
                self.others = true;
                return Ok(());
            }
        }
        if reader.is_empty() { Ok(()) } else { Err(HelloError::Decode) }
    }
}

/// What a `max_fragment_length` code stands for, bytes of content in one record.
pub const fn fragment_bytes_max(code: u8) -> Option<usize> {
    match code {
        1..=4 => Some(256 << code),
        _ => None,
    }
}

fn put(block: &mut Vec<u8>, number: u16, write: impl FnOnce(&mut Vec<u8>)) {
    let mut data = Vec::new();
    write(&mut data);
    block.extend_from_slice(&number.to_be_bytes());
    put_vector16(block, &data);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn all() -> Extensions<'static> {
        Extensions {
            max_fragment_length: Some(2),
            supported_groups: Some(&[0, 29]),
            extended_master_secret: true,
            connection_id: Some(b"cid"),
            renegotiation_info: Some(b""),
            others: false,
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let mut out = Vec::new();
        all().write(&mut out);
        assert_eq!(Extensions::parse(&out[2..]), Ok(all()));
        out.clear();
        Extensions::default().write(&mut out);
        assert!(out.is_empty(), "no extensions: no block");
    }

    #[test]
    fn unknown_extensions_are_skipped_and_the_drafts_of_connection_id_are_unknown() {
        let block = [0, 53, 0, 2, 1, 7, 0, 254, 0, 2, 1, 7, 0x12, 0x34, 0, 1, 9, 0, 23, 0, 0];
        let extensions = Extensions::parse(&block).unwrap();
        assert_eq!(extensions.connection_id, None);
        assert!(extensions.extended_master_secret && extensions.others);
    }

    #[test]
    fn a_repeated_extension_is_illegal_known_or_not() {
        assert_eq!(Extensions::parse(&[0, 23, 0, 0, 0, 23, 0, 0]), Err(HelloError::Illegal));
        assert_eq!(Extensions::parse(&[9, 9, 0, 0, 9, 9, 0, 0]), Err(HelloError::Illegal));
    }

    #[test]
    fn sixty_four_extensions_are_read_and_sixty_five_are_not() {
        let block = |count: u16| {
            (1000..1000 + count)
                .flat_map(|n| [n.to_be_bytes(), [0, 0]])
                .flatten()
                .collect::<Vec<_>>()
        };
        assert!(Extensions::parse(&block(64)).is_ok());
        assert_eq!(Extensions::parse(&block(65)), Err(HelloError::Illegal));
    }

    #[test]
    fn a_connection_id_is_exactly_one_vector() {
        assert_eq!(Extensions::parse(&[0, 54, 0, 0]), Err(HelloError::Decode));
        assert_eq!(Extensions::parse(&[0, 54, 0, 1, 1]), Err(HelloError::Decode));
        assert_eq!(Extensions::parse(&[0, 54, 0, 3, 1, 5, 5]), Err(HelloError::Decode));
        let empty = Extensions::parse(&[0, 54, 0, 1, 0]).unwrap();
        assert_eq!(empty.connection_id, Some(&[][..]));
    }

    #[test]
    fn max_fragment_length_knows_four_codes() {
        for code in 1..=4 {
            let block = [0, 1, 0, 1, code];
            let extensions = Extensions::parse(&block).unwrap();
            assert_eq!(extensions.max_fragment_length, Some(code));
        }
        assert_eq!(fragment_bytes_max(1), Some(512));
        assert_eq!(fragment_bytes_max(4), Some(4096));
        for code in [0, 5] {
            assert_eq!(Extensions::parse(&[0, 1, 0, 1, code]), Err(HelloError::Illegal));
        }
    }
}
