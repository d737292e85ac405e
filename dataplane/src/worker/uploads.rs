//! What of a long body is here? The blocks that devices have sent of their requests (RFC 7959, and
//! in any order RFC 9177), until the last one makes a request of them.
//!
//! A body belongs to its device, not to a session: it goes on at another address, and in the
//! session of another handshake. Blocks of one body have the same method and the same options, but
//! for those that say which block it is and those that are no part of a cache key (RFC 9175 section
//! 3.3); so a Request-Tag tells bodies apart that are under way at once.
//!
//! *Bound:* the chunks of the arena, a quarter of which no new body may begin in, and
//! `UPLOADS_PER_DEVICE_MAX` bodies of one device.

use super::gathering::Gathering;
use crate::arena::{Arena, Chain};
use crate::bounds::{UPLOAD_GRACE_MS, UPLOADS_PER_DEVICE_MAX};
use crate::pool::Pool;
use foldhash::fast::RandomState;
use hashbrown::HashMap;
use std::hash::{BuildHasher, Hasher};
use tidegate_coap::block::{Block, Collect, Part};
use tidegate_coap::code::Code;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;
use tidegate_ring::contract::DeviceId;

/// All bodies of one worker that are not whole.
#[derive(Debug)]
pub(super) struct Uploads {
    pool: Pool<Upload>,
    arena: Arena,
    of_device: HashMap<DeviceId, [Option<u32>; UPLOADS_PER_DEVICE_MAX], RandomState>,
    /// The one that waits longest for its next block, and the one whose block came last.
    oldest: Option<u32>,
    newest: Option<u32>,
    names: RandomState,
}

/// Which body a block belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Name {
    device: DeviceId,
    method: Code,
    /// A hash of the options that count. *Why that is enough:* only bodies of one device are told
    /// apart by it.
    options: u64,
}

/// One body.
#[derive(Debug)]
struct Upload {
    name: Name,
    progress: Progress,
    chain: Chain,
    /// When its last block came.
    touched_ms: u64,
    older: Option<u32>,
    newer: Option<u32>,
}

/// How far a body is.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::large_enum_variant, reason = "it stands in a place of a pool, whichever it is")]
pub(super) enum Progress {
    /// Its blocks come one behind the other.
    InOrder(Collect),
    /// They come as they like.
    AnyOrder(Gathering),
}

/// What became of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It is kept, or was: send the next.
    Next,
    /// It is the last one: the body is here but for this block's payload, under this number.
    Last(u32),
    /// It is not kept, for this reason.
    Refused(Part),
    /// There is no room.
    NoRoom,
}

impl Uploads {
    /// With memory for so many KiB.
    pub(super) fn new(kib: u32) -> Self {
        let bodies = kib as usize;
        Self {
            pool: Pool::new(kib),
            arena: Arena::new(kib),
            of_device: HashMap::with_capacity_and_hasher(bodies, RandomState::default()),
            oldest: None,
            newest: None,
            names: RandomState::default(),
        }
    }

    /// How many bodies there are.
    pub(super) fn len(&self) -> usize {
        self.pool.len()
    }

    /// Their memory, and what there is of it, bytes.
    pub(super) fn memory(&self) -> (u64, u64) {
        let bytes = |chunks: u32| u64::from(chunks) * crate::arena::CHUNK_BYTES as u64;
        (bytes(self.arena.used()), bytes(self.arena.capacity()))
    }

    /// Which body a request of this device is about.
    pub(super) fn name(&self, device: DeviceId, request: &Message<'_>) -> Name {
        let mut hasher = self.names.build_hasher();
        hasher.write_u8(is_quick(request).into());
        for option in &request.options {
            // A request for more blocks has no Observe (RFC 7959 section 2.6, 9177 section 4.5).
            let is_part = matches!(
                option.number,
                Number::BLOCK1
                    | Number::BLOCK2
                    | Number::Q_BLOCK1
                    | Number::Q_BLOCK2
                    | Number::OBSERVE
            );
            if !is_part && !is_no_cache_key(option.number) {
                hasher.write_u16(option.number.0);
                hasher.write_usize(option.value.len());
                hasher.write(option.value);
            }
        }
        Name { device, method: request.code, options: hasher.finish() }
    }

    /// Takes a block. How many other bodies had to give way comes with it.
    pub(super) fn take(
        &mut self,
        now_ms: u64,
        name: Name,
        block: Block,
        request: &Message<'_>,
        longest_bytes: usize,
    ) -> (Kept, usize) {
        let size1 = request.options.uint(Number::SIZE1);
        let payload = request.payload;
        let mut found = self.find(name);
        if block.number() == 0
            && let Some(number) = found.take()
        {
            self.forget(number);
        }
        let collect = found.and_then(|number| match self.pool.get(number)?.progress {
            Progress::InOrder(collect) => Some(collect),
            Progress::AnyOrder(_) => None,
        });
        let judged = collect.unwrap_or_default().judge(block, payload.len(), size1, longest_bytes);
        match judged {
            Part::Again => (Kept::Next, 0),
            Part::Last => (found.map_or(Kept::Refused(Part::Missing), Kept::Last), 0),
            Part::Next => self.keep(now_ms, name, found, payload),
            Part::TooLarge => {
                if let Some(number) = found {
                    self.forget(number);
                }
                (Kept::Refused(judged), 0)
            }
            Part::Missing | Part::Malformed => (Kept::Refused(judged), 0),
        }
    }

    /// Keeps the payload of a block that is the next one.
    fn keep(
        &mut self,
        now_ms: u64,
        name: Name,
        found: Option<u32>,
        payload: &[u8],
    ) -> (Kept, usize) {
        let mut gave_way = 0;
        let has_room = loop {
            let empty = Chain::new();
            let upload = found.and_then(|number| self.pool.get(number));
            let chain = upload.map_or(&empty, |upload| &upload.chain);
            let is_open = found.is_some() || self.arena.used() < self.beginnings_max();
            if is_open && self.arena.has_room(chain, payload.len()) {
                break true;
            }
            if !self.oldest_gives_way(now_ms, found) {
                break false;
            }
            gave_way += 1;
        };
        if !has_room {
            return (Kept::NoRoom, gave_way);
        }
        let number = if let Some(number) = found {
            number
        } else {
            let progress = Progress::InOrder(Collect::default());
            let (number, pushed_out) = self.begin(now_ms, name, progress, Chain::new());
            gave_way += pushed_out;
            number
        };
        let upload = self.pool.get_mut(number).expect("it was just found or made");
        assert!(self.arena.append(&mut upload.chain, payload), "room was made for it");
        if let Progress::InOrder(collect) = &mut upload.progress {
            collect.take(payload.len());
        }
        self.touch(now_ms, number);
        (Kept::Next, gave_way)
    }

    /// Puts the payload of a block in its place in a body, which is begun if it was not found. Its
    /// number, if there was room, and how many other bodies had to give way.
    pub(super) fn put(
        &mut self,
        now_ms: u64,
        name: Name,
        found: Option<u32>,
        progress: Progress,
        (offset, payload): (usize, &[u8]),
    ) -> (Option<u32>, usize) {
        let (mut gave_way, mut begun) = (0, Chain::new());
        loop {
            let is_open = found.is_some() || self.arena.used() < self.beginnings_max();
            let upload = found.and_then(|number| self.pool.get_mut(number));
            let chain = upload.map_or(&mut begun, |upload| &mut upload.chain);
            if is_open && self.arena.put(chain, offset, payload) {
                break;
            }
            if !self.oldest_gives_way(now_ms, found) {
                return (None, gave_way);
            }
            gave_way += 1;
        }
        let number = found.unwrap_or_else(|| {
            let (number, pushed_out) = self.begin(now_ms, name, progress, begun);
            gave_way += pushed_out;
            number
        });
        self.set_progress(now_ms, number, progress);
        (Some(number), gave_way)
    }

    /// A body whose blocks come as they like.
    pub(super) fn gathering(&self, number: u32) -> Option<&Gathering> {
        match &self.pool.get(number)?.progress {
            Progress::AnyOrder(gathering) => Some(gathering),
            Progress::InOrder(_) => None,
        }
    }

    /// The same, to be changed.
    pub(super) fn gathering_mut(&mut self, number: u32) -> Option<&mut Gathering> {
        match &mut self.pool.get_mut(number)?.progress {
            Progress::AnyOrder(gathering) => Some(gathering),
            Progress::InOrder(_) => None,
        }
    }

    /// The body stands as it says, and was touched.
    pub(super) fn set_progress(&mut self, now_ms: u64, number: u32, progress: Progress) {
        if let Some(upload) = self.pool.get_mut(number) {
            upload.progress = progress;
        }
        self.touch(now_ms, number);
    }

    /// The bodies of a device.
    pub(super) fn of(&self, device: &DeviceId) -> impl Iterator<Item = u32> {
        self.of_device.get(device).into_iter().flatten().filter_map(|place| *place)
    }

    /// Which body it is.
    pub(super) fn name_of(&self, number: u32) -> Option<Name> {
        Some(self.pool.get(number)?.name)
    }

    /// The bytes of a body but for its last block.
    pub(super) fn pieces(&self, number: u32) -> impl Iterator<Item = &[u8]> {
        let chain = self.pool.get(number).map(|upload| &upload.chain);
        chain.into_iter().flat_map(|chain| self.arena.pieces(chain))
    }

    /// Keeps bytes of another body: a response.
    pub(super) fn append(&mut self, chain: &mut Chain, bytes: &[u8]) -> bool {
        self.arena.append(chain, bytes)
    }

    /// The bytes of such a body.
    pub(super) fn pieces_of<'a>(&'a self, chain: &Chain) -> impl Iterator<Item = &'a [u8]> {
        self.arena.pieces(chain)
    }

    /// Takes such a body's memory back.
    pub(super) fn release(&mut self, chain: &mut Chain) {
        self.arena.release(chain);
    }

    /// How many they are.
    pub(super) fn bytes(&self, number: u32) -> usize {
        self.pool.get(number).map_or(0, |upload| upload.chain.len())
    }

    /// Forgets a body.
    pub(super) fn forget(&mut self, number: u32) {
        self.unlink(number);
        let Some(mut upload) = self.pool.remove(number) else { return };
        self.arena.release(&mut upload.chain);
        let device = upload.name.device;
        if let Some(places) = self.of_device.get_mut(&device) {
            for place in &mut *places {
                place.take_if(|there| *there == number);
            }
            if places.iter().all(Option::is_none) {
                self.of_device.remove(&device);
            }
        }
    }

    /// Forgets a body whose last block came before `before_ms`; false: there is none.
    pub(super) fn forget_older(&mut self, before_ms: u64) -> bool {
        let oldest = self.oldest.filter(|number| self.touched_ms(*number) < before_ms);
        oldest.map(|number| self.forget(number)).is_some()
    }

    pub(super) fn find(&self, name: Name) -> Option<u32> {
        let places = self.of_device.get(&name.device)?;
        let is_it = |number: &u32| self.pool.get(*number).is_some_and(|upload| upload.name == name);
        places.iter().flatten().copied().find(is_it)
    }

    /// A new body. The caller has seen that there is a chunk for it, and so a place.
    fn begin(&mut self, now_ms: u64, name: Name, progress: Progress, chain: Chain) -> (u32, usize) {
        let mut pushed_out = 0;
        if let Some(places) = self.of_device.get(&name.device)
            && places.iter().all(Option::is_some)
        {
            let touched = |number: &u32| self.touched_ms(*number);
            if let Some(number) = places.iter().flatten().copied().min_by_key(touched) {
                self.forget(number);
                pushed_out = 1;
            }
        }
        let (older, newer) = (None, None);
        let upload = Upload { name, progress, chain, touched_ms: now_ms, older, newer };
        let key = self.pool.insert(0, upload).expect("each body has a chunk, each chunk a place");
        let places = self.of_device.entry(name.device).or_default();
        let free = places.iter_mut().find(|place| place.is_none());
        *free.expect("one gave way") = Some(key.number);
        self.link_newest(key.number);
        (key.number, pushed_out)
    }

    /// Forgets the body that is idle longest, if that is long, and not `but`.
    fn oldest_gives_way(&mut self, now_ms: u64, but: Option<u32>) -> bool {
        self.oldest != but && self.forget_older(now_ms.saturating_sub(UPLOAD_GRACE_MS))
    }

    /// Chunks in use at which no body is begun any more: the rest is for those that are under way.
    fn beginnings_max(&self) -> u32 {
        self.arena.capacity().div_ceil(4) * 3
    }

    fn touch(&mut self, now_ms: u64, number: u32) {
        self.unlink(number);
        if let Some(upload) = self.pool.get_mut(number) {
            upload.touched_ms = now_ms;
        }
        self.link_newest(number);
    }

    fn touched_ms(&self, number: u32) -> u64 {
        self.pool.get(number).map_or(0, |upload| upload.touched_ms)
    }

    fn link_newest(&mut self, number: u32) {
        let before = self.newest.replace(number);
        match before.and_then(|before| self.pool.get_mut(before)) {
            Some(before) => before.newer = Some(number),
            None => self.oldest = Some(number),
        }
        if let Some(upload) = self.pool.get_mut(number) {
            (upload.older, upload.newer) = (before, None);
        }
    }

    fn unlink(&mut self, number: u32) {
        let Some(upload) = self.pool.get_mut(number) else { return };
        let (older, newer) = (upload.older.take(), upload.newer.take());
        match older.and_then(|older| self.pool.get_mut(older)) {
            Some(upload) => upload.newer = newer,
            None => self.oldest = newer,
        }
        match newer.and_then(|newer| self.pool.get_mut(newer)) {
            Some(upload) => upload.older = older,
            None => self.newest = older,
        }
    }
}

/// Whether a request speaks Q-Block (RFC 9177 section 4.1): its response may, too.
pub(super) fn is_quick(request: &Message<'_>) -> bool {
    let is_one = |number| matches!(number, Number::Q_BLOCK1 | Number::Q_BLOCK2);
    request.options.iter().any(|option| is_one(option.number))
}

/// RFC 7252 section 5.4.6: what of an option's number says that it is no part of a cache key.
fn is_no_cache_key(number: Number) -> bool {
    !number.is_unsafe() && number.is_no_cache_key()
}
