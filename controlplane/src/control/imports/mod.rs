//! Which import tasks are there? Start, find, list, extend, delete; [`run`] does their work.
//!
//! *Bound:* [`TASKS_MAX`] of an account, each with [`SOURCES_MAX`] sources; one at a time runs.

pub mod line;
mod run;

use std::path::{Component, Path, PathBuf};

use super::Control;
use super::devices::now_unix_ms;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use super::profiles::profile_id;
use super::validate;
use crate::model::{
    ImportId, ImportSource, ImportStatus, ImportTask, Imported, Page, PageRequest, Refused,
    ResourceType, Tag,
};
use crate::store::{Guard, StoreError, Table, keys, records};

/// Most import tasks that are remembered.
pub(super) const TASKS_MAX: usize = 1_000;
/// Most sources of one task.
pub(super) const SOURCES_MAX: usize = 100;

/// Where the files lie, in the data directory.
pub(super) const IMPORT_DIR: &str = "import";

const FILE: &str = "CoAP.DeviceCreationFile";
const OPERATION: &str = "StartWirelessDeviceImportTask";

/// What StartWirelessDeviceImportTask asks for.
#[derive(Clone, Debug, Default)]
pub struct NewImport {
    /// Name of an existing destination.
    pub destination: String,
    /// An application profile's id as it came.
    pub application_profile: Option<String>,
    /// `Enabled` or `Disabled`.
    pub positioning: Option<String>,
    /// ≤ 50.
    pub tags: Vec<Tag>,
}

impl Control {
    /// Starts a task; its devices are made from then on. `token` as in [`Control::create_device`].
    pub async fn start_import(
        &self,
        new: NewImport,
        source: NewSource,
        token: Option<&str>,
    ) -> Result<ImportTask, Refused> {
        validate::destination_name("DestinationName", &new.destination)?;
        validate::positioning(new.positioning.as_ref())?;
        validate::tags(&new.tags)?;
        let profile = new.application_profile.as_deref().map(profile_id).transpose()?;
        let plain = records::encode(&(&new.destination, &profile, &new.positioning, &new.tags));
        let parts = [OPERATION.as_bytes(), &plain, source.as_bytes()];
        let parameters = hex::encode(self.held.vault.tokens().mac(&parts));
        self.destination(&new.destination).await?;
        if let Some(profile) = profile {
            self.profile(&profile.to_string()).await?;
        }
        for _ in 0..TRIES_MAX {
            let mut draft = Draft::default();
            let id = ImportId::random();
            let made =
                self.use_token(&mut draft, OPERATION, token, &parameters, &id.to_string())?;
            if let Some(made) = made {
                return self.import(&made).await;
            }
            let found = self.held.store.scan(Table::Imports, &[], None, TASKS_MAX);
            if found.map_err(refuse)?.len() == TASKS_MAX {
                let message = format!("There are {TASKS_MAX} import tasks: delete one first.");
                return Err(Refused::conflict(ResourceType::ImportTask, "", message));
            }
            let task = ImportTask {
                id,
                destination: new.destination.clone(),
                application_profile: profile,
                positioning: new.positioning.clone(),
                sources: vec![self.sealed(id, &source)?],
                source: 0,
                offset: 0,
                columns: None,
                lines: 0,
                onboarded: 0,
                failed: 0,
                status: ImportStatus::Initialized,
                reason: None,
                tags: new.tags.clone(),
                created_unix_ms: now_unix_ms(),
            };
            draft.tx.put(Table::Imports, id.0, records::encode(&task));
            if let Committed::Done = self.commit(draft).await? {
                self.run_import(id);
                return Ok(task);
            }
        }
        Err(contended())
    }

    /// Finds one task.
    pub async fn import(&self, id: &str) -> Result<ImportTask, Refused> {
        let found = import_id(id).and_then(|id| self.raw_import(id));
        let read = |raw: Vec<u8>| records::decode(&raw, "import").map_err(refuse);
        std::future::ready(found.and_then(read)).await
    }

    /// Lists tasks in id order.
    pub async fn imports(&self, page: PageRequest) -> Result<Page<ImportTask>, Refused> {
        let page = self.page(Table::Imports, &[], &page, |(_, value)| {
            records::decode(&value, "import").map(Some)
        });
        std::future::ready(page).await
    }

    /// What became of the lines of a task, in their order; only those that made a device or only
    /// those that made none, when that is asked for.
    pub async fn imported(
        &self,
        id: &str,
        made: Option<bool>,
        page: PageRequest,
    ) -> Result<Page<Imported>, Refused> {
        let id = import_id(id)?;
        self.raw_import(id)?;
        let page = self.page(Table::Imported, &id.0, &page, |(key, value)| {
            let line = keys::imported_line(&key).ok_or(StoreError::Corrupt("imported"))?;
            let imported: Imported = records::decode(&value, "imported")?;
            let is_wanted = made.is_none_or(|made| made == imported.device.is_some());
            Ok(is_wanted.then_some(Imported { line, ..imported }))
        });
        std::future::ready(page).await
    }

    /// More lines for a task.
    pub async fn extend_import(&self, id: &str, source: NewSource) -> Result<(), Refused> {
        let id = import_id(id)?;
        let source = self.sealed(id, &source)?;
        self.change_import(id, |task| {
            if task.sources.len() == SOURCES_MAX {
                let message = format!("The task has {SOURCES_MAX} sources.");
                return Err(Refused::conflict(ResourceType::ImportTask, task.id, message));
            }
            if task.status == ImportStatus::Deleting {
                return Err(Refused::not_found(ResourceType::ImportTask, task.id));
            }
            task.sources.push(source.clone());
            task.status = ImportStatus::Pending;
            task.reason = None;
            Ok(())
        })
        .await?;
        self.run_import(id);
        Ok(())
    }

    /// Forgets a task and what became of its lines; its devices stay.
    pub async fn delete_import(&self, id: &str) -> Result<(), Refused> {
        let id = import_id(id)?;
        self.change_import(id, |task| {
            task.status = ImportStatus::Deleting;
            task.sources = Vec::new();
            Ok(())
        })
        .await?;
        self.run_import(id);
        Ok(())
    }

    /// Takes up the tasks that were under way when the process ended.
    pub fn resume_imports(&self) {
        let found = self.held.store.scan(Table::Imports, &[], None, TASKS_MAX);
        for (_, value) in found.unwrap_or_default() {
            if let Ok(task) = records::decode::<ImportTask>(&value, "import")
                && !matches!(task.status, ImportStatus::Complete | ImportStatus::Failed)
            {
                self.run_import(task.id);
            }
        }
    }

    async fn change_import(
        &self,
        id: ImportId,
        change: impl Fn(&mut ImportTask) -> Result<(), Refused>,
    ) -> Result<(), Refused> {
        for _ in 0..TRIES_MAX {
            let raw = self.raw_import(id)?;
            let mut task: ImportTask = records::decode(&raw, "import").map_err(refuse)?;
            change(&mut task)?;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Imports, id.0.to_vec(), raw));
            draft.tx.put(Table::Imports, id.0, records::encode(&task));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    fn raw_import(&self, id: ImportId) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(Table::Imports, &id.0).map_err(refuse)?;
        raw.ok_or_else(|| Refused::not_found(ResourceType::ImportTask, id))
    }

    /// The file of that name, which lies in the import directory.
    fn import_file(&self, name: &str) -> Result<PathBuf, String> {
        let unreadable =
            |_| format!("Member must be a file under {IMPORT_DIR} in the data directory");
        let dir = self.held.import_dir.canonicalize().map_err(unreadable)?;
        let path = dir.join(name).canonicalize().map_err(unreadable)?;
        // A link may lead out of it.
        if path.starts_with(&dir) && path.is_file() {
            return Ok(path);
        }
        Err(format!("Member must be a file under {IMPORT_DIR} in the data directory"))
    }

    fn sealed(&self, id: ImportId, source: &NewSource) -> Result<ImportSource, Refused> {
        match source {
            NewSource::Lines(lines) => {
                Ok(ImportSource::Sealed(self.held.vault.seal(&id.0, lines.as_bytes())))
            }
            NewSource::File(name) => {
                check_file(FILE, name)?;
                self.import_file(name).map_err(|why| Refused::invalid(FILE, why))?;
                Ok(ImportSource::File(name.clone()))
            }
        }
    }
}

/// Where the lines of a task come from, as it was asked for.
#[derive(Clone)]
pub enum NewSource {
    /// A file under the import directory.
    File(String),
    /// These.
    Lines(zeroize::Zeroizing<String>),
}

impl NewSource {
    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::File(name) => name.as_bytes(),
            Self::Lines(lines) => lines.as_bytes(),
        }
    }
}

/// A name that leads out of the directory is none.
fn check_file(path: &str, name: &str) -> Result<(), Refused> {
    validate::text_between(path, name, 1, 1_024)?;
    let is_inside = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
    if is_inside {
        return Ok(());
    }
    Err(Refused::invalid(path, "Member must be a name under the import directory"))
}

fn import_id(text: &str) -> Result<ImportId, Refused> {
    text.parse().map_err(|_| Refused::not_found(ResourceType::ImportTask, text))
}
