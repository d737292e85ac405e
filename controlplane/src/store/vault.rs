//! Who can read the secrets in the store? Whoever holds the key file beside it.
//!
//! The key file is made at the first start, 32 random bytes as hex, mode 0600, and is refused when
//! others may read it. From it come one key for secrets at rest and one for ResponseTokens.

use std::io;
use std::path::Path;

use tidegate_crypto::cookie::CookieKey;
use tidegate_crypto::secret::{Key, Secret};
use tidegate_crypto::vault;
use zeroize::Zeroizing;

use super::StoreError;
use crate::private_file;

/// The keys that come from the key file.
#[derive(Clone)]
pub struct Vault {
    at_rest: Key<32>,
    tokens: CookieKey,
    /// A sealed secret of nobody.
    decoy: Vec<u8>,
}

impl Vault {
    /// From the key file's content.
    pub fn new(master: &[u8; 32]) -> Self {
        let master = CookieKey::new(master);
        let at_rest = Zeroizing::new(master.mac(&[b"tidegate secrets at rest 1"]));
        let tokens = Zeroizing::new(master.mac(&[b"tidegate tokens 1"]));
        let at_rest = Key::new(*at_rest);
        let decoy = vault::seal(&at_rest, [0; vault::NONCE_BYTES], DECOY_KEY, &[0; 32]);
        Self { at_rest, tokens: CookieKey::new(&tokens), decoy }
    }

    /// Reads the key file, or makes it when there is none.
    pub fn open_file(path: &Path) -> io::Result<Self> {
        if !path.try_exists()? {
            let master = Zeroizing::new(rand::random::<[u8; 32]>());
            let digits = Zeroizing::new(hex::encode(*master));
            // As long as it will be: growing would leave a copy behind.
            let mut text = Zeroizing::new(String::with_capacity(digits.len() + 1));
            text.extend([&digits, "\n"]);
            private_file::write(path, &text).map_err(io::Error::other)?;
        }
        let text = private_file::read(path).map_err(io::Error::other)?;
        let mut master = Zeroizing::new([0; 32]);
        hex::decode_to_slice(text.trim(), master.as_mut())
            .map_err(|_| io::Error::other("the key file is not 64 hex digits"))?;
        Ok(Self::new(&master))
    }

    /// Seals a secret for the record under `key`.
    pub fn seal(&self, key: &[u8], secret: &[u8]) -> Vec<u8> {
        vault::seal(&self.at_rest, rand::random(), key, secret)
    }

    /// Opens the secret of the record under `key`.
    pub fn open(&self, key: &[u8], sealed: &[u8]) -> Result<Secret, StoreError> {
        vault::open(&self.at_rest, key, sealed).map_err(|_| StoreError::Corrupt("sealed secret"))
    }

    /// Takes the time of an `open`: an identity that nobody has is answered as late as one that
    /// somebody has.
    pub fn open_decoy(&self) {
        std::hint::black_box(vault::open(&self.at_rest, DECOY_KEY, &self.decoy).is_ok());
    }

    /// The key of tokens that we hand out and want back unforged.
    pub fn tokens(&self) -> &CookieKey {
        &self.tokens
    }
}

const DECOY_KEY: &[u8] = b"nobody";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::store::testing::TempDir;

    #[test]
    fn the_key_file_is_made_once_and_private() {
        let dir = TempDir::new();
        let path = dir.path().join("store.key");
        let sealed = Vault::open_file(&path).unwrap().seal(b"identity", b"secret");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let again = Vault::open_file(&path).unwrap();
        assert_eq!(again.open(b"identity", &sealed).unwrap().as_bytes(), b"secret");
        assert!(again.open(b"another", &sealed).is_err(), "bound to its record");
    }

    #[test]
    fn a_key_file_that_others_may_read_is_refused() {
        let dir = TempDir::new();
        let path = dir.path().join("store.key");
        Vault::open_file(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(Vault::open_file(&path).is_err());
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "too short").unwrap();
        assert!(Vault::open_file(&path).is_err());
    }
}
