//! Who else takes part in a side-by-side run? Processes on a core of their own, perhaps in a
//! network namespace of their own, and how much of its time they take, to the nanosecond.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where servers run; generators and control planes run on the other core.
pub const SERVER_CORE: usize = 0;
/// Where this process runs.
pub const OWN_CORE: usize = 1;

/// A process that ends with its owner.
pub struct Process {
    child: Child,
    /// Threads that count, by the beginning of their names.
    thread: &'static str,
}

/// Where a process runs.
#[derive(Clone, Debug)]
pub struct Place {
    /// Cores, as `taskset` has them.
    pub cores: String,
    /// A network namespace's name; `None`: that of this process.
    pub namespace: Option<String>,
}

impl Place {
    /// On one core, in our namespace.
    pub fn core(core: usize) -> Self {
        Self { cores: core.to_string(), namespace: None }
    }
}

impl Process {
    /// Starts a program; of its threads those count whose names begin with `thread`.
    /// What it says goes to `log`.
    pub fn start(
        place: &Place,
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        thread: &'static str,
        log: Option<&Path>,
    ) -> io::Result<Self> {
        let mut command = match &place.namespace {
            None => Command::new("taskset"),
            Some(namespace) => {
                let mut command = Command::new("ip");
                command.args(["netns", "exec", namespace, "taskset"]);
                command
            }
        };
        let log =
            log.map_or_else(|| Ok(Stdio::null()), |log| fs::File::create(log).map(Into::into));
        let child = command
            .args(["-c", &place.cores])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log?)
            .spawn()?;
        Ok(Self { child, thread })
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time on the CPU so far, user and system, of the threads that count together.
    pub fn cpu(&self) -> io::Result<Duration> {
        Ok(self.cpu_of_threads()?.into_iter().map(|(_, time)| time).sum())
    }

    /// The same of each thread that counts, by name.
    pub fn cpu_of_threads(&self) -> io::Result<Vec<(String, Duration)>> {
        let mut threads = Vec::new();
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = task?.path();
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            if name.starts_with(self.thread) {
                threads.push((name.trim().to_owned(), on_cpu(&path.join("schedstat"))?));
            }
        }
        threads.sort();
        Ok(threads)
    }

    /// Resident memory, all of it, bytes, once it has not changed for a second: a process that has
    /// just started is still taking what it needs.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let (begun, mut bytes, mut since) = (Instant::now(), 0, Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            // Counted page by page; `status` has an estimate.
            let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", self.child.id()))?;
            let line = text.lines().find_map(|line| line.strip_prefix("Rss:"));
            let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
            let now = kib.ok_or(io::ErrorKind::InvalidData)? * 1_024;
            if now != bytes {
                (bytes, since) = (now, Instant::now());
            }
            if begun.elapsed() > Duration::from_secs(10) {
                return Err(io::Error::other("its memory never comes to rest"));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(bytes)
    }

    /// Whether a socket of its network namespace is bound to the UDP port.
    pub fn has_port(&self, port: u16) -> bool {
        let table = fs::read_to_string(format!("/proc/{}/net/udp", self.child.id()));
        let wanted = format!(":{port:04X}");
        let local = |line: &str| line.split_whitespace().nth(1).map(|at| at.ends_with(&wanted));
        table.is_ok_and(|table| table.lines().any(|line| local(line) == Some(true)))
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) -> io::Result<()> {
        signal(self.child.id(), name)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal, by its name, to a process of ours.
pub fn signal(id: u32, name: &str) -> io::Result<()> {
    let status = Command::new("kill").args([&format!("-{name}"), &id.to_string()]).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other(format!("kill -{name} {id}"))) }
}

/// Time of the kernel's thread that takes over when the servers' core has too much to receive: it
/// belongs to whoever is measured.
pub fn soft_interrupts() -> Duration {
    let wanted = format!("ksoftirqd/{SERVER_CORE}\n");
    let is_it = |path: &Path| fs::read_to_string(path.join("comm")).is_ok_and(|it| it == wanted);
    let Ok(processes) = fs::read_dir("/proc") else { return Duration::ZERO };
    let found = processes.flatten().map(|entry| entry.path()).take(200).find(|path| is_it(path));
    found.and_then(|path| on_cpu(&path.join("schedstat")).ok()).unwrap_or_default()
}

/// Puts this process and all threads it will start on [`OWN_CORE`], and lets it have many sockets.
pub fn pin_ourselves() -> io::Result<()> {
    let own = std::process::id().to_string();
    let _ = Command::new("prlimit").args(["--pid", &own, FILES]).stderr(Stdio::null()).status();
    let core = OWN_CORE.to_string();
    let status =
        Command::new("taskset").args(["-a", "-cp", &core, &own]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("taskset failed")) }
}

/// Ten thousand sessions of a server without Connection IDs need as many sockets. Where the limit
/// can not be raised so far it stays, and their row says what it lacks.
const FILES: &str = "--nofile=16384:";

/// First field of a schedstat: nanoseconds on the CPU.
fn on_cpu(schedstat: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(schedstat)?;
    let first = text.split_whitespace().next().and_then(|first| first.parse().ok());
    first.map(Duration::from_nanos).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
