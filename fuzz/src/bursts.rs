//! Can a peer confuse a body that comes in bursts, or one that goes so (RFC 9177)? Every message of
//! `coap_exchange` meets both.

use std::collections::BTreeSet;

use tidegate_coap::block::{Block, Burst, CBOR_BYTES_MAX, Due, Gather, Next, Place, Wants, What};
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;

/// One body of each kind.
pub(crate) struct Bursts {
    gather: Option<Gather>,
    /// Blocks that are here.
    taken: BTreeSet<u32>,
    burst: Burst,
    /// Blocks that went, and that were asked for.
    sent: u32,
    asked: u32,
}

impl Bursts {
    pub(crate) fn new() -> Self {
        let burst = Burst::new(BLOCKS as usize, 0, Some(2_500)).expect("there are few");
        Self { gather: None, taken: BTreeSet::new(), burst, sent: 0, asked: 0 }
    }

    pub(crate) fn on_message(&mut self, now_ms: u64, message: &Message<'_>) {
        let options = &message.options;
        let block = Block::of(options, Number::Q_BLOCK1);
        if let (Some(block), Some(size1)) = (block, options.uint(Number::SIZE1)) {
            self.on_part(now_ms, block, message.payload.len(), size1 as usize);
        }
        match Wants::of(options) {
            Ok(Some(Wants { what: What::From(number), .. })) => self.burst.on_continue(number),
            Ok(Some(Wants { what: What::Blocks(missing), .. })) => {
                self.asked += missing.as_slice().len() as u32;
                self.burst.on_missing(missing);
            }
            Ok(_) | Err(_) => {}
        }
        self.send(now_ms);
    }

    pub(crate) fn on_due(&mut self, now_ms: u64) {
        match self.gather.as_mut().map(|gather| gather.on_due(now_ms)) {
            Some(Due::Ask(missing)) => {
                assert!(!missing.as_slice().is_empty(), "a body that is whole asks for nothing");
            }
            Some(Due::GiveUp) => self.forget(),
            Some(Due::Nothing) | None => {}
        }
        self.burst.on_due(now_ms);
        self.send(now_ms);
    }

    /// Whatever was asked, no more went than the body and what was asked for.
    pub(crate) fn end(&self) {
        assert!(self.sent <= BLOCKS + self.asked);
    }

    fn on_part(&mut self, now_ms: u64, block: Block, payload_bytes: usize, size1: usize) {
        if self.gather.is_none() {
            self.gather = Gather::new(block.size, size1);
        }
        let Some(gather) = &mut self.gather else { return };
        let place = gather.judge(block, payload_bytes, size1);
        assert_eq!(place == Place::Again, self.taken.contains(&block.number()) && is_sound(place));
        if place == Place::Malformed {
            return;
        }
        if place == Place::New {
            self.taken.insert(block.number());
            gather.take(block);
        }
        let has = |number| self.taken.contains(&number);
        match gather.on_block(now_ms, block) {
            Next::Whole => {
                assert!((0..self.taken.len() as u32).all(has), "whole without a gap");
                self.forget();
            }
            Next::Continue(last) => assert!((0..=last.number()).all(has)),
            Next::Ask(missing) => {
                assert!(missing.as_slice().iter().all(|number| !has(*number)));
                missing.write(&mut [0; CBOR_BYTES_MAX]);
            }
            Next::Wait => {}
        }
    }

    fn forget(&mut self) {
        self.gather = None;
        self.taken.clear();
    }

    fn send(&mut self, now_ms: u64) {
        while let Some(turn) = self.burst.next() {
            assert!(turn.number < BLOCKS);
            self.burst.on_sent(now_ms, false);
            self.sent += 1;
        }
    }
}

fn is_sound(place: Place) -> bool {
    place != Place::Malformed
}

/// Of the body that goes.
const BLOCKS: u32 = 37;
