//! What do ServerKeyExchange and ClientKeyExchange say? The three forms of each (RFC 4279 section
//! 2, RFC 5489 section 2, RFC 8422 sections 5.4 and 5.7), written and read.

use crate::failure::Failure;
use crate::suite::KeyExchange;
use crate::wire::{Reader, put_vector8, put_vector16};

/// `ServerECDHParams`: a named group and the server's share of the agreement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EcdhParams<'a> {
    /// Code point of the group, as in `supported_groups`.
    pub group: u16,
    /// The share; at most 255 bytes.
    pub point: &'a [u8],
}

/// The server's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerKeyExchange<'a> {
    /// Only sent when there is a hint.
    Psk {
        /// `psk_identity_hint`
        hint: &'a [u8],
    },
    /// Always sent, and not signed: the key proves itself in Finished.
    EcdhePsk {
        /// `psk_identity_hint`; mostly empty.
        hint: &'a [u8],
        /// The server's half of the agreement.
        params: EcdhParams<'a>,
    },
    /// Signed by the key of the server's certificate.
    EcdheEcdsa {
        /// The server's half of the agreement.
        params: EcdhParams<'a>,
        /// Code point of the signature's scheme, as in `signature_algorithms`.
        scheme: u16,
        /// Over both randoms and the parameters: [`signed_parts`].
        signature: &'a [u8],
    },
}

/// The client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientKeyExchange<'a> {
    /// Who the client says it is.
    Psk {
        /// `psk_identity`
        identity: &'a [u8],
    },
    /// Who the client says it is, and its half of the agreement.
    EcdhePsk {
        /// `psk_identity`
        identity: &'a [u8],
        /// The share.
        point: &'a [u8],
    },
    /// The client's half of the agreement.
    EcdheEcdsa {
        /// The share.
        point: &'a [u8],
    },
}

/// `ECCurveType`: the only one that RFC 8422 still has.
const NAMED_CURVE: u8 = 3;

impl<'a> EcdhParams<'a> {
    /// What travels, and what is signed.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = vec![NAMED_CURVE];
        out.extend_from_slice(&self.group.to_be_bytes());
        put_vector8(&mut out, self.point);
        out
    }

    fn read(reader: &mut Reader<'a>) -> Result<Self, Failure> {
        let curve_type = reader.u8().ok_or(Failure::Decode)?;
        if curve_type != NAMED_CURVE {
            return Err(Failure::Illegal);
        }
        let group = reader.u16().ok_or(Failure::Decode)?;
        Ok(Self { group, point: read_point(reader)? })
    }
}

/// What the signature of [`ServerKeyExchange::EcdheEcdsa`] covers, in this order (RFC 8422 section
/// 5.4); `params` are [`EcdhParams::bytes`].
pub fn signed_parts<'a>(
    client_random: &'a [u8; 32],
    server_random: &'a [u8; 32],
    params: &'a [u8],
) -> [&'a [u8]; 3] {
    [client_random, server_random, params]
}

impl<'a> ServerKeyExchange<'a> {
    /// Reads a whole body.
    pub fn parse(key_exchange: KeyExchange, body: &'a [u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body);
        let message = match key_exchange {
            KeyExchange::Psk => Self::Psk { hint: reader.vector16().ok_or(Failure::Decode)? },
            KeyExchange::EcdhePsk => Self::EcdhePsk {
                hint: reader.vector16().ok_or(Failure::Decode)?,
                params: EcdhParams::read(&mut reader)?,
            },
            KeyExchange::EcdheEcdsa => Self::EcdheEcdsa {
                params: EcdhParams::read(&mut reader)?,
                scheme: reader.u16().ok_or(Failure::Decode)?,
                signature: reader.vector16().ok_or(Failure::Decode)?,
            },
        };
        if reader.is_empty() { Ok(message) } else { Err(Failure::Decode) }
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Psk { hint } => put_vector16(out, hint),
            Self::EcdhePsk { hint, params } => {
                put_vector16(out, hint);
                out.extend(params.bytes());
            }
            Self::EcdheEcdsa { params, scheme, signature } => {
                out.extend(params.bytes());
                out.extend_from_slice(&scheme.to_be_bytes());
                put_vector16(out, signature);
            }
        }
    }
}

impl<'a> ClientKeyExchange<'a> {
    /// Reads a whole body.
    pub fn parse(key_exchange: KeyExchange, body: &'a [u8]) -> Result<Self, Failure> {
        let mut reader = Reader::new(body);
        let message = match key_exchange {
            KeyExchange::Psk => Self::Psk { identity: reader.vector16().ok_or(Failure::Decode)? },
            KeyExchange::EcdhePsk => Self::EcdhePsk {
                identity: reader.vector16().ok_or(Failure::Decode)?,
                point: read_point(&mut reader)?,
            },
            KeyExchange::EcdheEcdsa => Self::EcdheEcdsa { point: read_point(&mut reader)? },
        };
        if reader.is_empty() { Ok(message) } else { Err(Failure::Decode) }
    }

    /// Appends the body.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Psk { identity } => put_vector16(out, identity),
            Self::EcdhePsk { identity, point } => {
                put_vector16(out, identity);
                put_vector8(out, point);
            }
            Self::EcdheEcdsa { point } => put_vector8(out, point),
        }
    }
}

/// `ECPoint`: at least one byte.
fn read_point<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8], Failure> {
    reader.vector8().filter(|point| !point.is_empty()).ok_or(Failure::Decode)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: EcdhParams<'_> = EcdhParams { group: 29, point: &[7; 32] };

    #[test]
    fn what_a_server_writes_is_read_again_and_no_part_of_it() {
        use KeyExchange::{EcdheEcdsa, EcdhePsk, Psk};
        let (hint, signature) = (&b"hint"[..], &b"signature"[..]);
        for (key_exchange, message) in [
            (Psk, ServerKeyExchange::Psk { hint }),
            (EcdhePsk, ServerKeyExchange::EcdhePsk { hint: b"", params: PARAMS }),
            (
                EcdheEcdsa,
                ServerKeyExchange::EcdheEcdsa { params: PARAMS, scheme: 0x0403, signature },
            ),
        ] {
            let mut body = Vec::new();
            message.write(&mut body);
            assert_eq!(ServerKeyExchange::parse(key_exchange, &body), Ok(message));
            for cut in 0..body.len() {
                let parsed = ServerKeyExchange::parse(key_exchange, &body[..cut]);
                assert_eq!(parsed, Err(Failure::Decode), "{key_exchange:?} {cut}");
            }
            body.push(0);
            assert_eq!(ServerKeyExchange::parse(key_exchange, &body), Err(Failure::Decode));
        }
    }

    #[test]
    fn what_a_client_writes_is_read_again_and_no_part_of_it() {
        use KeyExchange::{EcdheEcdsa, EcdhePsk, Psk};
        let (identity, point) = (&b"device"[..], &[4; 65][..]);
        for (key_exchange, message) in [
            (Psk, ClientKeyExchange::Psk { identity }),
            (EcdhePsk, ClientKeyExchange::EcdhePsk { identity, point }),
            (EcdheEcdsa, ClientKeyExchange::EcdheEcdsa { point }),
        ] {
            let mut body = Vec::new();
            message.write(&mut body);
            assert_eq!(ClientKeyExchange::parse(key_exchange, &body), Ok(message));
            for cut in 0..body.len() {
                let parsed = ClientKeyExchange::parse(key_exchange, &body[..cut]);
                assert_eq!(parsed, Err(Failure::Decode), "{key_exchange:?} {cut}");
            }
            body.push(0);
            assert_eq!(ClientKeyExchange::parse(key_exchange, &body), Err(Failure::Decode));
        }
    }

    /// RFC 8422 section 5.4: explicit curves are gone. A point has 1 to 255 bytes.
    #[test]
    fn parameters_name_a_group_and_bring_a_point() {
        assert_eq!(PARAMS.bytes()[..4], [3, 0, 29, 32]);
        let mut explicit = vec![0, 0];
        explicit.extend(PARAMS.bytes());
        explicit[2] = 1;
        let parsed = ServerKeyExchange::parse(KeyExchange::EcdhePsk, &explicit);
        assert_eq!(parsed, Err(Failure::Illegal));
        let no_point = ClientKeyExchange::parse(KeyExchange::EcdheEcdsa, &[0]);
        assert_eq!(no_point, Err(Failure::Decode));
        let longest = [[255].as_slice(), &[9; 255]].concat();
        assert!(ClientKeyExchange::parse(KeyExchange::EcdheEcdsa, &longest).is_ok());
    }

    #[test]
    fn a_signature_covers_the_randoms_and_the_parameters() {
        let params = PARAMS.bytes();
        let parts = signed_parts(&[1; 32], &[2; 32], &params);
        assert_eq!(parts.concat(), [&[1; 32][..], &[2; 32], &params].concat());
    }
}
