//! Which shapes have the requests and answers? Those of AWS IoT Wireless, and ours for CoAP.

use super::Kind::{Boolean, Decimal, Integer, List, Number, OneOf, Removable, Structure, Text};
use super::{Member, may, must, resource_shapes};
use crate::api::downlink::{OPTION_BYTES_MAX, OPTIONS_MAX};
use crate::api::validate::Rule;
use crate::api::{options, shape};
use crate::model::LAYOUT_ROWS_MAX;

const ANY: Rule = Rule::length(0, 65_536);
pub(super) const TEXT: super::Kind = Text(&ANY);
const ID: super::Kind = Text(&shape::IDENTIFIER);
const ON_OFF: super::Kind = Text(&shape::ON_OFF);
const TOKEN: Member = may("ClientRequestToken", Text(&shape::CLIENT_REQUEST_TOKEN));
const DESTINATION_NAME: super::Kind = Text(&shape::DESTINATION_NAME);
pub(super) const NEXT: Member = may("NextToken", TEXT);

const TAG: super::Kind =
    Structure(&[must("Key", Text(&shape::TAG_KEY)), must("Value", Text(&shape::TAG_VALUE))]);
const TAGS: Member = may("Tags", List(&TAG, shape::TAGS_MAX));

/// maxResults and nextToken of every list.
pub const PAGE: &[Member] = &[may("maxResults", Integer(0, 250)), may("nextToken", NEXT_TOKEN)];
/// Where a page begins.
pub const NEXT_TOKEN: super::Kind = Text(&shape::NEXT_TOKEN);

const LOG_LEVEL_RULE: Rule = Rule::one_of(&["INFO", "ERROR", "DISABLED"]);
const LOG_LEVEL: super::Kind = Text(&LOG_LEVEL_RULE);
const DEVICE_EVENT: Rule =
    Rule::one_of(&["Join", "Rejoin", "Uplink_Data", "Downlink_Data", "Registration"]);
const GATEWAY_EVENT: Rule = Rule::one_of(&["CUPS_Request", "Certificate"]);
const FUOTA_EVENT: Rule = Rule::one_of(&["Fuota"]);
const LORAWAN: Rule = Rule::one_of(&["LoRaWAN"]);
const LOG_OPTIONS_MAX: usize = 16;

const DEVICE_LOG_OPTION: super::Kind = Structure(&[
    must("Type", Text(&shape::DEVICE_TYPE_FILTER)),
    must("LogLevel", LOG_LEVEL),
    may(
        "Events",
        List(
            &Structure(&[must("Event", Text(&DEVICE_EVENT)), must("LogLevel", LOG_LEVEL)]),
            LOG_OPTIONS_MAX,
        ),
    ),
]);
const GATEWAY_LOG_OPTION: super::Kind = Structure(&[
    must("Type", Text(&LORAWAN)),
    must("LogLevel", LOG_LEVEL),
    may(
        "Events",
        List(
            &Structure(&[must("Event", Text(&GATEWAY_EVENT)), must("LogLevel", LOG_LEVEL)]),
            LOG_OPTIONS_MAX,
        ),
    ),
]);
const FUOTA_LOG_OPTION: super::Kind = Structure(&[
    must("Type", Text(&LORAWAN)),
    must("LogLevel", LOG_LEVEL),
    may(
        "Events",
        List(
            &Structure(&[must("Event", Text(&FUOTA_EVENT)), must("LogLevel", LOG_LEVEL)]),
            LOG_OPTIONS_MAX,
        ),
    ),
]);

/// GetLogLevelsByResourceTypes, UpdateLogLevelsByResourceTypes.
pub const LOG_LEVELS: &[Member] = &[
    may("DefaultLogLevel", LOG_LEVEL),
    may("WirelessDeviceLogOptions", List(&DEVICE_LOG_OPTION, LOG_OPTIONS_MAX)),
    may("WirelessGatewayLogOptions", List(&GATEWAY_LOG_OPTION, LOG_OPTIONS_MAX)),
    may("FuotaTaskLogOptions", List(&FUOTA_LOG_OPTION, LOG_OPTIONS_MAX)),
];
/// PutResourceLogLevel, GetResourceLogLevel.
pub const RESOURCE_LOG_LEVEL: &[Member] = &[must("LogLevel", LOG_LEVEL)];

macro_rules! topic_of {
    ($technology:literal, $topic:literal) => {
        may($technology, Structure(&[may($topic, ON_OFF)]))
    };
}

/// Of every device.
pub const EVENTS: &[Member] = &[
    may(
        "DeviceRegistrationState",
        Structure(&[
            topic_of!("CoAP", "WirelessDeviceEventTopic"),
            topic_of!("Sidewalk", "WirelessDeviceEventTopic"),
        ]),
    ),
    may("Proximity", Structure(&[topic_of!("Sidewalk", "WirelessDeviceEventTopic")])),
    may(
        "Join",
        Structure(&[
            topic_of!("CoAP", "WirelessDeviceEventTopic"),
            topic_of!("LoRaWAN", "WirelessDeviceEventTopic"),
        ]),
    ),
    may(
        "ConnectionStatus",
        Structure(&[
            topic_of!("CoAP", "WirelessDeviceEventTopic"),
            topic_of!("LoRaWAN", "WirelessGatewayEventTopic"),
        ]),
    ),
    may(
        "MessageDeliveryStatus",
        Structure(&[
            topic_of!("CoAP", "WirelessDeviceEventTopic"),
            topic_of!("Sidewalk", "WirelessDeviceEventTopic"),
        ]),
    ),
    may("MessageAcknowledgement", Structure(&[topic_of!("CoAP", "WirelessDeviceEventTopic")])),
];

const BY_DEVICE: Member = may("WirelessDeviceIdEventTopic", ON_OFF);

/// Of one resource.
pub const RESOURCE_EVENTS: &[Member] = &[
    may(
        "DeviceRegistrationState",
        Structure(&[topic_of!("Sidewalk", "AmazonIdEventTopic"), BY_DEVICE]),
    ),
    may("Proximity", Structure(&[topic_of!("Sidewalk", "AmazonIdEventTopic"), BY_DEVICE])),
    may("Join", Structure(&[topic_of!("LoRaWAN", "DevEuiEventTopic"), BY_DEVICE])),
    may(
        "ConnectionStatus",
        Structure(&[
            topic_of!("LoRaWAN", "GatewayEuiEventTopic"),
            may("WirelessGatewayIdEventTopic", ON_OFF),
            BY_DEVICE,
        ]),
    ),
    may(
        "MessageDeliveryStatus",
        Structure(&[topic_of!("Sidewalk", "AmazonIdEventTopic"), BY_DEVICE]),
    ),
    may("MessageAcknowledgement", Structure(&[BY_DEVICE])),
];

/// UpdateMetricConfiguration, GetMetricConfiguration.
pub const METRIC_CONFIGURATION: &[Member] =
    &[may("SummaryMetric", Structure(&[may("Status", ON_OFF)]))];

const METRIC_NAME: Rule = Rule::one_of(&crate::model::METRIC_NAMES);
const PERIOD: Rule = Rule::one_of(&["OneHour", "OneDay", "OneWeek"]);
const DIMENSION_NAME: Rule = Rule::one_of(&["DeviceId", "GatewayId"]);
const QUERY_STATUS: Rule = Rule::one_of(&["Succeeded", "Failed"]);
/// Bound: questions of one request.
const QUERIES_MAX: usize = 50;
const DIMENSION: super::Kind = Structure(&[must("name", Text(&DIMENSION_NAME)), may("value", ID)]);

macro_rules! metric_query {
    ($($more:expr),*) => {
        Structure(&[
            may("QueryId", ID),
            must("MetricName", Text(&METRIC_NAME)),
            may("Dimensions", List(&DIMENSION, 10)),
            must("AggregationPeriod", Text(&PERIOD)),
            must("StartTimestamp", Number),
            must("EndTimestamp", Number),
            $($more,)*
        ])
    };
}

const METRIC_QUERY: super::Kind = metric_query!();
/// GetMetrics.
pub const METRIC_QUERIES: &[Member] =
    &[may("SummaryMetricQueries", List(&METRIC_QUERY, QUERIES_MAX))];
const STATISTICS_OF_PERIOD: super::Kind = Structure(&[
    must("Min", Number),
    must("Max", Number),
    may("Sum", Number),
    must("Avg", Number),
    must("Std", Number),
    must("P90", Number),
]);
const METRIC_RESULT: super::Kind = metric_query!(
    must("QueryStatus", Text(&QUERY_STATUS)),
    may("Error", TEXT),
    may("Timestamps", List(&Number, 8_784)),
    may("Values", List(&STATISTICS_OF_PERIOD, 8_784)),
    may("Unit", TEXT)
);
/// What GetMetrics answers.
pub const METRIC_RESULTS: &[Member] =
    &[must("SummaryMetricQueryResults", List(&METRIC_RESULT, QUERIES_MAX))];

macro_rules! quotas {
    ($least:literal) => {
        must(
            "Quotas",
            Structure(&[
                may("Devices", Integer($least, 100_000_000)),
                may("Destinations", Integer($least, 1_000_000)),
                may("Rules", Integer($least, 10_000)),
                may("ApplicationProfiles", Integer($least, 10_000)),
                may("QueueDepth", Integer($least, 10_000)),
                may("ApiRate", Integer($least, 1_000_000)),
                may("UplinksPerSecond", Integer($least, 1_000_000)),
            ]),
        )
    };
}
/// UpdateAccountQuotas; 0: the configuration's again.
pub const QUOTA_CHANGE: &[Member] = &[quotas!(0)];
/// GetAccountQuotas; what has no limit is left out.
pub const QUOTAS: &[Member] = &[must("AccountId", ID), quotas!(1)];

macro_rules! block {
    ($block:literal, $hardware:literal, $rule:expr, $text:ident) => {
        may(
            $block,
            Structure(&[
                may($hardware, $text(&$rule)),
                may(
                    "DtlsV1_2",
                    Structure(&[
                        may("PreSharedKeyIdentity", $text(&shape::PSK_IDENTITY)),
                        // The service document prints both names.
                        may("PreSharedKeyId", $text(&shape::PSK_IDENTITY)),
                        may("PreSharedKeySecret", $text(&shape::PSK_SECRET)),
                        may("RawPublicKey", $text(&shape::RAW_PUBLIC_KEY)),
                        may("CertificateName", $text(&shape::CERTIFICATE_NAME)),
                        may("CertificateFingerprint", $text(&shape::CERTIFICATE_FINGERPRINT)),
                    ]),
                ),
                may("NoSec", Structure(&[may("SourceAddress", $text(&shape::SOURCE_ADDRESS))])),
                may("Endpoint", $text(&shape::ENDPOINT)),
                may("SecurityModes", List(&Text(&shape::SECURITY_MODE), 4)),
            ]),
        )
    };
}
const CELLULAR: Member = block!("Cellular", "Imei", shape::IMEI, Text);
const WIFI: Member = block!("WiFi", "MacAddress", shape::MAC_ADDRESS, Text);
/// What is empty is removed.
const CELLULAR_CHANGE: Member = block!("Cellular", "Imei", shape::IMEI, Removable);
const WIFI_CHANGE: Member = block!("WiFi", "MacAddress", shape::MAC_ADDRESS, Removable);
const NAME: Member = may("Name", Text(&shape::NAME));
const DESCRIPTION: Member = may("Description", Text(&shape::DESCRIPTION));
const POSITIONING: Member = may("Positioning", ON_OFF);
const PROFILE_ID: Member = may("ApplicationProfileId", ID);

/// CreateWirelessDevice.
pub const NEW_DEVICE: &[Member] = &[
    must("Type", Text(&shape::DEVICE_TYPE)),
    NAME,
    DESCRIPTION,
    must("DestinationName", DESTINATION_NAME),
    CELLULAR,
    WIFI,
    POSITIONING,
    PROFILE_ID,
    TAGS,
    TOKEN,
];
/// UpdateWirelessDevice.
pub const DEVICE_CHANGE: &[Member] = &[
    NAME,
    DESCRIPTION,
    may("DestinationName", DESTINATION_NAME),
    CELLULAR_CHANGE,
    WIFI_CHANGE,
    POSITIONING,
    PROFILE_ID,
];
/// GetWirelessDevice.
pub const DEVICE: &[Member] = &[
    must("Type", Text(&shape::DEVICE_TYPE)),
    must("Arn", TEXT),
    must("Id", ID),
    NAME,
    DESCRIPTION,
    must("DestinationName", DESTINATION_NAME),
    may("ThingName", TEXT),
    may("ThingArn", TEXT),
    CELLULAR,
    WIFI,
    POSITIONING,
    PROFILE_ID,
];
const SUMMARY: super::Kind = Structure(&[
    must("Type", Text(&shape::DEVICE_TYPE)),
    must("Arn", TEXT),
    must("Id", ID),
    NAME,
    must("DestinationName", DESTINATION_NAME),
    may("LastUplinkReceivedAt", TEXT),
    CELLULAR,
    WIFI,
    POSITIONING,
    PROFILE_ID,
]);
/// ListWirelessDevices.
pub const DEVICES: &[Member] = &[must("WirelessDeviceList", List(&SUMMARY, 250)), NEXT];
/// What Create answers.
pub const MADE: &[Member] = &[must("Arn", TEXT), must("Id", ID)];
/// What CreateDestination answers.
pub const MADE_DESTINATION: &[Member] = &[must("Arn", TEXT), must("Name", DESTINATION_NAME)];
/// GetWirelessDeviceStatistics.
pub const STATISTICS: &[Member] =
    &[must("WirelessDeviceId", ID), may("LastUplinkReceivedAt", TEXT)];
/// AssociateWirelessDeviceWithThing.
pub const THING: &[Member] = &[must("ThingArn", Text(&shape::THING_ARN))];
/// TestWirelessDevice.
pub const TESTED: &[Member] = &[must("Result", TEXT)];

/// CreateDestination.
pub const NEW_DESTINATION: &[Member] = &[
    must("Name", DESTINATION_NAME),
    must("ExpressionType", Text(&shape::EXPRESSION_TYPE)),
    must("Expression", Text(&shape::EXPRESSION)),
    DESCRIPTION,
    must("RoleArn", Text(&shape::ROLE_ARN)),
    TAGS,
    TOKEN,
];
/// UpdateDestination.
pub const DESTINATION_CHANGE: &[Member] = &[
    may("ExpressionType", Text(&shape::EXPRESSION_TYPE)),
    may("Expression", Text(&shape::EXPRESSION)),
    DESCRIPTION,
    may("RoleArn", Text(&shape::ROLE_ARN)),
];
/// GetDestination.
pub const DESTINATION: &[Member] = &[
    must("Arn", TEXT),
    must("Name", DESTINATION_NAME),
    must("ExpressionType", Text(&shape::EXPRESSION_TYPE)),
    must("Expression", Text(&shape::EXPRESSION)),
    DESCRIPTION,
    must("RoleArn", Text(&shape::ROLE_ARN)),
];
/// ListDestinations.
pub const DESTINATIONS: &[Member] =
    &[must("DestinationList", List(&Structure(DESTINATION), 250)), NEXT];

const MESSAGE_TYPE: Rule = Rule::one_of(&["CONFIRMABLE", "NON_CONFIRMABLE"]);
const METHOD: Rule = Rule::one_of(&["GET", "PUT", "POST", "DELETE", "FETCH", "PATCH", "IPATCH"]);
const PRIORITY: Rule = Rule::one_of(&["URGENT", "HIGH", "NORMAL", "LOW"]);
const STATUS: Rule =
    Rule::one_of(&["PENDING", "SENT", "DELIVERED", "RESPONDED", "FAILED", "EXPIRED", "DELETED"]);
/// Of an option of CoAP (RFC 7252 section 5.10).
const OPTION: Rule = Rule::length(1, OPTION_BYTES_MAX);
const PAIR: super::Kind = Structure(&[must("Key", Text(&OPTION)), may("Value", TEXT)]);
pub(super) const SEGMENTS: super::Kind = List(&TEXT, OPTIONS_MAX);
const PAIRS: super::Kind = List(&PAIR, OPTIONS_MAX);
/// By name or by number.
pub(super) const FORMAT: super::Kind = OneOf(&[Text(&shape::CONTENT_FORMAT), Integer(0, 65_535)]);
const IF_MATCH: super::Kind = List(&Text(&options::IF_MATCH), options::TAGS_MAX);
const ETAGS: super::Kind = List(&Text(&options::ETAG), options::TAGS_MAX);
const NO_RESPONSE: super::Kind = Integer(0, options::NO_RESPONSE_MAX);
const RESPONSE_TOKEN: Rule = Rule::length(1, 256);

/// SendDataToWirelessDevice.
pub const SEND: &[Member] = &[
    may("TransmitMode", Integer(0, 1)),
    may("PayloadData", Text(&shape::PAYLOAD_DATA)),
    must(
        "CoAP",
        Structure(&[
            may("MessageType", Text(&MESSAGE_TYPE)),
            may("RequestMethod", Text(&METHOD)),
            may("ResponseStatus", Text(&shape::RESPONSE_STATUS)),
            may("ResponseToken", Text(&RESPONSE_TOKEN)),
            may("UriPaths", SEGMENTS),
            may("UriQuery", PAIRS),
            may("LocationPath", SEGMENTS),
            may("LocationQuery", PAIRS),
            may("ContentFormat", FORMAT),
            may("Accept", FORMAT),
            may("IfMatch", IF_MATCH),
            may("IfNoneMatch", Boolean),
            may("ETags", ETAGS),
            may("MaxAge", Integer(0, u32::MAX as i64)),
            may("Observe", Integer(0, 0)),
            may("HopLimit", Integer(1, 255)),
            may("NoResponse", NO_RESPONSE),
            may("QueueMode", Integer(0, 1)),
            may("Priority", Text(&PRIORITY)),
            may("TtlSeconds", Integer(1, crate::model::TTL_S_MAX as i64)),
            may("PayloadReference", Text(&shape::PAYLOAD_REFERENCE)),
        ]),
    ),
];
/// What it answers.
pub const SENT: &[Member] = &[must("MessageId", ID)];
const QUEUED: super::Kind = Structure(&[
    must("MessageId", ID),
    must("TransmitMode", Integer(0, 1)),
    must("ReceivedAt", TEXT),
    must(
        "CoAP",
        Structure(&[
            must("MessageType", Text(&MESSAGE_TYPE)),
            must("RequestMethod", Text(&METHOD)),
            may("UriPaths", SEGMENTS),
            may("UriQuery", PAIRS),
            may("ContentFormat", TEXT),
            may("Accept", TEXT),
            may("IfMatch", IF_MATCH),
            may("IfNoneMatch", Boolean),
            may("ETags", ETAGS),
            may("Observe", Integer(0, 0)),
            may("HopLimit", Integer(1, 255)),
            may("NoResponse", NO_RESPONSE),
            must("QueueMode", Integer(0, 1)),
            must("Priority", Text(&PRIORITY)),
            may("ExpiresAt", TEXT),
            must("Status", Text(&STATUS)),
            may("WaitReason", Text(&resource_shapes::WAIT)),
            may("PayloadReference", Text(&shape::PAYLOAD_REFERENCE)),
        ]),
    ),
]);
/// ListQueuedMessages.
pub const QUEUE: &[Member] = &[must("DownlinkQueueMessagesList", List(&QUEUED, 250)), NEXT];
/// GetMessageStatus.
pub const MESSAGE_STATUS: &[Member] = &[
    must("MessageId", ID),
    must("WirelessDeviceId", ID),
    must("Status", Text(&STATUS)),
    may("Reason", TEXT),
    may("WaitReason", Text(&resource_shapes::WAIT)),
    must("AcceptedAt", TEXT),
    may("ExpiresAt", TEXT),
    may("SentAt", TEXT),
    may("DeliveredAt", TEXT),
    may("EndedAt", TEXT),
];

const LAYOUT_ROW: &[Member] = &[
    must("Path", Text(&shape::LAYOUT_PATH)),
    must("Holds", Text(&shape::HOLDS)),
    may("InitialPayload", Text(&shape::INITIAL_PAYLOAD)),
    may("ContentFormat", FORMAT),
];

macro_rules! profile {
    ($($before:expr),*; $($after:expr),*) => {
        &[
            $($before,)*
            NAME,
            may("NStart", Integer(1, 8)),
            may("AckTimeoutMillis", Integer(1_000, 60_000)),
            may("AckRandomFactor", Decimal(1, 3)),
            may("MaxRetransmit", Integer(0, 10)),
            may("PiggybackWindowMillis", Integer(0, 60_000)),
            may("ResponseTimeoutMillis", Integer(1_000, 240_000)),
            may("QueueTtlSeconds", Integer(1, 31_536_000)),
            may("QueueDepth", Integer(1, 10_000)),
            may("UplinkPayloadBytes", Integer(0, 1_048_576)),
            may("DownlinkPayloadBytes", Integer(0, 1_073_741_824)),
            may("FreshnessSeconds", Integer(0, 86_400)),
            may("ListeningSeconds", Integer(0, 86_400)),
            may("ProbingRate", Integer(1, 1_000_000)),
            may("CellWindow", Integer(1, 100_000)),
            may("ResourceLayout", List(&Structure(LAYOUT_ROW), LAYOUT_ROWS_MAX)),
            $($after,)*
        ]
    };
}
/// CreateApplicationProfile.
pub const NEW_PROFILE: &[Member] = profile!(; TAGS, TOKEN);
/// UpdateApplicationProfile.
pub const PROFILE_CHANGE: &[Member] = profile!(;);
/// GetApplicationProfile.
pub const PROFILE: &[Member] = profile!(must("Arn", TEXT), must("Id", ID););
/// ListApplicationProfiles.
pub const PROFILES: &[Member] = &[
    must(
        "ApplicationProfileList",
        List(&Structure(&[must("Arn", TEXT), must("Id", ID), NAME]), 250),
    ),
    NEXT,
];

/// TagResource.
pub const TAGGING: &[Member] = &[must("Tags", List(&TAG, shape::TAGS_MAX))];

/// Of what events are configured.
pub const IDENTIFIER_TYPE: Rule = Rule::one_of(&[
    "PartnerAccountId",
    "DevEui",
    "GatewayEui",
    "WirelessDeviceId",
    "WirelessGatewayId",
]);
/// ListEventConfigurations.
pub const EVENT_LIST: &[Member] = &[
    must(
        "EventConfigurationsList",
        List(
            &Structure(&[
                must("Identifier", ID),
                must("IdentifierType", Text(&IDENTIFIER_TYPE)),
                must("Events", Structure(RESOURCE_EVENTS)),
            ]),
            250,
        ),
    ),
    NEXT,
];

/// GetServiceEndpoint.
pub const SERVICE_ENDPOINT: &[Member] = &[
    must("ServiceType", TEXT),
    may("ServiceEndpoint", TEXT),
    may(
        "ServerPublicKey",
        Structure(&[must("SubjectPublicKeyInfo", TEXT), must("Pem", TEXT), must("Sha256", TEXT)]),
    ),
];

const SOURCE: Member = may(
    "CoAP",
    Structure(&[
        may("DeviceCreationFile", Text(&shape::IMPORT_FILE)),
        may("DeviceCreationData", TEXT),
        may("ApplicationProfileId", ID),
    ]),
);
/// The same, as clients with AWS's own model have it.
const FILE: Member =
    may("Sidewalk", Structure(&[may("DeviceCreationFile", Text(&shape::IMPORT_FILE))]));
/// StartWirelessDeviceImportTask.
pub const NEW_IMPORT: &[Member] =
    &[must("DestinationName", DESTINATION_NAME), POSITIONING, TAGS, TOKEN, SOURCE, FILE];
/// StartSingleWirelessDeviceImportTask.
pub const NEW_SINGLE_IMPORT: &[Member] = &[
    must("DestinationName", DESTINATION_NAME),
    may("DeviceName", Text(&shape::NAME)),
    CELLULAR,
    WIFI,
    POSITIONING,
    PROFILE_ID,
    TAGS,
    TOKEN,
];
/// UpdateWirelessDeviceImportTask.
pub const IMPORT_CHANGE: &[Member] = &[SOURCE, FILE];
const IMPORT_STATUS: Rule =
    Rule::one_of(&["INITIALIZED", "PENDING", "COMPLETE", "FAILED", "DELETING"]);
/// GetWirelessDeviceImportTask.
pub const IMPORT: &[Member] = &[
    must("Arn", TEXT),
    must("Id", ID),
    must("DestinationName", DESTINATION_NAME),
    must("CreationTime", TEXT),
    must("Status", Text(&IMPORT_STATUS)),
    may("StatusReason", TEXT),
    POSITIONING,
    must("InitializedImportedDeviceCount", Integer(0, i64::MAX)),
    must("PendingImportedDeviceCount", Integer(0, i64::MAX)),
    must("OnboardedImportedDeviceCount", Integer(0, i64::MAX)),
    must("FailedImportedDeviceCount", Integer(0, i64::MAX)),
];
/// ListWirelessDeviceImportTasks.
pub const IMPORTS: &[Member] =
    &[must("WirelessDeviceImportTaskList", List(&Structure(IMPORT), 250)), NEXT];
/// What became of a line.
pub const ONBOARDING: Rule = Rule::one_of(&["INITIALIZED", "PENDING", "ONBOARDED", "FAILED"]);
const LINE: super::Kind = Structure(&[must(
    "CoAP",
    Structure(&[
        must("Line", Integer(1, i64::MAX)),
        must("OnboardingStatus", Text(&ONBOARDING)),
        may("OnboardingStatusReason", TEXT),
        may("WirelessDeviceId", ID),
        must("LastUpdateTime", TEXT),
    ]),
)]);
/// ListDevicesForWirelessDeviceImportTask.
pub const IMPORTED: &[Member] = &[
    must("DestinationName", DESTINATION_NAME),
    must("ImportedWirelessDeviceList", List(&LINE, 250)),
    NEXT,
];

const RADIO: super::Kind = Structure(&[]);
/// CreateDeviceProfile.
pub const NEW_DEVICE_PROFILE: &[Member] =
    &[NAME, may("LoRaWAN", RADIO), may("Sidewalk", RADIO), TAGS, TOKEN];
/// CreateServiceProfile.
pub const NEW_SERVICE_PROFILE: &[Member] = &[NAME, may("LoRaWAN", RADIO), TAGS, TOKEN];
const RADIO_PROFILE: super::Kind = Structure(&[may("Arn", TEXT), NAME, may("Id", ID)]);
/// ListDeviceProfiles.
pub const DEVICE_PROFILES: &[Member] =
    &[must("DeviceProfileList", List(&RADIO_PROFILE, 250)), NEXT];
/// ListServiceProfiles.
pub const SERVICE_PROFILES: &[Member] =
    &[must("ServiceProfileList", List(&RADIO_PROFILE, 250)), NEXT];
