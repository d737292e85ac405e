//! How are texts hashed? The lower-case hex of MD5, SHA-1 and the SHA-2s.

use super::{Function, Given, Outcome, function};
use crate::rules::evaluate::Scene;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("md5", 1..=1, hash::<md5::Md5>),
    function("sha1", 1..=1, hash::<sha1::Sha1>),
    function("sha224", 1..=1, hash::<sha2::Sha224>),
    function("sha256", 1..=1, hash::<sha2::Sha256>),
    function("sha384", 1..=1, hash::<sha2::Sha384>),
    function("sha512", 1..=1, hash::<sha2::Sha512>),
];

fn hash<D: sha2::Digest>(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let Some(text) = given.text(0) else { return Ok(Value::Undefined) };
    scene.spend(text.len() / 32)?;
    scene.text(hex::encode(D::digest(text.as_bytes())))
}
