//! What does a text with `${…}` come to? Each expression sees the message as it came, not what the
//! statement selects.

use super::evaluate::{Failure, Scene, Scope, evaluate};
use super::program::Expression;
use super::{Fault, parse};

/// A text with expressions in it.
#[derive(Clone, Debug)]
pub(in crate::rules) struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, Debug)]
enum Part {
    Text(Box<str>),
    Expression(Expression),
}

/// Most expressions in one text.
const EXPRESSIONS_MAX: usize = 32;

impl Template {
    pub(in crate::rules) fn parse(text: &str) -> Result<Self, Fault> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let inner = &rest[start + 2..];
            let end = end(inner).ok_or_else(|| Fault::new("a ${ is not closed"))?;
            if start > 0 {
                parts.push(Part::Text(rest[..start].into()));
            }
            parts.push(Part::Expression(parse::expression(&inner[..end])?));
            if parts.len() > 2 * EXPRESSIONS_MAX {
                return Err(Fault::new(format!("a text may have {EXPRESSIONS_MAX} templates")));
            }
            rest = &inner[end + 1..];
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self { parts })
    }

    /// The text when it has no expression.
    pub(in crate::rules) fn plain(&self) -> Option<&str> {
        match self.parts.as_slice() {
            [] => Some(""),
            [Part::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// `None`: an expression is Undefined or Null.
    pub(in crate::rules) fn fill(&self, scene: &Scene<'_>) -> Result<Option<String>, Failure> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Expression(expression) => {
                    let value = evaluate(expression, scene, Scope::Payload)?;
                    let Some(text) = value.to_text() else { return Ok(None) };
                    scene.spend_text(filled.len() + text.len())?;
                    filled.push_str(&text);
                }
            }
        }
        Ok(Some(filled))
    }
}

/// Where the `}` is that closes the expression: not in a string, not of an object.
fn end(text: &str) -> Option<usize> {
    let (mut quote, mut depth) = (None, 0);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), c) if open == c => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None, '{') => depth += 1,
            (None, '}') if depth == 0 => return Some(at),
            (None, '}') => depth -= 1,
            _ => {}
        }
    }
    None
}
