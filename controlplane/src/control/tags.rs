//! How is a resource tagged? In its own record, whatever kind it is.
//!
//! Every record of a kind that can be tagged is JSON with a member `tags`, so that a tag changes
//! with the record and is deleted with it.

use serde_json::Value;

use super::Control;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use super::validate;
use crate::model::{
    DeviceId, ImportId, ProfileId, Refused, Resource, ResourceKind, ResourceType, Tag,
};
use crate::store::{Guard, StoreError, Table, records};

/// Most tags of one resource.
pub const TAGS_MAX: usize = 50;

impl Control {
    /// The tags of a resource: what ListTagsForResource answers, and what `aws:ResourceTag/…` in an
    /// IAM condition is about. NotFound when there is no such resource.
    pub fn tags_of(&self, resource: &Resource) -> Result<Vec<Tag>, Refused> {
        let (table, key) = place_of(resource)?;
        let raw = self.raw_tagged(resource, table, &key)?;
        let record = records::decode::<Value>(&raw, "record").map_err(refuse)?;
        tags_in(&record).map_err(refuse)
    }

    /// Adds tags, and changes the values of those that are there.
    pub async fn tag(&self, resource: &Resource, tags: &[Tag]) -> Result<(), Refused> {
        if tags.len() > TAGS_MAX {
            return Err(Refused::TooManyTags { resource: resource.clone() });
        }
        validate::tags(tags)?;
        self.change_tags(resource, |held| {
            held.retain(|tag| tags.iter().all(|new| new.key != tag.key));
            held.extend_from_slice(tags);
        })
        .await
    }

    /// Takes tags away; keys that are not there are none of its business.
    pub async fn untag(&self, resource: &Resource, keys: &[&str]) -> Result<(), Refused> {
        self.change_tags(resource, |held| held.retain(|tag| !keys.contains(&tag.key.as_str())))
            .await
    }

    async fn change_tags(
        &self,
        resource: &Resource,
        change: impl Fn(&mut Vec<Tag>),
    ) -> Result<(), Refused> {
        let (table, key) = place_of(resource)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_tagged(resource, table, &key)?;
            let mut record = records::decode::<Value>(&raw, "record").map_err(refuse)?;
            let mut tags = tags_in(&record).map_err(refuse)?;
            let before = tags.len();
            change(&mut tags);
            if tags.len() > TAGS_MAX && tags.len() > before {
                return Err(Refused::TooManyTags { resource: resource.clone() });
            }
            record["tags"] = serde_json::to_value(&tags).expect("tags have a JSON form");
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(table, key.clone(), raw));
            draft.tx.put(table, key.clone(), records::encode(&record));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    fn raw_tagged(
        &self,
        resource: &Resource,
        table: Table,
        key: &[u8],
    ) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(table, key).map_err(refuse)?;
        raw.ok_or_else(|| missing(resource))
    }
}

fn tags_in(record: &Value) -> Result<Vec<Tag>, StoreError> {
    let tags = record.get("tags").cloned().unwrap_or_else(|| Value::Array(Vec::new()));
    serde_json::from_value(tags).map_err(|_| StoreError::Corrupt("tags"))
}

/// Where the record of a resource lies.
fn place_of(resource: &Resource) -> Result<(Table, Vec<u8>), Refused> {
    let id = &resource.id;
    let place = match resource.kind {
        ResourceKind::WirelessDevice => {
            id.parse().ok().map(|DeviceId(id)| (Table::Devices, id.to_vec()))
        }
        ResourceKind::ApplicationProfile => {
            id.parse().ok().map(|ProfileId(id)| (Table::Profiles, id.to_vec()))
        }
        ResourceKind::Destination => Some((Table::Destinations, id.as_bytes().to_vec())),
        ResourceKind::ImportTask => {
            id.parse().ok().map(|ImportId(id)| (Table::Imports, id.to_vec()))
        }
    };
    place.ok_or_else(|| missing(resource))
}

fn missing(resource: &Resource) -> Refused {
    let of = match resource.kind {
        ResourceKind::WirelessDevice => ResourceType::WirelessDevice,
        ResourceKind::Destination => ResourceType::Destination,
        ResourceKind::ApplicationProfile => ResourceType::ApplicationProfile,
        ResourceKind::ImportTask => ResourceType::ImportTask,
    };
    Refused::not_found(of, &resource.id)
}
