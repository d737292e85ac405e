//! What do the messages of a story look like? Written as a device or a control plane would, and
//! read as far as most stories look.

use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, Writer};
use tidegate_coap::option::Number;

/// A message with what `fill` writes into it.
pub fn message(
    ty: Type,
    code: Code,
    mid: u16,
    token: &Token,
    fill: impl FnOnce(&mut Writer<'_>),
) -> Vec<u8> {
    let mut bytes = vec![0; 1_400];
    let mut writer = Writer::new(&mut bytes, ty, code, mid, token);
    fill(&mut writer);
    let length = writer.finish().expect("it fits");
    bytes.truncate(length);
    bytes
}

/// A request whose token is its Message ID.
pub fn request(ty: Type, code: Code, mid: u16, path: &str, payload: &[u8]) -> Vec<u8> {
    message(ty, code, mid, &Token::new(&mid.to_be_bytes()), |writer| {
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            writer.option(Number::URI_PATH, segment.as_bytes());
        }
        writer.payload(payload);
    })
}

/// The same with these options, which stand behind its path.
pub fn request_with(
    ty: Type,
    code: Code,
    mid: u16,
    path: &str,
    options: &[(Number, &[u8])],
) -> Vec<u8> {
    let path = path.split('/').map(|segment| (Number::URI_PATH, segment.as_bytes()));
    let mut all: Vec<_> = path.chain(options.iter().copied()).collect();
    all.sort_by_key(|(number, _)| *number);
    message(ty, code, mid, &Token::new(&mid.to_be_bytes()), |writer| {
        for (number, value) in all {
            writer.option(number, value);
        }
    })
}

/// Type, code and Message ID of a message: what most stories look at.
pub fn seen(message: Option<Vec<u8>>) -> Option<(Type, Code, u16)> {
    let message = message?;
    let message = Message::parse(&message).expect("the worker sends messages");
    Some((message.ty, message.code, message.mid))
}
