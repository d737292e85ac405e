//! Who calls the API in a run? One connection that is kept, each request signed (Signature
//! Version 4) by a signer that shares nothing with the one that verifies.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

/// An access key.
#[derive(Clone)]
pub struct Key {
    /// The public half.
    pub id: String,
    /// The secret half.
    pub secret: String,
}

/// One connection.
pub struct Client {
    stream: BufReader<TcpStream>,
    host: String,
    key: Key,
    /// The day it is good for, and the signing key of that day.
    signing: (String, Vec<u8>),
    text: String,
}

const REGION: &str = "us-east-1";
const SERVICE: &str = "iotwireless";
/// No answer takes longer.
const PATIENCE: Duration = Duration::from_mins(1);

impl Client {
    /// Connects to the API on a port of loopback.
    pub fn connect(port: u16, key: Key) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self {
            stream: BufReader::new(stream),
            host: format!("127.0.0.1:{port}"),
            key,
            signing: (String::new(), Vec::new()),
            text: String::new(),
        })
    }

    /// Asks, and reads the answer: its status and its body.
    pub fn ask(&mut self, method: &str, target: &str, body: &str) -> io::Result<(u16, Vec<u8>)> {
        self.sign(method, target, body);
        self.stream.get_mut().write_all(self.text.as_bytes())?;
        let status = self.line()?.get(9..12).and_then(|digits| digits.parse().ok());
        let status = status.ok_or_else(|| io::Error::other("no HTTP answer"))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().map_err(io::Error::other)?;
            }
        }
        let mut answer = vec![0; length];
        self.stream.read_exact(&mut answer)?;
        Ok((status, answer))
    }

    /// The same, of a request that succeeds.
    pub fn succeed(&mut self, method: &str, target: &str, body: &Value) -> io::Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (status, answer) = self.ask(method, target, &body)?;
        if status >= 300 {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            return Err(io::Error::other(format!("{method} {target}: {status} {answer}")));
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer).map_err(io::Error::other)
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }

    /// Writes the request, signed, into `text`.
    fn sign(&mut self, method: &str, target: &str, body: &str) {
        let now = OffsetDateTime::now_utc();
        let day = format!("{:04}{:02}{:02}", now.year(), u8::from(now.month()), now.day());
        let date = format!("{day}T{:02}{:02}{:02}Z", now.hour(), now.minute(), now.second());
        if self.signing.0 != day {
            let mut key = format!("AWS4{}", self.key.secret).into_bytes();
            for part in [day.as_str(), REGION, SERVICE, "aws4_request"] {
                key = mac(&key, part);
            }
            self.signing = (day.clone(), key);
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let (host, payload) = (&self.host, hex::encode(Sha256::digest(body)));
        let canonical = format!(
            "{method}\n{path}\n{query}\nhost:{host}\nx-amz-date:{date}\n\nhost;x-amz-date\n{payload}"
        );
        let scope = format!("{day}/{REGION}/{SERVICE}/aws4_request");
        let hash = hex::encode(Sha256::digest(canonical));
        let signature = mac(&self.signing.1, &format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{hash}"));
        self.text.clear();
        write!(
            self.text,
            "{method} {target} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {date}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={}/{scope}, \
             SignedHeaders=host;x-amz-date, Signature={}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            self.key.id,
            hex::encode(signature),
            body.len()
        )
        .expect("memory");
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes any key length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}
