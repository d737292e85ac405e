//! Is every operation answered once successfully and once with each error shape that its model
//! declares? By boto3; what can't happen is listed here with its reason, and nothing else is
//! missing.

#![forbid(unsafe_code)]

use std::fs;

use serde_json::json;
use tidegate_tests::aws::Aws;
use tidegate_tests::calls;
use tidegate_tests::edge::REGION;
use tidegate_tests::pki::Pki;

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

#[test]
fn every_operation_succeeds_once_and_fails_once_by_each_shape() {
    let edge = calls::edge();
    let pki = Pki::new();
    let mut given = calls::given(&edge, &pki);
    let leaf = fs::read_to_string(pki.certified("leaf").certificate).expect("openssl wrote it");
    let [root, nobody, slow] = [edge.root_key(), calls::nobody(&edge), calls::slow(&edge)]
        .map(|key| json!({ "id": key.access_key_id, "secret": key.secret_access_key }));
    let more = json!({
        "url": format!("http://127.0.0.1:{}", edge.http_port), "region": REGION, "leaf": leaf,
        "root": root, "nobody": nobody, "slow": slow,
    });
    let (given_, more) = (given.as_object_mut(), more.as_object());
    given_.expect("an object").extend(more.expect("an object").clone());
    let told = Aws::of(&edge).python("aws_errors.py", &given).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(told["never_succeeded"], json!(calls::NEVER_SUCCEED), "{told}");
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
