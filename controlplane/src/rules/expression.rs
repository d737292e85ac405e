//! What does an expression mean? `sqlparser`'s tree into ours; what AWS lacks is refused.

use regex::{Regex, RegexBuilder};
use sqlparser::ast::{
    self, AccessExpr, BinaryOperator, Expr, FunctionArg, FunctionArgExpr, FunctionArguments,
    UnaryOperator,
};

use super::program::{Call, Case, Expression, Operator, Type};
use super::value::Value;
use super::{Fault, functions, number, parse};

/// Deepest tree. *Why:* evaluating it recurses.
pub(in crate::rules) const DEPTH_MAX: usize = 128;
/// Largest compiled pattern of a rule, bytes; `\w` alone takes some 30 KiB.
const PATTERN_BYTES_MAX: usize = 256 << 10;

pub(in crate::rules) fn too_deep() -> Fault {
    Fault::new(format!("an expression may be nested {DEPTH_MAX} deep"))
}

/// Compiles an expression that may be `depth` deep.
pub(in crate::rules) fn compile(expr: &Expr, depth: usize) -> Result<Expression, Fault> {
    let depth = depth.checked_sub(1).ok_or_else(too_deep)?;
    let boxed = |expr| compile(expr, depth).map(Box::new);
    Ok(match expr {
        Expr::Value(value) => literal(&value.value)?,
        // "…" is a string here.
        Expr::Identifier(name) if name.quote_style.is_some() => text(&name.value),
        Expr::Identifier(name) => Expression::Member([name.value.as_str().into()].into()),
        Expr::CompoundIdentifier(names) => {
            Expression::Member(names.iter().map(|name| name.value.as_str().into()).collect())
        }
        Expr::CompoundFieldAccess { root, access_chain } => {
            Expression::Field(boxed(root)?, fields(access_chain)?)
        }
        Expr::Nested(inner) => compile(inner, depth)?,
        Expr::UnaryOp { op: UnaryOperator::Not, expr } => Expression::Not(boxed(expr)?),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => Expression::Negate(boxed(expr)?),
        Expr::UnaryOp { op: UnaryOperator::Plus, expr } => compile(expr, depth)?,
        Expr::BinaryOp { left, op, right } => {
            let sides = (compile(left, depth)?, compile(right, depth)?);
            Expression::Binary(operator(op)?, Box::new(sides))
        }
        Expr::Case { operand, conditions, else_result, .. } => {
            let of = |expr: &Option<Box<Expr>>| {
                expr.as_ref().map(|expr| compile(expr, depth)).transpose()
            };
            let arms = conditions
                .iter()
                .map(|arm| Ok((compile(&arm.condition, depth)?, compile(&arm.result, depth)?)));
            let arms = arms.collect::<Result<_, Fault>>()?;
            let (subject, otherwise) = (of(operand)?, of(else_result)?);
            Expression::Case(Box::new(Case { subject, arms, otherwise }))
        }
        Expr::Cast { expr, data_type, format: None, .. } => {
            let name = data_type.to_string();
            let to = Type::named(&name);
            let to = to.ok_or_else(|| Fault::new(format!("cast knows no type {name}")))?;
            Expression::Cast(boxed(expr)?, to)
        }
        Expr::Function(function) => function_call(function, depth)?,
        Expr::Array(array) => Expression::Array(all(&array.elem, depth)?),
        Expr::Dictionary(members) => {
            let members = members.iter().map(|member| {
                Ok((member.key.value.as_str().into(), compile(&member.value, depth)?))
            });
            Expression::Object(members.collect::<Result<_, Fault>>()?)
        }
        Expr::Subquery(query) => Expression::Select(Box::new(parse::nested(query, depth)?)),
        other => return Err(Fault::new(format!("`{}` is not part of the language", short(other)))),
    })
}

fn all(exprs: &[Expr], depth: usize) -> Result<Vec<Expression>, Fault> {
    exprs.iter().map(|expr| compile(expr, depth)).collect()
}

fn text(text: &str) -> Expression {
    Expression::Literal(Value::text(text))
}

fn short(expr: &Expr) -> String {
    expr.to_string().chars().take(60).collect()
}

fn literal(value: &ast::Value) -> Result<Expression, Fault> {
    let value = match value {
        ast::Value::Number(digits, false) => number::parse(digits)
            .ok_or_else(|| Fault::new("a number has at most 34 digits and 1E-999 to 9.99E999"))?,
        ast::Value::SingleQuotedString(text) | ast::Value::DoubleQuotedString(text) => {
            Value::text(text.as_str())
        }
        ast::Value::Boolean(is) => Value::Boolean(*is),
        ast::Value::Null => Value::Null,
        other => return Err(Fault::new(format!("`{other}` is no literal of the language"))),
    };
    Ok(Expression::Literal(value))
}

fn fields(chain: &[AccessExpr]) -> Result<Box<[Box<str>]>, Fault> {
    let names = chain.iter().map(|access| match access {
        AccessExpr::Dot(Expr::Identifier(name)) => Ok(name.value.as_str().into()),
        _ => Err(Fault::new("only names follow a dot; items are taken by get()")),
    });
    names.collect()
}

fn operator(operator: &BinaryOperator) -> Result<Operator, Fault> {
    Ok(match operator {
        BinaryOperator::And => Operator::And,
        BinaryOperator::Or => Operator::Or,
        BinaryOperator::Eq => Operator::Equal,
        BinaryOperator::NotEq => Operator::NotEqual,
        BinaryOperator::Lt => Operator::Less,
        BinaryOperator::LtEq => Operator::LessOrEqual,
        BinaryOperator::Gt => Operator::Greater,
        BinaryOperator::GtEq => Operator::GreaterOrEqual,
        BinaryOperator::Plus => Operator::Plus,
        BinaryOperator::Minus => Operator::Minus,
        BinaryOperator::Multiply => Operator::Times,
        BinaryOperator::Divide => Operator::Divide,
        BinaryOperator::Modulo => Operator::Modulo,
        other => {
            return Err(Fault::new(format!("the operator {other} is not part of the language")));
        }
    })
}

fn function_call(function: &ast::Function, depth: usize) -> Result<Expression, Fault> {
    let is_plain = function.filter.is_none()
        && function.over.is_none()
        && function.within_group.is_empty()
        && function.parameters == FunctionArguments::None;
    match &function.args {
        FunctionArguments::List(list)
            if is_plain && list.clauses.is_empty() && list.duplicate_treatment.is_none() =>
        {
            call(&function.name.to_string(), &list.args, depth)
        }
        _ => Err(Fault::new(format!("{} takes arguments and nothing else", function.name))),
    }
}

/// `name(arguments)`
pub(in crate::rules) fn call(
    name: &str,
    arguments: &[FunctionArg],
    depth: usize,
) -> Result<Expression, Fault> {
    let function = functions::named(name)?;
    let arguments = arguments.iter().map(|argument| match argument {
        FunctionArg::Unnamed(FunctionArgExpr::Expr(expr)) => compile(expr, depth),
        FunctionArg::Unnamed(FunctionArgExpr::Wildcard) => Ok(Expression::Whole),
        _ => Err(Fault::new(format!("{name} takes no arguments of this kind"))),
    });
    let arguments: Vec<_> = arguments.collect::<Result<_, _>>()?;
    let pattern = match arguments.get(1) {
        Some(Expression::Literal(literal)) if function.takes_pattern => {
            literal.to_text().map(|text| pattern(&text, PATTERN_BYTES_MAX)).transpose()?
        }
        _ => None,
    };
    Ok(Expression::Call(Box::new(Call { function, arguments, pattern })))
}

/// *Bound:* the compiled size; matching takes time linear in the text.
pub(in crate::rules) fn pattern(text: &str, bytes_max: usize) -> Result<Regex, Fault> {
    let built = RegexBuilder::new(text)
        .size_limit(bytes_max)
        .dfa_size_limit(4 * bytes_max)
        .nest_limit(32)
        .build();
    built.map_err(|error| Fault::new(format!("a pattern that can't be used: {error}")))
}
