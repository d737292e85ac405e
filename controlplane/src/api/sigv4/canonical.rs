//! What exactly did the client sign? Signature Version 4's canonical forms and key derivation,
//! the part that a signer and a verifier share.
//!
//! The rules are those of every AWS service but S3: the path is normalised, and its already
//! percent-encoded segments are encoded once more.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};
use warp::http::HeaderMap;
use zeroize::Zeroizing;

/// The only algorithm of this version.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// HMAC over SHA-256, ready to be fed.
pub(crate) type HmacSha256 = Hmac<Sha256>;

/// One request as its signature sees it.
#[derive(Clone, Copy, Debug)]
pub struct Signed<'a> {
    /// `GET`, `POST` …
    pub method: &'a str,
    /// The path as it stood in the request line, still percent-encoded.
    pub path: &'a str,
    /// The query as it stood in the request line, without `?`.
    pub query: &'a str,
    /// All headers; which of them count is said by the list of signed headers.
    pub headers: &'a HeaderMap,
    /// `host` or `:authority`, where there is no `Host` header (HTTP/2).
    pub authority: Option<&'a str>,
    /// The whole body.
    pub body: &'a [u8],
}

/// The credential scope: `date/region/service/aws4_request`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope<'a> {
    /// `YYYYMMDD`.
    pub date: &'a str,
    /// `us-east-1` …
    pub region: &'a str,
    /// The signing name, `iotwireless` …
    pub service: &'a str,
}

impl Scope<'_> {
    fn text(&self) -> String {
        format!("{}/{}/{}/aws4_request", self.date, self.region, self.service)
    }
}

/// The canonical request; `None` when a header that the list names is not there.
pub(crate) fn request(
    request: &Signed<'_>,
    signed_headers: &str,
    query: &str,
    payload_hash: &str,
) -> Option<String> {
    let mut headers = String::new();
    for name in signed_headers.split(';') {
        headers.push_str(name);
        headers.push(':');
        headers.push_str(&header_value(request, name)?);
        headers.push('\n');
    }
    Some(format!(
        "{}\n{}\n{}\n{}\n{}\n{}",
        request.method,
        path(request.path),
        query,
        headers,
        signed_headers,
        payload_hash
    ))
}

/// The string to sign over a canonical request; `timestamp` is `YYYYMMDDTHHMMSSZ`.
pub(crate) fn string_to_sign(timestamp: &str, scope: &Scope<'_>, canonical: &str) -> String {
    format!("{ALGORITHM}\n{timestamp}\n{}\n{}", scope.text(), sha256_hex(canonical.as_bytes()))
}

/// An HMAC under the derived signing key, already fed with `string_to_sign`.
pub(crate) fn mac(secret: &[u8], scope: &Scope<'_>, string_to_sign: &str) -> HmacSha256 {
    let mut key = Zeroizing::new(Vec::with_capacity(4 + secret.len()));
    key.extend_from_slice(b"AWS4");
    key.extend_from_slice(secret);
    for part in [scope.date, scope.region, scope.service, "aws4_request"] {
        key = Zeroizing::new(hmac(&key, part.as_bytes()).finalize().into_bytes().to_vec());
    }
    hmac(&key, string_to_sign.as_bytes())
}

/// The canonical query: pairs decoded, encoded again by SigV4's strict set, sorted. `skip` leaves
/// one name out (a presigned URL's own signature).
pub(crate) fn query(raw: &str, skip: Option<&str>) -> String {
    let mut pairs: Vec<(String, String)> = raw
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
        .filter(|(name, _)| Some(*name) != skip)
        .map(|(name, value)| (encode_again(name), encode_again(value)))
        .collect();
    pairs.sort();
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}

/// Lower-case hex of SHA-256.
pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// The path without `.`, `..` and empty segments (RFC 3986 section 5.2.4, slashes merged), each
/// segment encoded once more.
fn path(raw: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut path = String::with_capacity(raw.len() + 16);
    for segment in &kept {
        path.push('/');
        path.extend(utf8_percent_encode(segment, STRICT));
    }
    if path.is_empty() || raw.ends_with('/') {
        path.push('/');
    }
    path
}

/// A header's values joined by commas, runs of spaces made one.
fn header_value(request: &Signed<'_>, name: &str) -> Option<String> {
    let mut values = request.headers.get_all(name).iter().peekable();
    if values.peek().is_none() {
        return if name == "host" { request.authority.map(ToOwned::to_owned) } else { None };
    }
    let values: Vec<String> = values
        .map(|value| {
            let text = String::from_utf8_lossy(value.as_bytes());
            text.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
        })
        .collect();
    Some(values.join(","))
}

fn encode_again(text: &str) -> String {
    let decoded: Vec<u8> = percent_decode_str(text).collect();
    percent_encoding::percent_encode(&decoded, STRICT).to_string()
}

fn hmac(key: &[u8], data: &[u8]) -> HmacSha256 {
    let mut mac = HmacSha256::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(data);
    mac
}

/// Everything but RFC 3986's unreserved characters is encoded.
pub(crate) const STRICT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_and_encoded_once_more() {
        for (raw, canonical) in [
            ("", "/"),
            ("/", "/"),
            ("/a/b", "/a/b"),
            ("/a/b/", "/a/b/"),
            ("/a%3Ab", "/a%253Ab"),
            ("/a:b", "/a%3Ab"),
            ("//a//b/./c/../d", "/a/b/d"),
            ("/..", "/"),
            ("/-._~0aZ", "/-._~0aZ"),
        ] {
            assert_eq!(path(raw), canonical, "{raw}");
        }
    }

    #[test]
    fn queries_are_sorted_and_strictly_encoded() {
        for (raw, canonical) in [
            ("", ""),
            ("b=2&a=1", "a=1&b=2"),
            ("a=2&a=1", "a=1&a=2"),
            ("messageId=*", "messageId=%2A"),
            ("messageId=%2a", "messageId=%2A"),
            ("a", "a="),
            ("a=x=y", "a=x%3Dy"),
            ("a=%20&&b=%C3%A9", "a=%20&b=%C3%A9"),
        ] {
            assert_eq!(query(raw, None), canonical, "{raw}");
        }
        assert_eq!(query("X-Amz-Signature=ff&a=1", Some("X-Amz-Signature")), "a=1");
    }

    #[test]
    fn header_values_lose_runs_of_spaces_and_join_by_commas() {
        let mut headers = HeaderMap::new();
        headers.append("x-one", warp::http::HeaderValue::from_static("  a   b  "));
        headers.append("x-one", warp::http::HeaderValue::from_static("c"));
        let signed = Signed {
            method: "GET",
            path: "/",
            query: "",
            headers: &headers,
            authority: Some("edge:1"),
            body: b"",
        };
        assert_eq!(header_value(&signed, "x-one").as_deref(), Some("a b,c"));
        assert_eq!(header_value(&signed, "host").as_deref(), Some("edge:1"));
        assert_eq!(header_value(&signed, "x-two"), None);
    }
}
