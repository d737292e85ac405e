//! The dataplane process: reads its configuration, starts the workers, stops them on a signal.

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::os::fd::AsFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::confine::{self, Sandbox};
use tidegate_dataplane::keeper::{KEPT_BY, Keeper};
use tidegate_dataplane::net::kept::Kept;
use tidegate_dataplane::run::Workers;
use tidegate_dataplane::supervisor::Supervisor;
use tidegate_dataplane::{resumptions, slab};
use tidegate_ring::contract::CONTRACT_VERSION;
use tracing::{error, info, warn};

// What ships has no bug planted in it, and can't be built so that it has.
const _: () = assert!(!tidegate_faults::IS_ARMED, "this build is the simulator's");

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Tidegate's dataplane: CoAP over DTLS 1.2 for devices.
#[derive(Debug, Parser)]
#[command(version, long_version = VERSION.as_str())]
struct Arguments {
    /// Configuration file; without one the defaults serve.
    #[arg(long)]
    config: Option<PathBuf>,
    /// Start the process that serves as a child, again when it ends, and keep its sockets
    /// meanwhile: where no service manager does (docs/upgrade.md).
    #[arg(long)]
    supervise: bool,
    /// Check the configuration and exit.
    #[arg(long)]
    check: bool,
    /// Print the configuration with its defaults filled in and exit.
    #[arg(long)]
    print: bool,
}

/// What another build has to share to go on with this one's sessions: docs/upgrade.md.
static VERSION: LazyLock<String> = LazyLock::new(|| {
    let (version, rings) = (env!("CARGO_PKG_VERSION"), CONTRACT_VERSION);
    let (sessions, resumable) = (slab::LAYOUT, resumptions::LAYOUT);
    format!(
        "{version}\nsessions: layout {sessions}\nresumable sessions: layout {resumable}\n\
         rings: version {rings}"
    )
});

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let loaded = arguments.config.as_deref().map_or_else(|| Ok(Config::default()), Config::load);
    let config = match loaded {
        Ok(config) => config,
        Err(reason) => {
            eprintln!("{reason}");
            return ExitCode::from(2);
        }
    };
    if arguments.print {
        print!("{}", config.to_toml());
    }
    if arguments.check || arguments.print {
        return ExitCode::SUCCESS;
    }
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    tracing_subscriber::fmt()
        .with_env_filter(filter.unwrap_or_else(|_| "info".into()))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let done = if arguments.supervise {
        supervise(&config, arguments.config.as_deref())
    } else {
        serve(config)
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Keeps a process running that serves, until a signal.
fn supervise(config: &Config, file: Option<&Path>) -> Result<(), String> {
    make_private(&config.run_dir)?;
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|e| format!("signals: {e}"))?;
    // By its name: after an upgrade another file is there.
    let program = std::env::args_os().next().unwrap_or_default().into();
    let arguments = file.map_or_else(Vec::new, |file| vec!["--config".into(), file.into()]);
    Keeper::new(program, arguments, &config.run_dir)?.run(&mut signals)
}

/// Runs until a signal or until a worker ends.
fn serve(config: Config) -> Result<(), String> {
    let is_locked = confine::keep_secrets(&config.confine)?;
    make_private(&config.run_dir)?;
    confine::become_user(&config.confine, &config.run_dir)?;
    let sandbox = Sandbox::new(&config.confine)?;
    if std::env::var_os(KEPT_BY).is_some() {
        let end = Some(rustix::process::Signal::TERM);
        rustix::process::set_parent_process_death_signal(end)
            .map_err(|e| format!("the end of the keeper: {e}"))?;
    }
    let mut supervisor = Supervisor::find();
    let kept = take_kept(&config, &supervisor);
    let goes_on = !kept.is_empty();
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|e| format!("signals: {e}"))?;
    let mut workers = Workers::open(&Arc::new(config), &sandbox, kept, |started| {
        let (kept, torn) = (started.sessions.kept, started.sessions.torn);
        let resumable = started.resumptions.kept;
        let backend = started.backend;
        info!(worker = started.worker, backend, kept, torn, resumable, "started");
        if started.sessions.is_other {
            let worker = started.worker;
            warn!(worker, "sessions of another layout or boot: devices shake hands again");
        }
        for (name, socket) in started.sockets.iter().filter(|_| !goes_on) {
            supervisor.say_keep(name, socket.as_fd());
        }
    })?;
    let confined = sandbox.enter()?;
    // Not before: whoever hears from this process hears from one that is locked in.
    workers.serve();
    info!(?confined, memory_locked = is_locked, sockets_kept = goes_on, "serving");
    supervisor.say_ready();
    while !workers.has_ended() && signals.pending().next().is_none() {
        supervisor.say_alive(|| workers.have_turned());
        std::thread::sleep(SIGNAL_POLL);
    }
    info!("stopping");
    supervisor.say_stopping();
    workers.stop();
    workers.join()
}

/// The sockets that the process before left with the service manager, if they fit.
fn take_kept(config: &Config, supervisor: &Supervisor) -> Kept {
    Kept::take(config, config.worker_count()).unwrap_or_else(|unfit| {
        warn!(reason = unfit.reason, "sockets that were kept do not fit: others are bound");
        unfit.names.iter().for_each(|name| supervisor.say_forget(name));
        Kept::default()
    })
}

/// The run directory is ours alone: its rings carry keys.
fn make_private(run_dir: &Path) -> Result<(), String> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(run_dir).map_err(|e| format!("{}: {e}", run_dir.display()))
}

/// How soon a signal is noticed.
const SIGNAL_POLL: Duration = Duration::from_millis(50);
