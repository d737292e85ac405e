//! Log levels, event configurations, metric configuration over HTTP; the OpenAPI document.

use serde_json::{Value, json};

use super::harness::Server;

#[tokio::test(flavor = "multi_thread")]
async fn log_levels_are_said_of_all_and_of_one() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let levels = server.get("/log-levels").await.json;
    assert_eq!(levels["DefaultLogLevel"], "ERROR");
    let options = json!([{ "Type": "CoAP", "LogLevel": "INFO",
        "Events": [{ "Event": "Join", "LogLevel": "DISABLED" }] }]);
    let change = json!({ "WirelessDeviceLogOptions": options });
    let answer = server.send("POST", "/log-levels", change).await;
    assert_eq!((answer.status, answer.json), (200, json!({})));
    let change = json!({ "DefaultLogLevel": "DISABLED" });
    assert_eq!(server.send("POST", "/log-levels", change).await.status, 200);
    let levels = server.get("/log-levels").await.json;
    assert_eq!(levels["WirelessDeviceLogOptions"], options, "what was not given stays");
    assert_eq!(levels["DefaultLogLevel"], "DISABLED");
    for bad in [
        json!({ "DefaultLogLevel": "DEBUG" }),
        json!({ "WirelessDeviceLogOptions": [{ "Type": "CoAP" }] }),
        json!({ "WirelessDeviceLogOptions": [{ "Type": "CoAP", "LogLevel": "INFO",
            "Events": [{ "Event": "Nothing", "LogLevel": "INFO" }] }] }),
    ] {
        let refused = server.send("POST", "/log-levels", bad).await;
        assert_eq!((refused.status, refused.shape()), (400, "ValidationException"));
    }

    let target = format!("/log-levels/{id}?resourceType=WirelessDevice");
    assert_eq!(server.get(&target).await.shape(), "ResourceNotFoundException");
    let level = json!({ "LogLevel": "INFO" });
    for _ in 0..2 {
        assert_eq!(server.send("PUT", &target, level.clone()).await.status, 200);
    }
    assert_eq!(server.get(&target).await.json, level);
    assert_eq!(server.send("PUT", &target, json!({})).await.shape(), "ValidationException");
    assert_eq!(server.call("DELETE", &target, "").await.status, 204);
    assert_eq!(server.get(&target).await.status, 404);
    assert_eq!(server.send("PUT", &target, level.clone()).await.status, 200);
    assert_eq!(server.call("DELETE", "/log-levels", "").await.status, 204);
    assert_eq!(server.get(&target).await.status, 404);
    for target in [
        "/log-levels/none?resourceType=WirelessDevice".to_owned(),
        format!("/log-levels/{id}?resourceType=WirelessGateway"),
    ] {
        assert_eq!(server.send("PUT", &target, level.clone()).await.status, 404, "{target}");
    }
    for target in [format!("/log-levels/{id}"), format!("/log-levels/{id}?resourceType=Toaster")] {
        assert_eq!(server.get(&target).await.shape(), "ValidationException", "{target}");
    }
    server.stop().await;
}

/// 200 devices have a level of their own, the next has not.
#[tokio::test(flavor = "multi_thread")]
async fn so_many_devices_have_a_level_of_their_own() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let level = json!({ "LogLevel": "INFO" });
    let mut first = String::new();
    for n in 1..=201 {
        let id = server.make_device(n).await;
        let target = format!("/log-levels/{id}?resourceType=WirelessDevice");
        let answer = server.send("PUT", &target, level.clone()).await;
        assert_eq!(answer.status, if n <= 200 { 200 } else { 400 }, "{n}: {}", answer.text);
        if n == 1 {
            first = target;
        }
    }
    assert_eq!(server.send("PUT", &first, level).await.status, 200, "it is no other one");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_configured_for_all_and_for_one() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let all = "/event-configurations-resource-types";
    assert_eq!(server.get(all).await.json, json!({}));
    let on = json!({ "CoAP": { "WirelessDeviceEventTopic": "Enabled" } });
    let change = json!({ "Join": on, "ConnectionStatus": on });
    assert_eq!(server.send("PATCH", all, change).await.status, 204);
    let off = json!({ "CoAP": { "WirelessDeviceEventTopic": "Disabled" } });
    assert_eq!(server.send("PATCH", all, json!({ "Join": off })).await.status, 204);
    assert_eq!(server.get(all).await.json, json!({ "Join": off, "ConnectionStatus": on }));
    let bad = json!({ "Join": { "CoAP": { "WirelessDeviceEventTopic": "Maybe" } } });
    assert_eq!(server.send("PATCH", all, bad).await.shape(), "ValidationException");

    let target = format!("/event-configurations/{id}?identifierType=WirelessDeviceId");
    assert_eq!(server.get(&target).await.json, json!({}));
    let change = json!({ "Join": { "WirelessDeviceIdEventTopic": "Enabled" } });
    assert_eq!(server.send("PATCH", &target, change.clone()).await.status, 204);
    assert_eq!(server.get(&target).await.json, change);
    let list = server.get("/event-configurations?resourceType=WirelessDevice").await.json;
    let item = json!({ "Identifier": id, "IdentifierType": "WirelessDeviceId", "Events": change });
    assert_eq!(list["EventConfigurationsList"], json!([item]));
    let none = server.get("/event-configurations?resourceType=WirelessGateway").await.json;
    assert_eq!(none["EventConfigurationsList"], json!([]));
    let missing = "/event-configurations/none?identifierType=WirelessDeviceId";
    assert_eq!(server.get(missing).await.json["ResourceId"], "none");
    for target in [
        "/event-configurations".to_owned(),
        format!("/event-configurations/{id}"),
        format!("{target}&partnerType=Acme"),
    ] {
        assert_eq!(server.get(&target).await.shape(), "ValidationException", "{target}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_off_until_they_are_wanted_and_the_document_is_served() {
    let server = Server::start().await;
    let status = |status: &str| json!({ "SummaryMetric": { "Status": status } });
    assert_eq!(server.get("/metric-configuration").await.json, status("Disabled"));
    let target = "/metric-configuration";
    assert_eq!(server.send("PUT", target, status("Enabled")).await.status, 204);
    assert_eq!(server.get(target).await.json, status("Enabled"));
    assert_eq!(server.send("PUT", target, status("On")).await.shape(), "ValidationException");

    let document = server.get("/openapi.json").await.json;
    let get = &document["paths"]["/wireless-devices/{Id}"]["get"];
    assert_eq!(get["operationId"], "GetWirelessDevice");
    assert_eq!(document["openapi"], "3.0.3");
    let paths: &serde_json::Map<String, Value> = document["paths"].as_object().unwrap();
    assert!(paths.contains_key("/application-profiles/{Id}"));
    server.stop().await;
}
