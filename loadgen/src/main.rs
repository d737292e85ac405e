//! What can one do to a CoAP/DTLS server from outside? The command line of the load generator.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{self, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tidegate_crypto::secret::Secret;
use tidegate_loadgen::decode::{Decoded, print};

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
}

fn main() -> ExitCode {
    let Command::Decode { psk, file } = Arguments::parse().command;
    match decode(&psk, &file) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        // Whoever reads has seen enough: `| head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", file.display());
            ExitCode::FAILURE
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

fn parse_psk(text: &str) -> Result<Secret, String> {
    let bytes = match text.strip_prefix("0x") {
        Some(digits) => hex::decode(digits).map_err(|error| error.to_string())?,
        None => text.as_bytes().to_vec(),
    };
    if bytes.is_empty() || bytes.len() > usize::from(u16::MAX) {
        return Err("a key has 1 to 65535 bytes".to_owned());
    }
    Ok(Secret::from(bytes))
}
