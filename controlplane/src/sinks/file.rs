//! How does a message become a line of a file? On a thread of its own, many lines to a sync, and
//! never outside the root: the kernel resolves the path beneath it, through no symbolic link.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use bytes::Bytes;
use rustix::fs::{Mode, OFlags, ResolveFlags, mkdirat, openat2};
use rustix::io::Errno;
use tokio::sync::oneshot;

use super::Fault;
use super::settings::FileSettings;

/// The root, by way of its thread.
pub(super) struct FileOutlet {
    lines: SyncSender<Line>,
}

struct Line {
    path: String,
    payload: Bytes,
    done: oneshot::Sender<Result<(), Fault>>,
}

/// Bound: lines written and synced together.
const BATCH_MAX: usize = 256;
/// Everything below the root, without a link on the way.
const BENEATH: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

impl FileOutlet {
    pub(super) fn open(settings: &FileSettings, lines_max: usize) -> Result<Self, String> {
        let about = |error: &dyn std::fmt::Display| {
            format!("actions.file.root = {}: {error}", settings.root.display())
        };
        let root = File::open(&settings.root).map_err(|error| about(&error))?;
        if !root.metadata().map_err(|error| about(&error))?.is_dir() {
            return Err(about(&"it is no directory"));
        }
        let files = count_files(&settings.root, settings.files_max);
        let writer = Writer {
            root: root.into(),
            files: files.map_err(|error| about(&error))?,
            files_max: settings.files_max,
            file_bytes_max: settings.file_bytes_max,
        };
        let (lines, incoming) = sync_channel(lines_max);
        let thread = std::thread::Builder::new().name("files".to_owned());
        thread.spawn(move || write_all(writer, &incoming)).map_err(|error| about(&error))?;
        Ok(Self { lines })
    }

    pub(super) async fn append(&self, path: &str, payload: &Bytes) -> Result<(), Fault> {
        let (done, is_done) = oneshot::channel();
        let line = Line { path: path.to_owned(), payload: payload.clone(), done };
        self.lines.try_send(line).map_err(|error| match error {
            TrySendError::Full(_) => Fault::passing("the disk is behind"),
            TrySendError::Disconnected(_) => Fault::lasting("the writer has ended"),
        })?;
        is_done.await.unwrap_or_else(|_| Err(Fault::passing("the writer has ended")))
    }
}

fn write_all(mut writer: Writer, incoming: &Receiver<Line>) {
    while let Ok(first) = incoming.recv() {
        let mut by_path: BTreeMap<String, Vec<Line>> = BTreeMap::new();
        let more = incoming.try_iter().take(BATCH_MAX - 1);
        for line in std::iter::once(first).chain(more) {
            by_path.entry(line.path.clone()).or_default().push(line);
        }
        for (path, lines) in by_path {
            let ended = writer.append(&path, &lines);
            for line in lines {
                let _ = line.done.send(ended.clone());
            }
        }
    }
}

struct Writer {
    root: OwnedFd,
    files: usize,
    files_max: usize,
    file_bytes_max: u64,
}

impl Writer {
    /// Appends the lines and syncs them; all or none.
    fn append(&mut self, path: &str, lines: &[Line]) -> Result<(), Fault> {
        let mut file = self.open(path)?;
        let failed = |error: io::Error| Fault::passing(format!("{path}: {error}"));
        let before = file.metadata().map_err(failed)?.len();
        let mut text = Vec::new();
        // A crash may have left half a line.
        let mut last = [b'\n'];
        if before > 0 {
            file.read_exact_at(&mut last, before - 1).map_err(failed)?;
        }
        if last != [b'\n'] {
            text.push(b'\n');
        }
        for line in lines {
            text.extend_from_slice(&line.payload);
            text.push(b'\n');
        }
        if before + text.len() as u64 > self.file_bytes_max {
            let most = self.file_bytes_max;
            return Err(Fault::lasting(format!("{path}: a file may have {most} bytes")));
        }
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        written.map_err(|error| {
            let _ = file.set_len(before);
            failed(error)
        })
    }

    fn open(&mut self, path: &str) -> Result<File, Fault> {
        let failed = |error: Errno| match error {
            // A link, or a file where a directory should be: it stays so.
            Errno::LOOP | Errno::XDEV | Errno::NOTDIR | Errno::ISDIR | Errno::NAMETOOLONG => {
                Fault::lasting(format!("{path}: {error}"))
            }
            error => Fault::passing(format!("{path}: {error}")),
        };
        let flags = OFlags::RDWR | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        match openat2(&self.root, path, flags, Mode::empty(), BENEATH) {
            Ok(file) => regular(path, file.into()),
            Err(Errno::NOENT) => self.create(path, flags, failed),
            Err(error) => Err(failed(error)),
        }
    }

    fn create(
        &mut self,
        path: &str,
        flags: OFlags,
        failed: impl Fn(Errno) -> Fault,
    ) -> Result<File, Fault> {
        if self.files >= self.files_max {
            let most = self.files_max;
            return Err(Fault::lasting(format!("{path}: there may be {most} files")));
        }
        let not_synced = |error: io::Error| Fault::passing(format!("{path}: {error}"));
        let mut dir = self.root.try_clone().map_err(not_synced)?;
        let (dirs, name) = path.rsplit_once('/').unwrap_or(("", path));
        for name in dirs.split('/').filter(|name| !name.is_empty()) {
            let open = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
            let next = match openat2(&dir, name, open, Mode::empty(), BENEATH) {
                Err(Errno::NOENT) => {
                    mkdirat(&dir, name, Mode::RWXU | Mode::RGRP | Mode::XGRP).map_err(&failed)?;
                    File::from(dir.try_clone().map_err(not_synced)?)
                        .sync_all()
                        .map_err(not_synced)?;
                    openat2(&dir, name, open, Mode::empty(), BENEATH)
                }
                opened => opened,
            };
            dir = next.map_err(&failed)?;
        }
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        let file = openat2(&dir, name, flags | OFlags::CREATE, mode, BENEATH).map_err(&failed)?;
        self.files += 1;
        File::from(dir).sync_all().map_err(not_synced)?;
        regular(path, file.into())
    }
}

/// Not a FIFO or a device that somebody put there.
fn regular(path: &str, file: File) -> Result<File, Fault> {
    match file.metadata() {
        Ok(about) if about.is_file() => Ok(file),
        _ => Err(Fault::lasting(format!("{path}: it is no file"))),
    }
}

/// Files below a directory, at most so many.
fn count_files(root: &Path, most: usize) -> io::Result<usize> {
    let (mut dirs, mut files) = (vec![root.to_owned()], 0);
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => dirs.push(entry.path()),
                _ => files += 1,
            }
            if files >= most {
                return Ok(files);
            }
        }
    }
    Ok(files)
}
