//! Who may vouch for devices in mode Certificate? Register, find, list, activate, delete.
//!
//! *Bound:* [`AUTHORITIES_MAX`] of [`CERTIFICATE_BYTES_MAX`]: with the other items of the trust
//! sheet they fit on it.

use tidegate_crypto::certificate::{self, CertificateError};
use tidegate_crypto::pem;

use super::Control;
use super::devices::now_unix_ms;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use crate::core::Request;
use crate::model::{Authority, Fingerprint, Refused, ResourceType};
use crate::store::records::{self, Der};
use crate::store::{Guard, StoreError, Table};

/// Most authorities, active or not.
pub const AUTHORITIES_MAX: usize = 64;
/// Longest certificate of an authority, bytes of DER.
pub const CERTIFICATE_BYTES_MAX: usize = 8_192;

impl Control {
    /// Registers the authority of the one certificate in `pem`; Conflict when it is there already.
    pub async fn register_authority(&self, pem: &str, active: bool) -> Result<Authority, Refused> {
        let certificate = read(pem)?;
        let id = Fingerprint::of(&certificate);
        let now = now_unix_ms();
        let record = records::Authority {
            certificate: Der(certificate),
            is_active: active,
            created_unix_ms: now,
            changed_unix_ms: now,
            version: 1,
        };
        let authority = described(id, record.clone()).map_err(refuse)?;
        for _ in 0..TRIES_MAX {
            if self.raw_authority(id).is_ok() {
                let message = "The CA certificate is registered already.";
                return Err(Refused::conflict(ResourceType::Authority, id, message));
            }
            let mut draft = Draft::default();
            draft.or_again(Guard::Absent(Table::Authorities, id.0.to_vec()));
            self.draft_one_more(&mut draft)?;
            draft.tx.put(Table::Authorities, id.0, records::encode(&record));
            if let Committed::Done = self.commit(draft).await? {
                self.ask(Request::TrustChanged).await?;
                return Ok(authority);
            }
        }
        Err(contended())
    }

    /// Finds one authority.
    pub async fn authority(&self, id: &str) -> Result<Authority, Refused> {
        let found = authority_id(id).and_then(|id| {
            let record = records::decode(&self.raw_authority(id)?, "authority").map_err(refuse)?;
            described(id, record).map_err(refuse)
        });
        std::future::ready(found).await
    }

    /// All authorities, in no particular order.
    pub async fn authorities(&self) -> Result<Vec<Authority>, Refused> {
        let read = |(key, value): (Vec<u8>, Vec<u8>)| {
            let id = key.try_into().map_err(|_| DAMAGED)?;
            described(Fingerprint(id), records::decode(&value, "authority")?)
        };
        let found = self.held.store.scan(Table::Authorities, &[], None, AUTHORITIES_MAX);
        let found = found.and_then(|entries| entries.into_iter().map(read).collect());
        std::future::ready(found.map_err(refuse)).await
    }

    /// Activates or deactivates an authority; `None` changes nothing. Sessions that it vouched for
    /// go on until they end; no new one begins.
    pub async fn change_authority(&self, id: &str, active: Option<bool>) -> Result<(), Refused> {
        let id = authority_id(id)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_authority(id)?;
            let mut record: records::Authority =
                records::decode(&raw, "authority").map_err(refuse)?;
            let Some(active) = active.filter(|&active| active != record.is_active) else {
                return Ok(());
            };
            record.is_active = active;
            record.changed_unix_ms = now_unix_ms();
            record.version += 1;
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Authorities, id.0.to_vec(), raw));
            draft.tx.put(Table::Authorities, id.0, records::encode(&record));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::TrustChanged).await;
            }
        }
        Err(contended())
    }

    /// Deletes an authority that is not active.
    pub async fn delete_authority(&self, id: &str) -> Result<(), Refused> {
        let id = authority_id(id)?;
        for _ in 0..TRIES_MAX {
            let raw = self.raw_authority(id)?;
            let record: records::Authority = records::decode(&raw, "authority").map_err(refuse)?;
            if record.is_active {
                let message = "The CA certificate must be INACTIVE to be deleted.".to_owned();
                return Err(Refused::State { message });
            }
            let mut draft = Draft::default();
            draft.or_again(Guard::Unchanged(Table::Authorities, id.0.to_vec(), raw));
            draft.tx.delete(Table::Authorities, id.0);
            if let Committed::Done = self.commit(draft).await? {
                return Ok(());
            }
        }
        Err(contended())
    }

    /// Room for one more: nobody else takes it meanwhile.
    fn draft_one_more(&self, draft: &mut Draft) -> Result<(), Refused> {
        const CHANGES: &[u8] = b"authorities";
        let raw = self.held.store.get(Table::Meta, CHANGES).map_err(refuse)?;
        draft.or_again(match raw {
            Some(raw) => Guard::Unchanged(Table::Meta, CHANGES.to_vec(), raw),
            None => Guard::Absent(Table::Meta, CHANGES.to_vec()),
        });
        draft.tx.put(Table::Meta, CHANGES, rand::random::<[u8; 16]>());
        let found = self.held.store.scan(Table::Authorities, &[], None, AUTHORITIES_MAX);
        if found.map_err(refuse)?.len() == AUTHORITIES_MAX {
            let message = format!("There are {AUTHORITIES_MAX} CA certificates: delete one first.");
            return Err(Refused::Limit { message });
        }
        Ok(())
    }

    fn raw_authority(&self, id: Fingerprint) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(Table::Authorities, &id.0).map_err(refuse)?;
        raw.ok_or_else(|| Refused::not_found(ResourceType::Authority, id))
    }
}

const DAMAGED: StoreError = StoreError::Corrupt("authority");

fn authority_id(text: &str) -> Result<Fingerprint, Refused> {
    text.parse().map_err(|_| Refused::not_found(ResourceType::Authority, text))
}

fn described(id: Fingerprint, record: records::Authority) -> Result<Authority, StoreError> {
    let validity = certificate::validity(&record.certificate.0).map_err(|_| DAMAGED)?;
    Ok(Authority {
        id,
        certificate: record.certificate.0,
        is_active: record.is_active,
        created_unix_ms: record.created_unix_ms,
        changed_unix_ms: record.changed_unix_ms,
        version: record.version,
        not_before_unix_s: validity.from_unix_s,
        not_after_unix_s: validity.until_unix_s,
    })
}

/// The DER of the one certificate in `pem`, which is an authority's and good now.
fn read(pem: &str) -> Result<Vec<u8>, Refused> {
    let refused = |message: String| Refused::Certificate { message };
    let blocks = pem::blocks(pem).unwrap_or_default();
    let [block] = blocks.as_slice() else {
        return Err(refused("caCertificate must be one certificate as PEM.".to_owned()));
    };
    if block.label != pem::CERTIFICATE {
        return Err(refused("caCertificate must be a CERTIFICATE.".to_owned()));
    }
    if block.der.len() > CERTIFICATE_BYTES_MAX {
        return Err(refused(format!(
            "The CA certificate must have at most {CERTIFICATE_BYTES_MAX} bytes."
        )));
    }
    let checked = certificate::check_authority(&block.der);
    let validity = checked.and_then(|()| certificate::validity(&block.der));
    let validity = validity.map_err(|error| {
        refused(match error {
            CertificateError::WrongUse => "The certificate is not a CA certificate: it needs the \
                basic constraint CA:TRUE and, with a key usage, keyCertSign."
                .to_owned(),
            other => format!("The CA certificate can't be used: {other}."),
        })
    })?;
    let now_unix_s = now_unix_ms() / 1_000;
    if now_unix_s > validity.until_unix_s {
        return Err(refused("The CA certificate has expired.".to_owned()));
    }
    if now_unix_s < validity.from_unix_s {
        return Err(refused("The CA certificate is not valid yet.".to_owned()));
    }
    Ok(block.der.to_vec())
}
