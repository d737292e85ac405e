//! One worker's rings, from our side: the window of what is not finished, and the bell.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;

use tidegate_ring::Seq;
use tidegate_ring::link::ControlEnds;
use tokio::net::unix::pipe;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::window::{Took, Window};
use crate::core::{Core, LinkId, Now, Post};

/// One attachment.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) ends: ControlEnds,
    window: Window,
    bell: JoinHandle<()>,
}

impl Link {
    pub(super) fn new(id: LinkId, ends: ControlEnds, rung: Arc<Notify>) -> io::Result<Self> {
        let fifo = ends.bell.as_fd().try_clone_to_owned()?;
        let fifo = pipe::Receiver::from_owned_fd(fifo)?;
        let bell = tokio::spawn(listen(fifo, rung));
        Ok(Self { id, ends, window: Window::default(), bell })
    }

    /// One entry, if there is one and we may take it.
    pub(super) fn take(&mut self, now: Now, core: &mut Core) -> Took {
        self.window.take(&mut self.ends.up, self.id, now, core)
    }

    pub(super) fn post(&mut self, post: Post) {
        self.window.post(post);
    }

    pub(super) fn done(&mut self, seq: Seq) {
        self.window.done(&mut self.ends.up, seq);
    }

    pub(super) fn with_next(&mut self, seq: Seq) {
        self.window.with_next(seq);
    }

    /// Writes what fits and wakes the worker.
    pub(super) fn flush(&mut self) {
        if self.window.flush(&mut self.ends.up, &mut self.ends.down) {
            self.ends.down.wake_if_sleeping();
        }
    }

    pub(super) fn has_outgoing(&self) -> bool {
        self.window.has_outgoing()
    }

    /// May we sleep? A blocked link has nothing to wake up for.
    pub(super) fn prepare_sleep(&mut self) -> bool {
        self.window.is_blocked() || self.ends.up.prepare_sleep()
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.bell.abort();
    }
}

/// Tells when the bell rings.
async fn listen(fifo: pipe::Receiver, rung: Arc<Notify>) {
    let mut rings = [0; 64];
    while fifo.readable().await.is_ok() {
        match fifo.try_read(&mut rings) {
            Ok(0) => return,
            Ok(_) => rung.notify_one(),
            // Would block: not readable any more.
            Err(_) => {}
        }
    }
}
