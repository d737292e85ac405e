//! Who answers a dataplane when no control plane is there? A stand-in on the other end of its real
//! rings: it knows every device by one key and confirms every publication at once.
//!
//! So that the figures of the dataplane need neither a store nor a broker. A GET or POST is
//! answered 2.04 as if an application had.

use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::ops::Add;
use std::path::Path;
use std::thread;
use std::time::Duration;

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_dataplane::fate::Fate;
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

/// What a worker and its ring went through, as far as the stand-in has heard: it writes it down
/// whenever the worker tells its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Datagrams the worker received.
    pub datagrams: u64,
    /// Of these, those that were another worker's.
    pub handed_over: u64,
    /// Entries on the uplink ring.
    pub entries: u64,
    /// How often the stand-in slept and was woken for them.
    pub sleeps: u64,
}

impl Told {
    /// What was written down of a worker last.
    pub fn read(run_dir: &Path, worker: u8) -> io::Result<Self> {
        let text = match fs::read_to_string(run_dir.join(format!("worker-{worker}.told"))) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text?,
        };
        let mut numbers = text.split_whitespace().map_while(|word| word.parse().ok());
        let mut next = || numbers.next().ok_or(io::ErrorKind::InvalidData);
        Ok(Self { datagrams: next()?, handed_over: next()?, entries: next()?, sleeps: next()? })
    }

    fn write(&self, run_dir: &Path, worker: u8) -> io::Result<()> {
        let Self { datagrams, handed_over, entries, sleeps } = self;
        let path = run_dir.join(format!("worker-{worker}.told"));
        let part = path.with_extension("part");
        fs::write(&part, format!("{datagrams} {handed_over} {entries} {sleeps}\n"))?;
        fs::rename(part, path)
    }

    /// The worker's counters, in the order of its enums.
    fn on_counters(&mut self, bytes: &[u8]) {
        let values = bytes
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")));
        let fates = Fate::ALL.iter().zip(values);
        (self.datagrams, self.handed_over) = (0, 0);
        for (fate, value) in fates {
            self.datagrams += value;
            self.handed_over += if *fate == Fate::HandedOver { value } else { 0 };
        }
    }
}

impl Add for Told {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            datagrams: self.datagrams + other.datagrams,
            handed_over: self.handed_over + other.handed_over,
            entries: self.entries + other.entries,
            sleeps: self.sleeps + other.sleeps,
        }
    }
}

fn serve_one(run_dir: &Path, worker: u8, key: &[u8]) -> io::Result<()> {
    let mut ends = attach(run_dir, worker)?;
    let mut told = Told::default();
    loop {
        let before = told.datagrams;
        let taken = turn(&mut ends, key, &mut told)
            .map_err(|corrupt| io::Error::other(corrupt.to_string()))?;
        if told.datagrams != before {
            told.write(run_dir, worker)?;
        }
        if taken == 0 && ends.up.prepare_sleep() {
            // Bounded: a worker killed between its commit and the bell does not ring.
            told.sleeps += u64::from(ends.bell.wait(Duration::from_secs(1)));
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
fn turn(ends: &mut ControlEnds, key: &[u8], told: &mut Told) -> Result<usize, Corrupt> {
    let (mut count, mut last) = (0, None);
    while count < BATCH_MAX
        && let Some(entry) = ends.up.next()?
    {
        if Kind::from_wire(entry.kind) == Some(Kind::Counters)
            && let Some((_, values)) = wire::Counters::split(entry.bytes)
        {
            told.on_counters(values);
        }
        told.entries += 1;
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
        terms: wire::Terms::OWN,
        body_bytes: 0.into(),
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
            body_bytes: 0.into(),
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
    fn counters_are_written_down_and_read() {
        let mut told = Told { entries: 3, sleeps: 2, ..Told::default() };
        let values: Vec<u8> = (0..Fate::ALL.len() + 5).flat_map(|_| 2u64.to_le_bytes()).collect();
        told.on_counters(&values);
        told.on_counters(&values);
        assert_eq!((told.datagrams, told.handed_over), (2 * Fate::ALL.len() as u64, 2));
        let directory = std::env::temp_dir().join(format!("tidegate-told-{}", std::process::id()));
        std::fs::create_dir(&directory).expect("a new one");
        assert_eq!(Told::read(&directory, 1).expect("nothing yet"), Told::default());
        told.write(&directory, 1).expect("written");
        assert_eq!(Told::read(&directory, 1).expect("read"), told);
        std::fs::remove_dir_all(directory).expect("gone");
    }

    #[test]
    fn what_needs_no_answer_gets_none() {
        assert!(answers(Kind::SessionUp, &[&[0; 80]]).is_empty());
        assert!(answers(Kind::Counters, &[&[0; 80]]).is_empty());
    }
}
