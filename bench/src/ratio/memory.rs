//! What does it cost without a kernel? The worker, a handshake and a batch of records in memory, in
//! this process.

use std::io;

use super::figure::{Figure, Goal, median};
use crate::handshake::{Credentials, MODES, Rig as Shaker};
use crate::rig::{Rig, Route};

/// A CON PUT in the worker, 100 000 sessions, batches of 64, as a share of what a bare echo costs
/// over a socket; `echo_ns` comes from the same run.
pub fn worker(echo_ns: f64, route: Route) -> Figure {
    let mut rig = Rig::new(100_000, route);
    let mut samples = Vec::with_capacity(SAMPLES);
    samples.extend((0..SAMPLES).map(|_| (worker_ns(&mut rig), echo_ns)));
    let (what, goal) = match route {
        Route::Echo => ("answered by the worker", Some(Goal::AtMost(0.08))),
        Route::Publish => ("published over the rings", None),
    };
    let name = format!(
        "worker in memory, CON PUT {what}, batch 64, 100 k sessions, against a bare echo's CPU"
    );
    Figure::from_pairs(name, "ns", &samples, goal)
}

/// The same at 1 M sessions against 1 k.
pub fn scale() -> Figure {
    let (mut many, mut few) = (Rig::new(1_000_000, Route::Echo), Rig::new(1_000, Route::Echo));
    let samples: Vec<_> =
        (0..SAMPLES).map(|_| (worker_ns(&mut many), worker_ns(&mut few))).collect();
    let name = "worker in memory, CON PUT, batch 64, 1 M sessions against 1 k";
    Figure::from_pairs(name, "ns", &samples, None)
}

/// Worker's time of a request, ns: the median batch, which nobody has interrupted.
fn worker_ns(rig: &mut Rig) -> f64 {
    median((0..BATCHES).map(|_| {
        rig.fill(BATCH, super::steady::PAYLOAD_BYTES);
        rig.turn(BATCH).as_nanos() as f64 / BATCH as f64
    }))
}

/// Full PSK handshakes, the server's share, against OpenSSL's and dimpl's.
pub fn handshakes() -> io::Result<Vec<Figure>> {
    let credentials = Credentials::new();
    let mode = &MODES[0];
    let mut ours = Shaker::ours(mode, &credentials);
    let others = [
        ("OpenSSL", Shaker::openssl(mode, &credentials), 0.2),
        ("dimpl", Shaker::dimpl(mode, &credentials), 0.5),
    ];
    let mut figures = Vec::new();
    for (name, other, goal) in others {
        let mut other = other.ok_or_else(|| io::Error::other("PSK is what everybody has"))?;
        let pair = |_| {
            let many =
                |shaker: &mut Shaker<'_>| median((0..SHAKES).map(|_| shaker.uninterrupted_us()));
            (many(&mut ours), many(&mut other))
        };
        let pairs: Vec<_> = (0..SHAKE_PAIRS).map(pair).collect();
        let name =
            format!("full handshake in memory, server's share, {}, against {name}", mode.name);
        figures.push(Figure::from_pairs(name, "µs", &pairs, Some(Goal::AtMost(goal))));
    }
    Ok(figures)
}

const SAMPLES: usize = 15;
const BATCHES: usize = 500;
const BATCH: usize = 64;
const SHAKE_PAIRS: usize = 10;
const SHAKES: usize = 200;
