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
    /// What follows a chunk in its chain, or in the list of free ones.
    next: Vec<u32>,
    /// The first of the free chunks that were in use before.
    free: u32,
    /// Chunks from here on were never in use.
    fresh: u32,
    used: u32,
}

/// The bytes of one body. Only its arena can read it, and takes it back.
#[derive(Debug)]
pub struct Chain {
    first: u32,
    last: u32,
    len: usize,
}

impl Chain {
    /// No bytes.
    pub const fn new() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }

    /// Its bytes.
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
        Self { bytes, next: vec![0; chunks as usize], free: NONE, fresh: 0, used: 0 }
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
            let begun = chain.len % CHUNK_BYTES;
            if begun == 0 {
                let chunk = self.take();
                match chain.last {
                    NONE => chain.first = chunk,
                    last => self.next[last as usize] = chunk,
                }
                chain.last = chunk;
            }
            let (here, rest) = bytes.split_at(bytes.len().min(CHUNK_BYTES - begun));
            let at = chain.last as usize * CHUNK_BYTES + begun;
            self.bytes[at..at + here.len()].copy_from_slice(here);
            chain.len += here.len();
            bytes = rest;
        }
        true
    }

    /// The bytes of a chain, chunk by chunk.
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
        let chunks = chain.len.div_ceil(CHUNK_BYTES) as u32;
        if chunks > 0 {
            self.next[chain.last as usize] = self.free;
            self.free = chain.first;
            self.used -= chunks;
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
