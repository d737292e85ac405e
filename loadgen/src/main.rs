//! What can one do to a CoAP/DTLS server from outside? The command line of the load generator.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_crypto::secret::Secret;
use tidegate_loadgen::decode::{Decoded, print};
use tidegate_loadgen::fleet::command;
use tidegate_loadgen::profile::parse_psk;
use tidegate_loadgen::{handshakes, request};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Devices, and what they said.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Decrypts a capture of DTLS 1.2 with pre-shared keys and prints the CoAP conversation.
    ///
    /// Ends with 0 when both Finished of every association were verified and every record opened,
    /// with 1 otherwise.
    Decode {
        /// The pre-shared key: text, or hex digits after 0x. Several are tried one after the other.
        #[arg(long, required = true, value_name = "TEXT|0xHEX", value_parser = parse_psk)]
        psk: Vec<Secret>,
        /// A pcap or pcapng file that has the handshakes in it.
        #[arg(value_name = "FILE")]
        file: PathBuf,
    },
    /// Sends CoAP requests over DTLS 1.2 and prints the responses, and what was negotiated.
    ///
    /// Ends with 0 when every request was answered by a 2.xx, with 1 otherwise.
    Request(Box<request::Arguments>),
    /// Runs a scenario: fleets of devices, phase by phase.
    ///
    /// Ends with 0 when every limit of the scenario was reached, with 3 when one was missed, with 2
    /// when the scenario is wrong, with 1 when it could not be carried out.
    Run(Box<command::RunArguments>),
    /// Loads a server steadily: the common scenario without a file.
    Steady(Box<command::SteadyArguments>),
    /// Shakes hands with a server as fast as it can, and says what that cost.
    ///
    /// Ends with 0 when every handshake succeeded, with 1 otherwise.
    Handshakes(Box<handshakes::Arguments>),
}

fn main() -> ExitCode {
    let code = |is_good: bool| u8::from(!is_good);
    let (about, done) = match Arguments::parse().command {
        Command::Decode { psk, file } => {
            (file.display().to_string(), decode(&psk, &file).map(code))
        }
        Command::Request(arguments) => (
            arguments.uri.to_string(),
            request::run(&arguments, &mut io::stdout().lock()).map(code),
        ),
        Command::Run(arguments) => (
            arguments.scenario.display().to_string(),
            command::run(&arguments, &mut io::stdout().lock()),
        ),
        Command::Steady(arguments) => {
            (arguments.server.clone(), command::steady(&arguments, &mut io::stdout().lock()))
        }
        Command::Handshakes(arguments) => (
            arguments.server.clone(),
            handshakes::run(&arguments, &mut io::stdout().lock()).map(code),
        ),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        // Whoever reads has seen enough: `| head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{about}: {error}");
            ExitCode::from(if error.kind() == io::ErrorKind::InvalidInput { 2 } else { 1 })
        }
    }
}

/// Whether everything could be decoded.
fn decode(psks: &[Secret], path: &Path) -> io::Result<bool> {
    let file = fs::read(path)?;
    let decoded = Decoded::from_capture(&file, psks)
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
    let mut out = BufWriter::new(io::stdout().lock());
    print::print(&decoded, &path.display().to_string(), &mut out)?;
    out.flush()?;
    Ok(decoded.is_complete())
}
