//! How are the servers of a side-by-side run started? Ours with a stand-in control plane, the bare
//! echoes, and those of libcoap, each alone on its core.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{OWN_CORE, Place, Process, SERVER_CORE};
use crate::echo::Way;

/// The key of all devices.
pub const KEY: &str = "0123456789abcdef";
/// `[echo] path` of the edge.
pub const ECHO_PATH: &str = "echo";

/// A server on its core.
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its process.
    pub process: Process,
    _control: Option<Process>,
    run_dir: Option<PathBuf>,
    place: Place,
}

/// How an edge is configured, where it differs from the default.
#[derive(Clone, Debug)]
pub struct Edge {
    /// `net.backend`.
    pub backend: &'static str,
    /// `net.xdp_interface`.
    pub interface: Option<&'static str>,
    /// `workers`.
    pub workers: u8,
    /// `sessions.per_worker`.
    pub sessions: usize,
    /// `resumption.per_worker`.
    pub resumptions: usize,
    /// Serves CoAP without security instead, to devices from 127.0.0.1.
    pub is_clear: bool,
    /// `confine.sandbox`.
    pub is_confined: bool,
    /// Whether the process that serves is the child of one that keeps its sockets.
    pub is_supervised: bool,
    /// Whether a stand-in is its control plane; else somebody else is.
    pub is_stood_in: bool,
    /// Where it listens; a free port of loopback unless named.
    pub address: Option<SocketAddr>,
    /// Where it runs.
    pub place: Place,
}

impl Default for Edge {
    fn default() -> Self {
        Self {
            backend: "io_uring",
            interface: None,
            workers: 1,
            sessions: 65_536,
            resumptions: 65_536,
            is_clear: false,
            is_confined: true,
            is_supervised: false,
            is_stood_in: true,
            address: None,
            place: Place::core(SERVER_CORE),
        }
    }
}

impl Edge {
    /// Starts a dataplane, and a stand-in control plane on the generator's core.
    pub fn start(self) -> io::Result<Server> {
        self.start_after(|_| Ok(()))
    }

    /// The same, with something done in the run directory before.
    pub fn start_after(self, prepare: impl FnOnce(&Path) -> io::Result<()>) -> io::Result<Server> {
        let address = self.address.map_or_else(free_address, Ok)?;
        let run_dir = run_dir()?;
        prepare(&run_dir)?;
        let config_path = run_dir.join("dataplane.toml");
        fs::write(&config_path, self.config(address, &run_dir)?)?;
        let more: &[&str] = if self.is_supervised { &["--supervise"] } else { &[] };
        let process = dataplane(&self.place, &run_dir, more)?;
        let control = if self.is_stood_in { Some(self.stand_in(&run_dir)?) } else { None };
        let (run_dir, place) = (Some(run_dir), self.place);
        Server { address, process, _control: control, run_dir, place }.up()
    }

    fn config(&self, address: SocketAddr, run_dir: &Path) -> io::Result<String> {
        let (dtls, clear) = if self.is_clear {
            (free_address()?.to_string(), format!("\"{address}\""))
        } else {
            (address.to_string(), String::new())
        };
        let interface = self.interface.map(|it| format!("xdp_interface = \"{it}\"\n"));
        Ok(format!(
            "listen = [\"{dtls}\"]\nworkers = {}\nrun_dir = \"{}\"\n[nosec]\nlisten = [{clear}]\n\
             [net]\nbackend = \"{}\"\n{}[sessions]\nper_worker = {}\n[resumption]\n\
             per_worker = {}\n[handshake]\nhalf_open = 4096\nhalf_open_per_source = 4096\n\
             [echo]\npath = \"{ECHO_PATH}\"\n[confine]\nsandbox = {}\n",
            self.workers,
            run_dir.display(),
            self.backend,
            interface.unwrap_or_default(),
            self.sessions,
            self.resumptions,
            self.is_confined,
        ))
    }

    fn stand_in(&self, run_dir: &Path) -> io::Result<Process> {
        let (own, workers) = (std::env::current_exe()?, self.workers.to_string());
        let run_dir = run_dir.display().to_string();
        let arguments = ["control", &run_dir, "--psk", KEY, "--workers", &workers];
        Process::start(&Place::core(OWN_CORE), &own, &arguments, "", None)
    }
}

/// Starts a dataplane with the configuration in its run directory.
fn dataplane(place: &Place, run_dir: &Path, more: &[&str]) -> io::Result<Process> {
    let (program, config_path) = (built("tidegate-dataplane")?, run_dir.join("dataplane.toml"));
    let mut arguments: Vec<&OsStr> = vec!["--config".as_ref(), config_path.as_ref()];
    arguments.extend(more.iter().map(AsRef::<OsStr>::as_ref));
    let log = run_dir.join("dataplane.log");
    Process::start(place, &program, &arguments, "worker-", Some(&log))
}

/// Starts a bare echo whose replies have at most `reply_bytes`.
pub fn echo(way: Way, reply_bytes: usize) -> io::Result<Server> {
    echo_at(way, reply_bytes, free_address()?, &Place::core(SERVER_CORE))
}

/// The same, somewhere.
pub fn echo_at(
    way: Way,
    reply_bytes: usize,
    address: SocketAddr,
    place: &Place,
) -> io::Result<Server> {
    let name = match way {
        Way::Mmsg => "mmsg",
        Way::IoUring => "io-uring",
        Way::TokioUring => "tokio-uring",
    };
    let (at, reply_bytes) = (address.to_string(), reply_bytes.to_string());
    let arguments = ["echo", name, &at, "--reply-bytes", &reply_bytes];
    let process = Process::start(place, &std::env::current_exe()?, &arguments, "", None)?;
    Server { address, process, _control: None, run_dir: None, place: place.clone() }.up()
}

/// Starts Debian's libcoap server, `openssl` or `gnutls`.
pub fn libcoap(build: &str) -> io::Result<Server> {
    // It listens on the port after the one it is given, for DTLS.
    let address = free_address()?;
    let port = (address.port() - 1).to_string();
    let program = PathBuf::from(format!("/usr/bin/coap-server-{build}"));
    let arguments = ["-A", "127.0.0.1", "-p", &port, "-k", KEY, "-v", "1"];
    let place = Place::core(SERVER_CORE);
    let process = Process::start(&place, &program, &arguments, "", None)?;
    Server { address, process, _control: None, run_dir: None, place }.up()
}

/// Where libcoap's server takes PUTs.
pub const LIBCOAP_PATH: &str = "example_data";

impl Server {
    /// Itself, once its port is bound.
    fn up(mut self) -> io::Result<Self> {
        let begun = Instant::now();
        while !self.process.has_port(self.address.port()) {
            if self.process.has_ended() || begun.elapsed() > PATIENCE {
                return Err(io::Error::other("a server did not start"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // It serves once all of its sockets are there.
        thread::sleep(Duration::from_millis(200));
        Ok(self)
    }

    /// The dataplane's run directory.
    pub fn run_dir(&self) -> Option<&Path> {
        self.run_dir.as_deref()
    }

    /// Starts the dataplane once more, after its end.
    pub fn start_again(&mut self) -> io::Result<()> {
        let run_dir = self.run_dir.as_ref().ok_or(io::ErrorKind::NotFound)?;
        self.process = dataplane(&self.place, run_dir, &[])?;
        Ok(())
    }

    /// The process that serves, where one keeps its sockets: the one child of that.
    pub fn child(&self) -> io::Result<u32> {
        let keeper = self.process.id();
        let children = fs::read_to_string(format!("/proc/{keeper}/task/{keeper}/children"))?;
        let child = children.split_whitespace().next().and_then(|child| child.parse().ok());
        child.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// What the dataplane has said.
    pub fn log(&self) -> String {
        let log = self.run_dir.as_ref().map(|run_dir| run_dir.join("dataplane.log"));
        log.and_then(|log| fs::read_to_string(log).ok()).unwrap_or_default()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(run_dir) = &self.run_dir {
            let _ = fs::remove_dir_all(run_dir);
        }
    }
}

/// A binary built beside this one.
pub fn built(name: &str) -> io::Result<PathBuf> {
    let own = std::env::current_exe()?;
    let path = own.with_file_name(name);
    if path.exists() { Ok(path) } else { Err(io::Error::other(format!("{name} is not built"))) }
}

/// A port of loopback that nobody has just now.
pub fn free_address() -> io::Result<SocketAddr> {
    UdpSocket::bind(("127.0.0.1", 0))?.local_addr()
}

/// A directory of our own in memory, as in production.
pub fn run_dir() -> io::Result<PathBuf> {
    let memory = Path::new("/dev/shm");
    let parent = if memory.is_dir() { memory.into() } else { std::env::temp_dir() };
    for number in 0.. {
        let path = parent.join(format!("tidegate-ratio-{}-{number}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            made => return made.map(|()| path),
        }
    }
    unreachable!("numbers do not end")
}

const PATIENCE: Duration = Duration::from_secs(30);
