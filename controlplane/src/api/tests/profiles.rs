//! Application profiles, tags and things: their life over HTTP, and their bounds.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::harness::{Server, device};

async fn make_profile(server: &Server, body: Value) -> (String, String) {
    let made = server.send("POST", "/application-profiles", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let text = |name: &str| made.json[name].as_str().unwrap().to_owned();
    (text("Id"), text("Arn"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_is_made_read_changed_used_and_deleted() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let body = json!({ "Name": "slow", "NStart": 2, "AckRandomFactor": 1.3, "QueueDepth": 1,
        "ClientRequestToken": "once" });
    let (id, arn) = make_profile(&server, body.clone()).await;
    assert!(arn.ends_with(&format!(":ApplicationProfile/{id}")), "{arn}");
    assert_eq!(make_profile(&server, body).await.0, id, "the same request is not made twice");
    let target = format!("/application-profiles/{id}");
    let change = json!({ "NStart": 3, "MaxRetransmit": 0 });
    assert_eq!(server.send("PATCH", &target, change).await.status, 204);
    let read = server.get(&target).await.json;
    let expected = json!({ "Arn": arn, "Id": id, "Name": "slow", "NStart": 3, "QueueDepth": 1,
        "MaxRetransmit": 0, "AckRandomFactor": 1.3 });
    assert_eq!(read, expected);
    let list = server.get("/application-profiles").await.json;
    assert_eq!(list["ApplicationProfileList"], json!([{ "Arn": arn, "Id": id, "Name": "slow" }]));

    let mut body = device(1);
    body["ApplicationProfileId"] = json!(id);
    let made = server.send("POST", "/wireless-devices", body).await.json;
    let made = made["Id"].as_str().unwrap().to_owned();
    let data = format!("/wireless-devices/{made}/data");
    let message = json!({ "TransmitMode": 1, "PayloadData": "b24=",
        "CoAP": { "RequestMethod": "PUT", "QueueMode": 1, "Priority": "URGENT" } });
    assert_eq!(server.send("POST", &data, message.clone()).await.status, 202);
    let full = server.send("POST", &data, message).await;
    assert_eq!((full.status, full.shape()), (429, "ThrottlingException"), "QueueDepth is 1");
    let queued = server.get(&data).await.json;
    assert_eq!(queued["DownlinkQueueMessagesList"][0]["CoAP"]["Priority"], "URGENT");

    let of = |id: &str| format!("/wireless-devices?applicationProfileId={id}");
    let listed = server.get(&of(&id)).await.json;
    assert_eq!(listed["WirelessDeviceList"][0]["ApplicationProfileId"], id);
    assert_eq!(server.get(&of("none")).await.json["WirelessDeviceList"], json!([]));
    let used = server.call("DELETE", &target, "").await;
    assert_eq!((used.status, used.shape()), (409, "ConflictException"));
    let none = json!({ "ApplicationProfileId": "" });
    let device = format!("/wireless-devices/{made}");
    assert_eq!(server.send("PATCH", &device, none).await.status, 204);
    assert_eq!(server.call("DELETE", &target, "").await.status, 204);
    let gone = server.get(&target).await;
    assert_eq!((gone.status, gone.shape()), (404, "ResourceNotFoundException"));
    assert_eq!(gone.json["ResourceType"], "ApplicationProfile");
    let unknown = server.send("PATCH", &device, json!({ "ApplicationProfileId": id })).await;
    assert_eq!(unknown.status, 404);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_profile_s_numbers_are_checked_on_both_sides() {
    let server = Server::start().await;
    for (name, least, most) in [
        ("NStart", json!(1), json!(8)),
        ("AckTimeoutMillis", json!(1_000), json!(60_000)),
        ("AckRandomFactor", json!(1.0), json!(3.0)),
        ("MaxRetransmit", json!(0), json!(10)),
        ("PiggybackWindowMillis", json!(0), json!(60_000)),
        ("ResponseTimeoutMillis", json!(1_000), json!(240_000)),
        ("QueueTtlSeconds", json!(1), json!(31_536_000)),
        ("QueueDepth", json!(1), json!(10_000)),
        ("UplinkPayloadBytes", json!(0), json!(1_048_576)),
        ("DownlinkPayloadBytes", json!(0), json!(1_073_741_824)),
        ("ListeningSeconds", json!(0), json!(86_400)),
        ("ProbingRate", json!(1), json!(1_000_000)),
        ("CellWindow", json!(1), json!(100_000)),
    ] {
        for good in [&least, &most] {
            make_profile(&server, json!({ name: good })).await;
        }
        let (below, above) = (least.as_f64().unwrap() - 1.0, most.as_f64().unwrap() + 1.0);
        for bad in [below, above] {
            let whole = name != "AckRandomFactor";
            let bad = if whole { json!(bad as i64) } else { json!(bad) };
            let refused = server.send("POST", "/application-profiles", json!({ name: bad })).await;
            assert_eq!((refused.status, refused.shape()), (400, "ValidationException"), "{name}");
            assert_eq!(refused.json["fieldList"][0]["path"], name);
        }
    }
    let wrong = server.send("POST", "/application-profiles", json!({ "NStart": "1" })).await;
    assert_eq!(wrong.shape(), "SerializationException");
    server.stop().await;
}

/// Kept as it was given, replaced whole, and each limit on both sides.
#[tokio::test(flavor = "multi_thread")]
async fn a_profile_has_a_layout() {
    let server = Server::start().await;
    let rows = json!([
        { "Path": "logs/*", "Holds": "Event" },
        { "Path": ".d/*", "Holds": "LastValue", "InitialPayload": "bnVsbA==",
          "ContentFormat": "application/json" },
    ]);
    let (id, _) = make_profile(&server, json!({ "ResourceLayout": rows })).await;
    let target = format!("/application-profiles/{id}");
    assert_eq!(server.get(&target).await.json["ResourceLayout"], rows);
    assert_eq!(server.send("PATCH", &target, json!({ "NStart": 2 })).await.status, 204);
    assert_eq!(server.get(&target).await.json["ResourceLayout"], rows, "nothing was said of it");
    let none = json!({ "ResourceLayout": [] });
    assert_eq!(server.send("PATCH", &target, none.clone()).await.status, 204);
    assert_eq!(server.get(&target).await.json["ResourceLayout"], json!([]));

    let many = |count: usize| vec![json!({ "Path": "p", "Holds": "Event" }); count];
    let path = |len: usize| vec![json!({ "Path": "p".repeat(len), "Holds": "Event" })];
    let first = |len: usize| {
        let value = STANDARD.encode("v".repeat(len));
        vec![json!({ "Path": "p", "Holds": "LastValue", "InitialPayload": value })]
    };
    for good in [many(32), path(255), first(1_024)] {
        make_profile(&server, json!({ "ResourceLayout": good })).await;
    }
    let bad = [
        many(33),
        path(256),
        first(1_025),
        first(1_026),
        vec![json!({ "Path": "p", "Holds": "Water" })],
        vec![json!({ "Path": "a b", "Holds": "Event" })],
        vec![json!({ "Holds": "Event" })],
        vec![json!({ "Path": "p" })],
    ];
    for rows in bad {
        let body = json!({ "ResourceLayout": rows });
        let refused = server.send("POST", "/application-profiles", body.clone()).await;
        assert_eq!((refused.status, refused.shape()), (400, "ValidationException"), "{body}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_resource_is_tagged() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let device = server.make_device(1).await;
    let (_, profile) =
        make_profile(&server, json!({ "Tags": [{ "Key": "k", "Value": "" }] })).await;
    let arn = |rest: &str| format!("arn:aws:iotwireless:us-east-1:123456789012:{rest}");
    let first = json!([{ "Key": "k", "Value": "" }]);
    for (arn, before) in [
        (profile, first.clone()),
        (arn(&format!("WirelessDevice/{device}")), json!([])),
        (arn("Destination/d"), first),
    ] {
        let target = format!("/tags?resourceArn={}", arn.replace(':', "%3A").replace('/', "%2F"));
        assert_eq!(server.get(&target).await.json, json!({ "Tags": before }));
        let tags = json!({ "Tags": [{ "Key": "k", "Value": "v" }, { "Key": "l", "Value": "w" }] });
        assert_eq!(server.send("POST", &target, tags.clone()).await.status, 204);
        assert_eq!(server.get(&target).await.json, tags);
        let many: Vec<Value> =
            (0..48).map(|n| json!({ "Key": format!("n{n}"), "Value": "" })).collect();
        assert_eq!(server.send("POST", &target, json!({ "Tags": many })).await.status, 204);
        let one_more = json!({ "Tags": [{ "Key": "one more", "Value": "" }] });
        let refused = server.send("POST", &target, one_more).await;
        assert_eq!((refused.status, refused.shape()), (400, "TooManyTagsException"));
        assert_eq!(refused.json["ResourceName"], arn);
        assert_eq!(server.send("POST", &target, tags).await.status, 204, "there is none more");
        let keys: Vec<_> = (0..48).map(|n| format!("&tagKeys=n{n}")).collect();
        let keys = keys.concat();
        let gone = server.call("DELETE", &format!("{target}{keys}&tagKeys=k"), "").await;
        assert_eq!(gone.status, 204, "{}", gone.text);
        let left = json!({ "Tags": [{ "Key": "l", "Value": "w" }] });
        assert_eq!(server.get(&target).await.json, left);
    }
    for missing in ["WirelessDevice/none", "Destination/none", "Toaster/1"] {
        let answer = server.get(&format!("/tags?resourceArn={}", arn(missing))).await;
        assert_eq!((answer.status, answer.shape()), (404, "ResourceNotFoundException"));
    }
    for (method, target, body) in [
        ("GET", "/tags".to_owned(), json!({})),
        ("GET", "/tags?resourceArn=x".to_owned(), json!({})),
        ("DELETE", format!("/tags?resourceArn={}", arn("Destination/d")), json!({})),
        ("POST", format!("/tags?resourceArn={}", arn("Destination/d")), json!({})),
        (
            "POST",
            format!("/tags?resourceArn={}", arn("Destination/d")),
            json!({ "Tags": [{ "Key": "aws:x", "Value": "" }] }),
        ),
    ] {
        let refused = server.send(method, &target, body).await;
        assert_eq!(refused.shape(), "ValidationException", "{method} {target}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_a_thing_and_no_longer() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let (one, other) = (server.make_device(1).await, server.make_device(2).await);
    let arn = "arn:aws:iot:us-east-1:123456789012:thing/pump:7";
    let body = json!({ "ThingArn": arn });
    let thing = |id: &str| format!("/wireless-devices/{id}/thing");
    for _ in 0..2 {
        assert_eq!(server.send("PUT", &thing(&one), body.clone()).await.status, 204);
    }
    assert_eq!(server.send("PUT", &thing(&other), body.clone()).await.status, 409);
    let another = json!({ "ThingArn": format!("{arn}8") });
    assert_eq!(server.send("PUT", &thing(&one), another).await.status, 409);
    let bad = server.send("PUT", &thing(&other), json!({ "ThingArn": "pump" })).await;
    assert_eq!(bad.shape(), "ValidationException");
    let read = server.get("/wireless-devices/pump%3A7?identifierType=ThingName").await.json;
    assert_eq!((&read["Id"], &read["ThingName"]), (&json!(one), &json!("pump:7")));
    assert_eq!(read["ThingArn"], arn);
    assert_eq!(server.call("DELETE", &thing(&one), "").await.status, 204);
    assert_eq!(server.call("DELETE", &thing(&one), "").await.status, 404);
    assert_eq!(server.send("PUT", &thing(&other), body).await.status, 204);
    let gone = server.call("DELETE", &format!("/wireless-devices/{other}"), "").await;
    assert_eq!(gone.status, 204);
    let read = server.get("/wireless-devices/pump%3A7?identifierType=ThingName").await;
    assert_eq!(read.status, 404);

    let statistics = server.get(&format!("/wireless-devices/{one}/statistics")).await;
    assert_eq!(statistics.json, json!({ "WirelessDeviceId": one }));
    let target = format!("/wireless-devices/{one}/deregister");
    let answer = server.call("PATCH", &format!("{target}?WirelessDeviceType=CoAP"), "").await;
    assert_eq!((answer.status, answer.json), (200, json!({})));
    let bad = server.call("PATCH", &format!("{target}?WirelessDeviceType=Toaster"), "").await;
    assert_eq!(bad.shape(), "ValidationException");
    for target in ["/wireless-devices/none/deregister", "/wireless-devices/none/thing"] {
        let method = if target.ends_with("thing") { "DELETE" } else { "PATCH" };
        assert_eq!(server.call(method, target, "").await.status, 404);
    }
    server.stop().await;
}
