//! What goes where once a message's rules have run? All of it, confirmed together, or nothing.

use super::routes::Ruled;
use super::uplinks::Pending;
use super::{Core, Effect, Now};
use crate::rules::{Delivery, Message, Outcome};

/// What became of a message that rules looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ran {
    /// It is on its way: [`Core::on_published`] follows.
    Publishing,
    /// No WHERE is true: there is nothing to publish.
    Filtered,
    /// The destination's rule failed, and no error action takes that. Nothing was published.
    Failed,
}

impl Core {
    /// Runs the rules over a message and publishes what they make of it. `pending` is confirmed
    /// once everything is.
    pub(super) fn run_rules(
        &mut self,
        now: Now,
        ruled: &Ruled,
        message: &Message<'_>,
        pending: Pending,
    ) -> Ran {
        let mut deliveries = Vec::new();
        if let Some(topic) = &ruled.topic {
            deliveries.push(Delivery { topic: topic.clone(), payload: None });
        }
        for rule in &ruled.rules {
            let Outcome { deliveries: more, failures, is_unhandled } = rule.run(message);
            for failed in &failures {
                self.counts.rules_failed += 1;
                if let Some(count) = rule.count_failure() {
                    let (rule, why) = (rule.name(), &failed.message);
                    tracing::warn!(rule, count, why, "a rule failed");
                }
            }
            // A topic of its own has the message; without one, refusing it is what loses nothing.
            if is_unhandled && ruled.topic.is_none() {
                return Ran::Failed;
            }
            deliveries.extend(more);
        }
        if deliveries.is_empty() {
            return Ran::Filtered;
        }
        let due_ms = now.ms + self.limits.publish_timeout_ms;
        let ids = self.uplinks.begin_all(due_ms, pending, deliveries.len());
        for (id, Delivery { topic, payload }) in ids.into_iter().zip(deliveries) {
            let payload = payload.unwrap_or_else(|| message.payload.to_vec());
            let account = ruled.account;
            self.out.push(Effect::Publish { id, account, topic, payload });
        }
        Ran::Publishing
    }

    /// The root account, as its rules know it.
    pub fn set_account(&mut self, account_id: &str) {
        self.account_id = account_id.into();
    }
}
