//! What holds for any message and any bytes; and an implementation by others as the oracle.

use proptest::prelude::*;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Fault, Message, Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_coap::triage::triage;

use crate::write;

/// Writes again what was read.
fn rewrite(message: &Message<'_>) -> Vec<u8> {
    write(|buffer| {
        Writer::new(buffer, message.ty, message.code, message.mid, &message.token)
            .options(&message.options)
            .payload(message.payload)
            .finish()
    })
}

type Parts = (u8, u8, u16, Vec<u8>, Vec<(u16, Vec<u8>)>, Vec<u8>);

/// Any message: type, code, Message ID, token, options, payload.
fn parts() -> impl Strategy<Value = Parts> {
    let value = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..20),
        1 => prop::collection::vec(any::<u8>(), 260..280),
    ];
    let number = prop_oneof![8 => 0..70_u16, 1 => 250..300_u16, 1 => any::<u16>()];
    let options = prop::collection::vec((number, value), 0..6);
    let token = prop::collection::vec(any::<u8>(), 0..=8);
    let payload = prop::collection::vec(any::<u8>(), 0..40);
    (0..4_u8, 1..=255_u8, any::<u16>(), token, options, payload).prop_map(|mut parts| {
        parts.4.sort_by_key(|(number, _)| *number);
        parts
    })
}

fn encode((ty, code, mid, token, options, payload): &Parts) -> Vec<u8> {
    let ty = [Type::Con, Type::Non, Type::Ack, Type::Rst][usize::from(*ty)];
    write(|buffer| {
        let mut writer = Writer::new(buffer, ty, Code(*code), *mid, &Token::new(token));
        for (number, value) in options {
            writer.option(Number(*number), value);
        }
        writer.payload(payload).finish()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_written_is_read(parts in parts()) {
        let bytes = encode(&parts);
        let message = Message::parse(&bytes).unwrap();
        let (ty, code, mid, token, options, payload) = parts;
        prop_assert_eq!((message.ty as u8, message.code.0, message.mid), (ty, code, mid));
        prop_assert_eq!(message.token.as_bytes(), token);
        let read: Vec<_> = message.options.iter().map(|o| (o.number.0, o.value.to_vec())).collect();
        prop_assert_eq!(read, options);
        prop_assert_eq!(message.payload, payload);
        prop_assert_eq!(rewrite(&message), bytes);
    }

    /// coap-lite, an implementation by others, reads the same and writes the same.
    #[test]
    fn another_implementation_agrees(parts in parts()) {
        let bytes = encode(&parts);
        let packet = coap_lite::Packet::from_bytes(&bytes).unwrap();
        let (_, code, mid, token, options, payload) = parts;
        prop_assert_eq!(packet.header.message_id, mid);
        prop_assert_eq!(u8::from(packet.header.code), code);
        prop_assert_eq!(packet.get_token(), token);
        prop_assert_eq!(&packet.payload, &payload);
        let theirs: Vec<_> = packet
            .options()
            .flat_map(|(number, values)| values.iter().map(|value| (*number, value.clone())))
            .collect();
        prop_assert_eq!(theirs, options);
        prop_assert_eq!(packet.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn cut_messages_never_panic(parts in parts(), cut in any::<prop::sample::Index>()) {
        let bytes = encode(&parts);
        read_everything(&bytes[..cut.index(bytes.len() + 1)]);
    }
}

/// Touches all that a receiver would; the other implementation must read the same.
fn read_everything(bytes: &[u8]) -> bool {
    let theirs = coap_lite::Packet::from_bytes(bytes);
    let message = match Message::parse(bytes) {
        Ok(message) => message,
        Err(error) => {
            // Where the RFC asks for a format error and they are lenient.
            let is_stricter =
                matches!(error.fault, Fault::Version | Fault::EmptyNotBare | Fault::PayloadMissing);
            assert!(theirs.is_err() || is_stricter, "{error:?} {bytes:02x?}");
            return false;
        }
    };
    // They know no extended tokens.
    let has_extended_token = message.token.as_bytes().len() > 8 || bytes[0] & 15 > 8;
    assert!(theirs.is_ok() || has_extended_token);
    if let Ok(theirs) = theirs {
        let options = theirs
            .options()
            .flat_map(|(number, values)| values.iter().map(|value| (*number, value.as_slice())));
        assert!(message.options.iter().map(|option| (option.number.0, option.value)).eq(options));
        assert_eq!(theirs.payload, message.payload);
    }
    let _ = triage(&message);
    let values: usize = message.options.iter().map(|option| option.value.len()).sum();
    assert!(values + message.payload.len() <= bytes.len());
    for option in &message.options {
        let _ = message.options.all(option.number).count();
        let _ = option.number.to_string();
    }
    let _ = (message.options.content_format(), message.options.accept());
    let _ = message.options.uri_path().count() + message.options.uri_query().count();
    // Not always the same bytes: a sender may have used a longer form than needed.
    let again = rewrite(&message);
    let reread = Message::parse(&again).unwrap();
    assert!(reread.options.iter().eq(message.options.iter()));
    assert_eq!((reread.payload, reread.token), (message.payload, message.token));
    true
}

/// A million random and a million bit-flipped datagrams, from a seed.
#[test]
fn storms_of_noise_never_panic() {
    let mut state = 0x7454_u64;
    let mut roll = move || {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    };
    let (mut good_noise, mut good_flips) = (0, 0);
    let mut buffer = [0; 64];
    for _ in 0..STORM {
        let len = roll() as usize % buffer.len();
        buffer[..len].chunks_mut(8).for_each(|chunk| {
            chunk.copy_from_slice(&roll().to_le_bytes()[..chunk.len()]);
        });
        buffer[0] = 0x40 | buffer[0] & 0x3f;
        good_noise += usize::from(read_everything(&buffer[..len]));
    }
    let seed = write(|buffer| {
        Writer::new(buffer, Type::Con, Code::PUT, 0x7d34, &Token::new(&[1, 2, 3, 4, 5, 6, 7, 8]))
            .option(Number::URI_HOST, b"edge")
            .option(Number::URI_PATH, b"a path segment of more than twelve bytes")
            .option_uint(Number::CONTENT_FORMAT, 50)
            .option(Number::URI_QUERY, b"temp=21")
            .option_uint(Number::NO_RESPONSE, 2)
            .payload(b"21.5")
            .finish()
    });
    assert!(read_everything(&seed));
    for _ in 0..STORM {
        let mut flipped = seed.clone();
        for _ in 0..=roll() % 4 {
            let bit = roll() as usize % (flipped.len() * 8);
            flipped[bit / 8] ^= 1 << (bit % 8);
        }
        good_flips += usize::from(read_everything(&flipped));
    }
    // Controls: both kinds of noise reach past the first checks.
    assert!(good_noise > STORM / 1_000, "{good_noise}");
    assert!(good_flips > STORM / 10 && good_flips < STORM, "{good_flips}");
}

const STORM: usize = if cfg!(debug_assertions) { 200_000 } else { 1_000_000 };
