//! Do handshakes complete on a link that loses, repeats and reorders? (RFC 6347 section 4.2.4)
//!
//! What each suite and credential costs there is measured in `lossy_table.rs`.

#![allow(clippy::unwrap_used)]

mod story;

use story::weather::{Simulation, Weather};
use story::{ClientEnd, ServerEnd};
use tidegate_dtls::suite::KeyExchange;
use tidegate_dtls::{Failure, Link, Suite, Timing, client, server};

fn simulation(seed: u64, weather: Weather, link: Link, suite: Suite, cids: bool) -> Simulation {
    let own_cid_len = if cids { 6 } else { 0 };
    let server = server::Config { own_cid_len, link, ..Default::default() };
    let client = client::Config { suites: vec![suite], link, ..Default::default() };
    let client = ClientEnd::new(client, 0, 9, cids.then_some(b"me"));
    Simulation::new(seed, weather, client, ServerEnd::new(server))
}

fn all_complete(weather: Weather, link: Link, seeds: std::ops::Range<u64>) {
    let suites: Vec<Suite> = Suite::of(KeyExchange::Psk).collect();
    for seed in seeds {
        let suite = suites[seed as usize % suites.len()];
        let cids = seed % 3 != 0;
        let case = format!("seed {seed}, {}, Connection IDs {cids}", suite.name());
        let cost = simulation(seed, weather, link, suite, cids).run(&case);
        let bound_ms = 3 * link.timing.total_ms();
        assert!(cost.client_done_ms <= bound_ms, "{case}: {cost:?}");
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
        let mut simulation = simulation(1, weather, Link::default(), Suite::PskAes128Ccm8, cids);
        let cost = simulation.run("clean");
        assert_eq!((cost.client_done_ms, cost.datagrams), (6 * 20, 6));
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
    let mut simulation = simulation(1, weather, link, Suite::PskAes128Ccm8, true);
    let mut sent = simulation.client.log.outbox.len();
    while simulation.step() {
        sent += simulation.client.log.outbox.len();
    }
    assert_eq!(simulation.client.log.failure, Some(Failure::Timeout));
    assert_eq!(simulation.now_ms, link.timing.total_ms());
    assert_eq!(link.timing.total_ms(), (1 + 2 + 4 + 8 + 16 + 32) * 1000);
    assert_eq!(sent, 6, "once and five times again");
}
