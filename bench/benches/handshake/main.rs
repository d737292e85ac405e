//! What does a handshake cost a server, in every mode, and what does it cost OpenSSL?
//!
//! Both servers run in this process and answer the same client of ours through memory (where
//! OpenSSL lacks our suites, one of its own). Only the time inside the server's calls counts: from
//! the cookie exchange to the last flight. The table at the end takes both by turns and leaves out
//! handshakes that the kernel interrupted, so that a busy machine distorts little;
//! `cargo bench -p tidegate-bench --bench handshake -- table` makes it alone.

mod foreign;
mod modes;
mod ours;

use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use tidegate_dtls::client::Session;

use crate::modes::{Credentials, MODES, Mode};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A server in memory that shakes hands with one client after the other.
trait Server {
    /// Another client comes.
    fn begin(&mut self);
    /// Takes a datagram and appends its answers.
    fn on_datagram(&mut self, datagram: &mut [u8], answers: &mut Vec<Vec<u8>>);
    /// Whether the handshake is complete, and whether it resumed a session.
    fn is_established(&mut self) -> Option<bool>;
}

/// A client that shakes hands once.
trait Client {
    fn poll_transmit(&mut self, out: &mut [u8]) -> Option<usize>;
    fn on_datagram(&mut self, datagram: &mut [u8]);
    /// Whether the handshake is complete, and whether it resumed a session.
    fn is_established(&mut self) -> Option<bool>;
    /// What can be resumed.
    fn session(&self) -> Option<Session>;
}

/// Makes a client from a seed; it offers the session, if there is one.
type Clients<'a> = dyn Fn(&[u8; 32], Option<&Session>) -> Box<dyn Client> + 'a;

/// Where the time of one handshake went.
#[derive(Clone, Copy, Default)]
struct Cost {
    server: Duration,
    client: Duration,
}

/// A server and the clients it shakes hands with, over and over.
struct Rig<'a> {
    mode: &'static Mode,
    server: Box<dyn Server>,
    clients: Box<Clients<'a>>,
    session: Option<Session>,
    count: u64,
}

impl<'a> Rig<'a> {
    fn ours(mode: &'static Mode, credentials: &'a Credentials) -> Self {
        let clients = Box::new(ours::clients(mode, credentials));
        Self::new(mode, ours::server(mode, credentials), clients)
    }

    /// `None` when OpenSSL does not have the mode.
    fn foreign(mode: &'static Mode, credentials: &'a Credentials) -> Option<Self> {
        let server = foreign::server(mode, credentials)?;
        Some(if mode.is_ours_alone {
            Self::new(mode, server, Box::new(foreign::clients(mode)))
        } else {
            Self::new(mode, server, Box::new(ours::clients(mode, credentials)))
        })
    }

    fn new(mode: &'static Mode, server: Box<dyn Server>, clients: Box<Clients<'a>>) -> Self {
        let mut rig = Self { mode, server, clients, session: None, count: 0 };
        if mode.resumes {
            rig.shake();
            assert!(rig.session.is_some(), "{}: the server keeps sessions", mode.name);
        }
        rig
    }

    /// One handshake, which succeeds.
    fn shake(&mut self) -> Cost {
        self.count += 1;
        let mut seed = [0x5a; 32];
        seed[..8].copy_from_slice(&self.count.to_le_bytes());
        let mut cost = Cost::default();
        let server = &mut self.server;
        timed(&mut cost.server, || server.begin());
        let mut client = timed(&mut cost.client, || (self.clients)(&seed, self.session.as_ref()));
        let (mut out, mut answers) = ([0; 2048], Vec::new());
        while let Some(len) = timed(&mut cost.client, || client.poll_transmit(&mut out)) {
            timed(&mut cost.server, || server.on_datagram(&mut out[..len], &mut answers));
            for mut answer in answers.drain(..) {
                timed(&mut cost.client, || client.on_datagram(&mut answer));
            }
        }
        let is_resumed = Some(self.session.is_some());
        assert_eq!(client.is_established(), is_resumed, "{}: the client", self.mode.name);
        assert_eq!(server.is_established(), is_resumed, "{}: the server", self.mode.name);
        if self.mode.resumes && self.session.is_none() {
            self.session = client.session();
        }
        cost
    }
}

fn timed<T>(sum: &mut Duration, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    *sum += start.elapsed();
    result
}

fn handshakes(criterion: &mut Criterion) {
    let credentials = Credentials::new();
    let mut group = criterion.benchmark_group("handshake");
    group.sample_size(20);
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(2));
    for mode in MODES {
        let mut rig = Rig::ours(mode, &credentials);
        let mut measure = |name: &str, part: fn(Cost) -> Duration| {
            group.bench_function(format!("{}: {name}", mode.name), |bencher| {
                bencher.iter_custom(|rounds| (0..rounds).map(|_| part(rig.shake())).sum());
            });
        };
        measure("server's share", |cost| cost.server);
        measure("both ends", |cost| cost.server + cost.client);
        let Some(mut rig) = Rig::foreign(mode, &credentials) else { continue };
        group.bench_function(format!("{}: OpenSSL server's share", mode.name), |bencher| {
            bencher.iter_custom(|rounds| (0..rounds).map(|_| rig.shake().server).sum());
        });
    }
    group.finish();
    table(&credentials);
}

/// Handshakes of each server for one row of the table, by turns of so many.
const SAMPLES: usize = 400;
const TURN: usize = 10;

/// Ours beside OpenSSL's.
fn table(credentials: &Credentials) {
    println!("\nthe server's share of a handshake, median of {SAMPLES} that nobody interrupted");
    println!("{} for comparison, in the same process, by turns\n", openssl::version::version());
    println!("| mode | µs | a second and core | OpenSSL | µs | ratio |");
    println!("|---|---:|---:|---|---:|---:|");
    for mode in MODES {
        let mut ours = Rig::ours(mode, credentials);
        let mut theirs = Rig::foreign(mode, credentials);
        let mut samples = (Vec::new(), Vec::new());
        for _ in 0..SAMPLES / TURN {
            samples.0.extend((0..TURN).map(|_| uninterrupted(&mut ours)));
            if let Some(theirs) = &mut theirs {
                samples.1.extend((0..TURN).map(|_| uninterrupted(theirs)));
            }
        }
        let us = median(&mut samples.0);
        print!("| {} | {us:.1} | {:.0} |", mode.name, 1e6 / us);
        match mode.openssl {
            Some(suite) => {
                let theirs = median(&mut samples.1);
                println!(" {suite} | {theirs:.1} | {:.2} |", theirs / us);
            }
            None => println!(" not in this version | – | – |"),
        }
    }
}

/// Microseconds of the server in a handshake during which the kernel ran nobody else in our place,
/// if one of a hundred was such.
fn uninterrupted(rig: &mut Rig<'_>) -> f64 {
    let mut cost = Cost::default();
    for _ in 0..100 {
        let before = turns_on_the_cpu();
        cost = rig.shake();
        if turns_on_the_cpu() == before {
            break;
        }
    }
    cost.server.as_secs_f64() * 1e6
}

/// How often the kernel has put this thread on a CPU (third field; empty where Linux does not say).
fn turns_on_the_cpu() -> String {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    stat.split_whitespace().nth(2).unwrap_or_default().to_owned()
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

criterion_group!(benches, handshakes);
criterion_main!(benches);
