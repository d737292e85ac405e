//! How is an import task done? Batch by batch: the devices of some lines, what became of each, and
//! how far the task is, in one transaction. So a process that was killed goes on where it was.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read, Seek, SeekFrom};

use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::FILE;
use super::line::{self, LINE_BYTES_MAX};
use crate::control::Control;
use crate::control::devices::now_unix_ms;
use crate::control::draft::{Committed, Draft, refuse};
use crate::core::Request;
use crate::model::{
    DeviceId, ImportId, ImportSource, ImportStatus, ImportTask, Imported, NewDevice, Refused,
};
use crate::store::{Guard, Table, keys, records};

/// One task at a time, whoever's: they share the disk.
static RUNNING: Semaphore = Semaphore::const_new(1);

/// Lines of one transaction.
const BATCH_LINES: usize = 500;
/// Lines forgotten with one transaction.
const FORGOTTEN_LINES: usize = 5_000;

/// Is there more to do?
enum Progress {
    More,
    Done,
}

impl Control {
    /// Does the work of a task, from where it stands, in the background.
    pub(super) fn run_import(&self, id: ImportId) {
        let control = self.clone();
        tokio::spawn(async move {
            let Ok(_permit) = RUNNING.acquire().await else { return };
            // A control plane that has stopped does nothing more.
            while control.ask(Request::LastUplinks { devices: Vec::new() }).await.is_ok() {
                match control.import_step(id).await {
                    Ok(Progress::More) => {}
                    Ok(Progress::Done) | Err(Refused::NotFound { .. }) => return,
                    Err(Refused::Throttled { .. }) => {
                        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    }
                    Err(refused) => {
                        tracing::warn!(%id, %refused, "an import task failed");
                        let reason = refused.to_string();
                        let failed = control.change_import(id, |task| {
                            task.status = ImportStatus::Failed;
                            task.reason = Some(reason.clone());
                            Ok(())
                        });
                        let _ = failed.await;
                        return;
                    }
                }
            }
        });
    }

    async fn import_step(&self, id: ImportId) -> Result<Progress, Refused> {
        let raw = self.raw_import(id)?;
        let task: ImportTask = records::decode(&raw, "import").map_err(refuse)?;
        match task.status {
            ImportStatus::Complete | ImportStatus::Failed => Ok(Progress::Done),
            ImportStatus::Deleting => self.forget_imported(id).await,
            ImportStatus::Initialized | ImportStatus::Pending => {
                let control = self.clone();
                let drafted = tokio::task::spawn_blocking(move || control.draft_batch(task, raw));
                let drafted = drafted.await.map_err(|_| panicked())??;
                let Drafted { draft, is_last, has_addresses } = drafted;
                // A name that somebody took meanwhile: looked at again, it is taken.
                let _: Committed = match self.commit(draft).await {
                    Err(Refused::Conflict { .. }) => Committed::Again,
                    committed => committed?,
                };
                if has_addresses {
                    self.ask(Request::TrustChanged).await?;
                }
                Ok(if is_last { Progress::Done } else { Progress::More })
            }
        }
    }

    /// The next lines of a task, and where it is after them.
    fn draft_batch(&self, mut task: ImportTask, raw: Vec<u8>) -> Result<Drafted, Refused> {
        let mut draft = Draft::default();
        let key = task.id.0.to_vec();
        draft.or_again(Guard::Unchanged(Table::Imports, key, raw));
        task.status = ImportStatus::Pending;
        let mut has_addresses = false;
        let is_last = match self.open_source(&task)? {
            None => {
                task.status = ImportStatus::Complete;
                true
            }
            Some(mut lines) => {
                let mut taken = HashSet::new();
                for _ in 0..BATCH_LINES {
                    let Some((text, bytes)) = next_line(&mut lines)? else {
                        // The secrets in it are not needed any more.
                        let done = task.source;
                        task.sources[done] = ImportSource::Done;
                        (task.source, task.offset, task.columns) = (done + 1, 0, None);
                        break;
                    };
                    task.offset += bytes;
                    let text = text.trim();
                    if text.is_empty() || is_header(&mut task, text)? {
                        continue;
                    }
                    has_addresses |= self.draft_line(&mut draft, &mut task, text, &mut taken);
                }
                false
            }
        };
        draft.tx.put(Table::Imports, task.id.0, records::encode(&task));
        Ok(Drafted { draft, is_last, has_addresses })
    }

    /// One line: a device, or why there is none. True: it has a source address.
    fn draft_line(
        &self,
        draft: &mut Draft,
        task: &mut ImportTask,
        text: &str,
        taken: &mut HashSet<(Table, Vec<u8>)>,
    ) -> bool {
        task.lines += 1;
        let id = DeviceId::random();
        let mut own = Draft::default();
        let made = read(task, text).and_then(|new| {
            let device = self.draft_device(&mut own, id, &new).map_err(|why| reason(&why))?;
            self.is_free(&own, taken).map_err(|why| reason(&why))?;
            Ok(device)
        });
        let at_unix_ms = now_unix_ms();
        let mut imported = Imported { line: task.lines, device: None, reason: None, at_unix_ms };
        let mut has_addresses = false;
        match made {
            Ok(device) => {
                let blocks = [&device.cellular, &device.wifi].into_iter().flatten();
                has_addresses = blocks.filter_map(|block| block.source_address).count() > 0;
                draft.absorb(own);
                imported.device = Some(id);
                task.onboarded += 1;
            }
            Err(why) => {
                imported.reason = Some(why);
                task.failed += 1;
            }
        }
        let key = keys::imported(task.id, task.lines);
        draft.tx.put(Table::Imported, key, records::encode(&imported));
        has_addresses
    }

    /// Are the names of a new device free, in the store and in this batch?
    fn is_free(&self, draft: &Draft, taken: &mut HashSet<(Table, Vec<u8>)>) -> Result<(), Refused> {
        let wanted: Vec<_> = draft.absent().collect();
        for (table, key, refused) in &wanted {
            let is_taken = taken.contains(&(*table, key.to_vec()))
                || self.held.store.get(*table, key).map_err(refuse)?.is_some();
            if is_taken {
                return Err((*refused).clone());
            }
        }
        taken.extend(wanted.into_iter().map(|(table, key, _)| (table, key.to_vec())));
        Ok(())
    }

    /// What the task reads, from where it stands; `None`: it has read everything.
    fn open_source(&self, task: &ImportTask) -> Result<Option<Box<dyn BufRead>>, Refused> {
        let Some(source) = task.sources.get(task.source) else { return Ok(None) };
        let mut lines: Box<dyn BufRead> = match source {
            ImportSource::Done => Box::new(Cursor::new(Vec::new())),
            ImportSource::Sealed(sealed) => {
                let lines = self.held.vault.open(&task.id.0, sealed).map_err(refuse)?;
                let mut lines = Cursor::new(Zeroizing::new(lines.as_bytes().to_vec()));
                lines.set_position(task.offset);
                return Ok(Some(Box::new(Wiped(lines))));
            }
            ImportSource::File(name) => {
                let path = self.import_file(name).map_err(|why| Refused::invalid(FILE, why))?;
                let mut file = File::open(path).map_err(broken)?;
                file.seek(SeekFrom::Start(task.offset)).map_err(broken)?;
                Box::new(BufReader::with_capacity(1 << 18, file))
            }
        };
        lines.fill_buf().map_err(broken)?;
        Ok(Some(lines))
    }

    async fn forget_imported(&self, id: ImportId) -> Result<Progress, Refused> {
        let found = self.held.store.scan(Table::Imported, &id.0, None, FORGOTTEN_LINES);
        let found = found.map_err(refuse)?;
        let mut draft = Draft::default();
        let is_last = found.len() < FORGOTTEN_LINES;
        for (key, _) in found {
            draft.tx.delete(Table::Imported, key);
        }
        if is_last {
            draft.tx.delete(Table::Imports, id.0);
        }
        self.commit(draft).await?;
        Ok(if is_last { Progress::Done } else { Progress::More })
    }
}

struct Drafted {
    draft: Draft,
    is_last: bool,
    has_addresses: bool,
}

/// Lines that are wiped when they were read.
struct Wiped(Cursor<Zeroizing<Vec<u8>>>);

impl Read for Wiped {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let mut rest = self.fill_buf()?;
        let read = rest.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Wiped {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        let at = (self.0.position() as usize).min(self.0.get_ref().len());
        Ok(&self.0.get_ref()[at..])
    }

    fn consume(&mut self, bytes: usize) {
        self.0.set_position(self.0.position() + bytes as u64);
    }
}

/// The next line and how many bytes it took; a line that is too long is an error.
fn next_line(lines: &mut dyn BufRead) -> Result<Option<(Zeroizing<String>, u64)>, Refused> {
    let mut bytes = Zeroizing::new(Vec::new());
    let read = lines.take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', &mut bytes);
    let read = read.map_err(broken)?;
    if read == 0 {
        return Ok(None);
    }
    if read > LINE_BYTES_MAX {
        let message = format!("A line is longer than {LINE_BYTES_MAX} bytes.");
        return Err(Refused::invalid(FILE, message));
    }
    Ok(Some((Zeroizing::new(String::from_utf8_lossy(&bytes).into_owned()), read as u64)))
}

/// Are these the names of columns? The first line of CSV has them.
fn is_header(task: &mut ImportTask, text: &str) -> Result<bool, Refused> {
    if task.columns.is_some() || text.starts_with('{') {
        return Ok(false);
    }
    let columns = line::columns(text.trim_start_matches('\u{feff}'));
    let columns = columns.map_err(|why| Refused::invalid(FILE, why))?;
    task.columns = Some(columns);
    Ok(true)
}

fn read(task: &ImportTask, text: &str) -> Result<NewDevice, String> {
    let mut new = match &task.columns {
        Some(columns) => line::from_csv(columns, text)?,
        None => line::from_json(text)?,
    };
    new.destination.clone_from(&task.destination);
    new.positioning.clone_from(&task.positioning);
    new.application_profile = task.application_profile.map(|profile| profile.to_string());
    Ok(new)
}

/// Without the frame that AWS puts around it.
fn reason(refused: &Refused) -> String {
    match refused {
        Refused::Validation { path, constraint } => format!("{path}: {constraint}"),
        other => other.to_string(),
    }
}

fn broken(error: std::io::Error) -> Refused {
    Refused::Internal { message: format!("the import can't be read: {error}") }
}

fn panicked() -> Refused {
    Refused::Internal { message: "the import panicked".to_owned() }
}
