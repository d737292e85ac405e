//! What are destinations and rules? Where uplinks go.

use serde::{Deserialize, Serialize};

use super::{Action, Tag};

/// A destination: where the uplinks of its devices go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// `[a-zA-Z0-9-_]+`, ≤ 128 characters; the key.
    pub name: String,
    /// How to read `expression`.
    pub expression_type: ExpressionType,
    /// A topic or a rule's name, ≤ 2048 characters.
    pub expression: String,
    /// ≤ 2048 characters.
    pub description: Option<String>,
    /// 20–2048 characters; kept, no meaning here.
    pub role_arn: String,
    /// ≤ 200.
    pub tags: Vec<Tag>,
    /// Unix time of creation, milliseconds (the facade sets it).
    pub created_unix_ms: u64,
}

/// How a destination's expression is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExpressionType {
    /// The rule of that name runs.
    RuleName,
    /// Published to that topic.
    MqttTopic,
}

/// What UpdateDestination changes: only what is `Some`.
#[derive(Clone, Debug, Default)]
pub struct DestinationChange {
    /// New expression type.
    pub expression_type: Option<ExpressionType>,
    /// New expression.
    pub expression: Option<String>,
    /// New description.
    pub description: Option<String>,
    /// New role.
    pub role_arn: Option<String>,
}

/// A topic rule (AWS IoT's shape).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// `[a-zA-Z0-9_]+`, ≤ 128 characters; the key.
    pub name: String,
    /// A statement of AWS IoT SQL.
    pub sql: String,
    /// Free text.
    pub description: Option<String>,
    /// A disabled rule publishes nothing: its devices get 4.04.
    pub disabled: bool,
    /// `2015-10-08` or `2016-03-23`.
    pub sql_version: Option<String>,
    /// 1–10 actions.
    pub actions: Vec<Action>,
    /// Takes what the others could not.
    #[serde(default)]
    pub error_action: Option<Action>,
    /// Unix time of creation, milliseconds (the facade sets it).
    pub created_unix_ms: u64,
}
