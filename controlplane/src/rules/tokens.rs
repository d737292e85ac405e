//! Which words does the parser see? Only AWS IoT SQL's keywords are keywords: a payload has members
//! named `user`, `interval` or `group`, and `floor(x)` is a call like any other.
//!
//! Two spellings that SQL does not have are brought into one it has: `SELECT VALUE x` is shown to
//! the parser as `SELECT DISTINCT x`, and the alias of `x AS a.b` as one quoted name.

use sqlparser::dialect::GenericDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer, Whitespace, Word};

use super::Fault;

/// Longest statement, bytes.
pub(in crate::rules) const SQL_BYTES_MAX: usize = 16 << 10;
/// Most tokens of one.
const TOKENS_MAX: usize = 4_096;
/// Most operators of one. *Why:* a chain of them is a tree as deep as it is long.
const OPERATORS_MAX: usize = 256;

/// The words of the language.
const KEYWORDS: [Keyword; 16] = [
    Keyword::SELECT,
    Keyword::FROM,
    Keyword::WHERE,
    Keyword::AS,
    Keyword::AND,
    Keyword::OR,
    Keyword::NOT,
    Keyword::CAST,
    Keyword::CASE,
    Keyword::WHEN,
    Keyword::THEN,
    Keyword::ELSE,
    Keyword::END,
    Keyword::NULL,
    Keyword::TRUE,
    Keyword::FALSE,
];

/// The quote of an alias that is a path; no text that comes in may have it.
pub(in crate::rules) const PATH_QUOTE: char = '`';

/// The tokens for the parser.
pub(in crate::rules) fn tokens(sql: &str) -> Result<Vec<TokenWithSpan>, Fault> {
    if sql.len() > SQL_BYTES_MAX {
        return Err(Fault::new(format!("a statement may have at most {SQL_BYTES_MAX} bytes")));
    }
    let read = Tokenizer::new(&GenericDialect {}, sql).with_unescape(true).tokenize_with_location();
    let mut tokens = read.map_err(|error| Fault::new(error.to_string()))?;
    check(&tokens)?;
    tokens.retain(|token| !matches!(token.token, Token::Whitespace(_)));
    for token in &mut tokens {
        if let Token::Word(word) = &mut token.token {
            *word = plain(word);
        }
    }
    values(&mut tokens);
    Ok(aliases(tokens))
}

fn check(tokens: &[TokenWithSpan]) -> Result<(), Fault> {
    if tokens.len() > TOKENS_MAX {
        return Err(Fault::new(format!("a statement may have at most {TOKENS_MAX} tokens")));
    }
    let mut operators = 0;
    for token in tokens {
        match &token.token {
            Token::Whitespace(
                Whitespace::SingleLineComment { .. } | Whitespace::MultiLineComment(_),
            ) => return Err(Fault::new("comments are not part of the language")),
            Token::Word(word) if word.quote_style == Some(PATH_QUOTE) => {
                return Err(Fault::new("` is no quote; a member's name goes into get()"));
            }
            Token::Word(word) if word.keyword == Keyword::DISTINCT => {
                return Err(Fault::new("DISTINCT is not part of the language"));
            }
            Token::Word(word) if matches!(word.keyword, Keyword::AND | Keyword::OR) => {
                operators += 1;
            }
            Token::Word(_)
            | Token::Number(..)
            | Token::SingleQuotedString(_)
            | Token::Whitespace(_)
            | Token::Comma
            | Token::LParen
            | Token::RParen => {}
            _ => operators += 1,
        }
    }
    if operators > OPERATORS_MAX {
        return Err(Fault::new(format!("a statement may have at most {OPERATORS_MAX} operators")));
    }
    Ok(())
}

/// The word with a keyword's meaning only where the language has that keyword.
fn plain(word: &Word) -> Word {
    let is_ours = KEYWORDS.contains(&word.keyword);
    let keyword = if is_ours { word.keyword } else { Keyword::NoKeyword };
    Word { keyword, ..word.clone() }
}

/// `SELECT VALUE x` → `SELECT DISTINCT x`; but `SELECT value`, `value AS v` and `value.x` are of a
/// member of that name.
fn values(tokens: &mut [TokenWithSpan]) {
    for at in 1..tokens.len() {
        let follows_select = is_keyword(&tokens[at - 1], Keyword::SELECT);
        let begins_expression = match tokens.get(at + 1).map(|next| &next.token) {
            Some(Token::Word(word)) => {
                !matches!(word.keyword, Keyword::FROM | Keyword::AS | Keyword::WHERE)
            }
            Some(
                Token::Number(..)
                | Token::SingleQuotedString(_)
                | Token::LParen
                | Token::LBrace
                | Token::LBracket
                | Token::Minus,
            ) => true,
            Some(Token::Mul) => ends_select(tokens.get(at + 2)),
            _ => false,
        };
        let Token::Word(word) = &mut tokens[at].token else { continue };
        let is_value = word.quote_style.is_none() && word.value.eq_ignore_ascii_case("value");
        if follows_select && is_value && begins_expression {
            "DISTINCT".clone_into(&mut word.value);
            word.keyword = Keyword::DISTINCT;
        }
    }
}

/// Does `*` before this token stand for everything, or does it multiply?
fn ends_select(next: Option<&TokenWithSpan>) -> bool {
    next.is_none_or(|next| {
        let is_clause = [Keyword::FROM, Keyword::WHERE].iter().any(|word| is_keyword(next, *word));
        is_clause || matches!(next.token, Token::Comma | Token::RParen | Token::EOF)
    })
}

/// `AS a.b` → `AS` and the one name `a.b` in quotes.
fn aliases(tokens: Vec<TokenWithSpan>) -> Vec<TokenWithSpan> {
    let mut merged: Vec<TokenWithSpan> = Vec::with_capacity(tokens.len());
    let mut rest = tokens.into_iter().peekable();
    while let Some(mut token) = rest.next() {
        let follows_as = merged.last().is_some_and(|last| is_keyword(last, Keyword::AS));
        if let Token::Word(word) = &mut token.token
            && follows_as
        {
            while rest.peek().is_some_and(|next| next.token == Token::Period) {
                rest.next();
                word.value.push('.');
                word.quote_style = Some(PATH_QUOTE);
                if let Some(Token::Word(next)) = rest.peek().map(|next| &next.token) {
                    word.value.push_str(&next.value);
                    rest.next();
                }
            }
        }
        merged.push(token);
    }
    merged
}

fn is_keyword(token: &TokenWithSpan, keyword: Keyword) -> bool {
    matches!(&token.token, Token::Word(word) if word.keyword == keyword)
}
