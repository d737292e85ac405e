//! What does an uplink cost in the control plane, and what in the dataplane? From a device's PUT to
//! the PUBACK of a real mosquitto, by a rule, with a subscriber; both processes on one core.
//!
//! `tidegate-uplink-cost [OUTSTANDING [DEVICES]]` prints one line of JSON as `tidegate-ratio` does;
//! it needs the binaries (`make build`, or those in `TIDEGATE_BIN_DIR`). About a quarter of a minute.

#![forbid(unsafe_code)]

use std::fs;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::mosquitto::Mosquitto;
use tidegate_tests::process::Process;
use tidegate_tests::repository::binary;
use tidegate_tests::wait::give_up_everything_at;

/// Windows over which CPU and confirmations are counted.
const WINDOWS: u32 = 4;
const WINDOW: Duration = Duration::from_secs(1);
/// How long devices shake hands and batches settle.
const WARM_UP: Duration = Duration::from_secs(3);
const TIME_MAX: Duration = Duration::from_mins(1);
/// Control plane by dataplane.
const GOAL: f64 = 2.0;
const EDGE_CORE: &str = "0";
const OTHER_CORE: &str = "1";

fn main() {
    give_up_everything_at(Instant::now() + TIME_MAX);
    let mut numbers = std::env::args().skip(1).map(|n| n.parse::<u32>().expect("a number"));
    let outstanding = numbers.next().unwrap_or(64);
    let devices = numbers.next().unwrap_or(400);

    let broker = Mosquitto::start();
    let _subscriber = broker.subscribe("fleet/#");
    let edge = Edge::with(&Options {
        mqtt_url: Some(broker.url()),
        workers: 1,
        handshake: "suites = [\"PSK_WITH_AES_128_CCM_8\"]".to_owned(),
        ..Options::default()
    });
    provision(&edge, devices);
    let [dataplane, control] = edge.process_ids();
    for (process, core) in
        [(dataplane, EDGE_CORE), (control, EDGE_CORE), (broker.process_id(), OTHER_CORE)]
    {
        pin(process, core);
    }
    let _load = load(&edge, devices, outstanding);
    sleep(WARM_UP);
    let windows: Vec<Window> = (0..WINDOWS).map(|_| window(&edge, dataplane, control)).collect();
    println!("{}", line(&windows, outstanding));
}

/// A destination with a rule that republishes, and the devices that have it.
fn provision(edge: &Edge, devices: u32) {
    let (api, role) = (edge.api(), "arn:aws:iam::000000000000:role/tidegate");
    let republish = json!({"republish": {"topic": "fleet/uplinks", "roleArn": role}});
    let rule = json!({"sql": "SELECT * FROM 'devices/+'", "actions": [republish]});
    api.succeed("POST", "/rules/fleet", &rule);
    let destination = json!({"Name": "fleet", "ExpressionType": "RuleName", "Expression": "fleet",
        "RoleArn": role});
    api.succeed("POST", "/destinations", &destination);
    for number in 0..devices {
        let dtls = json!({"PreSharedKeyIdentity": identity(&number.to_string()),
            "PreSharedKeySecret": KEY});
        let device = json!({"Type": "CoAP", "DestinationName": "fleet",
            "Cellular": {"DtlsV1_2": dtls}});
        api.succeed("POST", "/wireless-devices", &device);
    }
}

/// 32 characters at least.
fn identity(number: &str) -> String {
    format!("device-of-the-measured-fleet-nr-{number}")
}

const KEY: &str = "0x000102030405060708090a0b0c0d0e0f";

fn pin(process: u32, core: &str) {
    let mut command = Command::new("taskset");
    command.args(["-a", "-pc", core, &process.to_string()]);
    Process::run("taskset", &mut command).unwrap_or_else(|said| panic!("{said}"));
}

fn load(edge: &Edge, devices: u32, outstanding: u32) -> Process {
    let seconds = (WARM_UP + WINDOW * WINDOWS).as_secs() + 2;
    let mut command = Command::new(binary("tidegate-loadgen"));
    command.args(["steady", &format!("coaps://127.0.0.1:{}", edge.coap_port)]);
    command.args(["--psk-identity", &identity("{n}"), "--psk", KEY, "--path", "/t"]);
    command.args(["--payload", "40", "--core", OTHER_CORE, "--duration", &seconds.to_string()]);
    command.args(["--devices", &devices.to_string(), "--outstanding", &outstanding.to_string()]);
    Process::start("tidegate-loadgen", &mut command)
}

/// What one window has seen.
struct Window {
    uplinks: u64,
    /// Microseconds of CPU.
    dataplane: f64,
    control: f64,
}

impl Window {
    fn ratio(&self) -> f64 {
        self.control / self.dataplane
    }
}

fn window(edge: &Edge, dataplane: u32, control: u32) -> Window {
    let read = || (confirmed(edge), cpu_us(dataplane), cpu_us(control));
    let before = read();
    sleep(WINDOW);
    let after = read();
    let uplinks = after.0 - before.0;
    assert!(uplinks > 0, "no uplink was confirmed");
    Window { uplinks, dataplane: after.1 - before.1, control: after.2 - before.2 }
}

fn confirmed(edge: &Edge) -> u64 {
    let health = edge.health().expect("the API answers");
    health["Publisher"]["Confirmed"].as_u64().expect("a count")
}

/// What the scheduler gave to all threads of a process, microseconds.
fn cpu_us(process: u32) -> f64 {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("it runs");
    let of_thread = |thread: fs::DirEntry| {
        let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
        let first = text.split(' ').next().and_then(|ns| ns.parse::<u64>().ok());
        first.unwrap_or(0) as f64 / 1_000.0
    };
    threads.filter_map(Result::ok).map(of_thread).sum()
}

fn line(windows: &[Window], outstanding: u32) -> serde_json::Value {
    let per_uplink = |of: fn(&Window) -> f64| {
        let total: f64 = windows.iter().map(of).sum();
        total / windows.iter().map(|window| window.uplinks as f64).sum::<f64>()
    };
    let rounded = |value: f64| (value * 100.0).round() / 100.0;
    let (ours, against) = (per_uplink(|w| w.control), per_uplink(|w| w.dataplane));
    let ratios = windows.iter().map(Window::ratio);
    let least = ratios.clone().fold(f64::INFINITY, f64::min);
    let most = ratios.fold(0.0, f64::max);
    json!({
        "figure": format!("control plane by dataplane, CPU per uplink, {outstanding} outstanding"),
        "ours": rounded(ours), "against": rounded(against), "ratio": rounded(ours / against),
        "goal": format!("<= {GOAL}"), "met": ours / against <= GOAL, "unit": "us",
        "spread": [rounded(least), rounded(most)],
        "uplinks_per_s": windows.iter().map(|w| w.uplinks).sum::<u64>() / windows.len() as u64,
    })
}
