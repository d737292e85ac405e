//! What does CoAP cost by itself? The codec, the judgement of a request, and an exchange from a
//! request to its reply.

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use tidegate_coap::admission::admit;
use tidegate_coap::code::Code;
use tidegate_coap::dedup::{Lifetimes, Told, Window};
use tidegate_coap::inbound::{Inbound, Separate, Windows};
use tidegate_coap::message::{Message, Token, Type, Writer};
use tidegate_coap::option::{Number, Understood};
use tidegate_coap::timing::Timing;

/// A CON PUT with an 8-byte token, two path segments, Content-Format and 44 bytes.
fn write(out: &mut [u8], mid: u16) -> usize {
    Writer::new(out, Type::Con, Code::PUT, mid, &Token::new(b"\x01\x02\x03\x04\x05\x06\x07\x08"))
        .option(Number::URI_PATH, b"telemetry")
        .option(Number::URI_PATH, b"temperature")
        .option_uint(Number::CONTENT_FORMAT, 60)
        .payload(&[b'x'; 44])
        .finish()
        .expect("it fits")
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coap codec");
    let mut bytes = [0; 128];
    let length = write(&mut bytes, 7);
    group.bench_function("write", |bencher| {
        let mut out = [0; 128];
        bencher.iter(|| write(black_box(&mut out), 7));
    });
    group.bench_function("parse", |bencher| {
        bencher.iter(|| Message::parse(black_box(&bytes[..length])).map(|message| message.mid));
    });
    group.bench_function("parse and admit", |bencher| {
        bencher.iter(|| {
            let message = Message::parse(black_box(&bytes[..length])).expect("well formed");
            admit(&message, Understood::EDGE_REQUEST)
        });
    });
    group.finish();
}

fn exchange(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("coap exchange");
    let (timing, lifetimes) = (Timing::DEFAULT, Lifetimes::new(&Timing::DEFAULT));
    let (mut window, mut mid, mut now_ms) = (Window::default(), 0u16, 0);
    group.bench_function("a fresh Message ID, settled", |bencher| {
        bencher.iter(|| {
            (mid, now_ms) = (mid.wrapping_add(1), now_ms + 4);
            let seen = window.on_arrival(now_ms, lifetimes, Type::Con, black_box(mid));
            window.settle(mid, Told::Replied(Code::CHANGED));
            seen
        });
    });
    let mut bytes = [0; 128];
    let length = write(&mut bytes, 7);
    let request = Message::parse(&bytes[..length]).expect("well formed");
    let windows = Windows { piggyback_ms: 1_500, response_ms: 60_000 };
    group.bench_function("a request, piggybacked", |bencher| {
        bencher.iter(|| {
            let mut inbound = Inbound::new(0, black_box(&request), windows, &timing);
            let separate = Separate::Con { mid: 1, jitter: 0 };
            inbound.respond(1, &timing, Code::CHANGED, separate, None, |_| {}).expect("held");
            inbound.message(None).len()
        });
    });
    group.finish();
}

criterion_group!(benches, codec, exchange);
criterion_main!(benches);
