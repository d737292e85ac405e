//! What happened, in which order? One hash over everything, and the lines when somebody reads.

use std::collections::VecDeque;

/// The record of a run.
pub(crate) struct Trace {
    hash: u64,
    /// Of the last lines, when they are wanted.
    lines: Option<VecDeque<String>>,
    events: u64,
}

/// Lines that are kept.
const LINES_MAX: usize = 100_000;

impl Trace {
    pub(crate) fn new(keeps_lines: bool) -> Self {
        Self { hash: FNV_OFFSET, lines: keeps_lines.then(VecDeque::new), events: 0 }
    }

    /// Something happened at `ms`, to `who`, with these bytes.
    pub(crate) fn note(&mut self, ms: u64, what: &str, who: usize, bytes: &[u8]) {
        self.events += 1;
        for part in [&ms.to_le_bytes()[..], what.as_bytes(), &who.to_le_bytes(), bytes] {
            self.add(part);
        }
        if let Some(lines) = &mut self.lines {
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            let text = if bytes.iter().all(|byte| (32..127).contains(byte)) {
                String::from_utf8_lossy(bytes).into_owned()
            } else {
                format!("{} bytes {}", bytes.len(), hex::encode(&bytes[..bytes.len().min(48)]))
            };
            lines.push_back(format!("{:>9}.{:03} {what} {who} {text}", ms / 1_000, ms % 1_000));
        }
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.hash = (self.hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
        }
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn events(&self) -> u64 {
        self.events
    }

    pub(crate) fn into_lines(self) -> Vec<String> {
        self.lines.map(Vec::from).unwrap_or_default()
    }
}

/// FNV-1a, 64 bits: the same on every machine and with every compiler.
const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0100_0000_01b3;
