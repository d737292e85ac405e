//! Where does memory live that the kernel writes or reads while we hold pointers to it?
//!
//! In a [`Fixed`]: an array that is allocated once and never moves, reached only through its one
//! pointer, so that addresses handed to the kernel stay good however its owner moves.
#![allow(unsafe_code)]

use std::ptr::NonNull;

/// A fixed array at a fixed address.
///
/// *Invariant:* `first` points at `len` initialised values that this struct owns; no reference to
/// them exists outside a borrow of the struct.
pub(super) struct Fixed<T> {
    first: NonNull<T>,
    len: usize,
}

impl<T: Copy> Fixed<T> {
    /// `len` copies of `value`.
    pub(super) fn new(value: T, len: usize) -> Self {
        let values: Box<[T]> = vec![value; len].into_boxed_slice();
        let first = NonNull::new(Box::into_raw(values).cast::<T>());
        Self { first: first.expect("a box is not null"), len }
    }

    /// The address of a value, for the kernel.
    pub(super) fn pointer(&self, index: usize) -> *mut T {
        assert!(index < self.len, "index {index} of {}", self.len);
        self.first.as_ptr().wrapping_add(index)
    }

    /// A value.
    pub(super) fn get(&self, index: usize) -> &T {
        // SAFETY: `pointer` checked the index, so it points at an initialised value of ours, which
        // nothing writes while `self` is borrowed: the kernel writes only during calls that take
        // `&mut` of our owner.
        unsafe { &*self.pointer(index) }
    }

    /// A value, to change.
    pub(super) fn get_mut(&mut self, index: usize) -> &mut T {
        // SAFETY: as in `get`, and `&mut self` makes it the only reference.
        unsafe { &mut *self.pointer(index) }
    }

    /// All values, to change.
    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        // SAFETY: the invariant: `len` initialised values in one allocation, borrowed once.
        unsafe { std::slice::from_raw_parts_mut(self.first.as_ptr(), self.len) }
    }
}

impl<T> Drop for Fixed<T> {
    fn drop(&mut self) {
        let values = std::ptr::slice_from_raw_parts_mut(self.first.as_ptr(), self.len);
        // SAFETY: pointer and length are those of the box that `new` took apart, and the owner no
        // longer lets the kernel use them.
        drop(unsafe { Box::from_raw(values) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_stay_when_the_owner_moves() {
        let fixed = Fixed::new(7u64, 3);
        let before = fixed.pointer(2);
        let mut moved = Box::new(fixed);
        *moved.get_mut(2) = 9;
        assert_eq!((moved.pointer(2), *moved.get(2), *moved.get(0)), (before, 9, 7));
        assert_eq!(moved.as_mut_slice(), [7, 7, 9]);
    }

    #[test]
    #[should_panic(expected = "index 3 of 3")]
    fn there_is_nothing_behind_the_end() {
        let _ = Fixed::new(0u8, 3).pointer(3);
    }
}
