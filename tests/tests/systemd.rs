//! Do our units run under systemd itself? Started, restarted, killed and stuck, with a device whose
//! session goes on.

#![forbid(unsafe_code)]

use std::process::Command;

use serde_json::Value;
use tidegate_tests::api::Api;
use tidegate_tests::booted::Booted;
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Provisioned, root_key_in};
use tidegate_tests::place::{Directory, free_port};
use tidegate_tests::process::Process;
use tidegate_tests::repository::binary;
use tidegate_tests::wait::{eventually, eventually_or_say};

const DATAPLANE: &str = "tidegate-dataplane";
const CONTROLPLANE: &str = "tidegate-controlplane";

/// The dataplane is restarted, killed, and stopped in the middle of its work, the control plane
/// restarted and killed: systemd starts each again, with its sockets, and the device never shakes
/// hands twice.
#[test]
fn systemd_runs_our_units_and_keeps_their_sockets() {
    let (coap_port, http_port) = (free_port(), free_port());
    let dataplane = format!("listen = [\"127.0.0.1:{coap_port}\"]\nworkers = 2\n");
    let controlplane = format!("[http]\nlisten = \"127.0.0.1:{http_port}\"\n");
    let booted = match Booted::new(&dataplane, &controlplane) {
        Ok(booted) => booted,
        // Nothing of ours has been tried: the kernel, or not being root, is in the way.
        Err(refused) => return eprintln!("skipped, no systemd can be PID 1 here: {refused}"),
    };
    booted.systemctl(&["start", DATAPLANE, CONTROLPLANE]);
    let said = booted.said(DATAPLANE);
    assert!(said.contains("sockets_kept=false"), "{said}");
    assert_eq!(booted.property(DATAPLANE, "NFileDescriptorStore"), "4", "two for each worker");

    let credentials = root_key_in(&booted.path("var/lib/tidegate"));
    let api = Api { port: http_port, credentials };
    wait_until_well(&api);
    let provisioned = Provisioned::named("under-systemd").create(&api);
    let mut device = Device::connect(coap_port, &provisioned, &["cid=0", "patience=30000"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");

    booted.systemctl(&["restart", DATAPLANE]);
    goes_on(&booted, &mut device, 1);
    // By SIGKILL, and by the watchdog when no thread of it turns any more.
    for (died, signal) in ["KILL", "STOP"].into_iter().enumerate() {
        let before = booted.property(DATAPLANE, "MainPID");
        booted.systemctl(&["kill", "--kill-whom=main", "--signal", signal, DATAPLANE]);
        comes_back(&booted, DATAPLANE, &before);
        goes_on(&booted, &mut device, 2 + died);
    }
    booted.systemctl(&["restart", CONTROLPLANE]);
    let before = booted.property(CONTROLPLANE, "MainPID");
    booted.systemctl(&["kill", "--kill-whom=main", "--signal", "KILL", CONTROLPLANE]);
    comes_back(&booted, CONTROLPLANE, &before);
    wait_until_well(&api);
    assert_eq!(device.asks("con put t 2").code, "2.04");
    // Units that refuse the calls for it would take it away in silence.
    if has_landlock_outside() {
        let said = [DATAPLANE, CONTROLPLANE].map(|unit| booted.said(unit));
        assert!(said[0].contains("confined=Whole"), "{}", said[0]);
        assert!(said[1].contains("has_landlock=true"), "{}", said[1]);
    }
    booted.systemctl(&["stop", DATAPLANE, CONTROLPLANE]);
    for unit in [DATAPLANE, CONTROLPLANE] {
        assert_eq!(booted.property(unit, "Result"), "success", "{}", booted.said(unit));
    }
}

/// The next process took the sockets up so many times, and the device's session with them.
fn goes_on(booted: &Booted, device: &mut Device, times: usize) {
    let said = booted.said(DATAPLANE);
    assert_eq!(said.matches("sockets_kept=true").count(), times, "{said}");
    assert_eq!(device.asks("con put t 1").code, "2.04", "{said}");
}

/// Another process than this one serves, and has said so.
fn comes_back(booted: &Booted, unit: &str, before: &str) {
    eventually("systemd starts the next one", || {
        // At one moment.
        let seen = booted.systemctl(&["show", "-p", "MainPID", "-p", "SubState", unit]);
        let says = |line: &str| seen.lines().any(|one| one == line);
        (says("SubState=running") && !says(&format!("MainPID={before}"))).then_some(())
    });
}

fn wait_until_well(api: &Api) {
    eventually_or_say("the API is well", || {
        let health = api.try_call("GET", "/health", &Value::Null);
        let health = health.map_err(|error| error.to_string())?.body;
        if health["Status"] == "ok" { Ok(()) } else { Err(health.to_string()) }
    });
}

fn has_landlock_outside() -> bool {
    let directory = Directory::new("outside");
    let run_dir = directory.path().join("run");
    let config =
        format!("listen = [\"127.0.0.1:0\"]\nworkers = 1\nrun_dir = \"{}\"\n", run_dir.display());
    let mut command = Command::new(binary(DATAPLANE));
    command.arg("--config").arg(directory.write("dataplane.toml", &config));
    let mut process = Process::start(DATAPLANE, &mut command);
    process.next_line("that it serves", |line| line.contains("serving")).contains("confined=Whole")
}
