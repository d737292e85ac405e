//! Devices and destinations: create, read, list, change, delete, and what is refused.

use serde_json::{Value, json};

use super::harness::{Server, destination, device, identity, psk};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_is_found_by_each_of_its_names_and_never_shows_its_secret() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let mut body = device(1);
    body["WiFi"] = json!({
        "MacAddress": "00:1A:2B:3C:4D:5E",
        "DtlsV1_2": { "PreSharedKeyId": identity(2), "PreSharedKeySecret": psk(2) },
    });
    body["Description"] = json!("on the roof");
    let made = server.send("POST", "/wireless-devices", body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json["Id"].as_str().unwrap();
    let arn = format!("arn:aws:iotwireless:us-east-1:123456789012:WirelessDevice/{id}");
    assert_eq!(made.json["Arn"], arn);

    let encoded = |text: String| text.replace(':', "%3A");
    for (identifier, kind) in [
        (id.to_owned(), "WirelessDeviceId"),
        (format!("{:015}", 1), "Imei"),
        ("00%3A1a%3A2b%3A3c%3A4d%3A5e".to_owned(), "MacAddress"),
        (encoded(identity(1)), "PreSharedKeyIdentity"),
        (encoded(identity(2)), "PreSharedKeyIdentity"),
    ] {
        let target = format!("/wireless-devices/{identifier}?identifierType={kind}");
        let got = server.get(&target).await;
        assert_eq!((got.status, &got.json["Id"]), (200, &made.json["Id"]), "{target}");
        assert_eq!(got.json["Type"], "CoAP");
        assert_eq!(got.json["Arn"], arn);
        assert_eq!(got.json["Description"], "on the roof");
        assert_eq!(
            got.json["Cellular"]["DtlsV1_2"],
            json!({ "PreSharedKeyIdentity": identity(1) })
        );
        assert_eq!(got.json["WiFi"]["DtlsV1_2"], json!({ "PreSharedKeyIdentity": identity(2) }));
        assert!(!got.text.contains("never-shown"));
    }
    for (target, status, shape) in [
        (format!("/wireless-devices/{id}"), 400, "ValidationException"),
        (format!("/wireless-devices/{id}?identifierType=Name"), 400, "ValidationException"),
        (format!("/wireless-devices/{id}?identifierType=Imei"), 404, "ResourceNotFoundException"),
        (format!("/wireless-devices/{id}?identifierType=DevEui"), 404, "ResourceNotFoundException"),
        (
            "/wireless-devices/x?identifierType=WirelessDeviceId".into(),
            404,
            "ResourceNotFoundException",
        ),
    ] {
        let answer = server.get(&target).await;
        assert_eq!((answer.status, answer.shape()), (status, shape), "{target}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_of_a_new_device_is_told_and_no_secret_is_echoed() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let long = "x".repeat(257);
    for (pointer, value, path) in [
        ("/Type", json!("LoRaWAN"), "Type"),
        ("/Type", json!(null), "Type"),
        ("/Name", json!(long), "Name"),
        ("/Description", json!("x".repeat(2_049)), "Description"),
        ("/DestinationName", json!(null), "DestinationName"),
        ("/DestinationName", json!("no spaces"), "DestinationName"),
        ("/Positioning", json!("On"), "Positioning"),
        ("/ClientRequestToken", json!("x".repeat(65)), "ClientRequestToken"),
        ("/Tags", json!([{ "Key": "", "Value": "" }]), "Tags.1.Key"),
        ("/Tags", json!(vec![json!({ "Key": "k", "Value": "" }); 201]), "Tags"),
        ("/Cellular/Imei", json!("12345678901234"), "Cellular.Imei"),
        (
            "/Cellular/DtlsV1_2/PreSharedKeyIdentity",
            json!("short"),
            "Cellular.DtlsV1_2.PreSharedKeyIdentity",
        ),
        (
            "/Cellular/DtlsV1_2/PreSharedKeyIdentity",
            json!(null),
            "Cellular.DtlsV1_2.PreSharedKeyIdentity",
        ),
        (
            "/Cellular/DtlsV1_2/PreSharedKeySecret",
            json!("never-shown"),
            "Cellular.DtlsV1_2.PreSharedKeySecret",
        ),
        (
            "/Cellular/DtlsV1_2/PreSharedKeySecret",
            json!(null),
            "Cellular.DtlsV1_2.PreSharedKeySecret",
        ),
    ] {
        let mut body = device(1);
        match body.pointer_mut(pointer) {
            Some(member) => *member = value,
            None => body[pointer.trim_start_matches('/')] = value,
        }
        let answer = server.send("POST", "/wireless-devices", body).await;
        assert_eq!((answer.status, answer.shape()), (400, "ValidationException"), "{pointer}");
        assert_eq!(answer.json["fieldList"][0]["path"], path, "{}", answer.text);
        assert!(!answer.text.contains("never-shown"), "{}", answer.text);
    }
    let mut body = device(1);
    body["Cellular"]["DtlsV1_2"] = json!(psk(1));
    let answer = server.send("POST", "/wireless-devices", body).await;
    assert_eq!((answer.status, answer.shape()), (400, "SerializationException"));
    assert!(!answer.text.contains("never-shown"), "{}", answer.text);
    assert_eq!(server.get("/wireless-devices").await.json["WirelessDeviceList"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_token_makes_one_device_and_names_are_taken_once() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let mut body = device(1);
    body["ClientRequestToken"] = json!("token-1");
    let first = server.send("POST", "/wireless-devices", body.clone()).await;
    let again = server.send("POST", "/wireless-devices", body.clone()).await;
    assert_eq!((first.status, again.status, &first.json), (201, 201, &again.json));
    body["Name"] = json!("another");
    let other = server.send("POST", "/wireless-devices", body).await;
    assert_eq!((other.status, other.shape()), (409, "ConflictException"));

    let taken = server.send("POST", "/wireless-devices", device(1)).await;
    assert_eq!((taken.status, taken.shape()), (409, "ConflictException"), "{}", taken.text);
    assert!(taken.json["ResourceType"].is_string() && taken.json["ResourceId"].is_string());
    assert!(!taken.text.contains("never-shown"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_touches_only_what_it_names_and_answers_nothing() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let target = format!("/wireless-devices/{id}");
    let get = format!("{target}?identifierType=WirelessDeviceId");
    let before = server.get(&get).await.json;

    let changed = server.send("PATCH", &target, json!({ "Description": "moved" })).await;
    assert_eq!((changed.status, changed.text.as_str()), (204, ""));
    assert_eq!(changed.header("content-type"), None);
    let mut expected = before;
    expected["Description"] = json!("moved");
    assert_eq!(server.get(&get).await.json, expected);

    let key = json!({ "Cellular": { "DtlsV1_2": { "PreSharedKeySecret": psk(7) } } });
    assert_eq!(server.send("PATCH", &target, key).await.status, 204);
    assert_eq!(server.get(&get).await.json, expected);
    let short = json!({ "Cellular": { "DtlsV1_2": { "PreSharedKeySecret": "never-shown" } } });
    let refused = server.send("PATCH", &target, short).await;
    assert_eq!((refused.status, refused.shape()), (400, "ValidationException"));

    assert_eq!(server.call("DELETE", &target, "").await.status, 204);
    for (method, body) in [("DELETE", ""), ("PATCH", "{\"Name\": \"x\"}")] {
        let gone = server.call(method, &target, body).await;
        assert_eq!((gone.status, gone.shape()), (404, "ResourceNotFoundException"), "{method}");
        assert_eq!(
            (&gone.json["ResourceType"], &gone.json["ResourceId"]),
            (&json!("WirelessDevice"), &json!(id))
        );
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_walked_page_by_page() {
    let server = Server::start().await;
    server.make_destination("d").await;
    server.make_destination("e").await;
    let mut made = Vec::new();
    for n in 1..=5 {
        made.push(server.make_device(n).await);
    }
    made.sort();

    let mut seen = Vec::new();
    let mut sizes = Vec::new();
    let mut token = String::new();
    loop {
        let page = server.get(&format!("/wireless-devices?maxResults=2{token}")).await;
        assert_eq!(page.status, 200, "{}", page.text);
        let devices = page.json["WirelessDeviceList"].as_array().unwrap().clone();
        sizes.push(devices.len());
        seen.extend(devices.iter().map(|device| device["Id"].as_str().unwrap().to_owned()));
        let Some(next) = page.json.get("NextToken") else { break };
        let next = next.as_str().unwrap();
        assert!(next.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~".contains(&b)), "{next}");
        token = format!("&nextToken={next}");
    }
    seen.sort();
    assert_eq!((seen, sizes), (made, vec![2, 2, 1]));

    let count = |page: Value| page["WirelessDeviceList"].as_array().unwrap().len();
    for (query, expected) in [
        ("", 5),
        ("?destinationName=d", 5),
        ("?destinationName=e", 0),
        ("?wirelessDeviceType=CoAP", 5),
        ("?wirelessDeviceType=LoRaWAN", 0),
        ("?fuotaTaskId=x", 0),
    ] {
        let page = server.get(&format!("/wireless-devices{query}")).await;
        assert_eq!(count(page.json), expected, "{query}");
    }
    for query in ["?nextToken=nonsense", "?maxResults=251", "?wirelessDeviceType=Zigbee"] {
        let answer = server.get(&format!("/wireless-devices{query}")).await;
        assert_eq!((answer.status, answer.shape()), (400, "ValidationException"), "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_lives_and_is_kept_while_it_is_used() {
    let server = Server::start().await;
    let made = server.send("POST", "/destinations", destination("d")).await;
    let arn = "arn:aws:iotwireless:us-east-1:123456789012:Destination/d";
    assert_eq!((made.status, &made.json), (201, &json!({ "Arn": arn, "Name": "d" })));
    let again = server.send("POST", "/destinations", destination("d")).await;
    assert_eq!((again.status, again.shape()), (409, "ConflictException"));

    let got = server.get("/destinations/d").await;
    let expected = json!({
        "Arn": arn, "Name": "d", "ExpressionType": "MqttTopic", "Expression": "devices/up",
        "Description": "where uplinks go", "RoleArn": "arn:aws:iam::123456789012:role/any",
    });
    assert_eq!((got.status, &got.json), (200, &expected));
    let list = server.get("/destinations").await;
    assert_eq!(list.json, json!({ "DestinationList": [expected] }));

    let change = json!({ "Expression": "devices/other" });
    assert_eq!(server.send("PATCH", "/destinations/d", change).await.status, 204);
    assert_eq!(server.get("/destinations/d").await.json["Expression"], "devices/other");

    let id = server.make_device(1).await;
    let kept = server.call("DELETE", "/destinations/d", "").await;
    assert_eq!((kept.status, kept.shape()), (409, "ConflictException"));
    assert_eq!(server.call("DELETE", &format!("/wireless-devices/{id}"), "").await.status, 204);
    assert_eq!(server.call("DELETE", "/destinations/d", "").await.status, 204);
    let gone = server.get("/destinations/d").await;
    assert_eq!((gone.status, gone.shape()), (404, "ResourceNotFoundException"));
    assert_eq!(gone.json["ResourceType"], "Destination");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_constraint_of_a_new_destination_is_told() {
    let server = Server::start().await;
    for (member, value) in [
        ("Name", json!("a b")),
        ("Name", json!("a".repeat(129))),
        ("Name", json!(null)),
        ("ExpressionType", json!("Topic")),
        ("ExpressionType", json!(null)),
        ("Expression", json!("a".repeat(2_049))),
        ("Expression", json!(null)),
        ("Description", json!("a".repeat(2_049))),
        ("RoleArn", json!("a".repeat(19))),
        ("RoleArn", json!("a".repeat(2_049))),
        ("RoleArn", json!(null)),
    ] {
        let mut body = destination("d");
        body[member] = value;
        let answer = server.send("POST", "/destinations", body).await;
        assert_eq!((answer.status, answer.shape()), (400, "ValidationException"), "{member}");
        assert_eq!(answer.json["fieldList"][0]["path"], member, "{}", answer.text);
    }
    let name = "a".repeat(128);
    let mut body = destination(&name);
    body["Description"] = json!("a".repeat(2_048));
    assert_eq!(server.send("POST", "/destinations", body).await.status, 201);
    server.stop().await;
}
