//! What do the extensions of the hellos say, and how are ours written? (RFC 5246 section 7.4.1.4)
//!
//! Known ones become fields of [`Extensions`]; unknown ones are skipped, as every receiver must.
//! One that appears twice, or does not have its own form, makes the whole hello illegal.

use crate::wire::{Reader, put_vector8, put_vector16};

/// The extensions of one hello that mean something to this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// `server_name`: the host name; empty in a ServerHello that used it (RFC 6066 section 3).
    pub server_name: Option<&'a [u8]>,
    /// `max_fragment_length`: the code, 1–4 (RFC 6066 section 4).
    pub max_fragment_length: Option<u8>,
    /// `supported_groups`, as pairs of bytes (RFC 8422 section 5.1.1).
    pub supported_groups: Option<&'a [u8]>,
    /// `ec_point_formats` (RFC 8422 section 5.1.2).
    pub ec_point_formats: Option<&'a [u8]>,
    /// `signature_algorithms`, as pairs of bytes (RFC 5246 section 7.4.1.4.1).
    pub signature_algorithms: Option<&'a [u8]>,
    /// `client_certificate_type` (RFC 7250 section 3).
    pub client_certificate_type: Option<CertificateTypes<'a>>,
    /// `server_certificate_type` (RFC 7250 section 3).
    pub server_certificate_type: Option<CertificateTypes<'a>>,
    /// `extended_master_secret` (RFC 7627 section 5.1).
    pub extended_master_secret: bool,
    /// `connection_id`: what the sender wants to find in records toward it; may be empty
    /// (RFC 9146 section 3).
    pub connection_id: Option<&'a [u8]>,
    /// `return_routability_check` (RFC 9853 section 3).
    pub return_routability_check: bool,
    /// `renegotiation_info`: the `renegotiated_connection` inside (RFC 5746 section 3.2).
    pub renegotiation_info: Option<&'a [u8]>,
    /// Something else was there, e.g. an extension that a ServerHello may not bring unasked.
    pub others: bool,
}

/// The body of a certificate type extension: a ClientHello offers a list, a ServerHello chooses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CertificateTypes<'a> {
    /// Code points in the client's order.
    Offered(&'a [u8]),
    /// The server's choice.
    Chosen(u8),
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

/// `server_name`
const SERVER_NAME: u16 = 0;
/// `max_fragment_length`
const MAX_FRAGMENT_LENGTH: u16 = 1;
/// `supported_groups`
const SUPPORTED_GROUPS: u16 = 10;
/// `ec_point_formats`
const EC_POINT_FORMATS: u16 = 11;
/// `signature_algorithms`
const SIGNATURE_ALGORITHMS: u16 = 13;
/// `client_certificate_type`
const CLIENT_CERTIFICATE_TYPE: u16 = 19;
/// `server_certificate_type`
const SERVER_CERTIFICATE_TYPE: u16 = 20;
/// `extended_master_secret`
const EXTENDED_MASTER_SECRET: u16 = 23;
/// `connection_id`. The numbers of its drafts, 53 and 254, protect records in another way and are
/// skipped like any unknown extension.
const CONNECTION_ID: u16 = 54;
/// `return_routability_check`
const RETURN_ROUTABILITY_CHECK: u16 = 61;
/// `renegotiation_info`
const RENEGOTIATION_INFO: u16 = 0xff01;

impl<'a> Extensions<'a> {
    /// None at all.
    pub const NONE: Self = Self {
        server_name: None,
        max_fragment_length: None,
        supported_groups: None,
        ec_point_formats: None,
        signature_algorithms: None,
        client_certificate_type: None,
        server_certificate_type: None,
        extended_master_secret: false,
        connection_id: None,
        return_routability_check: false,
        renegotiation_info: None,
        others: false,
    };

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
        if let Some(name) = self.server_name {
            put(&mut block, SERVER_NAME, |data| put_server_name(data, name));
        }
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
        if let Some(formats) = self.ec_point_formats {
            put(&mut block, EC_POINT_FORMATS, |data| put_vector8(data, formats));
        }
        if let Some(schemes) = self.signature_algorithms {
            put(&mut block, SIGNATURE_ALGORITHMS, |data| put_vector16(data, schemes));
        }
        if let Some(types) = self.client_certificate_type {
            put(&mut block, CLIENT_CERTIFICATE_TYPE, |data| types.write(data));
        }
        if let Some(types) = self.server_certificate_type {
            put(&mut block, SERVER_CERTIFICATE_TYPE, |data| types.write(data));
        }
        if let Some(cid) = self.connection_id {
            put(&mut block, CONNECTION_ID, |data| put_vector8(data, cid));
        }
        if self.return_routability_check {
            put(&mut block, RETURN_ROUTABILITY_CHECK, |_| {});
        }
        if !block.is_empty() {
            put_vector16(out, &block);
        }
    }

    fn read(&mut self, number: u16, data: &'a [u8]) -> Result<(), HelloError> {
        let mut reader = Reader::new(data);
        match number {
            SERVER_NAME => self.server_name = Some(read_server_name(&mut reader)?),
            MAX_FRAGMENT_LENGTH => {
                let code = reader.u8().ok_or(HelloError::Decode)?;
                self.max_fragment_length = Some(code);
                if fragment_bytes_max(code).is_none() {
                    return Err(HelloError::Illegal);
                }
            }
            SUPPORTED_GROUPS => self.supported_groups = Some(read_pairs(&mut reader)?),
            EC_POINT_FORMATS => {
                let formats = reader.vector8().filter(|formats| !formats.is_empty());
                self.ec_point_formats = Some(formats.ok_or(HelloError::Decode)?);
            }
            SIGNATURE_ALGORITHMS => self.signature_algorithms = Some(read_pairs(&mut reader)?),
            CLIENT_CERTIFICATE_TYPE => {
                self.client_certificate_type = Some(CertificateTypes::read(&mut reader)?);
            }
            SERVER_CERTIFICATE_TYPE => {
                self.server_certificate_type = Some(CertificateTypes::read(&mut reader)?);
            }
            EXTENDED_MASTER_SECRET => self.extended_master_secret = true,
            CONNECTION_ID => {
                self.connection_id = Some(reader.vector8().ok_or(HelloError::Decode)?);
            }
            RETURN_ROUTABILITY_CHECK => self.return_routability_check = true,
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

impl<'a> CertificateTypes<'a> {
    /// A list of one is two bytes, so one byte alone is a choice.
    fn read(reader: &mut Reader<'a>) -> Result<Self, HelloError> {
        if reader.len() == 1 {
            return Ok(Self::Chosen(reader.u8().expect("one byte")));
        }
        let types = reader.vector8().filter(|types| !types.is_empty());
        types.map(Self::Offered).ok_or(HelloError::Decode)
    }

    fn write(self, data: &mut Vec<u8>) {
        match self {
            Self::Offered(types) => put_vector8(data, types),
            Self::Chosen(code) => data.push(code),
        }
    }
}

/// The only kind of name there is.
const HOST_NAME: u8 = 0;

/// The host name in the list, or nothing when the body is empty. Names of other kinds are skipped;
/// a second host name is not allowed.
fn read_server_name<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], HelloError> {
    if reader.is_empty() {
        return Ok(&[]);
    }
    let mut list = Reader::new(reader.vector16().ok_or(HelloError::Decode)?);
    let mut host_name = None;
    while !list.is_empty() {
        let (kind, name) = list.u8().zip(list.vector16()).ok_or(HelloError::Decode)?;
        if name.is_empty() {
            return Err(HelloError::Decode);
        }
        if kind == HOST_NAME && host_name.replace(name).is_some() {
            return Err(HelloError::Illegal);
        }
    }
    host_name.ok_or(HelloError::Decode)
}

fn put_server_name(data: &mut Vec<u8>, name: &[u8]) {
    if !name.is_empty() {
        let mut list = vec![HOST_NAME];
        put_vector16(&mut list, name);
        put_vector16(data, &list);
    }
}

/// A list of code points, two bytes each, at least one.
fn read_pairs<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], HelloError> {
    let list = reader.vector16().filter(|list| !list.is_empty() && list.len() % 2 == 0);
    list.ok_or(HelloError::Decode)
}

/// The code points of a list that [`Extensions`] has as pairs of bytes.
pub fn codes(pairs: &[u8]) -> impl Iterator<Item = u16> {
    pairs.as_chunks().0.iter().map(|pair| u16::from_be_bytes(*pair))
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
            server_name: Some(b"edge.example"),
            max_fragment_length: Some(2),
            supported_groups: Some(&[0, 29]),
            ec_point_formats: Some(&[0]),
            signature_algorithms: Some(&[4, 3, 5, 3]),
            client_certificate_type: Some(CertificateTypes::Offered(&[2, 0])),
            server_certificate_type: Some(CertificateTypes::Offered(&[2])),
            extended_master_secret: true,
            connection_id: Some(b"cid"),
            return_routability_check: true,
            renegotiation_info: Some(b""),
            others: false,
        }
    }

    fn read_back(extensions: Extensions<'_>) {
        let mut out = Vec::new();
        extensions.write(&mut out);
        assert_eq!(Extensions::parse(&out[2..]), Ok(extensions));
    }

    #[test]
    fn what_is_written_is_read_again() {
        read_back(all());
        read_back(Extensions {
            server_name: Some(b""),
            client_certificate_type: Some(CertificateTypes::Chosen(2)),
            server_certificate_type: Some(CertificateTypes::Chosen(0)),
            ..all()
        });
        let mut out = Vec::new();
        Extensions::default().write(&mut out);
        assert!(out.is_empty(), "no extensions: no block");
        assert_eq!(Extensions::default(), Extensions::NONE);
    }

    /// RFC 6066 section 3: one host name at most; other kinds of names may come beside it.
    #[test]
    fn a_server_name_is_the_one_host_name_of_its_list() {
        let parse = |data: &[u8]| {
            let mut block = vec![0, 0, 0, data.len() as u8];
            block.extend_from_slice(data);
            Extensions::parse(&block).map(|extensions| extensions.server_name.map(<[u8]>::to_vec))
        };
        assert_eq!(parse(b"\0\x04\0\0\x01a"), Ok(Some(b"a".to_vec())));
        assert_eq!(parse(b"\0\x08\x07\0\x01z\0\0\x01a"), Ok(Some(b"a".to_vec())));
        assert_eq!(parse(b"\0\x08\0\0\x01a\0\0\x01b"), Err(HelloError::Illegal));
        for bad in [&b"\0"[..], b"\0\0", b"\0\x03\0\0\0", b"\0\x04\x07\0\x01a", b"\0\x05\0\0\x01a"]
        {
            assert_eq!(parse(bad), Err(HelloError::Decode), "{bad:?}");
        }
    }

    #[test]
    fn lists_have_at_least_one_entry_and_whole_ones() {
        for number in [10, 13] {
            assert!(Extensions::parse(&[0, number, 0, 4, 0, 2, 0, 23]).is_ok());
            for bad in [&[0, number, 0, 2, 0, 0][..], &[0, number, 0, 3, 0, 1, 0]] {
                assert_eq!(Extensions::parse(bad), Err(HelloError::Decode));
            }
        }
        for number in [11, 19, 20] {
            assert!(Extensions::parse(&[0, number, 0, 2, 1, 0]).is_ok());
            assert_eq!(Extensions::parse(&[0, number, 0, 0]), Err(HelloError::Decode));
        }
        assert_eq!(Extensions::parse(&[0, 11, 0, 1, 0]), Err(HelloError::Decode));
        assert_eq!(codes(&[0, 29, 0x04, 0x03]).collect::<Vec<_>>(), [29, 0x0403]);
    }

    #[test]
    fn an_extension_without_a_body_has_none() {
        for number in [23, 61] {
            assert!(Extensions::parse(&[0, number, 0, 0]).is_ok());
            assert_eq!(Extensions::parse(&[0, number, 0, 1, 0]), Err(HelloError::Decode));
        }
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
