//! Is a datagram lost that comes while no dataplane runs? Not where somebody keeps its sockets:
//! `--supervise`, or a service manager by the same protocol.

#![forbid(unsafe_code)]

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::option::Number;
use tidegate_coap::writer::Writer;
use tidegate_crypto::secret::Secret;
use tidegate_dtls::client::{Config, Credential, Randoms};
use tidegate_loadgen::device::{Device, OUT_BYTES};
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::wait::{eventually, patience};

const DEVICES: u8 = 40;

/// A device that sends each request once, whatever comes.
struct Once {
    socket: UdpSocket,
    machine: Device,
    mid: u16,
}

impl Once {
    fn connect(edge: &Edge, device: &Provisioned, number: u8) -> Self {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        socket.connect((Ipv4Addr::LOCALHOST, edge.coap_port)).expect("loopback");
        socket.set_read_timeout(Some(Duration::from_millis(20))).expect("a socket");
        let psk = Secret::new(&device.key());
        let credential = Credential::Psk { identity: device.identity.clone().into_bytes(), psk };
        let randoms = Randoms::expand(&[number; 32]);
        let config = Arc::new(Config::default());
        let machine = Device::new(&config, 0, 0, Some(b""), &randoms, credential, None);
        let mut once = Self { socket, machine, mid: 0 };
        let begun = Instant::now();
        eventually("its handshake", || {
            let now_ms = begun.elapsed().as_millis() as u64;
            if once.machine.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                once.machine.on_due(now_ms);
            }
            once.flush();
            once.hear(now_ms);
            once.machine.is_up().then_some(())
        });
        once
    }

    fn flush(&mut self) {
        let mut out = [0; OUT_BYTES];
        while let Some(len) = self.machine.poll_transmit(&mut out) {
            self.socket.send(&out[..len]).expect("loopback");
        }
    }

    fn hear(&mut self, now_ms: u64) {
        let mut datagram = [0; OUT_BYTES];
        // An error is a port where nobody is, or nothing for a while.
        if let Ok(len) = self.socket.recv(&mut datagram) {
            self.machine.on_datagram(now_ms, &mut datagram[..len]);
        }
    }

    fn puts(&mut self) {
        self.mid += 1;
        let (mut message, mut out) = ([0; 64], [0; OUT_BYTES]);
        let token = Token::new(&self.mid.to_be_bytes());
        let mut writer = Writer::new(&mut message, Type::Con, Code::PUT, self.mid, &token);
        let written = writer.option(Number::URI_PATH, b"t").payload(b"1").finish();
        let len =
            self.machine.seal(&message[..written.expect("room")], &mut out).expect("a session");
        // Where nobody holds the port the kernel may say so at once: it was sent even so.
        let _ = self.socket.send(&out[..len]);
    }

    /// The Message IDs, by their tokens, of requests that were answered 2.04 until this one was.
    fn answered_until(&mut self, mid: u16) -> Vec<u16> {
        let give_up = Instant::now() + patience();
        let (mut answered, mut other) = (Vec::new(), Vec::new());
        while !answered.contains(&mid) {
            let came = format!("{answered:?}, and other than 2.04 {other:?}");
            assert!(Instant::now() < give_up, "request {mid} is never answered: {came}");
            self.hear(0);
            while let Some(message) = self.machine.take_message() {
                let Ok(message) = Message::parse(&message) else { continue };
                if message.code == Code::CHANGED {
                    let token = message.token.as_bytes().try_into().expect("ours");
                    answered.push(u16::from_be_bytes(token));
                } else {
                    other.push((message.code, message.mid));
                }
            }
            self.flush();
        }
        answered
    }
}

fn devices(edge: &Edge) -> Vec<Once> {
    let device = |number| {
        let provisioned = edge.provision(&format!("once-{number}"));
        Once::connect(edge, &provisioned, number)
    };
    (1..=DEVICES).map(device).collect()
}

/// Each device sends one request while no dataplane runs, and never again: all are answered by the
/// next one, in every backend.
#[test]
fn requests_sent_while_no_dataplane_runs_are_answered_by_the_next() {
    for backend in ["io_uring", "mmsg"] {
        let edge = Edge::with(&Options { backend, supervised: true, ..Options::default() });
        let mut devices = devices(&edge);
        for round in 1..=2 {
            let serving = serving(&edge);
            // So that it starts no other before the requests are sent.
            signal("-STOP", edge.dataplane_id());
            signal("-KILL", serving);
            eventually("it is dead", || has_ended(serving).then_some(()));
            devices.iter_mut().for_each(Once::puts);
            signal("-CONT", edge.dataplane_id());
            for device in &mut devices {
                assert_eq!(device.answered_until(round), [round], "{backend}");
            }
        }
        assert!(edge.dataplane_said().contains("sockets_kept=true"), "{}", edge.dataplane_said());
    }
}

/// The control: without, the same requests are lost, and each device's next is the first answered.
#[test]
fn without_somebody_who_keeps_the_sockets_they_are_lost() {
    let mut edge = Edge::embedded();
    let mut devices = devices(&edge);
    edge.kill_dataplane();
    devices.iter_mut().for_each(Once::puts);
    edge.start_dataplane();
    edge.wait_until_ready();
    for device in &mut devices {
        device.puts();
        assert_eq!(device.answered_until(2), [2]);
    }
}

/// Another number of workers than the sockets are for: they are given up, and others are
/// bound, which the restart after that finds.
#[test]
fn sockets_that_do_not_fit_are_given_up() {
    let mut edge = Edge::with(&Options { supervised: true, ..Options::default() });
    edge.configure_workers(1);
    for kept in ["do not fit", "sockets_kept=true"] {
        signal("-KILL", serving(&edge));
        eventually("the next says what it found", || {
            edge.dataplane_said().contains(kept).then_some(())
        });
        edge.wait_until_ready();
    }
}

/// The process that serves: the one child of the one that keeps.
fn serving(edge: &Edge) -> u32 {
    let keeper = edge.dataplane_id();
    eventually("it has started one", || {
        let children = format!("/proc/{keeper}/task/{keeper}/children");
        fs::read_to_string(children).ok()?.split_whitespace().next()?.parse().ok()
    })
}

/// Gone, or waiting to be looked after: with all of its threads, since one of a worker that dies
/// after the first one may take a datagram with it.
fn has_ended(id: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
    let is_dead =
        stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'));
    is_dead && fs::read_dir(format!("/proc/{id}/task")).map_or(0, Iterator::count) <= 1
}

fn signal(which: &str, id: u32) {
    let sent = Command::new("kill").args([which, &id.to_string()]).status();
    assert!(sent.is_ok_and(|status| status.success()), "kill {which} {id}");
}
