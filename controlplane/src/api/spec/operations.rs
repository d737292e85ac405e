//! Which query, body and answer has each operation? One line each, by its name.

use super::{Kind, Member, iot_shapes, may, must, resource_shapes, shapes};
use crate::api::shape;
use crate::api::validate::Rule;

/// What one operation reads and answers.
pub struct Spec {
    /// `GetWirelessDevice`.
    pub name: &'static str,
    /// Names in the query.
    pub query: &'static [Member],
    /// The body of the request; `None`: it has none.
    pub input: Option<&'static [Member]>,
    /// The status of success.
    pub status: u16,
    /// The body of the answer; `None`: it has none.
    pub output: Option<&'static [Member]>,
}

const fn op(
    name: &'static str,
    query: &'static [Member],
    input: Option<&'static [Member]>,
    status: u16,
    output: Option<&'static [Member]>,
) -> Spec {
    Spec { name, query, input, status, output }
}

const TEXT_RULE: Rule = Rule::length(0, 1024);
const TEXT: Kind = Kind::Text(&TEXT_RULE);
const NO: &[Member] = &[];
const PAGE: &[Member] = shapes::PAGE;
const EMPTY: Option<&'static [Member]> = Some(NO);
const TYPE: &[Member] = &[may("WirelessDeviceType", Kind::Text(&shape::DEVICE_TYPE_FILTER))];
const ACCOUNT_ID: Rule = Rule::length(12, 12);
const ACCOUNT: &[Member] = &[may("accountId", Kind::Text(&ACCOUNT_ID))];
const ARN: Member = must("resourceArn", Kind::Text(&shape::RESOURCE_ARN));
const TAG_KEYS: Member = must("tagKeys", Kind::List(&Kind::Text(&shape::TAG_KEY), shape::TAGS_MAX));
const NEXT: Member = may("nextToken", shapes::NEXT_TOKEN);
const RESOURCE_RULE: Rule = Rule::one_of(&["WirelessDevice", "WirelessGateway", "FuotaTask"]);
/// AWS's model has no enum for it; these are what it is.
const RESOURCE_TYPE: &[Member] = &[must("resourceType", Kind::Text(&RESOURCE_RULE))];
const EVENT_RESOURCE: Rule =
    Rule::one_of(&["SidewalkAccount", "WirelessDevice", "WirelessGateway"]);
const PARTNER: Rule = Rule::one_of(&["Sidewalk"]);
const IDENTIFIER_TYPE: &[Member] = &[
    must("identifierType", Kind::Text(&shapes::IDENTIFIER_TYPE)),
    may("partnerType", Kind::Text(&PARTNER)),
];
const SERVICE_TYPE: Rule = Rule::one_of(&["CUPS", "LNS", "COAP"]);
const PROFILE_TYPE: Rule = Rule::one_of(&["Sidewalk", "LoRaWAN"]);

const POLICY_RULE: Rule = Rule::length(1, crate::policy::DOCUMENT_BYTES_MAX);
/// As text, or as it is.
const POLICY: &[Member] =
    &[must("PolicyDocument", Kind::OneOf(&[Kind::Text(&POLICY_RULE), Kind::Structure(NO)]))];
const HELD_POLICY: &[Member] =
    &[must("PolicyDocument", Kind::Text(&POLICY_RULE)), must("LastModifiedAt", TEXT)];
const LOG_EVENT: &[Member] = &[
    may("eventId", TEXT),
    may("logStreamName", TEXT),
    may("timestamp", Kind::Integer(0, i64::MAX)),
    may("ingestionTime", Kind::Integer(0, i64::MAX)),
    may("message", TEXT),
];

/// Every operation.
pub const SPECS: &[Spec] = &[
    op("PutWirelessDevicePolicy", NO, Some(POLICY), 204, None),
    op("GetWirelessDevicePolicy", NO, None, 200, Some(HELD_POLICY)),
    op("DeleteWirelessDevicePolicy", NO, None, 204, None),
    op("PutApplicationProfilePolicy", NO, Some(POLICY), 204, None),
    op("GetApplicationProfilePolicy", NO, None, 200, Some(HELD_POLICY)),
    op("DeleteApplicationProfilePolicy", NO, None, 204, None),
    op(
        "ListCustomerLogs",
        &[
            may("wirelessDeviceId", TEXT),
            may("startTime", Kind::Integer(0, i64::MAX)),
            may("endTime", Kind::Integer(0, i64::MAX)),
            may("maxResults", Kind::Integer(1, 1_000)),
            NEXT,
            may("follow", Kind::Boolean),
        ],
        None,
        200,
        Some(&[
            may("events", Kind::List(&Kind::Structure(LOG_EVENT), 1_000)),
            may("nextToken", TEXT),
        ]),
    ),
    op("CreateWirelessDevice", NO, Some(shapes::NEW_DEVICE), 201, Some(shapes::MADE)),
    op(
        "ListWirelessDevices",
        &[
            may("maxResults", Kind::Integer(0, 250)),
            NEXT,
            may("destinationName", Kind::Text(&shape::DESTINATION_NAME)),
            may("wirelessDeviceType", Kind::Text(&shape::DEVICE_TYPE_FILTER)),
            may("applicationProfileId", Kind::Text(&shape::IDENTIFIER)),
            may("deviceProfileId", Kind::Text(&shape::IDENTIFIER)),
            may("serviceProfileId", Kind::Text(&shape::IDENTIFIER)),
            may("fuotaTaskId", Kind::Text(&shape::IDENTIFIER)),
            may("multicastGroupId", Kind::Text(&shape::IDENTIFIER)),
        ],
        None,
        200,
        Some(shapes::DEVICES),
    ),
    op(
        "GetWirelessDevice",
        &[must("identifierType", Kind::Text(&shape::IDENTIFIER_TYPE))],
        None,
        200,
        Some(shapes::DEVICE),
    ),
    op("UpdateWirelessDevice", NO, Some(shapes::DEVICE_CHANGE), 204, None),
    op("DeleteWirelessDevice", NO, None, 204, None),
    op("GetWirelessDeviceStatistics", NO, None, 200, Some(shapes::STATISTICS)),
    op("AssociateWirelessDeviceWithThing", NO, Some(shapes::THING), 204, None),
    op("DisassociateWirelessDeviceFromThing", NO, None, 204, None),
    op("DeregisterWirelessDevice", TYPE, None, 200, EMPTY),
    op("SendDataToWirelessDevice", NO, Some(shapes::SEND), 202, Some(shapes::SENT)),
    op(
        "ListQueuedMessages",
        &[
            may("maxResults", Kind::Integer(0, 250)),
            NEXT,
            may("WirelessDeviceType", Kind::Text(&shape::DEVICE_TYPE_FILTER)),
        ],
        None,
        200,
        Some(shapes::QUEUE),
    ),
    op(
        "DeleteQueuedMessages",
        &[
            must("messageId", TEXT),
            may("WirelessDeviceType", Kind::Text(&shape::DEVICE_TYPE_FILTER)),
        ],
        None,
        204,
        None,
    ),
    op("GetMessageStatus", NO, None, 200, Some(shapes::MESSAGE_STATUS)),
    op(
        "PutWirelessDeviceResource",
        NO,
        Some(resource_shapes::RESOURCE),
        200,
        Some(resource_shapes::RESOURCE_SET),
    ),
    op("ListWirelessDeviceResources", PAGE, None, 200, Some(resource_shapes::RESOURCES)),
    op("DeleteWirelessDeviceResource", &[must("uriPath", TEXT)], None, 204, None),
    op(
        "CreatePayload",
        NO,
        Some(resource_shapes::NEW_PAYLOAD),
        201,
        Some(resource_shapes::PAYLOAD),
    ),
    op(
        "PutPayloadPart",
        NO,
        Some(resource_shapes::PAYLOAD_PART),
        200,
        Some(resource_shapes::PAYLOAD),
    ),
    op("GetPayload", NO, None, 200, Some(resource_shapes::PAYLOAD)),
    op("ListPayloads", PAGE, None, 200, Some(resource_shapes::PAYLOADS)),
    op("DeletePayload", NO, None, 204, None),
    op("CreateDestination", NO, Some(shapes::NEW_DESTINATION), 201, Some(shapes::MADE_DESTINATION)),
    op("ListDestinations", PAGE, None, 200, Some(shapes::DESTINATIONS)),
    op("GetDestination", NO, None, 200, Some(shapes::DESTINATION)),
    op("UpdateDestination", NO, Some(shapes::DESTINATION_CHANGE), 204, None),
    op("DeleteDestination", NO, None, 204, None),
    op("CreateApplicationProfile", NO, Some(shapes::NEW_PROFILE), 201, Some(shapes::MADE)),
    op("ListApplicationProfiles", PAGE, None, 200, Some(shapes::PROFILES)),
    op("GetApplicationProfile", NO, None, 200, Some(shapes::PROFILE)),
    op("UpdateApplicationProfile", NO, Some(shapes::PROFILE_CHANGE), 204, None),
    op("DeleteApplicationProfile", NO, None, 204, None),
    op("TagResource", &[ARN], Some(shapes::TAGGING), 204, None),
    op("UntagResource", &[ARN, TAG_KEYS], None, 204, None),
    op("ListTagsForResource", &[ARN], None, 200, Some(shapes::TAGGING)),
    op("GetLogLevelsByResourceTypes", NO, None, 200, Some(shapes::LOG_LEVELS)),
    op("UpdateLogLevelsByResourceTypes", NO, Some(shapes::LOG_LEVELS), 200, EMPTY),
    op("GetResourceLogLevel", RESOURCE_TYPE, None, 200, Some(shapes::RESOURCE_LOG_LEVEL)),
    op("PutResourceLogLevel", RESOURCE_TYPE, Some(shapes::RESOURCE_LOG_LEVEL), 200, EMPTY),
    op("ResetResourceLogLevel", RESOURCE_TYPE, None, 204, None),
    op("ResetAllResourceLogLevels", NO, None, 204, None),
    op("GetEventConfigurationByResourceTypes", NO, None, 200, Some(shapes::EVENTS)),
    op("UpdateEventConfigurationByResourceTypes", NO, Some(shapes::EVENTS), 204, None),
    op("GetResourceEventConfiguration", IDENTIFIER_TYPE, None, 200, Some(shapes::RESOURCE_EVENTS)),
    op(
        "UpdateResourceEventConfiguration",
        IDENTIFIER_TYPE,
        Some(shapes::RESOURCE_EVENTS),
        204,
        None,
    ),
    op(
        "ListEventConfigurations",
        &[
            must("resourceType", Kind::Text(&EVENT_RESOURCE)),
            may("maxResults", Kind::Integer(0, 250)),
            NEXT,
        ],
        None,
        200,
        Some(shapes::EVENT_LIST),
    ),
    op("GetMetricConfiguration", NO, None, 200, Some(shapes::METRIC_CONFIGURATION)),
    op("UpdateMetricConfiguration", NO, Some(shapes::METRIC_CONFIGURATION), 204, None),
    op("GetMetrics", NO, Some(shapes::METRIC_QUERIES), 200, Some(shapes::METRIC_RESULTS)),
    op("GetAccountQuotas", ACCOUNT, None, 200, Some(shapes::QUOTAS)),
    op("UpdateAccountQuotas", ACCOUNT, Some(shapes::QUOTA_CHANGE), 200, Some(shapes::QUOTAS)),
    op(
        "GetServiceEndpoint",
        &[may("serviceType", Kind::Text(&SERVICE_TYPE))],
        None,
        200,
        Some(shapes::SERVICE_ENDPOINT),
    ),
    op("FollowUplinks", &[may("from", Kind::Integer(0, i64::MAX))], None, 200, None),
    op("ListTopicRules", iot_shapes::RULE_PAGE, None, 200, Some(iot_shapes::RULES)),
    op("CreateTopicRule", NO, Some(iot_shapes::RULE), 200, EMPTY),
    op("GetTopicRule", NO, None, 200, Some(iot_shapes::ONE_RULE)),
    op("ReplaceTopicRule", NO, Some(iot_shapes::RULE), 200, EMPTY),
    op("DeleteTopicRule", NO, None, 200, EMPTY),
    op("EnableTopicRule", NO, None, 200, EMPTY),
    op("DisableTopicRule", NO, None, 200, EMPTY),
    op(
        "RegisterCACertificate",
        iot_shapes::NEW_AUTHORITY_QUERY,
        Some(iot_shapes::NEW_AUTHORITY),
        200,
        Some(iot_shapes::MADE_AUTHORITY),
    ),
    op("DescribeCACertificate", NO, None, 200, Some(iot_shapes::AUTHORITY)),
    op("ListCACertificates", iot_shapes::AUTHORITY_PAGE, None, 200, Some(iot_shapes::AUTHORITIES)),
    op(
        "UpdateCACertificate",
        iot_shapes::AUTHORITY_CHANGE_QUERY,
        Some(iot_shapes::AUTHORITY_CHANGE),
        200,
        None,
    ),
    op("DeleteCACertificate", NO, None, 200, EMPTY),
    op("TestWirelessDevice", NO, None, 200, Some(shapes::TESTED)),
    op("CreateDeviceProfile", NO, Some(shapes::NEW_DEVICE_PROFILE), 201, Some(shapes::MADE)),
    op(
        "ListDeviceProfiles",
        &[
            may("maxResults", Kind::Integer(0, 250)),
            NEXT,
            may("deviceProfileType", Kind::Text(&PROFILE_TYPE)),
        ],
        None,
        200,
        Some(shapes::DEVICE_PROFILES),
    ),
    op("GetDeviceProfile", NO, None, 200, None),
    op("DeleteDeviceProfile", NO, None, 204, None),
    op("CreateServiceProfile", NO, Some(shapes::NEW_SERVICE_PROFILE), 201, Some(shapes::MADE)),
    op("ListServiceProfiles", PAGE, None, 200, Some(shapes::SERVICE_PROFILES)),
    op("GetServiceProfile", NO, None, 200, None),
    op("DeleteServiceProfile", NO, None, 204, None),
    op(
        "StartSingleWirelessDeviceImportTask",
        NO,
        Some(shapes::NEW_SINGLE_IMPORT),
        201,
        Some(shapes::MADE),
    ),
    op("StartWirelessDeviceImportTask", NO, Some(shapes::NEW_IMPORT), 201, Some(shapes::MADE)),
    op(
        "ListDevicesForWirelessDeviceImportTask",
        &[
            must("id", Kind::Text(&shape::IDENTIFIER)),
            may("status", Kind::Text(&shapes::ONBOARDING)),
            may("maxResults", Kind::Integer(0, 250)),
            NEXT,
        ],
        None,
        200,
        Some(shapes::IMPORTED),
    ),
    op("ListWirelessDeviceImportTasks", PAGE, None, 200, Some(shapes::IMPORTS)),
    op("GetWirelessDeviceImportTask", NO, None, 200, Some(shapes::IMPORT)),
    op("UpdateWirelessDeviceImportTask", NO, Some(shapes::IMPORT_CHANGE), 204, None),
    op("DeleteWirelessDeviceImportTask", NO, None, 204, None),
    op("GetOpenApiDocument", NO, None, 200, None),
];

/// What an operation reads and answers.
pub fn of(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}
