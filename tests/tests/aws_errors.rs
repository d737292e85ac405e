//! Is every operation answered once successfully and once with each error shape that its model
//! declares? By boto3; what can't happen is listed here with its reason, and nothing else is missing.

#![forbid(unsafe_code)]

use std::collections::BTreeSet;
use std::fs;

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::aws::Aws;
use tidegate_tests::edge::{Edge, Options, REGION};
use tidegate_tests::pki::Pki;
use tidegate_tests::process::Process;

/// What the models declare and no call here makes: why, and which.
const CAN_NOT_HAPPEN: &[(&str, &[&str])] = &[(
    "The call changes or reads the setting of the caller's account: it is always there, and its \
      last writer wins.",
    &[
        "UpdateLogLevelsByResourceTypes ResourceNotFoundException",
        "UpdateLogLevelsByResourceTypes ConflictException",
        "GetLogLevelsByResourceTypes ResourceNotFoundException",
        "ResetAllResourceLogLevels ResourceNotFoundException",
        "GetMetricConfiguration ResourceNotFoundException",
        "GetMetricConfiguration ConflictException",
        "UpdateMetricConfiguration ResourceNotFoundException",
        "UpdateMetricConfiguration ConflictException",
    ],
)];

/// The store fails under each operation in `controlplane/src/api/tests/store_fails.rs`.
const NEEDS_A_STORE_THAT_FAILS: [&str; 3] =
    ["InternalServerException", "InternalException", "InternalFailureException"];

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
    assert_eq!(told["never_succeeded"], json!([]), "{told}");
    let unseen: BTreeSet<String> = told["unseen"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|entry| entry.as_str().expect("text").to_owned())
        .filter(|entry| !NEEDS_A_STORE_THAT_FAILS.iter().any(|shape| entry.ends_with(shape)))
        .collect();
    let listed: BTreeSet<String> = CAN_NOT_HAPPEN
        .iter()
        .flat_map(|(_, entries)| entries.iter().map(|entry| (*entry).to_owned()))
        .collect();
    let missing: Vec<&String> = unseen.difference(&listed).collect();
    let happened: Vec<&String> = listed.difference(&unseen).collect();
    assert!(missing.is_empty(), "no call makes these, and nothing says why: {missing:#?}");
    assert!(happened.is_empty(), "these are listed and can happen: {happened:#?}");
    assert!(told["constraints"].as_u64() > Some(60), "{told}");
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
