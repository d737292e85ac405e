//! Do the sockets of plain CoAP keep apart from those of DTLS? By their number, their way back, and
//! by the worker that hears them.
#![allow(clippy::unwrap_used)]

mod net_rig;

use net_rig::{Rig, client, hear, hears_nothing};
use tidegate_dataplane::config::{Backend, Config};

on_both_backends! {
    a_reply_leaves_from_the_socket_that_was_written_to;
    plain_coap_is_not_steered_by_its_bytes;
}

fn config(backend: Backend, listen: &str, nosec: &str) -> Config {
    let mut config = Config { listen: vec![listen.parse().unwrap()], ..Config::default() };
    config.nosec.listen = vec![nosec.parse().unwrap()];
    config.net.backend = backend;
    config
}

fn a_reply_leaves_from_the_socket_that_was_written_to(backend: Backend) {
    let config = config(backend, "127.0.0.1:0", "127.0.0.1:0");
    let mut rig = Rig::configured(&config, 0);
    let (dtls, plain) = (client(rig.addresses[0]), client(rig.addresses[1]));
    dtls.send(b"record").unwrap();
    plain.send(b"message").unwrap();
    let mut heard = rig.receive(2);
    heard.sort_by_key(|reaped| reaped.peer.socket());
    assert!(!config.is_nosec(heard[0].peer.socket()) && config.is_nosec(heard[1].peer.socket()));
    assert_eq!((&heard[0].bytes[..], &heard[1].bytes[..]), (&b"record"[..], &b"message"[..]));
    rig.post(heard[1].peer, b"ack");
    rig.flush();
    assert_eq!(hear(&plain), b"ack", "from the address it wrote to: it hears no other");
    assert!(hears_nothing(&dtls));
}

/// What looks like a record with a Connection ID is steered on a DTLS socket only.
fn plain_coap_is_not_steered_by_its_bytes(backend: Backend) {
    let first = Rig::configured(&config(backend, "127.0.0.1:0", "127.0.0.1:0"), 0);
    let mut bound = config(backend, "127.0.0.1:0", "127.0.0.1:0");
    (bound.listen, bound.nosec.listen) = (vec![first.addresses[0]], vec![first.addresses[1]]);
    let mut workers = [first, Rig::configured(&bound, 1)];
    let mut counts = [[0; 2]; 2];
    for (socket, counts) in counts.iter_mut().enumerate() {
        let client = client(workers[0].addresses[socket]);
        for number in 0..20 {
            let mut record = [0; 20];
            (record[0], record[11]) = (25, number % 2);
            client.send(&record).unwrap();
        }
        while counts.iter().sum::<usize>() < 20 {
            for (worker, count) in workers.iter_mut().zip(&mut *counts) {
                *count += worker.drain().len();
            }
        }
    }
    let [dtls, plain] = counts;
    assert_eq!(dtls, [10, 10]);
    assert!(plain.contains(&20), "all to one worker: {plain:?}");
}
