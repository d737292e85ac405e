//! Where do payloads lie that are too long for a request to the API? In buckets that the operator
//! names, or in the store, part by part ([`crate::model::Upload`]). They are read piece by piece as
//! devices take their blocks, and nowhere held whole.
//!
//! *Bound:* `READS_MAX` reads under way, each of one piece.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{Error, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use crate::model::{PIECE_BYTES, PayloadReference, Refused};
use crate::sinks::ObjectSettings;
use crate::sinks::object::bucket;
use crate::store::account::Account;

/// `[payloads]`: what messages may refer to. No bucket, as it is by default: only uploads.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settings {
    /// Longest payload, bytes, 1024..=1073741824.
    pub bytes_max: u64,
    /// One read, ms, 100..=30000.
    pub timeout_ms: u64,
    /// Uploads of one account, 0..=1000.
    pub uploads_max: usize,
    /// All of them together, bytes, 1024..=1099511627776.
    pub uploads_bytes_max: u64,
    /// An upload is forgotten after so long, seconds, 60..=31536000.
    pub upload_age_s: u64,
    /// Accounts whose messages may refer to them, beside the root account: 12 digits each.
    pub accounts: Vec<String>,
    /// `[[payloads.s3]]`
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub s3: Vec<ObjectSettings>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            bytes_max: 64 << 20,
            timeout_ms: 5_000,
            uploads_max: 16,
            uploads_bytes_max: 256 << 20,
            upload_age_s: 7 * 86_400,
            accounts: Vec::new(),
            s3: Vec::new(),
        }
    }
}

impl Settings {
    /// Says which value is out of its range.
    pub fn check(&self) -> Result<(), String> {
        for (name, value, low, high) in [
            ("bytes_max", self.bytes_max, 1_024, BYTES_MAX),
            ("timeout_ms", self.timeout_ms, 100, 30_000),
            ("uploads_max", self.uploads_max as u64, 0, 1_000),
            ("uploads_bytes_max", self.uploads_bytes_max, 1_024, 1 << 40),
            ("upload_age_s", self.upload_age_s, 60, 31_536_000),
        ] {
            if !(low..=high).contains(&value) {
                return Err(format!("payloads.{name} = {value} is outside {low}..={high}"));
            }
        }
        let is_name = |name: &str| {
            let is_good = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
            (1..=128).contains(&name.len()) && name.bytes().all(is_good)
        };
        match self.s3.iter().find(|s3| !is_name(&s3.bucket)) {
            Some(s3) => Err(format!(
                "payloads: \"{}\" must be 1 to 128 of a-z, A-Z, 0-9, -, _, .",
                s3.bucket
            )),
            None => Ok(()),
        }
    }

    fn allows(&self, account: Account) -> bool {
        account == Account::ROOT || self.accounts.contains(&account.to_string())
    }
}

/// The buckets.
pub struct Payloads {
    buckets: HashMap<String, Arc<dyn ObjectStore>>,
    settings: Settings,
    slots: Arc<Semaphore>,
    runtime: Handle,
}

/// Why a piece was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The object is not there any more, or not for us to read.
    Gone,
    /// It is another one now.
    Changed,
    /// Asked again it may be.
    Later,
}

/// One read, bytes: what is read ahead of a device.
pub const READ_BYTES: usize = PIECE_BYTES;
/// Bound: reads under way at a time; one more is asked for again.
pub const READS_MAX: usize = 256;
/// Longest payload, bytes: what Block1 and Block2 can number in blocks of 1024 (RFC 7959).
pub const BYTES_MAX: u64 = 1 << 30;

impl Payloads {
    /// Opens the buckets, on the tokio runtime it is called in. One that is away is no error.
    pub fn open(settings: &Settings) -> Result<Self, String> {
        let attempt = Duration::from_millis(settings.timeout_ms);
        let mut buckets = HashMap::new();
        for s3 in &settings.s3 {
            let store: Arc<dyn ObjectStore> = bucket(s3, attempt)?.into();
            if buckets.insert(s3.bucket.clone(), store).is_some() {
                return Err(format!("payloads: {} is there twice", s3.bucket));
            }
        }
        let slots = Arc::new(Semaphore::new(READS_MAX));
        Ok(Self { buckets, settings: settings.clone(), slots, runtime: Handle::current() })
    }

    /// Its bounds.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What lies there now, where `member` of a call says.
    pub async fn find(
        &self,
        account: Account,
        url: &str,
        member: &str,
    ) -> Result<PayloadReference, Refused> {
        let found = self.place(url).filter(|_| self.settings.allows(account));
        let Some((store, path)) = found else {
            return Err(Refused::invalid(member, "Member must be an object of a known bucket"));
        };
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        let about = match tokio::time::timeout(timeout, store.head(&path)).await {
            Ok(Ok(about)) => about,
            Ok(Err(error)) if fault(&error) == Fault::Gone => {
                return Err(Refused::invalid(member, "Member must be an object that is there"));
            }
            Ok(Err(_)) | Err(_) => {
                let message = "the bucket can not be read now".to_owned();
                return Err(Refused::Internal { message });
            }
        };
        let most = self.settings.bytes_max;
        let bytes = u32::try_from(about.size).ok().filter(|_| about.size <= most);
        let too_long = || {
            let constraint = format!("Member must be an object of at most {most} bytes");
            Refused::invalid(member, constraint)
        };
        let bytes = bytes.ok_or_else(too_long)?;
        Ok(PayloadReference { url: url.to_owned(), bytes, etag: about.e_tag })
    }

    /// Reads from there on as much as one read may have, and tells what came of it.
    pub fn read(
        &self,
        account: Account,
        reference: &PayloadReference,
        at: usize,
        tell: impl FnOnce(Result<Bytes, Fault>) + Send + 'static,
    ) {
        let found = self.place(&reference.url).filter(|_| self.settings.allows(account));
        let Some((store, path)) = found else { return tell(Err(Fault::Gone)) };
        let Ok(slot) = self.slots.clone().try_acquire_owned() else {
            return tell(Err(Fault::Later));
        };
        let end = (at + READ_BYTES).min(reference.bytes as usize);
        let range = Some(GetRange::Bounded(at as u64..end as u64));
        let options =
            GetOptions { if_match: reference.etag.clone(), range, ..GetOptions::default() };
        let timeout = Duration::from_millis(self.settings.timeout_ms);
        self.runtime.spawn(async move {
            let read = async { store.get_opts(&path, options).await?.bytes().await };
            let read = match tokio::time::timeout(timeout, read).await {
                Ok(Ok(bytes)) if bytes.len() == end - at => Ok(bytes),
                Ok(Ok(_)) => Err(Fault::Changed),
                Ok(Err(error)) => Err(fault(&error)),
                Err(_) => Err(Fault::Later),
            };
            drop(slot);
            tell(read);
        });
    }

    fn place(&self, url: &str) -> Option<(Arc<dyn ObjectStore>, Path)> {
        let (bucket, key) = url.strip_prefix("s3://")?.split_once('/')?;
        let path = Path::parse(key).ok().filter(|path| !path.as_ref().is_empty())?;
        Some((self.buckets.get(bucket)?.clone(), path))
    }
}

fn fault(error: &Error) -> Fault {
    match error {
        Error::NotFound { .. }
        | Error::InvalidPath { .. }
        | Error::PermissionDenied { .. }
        | Error::Unauthenticated { .. } => Fault::Gone,
        Error::Precondition { .. } | Error::NotModified { .. } => Fault::Changed,
        _ => Fault::Later,
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;
    use crate::store::testing::TempDir;

    const MEMBER: &str = "PayloadReference";

    fn of(dir: &TempDir, bytes_max: u64) -> Payloads {
        let s3 = ObjectSettings {
            bucket: "firmware".to_owned(),
            url: format!("file://{}", dir.path().display()),
            endpoint: None,
            region: None,
            credentials_file: None,
            ca_file: None,
        };
        let accounts = vec![Account(7).to_string()];
        let settings = Settings { bytes_max, accounts, s3: vec![s3], ..Settings::default() };
        Payloads::open(&settings).unwrap()
    }

    async fn read(of: &Payloads, reference: &PayloadReference, at: usize) -> Result<Bytes, Fault> {
        let (tell, told) = oneshot::channel();
        of.read(Account::ROOT, reference, at, |read| tell.send(read).unwrap());
        told.await.unwrap()
    }

    #[tokio::test]
    async fn an_object_is_read_piece_by_piece() {
        let dir = TempDir::new();
        let body: Vec<u8> = (0..READ_BYTES + 10).map(|at| at as u8).collect();
        std::fs::write(dir.path().join("v2.bin"), &body).unwrap();
        let payloads = of(&dir, 1 << 20);
        let found = payloads.find(Account::ROOT, "s3://firmware/v2.bin", MEMBER).await.unwrap();
        assert_eq!(found.bytes as usize, body.len());
        assert_eq!(read(&payloads, &found, 0).await.unwrap(), body[..READ_BYTES]);
        assert_eq!(read(&payloads, &found, 7).await.unwrap(), body[7..READ_BYTES + 7]);
        assert_eq!(read(&payloads, &found, READ_BYTES).await.unwrap(), body[READ_BYTES..]);
        // Another object under that name is not the one that was promised.
        std::fs::remove_file(dir.path().join("v2.bin")).unwrap();
        assert_eq!(read(&payloads, &found, 0).await, Err(Fault::Gone));
        std::fs::write(dir.path().join("v2.bin"), vec![1; body.len()]).unwrap();
        assert_eq!(read(&payloads, &found, 0).await, Err(Fault::Changed));
    }

    #[tokio::test]
    async fn what_can_t_be_referred_to_is_refused() {
        let dir = TempDir::new();
        std::fs::write(dir.path().join("fits"), [0; 1_024]).unwrap();
        std::fs::write(dir.path().join("long"), [0; 1_025]).unwrap();
        let payloads = of(&dir, 1_024);
        for (account, url, is_good) in [
            (Account::ROOT, "s3://firmware/fits", true),
            (Account(7), "s3://firmware/fits", true),
            (Account(8), "s3://firmware/fits", false),
            (Account::ROOT, "s3://firmware/long", false),
            (Account::ROOT, "s3://firmware/none", false),
            (Account::ROOT, "s3://firmware/", false),
            (Account::ROOT, "s3://firmware/../fits", false),
            (Account::ROOT, "s3://other/fits", false),
            (Account::ROOT, "file:///etc/passwd", false),
        ] {
            let found = payloads.find(account, url, MEMBER).await;
            assert_eq!(found.is_ok(), is_good, "{url}: {found:?}");
        }
    }

    #[test]
    fn settings_have_bounds() {
        let good = Settings::default();
        assert_eq!(good.check(), Ok(()));
        for (bytes_max, is_good) in [(1_023, false), (1_024, true), (1 << 30, true)] {
            assert_eq!(Settings { bytes_max, ..good.clone() }.check().is_ok(), is_good);
        }
        for (timeout_ms, is_good) in [(99, false), (100, true), (30_000, true), (30_001, false)] {
            assert_eq!(Settings { timeout_ms, ..good.clone() }.check().is_ok(), is_good);
        }
    }
}
