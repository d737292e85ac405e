//! How is a message posted? To one origin, without redirects, proxies or cookies.

use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, StatusCode, Url, redirect};
use serde::de::IgnoredAny;

use super::settings::HttpSettings;
use super::{Fault, causes, tls};
use crate::private_file;
use crate::rules::origin;

/// One origin.
pub(super) struct HttpOutlet {
    client: Client,
    origin: String,
    /// Marked as sensitive.
    authorization: Option<HeaderValue>,
}

impl HttpOutlet {
    pub(super) fn open(settings: &HttpSettings) -> Result<Self, String> {
        let about = |error: &dyn std::fmt::Display| format!("{}: {error}", settings.origin);
        let origin = origin(&settings.origin).ok_or_else(|| about(&"it is no origin"))?;
        let authorization = match &settings.authorization_file {
            Some(path) => {
                let text = private_file::read(path)?;
                let value = HeaderValue::from_str(text.trim());
                let mut value = value.map_err(|_| about(&"authorization_file is no header"))?;
                value.set_sensitive(true);
                Some(value)
            }
            None => None,
        };
        let client = Client::builder()
            .redirect(redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tidegate/", env!("CARGO_PKG_VERSION")))
            .tls_backend_preconfigured(tls::client_config(settings.ca_file.as_deref())?);
        let client = client.build().map_err(|error| about(&causes(&error)))?;
        Ok(Self { client, origin, authorization })
    }

    pub(super) fn origin(&self) -> &str {
        &self.origin
    }

    pub(super) async fn post(
        &self,
        url: &str,
        headers: &[(String, String)],
        payload: &Bytes,
    ) -> Result<(), Fault> {
        let url = Url::parse(url).map_err(|error| Fault::lasting(format!("the URL: {error}")))?;
        // A second opinion: the same that connects.
        if Url::parse(&self.origin).ok().map(|url| url.origin()) != Some(url.origin()) {
            return Err(Fault::lasting("the URL has another origin"));
        }
        let headers = self
            .headers(headers, payload)
            .ok_or_else(|| Fault::lasting("a header has characters that HTTP does not take"))?;
        let request = self.client.post(url).headers(headers).body(payload.clone());
        let answer = request.send().await;
        let answer = answer.map_err(|error| Fault::passing(causes(&error.without_url())))?;
        let status = answer.status();
        let message = format!("The endpoint answered {status}");
        match status {
            _ if status.is_success() => Ok(()),
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => {
                Err(Fault::passing(message))
            }
            _ if status.is_server_error() => Err(Fault::passing(message)),
            _ => Err(Fault::lasting(message)),
        }
    }

    fn headers(&self, headers: &[(String, String)], payload: &Bytes) -> Option<HeaderMap> {
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
            all.append(name, HeaderValue::from_str(value).ok()?);
        }
        if !all.contains_key(CONTENT_TYPE) {
            // As AWS has it.
            let is_json = serde_json::from_slice::<IgnoredAny>(payload).is_ok();
            let of = if is_json { "application/json" } else { "application/octet-stream" };
            all.insert(CONTENT_TYPE, HeaderValue::from_static(of));
        }
        if let Some(authorization) = &self.authorization {
            all.insert(AUTHORIZATION, authorization.clone());
        }
        Some(all)
    }
}
