//! A device that is not ours and does as it is told: `tests/foreign/coap_device.c` on one of three
//! DTLS libraries.

use std::process::Command;

use crate::edge::Provisioned;
use crate::process::Process;
use crate::repository::cached;

/// A device with an established session.
#[derive(Debug)]
pub struct Device {
    process: Process,
    /// The Connection ID the edge wants in our records, hex; `none` without the extension.
    pub edge_cid: String,
    /// Whether the last handshake took an earlier session up again.
    pub is_resumed: bool,
}

/// The DTLS library under the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Library {
    /// Mbed TLS 3.6
    MbedTls,
    /// wolfSSL 5.9
    WolfSsl,
    /// tinydtls, as constrained devices have it
    TinyDtls,
}

impl Library {
    /// The driver that `make foreign` built on it; HOST, PORT and options are still to be added.
    pub fn command(self) -> Command {
        let name = match self {
            Self::MbedTls => "mbedtls",
            Self::WolfSsl => "wolfssl",
            Self::TinyDtls => "tinydtls",
        };
        Command::new(cached(&format!("foreign/coap_device_{name}"), "foreign"))
    }
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

    /// Shakes hands with a host, on Mbed TLS.
    pub fn connect_to(
        host: &str,
        coap_port: u16,
        as_device: &Provisioned,
        options: &[&str],
    ) -> Self {
        let psk = format!("psk={}:{}", as_device.identity, hex::encode(as_device.key()));
        let mut all = vec![psk.as_str()];
        all.extend(options);
        Self::start(Library::MbedTls, host, coap_port, &all)
            .unwrap_or_else(|said| panic!("coap_device: {said}"))
    }

    /// Shakes hands with any credential, on any library; `Err`: what the device said instead.
    pub fn start(
        library: Library,
        host: &str,
        coap_port: u16,
        options: &[&str],
    ) -> Result<Self, String> {
        let mut command = library.command();
        command.args([host, &coap_port.to_string()]).args(options);
        let process = Process::start("coap_device", &mut command);
        let mut device = Self { process, edge_cid: String::new(), is_resumed: false };
        device.becomes_ready()?;
        Ok(device)
    }

    /// Says close_notify and shakes hands from another port, asking for the session it had;
    /// `Err`: what the device said instead. [`Device::is_resumed`] tells what became of it.
    pub fn resumes(&mut self) -> Result<(), String> {
        self.process.tell("reconnect resumed");
        self.becomes_ready()
    }

    /// `ready SUITE PORT resumed=no cid=01ab`
    fn becomes_ready(&mut self) -> Result<(), String> {
        let ready = self.process.try_next_line(|line| line.starts_with("ready "))?;
        let field = |name| ready.split_once(name).expect("a field of the ready line").1;
        self.is_resumed = field("resumed=").starts_with("yes");
        field("cid=").clone_into(&mut self.edge_cid);
        Ok(())
    }

    /// Sends a request and waits for what becomes of it: `device.asks("con put t/1 hello")`.
    pub fn asks(&mut self, request: &str) -> Response {
        self.starts(request);
        self.response()
    }

    /// The same, of a device whose session may end instead; `Err`: everything it said.
    pub fn tries(&mut self, request: &str) -> Result<Response, String> {
        self.starts(request);
        self.try_response()
    }

    /// Sends a request and does not wait.
    pub fn starts(&mut self, request: &str) {
        self.process.tell(request);
    }

    /// Waits for the response of the request under way.
    pub fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|said| panic!("no response: {said}"))
    }

    fn try_response(&mut self) -> Result<Response, String> {
        let line = self.process.try_next_line(|line| {
            line.starts_with("response ") || line == "timeout" || line == "reset"
        })?;
        let mut words = line.splitn(4, ' ').skip(usize::from(line.starts_with("response ")));
        let mut word = || words.next().unwrap_or_default().to_owned();
        Ok(Response { code: word(), message_type: word(), text: word() })
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
