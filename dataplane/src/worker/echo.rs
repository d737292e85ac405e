//! Which requests does the worker answer by itself? A PUT to the path that `[echo]` names: 2.04 at
//! once, and nothing is published. For operators who ask whether a device gets through, and for
//! benches.

use tidegate_coap::code::Code;
use tidegate_coap::message::{HEADER_BYTES, Message, Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_coap::option::list::Options;

/// The path of `[echo]`.
#[derive(Debug)]
pub(super) struct Echo {
    /// Its segments; none: there is no such path.
    segments: Box<[Box<[u8]>]>,
    /// The options of a request that has no others, which most have not.
    alone: Box<[u8]>,
}

impl Echo {
    /// `path` as the configuration has it, checked.
    pub(super) fn new(path: &str) -> Self {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        let segments: Box<[Box<[u8]>]> =
            segments.map(|segment| segment.as_bytes().into()).collect();
        let mut message = vec![0; 64 + 2 * path.len()];
        let mut writer = Writer::new(&mut message, Type::Con, Code::PUT, 0, &Token::EMPTY);
        for segment in &segments {
            writer.option(Number::URI_PATH, segment);
        }
        let length = writer.finish().expect("an option's head is no longer than 3 bytes");
        Self { segments, alone: message[HEADER_BYTES..length].into() }
    }

    /// Whether the worker answers this request, which may be served.
    pub(super) fn answers(&self, request: &Message<'_>) -> bool {
        !self.segments.is_empty()
            && request.code == Code::PUT
            && (*request.options.as_bytes() == *self.alone || self.is_among(&request.options))
    }

    fn is_among(&self, options: &Options<'_>) -> bool {
        options.all(Number::URI_PATH).eq(self.segments.iter().map(|segment| &**segment))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// The same whether there is another option or not.
    fn answers(path: &str, code: Code, segments: &[&str]) -> bool {
        let [alone, among] = [false, true].map(|has_query| asked(path, code, segments, has_query));
        assert_eq!(alone, among);
        alone
    }

    fn asked(path: &str, code: Code, segments: &[&str], has_query: bool) -> bool {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Type::Con, code, 1, &Token::EMPTY);
        for segment in segments {
            writer.option(Number::URI_PATH, segment.as_bytes());
        }
        if has_query {
            writer.option(Number::URI_QUERY, b"q");
        }
        let length = writer.payload(b"x").finish().unwrap();
        Echo::new(path).answers(&Message::parse(&buffer[..length]).unwrap())
    }

    #[test]
    fn a_put_to_the_whole_path_is_answered_and_nothing_else() {
        assert!(answers("echo", Code::PUT, &["echo"]));
        assert!(answers("a/b", Code::PUT, &["a", "b"]));
        assert!(!answers("echo", Code::POST, &["echo"]));
        for other in [&["ech"][..], &["echo", ""], &["echo", "b"], &["a", "echo"], &[]] {
            assert!(!answers("echo", Code::PUT, other), "{other:?}");
        }
        assert!(!answers("a/b", Code::PUT, &["a/b"]));
    }

    #[test]
    fn without_a_path_nothing_is_answered() {
        assert!(!answers("", Code::PUT, &[]) && !answers("", Code::PUT, &[""]));
    }
}
