//! How does the customer's log get to OpenTelemetry? OTLP over HTTP in its JSON encoding: one
//! request for what came meanwhile, tried again a few times, then left out and counted.
//!
//! *Why by hand:* one request of one shape; the SDK would bring gRPC's types and a second client.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::feed::Follower;
use super::{Level, Logged};

/// A collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    host: String,
    port: u16,
    path: String,
}

impl Target {
    /// `http://host[:port]/path`; a host in brackets is IPv6.
    pub fn parse(url: &str) -> Option<Self> {
        let rest = url.strip_prefix("http://")?;
        let (authority, path) = rest.split_once('/').unwrap_or((rest, "v1/logs"));
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (authority, 4_318),
        };
        let is_plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
        let is_good = !host.is_empty() && is_plain(host) && is_plain(path) && !host.contains('@');
        is_good.then(|| Self { host: host.to_owned(), port, path: format!("/{path}") })
    }

    /// Sends what comes until nothing comes any more.
    pub async fn export(self, mut follower: Follower) {
        let mut is_down = false;
        while let Some(first) = follower.next().await {
            tokio::time::sleep(GATHER).await;
            let rest = std::iter::from_fn(|| follower.try_next());
            let batch: Vec<_> = std::iter::once(first).chain(rest).take(BATCH_MAX).collect();
            let body = body(&batch).to_string();
            let sent = self.deliver(&body).await;
            if let Err(why) = &sent
                && !is_down
            {
                tracing::warn!(why, entries = batch.len(), "the collector takes no log entries");
            } else if sent.is_ok() && is_down {
                tracing::info!("the collector takes the customer log again");
            }
            is_down = sent.is_err();
        }
    }

    async fn deliver(&self, body: &str) -> Result<(), String> {
        let mut why = String::new();
        for attempt in 0..ATTEMPTS_MAX {
            if attempt > 0 {
                tokio::time::sleep(RETRY * attempt).await;
            }
            match tokio::time::timeout(TIMEOUT, self.post(body)).await {
                Ok(Ok(200..=299)) => return Ok(()),
                Ok(Ok(status @ (429 | 502..=504))) => why = format!("status {status}"),
                Ok(Ok(status)) => return Err(format!("status {status}")),
                Ok(Err(error)) => why = error.to_string(),
                Err(_) => "too slow".clone_into(&mut why),
            }
        }
        Err(why)
    }

    async fn post(&self, body: &str) -> std::io::Result<u16> {
        let host = self.host.trim_start_matches('[').trim_end_matches(']');
        let mut stream = TcpStream::connect((host, self.port)).await?;
        let head = format!(
            "POST {} HTTP/1.1\r\nhost: {}:{}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n",
            self.path,
            self.host,
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        let mut answer = Vec::new();
        (&mut stream).take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
        let status = answer.get(9..12).and_then(|digits| std::str::from_utf8(digits).ok());
        let status = status.and_then(|digits| digits.parse().ok());
        status.ok_or_else(|| std::io::Error::other("not an HTTP response"))
    }
}

/// The request's body: an ExportLogsServiceRequest as the JSON mapping of Protocol Buffers has it.
pub fn body(batch: &[Arc<Logged>]) -> Value {
    let records: Vec<Value> = batch.iter().map(|logged| record(logged)).collect();
    json!({ "resourceLogs": [{
        "resource": { "attributes": [attribute("service.name", "tidegate")] },
        "scopeLogs": [{
            "scope": { "name": "tidegate.customer_log", "version": env!("CARGO_PKG_VERSION") },
            "logRecords": records,
        }],
    }] })
}

fn record(logged: &Logged) -> Value {
    let entry = &logged.entry;
    let (number, text) = match entry.log_level {
        Level::Error => (17, "ERROR"),
        Level::Info | Level::Disabled => (9, "INFO"),
    };
    let named = serde_json::to_value(entry.event).unwrap_or_default();
    let device = entry.wireless_device_id.to_string();
    let mut attributes = vec![
        attribute("wireless_device.id", &device),
        attribute("wireless_device.type", &entry.wireless_device_type),
        attribute("event.name", named.as_str().unwrap_or_default()),
    ];
    let message = entry.message_id.map(|message| message.to_string());
    let coap = &entry.coap;
    let details = [
        ("message.id", &message),
        ("coap.request_method", &coap.request_method),
        ("coap.uri_path", &coap.uri_path),
        ("coap.response_status", &coap.response_status),
        ("coap.message_type", &coap.message_type),
        ("coap.reason", &coap.reason),
    ];
    for (key, value) in details {
        attributes.extend(value.as_ref().map(|value| attribute(key, value)));
    }
    // A fixed64 is a string in this mapping.
    let nanos = (u128::from(logged.at.0) * 1_000_000).to_string();
    json!({
        "timeUnixNano": nanos,
        "observedTimeUnixNano": nanos,
        "severityNumber": number,
        "severityText": text,
        "body": { "stringValue": entry.message },
        "attributes": attributes,
    })
}

fn attribute(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// What comes meanwhile goes along.
const GATHER: Duration = Duration::from_millis(200);
/// Bound: entries of one request.
const BATCH_MAX: usize = 512;
/// Bound: how often a request is sent before its entries are left out.
const ATTEMPTS_MAX: u32 = 4;
/// After the first failure; longer each time.
const RETRY: Duration = Duration::from_secs(1);
/// One attempt takes no longer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Bound: what is read of an answer, bytes.
const ANSWER_BYTES_MAX: u64 = 4_096;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_collector_is_an_http_url() {
        let target = |url| Target::parse(url).map(|t| (t.host, t.port, t.path));
        let here = |port, path: &str| Some(("127.0.0.1".to_owned(), port, path.to_owned()));
        assert_eq!(target("http://127.0.0.1:9/v1/logs"), here(9, "/v1/logs"));
        assert_eq!(target("http://127.0.0.1"), here(4_318, "/v1/logs"));
        assert_eq!(target("http://[::1]/x").map(|t| (t.0, t.1)), Some(("[::1]".to_owned(), 4_318)));
        for bad in ["https://a/", "http://", "http://a:b/", "http://a b/", "http://u@h/", "a"] {
            assert_eq!(target(bad), None, "{bad}");
        }
    }
}
