//! How does AWS IoT SQL count? Ints and Decimals of 34 digits, 1E-999 to 9.99E999.
//!
//! *Bound:* a number is read from at most [`TEXT_BYTES_MAX`] bytes and is rounded to 34 digits
//! before anything is done with it, so no operation meets more than some two thousand digits.

use std::cmp::Ordering;
use std::str::FromStr as _;

use bigdecimal::num_bigint::BigInt;
use bigdecimal::{BigDecimal, RoundingMode, ToPrimitive as _, Zero as _};

use super::program::Operator;
use super::value::Value;

/// Most digits of a number.
pub(in crate::rules) const DIGITS_MAX: u64 = 34;
/// Largest and smallest power of ten.
const EXPONENT_MAX: i64 = 999;
/// Longest text of a number, bytes.
const TEXT_BYTES_MAX: usize = 1_100;
/// The largest Int.
const INT_MAX: i128 = 9_999_999_999_999_999_999_999_999_999_999_999;

/// An Int, or a Decimal when it has too many digits.
pub(in crate::rules) fn int(int: i128) -> Value {
    if int.unsigned_abs() <= INT_MAX.unsigned_abs() {
        return Value::Int(int);
    }
    decimal(BigDecimal::from(int))
}

/// A Decimal rounded to 34 digits; Undefined when it is too large or too small.
pub(in crate::rules) fn decimal(decimal: BigDecimal) -> Value {
    if decimal.is_zero() {
        return Value::Decimal(decimal);
    }
    let digits = decimal.digits();
    let rounded = if digits > DIGITS_MAX { decimal.with_prec(DIGITS_MAX) } else { decimal };
    let (_, scale) = rounded.as_bigint_and_exponent();
    let exponent = rounded.digits().cast_signed() - 1 - scale;
    if exponent.abs() > EXPONENT_MAX { Value::Undefined } else { Value::Decimal(rounded) }
}

/// A double as a Decimal; Undefined when it is none.
pub(in crate::rules) fn double(double: f64) -> Value {
    if !double.is_finite() {
        return Value::Undefined;
    }
    // The shortest text that reads as this double.
    BigDecimal::from_str(&format!("{double:?}")).map_or(Value::Undefined, decimal)
}

/// A number as JSON spells it.
pub(in crate::rules) fn parse(text: &str) -> Option<Value> {
    if text.len() > TEXT_BYTES_MAX {
        return None;
    }
    if let Ok(value) = i128::from_str(text)
        && value.unsigned_abs() <= INT_MAX.unsigned_abs()
    {
        return Some(Value::Int(value));
    }
    let (_, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    if exponent.parse::<i64>().ok()?.abs() > 2 * EXPONENT_MAX {
        return None;
    }
    match decimal(BigDecimal::from_str(text).ok()?) {
        Value::Undefined => None,
        value => Some(value),
    }
}

/// A Decimal as text, zero with its places.
pub(in crate::rules) fn text(decimal: &BigDecimal) -> String {
    let (_, places) = decimal.as_bigint_and_exponent();
    if decimal.is_zero() && places > 0 {
        return format!("0.{}", "0".repeat(places.min(DIGITS_MAX.cast_signed()) as usize));
    }
    decimal.to_string()
}

/// A string as a number: `^-?\d+(\.\d+)?((?i)E-?\d+)?$`.
pub(in crate::rules) fn parse_text(text: &str) -> Option<Value> {
    let digits = |text: &str| text.bytes().take_while(u8::is_ascii_digit).count();
    let mut rest = text.strip_prefix('-').unwrap_or(text);
    let whole = digits(rest);
    rest = &rest[whole..];
    let mut is_number = whole > 0;
    if let Some(fraction) = rest.strip_prefix('.') {
        is_number &= digits(fraction) > 0;
        rest = &fraction[digits(fraction)..];
    }
    if let Some(exponent) = rest.strip_prefix(['e', 'E']) {
        let exponent = exponent.strip_prefix('-').unwrap_or(exponent);
        is_number &= digits(exponent) > 0;
        rest = &exponent[digits(exponent)..];
    }
    if is_number && rest.is_empty() { parse(text) } else { None }
}

/// `10.0` is 10 from SQL version 2016-03-23 on.
pub(in crate::rules) fn whole(value: Value) -> Value {
    match value {
        Value::Decimal(decimal) if decimal.is_integer() => match to_i128(&decimal) {
            Some(int) if int.unsigned_abs() <= INT_MAX.unsigned_abs() => Value::Int(int),
            _ => Value::Decimal(decimal),
        },
        other => other,
    }
}

/// How two numbers stand; `None`: one is none.
pub(in crate::rules) fn compare(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Int(left), Value::Int(right)) => Some(left.cmp(right)),
        (left, right) => Some(to_decimal(left)?.cmp(&to_decimal(right)?)),
    }
}

/// `+ - * / %` of two numbers; Undefined by zero.
pub(in crate::rules) fn calculate(operator: Operator, left: &Value, right: &Value) -> Value {
    if let (Value::Int(left), Value::Int(right)) = (left, right) {
        let result = match operator {
            Operator::Plus => left.checked_add(*right),
            Operator::Minus => left.checked_sub(*right),
            Operator::Times => left.checked_mul(*right),
            Operator::Divide | Operator::Modulo if *right == 0 => return Value::Undefined,
            Operator::Divide => left.checked_div(*right),
            Operator::Modulo => left.checked_rem(*right),
            _ => return Value::Undefined,
        };
        if let Some(result) = result {
            return int(result);
        }
    }
    let (Some(left), Some(right)) = (to_decimal(left), to_decimal(right)) else {
        return Value::Undefined;
    };
    match operator {
        Operator::Plus => decimal(left + right),
        Operator::Minus => decimal(left - right),
        Operator::Times => decimal(left * right),
        Operator::Divide | Operator::Modulo if right.is_zero() => Value::Undefined,
        Operator::Divide => decimal(left / right),
        Operator::Modulo => decimal(left % right),
        _ => Value::Undefined,
    }
}

/// `-x`.
pub(in crate::rules) fn negate(value: &Value) -> Value {
    match value {
        Value::Int(value) => Value::Int(-value),
        Value::Decimal(value) => Value::Decimal(-value),
        _ => Value::Undefined,
    }
}

/// Rounded to `places`, as `mode` says; an Int when there are none.
pub(in crate::rules) fn round(value: &Value, places: i64, mode: RoundingMode) -> Value {
    match value {
        Value::Decimal(value) => {
            let rounded = value.with_scale_round(places, mode);
            if places == 0 { whole(decimal(rounded)) } else { decimal(rounded.normalized()) }
        }
        other => other.clone(),
    }
}

/// The nearest smaller integer; the largest or smallest there is when it does not fit.
pub(in crate::rules) fn floor_saturating(decimal: &BigDecimal) -> i128 {
    let floor = decimal.with_scale_round(0, RoundingMode::Floor);
    let end =
        if decimal.sign() == bigdecimal::num_bigint::Sign::Minus { i128::MIN } else { i128::MAX };
    to_i128(&floor).unwrap_or(end)
}

/// A number as a double.
pub(in crate::rules) fn to_f64(value: &Value) -> Option<f64> {
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Decimal(value) => value.to_f64(),
        _ => None,
    }
}

/// A number as a Decimal.
pub(in crate::rules) fn to_decimal(value: &Value) -> Option<BigDecimal> {
    match value {
        Value::Int(value) => Some(BigDecimal::from(*value)),
        Value::Decimal(value) => Some(value.clone()),
        _ => None,
    }
}

fn to_i128(decimal: &BigDecimal) -> Option<i128> {
    let (digits, _): (BigInt, i64) = decimal.with_scale(0).into_bigint_and_exponent();
    digits.to_i128()
}
