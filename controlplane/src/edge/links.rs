//! Which workers are there? Rings are attached as they are found, and let go when they change.

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_ring::Seq;
use tidegate_ring::link::{self, LinkError};
use tokio::sync::Notify;

use super::link::Link;
use super::window::Took;
use crate::core::{Core, LinkId, Now, Post};

/// Every attached worker.
pub(super) struct Links {
    run_dir: PathBuf,
    rung: Arc<Notify>,
    attached: Vec<Link>,
    last_id: u32,
    next_scan_ms: u64,
    /// What was last said in the log about a worker that can't be attached.
    said: BTreeMap<u8, String>,
}

const SCAN_MS: u64 = 250;

impl Links {
    pub(super) fn new(run_dir: PathBuf, rung: Arc<Notify>) -> Self {
        Self {
            run_dir,
            rung,
            attached: Vec::new(),
            last_id: 0,
            next_scan_ms: 0,
            said: BTreeMap::new(),
        }
    }

    /// Looks for new rings and for rings that were replaced, now and then.
    pub(super) fn scan(&mut self, now: Now, core: &mut Core) {
        if now.ms < self.next_scan_ms {
            return;
        }
        self.next_scan_ms = now.ms + SCAN_MS;
        let gone = self.attached.iter().position(|link| !link.ends.is_current());
        if let Some(gone) = gone {
            self.detach(gone, core, "its rings were replaced");
        }
        let workers = match link::scan(&self.run_dir) {
            Ok(workers) => workers,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return,
            Err(error) => return self.say(0, format!("{}: {error}", self.run_dir.display())),
        };
        for worker in workers {
            if self.attached.iter().all(|link| link.ends.worker != worker) {
                self.attach(worker, core);
            }
        }
    }

    /// Up to `entries_max` entries of each worker; false: there were none.
    pub(super) fn take_entries(&mut self, now: Now, core: &mut Core, entries_max: usize) -> bool {
        let mut has_taken = false;
        let mut unusable = None;
        for (at, link) in self.attached.iter_mut().enumerate() {
            for _ in 0..entries_max {
                match link.take(now, core) {
                    Took::Entry => has_taken = true,
                    Took::Nothing => break,
                    Took::Unusable(corrupt) => {
                        unusable = Some((at, corrupt));
                        break;
                    }
                }
            }
        }
        if let Some((at, corrupt)) = unusable {
            // Attached again at a later scan, if it has become usable by then.
            self.detach(at, core, &corrupt.to_string());
        }
        has_taken
    }

    pub(super) fn post(&mut self, post: Post) {
        // A link that is gone took its exchanges and sessions' worker with it.
        if let Some(link) = self.get_mut(post.link) {
            link.post(post);
        }
    }

    pub(super) fn done(&mut self, link: LinkId, seq: Seq) {
        if let Some(link) = self.get_mut(link) {
            link.done(seq);
        }
    }

    pub(super) fn with_next(&mut self, link: LinkId, seq: Seq) {
        if let Some(link) = self.get_mut(link) {
            link.with_next(seq);
        }
    }

    pub(super) fn flush(&mut self) {
        for link in &mut self.attached {
            link.flush();
        }
    }

    pub(super) fn has_outgoing(&self) -> bool {
        self.attached.iter().any(Link::has_outgoing)
    }

    pub(super) fn prepare_sleep(&mut self) -> bool {
        let sleeps = self.attached.iter_mut().all(Link::prepare_sleep);
        if !sleeps {
            self.awake();
        }
        sleeps
    }

    pub(super) fn awake(&mut self) {
        for link in &mut self.attached {
            link.ends.up.awake();
        }
    }

    fn attach(&mut self, worker: u8, core: &mut Core) {
        let id = LinkId(self.last_id + 1);
        let ends = match link::control_side(&self.run_dir, worker) {
            Ok(ends) => ends,
            Err(LinkError::Absent { .. }) => return,
            Err(error) => return self.say(worker, error.to_string()),
        };
        match Link::new(id, ends, self.rung.clone()) {
            Ok(link) => {
                self.last_id = id.0;
                self.said.remove(&worker);
                tracing::info!(worker, "attached to a worker");
                core.on_attached(id, worker, link.ends.up.committed());
                self.attached.push(link);
            }
            Err(error) => self.say(worker, error.to_string()),
        }
    }

    fn detach(&mut self, at: usize, core: &mut Core, why: &str) {
        let link = self.attached.remove(at);
        tracing::warn!(worker = link.ends.worker, why, "detached from a worker");
        core.on_detached(link.id);
    }

    fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.attached.iter_mut().find(|link| link.id == id)
    }

    /// Once per worker and reason.
    fn say(&mut self, worker: u8, why: String) {
        if self.said.get(&worker) != Some(&why) {
            tracing::warn!(worker, why, "can't attach to a worker");
            self.said.insert(worker, why);
        }
    }
}
