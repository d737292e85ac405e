//! Did a holder of an access key sign this request? AWS Signature Version 4, the verifying side,
//! for signatures in the `Authorization` header and in the query (presigned URLs).
//!
//! *Invariant:* what is accepted was signed as a whole: method, path, query, host and body. So
//! `UNSIGNED-PAYLOAD` passes only with an empty body.
//! Knows no store: whoever asks brings the clock and the key lookup.

pub mod canonical;
#[cfg(test)]
mod properties;
pub mod signer;
mod timestamp;
#[cfg(test)]
mod vectors;

use hmac::Mac;
use warp::http::HeaderValue;
use zeroize::Zeroizing;

use self::canonical::{ALGORITHM, Scope, Signed, sha256_hex};
use super::query::Query;

/// Finds the secret of an access key id; `None` when no such key exists or it is disabled.
pub trait KeyLookup: Send + Sync {
    /// The secret access key.
    fn secret(&self, access_key_id: &str) -> Option<Zeroizing<String>>;
}

/// What a signature may be made for here.
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// The region of this installation.
    pub region: &'a str,
    /// Signing names accepted for the resource.
    pub services: &'a [&'a str],
}

/// Why a request is not believed. Says nothing that helps to guess a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No signature at all.
    Missing,
    /// A part of the signature is missing or malformed; the text says which.
    Incomplete(String),
    /// No such access key.
    UnknownKey,
    /// Signed for another region, service or day; the text says which.
    WrongScope(String),
    /// Signed too long ago, or too far in the future; the text says the times.
    Expired(String),
    /// The body is not the one whose hash was signed.
    BodyChanged,
    /// The signature is another one than the request and the secret give.
    Mismatch,
}

/// The access key whose holder signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    /// The access key id.
    pub access_key_id: String,
    /// The signing name used.
    pub service: String,
}

/// Checks a request at `now_unix_s`.
pub fn verify(
    request: &Signed<'_>,
    now_unix_s: i64,
    expected: &Expected<'_>,
    keys: &dyn KeyLookup,
) -> Result<Signer, Refusal> {
    let claim = Claim::of(request)?;
    let (access_key_id, scope) = split_credential(&claim.credential)?;
    check_scope(&scope, expected, &claim.timestamp)?;
    check_time(&claim, now_unix_s)?;
    if !claim.signed_headers.split(';').any(|name| name == "host") {
        return Err(incomplete("'Host' or ':authority' must be a 'SignedHeader'."));
    }
    let payload_hash = payload_hash(request)?;
    let skip = claim.presigned_s.map(|_| "X-Amz-Signature");
    let query = canonical::query(request.query, skip);
    let canonical = canonical::request(request, &claim.signed_headers, &query, &payload_hash)
        .ok_or_else(|| incomplete("A header named in SignedHeaders is not in the request."))?;
    let string_to_sign = canonical::string_to_sign(&claim.timestamp, &scope, &canonical);
    let secret = keys.secret(access_key_id).ok_or(Refusal::UnknownKey)?;
    canonical::mac(secret.as_bytes(), &scope, &string_to_sign)
        .verify_slice(&claim.signature) // constant time
        .map_err(|_| Refusal::Mismatch)?;
    Ok(Signer { access_key_id: access_key_id.to_owned(), service: scope.service.to_owned() })
}

/// How far a signer's clock may be from ours, seconds.
pub const SKEW_S_MAX: i64 = 300;

/// Longest life of a presigned URL, seconds (one week).
const EXPIRES_S_MAX: i64 = 604_800;

/// The body hash a client may send instead of a hash.
const UNSIGNED_PAYLOAD: &str = "UNSIGNED-PAYLOAD";

/// What the request says about its own signature.
struct Claim {
    credential: String,
    signed_headers: String,
    signature: Vec<u8>,
    /// `YYYYMMDDTHHMMSSZ`.
    timestamp: String,
    /// Seconds a presigned URL lives; `None` for a signature in the header.
    presigned_s: Option<i64>,
}

impl Claim {
    fn of(request: &Signed<'_>) -> Result<Self, Refusal> {
        if let Some(value) = request.headers.get("authorization") {
            let value = value.to_str().map_err(|_| incomplete("Authorization is not ASCII."))?;
            return Self::of_header(request, value);
        }
        let query = Query::parse(request.query);
        match query.first("X-Amz-Algorithm") {
            Some(algorithm) => Self::of_query(&query, algorithm),
            None => Err(Refusal::Missing),
        }
    }

    fn of_header(request: &Signed<'_>, value: &str) -> Result<Self, Refusal> {
        let parts = value.strip_prefix(ALGORITHM).ok_or_else(|| {
            incomplete("Unsupported AWS 'algorithm': the signature must be AWS4-HMAC-SHA256.")
        })?;
        let part = |name: &str| {
            let found = parts.split(',').find_map(|part| {
                part.trim().strip_prefix(name).and_then(|rest| rest.strip_prefix('='))
            });
            found.map(ToOwned::to_owned).ok_or_else(|| {
                incomplete(&format!("Authorization header requires '{name}' parameter."))
            })
        };
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok());
        let timestamp = match (header("x-amz-date"), header("date")) {
            (Some(date), _) => date.to_owned(),
            (None, Some(date)) => timestamp::from_http_date(date)
                .ok_or_else(|| incomplete("Date must be an HTTP date."))?,
            (None, None) => {
                return Err(incomplete(
                    "Authorization header requires existence of either a 'X-Amz-Date' or a \
                     'Date' header.",
                ));
            }
        };
        Ok(Self {
            credential: part("Credential")?,
            signed_headers: part("SignedHeaders")?,
            signature: signature(&part("Signature")?)?,
            timestamp,
            presigned_s: None,
        })
    }

    fn of_query(query: &Query, algorithm: &str) -> Result<Self, Refusal> {
        if algorithm != ALGORITHM {
            return Err(incomplete("Unsupported AWS 'algorithm' in X-Amz-Algorithm."));
        }
        let part = |name: &str| {
            query.first(name).map(ToOwned::to_owned).ok_or_else(|| {
                incomplete(&format!("AWS query-string parameters must include '{name}'."))
            })
        };
        let expires_s = part("X-Amz-Expires")?.parse().ok();
        let expires_s = expires_s
            .filter(|seconds| (1..=EXPIRES_S_MAX).contains(seconds))
            .ok_or_else(|| incomplete("X-Amz-Expires must be 1 to 604800 seconds."))?;
        Ok(Self {
            credential: part("X-Amz-Credential")?,
            signed_headers: part("X-Amz-SignedHeaders")?,
            signature: signature(&part("X-Amz-Signature")?)?,
            timestamp: part("X-Amz-Date")?,
            presigned_s: Some(expires_s),
        })
    }
}

fn split_credential(credential: &str) -> Result<(&str, Scope<'_>), Refusal> {
    // From the right: an access key id could hold a slash, the scope's parts can't.
    let mut parts = credential.rsplitn(5, '/');
    let mut next = || parts.next().filter(|part| !part.is_empty());
    let found = (next(), next(), next(), next(), next());
    match found {
        (Some("aws4_request"), Some(service), Some(region), Some(date), Some(key)) => {
            Ok((key, Scope { date, region, service }))
        }
        _ => Err(incomplete(
            "Credential must have five parts: <access key>/YYYYMMDD/region/service/aws4_request.",
        )),
    }
}

fn check_scope(scope: &Scope<'_>, expected: &Expected<'_>, timestamp: &str) -> Result<(), Refusal> {
    let wrong = |text: String| Err(Refusal::WrongScope(text));
    if scope.region != expected.region {
        return wrong(format!(
            "Credential should be scoped to a valid region: this is '{}'.",
            expected.region
        ));
    }
    if !expected.services.contains(&scope.service) {
        return wrong(format!(
            "Credential should be scoped to correct service: '{}'.",
            expected.services.join("' or '")
        ));
    }
    if !timestamp.starts_with(scope.date) || scope.date.len() != 8 {
        return wrong("Date in Credential scope does not match YYYYMMDD of the request.".into());
    }
    Ok(())
}

fn check_time(claim: &Claim, now_unix_s: i64) -> Result<(), Refusal> {
    let signed_s = timestamp::to_unix(&claim.timestamp)
        .ok_or_else(|| incomplete("The date must be in ISO-8601 'basic format'."))?;
    let last_s = signed_s + claim.presigned_s.unwrap_or(SKEW_S_MAX);
    let now = || timestamp::from_unix(now_unix_s);
    if now_unix_s > last_s {
        let last = timestamp::from_unix(last_s);
        return Err(Refusal::Expired(format!(
            "Signature expired: {} was good until {last}, and it is {} now.",
            claim.timestamp,
            now()
        )));
    }
    if signed_s > now_unix_s + SKEW_S_MAX {
        return Err(Refusal::Expired(format!(
            "Signature not yet current: {} is more than {SKEW_S_MAX} s after {}.",
            claim.timestamp,
            now()
        )));
    }
    Ok(())
}

/// The last line of the canonical request: always the hash of the body that came, but for the one
/// word that a client may sign instead of it when the body is empty.
fn payload_hash(request: &Signed<'_>) -> Result<String, Refusal> {
    let hash = sha256_hex(request.body);
    let said = request.headers.get("x-amz-content-sha256").map(HeaderValue::as_bytes);
    match said {
        None => Ok(hash),
        Some(said) if said == UNSIGNED_PAYLOAD.as_bytes() && request.body.is_empty() => {
            Ok(UNSIGNED_PAYLOAD.to_owned())
        }
        Some(said) if said.eq_ignore_ascii_case(hash.as_bytes()) => {
            Ok(String::from_utf8_lossy(said).into_owned())
        }
        Some(_) => Err(Refusal::BodyChanged),
    }
}

fn signature(hex_text: &str) -> Result<Vec<u8>, Refusal> {
    match hex::decode(hex_text) {
        Ok(bytes) if bytes.len() == 32 => Ok(bytes),
        _ => Err(incomplete("The signature must be 64 hexadecimal digits.")),
    }
}

fn incomplete(text: &str) -> Refusal {
    Refusal::Incomplete(text.to_owned())
}

#[cfg(test)]
mod tests;
