//! Any order of events: every message ends once, every entry is finished once, nothing is left.
//! A failure names its seed.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const SEEDS: u64 = 300;
const STEPS: usize = 150;

/// The test plays the worker, the broker and the application; the seed chooses.
struct Chance {
    story: Story,
    state: u64,
    incarnation: u64,
    generation: u32,
    has_session: bool,
    exchange: u64,
    /// With the worker, and the steps it has told.
    under_way: BTreeMap<MessageId, u8>,
    posts_seen: usize,
    confirmed: usize,
    accepted: BTreeSet<MessageId>,
}

impl Chance {
    fn new(seed: u64) -> Self {
        let mut story = Story::new();
        story.hello(1);
        Self {
            story,
            state: seed,
            incarnation: 1,
            generation: 1,
            has_session: false,
            exchange: 0,
            under_way: BTreeMap::new(),
            posts_seen: 0,
            confirmed: 0,
            accepted: BTreeSet::new(),
        }
    }

    /// SplitMix64.
    fn below(&mut self, bound: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % bound
    }

    fn step(&mut self) {
        match self.below(16) {
            0..=3 => {
                let modes = [QueueMode::Queued, QueueMode::Queued, QueueMode::Immediate];
                let mode = modes[self.below(3) as usize];
                let id = self.story.sends(mode, b"x");
                assert!(self.accepted.insert(id));
            }
            4..=5 if self.has_session => {
                self.exchange += 1;
                self.story.uplink(self.exchange, Code::PUT, b"");
            }
            6 => {
                self.generation += 1;
                self.has_session = true;
                self.story.session_up(self.generation);
            }
            7 if self.has_session => {
                self.has_session = false;
                self.story.session_down(self.generation);
            }
            8..=11 => self.worker_tells(),
            12 => self.broker_confirms(),
            13 => {
                let (up, now) = (self.below(2) == 0, self.story.now());
                self.story.core.on_publisher(now, up);
                self.story.settles();
            }
            14 => self.something_restarts(),
            _ => {
                let ms = self.below(400_000);
                self.story.waits_ms(ms);
            }
        }
        self.worker_takes();
    }

    /// The worker reads its ring.
    fn worker_takes(&mut self) {
        for post in &self.story.posts[self.posts_seen..] {
            if post.kind == Kind::Downlink {
                let head = contract::Downlink::split(&post.bytes).unwrap().0;
                let id = MessageId(head.message_id);
                assert!(self.accepted.contains(&id));
                self.under_way.insert(id, 0);
            }
        }
        self.posts_seen = self.story.posts.len();
    }

    fn worker_tells(&mut self) {
        let count = self.under_way.len() as u64;
        if count == 0 {
            return;
        }
        let at = self.below(count) as usize;
        let (id, told) = self.under_way.iter().nth(at).map(|(id, told)| (*id, *told)).unwrap();
        let is_final = match (told, self.below(4)) {
            (0, _) => {
                self.story.outcome(id, Step::Sent, false);
                false
            }
            (1, 0) => {
                self.story.outcome(id, Step::Delivered, false);
                false
            }
            (_, 1) => {
                self.story.responds(id, b"r");
                true
            }
            (_, 2) => {
                let reasons = [FailReason::Timeout, FailReason::NoSession, FailReason::Reset];
                let reason = reasons[self.below(3) as usize];
                self.story.fails(id, reason);
                true
            }
            _ => {
                self.story.outcome(id, Step::Delivered, true);
                true
            }
        };
        self.under_way.insert(id, told + 1);
        if is_final {
            self.under_way.remove(&id);
        }
    }

    fn broker_confirms(&mut self) {
        while self.confirmed < self.story.publishes.len() {
            self.story.confirms(self.confirmed);
            self.confirmed += 1;
        }
    }

    fn something_restarts(&mut self) {
        let which = self.below(3);
        if which != 0 {
            self.check_entries();
            let story = std::mem::replace(&mut self.story, Story::new());
            self.story = story.restarts();
            (self.posts_seen, self.confirmed) = (0, 0);
        }
        if which != 1 {
            self.incarnation += 1;
            self.under_way.clear();
            self.story.hello(self.incarnation);
        }
        self.story.settles();
    }

    /// Each entry is finished at most once, and each uplink answered at most once.
    fn check_entries(&self) {
        let done: BTreeSet<_> = self.story.done.iter().collect();
        assert_eq!(done.len(), self.story.done.len());
        let publications = self.story.publications();
        let answered: BTreeSet<_> = publications.iter().map(|(exchange, _)| exchange).collect();
        assert_eq!(answered.len(), publications.len());
    }

    /// The faults are over: everything comes to its end.
    fn heals(&mut self) {
        let now = self.story.now();
        self.story.core.on_publisher(now, true);
        self.generation += 1;
        self.story.session_up(self.generation);
        self.drains();
        // What an outcome was lost for is given up, and what was QueueMode 1 goes once more.
        for _ in 0..3 {
            self.story.waits_ms(600_000);
            self.drains();
        }
    }

    /// The device is there and answers everything.
    fn drains(&mut self) {
        for _ in 0..=self.accepted.len() {
            self.exchange += 1;
            self.story.uplink(self.exchange, Code::PUT, b"");
            self.worker_takes();
            for (id, _) in std::mem::take(&mut self.under_way) {
                self.story.responds(id, b"r");
            }
            self.worker_takes();
            self.broker_confirms();
        }
    }
}

#[test]
fn every_message_ends_once_in_any_order_of_events() {
    for seed in 0..SEEDS {
        let played = std::panic::catch_unwind(|| {
            let mut chance = Chance::new(seed);
            for _ in 0..STEPS {
                chance.step();
            }
            chance.heals();
            chance.check_entries();
            let story = &chance.story;
            for id in &chance.accepted {
                assert!(story.has_ended(*id), "{id} is {:?}", story.state(*id));
            }
            assert_eq!(story.stored_keys(Table::History), chance.accepted.len(), "ended once");
            assert_eq!(story.stored_keys(Table::Queue), 0);
            assert_eq!(story.stored_keys(Table::Outbox), 0);
            assert_eq!(story.done.len() as u64, story.next_seq, "every entry is finished");
        });
        assert!(played.is_ok(), "seed {seed}");
    }
}
