//! What do devices get from an edge that is offered more than it can do, or is attacked meanwhile?
//!
//! The edge has core 0, and shares it with neighbours that only compute: so the one core that is
//! left can offer many times what the edge sustains. Devices are an open loop: they send at a
//! fixed rate, whatever is answered, and never repeat.

pub mod crowd;
pub mod curve;
pub mod floods;
mod picture;

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::ratio::figure::{Figure, Goal, median};
use crate::ratio::process::{Place, Process, SERVER_CORE};
use crate::ratio::servers::Edge;
use crowd::{Crowd, Offered};
use floods::Flood;

/// Goodput at multiples of the sustainable rate, how long the answers take then, and memory.
pub fn multiples() -> io::Result<Vec<Figure>> {
    let server = Edge::default().start()?;
    let mut crowd = Crowd::new(server.address)?;
    let _neighbours = neighbours(MULTIPLES_NEIGHBOURS)?;
    crowd.offer(f64::INFINITY, STRETCH)?;
    let sustained = crowd.offer(f64::INFINITY, STRETCH)?.goodput();
    let resident = server.process.resident_bytes()? as f64;
    let mut figures = Vec::new();
    let mut slowest: Vec<f64> = Vec::new();
    for multiple in [2.0, 5.0, 10.0] {
        let (figure, wait_ms) = at_multiple(&mut crowd, sustained, multiple)?;
        figures.push(figure);
        slowest.push(wait_ms);
    }
    let waits: Vec<_> = slowest.iter().map(|wait| (*wait, slowest[0])).collect();
    let name = "overload: 99th hundredth of the answers' times, at the most offered, against at \
                twice the sustainable rate";
    figures.push(Figure::from_pairs(name, "ms", &waits[2..], Some(Goal::AtMost(1.5))));
    let after = server.process.resident_bytes()? as f64;
    let name = "overload: resident memory of the edge afterwards, against before";
    figures.push(Figure::from_pairs(name, "bytes", &[(after, resident)], Some(Goal::AtMost(1.01))));
    Ok(figures)
}

/// Goodput at a multiple of the sustainable rate against that at the rate itself, by turns, and the
/// 99th hundredth of the answers' times, ms.
fn at_multiple(crowd: &mut Crowd, sustained: f64, multiple: f64) -> io::Result<(Figure, f64)> {
    let mut at_rate = |times: f64| -> io::Result<Offered> {
        let seen = crowd.offer(sustained * times, STRETCH)?;
        tell(&seen, sustained);
        Ok(seen)
    };
    let (mut offered, mut waits, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..PAIRS {
        let peak = at_rate(1.0)?;
        let seen = at_rate(multiple)?;
        offered.push(seen.rate() / sustained);
        waits.push(seen.wait_ms(0.99));
        pairs.push((seen.goodput(), peak.goodput()));
    }
    let name = format!(
        "overload: answers a second, {:.1} times the sustainable rate offered, against once",
        median(offered)
    );
    Ok((Figure::from_pairs(name, "1/s", &pairs, Some(Goal::AtLeast(0.9))), median(waits)))
}

/// What devices that offer half of what the edge sustains get answered while it is attacked, as a
/// share of what they get in peace.
pub fn attacks() -> io::Result<Vec<Figure>> {
    Flood::ALL.iter().map(|flood| attacked_by(*flood, PAIRS)).collect()
}

fn attacked_by(flood: Flood, pairs_wanted: usize) -> io::Result<Figure> {
    let server = Edge::default().start()?;
    let mut crowd = Crowd::new(server.address)?;
    let _neighbours = neighbours(ATTACK_NEIGHBOURS)?;
    crowd.offer(f64::INFINITY, STRETCH)?;
    let sustained = crowd.offer(f64::INFINITY, STRETCH)?.goodput();
    let rate = sustained / 2.0;
    let (mut hostile, mut pairs) = (Vec::new(), Vec::new());
    for _ in 0..pairs_wanted {
        let peace = crowd.offer(rate, STRETCH)?;
        let (seen, sent) = floods::beside(flood, &server, || crowd.offer(rate, STRETCH))?;
        tell(&seen, sustained);
        hostile.push(sent as f64 / STRETCH.as_secs_f64() / sustained);
        pairs.push((seen.goodput(), peace.goodput()));
    }
    let name = format!(
        "attack: {}, {:.1} for each request the edge sustains: devices' requests answered, against \
         in peace",
        flood.describe(),
        median(hostile)
    );
    let goal = flood.is_of_strangers().then_some(Goal::AtLeast(0.9));
    Ok(Figure::from_pairs(name, "1/s", &pairs, goal))
}

/// Processes that take their share of the edge's core.
fn neighbours(count: usize) -> io::Result<Vec<Process>> {
    let arguments = ["-c", "while :; do :; done"];
    let start =
        |_| Process::start(&Place::core(SERVER_CORE), Path::new("sh"), &arguments, "", None);
    (0..count).map(start).collect()
}

fn tell(seen: &Offered, sustained: f64) {
    if std::env::var_os(crate::ratio::VERBOSE).is_some() {
        eprintln!(
            "  {:.0}/s offered ({:.2}), {:.0}/s answered, {:.1} ms, 99th {:.1} ms",
            seen.rate(),
            seen.rate() / sustained,
            seen.goodput(),
            seen.wait_ms(0.5),
            seen.wait_ms(0.99)
        );
    }
}

const STRETCH: Duration = Duration::from_millis(1_500);
const PAIRS: usize = 3;
/// So that the edge has a tenth of its core.
const MULTIPLES_NEIGHBOURS: usize = 9;
/// And a quarter.
const ATTACK_NEIGHBOURS: usize = 3;
