//! Do entries come out as they went in: in order, whole, at every place of the ring?
#![cfg(not(loom))]
#![allow(clippy::unwrap_used)]

use std::thread;

use tidegate_ring::{Consumer, Corrupt, ENTRY_BYTES_MAX, Full, Producer, Seq, heap_pair};

fn next_owned(consumer: &mut Consumer) -> Option<(Seq, u8, Vec<u8>)> {
    let entry = consumer.next().unwrap()?;
    Some((entry.seq, entry.kind, entry.bytes.to_vec()))
}

/// Every payload length from 0 on begins at every offset of the ring at least once, whole.
#[test]
fn entries_wrap_at_every_offset() {
    const CAPACITY: usize = 128;
    for offset in 0..CAPACITY / 8 {
        for len in 0..=CAPACITY - 8 {
            let (mut producer, mut consumer) = heap_pair(CAPACITY);
            for _ in 0..offset {
                let seq = producer.push(1, &[], 0).unwrap();
                consumer.next().unwrap().unwrap();
                consumer.release(seq);
            }
            let sent: Vec<u8> = (0..len).map(|at| (at + offset) as u8).collect();
            let seq = producer.push(7, &[&sent], 0).unwrap();
            assert_eq!(next_owned(&mut consumer), Some((seq, 7, sent)), "at {offset}, {len} long");
            assert_eq!(consumer.next(), Ok(None));
        }
    }
}

/// A writer and a reader on threads of their own, a ring that is full most of the time: every
/// entry arrives once, in order, and whole.
#[test]
fn order_holds_between_threads() {
    const ENTRIES: u64 = 300_000;
    let (mut producer, mut consumer) = heap_pair(1024);
    let writer = thread::spawn(move || {
        for n in 0..ENTRIES {
            let len = 8 + (n % 57) as usize;
            loop {
                if let Ok(mut grant) = producer.reserve(n as u8, len, 0) {
                    grant.bytes_mut().fill(n as u8);
                    grant.bytes_mut()[..8].copy_from_slice(&n.to_le_bytes());
                    grant.commit();
                    break;
                }
                thread::yield_now();
            }
        }
    });
    let mut expected = 0;
    while expected < ENTRIES {
        let Some(entry) = consumer.next().unwrap() else {
            thread::yield_now();
            continue;
        };
        assert_eq!(entry.kind, expected as u8);
        assert_eq!(entry.bytes.len(), 8 + (expected % 57) as usize);
        assert_eq!(entry.bytes[..8], expected.to_le_bytes());
        assert!(entry.bytes[8..].iter().all(|byte| *byte == expected as u8));
        let seq = entry.seq;
        consumer.release(seq);
        expected += 1;
    }
    writer.join().unwrap();
    assert_eq!(consumer.next(), Ok(None));
}

/// Takes entries until the ring is full; how many went in.
fn fill(producer: &mut Producer, len: usize, leave_free_bytes: usize) -> usize {
    let payload = vec![0xa5; len];
    let mut count = 0;
    while producer.push(1, &[&payload], leave_free_bytes).is_ok() {
        count += 1;
    }
    count
}

/// The last byte of the ring can be used, and not one more; what is released can be used again,
/// what is only read cannot.
#[test]
fn full_on_both_sides_of_the_bound() {
    let (mut producer, mut consumer) = heap_pair(256);
    assert_eq!(fill(&mut producer, 56, 0), 4);
    assert_eq!((producer.free_bytes(), producer.push(1, &[], 0)), (0, Err(Full)));

    let seq = consumer.next().unwrap().unwrap().seq;
    assert_eq!(producer.push(1, &[], 0), Err(Full), "read is not released");
    consumer.release(seq);
    assert_eq!(producer.free_bytes(), 64);
    assert!(producer.reserve(1, 57, 0).is_err());
    assert!(producer.reserve(1, 56, 0).is_ok());
}

/// Uplinks stop where the headroom for control entries begins; those still pass.
#[test]
fn uplinks_leave_room_for_control_entries() {
    let (mut producer, _consumer) = heap_pair(256);
    assert_eq!(fill(&mut producer, 24, 64), 6);
    assert_eq!(producer.free_bytes(), 64);
    assert!(producer.reserve(2, 0, 56).is_ok());
    assert!(producer.reserve(2, 0, 57).is_err());
    assert_eq!(fill(&mut producer, 24, 0), 2);
}

/// The contract's longest entry passes; one byte more is refused, and does so on an empty ring.
#[test]
fn longest_entry_on_both_sides_of_the_bound() {
    let (mut producer, mut consumer) = heap_pair(8192);
    let longest = vec![3; ENTRY_BYTES_MAX];
    producer.push(1, &[&longest], 0).unwrap();
    assert_eq!(next_owned(&mut consumer).unwrap().2, longest);
    assert_eq!(producer.push(1, &[&longest, b"+"], 0), Err(Full));
    assert!(producer.reserve(1, usize::MAX, 0).is_err());
    assert!(producer.reserve(1, 1, usize::MAX).is_err());
}

/// A reservation that was dropped was never there; a shortened one is as short as it says, and
/// nothing of an older entry stands in its padding.
#[test]
fn grants_can_be_abandoned_and_shortened() {
    let (mut producer, mut consumer) = heap_pair(256);
    producer.reserve(1, 16, 0).unwrap().bytes_mut().fill(0xee);
    assert_eq!((consumer.next(), producer.free_bytes()), (Ok(None), 256));

    let mut grant = producer.reserve(2, 16, 0).unwrap();
    grant.bytes_mut()[..3].copy_from_slice(b"abc");
    grant.shorten(3);
    let seq = grant.commit();
    assert_eq!(next_owned(&mut consumer), Some((seq, 2, b"abc".to_vec())));
    assert_eq!(producer.free_bytes(), 256 - 16);
}

/// A consumer that dropped everything goes on with what comes next.
#[test]
fn discard_drops_read_and_unread() {
    let (mut producer, mut consumer) = heap_pair(256);
    for n in 0..3 {
        producer.push(n, &[b"12345678"], 0).unwrap();
    }
    consumer.next().unwrap();
    assert_eq!(consumer.discard(), Ok(48));
    assert_eq!((consumer.next(), producer.free_bytes()), (Ok::<_, Corrupt>(None), 256));
    producer.push(9, &[b"new"], 0).unwrap();
    assert_eq!(next_owned(&mut consumer).unwrap().1, 9);
}

/// The bell is wanted only while the consumer sleeps, once per sleep, and a consumer with work
/// does not fall asleep.
#[test]
fn one_ring_per_sleep() {
    let (mut producer, mut consumer) = heap_pair(256);
    producer.push(1, &[], 0).unwrap();
    assert!(!producer.wake_if_sleeping(), "awake");
    assert!(!consumer.prepare_sleep(), "there is work");
    assert!(!producer.wake_if_sleeping(), "it stayed up");

    let seq = consumer.next().unwrap().unwrap().seq;
    assert!(consumer.prepare_sleep(), "all was read, released or not");
    consumer.release(seq);
    assert!(producer.wake_if_sleeping());
    assert!(!producer.wake_if_sleeping(), "rung already");
    consumer.awake();
    assert!(!producer.wake_if_sleeping());
    assert!(consumer.prepare_sleep());
    assert!(producer.wake_if_sleeping(), "a new sleep");
}

/// Our own mistake, not the peer's: loud.
#[test]
#[should_panic(expected = "not read")]
fn releasing_the_unread_is_a_bug() {
    let (mut producer, mut consumer) = heap_pair(256);
    let seq = producer.push(1, &[], 0).unwrap();
    consumer.release(seq);
}
