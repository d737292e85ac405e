//! Where do a device's uplinks go? Device → destination → topic, or rule; and to every rule whose
//! FROM takes the topic.

use std::collections::HashMap;
use std::sync::Arc;

use super::{ByDevice, Core};
use crate::model::{Destination, Device, DeviceId, ExpressionType, Rule};
use crate::rules::Compiled;
use crate::store::account::Account;
use crate::store::records::{self, read};
use crate::store::{Store, StoreError, Table};

/// Where one device's uplinks go.
#[derive(Clone, Debug)]
pub(super) enum Route {
    /// To this topic.
    Topic(Arc<str>),
    /// Through rules.
    Rules(Arc<Ruled>),
    /// Nowhere: no destination, no rule, or a disabled one.
    Nowhere,
    /// There is no such device.
    Stranger,
}

/// A way through rules.
#[derive(Debug)]
pub(super) struct Ruled {
    /// The destination's topic; `None`: the destination names the one rule, and FROM is ignored.
    pub(super) topic: Option<Arc<str>>,
    /// At least one.
    pub(super) rules: Vec<Arc<Compiled>>,
    /// Whose they are, and the device.
    pub(super) account: Account,
}

impl Route {
    /// Does nothing get anywhere while the publisher is away?
    pub(super) fn wants_publisher(&self) -> bool {
        match self {
            Self::Rules(ruled) => {
                ruled.topic.is_some() || ruled.rules.iter().any(|rule| rule.republishes())
            }
            _ => true,
        }
    }
}

/// Routes found before. Forgotten whole when a destination or rule changes: between two inputs,
/// so a batch sees one generation.
#[derive(Default)]
pub(super) struct Routes {
    known: ByDevice<(Account, Route)>,
    /// Every rule of an account that is enabled, compiled once.
    rules: HashMap<Account, Arc<[Arc<Compiled>]>>,
}

/// Bound: routes kept; at the bound all are looked up anew.
const ROUTES_MAX: usize = 65_536;
/// Bound: rules that are read, in name order.
const RULES_MAX: usize = 10_000;

impl Routes {
    pub(super) fn forget(&mut self, device: DeviceId) {
        self.known.remove(&device);
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
        self.rules.clear();
    }

    fn rules(
        &mut self,
        store: &dyn Store,
        account: Account,
    ) -> Result<Arc<[Arc<Compiled>]>, StoreError> {
        if let Some(rules) = self.rules.get(&account) {
            return Ok(rules.clone());
        }
        let mut rules = Vec::new();
        for (_, raw) in store.scan(Table::Rules, &[], None, RULES_MAX)? {
            let rule: Rule = records::decode(&raw, "rule")?;
            if rule.disabled {
                continue;
            }
            match Compiled::new(&rule) {
                Ok(compiled) => rules.push(Arc::new(compiled)),
                Err(why) => tracing::error!(rule = rule.name, %why, "a stored rule can't be run"),
            }
        }
        let rules: Arc<[_]> = rules.into();
        self.rules.insert(account, rules.clone());
        Ok(rules)
    }

    fn find(
        &mut self,
        store: &dyn Store,
        device: DeviceId,
        account: Account,
    ) -> Result<Route, StoreError> {
        let Some(device) = read::<Device>(store, Table::Devices, &device.0)? else {
            return Ok(Route::Stranger);
        };
        let name = device.destination.as_bytes();
        let Some(destination) = read::<Destination>(store, Table::Destinations, name)? else {
            return Ok(Route::Nowhere);
        };
        let (expression, all) = (destination.expression, self.rules(store, account)?);
        let (topic, rules): (Option<Arc<str>>, Vec<_>) = match destination.expression_type {
            ExpressionType::MqttTopic => {
                let taking = all.iter().filter(|rule| rule.takes(&expression)).cloned().collect();
                (Some(expression.into()), taking)
            }
            ExpressionType::RuleName => {
                (None, all.iter().filter(|rule| rule.name() == expression).cloned().collect())
            }
        };
        Ok(match (topic, rules) {
            (None, rules) if rules.is_empty() => Route::Nowhere,
            (Some(topic), rules) if rules.is_empty() => Route::Topic(topic),
            (topic, rules) => Route::Rules(Arc::new(Ruled { topic, rules, account })),
        })
    }
}

impl Core {
    pub(super) fn route(&mut self, device: DeviceId) -> Result<Route, StoreError> {
        if let Some((_, route)) = self.routes.known.get(&device) {
            return Ok(route.clone());
        }
        let account = self.store.owner(device)?.unwrap_or_default();
        let own = self.store.within(account);
        let route = self.routes.find(&**own.as_ref().unwrap_or(&self.store), device, account)?;
        if self.routes.known.len() >= ROUTES_MAX {
            self.routes.known.clear();
        }
        self.routes.known.insert(device, (account, route.clone()));
        Ok(route)
    }

    /// Whose the device is, once its route was found.
    pub(super) fn account_of(&self, device: DeviceId) -> Account {
        self.routes.known.get(&device).map(|(account, _)| *account).unwrap_or_default()
    }

    /// The account's id as rules know it.
    pub(super) fn account_id(&self, account: Account) -> Arc<str> {
        if account == Account::ROOT {
            return self.account_id.clone();
        }
        account.to_string().into()
    }
}
