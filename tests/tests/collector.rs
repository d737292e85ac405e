//! Does the customer's log get to a foreign OpenTelemetry collector (rotel)? Entries by OTLP, as it
//! understood them; a request that broke off is sent again.

#![forbid(unsafe_code)]

use std::io;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::thread;

use serde_json::json;
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options};
use tidegate_tests::place::free_port;
use tidegate_tests::process::Process;
use tidegate_tests::repository::cached;
use tidegate_tests::wait::eventually;

/// Where its package has the program.
const WHERE: &str = "import importlib.util, pathlib\n\
    print(pathlib.Path(importlib.util.find_spec('rotel').origin).with_name('rotel-agent'))";

/// A collector that prints every record it was sent.
struct Collector {
    process: Process,
}

impl Collector {
    fn start(port: u16) -> Self {
        let mut python = Command::new(cached("venv/bin/python", "aws"));
        let path = Process::run("python", python.args(["-c", WHERE])).expect("rotel is installed");
        let mut command = Command::new(path.trim());
        let http = format!("127.0.0.1:{port}");
        let grpc = format!("127.0.0.1:{}", free_port());
        command.args(["start", "--exporter", "blackhole", "--otlp-http-endpoint", &http]);
        command.args(["--otlp-grpc-endpoint", &grpc]);
        command.args(["--debug-log", "logs", "--debug-log-verbosity", "detailed"]);
        let process = Process::start("rotel-agent", &mut command);
        eventually("the collector listens", || TcpStream::connect(("127.0.0.1", port)).ok());
        Self { process }
    }

    /// The lines of the next record whose body begins so.
    fn next_record(&mut self, body: &str) -> Vec<String> {
        let wanted = format!("Body: Str({body}");
        let first = self.process.next_line("the record", |line| line.starts_with(&wanted));
        let mut lines = vec![first];
        while !lines.last().is_some_and(|line| line.starts_with("Flags")) {
            lines.push(self.process.next_line("its end", |_| true).trim().to_owned());
        }
        lines
    }
}

/// A port whose first connections break off; the others lead to the collector.
fn stumbling_way(to: u16, breaks: usize) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for from in listener.incoming().flatten().skip(breaks) {
            let to = TcpStream::connect(("127.0.0.1", to)).expect("the collector listens");
            let (mut asks, mut asked) =
                (from.try_clone().expect("ours"), to.try_clone().expect("ours"));
            thread::spawn(move || io::copy(&mut asks, &mut asked));
            let (mut answers, mut answered) = (to, from);
            thread::spawn(move || io::copy(&mut answers, &mut answered));
        }
    });
    port
}

#[test]
fn a_collector_understands_the_entries() {
    let port = free_port();
    let mut collector = Collector::start(port);
    let way = stumbling_way(port, 2);
    let otlp = format!("[customer_log]\notlp = \"http://127.0.0.1:{way}/v1/logs\"\n");
    let edge = Edge::with(&Options { controlplane: otlp, ..Options::default() });
    let meter = edge.provision("meter");
    let policy = json!({"PolicyDocument": json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Action": "coap:Put",
        "Resource": "arn:aws:iotwireless:*:*:coap/sensors/*"}]}).to_string()});
    let target = format!("/wireless-devices/{}/policy", meter.id);
    edge.api().succeed("PUT", &target, &policy);
    let mut device = Device::connect(edge.coap_port, &meter, &["cid=0"]);
    assert_eq!(device.asks("con put sensors/1 21").code, "2.04");
    assert_eq!(device.asks("con put admin/x 1").code, "4.03");
    let record = collector.next_record("PUT /admin/x was answered FORBIDDEN(4.03)");
    for line in [
        format!("-> wireless_device.id: Str({})", meter.id),
        "-> event.name: Str(Uplink_Data)".to_owned(),
        "-> coap.request_method: Str(PUT)".to_owned(),
        "-> coap.uri_path: Str(admin/x)".to_owned(),
        "-> coap.reason: Str(POLICY)".to_owned(),
    ] {
        assert!(record.contains(&line), "{line} in {record:#?}");
    }
    let said = collector.process.said();
    for line in ["-> service.name: Str(tidegate)", "SeverityNumber: SEVERITY_NUMBER_ERROR(17)"] {
        assert!(said.contains(line), "{line} in {said}");
    }
}
