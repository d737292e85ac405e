//! Can bytes harm the parser, and does a message written again read the same?

use tidegate_coap::admission::admit;
use tidegate_coap::message::{Message, Writer};
use tidegate_coap::option::Understood;
use tidegate_coap::triage::triage;

pub(crate) fn run(bytes: &[u8]) {
    let Ok(message) = Message::parse(bytes) else { return };
    let _ = (triage(&message), admit(&message, Understood::EDGE_REQUEST));
    for option in &message.options {
        assert!(message.options.all(option.number).count() <= bytes.len());
    }
    let _ = (message.options.content_format(), message.options.accept());
    let _ = message.options.uri_path().chain(message.options.uri_query()).count();

    // Never longer than what came: a sender may have used a longer form than needed, we do not.
    let mut again = vec![0; bytes.len()];
    let len = Writer::new(&mut again, message.ty, message.code, message.mid, &message.token)
        .options(&message.options)
        .payload(message.payload)
        .finish()
        .expect("it fits where it came from");
    let reread = Message::parse(&again[..len]).expect("what we write is well formed");
    assert_eq!((reread.ty, reread.code, reread.mid), (message.ty, message.code, message.mid));
    assert_eq!((reread.token, reread.payload), (message.token, message.payload));
    assert!(reread.options.iter().eq(message.options.iter()));
}
