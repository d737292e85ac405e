//! What do the two hellos and the HelloVerifyRequest say, and how are ours written?
//! (RFC 5246 section 7.4.1, RFC 6347 section 4.2.1)

use crate::extension::{CertificateTypes, Extensions, HelloError};
use crate::record::DTLS_1_2;
use crate::suite::Suite;
use crate::wire::{Reader, put_vector8, put_vector16};

/// Length of a hello's random, bytes.
pub const RANDOM_BYTES: usize = 32;
/// Longest session id, bytes.
pub const SESSION_ID_BYTES_MAX: usize = 32;

/// A ClientHello as a view of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHello<'a> {
    /// What stands before the cipher suites.
    pub head: ClientHelloHead<'a>,
    /// Code points, two bytes each, in the client's order.
    pub cipher_suites: &'a [u8],
    /// Compression methods; contains 0.
    pub compression: &'a [u8],
    /// Its extensions; an absent block is an empty one.
    pub extensions: Extensions<'a>,
}

/// The part of a ClientHello that a stateless server reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientHelloHead<'a> {
    /// `client_version`: the highest the client speaks; smaller numbers are newer.
    pub version: u16,
    /// `random`
    pub random: &'a [u8; RANDOM_BYTES],
    /// `session_id`, at most 32 bytes.
    pub session_id: &'a [u8],
    /// `cookie`; empty in the first hello.
    pub cookie: &'a [u8],
}

impl<'a> ClientHelloHead<'a> {
    /// Reads as far as the cookie, so that the first fragment of a long hello is enough.
    pub fn parse(first_fragment: &'a [u8]) -> Option<Self> {
        Self::read(&mut Reader::new(first_fragment))
    }

    fn read(reader: &mut Reader<'a>) -> Option<Self> {
        let (version, random) = reader.u16().zip(reader.array())?;
        let session_id = reader.vector8().filter(|id| id.len() <= SESSION_ID_BYTES_MAX)?;
        let cookie = reader.vector8()?;
        Some(Self { version, random, session_id, cookie })
    }
}

impl<'a> ClientHello<'a> {
    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, HelloError> {
        let mut reader = Reader::new(body);
        let head = ClientHelloHead::read(&mut reader).ok_or(HelloError::Decode)?;
        let cipher_suites = reader.vector16().ok_or(HelloError::Decode)?;
        let compression = reader.vector8().ok_or(HelloError::Decode)?;
        let extensions = read_extensions(&mut reader)?;
        let chosen = |types: Option<CertificateTypes<'_>>| {
            matches!(types, Some(CertificateTypes::Chosen(_)))
        };
        if extensions.server_name.is_some_and(<[u8]>::is_empty)
            || chosen(extensions.client_certificate_type)
            || chosen(extensions.server_certificate_type)
        {
            return Err(HelloError::Decode);
        }
        if cipher_suites.is_empty() || cipher_suites.len() % 2 != 0 {
            return Err(HelloError::Decode);
        }
        if !compression.contains(&0) {
            return Err(HelloError::Illegal);
        }
        Ok(Self { head, cipher_suites, compression, extensions })
    }

    /// Whether it offers this code point.
    pub fn offers(&self, code: u16) -> bool {
        self.cipher_suites.chunks_exact(2).any(|pair| pair == code.to_be_bytes())
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.head.version.to_be_bytes());
        out.extend_from_slice(self.head.random);
        put_vector8(out, self.head.session_id);
        put_vector8(out, self.head.cookie);
        put_vector16(out, self.cipher_suites);
        put_vector8(out, self.compression);
        self.extensions.write(out);
    }
}

/// A ServerHello as a view of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerHello<'a> {
    /// `server_version`: the one both speak.
    pub version: u16,
    /// `random`
    pub random: &'a [u8; RANDOM_BYTES],
    /// `session_id`; empty when the session can't be resumed.
    pub session_id: &'a [u8],
    /// The chosen suite's code point.
    pub cipher_suite: u16,
    /// The chosen compression method; only 0 is possible here.
    pub compression: u8,
    /// What the server takes up of the client's offers.
    pub extensions: Extensions<'a>,
}

impl<'a> ServerHello<'a> {
    /// The answer of a server of this crate.
    pub fn new(
        random: &'a [u8; RANDOM_BYTES],
        session_id: &'a [u8],
        suite: Suite,
        extensions: Extensions<'a>,
    ) -> Self {
        Self {
            version: DTLS_1_2,
            random,
            session_id,
            cipher_suite: suite.code(),
            compression: 0,
            extensions,
        }
    }

    /// Reads a whole body.
    pub fn parse(body: &'a [u8]) -> Result<Self, HelloError> {
        let mut reader = Reader::new(body);
        let (version, random) = reader.u16().zip(reader.array()).ok_or(HelloError::Decode)?;
        let session_id = reader.vector8().ok_or(HelloError::Decode)?;
        let (cipher_suite, compression) =
            reader.u16().zip(reader.u8()).ok_or(HelloError::Decode)?;
        let extensions = read_extensions(&mut reader)?;
        let offered = |types: Option<CertificateTypes<'_>>| {
            matches!(types, Some(CertificateTypes::Offered(_)))
        };
        if extensions.server_name.is_some_and(|name| !name.is_empty())
            || offered(extensions.client_certificate_type)
            || offered(extensions.server_certificate_type)
        {
            return Err(HelloError::Decode);
        }
        if session_id.len() > SESSION_ID_BYTES_MAX {
            return Err(HelloError::Decode);
        }
        Ok(Self { version, random, session_id, cipher_suite, compression, extensions })
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.version.to_be_bytes());
        out.extend_from_slice(self.random);
        put_vector8(out, self.session_id);
        out.extend_from_slice(&self.cipher_suite.to_be_bytes());
        out.push(self.compression);
        self.extensions.write(out);
    }
}

/// The cookie of a HelloVerifyRequest's body, whatever version it names.
pub fn parse_hello_verify_request(body: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader::new(body);
    let (_version, cookie) = reader.u16().zip(reader.vector8())?;
    reader.is_empty().then_some(cookie)
}

fn read_extensions<'a>(reader: &mut Reader<'a>) -> Result<Extensions<'a>, HelloError> {
    if reader.is_empty() {
        return Ok(Extensions::default());
    }
    let block = reader.vector16().filter(|_| reader.is_empty()).ok_or(HelloError::Decode)?;
    Extensions::parse(block)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const HELLO: ClientHello<'_> = ClientHello {
        head: ClientHelloHead {
            version: DTLS_1_2,
            random: &[7; 32],
            session_id: b"id",
            cookie: b"cookie",
        },
        cipher_suites: &[0xc0, 0xa8, 0, 0xff],
        compression: &[0],
        extensions: Extensions {
            extended_master_secret: true,
            connection_id: Some(b""),
            ..Extensions::NONE
        },
    };

    fn written(hello: &ClientHello<'_>) -> Vec<u8> {
        let mut body = Vec::new();
        hello.write(&mut body);
        body
    }

    #[test]
    fn a_client_hello_is_read_as_it_was_written() {
        let body = written(&HELLO);
        assert_eq!(ClientHello::parse(&body), Ok(HELLO));
        assert!(HELLO.offers(0xc0a8) && HELLO.offers(0x00ff) && !HELLO.offers(0xa800));
        assert_eq!(ClientHelloHead::parse(&body[..2 + 32 + 3 + 7]), Some(HELLO.head));
        assert_eq!(ClientHelloHead::parse(&body[..2 + 32 + 3 + 6]), None);
    }

    #[test]
    fn every_cut_of_a_client_hello_is_noticed_except_before_its_extensions() {
        let body = written(&HELLO);
        let without_block = body.len() - (2 + 4 + 5);
        for len in 0..body.len() {
            let parsed = ClientHello::parse(&body[..len]);
            assert_eq!(parsed.is_ok(), len == without_block, "{len} bytes");
        }
        assert_eq!(ClientHello::parse(&[&body[..], &[0]].concat()), Err(HelloError::Decode));
    }

    #[test]
    fn a_client_hello_needs_suites_in_pairs_and_the_null_compression() {
        let odd = ClientHello { cipher_suites: &[0xc0, 0xa8, 1], ..HELLO };
        let none = ClientHello { cipher_suites: &[], ..HELLO };
        let deflate = ClientHello { compression: &[1], ..HELLO };
        assert_eq!(ClientHello::parse(&written(&odd)), Err(HelloError::Decode));
        assert_eq!(ClientHello::parse(&written(&none)), Err(HelloError::Decode));
        assert_eq!(ClientHello::parse(&written(&deflate)), Err(HelloError::Illegal));
    }

    #[test]
    fn a_session_id_has_at_most_thirty_two_bytes() {
        let with_id = |session_id| {
            let head = ClientHelloHead { session_id, ..HELLO.head };
            written(&ClientHello { head, ..HELLO })
        };
        assert!(ClientHello::parse(&with_id(&[1; 32])).is_ok());
        assert_eq!(ClientHello::parse(&with_id(&[1; 33])), Err(HelloError::Decode));
    }

    #[test]
    fn a_server_hello_is_read_as_it_was_written() {
        let hello = ServerHello::new(&[9; 32], b"session", Suite::PskAes128Gcm, HELLO.extensions);
        let mut body = Vec::new();
        hello.write(&mut body);
        assert_eq!(ServerHello::parse(&body), Ok(hello));
        assert_eq!(ServerHello::parse(&body[..body.len() - 1]), Err(HelloError::Decode));
    }

    /// RFC 6066 section 3, RFC 7250 section 3: what a client asks and what a server answers differ.
    #[test]
    fn a_hello_has_the_forms_of_its_own_direction() {
        let server_name = |name| Extensions { server_name: Some(name), ..HELLO.extensions };
        let types = |types| Extensions { client_certificate_type: Some(types), ..HELLO.extensions };
        for (extensions, is_clients) in [
            (server_name(&b"name"[..]), true),
            (server_name(b""), false),
            (types(CertificateTypes::Offered(&[2])), true),
            (types(CertificateTypes::Chosen(2)), false),
        ] {
            let client = written(&ClientHello { extensions, ..HELLO });
            assert_eq!(ClientHello::parse(&client).is_ok(), is_clients, "{extensions:?}");
            let mut server = Vec::new();
            ServerHello::new(&[9; 32], b"", Suite::PskAes128Gcm, extensions).write(&mut server);
            assert_eq!(ServerHello::parse(&server).is_ok(), !is_clients, "{extensions:?}");
        }
    }

    #[test]
    fn a_hello_verify_request_is_a_version_and_a_cookie() {
        assert_eq!(parse_hello_verify_request(b"\xfe\xff\x02ab"), Some(&b"ab"[..]));
        assert_eq!(parse_hello_verify_request(b"\xfe\xff\x03ab"), None);
        assert_eq!(parse_hello_verify_request(b"\xfe\xff\x01ab"), None);
    }
}
