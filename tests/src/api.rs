//! How does an application speak to the edge? The HTTP API over a plain socket, signed; fast
//! enough for every story. (`aws` and boto3 speak to it in their own story.)

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::{Value, json};

use crate::sigv4::Credentials;
use crate::wait::patience;

/// The API of one edge.
#[derive(Clone, Debug)]
pub struct Api {
    /// Its port on loopback.
    pub port: u16,
    /// Who asks.
    pub credentials: Credentials,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The JSON body; null when there was none.
    pub body: Value,
}

impl Api {
    /// One request; `Err` when the API can't be reached.
    pub fn try_call(&self, method: &str, target: &str, body: &Value) -> std::io::Result<Reply> {
        let mut reader = self.open(method, target, body)?;
        let (status, headers) = read_head(&mut reader)?;
        let mut text = String::new();
        reader.read_to_string(&mut text)?;
        let chunked = headers.iter().any(|(name, _)| name == "transfer-encoding");
        assert!(!chunked, "{method} {target}: a chunked answer, {text}");
        let body = if text.is_empty() {
            Value::Null
        } else {
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{method} {target}: {e}: {text}"))
        };
        Ok(Reply { status, headers, body })
    }

    /// One request, whatever comes of it.
    pub fn call(&self, method: &str, target: &str, body: &Value) -> Reply {
        self.try_call(method, target, body).unwrap_or_else(|e| panic!("{method} {target}: {e}"))
    }

    /// One request that succeeds; its JSON body.
    pub fn succeed(&self, method: &str, target: &str, body: &Value) -> Value {
        let reply = self.call(method, target, body);
        assert!(reply.status < 300, "{method} {target} {body}: {} {}", reply.status, reply.body);
        reply.body
    }

    /// GET of an endless answer (server-sent events), read line by line.
    pub fn events(&self, target: &str) -> Events {
        let mut reader =
            self.open("GET", target, &Value::Null).unwrap_or_else(|e| panic!("GET {target}: {e}"));
        let (status, _) = read_head(&mut reader).expect("an HTTP answer");
        assert_eq!(status, 200, "GET {target}");
        Events { reader }
    }

    /// SendDataToWirelessDevice; the MessageId.
    pub fn send_data(&self, device: &str, coap: &Value, payload: &str) -> String {
        let target = format!("/wireless-devices/{device}/data");
        let reply = self.succeed("POST", &target, &data(coap, payload));
        text(&reply, "MessageId")
    }

    /// Answers a GET or POST of a device with 2.05 and a text.
    pub fn answer(&self, device: &str, response_token: &str, payload: &str) -> String {
        let coap = json!({"ResponseStatus": "CONTENT(2.05)", "ResponseToken": response_token});
        self.send_data(device, &coap, payload)
    }

    fn open(&self, method: &str, target: &str, body: &Value) -> std::io::Result<Connection> {
        let host = format!("127.0.0.1:{}", self.port);
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let signature = self.credentials.header_lines(method, &host, target, body.as_bytes());
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(patience().max(Duration::from_secs(1))))?;
        write!(
            stream,
            "{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n{signature}\r\n{body}",
            body.len()
        )?;
        Ok(BufReader::new(stream))
    }
}

/// The body of SendDataToWirelessDevice.
pub fn data(coap: &Value, payload: &str) -> Value {
    json!({"TransmitMode": 1, "PayloadData": BASE64.encode(payload), "CoAP": coap})
}

/// A member that must be a string.
pub fn text(json: &Value, member: &str) -> String {
    json[member].as_str().unwrap_or_else(|| panic!("no text {member} in {json}")).to_owned()
}

/// What an uplink says about the CoAP message it came from.
pub fn coap(uplink: &Value) -> &Value {
    let coap = &uplink["WirelessMetadata"]["CoAP"];
    assert!(coap.is_object(), "no WirelessMetadata.CoAP in {uplink}");
    coap
}

/// The bytes of an uplink's `PayloadData`, as text.
pub fn payload(uplink: &Value) -> String {
    let bytes = BASE64.decode(text(uplink, "PayloadData")).expect("PayloadData is base64");
    String::from_utf8(bytes).expect("the stories send text")
}

/// Server-sent events as they come.
#[derive(Debug)]
pub struct Events {
    reader: Connection,
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event {
    /// `id:`, the cursor to resume from.
    pub id: String,
    /// `data:` as JSON.
    pub data: Value,
}

impl Events {
    /// The next event; comments (heartbeats) and chunk lengths are passed over. An event ends
    /// with an empty line.
    pub fn next_event(&mut self) -> Event {
        let (mut id, mut data) = (String::new(), None);
        loop {
            let mut line = String::new();
            let n = self.reader.read_line(&mut line).expect("the stream goes on");
            assert!(n > 0, "the stream ended");
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("id:") {
                value.trim().clone_into(&mut id);
            } else if let Some(value) = line.strip_prefix("data:") {
                data = Some(serde_json::from_str(value).expect("data is JSON"));
            } else if line.is_empty()
                && let Some(data) = data.take()
            {
                return Event { id, data };
            }
        }
    }
}

type Connection = BufReader<TcpStream>;

fn read_head(reader: &mut Connection) -> std::io::Result<(u16, Vec<(String, String)>)> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok());
    let broken = || std::io::Error::other(format!("no HTTP answer: {line:?}"));
    let status = status.ok_or_else(broken)?;
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
            None => return Ok((status, headers)),
        }
    }
}
