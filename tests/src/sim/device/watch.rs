//! How does a device observe a value that the edge has for it (RFC 7641)? It asks once, and hears
//! of changes from then on; what is older than what it knows says nothing new to it.

use tidegate_coap::message::{Message, Token};
use tidegate_coap::option::Number;

/// An observation that the edge has accepted.
pub(super) struct Watch {
    token: Token,
    version: u32,
    at_ms: u64,
}

/// After so long any notification is news (section 3.4).
const NEWS_MS: u64 = 128_000;

impl Watch {
    pub(super) fn new(token: Token, version: u32, now_ms: u64) -> Self {
        Self { token, version, at_ms: now_ms }
    }

    /// The newest one that is known, as the Observe option says it.
    pub(super) fn version(&self) -> u32 {
        self.version
    }

    /// Whether a message is about it.
    pub(super) fn is_meant(&self, message: &Message<'_>) -> bool {
        self.token == message.token
    }

    /// Takes a notification; false: it is older than what is known.
    pub(super) fn takes(&mut self, now_ms: u64, message: &Message<'_>) -> bool {
        const HALF: u32 = 1 << 23;
        let Some(version) = message.options.uint(Number::OBSERVE) else { return false };
        let ahead = version.wrapping_sub(self.version) & (2 * HALF - 1);
        let is_news = (1..HALF).contains(&ahead) || now_ms > self.at_ms + NEWS_MS;
        if is_news {
            (self.version, self.at_ms) = (version, now_ms);
        }
        is_news
    }
}
