//! What does a topic rule make of a message? AWS IoT's: a statement, actions, an error action.
//!
//! ```text
//! CreateTopicRule ─▶ check ─▶ tokens ─▶ sqlparser ─▶ parse, expression ─▶ program  (once a change)
//! message ─▶ Compiled::run ─▶ evaluate (WHERE, SELECT, ${…}) ─▶ deliveries         (microseconds)
//! failures ─▶ Compiled::error_message ─▶ one delivery to the error action
//! ```
//!
//! No sockets and no clock: what is delivered, and whether that worked, is the core's business.

mod act;
mod action;
mod evaluate;
mod expression;
mod functions;
mod json;
mod number;
mod parse;
mod program;
mod sink;
mod template;
#[cfg(test)]
mod tests;
mod tokens;
mod topic;
mod value;

pub use act::Target;
pub use action::{Compiled, Delivery, Failed, Outcome};
pub use sink::{Lane, Sink, origin};
pub use topic::check_topic;

use std::collections::BTreeSet;

use crate::model::{Refused, Rule};

/// A message as a rule sees it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// What `topic()` says.
    pub topic: &'a str,
    /// What `clientid()` says: the device.
    pub client_id: &'a str,
    /// What `accountid()` says.
    pub account_id: &'a str,
    /// What `principal()` says.
    pub principal: Option<&'a str>,
    /// What `traceid()` says: the message's own id. What is random comes from it.
    pub trace_id: &'a str,
    /// What `timestamp()` says, Unix milliseconds.
    pub now_unix_ms: u64,
    /// The bytes, JSON or not.
    pub payload: &'a [u8],
}

/// `aws_iot_sql_version`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum SqlVersion {
    V2015,
    V2016,
}

impl SqlVersion {
    /// `None` is what AWS takes for a rule that names no version.
    fn of(version: Option<&str>) -> Self {
        if version.is_none_or(|version| version == "2015-10-08") {
            Self::V2015
        } else {
            Self::V2016
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::V2015 => "2015-10-08",
            Self::V2016 => "2016-03-23",
        }
    }

    /// 10.0 is the Int 10.
    fn whole_is_int(self) -> bool {
        self == Self::V2016
    }
}

/// Why a statement or template does not compile; for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::rules) struct Fault(String);

impl Fault {
    fn new(text: impl Into<String>) -> Self {
        let mut text: String = text.into();
        // A parser quotes what it does not understand.
        if text.len() > FAULT_BYTES_MAX {
            let end = (0..=FAULT_BYTES_MAX).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
        }
        Self(text)
    }

    fn refused(self, path: &str) -> Refused {
        Refused::Sql { message: format!("{path}: {}", self.0) }
    }
}

/// Longest explanation, bytes.
const FAULT_BYTES_MAX: usize = 300;

/// Is this a rule we can run, and may it reach what it wants to?
pub fn check(rule: &Rule, allowed: &BTreeSet<Lane>) -> Result<(), Refused> {
    check_name("ruleName", &rule.name)?;
    let compiled = Compiled::new(rule)?;
    match compiled.lanes().find(|(_, lane)| !allowed.contains(*lane)) {
        None => Ok(()),
        Some((path, lane)) => {
            let constraint = format!("Member must be allowed by the operator: {lane} is not");
            Err(Refused::invalid(&path, constraint))
        }
    }
}

/// The topic filter of a statement's FROM, as AWS lists it; empty when there is none.
pub fn topic_pattern(sql: &str) -> String {
    parse::statement(sql).ok().and_then(|statement| statement.from).unwrap_or_default()
}

/// Does the statement's FROM take the topic?
pub fn takes_topic(sql: &str, topic: &str) -> bool {
    topic::takes(&topic_pattern(sql), topic)
}

/// `[a-zA-Z0-9_]{1,128}`.
pub fn check_name(path: &str, name: &str) -> Result<(), Refused> {
    let is_word = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if is_word && (1..=128).contains(&name.len()) {
        return Ok(());
    }
    Err(Refused::invalid(
        path,
        "Member must satisfy regular expression pattern: ^[a-zA-Z0-9_]{1,128}$",
    ))
}
