//! The four security modes of a device: what each needs, what is refused, what is shown.

use rcgen::{PKCS_ECDSA_P256_SHA256, PublicKeyData as _};
use serde_json::{Value, json};

use super::harness::{Answer, Server, identity, psk};
use crate::identity::ServerPublicKey;
use crate::identity::testing::key_of;

/// A public key that no other device has.
fn public_key() -> ServerPublicKey {
    ServerPublicKey(key_of(&PKCS_ECDSA_P256_SHA256).subject_public_key_info())
}

fn with(cellular: Value) -> Value {
    json!({ "Type": "CoAP", "DestinationName": "d", "Cellular": cellular })
}

impl Server {
    async fn create(&self, cellular: Value) -> Answer {
        self.send("POST", "/wireless-devices", with(cellular)).await
    }

    async fn id_of(&self, cellular: Value) -> String {
        let made = self.create(cellular).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json["Id"].as_str().unwrap().to_owned()
    }

    async fn cellular(&self, id: &str) -> Value {
        let target = format!("/wireless-devices/{id}?identifierType=WirelessDeviceId");
        self.get(&target).await.json["Cellular"].clone()
    }

    async fn change(&self, id: &str, cellular: Value) -> Answer {
        let change = json!({ "Cellular": cellular });
        self.send("PATCH", &format!("/wireless-devices/{id}"), change).await
    }
}

async fn started() -> Server {
    let server = Server::start().await;
    server.make_destination("d").await;
    server
}

fn path_of(answer: &Answer) -> &str {
    assert_eq!((answer.status, answer.shape()), (400, "ValidationException"), "{}", answer.text);
    answer.json["fieldList"][0]["path"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_is_provisioned_and_shown() {
    let server = started().await;
    let key = public_key();
    let leaf = "AB:".repeat(31) + "ab";
    for (block, shown) in [
        (
            json!({ "DtlsV1_2": { "RawPublicKey": key.base64() } }),
            json!({ "DtlsV1_2": { "RawPublicKey": key.base64() },
                    "SecurityModes": ["RawPublicKey"] }),
        ),
        (
            json!({ "DtlsV1_2": { "CertificateName": "URI:urn:dev:imei:1" } }),
            json!({ "DtlsV1_2": { "CertificateName": "URI:urn:dev:imei:1" },
                    "SecurityModes": ["Certificate"] }),
        ),
        (
            json!({ "DtlsV1_2": { "CertificateFingerprint": leaf } }),
            json!({ "DtlsV1_2": { "CertificateFingerprint": "ab".repeat(32) },
                    "SecurityModes": ["Certificate"] }),
        ),
        (
            json!({ "NoSec": { "SourceAddress": "::ffff:192.0.2.7" } }),
            json!({ "NoSec": { "SourceAddress": "192.0.2.7" }, "SecurityModes": ["NoSec"] }),
        ),
        (
            json!({ "DtlsV1_2": { "PreSharedKeyIdentity": identity(1),
                                  "PreSharedKeySecret": psk(1),
                                  "CertificateName": "CN=pump" },
                    "NoSec": { "SourceAddress": "[2001:db8::7]:5683" },
                    "Endpoint": "192.0.2.7:5684",
                    "SecurityModes": ["NoSec", "PreSharedKey", "NoSec"] }),
            json!({ "DtlsV1_2": { "PreSharedKeyIdentity": identity(1),
                                  "CertificateName": "CN=pump" },
                    "NoSec": { "SourceAddress": "[2001:db8::7]:5683" },
                    "Endpoint": "192.0.2.7:5684",
                    "SecurityModes": ["PreSharedKey", "NoSec"] }),
        ),
    ] {
        let id = server.id_of(block).await;
        assert_eq!(server.cellular(&id).await, shown);
        let list = server.get("/wireless-devices?maxResults=250").await;
        let list = list.json["WirelessDeviceList"].as_array().unwrap().clone();
        let listed = list.iter().find(|device| device["Id"] == id).unwrap();
        assert_eq!(listed["Cellular"], shown);
    }
    let pem = json!({ "DtlsV1_2": { "RawPublicKey": public_key().pem() } });
    let id = server.id_of(pem).await;
    assert!(server.cellular(&id).await["DtlsV1_2"]["RawPublicKey"].is_string());
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_can_not_be_used_is_named() {
    let server = started().await;
    let dtls = |member: &str, value: &str| json!({ "DtlsV1_2": { member: value } });
    for (block, path) in [
        (json!({}), "Cellular.DtlsV1_2"),
        (json!({ "DtlsV1_2": {} }), "Cellular.DtlsV1_2"),
        (json!({ "SecurityModes": [] }), "Cellular.DtlsV1_2"),
        (dtls("RawPublicKey", "AAAA"), "Cellular.DtlsV1_2.RawPublicKey"),
        (dtls("RawPublicKey", ""), "Cellular.DtlsV1_2.RawPublicKey"),
        (dtls("CertificateName", "pump"), "Cellular.DtlsV1_2.CertificateName"),
        (dtls("CertificateName", ""), "Cellular.DtlsV1_2.CertificateName"),
        (
            dtls("CertificateFingerprint", &"ab".repeat(31)),
            "Cellular.DtlsV1_2.CertificateFingerprint",
        ),
        (json!({ "NoSec": { "SourceAddress": "192.0.2.256" } }), "Cellular.NoSec.SourceAddress"),
        (json!({ "NoSec": { "SourceAddress": "" } }), "Cellular.NoSec.SourceAddress"),
        (json!({ "Endpoint": "192.0.2.7" }), "Cellular.Endpoint"),
        (json!({ "SecurityModes": ["None"] }), "Cellular.SecurityModes.1"),
    ] {
        let answer = server.create(block.clone()).await;
        assert_eq!(path_of(&answer), path, "{block}");
    }
    let named = |rest: Value| {
        let mut block = dtls("CertificateName", "CN=pump");
        block.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        block
    };
    for (block, path) in [
        (named(json!({ "SecurityModes": ["NoSec"] })), "Cellular.SecurityModes"),
        (
            named(json!({ "SecurityModes": ["Certificate", "RawPublicKey"] })),
            "Cellular.SecurityModes",
        ),
        (named(json!({ "Endpoint": "192.0.2.7:5684" })), "Cellular.Endpoint"),
    ] {
        let answer = server.create(block.clone()).await;
        assert_eq!(path_of(&answer), path, "{block}");
    }
    let answer = server.create(json!({ "SecurityModes": [7] })).await;
    assert_eq!((answer.status, answer.shape()), (400, "SerializationException"));
    assert_eq!(server.get("/wireless-devices").await.json["WirelessDeviceList"], json!([]));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_has_its_longest_length() {
    let server = started().await;
    for (characters, status) in [(255, 201), (256, 400)] {
        let name = format!("CN={}", "n".repeat(characters - 3));
        let answer = server.create(json!({ "DtlsV1_2": { "CertificateName": name } })).await;
        assert_eq!(answer.status, status, "{characters}: {}", answer.text);
    }
    let key = public_key().base64();
    for (characters, status) in [(1_024, 201), (1_025, 400)] {
        let padded = format!("{key}{}", "\n".repeat(characters - key.len()));
        let answer = server.create(json!({ "DtlsV1_2": { "RawPublicKey": padded } })).await;
        assert_eq!(answer.status, status, "{characters}: {}", answer.text);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_names_a_device_names_no_other() {
    let server = started().await;
    let key = public_key();
    let blocks = [
        (json!({ "DtlsV1_2": { "RawPublicKey": key.base64() } }), "RawPublicKey"),
        (json!({ "DtlsV1_2": { "CertificateName": "DNS:pump.example" } }), "CertificateName"),
        (
            json!({ "DtlsV1_2": { "CertificateFingerprint": "ab".repeat(32) } }),
            "CertificateFingerprint",
        ),
        (json!({ "NoSec": { "SourceAddress": "192.0.2.7" } }), "SourceAddress"),
    ];
    let other = server.id_of(json!({ "DtlsV1_2": { "CertificateName": "CN=other" } })).await;
    for (block, member) in &blocks {
        let first = server.id_of(block.clone()).await;
        for answer in
            [server.create(block.clone()).await, server.change(&other, block.clone()).await]
        {
            assert_eq!((answer.status, answer.shape()), (409, "ConflictException"));
            let said = answer.json["Message"].as_str().unwrap();
            assert!(said.ends_with(&format!("{member}.")), "{said}");
        }
        // The name is free again once its device is gone.
        let gone = server.call("DELETE", &format!("/wireless-devices/{first}"), "").await;
        assert_eq!(gone.status, 204);
        let second = server.id_of(block.clone()).await;
        assert_ne!(second, first);
    }
    // One spelt in another way is the same.
    let spelt = json!({ "DtlsV1_2": { "CertificateName": "DNS:PUMP.example" } });
    assert_eq!(server.create(spelt).await.status, 409);
    // An address with a port is another name than the address alone.
    let port = json!({ "NoSec": { "SourceAddress": "192.0.2.7:5683" } });
    assert_eq!(server.create(port).await.status, 201);
    // Both blocks of one device: two keys under one identity can't be.
    let dtls = json!({ "DtlsV1_2": { "PreSharedKeyIdentity": identity(1),
                                     "PreSharedKeySecret": psk(1) } });
    let mut body = with(dtls.clone());
    body["WiFi"] = dtls;
    let answer = server.send("POST", "/wireless-devices", body).await;
    assert_eq!((answer.status, answer.shape()), (409, "ConflictException"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_added_kept_and_removed() {
    let server = started().await;
    let key = public_key();
    let id = server
        .id_of(json!({ "Imei": "490154203237518", "DtlsV1_2": {
            "PreSharedKeyIdentity": identity(1), "PreSharedKeySecret": psk(1) } }))
        .await;
    let change = async |change: Value| {
        let answer = server.change(&id, change).await;
        assert_eq!(answer.status, 204, "{}", answer.text);
        server.cellular(&id).await
    };
    let shown = change(json!({ "DtlsV1_2": { "RawPublicKey": key.base64() } })).await;
    assert_eq!(shown["SecurityModes"], json!(["PreSharedKey", "RawPublicKey"]));
    assert_eq!(shown["DtlsV1_2"]["PreSharedKeyIdentity"], identity(1), "the rest stays");
    let shown = change(json!({ "SecurityModes": ["RawPublicKey"] })).await;
    assert_eq!(shown["SecurityModes"], json!(["RawPublicKey"]));

    // What a mode needs can't go while the mode is named.
    let removal = json!({ "DtlsV1_2": { "RawPublicKey": "" } });
    let refused = server.change(&id, removal.clone()).await;
    assert_eq!(path_of(&refused), "Cellular.SecurityModes");

    let gone = json!({ "SecurityModes": [], "DtlsV1_2": { "PreSharedKeyIdentity": "" } });
    let shown = change(gone).await;
    assert_eq!(
        shown,
        json!({ "Imei": "490154203237518", "DtlsV1_2": { "RawPublicKey": key.base64() },
                "SecurityModes": ["RawPublicKey"] })
    );
    // The identity is free again, and comes back only with a secret.
    let alone = json!({ "DtlsV1_2": { "PreSharedKeyIdentity": identity(1) } });
    assert_eq!(path_of(&server.change(&id, alone).await), "Cellular.DtlsV1_2.PreSharedKeySecret");
    let shown = change(json!({ "Imei": "", "NoSec": { "SourceAddress": "192.0.2.7" } })).await;
    assert_eq!(
        (&shown["Imei"], &shown["NoSec"]["SourceAddress"]),
        (&Value::Null, &json!("192.0.2.7"))
    );
    let shown = change(removal).await;
    assert_eq!(shown["SecurityModes"], json!(["NoSec"]));
    let taken = json!({ "DtlsV1_2": { "RawPublicKey": key.base64() } });
    assert_eq!(server.create(taken).await.status, 201, "its key is free");
    server.stop().await;
}

/// Neither is of use without the other.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_and_its_secret_come_and_go_together() {
    let server = started().await;
    let dtls = json!({ "DtlsV1_2": { "PreSharedKeyIdentity": identity(1),
                                     "PreSharedKeySecret": psk(2) } });
    let id = server.id_of(dtls).await;
    for (identity, secret) in [(identity(3).as_str(), ""), ("", psk(3).as_str())] {
        let change = json!({ "DtlsV1_2": { "PreSharedKeyIdentity": identity,
                                           "PreSharedKeySecret": secret } });
        let refused = server.change(&id, change).await;
        assert_eq!(path_of(&refused), "Cellular.DtlsV1_2.PreSharedKeySecret");
    }
    let removal = json!({ "DtlsV1_2": { "PreSharedKeySecret": "" } });
    assert_eq!(server.change(&id, removal).await.status, 204);
    assert_eq!(server.cellular(&id).await, json!({ "SecurityModes": [] }), "it may not connect");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_downlink_to_a_device_that_listens_is_taken_as_any() {
    let server = started().await;
    let id = server
        .id_of(json!({ "Endpoint": "127.0.0.1:5684", "DtlsV1_2": {
            "PreSharedKeyIdentity": identity(1), "PreSharedKeySecret": psk(1) } }))
        .await;
    let sent = json!({ "PayloadData": "b24=", "CoAP": {
        "RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1 } });
    let answer = server.send("POST", &format!("/wireless-devices/{id}/data"), sent).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    server.stop().await;
}
