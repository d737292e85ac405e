//! What may this process still do once it has read its configuration? It starts no program, writes
//! only below its own directories, and gets no privilege back.
//!
//! It is entered before the first thread is there, so every thread is born inside.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, BitFlags, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetStatus,
    Scope, path_beneath_rules,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::config::Config;

/// Confines the calling thread, and all that it will start.
///
/// # Errors
/// What the kernel refused, in words.
pub fn enter(config: &Config) -> Result<(), String> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    setrlimit(Resource::Core, none).map_err(|e| format!("no core dumps: {e}"))?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|e| format!("no debuggers: {e}"))?;
    let writable = writable(config);
    for directory in [&config.data_dir, &config.run_dir] {
        // As those make them who open the store and the rings.
        let made = DirBuilder::new().recursive(true).mode(0o700).create(directory);
        made.map_err(|e| format!("{}: {e}", directory.display()))?;
    }
    if !config.confine.sandbox {
        tracing::warn!("not confined: confine.sandbox is false");
        return Ok(());
    }
    let files = sandbox(&writable)?;
    let has_landlock = files != RulesetStatus::NotEnforced;
    tracing::info!(has_landlock, "confined");
    Ok(())
}

fn sandbox(writable: &[PathBuf]) -> Result<RulesetStatus, String> {
    drop_capabilities().map_err(|e| format!("capabilities: {e}"))?;
    rustix::thread::set_no_new_privs(true).map_err(|e| format!("no new privileges: {e}"))?;
    let files = restrict_files(writable).map_err(|e| format!("Landlock: {e}"))?;
    let filter = filter().map_err(|e| format!("seccomp: {e}"))?;
    seccompiler::apply_filter(&filter).map_err(|e| format!("seccomp: {e}"))?;
    Ok(files)
}

/// All but the one that a port below 1024 needs.
fn drop_capabilities() -> rustix::io::Result<()> {
    let kept = capabilities(None)?.permitted & CapabilitySet::NET_BIND_SERVICE;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    rustix::thread::clear_ambient_capability_set()?;
    set_capabilities(None, sets)
}

/// Where it writes: the store, the rings, and what the configuration names.
fn writable(config: &Config) -> Vec<PathBuf> {
    let beside = |file: &Path| match file.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let mut directories = vec![config.data_dir.clone(), config.run_dir.clone()];
    directories.extend(config.actions.file.as_ref().map(|file| file.root.clone()));
    directories.extend(config.http.unix_socket.as_deref().map(beside));
    directories.extend(config.customer_log.file.as_deref().map(beside));
    directories
}

/// Reads anything that the user may read, writes below these directories alone, executes nothing.
fn restrict_files(writable: &[PathBuf]) -> Result<RulesetStatus, landlock::RulesetError> {
    let every = AccessFs::from_all(ABI::V6);
    let reading: BitFlags<AccessFs> = AccessFs::ReadFile | AccessFs::ReadDir;
    let own = every & !BitFlags::from(AccessFs::Execute);
    let mut rules = Ruleset::default()
        .handle_access(every)?
        .scope(Scope::from_all(ABI::V6))?
        .create()?
        .add_rules(path_beneath_rules(["/"], reading))?
        .add_rules(path_beneath_rules(writable, own))?;
    // What libraries write to and read from.
    rules = rules.add_rules(path_beneath_rules(["/dev/null"], own))?;
    Ok(rules.restrict_self()?.ruleset)
}

fn filter() -> Result<BpfProgram, String> {
    let rules: BTreeMap<i64, _> = REFUSED.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into();
    let arch = arch.map_err(|e: seccompiler::BackendError| e.to_string())?;
    let refused = SeccompAction::Errno(EPERM);
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch);
    filter.and_then(TryInto::try_into).map_err(|e| e.to_string())
}

const EPERM: u32 = rustix::io::Errno::PERM.raw_os_error() as u32;

/// Calls that nothing here makes, and that who takes a process over makes first.
const REFUSED: &[i64] = &[
    // Other programs, other processes.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    // The kernel.
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_kexec_file_load,
    libc::SYS_reboot,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    // Its view of the machine.
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_open_by_handle_at,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_personality,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::io::ErrorKind;

    use super::*;

    #[test]
    fn a_confined_thread_writes_below_its_directories_and_starts_nothing() {
        let name = format!("tidegate-confine-{}", std::process::id());
        let own = std::env::temp_dir().join(name);
        let others = own.join("others");
        let ours = own.join("ours");
        std::fs::create_dir_all(&others).unwrap();
        std::fs::create_dir_all(&ours).unwrap();
        let (inside, outside) = (ours.clone(), others.clone());
        let refused = |error: std::io::Error| assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        let thread = std::thread::spawn(move || {
            let files = sandbox(std::slice::from_ref(&inside)).unwrap();
            std::fs::write(inside.join("a"), "ours").unwrap();
            assert_eq!(std::fs::read(inside.join("a")).unwrap(), b"ours");
            std::fs::rename(inside.join("a"), inside.join("b")).unwrap();
            assert!(std::fs::read("/etc/passwd").is_ok(), "reading is free");
            refused(std::process::Command::new("/bin/true").spawn().unwrap_err());
            if files != RulesetStatus::NotEnforced {
                refused(std::fs::write(outside.join("a"), "not ours").unwrap_err());
            }
            let sets = capabilities(None).unwrap();
            assert!((sets.permitted & !CapabilitySet::NET_BIND_SERVICE).is_empty(), "{sets:?}");
            // Threads of it are inside too.
            std::thread::spawn(|| std::process::Command::new("/bin/true").spawn().is_err())
        });
        assert!(thread.join().unwrap().join().unwrap());
        std::fs::remove_dir_all(own).unwrap();
    }

    #[test]
    fn what_the_configuration_names_is_writable() {
        let mut config = Config::default();
        config.http.unix_socket = Some("/run/api/tidegate.sock".into());
        config.customer_log.file = Some("log.jsonl".into());
        let expected = ["/var/lib/tidegate", "/run/tidegate", "/run/api", "."];
        assert_eq!(writable(&config), expected.map(PathBuf::from));
    }
}
