//! How is a secret kept in a file? Mode 0600 from its first byte on, whole or not there at all, and
//! refused when others may read it.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use zeroize::Zeroizing;

/// Reads a file that only its owner may read.
pub fn read(path: &Path) -> Result<Zeroizing<String>, String> {
    read_when(path, 0o077, "others may read it: chmod 600")
}

/// Reads a file that its owner's group may read too: keys that another program renews.
pub fn read_of_group(path: &Path) -> Result<Zeroizing<String>, String> {
    read_when(path, 0o007, "everybody may read it: chmod o-rwx")
}

fn read_when(path: &Path, forbidden: u32, complaint: &str) -> Result<Zeroizing<String>, String> {
    let say = |what: &dyn std::fmt::Display| format!("{}: {what}", path.display());
    let file = fs::File::open(path).map_err(|error| say(&error))?;
    let about = file.metadata().map_err(|error| say(&error))?;
    if about.permissions().mode() & forbidden != 0 {
        return Err(say(&complaint));
    }
    if about.len() > BYTES_MAX {
        return Err(say(&"it is too long"));
    }
    // As long as the file: growing would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(about.len() as usize + 1));
    file.take(BYTES_MAX).read_to_string(&mut text).map_err(|error| say(&error))?;
    Ok(text)
}

/// Writes beside, syncs and renames, so that a crash leaves no half a secret. Makes the directory,
/// mode 0700.
pub fn write(path: &Path, text: &str) -> Result<(), String> {
    let written = || -> io::Result<()> {
        let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let dir = dir.unwrap_or(Path::new("."));
        fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
        let beside = path.with_extension("new");
        let mut options = fs::OpenOptions::new();
        let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        fs::File::open(dir)?.sync_all()
    };
    written().map_err(|error| format!("{}: {error}", path.display()))
}

/// Longest file, bytes. *Why:* a key and some comments.
const BYTES_MAX: u64 = 65_536;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn what_is_written_is_private_and_read_again() {
        let dir = TempDir::new();
        let path = dir.path().join("deep").join("secret");
        assert!(read(&path).is_err(), "there is none yet");
        write(&path, "one").unwrap();
        write(&path, "two").unwrap();
        assert_eq!(read(&path).unwrap().as_str(), "two");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "nothing beside it");
    }

    #[test]
    fn what_others_may_read_is_refused() {
        let dir = TempDir::new();
        let path = dir.path().join("secret");
        write(&path, "s3cret").unwrap();
        for (mode, alone, group) in
            [(0o600, true, true), (0o640, false, true), (0o644, false, false)]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(read(&path).is_ok(), alone, "{mode:o}");
            assert_eq!(read_of_group(&path).is_ok(), group, "{mode:o}");
        }
        assert!(!read(&path).unwrap_err().contains("s3cret"));
    }

    #[test]
    fn a_file_has_64_kib_at_most() {
        let dir = TempDir::new();
        let path = dir.path().join("secret");
        write(&path, &"s".repeat(65_536)).unwrap();
        assert_eq!(read(&path).unwrap().len(), 65_536);
        write(&path, &"s".repeat(65_537)).unwrap();
        assert!(read(&path).unwrap_err().contains("too long"));
    }
}
