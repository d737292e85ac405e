//! Where is the body of a message that goes to its device block by block? In the queue, with the
//! message; the bodies that workers ask for lately are at hand.
//!
//! *Bound:* `KEPT_BYTES_MAX` of them; the one asked for least lately gives way. A message's body is
//! read again when it is not at hand.

use std::collections::VecDeque;
use std::sync::Arc;

use tidegate_ring::Seq;
use tidegate_ring::contract::{Kind, Piece, TAIL_BYTES_MAX, Wanted};
use zerocopy::IntoBytes;

use super::messages::OUTCOME_MAX_MS;
use super::{Core, LinkId, Now};
use crate::model::{DeviceId, MessageId};
use crate::store::queue::{self, Waiting};

/// Bodies at hand.
#[derive(Default)]
pub(super) struct Long {
    /// Asked for least lately first.
    kept: VecDeque<(MessageId, Arc<[u8]>)>,
    bytes: usize,
}

const KEPT_BYTES_MAX: usize = 16 << 20;

impl Long {
    fn get(&mut self, id: MessageId) -> Option<Arc<[u8]>> {
        let at = self.kept.iter().position(|(kept, _)| *kept == id)?;
        let kept = self.kept.remove(at)?;
        let body = kept.1.clone();
        self.kept.push_back(kept);
        Some(body)
    }

    pub(super) fn keep(&mut self, id: MessageId, body: Arc<[u8]>) {
        self.bytes += body.len();
        self.kept.push_back((id, body));
        while self.bytes > KEPT_BYTES_MAX
            && let Some((_, oldest)) = self.kept.pop_front()
        {
            self.bytes -= oldest.len();
        }
    }

    pub(super) fn forget(&mut self, id: MessageId) {
        if let Some(at) = self.kept.iter().position(|(kept, _)| *kept == id)
            && let Some((_, body)) = self.kept.remove(at)
        {
            self.bytes -= body.len();
        }
    }
}

impl Core {
    /// A worker wants a piece of a body. A message that has ended has none any more.
    pub(super) fn on_wanted(
        &mut self,
        now: Now,
        link: LinkId,
        seq: Seq,
        bytes: &[u8],
    ) -> Option<()> {
        let (wanted, _) = Wanted::split(bytes)?;
        let (device, id) = (DeviceId(wanted.device), MessageId(wanted.message_id));
        let body = self.long_body(device, id);
        let rest = body.as_deref().and_then(|body| body.get(wanted.offset.get() as usize..));
        let piece = rest.map_or(&[][..], |rest| &rest[..rest.len().min(TAIL_BYTES_MAX)]);
        let head = Piece { body: wanted.body, offset: wanted.offset };
        self.post(link, Kind::Piece, &[head.as_bytes(), piece], Some(seq));
        // Its device takes it, however long that takes.
        self.messages.set_due(device, id, now.ms + OUTCOME_MAX_MS);
        Some(())
    }

    fn long_body(&mut self, device: DeviceId, id: MessageId) -> Option<Arc<[u8]>> {
        let Some(place) = self.messages.get_mut(device, id).map(|open| open.place) else {
            let kept = self.long.get(id);
            return kept.or_else(|| self.edge_body(device, id).map(Arc::from));
        };
        if let Some(body) = self.long.get(id) {
            return Some(body);
        }
        let queued = queue::claim(&*self.store, device, place).ok()??;
        let body = match queued.waiting {
            Waiting::Answer => queued.body,
            Waiting::Immediate | Waiting::Queued => queued.request().ok()?.payload,
        };
        let body: Arc<[u8]> = body.into();
        self.long.keep(id, body.clone());
        Some(body)
    }
}
