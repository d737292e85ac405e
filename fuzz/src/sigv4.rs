//! Can a request without the key pass, or harm who checks its signature? Input: method, path, query
//! in a line each, headers in lines up to an empty one, then the body.

use tidegate_controlplane::api::sigv4::canonical::Signed;
use tidegate_controlplane::api::sigv4::{Expected, KeyLookup, verify};
use warp::http::{HeaderMap, HeaderName, HeaderValue};
use zeroize::Zeroizing;

/// The same in all runs, so that what is found can be played again; the seeds sign with another.
struct Keys;

impl KeyLookup for Keys {
    fn secret(&self, _: &str) -> Option<Zeroizing<String>> {
        Some(Zeroizing::new("a secret that nothing here has".to_owned()))
    }
}

/// When the seeds were signed: 2026-11-22T00:00:00Z.
const UNIX_S: i64 = 1_795_305_600;

pub(crate) fn run(input: &[u8]) {
    let ([method, path, query], mut rest) = crate::lines_and_rest(input);
    let mut headers = HeaderMap::new();
    loop {
        let ([line], tail) = crate::lines_and_rest(rest);
        rest = tail;
        let Some((name, value)) = line.split_once(':') else { break };
        let name = HeaderName::from_bytes(name.as_bytes());
        let (Ok(name), Ok(value)) = (name, HeaderValue::from_str(value.trim())) else { return };
        headers.append(name, value);
    }
    let request = Signed { method, path, query, headers: &headers, authority: None, body: rest };
    let expected = Expected { region: "us-east-1", services: &["iotwireless"] };
    assert!(verify(&request, UNIX_S, &expected, &Keys).is_err(), "signed without the key");
}
