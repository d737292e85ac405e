//! Which page of a list does the caller want, and how does it find the next one?
//!
//! The end of a list is the absence of `NextToken`, never an empty one.

use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::query::Query;
use super::validate::{Rule, Violations, check_range};
use crate::model::{Page, PageRequest};

/// Reads `maxResults` (0–250) and `nextToken` (≤ 4096 characters) from the query.
pub fn request(query: &Query) -> Result<PageRequest, ApiError> {
    let mut violations = Violations::default();
    let mut items_max = None;
    if let Some(text) = query.first("maxResults") {
        match text.parse::<i64>() {
            Ok(number) => {
                check_range("maxResults", number, &(0..=ITEMS_MAX), &mut violations);
                items_max = usize::try_from(number).ok().filter(|&number| number > 0);
            }
            Err(_) => return Err(ApiError::serialization("maxResults must be an integer.")),
        }
    }
    let next = query.first("nextToken");
    if let Some(next) = next {
        NEXT_TOKEN.check("nextToken", next, &mut violations);
    }
    violations.check()?;
    Ok(PageRequest { items_max, next: next.map(ToOwned::to_owned) })
}

/// The answer of a list operation: `list` under `name`, and `NextToken` when there is more.
pub fn answer<T>(page: Page<T>, name: &str, item: impl Fn(T) -> Value) -> Value {
    let mut body = Map::new();
    body.insert(name.to_owned(), page.items.into_iter().map(item).collect());
    if let Some(next) = page.next {
        body.insert("NextToken".to_owned(), json!(next));
    }
    Value::Object(body)
}

/// Most items a page may have.
const ITEMS_MAX: i64 = 250;

const NEXT_TOKEN: Rule = Rule::length(1, 4096);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn max_results_is_0_to_250_and_0_is_the_default() {
        let items_max = |raw: &str| request(&Query::parse(raw)).map(|page| page.items_max);
        assert_eq!(items_max("").unwrap(), None);
        assert_eq!(items_max("maxResults=0").unwrap(), None);
        assert_eq!(items_max("maxResults=1").unwrap(), Some(1));
        assert_eq!(items_max("maxResults=250").unwrap(), Some(250));
        assert_eq!(items_max("maxResults=251").unwrap_err().shape(), "ValidationException");
        assert_eq!(items_max("maxResults=-1").unwrap_err().shape(), "ValidationException");
        assert_eq!(items_max("maxResults=many").unwrap_err().shape(), "SerializationException");
    }

    #[test]
    fn a_next_token_has_up_to_4096_characters() {
        let next = |raw: String| request(&Query::parse(&raw)).map(|page| page.next);
        assert_eq!(next("nextToken=abc".into()).unwrap().as_deref(), Some("abc"));
        assert!(next(format!("nextToken={}", "a".repeat(4096))).is_ok());
        assert!(next(format!("nextToken={}", "a".repeat(4097))).is_err());
    }

    #[test]
    fn the_last_page_has_no_next_token() {
        let page = Page { items: vec![1, 2], next: Some("more".into()) };
        let body = answer(page, "List", Value::from);
        assert_eq!(body, json!({ "List": [1, 2], "NextToken": "more" }));
        let page = Page { items: Vec::<i32>::new(), next: None };
        assert_eq!(answer(page, "List", Value::from), json!({ "List": [] }));
    }
}
