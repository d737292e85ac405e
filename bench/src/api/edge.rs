//! What is called in a run of the API? A dataplane that nobody speaks to, and a control plane whose
//! data lie where they are told to.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::client::{Client, Key};
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
        let server = Edge { is_stood_in: false, ..Edge::default() }.start()?;
        let data = Data::new(medium)?;
        let port = TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port();
        let run_dir = server.run_dir().ok_or(io::ErrorKind::NotFound)?;
        let config = run_dir.join("controlplane.toml");
        let text = format!(
            "run_dir = \"{}\"\ndata_dir = \"{}\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n{CONFIG}",
            run_dir.display(),
            data.0.display()
        );
        fs::write(&config, text)?;
        let control = serve(&config)?;
        let edge = Self { control, port, data, config, server };
        edge.wait_until_well()?;
        Ok(edge)
    }

    /// Ends the control plane in order and starts it again; how long that took until it was well.
    pub fn restart(&mut self) -> io::Result<Duration> {
        let _ = Command::new("kill").args(["-TERM", &self.control.id().to_string()]).status()?;
        let begun = Instant::now();
        while !self.control.has_ended() {
            if begun.elapsed() > PATIENCE {
                return Err(io::Error::other("the control plane does not stop"));
            }
            std::thread::sleep(PAUSE);
        }
        let begun = Instant::now();
        self.control = serve(&self.config)?;
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

    fn root_key(&self) -> io::Result<Key> {
        let text = fs::read_to_string(self.data.0.join("root-credentials"))?;
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
            value.map(ToOwned::to_owned).ok_or(io::ErrorKind::InvalidData)
        };
        Ok(Key { id: field("aws_access_key_id")?, secret: field("aws_secret_access_key")? })
    }

    fn wait_until_well(&self) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let nobody = Key { id: "nobody".to_owned(), secret: String::new() };
            let health = Client::connect(self.port, nobody)
                .and_then(|mut client| client.ask("GET", "/health", ""));
            let is_well = |body: &[u8]| String::from_utf8_lossy(body).contains("\"ok\"");
            if health.is_ok_and(|(_, body)| is_well(&body)) {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let log = self.config.with_extension("log");
                let said = fs::read_to_string(log).unwrap_or_default() + &self.server.log();
                return Err(io::Error::other(format!("the API is not well: {said}")));
            }
            std::thread::sleep(PAUSE);
        }
    }
}

fn serve(config: &Path) -> io::Result<Process> {
    let arguments = [Path::new("serve"), Path::new("--config"), config];
    let log = config.with_extension("log");
    let place = Place::core(SERVER_CORE);
    Process::start(&place, &built("tidegate-controlplane")?, &arguments, "", Some(&log))
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
