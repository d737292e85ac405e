//! Every vector verifies, every change to it is refused, and every refusal says why.

use warp::http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

use super::signer::Signing;
use super::vectors::{
    ACCESS_KEY_ID, PRESIGNED, REGION, SECRET, TIMESTAMP, UNIX_S, VECTORS, Vector,
};
use super::*;

struct OneKey;

impl KeyLookup for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<Zeroizing<String>> {
        (access_key_id == ACCESS_KEY_ID).then(|| Zeroizing::new(SECRET.to_owned()))
    }
}

const EXPECTED: Expected<'static> =
    Expected { region: REGION, services: &["iotwireless", "iot", "service"] };

fn header(name: &str, value: &str) -> (HeaderName, HeaderValue) {
    let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
    (name, HeaderValue::from_str(value).expect("a header value"))
}

/// A vector as it arrives.
fn arrived(vector: &Vector) -> HeaderMap {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20150830/{REGION}/{}/aws4_request, \
         SignedHeaders={}, Signature={}",
        vector.service, vector.signed_headers, vector.signature
    );
    let mut headers: HeaderMap =
        vector.headers.iter().map(|(name, value)| header(name, value)).collect();
    headers.extend([
        header("host", vector.host),
        header("x-amz-date", TIMESTAMP),
        header("authorization", &authorization),
    ]);
    headers
}

fn signed<'a>(vector: &'a Vector, headers: &'a HeaderMap) -> Signed<'a> {
    Signed {
        method: vector.method,
        path: vector.path,
        query: vector.query,
        headers,
        authority: None,
        body: vector.body,
    }
}

/// Verifies the create vector with headers and parts changed by `change`.
fn verify_changed(
    change: impl FnOnce(&mut HeaderMap, &mut Signed<'static>),
) -> Result<(), Refusal> {
    let vector = VECTORS.iter().find(|v| v.name == "create with a body").expect("a vector");
    let mut headers = arrived(vector);
    let mut parts = Signed {
        method: vector.method,
        path: vector.path,
        query: vector.query,
        headers: Box::leak(Box::new(HeaderMap::new())),
        authority: None,
        body: vector.body,
    };
    change(&mut headers, &mut parts);
    let request = Signed { headers: &headers, ..parts };
    verify(&request, UNIX_S, &EXPECTED, &OneKey).map(|_| ())
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    let (name, value) = header(name, value);
    headers.insert(name, value);
}

/// Replaces a part of the Authorization header.
fn edit(headers: &mut HeaderMap, from: &str, to: &str) {
    let text = headers["authorization"].to_str().expect("text").to_owned();
    assert!(text.contains(from), "{from} is not in {text}");
    set(headers, "authorization", &text.replace(from, to));
}

#[test]
fn what_botocore_signs_verifies() {
    for vector in VECTORS {
        let headers = arrived(vector);
        let verified = verify(&signed(vector, &headers), UNIX_S, &EXPECTED, &OneKey);
        let signer =
            Signer { access_key_id: ACCESS_KEY_ID.to_owned(), service: vector.service.to_owned() };
        assert_eq!(verified, Ok(signer), "{}", vector.name);
    }
}

#[test]
fn what_was_signed_cannot_be_changed() {
    assert_eq!(verify_changed(|_, _| {}), Ok(()), "the control");
    let mismatch = Err(Refusal::Mismatch);
    assert_eq!(verify_changed(|_, parts| parts.method = "PUT"), mismatch);
    assert_eq!(verify_changed(|_, parts| parts.path = "/destination"), mismatch);
    assert_eq!(verify_changed(|_, parts| parts.query = "a=1"), mismatch);
    assert_eq!(verify_changed(|_, parts| parts.body = b"{}"), mismatch);
    assert_eq!(verify_changed(|headers, _| set(headers, "host", "other")), mismatch);
    assert_eq!(
        verify_changed(|headers, _| set(headers, "x-amz-date", "20150830T123601Z")),
        mismatch
    );
    assert_eq!(verify_changed(|headers, _| edit(headers, "Signature=", "Signature=00")), {
        Err(Refusal::Incomplete("The signature must be 64 hexadecimal digits.".into()))
    });
    for vector in VECTORS {
        let headers = arrived(vector);
        let mut request = signed(vector, &headers);
        let longer = format!("{}x", vector.path);
        request.path = &longer;
        let verified = verify(&request, UNIX_S, &EXPECTED, &OneKey);
        assert_eq!(verified, Err(Refusal::Mismatch), "{}", vector.name);
    }
}

#[test]
fn the_body_is_always_signed() {
    // A client's own hash must be the hash of what arrived.
    let vector = VECTORS.iter().find(|v| v.name == "create with a body").expect("a vector");
    let hash = canonical::sha256_hex(vector.body);
    let with = |hash: &str| verify_changed(|headers, _| set(headers, "x-amz-content-sha256", hash));
    assert_eq!(with(&hash), Ok(()));
    assert_eq!(with(&hash.replace('a', "b")), Err(Refusal::BodyChanged));
    assert_eq!(with("UNSIGNED-PAYLOAD"), Err(Refusal::BodyChanged));
    assert_eq!(with("STREAMING-AWS4-HMAC-SHA256-PAYLOAD"), Err(Refusal::BodyChanged));
    // That an unsigned empty body passes is one of the vectors.
    assert!(VECTORS.iter().any(|v| v.name == "unsigned empty body" && v.body.is_empty()));
}

#[test]
fn a_clock_may_be_five_minutes_off_and_no_more() {
    let vector = &VECTORS[0];
    let headers = arrived(vector);
    let at = |now| verify(&signed(vector, &headers), now, &EXPECTED, &OneKey);
    assert!(at(UNIX_S + SKEW_S_MAX).is_ok());
    assert!(at(UNIX_S - SKEW_S_MAX).is_ok());
    assert!(matches!(at(UNIX_S + SKEW_S_MAX + 1), Err(Refusal::Expired(_))));
    assert!(matches!(at(UNIX_S - SKEW_S_MAX - 1), Err(Refusal::Expired(_))));
}

#[test]
fn a_presigned_url_lives_as_long_as_it_says() {
    let mut headers = HeaderMap::new();
    headers.extend([header("host", "127.0.0.1:8080")]);
    for (path, query, expires_s) in PRESIGNED {
        let request =
            Signed { method: "GET", path, query, headers: &headers, authority: None, body: b"" };
        let at = |now| verify(&request, now, &EXPECTED, &OneKey);
        assert!(at(UNIX_S).is_ok(), "{path}");
        assert!(at(UNIX_S + expires_s).is_ok(), "{path}");
        assert!(matches!(at(UNIX_S + expires_s + 1), Err(Refusal::Expired(_))), "{path}");
        assert!(matches!(at(UNIX_S - SKEW_S_MAX - 1), Err(Refusal::Expired(_))), "{path}");
        let longer =
            query.replace("Expires=300", "Expires=301").replace("Expires=60", "Expires=61");
        let request = Signed { query: &longer, ..request };
        assert_eq!(verify(&request, UNIX_S, &EXPECTED, &OneKey), Err(Refusal::Mismatch));
        for bad in ["Expires=0", "Expires=604801", "Expires=x"] {
            let query = query.replace("Expires=300", bad).replace("Expires=60", bad);
            let request = Signed { query: &query, ..request };
            let verified = verify(&request, UNIX_S, &EXPECTED, &OneKey);
            assert!(matches!(verified, Err(Refusal::Incomplete(_))), "{bad}");
        }
    }
}

#[test]
fn what_is_missing_is_said() {
    let incomplete = |verified: Result<(), Refusal>, word: &str| match verified {
        Err(Refusal::Incomplete(text)) => assert!(text.contains(word), "{word}: {text}"),
        other => panic!("{word}: {other:?}"),
    };
    assert_eq!(verify_changed(|headers, _| drop(headers.remove("authorization"))), {
        Err(Refusal::Missing)
    });
    for part in ["Credential", "SignedHeaders", "Signature"] {
        let from = format!("{part}=");
        incomplete(verify_changed(|headers, _| edit(headers, &from, "x=")), part);
    }
    incomplete(verify_changed(|headers, _| drop(headers.remove("x-amz-date"))), "X-Amz-Date");
    incomplete(
        verify_changed(|headers, _| edit(headers, "AWS4-HMAC-SHA256", "Bearer")),
        "algorithm",
    );
    incomplete(verify_changed(|headers, _| edit(headers, "/aws4_request", "")), "five parts");
    incomplete(verify_changed(|headers, _| edit(headers, "host;", "")), "Host");
    incomplete(verify_changed(|headers, _| edit(headers, "host;", "host;x-gone;")), "header");
    incomplete(verify_changed(|headers, _| set(headers, "x-amz-date", "20150830")), "ISO-8601");
}

#[test]
fn a_signature_is_good_for_one_key_region_service_and_day() {
    assert_eq!(verify_changed(|headers, _| edit(headers, "AKIDEXAMPLE", "AKIDOTHER")), {
        Err(Refusal::UnknownKey)
    });
    for (from, to) in
        [("us-east-1", "eu-west-1"), ("/iotwireless/", "/s3/"), ("/20150830/", "/20150829/")]
    {
        let verified = verify_changed(|headers, _| edit(headers, from, to));
        assert!(matches!(verified, Err(Refusal::WrongScope(_))), "{to}: {verified:?}");
    }
    // Another service that is accepted here still gives another signature.
    assert_eq!(verify_changed(|headers, _| edit(headers, "/iotwireless/", "/iot/")), {
        Err(Refusal::Mismatch)
    });
}

#[test]
fn the_date_header_stands_in_for_x_amz_date() {
    // Signed by hand: this client signs `date` instead of `x-amz-date`.
    let mut headers = HeaderMap::new();
    headers.extend([header("host", "h"), header("date", "Sun, 30 Aug 2015 12:36:00 GMT")]);
    let unsigned = Signed {
        method: "GET",
        path: "/",
        query: "",
        headers: &headers,
        authority: None,
        body: b"",
    };
    let scope = Scope { date: "20150830", region: REGION, service: "iotwireless" };
    let canonical =
        canonical::request(&unsigned, "date;host", "", &canonical::sha256_hex(b"")).expect("both");
    let string = canonical::string_to_sign(TIMESTAMP, &scope, &canonical);
    let signature = canonical::mac(SECRET.as_bytes(), &scope, &string).finalize().into_bytes();
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={ACCESS_KEY_ID}/20150830/{REGION}/iotwireless/aws4_request,\
         SignedHeaders=date;host,Signature={}",
        hex::encode(signature)
    );
    headers.extend([header("authorization", &authorization)]);
    let request = Signed {
        method: "GET",
        path: "/",
        query: "",
        headers: &headers,
        authority: None,
        body: b"",
    };
    assert!(verify(&request, UNIX_S, &EXPECTED, &OneKey).is_ok());
}

#[test]
fn our_own_signer_is_believed() {
    let signing = Signing {
        access_key_id: ACCESS_KEY_ID,
        secret: SECRET,
        region: REGION,
        service: "iotwireless",
    };
    let (path, query) = ("/a%3Ab", "from=0&b=%2A");
    let headers = signing.headers("GET", "127.0.0.1:1", path, query, b"body", UNIX_S);
    let request =
        Signed { method: "GET", path, query, headers: &headers, authority: None, body: b"body" };
    assert!(verify(&request, UNIX_S, &EXPECTED, &OneKey).is_ok());
}
