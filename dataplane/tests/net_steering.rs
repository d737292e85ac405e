//! Does the kernel give a record with our Connection ID to the worker that the ID names, and spread
//! everything else? With real groups of real sockets.
#![allow(clippy::unwrap_used)]

mod net_rig;

use net_rig::{Rig, client};
use std::time::Duration;
use tidegate_dataplane::config::Backend;

on_both_backends! {
    a_record_with_a_connection_id_finds_its_worker;
    a_connection_id_behind_plaintext_records_is_found;
    other_datagrams_are_spread_over_all_workers;
    a_worker_that_does_not_exist_loses_nothing;
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

struct Group {
    workers: Vec<Rig>,
}

impl Group {
    fn of(count: u8, backend: Backend, listen: &str) -> Self {
        let first = Rig::open(backend, &[listen]);
        let listen = first.addresses.clone();
        let others = (1..count).map(|number| Rig::worker(backend, &listen, number));
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
        while received.iter().sum::<usize>() < PORTS {
            for (worker, count) in self.workers.iter_mut().zip(&mut received) {
                if worker.net.wait(Duration::from_millis(1)).datagrams {
                    *count += worker.reap().len();
                }
            }
        }
        received
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
