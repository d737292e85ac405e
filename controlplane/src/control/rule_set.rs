//! Which rules are there? Create, replace, find, list, enable, delete.

use std::collections::BTreeSet;

use super::Control;
use super::devices::now_unix_ms;
use super::draft::{Committed, Draft, TRIES_MAX, contended, refuse};
use crate::core::Request;
use crate::model::{Page, PageRequest, Refused, ResourceType, Rule};
use crate::rules::{self, Lane};
use crate::store::{Guard, Table, records};

impl Control {
    /// Creates a rule; Conflict when the name is taken.
    pub async fn create_rule(&self, rule: Rule) -> Result<(), Refused> {
        rules::check(&rule, &self.lanes())?;
        let mut draft = Draft::default();
        let key = rule.name.as_bytes().to_vec();
        let message = "A rule of this name exists.";
        let taken = Refused::conflict(ResourceType::Rule, &rule.name, message);
        draft.or_refuse(Guard::Absent(Table::Rules, key.clone()), taken);
        let rule = Rule { created_unix_ms: now_unix_ms(), ..rule };
        draft.tx.put(Table::Rules, key, records::encode(&rule));
        match self.commit(draft).await? {
            Committed::Done => self.ask(Request::RoutesChanged).await,
            Committed::Again => Err(contended()),
        }
    }

    /// Replaces a rule that exists.
    pub async fn replace_rule(&self, rule: Rule) -> Result<(), Refused> {
        rules::check(&rule, &self.lanes())?;
        let name = rule.name.clone();
        let replace =
            |before: Rule| Rule { created_unix_ms: before.created_unix_ms, ..rule.clone() };
        self.change_rule(&name, replace).await
    }

    /// Finds one rule.
    pub async fn rule(&self, name: &str) -> Result<Rule, Refused> {
        let read = |raw: Vec<u8>| records::decode(&raw, "rule").map_err(refuse);
        std::future::ready(self.raw_rule(name).and_then(read)).await
    }

    /// Lists rules in name order.
    pub async fn rules(&self, page: PageRequest) -> Result<Page<Rule>, Refused> {
        let page = self
            .page(Table::Rules, &[], &page, |(_, value)| records::decode(&value, "rule").map(Some));
        std::future::ready(page).await
    }

    /// Enables or disables a rule.
    pub async fn enable_rule(&self, name: &str, enabled: bool) -> Result<(), Refused> {
        self.change_rule(name, |rule| Rule { disabled: !enabled, ..rule }).await
    }

    /// Deletes a rule; destinations that name it publish nothing until it is back.
    pub async fn delete_rule(&self, name: &str) -> Result<(), Refused> {
        let mut draft = Draft::default();
        let key = name.as_bytes().to_vec();
        let missing = Refused::not_found(ResourceType::Rule, name);
        draft.or_refuse(Guard::Present(Table::Rules, key.clone()), missing);
        draft.tx.delete(Table::Rules, key);
        match self.commit(draft).await? {
            Committed::Done => self.ask(Request::RoutesChanged).await,
            Committed::Again => Err(contended()),
        }
    }

    /// What actions of this account's rules may reach.
    fn lanes(&self) -> BTreeSet<Lane> {
        if self.held.may_reach { self.held.actions.lanes() } else { BTreeSet::new() }
    }

    async fn change_rule(&self, name: &str, change: impl Fn(Rule) -> Rule) -> Result<(), Refused> {
        for _ in 0..TRIES_MAX {
            let raw = self.raw_rule(name)?;
            let rule = records::decode(&raw, "rule").map_err(refuse)?;
            let mut draft = Draft::default();
            let key = name.as_bytes();
            draft.or_again(Guard::Unchanged(Table::Rules, key.to_vec(), raw));
            draft.tx.put(Table::Rules, key, records::encode(&change(rule)));
            if let Committed::Done = self.commit(draft).await? {
                return self.ask(Request::RoutesChanged).await;
            }
        }
        Err(contended())
    }

    fn raw_rule(&self, name: &str) -> Result<Vec<u8>, Refused> {
        let raw = self.held.store.get(Table::Rules, name.as_bytes()).map_err(refuse)?;
        raw.ok_or_else(|| Refused::not_found(ResourceType::Rule, name))
    }
}
