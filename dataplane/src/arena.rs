//! Where do bodies lie that are not whole yet? In chunks of one arena, chained.
//!
//! *Bound:* the chunks there are; what is not used yet takes no memory, and nothing is allocated
//! after the start.

/// Bytes of a chunk: the largest block.
pub const CHUNK_BYTES: usize = 1_024;

/// Chunks, free and in use.
#[derive(Debug)]
pub struct Arena {
    bytes: Vec<u8>,
    /// Which part of its body a chunk holds, counted in chunks.
    part: Vec<u32>,
    /// What follows a chunk in its chain, or in the list of free ones.
    next: Vec<u32>,
    /// The first of the free chunks that were in use before.
    free: u32,
    /// Chunks from here on were never in use.
    fresh: u32,
    used: u32,
}

/// The bytes of one body, in the order of the body. Only its arena can read it, and takes it back.
#[derive(Debug)]
pub struct Chain {
    first: u32,
    last: u32,
    chunks: u32,
    /// Where its last byte ends in the body.
    len: usize,
}

impl Chain {
    /// No bytes.
    pub const fn new() -> Self {
        Self { first: NONE, last: NONE, chunks: 0, len: 0 }
    }

    /// Its bytes; with gaps in it, how far they reach.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Chain {
    fn default() -> Self {
        Self::new()
    }
}

impl Arena {
    /// So many chunks.
    pub fn new(chunks: u32) -> Self {
        // Zeroed memory of this size comes from the kernel page by page, when it is touched.
        let bytes = vec![0; chunks as usize * CHUNK_BYTES];
        let (part, next) = (vec![0; chunks as usize], vec![0; chunks as usize]);
        Self { bytes, part, next, free: NONE, fresh: 0, used: 0 }
    }

    /// Chunks there are.
    pub fn capacity(&self) -> u32 {
        self.next.len() as u32
    }

    /// Chunks in use.
    pub fn used(&self) -> u32 {
        self.used
    }

    /// Whether so many more bytes find room behind a chain.
    pub fn has_room(&self, chain: &Chain, bytes: usize) -> bool {
        let wanted = (chain.len + bytes).div_ceil(CHUNK_BYTES) - chain.len.div_ceil(CHUNK_BYTES);
        wanted <= (self.capacity() - self.used) as usize
    }

    /// Puts bytes behind a chain; false, and nothing has changed, when there is no room for them.
    pub fn append(&mut self, chain: &mut Chain, mut bytes: &[u8]) -> bool {
        if !self.has_room(chain, bytes.len()) {
            return false;
        }
        while !bytes.is_empty() {
            let room = CHUNK_BYTES - chain.len % CHUNK_BYTES;
            let (here, rest) = bytes.split_at(bytes.len().min(room));
            self.put(chain, chain.len, here);
            bytes = rest;
        }
        true
    }

    /// Puts bytes of one part of the body in their place, whatever is there before it; false, and
    /// nothing has changed, when there is no room for them.
    pub fn put(&mut self, chain: &mut Chain, offset: usize, bytes: &[u8]) -> bool {
        let (part, begun) = ((offset / CHUNK_BYTES) as u32, offset % CHUNK_BYTES);
        assert!(begun + bytes.len() <= CHUNK_BYTES, "a block is in one part of its body");
        let Some(chunk) = self.place(chain, part) else { return false };
        let at = chunk as usize * CHUNK_BYTES + begun;
        self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        chain.len = chain.len.max(offset + bytes.len());
        true
    }

    /// The chunk of a part, perhaps a new one. Bodies come in order, so most often it is the last.
    fn place(&mut self, chain: &mut Chain, part: u32) -> Option<u32> {
        let is_behind = chain.last == NONE || self.part[chain.last as usize] < part;
        let (mut before, mut next) =
            if is_behind { (chain.last, NONE) } else { (NONE, chain.first) };
        if !is_behind && self.part[chain.last as usize] == part {
            return Some(chain.last);
        }
        while next != NONE && self.part[next as usize] < part {
            (before, next) = (next, self.behind(chain, next));
        }
        if next != NONE && self.part[next as usize] == part {
            return Some(next);
        }
        if self.used == self.capacity() {
            return None;
        }
        let chunk = self.take();
        (self.part[chunk as usize], self.next[chunk as usize]) = (part, next);
        match before {
            NONE => chain.first = chunk,
            before => self.next[before as usize] = chunk,
        }
        if next == NONE {
            chain.last = chunk;
        }
        chain.chunks += 1;
        Some(chunk)
    }

    /// The chunk behind this one in its chain.
    fn behind(&self, chain: &Chain, chunk: u32) -> u32 {
        if chunk == chain.last { NONE } else { self.next[chunk as usize] }
    }

    /// The bytes of a chain without gaps, chunk by chunk.
    pub fn pieces<'a>(&'a self, chain: &Chain) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (mut chunk, mut left) = (chain.first, chain.len);
        std::iter::from_fn(move || {
            if left == 0 {
                return None;
            }
            let (at, here) = (chunk as usize * CHUNK_BYTES, left.min(CHUNK_BYTES));
            (chunk, left) = (self.next[chunk as usize], left - here);
            Some(&self.bytes[at..at + here])
        })
    }

    /// Takes a chain's chunks back; it has no bytes any more.
    pub fn release(&mut self, chain: &mut Chain) {
        if chain.chunks > 0 {
            self.next[chain.last as usize] = self.free;
            self.free = chain.first;
            self.used -= chain.chunks;
        }
        *chain = Chain::new();
    }

    /// The caller has seen that there is one.
    fn take(&mut self) -> u32 {
        self.used += 1;
        if self.free == NONE {
            self.fresh += 1;
            return self.fresh - 1;
        }
        let chunk = self.free;
        self.free = self.next[chunk as usize];
        chunk
    }
}

const NONE: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arena: &Arena, chain: &Chain) -> Vec<u8> {
        arena.pieces(chain).flatten().copied().collect()
    }

    /// Whatever the lengths of the parts, the bytes come out as they went in.
    #[test]
    fn what_goes_in_comes_out() {
        let mut arena = Arena::new(8);
        let (mut one, mut other) = (Chain::new(), Chain::new());
        let (mut of_one, mut of_other) = (Vec::new(), Vec::new());
        for (turn, len) in [16, 1_024, 1, 1_023, 600, 64].into_iter().enumerate() {
            let part: Vec<u8> = (0..len).map(|at| (at + turn) as u8).collect();
            assert!(arena.append(&mut one, &part));
            of_one.extend(&part);
            assert!(arena.append(&mut other, &part[..len.min(50)]));
            of_other.extend(&part[..len.min(50)]);
        }
        assert_eq!((read(&arena, &one), read(&arena, &other)), (of_one, of_other));
        assert_eq!(arena.used(), 4);
    }

    /// Blocks of any size in any order; a gap takes no memory.
    #[test]
    fn blocks_find_their_place() {
        for (block, stride) in [(1_024, 5), (1_024, 7), (512, 3), (256, 11), (16, 101)] {
            let mut arena = Arena::new(13);
            let body: Vec<u8> = (0..12 * CHUNK_BYTES + 9).map(|at| (at / 7) as u8).collect();
            let mut chain = Chain::new();
            let blocks = body.len().div_ceil(block);
            for turn in 0..blocks {
                let from = turn * stride % blocks * block;
                let to = body.len().min(from + block);
                assert!(arena.put(&mut chain, from, &body[from..to]));
                assert!(arena.used() as usize <= turn + 1, "no more chunks than blocks");
            }
            assert_eq!((arena.used(), chain.len()), (13, body.len()));
            assert!(read(&arena, &chain) == body, "{block} {stride}");
            arena.release(&mut chain);
            assert_eq!(arena.used(), 0);
        }
    }

    #[test]
    fn a_block_without_room_changes_nothing() {
        let mut arena = Arena::new(2);
        let mut chain = Chain::new();
        assert!(arena.put(&mut chain, 5 * CHUNK_BYTES, b"six") && arena.put(&mut chain, 0, b"one"));
        assert!(!arena.put(&mut chain, CHUNK_BYTES, b"two"));
        assert!(arena.put(&mut chain, 5 * CHUNK_BYTES + 3, b"th"), "the chunk is there");
        assert_eq!((arena.used(), chain.len()), (2, 5 * CHUNK_BYTES + 5));
        arena.release(&mut chain);
        let (mut one, mut other) = (Chain::new(), Chain::new());
        assert!(arena.put(&mut one, 0, b"1") && arena.put(&mut other, 0, b"2"));
        assert_eq!((read(&arena, &one), read(&arena, &other)), (b"1".to_vec(), b"2".to_vec()));
    }

    #[test]
    fn a_full_arena_takes_no_more_until_something_is_given_back() {
        let mut arena = Arena::new(2);
        let (mut one, mut other) = (Chain::new(), Chain::new());
        assert!(arena.append(&mut one, &[1; CHUNK_BYTES + 1]));
        assert!(!arena.append(&mut other, &[2]) && other.is_empty());
        assert!(arena.append(&mut one, &[1; CHUNK_BYTES - 1]), "the chunk was begun");
        assert!(!arena.append(&mut one, &[1]));
        for _ in 0..3 {
            arena.release(&mut one);
            assert_eq!((arena.used(), one.len(), read(&arena, &one).len()), (0, 0, 0));
            assert!(arena.append(&mut other, &[3; CHUNK_BYTES]));
            assert!(arena.append(&mut one, &[4; CHUNK_BYTES]) && !arena.append(&mut one, &[4]));
            assert_eq!(read(&arena, &other), [3; CHUNK_BYTES]);
            arena.release(&mut other);
        }
        arena.release(&mut one);
        assert_eq!(arena.used(), 0);
    }
}
