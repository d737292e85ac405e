//! How many devices of one radio cell may have a message under way at once? As many as its window
//! says. A cell is an application profile that has a `CellWindow`.
//!
//! ```text
//! message ─ a place in the window? ─ yes ─▶ handed over; its place is free again when the device
//!                 │                         acknowledges, when it ends, or when it is repeated
//!                 └ no ─▶ its device waits in the cell's line
//! acknowledged at once ─▶ the window grows: by 1, and after the first loss by 1 / window
//! acknowledged after a repetition ─▶ half the window, once for all that was under way then
//! ```
//!
//! *Why a place is free when its message is repeated:* what is lost backs off by itself (RFC 7252
//! section 4.2), and a device that is switched off keeps nobody waiting. *Why no acknowledgement at
//! all says nothing:* most devices that do not answer sleep.
//!
//! *Bound:* a place for each message under way, a device once in a line; at most as many cells as
//! profiles.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use tidegate_coap::timing::Timing;

use super::terms::Terms;
use super::{Core, Now};
use crate::model::{DeviceId, MessageId, ProfileId, ProfileTerms};

/// All cells that messages went to lately.
#[derive(Default)]
pub(super) struct Cells {
    by_profile: HashMap<ProfileId, Cell>,
    /// Whose place each message has.
    places: HashMap<MessageId, (ProfileId, u64)>,
    /// When places are free again at the latest.
    due: BTreeSet<(u64, MessageId)>,
    /// Cells with room for somebody in their line.
    freed: BTreeSet<ProfileId>,
}

/// One cell.
struct Cell {
    /// Messages that may be under way.
    window: f32,
    /// Where the window stops to grow by whole messages.
    threshold: f32,
    under_way: usize,
    line: VecDeque<DeviceId>,
    in_line: HashSet<DeviceId>,
    /// What was sent before that has had its say.
    shrunk_ms: u64,
    touched_ms: u64,
}

/// What a profile says of its cell.
#[derive(Clone, Copy, Debug)]
pub(super) struct CellTerms {
    pub(super) profile: ProfileId,
    /// Largest window.
    pub(super) most: u32,
    /// When a message that is not acknowledged is repeated: at the earliest, at the latest.
    pub(super) repeated_ms: (u64, u64),
}

impl CellTerms {
    pub(super) fn new(profile: ProfileId, most: u32, said: &ProfileTerms) -> Self {
        let own = Timing::DEFAULT;
        let timing = Timing {
            ack_timeout_ms: said.ack_timeout_ms.unwrap_or(own.ack_timeout_ms),
            ack_random_percent: said
                .ack_random_percent
                .map_or(own.ack_random_percent, |p| p as u16),
            ..own
        };
        let repeated_ms = (timing.first_timeout_ms(0), timing.first_timeout_ms(u16::MAX));
        Self { profile, most, repeated_ms }
    }
}

/// *Why 10:* what RFC 6928 lets a sender begin with that knows nothing of the path.
const WINDOW_FIRST: f32 = 10.0;
const WINDOW_LEAST: f32 = 1.0;
/// What is known of a cell is forgotten after EXCHANGE_LIFETIME.
const KNOWN_MS: u64 = Timing::DEFAULT.exchange_lifetime_ms();

impl Cell {
    fn new(most: u32) -> Self {
        Self {
            window: WINDOW_FIRST.min(most as f32),
            threshold: most as f32,
            under_way: 0,
            line: VecDeque::new(),
            in_line: HashSet::new(),
            shrunk_ms: 0,
            touched_ms: 0,
        }
    }

    fn has_room(&self) -> bool {
        self.under_way < self.window as usize
    }

    fn is_idle(&self) -> bool {
        self.under_way == 0 && self.line.is_empty()
    }

    fn grow(&mut self, most: u32) {
        // A window that is not used says nothing of a larger one.
        if self.under_way + 1 >= self.window as usize {
            let by = if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
            self.window = (self.window + by).min(most as f32);
        }
    }

    fn shrink(&mut self, now_ms: u64, sent_ms: u64) {
        if sent_ms >= self.shrunk_ms {
            self.window = (self.window / 2.0).max(WINDOW_LEAST);
            (self.threshold, self.shrunk_ms) = (self.window, now_ms);
        }
    }
}

impl Cells {
    /// Whether a message may go to the device now; if not, it waits in line.
    fn has_room(&mut self, now: Now, cell: &CellTerms, device: DeviceId) -> bool {
        let known = self.by_profile.entry(cell.profile).or_insert_with(|| Cell::new(cell.most));
        if known.is_idle() && known.touched_ms + KNOWN_MS < now.ms {
            *known = Cell::new(cell.most);
        }
        known.touched_ms = now.ms;
        known.window = known.window.min(cell.most as f32);
        let has_room = known.has_room();
        if !has_room && known.in_line.insert(device) {
            known.line.push_back(device);
        }
        has_room
    }

    /// A message goes.
    pub(super) fn take(&mut self, now: Now, cell: &CellTerms, id: MessageId) {
        self.free(id);
        if let Some(known) = self.by_profile.get_mut(&cell.profile) {
            known.under_way += 1;
            let due_ms = now.ms + cell.repeated_ms.1;
            self.places.insert(id, (cell.profile, due_ms));
            self.due.insert((due_ms, id));
        }
    }

    /// A message has no place any more.
    pub(super) fn free(&mut self, id: MessageId) {
        let Some((profile, due_ms)) = self.places.remove(&id) else { return };
        self.due.remove(&(due_ms, id));
        if let Some(known) = self.by_profile.get_mut(&profile) {
            known.under_way -= 1;
            if !known.line.is_empty() {
                self.freed.insert(profile);
            }
        }
    }

    /// Is the device in the line of its cell?
    pub(super) fn is_in_line(&self, cell: &CellTerms, device: DeviceId) -> bool {
        self.by_profile.get(&cell.profile).is_some_and(|known| known.in_line.contains(&device))
    }

    /// When [`Core::serve_cells`] has something to do.
    pub(super) fn due_ms(&self) -> Option<u64> {
        let first = self.due.first().map(|(due_ms, _)| *due_ms);
        if self.freed.is_empty() { first } else { Some(0) }
    }

    /// Profiles have changed, or are gone.
    pub(super) fn forget_idle(&mut self) {
        self.by_profile.retain(|_, known| !known.is_idle());
    }

    fn next_in_line(&mut self, profile: ProfileId) -> Option<DeviceId> {
        let known = self.by_profile.get_mut(&profile).filter(|known| known.has_room())?;
        let device = known.line.pop_front()?;
        known.in_line.remove(&device);
        Some(device)
    }
}

impl Core {
    /// Has the next message of the device a place in its cell? Without a cell it needs none.
    pub(super) fn has_place(&mut self, now: Now, device: DeviceId, terms: Option<&Terms>) -> bool {
        let cell = terms.and_then(|terms| terms.cell);
        cell.is_none_or(|cell| self.cells.has_room(now, &cell, device))
    }

    /// A message was acknowledged, so long after it was sent.
    pub(super) fn on_acknowledged(
        &mut self,
        now: Now,
        device: DeviceId,
        id: MessageId,
        span_ms: u64,
    ) {
        let terms = self.terms(device).ok().flatten();
        let Some(cell) = terms.and_then(|terms| terms.cell) else { return };
        if let Some(known) = self.cells.by_profile.get_mut(&cell.profile) {
            if span_ms < cell.repeated_ms.0 {
                known.grow(cell.most);
            } else {
                known.shrink(now.ms, now.ms.saturating_sub(span_ms));
            }
        }
        self.cells.free(id);
    }

    /// What has room now goes, in the order in which it came.
    pub(super) fn serve_cells(&mut self, now: Now) {
        while let Some((due_ms, id)) = self.cells.due.first().copied()
            && due_ms <= now.ms
        {
            self.cells.free(id);
        }
        while let Some(profile) = self.cells.freed.pop_first() {
            while let Some(device) = self.cells.next_in_line(profile) {
                self.hand_over(now, device);
            }
        }
    }
}
