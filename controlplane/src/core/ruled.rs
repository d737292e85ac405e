//! What goes where once a message's rules have run? All of it, confirmed together, or nothing.

use std::sync::Arc;

use super::group::{Ended, Part, Run};
use super::routes::Ruled;
use super::uplinks::Pending;
use super::{Core, Effect, Now, PublishId, PublishResult};
use crate::model::{DeviceId, MessageId};
use crate::rules::{Compiled, Delivery, Failed, Message, Outcome, Target};
use crate::sinks::Delivered;
use crate::store::account::Account;

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

/// What a device has said, for rules to look at.
pub(super) struct Said<'a> {
    pub(super) device: DeviceId,
    pub(super) message: MessageId,
    /// The topic, where the destination has none.
    pub(super) path: &'a [u8],
    pub(super) json: &'a [u8],
    pub(super) unix_ms: u64,
}

impl Core {
    /// Runs the rules over what a device has said; the rest is as in [`Core::run_rules`].
    pub(super) fn run_rules_over(
        &mut self,
        now: Now,
        ruled: &Ruled,
        said: &Said<'_>,
        pending: Pending,
    ) -> Ran {
        let (client_id, trace_id) = (said.device.to_string(), said.message.to_string());
        let path = String::from_utf8_lossy(said.path);
        let message = Message {
            topic: ruled.topic.as_deref().unwrap_or(&path),
            client_id: &client_id,
            account_id: &self.account_id(ruled.account),
            principal: None,
            trace_id: &trace_id,
            now_unix_ms: said.unix_ms,
            payload: said.json,
        };
        self.run_rules(now, ruled, &message, pending)
    }

    /// Runs the rules over a message and publishes what they make of it. `pending` is confirmed
    /// once everything is.
    fn run_rules(
        &mut self,
        now: Now,
        ruled: &Ruled,
        message: &Message<'_>,
        pending: Pending,
    ) -> Ran {
        let (mut deliveries, mut runs) = (Vec::new(), Vec::new());
        if let Some(topic) = &ruled.topic {
            let target = Target::Topic(topic.clone());
            deliveries.push((Part::Publish, Delivery { target, payload: None }));
        }
        for rule in &ruled.rules {
            let Outcome { deliveries: more, failures, is_unhandled } = rule.run(message);
            for failed in &failures {
                self.note_failure(rule, failed);
            }
            // A topic of its own has the message; without one, refusing it is what loses nothing.
            if is_unhandled && ruled.topic.is_none() {
                return Ran::Failed;
            }
            let has_error_message = !failures.is_empty() && !is_unhandled;
            let actions = more.len() - usize::from(has_error_message);
            let at = runs.len();
            let of = |index: usize, target: &Target| match target {
                Target::Topic(_) => Part::Publish,
                Target::Sink(..) if index < actions => Part::Action(at),
                Target::Sink(..) => Part::ErrorAction(at),
            };
            let more = more.into_iter().enumerate();
            let more: Vec<_> =
                more.map(|(index, delivery)| (of(index, &delivery.target), delivery)).collect();
            if more.iter().any(|(part, _)| *part != Part::Publish) {
                let left = more.iter().filter(|(part, _)| *part == Part::Action(at)).count();
                let is_beside = ruled.topic.is_some();
                runs.push(Run::new(rule, left, message, is_beside));
            }
            deliveries.extend(more);
        }
        if deliveries.is_empty() {
            return Ran::Filtered;
        }
        let due_ms = now.ms + self.limits.publish_timeout_ms;
        let parts: Vec<Part> = deliveries.iter().map(|(part, _)| *part).collect();
        let ids = self.uplinks.begin_all(due_ms, pending, &parts, (ruled.account, runs));
        for (id, (_, delivery)) in ids.into_iter().zip(deliveries) {
            self.send_out(id, ruled.account, delivery, message.payload);
        }
        Ran::Publishing
    }

    fn send_out(&mut self, id: PublishId, account: Account, delivery: Delivery, message: &[u8]) {
        let payload = delivery.payload.unwrap_or_else(|| message.to_vec());
        self.out.push(match delivery.target {
            Target::Topic(topic) => Effect::Publish { id, account, topic, payload },
            Target::Sink(lane, sink) => Effect::Deliver { id, account, lane, sink, payload },
        });
    }

    /// What became of a delivery by a sink. An id that is not pending is of the past, and ignored.
    pub fn on_delivered(&mut self, now: Now, id: PublishId, delivered: Delivered) {
        let ended = match delivered {
            Delivered::Confirmed => Ended::Published(PublishResult::Confirmed),
            Delivered::Busy => Ended::Published(PublishResult::Unavailable),
            Delivered::Failed(failed) => Ended::Failed(failed),
        };
        self.on_ended(now, id, ended);
    }

    /// A part of a group has ended: what the group was for, once it is over.
    pub(super) fn end_part(
        &mut self,
        now: Now,
        first: PublishId,
        part: Part,
        ended: Ended,
    ) -> Option<(Pending, PublishResult)> {
        let rule = self.uplinks.groups.get(&first)?.rule(part).cloned();
        if let (Ended::Failed(failed), Some(rule)) = (&ended, &rule) {
            self.note_failure(rule, failed);
        }
        let group = self.uplinks.groups.get_mut(&first)?;
        let account = group.account();
        if let Some(delivery) = group.end(part, ended) {
            let part = match (part, &delivery.target) {
                (Part::Action(run), Target::Sink(..)) => Part::ErrorAction(run),
                _ => Part::Publish,
            };
            let due_ms = now.ms + self.limits.publish_timeout_ms;
            let id = self.uplinks.begin(due_ms, Pending::Part(first, part));
            self.send_out(id, account, delivery, &[]);
            return None;
        }
        if !group.is_over() {
            return None;
        }
        self.uplinks.groups.remove(&first).map(super::group::Group::into_result)
    }

    fn note_failure(&mut self, rule: &Arc<Compiled>, failed: &Failed) {
        self.counts.rules_failed += 1;
        if let Some(count) = rule.count_failure() {
            let (rule, action, why) = (rule.name(), failed.action, &failed.message);
            tracing::warn!(rule, count, action, why, "a rule failed");
        }
    }

    /// The root account, as its rules know it.
    pub fn set_account(&mut self, account_id: &str) {
        self.account_id = account_id.into();
    }
}
