//! How do we compare, side by side and in one run? The command line of the bench.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};
use tidegate_bench::control;
use tidegate_bench::echo::{self, Way};
use tidegate_bench::ratio::figure::Figure;
use tidegate_bench::ratio::{memory, process, records, steady};
use tidegate_bench::rig::Route;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Ratios of what we do to what others do, and the peers for that.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// A bare UDP echo: one thread, one socket. Prints where it listens; ends with a signal.
    Echo {
        /// How its datagrams come and go.
        way: Way,
        /// Where it listens; port 0 for any.
        address: SocketAddr,
        /// Sends at most so many bytes of each datagram back.
        #[arg(long, default_value_t = usize::MAX)]
        reply_bytes: usize,
    },
    /// The core figures, in under a minute, as one line of JSON each.
    Core,
    /// Keeps an edge busy on core 0, for profilers; each second what a request costs it.
    Hold {
        /// Its backend.
        way: Way,
        /// How long, s.
        #[arg(long, default_value_t = 10)]
        seconds: u64,
    },
    /// A stand-in control plane for a dataplane's run directory: every device has the one key,
    /// every publication is confirmed. Ends with a signal.
    Control {
        /// `run_dir` of the dataplane.
        run_dir: PathBuf,
        /// How many workers it has.
        #[arg(long, default_value_t = 1)]
        workers: u8,
        /// The pre-shared key of every identity, as text.
        #[arg(long)]
        psk: String,
    },
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::Echo { way, address, reply_bytes } => {
            echo::serve(way, address, reply_bytes, |at| println!("listening on {at}"))
        }
        Command::Core => core(),
        Command::Hold { way, seconds } => {
            process::pin_ourselves().and_then(|()| steady::hold(way, seconds))
        }
        Command::Control { run_dir, workers, psk } => {
            control::serve(&run_dir, workers, psk.as_bytes())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// As many figures as fit into a minute.
fn core() -> io::Result<()> {
    process::pin_ourselves()?;
    let mut echo_ns = 0.0;
    for way in [Way::Mmsg, Way::IoUring] {
        let figure = steady::con_put(way, 5, Duration::from_millis(700))?;
        // The last one is that of the default backend.
        echo_ns = figure.against;
        tell(&figure);
    }
    tell(&memory::worker(echo_ns, Route::Echo));
    tell(&memory::worker(echo_ns, Route::Publish));
    records::open().iter().for_each(tell);
    memory::handshakes()?.iter().for_each(tell);
    Ok(())
}

fn tell(figure: &Figure) {
    println!("{}", figure.json());
}
