//! Do handshakes complete on a link that loses, repeats and reorders? (RFC 6347 section 4.2.4)

#![allow(clippy::unwrap_used)]

mod story;

use story::{ClientEnd, Dice, ServerEnd, application};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Link, Suite, Timing, client, server};

/// What the link does to each datagram.
#[derive(Clone, Copy)]
struct Weather {
    loss_percent: u64,
    repeat_percent: u64,
    /// Every datagram takes between 20 and this many milliseconds.
    delay_ms_max: u64,
}

struct Simulation {
    dice: Dice,
    weather: Weather,
    now_ms: u64,
    /// When, to whom, what. Order of arrival is by time, then by order of sending.
    in_flight: Vec<(u64, To, Vec<u8>)>,
    client: ClientEnd,
    server: ServerEnd,
}

#[derive(Clone, Copy, PartialEq)]
enum To {
    Client,
    Server,
}

impl Simulation {
    fn new(seed: u64, weather: Weather, link: Link, suite: Suite, cids: bool) -> Self {
        let own_cid_len = if cids { 6 } else { 0 };
        let server = server::Config { own_cid_len, link, ..Default::default() };
        let client = client::Config { suites: vec![suite], link, ..Default::default() };
        Self {
            dice: Dice(seed),
            weather,
            now_ms: 0,
            in_flight: Vec::new(),
            client: ClientEnd::new(client, 0, 9, cids.then_some(b"me")),
            server: ServerEnd::new(server),
        }
    }

    fn carry(&mut self) {
        let up = self.client.log.take().into_iter().map(|datagram| (To::Server, datagram));
        let down = self.server.log.take().into_iter().map(|datagram| (To::Client, datagram));
        for (to, datagram) in up.chain(down).collect::<Vec<_>>() {
            let copies = 1 + usize::from(self.dice.percent(self.weather.repeat_percent));
            for _ in 0..copies {
                if !self.dice.percent(self.weather.loss_percent) {
                    let spread = self.weather.delay_ms_max as usize - 20 + 1;
                    let at_ms = self.now_ms + 20 + self.dice.below(spread) as u64;
                    self.in_flight.push((at_ms, to, datagram.clone()));
                }
            }
        }
        self.in_flight.sort_by_key(|(at_ms, ..)| *at_ms);
    }

    /// To the next thing that happens; false when nothing ever will.
    fn step(&mut self) -> bool {
        self.carry();
        let arrival = self.in_flight.first().map(|(at_ms, ..)| *at_ms);
        let due = [arrival, self.client.due_ms(), self.server.due_ms()].into_iter().flatten().min();
        let Some(due_ms) = due else { return false };
        assert!(due_ms >= self.now_ms, "time runs forward");
        self.now_ms = due_ms;
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

    /// Runs to the end and returns when the client was done, milliseconds.
    fn run(mut self, case: &str) -> u64 {
        let mut done_ms = None;
        for _ in 0..10_000 {
            if self.client.session.is_some() && done_ms.is_none() {
                done_ms = Some(self.now_ms);
            }
            if !self.step() {
                break;
            }
        }
        assert_eq!(self.client.log.failure, None, "{case}");
        assert!(self.client.handshake.is_none() && self.server.handshake.is_none(), "{case}");
        let mut of_client = self.client.session.expect(case);
        let up = application(&mut of_client, b"after the storm");
        self.server.on_datagram(self.now_ms, &up);
        assert_eq!(self.server.log.application, [b"after the storm"], "{case}");
        done_ms.expect(case)
    }
}

fn all_complete(weather: Weather, link: Link, seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let suite = Suite::of(KeyExchange::Psk).nth(seed as usize % 6).unwrap();
        let cids = seed % 3 != 0;
        let case = format!("seed {seed}, {}, Connection IDs {cids}", suite.name());
        let done_ms = Simulation::new(seed, weather, link, suite, cids).run(&case);
        let bound_ms = 3 * link.timing.total_ms();
        assert!(done_ms <= bound_ms, "{case}: {done_ms} ms");
    }
}

/// Enough retransmissions that a loss of 30 % is no reason to give up.
fn patient() -> Timing {
    Timing { initial_ms: 1_000, cap_ms: 8_000, retransmissions_max: 16 }
}

#[test]
fn a_clean_link_takes_three_round_trips_and_no_timer() {
    let weather = Weather { loss_percent: 0, repeat_percent: 0, delay_ms_max: 20 };
    for cids in [false, true] {
        let simulation = Simulation::new(1, weather, Link::default(), Suite::PskAes128Ccm8, cids);
        assert_eq!(simulation.run("clean"), 6 * 20);
    }
}

#[test]
fn ten_percent_loss_with_the_default_timers() {
    let weather = Weather { loss_percent: 10, repeat_percent: 5, delay_ms_max: 200 };
    all_complete(weather, Link::default(), 0..300);
}

#[test]
fn thirty_percent_loss_with_patience() {
    let weather = Weather { loss_percent: 30, repeat_percent: 10, delay_ms_max: 300 };
    all_complete(weather, Link { timing: patient(), ..Link::default() }, 1000..1300);
}

#[test]
fn wild_reordering_and_repetition_of_small_fragments() {
    let weather = Weather { loss_percent: 5, repeat_percent: 50, delay_ms_max: 900 };
    let link = Link { mtu: 96, timing: patient(), ..Link::default() };
    all_complete(weather, link, 2000..2300);
}

/// The control: when nothing arrives, both ends give up, and when they said they would.
#[test]
fn a_dead_link_ends_in_a_timeout() {
    let weather = Weather { loss_percent: 100, repeat_percent: 0, delay_ms_max: 20 };
    let link = Link::default();
    let mut simulation = Simulation::new(1, weather, link, Suite::PskAes128Ccm8, true);
    let mut sent = simulation.client.log.outbox.len();
    while simulation.step() {
        sent += simulation.client.log.outbox.len();
    }
    assert_eq!(simulation.client.log.failure, Some(tidegate_dtls::Failure::Timeout));
    assert_eq!(simulation.now_ms, link.timing.total_ms());
    assert_eq!(link.timing.total_ms(), (1 + 2 + 4 + 8 + 16 + 32) * 1000);
    assert_eq!(sent, 6, "once and five times again");
}
