//! How does a run look while it goes on? On a terminal a few lines that are drawn anew four times a
//! second, elsewhere a plain line now and then; both on the standard error, so that the report may
//! go elsewhere. A thread of its own: the engine never waits for a terminal.

mod frame;
mod state;

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use clap::ValueEnum;

use self::state::State;
use crate::progress::Progress;
use crate::scenario::Scenario;

/// What is shown while a run goes on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Live on a terminal, else plain.
    #[default]
    Auto,
    /// A line now and then.
    Plain,
    /// Nothing.
    None,
}

const REFRESH: Duration = Duration::from_millis(250);
const COLUMNS_MAX: usize = 110;

/// Shows what comes over the channel until its other end is dropped. `threads` is the number of the
/// engine's: a second is over when all of them said so.
pub fn show(
    mode: Mode,
    scenario: &Scenario,
    threads: usize,
    progress: Receiver<Progress>,
) -> JoinHandle<()> {
    let state = State::new(scenario.clone(), threads);
    let is_live = mode == Mode::Auto && io::stderr().is_terminal();
    thread::spawn(move || match mode {
        Mode::None => progress.iter().for_each(drop),
        _ if is_live => live(state, &progress),
        _ => plain(state, &progress),
    })
}

/// Redraws the same lines. What a terminal refuses to show is not worth ending a run for.
fn live(mut state: State, progress: &Receiver<Progress>) {
    let mut out = io::stderr();
    let has_colours = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let mut drawn = 0;
    let mut is_open = true;
    while is_open {
        match progress.recv_timeout(REFRESH) {
            Ok(first) => {
                state.on_progress(first);
                for next in progress.try_iter() {
                    state.on_progress(next);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => is_open = false,
        }
        let frame = frame::of(&state);
        let text = frame::draw(&frame, drawn, columns(), has_colours);
        drawn = frame.len();
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
        if is_open {
            // Not oftener, however many threads there are.
            thread::sleep(REFRESH / 2);
        }
    }
}

/// Every second at first, every ten later.
fn plain(mut state: State, progress: &Receiver<Progress>) {
    for event in progress {
        for line in state.on_progress_plain(event) {
            eprintln!("{line}");
        }
    }
}

fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stderr());
    let columns = size.map_or(80, |size| usize::from(size.ws_col));
    if columns == 0 { 80 } else { columns.min(COLUMNS_MAX) }
}
