//! What stands in the customer's log? Found by device and time, page by page, or followed.

use super::Control;
use super::draft::refuse;
use crate::customer_log::feed::{Feed, Follower};
use crate::customer_log::{LogEntry, Logged};
use crate::model::{DeviceId, Refused};
use crate::store::records::{self, read};
use crate::store::{Table, keys};

/// Which entries are wanted.
#[derive(Clone, Copy, Debug)]
pub struct LogQuery {
    /// Of one device.
    pub device: Option<DeviceId>,
    /// From then on, Unix milliseconds.
    pub from_ms: u64,
    /// Up to then, the last millisecond included.
    pub until_ms: u64,
    /// After this entry.
    pub after: Option<(u64, u64)>,
    /// At most so many.
    pub entries_max: usize,
}

/// Where an entry lies, and what it says.
pub type FoundEntry = ((u64, u64), LogEntry);

impl Control {
    /// Entries of the log, oldest first; true: there may be more.
    pub async fn log_entries(&self, query: LogQuery) -> Result<(Vec<FoundEntry>, bool), Refused> {
        let found = self.find_log_entries(query);
        std::future::ready(found).await
    }

    fn find_log_entries(&self, query: LogQuery) -> Result<(Vec<FoundEntry>, bool), Refused> {
        let prefix = query.device.map_or_else(|| keys::LOG_ENTRIES.to_vec(), keys::log_of);
        let from = (query.from_ms.saturating_sub(1), u64::MAX);
        let from = if query.from_ms == 0 { (0, 0) } else { from };
        let from = query.after.map_or(from, |after| after.max(from));
        let place = [from.0.to_be_bytes(), from.1.to_be_bytes()].concat();
        let after = [&prefix[..], &place].concat();
        let store = &*self.held.store;
        let found = store.scan(Table::CustomerLog, &prefix, Some(&after), query.entries_max);
        let found = found.map_err(refuse)?;
        let mut is_last = found.len() < query.entries_max;
        let mut entries = Vec::new();
        for (key, value) in found {
            let Some(at) = place_of(&key[prefix.len()..]) else { continue };
            if at.0 > query.until_ms {
                is_last = true;
                break;
            }
            let entry = if query.device.is_some() {
                let key = keys::log_entry(at.0, at.1);
                read::<LogEntry>(store, Table::CustomerLog, &key).map_err(refuse)?
            } else {
                Some(records::decode(&value, "log entry").map_err(refuse)?)
            };
            entries.extend(entry.map(|entry| (at, entry)));
        }
        Ok((entries, !is_last))
    }

    /// Entries from now on, of all accounts.
    pub fn follow_log(&self) -> Follower {
        self.held.feed.follow()
    }

    /// Where entries come by.
    pub fn log_feed(&self) -> &Feed {
        &self.held.feed
    }

    /// Is it an entry of a device that this account has?
    pub fn sees_entry(&self, logged: &Logged) -> bool {
        let device = logged.entry.wireless_device_id;
        self.held.store.get(Table::Devices, &device.0).is_ok_and(|found| found.is_some())
    }
}

fn place_of(bytes: &[u8]) -> Option<(u64, u64)> {
    let (unix_ms, number) = bytes.split_first_chunk::<8>()?;
    Some((u64::from_be_bytes(*unix_ms), u64::from_be_bytes(number.try_into().ok()?)))
}
