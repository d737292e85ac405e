//! What is called in a run of the API? A dataplane that nobody speaks to, and a control plane whose
//! data lie where they are told to.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Key};
use crate::ratio::broker::free_port;
use crate::ratio::process::{Place, Process, SERVER_CORE};
use crate::ratio::servers::{Edge, Server, built};

/// Both planes on the servers' core.
pub struct ApiEdge {
    /// The control plane.
    pub control: Process,
    port: u16,
    data: Data,
    config: PathBuf,
    server: Server,
}

/// Where data lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Medium {
    /// In `TIDEGATE_RATIO_DATA`, or the directory for temporary files.
    Disk,
    /// In memory, where a sync costs nothing.
    Memory,
}

/// A directory of our own, gone when dropped.
pub struct Data(PathBuf);

/// What is as in production but for bounds that a run would meet.
const CONFIG: &str = "[queue]\nmessages_per_device_max = 10000\n\
    [account_quotas]\ndevices = 10000000\nqueue_depth = 10000\napi_rate = 1000000\n\
    [log]\nfilter = \"warn\"\n";

impl ApiEdge {
    /// Starts both and waits until the API is well.
    pub fn start(medium: Medium) -> io::Result<Self> {
        let edge = Self::start_with(medium, "")?;
        edge.wait_until_well()?;
        Ok(edge)
    }

    /// The same with more lines of configuration, not waiting until all is well: until it serves.
    pub fn start_with(medium: Medium, lines: &str) -> io::Result<Self> {
        let server = Edge { is_stood_in: false, ..Edge::default() }.start()?;
        let data = Data::new(medium)?;
        let port = free_port()?;
        let run_dir = server.run_dir().ok_or(io::ErrorKind::NotFound)?;
        let config = run_dir.join("controlplane.toml");
        let text = format!(
            "run_dir = \"{}\"\ndata_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
             {CONFIG}{lines}",
            run_dir.display(),
            data.0.display()
        );
        fs::write(&config, text)?;
        let (control, _) = serve(&config)?;
        Ok(Self { control, port, data, config, server })
    }

    /// `kill -9` of the control plane, and the next one; how long that took until it served.
    pub fn restart_killed(&mut self) -> io::Result<Duration> {
        self.control.signal("KILL")?;
        while !self.control.has_ended() {
            std::thread::sleep(Duration::from_millis(1));
        }
        let (control, took) = serve(&self.config)?;
        self.control = control;
        Ok(took)
    }

    /// Ends the control plane in order and starts it again; how long that took until it was well.
    pub fn restart(&mut self) -> io::Result<Duration> {
        self.control.signal("TERM")?;
        let begun = Instant::now();
        while !self.control.has_ended() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("the control plane does not stop"));
            }
            std::thread::sleep(PAUSE);
        }
        let begun = Instant::now();
        (self.control, _) = serve(&self.config)?;
        self.wait_until_well()?;
        Ok(begun.elapsed())
    }

    /// A caller with the root key.
    pub fn client(&self) -> io::Result<Client> {
        Client::connect(self.port, self.root_key()?)
    }

    /// A caller with another key.
    pub fn client_of(&self, key: &Key) -> io::Result<Client> {
        Client::connect(self.port, key.clone())
    }

    /// `tidegate-controlplane admin …`; its JSON.
    pub fn admin(&self, arguments: &[&str]) -> io::Result<Value> {
        let mut command = Command::new(built("tidegate-controlplane")?);
        command.arg("admin").args(arguments).arg("--config").arg(&self.config);
        let output = command.output()?;
        if !output.status.success() {
            return Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(io::Error::other)
    }

    /// The directory of the data.
    pub fn data(&self) -> &Path {
        &self.data.0
    }

    /// Where devices are served.
    pub fn address(&self) -> SocketAddr {
        self.server.address
    }

    /// Time of both planes on the CPU.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(self.server.process.cpu()? + self.control.cpu()?)
    }

    /// `GET /health`.
    pub fn health(&self) -> io::Result<Value> {
        let nobody = Key { id: "nobody".to_owned(), secret: String::new() };
        let (_, body) = Client::connect(self.port, nobody)?.ask("GET", "/health", "")?;
        serde_json::from_slice(&body).map_err(io::Error::other)
    }

    fn root_key(&self) -> io::Result<Key> {
        let text = fs::read_to_string(self.data.0.join("root-credentials"))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            value.map(ToOwned::to_owned).ok_or(io::ErrorKind::InvalidData)
        };
        Ok(Key { id: field("aws_access_key_id")?, secret: field("aws_secret_access_key")? })
    }

    /// Waits until the broker, if any, and the workers are there.
    pub fn wait_until_well(&self) -> io::Result<()> {
        self.wait_until("the API is not well", |health| health["Status"] == "ok")
    }

    /// Waits until its health is as wanted; else says what is wrong.
    pub fn wait_until(&self, wrong: &str, wanted: impl Fn(&Value) -> bool) -> io::Result<()> {
        let begun = Instant::now();
        while !self.health().is_ok_and(|health| wanted(&health)) {
            if begun.elapsed() > PATIENCE {
                let log = self.config.with_extension("log");
                let said = fs::read_to_string(log).unwrap_or_default() + &self.server.log();
                return Err(io::Error::other(format!("{wrong}: {said}")));
            }
            std::thread::sleep(PAUSE);
        }
        Ok(())
    }
}

/// A control plane that serves, and how long it took to from its start: until it says so to its
/// service manager.
fn serve(config: &Path) -> io::Result<(Process, Duration)> {
    let path = config.with_extension("notify");
    let _ = fs::remove_file(&path);
    let notices = UnixDatagram::bind(&path)?;
    notices.set_read_timeout(Some(PATIENCE))?;
    let notify = OsString::from(format!("NOTIFY_SOCKET={}", path.display()));
    let program = built("tidegate-controlplane")?;
    let arguments: [&OsStr; 5] =
        [&notify, program.as_os_str(), "serve".as_ref(), "--config".as_ref(), config.as_os_str()];
    let log = config.with_extension("log");
    let place = Place::core(SERVER_CORE);
    let begun = Instant::now();
    let process = Process::start(&place, Path::new("env"), &arguments, "", Some(&log))?;
    let mut notice = [0; 64];
    let said = notices.recv(&mut notice).map(|len| notice[..len].starts_with(b"READY=1"));
    if said.is_ok_and(|is_ready| is_ready) {
        return Ok((process, begun.elapsed()));
    }
    let said = fs::read_to_string(log).unwrap_or_default();
    Err(io::Error::other(format!("the control plane does not start: {said}")))
}

impl Data {
    /// An empty one, that nobody else may read.
    pub fn new(medium: Medium) -> io::Result<Self> {
        let named = std::env::var_os("TIDEGATE_RATIO_DATA").map(PathBuf::from);
        let parent = match medium {
            Medium::Disk => named.unwrap_or_else(std::env::temp_dir),
            Medium::Memory => PathBuf::from("/dev/shm"),
        };
        for number in 0.. {
            let path = parent.join(format!("tidegate-data-{}-{number}", std::process::id()));
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                made => return made.map(|()| Self(path)),
            }
        }
        unreachable!("numbers do not end")
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Bytes of all files below, as long as they are.
pub fn bytes_below(dir: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        bytes += if entry.file_type()?.is_dir() {
            bytes_below(&entry.path())?
        } else {
            entry.metadata()?.len()
        };
    }
    Ok(bytes)
}

const PATIENCE: Duration = Duration::from_mins(1);
const PAUSE: Duration = Duration::from_millis(20);
