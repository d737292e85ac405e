//! Does the edge work with nothing else installed? The embedded stream: server-sent events that
//! resume, and `tail`.

#![forbid(unsafe_code)]

use tidegate_tests::api::{payload, text};
use tidegate_tests::device::Device;
use tidegate_tests::edge::Edge;
use tidegate_tests::process::Process;

#[test]
fn a_reader_gets_every_uplink_in_order_and_resumes_where_it_was() {
    let mut edge = Edge::embedded();
    let provisioned = edge.provision("station");
    let mut device = Device::connect(edge.coap_port, &provisioned, &["cid=0"]);
    for number in 1..=3 {
        assert_eq!(device.asks(&format!("con put n {number}")).code, "2.04");
    }
    let api = edge.api();
    let mut reader = api.events("/uplinks?from=0");
    let first = reader.next_event();
    assert_eq!(payload(&first.data), "1");
    assert_eq!(text(&first.data, "WirelessDeviceId"), provisioned.id);
    let second = reader.next_event();
    assert_eq!(payload(&second.data), "2");
    drop(reader);

    let mut resumed = api.events(&format!("/uplinks?from={}", second.id));
    assert_eq!(payload(&resumed.next_event().data), "3");
    // The stream is live, and `tail` shows the same on a terminal.
    let mut tail = edge.controlplane_command("tail");
    tail.args(["--raw", "--from", &second.id]);
    let mut tail = Process::start("tail", &mut tail);
    assert_eq!(device.asks("con put n 4").code, "2.04");
    assert_eq!(payload(&resumed.next_event().data), "4");
    for expected in ["3", "4"] {
        let line = tail.next_line("an uplink", |line| line.starts_with('{'));
        assert_eq!(payload(&serde_json::from_str(&line).expect("raw is JSON")), expected);
    }

    // What was promised is in the store: it is still there after both were killed.
    edge.kill_controlplane();
    edge.kill_dataplane();
    edge.start_dataplane();
    edge.start_controlplane();
    edge.wait_until_ready();
    let mut again = edge.api().events("/uplinks?from=0");
    let texts: Vec<String> = (0..4).map(|_| payload(&again.next_event().data)).collect();
    assert_eq!(texts, ["1", "2", "3", "4"]);
    assert_eq!(device.asks("con put n 5").code, "2.04");
    assert_eq!(payload(&again.next_event().data), "5");
}
