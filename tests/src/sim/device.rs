//! What does a device do? With a session, or without, it has a CoAP endpoint of its own: it sends
//! requests one at a time, repeats them as RFC 7252 says, serves what it is asked, and starts anew
//! when nothing answers.
//!
//! The CoAP half is written for the simulator and shares nothing with the edge: a mistake of the
//! edge's timers is no mistake here.

mod burst;
mod exchange;
mod gathered;
mod listening;
mod request;
mod serving;
mod session;
mod telling;
mod watch;

use std::collections::VecDeque;
use std::net::SocketAddr;

use rand::Rng;
use rand::rngs::StdRng;
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type, empty};
use tidegate_coap::option::Number;

use self::burst::{Burst, asks_for_blocks};
use self::exchange::{Due, Exchange};
use self::request::{Follows, MESSAGE_BODY_BYTES, Request};
use self::serving::{Served, Serving};
use self::session::{News, Session};
use self::telling::Telling;
use self::watch::Watch;
use super::plan::{DevicePlan, Odd};
use super::seed;
use super::unsecured::home;
use crate::story::message;

/// One device.
pub(crate) struct Device {
    pub(crate) number: usize,
    /// Where the edge sees it.
    pub(crate) address: SocketAddr,
    /// It neither hears nor says anything before this.
    pub(crate) asleep_until_ms: u64,
    /// CON and NON of it that have come to the edge, copies too.
    pub(crate) arrived: u32,
    plan: DevicePlan,
    random: StdRng,
    session: Session,
    mid: u16,
    serial: u32,
    /// What said last that it speaks now.
    echo: Option<Vec<u8>>,
    /// Messages that can be taken for requests or responses: when each was first sent.
    sent_ms: VecDeque<u64>,
    sent: u32,
    wishes: VecDeque<Wish>,
    current: Option<Exchange>,
    /// In its place.
    burst: Option<Burst>,
    /// Messages whose answer may still come, the newest last, and of which uplink they are.
    earlier: VecDeque<(Token, Option<u32>)>,
    serving: Serving,
    /// Who observes its state.
    telling: Telling,
    /// What it observes.
    watch: Option<Watch>,
    wants_watch: bool,
    /// A last request that has to succeed.
    wants_last: bool,
    /// After an error it does not ask before this.
    rests_until_ms: u64,
    pub(crate) out: Vec<Vec<u8>>,
    pub(crate) said: Vec<Said>,
}

/// What others have to know of a device.
#[derive(Clone, Debug)]
pub(crate) enum Said {
    /// A handshake is complete.
    Up,
    /// A request leaves for the first time; `in_bursts`: its body does.
    Asked { serial: u32, method: u8, confirmable: bool, in_bursts: bool },
    /// It asks to observe what the edge has for it, or for more of that.
    AskedToWatch { serial: u32 },
    /// It asks for the rest of a response, by a request that stands for itself where that is gone.
    AskedForRest { serial: u32 },
    /// A response to it came.
    Answered { serial: u32, code: Code, payload: Vec<u8> },
    /// A request of the edge came whole, for the first time.
    Saw { payload: Vec<u8> },
    /// Part of one came whose beginning it has not.
    Refused,
    /// The edge has acknowledged this state of it.
    Told { state: u32 },
    /// It does not want to be observed.
    Rejected,
    /// It hears of a value of the edge's, or of its first block; `begins`: it asked for it.
    Heard { payload: Vec<u8>, begins: bool },
    /// A request of ours was repeated until it made no sense any more.
    Silence,
}

/// A request that waits for its turn.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) confirmable: bool,
    pub(crate) method: u8,
}

/// After an error: as long as the edge asks for, and longer than its response may take back.
const REST_MS: u64 = 5_000;
/// Messages whose late answers are recognised.
const EARLIER_MAX: usize = 96;
/// Whatever was sent before has arrived, or never will: longer than anything is repeated.
const LATE_MS: u64 = 300_000;

impl Device {
    pub(crate) fn new(run_seed: u64, plan: &DevicePlan) -> Self {
        let number = plan.number;
        let mut random = seed::stream(run_seed, "device's", number);
        Self {
            number,
            address: home(number),
            asleep_until_ms: 0,
            arrived: 0,
            plan: plan.clone(),
            session: Session::new(run_seed, plan),
            mid: random.random(),
            serial: 0,
            echo: None,
            sent_ms: VecDeque::new(),
            sent: 0,
            wishes: VecDeque::new(),
            current: None,
            burst: None,
            earlier: VecDeque::new(),
            serving: Serving::default(),
            telling: Telling::default(),
            watch: None,
            wants_watch: false,
            wants_last: false,
            rests_until_ms: 0,
            out: Vec::new(),
            said: Vec::new(),
            random,
        }
    }

    /// It is switched off and on again.
    pub(crate) fn reboots(&mut self) {
        self.session.forgets();
        (self.current, self.burst) = (None, None);
        self.wishes.clear();
        self.earlier.clear();
        self.serving = Serving::default();
        self.telling.ends();
        self.watch = None;
        self.echo = None;
        // Like many, it begins with the Message ID it always begins with. Without a session that
        // ends with it the edge would take its messages for copies (RFC 7252 section 4.4).
        let far = if self.is_plain() { self.random.random_range(500..60_000) } else { 0 };
        self.mid = if self.is_plain() { self.mid.wrapping_add(far) } else { 0 };
    }

    /// It would like to send a request.
    pub(crate) fn wishes(&mut self, now_ms: u64, wish: Wish) {
        if self.wishes.len() < WISHES_MAX {
            self.wishes.push_back(wish);
        }
        self.proceeds(now_ms);
    }

    /// It says something that is no request to be served, if it has a session.
    pub(crate) fn says_odd(&mut self, now_ms: u64, odd: Odd) {
        if now_ms < self.asleep_until_ms || !self.is_up() {
            return;
        }
        self.mid = self.mid.wrapping_add(1);
        let (mid, token) = (self.mid, Token::new(b"odd"));
        let text = match odd {
            Odd::Ping => message(Type::Con, Code::EMPTY, mid, &Token::EMPTY, |_| ()),
            Odd::Noise => vec![0xff; 9],
            Odd::Critical => message(Type::Con, Code::GET, mid, &token, |writer| {
                writer.option(Number(9_999), b"?");
            }),
            Odd::Response => message(Type::Con, Code::CONTENT, mid, &token, |_| ()),
        };
        self.counts(now_ms);
        self.seals(&text);
    }

    /// It has another state.
    pub(crate) fn changes(&mut self, now_ms: u64) {
        self.telling.changes();
        self.proceeds(now_ms);
    }

    /// It would like to observe what the edge has for it.
    pub(crate) fn wants_watch(&mut self, now_ms: u64) {
        self.wants_watch = true;
        self.proceeds(now_ms);
    }

    /// From now on it tries until it observes anew, and one request is answered 2.xx.
    pub(crate) fn wants_last(&mut self, now_ms: u64) {
        self.wants_last = true;
        self.wants_watch = true;
        self.proceeds(now_ms);
    }

    /// Whether that has come true.
    pub(crate) fn is_content(&self) -> bool {
        !self.has_wish() && !self.is_busy()
    }

    fn is_busy(&self) -> bool {
        self.current.is_some() || self.burst.is_some()
    }

    /// CON and NON it has sent, and some it may have sent.
    pub(crate) fn spoken(&self) -> u32 {
        // Without security a copy may come as often as the network likes, and count each time.
        if self.is_plain() { self.arrived } else { self.sent }
    }

    /// It speaks plain CoAP.
    pub(crate) fn is_plain(&self) -> bool {
        self.session.is_plain()
    }

    /// Those that may still be on their way.
    pub(crate) fn late(&mut self, now_ms: u64) -> u32 {
        if self.is_plain() {
            return 0;
        }
        while self.sent_ms.front().is_some_and(|ms| ms + LATE_MS < now_ms) {
            self.sent_ms.pop_front();
        }
        self.sent_ms.len() as u32
    }

    fn counts(&mut self, now_ms: u64) {
        self.sent += 1;
        self.sent_ms.push_back(now_ms);
    }

    pub(crate) fn session(&mut self) -> Option<&mut tidegate_dtls::Established> {
        self.session.established()
    }

    /// Length of the Connection ID in records toward it.
    pub(crate) fn cid_len(&self) -> usize {
        self.session.cid_len()
    }

    /// When to call [`Self::on_due`].
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let session = self.session.due_ms();
        let exchange = self.current.as_ref().map(Exchange::due_ms);
        let current = exchange.or(self.burst.as_ref().map(Burst::due_ms));
        let has_turn = !self.is_busy() && self.has_wish();
        let retry = self.session.begins_ms().filter(|_| has_turn);
        let rest = (has_turn && self.is_up()).then_some(self.rests_until_ms);
        let all = [session, current, retry, rest, self.serving.due_ms(), self.telling.due_ms()];
        let due = all.into_iter().flatten().min();
        due.map(|due_ms| due_ms.max(self.asleep_until_ms))
    }

    fn is_up(&self) -> bool {
        self.session.is_up()
    }

    fn has_wish(&self) -> bool {
        self.wants_watch || self.wants_last || !self.wishes.is_empty()
    }

    /// Time has passed.
    pub(crate) fn on_due(&mut self, now_ms: u64) {
        if now_ms < self.asleep_until_ms {
            return;
        }
        self.session.on_due(now_ms);
        self.on_exchange_due(now_ms);
        self.on_burst_due(now_ms);
        let told = self.telling.on_due(now_ms);
        for message in self.serving.on_due(now_ms).into_iter().chain(told) {
            self.seals(&message);
        }
        self.proceeds(now_ms);
    }

    fn on_exchange_due(&mut self, now_ms: u64) {
        let Some(exchange) = &mut self.current else { return };
        match exchange.on_due(now_ms) {
            Due::Nothing => {}
            Due::Again(message) => self.seals(&message),
            Due::Over => self.current = None,
            Due::Silence => {
                self.current = None;
                self.gives_up_session(now_ms);
            }
        }
    }

    /// Nobody is there: the next request shakes hands again.
    fn gives_up_session(&mut self, now_ms: u64) {
        self.said.push(Said::Silence);
        let after_ms = self.random.random_range(0..3_000);
        self.session.ends(now_ms, after_ms);
        if self.is_plain() {
            self.rests_until_ms = now_ms + after_ms;
        }
    }

    /// A datagram came.
    pub(crate) fn on_datagram(&mut self, now_ms: u64, bytes: &mut [u8]) {
        if now_ms < self.asleep_until_ms {
            return;
        }
        let Some(messages) = self.session.on_datagram(now_ms, bytes) else { return };
        self.sees_session(now_ms);
        for message in messages {
            if let Ok(message) = Message::parse(&message) {
                self.on_message(now_ms, &message);
            }
        }
        self.proceeds(now_ms);
    }

    /// What has become of the handshake or the session?
    fn sees_session(&mut self, now_ms: u64) {
        match self.session.polls(now_ms, &mut self.out) {
            Some(News::Up) => self.said.push(Said::Up),
            Some(News::Opened) => {
                // Of another session: nothing of the last one counts.
                (self.current, self.burst) = (None, None);
                self.begins_anew();
                self.said.push(Said::Up);
            }
            Some(News::Over) => {
                (self.current, self.burst) = (None, None);
                self.session.rests(self.random.random_range(500..8_000));
            }
            None => {}
        }
    }

    /// Does what can be done now: a handshake, the next request.
    fn proceeds(&mut self, now_ms: u64) {
        self.sees_session(now_ms);
        self.tells(now_ms);
        if now_ms < self.asleep_until_ms || self.is_busy() || !self.has_wish() {
            return;
        }
        if self.session.begins_ms().is_some_and(|begins_ms| now_ms >= begins_ms) {
            self.connects(now_ms);
        }
        if !self.is_up() || now_ms < self.rests_until_ms {
            return;
        }
        if self.wants_watch {
            self.serial += 1;
            return self.sends_next(now_ms, Request::watch(self.serial, self.plan.szx));
        }
        let last = Wish { confirmable: true, method: 3 };
        let wish = self.wishes.pop_front().unwrap_or(last);
        self.asks(now_ms, wish);
    }

    fn connects(&mut self, now_ms: u64) {
        self.session.begins(now_ms, &mut self.random);
        self.begins_anew();
        self.sees_session(now_ms);
    }

    /// It has not observed or served anything yet.
    fn begins_anew(&mut self) {
        self.watch = None;
        self.telling.ends();
        self.serving = Serving::default();
    }

    fn asks(&mut self, now_ms: u64, wish: Wish) {
        self.serial += 1;
        let serial = self.serial;
        let text = uplink_text(self.number, serial);
        if let Some(method) = self.asks_in_bursts(now_ms, wish, &text) {
            let (method, confirmable) = (method.0, wish.confirmable);
            let in_bursts = text.len() > MESSAGE_BODY_BYTES;
            self.said.push(Said::Asked { serial, method, confirmable, in_bursts });
            return self.bursts(now_ms);
        }
        let mut request = Request::new(serial, wish.method, wish.confirmable, text, self.plan.szx);
        request.echo.clone_from(&self.echo);
        let (method, confirmable) = (request.method.0, request.ty == Type::Con);
        self.said.push(Said::Asked { serial, method, confirmable, in_bursts: false });
        self.sends_next(now_ms, request);
    }

    /// The next message of a request.
    fn sends_next(&mut self, now_ms: u64, request: Request) {
        self.mid = self.mid.wrapping_add(1);
        let exchange = Exchange::new(now_ms, request, self.mid, &mut self.random);
        self.counts(now_ms);
        self.seals(exchange.message());
        let request = &exchange.request;
        let serial = (!request.is_watch).then_some(request.serial);
        if request.is_watch {
            self.said.push(Said::AskedToWatch { serial: request.serial });
        }
        self.remembers((request.token(), serial));
        self.current = Some(exchange);
    }

    fn remembers(&mut self, known: (Token, Option<u32>)) {
        self.earlier.push_back(known);
        if self.earlier.len() > EARLIER_MAX {
            self.earlier.pop_front();
        }
    }

    /// Tells of its state, when somebody observes it who does not know it.
    fn tells(&mut self, now_ms: u64) {
        if self.telling.has_news() && self.is_up() && now_ms >= self.asleep_until_ms {
            self.mid = self.mid.wrapping_add(1);
            let told = self.telling.tells(now_ms, self.number, self.mid, &mut self.random);
            self.counts(now_ms);
            self.seals(&told);
        }
    }

    fn on_message(&mut self, now_ms: u64, message: &Message<'_>) {
        if message.code.is_request() {
            let number = self.number;
            let telling = &mut self.telling;
            let random = &mut self.random;
            let served = self.serving.on_request(now_ms, number, message, telling, random);
            if !matches!(served, Served::Again) {
                self.counts(now_ms);
            }
            if self.serving.take_rejected() {
                self.said.push(Said::Rejected);
            }
            match served {
                Served::Whole(saw) => self.said.push(saw),
                Served::Refused => self.said.push(Said::Refused),
                Served::Again | Served::Part => {}
            }
            for reply in self.serving.take_replies() {
                self.seals(&reply);
            }
            return;
        }
        match message.ty {
            Type::Ack if message.code == Code::EMPTY => self.on_ack(now_ms, message.mid),
            Type::Rst => {
                self.serving.on_confirmed(message.mid);
                self.telling.on_reset(message.mid);
                self.current.take_if(|exchange| exchange.mid == message.mid);
                self.burst.take_if(|burst| burst.on_reset(message.mid));
            }
            _ if message.code.is_response() => self.on_response(now_ms, message),
            _ => {}
        }
    }

    fn on_ack(&mut self, now_ms: u64, mid: u16) {
        self.serving.on_confirmed(mid);
        let state = self.telling.on_ack(mid);
        self.said.extend(state.map(|state| Said::Told { state }));
        if let Some(exchange) = self.current.as_mut().filter(|exchange| exchange.mid == mid) {
            exchange.on_ack(now_ms);
        }
        if let Some(burst) = &mut self.burst {
            burst.on_ack(now_ms, mid);
            self.bursts(now_ms);
        }
    }

    fn on_response(&mut self, now_ms: u64, message: &Message<'_>) {
        let known = self.earlier.iter().find(|(token, _)| *token == message.token);
        let serial = known.and_then(|(_, serial)| *serial);
        let is_asked = self.current.as_ref().is_some_and(|exchange| exchange.is_answered(message));
        // A copy of the first response comes on an ACK, perhaps much later.
        let may_notify = !is_asked && message.ty != Type::Ack;
        let is_watched = may_notify && self.watch.as_ref().is_some_and(|it| it.is_meant(message));
        if message.ty == Type::Con {
            // Of what it does not observe any more it does not want to hear.
            let is_stale = !is_asked && message.options.first(Number::OBSERVE).is_some();
            let is_wanted = is_watched || known.is_some() && !is_stale;
            let ty = if is_wanted { Type::Ack } else { Type::Rst };
            self.seals(&empty(ty, message.mid));
        }
        if is_watched {
            return self.on_notification(now_ms, message);
        }
        if self.on_burst_response(now_ms, message) {
            return;
        }
        if asks_for_blocks(message) {
            // Of a body that is over.
            return self.seals(&empty(Type::Rst, message.mid));
        }
        if !is_asked {
            // What a stranger is told who sends an old block again says nothing of the request.
            let counts = !self.is_plain() || message.code.is_success();
            if let Some(serial) = serial.filter(|_| counts && Request::is_whole(message)) {
                self.answered(now_ms, serial, message.code, message.payload.to_vec());
            }
            return;
        }
        let Some(mut exchange) = self.current.take() else { return };
        let follows = exchange.request.on_response(message);
        self.echo.clone_from(&exchange.request.echo);
        if let Some((token, sequence)) = exchange.request.take_observed() {
            self.watch = Some(Watch::new(token, sequence, now_ms));
        }
        match follows {
            Follows::Message => self.sends_next(now_ms, exchange.request),
            Follows::Nothing => self.current = Some(exchange),
            Follows::Loss => {}
            Follows::End(code, payload) if exchange.request.is_watch => {
                self.on_watched(now_ms, exchange.request.version, code, payload);
            }
            Follows::End(code, payload) => {
                self.answered(now_ms, exchange.request.serial, code, payload);
            }
        }
    }

    fn answered(&mut self, now_ms: u64, serial: u32, code: Code, payload: Vec<u8>) {
        if code.is_success() {
            self.wants_last = false;
        } else {
            self.rests_until_ms = now_ms + REST_MS;
        }
        self.said.push(Said::Answered { serial, code, payload });
    }

    /// The response to a request to observe; `version`: which one it has, if it is observed.
    fn on_watched(&mut self, now_ms: u64, version: Option<u32>, code: Code, payload: Vec<u8>) {
        if version.is_none() || !code.is_success() {
            self.rests_until_ms = now_ms + REST_MS;
            // Who is too fast asks again.
            self.wants_watch = self.wants_last || code == Code::TOO_MANY_REQUESTS;
            return;
        }
        self.wants_watch = false;
        // While a long one was read it may have heard of a newer one.
        if self.watch.as_ref().map(Watch::version) == version {
            self.said.push(Said::Heard { payload, begins: true });
        }
    }

    fn on_notification(&mut self, now_ms: u64, message: &Message<'_>) {
        let is_news = self.watch.as_mut().is_some_and(|watch| watch.takes(now_ms, message));
        if is_news && message.code.is_success() {
            let payload = message.payload.to_vec();
            self.said.push(Said::Heard { payload, begins: false });
        }
    }

    fn seals(&mut self, message: &[u8]) {
        self.out.extend(self.session.seal(message));
    }
}

/// What the request with this number says: some are long, and do not pass where the MTU is small;
/// some are so long that they go block by block.
pub(crate) fn uplink_text(device: usize, serial: u32) -> String {
    padded(format!("u{device}.{serial}"), [0, 0, 900, 0, 600, 0, 900, 0, 600, 0, 2_600], serial)
}

/// A text with so many bytes behind it, by its number.
pub(crate) fn padded<const N: usize>(text: String, bytes: [usize; N], number: u32) -> String {
    text + &PADDING.repeat(bytes[number as usize % N] / PADDING.len())
}

/// What makes a text longer.
pub(crate) const PADDING: &str = " .";

/// The PSK identity of a device.
pub(crate) fn identity(number: usize) -> String {
    format!("device-of-the-simulator-{number:08}")
}

/// The key of a device.
pub(crate) fn key(number: usize) -> [u8; 16] {
    let mut key = *b"key of device...";
    key[13..].copy_from_slice(&(number as u32).to_be_bytes()[1..]);
    key
}

/// Bound: requests that wait.
const WISHES_MAX: usize = 16;
