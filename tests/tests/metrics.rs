//! Are the metrics what Prometheus takes? Read over HTTP and parsed by its own library.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use serde_json::Value;
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::place::free_port;
use tidegate_tests::repository;
use tidegate_tests::wait::eventually_or_say;

/// Every family: its type, its help, its samples by label text.
const PARSE: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
print(json.dumps({family.name: dict(type=family.type, help=family.documentation, samples={
    sample.name + json.dumps(sample.labels, sort_keys=True): sample.value
    for sample in family.samples}) for family in text_string_to_metric_families(sys.stdin.read())}))
";

fn scrape(port: u16) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.contains(" 200 ") && head.contains("text/plain; version=0.0.4"), "{head}");
    body.to_owned()
}

fn parsed(text: &str) -> Value {
    let python = repository::cached("venv/bin/python", "aws");
    let mut command = Command::new(python);
    command.args(["-c", PARSE]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("python of the venv");
    child.stdin.take().expect("a pipe").write_all(text.as_bytes()).expect("it reads");
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{text}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn prometheus_reads_what_both_processes_count() {
    let port = free_port();
    let controlplane = format!("[metrics]\nlisten = \"127.0.0.1:{port}\"\n");
    let edge = Edge::with(&Options { controlplane, workers: 1, ..Options::default() });
    let meter = edge.provision("meter");
    let mut device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
    assert_eq!(device.asks("con put t 1").code, "2.04");

    let families = eventually_or_say("the uplink is counted", || {
        let families = parsed(&scrape(port));
        let uplinks =
            &families["tidegate_uplink"]["samples"]["tidegate_uplink_total{\"worker\": \"0\"}"];
        if *uplinks == 1.0 { Ok(families) } else { Err(uplinks.to_string()) }
    });
    let families = families.as_object().expect("families");
    for (name, family) in families {
        assert!(name.starts_with("tidegate_"), "{name}");
        let help = family["help"].as_str().unwrap_or_default();
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        assert_ne!(family["type"], "unknown", "{name}");
    }
    let latency = &families["tidegate_publish_latency_seconds"];
    assert_eq!(latency["type"], "histogram");
    assert_eq!(latency["samples"]["tidegate_publish_latency_seconds_count{}"], 1.0);
    let sessions = &families["tidegate_sessions"];
    assert_eq!(sessions["type"], "gauge");
    assert_eq!(sessions["samples"]["tidegate_sessions{\"worker\": \"0\"}"], 1.0);
    // The documentation has every name, and no other.
    let page = std::fs::read_to_string(repository::root().join("docs/metrics.md")).expect("docs");
    let listed: Vec<&str> =
        page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    for (name, family) in families {
        let suffix = if family["type"] == "counter" { "_total" } else { "" };
        let name = format!("{name}{suffix}");
        assert!(listed.contains(&name.as_str()), "docs/metrics.md lacks {name}");
    }
    for name in listed.iter().filter(|name| name.starts_with("tidegate_")) {
        let family = name.strip_suffix("_total").unwrap_or(name);
        assert!(families.contains_key(family), "docs/metrics.md has {name}");
    }
    assert!(!scrape(port).contains(&meter.id), "no device is named");
}
