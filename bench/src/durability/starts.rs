//! How long does a control plane take to start over an outbox full of uplinks, and to publish them?
//! Its devices fill it while the broker is away, it is killed, and the broker comes at last.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use super::{Devices, is_empty};
use crate::api::edge::{Data, Medium};
use crate::ratio::broker::{Broker, free_port};

/// What was seen over one outbox.
#[derive(Clone, Debug)]
pub(super) struct Backlog {
    /// Uplinks in it.
    pub(super) entries: u64,
    /// Their keys and values.
    pub(super) bytes: u64,
    /// From exec after a `kill -9` until the process says that it serves.
    pub(super) starts_s: Vec<f64>,
    /// From the first that the broker has to the last.
    pub(super) published_s: Option<f64>,
}

/// An empty outbox, then fuller and fuller ones, then an empty one that was full.
pub(super) fn backlogs() -> io::Result<Vec<Backlog>> {
    let (files, mqtt_port) = (Data::new(Medium::Memory)?, free_port()?);
    let mut devices = Devices::new("store", mqtt_port, false)?;
    let mut backlogs = vec![start(&mut devices)?];
    for entries in ENTRIES {
        while held(&devices)?.0 < entries {
            devices.load.run(FILL)?;
        }
        let mut backlog = start(&mut devices)?;
        let broker = Broker::start(files.path(), mqtt_port)?;
        backlog.published_s = Some(published(&devices, backlog.entries)?.as_secs_f64());
        tell(&backlog);
        backlogs.push(backlog);
        drop(broker);
    }
    backlogs.push(start(&mut devices)?);
    Ok(backlogs)
}

/// Uplinks in the outbox, and their bytes.
fn held(devices: &Devices) -> io::Result<(u64, u64)> {
    let health = devices.edge.health()?;
    let number = |name: &str| health["Outbox"][name].as_u64().ok_or(io::ErrorKind::InvalidData);
    Ok((number("Entries")?, number("Bytes")?))
}

fn start(devices: &mut Devices) -> io::Result<Backlog> {
    // What is confirmed is deleted by writes that nobody waits for.
    thread::sleep(SETTLED);
    let (entries, bytes) = held(devices)?;
    let mut starts_s = Vec::new();
    for _ in 0..STARTS {
        starts_s.push(devices.edge.restart_killed()?.as_secs_f64());
        let found = held(devices)?.0;
        if found != entries {
            let what = format!("{entries} uplinks waited, {found} after a kill");
            return Err(io::Error::other(what));
        }
    }
    let wrong = "the workers are not there";
    devices.edge.wait_until(wrong, |health| health["Workers"][0]["Worker"] == 0)?;
    Ok(Backlog { entries, bytes, starts_s, published_s: None })
}

/// Waits until the outbox is empty.
fn published(devices: &Devices, entries: u64) -> io::Result<Duration> {
    let (waiting, mut begun) = (Instant::now(), None);
    loop {
        let health = devices.edge.health()?;
        let is_under_way = health["Outbox"]["Entries"].as_u64() != Some(entries);
        let since = is_under_way.then(|| *begun.get_or_insert_with(Instant::now));
        if is_empty(&health) {
            return Ok(since.map_or(Duration::ZERO, |since| since.elapsed()));
        }
        if waiting.elapsed() > PATIENCE {
            return Err(io::Error::other(format!("it is never published: {health}")));
        }
        thread::sleep(PAUSE);
    }
}

fn tell(backlog: &Backlog) {
    if std::env::var_os(crate::ratio::VERBOSE).is_some() {
        eprintln!("  {backlog:?}");
    }
}

const ENTRIES: [u64; 4] = [10_000, 100_000, 300_000, 1_000_000];
const STARTS: usize = 5;
const SETTLED: Duration = Duration::from_secs(1);
const FILL: Duration = Duration::from_millis(250);
const PAUSE: Duration = Duration::from_millis(5);
const PATIENCE: Duration = Duration::from_mins(5);
