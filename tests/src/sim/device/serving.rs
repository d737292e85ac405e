//! How does a device serve the requests of the edge? Each once, whatever is repeated; some on the
//! ACK, some later, some not at all.

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};

use super::{Repeats, Said};
use crate::story::message;

/// What a device remembers of the requests it served in one session.
#[derive(Default)]
pub(super) struct Serving {
    /// Message ID of the edge, and what it was told.
    served: VecDeque<(u16, Vec<u8>)>,
    later: Vec<Later>,
    replies: Vec<Vec<u8>>,
    mid: u16,
}

/// A response of its own, that is sent until it is acknowledged.
struct Later {
    mid: u16,
    message: Vec<u8>,
    repeats: Repeats,
    is_first: bool,
}

/// Bound: requests remembered. The edge has few outstanding.
const SERVED_MAX: usize = 32;

impl Serving {
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.later.iter().map(|later| later.repeats.due_ms).min()
    }

    /// A request came; `Some`: for the first time.
    pub(super) fn on_request(
        &mut self,
        now_ms: u64,
        number: usize,
        request: &Message<'_>,
        random: &mut StdRng,
    ) -> Option<Said> {
        if let Some((_, told)) = self.served.iter().find(|(mid, _)| *mid == request.mid) {
            if !told.is_empty() {
                self.replies.push(told.clone());
            }
            return None;
        }
        let told = self.decide(now_ms, number, request, random);
        if !told.is_empty() {
            self.replies.push(told.clone());
        }
        self.served.push_back((request.mid, told));
        if self.served.len() > SERVED_MAX {
            self.served.pop_front();
        }
        Some(Said::Saw { payload: request.payload.to_vec() })
    }

    fn decide(
        &mut self,
        now_ms: u64,
        number: usize,
        request: &Message<'_>,
        random: &mut StdRng,
    ) -> Vec<u8> {
        let response = response_text(number, request.payload);
        self.mid = self.mid.wrapping_add(1);
        let own_mid = self.mid ^ 0x8000;
        let is_last = request.payload.starts_with(b"z");
        let manner = if is_last { 0 } else { random.random_range(0..10) };
        if request.ty == Type::Non {
            if manner > 6 {
                return Vec::new();
            }
            return reply(Type::Non, own_mid, &request.token, &response);
        }
        match manner {
            0..=5 => reply(Type::Ack, request.mid, &request.token, &response),
            6..=7 => {
                let message = reply(Type::Con, own_mid, &request.token, &response);
                let mut repeats = Repeats::new(now_ms, random);
                repeats.due_ms = now_ms + random.random_range(50..6_000);
                self.later.push(Later { mid: own_mid, message, repeats, is_first: true });
                empty(Type::Ack, request.mid).to_vec()
            }
            8 => empty(Type::Ack, request.mid).to_vec(),
            _ => empty(Type::Rst, request.mid).to_vec(),
        }
    }

    pub(super) fn take_replies(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.replies)
    }

    /// The edge has our response, or does not want it.
    pub(super) fn on_confirmed(&mut self, mid: u16) {
        self.later.retain(|later| later.mid != mid);
    }

    /// What goes out now.
    pub(super) fn on_due(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        self.later.retain_mut(|later| {
            if later.repeats.due_ms > now_ms {
                return true;
            }
            if std::mem::take(&mut later.is_first) {
                later.repeats.due_ms = now_ms + later.repeats.timeout_ms;
            } else if !later.repeats.again() {
                return false;
            }
            out.push(later.message.clone());
            true
        });
        out
    }
}

fn reply(ty: Type, mid: u16, token: &Token, payload: &[u8]) -> Vec<u8> {
    message(ty, Code::CONTENT, mid, token, |writer| {
        writer.payload(payload);
    })
}

/// What a device responds to a request with this payload.
fn response_text(number: usize, request: &[u8]) -> Vec<u8> {
    [format!("r{number}:").as_bytes(), request].concat()
}
