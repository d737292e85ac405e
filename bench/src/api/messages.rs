//! How many messages for devices are accepted a second, and how long does one wait? Each is on the
//! disk before it is answered; those that come together share a sync.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::{Client, Key};
use super::edge::{ApiEdge, Data, Medium};
use super::imports;
use crate::ratio::by_turns;
use crate::ratio::figure::{Figure, median};

/// Devices that messages wait for.
const DEVICES: u32 = 256;
/// As many bytes are appended before each bare sync, about a message's.
const RECORD: [u8; 512] = [7; 512];

/// What callers saw of one stretch.
#[derive(Debug)]
pub struct Slice {
    /// Accepted, or synced, a second.
    pub per_s: f64,
    /// Time of one at the median and of the slowest hundredth, ms.
    pub ms: (f64, f64),
    /// CPU of the control plane for one, µs.
    pub cpu_us: f64,
}

/// An edge with devices, and callers who are connected to it.
pub struct Rig {
    edge: ApiEdge,
    callers: Vec<Client>,
    devices: Vec<String>,
}

impl Rig {
    /// An edge on a medium, `callers` of them, all with the root key.
    pub fn new(medium: Medium, callers: usize) -> io::Result<Self> {
        let edge = ApiEdge::start(medium)?;
        let mut client = edge.client()?;
        let devices = make_devices(&edge, &mut client)?;
        let callers = (0..callers).map(|_| edge.client()).collect::<io::Result<_>>()?;
        Ok(Self { edge, callers, devices })
    }

    /// The same edge, called by others.
    fn called_by(&self, key: &Key, callers: usize) -> io::Result<Vec<Client>> {
        (0..callers).map(|_| self.edge.client_of(key)).collect()
    }

    /// Everybody sends for so long.
    pub fn run(&mut self, stretch: Duration) -> io::Result<Slice> {
        run(&self.edge, &mut self.callers, &self.devices, stretch)
    }
}

/// Every figure of messages.
pub fn figures(pairs: usize, stretch: Duration) -> io::Result<Vec<Figure>> {
    let mut all = durable(pairs, stretch)?;
    all.extend(of_accounts(pairs, stretch)?);
    Ok(all)
}

/// Messages on the disk, against bare syncs of it, and against messages in memory.
fn durable(pairs: usize, stretch: Duration) -> io::Result<Vec<Figure>> {
    let data = Data::new(Medium::Disk)?;
    let mut figures = Vec::new();
    for callers in [1, 64] {
        let mut rig = Rig::new(Medium::Disk, callers)?;
        let mut memory = Rig::new(Medium::Memory, callers)?;
        let (mut ours, mut bare, mut free) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..pairs {
            bare.push(sync_alone(&data, stretch)?);
            ours.push(rig.run(stretch)?);
            free.push(memory.run(stretch)?);
        }
        let figure = |name: &str, unit, others: &[Slice], of: fn(&Slice) -> f64| {
            let pairs: Vec<_> =
                ours.iter().zip(others).map(|(ours, other)| (of(ours), of(other))).collect();
            let name = format!("SendDataToWirelessDevice, {callers} callers, durable: {name}");
            Figure::from_pairs(name, unit, &pairs, None)
        };
        figures.extend([
            figure(
                "accepted, against a bare append and fdatasync, one after the other",
                "1/s",
                &bare,
                |it| it.per_s,
            ),
            figure("accepted, against the same with its data in memory", "1/s", &free, |it| {
                it.per_s
            }),
            figure("median time, against the bare one", "ms", &bare, |it| it.ms.0),
            figure("99th hundredth of the times, against the bare one", "ms", &bare, |it| it.ms.1),
        ]);
    }
    Ok(figures)
}

/// What sealing and judging cost: an account's records against the root's, a user with a policy
/// against the account's own key. In memory, where the disk has no say.
fn of_accounts(pairs: usize, stretch: Duration) -> io::Result<Vec<Figure>> {
    let mut rig = Rig::new(Medium::Memory, CALLERS)?;
    let key_of = |made: &Value| -> io::Result<Key> {
        let field = |name: &str| {
            made[name].as_str().map(ToOwned::to_owned).ok_or(io::ErrorKind::InvalidData)
        };
        Ok(Key { id: field("AccessKeyId")?, secret: field("SecretAccessKey")? })
    };
    let made = rig.edge.admin(&["account", "create", "run"])?;
    let account = made["AccountId"].as_str().ok_or(io::ErrorKind::InvalidData)?.to_owned();
    let owner = key_of(&made)?;
    let of = ["--account", &account];
    rig.edge.admin(&[&["user", "create", "app"][..], &of].concat())?;
    let attach = ["policy", "attach", "--user", "app", "--name", "app", "--document", POLICY];
    rig.edge.admin(&[&attach[..], &of].concat())?;
    let user = key_of(&rig.edge.admin(&[&["key", "create", "--user", "app"][..], &of].concat())?)?;
    let mut client = rig.edge.client_of(&owner)?;
    let its = make_account_devices(&mut client)?;

    let mut by_owner = rig.called_by(&owner, CALLERS)?;
    let mut by_user = rig.called_by(&user, CALLERS)?;
    let Rig { edge, callers, devices } = &mut rig;
    let sealed = by_turns(
        pairs,
        || Ok(run(edge, &mut by_owner, &its, stretch)?.cpu_us),
        || Ok(run(edge, callers, devices, stretch)?.cpu_us),
    )?;
    let judged = by_turns(
        pairs,
        || Ok(run(edge, &mut by_user, &its, stretch)?.cpu_us),
        || Ok(run(edge, &mut by_owner, &its, stretch)?.cpu_us),
    )?;
    let unit = "µs of control plane CPU";
    let figure = |name: &str, pairs: &[(f64, f64)]| {
        Figure::from_pairs(format!("SendDataToWirelessDevice: {name}"), unit, pairs, None)
    };
    Ok(vec![
        figure("of an account, its records sealed, against the root's", &sealed),
        figure("by a user with a policy of four statements, against the account's key", &judged),
    ])
}

/// Every caller sends messages for devices, one after the other, until the time is over.
fn run(
    edge: &ApiEdge,
    callers: &mut [Client],
    devices: &[String],
    stretch: Duration,
) -> io::Result<Slice> {
    let body = json!({
        "TransmitMode": 1, "PayloadData": "eyJ2YWx2ZSI6Im9wZW4ifQ==",
        "CoAP": { "RequestMethod": "PUT", "UriPaths": ["valve"], "QueueMode": 1 },
    });
    let (body, is_over) = (body.to_string(), AtomicBool::new(false));
    let cpu = edge.control.cpu()?;
    let begun = Instant::now();
    let times: Vec<Duration> = thread::scope(|scope| {
        let send = |(number, caller)| {
            let (body, is_over) = (&body, &is_over);
            scope.spawn(move || send_all(caller, number, devices, body, is_over))
        };
        let threads: Vec<_> = callers.iter_mut().enumerate().map(send).collect();
        thread::sleep(stretch);
        is_over.store(true, Ordering::Relaxed);
        let mut times = Vec::new();
        for thread in threads {
            let of_one = thread.join().map_err(|_| io::Error::other("a caller panicked"))?;
            times.extend(of_one?);
        }
        Ok::<_, io::Error>(times)
    })?;
    let took = begun.elapsed();
    let cpu = edge.control.cpu()?.saturating_sub(cpu);
    slice(times, took, cpu)
}

fn send_all(
    caller: &mut Client,
    number: usize,
    devices: &[String],
    body: &str,
    is_over: &AtomicBool,
) -> io::Result<Vec<Duration>> {
    let mut times = Vec::new();
    for at in number.. {
        if is_over.load(Ordering::Relaxed) {
            break;
        }
        let target = format!("/wireless-devices/{}/data", devices[at % devices.len()]);
        let begun = Instant::now();
        let (status, answer) = caller.ask("POST", &target, body)?;
        times.push(begun.elapsed());
        if status != 202 {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            return Err(io::Error::other(format!("a message was refused: {status} {answer}")));
        }
    }
    Ok(times)
}

/// One thread, one file: what a disk does without sharing.
fn sync_alone(data: &Data, stretch: Duration) -> io::Result<Slice> {
    let path = data.path().join("bare");
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let (begun, mut times) = (Instant::now(), Vec::new());
    while begun.elapsed() < stretch {
        let one = Instant::now();
        file.write_all(&RECORD)?;
        file.sync_data()?;
        times.push(one.elapsed());
    }
    slice(times, begun.elapsed(), Duration::ZERO)
}

fn slice(mut times: Vec<Duration>, took: Duration, cpu: Duration) -> io::Result<Slice> {
    if times.is_empty() {
        return Err(io::Error::other("nothing was done"));
    }
    times.sort_unstable();
    let ms = |time: Duration| time.as_secs_f64() * 1_000.0;
    let count = times.len() as f64;
    Ok(Slice {
        per_s: count / took.as_secs_f64(),
        ms: (median(times.iter().map(|time| ms(*time))), ms(times[times.len() * 99 / 100])),
        cpu_us: cpu.as_secs_f64() * 1e6 / count,
    })
}

fn make_devices(edge: &ApiEdge, client: &mut Client) -> io::Result<Vec<String>> {
    imports::write_input(edge.data(), DEVICES)?;
    imports::make_destination(client)?;
    let task = imports::start(client)?;
    imports::follow(client, &task, DEVICES, Instant::now())?;
    listed(client)
}

/// Its files would lie elsewhere: one call each.
fn make_account_devices(client: &mut Client) -> io::Result<Vec<String>> {
    imports::make_destination(client)?;
    for number in 0..DEVICES {
        let key = json!({
            "PreSharedKeyIdentity": format!("of-an-account-{}", imports::identity(number)),
            "PreSharedKeySecret": format!("{number:032}"),
        });
        let device = json!({
            "Type": "CoAP", "DestinationName": "run", "Cellular": { "DtlsV1_2": key },
        });
        client.succeed("POST", "/wireless-devices", &device)?;
    }
    listed(client)
}

fn listed(client: &mut Client) -> io::Result<Vec<String>> {
    let page = client.succeed("GET", "/wireless-devices?maxResults=250", &Value::Null)?;
    let found = page["WirelessDeviceList"].as_array().cloned().unwrap_or_default();
    let ids: Vec<String> =
        found.iter().filter_map(|device| Some(device["Id"].as_str()?.to_owned())).collect();
    if ids.len() == 250 { Ok(ids) } else { Err(io::Error::other("devices are missing")) }
}

/// Callers where the CPU is measured.
const CALLERS: usize = 16;
const POLICY: &str = r#"{"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Action": "iotwireless:Get*", "Resource": "*"},
    {"Effect": "Allow", "Action": "iotwireless:List*", "Resource": "*"},
    {"Effect": "Allow", "Action": "iotwireless:SendDataToWirelessDevice",
     "Resource": "arn:aws:iotwireless:*:*:WirelessDevice/*"},
    {"Effect": "Deny", "Action": "iotwireless:Delete*", "Resource": "*"}]}"#;
