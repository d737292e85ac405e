//! Whom does this worker trust? The trust sheet of the control plane, put together piece by piece.
//!
//! A sheet counts once it is whole and every item of it is good; until then, and when it is not,
//! the last one does. A batch sees one sheet, because pieces come between batches; a handshake
//! under way keeps the one it began with.
//!
//! *Bound:* `TRUST_BYTES_MAX` for the sheet under way.

use super::Worker;
use super::assembly::{Piece, Place};
use super::nosec::NoSec;
use crate::clock::Now;
use crate::fate::Tally;
use crate::net::batch::Outbox;
use crate::slab::State;
use std::collections::BTreeSet;
use std::sync::Arc;
use tidegate_crypto::certificate::{self, Authorities, CertificateError};
use tidegate_crypto::prf::Hash;
use tidegate_crypto::signature::SigningKey;
use tidegate_dtls::certificate::CHAIN_MAX;
use tidegate_dtls::server::{self, Identity};
use tidegate_ring::contract as wire;
use tidegate_ring::trust::{self, Item};

impl Worker {
    /// A piece of a sheet.
    pub(super) fn on_trust(
        &mut self,
        now: Now,
        piece: &wire::Trust,
        bytes: &[u8],
        outbox: &mut Outbox,
    ) {
        let taken = match self.trust_sheet.on_piece(Place::of_trust(piece), bytes) {
            Piece::Taken => return,
            Piece::Whole(sheet) => self.trust(now, sheet.as_bytes(), outbox).is_some(),
            Piece::Refused => false,
        };
        self.counters.tally(if taken { Tally::Trust } else { Tally::TrustRefused });
    }

    /// Takes a whole sheet into use; `None`, and nothing changed, when any item is not good.
    fn trust(&mut self, now: Now, sheet: &[u8], outbox: &mut Outbox) -> Option<()> {
        let items = trust::parse(sheet)?;
        let (identities, authorities) = (identities(&items)?, authorities(&items).ok()?);
        let nosec = items.iter().filter_map(|item| match item {
            Item::NoSec(device) => Some(*device),
            _ => None,
        });
        if nosec.clone().any(|device| wire::Network::from_wire(device.network).is_none()) {
            return None;
        }
        let nosec = NoSec::of_sheet(nosec);
        self.replace_nosec(now, nosec, outbox);
        let trusted: BTreeSet<Fingerprint> = authority_ders(&items).map(fingerprint).collect();
        if !self.trusted.is_subset(&trusted) {
            self.revoke_certificates(now, outbox);
        }
        self.trusted = trusted;
        let dtls_config = server::Config::clone(&self.dtls_config);
        self.dtls_config = Arc::new(server::Config { identities, authorities, ..dtls_config });
        Some(())
    }
}

impl Worker {
    /// An authority is not trusted any more. Which devices it vouched for is not kept, so all that
    /// came with a certificate have to come again. *Why not leave them:* sessions last for weeks,
    /// and an authority is taken away because someone else may have its key.
    fn revoke_certificates(&mut self, now: Now, outbox: &mut Outbox) {
        self.resumptions.forget_all(wire::Claim::Certificate);
        for slot in 0..self.slab.used() {
            let entry = self.slab.get(slot);
            let by_certificate = entry.claim == wire::Claim::Certificate as u8;
            if entry.state() == State::Established && by_certificate {
                self.end_session(now, slot, wire::EndReason::CredentialDropped, outbox);
            }
        }
    }
}

/// SHA-256 of a certificate.
pub(super) type Fingerprint = [u8; 32];

fn fingerprint(der: &[u8]) -> Fingerprint {
    *Hash::Sha256.digest(&[der]).as_bytes().first_chunk().expect("it has 32 bytes")
}

/// Who this server is: the keys of a sheet, each with its certificates and names.
fn identities(items: &[Item<'_>]) -> Option<Vec<Arc<Identity>>> {
    let mut identities: Vec<Identity> = Vec::new();
    for item in items {
        match item {
            Item::Key(pkcs8) => {
                let key = SigningKey::from_pkcs8(pkcs8.0).ok()?;
                identities.push(Identity { key, chain: Vec::new(), names: Vec::new() });
            }
            Item::Chain(der) => identities.last_mut()?.chain.push(der.to_vec()),
            Item::Name(name) => identities.last_mut()?.names.push((*name).to_owned()),
            Item::Authority(_) | Item::NoSec(_) => {}
        }
    }
    identities.iter().all(is_consistent).then(|| identities.into_iter().map(Arc::new).collect())
}

/// Whether a client could verify what this identity shows: the first certificate is of its key.
fn is_consistent(identity: &Identity) -> bool {
    let of_key =
        |der: &Vec<u8>| certificate::leaf(der).is_ok_and(|leaf| leaf.spki == identity.key.spki());
    identity.chain.len() <= CHAIN_MAX && identity.chain.first().is_none_or(of_key)
}

/// Who may vouch for devices; nobody, and no certificate of theirs will do, when none is named.
fn authorities(items: &[Item<'_>]) -> Result<Option<Arc<Authorities>>, CertificateError> {
    let authorities = Authorities::from_ders(authority_ders(items))?;
    Ok((!authorities.is_empty()).then(|| Arc::new(authorities)))
}

fn authority_ders<'a>(items: &[Item<'a>]) -> impl Iterator<Item = &'a [u8]> {
    items.iter().filter_map(|item| match item {
        Item::Authority(der) => Some(*der),
        _ => None,
    })
}
