//! What does a rule do with a message? It asks WHERE, selects once, and says what goes where; what
//! fails goes to its error action.

use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::act::{Act, Target};
use super::evaluate::{self, Scene, Scope, TEXT_BYTES_MAX};
use super::program::{Projection, Statement};
use super::sink::Lane;
use super::{Message, SqlVersion, json as writer, parse, topic};
use crate::model::{Refused, Rule};

/// A rule that can be run.
#[derive(Debug)]
pub struct Compiled {
    name: String,
    version: SqlVersion,
    statement: Statement<Option<String>>,
    actions: Vec<Act>,
    error_action: Option<Act>,
    failed: AtomicU64,
}

enum Selected {
    /// WHERE is not true.
    Nothing,
    /// The message as it came.
    Message,
    Payload(Vec<u8>),
}

/// Something to publish or deliver.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where to.
    pub target: Target,
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
    /// `RepublishAction`, `HttpAction` …, or `SqlStatement`.
    pub action: &'static str,
    /// The topic, URL … as the rule writes it, or the rule.
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
        let actions = rule.actions.iter().enumerate();
        let actions = actions
            .map(|(at, action)| Act::new(action, &format!("actions.{}.member", at + 1)))
            .collect::<Result<_, _>>()?;
        let error_action = rule.error_action.as_ref();
        let error_action =
            error_action.map(|action| Act::new(action, "errorAction")).transpose()?;
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

    /// Whom the operator must allow, and where the rule says so.
    pub fn lanes(&self) -> impl Iterator<Item = (String, &Lane)> {
        let actions = self.actions.iter().enumerate();
        let actions = actions.map(|(at, act)| (format!("actions.{}.member", at + 1), act));
        let error_action = self.error_action.iter().map(|act| ("errorAction".to_owned(), act));
        actions.chain(error_action).filter_map(|(path, act)| Some((path, act.lane()?)))
    }

    /// Is one of its actions the publisher's?
    pub fn republishes(&self) -> bool {
        self.actions.iter().any(|act| act.lane().is_none())
    }

    /// Does somebody take what fails?
    pub fn has_error_action(&self) -> bool {
        self.error_action.is_some()
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
        for act in &self.actions {
            match act.fill(scene) {
                Ok(target) => {
                    let delivery = Delivery { target, payload: selected.cloned() };
                    outcome.deliveries.push(delivery);
                }
                Err(message) => {
                    let (action, resource) = act.names();
                    let resource = resource.to_owned();
                    outcome.failures.push(Failed { action, resource, message });
                }
            }
        }
    }

    fn act_on_failures(&self, message: &Message<'_>, outcome: &mut Outcome) {
        match self.error_message(message, &outcome.failures) {
            Some(delivery) => outcome.deliveries.push(delivery),
            None => outcome.is_unhandled = true,
        }
    }

    /// One message to the error action for all that failed, in AWS's shape; `None`: nobody takes
    /// it.
    pub fn error_message(&self, message: &Message<'_>, failures: &[Failed]) -> Option<Delivery> {
        // The error action has its own allowance: the statement may have used up the first.
        let scene = Scene::new(message, self.version, &self.name);
        let target = self.error_action.as_ref()?.fill(&scene).ok()?;
        let failures = failures.iter().map(|failed| {
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
        Some(Delivery { target, payload: Some(payload.to_string().into_bytes()) })
    }
}

/// Most actions of a rule.
const ACTIONS_MAX: usize = 10;

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
