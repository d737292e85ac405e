//! How does an application name the request it answers? By an opaque ResponseToken.
//!
//! It carries worker, incarnation and exchange, and a MAC over them and the device: a token of
//! another device, or an altered one, is no token. It says nothing that must stay secret.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tidegate_crypto::cookie::CookieKey;

use crate::model::DeviceId;

/// The request that an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResponseToken {
    /// Whose exchange it is.
    pub worker: u8,
    /// Of that life of the worker.
    pub incarnation: u64,
    /// The worker's name for it.
    pub exchange: u64,
}

/// `version:1 | worker:1 | incarnation:8 | exchange:8 | mac:16`.
const TOKEN_BYTES: usize = 18 + MAC_BYTES;
/// *Why 16:* guessing is online, one message each; 128 bits are beyond that.
const MAC_BYTES: usize = 16;
const VERSION: u8 = 1;

impl ResponseToken {
    /// As text, for `device` alone.
    pub fn encode(&self, key: &CookieKey, device: DeviceId) -> String {
        let mut bytes = Vec::with_capacity(TOKEN_BYTES);
        bytes.extend_from_slice(&[VERSION, self.worker]);
        bytes.extend_from_slice(&self.incarnation.to_be_bytes());
        bytes.extend_from_slice(&self.exchange.to_be_bytes());
        let mac = key.mac(&[b"response token", &device.0, &bytes]);
        bytes.extend_from_slice(&mac[..MAC_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a token of `device`; `None`: not ours, not its.
    pub fn decode(text: &str, key: &CookieKey, device: DeviceId) -> Option<Self> {
        let bytes: [u8; TOKEN_BYTES] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        let (said, claimed) = bytes.split_at(TOKEN_BYTES - MAC_BYTES);
        let mac = key.mac(&[b"response token", &device.0, said]);
        // Constant time: every byte is looked at.
        let differs = mac.iter().zip(claimed).fold(0, |differs, (a, b)| differs | (a ^ b));
        if differs != 0 || said[0] != VERSION {
            return None;
        }
        Some(Self {
            worker: said[1],
            incarnation: u64::from_be_bytes(said[2..10].try_into().ok()?),
            exchange: u64::from_be_bytes(said[10..18].try_into().ok()?),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TOKEN: ResponseToken = ResponseToken { worker: 3, incarnation: 77, exchange: 1 << 40 };

    #[test]
    fn a_token_comes_back_for_its_device_alone() {
        let key = CookieKey::new(&[1; 32]);
        let (mine, other) = (DeviceId([1; 16]), DeviceId([2; 16]));
        let text = TOKEN.encode(&key, mine);
        assert_eq!(ResponseToken::decode(&text, &key, mine), Some(TOKEN));
        assert_eq!(ResponseToken::decode(&text, &key, other), None);
        assert_eq!(ResponseToken::decode(&text, &CookieKey::new(&[2; 32]), mine), None);
    }

    #[test]
    fn no_bit_of_a_token_can_be_changed() {
        let key = CookieKey::new(&[1; 32]);
        let device = DeviceId([1; 16]);
        let bytes = URL_SAFE_NO_PAD.decode(TOKEN.encode(&key, device)).unwrap();
        for bit in 0..bytes.len() * 8 {
            let mut forged = bytes.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert_eq!(ResponseToken::decode(&forged, &key, device), None, "bit {bit}");
        }
        for short in ["", "AAAA", "not base64!"] {
            assert_eq!(ResponseToken::decode(short, &key, device), None);
        }
    }
}
