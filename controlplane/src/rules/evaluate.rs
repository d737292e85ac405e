//! What does an expression come to? A walk over the compiled form, over borrowed values.
//!
//! *Bound:* every step and every byte that is made takes from [`WORK_MAX`]; the longest text is
//! [`TEXT_BYTES_MAX`]. *Why:* nested SELECTs over one another multiply, and the core waits for us.

use std::borrow::Cow;
use std::cell::{Cell, OnceCell};

use super::program::{Call, Case, Column, Expression, Operator, Projection, Statement, Type};
use super::value::Value;
use super::{Message, SqlVersion, functions, json, number};

/// Steps of one rule for one message; a copied value or 32 bytes of text count as one.
const WORK_MAX: u32 = 100_000;
/// Longest text or payload that a rule makes, bytes; AWS IoT's longest message.
pub(in crate::rules) const TEXT_BYTES_MAX: usize = 128 << 10;

/// Why nothing came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Failure {
    TooMuchWork,
    TooLong,
    NotAnObject,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::TooMuchWork => "The statement takes too many steps for this message.",
            Self::TooLong => "The statement makes a value of more than 128 KiB.",
            Self::NotAnObject => "The payload is not a JSON object: nothing can be added to it.",
        })
    }
}

/// One message, and what evaluating has used up.
pub(in crate::rules) struct Scene<'a> {
    pub(in crate::rules) message: &'a Message<'a>,
    pub(in crate::rules) version: SqlVersion,
    pub(in crate::rules) rule: &'a str,
    payload: OnceCell<Value>,
    work: Cell<u32>,
    /// How often something random was asked for.
    pub(in crate::rules) draws: Cell<u32>,
}

/// What names mean: the payload, or an item of a nested SELECT's array.
#[derive(Clone, Copy)]
pub(in crate::rules) enum Scope<'a> {
    Payload,
    Item(&'a Value),
}

type Found<'a> = Result<Cow<'a, Value>, Failure>;

impl<'a> Scene<'a> {
    pub(in crate::rules) fn new(
        message: &'a Message<'a>,
        version: SqlVersion,
        rule: &'a str,
    ) -> Self {
        let (payload, work, draws) = (OnceCell::new(), Cell::new(0), Cell::new(0));
        Self { message, version, rule, payload, work, draws }
    }

    /// The payload, read when it is first asked for; Undefined when it is no JSON.
    pub(in crate::rules) fn payload(&self) -> &Value {
        self.payload.get_or_init(|| self.read(self.message.payload).into())
    }

    /// Reads JSON as this version of the language does.
    pub(in crate::rules) fn read(&self, text: &[u8]) -> Option<Value> {
        json::read(text, self.version.whole_is_int())
    }

    pub(in crate::rules) fn spend(&self, steps: usize) -> Result<(), Failure> {
        let spent = self.work.get().saturating_add(u32::try_from(steps).unwrap_or(u32::MAX));
        self.work.set(spent);
        if spent > WORK_MAX { Err(Failure::TooMuchWork) } else { Ok(()) }
    }

    /// Room for this much text?
    pub(in crate::rules) fn spend_text(&self, bytes: usize) -> Result<(), Failure> {
        if bytes > TEXT_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        self.spend(1 + bytes / 32)
    }

    pub(in crate::rules) fn text(&self, text: String) -> Result<Value, Failure> {
        self.spend_text(text.len())?;
        Ok(Value::String(text))
    }

    /// A value of its own; a copy is paid for.
    pub(in crate::rules) fn own(&self, value: Cow<'_, Value>) -> Result<Value, Failure> {
        if let Cow::Borrowed(value) = value {
            self.pay_copy(value)?;
        }
        Ok(value.into_owned())
    }

    fn pay_copy(&self, value: &Value) -> Result<(), Failure> {
        match value {
            Value::String(text) => self.spend(1 + text.len() / 32),
            Value::Array(items) => {
                self.spend(1)?;
                items.iter().try_for_each(|item| self.pay_copy(item))
            }
            Value::Object(members) => {
                self.spend(1)?;
                members.iter().try_for_each(|(_, value)| self.pay_copy(value))
            }
            _ => self.spend(1),
        }
    }
}

/// Is the condition true? Without one it is.
pub(in crate::rules) fn holds(
    condition: Option<&Expression>,
    scene: &Scene<'_>,
    scope: Scope<'_>,
) -> Result<bool, Failure> {
    let Some(condition) = condition else { return Ok(true) };
    Ok(evaluate(condition, scene, scope)?.to_boolean() == Some(true))
}

/// What is selected of a scope.
pub(in crate::rules) fn project(
    projection: &Projection,
    scene: &Scene<'_>,
    scope: Scope<'_>,
) -> Result<Value, Failure> {
    match projection {
        Projection::Whole => scene.own(Cow::Borrowed(whole(scene, scope))),
        Projection::Value(value) => scene.own(evaluate(value, scene, scope)?),
        Projection::Columns(columns) => {
            let mut selected = Value::Object(Vec::new());
            for column in columns {
                match column {
                    Column::Whole => add_whole(&mut selected, scene, scope)?,
                    Column::Named(path, value) => {
                        match scene.own(evaluate(value, scene, scope)?)? {
                            Value::Undefined => {}
                            value => selected.set(path, value),
                        }
                    }
                }
            }
            Ok(selected)
        }
    }
}

fn add_whole(selected: &mut Value, scene: &Scene<'_>, scope: Scope<'_>) -> Result<(), Failure> {
    let all = whole(scene, scope);
    let is_empty = matches!(scope, Scope::Payload) && scene.message.payload.is_empty();
    let Value::Object(members) = all else {
        return if is_empty { Ok(()) } else { Err(Failure::NotAnObject) };
    };
    scene.pay_copy(all)?;
    match selected {
        Value::Object(so_far) if so_far.is_empty() => so_far.clone_from(members),
        selected => {
            scene.spend(members.len() * members.len() / 64)?;
            for (name, value) in members {
                selected.set(&[name.as_str().into()], value.clone());
            }
        }
    }
    Ok(())
}

fn whole<'a>(scene: &'a Scene<'_>, scope: Scope<'a>) -> &'a Value {
    match scope {
        Scope::Payload => scene.payload(),
        Scope::Item(item) => item,
    }
}

/// What an expression comes to.
pub(in crate::rules) fn evaluate<'a>(
    expression: &'a Expression,
    scene: &'a Scene<'_>,
    scope: Scope<'a>,
) -> Found<'a> {
    scene.spend(1)?;
    let value = match expression {
        Expression::Literal(decimal @ Value::Decimal(_)) => decimal.clone(),
        Expression::Literal(value) => return Ok(Cow::Borrowed(value)),
        Expression::Whole => return Ok(Cow::Borrowed(whole(scene, scope))),
        Expression::Member(path) => {
            return Ok(Cow::Borrowed(descend(whole(scene, scope), path)));
        }
        Expression::Field(root, path) => {
            return Ok(match evaluate(root, scene, scope)? {
                Cow::Borrowed(root) => Cow::Borrowed(descend(root, path)),
                Cow::Owned(root) => Cow::Owned(scene.own(Cow::Borrowed(descend(&root, path)))?),
            });
        }
        Expression::Case(case) => return evaluate_case(case, scene, scope),
        Expression::Not(inner) => {
            evaluate(inner, scene, scope)?.to_boolean().map(|is| Value::Boolean(!is)).into()
        }
        Expression::Negate(inner) => {
            let inner = evaluate(inner, scene, scope)?;
            inner.to_number().map(|number| number::negate(&number)).into()
        }
        Expression::Binary(operator, sides) => {
            let left = evaluate(&sides.0, scene, scope)?;
            let right = evaluate(&sides.1, scene, scope)?;
            operate(*operator, &left, &right, scene)?
        }
        Expression::Cast(inner, to) => {
            let value = evaluate(inner, scene, scope)?;
            cast(&value, *to, scene)?
        }
        Expression::Call(call) => evaluate_call(call, scene, scope)?,
        Expression::Array(items) => {
            let items = items.iter().map(|item| scene.own(evaluate(item, scene, scope)?));
            Value::Array(items.collect::<Result<_, _>>()?)
        }
        Expression::Object(members) => {
            let mut object = Value::Object(Vec::new());
            for (name, value) in members {
                let value = scene.own(evaluate(value, scene, scope)?)?;
                object.set(std::slice::from_ref(name), value);
            }
            object
        }
        Expression::Select(statement) => select(statement, scene, scope)?,
    };
    Ok(Cow::Owned(if scene.version.whole_is_int() { number::whole(value) } else { value }))
}

fn descend<'a>(value: &'a Value, path: &[Box<str>]) -> &'a Value {
    path.iter().fold(value, |value, name| value.member(name))
}

fn evaluate_case<'a>(case: &'a Case, scene: &'a Scene<'_>, scope: Scope<'a>) -> Found<'a> {
    const UNDEFINED: &Value = &Value::Undefined;
    let subject = match &case.subject {
        Some(subject) => Some(evaluate(subject, scene, scope)?),
        None => None,
    };
    if subject.as_deref() == Some(UNDEFINED) {
        return Ok(Cow::Borrowed(UNDEFINED));
    }
    for (when, then) in &case.arms {
        let when = evaluate(when, scene, scope)?;
        let is_it = match &subject {
            Some(subject) => subject.equals(&when),
            None => when.to_boolean(),
        };
        if is_it == Some(true) {
            return evaluate(then, scene, scope);
        }
    }
    match &case.otherwise {
        Some(otherwise) => evaluate(otherwise, scene, scope),
        None => Ok(Cow::Borrowed(UNDEFINED)),
    }
}

fn evaluate_call(call: &Call, scene: &Scene<'_>, scope: Scope<'_>) -> Result<Value, Failure> {
    let function = call.function;
    if !function.arguments.contains(&call.arguments.len()) {
        return Ok(Value::Undefined);
    }
    if function.takes_bytes
        && let (Some(Expression::Whole), Scope::Payload) = (call.arguments.first(), scope)
    {
        return functions::encode_payload(scene);
    }
    let values = call.arguments.iter().map(|argument| evaluate(argument, scene, scope));
    let values = values.collect::<Result<Vec<_>, _>>()?;
    (function.run)(scene, &functions::Given { values: &values, pattern: call.pattern.as_ref() })
}

/// Over an array: an array of what its items come to. Over an object: what it comes to.
fn select(
    statement: &Statement<Expression>,
    scene: &Scene<'_>,
    scope: Scope<'_>,
) -> Result<Value, Failure> {
    let from = evaluate(&statement.from, scene, scope)?;
    let one = |item: &Value| {
        let scope = Scope::Item(item);
        if holds(statement.condition.as_ref(), scene, scope)? {
            project(&statement.projection, scene, scope)
        } else {
            Ok(Value::Undefined)
        }
    };
    match &*from {
        Value::Array(items) => {
            let mut selected = Vec::new();
            for item in items {
                match one(item)? {
                    Value::Undefined => {}
                    value => selected.push(value),
                }
            }
            Ok(Value::Array(selected))
        }
        object @ Value::Object(_) => one(object),
        _ => Ok(Value::Undefined),
    }
}

fn operate(
    operator: Operator,
    left: &Value,
    right: &Value,
    scene: &Scene<'_>,
) -> Result<Value, Failure> {
    let compare = |is: fn(std::cmp::Ordering) -> bool| {
        let (left, right) = (left.to_number()?, right.to_number()?);
        number::compare(&left, &right).map(|order| Value::Boolean(is(order)))
    };
    let both = |is: fn(bool, bool) -> bool| {
        Some(Value::Boolean(is(left.to_boolean()?, right.to_boolean()?)))
    };
    Ok(match operator {
        Operator::And => both(|left, right| left && right).into(),
        Operator::Or => both(|left, right| left || right).into(),
        Operator::Equal => left.equals(right).map(Value::Boolean).into(),
        Operator::NotEqual => left.equals(right).map(|is| Value::Boolean(!is)).into(),
        Operator::Less => compare(std::cmp::Ordering::is_lt).into(),
        Operator::LessOrEqual => compare(std::cmp::Ordering::is_le).into(),
        Operator::Greater => compare(std::cmp::Ordering::is_gt).into(),
        Operator::GreaterOrEqual => compare(std::cmp::Ordering::is_ge).into(),
        Operator::Plus if is_text(left) || is_text(right) => {
            let (Some(left), Some(right)) = (left.to_text(), right.to_text()) else {
                return Ok(Value::Undefined);
            };
            scene.spend_text(left.len() + right.len())?;
            Value::String(left.into_owned() + &right)
        }
        operator => match (left.to_number(), right.to_number()) {
            (Some(left), Some(right)) => number::calculate(operator, &left, &right),
            _ => Value::Undefined,
        },
    })
}

fn is_text(value: &Value) -> bool {
    matches!(value, Value::String(_))
}

/// The tables of `cast`.
fn cast(value: &Value, to: Type, scene: &Scene<'_>) -> Result<Value, Failure> {
    let number = || match value {
        Value::Boolean(is) => Some(Cow::Owned(Value::Int(i128::from(*is)))),
        other => other.to_number(),
    };
    Ok(match to {
        Type::String => match value.to_text() {
            Some(text) => scene.text(text.into_owned())?,
            None => Value::Undefined,
        },
        Type::Int => number().map(|number| functions::floor(&number)).into(),
        Type::Decimal => {
            number().and_then(|number| number::to_decimal(&number)).map(number::decimal).into()
        }
        Type::Boolean => match value {
            Value::Int(int) => Value::Boolean(*int != 0),
            Value::Decimal(_) => number::compare(value, &Value::Int(0))
                .map(|order| Value::Boolean(order.is_ne()))
                .into(),
            other => other.to_boolean().map(Value::Boolean).into(),
        },
    })
}
