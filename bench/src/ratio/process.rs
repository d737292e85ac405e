//! Who else takes part in a side-by-side run? Processes on a core of their own, and how much of its
//! time they take, to the nanosecond.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

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

impl Process {
    /// Starts a program on a core; of its threads those count whose names begin with `thread`.
    pub fn start(
        core: usize,
        program: &Path,
        arguments: &[&str],
        thread: &'static str,
    ) -> io::Result<Self> {
        let child = Command::new("taskset")
            .args(["-c", &core.to_string()])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        Ok(Self { child, thread })
    }

    /// Its process number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Time on the CPU so far, user and system, of the threads that count.
    pub fn cpu(&self) -> io::Result<Duration> {
        let mut total = 0;
        for task in fs::read_dir(format!("/proc/{}/task", self.child.id()))? {
            let path = task?.path();
            let Ok(name) = fs::read_to_string(path.join("comm")) else { continue };
            if name.starts_with(self.thread) {
                total += on_cpu_ns(&fs::read_to_string(path.join("schedstat"))?)?;
            }
        }
        Ok(Duration::from_nanos(total))
    }

    /// Resident memory that is its own or shared with its control plane, bytes.
    pub fn resident_bytes(&self) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kib.map(|kib| kib * 1_024).ok_or_else(|| io::ErrorKind::InvalidData.into())
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

/// Puts this process, all threads it will start, and nothing else on [`OWN_CORE`].
pub fn pin_ourselves() -> io::Result<()> {
    let own = std::process::id().to_string();
    let core = OWN_CORE.to_string();
    let status =
        Command::new("taskset").args(["-a", "-cp", &core, &own]).stdout(Stdio::null()).status()?;
    if status.success() { Ok(()) } else { Err(io::Error::other("taskset failed")) }
}

/// First field of a schedstat: nanoseconds on the CPU.
fn on_cpu_ns(schedstat: &str) -> io::Result<u64> {
    let first = schedstat.split_whitespace().next().and_then(|first| first.parse().ok());
    first.ok_or_else(|| io::ErrorKind::InvalidData.into())
}
