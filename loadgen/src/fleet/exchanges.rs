//! Which requests are under way? A slab: the token says the place, so that a response finds its
//! request without a search.
//!
//! A place's number goes into the token with how often the place was used, so that a response that
//! comes late finds that its request is over.

use tidegate_coap::block::{Block, Upload};
use tidegate_coap::message::Token;
use tidegate_coap::timing::Timing;

/// One request of a device.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    pub(super) device: u32,
    /// When it should have been sent, ns.
    pub(super) due_ns: u64,
    /// When it was first sent, ns.
    pub(super) sent_ns: u64,
    /// When something has to be done about it, ms.
    pub(super) timer_ms: u64,
    /// When it is given up, ms.
    pub(super) give_up_ms: u64,
    /// First timeout, ms (RFC 7252 section 4.2).
    timeout_ms: u32,
    /// The whole body, bytes.
    pub(super) body_bytes: u32,
    /// Another exchange of the device, or [`NONE`].
    next: u32,
    pub(super) mid: u16,
    /// Index of the request in the phase.
    pub(super) template: u16,
    /// How far a body in blocks is.
    pub(super) upload: Option<Upload>,
    /// Which part of a long response is asked for.
    pub(super) wanted: Option<Block>,
    /// How often the current message was sent again.
    pub(super) tries: u8,
    pub(super) state: State,
    uses: u8,
    /// When the wheel looks at this place, ms; 0: not in it.
    pub(super) armed_ms: u64,
}

/// Where a request stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody's.
    Free,
    /// A CON without ACK.
    Confirming,
    /// A response is to come.
    Expecting,
}

/// All of one thread.
#[derive(Debug, Default)]
pub(super) struct Exchanges {
    places: Vec<Exchange>,
    free: Vec<u32>,
}

/// No exchange.
pub(super) const NONE: u32 = u32::MAX;
/// What a token can name.
const PLACES_MAX: usize = 1 << 24;

impl Exchanges {
    /// A place for a request; `first` is the device's newest exchange. `None`: there are too many.
    pub(super) fn open(&mut self, device: u32, first: &mut u32) -> Option<u32> {
        let place = match self.free.pop() {
            Some(place) => place,
            None if self.places.len() < PLACES_MAX => {
                self.places.push(Exchange::EMPTY);
                self.places.len() as u32 - 1
            }
            None => return None,
        };
        let (uses, armed_ms) = (self[place].uses.wrapping_add(1), self[place].armed_ms);
        let next = std::mem::replace(first, place);
        self[place] = Exchange { device, next, uses, armed_ms, ..Exchange::EMPTY };
        Some(place)
    }

    /// The request is over.
    pub(super) fn close(&mut self, place: u32, first: &mut u32) {
        let next = self[place].next;
        if *first == place {
            *first = next;
        } else {
            let mut at = *first;
            while self[at].next != place {
                at = self[at].next;
            }
            self[at].next = next;
        }
        self[place].state = State::Free;
        self.free.push(place);
    }

    /// The token of a request that is open.
    pub(super) fn token(&self, place: u32) -> Token {
        Token::new(&(u32::from(self[place].uses) << 24 | place).to_be_bytes())
    }

    /// Whose response it is, if it is this device's and its request is not over.
    pub(super) fn find(&self, device: u32, token: &[u8]) -> Found {
        let Ok(token) = token.try_into().map(u32::from_be_bytes) else { return Found::Unknown };
        let (place, uses) = (token & 0xff_ffff, (token >> 24) as u8);
        match self.places.get(place as usize) {
            Some(exchange) if exchange.uses == uses && exchange.state != State::Free => {
                if exchange.device == device { Found::Open(place) } else { Found::Unknown }
            }
            // Used before, or over: nothing says by whom.
            Some(_) => Found::Over,
            None => Found::Unknown,
        }
    }

    /// The request of a device that has this Message ID.
    pub(super) fn with_mid(&self, first: u32, mid: u16) -> Option<u32> {
        let mut at = first;
        while at != NONE {
            if self[at].mid == mid {
                return Some(at);
            }
            at = self[at].next;
        }
        None
    }
}

/// What a token names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Open(u32),
    /// A request that is over.
    Over,
    /// None that was ever made.
    Unknown,
}

impl std::ops::Index<u32> for Exchanges {
    type Output = Exchange;
    fn index(&self, place: u32) -> &Exchange {
        &self.places[place as usize]
    }
}

impl std::ops::IndexMut<u32> for Exchanges {
    fn index_mut(&mut self, place: u32) -> &mut Exchange {
        &mut self.places[place as usize]
    }
}

impl Exchange {
    const EMPTY: Self = Self {
        device: 0,
        due_ns: 0,
        sent_ns: 0,
        timer_ms: 0,
        give_up_ms: 0,
        timeout_ms: 0,
        body_bytes: 0,
        next: NONE,
        mid: 0,
        template: 0,
        upload: None,
        wanted: None,
        tries: 0,
        state: State::Free,
        uses: 0,
        armed_ms: 0,
    };

    /// A message of it was sent for the first time. `give_up_ms`: no response after that.
    pub(super) fn start(&mut self, now_ms: u64, timing: &Timing, jitter: u16, give_up_ms: u64) {
        self.give_up_ms = give_up_ms;
        (self.tries, self.timeout_ms) = (0, timing.first_timeout_ms(jitter) as u32);
        self.timer_ms = match self.state {
            State::Confirming => give_up_ms.min(now_ms + u64::from(self.timeout_ms)),
            _ => give_up_ms,
        };
    }

    /// Its time has come: whether it is to be sent again. `false`: it is over.
    pub(super) fn on_due(&mut self, now_ms: u64, timing: &Timing) -> bool {
        let may = self.state == State::Confirming && self.tries < timing.max_retransmit;
        if !may || now_ms >= self.give_up_ms {
            return false;
        }
        self.tries += 1;
        let timeout_ms = u64::from(self.timeout_ms) << self.tries;
        self.timer_ms = self.give_up_ms.min(now_ms + timeout_ms);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn opened(exchanges: &mut Exchanges, device: u32, first: &mut u32) -> u32 {
        let place = exchanges.open(device, first).unwrap();
        exchanges[place].state = State::Expecting;
        place
    }

    #[test]
    fn a_response_finds_its_request_and_nobody_else_s() {
        let mut exchanges = Exchanges::default();
        let mut first = NONE;
        let place = opened(&mut exchanges, 7, &mut first);
        let token = exchanges.token(place);
        assert_eq!(exchanges.find(7, token.as_bytes()), Found::Open(place));
        assert_eq!(exchanges.find(8, token.as_bytes()), Found::Unknown);
        assert_eq!(exchanges.find(7, &token.as_bytes()[..3]), Found::Unknown);
        assert_eq!(exchanges.find(7, &[1, 0, 0, 9]), Found::Unknown, "no such place");
        exchanges.close(place, &mut first);
        assert_eq!(exchanges.find(7, token.as_bytes()), Found::Over);
        let again = opened(&mut exchanges, 7, &mut first);
        assert_eq!(again, place, "places are used again");
        assert_eq!(exchanges.find(7, token.as_bytes()), Found::Over, "tokens are not");
    }

    #[test]
    fn a_device_s_requests_are_found_by_message_id_and_end_in_any_order() {
        for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2], [1, 2, 0]] {
            let mut exchanges = Exchanges::default();
            let mut first = NONE;
            let places = [0, 1, 2].map(|mid: u16| {
                let place = opened(&mut exchanges, 1, &mut first);
                exchanges[place].mid = mid;
                place
            });
            let mut left = vec![0, 1, 2];
            for mid in order {
                exchanges.close(places[usize::from(mid)], &mut first);
                left.retain(|other| *other != mid);
                for mid in 0..3 {
                    let is_left = left.contains(&mid);
                    assert_eq!(exchanges.with_mid(first, mid).is_some(), is_left, "{order:?}");
                }
            }
            assert_eq!((first, exchanges.free.len()), (NONE, 3));
        }
    }

    /// RFC 7252 section 4.2, and the patience of whoever asked.
    #[test]
    fn a_confirmable_is_sent_again_with_doubled_timeouts_and_given_up() {
        let timing = Timing { max_retransmit: 2, ..Timing::DEFAULT };
        let mut exchange = Exchange { state: State::Confirming, ..Exchange::EMPTY };
        exchange.start(1_000, &timing, 0, 60_000);
        assert_eq!(exchange.timer_ms, 3_000);
        assert!(exchange.on_due(3_000, &timing));
        assert_eq!(exchange.timer_ms, 7_000);
        assert!(exchange.on_due(7_000, &timing));
        assert_eq!(exchange.timer_ms, 15_000);
        assert!(!exchange.on_due(15_000, &timing), "MAX_RETRANSMIT");

        exchange.start(1_000, &timing, u16::MAX, 3_500);
        assert_eq!(exchange.timer_ms, 3_500, "given up before the first timeout of 3 s is over");
        assert!(!exchange.on_due(3_500, &timing));
        exchange.state = State::Expecting;
        exchange.start(1_000, &timing, 0, 9_000);
        assert_eq!(exchange.timer_ms, 9_000, "a NON is not sent again");
        assert!(!exchange.on_due(9_000, &timing));
    }
}
