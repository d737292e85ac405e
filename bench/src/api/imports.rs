//! How long does an import of many devices take, and what do they weigh? A CSV file with a line
//! each, by StartWirelessDeviceImportTask, its progress asked for as it goes.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write as _};
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::client::Client;
use super::edge::{ApiEdge, Medium, bytes_below};
use crate::ratio::figure::{Figure, Goal};

/// What was seen of one import.
#[derive(Debug)]
pub struct Imported {
    /// From the order to `COMPLETE`.
    pub took: Duration,
    /// When each tenth of the devices was there.
    pub tenths: Vec<Duration>,
    /// Of the input, bytes.
    pub input_bytes: u64,
    /// Of the store with the devices, less that of an empty one, bytes.
    pub store_bytes: u64,
    /// Time of the control plane on the CPU.
    pub cpu: Duration,
    /// Of the control plane with the devices, bytes.
    pub resident_bytes: u64,
    /// From the start of a control plane with the devices until it is well.
    pub restart: Duration,
}

/// A million in five minutes.
const DEVICES_PER_S_WANTED: f64 = 1_000_000.0 / 300.0;
/// How often a task is asked how far it is.
const PAUSE: Duration = Duration::from_millis(50);
/// No import takes longer than a millisecond a device, and this.
const PATIENCE: Duration = Duration::from_mins(1);

/// Imports so many devices into a new store on the disk, each line checked to be a device.
pub fn run(devices: u32) -> io::Result<Imported> {
    let mut edge = ApiEdge::start(Medium::Disk)?;
    let mut client = edge.client()?;
    let input_bytes = write_input(edge.data(), devices)?;
    make_destination(&mut client)?;
    let empty_bytes = bytes_below(edge.data())?;
    let cpu = edge.control.cpu()?;
    let begun = Instant::now();
    let task = start(&mut client)?;
    let tenths = follow(&mut client, &task, devices, begun)?;
    let took = begun.elapsed();
    let cpu = edge.control.cpu()?.saturating_sub(cpu);
    let resident_bytes = edge.control.resident_bytes()?;
    // Closed and opened again the store has what it keeps, and no log of how it came to it.
    let restart = edge.restart()?;
    let store_bytes = bytes_below(edge.data())?.saturating_sub(empty_bytes);
    let mut client = edge.client()?;
    for number in [0, devices / 2, devices - 1] {
        let target =
            format!("/wireless-devices/{}?identifierType=PreSharedKeyIdentity", identity(number));
        let found = client.succeed("GET", &target, &Value::Null)?;
        if found["Name"] != json!(format!("device {number}")) {
            return Err(io::Error::other(format!("device {number} is not there: {found}")));
        }
    }
    Ok(Imported { took, tenths, input_bytes, store_bytes, cpu, resident_bytes, restart })
}

/// As figures.
pub fn figures(devices: u32) -> io::Result<Vec<Figure>> {
    let seen = run(devices)?;
    let count = f64::from(devices);
    let mut tenths = Vec::new();
    let mut before = Duration::ZERO;
    for tenth in &seen.tenths {
        tenths.push((
            count / 10.0 / tenth.saturating_sub(before).as_secs_f64(),
            DEVICES_PER_S_WANTED,
        ));
        before = *tenth;
    }
    let what = format!("import of {devices} devices");
    let one = |name: &str, unit, ours, against| {
        Figure::from_pairs(format!("{what}: {name}"), unit, &[(ours, against)], None)
    };
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let goal = Some(Goal::AtLeast(1.0));
    let rate = "devices a second, each tenth of them, against a million in five minutes";
    Ok(vec![
        Figure::from_pairs(format!("{what}: {rate}"), "1/s", &tenths, goal),
        one(
            "all, against five minutes a million",
            "s",
            seen.took.as_secs_f64(),
            count / DEVICES_PER_S_WANTED,
        ),
        one(
            "a device in the store, against its line in the file",
            "bytes",
            seen.store_bytes as f64 / count,
            seen.input_bytes as f64 / count,
        ),
        one(
            "control plane's CPU, against the time it took",
            "µs a device",
            seen.cpu.as_micros() as f64 / count,
            seen.took.as_micros() as f64 / count,
        ),
        one(
            "resident memory of the control plane, against its store",
            "MiB",
            mib(seen.resident_bytes),
            mib(seen.store_bytes),
        ),
        one(
            "start with these devices until the API is well, against the import",
            "s",
            seen.restart.as_secs_f64(),
            seen.took.as_secs_f64(),
        ),
    ])
}

/// Makes the destination of all devices.
pub fn make_destination(client: &mut Client) -> io::Result<()> {
    let destination = json!({
        "Name": DESTINATION, "ExpressionType": "MqttTopic", "Expression": "run/uplinks",
        "RoleArn": "arn:aws:iam::123456789012:role/unused",
    });
    client.succeed("POST", "/destinations", &destination).map(|_| ())
}

/// Writes the file of so many devices where imports are read; its length.
pub fn write_input(data: &Path, devices: u32) -> io::Result<u64> {
    let path = data.join("import").join(FILE);
    fs::create_dir_all(data.join("import"))?;
    let mut file = BufWriter::new(File::create(&path)?);
    writeln!(file, "Name,PreSharedKeyIdentity,PreSharedKeySecret")?;
    for number in 0..devices {
        writeln!(file, "device {number},{},0x{:032x}", identity(number), key(number))?;
    }
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    Ok(fs::metadata(&path)?.len())
}

/// Orders the import of that file; the task's id.
pub fn start(client: &mut Client) -> io::Result<String> {
    let order = json!({ "DestinationName": DESTINATION, "CoAP": { "DeviceCreationFile": FILE } });
    let made = client.succeed("POST", "/wireless_device_import_task", &order)?;
    made["Id"].as_str().map(ToOwned::to_owned).ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Waits until all devices are there; when each tenth of them was.
pub fn follow(
    client: &mut Client,
    task: &str,
    devices: u32,
    begun: Instant,
) -> io::Result<Vec<Duration>> {
    let give_up = PATIENCE + Duration::from_millis(devices.into());
    let mut tenths = Vec::new();
    loop {
        let target = format!("/wireless_device_import_task/{task}");
        let seen = client.succeed("GET", &target, &Value::Null)?;
        let number = |name: &str| seen[name].as_u64().unwrap_or(0);
        let made = number("OnboardedImportedDeviceCount");
        while tenths.len() < (made * 10 / u64::from(devices)) as usize {
            tenths.push(begun.elapsed());
        }
        if number("FailedImportedDeviceCount") > 0 || seen["Status"] == "FAILED" {
            return Err(io::Error::other(format!("not every line is a device: {seen}")));
        }
        if seen["Status"] == "COMPLETE" {
            return Ok(tenths);
        }
        if begun.elapsed() > give_up {
            return Err(io::Error::other(format!("the import does not end: {seen}")));
        }
        std::thread::sleep(PAUSE);
    }
}

/// What a device is called by itself.
pub fn identity(number: u32) -> String {
    format!("imported-device-of-a-run-{number:010}")
}

/// A key that no other device has.
fn key(number: u32) -> u128 {
    (u128::from(number) + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)
}

const DESTINATION: &str = "run";
const FILE: &str = "devices.csv";
