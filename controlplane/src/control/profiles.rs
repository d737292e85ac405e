//! Which application profiles are there? Create, find, list, change, delete.

use super::Control;
use super::devices::now_unix_ms;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use super::validate;
use crate::core::Request;
use crate::model::{
    ACK_RANDOM_PERCENT, ApplicationProfile, INITIAL_BYTES_MAX, Page, PageRequest, ProfileId,
    ProfileTerms, Refused, ResourceType, TERM_RULES, Tag,
};
use crate::store::{Guard, Table, keys, records};

const OPERATION: &str = "CreateApplicationProfile";

impl Control {
    /// Creates a profile. `token` as in [`Control::create_device`].
    pub async fn create_profile(
        &self,
        name: Option<String>,
        terms: ProfileTerms,
        tags: Vec<Tag>,
        token: Option<&str>,
    ) -> Result<ApplicationProfile, Refused> {
        check(name.as_ref(), &terms)?;
        validate::tags(&tags)?;
        let plain = records::encode(&(&name, &terms, &tags));
        let mac = self.held.vault.tokens().mac(&[OPERATION.as_bytes(), &plain]);
        let parameters = hex::encode(mac);
        for _ in 0..TRIES_MAX {
            let mut draft = Draft::default();
            let id = ProfileId::random();
            let made =
                self.use_token(&mut draft, OPERATION, token, &parameters, &id.to_string())?;
            if let Some(made) = made {
                return self.profile(&made).await;
            }
            let profile = ApplicationProfile {
                id,
                name: name.clone(),
                terms: terms.clone(),
                tags: tags.clone(),
                created_unix_ms: now_unix_ms(),
            };
            draft.tx.put(Table::Profiles, id.0, records::encode(&profile));
            if let Committed::Done = self.commit(draft).await? {
                return Ok(profile);
            }
        }
        Err(contended())
    }

    /// Finds one profile.
    pub async fn profile(&self, id: &str) -> Result<ApplicationProfile, Refused> {
        let found = profile_id(id).and_then(|id| self.raw_profile(id));
        let read = |raw: Vec<u8>| records::decode(&raw, "profile").map_err(refuse);
        std::future::ready(found.and_then(read)).await
    }

    /// Lists profiles in id order.
    pub async fn profiles(&self, page: PageRequest) -> Result<Page<ApplicationProfile>, Refused> {
        let page = self.page(Table::Profiles, &[], &page, |(_, value)| {
            records::decode(&value, "profile").map(Some)
        });
        std::future::ready(page).await
    }

    /// Changes what is `Some`; it counts for what is sent and received from now on.
    pub async fn update_profile(
        &self,
        id: &str,
        name: Option<String>,
        terms: ProfileTerms,
    ) -> Result<(), Refused> {
        check(name.as_ref(), &terms)?;
        let id = profile_id(id)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_profile(id)?;
            let mut profile: ApplicationProfile =
                records::decode(&raw, "profile").map_err(refuse)?;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Profiles, id.0.to_vec(), raw));
            profile.name = name.clone().or(profile.name);
            profile.terms = terms.over(&profile.terms);
            draft.tx.put(Table::Profiles, id.0, records::encode(&profile));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::TermsChanged).await;
            }
        }
        Err(contended())
    }

    /// Deletes a profile; Conflict while a device refers to it.
    pub async fn delete_profile(&self, id: &str) -> Result<(), Refused> {
        let id = profile_id(id)?;
        let mut draft = Draft::default();
        let missing = Refused::not_found(ResourceType::ApplicationProfile, id);
        draft.or_refuse(Guard::Present(Table::Profiles, id.0.to_vec()), missing);
        let message = "Devices use this application profile.";
        let used = Refused::conflict(ResourceType::ApplicationProfile, id, message);
        draft.or_refuse(Guard::NoneUnder(Table::Index, keys::profile_users_of(id)), used);
        draft.tx.delete(Table::Profiles, id.0);
        draft.tx.delete(Table::Policies, keys::policy_of_profile(id));
        match self.commit(draft).await? {
            Committed::Done => Ok(()),
            Committed::Again => Err(contended()),
        }
    }

    fn raw_profile(&self, id: ProfileId) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(Table::Profiles, &id.0).map_err(refuse)?;
        raw.ok_or_else(|| Refused::not_found(ResourceType::ApplicationProfile, id))
    }
}

/// A profile's id as it came; one that is none names no profile.
pub(super) fn profile_id(text: &str) -> Result<ProfileId, Refused> {
    text.parse().map_err(|_| Refused::not_found(ResourceType::ApplicationProfile, text))
}

fn check(name: Option<&String>, terms: &ProfileTerms) -> Result<(), Refused> {
    validate::text_max("Name", name, 256)?;
    let mut terms = terms.clone();
    for rule in &TERM_RULES {
        validate::within(rule.name, *(rule.of)(&mut terms), &rule.range)?;
    }
    let firsts = terms.layout.iter().flatten().filter_map(|row| row.initial.as_ref());
    if firsts.into_iter().any(|first| first.payload.len() > INITIAL_BYTES_MAX) {
        let constraint = format!("Member must decode to at most {INITIAL_BYTES_MAX} bytes");
        return Err(Refused::invalid("ResourceLayout.InitialPayload", constraint));
    }
    validate::within("AckRandomFactor", terms.ack_random_percent, &ACK_RANDOM_PERCENT)
}
