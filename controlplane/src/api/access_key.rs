//! Who may ask? The root key pair: made at the first start, kept in a file that the AWS clients
//! read as it is (`AWS_SHARED_CREDENTIALS_FILE`).

use std::path::{Path, PathBuf};

use rand::Rng;
use zeroize::Zeroizing;

use super::sigv4::KeyLookup;
use crate::private_file;

/// The one key pair that may do everything.
pub struct RootKey {
    /// `TGRK…`, 20 characters.
    pub access_key_id: String,
    /// 40 characters.
    pub secret: Zeroizing<String>,
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RootKey({})", self.access_key_id)
    }
}

impl KeyLookup for RootKey {
    fn secret(&self, access_key_id: &str) -> Option<Zeroizing<String>> {
        (access_key_id == self.access_key_id).then(|| self.secret.clone())
    }
}

impl RootKey {
    /// Where the file is.
    pub fn path(data_dir: &Path) -> PathBuf {
        data_dir.join("root-credentials")
    }

    /// Reads the key pair.
    pub fn load(data_dir: &Path) -> Result<Self, String> {
        let path = Self::path(data_dir);
        let say = |what: &str| format!("{}: {what}", path.display());
        let text = private_file::read(&path)?;
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (key, value) = line.split_once('=')?;
                (key.trim() == name).then(|| value.trim().to_owned())
            })
        };
        let access_key_id =
            field("aws_access_key_id").ok_or_else(|| say("aws_access_key_id is missing"))?;
        let secret = field("aws_secret_access_key")
            .ok_or_else(|| say("aws_secret_access_key is missing"))?;
        Ok(Self { access_key_id, secret: Zeroizing::new(secret) })
    }

    /// Reads the key pair, or makes one when there is no file yet; true when it was made.
    pub fn load_or_make(data_dir: &Path) -> Result<(Self, bool), String> {
        if Self::path(data_dir).exists() {
            return Self::load(data_dir).map(|key| (key, false));
        }
        let key = Self::random();
        key.store(data_dir)?;
        Ok((key, true))
    }

    fn random() -> Self {
        let access_key_id = format!("TGRK{}", random_text(ID_LETTERS, 16));
        Self { access_key_id, secret: Zeroizing::new(random_text(SECRET_LETTERS, 40)) }
    }

    fn store(&self, data_dir: &Path) -> Result<(), String> {
        let text = Zeroizing::new(format!(
            "# Tidegate root key: may do everything. Delete this file and restart for a new one.\n\
             [default]\naws_access_key_id = {}\naws_secret_access_key = {}\n",
            self.access_key_id,
            self.secret.as_str()
        ));
        private_file::write(&Self::path(data_dir), &text)
    }
}

/// No letters that look like others, and nothing that a shell or an INI file minds.
const ID_LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const SECRET_LETTERS: &[u8; 64] =
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn random_text(letters: &[u8], count: usize) -> String {
    let mut random = rand::rng();
    (0..count).map(|_| char::from(letters[random.random_range(0..letters.len())])).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_key_is_made_once_is_private_and_is_read_back() {
        let dir = std::env::temp_dir().join(format!("tidegate-root-{}", uuid::Uuid::new_v4()));
        let (made, new) = RootKey::load_or_make(&dir).unwrap();
        assert!(new);
        assert_eq!((made.access_key_id.len(), made.secret.len()), (20, 40));
        let mode = fs::metadata(RootKey::path(&dir)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let (read, new) = RootKey::load_or_make(&dir).unwrap();
        assert!(!new);
        assert_eq!(read.secret(&made.access_key_id), Some(made.secret.clone()));
        assert_eq!(read.secret("TGRKAAAAAAAAAAAAAAAA"), None);
        assert!(!format!("{read:?}").contains(made.secret.as_str()));

        fs::set_permissions(RootKey::path(&dir), fs::Permissions::from_mode(0o640)).unwrap();
        assert!(RootKey::load_or_make(&dir).unwrap_err().contains("others may read"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
