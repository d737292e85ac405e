//! Which message of a request is under way, and when does it go again?

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_coap::message::{Message, Type};

use super::request::Request;

/// A request under way: its newest message.
pub(super) struct Exchange {
    pub(super) request: Request,
    pub(super) mid: u16,
    message: Vec<u8>,
    /// Of a CON without ACK: when it goes again, and how long it waited this time.
    repeats: Option<Repeats>,
    give_up_ms: u64,
}

/// What time makes of an exchange.
pub(super) enum Due {
    Nothing,
    /// The message goes again.
    Again(Vec<u8>),
    /// A CON that nobody acknowledges.
    Silence,
    /// No response comes.
    Over,
}

/// RFC 7252 section 4.2.
#[derive(Clone, Copy, Debug)]
pub(super) struct Repeats {
    pub(super) due_ms: u64,
    pub(super) timeout_ms: u64,
    left: u8,
}

/// How long a response may take: longer than the edge waits for one.
const RESPONSE_MS: u64 = 90_000;
/// How long a NON is waited for before the next request.
const NON_MS: u64 = 4_000;

impl Exchange {
    /// The next message of a request leaves.
    pub(super) fn new(now_ms: u64, mut request: Request, mid: u16, random: &mut StdRng) -> Self {
        let message = request.write(mid);
        let is_con = request.ty == Type::Con;
        let repeats = is_con.then(|| Repeats::new(now_ms, random));
        let give_up_ms = now_ms + if is_con { RESPONSE_MS } else { NON_MS };
        Self { request, mid, message, repeats, give_up_ms }
    }

    pub(super) fn message(&self) -> &[u8] {
        &self.message
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.repeats.map_or(self.give_up_ms, |repeats| repeats.due_ms)
    }

    pub(super) fn on_due(&mut self, now_ms: u64) -> Due {
        if self.due_ms() > now_ms {
            return Due::Nothing;
        }
        let Some(repeats) = &mut self.repeats else { return Due::Over };
        if repeats.again() { Due::Again(self.message.clone()) } else { Due::Silence }
    }

    pub(super) fn on_ack(&mut self, now_ms: u64) {
        self.repeats = None;
        self.give_up_ms = now_ms + RESPONSE_MS;
    }

    /// Whether this message is about its newest one.
    pub(super) fn is_answered(&self, message: &Message<'_>) -> bool {
        self.request.token() == message.token
    }
}

impl Repeats {
    pub(super) fn new(now_ms: u64, random: &mut StdRng) -> Self {
        let timeout_ms = random.random_range(2_000..=3_000);
        Self { due_ms: now_ms + timeout_ms, timeout_ms, left: 4 }
    }

    /// True: once more; false: over.
    pub(super) fn again(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.timeout_ms *= 2;
        self.due_ms += self.timeout_ms;
        true
    }
}
