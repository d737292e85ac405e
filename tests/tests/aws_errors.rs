//! Is every operation answered once successfully and once with each error shape that its model
//! declares? By boto3; what can't happen is listed here with its reason, and nothing else is
//! missing.

#![forbid(unsafe_code)]

use std::fs;

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::aws::Aws;
use tidegate_tests::edge::{Edge, Options, REGION};
use tidegate_tests::pki::Pki;
use tidegate_tests::process::Process;

/// What the models declare and no call here makes: why, and which. `*` is every operation.
const CAN_NOT_HAPPEN: &[(&str, &[&str])] = &[
    (
        "The store has to fail: controlplane/src/api/tests/store_fails.rs makes it, under each.",
        &["* InternalServerException", "* InternalException", "* InternalFailureException"],
    ),
    (
        "A setting of the caller's account: it is always there, and its last writer wins.",
        &[
            "GetLogLevelsByResourceTypes ResourceNotFoundException",
            "UpdateLogLevelsByResourceTypes ResourceNotFoundException",
            "UpdateLogLevelsByResourceTypes ConflictException",
            "ResetAllResourceLogLevels ResourceNotFoundException",
            "GetMetricConfiguration ResourceNotFoundException",
            "GetMetricConfiguration ConflictException",
            "UpdateMetricConfiguration ResourceNotFoundException",
            "UpdateMetricConfiguration ConflictException",
        ],
    ),
    (
        "The call has nothing in it that could be wrong.",
        &[
            "GetLogLevelsByResourceTypes ValidationException",
            "ResetAllResourceLogLevels ValidationException",
            "GetMetricConfiguration ValidationException",
        ],
    ),
    (
        "A question that can't be answered fails by itself, in the answer.",
        &["GetMetrics ResourceNotFoundException", "GetMetrics ConflictException"],
    ),
    (
        "Changes are compared and set, and tried again: nothing is in the way of these.",
        &[
            "TagResource ConflictException",
            "UntagResource ConflictException",
            "ListTagsForResource ConflictException",
            "UpdateResourceEventConfiguration ConflictException",
            "DisassociateWirelessDeviceFromThing ConflictException",
            "GetWirelessDeviceImportTask ConflictException",
            "ListWirelessDeviceImportTasks ConflictException",
            "ListWirelessDeviceImportTasks ResourceNotFoundException",
            "ListDevicesForWirelessDeviceImportTask ConflictException",
            "DeleteWirelessDeviceImportTask ConflictException",
            "* ConflictingResourceUpdateException",
        ],
    ),
    (
        "Roles are kept, and nobody looks for them.",
        &["CreateDestination ResourceNotFoundException"],
    ),
    (
        "Profiles of radio can't be made, so none is in the way.",
        &[
            "CreateDeviceProfile ConflictException",
            "DeleteDeviceProfile ConflictException",
            "CreateServiceProfile ConflictException",
            "DeleteServiceProfile ConflictException",
        ],
    ),
    (
        "AWS answers AccessDeniedException to who may not, and so it is here: each operation does.",
        &["* UnauthorizedException"],
    ),
    ("One process serves all of it: what fails is the store.", &["* ServiceUnavailableException"]),
    (
        "Mode SNI_ONLY has no registration code and no template.",
        &[
            "RegisterCACertificate RegistrationCodeValidationException",
            "RegisterCACertificate ResourceNotFoundException",
        ],
    ),
    (
        "64 authorities are registered in controlplane/src/api/tests/authorities.rs, and one more.",
        &["RegisterCACertificate LimitExceededException"],
    ),
];

/// They say how a radio is used, and no device here has one: none is made, found or deleted.
const NEVER_SUCCEED: [&str; 6] = [
    "CreateDeviceProfile",
    "CreateServiceProfile",
    "DeleteDeviceProfile",
    "DeleteServiceProfile",
    "GetDeviceProfile",
    "GetServiceProfile",
];

#[test]
fn every_operation_succeeds_once_and_fails_once_by_each_shape() {
    let controlplane = "[endpoints]\ncoap = \"coaps://edge.example.com:5684\"\n".to_owned();
    let edge = Edge::with(&Options { controlplane, ..Options::default() });
    let pki = Pki::new();
    let leaf = pki.certified("leaf");
    let read = |path| fs::read_to_string(path).expect("openssl wrote it");
    let document = edge.api().succeed("GET", "/openapi.json", &Value::Null);
    let now = std::time::UNIX_EPOCH.elapsed().expect("a time after 1970").as_secs();
    let root = edge.root_key();
    let given = json!({
        "url": format!("http://127.0.0.1:{}", edge.http_port), "region": REGION, "now": now,
        "document": document, "ca": read(pki.authority()), "leaf": read(leaf.certificate),
        "root": { "id": root.access_key_id, "secret": root.secret_access_key },
        "nobody": nobody(&edge), "slow": slow(&edge),
    });
    let told = Aws::of(&edge).python("aws_errors.py", &given).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(told["never_succeeded"], json!(NEVER_SUCCEED), "{told}");
    let unseen = told["unseen"].as_array().expect("a list").iter();
    let unseen: Vec<String> =
        unseen.map(|entry| entry.as_str().expect("text").to_owned()).collect();
    let listed: Vec<&str> =
        CAN_NOT_HAPPEN.iter().flat_map(|(_, entries)| *entries).copied().collect();
    let is_of = |entry: &str, listed: &str| match listed.strip_prefix('*') {
        Some(shape) => entry.ends_with(shape),
        None => entry == listed,
    };
    let missing = unseen.iter().filter(|entry| !listed.iter().any(|of| is_of(entry, of)));
    let missing: Vec<_> = missing.collect();
    assert!(missing.is_empty(), "no call makes these, and nothing says why: {missing:#?}");
    let happened = listed.iter().filter(|of| !unseen.iter().any(|entry| is_of(entry, of)));
    let happened: Vec<_> = happened.collect();
    assert!(happened.is_empty(), "these are listed and happen: {happened:#?}");
    assert!(told["constraints"].as_u64() > Some(150), "{told}");
}

/// A user whom no policy allows anything.
fn nobody(edge: &Edge) -> Value {
    admin(edge, &["user", "create", "nobody"]);
    key(&admin(edge, &["key", "create", "--user", "nobody"]))
}

/// The root of an account that may call an operation once a second.
fn slow(edge: &Edge) -> Value {
    let account = admin(edge, &["account", "create", "slow"]);
    let id = text(&account, "AccountId");
    admin(edge, &["quota", "set", "--account", &id, "api_rate", "1"]);
    key(&account)
}

fn key(made: &Value) -> Value {
    json!({ "id": made["AccessKeyId"], "secret": made["SecretAccessKey"] })
}

fn admin(edge: &Edge, order: &[&str]) -> Value {
    let said = Process::run("admin", edge.controlplane_command("admin").args(order));
    let said = said.unwrap_or_else(|e| panic!("{order:?}: {e}"));
    serde_json::from_str(&said).unwrap_or_else(|e| panic!("{order:?}: {e}: {said}"))
}
