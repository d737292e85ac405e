//! A device that is not ours and does as it is told: `tests/foreign/coap_device.c`.

use std::process::Command;

use crate::edge::Provisioned;
use crate::process::Process;
use crate::repository::cached;

/// A device on Mbed TLS with an established session.
#[derive(Debug)]
pub struct Device {
    process: Process,
    /// The Connection ID the edge wants in our records, hex; `none` without the extension.
    pub edge_cid: String,
}

/// How a device answers or fares; the words of `coap_device.c`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// `2.04`, or `timeout`.
    pub code: String,
    /// `ACK` (piggybacked), `CON` or `NON`; empty for a timeout.
    pub message_type: String,
    /// The payload as text.
    pub text: String,
}

impl Device {
    /// Shakes hands over IPv4. `options` are `suite=…`, `cid=…`, `patience=…`.
    pub fn connect(coap_port: u16, as_device: &Provisioned, options: &[&str]) -> Self {
        Self::connect_to("127.0.0.1", coap_port, as_device, options)
    }

    /// Shakes hands with a host.
    pub fn connect_to(
        host: &str,
        coap_port: u16,
        as_device: &Provisioned,
        options: &[&str],
    ) -> Self {
        let mut command = Command::new(cached("foreign/coap_device", "foreign"));
        command.args([host, &coap_port.to_string(), &as_device.identity]);
        command.arg(hex::encode(&as_device.secret)).args(options);
        let mut process = Process::start("coap_device", &mut command);
        let ready = process.next_line("ready", |line| line.starts_with("ready "));
        let edge_cid = ready.split_once("cid=").expect("cid= stands in ready").1.to_owned();
        Self { process, edge_cid }
    }

    /// Sends a request and waits for what becomes of it: `device.asks("con put t/1 hello")`.
    pub fn asks(&mut self, request: &str) -> Response {
        self.starts(request);
        self.response()
    }

    /// Sends a request and does not wait.
    pub fn starts(&mut self, request: &str) {
        self.process.tell(request);
    }

    /// Waits for the response of the request under way.
    pub fn response(&mut self) -> Response {
        let line = self.process.next_line("a response", |line| {
            line.starts_with("response ") || line == "timeout" || line == "reset"
        });
        let mut words = line.splitn(4, ' ').skip(usize::from(line.starts_with("response ")));
        let mut word = || words.next().unwrap_or_default().to_owned();
        Response { code: word(), message_type: word(), text: word() }
    }

    /// Waits for the empty ACK of the request under way.
    pub fn acknowledged(&mut self) {
        self.process.next_line("acknowledged", |line| line == "acknowledged");
    }

    /// The next request of the edge, which the device has answered: `put CON led/1 on`.
    pub fn next_request(&mut self) -> String {
        let line = self.process.next_line("a request", |line| line.starts_with("request "));
        line["request ".len()..].trim_end().to_owned()
    }

    /// Requests that have come and were not asked for yet.
    pub fn pending_requests(&self) -> Vec<String> {
        self.process.pending_lines(|line| line.starts_with("request ") || line == "again")
    }

    /// Every request so far, repetitions (`again`) included.
    pub fn requests_so_far(&self) -> Vec<String> {
        let said = self.process.said();
        let lines = said.lines().filter(|line| line.starts_with("request ") || *line == "again");
        lines.map(|line| line.trim_end().to_owned()).collect()
    }

    /// Waits until the request under way is answered, or the session ends, or nothing comes:
    /// whether it was not answered.
    pub fn is_cut_off(&mut self) -> bool {
        let ends = ["response ", "timeout", "closed", "read: "];
        let line =
            self.process.next_line("an end", |line| ends.iter().any(|e| line.starts_with(e)));
        !line.starts_with("response ")
    }

    /// Goes on from another UDP port, as behind a NAT that forgot the device.
    pub fn rebinds(&mut self) {
        self.process.tell("rebind");
        self.process.next_line("rebound", |line| line.starts_with("rebound "));
    }

    /// Drops everything that comes, as a device that sleeps.
    pub fn sleeps(&mut self) {
        self.process.tell("deaf on");
        self.process.next_line("deaf on", |line| line == "deaf on");
    }

    /// Listens again.
    pub fn wakes(&mut self) {
        self.process.tell("deaf off");
        self.process.next_line("deaf off", |line| line == "deaf off");
    }

    /// Says close_notify and ends.
    pub fn closes(mut self) {
        self.process.close_stdin();
        let status = self.process.wait();
        assert!(status.success(), "coap_device: {status}");
    }
}
