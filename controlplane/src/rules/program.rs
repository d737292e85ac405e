//! What is a statement once it is compiled? Our own form: names, functions and patterns are
//! resolved, so that evaluating looks nothing up.

use regex::Regex;

use super::functions::Function;
use super::value::Value;

/// One `SELECT … FROM … WHERE …`.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Statement<From> {
    pub(in crate::rules) projection: Projection,
    pub(in crate::rules) from: From,
    pub(in crate::rules) condition: Option<Expression>,
}

/// What is selected.
#[derive(Clone, Debug)]
pub(in crate::rules) enum Projection {
    /// `*` and nothing else.
    Whole,
    /// `VALUE x`.
    Value(Expression),
    /// `x, y AS z`, in order.
    Columns(Vec<Column>),
}

/// One item of a list of columns.
#[derive(Clone, Debug)]
pub(in crate::rules) enum Column {
    /// `*` beside others.
    Whole,
    /// Written under this path of names.
    Named(Box<[Box<str>]>, Expression),
}

/// An expression.
#[derive(Clone, Debug)]
pub(in crate::rules) enum Expression {
    Literal(Value),
    /// `*` as an argument.
    Whole,
    /// `a.b.c`
    Member(Box<[Box<str>]>),
    /// `get(…).b`
    Field(Box<Expression>, Box<[Box<str>]>),
    Not(Box<Expression>),
    Negate(Box<Expression>),
    Binary(Operator, Box<(Expression, Expression)>),
    Case(Box<Case>),
    Cast(Box<Expression>, Type),
    Call(Box<Call>),
    Array(Vec<Expression>),
    Object(Vec<(Box<str>, Expression)>),
    /// `(SELECT … FROM expression …)`
    Select(Box<Statement<Expression>>),
}

/// `CASE subject WHEN … THEN … ELSE … END`; without a subject each WHEN is a condition.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Case {
    pub(in crate::rules) subject: Option<Expression>,
    pub(in crate::rules) arms: Vec<(Expression, Expression)>,
    pub(in crate::rules) otherwise: Option<Expression>,
}

/// A call of a function.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Call {
    pub(in crate::rules) function: &'static Function,
    pub(in crate::rules) arguments: Vec<Expression>,
    /// The second argument of a `regexp_…`, when it is a literal.
    pub(in crate::rules) pattern: Option<Regex>,
}

/// An operator between two expressions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Operator {
    And,
    Or,
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    Plus,
    Minus,
    Times,
    Divide,
    Modulo,
}

/// What `cast` makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rules) enum Type {
    String,
    Int,
    Decimal,
    Boolean,
}

impl Type {
    pub(in crate::rules) fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "string" | "nvarchar" | "text" | "ntext" | "varchar" => Self::String,
            "int" | "integer" => Self::Int,
            "decimal" | "double" => Self::Decimal,
            "bool" | "boolean" => Self::Boolean,
            _ => return None,
        })
    }
}
