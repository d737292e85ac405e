//! How are the servers of a side-by-side run started? Ours with a stand-in control plane, the bare
//! echoes, and those of libcoap, each alone on its core and listening on a free port.

use std::fs;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::process::{OWN_CORE, Process, SERVER_CORE};
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
}

/// How an edge is configured, where it differs from the default.
#[derive(Clone, Copy, Debug)]
pub struct Edge {
    /// `net.backend`.
    pub backend: &'static str,
    /// `sessions.per_worker`.
    pub sessions: usize,
    /// `resumption.per_worker`.
    pub resumptions: usize,
}

impl Default for Edge {
    fn default() -> Self {
        Self { backend: "io_uring", sessions: 65_536, resumptions: 65_536 }
    }
}

impl Edge {
    /// Starts a dataplane of one worker, and a stand-in control plane on the generator's core.
    pub fn start(self) -> io::Result<Server> {
        let address = free_address()?;
        let run_dir = run_dir()?;
        let config_path = run_dir.join("dataplane.toml");
        let config = format!(
            "listen = [\"{address}\"]\nworkers = 1\nrun_dir = \"{}\"\n\
             [net]\nbackend = \"{}\"\n[sessions]\nper_worker = {}\n\
             [resumption]\nper_worker = {}\n[handshake]\nhalf_open = 65536\n\
             half_open_per_source = 65536\n[echo]\npath = \"{ECHO_PATH}\"\n",
            run_dir.display(),
            self.backend,
            self.sessions,
            self.resumptions,
        );
        fs::write(&config_path, config)?;
        let config_path = config_path.display().to_string();
        let program = built("tidegate-dataplane")?;
        let process =
            Process::start(SERVER_CORE, &program, &["--config", &config_path], "worker-")?;
        let dir = run_dir.display().to_string();
        let own = std::env::current_exe()?;
        let control = Process::start(OWN_CORE, &own, &["control", &dir, "--psk", KEY], "")?;
        let mut server =
            Server { address, process, _control: Some(control), run_dir: Some(run_dir) };
        server.wait()?;
        Ok(server)
    }
}

/// Starts a bare echo whose replies have at most `reply_bytes`.
pub fn echo(way: Way, reply_bytes: usize) -> io::Result<Server> {
    let address = free_address()?;
    let name = match way {
        Way::Mmsg => "mmsg",
        Way::IoUring => "io-uring",
        Way::TokioUring => "tokio-uring",
    };
    let (at, reply_bytes) = (address.to_string(), reply_bytes.to_string());
    let arguments = ["echo", name, &at, "--reply-bytes", &reply_bytes];
    let process = Process::start(SERVER_CORE, &std::env::current_exe()?, &arguments, "")?;
    let mut server = Server { address, process, _control: None, run_dir: None };
    server.wait()?;
    Ok(server)
}

impl Server {
    /// Until somebody has bound its port.
    fn wait(&mut self) -> io::Result<()> {
        let begun = Instant::now();
        while UdpSocket::bind(self.address).is_ok() {
            if self.process.has_ended() || begun.elapsed() > PATIENCE {
                return Err(io::Error::other("a server did not start"));
            }
            thread::sleep(Duration::from_millis(20));
        }
        // It serves once all of its sockets are there.
        thread::sleep(Duration::from_millis(100));
        Ok(())
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
fn free_address() -> io::Result<SocketAddr> {
    UdpSocket::bind(("127.0.0.1", 0))?.local_addr()
}

/// A directory of our own in memory, as in production.
fn run_dir() -> io::Result<PathBuf> {
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

const PATIENCE: Duration = Duration::from_secs(10);
