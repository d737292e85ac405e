//! How much of their work do workers and control plane make each other? Datagrams that came to a
//! worker whose session it is not, and wake-ups of the control plane, under load.

use std::fs;
use std::io;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::figure::{Figure, Goal};
use super::process::OWN_CORE;
use super::servers::{Edge, KEY, Server, built};
use crate::control::Told;

/// On four workers, devices that stay where they are and devices that move after each request.
pub fn shares() -> io::Result<Vec<Figure>> {
    let server = Edge { workers: WORKERS, ..Edge::default() }.start()?;
    let mut figures = Vec::new();
    let mut woken = Vec::new();
    for (rebind_every, how) in [(0, "from where it was"), (1, "from another port each time")] {
        let before = told(&server)?;
        load(&server, rebind_every)?;
        // A worker tells its counters once a second while they change.
        thread::sleep(Duration::from_millis(2_500));
        let after = told(&server)?;
        let records = (after.datagrams - before.datagrams) as f64;
        let astray = (after.handed_over - before.handed_over) as f64;
        let name = format!(
            "records that came to the wrong one of {WORKERS} workers, CID, each device {how}"
        );
        let pairs = [(astray, records)];
        figures.push(Figure::from_pairs(name, "datagrams", &pairs, Some(Goal::AtMost(0.001))));
        woken
            .push(((after.sleeps - before.sleeps) as f64, (after.entries - before.entries) as f64));
    }
    let name = "wake-ups of the control plane against entries on the uplink rings, under load";
    figures.push(Figure::from_pairs(name, "", &woken, Some(Goal::AtMost(0.1))));
    Ok(figures)
}

/// All workers together, as the stand-in control plane heard it.
fn told(server: &Server) -> io::Result<Told> {
    let run_dir = server.run_dir().expect("an edge has one");
    let mut all = Told::default();
    for worker in 0..WORKERS {
        all = all + Told::read(run_dir, worker)?;
    }
    Ok(all)
}

fn load(server: &Server, rebind_every: u32) -> io::Result<()> {
    let scenario = super::servers::run_dir()?;
    let path = scenario.join("steering.toml");
    let text = format!(
        "[target]\nserver = \"coaps://{}\"\n[dtls]\npsk_identity = \"bench-{{n}}\"\n\
         psk = \"{KEY}\"\n[fleet]\ndevices = 1000\n\
         [[phase]]\nname = \"connect\"\nkind = \"connect\"\noutstanding = 64\n\
         [[phase]]\nname = \"requests\"\nkind = \"requests\"\noutstanding = 256\ncount = {COUNT}\n\
         rebind_every = {rebind_every}\nrequest = [{{ path = \"/up\", payload_bytes = 48 }}]\n\
         [phase.thresholds]\ncompleted_min = {COUNT}\n",
        server.address
    );
    fs::write(&path, text)?;
    let mut command = Command::new("taskset");
    command.args(["-c", &OWN_CORE.to_string()]).arg(built("tidegate-loadgen")?);
    let status = command.arg("run").arg(&path).args(["--view", "none"]).stdout(Stdio::null());
    let status = status.status();
    fs::remove_dir_all(scenario)?;
    if status?.success() { Ok(()) } else { Err(io::Error::other("not every request succeeded")) }
}

const WORKERS: u8 = 4;
const COUNT: u32 = 200_000;
