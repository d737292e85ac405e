//! How does a link lose, repeat and reorder? Two ends, a clock that jumps, and dice.

use super::{ClientEnd, Dice, ServerEnd, application};

/// What the link does to each datagram.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    pub loss_percent: u64,
    pub repeat_percent: u64,
    /// Every datagram takes between [`DELAY_MS_MIN`] and this many milliseconds.
    pub delay_ms_max: u64,
}

pub const DELAY_MS_MIN: u64 = 20;

/// A handshake in some weather.
pub struct Simulation {
    pub client: ClientEnd,
    pub server: ServerEnd,
    pub now_ms: u64,
    dice: Dice,
    weather: Weather,
    datagrams: u64,
    /// When, to whom, what. Order of arrival is by time, then by order of sending.
    in_flight: Vec<(u64, To, Vec<u8>)>,
}

/// What a handshake took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Sent by both ends, lost ones included, until both had their session.
    pub datagrams: u64,
    /// Until both had it.
    pub done_ms: u64,
    /// Until the client had it.
    pub client_done_ms: u64,
}

#[derive(Clone, Copy, PartialEq)]
enum To {
    Client,
    Server,
}

impl Simulation {
    /// `client` is about to send its first flight to `server`, which has no session with it.
    pub fn new(seed: u64, weather: Weather, client: ClientEnd, server: ServerEnd) -> Self {
        let (dice, in_flight) = (Dice(seed), Vec::new());
        Self { client, server, now_ms: 0, dice, weather, datagrams: 0, in_flight }
    }

    fn carry(&mut self) {
        let up = self.client.log.take().into_iter().map(|datagram| (To::Server, datagram));
        let down = self.server.log.take().into_iter().map(|datagram| (To::Client, datagram));
        for (to, datagram) in up.chain(down).collect::<Vec<_>>() {
            self.datagrams += 1;
            let copies = 1 + usize::from(self.dice.percent(self.weather.repeat_percent));
            for _ in 0..copies {
                if !self.dice.percent(self.weather.loss_percent) {
                    let spread = (self.weather.delay_ms_max - DELAY_MS_MIN) as usize + 1;
                    let at_ms = self.now_ms + DELAY_MS_MIN + self.dice.below(spread) as u64;
                    self.in_flight.push((at_ms, to, datagram.clone()));
                }
            }
        }
        self.in_flight.sort_by_key(|(at_ms, ..)| *at_ms);
    }

    /// To the next thing that happens; false when nothing ever will.
    pub fn step(&mut self) -> bool {
        self.carry();
        let arrival = self.in_flight.first().map(|(at_ms, ..)| *at_ms);
        let due = [arrival, self.client.due_ms(), self.server.due_ms()].into_iter().flatten().min();
        let Some(due_ms) = due else { return false };
        assert!(due_ms >= self.now_ms, "time runs forward");
        self.now_ms = due_ms;
        while self.server.jar.due_ms() <= due_ms {
            let secret = [self.dice.roll() as u8; 32];
            self.server.jar.rotate(self.server.jar.due_ms(), &secret);
        }
        if arrival == Some(due_ms) {
            let (_, to, datagram) = self.in_flight.remove(0);
            match to {
                To::Client => self.client.on_datagram(due_ms, &datagram),
                To::Server => self.server.on_datagram(due_ms, &datagram),
            }
        } else {
            self.client.on_due(due_ms);
            self.server.on_due(due_ms);
        }
        true
    }

    /// Runs until nothing more happens, and shows that both ends came to the same keys.
    pub fn run(&mut self, case: &str) -> Cost {
        let mut client_done_ms = None;
        let mut both = None;
        for _ in 0..10_000 {
            self.carry();
            if self.client.session.is_some() {
                client_done_ms.get_or_insert(self.now_ms);
                if self.server.session.is_some() {
                    both.get_or_insert((self.datagrams, self.now_ms));
                }
            }
            if !self.step() {
                break;
            }
        }
        assert_eq!(self.client.log.failure, None, "{case}");
        assert!(self.client.handshake.is_none() && self.server.handshake.is_none(), "{case}");
        let up = application(self.client.session.as_mut().expect(case), b"after the storm");
        self.server.on_datagram(self.now_ms, &up);
        assert_eq!(self.server.log.application, [b"after the storm"], "{case}");
        let down = application(self.server.session.as_mut().expect(case), b"and back");
        self.client.on_datagram(self.now_ms, &down);
        assert_eq!(self.client.log.application, [b"and back"], "{case}");
        let (datagrams, done_ms) = both.expect(case);
        Cost { datagrams, done_ms, client_done_ms: client_done_ms.expect(case) }
    }
}
