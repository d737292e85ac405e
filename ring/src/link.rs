//! Which files tie worker N to the control plane, who makes them, and who may hold them?
//!
//! ```text
//! worker-N.up     worker-N.up.bell      ring to the control plane, and the bell it sleeps at
//! worker-N.down   worker-N.down.bell    ring to the worker, and the bell it sleeps at
//! worker-N.dataplane.lock  worker-N.controlplane.lock    held by the one process on that side
//! ```
//!
//! The worker makes what is missing; the control plane takes what it finds. Either may come, go
//! and come back in any order. Locks are `flock`s: the kernel drops them with the process, however
//! it ends.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;
use zerocopy::IntoBytes;

use crate::layout::{
    Direction, FILE_CAPACITY_BYTES_MIN, HEADER_WORDS, Ring, capacity_for, header_words,
};
use crate::shm::Words;
use crate::{Consumer, Corrupt, Doorbell, Producer};

/// What worker N holds.
pub struct WorkerEnds {
    /// To the control plane.
    pub up: Producer,
    /// From the control plane.
    pub down: Consumer,
    /// Rung when `down` has something and the worker sleeps.
    pub bell: Doorbell,
    _lock: File,
}

/// What the control plane holds of worker N.
pub struct ControlEnds {
    /// Which worker.
    pub worker: u8,
    /// From the worker.
    pub up: Consumer,
    /// To the worker.
    pub down: Producer,
    /// Rung when `up` has something and the control plane sleeps.
    pub bell: Doorbell,
    files: [(PathBuf, FileId); 2],
    _lock: File,
}

/// Attaches worker `n`, making the files that are missing.
///
/// Rings that are there are kept with all they hold. They are replaced when they are of another
/// version or no rings at all, and when they are empty and of another capacity.
/// `capacity_bytes` is per ring and is rounded up to a power of two of at least 4096.
pub fn worker_side(run_dir: &Path, n: u8, capacity_bytes: usize) -> Result<WorkerEnds, LinkError> {
    let lock = lock(run_dir, n, Side::Dataplane)?;
    let capacity = capacity_for(capacity_bytes, FILE_CAPACITY_BYTES_MIN);
    let control_bell = bell(run_dir, n, Direction::Up, Doorbell::create)?;
    let bell = bell(run_dir, n, Direction::Down, Doorbell::create)?;
    // The ring `scan` looks for comes last: who finds it finds everything.
    let down = open_or_create(run_dir, n, Direction::Down, capacity, Consumer::attach)?;
    let mut up = open_or_create(run_dir, n, Direction::Up, capacity, Producer::attach)?;
    up.set_bell(control_bell);
    // A former self may have been killed between its commit and the bell.
    up.wake_if_sleeping();
    Ok(WorkerEnds { up, down, bell, _lock: lock })
}

/// Attaches the control plane to worker `n`; [`LinkError::Absent`] until the worker was there.
pub fn control_side(run_dir: &Path, n: u8) -> Result<ControlEnds, LinkError> {
    let up_path = ring_path(run_dir, n, Direction::Up);
    let down_path = ring_path(run_dir, n, Direction::Down);
    if !up_path.exists() {
        return Err(LinkError::Absent { path: up_path });
    }
    let lock = lock(run_dir, n, Side::Controlplane)?;
    let bell_of_worker = bell(run_dir, n, Direction::Down, Doorbell::open)?;
    let bell = bell(run_dir, n, Direction::Up, Doorbell::open)?;
    let (up, up_id) = open(&up_path, Direction::Up, Consumer::attach)?;
    let (mut down, down_id) = open(&down_path, Direction::Down, Producer::attach)?;
    down.set_bell(bell_of_worker);
    down.wake_if_sleeping();
    let files = [(up_path, up_id), (down_path, down_id)];
    Ok(ControlEnds { worker: n, up, down, bell, files, _lock: lock })
}

impl ControlEnds {
    /// Are these still the worker's rings? `false` after a worker has replaced them (another
    /// version or capacity): drop these ends and attach again.
    pub fn is_current(&self) -> bool {
        self.files
            .iter()
            .all(|(path, id)| fs::metadata(path).is_ok_and(|metadata| FileId::of(&metadata) == *id))
    }
}

/// The workers whose rings are in `run_dir`, ascending, alive or not.
pub fn scan(run_dir: &Path) -> io::Result<Vec<u8>> {
    let mut workers = Vec::new();
    for file in fs::read_dir(run_dir)? {
        let name = file?.file_name();
        let number =
            name.to_str().and_then(|name| name.strip_prefix("worker-")?.strip_suffix(".up"));
        workers.extend(number.and_then(|number| number.parse::<u8>().ok()));
    }
    workers.sort_unstable();
    Ok(workers)
}

/// Why a side could not attach.
#[derive(Debug)]
pub enum LinkError {
    /// Another live process is this side already.
    Busy {
        /// `dataplane` or `controlplane`.
        side: &'static str,
        /// The lock it holds.
        path: PathBuf,
    },
    /// The worker has not made its rings yet.
    Absent {
        /// What is missing.
        path: PathBuf,
    },
    /// The file is no ring that this program can use.
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        corrupt: Corrupt,
    },
    /// The system refused.
    Io {
        /// Which file.
        path: PathBuf,
        /// Its answer.
        source: io::Error,
    },
}

impl fmt::Display for LinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Busy { side, path } => {
                write!(f, "another {side} is running: it holds {}", path.display())
            }
            Self::Absent { path } => {
                write!(f, "{} is not there: the dataplane has not started yet", path.display())
            }
            Self::Unusable { path, corrupt } => write!(f, "{}: {corrupt}", path.display()),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
        }
    }
}

impl std::error::Error for LinkError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Busy { .. } | Self::Absent { .. } => None,
            Self::Unusable { corrupt, .. } => Some(corrupt),
            Self::Io { source, .. } => Some(source),
        }
    }
}

/// A side of the link.
#[derive(Clone, Copy)]
enum Side {
    Dataplane,
    Controlplane,
}

/// What makes a file this file, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileId {
    device: u64,
    inode: u64,
}

impl FileId {
    fn of(metadata: &fs::Metadata) -> Self {
        Self { device: metadata.dev(), inode: metadata.ino() }
    }
}

fn lock(run_dir: &Path, n: u8, side: Side) -> Result<File, LinkError> {
    let side = match side {
        Side::Dataplane => "dataplane",
        Side::Controlplane => "controlplane",
    };
    let path = run_dir.join(format!("worker-{n}.{side}.lock"));
    // Why it is never deleted: a lock on a deleted file locks nobody out.
    let file = options().create(true).truncate(false).open(&path).map_err(io_error(&path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(LinkError::Busy { side, path }),
        Err(TryLockError::Error(source)) => Err(LinkError::Io { path, source }),
    }
}

fn bell(
    run_dir: &Path,
    n: u8,
    direction: Direction,
    open: fn(&Path) -> io::Result<Doorbell>,
) -> Result<Doorbell, LinkError> {
    let mut path = ring_path(run_dir, n, direction).into_os_string();
    path.push(".bell");
    let path = PathBuf::from(path);
    open(&path).map_err(io_error(&path))
}

type Attach<End> = fn(Ring) -> Result<End, Corrupt>;

fn open<End>(
    path: &Path,
    direction: Direction,
    attach: Attach<End>,
) -> Result<(End, FileId), LinkError> {
    let (ring, id) = open_ring(path, direction)?;
    let end = attach(ring).map_err(|corrupt| LinkError::Unusable { path: path.into(), corrupt })?;
    Ok((end, id))
}

fn open_or_create<End>(
    run_dir: &Path,
    n: u8,
    direction: Direction,
    capacity: usize,
    attach: Attach<End>,
) -> Result<End, LinkError> {
    let path = ring_path(run_dir, n, direction);
    match open_ring(&path, direction) {
        Ok((ring, _)) => {
            let is_as_configured = ring.capacity() == capacity as u64;
            let keeps = ring.cursors().is_ok_and(|(tail, head)| is_as_configured || tail != head);
            if !keeps {
                create(&path, direction, capacity)?;
            }
        }
        Err(LinkError::Absent { .. } | LinkError::Unusable { .. }) => {
            create(&path, direction, capacity)?;
        }
        Err(error) => return Err(error),
    }
    Ok(open(&path, direction, attach)?.0)
}

fn open_ring(path: &Path, direction: Direction) -> Result<(Ring, FileId), LinkError> {
    let file = match options().open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(LinkError::Absent { path: path.into() });
        }
        opened => opened.map_err(io_error(path))?,
    };
    let metadata = file.metadata().map_err(io_error(path))?;
    let unusable = |corrupt| LinkError::Unusable { path: path.into(), corrupt };
    if !metadata.is_file() || metadata.len() < HEADER_WORDS as u64 * 8 {
        return Err(unusable(Corrupt::Header));
    }
    let words = Words::map(&file).map_err(io_error(path))?;
    let ring = Ring::open(words, direction).map_err(unusable)?;
    Ok((ring, FileId::of(&metadata)))
}

/// Makes an empty ring under a name of its own and renames it into place: nobody sees half a file.
/// The zeros are written, not only promised, so that a full file system says so here and not by a
/// SIGBUS later.
fn create(path: &Path, direction: Direction, capacity: usize) -> Result<(), LinkError> {
    let new_path = path.with_extension(match direction {
        Direction::Up => "up.new",
        Direction::Down => "down.new",
    });
    let write = || {
        // Under the side's lock: what has this name was left by a killed predecessor.
        let mut file = options().create(true).truncate(true).open(&new_path)?;
        file.write_all(header_words(direction, capacity).as_bytes())?;
        io::copy(&mut io::Read::take(io::repeat(0), capacity as u64), &mut file)?;
        fs::rename(&new_path, path)
    };
    write().map_err(io_error(&new_path))
}

fn ring_path(run_dir: &Path, n: u8, direction: Direction) -> PathBuf {
    run_dir.join(match direction {
        Direction::Up => format!("worker-{n}.up"),
        Direction::Down => format!("worker-{n}.down"),
    })
}

/// Read and write, private to the user, no symlinks.
fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    options.read(true).write(true).mode(0o600).custom_flags(flags);
    options
}

fn io_error(path: &Path) -> impl Fn(io::Error) -> LinkError {
    move |source| LinkError::Io { path: path.into(), source }
}
