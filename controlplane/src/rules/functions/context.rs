//! What does a rule know beside the payload? Topic, sender, time, and what is random.
//!
//! What is random comes from the message's identity: a message that is read again after a restart
//! gives the same UUIDs, so a consumer can tell the copy.

use sha2::{Digest as _, Sha256};

use super::{Function, Given, Outcome, function};
use crate::rules::evaluate::Scene;
use crate::rules::number;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("accountid", 0..=0, |scene, _| Ok(Value::text(scene.message.account_id))),
    function("clientid", 0..=0, |scene, _| Ok(Value::text(scene.message.client_id))),
    function("newuuid", 0..=0, newuuid),
    function("principal", 0..=0, principal),
    function("rand", 0..=0, rand),
    function("sql_version", 0..=0, |scene, _| Ok(Value::text(scene.version.as_str()))),
    function("timestamp", 0..=0, |scene, _| Ok(number::int(i128::from(scene.message.now_unix_ms)))),
    function("topic", 0..=1, topic),
    function("traceid", 0..=0, |scene, _| Ok(Value::text(scene.message.trace_id))),
];

fn principal(scene: &Scene<'_>, _: &Given<'_>) -> Outcome {
    Ok(scene.message.principal.map(Value::text).into())
}

fn newuuid(scene: &Scene<'_>, _: &Given<'_>) -> Outcome {
    let bytes = uuid::Builder::from_random_bytes(draw(scene));
    Ok(Value::text(bytes.into_uuid().to_string()))
}

fn rand(scene: &Scene<'_>, _: &Given<'_>) -> Outcome {
    let drawn = u128::from_be_bytes(draw(scene)) >> (128 - f64::MANTISSA_DIGITS);
    Ok(number::double(drawn as f64 / (1u64 << f64::MANTISSA_DIGITS) as f64))
}

fn draw(scene: &Scene<'_>) -> [u8; 16] {
    let count = scene.draws.get();
    scene.draws.set(count + 1);
    let mut hash = Sha256::new();
    hash.update(scene.message.trace_id.as_bytes());
    hash.update(scene.rule.as_bytes());
    hash.update(count.to_be_bytes());
    let mut drawn = [0; 16];
    drawn.copy_from_slice(&hash.finalize()[..16]);
    drawn
}

fn topic(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let topic = scene.message.topic;
    if given.values.is_empty() {
        return scene.text(topic.to_owned());
    }
    let at = given.index(0).and_then(|at| usize::try_from(at).ok()?.checked_sub(1));
    Ok(at.and_then(|at| topic.split('/').nth(at)).map(Value::text).into())
}
