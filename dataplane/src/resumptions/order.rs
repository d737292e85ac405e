//! Which entry is taken next? Free ones first, then the one that was written longest ago.
//!
//! Three lists through one vector of links. *Bound:* eight bytes for each entry ever used.

/// The entries of one table in the order they are given away.
#[derive(Debug)]
pub(super) struct Order {
    /// Links of entry `n` at `n + SENTINELS`; before them those of the lists themselves.
    links: Vec<Link>,
}

#[derive(Clone, Copy, Debug)]
struct Link {
    before: u32,
    after: u32,
}

/// The lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    Free,
    InUse,
    /// Free still, and promised to a handshake.
    Reserved,
}

impl Order {
    pub(super) fn new() -> Self {
        let link = |place| Link { before: place, after: place };
        Self { links: (0..SENTINELS).map(link).collect() }
    }

    /// How many entries there are in all lists.
    pub(super) fn len(&self) -> u32 {
        self.links.len() as u32 - SENTINELS
    }

    /// One more entry, at the end of a list; returns its index.
    pub(super) fn grow(&mut self, list: List) -> u32 {
        let place = self.links.len() as u32;
        self.links.push(Link { before: place, after: place });
        self.insert(place, list as u32);
        place - SENTINELS
    }

    /// The entry of a list that is given away first.
    pub(super) fn first(&self, list: List) -> Option<u32> {
        self.links[list as usize].after.checked_sub(SENTINELS)
    }

    /// Moves an entry to where it is given away last.
    pub(super) fn put_last(&mut self, index: u32, list: List) {
        self.unlink(index + SENTINELS);
        self.insert(index + SENTINELS, list as u32);
    }

    /// Moves an entry to where it is given away first.
    pub(super) fn put_first(&mut self, index: u32, list: List) {
        self.unlink(index + SENTINELS);
        let first = self.links[list as usize].after;
        self.insert(index + SENTINELS, first);
    }

    fn insert(&mut self, place: u32, after: u32) {
        let before = self.links[after as usize].before;
        self.links[place as usize] = Link { before, after };
        self.links[before as usize].after = place;
        self.links[after as usize].before = place;
    }

    fn unlink(&mut self, place: u32) {
        let Link { before, after } = self.links[place as usize];
        self.links[before as usize].after = after;
        self.links[after as usize].before = before;
    }
}

const SENTINELS: u32 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn drain(order: &mut Order, list: List) -> Vec<u32> {
        let other = if list == List::Free { List::InUse } else { List::Free };
        let mut indexes = Vec::new();
        while let Some(index) = order.first(list) {
            indexes.push(index);
            order.put_last(index, other);
        }
        indexes
    }

    #[test]
    fn entries_leave_a_list_in_the_order_they_were_put() {
        let mut order = Order::new();
        assert_eq!((order.first(List::Free), order.first(List::InUse)), (None, None));
        assert_eq!((0..4).map(|_| order.grow(List::Free)).collect::<Vec<_>>(), [0, 1, 2, 3]);
        order.put_last(1, List::InUse);
        order.put_last(3, List::InUse);
        order.put_last(1, List::InUse);
        order.put_first(2, List::Free);
        assert_eq!(drain(&mut order, List::InUse), [3, 1]);
        assert_eq!(drain(&mut order, List::Free), [2, 0, 3, 1]);
        assert_eq!(order.len(), 4);
    }
}
