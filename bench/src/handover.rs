//! What do devices notice of a dataplane that ends and is started again? Requests at a steady rate,
//! never repeated, while it is killed or told to stop: with its sockets kept, and without, by
//! turns (docs/upgrade.md).

use std::fmt::Write as _;
use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::overload::crowd::{Crowd, Notes};
use crate::ratio::figure::{median, rounded};
use crate::ratio::process;
use crate::ratio::report::{machine, put_between};
use crate::ratio::servers::{Edge, Server};

/// Measures and writes it between the marks of a document.
pub fn write(document: &Path) -> io::Result<()> {
    let mut sides = [Side::new(true)?, Side::new(false)?];
    let mut seen = Vec::new();
    for signal in SIGNALS {
        let mut of_signal = [Vec::new(), Vec::new()];
        for _ in 0..ROUNDS {
            for (rounds, side) in of_signal.iter_mut().zip(&mut sides) {
                rounds.push(side.round(signal)?);
            }
        }
        seen.push((signal, of_signal));
    }
    put_between(document, (BEGIN, END), &format!("{}\n\n{}", machine(), table(&seen)))
}

/// An edge and its devices.
struct Side {
    is_kept: bool,
    server: Server,
    crowd: Crowd,
}

/// What became of the requests around one end.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Round {
    /// The longest time without any answer, ms.
    silence_ms: f64,
    /// Requests that were sent in it.
    sent: f64,
    /// Of these, the share that was answered at all.
    answered: f64,
    /// Requests of the whole stretch that never were.
    lost: f64,
}

impl Side {
    fn new(is_kept: bool) -> io::Result<Self> {
        let server = Edge { is_supervised: is_kept, ..Edge::default() }.start()?;
        let mut crowd = Crowd::new(server.address)?;
        crowd.offer(RATE, LENGTH)?;
        Ok(Self { is_kept, server, crowd })
    }

    fn round(&mut self, signal: &str) -> io::Result<Round> {
        let (is_kept, server) = (self.is_kept, &mut self.server);
        let (mut is_told, mut ended, mut is_again) = (false, None, false);
        let notes = self.crowd.noted(RATE, LENGTH, |elapsed| {
            if !is_told && elapsed >= TOLD {
                is_told = true;
                let serves = if is_kept { server.child()? } else { server.process.id() };
                process::signal(serves, signal)?;
            }
            if is_kept || !is_told || is_again {
                return Ok(());
            }
            if ended.is_none() && server.process.has_ended() {
                ended = Some(elapsed);
            }
            if ended.is_some_and(|ended| elapsed >= ended + PAUSE) {
                is_again = true;
                server.start_again()?;
            }
            Ok(())
        })?;
        if is_kept != self.server.log().contains("sockets_kept=true") {
            return Err(io::Error::other(format!("sockets: {}", self.server.log())));
        }
        let round = Round::of(&notes);
        if std::env::var_os(crate::ratio::VERBOSE).is_some() {
            eprintln!("  {signal}, kept: {is_kept}: {round:?}");
        }
        Ok(round)
    }
}

impl Round {
    fn of(notes: &Notes) -> Self {
        let mut heard: Vec<Instant> = notes.answered.iter().map(|(_, heard)| *heard).collect();
        heard.sort_unstable();
        let silences = heard.windows(2).map(|pair| (pair[1] - pair[0], pair[0]));
        let (silence, from) = silences.max().unwrap_or((Duration::ZERO, Instant::now()));
        let is_in_it = |sent: &Instant| *sent > from && *sent < from + silence;
        let sent = notes.sent.iter().filter(|sent| is_in_it(sent)).count() as f64;
        let answered = notes.answered.iter().filter(|(sent, _)| is_in_it(sent)).count() as f64;
        Self {
            silence_ms: silence.as_secs_f64() * 1e3,
            sent,
            answered: answered / sent.max(1.0),
            lost: (notes.sent.len() - notes.answered.len()) as f64,
        }
    }
}

fn table(seen: &[(&str, [Vec<Round>; 2])]) -> String {
    let mut text = "| how it ends | sockets | longest time without an answer, ms | sent in it | of \
                    these answered at all | lost of the whole stretch |\n|---|---|---:|---:|---:|---:|\n"
        .to_owned();
    for (signal, sides) in seen {
        for (rounds, sockets) in sides.iter().zip(["kept", "not kept"]) {
            let of = |value: fn(&Round) -> f64| {
                let middle = median(rounds.iter().map(value));
                let least = rounds.iter().map(value).fold(f64::INFINITY, f64::min);
                let most = rounds.iter().map(value).fold(0.0, f64::max);
                format!("{} ({} to {})", rounded(middle), rounded(least), rounded(most))
            };
            let cells = [
                of(|round| round.silence_ms),
                of(|round| round.sent),
                of(|round| round.answered),
                of(|round| round.lost),
            ];
            writeln!(text, "| SIG{signal} | {sockets} | {} |", cells.join(" | ")).expect("memory");
        }
    }
    text
}

const SIGNALS: [&str; 2] = ["KILL", "TERM"];
const ROUNDS: usize = 9;
/// Requests a second, of all devices.
const RATE: f64 = 5_000.0;
/// A stretch, and how far into it the process is told to end.
const LENGTH: Duration = Duration::from_millis(1_500);
const TOLD: Duration = Duration::from_millis(300);
/// From the end to the next start, as the keeper and deploy/systemd have it.
const PAUSE: Duration = Duration::from_millis(100);
const BEGIN: &str = "<!-- handover: written by `tidegate-ratio handover` -->";
const END: &str = "<!-- end of handover -->";

#[cfg(test)]
mod tests {
    use super::*;

    /// Ten requests, 10 ms apart, each answered after 1 ms but for the sixth, and the fifth late.
    #[test]
    fn what_is_sent_in_the_longest_silence_is_counted() {
        let begun = Instant::now();
        let at = |ms| begun + Duration::from_millis(ms);
        let mut notes = Notes::default();
        for number in 0..10 {
            notes.sent.push(at(number * 10));
            match number {
                4 => notes.answered.push((at(40), at(59))),
                5 => {}
                _ => notes.answered.push((at(number * 10), at(number * 10 + 1))),
            }
        }
        let round = Round::of(&notes);
        assert_eq!(round, Round { silence_ms: 28.0, sent: 2.0, answered: 0.5, lost: 1.0 });
    }
}
