//! The API over a real socket: signatures, error shapes, and each resource's life.

#![allow(clippy::unwrap_used)]

mod accounts;
mod authorities;
mod devices;
mod harness;
mod measured;
mod messages;
mod payloads;
mod private;
mod profiles;
mod rules;
mod security;
mod settings;
mod store_fails;
mod uplinks;

use harness::Server;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_learns_nothing_but_health() {
    let server = Server::start().await;
    for path in ["/wireless-devices", "/no/such/path", "/rules", "/"] {
        let answer = server.unsigned("GET", path, &[], b"").await;
        assert_eq!((answer.status, answer.shape()), (403, "MissingAuthenticationToken"), "{path}");
    }
    let health = server.unsigned("GET", "/health", &[], b"").await;
    assert_eq!(health.status, 200);
    assert_eq!(health.json["Store"], true);
    assert_eq!(health.json["TrustOmitted"], 0);
    assert_eq!(health.json["Status"], "degraded", "there is no dataplane");
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_signatures_have_the_shapes_of_aws() {
    let server = Server::start().await;
    let path = "/wireless-devices";
    let mut headers = server.signed_headers("GET", path, "", b"");
    let answer = server.unsigned("GET", "/destinations", &headers, b"").await;
    assert_eq!((answer.status, answer.shape()), (403, "SignatureDoesNotMatch"));
    let authorization = headers.iter_mut().find(|(name, _)| name == "authorization").unwrap();
    let good = authorization.1.clone();
    for (from, to, status, shape) in [
        ("Credential=TGRK", "Credential=ZZZZ", 403, "InvalidClientTokenId"),
        ("us-east-1", "eu-west-1", 403, "SignatureDoesNotMatch"),
        ("AWS4-HMAC-SHA256", "Bearer", 400, "IncompleteSignature"),
        ("Signature=", "Signature=zz", 400, "IncompleteSignature"),
    ] {
        let mut headers = headers.clone();
        let authorization = headers.iter_mut().find(|(name, _)| name == "authorization").unwrap();
        authorization.1 = good.replace(from, to);
        let answer = server.unsigned("GET", path, &headers, b"").await;
        assert_eq!((answer.status, answer.shape()), (status, shape), "{to}");
        assert!(answer.json["Message"].is_string());
        assert!(!answer.text.contains(harness::SECRET));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_has_a_request_id_of_its_own() {
    let server = Server::start().await;
    let first = server.get("/wireless-devices").await;
    let second = server.get("/wireless-devices").await;
    let id = |answer: &harness::Answer| answer.header("x-amzn-requestid").unwrap().to_owned();
    assert_eq!((first.status, id(&first).len()), (200, 36));
    assert_ne!(id(&first), id(&second));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_an_unknown_operation() {
    let server = Server::start().await;
    for (method, path) in [
        ("GET", "/wireless-gateways"),
        ("POST", "/fuota-tasks"),
        ("PUT", "/wireless-devices"),
        ("GET", "/wireless-devices/"),
        ("DELETE", "/wireless-devices"),
        ("GET", "/"),
        ("POST", "/health"),
    ] {
        let answer = server.call(method, path, "").await;
        let known = path == "/wireless-devices/"; // an identifier, and an empty one
        let expected =
            if known { (400, "ValidationException") } else { (404, "UnknownOperationException") };
        assert_eq!((answer.status, answer.shape()), expected, "{method} {path}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_is_json_and_has_a_bound() {
    let server = Server::start().await;
    let path = "/destinations";
    let answer = server.call("POST", path, "{\"Name\": ").await;
    assert_eq!((answer.status, answer.shape()), (400, "SerializationException"));
    let answer = server.call("POST", path, "{\"Name\": 7}").await;
    assert_eq!((answer.status, answer.shape()), (400, "SerializationException"));
    let fits = format!("{{\"x\": \"{}\"}}", "a".repeat(harness::BODY_BYTES_MAX - 9));
    assert_eq!(fits.len(), harness::BODY_BYTES_MAX);
    let answer = server.call("POST", path, &fits).await;
    assert_eq!((answer.status, answer.shape()), (400, "ValidationException"));
    let answer = server.call("POST", path, &format!("{fits} ")).await;
    assert_eq!((answer.status, answer.shape()), (413, "RequestEntityTooLargeException"));

    let mut headers = server.signed_headers("POST", path, "", b"{}");
    headers.push(("content-type".into(), "text/xml".into()));
    let answer = server.unsigned("POST", path, &headers, b"{}").await;
    assert_eq!((answer.status, answer.shape()), (415, "UnsupportedMediaTypeException"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_comes_is_not_waited_for() {
    let server = Server::start().await;
    let headers = server.signed_headers("POST", "/destinations", "", b"{}");
    let answer = server.unsigned_of_length("POST", "/destinations", &headers, b"{", 2).await;
    assert_eq!((answer.status, answer.shape()), (408, "RequestTimeoutException"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_is_what_the_operator_said() {
    let server = Server::start().await;
    let answer = server.get("/service-endpoint?serviceType=COAP").await;
    let key = harness::raw_key();
    let expected = json!({
        "ServiceType": "COAP", "ServiceEndpoint": harness::COAP,
        "ServerPublicKey": {
            "SubjectPublicKeyInfo": key.base64(), "Pem": key.pem(), "Sha256": key.sha256(),
        },
    });
    assert_eq!((answer.status, &answer.json), (200, &expected));
    assert_eq!(server.get("/service-endpoint").await.json, expected);
    let answer = server.get("/service-endpoint?serviceType=LNS").await;
    assert_eq!((answer.status, answer.shape()), (404, "ResourceNotFoundException"));
    assert_eq!(answer.json["ResourceId"], "LNS");
    let answer = server.get("/service-endpoint?serviceType=FTP").await;
    assert_eq!((answer.status, answer.shape()), (400, "ValidationException"));
    server.stop().await;
}
