//! What may the process still do once it serves? Next to nothing.
//!
//! ```text
//! start ─▶ secrecy: no core dump, no debugger, memory that does not swap
//!       ─▶ the user of `confine.user`, with the capabilities that opening needs
//!       ─▶ sockets, rings, slabs, tables are opened
//!       ─▶ sandbox, each thread for itself: no capability, no new privilege,
//!          no file (Landlock), no system call beside those of [`CALLS`] (seccomp)
//! ```
//!
//! *Why an error and not the end of the process* for a call that is not on the list: one that was
//! forgotten then costs what it was for, and not every session of the edge.

use crate::config::ConfineConfig;
use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use rustix::thread::{set_keep_capabilities, set_no_new_privs};
use seccompiler::{BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp};
use seccompiler::{SeccompCondition, SeccompFilter, SeccompRule};
use std::collections::BTreeMap;
use std::path::Path;

/// Keeps the keys in this process's memory: no core dump, no debugger of the same user, and no
/// swap where the limit of locked memory allows it. Says whether it does.
///
/// # Errors
/// What the kernel refused, in words.
pub fn keep_secrets(config: &ConfineConfig) -> Result<bool, String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|e| format!("no core dumps: {e}"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| format!("no debuggers: {e}"))?;
    if !config.lock_memory {
        return Ok(false);
    }
    // Only without a limit: under one, memory that is wanted later would be refused.
    let no_limit = Rlimit { current: None, maximum: None };
    let may = rustix::process::getrlimit(Resource::Memlock).current.is_none()
        || setrlimit(Resource::Memlock, no_limit).is_ok();
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Ok(may && mlockall(flags).is_ok())
}

/// Becomes the user that the configuration names, if the process is root's, and takes the run
/// directory along. What opening sockets may need of root's capabilities stays until [`Sandbox`].
///
/// # Errors
/// There is no such user, or the kernel refused.
pub fn become_user(config: &ConfineConfig, run_dir: &Path) -> Result<(), String> {
    if config.user.is_empty() || !rustix::process::geteuid().is_root() {
        return Ok(());
    }
    let name = &config.user;
    let fail = |e: &dyn std::fmt::Display| format!("confine.user {name}: {e}");
    let found = nix::unistd::User::from_name(name).map_err(|e| fail(&e))?;
    let user = found.ok_or_else(|| fail(&"there is no such user"))?;
    give(run_dir, user.uid.as_raw(), user.gid.as_raw()).map_err(|e| fail(&e))?;
    set_keep_capabilities(true).map_err(|e| fail(&e))?;
    nix::unistd::setgroups(&[user.gid]).map_err(|e| fail(&e))?;
    nix::unistd::setresgid(user.gid, user.gid, user.gid).map_err(|e| fail(&e))?;
    nix::unistd::setresuid(user.uid, user.uid, user.uid).map_err(|e| fail(&e))?;
    set_keep_capabilities(false).map_err(|e| fail(&e))?;
    let permitted = capabilities(None).map_err(|e| fail(&e))?.permitted & FOR_OPENING;
    let kept =
        CapabilitySets { effective: permitted, permitted, inheritable: CapabilitySet::empty() };
    set_capabilities(None, kept).map_err(|e| fail(&e))?;
    // The change of user made the process dumpable again, or may have.
    set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(|e| fail(&e))
}

/// The run directory and what lies in it, links left alone: it is root's until here, so nobody
/// else has put anything into it.
fn give(run_dir: &Path, user: u32, group: u32) -> std::io::Result<()> {
    for entry in std::fs::read_dir(run_dir)? {
        std::os::unix::fs::lchown(entry?.path(), Some(user), Some(group))?;
    }
    std::os::unix::fs::lchown(run_dir, Some(user), Some(group))
}

/// What a thread locks itself into, compiled once.
#[derive(Clone, Debug)]
pub struct Sandbox {
    /// `None`: the configuration wants no sandbox.
    calls: Option<BpfProgram>,
}

/// What the kernel made of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Confined {
    /// Files and system calls.
    Whole,
    /// System calls alone: the kernel has no Landlock.
    CallsOnly,
    /// Nothing: the configuration does not want it.
    Not,
}

impl Sandbox {
    /// As the configuration has it.
    ///
    /// # Errors
    /// This architecture has no filter.
    pub fn new(config: &ConfineConfig) -> Result<Self, String> {
        let calls = config.sandbox.then(filter).transpose()?;
        Ok(Self { calls })
    }

    /// Locks the calling thread in, for good.
    ///
    /// # Errors
    /// What the kernel refused, in words.
    pub fn enter(&self) -> Result<Confined, String> {
        let Some(calls) = &self.calls else { return Ok(Confined::Not) };
        let nothing = CapabilitySet::empty();
        let sets = CapabilitySets { effective: nothing, permitted: nothing, inheritable: nothing };
        rustix::thread::clear_ambient_capability_set().map_err(|e| format!("capabilities: {e}"))?;
        set_capabilities(None, sets).map_err(|e| format!("capabilities: {e}"))?;
        set_no_new_privs(true).map_err(|e| format!("no new privileges: {e}"))?;
        let files = without_files().map_err(|e| format!("Landlock: {e}"))?;
        seccompiler::apply_filter(calls).map_err(|e| format!("seccomp: {e}"))?;
        Ok(match files {
            RulesetStatus::NotEnforced => Confined::CallsOnly,
            RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Confined::Whole,
        })
    }
}

/// No path can be opened, no TCP port taken or reached, no process outside be signalled; as much
/// of it as the kernel knows.
fn without_files() -> Result<RulesetStatus, landlock::RulesetError> {
    let rules = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))?
        .handle_access(AccessNet::from_all(ABI::V6))?
        .scope(Scope::from_all(ABI::V6))?
        .create()?;
    Ok(rules.restrict_self()?.ruleset)
}

fn filter() -> Result<BpfProgram, String> {
    let fail = |e: &dyn std::fmt::Display| format!("seccomp: {e}");
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        CALLS.iter().map(|call| (*call, Vec::new())).collect();
    // Memory that is code can't be made.
    let no_code = SeccompCondition::new(
        2,
        SeccompCmpArgLen::Dword,
        SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64),
        0,
    );
    let no_code = SeccompRule::new(vec![no_code.map_err(|e| fail(&e))?]).map_err(|e| fail(&e))?;
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![no_code.clone()]);
    }
    let arch = std::env::consts::ARCH.try_into().map_err(|e| fail(&e))?;
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(rules, refused, SeccompAction::Allow, arch);
    filter.and_then(TryInto::try_into).map_err(|e| fail(&e))
}

/// What opening may need: a port below 1024, AF_XDP, many files, memory that does not swap.
const FOR_OPENING: CapabilitySet = CapabilitySet::NET_BIND_SERVICE
    .union(CapabilitySet::NET_ADMIN)
    .union(CapabilitySet::NET_RAW)
    .union(CapabilitySet::BPF)
    .union(CapabilitySet::IPC_LOCK);

/// The system calls of a worker that serves, and of the thread that waits for signals.
const CALLS: &[i64] = &[
    // Datagrams.
    libc::SYS_io_uring_enter,
    libc::SYS_recvmmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_sendto,
    libc::SYS_ppoll,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    // Doorbells, signals' pipe, messages of the log.
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_close,
    libc::SYS_fcntl,
    // Memory.
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    // Threads, time, the end.
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_getrandom,
    libc::SYS_getpid,
    libc::SYS_gettid,
    libc::SYS_tgkill,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_exit,
    libc::SYS_exit_group,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use std::io::ErrorKind;
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    /// In a thread of its own, which is confined until it ends.
    fn confined<T: Send + 'static>(then: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = std::thread::spawn(|| {
            let sandbox = Sandbox::new(&ConfineConfig::default()).unwrap();
            assert_ne!(sandbox.enter().unwrap(), Confined::Not);
            then()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_confined_thread_opens_nothing() {
        let refused = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        confined(move || {
            refused(std::fs::File::open("/etc/hostname").unwrap_err());
            refused(std::fs::write("/tmp/tidegate-confined", "x").unwrap_err());
            refused(UdpSocket::bind("127.0.0.1:0").unwrap_err());
            refused(std::process::Command::new("/bin/true").spawn().unwrap_err());
        });
    }

    /// Read from outside: inside nothing can be.
    #[test]
    fn a_confined_thread_has_no_capabilities_and_gets_none() {
        let (say, hear) = std::sync::mpsc::channel();
        let (end, ends) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            Sandbox::new(&ConfineConfig::default()).unwrap().enter().unwrap();
            say.send(rustix::thread::gettid()).unwrap();
            let _ = ends.recv();
        });
        let path = format!("/proc/self/task/{}/status", hear.recv().unwrap());
        let status = std::fs::read_to_string(path).unwrap();
        end.send(()).unwrap();
        thread.join().unwrap();
        let says = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.expect(name).trim().to_owned()
        };
        for set in ["CapPrm:", "CapEff:", "CapInh:", "CapAmb:"] {
            assert_eq!(u64::from_str_radix(&says(set), 16), Ok(0), "{set}");
        }
        assert_eq!((says("NoNewPrivs:").as_str(), says("Seccomp:").as_str()), ("1", "2"));
    }

    /// What was open goes on: the sockets of a worker.
    #[test]
    fn a_confined_thread_goes_on_with_what_it_has() {
        let (ours, theirs) =
            (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let to = theirs.local_addr().unwrap();
        confined(move || {
            assert!(ours.as_fd().try_clone_to_owned().is_ok(), "fcntl");
            assert_eq!(ours.send_to(b"still here", to).unwrap(), 10);
            let memory = vec![1_u8; 64 << 20];
            assert_eq!(memory.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 64 << 20);
        });
        let mut heard = [0; 16];
        assert_eq!(theirs.recv(&mut heard).unwrap(), 10);
    }

    #[test]
    fn who_wants_no_sandbox_gets_none() {
        let config = ConfineConfig { sandbox: false, ..ConfineConfig::default() };
        assert_eq!(Sandbox::new(&config).unwrap().enter().unwrap(), Confined::Not);
        assert!(std::fs::File::open("/etc/hostname").is_ok());
    }

    #[test]
    fn a_user_that_is_not_there_is_an_error_for_root() {
        let config = ConfineConfig { user: "no-such-user".into(), ..ConfineConfig::default() };
        let became = become_user(&config, Path::new("/nonexistent"));
        if rustix::process::geteuid().is_root() {
            assert!(became.unwrap_err().contains("there is no such user"));
        } else {
            assert_eq!(became, Ok(()));
        }
    }
}
