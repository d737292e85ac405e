//! What stands in the store before a run? The devices, their credentials, and where their uplinks
//! go: as the API writes it.

use tidegate_controlplane::model::{
    ApplicationProfile, Destination, Device, DeviceId, EdgeResource, ExpressionType, ProfileId,
    ProfileTerms,
};
use tidegate_controlplane::policy::{Scope, compile};
use tidegate_controlplane::store::names::{Replacement, Standing};
use tidegate_controlplane::store::records::{Der, Identity, PolicyRecord, decode, encode};
use tidegate_controlplane::store::{Store, Table, Transaction, keys};

use serde_json::json;

use super::checks::value_text;
use super::controlplane::vault;
use super::device::{identity, key};
use super::plan::{DevicePlan, FRESH_S};
use super::unsecured::{NETWORK, barred, block, replacement};

/// Of devices, when a run begins.
pub(crate) const UNIX_MS: u64 = 1_795_000_000_000;

/// The id of a device.
pub(crate) fn device_id(number: usize) -> DeviceId {
    DeviceId((number as u128 + 1).to_be_bytes())
}

/// The number of a device with this id.
pub(crate) fn number_of(id: [u8; 16]) -> Option<usize> {
    usize::try_from(u128::from_be_bytes(id)).ok()?.checked_sub(1)
}

/// Writes the records of these devices.
pub(crate) fn provision(store: &dyn Store, plans: &[DevicePlan]) {
    let mut tx = Transaction::new();
    let destination = Destination {
        name: "somewhere".to_owned(),
        expression_type: ExpressionType::MqttTopic,
        expression: "uplinks".to_owned(),
        description: None,
        role_arn: "arn:aws:iam::000000000000:role/x".to_owned(),
        tags: Vec::new(),
        created_unix_ms: UNIX_MS,
    };
    tx.put(Table::Destinations, "somewhere", encode(&destination));
    let profile = must_be_fresh();
    tx.put(Table::Profiles, profile.id.0, encode(&profile));
    for plan in plans {
        let DevicePlan { number, security, .. } = plan;
        let value = value(*number);
        tx.put(
            Table::Resources,
            keys::edge_resource(device_id(*number), &value.path),
            encode(&value),
        );
        let device = device(plan);
        tx.changes.extend(Replacement::new(None, Some(&device)).changes);
        tx.put(Table::Devices, device.id.0, encode(&device));
        let mut standing = Standing::drawn(&device);
        standing.stamp = *number as u64 + 77;
        tx.put(Table::Standings, device.id.0, standing.encode());
        if security.is_plain() {
            continue;
        }
        let name = identity(*number);
        let of = (device.id, NETWORK);
        let sealed = Identity::seal(&vault(), &name, of, &key(*number));
        tx.put(Table::Identities, name.into_bytes(), sealed.encode());
    }
    submit(store, tx);
    for DevicePlan { number, .. } in plans {
        set_policy(store, *number, true);
    }
}

/// Whether a plain device may be one from now on. `stamp`: of the change.
pub(crate) fn set_security(store: &dyn Store, plan: &DevicePlan, allows: bool, stamp: u64) {
    let id = device_id(plan.number);
    let record = store.get(Table::Devices, &id.0).expect("a store in memory");
    let before: Device = decode(&record.expect("it was provisioned"), "device").expect("ours");
    let mut after = device(plan);
    if !allows {
        after.cellular = after.cellular.map(|block| barred(block, stamp));
    }
    submit(store, replacement(&before, &after, stamp));
}

fn submit(store: &dyn Store, tx: Transaction) {
    store.submit(tx, Box::new(|result| assert!(result.is_ok(), "{result:?}")));
}

/// What a device may ask from now on: everything, or nothing. Each policy is its device's own, and
/// so long that those of three do not fit one piece of a sheet.
pub(crate) fn set_policy(store: &dyn Store, number: usize, allows: bool) {
    let effect = if allows { "Allow" } else { "Deny" };
    let arn = |path: &str| format!("arn:aws:iotwireless:*:*:coap/{path}");
    let unused = (0..4).map(|at| arn(&format!("{at}/{number}/{}", "x".repeat(200))));
    let resources: Vec<_> = std::iter::once(arn("*")).chain(unused).collect();
    let statement = json!({"Effect": effect, "Action": "coap:*", "Resource": resources});
    let document = json!({"Version": "2012-10-17", "Statement": [statement]}).to_string();
    let scope = Scope { partition: "aws", region: "us-east-1", account: "000000000000" };
    let compiled = Der(compile(&document, scope).expect("a good policy"));
    let record = PolicyRecord { document, compiled, changed_unix_ms: UNIX_MS };
    let mut tx = Transaction::new();
    tx.put(Table::Policies, keys::policy_of_device(device_id(number)), encode(&record));
    submit(store, tx);
}

/// What the edge has for a device at first.
fn value(number: usize) -> EdgeResource {
    EdgeResource {
        path: VALUE_PATH.to_owned(),
        version: UNIX_MS >> 6,
        content_format: None,
        max_age_s: 86_400,
        changed_unix_ms: UNIX_MS,
        payload: value_text(number, 0).into_bytes(),
        reference: None,
    }
}

/// The profile of devices that have to show that they speak now.
fn must_be_fresh() -> ApplicationProfile {
    ApplicationProfile {
        id: FRESH,
        name: None,
        terms: ProfileTerms { fresh_s: Some(FRESH_S), ..ProfileTerms::default() },
        tags: Vec::new(),
        created_unix_ms: UNIX_MS,
    }
}

const FRESH: ProfileId = ProfileId([7; 16]);

/// Where that is.
pub(crate) const VALUE_PATH: &str = "c";

fn device(plan: &DevicePlan) -> Device {
    Device {
        id: device_id(plan.number),
        name: None,
        description: None,
        destination: "somewhere".to_owned(),
        cellular: Some(block(plan, identity(plan.number))),
        wifi: None,
        positioning: None,
        application_profile: plan.is_fresh.then_some(FRESH),
        thing_arn: None,
        tags: Vec::new(),
        created_unix_ms: UNIX_MS,
    }
}
