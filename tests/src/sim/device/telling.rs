//! How does a device tell of a state that the edge observes (RFC 7641)? One notification at a time,
//! the newest state; RST ends it, and so does nobody's ACK.

use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type};
use tidegate_coap::option::Number;

use super::exchange::Repeats;
use crate::story::message;

/// Who observes, and what it knows.
#[derive(Default)]
pub(super) struct Telling {
    /// Of the request of the edge; `None`: it does not observe.
    token: Option<Token>,
    /// The newest state; the Observe option, too.
    state: u32,
    /// The notification that nobody has acknowledged yet, and the state it tells.
    under_way: Option<(u32, u16, Vec<u8>, Repeats)>,
    is_behind: bool,
}

impl Telling {
    /// The edge observes from now on, and has the newest state with the response: its number.
    pub(super) fn begins(&mut self, token: Token) -> u32 {
        self.ends();
        self.token = Some(token);
        self.state
    }

    /// Nobody observes any more.
    pub(super) fn ends(&mut self) {
        *self = Self { state: self.state, ..Self::default() };
    }

    /// There is another state.
    pub(super) fn changes(&mut self) {
        self.state += 1;
        self.is_behind = true;
    }

    /// Whether somebody is to be told.
    pub(super) fn has_news(&self) -> bool {
        self.is_behind && self.token.is_some() && self.under_way.is_none()
    }

    /// The notification of the newest state.
    pub(super) fn tells(
        &mut self,
        now_ms: u64,
        number: usize,
        mid: u16,
        random: &mut StdRng,
    ) -> Vec<u8> {
        let token = self.token.unwrap_or(Token::EMPTY);
        let told = message(Type::Con, Code::CONTENT, mid, &token, |writer| {
            writer.option_uint(Number::OBSERVE, self.state);
            writer.payload(state_text(number, self.state).as_bytes());
        });
        self.is_behind = false;
        self.under_way = Some((self.state, mid, told.clone(), Repeats::new(now_ms, random)));
        told
    }

    pub(super) fn due_ms(&self) -> Option<u64> {
        self.under_way.as_ref().map(|(.., repeats)| repeats.due_ms)
    }

    /// The notification goes again, or the edge is gone.
    pub(super) fn on_due(&mut self, now_ms: u64) -> Option<Vec<u8>> {
        let (.., told, repeats) = self.under_way.as_mut()?;
        if repeats.due_ms > now_ms {
            return None;
        }
        if repeats.again() {
            return Some(told.clone());
        }
        self.ends();
        None
    }

    /// The state that the edge has acknowledged.
    pub(super) fn on_ack(&mut self, mid: u16) -> Option<u32> {
        let (state, ..) = self.under_way.take_if(|(_, sent, ..)| *sent == mid)?;
        Some(state)
    }

    pub(super) fn on_reset(&mut self, mid: u16) {
        if self.under_way.as_ref().is_some_and(|(_, sent, ..)| *sent == mid) {
            self.ends();
        }
    }
}

/// What a device tells of its state.
pub(crate) fn state_text(device: usize, state: u32) -> String {
    format!("s{device}.{state}")
}
