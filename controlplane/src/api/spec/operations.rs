//! Which query, body and answer has each operation? One line each, by its name.

use super::{Kind, Member, may, must, shapes};
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
const ARN: Member = must("resourceArn", TEXT);
const RESOURCE_TYPE: &[Member] = &[must("resourceType", TEXT)];
const IDENTIFIER_TYPE: &[Member] = &[must("identifierType", TEXT), may("partnerType", TEXT)];
const IOT_PAGE: &[Member] = &[
    may("pageSize", Kind::Integer(1, 250)),
    may("marker", TEXT),
    may("ascendingOrder", TEXT),
    may("isAscendingOrder", TEXT),
];

const POLICY_RULE: Rule = Rule::length(1, crate::policy::DOCUMENT_BYTES_MAX);
const POLICY: &[Member] = &[must("PolicyDocument", Kind::Text(&POLICY_RULE))];
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
    op("GetWirelessDevicePolicy", NO, None, 200, Some(POLICY)),
    op("DeleteWirelessDevicePolicy", NO, None, 204, None),
    op("PutApplicationProfilePolicy", NO, Some(POLICY), 204, None),
    op("GetApplicationProfilePolicy", NO, None, 200, Some(POLICY)),
    op("DeleteApplicationProfilePolicy", NO, None, 204, None),
    op(
        "ListCustomerLogs",
        &[
            may("wirelessDeviceId", TEXT),
            may("startTime", Kind::Integer(0, i64::MAX)),
            may("endTime", Kind::Integer(0, i64::MAX)),
            may("maxResults", Kind::Integer(1, 1_000)),
            may("nextToken", TEXT),
            may("follow", TEXT),
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
            may("nextToken", TEXT),
            may("destinationName", Kind::Text(&shape::DESTINATION_NAME)),
            may("wirelessDeviceType", Kind::Text(&shape::DEVICE_TYPE_FILTER)),
            may("applicationProfileId", Kind::Text(&shape::IDENTIFIER)),
        ],
        None,
        200,
        Some(shapes::DEVICES),
    ),
    op("GetWirelessDevice", &[must("identifierType", TEXT)], None, 200, Some(shapes::DEVICE)),
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
            may("nextToken", TEXT),
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
    op("UntagResource", &[ARN, must("tagKeys", Kind::List(&TEXT, 200))], None, 204, None),
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
            must("resourceType", TEXT),
            may("maxResults", Kind::Integer(0, 250)),
            may("nextToken", TEXT),
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
        &[may("serviceType", TEXT)],
        None,
        200,
        Some(shapes::SERVICE_ENDPOINT),
    ),
    op("FollowUplinks", &[may("from", Kind::Integer(0, i64::MAX))], None, 200, None),
    op("ListTopicRules", PAGE, None, 200, Some(shapes::RULES)),
    op("CreateTopicRule", NO, Some(shapes::RULE), 200, EMPTY),
    op("GetTopicRule", NO, None, 200, EMPTY),
    op("ReplaceTopicRule", NO, Some(shapes::RULE), 200, EMPTY),
    op("DeleteTopicRule", NO, None, 200, EMPTY),
    op("EnableTopicRule", NO, None, 200, EMPTY),
    op("DisableTopicRule", NO, None, 200, EMPTY),
    op(
        "RegisterCACertificate",
        &[may("setAsActive", TEXT), may("allowAutoRegistration", TEXT)],
        Some(&[must("caCertificate", TEXT), may("certificateMode", TEXT)]),
        200,
        EMPTY,
    ),
    op("DescribeCACertificate", NO, None, 200, EMPTY),
    op("ListCACertificates", IOT_PAGE, None, 200, EMPTY),
    op(
        "UpdateCACertificate",
        &[may("newStatus", TEXT), may("newAutoRegistrationStatus", TEXT)],
        None,
        200,
        EMPTY,
    ),
    op("DeleteCACertificate", NO, None, 200, EMPTY),
    op("StartWirelessDeviceImportTask", NO, Some(shapes::NEW_IMPORT), 201, Some(shapes::MADE)),
    op(
        "ListDevicesForWirelessDeviceImportTask",
        &[
            must("id", Kind::Text(&shape::IDENTIFIER)),
            may("status", TEXT),
            may("maxResults", Kind::Integer(0, 250)),
            may("nextToken", TEXT),
        ],
        None,
        200,
        Some(shapes::IMPORTED),
    ),
    op("ListWirelessDeviceImportTasks", PAGE, None, 200, Some(shapes::IMPORTS)),
    op("GetWirelessDeviceImportTask", NO, None, 200, Some(shapes::IMPORT)),
    op("UpdateWirelessDeviceImportTask", NO, Some(shapes::IMPORT_CHANGE), 204, None),
    op("DeleteWirelessDeviceImportTask", NO, None, 204, None),
    op("GetOpenApiDocument", NO, None, 200, EMPTY),
];

/// What an operation reads and answers.
pub fn of(name: &str) -> Option<&'static Spec> {
    SPECS.iter().find(|spec| spec.name == name)
}
