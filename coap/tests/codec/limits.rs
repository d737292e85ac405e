//! RFC 7252 sections 3 and 4.2, appendix A: known messages, and each limit from both sides.

use crate::write;
use tidegate_coap::code::Code;
use tidegate_coap::message::{
    Fault, FormatError, Message, TOKEN_BYTES_MAX, Token, Type, WriteError, Writer, empty,
    refuse_token,
};
use tidegate_coap::option::Number;

fn fault(bytes: &[u8]) -> Fault {
    Message::parse(bytes).unwrap_err().fault
}

/// RFC 7252 figure 16: 16 and 11 bytes.
#[test]
fn figure_16_without_token() {
    let request = hex::decode("40017d34bb74656d7065726174757265").unwrap();
    let message = Message::parse(&request).unwrap();
    assert_eq!((message.ty, message.code, message.mid), (Type::Con, Code::GET, 0x7d34));
    assert_eq!(message.token, Token::EMPTY);
    assert_eq!(message.options.uri_path().collect::<Vec<_>>(), [Some("temperature")]);
    assert_eq!(message.payload, b"");
    let written = write(|buffer| {
        Writer::new(buffer, Type::Con, Code::GET, 0x7d34, &Token::EMPTY)
            .option(Number::URI_PATH, b"temperature")
            .finish()
    });
    assert_eq!(written, request);

    let response = hex::decode("60457d34ff32322e332043").unwrap();
    let message = Message::parse(&response).unwrap();
    assert_eq!((message.ty, message.code, message.mid), (Type::Ack, Code::CONTENT, 0x7d34));
    assert!(message.options.is_empty());
    assert_eq!(message.payload, b"22.3 C");
    let written = write(|buffer| {
        Writer::new(buffer, Type::Ack, Code::CONTENT, 0x7d34, &Token::EMPTY)
            .payload(b"22.3 C")
            .finish()
    });
    assert_eq!(written, response);
}

/// RFC 7252 figure 17: the same with token 0x20, 17 and 12 bytes.
#[test]
fn figure_17_with_token() {
    let request = hex::decode("41017d3520bb74656d7065726174757265").unwrap();
    let message = Message::parse(&request).unwrap();
    assert_eq!((message.mid, message.token), (0x7d35, Token::new(&[0x20])));
    assert_eq!(message.options.first(Number::URI_PATH), Some(&b"temperature"[..]));
    let response = hex::decode("61457d3520ff32322e332043").unwrap();
    let message = Message::parse(&response).unwrap();
    assert_eq!((message.token.as_bytes(), message.payload), (&[0x20][..], &b"22.3 C"[..]));
}

/// RFC 7252 figures 20 and 21: the Empty messages.
#[test]
fn figures_20_and_21_empty_messages() {
    assert_eq!(empty(Type::Ack, 0x7d38), [0x60, 0x00, 0x7d, 0x38]);
    assert_eq!(empty(Type::Rst, 0xad7c), [0x70, 0x00, 0xad, 0x7c]);
    assert_eq!(empty(Type::Con, 0x0001), [0x40, 0x00, 0x00, 0x01]);
    let bytes = empty(Type::Ack, 0x7d38);
    let message = Message::parse(&bytes).unwrap();
    assert_eq!((message.ty, message.code, message.mid), (Type::Ack, Code::EMPTY, 0x7d38));
}

/// RFC 7252 appendix B, last example: empty and odd segments.
#[test]
fn segments_may_be_empty_or_hold_separators() {
    let bytes = write(|buffer| {
        Writer::new(buffer, Type::Con, Code::GET, 1, &Token::EMPTY)
            .option(Number::URI_PATH, b"")
            .option(Number::URI_PATH, b"/")
            .option(Number::URI_PATH, b"")
            .option(Number::URI_PATH, b"")
            .option(Number::URI_QUERY, b"//")
            .option(Number::URI_QUERY, b"?&")
            .finish()
    });
    let options = Message::parse(&bytes).unwrap().options;
    assert_eq!(options.uri_path().flatten().collect::<Vec<_>>(), ["", "/", "", ""]);
    assert_eq!(options.uri_query().flatten().collect::<Vec<_>>(), ["//", "?&"]);
}

#[test]
fn header_limits() {
    assert_eq!(fault(&[]), Fault::TooShort);
    assert_eq!(fault(&[0x40, 1, 2]), Fault::TooShort);
    assert!(Message::parse(&[0x40, 1, 2, 3]).is_ok());
    for version in [0, 2, 3] {
        assert_eq!(fault(&[version << 6, 1, 2, 3]), Fault::Version);
    }
}

/// RFC 8974 section 2.1: to 12 in the nibble, to 268 in a byte more, to 65804 in two.
#[test]
fn token_limits() {
    let with_token = |len: usize| {
        let mut bytes = match len {
            0..=12 => vec![0x40 | len as u8, 1, 2, 3],
            13..=268 => vec![0x4d, 1, 2, 3, (len - 13) as u8],
            _ => [&[0x4e, 1, 2, 3][..], &((len - 269) as u16).to_be_bytes()].concat(),
        };
        bytes.extend((0..len).map(|byte| byte as u8));
        bytes
    };
    for len in [0, 1, 8, 9, 12, 13, TOKEN_BYTES_MAX] {
        let bytes = with_token(len);
        let message = Message::parse(&bytes).unwrap();
        assert_eq!(message.token.as_bytes(), &bytes[bytes.len() - len..], "{len}");
        let mut again = [0; 64];
        let written = Writer::new(&mut again, Type::Con, Code::GET, 0x0203, &message.token);
        assert_eq!(written.finish().map(|len| again[..len].to_vec()), Ok(bytes), "{len}");
    }
    for len in [TOKEN_BYTES_MAX + 1, 268, 269, 1_000] {
        let bytes = with_token(len);
        let refused = Message::parse(&bytes).unwrap_err();
        assert_eq!((refused.fault, refused.reset_mid), (Fault::TokenTooLong, None));
        let cut = fault(&bytes[..bytes.len() - 1]);
        assert_eq!(cut, Fault::Truncated, "{len}");
    }
    assert_eq!(fault(&[0x4f, 1, 2, 3, 0, 0, 0]), Fault::TokenLength);
    for cut in [&[0x4d, 1, 2, 3][..], &[0x4e, 1, 2, 3, 0], &with_token(8)[..11]] {
        assert_eq!(fault(cut), Fault::Truncated);
    }
}

/// RFC 8974 section 2.2.2: no RST, which would say that extended tokens are unknown, but 4.00 with
/// the token.
#[test]
fn a_token_that_is_too_long_is_refused_with_that_token() {
    let token = [7; TOKEN_BYTES_MAX + 1];
    let extended = (token.len() - 13) as u8;
    for (first, answer) in [(0x4d, Some((0x6d, 0x0203))), (0x5d, Some((0x5d, 0x0909)))] {
        let request = [&[first, 1, 2, 3, extended][..], &token, &[0xff, 1]].concat();
        let mut out = [0; 64];
        let len = refuse_token(&request, 0x0909, &mut out).unwrap();
        let (first, mid): (u8, u16) = answer.unwrap();
        let [high, low] = mid.to_be_bytes();
        assert_eq!(out[..len], [&[first, 0x80, high, low, extended][..], &token].concat());
        assert_eq!(refuse_token(&request, 0x0909, &mut out[..len - 1]), None, "no room");
    }
    for first in [0x6d, 0x7d, 0x8d] {
        let request = [&[first, 1, 2, 3, extended][..], &token].concat();
        assert_eq!(refuse_token(&request, 0, &mut [0; 64]), None, "{first:x}");
    }
    let response = [&[0x4d, 0x45, 2, 3, extended][..], &token].concat();
    assert_eq!(refuse_token(&response, 0, &mut [0; 64]), None);
}

#[test]
fn an_empty_message_is_bare() {
    assert!(Message::parse(&[0x40, 0, 2, 3]).is_ok());
    assert_eq!(fault(&[0x41, 0, 2, 3, 4]), Fault::EmptyNotBare);
    assert_eq!(fault(&[0x41, 0, 2, 3]), Fault::EmptyNotBare);
    assert_eq!(fault(&[0x40, 0, 2, 3, 4]), Fault::EmptyNotBare);
    assert_eq!(fault(&[0x40, 0, 2, 3, 0xff, 1]), Fault::EmptyNotBare);
}

#[test]
fn a_payload_marker_needs_a_payload() {
    assert_eq!(Message::parse(&[0x40, 1, 2, 3, 0xff, 9]).unwrap().payload, [9]);
    assert_eq!(fault(&[0x40, 1, 2, 3, 0xff]), Fault::PayloadMissing);
    assert_eq!(fault(&[0x40, 1, 2, 3, 0xb0, 0xff]), Fault::PayloadMissing);
    assert_eq!(Message::parse(&[0x40, 1, 2, 3, 0xff, 0xff]).unwrap().payload, [0xff]);
}

#[test]
fn reserved_nibbles_are_faults() {
    assert_eq!(fault(&[0x40, 1, 2, 3, 0xf0]), Fault::Option);
    assert_eq!(fault(&[0x40, 1, 2, 3, 0x0f]), Fault::Option);
    assert_eq!(fault(&[0x40, 1, 2, 3, 0xfe, 0, 0]), Fault::Option);
}

#[test]
fn option_numbers_reach_65535_and_no_further() {
    // 269 + 65266 = 65535.
    let at_the_end = [0x40, 1, 2, 3, 0xe0, 0xfe, 0xf2];
    let options = Message::parse(&at_the_end).unwrap().options;
    assert_eq!(options.iter().next().unwrap().number, Number(65_535));
    assert_eq!(fault(&[0x40, 1, 2, 3, 0xe0, 0xfe, 0xf3]), Fault::Option);
    assert_eq!(fault(&[0x40, 1, 2, 3, 0xe0, 0xfe, 0xf2, 0x10]), Fault::Option);
}

#[test]
fn options_end_within_the_message() {
    assert!(Message::parse(&[0x40, 1, 2, 3, 0xb2, b'a', b'b']).is_ok());
    for cut in [
        &[0x40, 1, 2, 3, 0xb2, b'a'][..],
        &[0x40, 1, 2, 3, 0xd0],
        &[0x40, 1, 2, 3, 0xe0, 0],
        &[0x40, 1, 2, 3, 0x0d],
        &[0x40, 1, 2, 3, 0x0e, 0],
        &[0x40, 1, 2, 3, 0x0e, 0, 0],
    ] {
        assert_eq!(fault(cut), Fault::Truncated, "{cut:02x?}");
    }
}

/// RFC 7252 section 4.2: only a Confirmable message is reset, and only if its ID could be read.
#[test]
fn a_malformed_message_says_whether_to_reset() {
    let reset_mid = |first: u8| Message::parse(&[first | 9, 1, 2, 3]).unwrap_err().reset_mid;
    assert_eq!(reset_mid(0x40), Some(0x0203));
    assert_eq!([reset_mid(0x50), reset_mid(0x60), reset_mid(0x70)], [None; 3]);
    let short = FormatError { fault: Fault::TooShort, reset_mid: None };
    assert_eq!(Message::parse(&[0x40, 1, 2]).unwrap_err(), short);
    assert_eq!(Message::parse(&[0x80, 1, 2, 3]).unwrap_err().reset_mid, None);
}

/// Both sides of each step of the delta and length coding (RFC 7252 section 3.1).
#[test]
fn deltas_and_lengths_change_form_at_13_and_269() {
    let value = [7; 300];
    for (number, len, head) in [
        (12, 12, "cc"),
        (13, 13, "dd0000"),
        (268, 268, "ddffff"),
        (269, 269, "ee00000000"),
        (65_535, 0, "e0fef2"),
    ] {
        let bytes = write(|buffer| {
            Writer::new(buffer, Type::Non, Code::GET, 1, &Token::EMPTY)
                .option(Number(number), &value[..len])
                .finish()
        });
        assert_eq!(hex::encode(&bytes[4..bytes.len() - len]), head);
        let entry = Message::parse(&bytes).unwrap().options.iter().next().unwrap();
        assert_eq!((entry.number.0, entry.value.len()), (number, len));
    }
}

/// RFC 7252 section 3.2: shortest form when sending, leading zeros accepted.
#[test]
fn unsigned_values_are_sent_short_and_read_long() {
    for (value, encoded) in [
        (0, "c0"),
        (1, "c101"),
        (255, "c1ff"),
        (256, "c20100"),
        (65_536, "c3010000"),
        (u32::MAX, "c4ffffffff"),
    ] {
        let bytes = write(|buffer| {
            Writer::new(buffer, Type::Non, Code::GET, 1, &Token::EMPTY)
                .option_uint(Number(12), value)
                .finish()
        });
        assert_eq!(hex::encode(&bytes[4..]), encoded);
    }
    let with_zeros = [0x40, 1, 2, 3, 0xc2, 0, 50];
    assert_eq!(Message::parse(&with_zeros).unwrap().options.content_format(), Some(50));
}

#[test]
fn a_message_that_does_not_fit_is_told_at_the_end() {
    let build = |buffer: &mut [u8]| {
        Writer::new(buffer, Type::Con, Code::PUT, 1, &Token::new(&[1, 2]))
            .option(Number::URI_PATH, b"t")
            .payload(b"21")
            .finish()
    };
    let mut buffer = [0; 11];
    assert_eq!(build(&mut buffer), Ok(11));
    for len in 0..11 {
        assert_eq!(build(&mut buffer[..len]), Err(WriteError::Full), "{len}");
    }
    let too_long = vec![0; 65_536];
    let mut buffer = vec![0; 70_000];
    let mut writer = Writer::new(&mut buffer, Type::Con, Code::PUT, 1, &Token::EMPTY);
    assert_eq!(writer.option(Number::URI_PATH, &too_long).finish(), Err(WriteError::Full));
}

#[test]
fn an_empty_payload_or_diagnostic_writes_no_marker() {
    for is_diagnostic in [false, true] {
        let bytes = write(|buffer| {
            let mut writer = Writer::new(buffer, Type::Ack, Code::BAD_OPTION, 1, &Token::EMPTY);
            if is_diagnostic {
                writer.diagnostic(format_args!(""));
            } else {
                writer.payload(b"");
            }
            writer.finish()
        });
        assert_eq!(bytes.len(), 4);
    }
    let bytes = write(|buffer| {
        Writer::new(buffer, Type::Ack, Code::BAD_OPTION, 1, &Token::EMPTY)
            .diagnostic(format_args!("{} {}", Number::OSCORE, Number(9_999)))
            .finish()
    });
    assert_eq!(Message::parse(&bytes).unwrap().payload, b"OSCORE option 9999");
}

#[test]
#[should_panic(expected = "ascending order")]
fn options_out_of_order_are_our_own_bug() {
    Writer::new(&mut [0; 64], Type::Con, Code::GET, 1, &Token::EMPTY)
        .option(Number::URI_QUERY, b"a")
        .option(Number::URI_PATH, b"b");
}
