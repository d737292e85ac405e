//! Which scenario is run, and how? The commands `run` and `steady`.

use std::fs::File;
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use clap::Args;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use toml::{Table, Value};

use super::Options;
use crate::profile::Profile;
use crate::report::Run;
use crate::scenario::{Dtls, Scenario};
use crate::thresholds::EXIT_MISSED;
use crate::view::{self, Mode};

/// A scenario from a file.
#[derive(Args, Debug)]
pub struct RunArguments {
    /// What to do: TOML.
    #[arg(value_name = "SCENARIO")]
    pub scenario: PathBuf,
    /// How.
    #[command(flatten)]
    pub common: Common,
}

/// A steady load without a file.
#[derive(Args, Debug)]
pub struct SteadyArguments {
    /// `coaps://`, `coap://` or `udp://` and the server, `host[:port]`.
    #[arg(value_name = "URI")]
    pub server: String,
    /// How many devices.
    #[arg(short = 'd', long, default_value_t = 100, value_name = "N")]
    pub devices: u32,
    /// Requests outstanding at a time, over all devices: a closed loop.
    #[arg(short = 'o', long, default_value_t = 64, value_name = "N", conflicts_with = "rate")]
    pub outstanding: u32,
    /// Requests per second, however long the server takes: an open loop.
    #[arg(short = 'r', long, value_name = "PER_S")]
    pub rate: Option<f64>,
    /// How long, seconds.
    #[arg(short = 't', long, default_value_t = 10.0, value_name = "SECONDS")]
    pub duration: f64,
    /// GET, PUT, POST or DELETE.
    #[arg(short = 'm', long, default_value = "PUT", value_name = "METHOD")]
    pub method: String,
    /// Uri-Path and Uri-Query; `{n}` becomes the device's number.
    #[arg(long, default_value = "/", value_name = "PATH")]
    pub path: String,
    /// Sends Non-confirmable requests.
    #[arg(long)]
    pub non: bool,
    /// Payload, bytes: `40`, or `20-60` for every length between. Of `udp://` the whole datagram.
    #[arg(short = 'p', long, default_value = "40", value_name = "BYTES")]
    pub payload: String,
    /// Sends longer payloads in blocks of so many bytes.
    #[arg(long, value_name = "BYTES")]
    pub block: Option<u16>,
    /// Requests that one device may have outstanding.
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub nstart: u8,
    /// Moves a device to another port after so many of its requests.
    #[arg(long, value_name = "REQUESTS")]
    pub rebind_every: Option<u32>,
    /// Addresses to send from: `127.0.0.1`, `127.0.0.0/8`.
    #[arg(long, value_name = "ADDRESS")]
    pub source: Option<String>,
    /// Who the devices are; of `coaps://` servers.
    #[command(flatten)]
    pub profile: Profile,
    /// How.
    #[command(flatten)]
    pub common: Common,
}

/// What all runs have.
#[derive(Args, Debug)]
pub struct Common {
    /// A thread of ours on this core. May be repeated; one thread anywhere unless named.
    #[arg(long, value_name = "CORE")]
    pub core: Vec<usize>,
    /// The server's process number: its CPU time is reported. May be repeated.
    #[arg(long, value_name = "PID")]
    pub server_pid: Vec<u32>,
    /// Changes the scenario: `fleet.devices=5`, `phase.0.duration_s=2`. May be repeated.
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Shows the scenario and does nothing.
    #[arg(long)]
    pub print: bool,
    /// Where the measurements go as JSON; `-` is the standard output.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What is shown while the run goes on.
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    pub view: Mode,
    /// Where the report goes as a page for people.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Runs the scenario of a file and returns the exit code.
pub fn run(arguments: &RunArguments, out: &mut dyn Write) -> io::Result<u8> {
    let scenario = Scenario::load(&arguments.scenario, &arguments.common.set).map_err(invalid)?;
    carry_out(scenario, &arguments.common, out)
}

/// Runs a steady load and returns the exit code.
pub fn steady(arguments: &SteadyArguments, out: &mut dyn Write) -> io::Result<u8> {
    let dtls = arguments.is_secured().then(|| Dtls::from(&arguments.profile));
    let text = arguments.to_table()?.to_string();
    let scenario = Scenario::parse_as(&text, &arguments.common.set, dtls).map_err(invalid)?;
    carry_out(scenario, &arguments.common, out)
}

/// Runs a scenario, shows it, reports, and returns the exit code.
fn carry_out(mut scenario: Scenario, common: &Common, out: &mut dyn Write) -> io::Result<u8> {
    scenario.target.server_pid.extend(&common.server_pid);
    if common.print {
        out.write_all(scenario.to_toml().as_bytes())?;
        return Ok(0);
    }
    // Whoever can't be written to is found out before the run and not after it.
    let json = common.json.as_ref().filter(|path| path.as_os_str() != "-").map(File::create);
    let (json, html) = (json.transpose()?, common.html.as_ref().map(File::create).transpose()?);
    let options = Options { cores: common.core.clone() };
    let threads = options.cores.len().clamp(1, scenario.fleet.devices as usize);
    let stop = stop_on_signal()?;
    let (progress, shown) = mpsc::channel();
    let view = view::show(common.view, &scenario, threads, shown);
    let mut run = Run::new(scenario);
    let measured = super::run(&run.scenario, &options, &stop, &progress);
    drop(progress);
    view.join().map_err(|_| io::Error::other("the view panicked"))?;
    run.measurements = measured?;
    run.is_stopped = stop.load(Ordering::Relaxed);

    if common.json.is_some() && json.is_none() {
        writeln!(out, "{}", run.to_json())?;
    } else {
        out.write_all(run.to_text().as_bytes())?;
    }
    if let Some(mut json) = json {
        writeln!(json, "{}", run.to_json())?;
    }
    if let Some(mut html) = html {
        html.write_all(run.to_html().as_bytes())?;
    }
    Ok(match (run.is_whole(), run.is_passed()) {
        (_, true) => 0,
        (true, false) => EXIT_MISSED,
        (false, false) => 1,
    })
}

/// The first SIGINT or SIGTERM ends the run with a report, the second at once.
fn stop_on_signal() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        flag::register_conditional_shutdown(signal, 1, Arc::clone(&stop))?;
        flag::register(signal, Arc::clone(&stop))?;
    }
    Ok(stop)
}

impl SteadyArguments {
    /// As a scenario's file would say it.
    fn to_table(&self) -> io::Result<Table> {
        let mut request = table([
            ("method", self.method.to_uppercase().into()),
            ("path", self.path.clone().into()),
            ("type", if self.non { "NON" } else { "CON" }.into()),
            ("payload_bytes", payload(&self.payload)?),
        ]);
        if let Some(block) = self.block {
            request.insert("block_bytes".to_owned(), i64::from(block).into());
        }
        let mut steady = table([
            ("name", "steady".into()),
            ("kind", "requests".into()),
            ("duration_s", self.duration.into()),
            ("request", vec![Value::Table(request)].into()),
        ]);
        match self.rate {
            Some(rate) => steady.insert("rate_per_s".to_owned(), rate.into()),
            None => steady.insert("outstanding".to_owned(), i64::from(self.outstanding).into()),
        };
        if let Some(every) = self.rebind_every {
            steady.insert("rebind_every".to_owned(), i64::from(every).into());
        }
        let mut phases = vec![Value::Table(steady)];
        let mut whole = table([("title", "Steady load".into())]);
        whole.insert("target".to_owned(), table([("server", self.server.clone().into())]).into());
        let mut fleet = table([("devices", i64::from(self.devices).into())]);
        fleet.extend(self.source.clone().map(|source| ("source".to_owned(), source.into())));
        whole.insert("fleet".to_owned(), fleet.into());
        let coap = table([
            ("nstart", i64::from(self.nstart).into()),
            ("timeout_ms", (self.profile.timeout * 1_000).cast_signed().into()),
        ]);
        whole.insert("coap".to_owned(), coap.into());
        if self.is_secured() {
            let connect = table([
                ("name", "connect".into()),
                ("kind", "connect".into()),
                ("outstanding", CONNECTING.into()),
            ]);
            phases.insert(0, connect.into());
        }
        whole.insert("phase".to_owned(), phases.into());
        Ok(whole)
    }

    fn is_secured(&self) -> bool {
        self.server.starts_with("coaps:")
    }
}

/// How many devices of a steady load connect at a time.
const CONNECTING: i64 = 64;

fn table<const N: usize>(entries: [(&str, Value); N]) -> Table {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn payload(text: &str) -> io::Result<Value> {
    let number = |text: &str| text.parse::<u32>().map_err(|_| invalid(format!("--payload {text}")));
    Ok(match text.split_once('-') {
        None => i64::from(number(text)?).into(),
        Some((low, high)) => {
            let both = [number(low)?, number(high)?];
            both.map(|bytes| Value::from(i64::from(bytes))).to_vec().into()
        }
    })
}

fn invalid(error: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}
