//! What does an account see, what may a user do, and what is left once an account is gone?

use serde_json::{Value, json};

use super::harness::{Answer, Server, destination, device, identity, psk};
use crate::iam::directory::NewKey;
use crate::iam::erase;
use crate::iam::quota::Quota;
use crate::iam::record::PolicyRecord;
use crate::store::account::Account;

/// A server with one more account: its id, its root's key.
async fn with_account() -> (Server, Account, NewKey) {
    let server = Server::start().await;
    let (account, key) = server.directory().create_account("tenant").await.unwrap();
    (server, account, key)
}

impl Server {
    async fn user(&self, account: Account, name: &str, statements: Value) -> NewKey {
        let directory = self.directory();
        directory.create_user(account, name).await.unwrap();
        self.attach(account, name, statements).await;
        directory.create_key(account, name).await.unwrap()
    }

    async fn attach(&self, account: Account, user: &str, statements: Value) {
        let document = json!({ "Version": "2012-10-17", "Statement": statements });
        let policy = PolicyRecord { name: "p".to_owned(), document };
        self.directory().attach_policy(account, user, policy).await.unwrap();
    }

    async fn get_as(&self, key: &NewKey, target: &str) -> Answer {
        self.call_as(key, "GET", target, &Value::Null).await
    }

    async fn made_as(&self, key: &NewKey, n: u32) -> String {
        let made = self.call_as(key, "POST", "/wireless-devices", &device(n)).await;
        assert_eq!(made.status, 201, "{}", made.text);
        made.json["Id"].as_str().unwrap().to_owned()
    }
}

fn listed(answer: &Answer) -> Vec<String> {
    let list = answer.json["WirelessDeviceList"].as_array().unwrap();
    list.iter().map(|item| item["Id"].as_str().unwrap().to_owned()).collect()
}

fn by_id(id: &str) -> String {
    format!("/wireless-devices/{id}?identifierType=WirelessDeviceId")
}

/// Names are an account's own; ids of others lead nowhere; PSK identities are one name space.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_sees_its_own_records_alone() {
    let (server, account, key) = with_account().await;
    server.make_destination("d").await;
    let of_root = server.make_device(1).await;
    assert_eq!(server.get_as(&key, "/destinations/d").await.status, 404);
    let no_such = server.call_as(&key, "POST", "/wireless-devices", &device(2)).await;
    assert_eq!((no_such.status, no_such.shape()), (404, "ResourceNotFoundException"));

    let made = server.call_as(&key, "POST", "/destinations", &destination("d")).await;
    assert_eq!(made.status, 201, "its own: {}", made.text);
    let arn = format!("arn:aws:iotwireless:us-east-1:{account}:Destination/d");
    assert_eq!(made.json["Arn"], json!(arn));
    let own = server.made_as(&key, 2).await;
    let taken = server.call_as(&key, "POST", "/wireless-devices", &device(1)).await;
    assert_eq!(taken.shape(), "ConflictException", "{}", taken.text);

    for (id, by_root, by_account) in [(&of_root, 200, 404), (&own, 404, 200)] {
        assert_eq!(server.get(&by_id(id)).await.status, by_root);
        assert_eq!(server.get_as(&key, &by_id(id)).await.status, by_account);
    }
    let body = json!({ "PayloadData": "b24=",
        "CoAP": { "RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1 } });
    for (method, path, body) in [
        ("PATCH", format!("/wireless-devices/{of_root}"), json!({ "Name": "mine" })),
        ("POST", format!("/wireless-devices/{of_root}/data"), body),
        ("GET", format!("/wireless-devices/{of_root}/data"), Value::Null),
        ("DELETE", format!("/wireless-devices/{of_root}/data?messageId=*"), Value::Null),
        ("DELETE", format!("/wireless-devices/{of_root}"), Value::Null),
    ] {
        let refused = server.call_as(&key, method, &path, &body).await;
        assert_eq!(refused.status, 404, "{method} {path}: {}", refused.text);
    }
    let by_identity =
        format!("/wireless-devices/{}?identifierType=PreSharedKeyIdentity", identity(1));
    assert_eq!(server.get_as(&key, &by_identity).await.status, 404);

    assert_eq!(listed(&server.get("/wireless-devices").await), [of_root.as_str()]);
    assert_eq!(listed(&server.get_as(&key, "/wireless-devices").await), [own.as_str()]);
    let of_destination = server.get_as(&key, "/wireless-devices?destinationName=d").await;
    assert_eq!(listed(&of_destination), [own.as_str()]);
    let deleted = server.call_as(&key, "DELETE", "/destinations/d", &Value::Null).await;
    assert_eq!(deleted.shape(), "ConflictException", "its device uses it");
    let path = format!("/wireless-devices/{own}");
    assert_eq!(server.call_as(&key, "DELETE", &path, &Value::Null).await.status, 204);
    let deleted = server.call_as(&key, "DELETE", "/destinations/d", &Value::Null).await;
    assert_eq!(deleted.status, 204);
    assert_eq!(server.get("/destinations/d").await.status, 200, "the root's is another");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_may_do_what_its_policies_allow() {
    let (server, account, root) = with_account().await;
    server.call_as(&root, "POST", "/destinations", &destination("d")).await;
    server.call_as(&root, "POST", "/destinations", &destination("other")).await;
    let id = server.made_as(&root, 1).await;
    let read = json!([{ "Effect": "Allow", "Action": "iotwireless:Get*", "Resource": "*" }]);
    let ann = server.user(account, "ann", read).await;
    assert_eq!(server.get_as(&ann, &by_id(&id)).await.status, 200);
    let denied = server.get_as(&ann, "/wireless-devices").await;
    assert_eq!((denied.status, denied.shape()), (403, "AccessDeniedException"));
    let said = format!(
        "User: arn:aws:iam::{account}:user/ann is not authorized to perform: \
         iotwireless:ListWirelessDevices on resource: arn:aws:iotwireless:us-east-1:{account}:* \
         because no identity-based policy allows the iotwireless:ListWirelessDevices action"
    );
    assert_eq!(denied.json["Message"], json!(said));

    // Another's device of the same edge is not there, and an identifier nobody has is a refusal to
    // who may not see every device.
    let arn = format!("arn:aws:iotwireless:us-east-1:{account}:WirelessDevice/{id}");
    server
        .attach(
            account,
            "ann",
            json!([{ "Effect": "Allow", "Action": "*",
        "Resource": arn }]),
        )
        .await;
    assert_eq!(server.get_as(&ann, &by_id(&id)).await.status, 200);
    let of =
        |n: u32| format!("/wireless-devices/{}?identifierType=PreSharedKeyIdentity", identity(n));
    assert_eq!(server.get_as(&ann, &of(1)).await.status, 200, "resolved to its ARN");
    assert_eq!(server.get_as(&ann, &of(9)).await.status, 403);

    // Each resource that a call names must be allowed.
    let change = json!({ "DestinationName": "other" });
    let path = format!("/wireless-devices/{id}");
    let denied = server.call_as(&ann, "PATCH", &path, &change).await;
    assert!(denied.text.contains("Destination/other"), "{}", denied.text);
    assert_eq!(server.call_as(&ann, "PATCH", &path, &json!({ "Name": "n" })).await.status, 204);
    let both = json!([arn, format!("arn:aws:iotwireless:*:{account}:Destination/other")]);
    server
        .attach(account, "ann", json!([{ "Effect": "Allow", "Action": "*", "Resource": both }]))
        .await;
    assert_eq!(server.call_as(&ann, "PATCH", &path, &change).await.status, 204);

    server
        .attach(
            account,
            "ann",
            json!([
                { "Effect": "Allow", "Action": "*", "Resource": "*" },
                { "Effect": "Deny", "Action": "iotwireless:DeleteWirelessDevice", "Resource": "*" },
            ]),
        )
        .await;
    let denied = server.call_as(&ann, "DELETE", &path, &Value::Null).await;
    assert!(denied.text.contains("with an explicit deny"), "{}", denied.text);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_request_and_resource_decide() {
    let (server, account, root) = with_account().await;
    let ann = server
        .user(
            account,
            "ann",
            json!([
                { "Effect": "Allow", "Action": "iotwireless:CreateDestination", "Resource": "*",
                  "Condition": { "StringEquals": { "aws:RequestTag/team": "red" } } },
                { "Effect": "Allow", "Action": "iotwireless:GetDestination", "Resource": "*",
                  "Condition": { "StringEquals": { "aws:ResourceTag/team": "red" } } },
            ]),
        )
        .await;
    let make = async |key: &NewKey, name: &str, team: &str| {
        let mut body = destination(name);
        body["Tags"] = json!([{ "Key": "team", "Value": team }]);
        server.call_as(key, "POST", "/destinations", &body).await.status
    };
    assert_eq!(make(&ann, "mine", "red").await, 201);
    assert_eq!(make(&ann, "theirs", "blue").await, 403);
    assert_eq!(make(&root, "theirs", "blue").await, 201);
    assert_eq!(server.get_as(&ann, "/destinations/mine").await.status, 200);
    assert_eq!(server.get_as(&ann, "/destinations/theirs").await.status, 403);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_come_and_go_at_once() {
    let (server, account, root) = with_account().await;
    let directory = server.directory();
    let list = "/destinations";
    assert_eq!(server.get_as(&root, list).await.status, 200);
    let wrong = NewKey { id: root.id.clone(), secret: "x".repeat(40).into() };
    assert_eq!(server.get_as(&wrong, list).await.shape(), "SignatureDoesNotMatch");
    let (_, next) = directory.rotate_key(&root.id).await.unwrap();
    assert_eq!(server.get_as(&root, list).await.shape(), "InvalidClientTokenId");
    assert_eq!(server.get_as(&next, list).await.status, 200);
    let second = directory.create_key(account, "root").await.unwrap();
    assert!(directory.create_key(account, "root").await.is_err(), "two are the most");
    directory.delete_key(&next.id).await.unwrap();
    assert_eq!(server.get_as(&next, list).await.status, 403);
    assert_eq!(server.get_as(&second, list).await.status, 200);
    server.stop().await;
}

/// Each quota on both sides; the root has none.
#[tokio::test(flavor = "multi_thread")]
async fn an_account_keeps_to_its_quotas() {
    let (server, account, key) = with_account().await;
    server.make_destination("d").await;
    let directory = server.directory();
    directory.set_quota(account, Quota::Destinations, Some(2)).await.unwrap();
    directory.set_quota(account, Quota::Devices, Some(1)).await.unwrap();
    for (name, status) in [("d", 201), ("e", 201), ("f", 410)] {
        let made = server.call_as(&key, "POST", "/destinations", &destination(name)).await;
        assert_eq!(made.status, status, "{}", made.text);
    }
    let id = server.made_as(&key, 1).await;
    let over = server.call_as(&key, "POST", "/wireless-devices", &device(2)).await;
    assert_eq!((over.status, over.shape()), (410, "LimitExceededException"), "{}", over.text);
    let renamed = json!({ "Name": "a change makes none" });
    let path = format!("/wireless-devices/{id}");
    assert_eq!(server.call_as(&key, "PATCH", &path, &renamed).await.status, 204);
    assert_eq!(server.call_as(&key, "DELETE", &path, &Value::Null).await.status, 204);
    server.made_as(&key, 2).await;
    server.make_device(3).await;
    server.make_device(4).await;

    // A queue of the harness holds three.
    directory.set_quota(account, Quota::QueueDepth, Some(1)).await.unwrap();
    let id = listed(&server.get_as(&key, "/wireless-devices").await)[0].clone();
    let body = json!({ "PayloadData": "b24=",
        "CoAP": { "RequestMethod": "PUT", "UriPaths": ["led"], "QueueMode": 1 } });
    for status in [202, 429] {
        let path = format!("/wireless-devices/{id}/data");
        let sent = server.call_as(&key, "POST", &path, &body).await;
        assert_eq!(sent.status, status, "{}", sent.text);
    }

    directory.set_quota(account, Quota::ApiRate, Some(1)).await.unwrap();
    let mut shapes = Vec::new();
    for _ in 0..20 {
        shapes.push(server.get_as(&key, "/service-endpoint").await.status);
    }
    assert!(shapes.contains(&200) && shapes.contains(&429), "{shapes:?}");
    server.stop().await;
}

/// The marker stands in names, identities, payloads, rules and tags; then the account goes.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_terminated_account_is_left_in_the_files() {
    const MARKER: &str = "planted-marker-4711";
    let (server, account, key) = with_account().await;
    server.make_destination("d").await;
    let of_root = server.make_device(1).await;
    let marked = format!("{MARKER}-{}", "x".repeat(20));
    let mut to = destination(&marked);
    to["Tags"] = json!([{ "Key": MARKER, "Value": MARKER }]);
    assert_eq!(server.call_as(&key, "POST", "/destinations", &to).await.status, 201);
    let rule = json!({ "sql": format!("SELECT '{MARKER}' AS m FROM 'a/b'"),
        "actions": [{ "republish": { "topic": MARKER, "roleArn": "arn:aws:iam::1:role/r" } }] });
    let made = server.call_as(&key, "POST", "/rules/planted_marker", &rule).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let body = json!({ "Type": "CoAP", "Name": MARKER, "DestinationName": marked,
        "ClientRequestToken": MARKER, "Tags": [{ "Key": MARKER, "Value": MARKER }],
        "Cellular": { "DtlsV1_2": {
            "PreSharedKeyIdentity": marked, "PreSharedKeySecret": psk(7) } } });
    let made = server.call_as(&key, "POST", "/wireless-devices", &body).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let id = made.json["Id"].as_str().unwrap();
    let payload = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, MARKER);
    let sent = json!({ "PayloadData": payload,
        "CoAP": { "RequestMethod": "PUT", "UriPaths": [MARKER], "QueueMode": 1 } });
    let sent = server.call_as(&key, "POST", &format!("/wireless-devices/{id}/data"), &sent).await;
    assert_eq!(sent.status, 202, "{}", sent.text);
    uploads(&server, &key, MARKER).await;
    server
        .user(
            account,
            MARKER,
            json!([{ "Effect": "Allow", "Action": "*",
        "Resource": format!("arn:aws:iotwireless:*:*:Destination/{MARKER}") }]),
        )
        .await;

    let records = server.directory().records().clone();
    let data_dir = server.data_dir();
    let before = erase::prove(&records, &data_dir, MARKER).unwrap();
    assert!(!before.holds() && before.records_with_marker > 5, "the proof sees it: {before:?}");

    let erased = erase::terminate(server.directory(), Some(&server.control), account).await;
    let erased = erased.unwrap();
    assert!(erased.devices == 1 && erased.records > 8, "{erased:?}");
    assert_eq!(server.get_as(&key, "/destinations").await.shape(), "InvalidClientTokenId");
    for file in walk(&data_dir.join("store")) {
        let bytes = std::fs::read(&file).unwrap_or_default();
        let holds = bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes());
        assert!(!holds, "{} still has the marker", file.display());
    }
    let after = erase::prove(&records, &data_dir, MARKER).unwrap();
    assert!(after.holds(), "{after:?}");
    assert!(server.directory().terminating().is_empty());

    // The others' are as they were, and the identity is free again.
    assert_eq!(server.get(&by_id(&of_root)).await.status, 200);
    let again = json!({ "Type": "CoAP", "DestinationName": "d", "Cellular": { "DtlsV1_2": {
        "PreSharedKeyIdentity": marked, "PreSharedKeySecret": psk(7) } } });
    assert_eq!(server.send("POST", "/wireless-devices", again).await.status, 201);
    server.stop().await;
}

/// The account uploads a payload, which is its alone.
async fn uploads(server: &Server, key: &NewKey, text: &str) {
    let upload = json!({ "Name": text, "Bytes": text.len() });
    let upload = server.call_as(key, "POST", "/payloads", &upload).await;
    assert_eq!(upload.status, 201, "{}", upload.text);
    let upload = format!("/payloads/{}", upload.json["Id"].as_str().unwrap());
    assert_eq!(server.get(&upload).await.status, 404, "of another account");
    let payload = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text);
    let part = json!({ "Offset": 0, "PayloadData": payload });
    assert_eq!(server.call_as(key, "PUT", &upload, &part).await.status, 200);
}

fn walk(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.is_file()).collect()
}
