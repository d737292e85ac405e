//! Which figures are there? Each row of the table, by a name to ask for it.

use std::io;
use std::time::Duration;

use super::figure::Figure;
use super::{
    broker, memory, permits, records, rings, scale, segments, steady, steering, storm, veth,
    workers,
};
use crate::api::{imports, messages};
use crate::echo::Way;
use crate::overload;
use crate::rig::Route;

/// One row, or a few that belong together.
pub struct Row {
    /// How it is asked for.
    pub name: &'static str,
    /// Whether it is one of those of `make ratio`, which together take less than a minute.
    pub is_core: bool,
    run: fn(&mut Seen) -> io::Result<Vec<Figure>>,
}

/// What later rows want to know of earlier ones.
#[derive(Debug, Default)]
pub struct Seen {
    /// Server CPU of a bare echo over io_uring, ns.
    echo_ns: Option<f64>,
}

impl Row {
    /// Measures it.
    pub fn run(&self, seen: &mut Seen) -> io::Result<Vec<Figure>> {
        (self.run)(seen)
    }
}

/// Every row.
pub const ROWS: &[Row] = &[
    core("steady-mmsg", |_| one(steady::con_put(Way::Mmsg, 5, STRETCH))),
    core("steady", |seen| steady(seen).map(|figure| vec![figure])),
    core("worker", |seen| {
        if seen.echo_ns.is_none() {
            steady(seen)?;
        }
        let echo_ns = seen.echo_ns.unwrap_or(f64::INFINITY);
        Ok([Route::Echo, Route::Publish].map(|route| memory::worker(echo_ns, route)).into())
    }),
    core("records", |_| Ok(records::open())),
    core("idle", |_| one(scale::idle_bytes())),
    core("handshake", |_| memory::handshakes()),
    row("xdp", |_| veth::against_sockets(9, STRETCH)),
    row("million", |_| one(scale::requests(7, STRETCH))),
    row("million-in-memory", |_| Ok(vec![memory::scale()])),
    row("libcoap-100", |_| one(steady::libcoap(100, 1.0 / 2.2, 5, STRETCH))),
    row("libcoap-1000", |_| one(steady::libcoap(1_000, 1.0 / 5.0, 5, STRETCH))),
    row("libcoap-10000", |_| {
        one(steady::libcoap(10_000, 1.0 / 50.0, 3, STRETCH.saturating_mul(3)))
    }),
    row("storm", |_| one(storm::against_echo(8))),
    row("storm-libcoap", |_| one(storm::against_libcoap(6))),
    row("broker", |_| one(broker::full_path(STRETCH.saturating_mul(2)))),
    row("rings", |_| one(rings::messages())),
    row("workers", |_| one(workers::two_against_one(5, STRETCH))),
    row("steering", |_| steering::shares()),
    row("gso", |_| segments::bursts(9)),
    row("import", |_| imports::figures(100_000)),
    row("messages", |_| messages::figures(3, STRETCH.saturating_mul(3))),
    row("overload", |_| overload::multiples()),
    row("attacks", |_| overload::attacks()),
    row("permits", |_| Ok(permits::figures())),
    row("clear", |_| one(steady::clear(5, STRETCH))),
    row("backends", |_| one(steady::backends(5, STRETCH))),
    row("confined", |_| one(steady::confined(7, STRETCH))),
    row("echoes", |_| {
        let ways = [Way::IoUring, Way::TokioUring];
        ways.into_iter().map(|way| steady::ways(way, 5, STRETCH)).collect()
    }),
];

/// How long one side of a pair is measured.
const STRETCH: Duration = Duration::from_millis(700);

const fn core(name: &'static str, run: fn(&mut Seen) -> io::Result<Vec<Figure>>) -> Row {
    Row { name, is_core: true, run }
}

const fn row(name: &'static str, run: fn(&mut Seen) -> io::Result<Vec<Figure>>) -> Row {
    Row { name, is_core: false, run }
}

fn one(figure: io::Result<Figure>) -> io::Result<Vec<Figure>> {
    figure.map(|figure| vec![figure])
}

fn steady(seen: &mut Seen) -> io::Result<Figure> {
    let figure = steady::con_put(Way::IoUring, 5, STRETCH)?;
    seen.echo_ns = Some(figure.against);
    Ok(figure)
}
