//! How do libcoap's clients fare? Runs `coap-client-openssl` or `-gnutls` and reads the messages
//! they log.

use std::process::Command;

use crate::edge::Provisioned;
use crate::process::Process;

/// Which TLS library stands under libcoap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// coap-client-openssl
    OpenSsl,
    /// coap-client-gnutls
    GnuTls,
}

impl Flavour {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::OpenSsl, Self::GnuTls];

    /// The client on it.
    pub fn program(self) -> &'static str {
        match self {
            Self::OpenSsl => "coap-client-openssl",
            Self::GnuTls => "coap-client-gnutls",
        }
    }
}

/// One CoAP message as libcoap logs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// `CON`, `NON`, `ACK`, `RST`.
    pub message_type: String,
    /// `2.05`, `GET`, …; `0.00` for an empty message.
    pub code: String,
    /// Message ID, hex.
    pub mid: String,
    /// `[ … ]`
    pub options: String,
    /// Text of the payload, empty when there is none or it is no text.
    pub text: String,
}

/// A request about to be made.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `get`, `put`, `post`, `delete`.
    pub method: &'a str,
    /// CON or NON.
    pub confirmable: bool,
    /// `/a/b?c=d`
    pub uri: &'a str,
    /// Text to send; empty: none.
    pub payload: &'a str,
}

/// A coap-client at work.
#[derive(Debug)]
pub struct CoapClient {
    process: Process,
}

impl CoapClient {
    /// Starts it; it shakes hands, sends and waits (at most [`WAIT_S`]) for a response.
    pub fn start(flavour: Flavour, port: u16, device: &Provisioned, request: &Request) -> Self {
        let program = flavour.program();
        let mut command = Command::new(program);
        command.args(["-v", "7", "-B", WAIT_S, "-u", &device.identity, "-k", &device.secret]);
        command.args(["-m", request.method]);
        if !request.confirmable {
            command.arg("-N");
        }
        if !request.payload.is_empty() {
            command.args(["-t", "text/plain", "-e", request.payload]);
        }
        command.arg(format!("coaps://127.0.0.1:{port}{}", request.uri));
        Self { process: Process::start(program, &mut command) }
    }

    /// Waits for its end; every message of the exchange in order, both directions.
    pub fn messages(mut self) -> Vec<Logged> {
        self.process.wait();
        self.process.said().lines().filter_map(parse).collect()
    }

    /// Waits for its end; the one response (class 2, 4 or 5) it got.
    pub fn response(self) -> Logged {
        let messages = self.messages();
        let is_response = |m: &&Logged| matches!(m.code.as_bytes(), [b'2' | b'4' | b'5', b'.', ..]);
        let mut responses = messages.iter().filter(is_response);
        match (responses.next(), responses.next()) {
            (Some(response), None) => response.clone(),
            _ => panic!("not exactly one response: {messages:#?}"),
        }
    }
}

/// How long coap-client waits for a response, seconds.
const WAIT_S: &str = "60";

/// `v:1 t:ACK c:2.05 i:864d {01} [ Max-Age:30 ] :: 'text'`
fn parse(line: &str) -> Option<Logged> {
    let rest = line.strip_prefix("v:1 t:")?;
    let (message_type, rest) = rest.split_once(" c:")?;
    let (code, rest) = rest.split_once(" i:")?;
    let (mid, rest) = rest.split_once(' ')?;
    let (_token, rest) = rest.split_once(' ')?;
    let (options, payload) = rest.split_once(" :: ").unwrap_or((rest, ""));
    Some(Logged {
        message_type: message_type.to_owned(),
        code: code.to_owned(),
        mid: mid.to_owned(),
        options: options.to_owned(),
        text: payload
            .strip_prefix('\'')
            .and_then(|t| t.strip_suffix('\''))
            .unwrap_or("")
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logged_message_is_read() {
        let logged =
            parse("v:1 t:CON c:2.05 i:3c43 {01} [ Max-Age:30 ] :: 'done it'").expect("one");
        assert_eq!((logged.code.as_str(), logged.text.as_str()), ("2.05", "done it"));
        assert_eq!(logged.options, "[ Max-Age:30 ]");
        let empty = parse("v:1 t:ACK c:0.00 i:864d {} [ ]").expect("one");
        assert_eq!((empty.message_type.as_str(), empty.mid.as_str()), ("ACK", "864d"));
        assert_eq!(parse("Nov 21 04:50:26.463 DEBG timeout is set to 5 seconds"), None);
    }
}
