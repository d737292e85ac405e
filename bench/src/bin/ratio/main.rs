//! How do we compare, side by side and in one run? The command line of the bench.

#![forbid(unsafe_code)]

use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_bench::api::imports;
use tidegate_bench::control;
use tidegate_bench::durability;
use tidegate_bench::echo::{self, Way};
use tidegate_bench::handover;
use tidegate_bench::overload::curve;
use tidegate_bench::ratio::rows::{ROWS, Row, Seen};
use tidegate_bench::ratio::{process, report, steady, storm};

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
    /// Every figure, or those of the rows named.
    Run {
        /// Rows, as `rows` lists them.
        rows: Vec<String>,
    },
    /// Names of all rows.
    Rows,
    /// Imports devices into a store of its own, in `TIDEGATE_RATIO_DATA` or the directory for
    /// temporary files: time, rate of each tenth, store, memory, as one line of JSON each.
    Import {
        /// How many.
        #[arg(default_value_t = 1_000_000)]
        devices: u32,
    },
    /// Puts figures into a document, as a table and a plot.
    Report {
        /// What the other commands have printed.
        lines: PathBuf,
        /// The document, with marks where the figures go.
        document: PathBuf,
    },
    /// Offers half to ten times what the edge sustains, attacks it, and puts curves and a table
    /// into a document, in two minutes.
    Overload {
        /// The document, with marks where the table goes; the picture goes beside it.
        document: PathBuf,
    },
    /// What each level of `confirmed_by` costs beside the first, and the start of a control plane
    /// over uplinks that wait, into a document, in some minutes.
    Durability {
        /// The document, with marks where the tables go.
        document: PathBuf,
    },
    /// What devices notice of a dataplane that ends, with its sockets kept and without, into a
    /// document, in a minute and a half.
    Handover {
        /// The document, with marks where the table goes.
        document: PathBuf,
    },
    /// Keeps an edge busy with handshakes, for profilers.
    HoldHandshakes {
        /// How many times 20 000.
        #[arg(long, default_value_t = 10)]
        times: u64,
    },
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
        Command::Core => run(|row| row.is_core),
        Command::Run { rows } => {
            run(|row| rows.is_empty() || rows.iter().any(|name| name == row.name))
        }
        Command::Rows => {
            for row in ROWS {
                println!("{}", row.name);
            }
            Ok(())
        }
        Command::Import { devices } => import(devices),
        Command::Report { lines, document } => report(&lines, &document),
        Command::Overload { document } => {
            process::pin_ourselves().and_then(|()| curve::write(&document))
        }
        Command::Durability { document } => {
            process::pin_ourselves().and_then(|()| durability::write(&document))
        }
        Command::Handover { document } => {
            process::pin_ourselves().and_then(|()| handover::write(&document))
        }
        Command::HoldHandshakes { times } => {
            process::pin_ourselves().and_then(|()| storm::hold(times))
        }
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

/// Measures the rows that are wanted and tells each as soon as it is there.
fn run(wanted: impl Fn(&Row) -> bool) -> io::Result<()> {
    process::pin_ourselves()?;
    let (mut seen, mut missing) = (Seen::default(), 0);
    for row in ROWS.iter().filter(|row| wanted(row)) {
        match row.run(&mut seen) {
            Ok(figures) => figures.iter().for_each(|figure| println!("{}", figure.json())),
            Err(error) => {
                eprintln!("{}: {error}", row.name);
                missing += 1;
            }
        }
    }
    if missing == 0 { Ok(()) } else { Err(io::Error::other(format!("{missing} rows are missing"))) }
}

fn import(devices: u32) -> io::Result<()> {
    process::pin_ourselves()?;
    imports::figures(devices)?.iter().for_each(|figure| println!("{}", figure.json()));
    Ok(())
}

fn report(lines: &Path, document: &Path) -> io::Result<()> {
    report::write(&std::fs::read_to_string(lines)?, document)
}
