//! What do the devices send right now? Follows `GET /uplinks` on a terminal, one line an uplink.
//!
//! Reconnects for as long as the server may come back, and goes on after the last uplink it
//! showed. *Why HTTP/1.0:* its body ends with the connection, so no chunks have to be taken apart.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::api::access_key::RootKey;
use crate::api::sigv4::signer::Signing;

/// What to follow, and how to show it.
pub struct Tail {
    /// Where the API listens in the clear.
    pub address: SocketAddr,
    /// Or a Unix socket that it listens on, preferred.
    pub socket: Option<PathBuf>,
    /// Who asks.
    pub key: RootKey,
    /// Region of the installation.
    pub region: String,
    /// Print the JSON as it came.
    pub raw: bool,
}

/// TCP or a Unix socket.
type Connection = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Why following ended.
enum End {
    /// The server is not there (yet, any more): try again.
    Lost(String),
    /// The server refuses: trying again would not help.
    Refused(String),
}

impl Tail {
    /// Follows from `after` (0: the oldest kept, none: only new ones) until the server refuses.
    pub async fn follow(&self, after: Option<u64>, mut show: impl FnMut(&str)) -> String {
        let mut after = after;
        let mut quiet = false;
        loop {
            match self.follow_once(&mut after, &mut show).await {
                End::Refused(why) => return why,
                End::Lost(why) => {
                    if !quiet {
                        tracing::info!("{why}; waiting for the server");
                    }
                    quiet = true;
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    async fn follow_once(&self, after: &mut Option<u64>, show: &mut impl FnMut(&str)) -> End {
        match self.connect(*after).await {
            Ok(mut events) => loop {
                match next_event(&mut events).await {
                    Ok(Some(event)) => {
                        *after = event.id.or(*after);
                        if let Some(line) = self.line(&event) {
                            show(&line);
                        }
                    }
                    Ok(None) => return End::Lost("the server ended the stream".to_owned()),
                    Err(error) => return End::Lost(error.to_string()),
                }
            },
            Err(end) => end,
        }
    }

    async fn connect(&self, after: Option<u64>) -> Result<BufReader<Connection>, End> {
        let lost = |error: std::io::Error| End::Lost(format!("{}: {error}", self.address));
        let query = after.map(|cursor| format!("from={cursor}")).unwrap_or_default();
        let stream: Connection = match &self.socket {
            Some(path) => Box::new(UnixStream::connect(path).await.map_err(lost)?),
            None => Box::new(TcpStream::connect(self.address).await.map_err(lost)?),
        };
        let mut stream = BufReader::new(stream);
        stream.write_all(self.request(&query).as_bytes()).await.map_err(lost)?;
        let mut status = String::new();
        stream.read_line(&mut status).await.map_err(lost)?;
        let status = status.split(' ').nth(1).unwrap_or_default().to_owned();
        loop {
            let mut header = String::new();
            let read = stream.read_line(&mut header).await.map_err(lost)?;
            if read == 0 || header.trim_end().is_empty() {
                break;
            }
        }
        match status.as_str() {
            "200" => Ok(stream),
            "" | "429" => Err(End::Lost(format!("{}: busy", self.address))),
            _ => {
                let mut body = String::new();
                stream.take(BODY_BYTES_MAX).read_to_string(&mut body).await.map_err(lost)?;
                Err(End::Refused(refusal(&status, &body)))
            }
        }
    }

    fn request(&self, query: &str) -> String {
        let host = self.address.to_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let signing = Signing {
            access_key_id: &self.key.access_key_id,
            secret: &self.key.secret,
            region: &self.region,
            service: "iotwireless",
        };
        let headers = signing.headers("GET", &host, PATH, query, b"", now.as_secs().cast_signed());
        let mut request = format!("GET {PATH}?{query} HTTP/1.0\r\n");
        for (name, value) in &headers {
            let value = value.to_str().unwrap_or_default();
            request.extend([name.as_str(), ": ", value, "\r\n"]);
        }
        request + "\r\n"
    }

    /// The line for an event; `None` for one without an uplink (a sign of life).
    fn line(&self, event: &Event) -> Option<String> {
        if event.data.is_empty() {
            return None;
        }
        if self.raw {
            return Some(event.data.clone());
        }
        let uplink: Value = serde_json::from_str(&event.data).ok()?;
        Some(uplink_line(event.topic.as_deref().unwrap_or_default(), &uplink))
    }
}

const PATH: &str = "/uplinks";

/// Pause between attempts.
const RETRY: Duration = Duration::from_secs(1);

/// Longest error body and longest line of an event that is read. *Bound:* an uplink's JSON is far
/// below.
const BODY_BYTES_MAX: u64 = 65_536;

/// One server-sent event.
#[derive(Default)]
struct Event {
    id: Option<u64>,
    topic: Option<String>,
    data: String,
}

async fn next_event(stream: &mut BufReader<Connection>) -> std::io::Result<Option<Event>> {
    let mut event = Event::default();
    loop {
        let mut line = String::new();
        if stream.take(BODY_BYTES_MAX).read_line(&mut line).await? == 0 {
            return Ok(None);
        }
        let line = line.trim_end_matches(['\n', '\r']);
        if line.is_empty() {
            return Ok(Some(event));
        }
        let (name, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "" => event.topic = value.strip_prefix("topic ").map(ToOwned::to_owned),
            "id" => event.id = value.parse().ok(),
            "data" => event.data.push_str(value),
            _ => {}
        }
    }
}

/// `time device CON PUT /t?unit=c [application/json] 21.5 -> topic`
fn uplink_line(topic: &str, uplink: &Value) -> String {
    let coap = &uplink["WirelessMetadata"]["CoAP"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value, between: &str| {
        let items = value.as_array().map(Vec::as_slice).unwrap_or_default();
        items.iter().map(part).collect::<Vec<_>>().join(between)
    };
    let query = list(&coap["UriQuery"], "&");
    let kind = match coap["MessageType"].as_str() {
        Some("CONFIRMABLE") => "CON",
        Some("NON_CONFIRMABLE") => "NON",
        _ => "",
    };
    let what = match (coap["RequestMethod"].as_str(), coap["ResponseStatus"].as_str()) {
        (Some(method), _) => {
            let question = if query.is_empty() { "" } else { "?" };
            format!("{method} /{}{question}{query}", list(&coap["UriPaths"], "/"))
        }
        (None, Some(status)) => format!("{status} for {}", text(&coap["MessageId"])),
        (None, None) => String::new(),
    };
    let payload = payload_text(&text(&uplink["PayloadData"]));
    let parts = [
        text(&coap["Timestamp"]),
        text(&uplink["WirelessDeviceId"]),
        kind.to_owned(),
        what,
        payload,
        if topic.is_empty() { String::new() } else { format!("-> {topic}") },
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("  ")
}

/// A path segment, or a query parameter in either of its spellings.
fn part(value: &Value) -> String {
    match (value.as_str(), value["Key"].as_str(), value["Value"].as_str()) {
        (Some(text), _, _) => printable(text),
        (None, Some(key), Some(value)) => format!("{}={}", printable(key), printable(value)),
        (None, Some(key), None) => printable(key),
        _ => String::new(),
    }
}

/// A payload as text where it is printable, else as hex.
fn payload_text(base64: &str) -> String {
    let bytes = STANDARD.decode(base64).unwrap_or_default();
    match std::str::from_utf8(&bytes) {
        Ok(text) if !text.chars().any(char::is_control) => text.to_owned(),
        _ => format!("0x{}", hex::encode(&bytes)),
    }
}

/// What a device chose must not drive the terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

fn refusal(status: &str, body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    match (status, body["ResourceType"].as_str()) {
        ("404", Some("UplinkStream")) => {
            "uplinks go to the MQTT broker of the configuration: subscribe there".to_owned()
        }
        _ => format!("refused with {status}: {}", body["Message"].as_str().unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_uplink_becomes_one_line() {
        let uplink = json!({
            "WirelessDeviceId": "d-1",
            "PayloadData": "MjEuNQ==",
            "WirelessMetadata": { "CoAP": {
                "MessageType": "CONFIRMABLE", "RequestMethod": "PUT", "UriPaths": ["s", "t"],
                "UriQuery": [{ "Key": "unit", "Value": "c" }],
                "Timestamp": "2026-11-21T04:00:00Z",
            } },
        });
        assert_eq!(
            uplink_line("demo", &uplink),
            "2026-11-21T04:00:00Z  d-1  CON  PUT /s/t?unit=c  21.5  -> demo"
        );
    }

    #[test]
    fn what_is_not_printable_is_shown_as_hex_or_replaced() {
        assert_eq!(payload_text(&STANDARD.encode(b"\x1b[2J")), "0x1b5b324a");
        assert_eq!(payload_text(&STANDARD.encode([0xff])), "0xff");
        assert_eq!(payload_text(""), "");
        assert_eq!(printable("a\nb"), "a\u{fffd}b");
    }
}
