//! How do two ends come to a premaster secret? One variant for each key exchange of
//! [`suite::KeyExchange`](crate::suite::KeyExchange), both roles.
//!
//! An exchange with key agreement is one more variant with its own state; the handshakes do not
//! change.

use tidegate_crypto::secret::Secret;

use crate::failure::Failure;
use crate::key_schedule::psk_premaster;
use crate::suite::KeyExchange;
use crate::wire::{Reader, put_vector16};

/// A server's half.
#[derive(Debug, Default)]
pub(crate) enum ServerKeyExchange {
    /// RFC 4279 section 2; without an identity hint there is no ServerKeyExchange.
    #[default]
    Psk,
}

impl ServerKeyExchange {
    pub(crate) fn new(key_exchange: KeyExchange) -> Self {
        match key_exchange {
            KeyExchange::Psk => Self::Psk,
        }
    }

    /// The body of ServerKeyExchange, if it has to be sent.
    pub(crate) fn message(&self) -> Option<Vec<u8>> {
        match self {
            Self::Psk => None,
        }
    }

    /// Reads ClientKeyExchange and returns the identity in it.
    pub(crate) fn on_client<'a>(&mut self, body: &'a [u8]) -> Result<&'a [u8], Failure> {
        match self {
            Self::Psk => {
                let mut reader = Reader::new(body);
                let identity = reader.vector16().ok_or(Failure::Decode)?;
                if reader.is_empty() { Ok(identity) } else { Err(Failure::Decode) }
            }
        }
    }

    pub(crate) fn premaster(&self, psk: &[u8]) -> Secret {
        match self {
            Self::Psk => psk_premaster(psk),
        }
    }
}

/// A client's half.
#[derive(Debug)]
pub(crate) enum ClientKeyExchange {
    /// The server's hint is read and not used.
    Psk,
}

impl ClientKeyExchange {
    pub(crate) fn new(key_exchange: KeyExchange) -> Self {
        match key_exchange {
            KeyExchange::Psk => Self::Psk,
        }
    }

    /// Reads ServerKeyExchange.
    pub(crate) fn on_server(&mut self, body: &[u8]) -> Result<(), Failure> {
        match self {
            Self::Psk => {
                let mut reader = Reader::new(body);
                let hint = reader.vector16();
                hint.filter(|_| reader.is_empty()).map(|_| ()).ok_or(Failure::Decode)
            }
        }
    }

    /// The body of ClientKeyExchange.
    pub(crate) fn message(&self, identity: &[u8]) -> Vec<u8> {
        match self {
            Self::Psk => {
                let mut body = Vec::new();
                put_vector16(&mut body, identity);
                body
            }
        }
    }

    pub(crate) fn premaster(&self, psk: &[u8]) -> Secret {
        match self {
            Self::Psk => psk_premaster(psk),
        }
    }
}
