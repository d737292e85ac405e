//! Which sheet has come whole? Pieces of a sheet from the control plane, put together in order.
//!
//! A piece that does not fit voids what came before it: the control plane sends whole sheets.
//!
//! *Bound:* `bytes_max` for the sheet under way.

use tidegate_ring::contract as wire;
use zeroize::Zeroizing;

/// The part of a sheet that has come.
#[derive(Debug)]
pub(super) struct Assembly {
    bytes_max: usize,
    generation: u64,
    total: usize,
    sheet: Sheet,
}

/// Where a piece belongs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    generation: u64,
    offset: usize,
    total: usize,
}

impl Place {
    /// Of a trust sheet.
    pub(super) fn of_trust(piece: &wire::Trust) -> Self {
        let (offset, total) = (piece.offset.get() as usize, piece.total.get() as usize);
        Self { generation: piece.generation.get(), offset, total }
    }

    /// Of a policy sheet.
    pub(super) fn of_policies(piece: &wire::Policies) -> Self {
        let (offset, total) = (piece.offset.get() as usize, piece.total.get() as usize);
        Self { generation: piece.generation.get(), offset, total }
    }

    /// The first piece as if nothing came behind it: a planted bug.
    pub(super) fn as_if_whole(self, bytes: &[u8]) -> Self {
        Self { total: if self.offset == 0 { bytes.len() } else { self.total }, ..self }
    }
}

/// The bytes of a sheet, perhaps private keys among them; prints nothing.
#[derive(Default, PartialEq, Eq)]
pub(super) struct Sheet(Zeroizing<Vec<u8>>);

impl Sheet {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl std::fmt::Debug for Sheet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What a piece led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// More pieces are to come.
    Taken,
    /// It was the last one.
    Whole(Sheet),
    /// It does not belong where it says; what had come is forgotten.
    Refused,
}

impl Assembly {
    /// Nothing has come yet of a sheet that has `bytes_max` at most.
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { bytes_max, generation: 0, total: 0, sheet: Sheet::default() }
    }

    /// One more piece.
    pub(super) fn on_piece(&mut self, place: Place, bytes: &[u8]) -> Piece {
        let Place { generation, offset, total } = place;
        if offset == 0 && total <= self.bytes_max {
            // All at once: growing would leave copies of keys behind.
            let sheet = Sheet(Zeroizing::new(Vec::with_capacity(total)));
            *self = Self { generation, total, sheet, ..*self };
        }
        let is_next = generation == self.generation
            && total == self.total
            && offset == self.sheet.0.len()
            && bytes.len() <= total - offset
            && (total == 0 || !bytes.is_empty());
        if !is_next {
            *self = Self::new(self.bytes_max);
            return Piece::Refused;
        }
        self.sheet.0.extend_from_slice(bytes);
        if self.sheet.0.len() < total {
            return Piece::Taken;
        }
        let empty = Self::new(self.bytes_max);
        Piece::Whole(std::mem::replace(self, empty).sheet)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES_MAX: usize = 1 << 20;

    fn piece(generation: u64, offset: u32, total: u32) -> Place {
        let (generation, offset, total) = (generation.into(), offset.into(), total.into());
        Place::of_trust(&wire::Trust { generation, offset, total })
    }

    fn whole(bytes: &[u8]) -> Piece {
        Piece::Whole(Sheet(Zeroizing::new(bytes.to_vec())))
    }

    #[test]
    fn pieces_in_order_make_a_sheet() {
        let mut assembly = Assembly::new(BYTES_MAX);
        assert_eq!(assembly.on_piece(piece(1, 0, 5), b"ab"), Piece::Taken);
        assert_eq!(assembly.on_piece(piece(1, 2, 5), b"cd"), Piece::Taken);
        assert_eq!(assembly.on_piece(piece(1, 4, 5), b"e"), whole(b"abcde"));
        assert_eq!(assembly.on_piece(piece(2, 0, 0), b""), whole(b""), "a sheet of nothing");
    }

    #[test]
    fn another_generation_begins_anew() {
        let mut assembly = Assembly::new(BYTES_MAX);
        assert_eq!(assembly.on_piece(piece(1, 0, 4), b"ab"), Piece::Taken);
        assert_eq!(assembly.on_piece(piece(2, 0, 3), b"xy"), Piece::Taken);
        assert_eq!(assembly.on_piece(piece(2, 2, 3), b"z"), whole(b"xyz"));
        // The control plane restarted: the same sheet from its beginning.
        assert_eq!(assembly.on_piece(piece(3, 0, 4), b"ab"), Piece::Taken);
        assert_eq!(assembly.on_piece(piece(3, 0, 4), b"abcd"), whole(b"abcd"));
    }

    #[test]
    fn a_piece_that_does_not_fit_voids_what_came_before() {
        let last = piece(1, 2, 4);
        let misfits: [(&str, Place, &[u8]); 7] = [
            ("a gap", piece(1, 3, 4), b"d"),
            ("an overlap", piece(1, 1, 4), b"b"),
            ("too much", piece(1, 2, 4), b"cde"),
            ("nothing", piece(1, 2, 4), b""),
            ("another total", piece(1, 2, 5), b"cd"),
            ("the middle of another generation", piece(2, 2, 4), b"cd"),
            ("a far offset", piece(1, u32::MAX, 4), b"cd"),
        ];
        for (what, misfit, bytes) in misfits {
            let mut assembly = Assembly::new(BYTES_MAX);
            assert_eq!(assembly.on_piece(piece(1, 0, 4), b"ab"), Piece::Taken);
            assert_eq!(assembly.on_piece(misfit, bytes), Piece::Refused, "{what}");
            assert_eq!(assembly.on_piece(last, b"cd"), Piece::Refused, "after {what}");
        }
    }

    #[test]
    fn a_sheet_ends_at_its_bound() {
        let mut assembly = Assembly::new(BYTES_MAX);
        let longest = BYTES_MAX as u32;
        assert_eq!(assembly.on_piece(piece(1, 0, longest), b"a"), Piece::Taken);
        assert_eq!(assembly.on_piece(piece(2, 0, longest + 1), b"a"), Piece::Refused);
        assert_eq!(assembly.sheet.0.capacity(), 0);
    }
}
