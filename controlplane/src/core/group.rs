//! When is a message confirmed that went to several places? Once all of them keep it, and what
//! failed was taken by its rule's error action.

use std::sync::Arc;

use super::PublishResult;
use super::uplinks::Pending;
use crate::rules::{Compiled, Delivery, Failed, Message};
use crate::store::account::Account;

/// All that one message came to.
pub(super) struct Group {
    left: usize,
    result: PublishResult,
    pending: Pending,
    account: Account,
    runs: Vec<Run>,
}

/// One delivery of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// By the publisher.
    Publish,
    /// By a sink, for an action of this run.
    Action(usize),
    /// For the error action of this run.
    ErrorAction(usize),
}

/// How a delivery ended.
pub(super) enum Ended {
    Published(PublishResult),
    /// A sink has given up.
    Failed(Failed),
}

/// One rule that looked at the message and wants it delivered by sinks.
pub(super) struct Run {
    rule: Arc<Compiled>,
    /// Actions under way.
    left: usize,
    failures: Vec<Failed>,
    /// For the error action; `None`: there is none.
    message: Option<Arc<Kept>>,
    /// The destination's topic has the message: this rule does not decide what the device hears.
    is_beside: bool,
}

/// A message that may be needed again.
pub(super) struct Kept {
    topic: String,
    client_id: String,
    account_id: String,
    trace_id: String,
    now_unix_ms: u64,
    payload: Vec<u8>,
}

impl Group {
    pub(super) fn new(left: usize, pending: Pending, (account, runs): (Account, Vec<Run>)) -> Self {
        Self { left, result: PublishResult::Confirmed, pending, account, runs }
    }

    /// Whose the message is.
    pub(super) fn account(&self) -> Account {
        self.account
    }

    /// The rule that a part belongs to.
    pub(super) fn rule(&self, part: Part) -> Option<&Arc<Compiled>> {
        match part {
            Part::Publish => None,
            Part::Action(run) | Part::ErrorAction(run) => Some(&self.runs.get(run)?.rule),
        }
    }

    /// A part has ended; what the error action has to get now, if that is what follows.
    pub(super) fn end(&mut self, part: Part, ended: Ended) -> Option<Delivery> {
        self.left -= 1;
        let failed = match ended {
            Ended::Published(result) => {
                self.result = self.result.max(result);
                None
            }
            Ended::Failed(failed) => Some(failed),
        };
        match part {
            Part::Action(at) => {
                let run = &mut self.runs[at];
                run.left -= 1;
                run.failures.extend(failed);
                if run.left > 0 || run.failures.is_empty() {
                    return None;
                }
                let failures = std::mem::take(&mut run.failures);
                // The device sends again, and the rule has another try.
                if self.result != PublishResult::Confirmed {
                    return None;
                }
                let told = run.error_message(&failures);
                match told {
                    Some(_) => self.left += 1,
                    None => self.fail(at),
                }
                told
            }
            Part::ErrorAction(at) if failed.is_some() => {
                self.fail(at);
                None
            }
            Part::ErrorAction(_) | Part::Publish => None,
        }
    }

    fn fail(&mut self, at: usize) {
        if !self.runs[at].is_beside {
            self.result = PublishResult::Failed;
        }
    }

    /// Nothing of it is under way.
    pub(super) fn is_over(&self) -> bool {
        self.left == 0
    }

    pub(super) fn into_result(self) -> (Pending, PublishResult) {
        (self.pending, self.result)
    }
}

impl Run {
    /// `left`: what its sinks have to deliver for its actions.
    pub(super) fn new(
        rule: &Arc<Compiled>,
        left: usize,
        message: &Message<'_>,
        is_beside: bool,
    ) -> Self {
        let kept = || Arc::new(Kept::new(message));
        let message = (rule.has_error_action() && left > 0).then(kept);
        Self { rule: rule.clone(), left, failures: Vec::new(), message, is_beside }
    }

    fn error_message(&self, failures: &[Failed]) -> Option<Delivery> {
        let message = self.message.as_ref()?;
        self.rule.error_message(&message.message(), failures)
    }
}

impl Kept {
    fn new(message: &Message<'_>) -> Self {
        Self {
            topic: message.topic.to_owned(),
            client_id: message.client_id.to_owned(),
            account_id: message.account_id.to_owned(),
            trace_id: message.trace_id.to_owned(),
            now_unix_ms: message.now_unix_ms,
            payload: message.payload.to_vec(),
        }
    }

    fn message(&self) -> Message<'_> {
        Message {
            topic: &self.topic,
            client_id: &self.client_id,
            account_id: &self.account_id,
            principal: None,
            trace_id: &self.trace_id,
            now_unix_ms: self.now_unix_ms,
            payload: &self.payload,
        }
    }
}
