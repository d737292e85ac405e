//! What is said of all devices, and of one: log levels, events, metrics. Read, change, forget.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Control;
use super::devices::device_id;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use crate::model::{Page, PageRequest, Refused};
use crate::store::{Guard, Table, keys, records};

/// Most resources that something is said of by itself, of log levels and of events each.
pub const LOG_LEVELS_MAX: usize = 200;
/// The same of events.
pub const EVENTS_MAX: usize = 250;

impl Control {
    /// What was said under this key; nothing: what holds by itself.
    pub async fn setting<T: DeserializeOwned + Default>(&self, key: &[u8]) -> Result<T, Refused> {
        let found = records::read::<T>(&*self.held.store, Table::Settings, key);
        std::future::ready(found.map(Option::unwrap_or_default).map_err(refuse)).await
    }

    /// What was said of one resource, if anything was.
    pub async fn own_setting<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Refused> {
        let found = records::read::<T>(&*self.held.store, Table::Settings, key);
        std::future::ready(found.map_err(refuse)).await
    }

    /// Says something of all.
    pub async fn set<T: Serialize>(&self, key: &[u8], value: &T) -> Result<(), Refused> {
        let mut draft = Draft::default();
        draft.tx.put(Table::Settings, key, records::encode(value));
        self.commit(draft).await.map(|_| ())
    }

    /// Says something of one resource: of `most` at a time under the same prefix.
    pub async fn set_own<T: Serialize>(
        &self,
        (prefix, key): (&[u8], &[u8]),
        most: usize,
        value: &T,
    ) -> Result<(), Refused> {
        for _ in 0..TRIES_MAX {
            let mut draft = Draft::default();
            self.draft_count(&mut draft, prefix, key, most)?;
            draft.tx.put(Table::Settings, key, records::encode(value));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Forgets what was said of one resource.
    pub async fn forget_own(&self, key: &[u8]) -> Result<(), Refused> {
        let mut draft = Draft::default();
        draft.tx.delete(Table::Settings, key);
        self.commit(draft).await.map(|_| ())
    }

    /// Forgets what was said of every resource under this prefix.
    pub async fn forget_all_own(&self, prefix: &[u8]) -> Result<(), Refused> {
        let mut draft = Draft::default();
        let found = self.held.store.scan(Table::Settings, prefix, None, EVENTS_MAX);
        for (key, _) in found.map_err(refuse)? {
            draft.tx.delete(Table::Settings, key);
        }
        self.commit(draft).await.map(|_| ())
    }

    /// What was said of single resources, in the order of their keys: the rest of the key, and what
    /// was said.
    pub async fn own_settings<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        page: PageRequest,
    ) -> Result<Page<(String, T)>, Refused> {
        let page = self.page(Table::Settings, prefix, &page, |(key, value)| {
            let rest = String::from_utf8_lossy(&key[prefix.len()..]).into_owned();
            Ok(Some((rest, records::decode(&value, "setting")?)))
        });
        std::future::ready(page).await
    }

    /// Is there such a device?
    pub async fn has_device(&self, id: &str) -> Result<String, Refused> {
        let found = device_id(id).and_then(|id| self.read_device(id));
        std::future::ready(found.map(|device| device.id.to_string())).await
    }

    /// Room for one more under the prefix: nobody else takes it meanwhile.
    fn draft_count(
        &self,
        draft: &mut Draft,
        prefix: &[u8],
        key: &[u8],
        most: usize,
    ) -> Result<(), Refused> {
        let changes = keys::settings_changes(prefix);
        let raw = self.held.store.get(Table::Settings, &changes).map_err(refuse)?;
        draft.or_again(match raw {
            Some(raw) => Guard::Unchanged(Table::Settings, changes.clone(), raw),
            None => Guard::Absent(Table::Settings, changes.clone()),
        });
        draft.tx.put(Table::Settings, changes, rand::random::<[u8; 16]>());
        let found = self.held.store.scan(Table::Settings, prefix, None, most + 1);
        let found = found.map_err(refuse)?;
        if found.len() >= most && found.iter().all(|(held, _)| held != key) {
            let message =
                format!("Member must be one of the {most} that have settings of their own");
            return Err(Refused::invalid("ResourceIdentifier", message));
        }
        Ok(())
    }
}
