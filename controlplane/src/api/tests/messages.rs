//! Messages towards devices: sent, listed, deleted, asked for.

use std::time::Duration;

use serde_json::{Value, json};

use super::harness::Server;

/// How often a state that comes by itself is asked for before the test fails (10 s).
const POLLS_MAX: usize = 1_000;

/// A PUT that waits for its device.
fn queued(n: u32) -> Value {
    json!({
        "TransmitMode": 1, "PayloadData": "MQ==",
        "CoAP": {
            "RequestMethod": "PUT", "UriPaths": ["led", n.to_string()], "QueueMode": 1,
            "UriQuery": [{ "Key": "k", "Value": "v" }], "ContentFormat": "text/plain",
        },
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queued_message_is_listed_in_order_until_it_is_deleted() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let data = format!("/wireless-devices/{id}/data");
    let mut ids = Vec::new();
    for n in 1..=3 {
        let sent = server.send("POST", &data, queued(n)).await;
        assert_eq!(sent.status, 202, "{}", sent.text);
        ids.push(sent.json["MessageId"].as_str().unwrap().to_owned());
    }
    let full = server.send("POST", &data, queued(4)).await;
    assert_eq!((full.status, full.shape()), (429, "ThrottlingException"));

    let list = server.get(&data).await.json["DownlinkQueueMessagesList"].clone();
    let listed: Vec<&str> =
        list.as_array().unwrap().iter().map(|m| m["MessageId"].as_str().unwrap()).collect();
    assert_eq!(listed, ids);
    let mut first = list[0].clone();
    let expires = first["CoAP"].as_object_mut().unwrap().remove("ExpiresAt").unwrap();
    assert!(expires.as_str() > first["ReceivedAt"].as_str());
    assert_eq!(first["TransmitMode"], 1);
    assert!(first["ReceivedAt"].as_str().unwrap().ends_with('Z'));
    assert_eq!(
        first["CoAP"],
        json!({
            "MessageType": "CONFIRMABLE", "RequestMethod": "PUT", "UriPaths": ["led", "1"],
            "UriQuery": [{ "Key": "k", "Value": "v" }], "ContentFormat": "text/plain; charset=utf-8",
            "QueueMode": 1, "Priority": "NORMAL", "Status": "PENDING",
            "WaitReason": "NO_SESSION",
        })
    );
    let page = server.get(&format!("{data}?maxResults=2&WirelessDeviceType=CoAP")).await;
    assert_eq!(page.json["DownlinkQueueMessagesList"].as_array().unwrap().len(), 2);
    let next = page.json["NextToken"].as_str().unwrap();
    let page = server.get(&format!("{data}?maxResults=2&nextToken={next}")).await;
    assert_eq!(page.json["DownlinkQueueMessagesList"][0]["MessageId"], ids[2].as_str());
    assert!(page.json.get("NextToken").is_none());

    let status = server.get(&format!("{data}/{}", ids[0])).await;
    assert_eq!(status.json["Status"], "PENDING", "{}", status.text);
    assert_eq!(status.json["WirelessDeviceId"], id.as_str());
    let deleted = server.call("DELETE", &format!("{data}?messageId={}", ids[0]), "").await;
    assert_eq!((deleted.status, deleted.text.as_str()), (204, ""));
    assert_eq!(server.get(&format!("{data}/{}", ids[0])).await.json["Status"], "DELETED");
    let deleted = server.call("DELETE", &format!("{data}?messageId=%2A"), "").await;
    assert_eq!(deleted.status, 204);
    assert_eq!(server.get(&data).await.json, json!({ "DownlinkQueueMessagesList": [] }));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_for_now_fails_without_a_session_and_says_so() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let data = format!("/wireless-devices/{id}/data");
    let sent = server.send("POST", &data, json!({ "CoAP": { "RequestMethod": "GET" } })).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let message = sent.json["MessageId"].as_str().unwrap();
    let mut status = server.get(&format!("{data}/{message}")).await;
    for _ in 0..POLLS_MAX {
        if status.json["Status"] != "PENDING" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        status = server.get(&format!("{data}/{message}")).await;
    }
    assert_eq!(
        (&status.json["Status"], &status.json["Reason"]),
        (&json!("FAILED"), &json!("NO_SESSION"))
    );
    assert!(status.json["EndedAt"].is_string());
    assert!(status.json.get("SentAt").is_none());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let id = server.make_device(1).await;
    let nobody = "00000000-0000-4000-8000-000000000000";
    for (method, target, kind) in [
        ("GET", format!("/wireless-devices/{nobody}/data"), "WirelessDevice"),
        ("DELETE", format!("/wireless-devices/{nobody}/data?messageId=%2A"), "WirelessDevice"),
        ("DELETE", format!("/wireless-devices/{id}/data?messageId={nobody}"), "Message"),
        ("GET", format!("/wireless-devices/{id}/data/{nobody}"), "Message"),
        ("GET", format!("/wireless-devices/{id}/data/x"), "Message"),
    ] {
        let answer = server.call(method, &target, "").await;
        assert_eq!((answer.status, answer.shape()), (404, "ResourceNotFoundException"), "{target}");
        assert_eq!(answer.json["ResourceType"], kind, "{target}");
    }
    let answer = server.send("POST", &format!("/wireless-devices/{nobody}/data"), queued(1)).await;
    assert_eq!((answer.status, answer.shape()), (404, "ResourceNotFoundException"));
    let answer = server.call("DELETE", &format!("/wireless-devices/{id}/data"), "").await;
    assert_eq!((answer.status, answer.shape()), (400, "ValidationException"));
    let answer =
        server.get(&format!("/wireless-devices/{id}/data?WirelessDeviceType=Zigbee")).await;
    assert_eq!((answer.status, answer.shape()), (400, "ValidationException"));
    server.stop().await;
}
