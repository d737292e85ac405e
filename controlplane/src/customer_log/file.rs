//! How does the customer's log get into a file? A line of JSON each, in files that do not grow
//! without end: `log.jsonl`, and before it `log.jsonl.1`, `log.jsonl.2` …

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;

use super::feed::Follower;

/// Where, and how much.
#[derive(Clone, Debug)]
pub struct LogFile {
    /// The newest.
    pub path: PathBuf,
    /// A file this long is the last of its name, bytes.
    pub bytes_max: u64,
    /// Older ones kept.
    pub files_max: u32,
}

impl LogFile {
    /// Writes what comes until nothing comes any more. What can't be written is said in our own
    /// log, and left out.
    pub async fn write(self, mut follower: Follower) {
        let mut open: Option<(File, u64)> = None;
        while let Some(first) = follower.next().await {
            let mut lines = Vec::new();
            let mut next = Some(first);
            while let Some(logged) = next {
                if serde_json::to_writer(&mut lines, &logged.entry).is_ok() {
                    lines.push(b'\n');
                }
                next = (lines.len() < LINES_BYTES_MAX).then(|| follower.try_next()).flatten();
            }
            let file = self.clone();
            let written = tokio::task::spawn_blocking(move || file.append(open, &lines)).await;
            open = match written {
                Ok(Ok(open)) => Some(open),
                Ok(Err(error)) => {
                    tracing::error!(%error, file = %self.path.display(), "customer log");
                    None
                }
                Err(_) => None,
            };
        }
    }

    fn append(&self, open: Option<(File, u64)>, lines: &[u8]) -> io::Result<(File, u64)> {
        let (mut file, mut bytes) = match open {
            Some(open) => open,
            None => self.open()?,
        };
        if bytes > 0 && bytes + lines.len() as u64 > self.bytes_max {
            drop(file);
            self.rotate()?;
            (file, bytes) = self.open()?;
        }
        file.write_all(lines)?;
        bytes += lines.len() as u64;
        Ok((file, bytes))
    }

    fn open(&self) -> io::Result<(File, u64)> {
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        let bytes = file.metadata()?.len();
        Ok((file, bytes))
    }

    fn rotate(&self) -> io::Result<()> {
        if self.files_max == 0 {
            return std::fs::remove_file(&self.path);
        }
        for number in (1..self.files_max).rev() {
            match std::fs::rename(self.older(number), self.older(number + 1)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        std::fs::rename(&self.path, self.older(1))
    }

    fn older(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }
}

/// Bound: what is written at once, bytes; no file is longer than its bound by more than a line.
const LINES_BYTES_MAX: usize = 32 << 10;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_turn_at_their_bound_and_the_oldest_goes() {
        let dir = std::env::temp_dir().join(format!("tidegate-log-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = LogFile { path: dir.join("log.jsonl"), bytes_max: 4, files_max: 2 };
        let mut open = None;
        for line in ["1\n", "2\n", "3\n", "4\n", "5\n", "6\n", "7\n"] {
            open = Some(file.append(open.take(), line.as_bytes()).unwrap());
        }
        let read = |path: PathBuf| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(file.path.clone()), "7\n");
        assert_eq!((read(file.older(1)), read(file.older(2))), ("5\n6\n".into(), "3\n4\n".into()));
        assert!(!file.older(3).exists());
        // A process that comes later goes on where this one ended.
        open = Some(file.append(None, b"8\n").unwrap());
        assert_eq!(read(file.path.clone()), "7\n8\n");
        let alone = LogFile { files_max: 0, ..file };
        alone.append(open, b"9\n").unwrap();
        assert_eq!(read(alone.path.clone()), "9\n");
        std::fs::remove_dir_all(dir).unwrap();
    }
}
