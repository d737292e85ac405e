//! How does an account end so that nothing of it is left, and how is that shown?
//!
//! 1. Its data key is destroyed: nobody can ask for it, nothing of it can be read or written.
//! 2. Its sessions end with an alert, its devices are forgotten by the edge.
//! 3. Every record whose value or key is its own is deleted, in every table.
//! 4. The files are written anew without what was deleted; then its own record goes.
//!
//! A termination that was interrupted goes on at the next start.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use tokio::sync::oneshot;

use super::directory::Directory;
use super::record::account_key;
use crate::control::Control;
use crate::model::DeviceId;
use crate::store::account::{Account, erased_entry, owner};
use crate::store::view::Records;
use crate::store::{Store, Table, Transaction};

/// What a termination erased.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Erased {
    /// Devices whose sessions were ended.
    pub devices: usize,
    /// Records deleted.
    pub records: usize,
}

/// What a look for a marker found.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Proof {
    /// Files in which a form of the marker stands.
    pub files_with_marker: Vec<String>,
    /// Records in which it stands once they are opened.
    pub records_with_marker: usize,
    /// Entries in the files that no reader sees: deleted, but not gone.
    pub entries_hidden: u64,
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Records opened.
    pub records: usize,
}

/// Records looked at in one go.
const PAGE_ENTRIES: usize = 1_024;

/// Ends an account; without a running control plane there are no sessions to end: the edge refuses
/// devices that nobody has.
pub async fn terminate(
    directory: &Directory,
    control: Option<&Control>,
    account: Account,
) -> Result<Erased, String> {
    directory.begin_termination(account).await?;
    erase(directory, control, account).await
}

/// Goes on with the terminations that were interrupted.
pub async fn resume(directory: &Directory, control: Option<&Control>) {
    for account in directory.terminating() {
        match erase(directory, control, account).await {
            Ok(erased) => tracing::info!(%account, ?erased, "a termination was brought to its end"),
            Err(why) => tracing::error!(%account, why, "an account can't be erased"),
        }
    }
}

async fn erase(
    directory: &Directory,
    control: Option<&Control>,
    account: Account,
) -> Result<Erased, String> {
    let records = directory.records();
    let mut erased = Erased::default();
    if let Some(control) = control {
        erased.devices = end_sessions(records, control, account).await?;
    }
    // What was sealed before the key was gone is written now, and found.
    commit(records, Transaction::new()).await?;
    for table in Table::ALL {
        erased.records += sweep(records, table, account).await?;
    }
    let raw = records.raw().clone();
    let compacted = tokio::task::spawn_blocking(move || raw.compact()).await;
    compacted.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
    directory.end_termination(account).await?;
    Ok(erased)
}

async fn end_sessions(
    records: &Records,
    control: &Control,
    account: Account,
) -> Result<usize, String> {
    let prefix = account.prefix();
    let (mut after, mut devices): (Option<Vec<u8>>, usize) = (None, 0);
    loop {
        let raw = records.raw();
        let found = raw.scan(Table::Owned, &prefix, after.as_deref(), PAGE_ENTRIES);
        let found = found.map_err(|e| e.to_string())?;
        for (key, _) in &found {
            if let Ok(id) = key[prefix.len()..].try_into() {
                control.forget_device(DeviceId(id)).await.map_err(|e| e.to_string())?;
                devices += 1;
            }
        }
        match found.last() {
            Some((key, _)) if found.len() == PAGE_ENTRIES => after = Some(key.clone()),
            _ => return Ok(devices),
        }
    }
}

/// Deletes what is the account's, by the value's header or the key's beginning.
async fn sweep(records: &Records, table: Table, account: Account) -> Result<usize, String> {
    let (prefix, own) = (account.prefix(), account_key(account));
    let (mut after, mut swept): (Option<Vec<u8>>, usize) = (None, 0);
    loop {
        let found = records.raw().scan(table, &[], after.as_deref(), PAGE_ENTRIES);
        let found = found.map_err(|e| e.to_string())?;
        let is_last = found.len() < PAGE_ENTRIES;
        after = found.last().map(|(key, _)| key.clone());
        let mut tx = Transaction { account: Some(Account::ROOT), ..Transaction::new() };
        for (key, raw) in found {
            let in_name_space = table.is_named() || table == Table::Owned;
            let is_its = owner(table, &raw) == account
                || in_name_space && key.starts_with(&prefix)
                || table == Table::Accounts && key.starts_with(&own) && key != own;
            if is_its && table == Table::Stream {
                tx.put(table, key, erased_entry(&raw));
            } else if is_its {
                tx.delete(table, key);
            }
        }
        swept += tx.changes.len();
        if !tx.changes.is_empty() {
            commit(records, tx).await?;
        }
        if is_last {
            return Ok(swept);
        }
    }
}

/// Looks for a marker in every file of the data directory and in every record, opened. The files
/// are written anew before, so that what is deleted and not yet gone is gone.
pub fn prove(records: &Records, data_dir: &Path, marker: &str) -> Result<Proof, String> {
    if marker.len() < MARKER_BYTES_MIN {
        return Err(format!("a marker has {MARKER_BYTES_MIN} bytes or more"));
    }
    let say = |e: &dyn std::fmt::Display| e.to_string();
    records.raw().compact().map_err(|e| say(&e))?;
    let forms = forms(marker);
    let mut proof = Proof::default();
    for table in Table::ALL {
        let mut after: Option<Vec<u8>> = None;
        loop {
            let found = records.scan(table, &[], after.as_deref(), PAGE_ENTRIES);
            let found = found.map_err(|e| say(&e))?;
            proof.records += found.len();
            let marked = |bytes: &[u8]| forms.iter().any(|form| find(bytes, form));
            let with = found.iter().filter(|(key, value)| marked(key) || marked(value));
            proof.records_with_marker += with.count();
            match found.last() {
                Some((key, _)) if found.len() == PAGE_ENTRIES => after = Some(key.clone()),
                _ => break,
            }
        }
    }
    proof.entries_hidden = records.raw().entries_hidden().map_err(|e| say(&e))?;
    for path in files_under(data_dir).map_err(|e| say(&e))? {
        let mut holds = false;
        proof.bytes += read_through(&path, |part| holds |= forms.iter().any(|f| find(part, f)))
            .map_err(|e| format!("{}: {e}", path.display()))?;
        proof.files += 1;
        if holds {
            proof.files_with_marker.push(path.display().to_string());
        }
    }
    Ok(proof)
}

impl Proof {
    /// Is nothing left of it?
    pub fn holds(&self) -> bool {
        self.files_with_marker.is_empty()
            && self.records_with_marker == 0
            && self.entries_hidden == 0
    }
}

/// A shorter one stands in random bytes by chance.
const MARKER_BYTES_MIN: usize = 8;
const PART_BYTES: usize = 1 << 20;

/// As it is, as hex, and as base64 wherever in it it may stand.
fn forms(marker: &str) -> Vec<Vec<u8>> {
    let hex = hex::encode(marker);
    let mut forms = vec![marker.as_bytes().to_vec(), hex.clone().into_bytes()];
    forms.push(hex.to_ascii_uppercase().into_bytes());
    for shift in 0..3 {
        let shifted = [&[0; 3][..shift], marker.as_bytes()].concat();
        let whole = shifted.len() / 3 * 3;
        // The first group holds what stands before, the last what follows.
        let text = STANDARD.encode(&shifted[..whole]);
        forms.push(text.as_bytes()[if shift == 0 { 0 } else { 4 }..].to_vec());
    }
    forms
}

fn find(bytes: &[u8], form: &[u8]) -> bool {
    memchr::memmem::find(bytes, form).is_some()
}

fn files_under(dir: &Path) -> std::io::Result<Vec<PathBuf>> {
    let (mut files, mut dirs) = (Vec::new(), vec![dir.to_owned()]);
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                dirs.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    Ok(files)
}

/// Shows a file part by part, each beginning with the end of the one before; its length. A file
/// that is gone meanwhile has nothing in it.
fn read_through(path: &Path, mut show: impl FnMut(&[u8])) -> std::io::Result<u64> {
    let mut file = match fs::File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        opened => opened?,
    };
    let (mut part, mut kept, mut bytes) = (vec![0; 2 * PART_BYTES], 0, 0);
    loop {
        let read = file.read(&mut part[kept..])?;
        show(&part[..kept + read]);
        if read == 0 {
            return Ok(bytes);
        }
        bytes += read as u64;
        let end = kept + read;
        let overlap = end.min(OVERLAP_BYTES);
        part.copy_within(end - overlap..end, 0);
        kept = overlap;
    }
}

/// Longer than any form of a marker from a command line.
const OVERLAP_BYTES: usize = 65_536;

async fn commit(records: &Records, tx: Transaction) -> Result<(), String> {
    let (done, result) = oneshot::channel();
    let done = Box::new(move |result| {
        let _ = done.send(result);
    });
    records.raw().submit(tx, done);
    match result.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("the store has stopped".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn a_marker_is_found_in_each_of_its_forms() {
        let forms = forms("planted-marker");
        for before in ["", "x", "xy", "xyz"] {
            for after in ["", "x", "xy"] {
                let text = [before, "planted-marker", after].concat();
                for shown in [text.clone(), hex::encode(&text), STANDARD.encode(&text)] {
                    assert!(forms.iter().any(|form| find(shown.as_bytes(), form)), "{shown}");
                }
            }
        }
        assert!(!forms.iter().any(|form| find(b"planted-mark", form)));
    }

    #[test]
    fn a_marker_between_two_parts_of_a_file_is_seen() {
        let dir = TempDir::new();
        let path = dir.path().join("file");
        let mut text = vec![b'.'; 3 * PART_BYTES];
        for at in [0, PART_BYTES - 3, 2 * PART_BYTES - 3, 3 * PART_BYTES - 6] {
            text[at..at + 6].copy_from_slice(b"marker");
            fs::write(&path, &text).unwrap();
            let mut holds = false;
            let bytes = read_through(&path, |part| holds |= find(part, b"marker")).unwrap();
            assert!(holds, "{at}");
            assert_eq!(bytes, text.len() as u64);
            text[at..at + 6].fill(b'.');
        }
    }
}
