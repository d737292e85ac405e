//! The dataplane process: reads its configuration, starts the workers, stops them on a signal.

use clap::Parser;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::IsTerminal;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tidegate_dataplane::config::Config;
use tidegate_dataplane::confine::{self, Sandbox};
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
    match serve(config) {
        Ok(()) => ExitCode::SUCCESS,
        Err(reason) => {
            error!("{reason}");
            ExitCode::FAILURE
        }
    }
}

/// Runs until a signal or until a worker ends.
fn serve(config: Config) -> Result<(), String> {
    let is_locked = confine::keep_secrets(&config.confine)?;
    make_private(&config.run_dir)?;
    confine::become_user(&config.confine, &config.run_dir)?;
    let sandbox = Sandbox::new(&config.confine)?;
    let mut supervisor = Supervisor::find();
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|e| format!("signals: {e}"))?;
    let mut workers = Workers::open(&Arc::new(config), &sandbox, |started| {
        let (kept, torn) = (started.sessions.kept, started.sessions.torn);
        let resumable = started.resumptions.kept;
        let backend = started.backend;
        info!(worker = started.worker, backend, kept, torn, resumable, "started");
        if started.sessions.is_other {
            let worker = started.worker;
            warn!(worker, "sessions of another layout or boot: devices shake hands again");
        }
    })?;
    let confined = sandbox.enter()?;
    // Not before: whoever hears from this process hears from one that is locked in.
    workers.serve();
    info!(?confined, memory_locked = is_locked, "serving");
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

/// The run directory is ours alone: its rings carry keys.
fn make_private(run_dir: &Path) -> Result<(), String> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true).mode(0o700);
    builder.create(run_dir).map_err(|e| format!("{}: {e}", run_dir.display()))
}

/// How soon a signal is noticed.
const SIGNAL_POLL: Duration = Duration::from_millis(50);
