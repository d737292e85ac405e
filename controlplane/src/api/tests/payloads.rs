//! Payloads that come before their messages, over HTTP.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::harness::{Answer, Server};
use crate::model::PIECE_BYTES;

impl Server {
    async fn begins(&self, bytes: usize) -> String {
        let answer = self.send("POST", "/payloads", json!({ "Bytes": bytes })).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json["Id"].as_str().unwrap().to_owned()
    }

    async fn puts(&self, id: &str, at: usize, part: &[u8]) -> Answer {
        let part = json!({ "Offset": at, "PayloadData": STANDARD.encode(part) });
        self.send("PUT", &format!("/payloads/{id}"), part).await
    }

    async fn refers(&self, device: &str, id: &str) -> Answer {
        let coap = json!({ "RequestMethod": "PUT", "QueueMode": 1,
            "PayloadReference": format!("upload://{id}") });
        let target = format!("/wireless-devices/{device}/data");
        self.send("POST", &target, json!({ "CoAP": coap })).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payload_comes_part_by_part() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let device = server.make_device(1).await;
    let body: Vec<u8> = (0..PIECE_BYTES * 2 + 5).map(|at| at as u8).collect();
    let id = server.begins(body.len()).await;
    let refused = server.refers(&device, &id).await;
    assert_eq!((refused.status, refused.shape()), (400, "ValidationException"), "half of it");

    // Whole pieces but for the last, in order, none beyond the end; the same once more is no other.
    for (at, part, status) in [
        (0, &body[..PIECE_BYTES - 1], 400),
        (0, &[][..], 400),
        (PIECE_BYTES, &body[..PIECE_BYTES], 409),
        (0, &body[..PIECE_BYTES], 200),
        (0, &body[..PIECE_BYTES], 200),
        (0, &body[5..PIECE_BYTES + 5], 409),
        (PIECE_BYTES, &[&body[PIECE_BYTES..], &[0]].concat(), 400),
        (PIECE_BYTES, &body[PIECE_BYTES..], 200),
        (PIECE_BYTES, &body[PIECE_BYTES..], 200),
        (body.len(), b"x", 400),
    ] {
        let answer = server.puts(&id, at, part).await;
        assert_eq!(answer.status, status, "{at}, {}: {}", part.len(), answer.text);
    }
    let told = server.get(&format!("/payloads/{id}")).await.json;
    assert_eq!((&told["Bytes"], &told["ReceivedBytes"]), (&json!(body.len()), &json!(body.len())));
    assert_eq!(server.get("/payloads").await.json["PayloadList"], json!([told]));
    let sent = server.refers(&device, &id).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    let queue = server.get(&format!("/wireless-devices/{device}/data")).await.json;
    let queued = &queue["DownlinkQueueMessagesList"][0]["CoAP"];
    assert_eq!(queued["PayloadReference"], told["PayloadReference"]);

    assert_eq!(server.call("DELETE", &format!("/payloads/{id}"), "").await.status, 204);
    assert_eq!(server.get(&format!("/payloads/{id}")).await.status, 404);
    assert_eq!(server.puts(&id, 0, b"x").await.status, 404);
    assert_eq!(server.refers(&device, &id).await.status, 400);
    server.stop().await;
}

/// So many, and so long together; each within its own bound.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_has_only_so_many_payloads() {
    let server = Server::start().await;
    let most = 64 << 20;
    for (bytes, status) in [(0, 400), (most + 1, 400), (most, 201), (most, 201), (most, 201)] {
        let answer = server.send("POST", "/payloads", json!({ "Bytes": bytes })).await;
        assert_eq!(answer.status, status, "{bytes}: {}", answer.text);
    }
    // 64 MiB are left for the account.
    let last = server.begins(most - 12).await;
    let one_more = async |bytes: usize| {
        server.send("POST", "/payloads", json!({ "Bytes": bytes })).await.status
    };
    assert_eq!(one_more(13).await, 409, "too long together");
    for _ in 4..16 {
        assert_eq!(one_more(1).await, 201);
    }
    assert_eq!(server.call("DELETE", &format!("/payloads/{last}"), "").await.status, 204);
    assert_eq!(one_more(1).await, 201);
    assert_eq!(one_more(1).await, 409, "too many");
    server.stop().await;
}

/// A reference is one thing or the other, with what has a payload, in the place of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_reference_stands_in_the_place_of_a_payload() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let device = server.make_device(1).await;
    let id = server.begins(1).await;
    assert_eq!(server.puts(&id, 0, b"x").await.status, 200);
    let url = format!("upload://{id}");
    let target = format!("/wireless-devices/{device}/data");
    for (method, payload, url, status) in [
        ("PUT", Value::Null, url.as_str(), 202),
        ("FETCH", Value::Null, &url, 202),
        ("PUT", json!(""), &url, 400),
        ("GET", Value::Null, &url, 400),
        ("DELETE", Value::Null, &url, 400),
        ("PUT", Value::Null, "upload://x", 400),
        ("PUT", Value::Null, "http://a/b", 400),
        ("PUT", Value::Null, "s3://unknown/key", 400),
    ] {
        let mut body = json!({ "CoAP": { "RequestMethod": method, "QueueMode": 1,
            "PayloadReference": url } });
        if !payload.is_null() {
            body["PayloadData"] = payload;
        }
        let answer = server.send("POST", &target, body).await;
        assert_eq!(answer.status, status, "{method} {url}: {}", answer.text);
    }
    server.stop().await;
}

/// What the edge has for a device may be a payload that came before, and is then told by its name.
#[tokio::test(flavor = "multi_thread")]
async fn a_resource_may_refer_to_a_payload() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let device = server.make_device(1).await;
    let id = server.begins(20_000).await;
    let target = format!("/wireless-devices/{device}/resources");
    let whole = json!({ "UriPaths": ["fw"], "PayloadReference": format!("upload://{id}") });
    assert_eq!(server.send("PUT", &target, whole.clone()).await.status, 400, "nothing of it came");
    assert_eq!(server.puts(&id, 0, &vec![7; 20_000]).await.status, 200);
    let both = json!({ "UriPaths": ["fw"], "PayloadReference": format!("upload://{id}"),
        "PayloadData": "" });
    for (body, status) in [
        (json!({ "UriPaths": ["fw"] }), 400),
        (both, 400),
        (json!({ "UriPaths": ["fw"], "PayloadReference": "s3://unknown/key" }), 400),
        (json!({ "UriPaths": ["fw"], "PayloadData": STANDARD.encode(vec![7; 16_385]) }), 400),
        (whole, 200),
    ] {
        let answer = server.send("PUT", &target, body.clone()).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
    }
    let listed = server.get(&target).await.json["WirelessDeviceResourceList"][0].clone();
    assert_eq!(listed["PayloadReference"], json!(format!("upload://{id}")));
    assert!(listed["PayloadData"].is_null(), "{listed}");
    server.stop().await;
}
