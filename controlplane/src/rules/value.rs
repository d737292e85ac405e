//! What can an expression be? AWS IoT SQL's types, and its conversions between them.

use std::borrow::Cow;

use bigdecimal::BigDecimal;

use super::number;

/// A value of AWS IoT SQL.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::rules) enum Value {
    /// No value: a missing member, a wrong type. Left out of what is written.
    Undefined,
    Null,
    Boolean(bool),
    /// At most 34 digits.
    Int(i128),
    /// At most 34 digits, 1E-999 to 9.99E999.
    Decimal(BigDecimal),
    String(String),
    Array(Vec<Value>),
    /// In the order they came; a name stands once.
    Object(Vec<(String, Value)>),
}

impl Value {
    pub(in crate::rules) fn text(text: impl Into<String>) -> Self {
        Self::String(text.into())
    }

    /// The member of an object; Undefined when there is none.
    pub(in crate::rules) fn member(&self, name: &str) -> &Self {
        const NONE: &Value = &Value::Undefined;
        let Self::Object(members) = self else { return NONE };
        members.iter().find(|(key, _)| key == name).map_or(NONE, |(_, value)| value)
    }

    /// As the table "To string" has it; `None` is Undefined.
    pub(in crate::rules) fn to_text(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::String(text) => Some(Cow::Borrowed(text)),
            Self::Null | Self::Undefined => None,
            other => {
                let mut written = Vec::new();
                super::json::write(other, &mut written);
                String::from_utf8(written).ok().map(Cow::Owned)
            }
        }
    }

    /// As the table "To decimal" has it: a number; `None` is Undefined.
    pub(in crate::rules) fn to_number(&self) -> Option<Cow<'_, Value>> {
        match self {
            Self::Int(_) | Self::Decimal(_) => Some(Cow::Borrowed(self)),
            Self::String(text) => number::parse_text(text).map(Cow::Owned),
            _ => None,
        }
    }

    /// As the table "To Boolean" has it; `None` is Undefined.
    pub(in crate::rules) fn to_boolean(&self) -> Option<bool> {
        match self {
            Self::Boolean(is) => Some(*is),
            Self::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Self::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }

    /// The nearest smaller integer, when it is one that fits; `None` is Undefined.
    pub(in crate::rules) fn to_index(&self) -> Option<i128> {
        match &*self.to_number()? {
            Self::Int(int) => Some(*int),
            Self::Decimal(decimal) => Some(number::floor_saturating(decimal)),
            _ => None,
        }
    }

    /// What `=` says; `None` is Undefined.
    pub(in crate::rules) fn equals(&self, other: &Self) -> Option<bool> {
        match (self, other) {
            (Self::Undefined, _) | (_, Self::Undefined) => None,
            (Self::Int(_) | Self::Decimal(_), Self::Int(_) | Self::Decimal(_)) => {
                Some(number::compare(self, other).is_some_and(std::cmp::Ordering::is_eq))
            }
            (Self::Array(ours), Self::Array(theirs)) => {
                let mut pairs = ours.iter().zip(theirs);
                let same = pairs.all(|(ours, theirs)| ours.equals(theirs) == Some(true));
                Some(ours.len() == theirs.len() && same)
            }
            (Self::Object(ours), Self::Object(theirs)) => {
                let same =
                    |(name, value): &(String, Self)| value.equals(other.member(name)) == Some(true);
                Some(ours.len() == theirs.len() && ours.iter().all(same))
            }
            (ours, theirs) => Some(ours == theirs),
        }
    }

    /// Sets a member of an object, and makes it one when it is none.
    pub(in crate::rules) fn set(&mut self, path: &[Box<str>], value: Self) {
        let Some((name, rest)) = path.split_first() else {
            *self = value;
            return;
        };
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(Vec::new());
        }
        let Self::Object(members) = self else { return };
        let at = members.iter().position(|(key, _)| **key == **name).unwrap_or_else(|| {
            members.push((name.to_string(), Self::Undefined));
            members.len() - 1
        });
        members[at].1.set(rest, value);
    }
}

impl From<Option<Value>> for Value {
    fn from(value: Option<Value>) -> Self {
        value.unwrap_or(Self::Undefined)
    }
}

impl From<bool> for Value {
    fn from(is: bool) -> Self {
        Self::Boolean(is)
    }
}
