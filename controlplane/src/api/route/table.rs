//! Which operations are there? One entry each: method and path, IAM action, the resources that a
//! policy may name for it, and who runs it.

use std::future::ready;

use super::{Names, Operation};
use warp::http::StatusCode;

use crate::api::spec::openapi;
use crate::api::{
    Reply, authorities, customer_logs, destinations, devices, downlink, endpoint, events, imports,
    logs, metrics, payloads, policies, profiles, queue, quotas, radio_profiles, resources, rules,
    tags, things, uplinks,
};
use crate::control::PolicyOf;

/// By the first segment in braces.
const DESTINATION: Names = Names::Path("Destination");
const DEVICE: Names = Names::Path("WirelessDevice");
const RULE: Names = Names::Path("rule");
const AUTHORITY: Names = Names::Path("cacert");
/// The destination that the body names.
const TO: Names = Names::Body("Destination", "DestinationName");
const IMPORT: Names = Names::Path("ImportTask");
const PROFILE: Names = Names::Path("ApplicationProfile");
/// The application profile that the body names.
const AS: Names = Names::Body("ApplicationProfile", "ApplicationProfileId");

const fn at(
    pattern: &'static str,
    action: &'static str,
    names: &'static [Names],
    run: super::Run,
) -> Operation {
    Operation { pattern, action, names, run }
}

/// Every operation.
pub static OPERATIONS: &[Operation] = &[
    at("POST /wireless-devices", "iotwireless:CreateWirelessDevice", &[TO, AS], |api, call, _| {
        Box::pin(devices::create(api, call))
    }),
    at("GET /wireless-devices", "iotwireless:ListWirelessDevices", &[], |api, call, _| {
        Box::pin(devices::list(api, call))
    }),
    at(
        "PATCH /wireless-devices/{Id}",
        "iotwireless:UpdateWirelessDevice",
        &[DEVICE, TO, AS],
        |api, call, at| Box::pin(devices::update(api, call, at[0])),
    ),
    at(
        "DELETE /wireless-devices/{Id}",
        "iotwireless:DeleteWirelessDevice",
        &[DEVICE],
        |api, _, at| Box::pin(devices::delete(api, at[0])),
    ),
    at(
        "GET /wireless-devices/{Identifier}",
        "iotwireless:GetWirelessDevice",
        &[Names::Device],
        |api, call, at| Box::pin(devices::get(api, call, at[0])),
    ),
    at(
        "POST /wireless-devices/{Id}/data",
        "iotwireless:SendDataToWirelessDevice",
        &[DEVICE],
        |api, call, at| Box::pin(downlink::send(api, call, at[0])),
    ),
    at(
        "GET /wireless-devices/{Id}/data",
        "iotwireless:ListQueuedMessages",
        &[],
        |api, call, at| Box::pin(queue::list(api, call, at[0])),
    ),
    at(
        "DELETE /wireless-devices/{Id}/data",
        "iotwireless:DeleteQueuedMessages",
        &[],
        |api, call, at| Box::pin(queue::delete(api, call, at[0])),
    ),
    at(
        "GET /wireless-devices/{Id}/data/{MessageId}",
        "iotwireless:GetMessageStatus",
        &[DEVICE],
        |api, _, at| Box::pin(queue::status(api, at[0], at[1])),
    ),
    at(
        "PUT /wireless-devices/{Id}/resources",
        "iotwireless:PutWirelessDeviceResource",
        &[DEVICE],
        |api, call, at| Box::pin(resources::put(api, call, at[0])),
    ),
    at(
        "GET /wireless-devices/{Id}/resources",
        "iotwireless:ListWirelessDeviceResources",
        &[DEVICE],
        |api, call, at| Box::pin(resources::list(api, call, at[0])),
    ),
    at(
        "DELETE /wireless-devices/{Id}/resources",
        "iotwireless:DeleteWirelessDeviceResource",
        &[DEVICE],
        |api, call, at| Box::pin(resources::delete(api, call, at[0])),
    ),
    at("POST /payloads", "iotwireless:CreatePayload", &[], |api, call, _| {
        Box::pin(payloads::create(api, call))
    }),
    at("GET /payloads", "iotwireless:ListPayloads", &[], |api, call, _| {
        Box::pin(payloads::list(api, call))
    }),
    at("PUT /payloads/{Id}", "iotwireless:PutPayloadPart", &[], |api, call, at| {
        Box::pin(payloads::put_part(api, call, at[0]))
    }),
    at("GET /payloads/{Id}", "iotwireless:GetPayload", &[], |api, _, at| {
        Box::pin(payloads::get(api, at[0]))
    }),
    at("DELETE /payloads/{Id}", "iotwireless:DeletePayload", &[], |api, _, at| {
        Box::pin(payloads::delete(api, at[0]))
    }),
    at(
        "GET /wireless-devices/{Id}/statistics",
        "iotwireless:GetWirelessDeviceStatistics",
        &[DEVICE],
        |api, _, at| Box::pin(things::statistics(api, at[0])),
    ),
    at(
        "POST /wireless-devices/{Id}/test",
        "iotwireless:TestWirelessDevice",
        &[DEVICE],
        |api, _, at| Box::pin(things::test(api, at[0])),
    ),
    at("POST /device-profiles", "iotwireless:CreateDeviceProfile", &[], |_, _, _| {
        Box::pin(ready(radio_profiles::create()))
    }),
    at("GET /device-profiles", "iotwireless:ListDeviceProfiles", &[], |_, call, _| {
        Box::pin(ready(radio_profiles::list(call, "DeviceProfileList")))
    }),
    at(
        "GET /device-profiles/{Id}",
        "iotwireless:GetDeviceProfile",
        &[Names::Path("DeviceProfile")],
        |_, _, at| Box::pin(ready(radio_profiles::missing("DeviceProfile", at[0]))),
    ),
    at(
        "DELETE /device-profiles/{Id}",
        "iotwireless:DeleteDeviceProfile",
        &[Names::Path("DeviceProfile")],
        |_, _, at| Box::pin(ready(radio_profiles::missing("DeviceProfile", at[0]))),
    ),
    at("POST /service-profiles", "iotwireless:CreateServiceProfile", &[], |_, _, _| {
        Box::pin(ready(radio_profiles::create()))
    }),
    at("GET /service-profiles", "iotwireless:ListServiceProfiles", &[], |_, call, _| {
        Box::pin(ready(radio_profiles::list(call, "ServiceProfileList")))
    }),
    at(
        "GET /service-profiles/{Id}",
        "iotwireless:GetServiceProfile",
        &[Names::Path("ServiceProfile")],
        |_, _, at| Box::pin(ready(radio_profiles::missing("ServiceProfile", at[0]))),
    ),
    at(
        "DELETE /service-profiles/{Id}",
        "iotwireless:DeleteServiceProfile",
        &[Names::Path("ServiceProfile")],
        |_, _, at| Box::pin(ready(radio_profiles::missing("ServiceProfile", at[0]))),
    ),
    at(
        "PUT /wireless-devices/{Id}/thing",
        "iotwireless:AssociateWirelessDeviceWithThing",
        &[DEVICE],
        |api, call, at| Box::pin(things::associate(api, call, at[0])),
    ),
    at(
        "DELETE /wireless-devices/{Id}/thing",
        "iotwireless:DisassociateWirelessDeviceFromThing",
        &[DEVICE],
        |api, _, at| Box::pin(things::disassociate(api, at[0])),
    ),
    at(
        "PATCH /wireless-devices/{Identifier}/deregister",
        "iotwireless:DeregisterWirelessDevice",
        &[DEVICE],
        |api, _, at| Box::pin(things::deregister(api, at[0])),
    ),
    at(
        "POST /application-profiles",
        "iotwireless:CreateApplicationProfile",
        &[],
        |api, call, _| Box::pin(profiles::create(api, call)),
    ),
    at("GET /application-profiles", "iotwireless:ListApplicationProfiles", &[], |api, call, _| {
        Box::pin(profiles::list(api, call))
    }),
    at(
        "GET /application-profiles/{Id}",
        "iotwireless:GetApplicationProfile",
        &[PROFILE],
        |api, _, at| Box::pin(profiles::get(api, at[0])),
    ),
    at(
        "PATCH /application-profiles/{Id}",
        "iotwireless:UpdateApplicationProfile",
        &[PROFILE],
        |api, call, at| Box::pin(profiles::update(api, call, at[0])),
    ),
    at(
        "DELETE /application-profiles/{Id}",
        "iotwireless:DeleteApplicationProfile",
        &[PROFILE],
        |api, _, at| Box::pin(profiles::delete(api, at[0])),
    ),
    at(
        "PUT /wireless-devices/{Id}/policy",
        "iotwireless:PutWirelessDevicePolicy",
        &[DEVICE],
        |api, call, at| Box::pin(policies::put(api, call, PolicyOf::Device(at[0]))),
    ),
    at(
        "GET /wireless-devices/{Id}/policy",
        "iotwireless:GetWirelessDevicePolicy",
        &[DEVICE],
        |api, _, at| Box::pin(policies::get(api, PolicyOf::Device(at[0]))),
    ),
    at(
        "DELETE /wireless-devices/{Id}/policy",
        "iotwireless:DeleteWirelessDevicePolicy",
        &[DEVICE],
        |api, _, at| Box::pin(policies::delete(api, PolicyOf::Device(at[0]))),
    ),
    at(
        "PUT /application-profiles/{Id}/policy",
        "iotwireless:PutApplicationProfilePolicy",
        &[PROFILE],
        |api, call, at| Box::pin(policies::put(api, call, PolicyOf::Profile(at[0]))),
    ),
    at(
        "GET /application-profiles/{Id}/policy",
        "iotwireless:GetApplicationProfilePolicy",
        &[PROFILE],
        |api, _, at| Box::pin(policies::get(api, PolicyOf::Profile(at[0]))),
    ),
    at(
        "DELETE /application-profiles/{Id}/policy",
        "iotwireless:DeleteApplicationProfilePolicy",
        &[PROFILE],
        |api, _, at| Box::pin(policies::delete(api, PolicyOf::Profile(at[0]))),
    ),
    at("GET /customer-logs", "iotwireless:ListCustomerLogs", &[], |api, call, _| {
        Box::pin(customer_logs::list(api, call))
    }),
    at("POST /tags", "iotwireless:TagResource", &[Names::Arn], |api, call, _| {
        Box::pin(tags::tag(api, call))
    }),
    at("DELETE /tags", "iotwireless:UntagResource", &[Names::Arn], |api, call, _| {
        Box::pin(tags::untag(api, call))
    }),
    at("GET /tags", "iotwireless:ListTagsForResource", &[Names::Arn], |api, call, _| {
        Box::pin(tags::list(api, call))
    }),
    at("POST /destinations", "iotwireless:CreateDestination", &[], |api, call, _| {
        Box::pin(destinations::create(api, call))
    }),
    at("GET /destinations", "iotwireless:ListDestinations", &[], |api, call, _| {
        Box::pin(destinations::list(api, call))
    }),
    at("GET /destinations/{Name}", "iotwireless:GetDestination", &[DESTINATION], |api, _, at| {
        Box::pin(destinations::get(api, at[0]))
    }),
    at(
        "PATCH /destinations/{Name}",
        "iotwireless:UpdateDestination",
        &[DESTINATION],
        |api, call, at| Box::pin(destinations::update(api, call, at[0])),
    ),
    at(
        "DELETE /destinations/{Name}",
        "iotwireless:DeleteDestination",
        &[DESTINATION],
        |api, _, at| Box::pin(destinations::delete(api, at[0])),
    ),
    at("GET /log-levels", "iotwireless:GetLogLevelsByResourceTypes", &[], |api, _, _| {
        Box::pin(logs::get(api))
    }),
    at("POST /log-levels", "iotwireless:UpdateLogLevelsByResourceTypes", &[], |api, call, _| {
        Box::pin(logs::update(api, call))
    }),
    at("DELETE /log-levels", "iotwireless:ResetAllResourceLogLevels", &[], |api, _, _| {
        Box::pin(logs::reset_all(api))
    }),
    at(
        "GET /log-levels/{ResourceIdentifier}",
        "iotwireless:GetResourceLogLevel",
        &[DEVICE],
        |api, call, at| Box::pin(logs::get_own(api, call, at[0])),
    ),
    at(
        "PUT /log-levels/{ResourceIdentifier}",
        "iotwireless:PutResourceLogLevel",
        &[DEVICE],
        |api, call, at| Box::pin(logs::put_own(api, call, at[0])),
    ),
    at(
        "DELETE /log-levels/{ResourceIdentifier}",
        "iotwireless:ResetResourceLogLevel",
        &[DEVICE],
        |api, call, at| Box::pin(logs::reset_own(api, call, at[0])),
    ),
    at(
        "GET /event-configurations-resource-types",
        "iotwireless:GetEventConfigurationByResourceTypes",
        &[],
        |api, _, _| Box::pin(events::get(api)),
    ),
    at(
        "PATCH /event-configurations-resource-types",
        "iotwireless:UpdateEventConfigurationByResourceTypes",
        &[],
        |api, call, _| Box::pin(events::update(api, call)),
    ),
    at("GET /event-configurations", "iotwireless:ListEventConfigurations", &[], |api, call, _| {
        Box::pin(events::list(api, call))
    }),
    at(
        "GET /event-configurations/{Identifier}",
        "iotwireless:GetResourceEventConfiguration",
        &[DEVICE],
        |api, call, at| Box::pin(events::get_own(api, call, at[0])),
    ),
    at(
        "PATCH /event-configurations/{Identifier}",
        "iotwireless:UpdateResourceEventConfiguration",
        &[DEVICE],
        |api, call, at| Box::pin(events::update_own(api, call, at[0])),
    ),
    at("GET /metric-configuration", "iotwireless:GetMetricConfiguration", &[], |api, _, _| {
        Box::pin(metrics::get(api))
    }),
    at(
        "PUT /metric-configuration",
        "iotwireless:UpdateMetricConfiguration",
        &[],
        |api, call, _| Box::pin(metrics::put(api, call)),
    ),
    at("POST /metrics", "iotwireless:GetMetrics", &[], |api, call, _| {
        Box::pin(metrics::summary(api, call))
    }),
    at("GET /account-quotas", "iotwireless:GetAccountQuotas", &[], |api, call, _| {
        Box::pin(quotas::get(api, call))
    }),
    at("PATCH /account-quotas", "iotwireless:UpdateAccountQuotas", &[], |api, call, _| {
        Box::pin(quotas::update(api, call))
    }),
    at(
        "POST /wireless_device_import_task",
        "iotwireless:StartWirelessDeviceImportTask",
        &[TO],
        |api, call, _| Box::pin(imports::start(api, call)),
    ),
    at(
        "POST /wireless_single_device_import_task",
        "iotwireless:StartSingleWirelessDeviceImportTask",
        &[TO, AS],
        |api, call, _| Box::pin(imports::start_single(api, call)),
    ),
    at(
        "GET /wireless_device_import_task",
        "iotwireless:ListDevicesForWirelessDeviceImportTask",
        &[],
        |api, call, _| Box::pin(imports::devices(api, call)),
    ),
    at(
        "GET /wireless_device_import_tasks",
        "iotwireless:ListWirelessDeviceImportTasks",
        &[],
        |api, call, _| Box::pin(imports::list(api, call)),
    ),
    at(
        "GET /wireless_device_import_task/{Id}",
        "iotwireless:GetWirelessDeviceImportTask",
        &[IMPORT],
        |api, _, at| Box::pin(imports::get(api, at[0])),
    ),
    at(
        "PATCH /wireless_device_import_task/{Id}",
        "iotwireless:UpdateWirelessDeviceImportTask",
        &[IMPORT],
        |api, call, at| Box::pin(imports::update(api, call, at[0])),
    ),
    at(
        "DELETE /wireless_device_import_task/{Id}",
        "iotwireless:DeleteWirelessDeviceImportTask",
        &[IMPORT],
        |api, _, at| Box::pin(imports::delete(api, at[0])),
    ),
    at("GET /openapi.json", "iotwireless:GetOpenApiDocument", &[], |_, _, _| {
        let document = Reply::json(StatusCode::OK, openapi::document());
        Box::pin(ready(Ok(document)))
    }),
    at("GET /service-endpoint", "iotwireless:GetServiceEndpoint", &[], |api, call, _| {
        Box::pin(ready(endpoint::get(api, call)))
    }),
    at("GET /uplinks", "iotwireless:FollowUplinks", &[], |api, call, _| {
        Box::pin(uplinks::follow(api, call))
    }),
    at("GET /rules", "iot:ListTopicRules", &[], |api, call, _| Box::pin(rules::list(api, call))),
    at("POST /rules/{ruleName}", "iot:CreateTopicRule", &[RULE], |api, call, at| {
        Box::pin(rules::create(api, call, at[0]))
    }),
    at("GET /rules/{ruleName}", "iot:GetTopicRule", &[RULE], |api, _, at| {
        Box::pin(rules::get(api, at[0]))
    }),
    at("PATCH /rules/{ruleName}", "iot:ReplaceTopicRule", &[RULE], |api, call, at| {
        Box::pin(rules::replace(api, call, at[0]))
    }),
    at("DELETE /rules/{ruleName}", "iot:DeleteTopicRule", &[RULE], |api, _, at| {
        Box::pin(rules::delete(api, at[0]))
    }),
    at("POST /rules/{ruleName}/enable", "iot:EnableTopicRule", &[RULE], |api, _, at| {
        Box::pin(rules::enable(api, at[0], true))
    }),
    at("POST /rules/{ruleName}/disable", "iot:DisableTopicRule", &[RULE], |api, _, at| {
        Box::pin(rules::enable(api, at[0], false))
    }),
    at("POST /cacertificate", "iot:RegisterCACertificate", &[], |api, call, _| {
        Box::pin(authorities::register(api, call))
    }),
    at(
        "GET /cacertificate/{certificateId}",
        "iot:DescribeCACertificate",
        &[AUTHORITY],
        |api, _, at| Box::pin(authorities::describe(api, at[0])),
    ),
    at("GET /cacertificates", "iot:ListCACertificates", &[], |api, call, _| {
        Box::pin(authorities::list(api, call))
    }),
    at(
        "PUT /cacertificate/{certificateId}",
        "iot:UpdateCACertificate",
        &[AUTHORITY],
        |api, call, at| Box::pin(authorities::update(api, call, at[0])),
    ),
    at(
        "DELETE /cacertificate/{certificateId}",
        "iot:DeleteCACertificate",
        &[AUTHORITY],
        |api, _, at| Box::pin(authorities::delete(api, at[0])),
    ),
];
