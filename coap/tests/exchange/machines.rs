//! What holds for the machines alone, whatever is done to them in whatever order.

use proptest::prelude::*;
use tidegate_coap::code::Code;
use tidegate_coap::inbound::{self, Inbound, Kept, Separate, Windows};
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::option::Understood;
use tidegate_coap::outbound::{self, Outbound};
use tidegate_coap::timing::Timing;

/// Something that happens to a machine after `wait_ms`.
#[derive(Clone, Debug)]
struct Step {
    wait_ms: u64,
    input: Input,
}

#[derive(Clone, Debug)]
enum Input {
    Due,
    Ack(u16),
    Reset(u16),
    /// A response of this type and Message ID, with a token that fits or not.
    Response(u8, u16, bool),
    Respond {
        is_con: bool,
        payload_bytes: usize,
        is_kept: bool,
    },
    Cancel,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mid = 0..4_u16;
    let respond = (any::<bool>(), 0..60_usize, any::<bool>());
    let input = prop_oneof![
        4 => Just(Input::Due),
        1 => mid.clone().prop_map(Input::Ack),
        1 => mid.clone().prop_map(Input::Reset),
        1 => (0..3_u8, mid, any::<bool>()).prop_map(|(ty, mid, fits)| Input::Response(ty, mid, fits)),
        1 => respond.prop_map(|(is_con, payload_bytes, is_kept)| {
            Input::Respond { is_con, payload_bytes, is_kept }
        }),
        1 => Just(Input::Cancel),
    ];
    let step = (0..20_000_u64, input).prop_map(|(wait_ms, input)| Step { wait_ms, input });
    prop::collection::vec(step, 0..60)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// An end is final, timers lie ahead, nothing is sent more than 1 + MAX_RETRANSMIT times, nor
    /// after MAX_TRANSMIT_SPAN.
    #[test]
    fn an_outbound_exchange_keeps_its_promises(
        is_con in any::<bool>(), jitter in any::<u16>(), steps in steps(),
    ) {
        let ty = if is_con { Type::Con } else { Type::Non };
        let token = Token::new(&[7]);
        let mut outbound = Outbound::new(ty, Code::GET, token, |_| {}).unwrap();
        outbound.start(0, &Timing::DEFAULT, 2, jitter, 10_000);
        let (mut now_ms, mut transmissions) = (0, 1);
        for Step { wait_ms, input } in steps {
            now_ms += wait_ms;
            let end = outbound.end();
            match input {
                Input::Due | Input::Respond { .. } => {
                    while outbound.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                        if outbound.on_due(now_ms) == outbound::Act::Retransmit {
                            transmissions += 1;
                            prop_assert!(now_ms <= Timing::DEFAULT.max_transmit_span_ms());
                        }
                    }
                }
                Input::Ack(mid) => _ = outbound.on_ack(now_ms, mid),
                Input::Reset(mid) => _ = outbound.on_reset(mid),
                Input::Response(ty, mid, fits) => {
                    let bytes = [0x41 | ty << 4, 0x45, 0, mid as u8, if fits { 7 } else { 8 }];
                    let response = Message::parse(&bytes).unwrap();
                    let turn = outbound.on_response(&response, Understood::NONE);
                    prop_assert!(fits || matches!(turn, outbound::Turn::Rejected(_)));
                }
                Input::Cancel => outbound.cancel(),
            }
            prop_assert!(end.is_none() || outbound.end() == end, "an end is final");
            prop_assert_eq!(outbound.end().is_some(), outbound.due_ms().is_none());
        }
        let transmissions_max = if is_con { 5 } else { 1 };
        prop_assert!(transmissions <= transmissions_max);
    }

    /// The same, and there is one response at most.
    #[test]
    fn an_inbound_exchange_keeps_its_promises(
        ty in 0..3_u8, jitter in any::<u16>(), steps in steps(),
    ) {
        let request = [0x41 | ty << 4, 0x01, 0, 1, 7];
        let windows = Windows { piggyback_ms: 1_500, response_ms: 8_000 };
        let request = Message::parse(&request).unwrap();
        let mut inbound = Inbound::new(0, &request, windows, &Timing::DEFAULT);
        let mut place = Kept::new();
        let (mut now_ms, mut answered_ms, mut acks, mut is_kept) = (0, None, 0, false);
        for Step { wait_ms, input } in steps {
            now_ms += wait_ms;
            let end = inbound.end();
            match input {
                Input::Due | Input::Response(..) | Input::Cancel => {
                    while inbound.due_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                        match inbound.on_due(now_ms) {
                            inbound::Act::SendEmptyAck(_) => acks += 1,
                            inbound::Act::Retransmit => {
                                let sent_for_ms = now_ms - answered_ms.unwrap();
                                prop_assert!(sent_for_ms <= Timing::DEFAULT.max_transmit_span_ms());
                            }
                            _ => {}
                        }
                    }
                }
                Input::Ack(mid) => _ = inbound.on_ack(mid),
                Input::Reset(mid) => _ = inbound.on_reset(mid),
                Input::Respond { is_con, payload_bytes, is_kept: wants_kept } => {
                    let was_held = inbound.is_held();
                    let separate = if is_con {
                        Separate::Con { mid: 2, jitter }
                    } else {
                        Separate::Non { mid: 2 }
                    };
                    let kept = wants_kept.then_some(&mut place);
                    let code = Code::CONTENT;
                    let response = inbound.respond(now_ms, &Timing::DEFAULT, code, separate, kept, |w| {
                        w.payload(&[9; 60][..payload_bytes]);
                    });
                    if let Ok(manner) = response {
                        prop_assert!(answered_ms.replace(now_ms).is_none(), "one response");
                        prop_assert_eq!(was_held, manner == inbound::Manner::Piggybacked);
                        acks += u32::from(was_held);
                        is_kept = wants_kept;
                    }
                }
            }
            let kept = is_kept.then_some(&place);
            prop_assert_eq!(inbound.is_answered(), !inbound.message(kept).is_empty());
            prop_assert!(end.is_none() || inbound.end() == end, "an end is final");
        }
        prop_assert!(acks <= u32::from(ty == 0), "one ACK, and only for a CON");
    }
}
