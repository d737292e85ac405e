//! What did the client ask in the query? Percent-decoded once; `+` is a plus, as AWS reads it.

use percent_encoding::percent_decode_str;

/// The decoded query, in order.
#[derive(Clone, Debug, Default)]
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a raw query without `?`.
    pub fn parse(raw: &str) -> Self {
        let pairs = raw.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (decode(name), decode(value))
        });
        Self(pairs.collect())
    }

    /// The first value of `name`.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Every value of `name`: lists repeat their key.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// One percent-decoding; bytes that are no UTF-8 become U+FFFD, which no pattern of ours allows.
pub(crate) fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_decoded_once_and_lists_repeat() {
        let query = Query::parse("a=1&a=%2B+%2525&&b&messageId=%2A");
        assert_eq!(query.first("a"), Some("1"));
        assert_eq!(query.all("a").collect::<Vec<_>>(), ["1", "++%25"]);
        assert_eq!(query.first("b"), Some(""));
        assert_eq!(query.first("messageId"), Some("*"));
        assert_eq!(query.first("c"), None);
    }
}
