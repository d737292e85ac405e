//! Where do uplinks arrive? A real mosquitto on a port of its own, and mosquitto_sub behind it.

use std::fs;
use std::net::{Ipv4Addr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;

use crate::api::text;
use crate::place::{Directory, free_port};
use crate::process::Process;
use crate::wait::eventually;

/// A broker; stopped when dropped.
#[derive(Debug)]
pub struct Mosquitto {
    port: u16,
    directory: Directory,
    persistence: &'static str,
    process: Option<Process>,
}

impl Mosquitto {
    /// Starts one with the configuration that `make run` uses, on a free port.
    pub fn start() -> Self {
        Self::start_with("persistence false")
    }

    /// Starts one that keeps what it has acknowledged over [`Mosquitto::stop_in_order`].
    pub fn start_durable() -> Self {
        Self::start_with("persistence true")
    }

    fn start_with(persistence: &'static str) -> Self {
        let directory = Directory::new("mosquitto");
        // Started by root it becomes the user mosquitto before it writes its database.
        let everybody = fs::Permissions::from_mode(0o777);
        fs::set_permissions(directory.path(), everybody).expect("ours");
        let mut broker = Self { port: free_port(), directory, persistence, process: None };
        broker.go_on();
        broker
    }

    /// Its port on loopback.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL for the control plane's configuration.
    pub fn url(&self) -> String {
        format!("mqtt://127.0.0.1:{}", self.port)
    }

    /// `kill -9`.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// SIGTERM: what it has acknowledged is written down first.
    pub fn stop_in_order(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.terminate();
        }
    }

    /// Starts it (again) on the same port and waits until it listens.
    pub fn go_on(&mut self) {
        let config = include_str!("../../deploy/mosquitto.conf");
        let config = config
            .replace("listener 1883 ", &format!("listener {} ", self.port))
            .replace("persistence false", self.persistence);
        let config = format!("{config}persistence_location {}/\n", self.directory.path().display());
        let path = self.directory.write("mosquitto.conf", &config);
        // Debian puts mosquitto into /usr/sbin, which is not in everybody's PATH.
        let search = format!("{}:/usr/sbin", std::env::var("PATH").unwrap_or_default());
        let mut command = Command::new("mosquitto");
        command.arg("-c").arg(path).env("PATH", search);
        self.process = Some(Process::start("mosquitto", &mut command));
        eventually("mosquitto listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()
        });
    }

    /// Subscribes, and returns when the broker has said so. The broker remembers the subscriber
    /// (a session that is not clean) while it is away.
    pub fn subscribe(&self, topic: &str) -> Subscriber {
        let port = self.port.to_string();
        // mosquitto_sub holds its lines back from a pipe; stdbuf becomes it and makes it tell.
        let mut command = Command::new("stdbuf");
        command.args([
            "-oL",
            "mosquitto_sub",
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-q",
            "1",
            "-d",
            "-t",
            topic,
        ]);
        command.args(["-c", "-i", "subscriber", "-F", "message %t %p"]);
        let process = Process::start("mosquitto_sub", &mut command);
        let mut subscriber = Subscriber { process, subscriptions: 0 };
        subscriber.subscribed();
        subscriber
    }
}

/// A running mosquitto_sub.
#[derive(Debug)]
pub struct Subscriber {
    process: Process,
    subscriptions: usize,
}

impl Subscriber {
    /// Waits until a subscription stands (again, after the broker was away).
    pub fn subscribed(&mut self) {
        self.subscriptions += 1;
        eventually("mosquitto_sub has subscribed", || {
            let said = self.process.said();
            let count = said.lines().filter(|line| line.starts_with("Subscribed")).count();
            (count >= self.subscriptions).then_some(())
        });
    }

    /// The next message: its topic and its JSON.
    pub fn next_message(&mut self) -> (String, Value) {
        let line = self.process.next_line("a message", |line| line.starts_with("message "));
        parse(&line)
    }

    /// The next message's JSON.
    pub fn next_json(&mut self) -> Value {
        self.next_message().1
    }

    /// The next uplink of one device.
    pub fn next_of(&mut self, device_id: &str) -> Value {
        loop {
            let json = self.next_json();
            if text(&json, "WirelessDeviceId") == device_id {
                return json;
            }
        }
    }

    /// Messages that have come and were not asked for yet.
    pub fn pending(&self) -> Vec<Value> {
        let lines = self.process.pending_lines(|line| line.starts_with("message "));
        lines.iter().map(|line| parse(line).1).collect()
    }
}

fn parse(line: &str) -> (String, Value) {
    let (topic, json) = line["message ".len()..].split_once(' ').expect("message TOPIC JSON");
    let json = serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}: {json}"));
    (topic.to_owned(), json)
}
