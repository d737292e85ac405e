//! How is a payload read and written? JSON with all digits of its numbers, its members in order.
//!
//! *Why not serde_json:* its numbers are doubles (or strings for every crate of this workspace):
//! with 17 digits, and 10.0 is what the two SQL versions treat differently.

use super::number;
use super::value::Value;

/// Deepest nesting that is read.
pub(in crate::rules) const DEPTH_MAX: usize = 64;

/// Reads a document; `None`: it is no JSON, or nested too deep. With `whole_is_int` 10.0 is an Int.
pub(in crate::rules) fn read(text: &[u8], whole_is_int: bool) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?;
    let mut reader = Reader { text, at: 0, whole_is_int };
    let value = reader.value(DEPTH_MAX)?;
    reader.skip_space();
    (reader.at == text.len()).then_some(value)
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    whole_is_int: bool,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Value> {
        self.skip_space();
        match self.peek()? {
            b'{' => self.object(depth.checked_sub(1)?),
            b'[' => self.array(depth.checked_sub(1)?),
            b'"' => self.string().map(Value::String),
            b't' => self.word("true", Value::Boolean(true)),
            b'f' => self.word("false", Value::Boolean(false)),
            b'n' => self.word("null", Value::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut members: Vec<(String, Value)> = Vec::new();
        if self.next_is(b'}') {
            return Some(Value::Object(members));
        }
        loop {
            self.skip_space();
            let name = self.string()?;
            if !self.next_is(b':') {
                return None;
            }
            let value = self.value(depth)?;
            put(&mut members, name, value);
            if self.next_is(b'}') {
                return Some(Value::Object(members));
            }
            if !self.next_is(b',') {
                return None;
            }
        }
    }

    fn array(&mut self, depth: usize) -> Option<Value> {
        self.at += 1;
        let mut items = Vec::new();
        if self.next_is(b']') {
            return Some(Value::Array(items));
        }
        loop {
            items.push(self.value(depth)?);
            if self.next_is(b']') {
                return Some(Value::Array(items));
            }
            if !self.next_is(b',') {
                return None;
            }
        }
    }

    fn string(&mut self) -> Option<String> {
        if self.peek()? != b'"' {
            return None;
        }
        self.at += 1;
        let mut read = String::new();
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().position(|b| b == b'"' || b == b'\\' || b < 0x20)?;
            read.push_str(&rest[..plain]);
            self.at += plain + 1;
            match rest.as_bytes()[plain] {
                b'"' => return Some(read),
                b'\\' => read.push(self.escape()?),
                _ => return None,
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let escaped = self.peek()?;
        self.at += 1;
        Some(match escaped {
            b'"' | b'\\' | b'/' => char::from(escaped),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => return self.unicode(),
            _ => return None,
        })
    }

    /// RFC 8259 section 7: a character outside the basic plane is two escapes.
    fn unicode(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        if !self.text[self.at..].starts_with("\\u") {
            return None;
        }
        self.at += 2;
        let second = self.four_digits()?;
        let is_low = (0xdc00..0xe000).contains(&second);
        is_low
            .then(|| 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            .and_then(char::from_u32)
    }

    fn four_digits(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        let are_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
        if are_hex { u32::from_str_radix(digits, 16).ok() } else { None }
    }

    fn number(&mut self) -> Option<Value> {
        let rest = &self.text[self.at..];
        let end =
            rest.bytes().position(|b| !matches!(b, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
        let text = &rest[..end.unwrap_or(rest.len())];
        if !is_json_number(text) {
            return None;
        }
        self.at += text.len();
        let value = number::parse(text)?;
        Some(if self.whole_is_int { number::whole(value) } else { value })
    }

    fn word(&mut self, word: &'static str, value: Value) -> Option<Value> {
        let is_it = self.text[self.at..].starts_with(word);
        self.at += word.len();
        is_it.then_some(value)
    }

    fn next_is(&mut self, byte: u8) -> bool {
        self.skip_space();
        let is_it = self.peek() == Some(byte);
        self.at += usize::from(is_it);
        is_it
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

/// A name that stands twice has its last value. Looked for only in small objects (which most are):
/// in a large one a second name is found by [`Value::member`] first.
fn put(members: &mut Vec<(String, Value)>, name: String, value: Value) {
    const LOOKED_THROUGH_MAX: usize = 64;
    let looked = members.len().min(LOOKED_THROUGH_MAX);
    match members[..looked].iter_mut().find(|(key, _)| *key == name) {
        Some((_, old)) => *old = value,
        None => members.push((name, value)),
    }
}

/// RFC 8259 section 6: no leading zero, digits on both sides of the point.
fn is_json_number(text: &str) -> bool {
    let text = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => {
            (mantissa, Some(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
        }
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    are_digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(are_digits)
        && exponent.is_none_or(are_digits)
}

/// Writes a value; nothing for Undefined, and no members or items that are.
pub(in crate::rules) fn write(value: &Value, to: &mut Vec<u8>) {
    match value {
        Value::Undefined => {}
        Value::Null => to.extend_from_slice(b"null"),
        Value::Boolean(true) => to.extend_from_slice(b"true"),
        Value::Boolean(false) => to.extend_from_slice(b"false"),
        Value::Int(int) => to.extend_from_slice(int.to_string().as_bytes()),
        Value::Decimal(decimal) => to.extend_from_slice(number::text(decimal).as_bytes()),
        Value::String(text) => write_text(text, to),
        Value::Array(items) => {
            to.push(b'[');
            let defined = items.iter().filter(|item| **item != Value::Undefined);
            for (at, item) in defined.enumerate() {
                separate(at, to);
                write(item, to);
            }
            to.push(b']');
        }
        Value::Object(members) => {
            to.push(b'{');
            let defined = members.iter().filter(|(_, value)| *value != Value::Undefined);
            for (at, (name, value)) in defined.enumerate() {
                separate(at, to);
                write_text(name, to);
                to.push(b':');
                write(value, to);
            }
            to.push(b'}');
        }
    }
}

fn separate(at: usize, to: &mut Vec<u8>) {
    if at > 0 {
        to.push(b',');
    }
}

fn write_text(text: &str, to: &mut Vec<u8>) {
    serde_json::to_writer(to, text).expect("a string is JSON, and a vector takes it");
}
