//! Can a hostile dataplane bring the control plane down, or make it finish an entry twice? Input:
//! entries of the uplink ring, each behind its kind, a number and its length.

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_controlplane::control::Limits;
use tidegate_controlplane::core::{Core, Effect, LinkId, Now, PublishResult};
use tidegate_controlplane::store::memory::MemoryStore;
use tidegate_controlplane::store::stream::Retention;
use tidegate_controlplane::store::vault::Vault;
use tidegate_controlplane::store::{Store, Transaction};
use tidegate_ring::Seq;

pub(crate) fn run(input: &[u8]) {
    let mut plane = Plane::new();
    let mut rest = input;
    while let Some((&[kind, number, low, high], tail)) = rest.split_first_chunk() {
        let len = usize::from(u16::from_le_bytes([low, high]) % 2_048);
        let (entry, tail) = tail.split_at(len.min(tail.len()));
        rest = tail;
        // The upper half of numbers lets time go by instead.
        match number {
            0..128 => plane.hears(kind, entry),
            _ => plane.waits(u64::from(number - 127) * 500),
        }
    }
    plane.waits(24 * 3_600_000);
}

struct Plane {
    core: Core,
    store: Arc<MemoryStore>,
    now: Now,
    heard: u64,
    /// Entries that are finished.
    done: BTreeSet<Seq>,
}

const LINK: LinkId = LinkId(1);

impl Plane {
    fn new() -> Self {
        let retention = Retention { entries_max: 100, bytes_max: 1 << 16, age_max_ms: 1 << 40 };
        let store = Arc::new(MemoryStore::new(retention));
        let now = Now { ms: 0, unix_ms: 1_795_000_000_000 };
        let (vault, limits) = (Vault::new(&[9; 32]), Limits::default());
        let core = Core::new(now, store.clone(), vault, limits, Vec::new(), [3; 32]);
        let mut core = core.expect("an empty store");
        core.on_attached(LINK, 0, Seq(0));
        core.on_publisher(now, true);
        let mut plane = Self { core, store, now, heard: 0, done: BTreeSet::new() };
        plane.carries_out();
        plane
    }

    fn hears(&mut self, kind: u8, entry: &[u8]) {
        self.heard += 1;
        self.core.on_entry(self.now, LINK, Seq(self.heard), kind, entry);
        self.carries_out();
    }

    fn waits(&mut self, ms: u64) {
        self.now = Now { ms: self.now.ms + ms, unix_ms: self.now.unix_ms + ms };
        self.core.on_due(self.now);
        self.carries_out();
    }

    fn carries_out(&mut self) {
        let mut effects = Vec::new();
        loop {
            self.core.take_effects(&mut effects);
            if effects.is_empty() {
                return;
            }
            effects.drain(..).for_each(|effect| self.carries_out_one(effect));
        }
    }

    fn carries_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Post(post) => post.finishes.into_iter().for_each(|seq| self.finishes(seq)),
            Effect::Done { seq, .. } | Effect::WithNext { seq, .. } => self.finishes(seq),
            Effect::Publish { id, .. } => {
                self.core.on_published(self.now, id, PublishResult::Confirmed);
            }
            Effect::Write { transaction, ticket } => {
                self.writes(transaction);
                if let Some(ticket) = ticket {
                    self.core.on_stored(self.now, ticket, Ok(()));
                }
            }
            _ => {}
        }
    }

    fn finishes(&mut self, seq: Seq) {
        assert!(seq <= Seq(self.heard), "an entry that never came");
        assert!(self.done.insert(seq), "an entry is finished twice");
    }

    fn writes(&self, transaction: Transaction) {
        self.store.submit(transaction, Box::new(|_| {}));
    }
}
