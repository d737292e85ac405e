//! How does a worker speak to the control plane? On its ring, and Hello is the first word of each
//! of its lives: before that was said nothing else is. *Why:* the control plane answers Hello with
//! the sheets, without which nobody is served, and counts what the life before had begun as lost;
//! and a worker may begin beside a ring that is full.

use tidegate_ring::contract::{Hello, Kind};
use tidegate_ring::{Full, Producer, Seq};
use zerocopy::IntoBytes;

/// The worker's end of the ring to the control plane.
pub(super) struct Up {
    ring: Producer,
    /// Not said yet.
    hello: Option<Hello>,
}

/// What an entry has beside its tail, bytes: at most.
pub(super) const HEADS_BYTES: usize = 96;

impl Up {
    /// Of a life that nothing has been said in. `incarnation`: tells it from all others.
    pub(super) fn new(ring: Producer, incarnation: u64, worker: u8, workers: u8) -> Self {
        let hello = Hello { incarnation: incarnation.into(), worker, workers };
        Self { ring, hello: Some(hello) }
    }

    /// Says Hello, if that has found no room before.
    pub(super) fn greet(&mut self) -> Result<(), Full> {
        if let Some(hello) = &self.hello {
            self.ring.push(Kind::Hello as u8, &[hello.as_bytes()], 0)?;
            self.hello = None;
        }
        Ok(())
    }

    /// One entry from `parts`, one after the other, if so much room is left behind it.
    pub(super) fn push(
        &mut self,
        kind: Kind,
        parts: &[&[u8]],
        leave_free_bytes: usize,
    ) -> Result<Seq, Full> {
        self.greet()?;
        self.ring.push(kind as u8, parts, leave_free_bytes)
    }

    /// Whether an entry with so long a tail finds room.
    pub(super) fn has_room(&mut self, tail_bytes: usize) -> bool {
        self.greet().is_ok() && self.ring.free_bytes() >= tail_bytes + HEADS_BYTES
    }

    /// For the shell.
    pub(super) fn ring(&mut self) -> &mut Producer {
        &mut self.ring
    }

    pub(super) fn free_bytes(&mut self) -> usize {
        self.ring.free_bytes()
    }

    /// For the next life.
    pub(super) fn into_ring(self) -> Producer {
        self.ring
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_ring::heap_pair;

    /// Whatever comes first when there is room again, Hello goes before it.
    #[test]
    fn nothing_is_said_before_hello() {
        let (mut ring, mut reader) = heap_pair(1 << 16);
        while ring.push(Kind::Counters as u8, &[&[0; 2_048]], 0).is_ok() {}
        while ring.push(Kind::Counters as u8, &[], 0).is_ok() {}
        let mut up = Up::new(ring, 7, 0, 1);
        assert!(up.greet().is_err() && up.push(Kind::Uplink, &[b"early"], 0).is_err());
        reader.discard().expect("our own ring");
        up.push(Kind::Uplink, &[b"late"], 0).expect("room");
        up.greet().expect("it was said");
        let mut kinds = Vec::new();
        while let Some(entry) = reader.next().expect("our own ring") {
            kinds.push(entry.kind);
        }
        assert_eq!(kinds, [Kind::Hello as u8, Kind::Uplink as u8]);
    }
}
