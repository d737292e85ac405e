//! How does a TLS tool make a request? `openssl s_client` and `gnutls-cli` carry bytes; the CoAP
//! message is written by hand and the answer found in what they print.

use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a tool may take for its handshake and an answer; a pass never waits for it.
const GIVE_UP: Duration = Duration::from_secs(20);

/// A tool whose stdin and stdout are a DTLS session; killed when dropped.
#[derive(Debug)]
pub struct RawClient {
    child: Child,
    heard: Arc<Heard>,
}

#[derive(Debug, Default)]
struct Heard {
    state: Mutex<(Vec<u8>, usize)>,
    changed: Condvar,
}

impl RawClient {
    /// Starts it; stdout and stderr are read as one stream of bytes.
    pub fn start(command: &mut Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child =
            command.spawn().unwrap_or_else(|e| panic!("{}: {e}", command.get_program().display()));
        let heard = Arc::new(Heard::default());
        collect(child.stdout.take().expect("piped"), &heard);
        collect(child.stderr.take().expect("piped"), &heard);
        Self { child, heard }
    }

    /// Sends a CON PUT to `/t` and waits for its 2.04; `Err`: what the tool said when it ended
    /// without one, or as much as it had said at the give-up.
    pub fn puts(&mut self, payload: &str) -> Result<(), String> {
        // RFC 7252 section 3: Message ID 0x1234, a token of four, Uri-Path "t", payload.
        let put = [b"\x44\x03\x12\x34tokA\xb1t\xff", payload.as_bytes()].concat();
        let stdin = self.child.stdin.as_mut().expect("piped");
        // A tool that has ended already has said why.
        let _ = stdin.write_all(&put).and_then(|()| stdin.flush());
        let is_answer = |bytes: &[u8]| bytes[1] == CHANGED && bytes.ends_with(b"tokA");
        let give_up = Instant::now() + GIVE_UP;
        let mut state = self.heard.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if state.0.windows(8).any(is_answer) {
                return Ok(());
            }
            let left = give_up.saturating_duration_since(Instant::now());
            if state.1 == 0 || left.is_zero() {
                return Err(String::from_utf8_lossy(&state.0).into_owned());
            }
            let waited = self.heard.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything said so far.
    pub fn said(&self) -> String {
        let state = self.heard.state.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&state.0).into_owned()
    }
}

impl Drop for RawClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// 2.04
const CHANGED: u8 = 0x44;

fn collect(mut from: impl Read + Send + 'static, heard: &Arc<Heard>) {
    let heard = Arc::clone(heard);
    heard.state.lock().unwrap_or_else(PoisonError::into_inner).1 += 1;
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        loop {
            let n = from.read(&mut bytes).unwrap_or(0);
            let mut state = heard.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.0.extend_from_slice(&bytes[..n]);
            state.1 -= usize::from(n == 0);
            heard.changed.notify_all();
            if n == 0 {
                return;
            }
        }
    });
}
