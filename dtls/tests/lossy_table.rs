//! What does a handshake cost on a lossy link, for every suite and every kind of credential?
//!
//! The table is `docs/lossy-link.md`, written by `make docs` (which sets `TIDEGATE_WRITE_DOCS`);
//! without the variable the test runs fewer seeds and compares the rows' names.

#![allow(clippy::unwrap_used)]

mod story;

use std::fmt::Write as _;
use std::path::PathBuf;

use story::credential::{Kind, server};
use story::weather::{Cost, Simulation, Weather};
use story::{ClientEnd, Dice, ServerEnd, exchange};
use tidegate_dtls::{Link, Suite, Timing, client};

/// RFC 6347 section 4.2.4.1: one second, doubled, up to sixty. *Why* so many times: of flights of
/// one datagram each, 30 % loss both ways takes every second pair.
const TIMING: Timing = Timing { initial_ms: 1_000, cap_ms: 60_000, retransmissions_max: 20 };
/// Longest datagram of a handshake, bytes: as on a narrow radio link, so that certificates come in
/// several.
const MTU: usize = 256;
const LOSSES: [u64; 3] = [0, 10, 30];
/// Seeds of one cell: in the table, and in a test run.
const SEEDS_IN_TABLE: u64 = 200;
const SEEDS_IN_TEST: u64 = 20;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
struct Row {
    suite: Suite,
    kind: Kind,
    resumed: bool,
}

impl Row {
    fn all() -> Vec<Self> {
        let kinds = |suite| Kind::of(suite).iter().map(move |kind| (suite, *kind));
        let pairs = Suite::ALL.into_iter().flat_map(kinds);
        let both = |(suite, kind)| [false, true].map(|resumed| Self { suite, kind, resumed });
        pairs.flat_map(both).collect()
    }

    fn name(self) -> String {
        let handshake = if self.resumed { "resumed" } else { "full" };
        format!("| {} | {} | {handshake} |", self.suite.name(), self.kind.name())
    }

    /// The handshake that is to be measured, about to begin: with Connection IDs in two of three.
    fn begin(self, seed: u64, weather: Weather) -> Simulation {
        let link = Link { mtu: MTU, timing: TIMING, ..Link::default() };
        let cids = !seed.is_multiple_of(3);
        let own_cid = cids.then_some(&b"me"[..]);
        let config = client::Config { link, ..self.kind.client(self.suite) };
        let start = |config, random, session: Option<&client::Session>| {
            let credential = self.kind.credential();
            ClientEnd::start(config, 0, random, own_cid, credential, session)
        };
        let mut server = ServerEnd::new(server(if cids { 6 } else { 0 }, link));
        server.keeps_sessions = true;
        let mut client = start(config.clone(), 9, None);
        if self.resumed {
            exchange(&mut client, &mut server, 0);
            client = start(config, 10, client.kept.as_ref());
            server.session = None;
        }
        Simulation::new(seed, weather, client, server)
    }

    fn cost(self, seed: u64, loss_percent: u64) -> Cost {
        let weather = Weather { loss_percent, repeat_percent: 5, delay_ms_max: 200 };
        let case = format!("seed {seed}, {loss_percent} %, {}", self.name());
        let mut simulation = self.begin(seed, weather);
        let cost = simulation.run(&case);
        let (of_client, of_server) = (simulation.client.is_resumed, simulation.server.was_resumed);
        assert_eq!((of_client, of_server), (self.resumed, self.resumed), "{case}");
        assert_eq!(simulation.client.session.unwrap().suite(), Some(self.suite), "{case}");
        assert!(cost.done_ms <= 2 * TIMING.total_ms(), "{case}: {cost:?}");
        cost
    }

    /// Median and 99th percentile of datagrams and seconds.
    fn cell(self, loss_percent: u64, seeds: u64) -> String {
        let row = u64::from(self.suite.code()) << 16 | (self.kind as u64) << 8;
        let mut dice = Dice(row << 8 | u64::from(self.resumed) << 8 | loss_percent);
        let costs = (0..seeds).map(|_| self.cost(dice.roll(), loss_percent));
        let (mut datagrams, mut ms): (Vec<_>, Vec<_>) =
            costs.map(|cost| (cost.datagrams, cost.done_ms)).unzip();
        datagrams.sort_unstable();
        ms.sort_unstable();
        let at = |sorted: &[u64], percent: usize| sorted[(sorted.len() - 1) * percent / 100];
        format!(
            " {} / {} | {:.1} / {:.1} |",
            at(&datagrams, 50),
            at(&datagrams, 99),
            at(&ms, 50) as f64 / 1e3,
            at(&ms, 99) as f64 / 1e3,
        )
    }
}

fn file() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "..", "docs", "lossy-link.md"].iter().collect()
}

const HEAD: &str = "\
# Handshakes on a lossy link

Our client and our server over a simulated link: every datagram is lost with the given probability,
repeated with 5 %, and takes 20 to 200 ms, so that datagrams overtake each other. Timers are those of
RFC 6347 section 4.2.4.1: one second, doubled up to sixty. No datagram is longer than 256 bytes, as
on a narrow radio link. Two of three runs use Connection IDs.

Each cell is 200 seeds; all of them complete, and both sides come to the same keys. A cell says
median / 99th percentile of the datagrams that both sides sent (lost ones included) and of the
simulated seconds, until both sides have their session. A full handshake and a resumed one begin
with the cookie exchange.

Written by `make docs`.

";

#[test]
fn every_suite_and_credential_completes_and_has_its_row() {
    let writes = std::env::var_os("TIDEGATE_WRITE_DOCS").is_some();
    let seeds = if writes { SEEDS_IN_TABLE } else { SEEDS_IN_TEST };
    let mut table = HEAD.to_owned();
    table += "| suite | credential | handshake |";
    for loss in LOSSES {
        write!(table, " {loss} %: datagrams | seconds |").unwrap();
    }
    table += "\n|---|---|---|";
    table += &"---|---|".repeat(LOSSES.len());
    table.push('\n');
    for row in Row::all() {
        let cells = LOSSES.map(|loss| row.cell(loss, seeds));
        writeln!(table, "{}{}", row.name(), cells.concat()).unwrap();
    }
    if writes {
        std::fs::write(file(), &table).unwrap();
    }
    let kept = std::fs::read_to_string(file()).unwrap();
    let names = |text: &str| {
        let rows = text.lines().filter(|line| line.starts_with("| TLS_"));
        let names = rows.map(|line| line.split('|').take(4).collect::<Vec<_>>().join("|"));
        names.collect::<Vec<_>>()
    };
    assert_eq!(names(&kept), names(&table), "docs/lossy-link.md has other rows");
    assert_eq!(names(&kept).len(), 2 * (6 + 4 + 2 * 4));
}
