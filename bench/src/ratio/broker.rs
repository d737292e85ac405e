//! What does the whole way to an MQTT subscriber cost? Devices, both planes, Debian's mosquitto and
//! a subscriber: the control plane's CPU for an uplink, against the dataplane's.

use std::fs;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::figure::{Figure, Goal};
use super::load::{Load, Plan};
use super::process::{OWN_CORE, Place, Process};
use super::servers::{Edge, built};
use super::steady::plan;

/// As many devices have one uplink on its way each.
pub const DEVICES: usize = 256;
/// What identities of devices begin with, their number behind it; long enough for the API.
pub const IDENTITY: &str = "a-device-of-the-side-by-side-run-";
/// The key of each of them.
pub const SECRET: &str = "a-secret-of-the-side-by-side-run";
const SLICES: usize = 4;

/// Confirmable PUTs through a destination's topic, QoS 1, each answered once the broker has it.
pub fn full_path(stretch: Duration) -> io::Result<Figure> {
    let server = Edge { is_stood_in: false, ..Edge::default() }.start()?;
    let run_dir = server.run_dir().ok_or(io::ErrorKind::NotFound)?.to_owned();
    let (mqtt_port, http_port) = (free_port()?, free_port()?);
    let broker = Broker::start(&run_dir, mqtt_port)?;
    let control = control_plane(&run_dir, mqtt_port, http_port)?;
    provision(&run_dir, http_port)?;

    let mut load = Load::dtls(server.address, &provisioned())?;
    let mut completed = load.run(stretch)?.completed;
    let mut pairs = Vec::new();
    for _ in 0..SLICES {
        let before = (control.cpu()?, server.process.cpu()?);
        let slice = load.run(stretch)?;
        let after = (control.cpu()?, server.process.cpu()?);
        let each = |cpu: Duration| cpu.as_nanos() as f64 / slice.completed as f64;
        pairs
            .push((each(after.0.saturating_sub(before.0)), each(after.1.saturating_sub(before.1))));
        completed += slice.completed;
    }
    broker.has_passed_on(completed)?;
    let name = "full path to an MQTT subscriber, QoS 1: control plane against dataplane";
    Ok(Figure::from_pairs(name, "ns of CPU an uplink", &pairs, Some(Goal::AtMost(2.0))))
}

/// What devices send that the control plane knows: [`IDENTITY`], [`SECRET`], [`DEVICES`] of them.
pub fn provisioned() -> Plan {
    Plan {
        sockets: DEVICES,
        outstanding: DEVICES,
        path: "temperature",
        identity: IDENTITY,
        key: SECRET.as_bytes(),
        ..plan()
    }
}

/// Debian's mosquitto on the devices' core, and a subscriber to everything.
pub struct Broker {
    received: PathBuf,
    _mosquitto: Process,
    _subscriber: Process,
}

impl Broker {
    /// Starts both, with their files in a directory.
    pub fn start(dir: &Path, port: u16) -> io::Result<Self> {
        let beside = Place::core(OWN_CORE);
        let config_path = dir.join("mosquitto.conf");
        let config = "listener PORT 127.0.0.1\nallow_anonymous true\npersistence false\n\
                      max_inflight_messages 0\nmax_queued_messages 0\n";
        fs::write(&config_path, config.replace("PORT", &port.to_string()))?;
        let arguments = [Path::new("-c"), &config_path];
        let mosquitto =
            Process::start(&beside, Path::new("/usr/sbin/mosquitto"), &arguments, "", None)?;
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("mosquitto does not start"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let received = dir.join("received");
        let shell =
            format!("exec mosquitto_sub -p {port} -q 1 -t '#' -F %t >{}", received.display());
        let subscriber = Process::start(&beside, Path::new("sh"), &["-c", &shell], "", None)?;
        // Until it has subscribed.
        std::thread::sleep(Duration::from_millis(500));
        Ok(Self { received, _mosquitto: mosquitto, _subscriber: subscriber })
    }

    /// Waits until as many messages as uplinks were answered have come to the subscriber.
    pub fn has_passed_on(&self, wanted: u64) -> io::Result<()> {
        subscriber_has(&self.received, wanted)
    }
}

fn control_plane(run_dir: &Path, mqtt_port: u16, http_port: u16) -> io::Result<Process> {
    let (config_path, data_dir) = (run_dir.join("controlplane.toml"), run_dir.join("data"));
    fs::create_dir(&data_dir)?;
    let config = format!(
        "run_dir = \"{}\"\ndata_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:{http_port}\"\n\
         [mqtt]\nurl = \"mqtt://127.0.0.1:{mqtt_port}\"\n",
        run_dir.display(),
        data_dir.display()
    );
    fs::write(&config_path, config)?;
    let arguments = [Path::new("serve"), Path::new("--config"), &config_path];
    let program = built("tidegate-controlplane")?;
    let log = run_dir.join("controlplane.log");
    let control = Process::start(&Place::core(OWN_CORE), &program, &arguments, "", Some(&log))?;
    let url = format!("http://127.0.0.1:{http_port}/health");
    let begun = Instant::now();
    loop {
        let health = Command::new("curl").args(["-s", &url]).output()?;
        if String::from_utf8_lossy(&health.stdout).contains("\"Status\":\"ok\"") {
            return Ok(control);
        }
        if begun.elapsed() > PATIENCE {
            let log = fs::read_to_string(&log).unwrap_or_default();
            return Err(io::Error::other(format!("the control plane is not ready: {log}")));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// One destination and all devices, by boto3 from the environment that `make aws` has made.
fn provision(run_dir: &Path, http_port: u16) -> io::Result<()> {
    let cache = std::env::var_os("TIDEGATE_CACHE").map(PathBuf::from);
    let python = cache.unwrap_or_default().join("venv/bin/python3");
    let models = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("deploy/aws/models");
    let status = Command::new(python)
        .args(["-c", PROVISION, &DEVICES.to_string(), IDENTITY, SECRET])
        .env("AWS_ENDPOINT_URL_IOT_WIRELESS", format!("http://127.0.0.1:{http_port}"))
        .env("AWS_SHARED_CREDENTIALS_FILE", run_dir.join("data/root-credentials"))
        .env("AWS_DATA_PATH", models)
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .status()
        .map_err(|error| io::Error::other(format!("make aws, and TIDEGATE_CACHE: {error}")))?;
    if status.success() { Ok(()) } else { Err(io::Error::other("devices were not made")) }
}

fn subscriber_has(received: &Path, wanted: u64) -> io::Result<()> {
    let begun = Instant::now();
    loop {
        let lines = String::from_utf8_lossy(&fs::read(received)?).lines().count() as u64;
        if lines >= wanted {
            return Ok(());
        }
        if begun.elapsed() > PATIENCE {
            let what = format!("{wanted} uplinks were answered, {lines} came to the subscriber");
            return Err(io::Error::other(what));
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A TCP port of loopback that nobody has just now.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

const PROVISION: &str = "
import sys, boto3
count, identity, secret = int(sys.argv[1]), sys.argv[2], sys.argv[3]
edge = boto3.client('iotwireless')
edge.create_destination(Name='bench', ExpressionType='MqttTopic', Expression='bench/uplinks',
                        RoleArn='arn:aws:iam::000000000000:role/bench')
for n in range(count):
    key = {'PreSharedKeyIdentity': f'{identity}{n}', 'PreSharedKeySecret': secret}
    edge.create_wireless_device(Type='CoAP', Name=f'bench-{n}', DestinationName='bench',
                                Cellular={'DtlsV1_2': key})
";
const PATIENCE: Duration = Duration::from_secs(20);
