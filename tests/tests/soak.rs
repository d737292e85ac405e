//! Is anything lost when processes are killed under load? A few rounds of `make soak`.

#![forbid(unsafe_code)]

use tidegate_tests::soak::{Options, VICTIMS, run};

#[test]
fn what_was_acknowledged_arrives_whatever_is_killed() {
    let options = Options { devices: 40, rounds: 8, seed: 7, pause_ms: 100, victims: VICTIMS };
    let report = run(&options, |_, _| {});
    assert!(report.promised > 8 * 40, "{report:?}");
    assert_eq!((report.lost, report.invented), (0, 0), "{report:?}");
    // Who is forgotten shakes hands again; nobody is.
    assert_eq!(report.lost_sessions, 0, "{report:?}");
}
