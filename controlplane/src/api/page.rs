//! Which page of a list does the caller want, and how does it find the next one?
//!
//! The end of a list is the absence of `NextToken`, never an empty one.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::error::ApiError;
use super::query::Query;
use super::validate::Violations;
use crate::model::{Page, PageRequest};

/// Reads `maxResults` (0–250) and `nextToken` (≤ 4096 characters) from the query of a request for
/// `list`, which was checked. A token is good for the list that gave it only.
pub fn request(query: &Query, list: &str) -> Result<PageRequest, ApiError> {
    let items_max = query.first("maxResults").and_then(|text| text.parse().ok());
    let items_max = items_max.filter(|&number| number > 0);
    let mut violations = Violations::default();
    let next = query.first("nextToken").and_then(|token| {
        let next = untoken(token, list);
        if next.is_none() {
            violations.add("nextToken", "Member must be a NextToken that this operation returned");
        }
        next
    });
    violations.check()?;
    Ok(PageRequest { items_max, next })
}

/// The answer of a list operation: `list` under `name`, and `NextToken` when there is more.
pub fn answer<T>(page: Page<T>, name: &str, item: impl Fn(T) -> Value) -> Value {
    let mut body = Map::new();
    body.insert(name.to_owned(), page.items.into_iter().map(item).collect());
    if let Some(next) = page.next {
        body.insert("NextToken".to_owned(), json!(token(&next, name)));
    }
    Value::Object(body)
}

/// What the caller gets for a place in `list`: safe in a URL as it is.
pub fn token(next: &str, list: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{next}"))
}

fn untoken(token: &str, list: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
    Some(text.strip_prefix(list)?.strip_prefix('\n')?.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::api::spec::{check_query, shapes};

    fn request_checked(raw: &str) -> Result<PageRequest, ApiError> {
        let (query, mut violations) = (Query::parse(raw), Violations::default());
        check_query(&query, shapes::PAGE, &mut violations)?;
        violations.check()?;
        request(&query, "List")
    }

    #[test]
    fn max_results_is_0_to_250_and_0_is_the_default() {
        let items_max = |raw: &str| request_checked(raw).map(|page| page.items_max);
        assert_eq!(items_max("").unwrap(), None);
        assert_eq!(items_max("maxResults=0").unwrap(), None);
        assert_eq!(items_max("maxResults=1").unwrap(), Some(1));
        assert_eq!(items_max("maxResults=250").unwrap(), Some(250));
        assert_eq!(items_max("maxResults=251").unwrap_err().shape(), "ValidationException");
        assert_eq!(items_max("maxResults=-1").unwrap_err().shape(), "ValidationException");
        assert_eq!(items_max("maxResults=many").unwrap_err().shape(), "SerializationException");
    }

    #[test]
    fn a_next_token_has_up_to_4096_characters_and_belongs_to_its_list() {
        let next =
            |token: &str| request_checked(&format!("nextToken={token}")).map(|page| page.next);
        assert_eq!(next(&token("abc", "List")).unwrap().as_deref(), Some("abc"));
        let longest = token(&"a".repeat(3_067), "List");
        assert_eq!(longest.len(), 4_096);
        assert!(next(&longest).is_ok());
        assert!(next(&token(&"a".repeat(3_068), "List")).is_err());
        for bad in ["", "nonsense", "%21", &token("abc", "Lists"), &token("abc", "Other")] {
            assert_eq!(next(bad).unwrap_err().shape(), "ValidationException", "{bad}");
        }
    }

    #[test]
    fn the_last_page_has_no_next_token() {
        let page = Page { items: vec![1, 2], next: Some("more".into()) };
        let body = answer(page, "List", Value::from);
        assert_eq!(body, json!({ "List": [1, 2], "NextToken": token("more", "List") }));
        let page = Page { items: Vec::<i32>::new(), next: None };
        assert_eq!(answer(page, "List", Value::from), json!({ "List": [] }));
    }
}
