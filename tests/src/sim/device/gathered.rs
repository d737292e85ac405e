//! What has come of a response whose blocks come in bursts (Q-Block2, RFC 9177 section 4.4), and
//! what does its reader say? The next set, please; or: these are missing.

use std::collections::BTreeMap;

use tidegate_coap::message::Message;
use tidegate_coap::option::Number;

use super::burst::MAX_PAYLOADS;

/// The blocks of one response.
pub(super) struct Gathered {
    parts: BTreeMap<u32, Vec<u8>>,
    blocks: u32,
    tag: Option<Vec<u8>>,
    /// Sets that the edge was told of, whole or not.
    sets: u32,
    /// Its blocks are CON: the edge knows by itself which have arrived.
    is_con: bool,
    /// If nothing comes by then, what is missing is asked for; how often that was so.
    quiet_ms: u64,
    asked: u32,
}

/// What a reader makes of a block, or of silence.
pub(super) enum Heard {
    Nothing,
    /// These are missing.
    Missing(Vec<u32>),
    /// All before this one are here.
    Set(u32),
    Whole(Vec<u8>),
    /// It is not to be had.
    Lost,
}

impl Gathered {
    pub(super) fn new(now_ms: u64, is_con: bool) -> Self {
        Self {
            parts: BTreeMap::new(),
            blocks: u32::MAX,
            tag: None,
            sets: 0,
            is_con,
            quiet_ms: now_ms + patience_ms(is_con),
            asked: 0,
        }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.quiet_ms
    }

    /// Nothing has come for a while.
    pub(super) fn on_due(&mut self, now_ms: u64) -> Heard {
        if now_ms < self.quiet_ms {
            return Heard::Nothing;
        }
        if self.asked == ASKED_MAX {
            return Heard::Lost;
        }
        self.asked += 1;
        self.quiet_ms = now_ms + (patience_ms(self.is_con) << self.asked);
        Heard::Missing(self.missing_before(self.parts.keys().last().map_or(0, |last| last + 1)))
    }

    /// Those that are missing before this one, or it itself.
    fn missing_before(&self, end: u32) -> Vec<u32> {
        let missing = (0..end).filter(|number| !self.parts.contains_key(number));
        let missing: Vec<_> = missing.take(MAX_PAYLOADS as usize).collect();
        if missing.is_empty() { vec![end] } else { missing }
    }

    pub(super) fn on_block(&mut self, now_ms: u64, response: &Message<'_>) -> Heard {
        let options = &response.options;
        let (Some(value), Some(size2)) =
            (options.uint(Number::Q_BLOCK2), options.uint(Number::SIZE2))
        else {
            return Heard::Lost;
        };
        let (number, szx) = (value >> 4, value & 7);
        let tag = options.first(Number::ETAG).map(<[u8]>::to_vec);
        if !self.parts.is_empty() && tag != self.tag {
            return Heard::Lost;
        }
        self.tag = tag;
        self.blocks = size2.div_ceil(16 << szx);
        (self.quiet_ms, self.asked) = (now_ms + patience_ms(self.is_con), 0);
        self.parts.insert(number, response.payload.to_vec());
        let here =
            (0..self.blocks).take_while(|number| self.parts.contains_key(number)).count() as u32;
        if here == self.blocks {
            return Heard::Whole(std::mem::take(&mut self.parts).into_values().flatten().collect());
        }
        if self.is_con { Heard::Nothing } else { self.of_sets(number, here) }
    }

    /// The edge is told once of each set: that it is whole, or, when the next one has begun, what
    /// is missing of it.
    fn of_sets(&mut self, number: u32, here: u32) -> Heard {
        if here / MAX_PAYLOADS > self.sets && here.is_multiple_of(MAX_PAYLOADS) {
            self.sets = here / MAX_PAYLOADS;
            return Heard::Set(here);
        }
        let begun = number / MAX_PAYLOADS;
        if begun > self.sets && here < begun * MAX_PAYLOADS {
            self.sets = begun;
            return Heard::Missing(self.missing_before(begun * MAX_PAYLOADS));
        }
        Heard::Nothing
    }
}

/// How long nothing may come: longer where the edge repeats what is not acknowledged.
fn patience_ms(is_con: bool) -> u64 {
    NON_RECEIVE_TIMEOUT_MS * if is_con { 8 } else { 1 }
}

/// RFC 9177 section 7.2.
const NON_RECEIVE_TIMEOUT_MS: u64 = 4_000;
/// How often a reader asks in vain. *Why no more:* the edge keeps an answer for 64 s behind the
/// last word about it, and an application that is asked again is asked twice.
const ASKED_MAX: u32 = 2;
