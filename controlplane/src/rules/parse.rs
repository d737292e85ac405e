//! What does a statement say? SQL text, by `sqlparser`, into the compiled form; once per change.

use sqlparser::ast::{self, Expr, SelectItem, SetExpr, TableFactor};
use sqlparser::dialect::GenericDialect;
use sqlparser::parser::Parser;
use sqlparser::tokenizer::{Span, Token, TokenWithSpan};

use super::program::{Column, Expression, Projection, Statement};
use super::tokens::{self, PATH_QUOTE};
use super::{Fault, expression};

/// Deepest nesting that the parser takes.
const RECURSION_MAX: usize = 28;

/// A whole statement; its FROM is a topic filter, if it has one.
pub(in crate::rules) fn statement(sql: &str) -> Result<Statement<Option<String>>, Fault> {
    let mut parser = parser(tokens::tokens(sql)?);
    let query = parser.parse_query().map_err(fault)?;
    end(&mut parser)?;
    let (select, from) = parts(&query)?;
    let from = from.map(topic_filter).transpose()?;
    clauses(select, from)
}

/// One expression: what stands in `${…}`.
pub(in crate::rules) fn expression(text: &str) -> Result<Expression, Fault> {
    let mut parser = parser(tokens::tokens(text)?);
    let parsed = parser.parse_expr().map_err(fault)?;
    end(&mut parser)?;
    expression::compile(&parsed, expression::DEPTH_MAX)
}

/// A SELECT inside an expression: its FROM is an expression too.
pub(in crate::rules) fn nested(
    query: &ast::Query,
    depth: usize,
) -> Result<Statement<Expression>, Fault> {
    let (select, from) = parts(query)?;
    let from = from.ok_or_else(|| Fault::new("a nested SELECT needs its FROM"))?;
    clauses(select, source(from, depth)?)
}

fn parser(mut tokens: Vec<TokenWithSpan>) -> Parser<'static> {
    const DIALECT: GenericDialect = GenericDialect {};
    tokens.push(TokenWithSpan { token: Token::EOF, span: Span::empty() });
    Parser::new(&DIALECT).with_recursion_limit(RECURSION_MAX).with_tokens_with_locations(tokens)
}

fn end(parser: &mut Parser<'_>) -> Result<(), Fault> {
    let next = parser.peek_token();
    if next.token == Token::EOF {
        return Ok(());
    }
    Err(Fault::new(format!("unexpected {}{}", next.token, next.span.start)))
}

fn fault(error: sqlparser::parser::ParserError) -> Fault {
    Fault::new(error.to_string())
}

/// The one SELECT of a query and what stands in its FROM; refuses everything else SQL has.
fn parts(query: &ast::Query) -> Result<(&ast::Select, Option<&TableFactor>), Fault> {
    let SetExpr::Select(select) = &*query.body else {
        return Err(Fault::new("a statement is SELECT … FROM … WHERE …"));
    };
    let from = match select.from.as_slice() {
        [] => None,
        [only] if only.joins.is_empty() => Some(&only.relation),
        _ => return Err(Fault::new("FROM names one thing, without joins")),
    };
    Ok((select, from))
}

fn clauses<From>(select: &ast::Select, from: From) -> Result<Statement<From>, Fault> {
    let is_value = select.distinct.is_some();
    let projection = projection(&select.projection, is_value)?;
    let compile = |selection| expression::compile(selection, expression::DEPTH_MAX);
    let condition = select.selection.as_ref().map(compile).transpose()?;
    Ok(Statement { projection, from, condition })
}

fn projection(items: &[SelectItem], is_value: bool) -> Result<Projection, Fault> {
    let compile = |value| expression::compile(value, expression::DEPTH_MAX);
    match items {
        [SelectItem::Wildcard(_)] => Ok(Projection::Whole),
        [SelectItem::UnnamedExpr(value)] if is_value => compile(value).map(Projection::Value),
        _ if is_value => Err(Fault::new("SELECT VALUE takes one expression without an alias")),
        items => {
            let columns = items.iter().map(|item| match item {
                SelectItem::Wildcard(_) => Ok(Column::Whole),
                SelectItem::UnnamedExpr(value) => {
                    Ok(Column::Named([name_of(value)].into(), compile(value)?))
                }
                SelectItem::ExprWithAlias { expr, alias } => {
                    Ok(Column::Named(path_of(alias)?, compile(expr)?))
                }
                _ => Err(Fault::new("this kind of column is not part of the language")),
            });
            columns.collect::<Result<_, _>>().map(Projection::Columns)
        }
    }
}

/// Under which name a column without an alias is written: the last name of a path, else its text.
fn name_of(value: &Expr) -> Box<str> {
    match value {
        Expr::Identifier(name) => name.value.as_str().into(),
        Expr::CompoundIdentifier(names) => {
            names.last().map(|name| name.value.as_str()).unwrap_or_default().into()
        }
        Expr::CompoundFieldAccess { access_chain, .. } => match access_chain.last() {
            Some(ast::AccessExpr::Dot(Expr::Identifier(name))) => name.value.as_str().into(),
            _ => value.to_string().into(),
        },
        other => other.to_string().into(),
    }
}

fn path_of(alias: &ast::Ident) -> Result<Box<[Box<str>]>, Fault> {
    if alias.quote_style != Some(PATH_QUOTE) {
        return Ok([alias.value.as_str().into()].into());
    }
    let names: Vec<&str> = alias.value.split('.').collect();
    if names.iter().any(|name| name.is_empty()) || names.len() > super::json::DEPTH_MAX / 2 {
        return Err(Fault::new("an alias is names with single dots between them"));
    }
    Ok(names.into_iter().map(Into::into).collect())
}

/// `'a/+/b'`
fn topic_filter(from: &TableFactor) -> Result<String, Fault> {
    let name = match from {
        TableFactor::Table { name, alias: None, args: None, .. } => name.0.as_slice(),
        _ => return Err(Fault::new("FROM takes a topic filter in quotes")),
    };
    match name {
        [ast::ObjectNamePart::Identifier(name)] if name.quote_style.is_some() => {
            Ok(name.value.clone())
        }
        _ => Err(Fault::new("FROM takes a topic filter in quotes")),
    }
}

/// What a nested SELECT looks at: a path, a call, or another SELECT.
fn source(from: &TableFactor, depth: usize) -> Result<Expression, Fault> {
    match from {
        TableFactor::Table { name, alias: None, args: None, .. } => {
            let names = name.0.iter().map(|part| match part {
                ast::ObjectNamePart::Identifier(name) if name.quote_style.is_none() => {
                    Ok(name.value.as_str().into())
                }
                _ => Err(Fault::new("a nested FROM takes names, a call or a SELECT")),
            });
            names.collect::<Result<_, _>>().map(Expression::Member)
        }
        TableFactor::Table { name, alias: None, args: Some(arguments), .. } => {
            expression::call(&name.to_string(), &arguments.args, depth)
        }
        TableFactor::Derived { subquery, alias: None, lateral: false, .. } => {
            let depth = depth.checked_sub(1).ok_or_else(expression::too_deep)?;
            Ok(Expression::Select(Box::new(nested(subquery, depth)?)))
        }
        _ => Err(Fault::new("a nested FROM takes names, a call or a SELECT")),
    }
}
