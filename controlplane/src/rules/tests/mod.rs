//! Do rules do what AWS documents, and never more work than they may?
#![allow(clippy::unwrap_used)]

mod actions;
mod documented;
mod functions;
mod properties;
mod refused;

use super::{Message, action};

const V1: &str = "2015-10-08";
const V2: &str = "2016-03-23";

fn message(payload: &[u8]) -> Message<'_> {
    Message {
        topic: "things/myThings/thingOne",
        client_id: "device",
        account_id: "123456789012",
        principal: None,
        trace_id: "12345678-1234-1234-1234-123456789012",
        now_unix_ms: 1_481_825_251_155,
        payload,
    }
}

/// What a statement makes of a payload; `None`: WHERE is not true.
fn select(sql: &str, payload: &str) -> Option<String> {
    select_by(V2, sql, payload).unwrap_or_else(|why| panic!("{sql}: {why}"))
}

fn select_by(version: &str, sql: &str, payload: &str) -> Result<Option<String>, String> {
    action::select(sql, version, &message(payload.as_bytes()))
}

/// What an expression comes to, as JSON; empty for Undefined.
fn value(expression: &str) -> String {
    select(&format!("SELECT VALUE {expression}"), "{}").unwrap()
}

/// The same in the first version of the language.
fn value_by_v1(expression: &str) -> String {
    select_by(V1, &format!("SELECT VALUE {expression}"), "{}").unwrap().unwrap()
}
