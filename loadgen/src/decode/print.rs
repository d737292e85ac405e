//! How does a decoded capture read on a terminal? A head for each association where it starts, one
//! line for each thing said, a summary.

use std::fmt::{self, Display, Formatter, Write as _};
use std::io::{self, Write};
use std::time::Duration;

use tidegate_coap::code::Code;
use tidegate_coap::content_format;
use tidegate_coap::message::Message;
use tidegate_coap::option::list::Entry;
use tidegate_coap::option::{Format, Number};
use tidegate_dtls::alert::Level;
use tidegate_dtls::handshake::MessageType;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::association::{Association, Finished};
use super::{Decoded, Direction, Event, What};

/// Writes all of it; `name` is the file's.
pub fn print(decoded: &Decoded, name: &str, out: &mut impl Write) -> io::Result<()> {
    let counts = &decoded.counts;
    let cut = if counts.is_cut { ", cut at its end" } else { "" };
    let start = start(decoded.start_ns);
    writeln!(out, "{name}: {} packets from {start}{cut}", counts.packets)?;
    let mut is_introduced = vec![false; decoded.associations.len()];
    for event in &decoded.events {
        let is_known = std::mem::replace(&mut is_introduced[event.association], true);
        if !is_known {
            let association = &decoded.associations[event.association];
            writeln!(out, "\n#{} {}", event.association + 1, Head(association))?;
        }
        writeln!(out, "{}", Line { event, start_ns: decoded.start_ns })?;
    }
    summary(decoded, out)
}

fn start(start_ns: u64) -> String {
    let start = OffsetDateTime::from_unix_timestamp_nanos(start_ns.into());
    start.ok().and_then(|start| start.format(&Rfc3339).ok()).unwrap_or_default()
}

fn summary(decoded: &Decoded, out: &mut impl Write) -> io::Result<()> {
    writeln!(out)?;
    for (index, association) in decoded.associations.iter().enumerate() {
        writeln!(out, "#{} {}", index + 1, Outcome(association))?;
    }
    let counts = &decoded.counts;
    let skipped: usize = counts.skipped.values().sum();
    write!(out, "{} datagrams of DTLS", counts.datagrams)?;
    for (count, what) in [
        (counts.not_dtls, "of something else"),
        (skipped, "packets without a readable datagram"),
        (counts.unattributed, "records of associations that started before the capture"),
        (counts.truncated, "datagrams cut inside a record"),
    ] {
        if count > 0 {
            write!(out, ", {count} {what}")?;
        }
    }
    writeln!(out)
}

/// Who speaks to whom, and how.
struct Head<'a>(&'a Association);

impl Display for Head<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(association) = self;
        write!(f, "{} → {}", association.client, association.server)?;
        let Some(suite) = association.suite() else { return Ok(()) };
        write!(f, ", identity {}, {}", Preview(&association.identity), suite.name())?;
        if association.has_extended_master_secret() {
            f.write_str(", extended master secret")?;
        }
        for (direction, arrow) in [(Direction::ToServer, '→'), (Direction::ToClient, '←')] {
            let cid = association.cid(direction);
            if !cid.is_empty() {
                write!(f, ", CID {arrow} {}", hex::encode(cid))?;
            }
        }
        Ok(())
    }
}

/// What became of an association.
struct Outcome<'a>(&'a Association);

impl Display for Outcome<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(association) = self;
        let finished = |finished| match finished {
            Finished::Missing => "missing",
            Finished::Verified => "verified",
            Finished::Wrong => "WRONG",
        };
        write!(
            f,
            "Finished of client {}, of server {}; ",
            finished(association.client_finished),
            finished(association.server_finished)
        )?;
        let records = association.records;
        write!(f, "{} application records opened", records.application)?;
        if records.repeated > 0 {
            write!(f, ", {} repeated", records.repeated)?;
        }
        if records.refused > 0 {
            write!(f, ", {} records refused", records.refused)?;
        }
        match association.obstacle {
            Some(obstacle) => write!(f, "; no keys: {obstacle}"),
            None if records.refused > 0 && records.application + records.other == 0 => {
                f.write_str("; none of the keys given fits")
            }
            None => Ok(()),
        }
    }
}

struct Line<'a> {
    event: &'a Event,
    start_ns: u64,
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let since = Duration::from_nanos(self.event.time_ns.saturating_sub(self.start_ns));
        let arrow = match self.event.direction {
            Direction::ToServer => '→',
            Direction::ToClient => '←',
        };
        let (number, seconds) = (self.event.association + 1, since.as_secs());
        write!(f, "#{number} {seconds:>3}.{:06} {arrow} ", since.subsec_micros())?;
        match &self.event.what {
            What::Handshake { msg_type, message_seq, body_bytes } => {
                write!(f, "{} (message {message_seq}, {body_bytes} bytes)", name(*msg_type))
            }
            What::ChangeCipherSpec => f.write_str("ChangeCipherSpec"),
            What::Finished { is_verified: true } => f.write_str("Finished, verified"),
            What::Finished { is_verified: false } => f.write_str("Finished, WRONG"),
            What::Alert { alert, is_protected } => {
                let level = match alert.map(|alert| alert.level) {
                    Some(Level::Warning) => "warning ",
                    Some(Level::Fatal) => "fatal ",
                    None => "unreadable",
                };
                let how = if *is_protected { "" } else { ", unprotected" };
                write!(f, "Alert {level}")?;
                alert.iter().try_for_each(|alert| alert.description.fmt(f))?;
                f.write_str(how)
            }
            What::Coap(bytes) => match Message::parse(bytes) {
                Ok(message) => coap(&message, f),
                Err(_) => write!(f, "no CoAP: {}", Preview(bytes)),
            },
            What::NotCoap(bytes) => write!(f, "no CoAP: {}", Preview(bytes)),
            What::Other { content_type, content_bytes } => {
                write!(f, "record of type {}, {content_bytes} bytes", content_type.0)
            }
            What::Refused(reason) => write!(f, "refused: {reason:?}"),
        }
    }
}

/// `CON PUT mid=7 token=ab Uri-Path=t | 21`.
fn coap(message: &Message<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    write!(f, "{} ", format!("{:?}", message.ty).to_uppercase())?;
    match message.code {
        Code::EMPTY => f.write_str("Empty")?,
        code => code.service_name().fmt(f)?,
    }
    write!(f, " mid={}", message.mid)?;
    if !message.token.as_bytes().is_empty() {
        write!(f, " token={}", hex::encode(message.token.as_bytes()))?;
    }
    for option in &message.options {
        f.write_char(' ')?;
        print_option(&option, f)?;
    }
    if !message.payload.is_empty() {
        write!(f, " | {}", Preview(message.payload))?;
    }
    Ok(())
}

fn print_option(option: &Entry<'_>, f: &mut Formatter<'_>) -> fmt::Result {
    let Entry { number, value } = *option;
    number.fmt(f)?;
    let format = number.definition().map_or(Format::Opaque, |known| known.format);
    let as_uint = (format == Format::Uint && value.len() <= 4)
        .then(|| value.iter().fold(0, |sum, byte| sum << 8 | u32::from(*byte)));
    match (as_uint, number) {
        (Some(uint), Number::CONTENT_FORMAT | Number::ACCEPT) => {
            let name = u16::try_from(uint).ok().and_then(content_format::name);
            match name {
                Some(name) => write!(f, "={name}"),
                None => write!(f, "={uint}"),
            }
        }
        (Some(uint), Number::BLOCK1 | Number::BLOCK2 | Number::Q_BLOCK1 | Number::Q_BLOCK2) => {
            let more = if uint & 8 == 0 { "" } else { "+" };
            write!(f, "={}{more}/{}", uint >> 4, 16 << (uint & 7))
        }
        (Some(uint), _) => write!(f, "={uint}"),
        (None, _) if format == Format::Empty && value.is_empty() => Ok(()),
        (None, _) => match std::str::from_utf8(value) {
            Ok(text) if format == Format::String => write!(f, "={}", text.escape_debug()),
            _ => write!(f, "=0x{}", hex::encode(value)),
        },
    }
}

/// Some of the bytes, as text where they are text.
struct Preview<'a>(&'a [u8]);

/// How much of a payload is shown, characters of text or bytes of anything else.
const PREVIEW_CHARS: usize = 64;
const PREVIEW_BYTES: usize = 32;

impl Display for Preview<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Self(bytes) = self;
        let shown_bytes = if let Ok(text) = std::str::from_utf8(bytes) {
            let shown =
                text.char_indices().nth(PREVIEW_CHARS).map_or(text, |(end, _)| &text[..end]);
            for c in shown.chars() {
                if c.is_control() {
                    c.escape_default().fmt(f)?;
                } else {
                    f.write_char(c)?;
                }
            }
            shown.len()
        } else {
            let shown = &bytes[..bytes.len().min(PREVIEW_BYTES)];
            write!(f, "0x{}", hex::encode(shown))?;
            shown.len()
        };
        if shown_bytes == bytes.len() { Ok(()) } else { write!(f, "… ({} bytes)", bytes.len()) }
    }
}

fn name(msg_type: MessageType) -> String {
    let name = match msg_type {
        MessageType::HELLO_REQUEST => "HelloRequest",
        MessageType::CLIENT_HELLO => "ClientHello",
        MessageType::SERVER_HELLO => "ServerHello",
        MessageType::HELLO_VERIFY_REQUEST => "HelloVerifyRequest",
        MessageType(4) => "NewSessionTicket",
        MessageType::CERTIFICATE => "Certificate",
        MessageType::SERVER_KEY_EXCHANGE => "ServerKeyExchange",
        MessageType::CERTIFICATE_REQUEST => "CertificateRequest",
        MessageType::SERVER_HELLO_DONE => "ServerHelloDone",
        MessageType::CERTIFICATE_VERIFY => "CertificateVerify",
        MessageType::CLIENT_KEY_EXCHANGE => "ClientKeyExchange",
        MessageType::FINISHED => "Finished",
        MessageType(number) => return format!("handshake message of type {number}"),
    };
    name.to_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use tidegate_coap::message::{Token, Type, Writer};
    use tidegate_dtls::Drop;
    use tidegate_dtls::alert::{Alert, Description};
    use tidegate_dtls::record::ContentType;

    fn line(what: What) -> String {
        let direction = Direction::ToClient;
        let event = Event { time_ns: 12_000_001_999, association: 1, direction, what };
        Line { event: &event, start_ns: 2_000_000_000 }.to_string()
    }

    fn coap(ty: Type, code: Code, options: &[(Number, &[u8])], payload: &[u8]) -> String {
        let mut buffer = [0; 400];
        let mut writer = Writer::new(&mut buffer, ty, code, 7, &Token::new(b"\x0a"));
        for (number, value) in options {
            writer.option(*number, value);
        }
        writer.payload(payload);
        let len = writer.finish().unwrap();
        let printed = line(What::Coap(buffer[..len].to_vec()));
        printed.strip_prefix("#2  10.000001 ← ").unwrap().to_owned()
    }

    #[test]
    fn options_read_by_their_format() {
        let options: [(Number, &[u8]); 9] = [
            (Number::IF_MATCH, b"\xfe"),
            (Number::IF_NONE_MATCH, b""),
            (Number::OBSERVE, b""),
            (Number::URI_PATH, b"a\x1b[2J"),
            (Number::CONTENT_FORMAT, &[60]),
            (Number::URI_QUERY, b"\xff"),
            (Number::ACCEPT, &[0xff, 0xf0]),
            (Number::BLOCK1, &[0x1a]),
            (Number(9999), b"x"),
        ];
        assert_eq!(
            coap(Type::Con, Code::PUT, &options, b""),
            "CON PUT mid=7 token=0a If-Match=0xfe If-None-Match Observe=0 Uri-Path=a\\u{1b}[2J \
             Content-Format=application/cbor Uri-Query=0xff Accept=65520 Block1=1+/64 \
             option 9999=0x78"
        );
    }

    /// Nothing that a device says reaches the terminal as a command.
    #[test]
    fn payloads_are_shown_up_to_a_bound() {
        let payload = |payload| coap(Type::Non, Code::CONTENT, &[], payload);
        let head = "NON CONTENT(2.05) mid=7 token=0a | ";
        assert_eq!(payload(b"{\"a\":1}\n\x1b[0m"), format!("{head}{{\"a\":1}}\\n\\u{{1b}}[0m"));
        let longest = "é".repeat(PREVIEW_CHARS);
        assert_eq!(payload(longest.as_bytes()), format!("{head}{longest}"));
        let longer = longest.clone() + "x";
        assert_eq!(payload(longer.as_bytes()), format!("{head}{longest}… (129 bytes)"));
        assert_eq!(payload(&[0xff; 32]), format!("{head}0x{}", "ff".repeat(32)));
        let shown = format!("{head}0x{}… (33 bytes)", "ff".repeat(32));
        assert_eq!(payload(&[0xff; 33]), shown);
    }

    #[test]
    fn everything_else_has_its_line() {
        let bye = Alert::warning(Description::CLOSE_NOTIFY);
        let cases = [
            (What::Finished { is_verified: false }, "Finished, WRONG"),
            (What::Alert { alert: Some(bye), is_protected: true }, "Alert warning close_notify(0)"),
            (What::Alert { alert: None, is_protected: false }, "Alert unreadable, unprotected"),
            (What::Coap(b"\x60\x00\x12\x34".to_vec()), "ACK Empty mid=4660"),
            (What::NotCoap(b"hello".to_vec()), "no CoAP: hello"),
            (
                What::Other {
                    content_type: ContentType::RETURN_ROUTABILITY_CHECK,
                    content_bytes: 9,
                },
                "record of type 27, 9 bytes",
            ),
            (What::Refused(Drop::BadTag), "refused: BadTag"),
            (
                What::Handshake { msg_type: MessageType(99), message_seq: 3, body_bytes: 2 },
                "handshake message of type 99 (message 3, 2 bytes)",
            ),
        ];
        for (what, expected) in cases {
            assert_eq!(line(what), format!("#2  10.000001 ← {expected}"));
        }
    }
}
