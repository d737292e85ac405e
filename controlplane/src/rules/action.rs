//! What does a rule do with a message? It asks WHERE, selects once, and says what goes to which
//! topic; what fails goes to its error action.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::evaluate::{self, Scene, Scope, TEXT_BYTES_MAX};
use super::program::{Projection, Statement};
use super::template::Template;
use super::{Message, SqlVersion, json as writer, parse, topic};
use crate::model::{Action, Refused, Rule};

/// A rule that can be run.
#[derive(Debug)]
pub struct Compiled {
    name: String,
    version: SqlVersion,
    statement: Statement<Option<String>>,
    actions: Vec<Republish>,
    error_action: Option<Republish>,
    failed: AtomicU64,
}

#[derive(Debug)]
struct Republish {
    topic: Template,
    /// The topic, when it is the same for every message.
    plain: Option<Arc<str>>,
    text: String,
}

enum Selected {
    /// WHERE is not true.
    Nothing,
    /// The message as it came.
    Message,
    Payload(Vec<u8>),
}

/// Something to publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where to.
    pub topic: Arc<str>,
    /// What; `None`: the message as it came.
    pub payload: Option<Vec<u8>>,
}

/// What a rule made of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// In the order of the actions, the error action last.
    pub deliveries: Vec<Delivery>,
    /// What failed.
    pub failures: Vec<Failed>,
    /// Something failed and no error action takes it.
    pub is_unhandled: bool,
}

/// An action that failed, in AWS's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// `RepublishAction`, or `SqlStatement`.
    pub action: &'static str,
    /// The topic as the rule writes it, or the rule.
    pub resource: String,
    /// For people.
    pub message: String,
}

impl Compiled {
    /// Compiles a rule; says what is wrong with it.
    pub fn new(rule: &Rule) -> Result<Self, Refused> {
        let statement = parse::statement(&rule.sql).map_err(|fault| fault.refused("sql"))?;
        if statement.from.as_ref().is_some_and(|from| !from.is_empty() && !topic::is_filter(from)) {
            let message = "sql: FROM takes a topic filter in quotes".to_owned();
            return Err(Refused::Sql { message });
        }
        if !(1..=ACTIONS_MAX).contains(&rule.actions.len()) {
            let message = format!("Member must have length between 1 and {ACTIONS_MAX}");
            return Err(Refused::invalid("actions", &message));
        }
        let actions = rule.actions.iter().enumerate().map(|(at, action)| {
            Republish::new(action, &format!("actions.{}.member.republish", at + 1))
        });
        let actions = actions.collect::<Result<_, _>>()?;
        let error_action = rule.error_action.as_ref();
        let error_action = error_action
            .map(|action| Republish::new(action, "errorAction.republish"))
            .transpose()?;
        Ok(Self {
            name: rule.name.clone(),
            version: SqlVersion::of(rule.sql_version.as_deref()),
            statement,
            actions,
            error_action,
            failed: AtomicU64::new(0),
        })
    }

    /// The rule's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does its FROM take the topic?
    pub fn takes(&self, topic: &str) -> bool {
        self.statement.from.as_ref().is_some_and(|from| topic::takes(from, topic))
    }

    /// What is to be published for a message: nothing when WHERE is not true.
    pub fn run(&self, message: &Message<'_>) -> Outcome {
        let scene = Scene::new(message, self.version, &self.name);
        let mut outcome = Outcome::default();
        match self.select(&scene) {
            Ok(Selected::Nothing) => return outcome,
            Ok(Selected::Message) => self.act(&scene, None, &mut outcome),
            Ok(Selected::Payload(payload)) => self.act(&scene, Some(&payload), &mut outcome),
            Err(failure) => outcome.failures.push(Failed {
                action: "SqlStatement",
                resource: self.name.clone(),
                message: failure.to_string(),
            }),
        }
        if !outcome.failures.is_empty() {
            self.act_on_failures(message, &mut outcome);
        }
        outcome
    }

    /// Counts a failure; the count, when it is one worth a line in the log (1, 2, 4, 8, …).
    pub fn count_failure(&self) -> Option<u64> {
        let count = self.failed.fetch_add(1, Ordering::Relaxed) + 1;
        count.is_power_of_two().then_some(count)
    }

    fn select(&self, scene: &Scene<'_>) -> Result<Selected, evaluate::Failure> {
        if !evaluate::holds(self.statement.condition.as_ref(), scene, Scope::Payload)? {
            return Ok(Selected::Nothing);
        }
        if matches!(self.statement.projection, Projection::Whole) {
            return Ok(Selected::Message);
        }
        let selected = evaluate::project(&self.statement.projection, scene, Scope::Payload)?;
        let mut written = Vec::with_capacity(scene.message.payload.len() + 64);
        writer::write(&selected, &mut written);
        if written.len() > TEXT_BYTES_MAX {
            return Err(evaluate::Failure::TooLong);
        }
        Ok(Selected::Payload(written))
    }

    fn act(&self, scene: &Scene<'_>, selected: Option<&Vec<u8>>, outcome: &mut Outcome) {
        for action in &self.actions {
            match action.fill(scene) {
                Ok(topic) => {
                    let delivery = Delivery { topic, payload: selected.cloned() };
                    outcome.deliveries.push(delivery);
                }
                Err(message) => outcome.failures.push(Failed {
                    action: "RepublishAction",
                    resource: action.text.clone(),
                    message,
                }),
            }
        }
    }

    /// One message to the error action for all that failed, in AWS's shape.
    fn act_on_failures(&self, message: &Message<'_>, outcome: &mut Outcome) {
        // The error action has its own allowance: the statement may have used up the first.
        let scene = Scene::new(message, self.version, &self.name);
        let topic = self.error_action.as_ref().and_then(|action| action.fill(&scene).ok());
        let Some(topic) = topic else {
            outcome.is_unhandled = true;
            return;
        };
        let failures = outcome.failures.iter().map(|failed| {
            json!({
                "failedAction": failed.action,
                "failedResource": failed.resource,
                "errorMessage": failed.message,
            })
        });
        let payload = json!({
            "ruleName": self.name,
            "topic": message.topic,
            "cloudwatchTraceId": message.trace_id,
            "clientId": message.client_id,
            "base64OriginalPayload": STANDARD.encode(message.payload),
            "failures": failures.collect::<Vec<_>>(),
        });
        let payload = Some(payload.to_string().into_bytes());
        outcome.deliveries.push(Delivery { topic, payload });
    }
}

impl Republish {
    fn new(action: &Action, path: &str) -> Result<Self, Refused> {
        let Action::Republish { topic: text, qos, .. } = action;
        let path_of_topic = format!("{path}.topic");
        if *qos > 1 {
            let constraint = "Member must have value less than or equal to 1";
            return Err(Refused::invalid(&format!("{path}.qos"), constraint));
        }
        if text.len() > TOPIC_TEXT_BYTES_MAX {
            let constraint = format!("Member must have at most {TOPIC_TEXT_BYTES_MAX} bytes");
            return Err(Refused::invalid(&path_of_topic, &constraint));
        }
        let topic = Template::parse(text).map_err(|fault| fault.refused(&path_of_topic))?;
        let plain = topic.plain().map(|plain| topic::unreserve(plain.to_owned()));
        if let Some(fault) = plain.as_deref().and_then(topic::fault) {
            return Err(Refused::invalid(&path_of_topic, fault));
        }
        Ok(Self { topic, plain: plain.map(Into::into), text: text.clone() })
    }

    /// The topic for this message, or why there is none.
    fn fill(&self, scene: &Scene<'_>) -> Result<Arc<str>, String> {
        if let Some(plain) = &self.plain {
            return Ok(plain.clone());
        }
        let filled = self.topic.fill(scene).map_err(|failure| failure.to_string())?;
        let topic = filled.ok_or("A substitution template of the topic is Undefined.")?;
        let topic = topic::unreserve(topic);
        if topic.len() > FILLED_BYTES_MAX || topic::fault(&topic).is_some() {
            return Err("The substitution templates do not make a topic to publish to.".to_owned());
        }
        Ok(topic.into())
    }
}

/// Most actions of a rule.
const ACTIONS_MAX: usize = 10;
/// Longest topic with its templates, bytes.
const TOPIC_TEXT_BYTES_MAX: usize = 2_048;
/// Longest topic that templates make, bytes; the stream keeps its length in 16 bits.
const FILLED_BYTES_MAX: usize = 2_048;

/// What a statement selects of a payload: the bytes it writes. For tests and benches.
#[cfg(test)]
pub(in crate::rules) fn select(
    sql: &str,
    version: &str,
    message: &Message<'_>,
) -> Result<Option<String>, String> {
    let statement = parse::statement(sql).map_err(|fault| fault.0)?;
    let version = SqlVersion::of(Some(version));
    let scene = Scene::new(message, version, "rule");
    let failed = |failure: evaluate::Failure| failure.to_string();
    if !evaluate::holds(statement.condition.as_ref(), &scene, Scope::Payload).map_err(failed)? {
        return Ok(None);
    }
    let selected =
        evaluate::project(&statement.projection, &scene, Scope::Payload).map_err(failed)?;
    let mut written = Vec::new();
    writer::write(&selected, &mut written);
    String::from_utf8(written).map(Some).map_err(|error| error.to_string())
}
