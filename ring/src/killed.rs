//! What is left when a side is killed between any two stores to shared memory?
//!
//! Every store goes through `Ring::write`, which asks here first; a test gives a side so many
//! stores to live, and the next one unwinds instead of happening. Then the side attaches anew to
//! the same memory, as a restarted process would.
#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::layout::{Direction, HEADER_WORDS, Ring, header_words};
use crate::shm::{Ordering, Words};
use crate::{Consumer, Producer};

thread_local! {
    /// Stores left to live; `None`: for ever.
    static STORES_LEFT: Cell<Option<usize>> = const { Cell::new(None) };
}

/// Called before each store to shared memory.
pub(crate) fn before_store() {
    match STORES_LEFT.get() {
        None => {}
        Some(0) => resume_unwind(Box::new(Killed)), // no panic message: nothing went wrong
        Some(left) => STORES_LEFT.set(Some(left - 1)),
    }
}

struct Killed;

/// Runs `life` until it ends or has made `stores` stores; `None` if it was killed.
fn live<T>(stores: usize, life: impl FnOnce() -> T) -> Option<T> {
    STORES_LEFT.set(Some(stores));
    let end = catch_unwind(AssertUnwindSafe(life));
    STORES_LEFT.set(None);
    match end {
        Ok(value) => Some(value),
        Err(cause) if cause.is::<Killed>() => None,
        Err(cause) => resume_unwind(cause),
    }
}

fn ring() -> Ring {
    let words = Words::heap(HEADER_WORDS + CAPACITY / 8);
    for (word, value) in words.iter().zip(header_words(Direction::Up, CAPACITY)) {
        word.store(value, Ordering::Relaxed);
    }
    Ring::open(words, Direction::Up).unwrap()
}

/// Entry number `n`: its length and every byte follow from `n`, so a torn one shows.
fn payload(n: u64) -> Vec<u8> {
    let mut bytes = n.to_le_bytes().to_vec();
    bytes.resize(8 + (n % 23) as usize, n as u8);
    bytes
}

/// Reads all there is and checks that each is whole; the numbers, and releases them.
fn take_all(consumer: &mut Consumer) -> Vec<u64> {
    let mut numbers = Vec::new();
    while let Some(entry) = consumer.next().unwrap() {
        let n = u64::from_le_bytes(entry.bytes[..8].try_into().unwrap());
        assert_eq!((entry.kind, entry.bytes), (n as u8, &payload(n)[..]));
        let seq = entry.seq;
        numbers.push(n);
        consumer.release(seq);
    }
    numbers
}

/// A producer killed before any store has published exactly the entries whose commit returned; its
/// successor goes on behind them. On every lap offset.
#[test]
fn a_killed_producer_leaves_whole_entries_and_its_successor_goes_on() {
    for offset in 0..CAPACITY as u64 / 8 {
        for stores in 0..24 {
            let ring = ring();
            start_at(&ring, offset * 8);
            let told = Cell::new(0);
            let end = live(stores, || {
                let mut producer = Producer::attach(ring.clone()).unwrap();
                for n in 0..3 {
                    producer.push(n as u8, &[&payload(n)], 0).unwrap();
                    told.set(n + 1);
                }
            });
            assert_eq!(end.is_some(), told.get() == 3);

            let mut consumer = Consumer::attach(ring.clone()).unwrap();
            let seen = take_all(&mut consumer);
            assert_eq!(seen, (0..told.get()).collect::<Vec<_>>());

            let mut successor = Producer::attach(ring).unwrap();
            assert_eq!(successor.free_bytes(), CAPACITY);
            successor.push(9, &[&payload(9)], 0).unwrap();
            assert_eq!(take_all(&mut consumer), [9]);
        }
    }
}

/// A consumer killed before any store: its successor sees what was not released, all of it, and
/// nothing that was released.
#[test]
fn a_killed_consumer_leaves_what_it_had_not_released() {
    let mut was_killed = false;
    for stores in 0..12 {
        let ring = ring();
        let mut producer = Producer::attach(ring.clone()).unwrap();
        for n in 0..5 {
            producer.push(n as u8, &[&payload(n)], 0).unwrap();
        }
        let released = Cell::new(0);
        let end = live(stores, || {
            let mut consumer = Consumer::attach(ring.clone()).unwrap();
            // Two are in hand all the time; releases run one behind.
            let mut before = consumer.next().unwrap().unwrap().seq;
            while let Some(entry) = consumer.next().unwrap() {
                let seq = entry.seq;
                consumer.release(before);
                released.set(released.get() + 1);
                before = seq;
            }
            assert!(consumer.prepare_sleep());
            consumer.awake();
        });
        was_killed |= end.is_none();
        let seen = take_all(&mut Consumer::attach(ring).unwrap());
        assert_eq!(seen, (released.get()..5).collect::<Vec<_>>());
    }
    assert!(was_killed);
}

/// Whatever a consumer was doing about sleep when it was killed, its successor that goes to sleep
/// is rung for: by the producer that lived on, and by a new one.
#[test]
fn a_sleeper_after_a_killed_sleeper_is_woken() {
    for stores in 0..5 {
        let ring = ring();
        let mut producer = Producer::attach(ring.clone()).unwrap();
        live(stores, || {
            let mut consumer = Consumer::attach(ring.clone()).unwrap();
            assert!(consumer.prepare_sleep());
            producer.wake_wanted();
            consumer.awake();
            assert!(consumer.prepare_sleep());
            producer.wake_wanted();
        });
        let mut consumer = Consumer::attach(ring.clone()).unwrap();
        assert!(!producer.wake_wanted(), "nobody sleeps after attaching");
        assert!(consumer.prepare_sleep());
        producer.push(0, &[&payload(0)], 0).unwrap();
        assert!(producer.wake_wanted(), "killed after {stores} stores");
        assert!(Producer::attach(ring).unwrap().wake_wanted());
    }
}

/// Puts both cursors of an empty ring at `position`.
fn start_at(ring: &Ring, position: u64) {
    ring.set_head(position);
    ring.set_tail(position);
}

const CAPACITY: usize = 256;
