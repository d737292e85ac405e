//! How is a change made so that nobody's change gets lost? Compare and set, and try again.

use tokio::sync::oneshot;

use super::Control;
use crate::model::{Device, Refused, ResourceType};
use crate::store::names::{Name, Replacement};
use crate::store::{Guard, Receipt, StoreError, Table, Transaction};

/// A transaction whose guards know what to say when they do not hold.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) tx: Transaction,
    meanings: Vec<Option<Refused>>,
}

/// What became of a draft.
pub(super) enum Committed {
    Done,
    /// Somebody was faster: read again, decide again.
    Again,
}

/// Bound: how often a change is tried before it is called contended.
pub(super) const TRIES_MAX: usize = 16;

impl Draft {
    /// When the guard does not hold, the change is refused so.
    pub(super) fn or_refuse(&mut self, guard: Guard, refused: Refused) {
        self.tx.when(guard);
        self.meanings.push(Some(refused));
    }

    /// When the guard does not hold, what the draft was made from is no longer true.
    pub(super) fn or_again(&mut self, guard: Guard) {
        self.tx.when(guard);
        self.meanings.push(None);
    }

    /// What must not be there, and what is said when it is.
    pub(super) fn absent(&self) -> impl Iterator<Item = (Table, &[u8], &Refused)> {
        let guards = self.tx.guards.iter().zip(&self.meanings);
        guards.filter_map(|(guard, meaning)| match (guard, meaning) {
            (Guard::Absent(table, key), Some(refused)) => Some((*table, key.as_slice(), refused)),
            _ => None,
        })
    }

    /// Takes the other in: both or neither.
    pub(super) fn absorb(&mut self, other: Self) {
        self.tx.guards.extend(other.tx.guards);
        self.tx.changes.extend(other.tx.changes);
        self.meanings.extend(other.meanings);
    }

    /// From now on the device is known by what `after` says, and its stamp is another one.
    pub(super) fn replaces(&mut self, before: Option<&Device>, after: Option<&Device>) {
        let replacement = Replacement::new(before, after);
        for (guard, name) in replacement.guards {
            let what = match name {
                Name::RawPublicKey(_) => "RawPublicKey",
                Name::Certificate(_) => "CertificateName",
                Name::CertificateFingerprint(_) => "CertificateFingerprint",
                Name::Address(_) => "SourceAddress",
            };
            let message = format!("Another device has this {what}.");
            let refused = Refused::conflict(ResourceType::WirelessDevice, "", message);
            self.or_refuse(guard, refused);
        }
        self.tx.changes.extend(replacement.changes);
    }
}

impl Control {
    pub(super) async fn commit(&self, draft: Draft) -> Result<Committed, Refused> {
        let (done, receipt) = oneshot::channel::<Result<Receipt, StoreError>>();
        let done = Box::new(move |result| {
            let _ = done.send(result);
        });
        self.held.store.submit(draft.tx, done);
        match receipt.await {
            Ok(Ok(_)) => Ok(Committed::Done),
            Ok(Err(StoreError::Guarded(guard))) => match draft.meanings.into_iter().nth(guard) {
                Some(Some(refused)) => Err(refused),
                _ => Ok(Committed::Again),
            },
            Ok(Err(error)) => Err(refuse(error)),
            Err(_) => Err(Refused::Internal { message: "the store has stopped".to_owned() }),
        }
    }
}

/// A store error as the API says it; the log has the cause.
pub(super) fn refuse(error: StoreError) -> Refused {
    if error == StoreError::Busy {
        return Refused::Throttled { message: "the store has too much to do".to_owned() };
    }
    if let StoreError::Limit(what, max) = error {
        let message = format!("The account has {max} {what}, and may have no more.");
        return Refused::Limit { message };
    }
    tracing::error!(%error, "the store failed");
    Refused::Internal { message: "the store failed".to_owned() }
}

pub(super) fn contended() -> Refused {
    Refused::Throttled { message: "others change the same resource".to_owned() }
}
