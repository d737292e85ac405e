//! How much CPU time has a process used? From `/proc`, user and system.

use std::fs;
use std::io;
use std::ops::{Add, Sub};
use std::time::Duration;

/// User and system time of a process with all its threads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessTimes {
    /// In its own code.
    pub user: Duration,
    /// In the kernel, for it.
    pub system: Duration,
}

impl ProcessTimes {
    /// Both.
    pub fn total(self) -> Duration {
        self.user + self.system
    }
}

/// Of these processes, together.
pub fn of_all(pids: &[u32]) -> io::Result<ProcessTimes> {
    let each = |pid: &u32| of(&format!("/proc/{pid}/stat"));
    pids.iter().map(each).try_fold(ProcessTimes::default(), |sum, times| Ok(sum + times?))
}

/// Of this process.
pub fn of_this_process() -> io::Result<ProcessTimes> {
    of("/proc/self/stat")
}

fn of(path: &str) -> io::Result<ProcessTimes> {
    let stat = fs::read_to_string(path)?;
    parse(&stat).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "not a stat line"))
}

/// Fields 14 and 15, in clock ticks; the second field is a name that may hold anything.
fn parse(stat: &str) -> Option<ProcessTimes> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let time = |ticks: u64| Duration::from_millis(ticks * 1_000 / TICKS_PER_S);
    Some(ProcessTimes { user: time(ticks()?), system: time(ticks()?) })
}

/// USER_HZ, which is part of Linux's interface and 100 on every architecture that we run on.
const TICKS_PER_S: u64 = 100;

impl Add for ProcessTimes {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self { user: self.user + other.user, system: self.system + other.system }
    }
}

impl Sub for ProcessTimes {
    type Output = Self;
    fn sub(self, earlier: Self) -> Self {
        let (user, system) =
            (self.user.saturating_sub(earlier.user), self.system.saturating_sub(earlier.system));
        Self { user, system }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_name_may_hold_anything() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 1 0 100";
        let times = parse(stat).unwrap();
        assert_eq!(times.user, Duration::from_millis(2_500));
        assert_eq!(times.system, Duration::from_millis(500));
        assert_eq!(times.total(), Duration::from_secs(3));
        assert_eq!(parse("42 (name) S 1 2"), None);
        assert_eq!(parse(""), None);
    }

    #[test]
    fn processes_are_summed_and_a_gone_one_is_an_error() {
        let once = of_this_process().unwrap();
        let twice = of_all(&[std::process::id(), std::process::id()]).unwrap();
        assert!(twice.total() >= once.total());
        assert!(of_all(&[u32::MAX]).is_err());
    }
}
