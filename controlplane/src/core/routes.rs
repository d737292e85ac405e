//! Where do a device's uplinks go? Device → destination → topic, or rule → republish topic.

use std::sync::Arc;

use super::{ByDevice, Core};
use crate::model::{Destination, Device, DeviceId, ExpressionType, Rule};
use crate::rules;
use crate::store::records::read;
use crate::store::{Store, StoreError, Table};

/// Where one device's uplinks go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// To this topic.
    Topic(Arc<str>),
    /// Nowhere: no destination, no rule, or a disabled one.
    Nowhere,
    /// There is no such device.
    Stranger,
}

/// Routes found before. Forgotten whole when a destination or rule changes: between two inputs,
/// so a batch sees one generation.
#[derive(Default)]
pub(super) struct Routes {
    known: ByDevice<Route>,
}

/// Bound: routes kept; at the bound all are looked up anew.
const ROUTES_MAX: usize = 65_536;

impl Routes {
    pub(super) fn forget(&mut self, device: DeviceId) {
        self.known.remove(&device);
    }

    pub(super) fn clear(&mut self) {
        self.known.clear();
    }
}

impl Core {
    pub(super) fn route(&mut self, device: DeviceId) -> Result<Route, StoreError> {
        if let Some(route) = self.routes.known.get(&device) {
            return Ok(route.clone());
        }
        let route = find(&*self.store, device)?;
        if self.routes.known.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        self.routes.known.insert(device, route.clone());
        Ok(route)
    }
}

fn find(store: &dyn Store, device: DeviceId) -> Result<Route, StoreError> {
    let Some(device) = read::<Device>(store, Table::Devices, &device.0)? else {
        return Ok(Route::Stranger);
    };
    let name = device.destination.as_bytes();
    let Some(destination) = read::<Destination>(store, Table::Destinations, name)? else {
        return Ok(Route::Nowhere);
    };
    let topic = match destination.expression_type {
        ExpressionType::MqttTopic => Some(destination.expression),
        ExpressionType::RuleName => {
            let rule = read::<Rule>(store, Table::Rules, destination.expression.as_bytes())?;
            rule.and_then(|rule| rules::republish_topic(&rule).map(str::to_owned))
        }
    };
    Ok(topic.map_or(Route::Nowhere, |topic| Route::Topic(topic.into())))
}
