//! Where do things in progress live? Numbered places with a fixed bound, found by number in O(1).
//!
//! A number is used again, so whoever keeps one outside the worker keeps the key: number and nonce.
//! A key of an earlier life finds nothing. Memory is taken when a place is first used.

use tidegate_faults::{Bug, has};

/// A bounded set of `T`, each under a small number.
#[derive(Debug)]
pub struct Pool<T> {
    places: Vec<Place<T>>,
    free: Vec<u32>,
    capacity: u32,
}

impl<T> Pool<T> {
    /// An empty pool for at most `capacity` things.
    pub fn new(capacity: u32) -> Self {
        let size = capacity as usize;
        Self { places: Vec::with_capacity(size), free: Vec::with_capacity(size), capacity }
    }

    /// Puts a thing in; `None` when the pool is full. `nonce` makes the key hard to guess.
    pub fn insert(&mut self, nonce: u32, thing: T) -> Option<Key> {
        let number = match self.free.pop() {
            Some(number) => number,
            None if self.places.len() < self.capacity as usize => {
                self.places.push(Place { nonce: 0, thing: None });
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        self.places[number as usize] = Place { nonce, thing: Some(thing) };
        Some(Key { number, nonce })
    }

    /// The thing under a number, if there is one.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.places.get(number as usize)?.thing.as_ref()
    }

    /// The thing under a number, if there is one.
    pub fn get_mut(&mut self, number: u32) -> Option<&mut T> {
        self.places.get_mut(number as usize)?.thing.as_mut()
    }

    /// The number of a key whose thing is still there.
    pub fn resolve(&self, key: Key) -> Option<u32> {
        let place = self.places.get(key.number as usize)?;
        let is_it = place.nonce == key.nonce || has(Bug::NonceIgnored);
        (is_it && place.thing.is_some()).then_some(key.number)
    }

    /// The key of a number in use.
    pub fn key(&self, number: u32) -> Key {
        Key { number, nonce: self.places[number as usize].nonce }
    }

    /// Takes a thing out.
    pub fn remove(&mut self, number: u32) -> Option<T> {
        let thing = self.places.get_mut(number as usize)?.thing.take()?;
        self.free.push(number);
        Some(thing)
    }

    /// How many things are in it.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether nothing more fits.
    pub fn is_full(&self) -> bool {
        self.len() == self.capacity as usize
    }

    /// How many things fit.
    pub fn capacity(&self) -> u32 {
        self.capacity
    }
}

/// Names one thing over its whole life, and nothing after it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// Its place.
    pub number: u32,
    /// Of this life.
    pub nonce: u32,
}

impl Key {
    /// The key as it crosses rings and tokens.
    pub fn to_wire(self) -> u64 {
        u64::from(self.nonce) << 32 | u64::from(self.number)
    }

    /// Back from [`Self::to_wire`].
    pub fn from_wire(wire: u64) -> Self {
        Self { number: wire as u32, nonce: (wire >> 32) as u32 }
    }
}

#[derive(Debug)]
struct Place<T> {
    nonce: u32,
    thing: Option<T>,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_finds_its_thing_until_it_is_removed() {
        let mut pool = Pool::new(2);
        let key = pool.insert(7, 'a').unwrap();
        assert_eq!(Key::from_wire(key.to_wire()), key);
        let number = pool.resolve(key).unwrap();
        assert_eq!(pool.remove(number), Some('a'));
        assert_eq!(pool.resolve(key), None);
        let next = pool.insert(8, 'b').unwrap();
        assert_eq!(next.number, key.number);
        assert_eq!(pool.resolve(key), None);
        assert_eq!(pool.remove(99), None);
    }

    #[test]
    fn a_full_pool_takes_no_more() {
        let mut pool = Pool::new(1);
        let key = pool.insert(1, ()).unwrap();
        assert!(pool.is_full());
        assert_eq!(pool.insert(2, ()), None);
        pool.remove(key.number).unwrap();
        assert!(pool.is_empty() && pool.insert(3, ()).is_some());
    }
}
