//! What must hold whatever the link does: loss, copies, reordering, in both directions at once.

use std::collections::HashSet;

use tidegate_coap::code::Code;
use tidegate_coap::message::Type;

use crate::story::{Endpoint, Fate, PAYLOAD, Story};

/// A small deterministic generator (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn fate(&mut self) -> Fate {
        match self.roll(10) {
            0..=2 => Fate::Lose,
            3..=4 => Fate::Delay(self.roll(6_000)),
            5..=6 => Fate::Double(self.roll(40_000)),
            _ => Fate::Pass,
        }
    }
}

/// A story of six requests each way, then of time for everything to end.
fn play(seed: u64, is_forgetful: bool) -> Story {
    let mut dice = Dice(seed);
    let mut story = Story::new();
    story.device.jitter = dice.roll(65_536) as u16;
    story.edge.jitter = dice.roll(65_536) as u16;
    story.edge.windows.piggyback_ms = [0, 1_500][dice.roll(2) as usize];
    story.edge.windows.response_ms = 10_000;
    story.device.windows = story.edge.windows;
    let reply = (Code::CONTENT, [PAYLOAD, b""][dice.roll(2) as usize]);
    story.edge.answers_at_once = (dice.roll(2) == 0).then_some(reply);
    story.device.answers_at_once = (dice.roll(2) == 0).then_some(reply);
    story.edge.is_forgetful = is_forgetful;
    story.device.is_forgetful = is_forgetful;
    story.script.extend((0..1_000).map(|_| dice.fate()));
    for number in 0..REQUESTS {
        let ty = [Type::Con, Type::Con, Type::Non][dice.roll(3) as usize];
        story.device_requests(ty, Code::PUT, &[number as u8]);
        story.edge_requests(ty, Code::POST, &[number as u8]);
        // Few enough Message IDs for the window of 6 to hold them for EXCHANGE_LIFETIME.
        story.exchange_until((number + 1) * 95_000);
    }
    story.exchange_until(REQUESTS * 95_000 + 400_000);
    story
}

/// Requests that an endpoint served, and how many of them were copies.
fn served(endpoint: &Endpoint) -> (usize, usize) {
    let tokens: HashSet<_> = endpoint.served.iter().map(|(_, token)| *token).collect();
    (endpoint.served.len(), endpoint.served.len() - tokens.len())
}

/// Each request is served at most once and answered at most once, and every exchange ends by
/// itself. 30 % of the transmissions are lost, 40 % delayed or doubled.
#[test]
fn nothing_is_served_twice_and_everything_ends() {
    let (mut all_served, mut all_answered) = (0, 0);
    for seed in 0..SEEDS {
        let story = play(seed, false);
        for (server, client) in [(&story.edge, &story.device), (&story.device, &story.edge)] {
            let (total, copies) = served(server);
            assert_eq!(copies, 0, "seed {seed}: served twice");
            assert!(client.responses.len() <= total, "seed {seed}: more answers than requests");
            assert_eq!(server.exchanges_open(), 0, "seed {seed}: an exchange is still open");
            all_served += total;
            all_answered += client.responses.len();
        }
    }
    let asked = (SEEDS * REQUESTS * 2) as usize;
    assert!(all_served > asked * 8 / 10, "{all_served} of {asked} served");
    assert!(all_answered > asked * 8 / 10, "{all_answered} of {asked} answered");
}

/// The control: without the window, copies are served.
#[test]
fn without_deduplication_requests_are_served_twice() {
    let copies: usize = (0..SEEDS)
        .map(|seed| play(seed, true))
        .map(|story| served(&story.edge).1 + served(&story.device).1)
        .sum();
    assert!(copies > SEEDS as usize, "{copies} copies served");
}

const REQUESTS: u64 = 6;
const SEEDS: u64 = 300;
