//! Who follows the customer's log? Files, collectors and clients, none of which may hold it up.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::broadcast;

use super::{FEED_ENTRIES_MAX, Logged};

/// Where entries come by. Who is too slow misses the oldest, and that is counted.
#[derive(Clone, Debug)]
pub struct Feed {
    entries: broadcast::Sender<Arc<Logged>>,
    missed: Arc<AtomicU64>,
}

/// One that follows.
#[derive(Debug)]
pub struct Follower {
    entries: broadcast::Receiver<Arc<Logged>>,
    missed: Arc<AtomicU64>,
}

impl Feed {
    /// Nobody follows yet.
    pub fn new() -> Self {
        Self { entries: broadcast::channel(FEED_ENTRIES_MAX).0, missed: Arc::default() }
    }

    /// An entry for all that follow.
    pub fn tell(&self, entry: Arc<Logged>) {
        let _ = self.entries.send(entry);
    }

    /// From now on.
    pub fn follow(&self) -> Follower {
        Follower { entries: self.entries.subscribe(), missed: self.missed.clone() }
    }

    /// Entries that somebody missed.
    pub fn missed(&self) -> u64 {
        self.missed.load(Ordering::Relaxed)
    }
}

impl Default for Feed {
    fn default() -> Self {
        Self::new()
    }
}

impl Follower {
    /// The next entry; `None`: there will be no more.
    pub async fn next(&mut self) -> Option<Arc<Logged>> {
        loop {
            match self.entries.recv().await {
                Ok(entry) => return Some(entry),
                Err(broadcast::error::RecvError::Lagged(count)) => {
                    self.missed.fetch_add(count, Ordering::Relaxed);
                }
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next entry that is there already.
    pub fn try_next(&mut self) -> Option<Arc<Logged>> {
        loop {
            match self.entries.try_recv() {
                Ok(entry) => return Some(entry),
                Err(broadcast::error::TryRecvError::Lagged(count)) => {
                    self.missed.fetch_add(count, Ordering::Relaxed);
                }
                Err(_) => return None,
            }
        }
    }
}
