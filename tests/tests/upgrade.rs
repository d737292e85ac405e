//! Is a running edge replaced by another build without a lost session? As docs/upgrade.md says it,
//! under load, and where the layout of sessions has changed.

#![forbid(unsafe_code)]

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;

use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::soak::{self, Victim};

/// Both processes are replaced three times by programs of other files while devices count upwards:
/// each goes on with its session, and nothing that was acknowledged is missing.
#[test]
fn an_upgrade_under_load_keeps_every_session() {
    let victims = &[Victim::Upgrade];
    let options = soak::Options { devices: 40, rounds: 3, seed: 11, pause_ms: 100, victims };
    let report = soak::run(&options, |_, _| {});
    assert_eq!(report.lost_sessions, 0, "{report:?}");
    assert_eq!((report.lost, report.invented), (0, 0), "{report:?}");
    assert!(report.promised > 3 * 40, "{report:?}");
}

/// Where a build lays out sessions otherwise it says so, and devices shake hands again.
#[test]
fn sessions_of_another_layout_are_not_taken_over() {
    let mut edge = Edge::with(&Options { workers: 1, ..Options::default() });
    let provisioned = edge.provision("stays");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0", "patience=3000"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");
    edge.upgrade_dataplane();
    edge.wait_until_ready();
    assert!(edge.dataplane_said().contains("kept=1"), "{}", edge.dataplane_said());
    assert_eq!(device.asks("con put t 2").code, "2.04", "the same layout");

    edge.stop();
    let slab = edge.directory().join("run/worker-0.slab");
    let slab = OpenOptions::new().write(true).open(slab).expect("it outlives the process");
    slab.write_all_at(&[0], LAYOUT_AT).expect("written");
    edge.start_dataplane();
    edge.start_controlplane();
    edge.wait_until_ready();
    let said = edge.dataplane_said();
    assert!(said.contains("kept=0") && said.contains("sessions of another layout"), "{said}");
    device.starts("con put t 3");
    assert!(device.is_cut_off(), "nobody knows its session");
    device.resumes().expect("it shakes hands again");
    assert_eq!(device.asks("con put t 4").code, "2.04");
}

/// Where a slab says which layout it has.
const LAYOUT_AT: u64 = 7;
