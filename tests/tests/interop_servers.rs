//! With which foreign servers does our own client work (`tidegate-loadgen request`), with which
//! suites and credentials? Everything is tried; `docs/interop.md` must say what came out.

#![forbid(unsafe_code)]

use tidegate_tests::document;
use tidegate_tests::fleet::Fleet;
use tidegate_tests::foreign::Target;
use tidegate_tests::foreign_server::{Running, Server};
use tidegate_tests::matrix::{Matrix, Outcome, Refusal, Way};

#[test]
fn our_client_and_foreign_servers() {
    let fleet = Fleet::default();
    let devices = fleet.devices(0, 0);
    let mut matrix = Matrix::default();
    // All at once: they wait more than they compute.
    let rows = std::thread::scope(|scope| {
        let (fleet, devices) = (&fleet, &devices);
        let rows = Server::ALL.map(|server| scope.spawn(move || row(server, fleet, devices)));
        rows.map(|row| row.join().expect("no panic in a row"))
    });
    for row in rows {
        matrix.append(row);
    }
    let text = matrix.to_markdown();
    let failures = matrix.failures();
    assert!(failures.is_empty(), "{}\n\n{text}", failures.join("\n\n"));
    document::says("interop.md", "servers", &text);
}

fn row(server: Server, fleet: &Fleet, devices: &Target) -> Matrix {
    let mut running = None;
    let mut lacking: Vec<(Way, Outcome)> = Vec::new();
    Matrix::row(server.name(), |what| {
        if what.way == Way::ALL[0] {
            // The next suite: another process.
            lacking.clear();
            running = Some(Running::start(server, fleet, devices, *what));
        }
        let running = running.as_mut().expect("started with the first way");
        let running = running.as_mut().map_err(|refusal| refusal.clone())?;
        // A server that lacks half of what a way asks for lacks the way.
        let is_part =
            |part: Way| (what.way.cid || !part.cid) && (what.way.resumed || !part.resumed);
        if let Some((_, lack)) = lacking.iter().find(|(part, _)| is_part(*part)) {
            return lack.clone();
        }
        let outcome = running.attempt(devices, what);
        if matches!(outcome, Err(Refusal::Lacks(_))) {
            lacking.push((what.way, outcome.clone()));
        }
        outcome
    })
}
