//! Who plays AWS where the edge is a client, or is compared? moto's server, on a port of its own.

use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::place::free_port;
use crate::process::Process;
use crate::repository::cached;

/// A running moto_server; stopped when dropped.
#[derive(Debug)]
pub struct Moto {
    /// Its port on 127.0.0.1.
    pub port: u16,
    _process: Process,
}

/// It reads hundreds of modules before it listens: seconds of CPU, on a busy machine minutes.
const PATIENCE: Duration = Duration::from_mins(5);

impl Moto {
    /// In the clear.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// By TLS, with this certificate and its key.
    pub fn start_tls(certificate: &Path, key: &Path) -> Self {
        Self::start_with(&[("-c", certificate), ("-k", key)])
    }

    fn start_with(files: &[(&str, &Path)]) -> Self {
        let port = free_port();
        let mut command = Command::new(cached("venv/bin/moto_server", "aws"));
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]);
        for (option, file) in files {
            command.arg(option).arg(file);
        }
        let mut process = Process::start("moto_server", &mut command);
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            let ended = process.try_wait();
            assert!(ended.is_none() && begun.elapsed() < PATIENCE, "{ended:?} {}", process.said());
            std::thread::sleep(Duration::from_millis(20));
        }
        Self { port, _process: process }
    }
}
