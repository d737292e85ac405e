//! How does our own terminal client sign? The signing side, for `tail` and for tests.

use warp::http::{HeaderMap, HeaderValue};

use super::canonical::{self, ALGORITHM, Scope, Signed};
use super::timestamp;

/// An access key and where it is used.
#[derive(Clone, Debug)]
pub struct Signing<'a> {
    /// The access key id.
    pub access_key_id: &'a str,
    /// The secret access key.
    pub secret: &'a str,
    /// The region of the installation.
    pub region: &'a str,
    /// The signing name.
    pub service: &'a str,
}

impl Signing<'_> {
    /// The headers to send: `host`, `x-amz-date` and `authorization`. `query` is the raw query.
    pub fn headers(
        &self,
        method: &str,
        host: &str,
        path: &str,
        query: &str,
        body: &[u8],
        now_unix_s: i64,
    ) -> HeaderMap {
        let timestamp = timestamp::from_unix(now_unix_s);
        let mut headers = HeaderMap::new();
        headers.insert("host", text(host));
        headers.insert("x-amz-date", text(&timestamp));
        let request = Signed { method, path, query, headers: &headers, authority: None, body };
        let signed_headers = "host;x-amz-date";
        let canonical = canonical::request(
            &request,
            signed_headers,
            &canonical::query(query, None),
            &canonical::sha256_hex(body),
        )
        .expect("both signed headers were just set");
        let scope = Scope { date: &timestamp[..8], region: self.region, service: self.service };
        let signature = self.sign(&timestamp, &scope, &canonical);
        let authorization = format!(
            "{ALGORITHM} Credential={}/{}/{}/{}/aws4_request, SignedHeaders={signed_headers}, \
             Signature={signature}",
            self.access_key_id, scope.date, self.region, self.service
        );
        headers.insert("authorization", text(&authorization));
        headers
    }

    fn sign(&self, timestamp: &str, scope: &Scope<'_>, canonical: &str) -> String {
        use hmac::Mac;
        let string = canonical::string_to_sign(timestamp, scope, canonical);
        let mac = canonical::mac(self.secret.as_bytes(), scope, &string);
        hex::encode(mac.finalize().into_bytes())
    }
}

/// A header value; a caller's text that no header can carry becomes the empty value.
fn text(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).unwrap_or_else(|_| HeaderValue::from_static(""))
}
