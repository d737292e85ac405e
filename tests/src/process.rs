//! How does a story run a program? A child whose lines are kept, and that never outlives it.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Instant;

use crate::wait::{eventually, patience};

/// A running (or ended) program. Killed when dropped; its lines are printed when a story fails.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    stdin: Option<ChildStdin>,
    output: Arc<Output>,
    /// How many lines [`Process::next_line`] has handed out.
    read: usize,
}

impl Process {
    /// Starts a program; both its outputs are collected line by line.
    pub fn start(name: &str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name} ({}): {e}", command.get_program().display()));
        let output = Arc::new(Output::default());
        collect(child.stdout.take().expect("piped"), &output);
        collect(child.stderr.take().expect("piped"), &output);
        let stdin = child.stdin.take();
        Self { name: name.to_owned(), child, stdin, output, read: 0 }
    }

    /// Runs a program to its end and returns everything it said; `Err` when it failed.
    pub fn run(name: &str, command: &mut Command) -> Result<String, String> {
        let mut process = Self::start(name, command);
        process.close_stdin();
        let status = process.wait();
        let said = process.said();
        if status.success() { Ok(said) } else { Err(format!("{name}: {status}\n{said}")) }
    }

    /// The next line that `wanted` accepts; lines before it are passed over.
    ///
    /// # Panics
    /// When the program ends or the give-up passes before such a line.
    pub fn next_line(&mut self, what: &str, wanted: impl Fn(&str) -> bool) -> String {
        self.try_next_line(wanted).unwrap_or_else(|_| panic!("{} never said: {what}", self.name))
    }

    /// The same, for a program that may end instead; `Err`: everything it said.
    pub fn try_next_line(&mut self, wanted: impl Fn(&str) -> bool) -> Result<String, String> {
        let give_up = Instant::now() + patience();
        let output = Arc::clone(&self.output);
        let mut state = output.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            while let Some(line) = state.lines.get(self.read) {
                self.read += 1;
                if wanted(line) {
                    return Ok(line.clone());
                }
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if state.open == 0 || left.is_zero() {
                return Err(state.lines.join("\n"));
            }
            state =
                output.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Whether such a line is here already; it counts as read then.
    pub fn has_said_next(&mut self, wanted: impl Fn(&str) -> bool) -> bool {
        let state = self.output.state.lock().unwrap_or_else(PoisonError::into_inner);
        let found = state.lines[self.read..].iter().position(|line| wanted(line));
        self.read += found.map_or(0, |at| at + 1);
        found.is_some()
    }

    /// Lines that `wanted` accepts among those said since the last [`Process::next_line`].
    pub fn pending_lines(&self, wanted: impl Fn(&str) -> bool) -> Vec<String> {
        let state = self.output.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines[self.read..].iter().filter(|line| wanted(line)).cloned().collect()
    }

    /// Writes one line to the program's stdin.
    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("stdin is open");
        writeln!(stdin, "{line}").unwrap_or_else(|e| panic!("{}: {e}", self.name));
    }

    /// Ends the program's stdin.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// Everything said so far.
    pub fn said(&self) -> String {
        self.output.state.lock().unwrap_or_else(PoisonError::into_inner).lines.join("\n")
    }

    /// Waits until the program has ended and all its output is here.
    pub fn wait(&mut self) -> ExitStatus {
        let name = self.name.clone();
        let status = eventually(&format!("end of {name}"), || self.try_wait());
        let open = || self.output.state.lock().unwrap_or_else(PoisonError::into_inner).open;
        eventually(&format!("last words of {name}"), || (open() == 0).then_some(()));
        status
    }

    /// Its number.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its exit status, if it has ended.
    pub fn try_wait(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|e| panic!("{}: {e}", self.name))
    }

    /// `kill -9`: no last words, no clean-up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop (SIGTERM) and waits for that.
    pub fn terminate(&mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &id]).status();
        assert!(sent.is_ok_and(|s| s.success()), "kill -TERM {} ({id})", self.name);
        self.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- {} said:\n{}\n---", self.name, self.said());
        }
    }
}

/// What a program said, and how many of its two outputs are still open.
#[derive(Debug, Default)]
struct Output {
    state: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    lines: Vec<String>,
    open: usize,
}

/// Reads one output in a thread of its own until it ends. Bytes that are no UTF-8 are replaced.
fn collect(from: impl Read + Send + 'static, output: &Arc<Output>) {
    let output = Arc::clone(output);
    output.state.lock().unwrap_or_else(PoisonError::into_inner).open += 1;
    std::thread::spawn(move || {
        let mut reader = BufReader::new(from);
        let mut bytes = Vec::new();
        while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            bytes.clear();
            output.state.lock().unwrap_or_else(PoisonError::into_inner).lines.push(line);
            output.changed.notify_all();
        }
        output.state.lock().unwrap_or_else(PoisonError::into_inner).open -= 1;
        output.changed.notify_all();
    });
}
