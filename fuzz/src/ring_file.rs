//! What can a peer do to either end that writes anything anywhere in the shared file, between any
//! two of our steps? Make us read wrong bytes and say `Corrupt`.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use tidegate_ring::link::{ControlEnds, WorkerEnds, control_side, worker_side};
use tidegate_ring::{ENTRY_BYTES_MAX, ReleaseLedger};

const CAPACITY: usize = 4_096;
const FILE_BYTES: u64 = 512 + CAPACITY as u64;

pub(crate) fn run(input: &[u8]) {
    let directory = std::env::temp_dir().join(format!("ring-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let mut ends = Ends::open(&directory);
    let mut rest = input;
    // Each turn: what to do, where and with what.
    while let Some((&[choice, low, high, value @ ..], tail)) = rest.split_first_chunk::<11>() {
        rest = tail;
        let at = u64::from(u16::from_le_bytes([low, high]));
        match choice % 4 {
            0 => ends.scribble(at, value),
            1 => ends.pushes(usize::from(low)),
            2 => ends.takes(usize::from(low)),
            _ => ends.releases(),
        }
    }
    drop(ends);
    std::fs::remove_dir_all(&directory).expect("it is ours");
}

struct Ends {
    worker: WorkerEnds,
    control: ControlEnds,
    ledger: ReleaseLedger,
    file: File,
}

impl Ends {
    fn open(directory: &Path) -> Self {
        let worker = worker_side(directory, 0, CAPACITY).expect("a ring");
        let control = control_side(directory, 0).expect("the same ring");
        let path = directory.join("worker-0.up");
        let file = OpenOptions::new().write(true).open(path).expect("its file");
        Self { worker, control, ledger: ReleaseLedger::new(4_096), file }
    }

    fn scribble(&mut self, at: u64, value: [u8; 8]) {
        self.file.write_all_at(&value, at % (FILE_BYTES - 7)).expect("inside the file");
    }

    fn pushes(&mut self, bytes: usize) {
        let _ = self.worker.up.push(2, &[&[7; 255][..bytes]], 64);
        self.worker.up.wake_if_sleeping();
        assert!(self.worker.up.free_bytes() <= CAPACITY);
    }

    /// An entry takes 8 bytes at least, so a lap ends.
    fn takes(&mut self, most: usize) {
        for _ in 0..most.min(CAPACITY / 8) {
            let Ok(Some(entry)) = self.control.up.next() else { break };
            assert!(entry.bytes.len() <= ENTRY_BYTES_MAX);
            let seq = entry.seq;
            if self.ledger.taken(seq).is_err() {
                break;
            }
            if let Some(seq) = self.ledger.done(seq) {
                self.control.up.release(seq);
            }
        }
    }

    fn releases(&mut self) {
        if self.control.up.prepare_sleep() {
            self.control.up.awake();
        }
        let _ = self.control.up.discard();
    }
}
