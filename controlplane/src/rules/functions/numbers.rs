//! How is calculated? Rounding, bits and the elementary functions.

use bigdecimal::RoundingMode;

use super::{Function, Given, Outcome, function};
use crate::rules::evaluate::Scene;
use crate::rules::number::{self, DIGITS_MAX};
use crate::rules::program::Operator;
use crate::rules::value::Value;

pub(super) const FUNCTIONS: &[Function] = &[
    function("abs", 1..=1, abs),
    function("acos", 1..=1, |_, given| double(given, f64::acos)),
    function("asin", 1..=1, |_, given| double(given, f64::asin)),
    function("atan", 1..=1, |_, given| double(given, f64::atan)),
    function("atan2", 2..=2, |_, given| doubles(given, f64::atan2)),
    function("bitand", 2..=2, |_, given| bits(given, |left, right| left & right)),
    function("bitnot", 1..=1, bitnot),
    function("bitor", 2..=2, |_, given| bits(given, |left, right| left | right)),
    function("bitxor", 2..=2, |_, given| bits(given, |left, right| left ^ right)),
    function("ceil", 1..=1, |_, given| rounded(given, RoundingMode::Ceiling)),
    function("cos", 1..=1, |_, given| double(given, f64::cos)),
    function("cosh", 1..=1, |_, given| double(given, f64::cosh)),
    function("exp", 1..=1, |_, given| double(given, f64::exp)),
    function("floor", 1..=1, |_, given| rounded(given, RoundingMode::Floor)),
    function("ln", 1..=1, |_, given| double(given, f64::ln)),
    function("log", 1..=1, |_, given| double(given, f64::log10)),
    function("mod", 2..=2, remainder),
    function("nanvl", 2..=2, nanvl),
    function("power", 2..=2, |_, given| doubles(given, f64::powf)),
    function("remainder", 2..=2, remainder),
    function("round", 1..=1, |_, given| rounded(given, RoundingMode::HalfUp)),
    function("sign", 1..=1, sign),
    function("sin", 1..=1, |_, given| double(given, f64::sin)),
    function("sinh", 1..=1, |_, given| double(given, f64::sinh)),
    function("sqrt", 1..=1, |_, given| double(given, f64::sqrt)),
    function("tan", 1..=1, |_, given| double(given, f64::tan)),
    function("tanh", 1..=1, |_, given| double(given, f64::tanh)),
    function("trunc", 2..=2, trunc),
];

/// The nearest smaller Int.
pub(in crate::rules) fn floor(value: &Value) -> Value {
    number::round(value, 0, RoundingMode::Floor)
}

fn double(given: &Given<'_>, of: fn(f64) -> f64) -> Outcome {
    let number = given.value(0).to_number();
    Ok(number.and_then(|number| number::to_f64(&number)).map(|x| number::double(of(x))).into())
}

fn doubles(given: &Given<'_>, of: fn(f64, f64) -> f64) -> Outcome {
    let at = |at| number::to_f64(&*given.value(at).to_number()?);
    let both = at(0).zip(at(1));
    Ok(both.map(|(left, right)| number::double(of(left, right))).into())
}

fn abs(_: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let abs = |number: &Value| match number {
        Value::Int(int) => Value::Int(int.abs()),
        Value::Decimal(decimal) => Value::Decimal(decimal.abs()),
        _ => Value::Undefined,
    };
    Ok(given.value(0).to_number().map(|number| abs(&number)).into())
}

fn bits(given: &Given<'_>, of: fn(i128, i128) -> i128) -> Outcome {
    let both = given.index(0).zip(given.index(1));
    Ok(both.map(|(left, right)| number::int(of(left, right))).into())
}

fn bitnot(_: &Scene<'_>, given: &Given<'_>) -> Outcome {
    Ok(given.index(0).map(|bits| number::int(!bits)).into())
}

fn rounded(given: &Given<'_>, mode: RoundingMode) -> Outcome {
    Ok(given.value(0).to_number().map(|number| number::round(&number, 0, mode)).into())
}

fn trunc(_: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let places = match given.value(1) {
        Value::Int(_) | Value::Decimal(_) => given.index(1),
        _ => None,
    };
    let places = places.map(|places| places.clamp(0, i128::from(DIGITS_MAX)) as i64);
    let number = given.value(0).to_number();
    let both = number.zip(places);
    Ok(both.map(|(number, places)| number::round(&number, places, RoundingMode::Down)).into())
}

fn remainder(_: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let both = given.value(0).to_number().zip(given.value(1).to_number());
    Ok(both.map(|(left, right)| number::calculate(Operator::Modulo, &left, &right)).into())
}

fn sign(_: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let number = given.value(0).to_number();
    let order = number.and_then(|number| number::compare(&number, &Value::Int(0)));
    Ok(order.map(|order| Value::Int(order as i128)).into())
}

fn nanvl(scene: &Scene<'_>, given: &Given<'_>) -> Outcome {
    let first = given.value(0);
    let is_none = matches!(first, Value::Undefined | Value::Null);
    scene.own(std::borrow::Cow::Borrowed(if is_none { given.value(1) } else { first }))
}
