//! Certificate authorities: register, describe, list, activate, delete, and what is refused.

use rcgen::{IsCa, PKCS_ECDSA_P256_SHA256, date_time_ymd};
use serde_json::{Value, json};

use super::harness::{Answer, Server};
use crate::control::AUTHORITIES_MAX;
use crate::identity::testing::Issued;

impl Server {
    async fn register(&self, query: &str, pem: &str) -> Answer {
        let body = json!({ "caCertificate": pem, "certificateMode": "SNI_ONLY" });
        self.send("POST", &format!("/cacertificate{query}"), body).await
    }

    async fn registered(&self, query: &str, pem: &str) -> String {
        let made = self.register(query, pem).await;
        assert_eq!(made.status, 200, "{}", made.text);
        made.json["certificateId"].as_str().unwrap().to_owned()
    }

    async fn described(&self, id: &str) -> Value {
        let answer = self.get(&format!("/cacertificate/{id}")).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.json["certificateDescription"].clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_lives_as_aws_iot_has_it() {
    let server = Server::start().await;
    let root = Issued::authority("root");
    let made =
        server.register("?setAsActive=true&allowAutoRegistration=false", &root.certificate).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let id = made.json["certificateId"].as_str().unwrap();
    let arn = format!("arn:aws:iot:us-east-1:123456789012:cacert/{id}");
    assert_eq!((id.len(), &made.json["certificateArn"]), (64, &json!(arn)));

    let described = server.described(id).await;
    assert_eq!(described["certificateArn"], arn);
    assert_eq!(described["certificateId"], id);
    assert_eq!(described["status"], "ACTIVE");
    assert_eq!(
        described["certificatePem"].as_str().unwrap(),
        root.certificate.replace("\r\n", "\n")
    );
    assert_eq!(described["ownedBy"], "123456789012");
    assert_eq!(described["autoRegistrationStatus"], "DISABLE");
    assert_eq!(described["customerVersion"], 1);
    assert_eq!(described["certificateMode"], "SNI_ONLY");
    assert_eq!(
        described["validity"],
        json!({ "notBefore": 1_577_836_800, "notAfter": 4_733_510_400_u64 })
    );
    assert_eq!(described["creationDate"], described["lastModifiedDate"]);

    let again = server.register("", &root.certificate).await;
    assert_eq!((again.status, again.shape()), (409, "ResourceAlreadyExistsException"));
    assert_eq!((&again.json["resourceId"], &again.json["resourceArn"]), (&json!(id), &json!(arn)));

    let path = format!("/cacertificate/{id}");
    let kept = server.call("DELETE", &path, "").await;
    assert_eq!((kept.status, kept.shape()), (406, "CertificateStateException"));
    for _ in 0..2 {
        let changed = server.call("PUT", &format!("{path}?newStatus=INACTIVE"), "").await;
        assert_eq!((changed.status, changed.text.as_str()), (200, ""));
        let described = server.described(id).await;
        assert_eq!(
            (&described["status"], &described["customerVersion"]),
            (&json!("INACTIVE"), &json!(2))
        );
    }
    let gone = server.call("DELETE", &path, "").await;
    assert_eq!((gone.status, &gone.json), (200, &json!({})));
    for (method, target) in [
        ("GET", path.clone()),
        ("DELETE", path.clone()),
        ("PUT", format!("{path}?newStatus=ACTIVE")),
    ] {
        let answer = server.call(method, &target, "").await;
        assert_eq!((answer.status, answer.shape()), (404, "ResourceNotFoundException"), "{method}");
        assert!(answer.json["message"].is_string());
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_vouches_for_nobody_is_refused() {
    let server = Server::start().await;
    let root = Issued::authority("root");
    let leaf = root.leaf(&["device.example"], &PKCS_ECDSA_P256_SHA256);
    let expired =
        Issued::authority_with("old", |params| params.not_after = date_time_ymd(2025, 1, 1));
    let early =
        Issued::authority_with("new", |params| params.not_before = date_time_ymd(2110, 1, 1));
    let no_ca = Issued::authority_with("device", |params| params.is_ca = IsCa::ExplicitNoCa);
    let refused = "CertificateValidationException";
    for (what, pem) in [
        ("a device's", leaf.certificate.clone()),
        ("said to be none", no_ca.certificate),
        ("expired", expired.certificate),
        ("not valid yet", early.certificate),
        ("a key", root.key.serialize_pem()),
        ("two", root.certificate.repeat(2)),
        ("half of one", root.certificate[..200].to_owned()),
        ("none", "certificate".to_owned()),
    ] {
        let answer = server.register("", &pem).await;
        assert_eq!((answer.status, answer.shape()), (400, refused), "{what}: {}", answer.text);
        assert!(!answer.text.contains("BEGIN"), "{}", answer.text);
    }
    let list = server.get("/cacertificates").await;
    assert_eq!((list.status, &list.json), (200, &json!({ "certificates": [] })));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_served_is_an_invalid_request() {
    let server = Server::start().await;
    let root = Issued::authority("root");
    let good = json!({ "caCertificate": root.certificate, "certificateMode": "SNI_ONLY" });
    for (query, member, value) in [
        ("", "caCertificate", json!(null)),
        ("", "caCertificate", json!("")),
        ("", "certificateMode", json!(null)),
        ("", "certificateMode", json!("DEFAULT")),
        ("", "certificateMode", json!("NONE")),
        ("", "verificationCertificate", json!(root.certificate)),
        ("", "registrationConfig", json!({})),
        ("", "tags", json!(null)),
        ("?setAsActive=yes", "tags", json!([])),
        ("?allowAutoRegistration=true", "tags", json!([])),
    ] {
        let mut body = good.clone();
        body[member] = value;
        let answer = server.send("POST", &format!("/cacertificate{query}"), body).await;
        if member == "tags" && query.is_empty() {
            assert_eq!(answer.status, 200, "the control");
            continue;
        }
        assert_eq!((answer.status, answer.shape()), (400, "InvalidRequestException"), "{member}");
    }
    let list = server.get("/cacertificates").await;
    let id = list.json["certificates"][0]["certificateId"].as_str().unwrap();
    let path = format!("/cacertificate/{id}");
    for (query, body) in [
        ("?newStatus=REGISTER_INACTIVE", "{}"),
        ("?newAutoRegistrationStatus=ENABLE", "{}"),
        ("", "{\"registrationConfig\": {}}"),
    ] {
        let answer = server.call("PUT", &format!("{path}{query}"), body).await;
        assert_eq!((answer.status, answer.shape()), (400, "InvalidRequestException"), "{query}");
    }
    for (query, body) in
        [("?newAutoRegistrationStatus=DISABLE", "{}"), ("", "{\"removeAutoRegistration\": true}")]
    {
        assert_eq!(server.call("PUT", &format!("{path}{query}"), body).await.status, 200);
    }
    let short = server.get("/cacertificate/ab").await;
    assert_eq!((short.status, short.shape()), (400, "InvalidRequestException"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_is_walked_in_both_directions() {
    let server = Server::start().await;
    for n in 0..5 {
        server.registered("", &Issued::authority(&format!("root {n}")).certificate).await;
    }
    let walk = async |order: &str| {
        let (mut seen, mut sizes, mut marker) = (Vec::new(), Vec::new(), String::new());
        loop {
            let page = server.get(&format!("/cacertificates?pageSize=2{order}{marker}")).await;
            assert_eq!(page.status, 200, "{}", page.text);
            let page_items = page.json["certificates"].as_array().unwrap().clone();
            sizes.push(page_items.len());
            seen.extend(page_items);
            let Some(next) = page.json["nextMarker"].as_str() else { break };
            marker = format!("&marker={}", next.replace('+', "%2B").replace('/', "%2F"));
        }
        assert_eq!(sizes, [2, 2, 1]);
        seen
    };
    let newest_first = walk("").await;
    let mut oldest_first = walk("&isAscendingOrder=true").await;
    let dates: Vec<f64> =
        oldest_first.iter().map(|item| item["creationDate"].as_f64().unwrap()).collect();
    assert!(dates.is_sorted());
    oldest_first.reverse();
    assert_eq!(oldest_first, newest_first);
    let none = server.get("/cacertificates?templateName=t").await;
    assert_eq!(none.json["certificates"], json!([]));
    for query in ["pageSize=0", "pageSize=251", "marker=nonsense", "isAscendingOrder=up"] {
        let answer = server.get(&format!("/cacertificates?{query}")).await;
        assert_eq!((answer.status, answer.shape()), (400, "InvalidRequestException"), "{query}");
    }
    for query in ["pageSize=1", "pageSize=250"] {
        assert_eq!(server.get(&format!("/cacertificates?{query}")).await.status, 200, "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn there_is_room_for_a_number_of_authorities() {
    let server = Server::start().await;
    let mut last = String::new();
    for n in 0..AUTHORITIES_MAX {
        last = server.registered("", &Issued::authority(&format!("root {n}")).certificate).await;
    }
    let one_more = Issued::authority("one more").certificate;
    let full = server.register("", &one_more).await;
    assert_eq!((full.status, full.shape()), (410, "LimitExceededException"));
    assert_eq!(server.call("DELETE", &format!("/cacertificate/{last}"), "").await.status, 200);
    server.registered("", &one_more).await;
    server.stop().await;
}
