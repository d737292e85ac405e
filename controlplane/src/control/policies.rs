//! What may devices ask for? The data-plane policies of devices and of application profiles.

use super::Control;
use super::devices::{device_id, now_unix_ms};
use super::draft::{Committed, Draft, contended, refuse};
use super::profiles::profile_id;
use crate::core::Request;
use crate::model::{DeviceId, DeviceKey, Refused, ResourceType};
use crate::policy::{self, Scope};
use crate::store::records::{self, Der, PolicyRecord, read};
use crate::store::{Guard, Table, keys};

/// Whose policy.
#[derive(Clone, Copy, Debug)]
pub enum PolicyOf<'a> {
    /// A device's own, by its id.
    Device(&'a str),
    /// An application profile's, by its id: it counts for every device that refers to it.
    Profile(&'a str),
}

impl Control {
    /// Quotas of accounts are others: the workers hear it now.
    pub async fn quotas_changed(&self) -> Result<(), Refused> {
        self.ask(Request::PolicyOfProfile).await
    }

    /// Sets a policy; it counts for sessions that are there once this returns.
    pub async fn put_policy(
        &self,
        of: PolicyOf<'_>,
        document: &str,
        scope: Scope<'_>,
    ) -> Result<(), Refused> {
        let compiled = policy::compile(document, scope).map_err(|why| {
            Refused::invalid("policyDocument", format!("Member must be valid: {why}"))
        })?;
        let (key, guard) = self.policy_key(of).await?;
        self.ask(Request::PolicyCheck { bytes: compiled.len() }).await?;
        let changed_unix_ms = now_unix_ms();
        let record = PolicyRecord {
            document: document.to_owned(),
            compiled: Der(compiled),
            changed_unix_ms,
        };
        let mut draft = Draft::default();
        draft.or_again(guard);
        draft.tx.put(Table::Policies, key, records::encode(&record));
        self.commit_policy(draft, of).await
    }

    /// Finds a policy.
    pub async fn policy(&self, of: PolicyOf<'_>) -> Result<PolicyRecord, Refused> {
        let (key, _) = self.policy_key(of).await?;
        let record = read::<PolicyRecord>(&*self.held.store, Table::Policies, &key);
        record.map_err(refuse)?.ok_or_else(|| missing(of))
    }

    /// Takes a policy away.
    pub async fn delete_policy(&self, of: PolicyOf<'_>) -> Result<(), Refused> {
        let (key, _) = self.policy_key(of).await?;
        let mut draft = Draft::default();
        draft.or_refuse(Guard::Present(Table::Policies, key.clone()), missing(of));
        draft.tx.delete(Table::Policies, key);
        self.commit_policy(draft, of).await
    }

    async fn commit_policy(&self, draft: Draft, of: PolicyOf<'_>) -> Result<(), Refused> {
        match self.commit(draft).await? {
            Committed::Done => self.ask(changed(of)?).await,
            Committed::Again => Err(contended()),
        }
    }

    /// Where it lies, and that what it belongs to is there.
    async fn policy_key(&self, of: PolicyOf<'_>) -> Result<(Vec<u8>, Guard), Refused> {
        Ok(match of {
            PolicyOf::Device(id) => {
                let device = self.device(DeviceKey::Id(id.to_owned())).await?.id;
                let guard = Guard::Present(Table::Devices, device.0.to_vec());
                (keys::policy_of_device(device), guard)
            }
            PolicyOf::Profile(id) => {
                let profile = self.profile(id).await?.id;
                let guard = Guard::Present(Table::Profiles, profile.0.to_vec());
                (keys::policy_of_profile(profile), guard)
            }
        })
    }
}

fn changed(of: PolicyOf<'_>) -> Result<Request, Refused> {
    Ok(match of {
        PolicyOf::Device(id) => {
            let device: DeviceId = device_id(id)?;
            Request::PolicyOfDevice { device }
        }
        PolicyOf::Profile(id) => {
            profile_id(id)?;
            Request::PolicyOfProfile
        }
    })
}

fn missing(of: PolicyOf<'_>) -> Refused {
    let (PolicyOf::Device(id) | PolicyOf::Profile(id)) = of;
    Refused::not_found(ResourceType::DataPlanePolicy, id)
}
