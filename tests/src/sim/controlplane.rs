//! What runs the core? The same turn as the control plane's shell: rings, store and broker at its
//! hands, and deaths between any two effects.

use std::collections::VecDeque;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use tidegate_controlplane::control::Limits;
use tidegate_controlplane::core::{Core, LinkId, Now, RequestId};
use tidegate_controlplane::edge::window::Window;
use tidegate_controlplane::edge::writes::{WriteId, Writes};
use tidegate_controlplane::store::memory::MemoryStore;
use tidegate_controlplane::store::stream::Retention;
use tidegate_controlplane::store::vault::Vault;
use tidegate_controlplane::store::{Store, StoreError, Transaction};
use tidegate_faults::{Doom, Point};
use tidegate_ring::{Consumer, Producer};

use super::death::{dies_at, lives};
use super::plan::Plan;
use super::seed;

/// The process, or what it left behind.
pub(crate) struct ControlPlane {
    pub(crate) core: Option<Core>,
    /// What is durable. Readers see nothing else.
    pub(crate) store: Arc<MemoryStore>,
    /// Submitted and not yet synced, in order.
    pub(crate) unsynced: VecDeque<(WriteId, Transaction)>,
    /// What of it the core waits for, and what was refused.
    pub(crate) writes: Writes,
    pub(crate) is_syncing: bool,
    pub(crate) sync_ms: u64,
    limits: Limits,
    /// The store takes nothing.
    pub(crate) is_full: bool,
    pub(crate) links: Vec<Link>,
    /// It stands still until then.
    pub(crate) stalls_until_ms: u64,
    /// What it dies of.
    pub(crate) doom: Option<Doom>,
    pub(crate) turn_ms: Option<u64>,
    /// The publisher has been connected in this life.
    pub(crate) has_publisher: bool,
    started_ms: u64,
    last_link: u32,
    last_request: u64,
    random: StdRng,
}

/// One worker's rings.
pub(crate) struct Link {
    pub(crate) worker: u8,
    /// `None`: not attached.
    pub(crate) id: Option<LinkId>,
    pub(crate) window: Window,
    /// `None` only while they are taken anew.
    pub(crate) up: Option<Consumer>,
    pub(crate) down: Option<Producer>,
}

impl ControlPlane {
    pub(crate) fn new(plan: &Plan) -> Self {
        let retention = Retention { entries_max: 1_000, bytes_max: 1 << 20, age_max_ms: 1 << 40 };
        Self {
            core: None,
            store: Arc::new(MemoryStore::new(retention)),
            unsynced: VecDeque::new(),
            writes: Writes::default(),
            is_syncing: false,
            sync_ms: 0,
            limits: Limits {
                confirmed_by: plan.confirmed_by,
                device_uplinks: plan.device_uplinks,
                ..limits()
            },
            is_full: false,
            links: Vec::new(),
            stalls_until_ms: 0,
            doom: None,
            turn_ms: None,
            has_publisher: false,
            started_ms: 0,
            last_link: 0,
            last_request: 0,
            random: seed::stream(plan.seed, "control plane", 0),
        }
    }

    /// The core's clock begins with the process.
    pub(crate) fn now(&self, ms: u64, unix_ms: u64) -> Now {
        Now { ms: ms - self.started_ms, unix_ms }
    }

    /// The process starts over what is durable.
    pub(crate) fn starts(&mut self, ms: u64, unix_ms: u64) -> Result<(), StoreError> {
        self.started_ms = ms;
        let mut own_seed = [0; 32];
        self.random.fill_bytes(&mut own_seed);
        let store: Arc<dyn Store> = self.store.clone();
        let limits = self.limits.clone();
        let now = self.now(ms, unix_ms);
        self.core = Some(Core::new(now, store, vault(), limits, Vec::new(), own_seed)?);
        self.has_publisher = false;
        self.doom = None;
        Ok(())
    }

    /// The process is gone. Of what was submitted a beginning may have reached the disk.
    pub(crate) fn dies(&mut self) -> Vec<Transaction> {
        self.core = None;
        self.doom = None;
        self.is_syncing = false;
        self.writes = Writes::default();
        self.turn_ms = None;
        self.stalls_until_ms = 0;
        for link in &mut self.links {
            link.id = None;
            link.window = Window::default();
            link.up = link.up.take().map(|up| up.reattached().expect("our own ring"));
            link.down = link.down.take().map(|down| down.reattached().expect("our own ring"));
        }
        let kept = self.random.random_range(0..=self.unsynced.len());
        self.unsynced.drain(kept..);
        self.unsynced.drain(..).map(|(_, transaction)| transaction).collect()
    }

    /// The dataplane has made other rings.
    pub(crate) fn replaces_rings(&mut self, others: Vec<(Consumer, Producer)>) -> Vec<LinkId> {
        let gone = self.links.iter().filter_map(|link| link.id).collect();
        self.links = others
            .into_iter()
            .enumerate()
            .map(|(worker, (up, down))| Link {
                worker: worker as u8,
                id: None,
                window: Window::default(),
                up: Some(up),
                down: Some(down),
            })
            .collect();
        gone
    }

    /// Rings are read once the publisher was connected, or a second has passed.
    pub(crate) fn is_open(&self, ms: u64) -> bool {
        self.has_publisher || ms >= self.started_ms + 1_000
    }

    pub(crate) fn next_link(&mut self) -> LinkId {
        self.last_link += 1;
        LinkId(self.last_link)
    }

    pub(crate) fn next_request(&mut self) -> RequestId {
        self.last_request += 1;
        RequestId(self.last_request)
    }

    /// Whether the process dies here.
    pub(crate) fn dies_at(&mut self, point: Point) -> bool {
        dies_at(&mut self.doom, point)
    }

    /// The process does something with its core and its links; `None`: it died of it.
    pub(crate) fn lives<T>(&mut self, act: impl FnOnce(&mut Core, &mut [Link]) -> T) -> Option<T> {
        let (core, links) = (self.core.as_mut()?, &mut self.links);
        lives(&mut self.doom, || act(core, links))
    }

    /// Milliseconds until a sync is done.
    pub(crate) fn syncs_in_ms(&mut self) -> u64 {
        self.sync_ms + self.random.random_range(1..15)
    }

    /// Milliseconds between an event and the turn that sees it.
    pub(crate) fn wakes_in_ms(&mut self) -> u64 {
        self.random.random_range(0..4)
    }
}

/// Bounds small enough to be reached.
pub(crate) fn limits() -> Limits {
    Limits {
        publishes_in_flight_max: 24,
        queue_messages_per_device_max: QUEUE_MAX,
        ..Limits::default()
    }
}

/// Open messages of one device at most.
pub(crate) const QUEUE_MAX: usize = 8;

/// The store's keys.
pub(crate) fn vault() -> Vault {
    Vault::new(&[9; 32])
}
