//! What does a handshake over sockets cost? Full PSK handshakes with cookie and Connection ID, many
//! at a time, against a bare echo for each of their datagrams, and against libcoap's server.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::figure::{Figure, Goal};
use super::load::{Load, Plan};
use super::process::OWN_CORE;
use super::servers::{self, Edge, KEY, Server, built};
use super::steady::plan;
use super::{Side, by_turns};
use crate::echo::Way;

/// Against a bare echo's CPU for as many datagrams there and back.
pub fn against_echo(pairs: usize) -> io::Result<Figure> {
    let ours = Edge { sessions: 1_000_000, resumptions: 0, ..Edge::default() }.start()?;
    let few = Plan { sockets: 16, outstanding: 16, ..plan() };
    let (sent, received) = Load::dtls(ours.address, &few)?.flights();
    let server = servers::echo(Way::IoUring, REPLY_BYTES)?;
    let bytes = Plan { payload_bytes: REQUEST_BYTES, outstanding: IN_FLIGHT, ..plan() };
    let load = Load::bare(server.address, &bytes)?;
    let mut bare = Side { server, load };
    let datagrams = sent.max(received) as f64;
    storm(&ours, IN_FLIGHT, true, WARM_UP)?;
    bare.cost_ns(STRETCH)?;
    let pairs = by_turns(
        pairs,
        || storm(&ours, IN_FLIGHT, true, COUNT),
        || Ok(bare.cost_ns(STRETCH)? * datagrams / 1_000.0),
    )?;
    let name = format!(
        "full PSK handshake over UDP, cookie, CID, {sent} datagrams in and {received} out, against \
         a bare echo of as many"
    );
    Ok(Figure::from_pairs(name, UNIT, &pairs, Some(Goal::AtMost(1.6))))
}

/// Against libcoap's server (Debian, GnuTLS). Sessions are closed at once: many open ones make it
/// slow.
pub fn against_libcoap(pairs: usize) -> io::Result<Figure> {
    let ours = Edge { resumptions: 0, ..Edge::default() }.start()?;
    let theirs = servers::libcoap("gnutls")?;
    storm(&ours, IN_FLIGHT, false, WARM_UP)?;
    storm(&theirs, IN_FLIGHT, false, WARM_UP)?;
    let pairs = by_turns(
        pairs,
        || storm(&ours, IN_FLIGHT, false, COUNT / 4),
        || storm(&theirs, IN_FLIGHT, false, COUNT / 4),
    )?;
    let name = "full PSK handshake over UDP, cookie, closed at once, against libcoap (GnuTLS)";
    Ok(Figure::from_pairs(name, UNIT, &pairs, Some(Goal::AtMost(0.25))))
}

/// Keeps an edge busy with handshakes for so many times 20 000, and says what one costs: for
/// profilers.
pub fn hold(times: u64) -> io::Result<()> {
    let ours = Edge { sessions: 1_000_000, resumptions: 0, ..Edge::default() }.start()?;
    println!("process {} on {}", ours.process.id(), ours.address);
    for _ in 0..times {
        println!("{:.1} us a handshake", storm(&ours, IN_FLIGHT, true, COUNT)?);
    }
    Ok(())
}

/// Server CPU of one handshake, µs, under a storm of the load generator.
fn storm(server: &Server, in_flight: usize, leaves_open: bool, count: u64) -> io::Result<f64> {
    let scenario = servers::run_dir()?;
    let path = scenario.join("storm.toml");
    let text = format!(
        "[target]\nserver = \"coaps://{}\"\n[dtls]\npsk_identity = \"bench-{{n}}\"\n\
         psk = \"{KEY}\"\nsuites = [\"PSK_WITH_AES_128_CCM_8\"]\n[fleet]\ndevices = 1024\n\
         [[phase]]\nname = \"storm\"\nkind = \"storm\"\noutstanding = {in_flight}\n\
         count = {count}\nleave_open = {leaves_open}\n[thresholds]\ncompleted_min = {count}\n",
        server.address
    );
    fs::write(&path, text)?;
    let mut command = Command::new("taskset");
    command.args(["-c", &OWN_CORE.to_string()]).arg(built("tidegate-loadgen")?);
    command.arg("run").arg(&path).args(["--view", "none"]);
    let before = server.process.cpu()? + super::process::soft_interrupts();
    let status = command.stdout(Stdio::null()).status();
    fs::remove_dir_all(scenario)?;
    let after = server.process.cpu()? + super::process::soft_interrupts();
    if !status?.success() {
        return Err(io::Error::other("not every handshake succeeded"));
    }
    let each = after.saturating_sub(before).as_secs_f64() * 1e6 / count as f64;
    if std::env::var_os(super::VERBOSE).is_some() {
        eprintln!("  {each:.1} us a handshake");
    }
    Ok(each)
}

const UNIT: &str = "µs of server CPU";
/// As many as libcoap can take: of 128 it loses some.
const IN_FLIGHT: usize = 64;
const COUNT: u64 = 20_000;
const WARM_UP: u64 = 2_000;
const STRETCH: Duration = Duration::from_millis(700);
/// About the mean of a handshake's datagrams each way.
const REQUEST_BYTES: usize = 130;
const REPLY_BYTES: usize = 90;
