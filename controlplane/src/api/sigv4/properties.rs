//! Whatever a stranger writes, nothing panics and nobody gets in; whatever a holder of the key
//! signs is believed, until a byte of it changes.
#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use warp::http::{HeaderMap, HeaderValue};
use zeroize::Zeroizing;

use super::signer::Signing;
use super::{Expected, KeyLookup, Signed, verify};

const NOW_UNIX_S: i64 = 1_795_237_200;
const EXPECTED: Expected<'static> = Expected { region: "us-east-1", services: &["iotwireless"] };
const SIGNING: Signing<'static> = Signing {
    access_key_id: "TGAKEXAMPLE000000000",
    secret: "the secret of the one key there is here!",
    region: "us-east-1",
    service: "iotwireless",
};

struct OneKey;

impl KeyLookup for OneKey {
    fn secret(&self, access_key_id: &str) -> Option<Zeroizing<String>> {
        let is_it = access_key_id == SIGNING.access_key_id;
        is_it.then(|| Zeroizing::new(SIGNING.secret.to_owned()))
    }
}

fn is_believed(request: &Signed<'_>) -> bool {
    verify(request, NOW_UNIX_S, &EXPECTED, &OneKey).is_ok()
}

/// What a request line may have between its spaces, percent signs in any place.
fn path() -> impl Strategy<Value = String> {
    "(/([a-zA-Z0-9._~:@!$&'()*+,;=-]|%[0-9a-fA-F]{2}|%|\\.\\.){0,12}){1,4}"
}

fn query() -> impl Strategy<Value = String> {
    "([a-zA-Z0-9._~:@!$'()*+,;/?-]{0,6}(=([a-zA-Z0-9._~*+/-]|%[0-9a-fA-F]{2}|%|=){0,8})?&?){0,5}"
}

/// Pieces of an Authorization header, in any order and number.
fn authorization() -> impl Strategy<Value = String> {
    let pieces = [
        "AWS4-HMAC-SHA256",
        "AWS4-HMAC-SHA512",
        " ",
        ", ",
        ",",
        "=",
        "/",
        "Credential=TGAKEXAMPLE000000000/20261121/us-east-1/iotwireless/aws4_request",
        "Credential=/////",
        "SignedHeaders=host;x-amz-date",
        "SignedHeaders=host",
        "SignedHeaders=;;",
        "Signature=0000000000000000000000000000000000000000000000000000000000000000",
        "Signature=zz",
    ];
    let piece = prop_oneof![
        5 => proptest::sample::select(pieces.to_vec()).prop_map(str::to_owned),
        1 => "[ -~]{0,12}",
    ];
    prop::collection::vec(piece, 0..10).prop_map(|pieces| pieces.concat())
}

/// Parameters of a presigned URL, each perhaps missing, twice or not what it should be.
fn presigned() -> impl Strategy<Value = String> {
    let parameters = [
        "X-Amz-Algorithm=AWS4-HMAC-SHA256",
        "X-Amz-Algorithm=",
        "X-Amz-Credential=TGAKEXAMPLE000000000%2F20261121%2Fus-east-1%2Fiotwireless%2Faws4_request",
        "X-Amz-Credential=%2F%2F%FF",
        "X-Amz-Date=20261121T050000Z",
        "X-Amz-Date=99999999T999999Z",
        "X-Amz-Date=%F0%9F%98%80",
        "X-Amz-Expires=60",
        "X-Amz-Expires=-9223372036854775808",
        "X-Amz-Expires=9223372036854775807",
        "X-Amz-SignedHeaders=host",
        "X-Amz-SignedHeaders=%3B",
        "X-Amz-Signature=0000000000000000000000000000000000000000000000000000000000000000",
        "X-Amz-Signature=%00",
        "a=b",
        "=",
        "%",
    ];
    prop::collection::vec(proptest::sample::select(parameters.to_vec()), 0..9)
        .prop_map(|parameters| parameters.join("&"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_stranger_is_refused(
        path in path(),
        query in prop_oneof![query(), presigned()],
        authorization in proptest::option::of(authorization()),
        date in "[0-9TZ]{0,17}|20261121T050000Z|[ -~]{0,8}",
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut headers = HeaderMap::new();
        headers.insert("host", HeaderValue::from_static("127.0.0.1:8080"));
        headers.insert("x-amz-date", HeaderValue::from_str(&date).unwrap());
        if let Some(text) = authorization {
            headers.insert("authorization", HeaderValue::from_str(&text).unwrap());
        }
        let request = Signed {
            method: "POST",
            path: &path,
            query: &query,
            headers: &headers,
            authority: None,
            body: &body,
        };
        prop_assert!(!is_believed(&request));
    }

    #[test]
    fn what_is_signed_is_believed_until_it_changes(
        path in path(),
        query in query(),
        body in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let headers = SIGNING.headers("PUT", "edge:8080", &path, &query, &body, NOW_UNIX_S);
        let request = Signed {
            method: "PUT",
            path: &path,
            query: &query,
            headers: &headers,
            authority: None,
            body: &body,
        };
        prop_assert!(is_believed(&request));
        let longer = [&body[..], b" "].concat();
        let (other_path, other_query) = (format!("{path}x"), format!("{query}&x=1"));
        for changed in [
            Signed { method: "POST", ..request },
            Signed { body: &longer, ..request },
            Signed { path: &other_path, ..request },
            Signed { query: &other_query, ..request },
        ] {
            prop_assert!(!is_believed(&changed), "{:?}", changed);
        }
    }
}
