//! How do we compare, side by side and in one run? The command line of the bench.

#![forbid(unsafe_code)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_bench::control;
use tidegate_bench::echo::{self, Way};

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
        Command::Echo { way, address } => {
            echo::serve(way, address, |at| println!("listening on {at}"))
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
