//! What does an exchange cost on a lossy link, in either direction, short and block by block?
//! Nothing is lost that was confirmed, and nothing happens twice.
//!
//! The table is `docs/lossy-exchanges.md`, written by `make docs` (which sets
//! `TIDEGATE_WRITE_DOCS`); without the variable the test runs fewer seeds and compares the rows'
//! names.

#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tidegate_coap::block::{Block, BlockSize, Step as Sent, Upload};
use tidegate_coap::code::Code;
use tidegate_coap::message::{Message, Token, Type};
use tidegate_coap::option::Number;
use tidegate_coap::outbound::{Act, Outbound};
use tidegate_coap::timing::Timing;
use tidegate_dataplane::config::Config;
use tidegate_ring::contract::{self as wire, Kind, Publication, Step};
use tidegate_tests::story::{Story, Who, device_id, message};
use zerocopy::IntoBytes;

/// Most datagrams of a hundred that are lost.
const LOSSES: [u32; 5] = [0, 5, 10, 20, 30];
const REPEATED_PERCENT: u32 = 5;
/// How long a datagram takes, ms: some overtake others.
const DELAY_MS: std::ops::RangeInclusive<u64> = 20..=200;
const SEEDS_IN_TABLE: u64 = 200;
const SEEDS_IN_TEST: u64 = 10;
/// How often the control plane hands a queued message over before a timeout is final.
const ATTEMPTS: u32 = 3;
/// How often it is looked at whether a message of the edge has ended.
const LOOK_MS: u64 = 50;
const BLOCK: BlockSize = BlockSize::from_szx(5).expect("512 bytes");
const MESSAGE: wire::MessageId = [3; 16];

/// A row of the table.
#[derive(Clone, Copy)]
struct Row {
    name: &'static str,
    is_downlink: bool,
    body_bytes: usize,
}

const ROWS: [Row; 4] = [
    Row { name: "PUT of a device, 40 bytes", is_downlink: false, body_bytes: 40 },
    Row { name: "PUT of a device, 2 KiB in 4 blocks", is_downlink: false, body_bytes: 2_048 },
    Row { name: "PUT for a device, 40 bytes", is_downlink: true, body_bytes: 40 },
    Row { name: "PUT for a device, 8 KiB in 16 blocks", is_downlink: true, body_bytes: 8_192 },
];

/// A worker, a device with a session, and the air between them.
struct Air {
    story: Story,
    device: Who,
    dice: StdRng,
    loss_percent: u32,
    /// What is in the air, by when it arrives: to the edge or to the device.
    flying: BTreeMap<(u64, u64), (bool, Vec<u8>)>,
    count: u64,
}

impl Air {
    fn new(seed: u64, loss_percent: u32) -> Self {
        let mut config = Config::default();
        config.coap.block_bytes = BLOCK.bytes() as u16;
        let mut story = Story::with(seed, config);
        let device = story.connected(1, Some(b""));
        story.publishes = Some(Publication::Confirmed);
        // From now on this link carries what the worker sends.
        story.loses(usize::MAX);
        story.sent.clear();
        let dice = StdRng::seed_from_u64(seed);
        Self { story, device, dice, loss_percent, flying: BTreeMap::new(), count: 0 }
    }

    fn fly(&mut self, to_edge: bool, datagram: &[u8]) {
        let copies = 1 + u32::from(self.dice.random_ratio(REPEATED_PERCENT, 100));
        for _ in 0..copies {
            if !self.dice.random_ratio(self.loss_percent, 100) {
                self.count += 1;
                let at_ms = self.story.now.ms + self.dice.random_range(DELAY_MS);
                self.flying.insert((at_ms, self.count), (to_edge, datagram.to_vec()));
            }
        }
    }

    fn device_says(&mut self, message: &[u8]) {
        let mut out = [0; 1_452];
        let sealed = self.story.at(self.device).seal(message, &mut out).expect("a session");
        self.fly(true, &out[..sealed]);
    }

    /// The next messages for the device, or none by `until_ms`.
    fn device_hears(&mut self, until_ms: u64) -> Vec<Vec<u8>> {
        while self.story.now.ms < until_ms {
            let sent: Vec<_> = self.story.sent.drain(..).collect();
            for (_, datagram) in sent {
                self.fly(false, &datagram);
            }
            let next_ms = self.flying.keys().next().map_or(until_ms, |(at_ms, _)| *at_ms);
            let due_ms = self.story.worker().due_ms().unwrap_or(until_ms);
            let now_ms = self.story.now.ms;
            self.story.waits_ms(next_ms.min(due_ms).min(until_ms).saturating_sub(now_ms));
            let now_ms = self.story.now.ms;
            let mut heard = Vec::new();
            while let Some(entry) = self.flying.first_entry().filter(|e| e.key().0 <= now_ms) {
                let (to_edge, mut datagram) = entry.remove();
                if to_edge {
                    let peer = self.story.peer(self.device);
                    self.story.arrives(peer, &mut datagram);
                } else {
                    let device = self.story.at(self.device);
                    device.on_datagram(now_ms, &mut datagram);
                    heard.extend(std::iter::from_fn(|| device.take_message()));
                }
            }
            if !heard.is_empty() {
                return heard;
            }
        }
        Vec::new()
    }
}

/// One CON of the device, repeated as RFC 7252 says; the response's code and Block1.
fn asks(
    air: &mut Air,
    mid: u16,
    body: &[u8],
    block: Option<Block>,
) -> Option<(Code, Option<Block>)> {
    let token = Token::new(&mid.to_be_bytes());
    let request = Outbound::new(Type::Con, Code::PUT, token, |writer| {
        writer.option(Number::URI_PATH, b"log");
        if let Some(block) = block {
            writer.option_uint(Number::BLOCK1, block.value());
        }
        writer.payload(body);
    });
    let mut request = request.expect("it fits");
    let jitter = air.dice.random();
    let first = request.start(air.story.now.ms, &Timing::DEFAULT, mid, jitter, 60_000).to_vec();
    air.device_says(&first);
    while let Some(due_ms) = request.due_ms() {
        for heard in air.device_hears(due_ms) {
            let response = Message::parse(&heard).expect("the worker sends messages");
            if response.ty == Type::Ack && response.mid == mid {
                return Some((response.code, Block::of(&response.options, Number::BLOCK1)));
            }
        }
        if request.on_due(air.story.now.ms) == Act::Retransmit {
            let again = request.message().to_vec();
            air.device_says(&again);
        }
    }
    None
}

/// The device sends a body; whether it heard that it was taken.
fn up(air: &mut Air, body: &[u8]) -> bool {
    if body.len() <= BLOCK.bytes() {
        return asks(air, 1, body, None).is_some_and(|(code, _)| code == Code::CHANGED);
    }
    let mut upload = Upload::new(body.len(), BLOCK).expect("few blocks");
    for mid in 1.. {
        let block = Some(upload.block());
        let Some((code, block1)) = asks(air, mid, &body[upload.range()], block) else { break };
        if upload.on_response(code, block1) == Sent::Done {
            return code == Code::CHANGED;
        }
    }
    false
}

/// The edge sends a body, handed over anew when it was given up; whether the device answered to the
/// end, and what it took.
fn down(air: &mut Air, body: &[u8]) -> (bool, Vec<u8>) {
    air.story.long.insert(MESSAGE, body.to_vec());
    let is_long = body.len() > BLOCK.bytes();
    let mut taken = Vec::new();
    // By Message ID, as EXCHANGE_LIFETIME has it: a copy is answered alike.
    let mut answered: BTreeMap<u16, Vec<u8>> = BTreeMap::new();
    for _ in 0..ATTEMPTS {
        hands_over(air, body, is_long);
        let begun = air.story.outcomes.len();
        loop {
            let heard = air.device_hears(air.story.now.ms + LOOK_MS);
            for request in &heard {
                let request = Message::parse(request).expect("the worker sends messages");
                let answer =
                    answered.entry(request.mid).or_insert_with(|| takes(&mut taken, &request));
                let answer = answer.clone();
                air.device_says(&answer);
            }
            let ends = air.story.outcomes[begun..].iter().filter(|(end, _)| end.is_final == 1);
            let ends: Vec<_> = ends.map(|(end, _)| end.step).collect();
            match ends[..] {
                [] => {}
                [step] if step == Step::Responded as u8 => return (true, taken),
                [_] => break,
                _ => panic!("a message ends once"),
            }
        }
    }
    (false, taken)
}

fn hands_over(air: &mut Air, body: &[u8], is_long: bool) {
    let head = wire::Downlink {
        message_id: MESSAGE,
        device: device_id(1),
        session: air.story.last_session().session,
        terms: wire::Terms::OWN,
        body_bytes: (if is_long { body.len() as u32 } else { 0 }).into(),
    };
    let put = message(Type::Con, Code::PUT, 0, &Token::EMPTY, |writer| {
        writer.option(Number::URI_PATH, b"fw");
        if !is_long {
            writer.payload(body);
        }
    });
    air.story.tells(Kind::Downlink, head.as_bytes(), &put);
}

/// A request that the device had not seen; its answer.
fn takes(taken: &mut Vec<u8>, request: &Message<'_>) -> Vec<u8> {
    let block1 = Block::of(&request.options, Number::BLOCK1);
    let offset = block1.map_or(0, Block::offset);
    if offset == 0 {
        taken.clear();
    }
    if offset == taken.len() {
        taken.extend_from_slice(request.payload);
    }
    let code = if block1.is_some_and(|block| block.more) { Code::CONTINUE } else { Code::CHANGED };
    message(Type::Ack, code, request.mid, &request.token, |writer| {
        if let Some(block) = block1 {
            writer.option_uint(Number::BLOCK1, block.value());
        }
    })
}

impl Row {
    /// Simulated ms until who asked has its answer; `None`: it gave up.
    fn time_ms(self, seed: u64, loss_percent: u32) -> Option<u64> {
        let case = format!("{}, {loss_percent} %, seed {seed}", self.name);
        let mut air = Air::new(seed, loss_percent);
        let began_ms = air.story.now.ms;
        let body: Vec<u8> = (0..self.body_bytes).map(|at| (at * 7) as u8).collect();
        let is_done = if self.is_downlink {
            let (is_done, taken) = down(&mut air, &body);
            assert!(!is_done || taken == body, "{case}: what was answered has arrived");
            is_done
        } else {
            let is_done = up(&mut air, &body);
            let done_ms = air.story.now.ms;
            // What is still in the air comes down.
            air.device_hears(done_ms + 1_000);
            let published = air.story.uplinks.len();
            assert!(published <= 1, "{case}: {published} times");
            assert!(!is_done || published == 1, "{case}: it was confirmed");
            return is_done.then_some(done_ms - began_ms);
        };
        is_done.then_some(air.story.now.ms - began_ms)
    }

    fn cell(self, loss_percent: u32, seeds: u64) -> Cell {
        let number = ROWS.iter().position(|row| row.name == self.name).unwrap_or_default() as u64;
        let base = (number << 8 | u64::from(loss_percent)) << 16;
        let times = (0..seeds).map(|seed| self.time_ms(base | seed, loss_percent));
        let mut done: Vec<u64> = times.flatten().collect();
        done.sort_unstable();
        let at = |percent: usize| match done.len() {
            0 => f64::NAN,
            count => done[(count - 1) * percent / 100] as f64 / 1e3,
        };
        let gave_up = (seeds - done.len() as u64) as f64 * 100.0 / seeds as f64;
        Cell { median_s: at(50), late_s: at(99), gave_up_percent: gave_up }
    }
}

/// What many seeds of a row come to.
struct Cell {
    median_s: f64,
    /// 99th percentile.
    late_s: f64,
    gave_up_percent: f64,
}

/// Curves over the losses, one for each row.
fn chart(title: &str, rows: &[Vec<Cell>], of: fn(&Cell) -> f64) -> String {
    let mut chart = format!("\n```mermaid\nxychart-beta\n  title \"{title}\"\n");
    writeln!(chart, "  x-axis \"datagrams lost, %\" {LOSSES:?}").expect("a String");
    chart += "  y-axis \"seconds\"\n";
    for row in rows {
        let points: Vec<_> = row.iter().map(|cell| format!("{:.1}", of(cell))).collect();
        writeln!(chart, "  line [{}]", points.join(", ")).expect("a String");
    }
    chart + "```\n"
}

fn file() -> PathBuf {
    tidegate_tests::repository::root().join("docs/lossy-exchanges.md")
}

const HEAD: &str = "\
# Exchanges on a lossy link

The edge's worker and a device with a session over a simulated link: every datagram is lost with the
given probability, repeated with 5 %, and takes 20 to 200 ms, so that datagrams overtake each other.
Timers are those of RFC 7252 section 4.8; blocks are of 512 bytes, one under way at a time. What the
edge sends is handed over three times at most, as a queued message is.

Each cell is 200 seeds. It says median / 99th percentile of the simulated seconds until who asked has
the answer, and how many gave up, as section 4.2 wants after five copies. In every run: what was
confirmed to a device was published, and once; what was reported as answered had arrived whole.

The long tails are the timer's doubling. Links that lose a fifth of their datagrams want a profile
with more retransmissions (`MaxRetransmit`) and devices that go on with the block that failed.

Written by `make docs`.
";

#[test]
fn what_an_exchange_costs_on_a_lossy_link() {
    let is_writing = std::env::var_os("TIDEGATE_WRITE_DOCS").is_some();
    let seeds = if is_writing { SEEDS_IN_TABLE } else { SEEDS_IN_TEST };
    let mut table = HEAD.to_owned() + "\n| |";
    for loss in LOSSES {
        write!(table, " {loss} %: seconds | gave up |").expect("a String");
    }
    table += "\n|---|";
    table += &"---|---|".repeat(LOSSES.len());
    let of_row = |row: Row| LOSSES.iter().map(|loss| row.cell(*loss, seeds)).collect();
    let rows: Vec<Vec<Cell>> = ROWS.into_iter().map(of_row).collect();
    for (row, cells) in ROWS.iter().zip(&rows) {
        write!(table, "\n| {} |", row.name).expect("a String");
        for Cell { median_s, late_s, gave_up_percent } in cells {
            write!(table, " {median_s:.1} / {late_s:.1} | {gave_up_percent:.0} % |")
                .expect("a String");
        }
    }
    table.push('\n');
    table += &chart("Median, in the order of the table", &rows, |cell| cell.median_s);
    table += &chart("99th percentile, in the order of the table", &rows, |cell| cell.late_s);
    if is_writing {
        std::fs::write(file(), table).expect("the docs are there");
        return;
    }
    let written = std::fs::read_to_string(file()).expect("make docs has written it");
    for row in ROWS {
        let begins = format!("\n| {} |", row.name);
        assert!(written.contains(&begins), "{begins} is not in docs/lossy-exchanges.md: make docs");
    }
}
