//! Who answers a dataplane when no control plane is there? A stand-in on the other end of its real
//! rings: it knows every device by one key and confirms every publication at once.
//!
//! So that the figures of the dataplane need neither a store nor a broker. A GET or POST is
//! answered 2.04 as if an application had.

use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_ring::contract::{self as wire, Kind};
use tidegate_ring::link::{self, ControlEnds, LinkError};
use tidegate_ring::{Corrupt, Producer, trust};
use zerocopy::IntoBytes;

/// Serves the first `workers` workers in `run_dir`, each by a thread of its own, until the process
/// ends or a ring is corrupt. Waits for a dataplane that has not started.
pub fn serve(run_dir: &Path, workers: u8, key: &[u8]) -> io::Result<()> {
    thread::scope(|scope| {
        let serve = |worker| scope.spawn(move || serve_one(run_dir, worker, key));
        let threads: Vec<_> = (0..workers).map(serve).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| io::Error::other("a thread panicked"))?)
            .fold(Ok(()), io::Result::and)
    })
}

fn serve_one(run_dir: &Path, worker: u8, key: &[u8]) -> io::Result<()> {
    let mut ends = attach(run_dir, worker)?;
    loop {
        let taken =
            turn(&mut ends, key).map_err(|corrupt| io::Error::other(corrupt.to_string()))?;
        if taken == 0 && ends.up.prepare_sleep() {
            // Bounded: a worker killed between its commit and the bell does not ring.
            ends.bell.wait(Duration::from_secs(1));
            ends.up.awake();
            ends.bell.drain();
        }
        if taken == 0 && !ends.is_current() {
            drop(ends);
            ends = attach(run_dir, worker)?;
        }
    }
}

fn attach(run_dir: &Path, worker: u8) -> io::Result<ControlEnds> {
    loop {
        match link::control_side(run_dir, worker) {
            Ok(ends) => return Ok(ends),
            Err(LinkError::Absent { .. }) => thread::sleep(Duration::from_millis(20)),
            Err(error) => return Err(io::Error::other(error)),
        }
    }
}

/// Answers a batch of entries; how many there were.
fn turn(ends: &mut ControlEnds, key: &[u8]) -> Result<usize, Corrupt> {
    let (mut count, mut last) = (0, None);
    while count < BATCH_MAX
        && let Some(entry) = ends.up.next()?
    {
        answer(entry.kind, entry.bytes, key, |kind, parts| push(&mut ends.down, kind, parts));
        (count, last) = (count + 1, Some(entry.seq));
    }
    if let Some(seq) = last {
        ends.up.release(seq);
        ends.down.wake_if_sleeping();
    }
    Ok(count)
}

/// Until there is room: the worker is awake, or is woken here.
fn push(down: &mut Producer, kind: Kind, parts: &[&[u8]]) {
    while down.push(kind as u8, parts, 0).is_err() {
        down.wake_if_sleeping();
        thread::yield_now();
    }
}

/// What a control plane that knows every device and confirms everything says to an entry.
pub fn answer(kind: u8, bytes: &[u8], key: &[u8], mut push: impl FnMut(Kind, &[&[u8]])) {
    match Kind::from_wire(kind) {
        Some(Kind::Uplink) => {
            let (uplink, _) = wire::Uplink::split(bytes).expect("a worker writes whole entries");
            let is_awaited = uplink.answer_awaited == 1;
            let publication = if is_awaited {
                wire::Publication::AwaitingAnswer
            } else {
                wire::Publication::Confirmed
            };
            let published = wire::Published::new(uplink.exchange, 0, publication);
            push(Kind::Published, &[published.as_bytes()]);
            if is_awaited {
                answer_for_application(uplink, &mut push);
            }
        }
        Some(Kind::CredentialWanted) => {
            let (wanted, name) =
                wire::CredentialWanted::split(bytes).expect("a worker writes whole entries");
            let credential = wire::Credential {
                request: wanted.request,
                device: device_of(name),
                stamp: 1.into(),
                class: 0.into(),
                verdict: wire::Verdict::Known as u8,
                network: wire::Network::Cellular as u8,
            };
            let is_psk = wanted.claim == wire::Claim::PskIdentity as u8;
            push(Kind::Credential, &[credential.as_bytes(), if is_psk { key } else { b"" }]);
        }
        Some(Kind::Hello) => {
            let sheet = trust_sheet();
            let total = (sheet.len() as u32).into();
            let piece = wire::Trust { generation: 1.into(), offset: 0.into(), total };
            push(Kind::Trust, &[piece.as_bytes(), &sheet]);
        }
        _ => {}
    }
}

/// Whoever speaks from 127.0.0.1 without security is one device.
fn trust_sheet() -> Vec<u8> {
    let mut sheet = Vec::new();
    let device = trust::NoSec {
        ip: Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets(),
        port: 0,
        network: wire::Network::Cellular as u8,
        device: [2; 16],
        stamp: 1,
        class: 0,
    };
    assert!(trust::write(&mut sheet, &trust::Item::NoSec(device)), "one line fits");
    sheet
}

fn answer_for_application(uplink: &wire::Uplink, push: &mut impl FnMut(Kind, &[&[u8]])) {
    let mut message = [0; 16];
    let len = Writer::new(&mut message, Type::Con, Code::CHANGED, 0, &Token::new(&[]))
        .finish()
        .expect("room for a header");
    let answer = wire::Answer {
        exchange: uplink.exchange,
        message_id: uplink.device,
        device: uplink.device,
    };
    push(Kind::Answer, &[answer.as_bytes(), &message[..len]]);
}

/// The end of a name is where names differ.
fn device_of(name: &[u8]) -> wire::DeviceId {
    let mut device = [0; 16];
    let end = &name[name.len().saturating_sub(16)..];
    device[..end.len()].copy_from_slice(end);
    device
}

const BATCH_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(kind: Kind, parts: &[&[u8]]) -> Vec<(Kind, Vec<u8>)> {
        let mut answers = Vec::new();
        answer(kind as u8, &parts.concat(), b"key", |kind, parts| {
            answers.push((kind, parts.concat()));
        });
        answers
    }

    fn uplink(answer_awaited: u8) -> wire::Uplink {
        wire::Uplink {
            exchange: 7.into(),
            device: [9; 16],
            session: 1.into(),
            received_unix_ms: 0.into(),
            class: 0.into(),
            network: 1,
            answer_awaited,
        }
    }

    #[test]
    fn an_uplink_is_confirmed_and_a_question_answered() {
        let confirmed = answers(Kind::Uplink, &[uplink(0).as_bytes(), b"message"]);
        assert_eq!(confirmed.len(), 1);
        let (published, rest) = wire::Published::split(&confirmed[0].1).expect("whole");
        assert_eq!((confirmed[0].0, published.exchange.get()), (Kind::Published, 7));
        assert_eq!(published.publication, wire::Publication::Confirmed as u8);
        assert!(rest.is_empty());

        let answered = answers(Kind::Uplink, &[uplink(1).as_bytes(), b"message"]);
        assert_eq!(
            answered.iter().map(|one| one.0).collect::<Vec<_>>(),
            [Kind::Published, Kind::Answer]
        );
        let (answer, message) = wire::Answer::split(&answered[1].1).expect("whole");
        assert_eq!((answer.exchange.get(), answer.device), (7, [9; 16]));
        assert_eq!(message, [0x40, 0x44, 0, 0], "CON, 2.04, no token");
    }

    #[test]
    fn every_identity_has_the_key_and_is_a_device_of_its_own() {
        let wanted = wire::CredentialWanted { request: 3.into(), claim: 1 };
        let of = |identity: &[u8]| answers(Kind::CredentialWanted, &[wanted.as_bytes(), identity]);
        let (known, other) = (of(b"device-1"), of(b"device-2"));
        let (credential, key) = wire::Credential::split(&known[0].1).expect("whole");
        assert_eq!((credential.request.get(), key), (3, b"key".as_slice()));
        assert_eq!(credential.verdict, wire::Verdict::Known as u8);
        assert_ne!(known[0].1, other[0].1);

        let key = wire::CredentialWanted { claim: wire::Claim::RawPublicKey as u8, ..wanted };
        let known = answers(Kind::CredentialWanted, &[key.as_bytes(), b"spki"]);
        assert!(wire::Credential::split(&known[0].1).expect("whole").1.is_empty(), "no secret");
    }

    #[test]
    fn what_needs_no_answer_gets_none() {
        assert!(answers(Kind::SessionUp, &[&[0; 80]]).is_empty());
        assert!(answers(Kind::Counters, &[&[0; 80]]).is_empty());
    }
}
