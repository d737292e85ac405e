//! Which requests does the worker answer by itself? A PUT to the path that `[echo]` names: 2.04 at
//! once, and nothing is published. For operators who ask whether a device gets through, and for
//! benches.

use tidegate_coap::code::Code;
use tidegate_coap::message::Message;
use tidegate_coap::option::Number;

/// The path of `[echo]`.
#[derive(Debug)]
pub(super) struct Echo {
    /// Its segments; none: there is no such path.
    segments: Box<[Box<[u8]>]>,
}

impl Echo {
    /// `path` as the configuration has it, checked.
    pub(super) fn new(path: &str) -> Self {
        let segments = path.split('/').filter(|segment| !segment.is_empty());
        Self { segments: segments.map(|segment| segment.as_bytes().into()).collect() }
    }

    /// Whether the worker answers this request, which may be served.
    pub(super) fn answers(&self, request: &Message<'_>) -> bool {
        !self.segments.is_empty()
            && request.code == Code::PUT
            && request.options.all(Number::URI_PATH).eq(self.segments.iter().map(|s| &**s))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tidegate_coap::message::{Token, Type, Writer};

    fn answers(path: &str, code: Code, segments: &[&str]) -> bool {
        let mut buffer = [0; 256];
        let mut writer = Writer::new(&mut buffer, Type::Con, code, 1, &Token::EMPTY);
        for segment in segments {
            writer.option(Number::URI_PATH, segment.as_bytes());
        }
        let length = writer.option(Number::URI_QUERY, b"q").payload(b"x").finish().unwrap();
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
