//! Does the kernel give a record with our Connection ID to the worker that the ID names, and spread
//! everything else? With real groups of real sockets.
#![allow(clippy::unwrap_used)]

mod net_rig;

use net_rig::{Rig, client};
use std::time::Duration;
use tidegate_dataplane::bounds::{BATCH_MAX, STRANGERS_MAX, STRANGERS_MIN};
use tidegate_dataplane::config::{Backend, Config};

on_both_backends! {
    a_record_with_a_connection_id_finds_its_worker;
    a_connection_id_behind_plaintext_records_is_found;
    other_datagrams_are_spread_over_all_workers;
    a_worker_that_does_not_exist_loses_nothing;
    a_handshake_and_its_session_have_one_worker;
    a_finished_comes_before_the_data_behind_it;
    those_we_know_have_a_socket_that_strangers_can_not_fill;
}

/// From 64 ports, of which the hash of addresses would give each worker some.
fn a_record_with_a_connection_id_finds_its_worker(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let mut group = Group::of(3, backend, listen);
        for worker in 0..3 {
            group.send(&record(CONNECTION_ID, worker, 40));
            let mut expected = [0; 3];
            expected[usize::from(worker)] = PORTS;
            assert_eq!(group.received(), expected, "{listen}");
            // The shortest record in which the byte is there at all.
            group.send(&record(CONNECTION_ID, worker, 12));
            assert_eq!(group.received(), expected, "{listen}");
        }
    }
}

/// Last flights: of a resumption, with a pre-shared key, with a certificate.
fn a_connection_id_behind_plaintext_records_is_found(backend: Backend) {
    let mut group = Group::of(3, backend, "127.0.0.1:0");
    let flights: [&[(u8, usize)]; 4] =
        [&[(20, 1)], &[(22, 42), (20, 1)], &[(22, 300), (22, 77), (22, 90), (20, 1)], &[(22, 0)]];
    for (worker, flight) in (0..3).cycle().zip(flights) {
        let mut datagram: Vec<u8> =
            flight.iter().flat_map(|(content_type, len)| plaintext(*content_type, *len)).collect();
        datagram.extend(record(CONNECTION_ID, worker, 40));
        group.send(&datagram);
        let mut expected = [0; 3];
        expected[usize::from(worker)] = PORTS;
        assert_eq!(group.received(), expected, "{flight:?}");
    }
}

fn other_datagrams_are_spread_over_all_workers(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let mut group = Group::of(2, backend, listen);
        let handshake = record(22, 1, 80);
        let application_data = record(23, 0, 80);
        let too_short = record(CONNECTION_ID, 1, 11);
        // Plaintext that ends too early, promises too much, or has no end.
        let change_cipher_spec = plaintext(20, 1);
        let cut = [&change_cipher_spec[..], &record(CONNECTION_ID, 1, 11)].concat();
        let mut long = plaintext(22, 20);
        long[11] = 0xff;
        let many = [plaintext(22, 1).repeat(9), record(CONNECTION_ID, 1, 40)].concat();
        let behind_data = [plaintext(23, 1), record(CONNECTION_ID, 1, 40)].concat();
        let others = [&cut, &long, &many, &behind_data, &plaintext(22, 9)[..12].to_vec()];
        let first = [&handshake[..], &application_data, &too_short, &[CONNECTION_ID], &[]];
        let lengths = (12..15).map(|length| &change_cipher_spec[..length.min(14)]);
        let all = first.into_iter().chain(others.map(|bytes| &bytes[..])).chain(lengths);
        for datagram in all {
            group.send(datagram);
            let [one, two] = group.received()[..] else { unreachable!("two workers") };
            assert!(one > 0 && two > 0 && one + two == PORTS, "{one} + {two}: {datagram:?}");
        }
    }
}

fn a_worker_that_does_not_exist_loses_nothing(backend: Backend) {
    let mut group = Group::of(2, backend, "127.0.0.1:0");
    for worker in [2, 200, 255] {
        group.send(&record(CONNECTION_ID, worker, 40));
        assert_eq!(group.received().iter().sum::<usize>(), PORTS);
    }
}

/// The same port each time: a handshake, then data, an alert, and a handshake message again.
fn a_handshake_and_its_session_have_one_worker(backend: Backend) {
    for listen in ["127.0.0.1:0", "[::1]:0"] {
        let mut group = Group::of(3, backend, listen);
        for _ in 0..PORTS {
            let device = client(group.workers[0].addresses[0]);
            let mut heard = [0; 3];
            for content_type in [22, 23, 21, 22, 20, 23] {
                device.send(&record(content_type, 0, 60)).unwrap();
                group.receive(&mut heard, 1);
            }
            assert!(heard.contains(&6), "{heard:?}");
        }
    }
}

/// A device that resumes sends its Finished and data behind it; the data is worth nothing before.
fn a_finished_comes_before_the_data_behind_it(backend: Backend) {
    let mut group = Group::of(1, backend, "127.0.0.1:0");
    let device = client(group.workers[0].addresses[0]);
    for _ in 0..200 {
        for content_type in [20, 22, 23] {
            device.send(&record(content_type, 0, 60)).unwrap();
        }
        let types: Vec<u8> = group.workers[0].receive(3).iter().map(|one| one.bytes[0]).collect();
        assert_eq!(types, [20, 22, 23]);
    }
}

/// Strangers send until the kernel drops what they send; after them comes a record with a
/// Connection ID, then data without one.
fn those_we_know_have_a_socket_that_strangers_can_not_fill(backend: Backend) {
    let mut group = Group::of(1, backend, "127.0.0.1:0");
    let address = group.workers[0].addresses[0];
    let (stranger, device) = (client(address), client(address));
    let hello = plaintext(22, 1_187);
    let mut sent = 0;
    while sent < 100_000 && group.workers[0].net.stats().stranger_drops == 0 {
        (0..500).for_each(|_| assert!(stranger.send(&hello).is_ok()));
        sent += 500;
    }
    for content_type in [CONNECTION_ID, 23] {
        device.send(&record(content_type, 0, 60)).unwrap();
    }
    // They are in the first batch, and strangers have their share of it.
    group.workers[0].wait();
    let first = group.workers[0].reap();
    let types: Vec<u8> = first.iter().map(|one| one.bytes[0]).collect();
    assert_eq!(types[..STRANGERS_MAX], [22; STRANGERS_MAX]);
    assert_eq!(types[STRANGERS_MAX..], [CONNECTION_ID, 23]);
    let stats = group.workers[0].net.stats();
    assert!(stats.stranger_drops > 0 && stats.kernel_drops == 0, "{stats:?}");
    // And strangers are heard while those we know fill every batch.
    for _ in 0..4 * BATCH_MAX {
        device.send(&record(23, 0, 60)).unwrap();
    }
    let mut batches = Vec::new();
    for _ in 0..4 {
        group.workers[0].wait();
        let batch = group.workers[0].reap();
        batches.push(batch.iter().filter(|one| one.bytes[0] == 22).count());
    }
    assert!(batches[1..].iter().all(|count| *count >= STRANGERS_MIN), "{batches:?}");
}

struct Group {
    workers: Vec<Rig>,
}

impl Group {
    fn of(count: u8, backend: Backend, listen: &str) -> Self {
        let mut config = Config { listen: vec![listen.parse().unwrap()], ..Config::default() };
        config.net.backend = backend;
        let first = Rig::among(&config, count, 0);
        config.listen.clone_from(&first.addresses);
        let others = (1..count).map(|number| Rig::among(&config, count, number));
        Self { workers: std::iter::once(first).chain(others).collect() }
    }

    /// The same datagram from each of `PORTS` ports.
    fn send(&self, datagram: &[u8]) {
        for _ in 0..PORTS {
            client(self.workers[0].addresses[0]).send(datagram).unwrap();
        }
    }

    /// How many datagrams each worker has. Loopback delivers before `send` returns.
    fn received(&mut self) -> Vec<usize> {
        let mut received = vec![0; self.workers.len()];
        self.receive(&mut received, PORTS);
        received
    }

    /// Waits for so many datagrams, and counts them by worker.
    fn receive(&mut self, received: &mut [usize], more: usize) {
        let wanted = received.iter().sum::<usize>() + more;
        while received.iter().sum::<usize>() < wanted {
            for (worker, count) in self.workers.iter_mut().zip(&mut *received) {
                if worker.net.wait(Duration::from_millis(1)).datagrams {
                    *count += worker.reap().len();
                }
            }
        }
    }
}

/// A DTLS 1.2 record: type, version, epoch, sequence number; then our Connection ID's first byte.
fn record(content_type: u8, worker: u8, len: usize) -> Vec<u8> {
    let mut record = vec![0x5a; len];
    record[..3].copy_from_slice(&[content_type, 0xfe, 0xfd]);
    if let Some(byte) = record.get_mut(11) {
        *byte = worker;
    }
    record
}

/// An unprotected record.
fn plaintext(content_type: u8, len: usize) -> Vec<u8> {
    let mut record = vec![0; 13 + len];
    record[..3].copy_from_slice(&[content_type, 0xfe, 0xfd]);
    record[11..13].copy_from_slice(&(len as u16).to_be_bytes());
    record
}

const PORTS: usize = 64;
/// tls12_cid, RFC 9146 section 4.
const CONNECTION_ID: u8 = 25;
