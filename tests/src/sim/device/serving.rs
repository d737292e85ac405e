//! How does a device serve the requests of the edge? Each once, whatever is repeated; some on the
//! ACK, some later, some not at all. Long ones come block by block, and long responses go so
//! (RFC 7959).

use std::collections::VecDeque;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;

use super::Said;
use super::exchange::Repeats;
use super::request::block;
use super::telling::Telling;
use crate::story::message;

/// What a device remembers of the requests it served in one session.
#[derive(Default)]
pub(super) struct Serving {
    /// Message ID of the edge, when it came, and what it was told.
    served: VecDeque<(u16, u64, Vec<u8>)>,
    later: Vec<Later>,
    replies: Vec<Vec<u8>>,
    mid: u16,
    /// A body that is not whole yet, and its Request-Tag.
    body: (Vec<u8>, Vec<u8>),
    /// The newest response, and the Message ID it has its ETag of: the edge may read it.
    response: (u16, Vec<u8>),
    /// The number of the state, for the response to who observes it from now on.
    observe: Option<u32>,
    /// It did not want that.
    has_rejected: bool,
}

/// A response of its own, that is sent until it is acknowledged.
struct Later {
    mid: u16,
    message: Vec<u8>,
    repeats: Repeats,
    is_first: bool,
}

/// What a request of the edge was.
pub(super) enum Served {
    /// A copy.
    Again,
    /// A part of one, or of a response.
    Part,
    /// A part of one whose beginning the device has not.
    Refused,
    /// A whole one, for the first time.
    Whole(Said),
}

/// A response as it goes out.
struct Reply<'a> {
    code: Code,
    token: &'a Token,
    /// What it says of the block that came.
    block1: Option<u32>,
    observe: Option<u32>,
    /// Which block it has, and of which body.
    block2: Option<(u16, u32)>,
    payload: &'a [u8],
}

/// What a request brought.
enum Taken<'a> {
    Whole(Vec<u8>),
    Part(Reply<'a>),
    Refused(Reply<'a>),
}

/// Bound: requests remembered. The edge has few outstanding.
const SERVED_MAX: usize = 32;
/// Then a Message ID may be another message's (RFC 7252 section 4.8.2).
const EXCHANGE_LIFETIME_MS: u64 = 247_000;
/// Longer responses go block by block, bytes.
const MESSAGE_BODY_BYTES: usize = 700;
/// SZX of their blocks: 256 bytes.
const SZX: u32 = 4;

impl Serving {
    pub(super) fn due_ms(&self) -> Option<u64> {
        self.later.iter().map(|later| later.repeats.due_ms).min()
    }

    /// A request came.
    pub(super) fn on_request(
        &mut self,
        now_ms: u64,
        number: usize,
        request: &Message<'_>,
        telling: &mut Telling,
        random: &mut StdRng,
    ) -> Served {
        self.served.retain(|(_, ms, _)| ms + EXCHANGE_LIFETIME_MS > now_ms);
        if let Some((.., told)) = self.served.iter().find(|(mid, ..)| *mid == request.mid) {
            if !told.is_empty() {
                self.replies.push(told.clone());
            }
            return Served::Again;
        }
        self.mid = self.mid.wrapping_add(1);
        let mid = self.mid;
        let (told, served) = match self.takes(request) {
            Taken::Whole(payload) => {
                self.observe = request.options.uint(Number::OBSERVE).and_then(|wish| {
                    if wish > 0 {
                        telling.ends();
                        return None;
                    }
                    Some(telling.begins(request.token))
                });
                let of = (request, &payload[..]);
                let told = self.decide(now_ms, number, of, telling, random);
                (told, Served::Whole(Said::Saw { payload }))
            }
            Taken::Part(reply) => (reply.write(request, mid), Served::Part),
            Taken::Refused(reply) => (reply.write(request, mid), Served::Refused),
        };
        if !told.is_empty() {
            self.replies.push(told.clone());
        }
        self.served.push_back((request.mid, now_ms, told));
        if self.served.len() > SERVED_MAX {
            self.served.pop_front();
        }
        served
    }

    /// What of a request is here now.
    fn takes<'a>(&'a mut self, request: &'a Message<'_>) -> Taken<'a> {
        let token = &request.token;
        let (code, payload) = (Code::CONTENT, &[][..]);
        let plain = Reply { code, token, block1: None, observe: None, block2: None, payload };
        let refused = Reply { code: Code::REQUEST_ENTITY_INCOMPLETE, ..plain };
        if let Some(value) = request.options.uint(Number::BLOCK2).filter(|value| value >> 4 > 0) {
            let (from, szx) = (begin(value), value & 7);
            let (tag, response) = &self.response;
            let Some(rest) = response.get(from..) else { return Taken::Refused(refused) };
            let end = rest.len().min(16 << szx);
            let block2 = Some((*tag, block(from, end < rest.len(), szx)));
            return Taken::Part(Reply { block2, payload: &rest[..end], ..plain });
        }
        let Some(block1) = request.options.uint(Number::BLOCK1) else {
            return Taken::Whole(request.payload.to_vec());
        };
        let tag = request.options.first(Number::REQUEST_TAG).unwrap_or_default();
        if begin(block1) == 0 {
            self.body = (tag.to_vec(), Vec::new());
        }
        let (known, body) = &mut self.body;
        if known != tag || begin(block1) != body.len() {
            return Taken::Refused(refused);
        }
        body.extend_from_slice(request.payload);
        if block1 & 8 == 0 {
            return Taken::Whole(std::mem::take(body));
        }
        Taken::Part(Reply { code: Code::CONTINUE, block1: Some(block1), ..plain })
    }

    fn decide(
        &mut self,
        now_ms: u64,
        number: usize,
        (request, payload): (&Message<'_>, &[u8]),
        telling: &mut Telling,
        random: &mut StdRng,
    ) -> Vec<u8> {
        self.response = (self.mid, response_text(number, payload));
        let (tag, text) = &self.response;
        let is_long = text.len() > MESSAGE_BODY_BYTES;
        let end = if is_long { 16 << SZX } else { text.len() };
        let response = Reply {
            code: Code::CONTENT,
            token: &request.token,
            block1: request.options.uint(Number::BLOCK1),
            observe: self.observe,
            block2: is_long.then(|| (*tag, block(0, true, SZX))),
            payload: &text[..end],
        };
        let own_mid = own_mid(self.mid);
        let is_last = payload.starts_with(b"z");
        let manner = if is_last { 0 } else { random.random_range(0..10) };
        if request.ty == Type::Non {
            return if manner > 6 { Vec::new() } else { response.write(request, self.mid) };
        }
        // Who is observed says so at once, or not at all: what it tells first would be taken for
        // its response.
        let manner = if self.observe.is_some() && manner < 9 { 0 } else { manner };
        match manner {
            0..=5 => response.write(request, self.mid),
            6..=7 => {
                let message = response.write_as(Type::Con, own_mid);
                let mut repeats = Repeats::new(now_ms, random);
                repeats.due_ms = now_ms + random.random_range(50..6_000);
                self.later.push(Later { mid: own_mid, message, repeats, is_first: true });
                empty(Type::Ack, request.mid).to_vec()
            }
            8 => empty(Type::Ack, request.mid).to_vec(),
            _ => {
                if self.observe.is_some() {
                    telling.ends();
                    self.has_rejected = true;
                }
                empty(Type::Rst, request.mid).to_vec()
            }
        }
    }

    /// Whether it has rejected to be observed since the last call.
    pub(super) fn take_rejected(&mut self) -> bool {
        std::mem::take(&mut self.has_rejected)
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

impl Reply<'_> {
    /// On the ACK of a CON, or as a NON.
    fn write(&self, request: &Message<'_>, mid: u16) -> Vec<u8> {
        match request.ty {
            Type::Non => self.write_as(Type::Non, own_mid(mid)),
            _ => self.write_as(Type::Ack, request.mid),
        }
    }

    fn write_as(&self, ty: Type, mid: u16) -> Vec<u8> {
        message(ty, self.code, mid, self.token, |writer| {
            if let Some((tag, _)) = self.block2 {
                writer.option(Number::ETAG, &tag.to_be_bytes());
            }
            if let Some(observe) = self.observe {
                writer.option_uint(Number::OBSERVE, observe);
            }
            if let Some((_, block2)) = self.block2 {
                writer.option_uint(Number::BLOCK2, block2);
            }
            if let Some(block1) = self.block1 {
                writer.option_uint(Number::BLOCK1, block1);
            }
            writer.payload(self.payload);
        })
    }
}

/// Where the block of this option begins in its body.
fn begin(value: u32) -> usize {
    ((value >> 4) as usize) << ((value & 7) + 4)
}

/// A Message ID for something of our own.
fn own_mid(mid: u16) -> u16 {
    mid ^ 0x8000
}

/// What a device responds to a request with this payload.
fn response_text(number: usize, request: &[u8]) -> Vec<u8> {
    [format!("r{number}:").as_bytes(), request].concat()
}
