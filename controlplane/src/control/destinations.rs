//! Which destinations are there? Create, find, list, change, delete.

use super::Control;
use super::devices::now_unix_ms;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use super::validate;
use crate::core::Request;
use crate::model::{
    Destination, DestinationChange, ExpressionType, Page, PageRequest, Refused, ResourceType,
};
use crate::rules;
use crate::store::{Guard, Table, keys, records};

const OPERATION: &str = "CreateDestination";

impl Control {
    /// Creates a destination. `token` as in [`Control::create_device`].
    pub async fn create_destination(
        &self,
        new: Destination,
        token: Option<&str>,
    ) -> Result<Destination, Refused> {
        check(&new)?;
        let plain = records::encode(&Destination { created_unix_ms: 0, ..new.clone() });
        let mac = self.held.vault.tokens().mac(&[OPERATION.as_bytes(), &plain]);
        let parameters = hex::encode(mac);
        for _ in 0..TRIES_MAX {
            let mut draft = Draft::default();
            let made = self.use_token(&mut draft, OPERATION, token, &parameters, &new.name)?;
            if let Some(made) = made {
                return self.destination(&made).await;
            }
            let destination = Destination { created_unix_ms: now_unix_ms(), ..new.clone() };
            let key = new.name.as_bytes();
            let message = "A destination of this name exists.";
            let taken = Refused::conflict(ResourceType::Destination, &new.name, message);
            draft.or_refuse(Guard::Absent(Table::Destinations, key.to_vec()), taken);
            draft.tx.put(Table::Destinations, key, records::encode(&destination));
            if let Committed::Done = self.commit(draft).await? {
                self.ask(Request::RoutesChanged).await?;
                return Ok(destination);
            }
        }
        Err(contended())
    }

    /// Finds one destination.
    pub async fn destination(&self, name: &str) -> Result<Destination, Refused> {
        let raw = self.raw_destination(name);
        let read = |raw: Vec<u8>| records::decode(&raw, "destination").map_err(refuse);
        std::future::ready(raw.and_then(read)).await
    }

    /// Lists destinations in name order.
    pub async fn destinations(&self, page: PageRequest) -> Result<Page<Destination>, Refused> {
        let page = self.page(Table::Destinations, &[], &page, |(_, value)| {
            records::decode(&value, "destination").map(Some)
        });
        std::future::ready(page).await
    }

    /// Changes a destination.
    pub async fn update_destination(
        &self,
        name: &str,
        change: DestinationChange,
    ) -> Result<(), Refused> {
        for _ in 0..TRIES_MAX {
            let raw = self.raw_destination(name)?;
            let mut destination: Destination =
                records::decode(&raw, "destination").map_err(refuse)?;
            let mut draft = Draft::default();
            let key = name.as_bytes();
            draft.or_again(Guard::Unchanged(Table::Destinations, key.to_vec(), raw));
            if let Some(expression_type) = change.expression_type {
                destination.expression_type = expression_type;
            }
            if let Some(expression) = &change.expression {
                destination.expression.clone_from(expression);
            }
            if let Some(role_arn) = &change.role_arn {
                destination.role_arn.clone_from(role_arn);
            }
            destination.description = change.description.clone().or(destination.description);
            check(&destination)?;
            draft.tx.put(Table::Destinations, key, records::encode(&destination));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::RoutesChanged).await;
            }
        }
        Err(contended())
    }

    /// Deletes a destination; Conflict while a device uses it.
    pub async fn delete_destination(&self, name: &str) -> Result<(), Refused> {
        let mut draft = Draft::default();
        let key = name.as_bytes().to_vec();
        let missing = Refused::not_found(ResourceType::Destination, name);
        draft.or_refuse(Guard::Present(Table::Destinations, key.clone()), missing);
        let message = "Devices use this destination.";
        let used = Refused::conflict(ResourceType::Destination, name, message);
        draft.or_refuse(Guard::NoneUnder(Table::Index, keys::users_of(name)), used);
        draft.tx.delete(Table::Destinations, key);
        match self.commit(draft).await? {
            Committed::Done => self.ask(Request::RoutesChanged).await,
            Committed::Again => Err(contended()),
        }
    }

    fn raw_destination(&self, name: &str) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(Table::Destinations, name.as_bytes()).map_err(refuse)?;
        raw.ok_or_else(|| Refused::not_found(ResourceType::Destination, name))
    }
}

fn check(destination: &Destination) -> Result<(), Refused> {
    validate::destination_name("Name", &destination.name)?;
    validate::text_between("Expression", &destination.expression, 1, 2048)?;
    match destination.expression_type {
        ExpressionType::MqttTopic => rules::check_topic("Expression", &destination.expression)?,
        ExpressionType::RuleName => rules::check_name("Expression", &destination.expression)?,
    }
    validate::text_max("Description", destination.description.as_ref(), 2048)?;
    validate::text_between("RoleArn", &destination.role_arn, 20, 2048)?;
    validate::tags(&destination.tags)
}
