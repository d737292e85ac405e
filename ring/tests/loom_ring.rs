//! Do the orderings hold in every interleaving the memory model allows?
//!
//! ```sh
//! RUSTFLAGS="--cfg loom" cargo test -p tidegate-ring --release --test loom_ring
//! ```
//! The models run the crate's own code over loom's atomics. Bound: two threads, two or three
//! entries of one word, a ring of 64 bytes, three preemptions where it says so.
#![cfg(loom)]
#![allow(clippy::unwrap_used)]

use std::sync::atomic::{AtomicBool, Ordering};

use loom::model::Builder;
use loom::sync::{Arc, Condvar, Mutex};
use loom::thread;
use tidegate_ring::{Consumer, Producer, heap_pair};

fn take(consumer: &mut Consumer, expected: u64) -> bool {
    let Some(entry) = consumer.next().unwrap() else { return false };
    assert_eq!((entry.kind, entry.bytes), (expected as u8, &expected.to_le_bytes()[..]));
    let seq = entry.seq;
    consumer.release(seq);
    true
}

fn put(producer: &mut Producer, n: u64) -> bool {
    producer.push(n as u8, &[&n.to_le_bytes()], 0).is_ok()
}

fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

/// What the consumer sees is whole and in order, or not there.
#[test]
fn committed_entries_are_whole() {
    loom::model(|| {
        let (mut producer, mut consumer) = heap_pair(64);
        let writer = thread::spawn(move || {
            assert!(put(&mut producer, 1));
            assert!(put(&mut producer, 2));
        });
        let mut expected = 1;
        for _ in 0..3 {
            expected += u64::from(take(&mut consumer, expected));
        }
        writer.join().unwrap();
        while take(&mut consumer, expected) {
            expected += 1;
        }
        assert_eq!(expected, 3);
    });
}

/// The producer never writes over what the consumer has not finished reading: the fifth entry
/// needs the place of the first.
#[test]
fn released_space_is_reused_only_after_it_was_read() {
    model(3, || {
        let (mut producer, mut consumer) = heap_pair(64);
        for n in 1..=4 {
            assert!(put(&mut producer, n));
        }
        let reader = thread::spawn(move || {
            assert!(take(&mut consumer, 1));
            assert!(take(&mut consumer, 2));
            consumer
        });
        let mut n = 5;
        for _ in 0..2 {
            n += u64::from(put(&mut producer, n));
        }
        let mut consumer = reader.join().unwrap();
        let mut expected = 3;
        while take(&mut consumer, expected) {
            expected += 1;
        }
        assert_eq!(expected, n);
    });
}

/// A consumer that slept is woken for what was committed: with a lost wake-up it would wait for
/// ever, and loom reports the deadlock.
#[test]
fn no_wakeup_is_lost() {
    model(3, || {
        let (mut producer, mut consumer) = heap_pair(64);
        let bell = Arc::new((Mutex::new(false), Condvar::new()));
        let rung = bell.clone();
        let writer = thread::spawn(move || {
            for n in 1..=2 {
                assert!(put(&mut producer, n));
                if producer.wake_wanted() {
                    *rung.0.lock().unwrap() = true;
                    rung.1.notify_one();
                }
            }
        });
        let mut expected = 1;
        while expected < 3 {
            if take(&mut consumer, expected) {
                expected += 1;
            } else if consumer.prepare_sleep() {
                let mut rings = bell.0.lock().unwrap();
                while !*rings {
                    rings = bell.1.wait(rings).unwrap();
                }
                *rings = false;
                consumer.awake();
            }
        }
        writer.join().unwrap();
    });
}

/// One entry and one attempt to sleep. Is there an interleaving in which the consumer sleeps, the
/// entry is there, and nobody rings?
fn can_oversleep(looks_again: bool) -> bool {
    let overslept = std::sync::Arc::new(AtomicBool::new(false));
    let seen = overslept.clone();
    loom::model(move || {
        let (mut producer, mut consumer) = heap_pair(64);
        let writer = thread::spawn(move || {
            assert!(put(&mut producer, 1));
            producer.wake_wanted()
        });
        let was_there = take(&mut consumer, 1);
        let is_idle = consumer.prepare_sleep() || !looks_again;
        let is_rung = writer.join().unwrap();
        if !was_there && is_idle && !is_rung {
            seen.store(true, Ordering::Relaxed);
        }
    });
    overslept.load(Ordering::Relaxed)
}

#[test]
fn nobody_oversleeps() {
    assert!(!can_oversleep(true));
}

/// The control of the test above: without the second look the model finds the lost wake-up.
#[test]
fn without_the_second_look_a_wakeup_is_lost() {
    assert!(can_oversleep(false));
}
