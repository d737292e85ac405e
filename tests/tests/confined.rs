//! What could somebody do who took a process over? What `/proc`, the kernel and systemd say.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::process::Process;

/// One field of `/proc/…/status`.
fn says(status: &str, field: &str) -> String {
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    value.unwrap_or_else(|| panic!("no {field} in {status}")).trim().to_owned()
}

fn statuses(process: u32) -> Vec<String> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).expect("its threads");
    let status = |thread: PathBuf| std::fs::read_to_string(thread.join("status"));
    threads.map(|thread| status(thread.expect("a thread").path()).expect("its status")).collect()
}

/// Every thread of both is locked in, and the edge serves as before, with each backend.
#[test]
fn every_thread_is_confined_and_the_edge_serves() {
    for backend in ["io_uring", "mmsg"] {
        let mut edge = Edge::with(&Options { backend, ..Options::default() });
        let [dataplane, controlplane] = edge.processes();
        for process in [dataplane, controlplane] {
            for status in statuses(process) {
                let name = says(&status, "Name");
                assert_eq!(says(&status, "Seccomp"), "2", "{name}");
                assert_eq!(says(&status, "NoNewPrivs"), "1", "{name}");
                for set in ["CapPrm", "CapEff", "CapInh", "CapAmb"] {
                    let held = u64::from_str_radix(&says(&status, set), 16).expect("a number");
                    let may = if process == controlplane { NET_BIND_SERVICE } else { 0 };
                    assert_eq!(held & !may, 0, "{name} {set}");
                }
            }
            let limits = std::fs::read_to_string(format!("/proc/{process}/limits")).expect("its");
            let core = limits.lines().find(|line| line.starts_with("Max core file size"));
            let core: Vec<_> = core.expect("a line").split_whitespace().collect();
            assert_eq!(core[4..6], ["0", "0"]);
        }
        let meter = edge.provision("meter");
        let mut device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
        assert_eq!(device.asks("con put t 1").code, "2.04", "{backend}");
        edge.kill_dataplane();
        edge.start_dataplane();
        edge.wait_until_ready();
        assert_eq!(device.asks("con put t 2").code, "2.04", "{backend}");
        edge.stop();
    }
}

/// Not another user, and not another edge: nobody reads the memory of a dataplane, or its files.
#[test]
fn nobody_else_reads_its_memory_or_its_files() {
    let edge = Edge::embedded();
    let [dataplane, _] = edge.processes();
    let run_dir = edge.directory().join("run");
    // Files of /proc that show memory belong to root as soon as a process is not dumpable.
    let owner = |path: &str| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).expect(path).uid()
    };
    assert_eq!(owner(&format!("/proc/{dataplane}/mem")), 0);
    let second = edge.directory().join("second.toml");
    let config =
        format!("listen = [\"127.0.0.1:0\"]\nworkers = 1\nrun_dir = \"{}\"\n", run_dir.display());
    std::fs::write(&second, config).expect("a file");
    let mut command = Command::new(tidegate_tests::repository::binary("tidegate-dataplane"));
    let refused = Process::run("second", command.arg("--config").arg(second));
    assert!(
        refused.is_err_and(|said| said.contains("another dataplane is running")),
        "it took the run directory"
    );
    if owner("/proc/self") != 0 {
        return;
    }
    for path in [run_dir.join("worker-0.slab"), format!("/proc/{dataplane}/maps").into()] {
        let mut command = Command::new("setpriv");
        command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "cat"]).arg(&path);
        let read = Process::run("somebody", &mut command);
        let said = read.expect_err("somebody read it");
        assert!(said.contains("Permission denied"), "{said}");
    }
}

/// Started by root it becomes the user that is named, and so do its files.
#[test]
fn root_becomes_the_user_that_is_named() {
    let directory = tidegate_tests::place::Directory::new("confined-user");
    let run_dir = directory.path().join("run");
    let config = format!(
        "listen = [\"127.0.0.1:0\"]\nworkers = 1\nrun_dir = \"{}\"\n[confine]\nuser = \"nobody\"\n",
        run_dir.display()
    );
    directory.write("dataplane.toml", &config);
    let mut command = Command::new(tidegate_tests::repository::binary("tidegate-dataplane"));
    command.arg("--config").arg(directory.path().join("dataplane.toml"));
    let mut process = Process::start("tidegate-dataplane", &mut command);
    process.next_line("that it serves", |line| line.contains("serving"));
    let owner = |path: &Path| {
        use std::os::unix::fs::MetadataExt;
        std::fs::metadata(path).expect("metadata").uid()
    };
    let is_root = owner(Path::new("/proc/self")) == 0;
    for status in statuses(process.id()) {
        let user = says(&status, "Uid");
        assert_eq!(user.starts_with("65534\t65534\t65534\t65534"), is_root, "{user}");
        assert_eq!(says(&status, "CapEff"), "0000000000000000");
    }
    assert_eq!(owner(&run_dir.join("worker-0.slab")) == 65_534, is_root);
    assert!(process.terminate().success());
}

/// The units that come with it leave little open, as systemd counts: 10 is everything.
#[test]
fn the_units_leave_little_open() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/systemd");
    for unit in ["tidegate-dataplane.service", "tidegate-controlplane.service"] {
        let mut command = Command::new("systemd-analyze");
        command.args(["security", "--offline=true", "--no-pager", "--threshold=15"]);
        let said = Process::run("systemd-analyze", command.arg(units.join(unit)));
        let said = said.unwrap_or_else(|said| panic!("more than 1.5: {said}"));
        assert!(said.contains("Overall exposure level"), "{said}");
    }
}

const NET_BIND_SERVICE: u64 = 1 << 10;
