//! What is a whole edge? Both processes on loopback with a directory and ports of their own, to be
//! killed and restarted in any order.

use std::fs;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::{Api, text};
use crate::mosquitto::Mosquitto;
use crate::place::{Directory, free_port};
use crate::process::Process;
use crate::repository::binary;
use crate::sigv4::Credentials;
use crate::wait::{eventually, eventually_or_say};

/// What differs from the defaults, story by story.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// URL of the broker; `None`: the embedded stream.
    pub mqtt_url: Option<String>,
    /// `[coap]` lines for dataplane.toml.
    pub coap: String,
    /// `[handshake]` lines for dataplane.toml.
    pub handshake: String,
    /// Lines for controlplane.toml, sections included.
    pub controlplane: String,
    /// `auto`, `io_uring`, `mmsg`; empty: `auto`.
    pub backend: &'static str,
    /// Worker threads; 0: two.
    pub workers: u8,
    /// Sessions of each; 0: 1 024.
    pub sessions: u32,
    /// Serves plain CoAP on [`Edge::plain_port`].
    pub nosec: bool,
    /// The dataplane is a child of one that keeps its sockets.
    pub supervised: bool,
}

/// A running edge; stopped when dropped.
#[derive(Debug)]
pub struct Edge {
    /// UDP port of the devices.
    pub coap_port: u16,
    /// UDP port of devices without security, on 127.0.0.1.
    pub plain_port: u16,
    /// TCP port of the API.
    pub http_port: u16,
    options: Options,
    /// Where both programs are; [`Edge::upgrade`] goes to the next.
    programs: [PathBuf; 2],
    upgrades: u32,
    directory: Directory,
    dataplane: Option<Process>,
    controlplane: Option<Process>,
}

/// A device the edge knows.
#[derive(Clone, Debug)]
pub struct Provisioned {
    /// `WirelessDeviceId`.
    pub id: String,
    /// PSK identity, 32 characters or more.
    pub identity: String,
    /// The key as the API takes it: text, or `0x…`.
    pub secret: String,
    /// Its destination.
    pub destination: String,
    /// Where its uplinks are published.
    pub topic: String,
}

impl Provisioned {
    /// One with a destination of its own, not known to an edge yet. `name` makes both unique.
    pub fn named(name: &str) -> Self {
        Self {
            id: String::new(),
            identity: format!("{name}-{:-<1$}", "", 40_usize.saturating_sub(name.len() + 1)),
            secret: format!("{name:0<32}"),
            destination: format!("to-{name}"),
            topic: format!("fleet/{name}"),
        }
    }

    /// Creates it as described, with its destination; its id is filled in.
    #[must_use]
    pub fn create(mut self, api: &Api) -> Self {
        let cellular = json!({"DtlsV1_2": {
            "PreSharedKeyIdentity": self.identity, "PreSharedKeySecret": self.secret,
        }});
        self.id = create_device(api, &self.destination, &self.topic, &cellular);
        self
    }

    /// The bytes of the key.
    pub fn key(&self) -> Vec<u8> {
        match self.secret.strip_prefix("0x") {
            Some(digits) => hex::decode(digits).expect("hex after 0x"),
            None => self.secret.clone().into_bytes(),
        }
    }
}

impl Edge {
    /// An edge that publishes to a broker.
    pub fn with_broker(broker: &Mosquitto) -> Self {
        Self::with(&Options { mqtt_url: Some(broker.url()), ..Options::default() })
    }

    /// An edge with nothing else installed: uplinks go to the embedded stream.
    pub fn embedded() -> Self {
        Self::with(&Options::default())
    }

    /// Writes the configurations, starts both processes and waits until they serve.
    pub fn with(options: &Options) -> Self {
        let directory = Directory::new("edge");
        let (coap_port, plain_port, http_port) = (free_port(), free_port(), free_port());
        let run_dir = directory.path().join("run");
        fs::create_dir(&run_dir).expect("a new directory");
        fs::set_permissions(&run_dir, fs::Permissions::from_mode(0o700)).expect("ours");
        let mut edge = Self {
            coap_port,
            plain_port,
            http_port,
            options: options.clone(),
            programs: PROGRAMS.map(binary),
            upgrades: 0,
            directory,
            dataplane: None,
            controlplane: None,
        };
        edge.configure();
        edge.start_dataplane();
        edge.start_controlplane();
        edge.wait_until_ready();
        edge
    }

    fn configure(&self) {
        let options = &self.options;
        let run_dir = self.directory.path().join("run");
        let data_dir = self.directory.path().join("data");
        let (run_dir, data_dir) = (run_dir.display(), data_dir.display());
        let (coap_port, http_port) = (self.coap_port, self.http_port);
        let workers = if options.workers == 0 { 2 } else { options.workers };
        let sessions = if options.sessions == 0 { 1_024 } else { options.sessions };
        let backend = if options.backend.is_empty() { "auto" } else { options.backend };
        let dataplane = format!(
            "listen = [\"127.0.0.1:{coap_port}\", \"[::1]:{coap_port}\"]\n\
             workers = {workers}\nrun_dir = \"{run_dir}\"\n\
             [net]\nbackend = \"{backend}\"\n\
             [nosec]\nlisten = [{}]\n\
             [sessions]\nper_worker = {sessions}\n\
             [coap]\n{}\n[handshake]\n{}\n",
            if options.nosec {
                format!("\"127.0.0.1:{}\"", self.plain_port)
            } else {
                String::new()
            },
            options.coap,
            options.handshake
        );
        self.directory.write("dataplane.toml", &dataplane);
        let mqtt = match &options.mqtt_url {
            Some(url) => format!("[mqtt]\nurl = \"{url}\"\n"),
            None => String::new(),
        };
        let controlplane = format!(
            "run_dir = \"{run_dir}\"\ndata_dir = \"{data_dir}\"\n\
             [http]\nlisten = \"127.0.0.1:{http_port}\"\n{mqtt}{}\n",
            options.controlplane
        );
        self.directory.write("controlplane.toml", &controlplane);
    }

    /// Starts the dataplane; [`Edge::wait_until_ready`] waits for it.
    pub fn start_dataplane(&mut self) {
        let mut command = Command::new(&self.programs[0]);
        command.arg("--config").arg(self.directory.path().join("dataplane.toml"));
        if self.options.supervised {
            command.arg("--supervise");
        }
        self.dataplane = Some(Process::start("tidegate-dataplane", &mut command));
    }

    /// Starts the control plane.
    pub fn start_controlplane(&mut self) {
        let mut command = self.controlplane_command("serve");
        self.controlplane = Some(Process::start("tidegate-controlplane", &mut command));
    }

    /// `tidegate-controlplane <subcommand> --config …`
    pub fn controlplane_command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.programs[1]);
        command.args([subcommand, "--config"]);
        command.arg(self.directory.path().join("controlplane.toml"));
        command
    }

    /// A directory for this story's files.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The process numbers of dataplane and control plane.
    ///
    /// # Panics
    /// When one of them does not run.
    pub fn processes(&self) -> [u32; 2] {
        let processes = [&self.dataplane, &self.controlplane];
        processes.map(|process| process.as_ref().expect("it runs").id())
    }

    /// `kill -9` of the dataplane.
    pub fn kill_dataplane(&mut self) {
        self.dataplane = None;
    }

    /// The number of the dataplane's process, or of the one that keeps its sockets.
    ///
    /// # Panics
    /// When there is none.
    pub fn dataplane_id(&self) -> u32 {
        self.dataplane.as_ref().expect("it runs").id()
    }

    /// Has the next dataplane run with so many workers.
    pub fn configure_workers(&mut self, workers: u8) {
        self.options.workers = workers;
        self.configure();
    }

    /// `kill -9` of the control plane.
    pub fn kill_controlplane(&mut self) {
        self.controlplane = None;
    }

    /// Stops the dataplane and starts it with other `[handshake]` lines.
    pub fn restart_dataplane_with(&mut self, handshake: &str) {
        handshake.clone_into(&mut self.options.handshake);
        self.configure();
        let mut dataplane = self.dataplane.take().expect("it runs");
        assert!(dataplane.terminate().success(), "{}", dataplane.said());
        self.start_dataplane();
        self.wait_until_ready();
    }

    /// Puts both programs into a directory of their own, and replaces one process after the other
    /// by the one from there: each is asked to stop, and the next one starts at once.
    pub fn upgrade(&mut self) {
        self.upgrades += 1;
        let directory = self.directory.path().join(format!("build-{}", self.upgrades));
        fs::create_dir(&directory).expect("a new directory");
        for (at, name) in PROGRAMS.into_iter().enumerate() {
            let copy = directory.join(name);
            fs::copy(&self.programs[at], &copy).expect("a copy of the program");
            self.programs[at] = copy;
        }
        self.upgrade_dataplane();
        let mut controlplane = self.controlplane.take().expect("it runs");
        assert!(controlplane.terminate().success(), "{}", controlplane.said());
        self.start_controlplane();
    }

    /// Asks the dataplane to stop and starts it.
    pub fn upgrade_dataplane(&mut self) {
        let mut dataplane = self.dataplane.take().expect("it runs");
        assert!(dataplane.terminate().success(), "{}", dataplane.said());
        self.start_dataplane();
    }

    /// Everything that the dataplane that runs has said.
    pub fn dataplane_said(&self) -> String {
        self.dataplane.as_ref().expect("it runs").said()
    }

    /// Asks both to stop, as a service manager does. Panics unless both end with success.
    pub fn stop(&mut self) {
        for mut process in [self.controlplane.take(), self.dataplane.take()].into_iter().flatten() {
            let status = process.terminate();
            assert!(status.success(), "{status}\n{}", process.said());
        }
    }

    /// Waits until the API says that all is well and the devices' port answers a stranger.
    pub fn wait_until_ready(&mut self) {
        eventually_or_say("the API is well and has greeted the workers", || {
            self.check_alive();
            let health = self.health().unwrap_or_default();
            if health["Status"] == "ok" { Ok(()) } else { Err(health.to_string()) }
        });
        eventually("the devices' port answers", || {
            self.check_alive();
            self.answers_a_stranger().then_some(())
        });
    }

    /// `GET /health`, if the API answers.
    pub fn health(&self) -> Option<Value> {
        let nobody = Credentials {
            access_key_id: "none".to_owned(),
            secret_access_key: String::new(),
            region: String::new(),
        };
        let api = Api { port: self.http_port, credentials: nobody };
        api.try_call("GET", "/health", &Value::Null).ok().map(|reply| reply.body)
    }

    /// The API with the root key.
    pub fn api(&self) -> Api {
        Api { port: self.http_port, credentials: self.root_key() }
    }

    /// The key pair made at the first start.
    pub fn root_key(&self) -> Credentials {
        root_key_in(&self.directory.path().join("data"))
    }

    /// Creates a device with a destination of its own. `name` makes both unique.
    pub fn provision(&self, name: &str) -> Provisioned {
        Provisioned::named(name).create(&self.api())
    }

    /// Creates a device as described; its id is filled in.
    pub fn provision_as(&self, device: Provisioned) -> Provisioned {
        device.create(&self.api())
    }

    /// Creates a device with this `Cellular` block, and its destination; the device's id.
    pub fn provision_block(&self, destination: &str, topic: &str, cellular: &Value) -> String {
        create_device(&self.api(), destination, topic, cellular)
    }

    /// Waits until nothing follows for a message (`EndedAt`) and returns its whole status.
    pub fn final_state(&self, device: &Provisioned, message_id: &str) -> Value {
        let api = self.api();
        let target = format!("/wireless-devices/{}/data/{message_id}", device.id);
        eventually_or_say("a final state", || {
            let status = api.succeed("GET", &target, &Value::Null);
            if status["EndedAt"].is_null() { Err(status.to_string()) } else { Ok(status) }
        })
    }

    /// A first ClientHello without a cookie is answered statelessly (RFC 6347 section 4.2.1).
    fn answers_a_stranger(&self) -> bool {
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a client socket");
        socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
        let sent = socket.send_to(CLIENT_HELLO, (Ipv4Addr::LOCALHOST, self.coap_port));
        sent.is_ok() && socket.recv(&mut [0; 1500]).is_ok()
    }

    fn check_alive(&mut self) {
        for process in [&mut self.dataplane, &mut self.controlplane].into_iter().flatten() {
            if let Some(status) = process.try_wait() {
                panic!("ended too early: {status}\n{}", process.said());
            }
        }
    }
}

/// The root key pair in a control plane's directory, made at its first start.
///
/// # Panics
/// When it is not there.
pub fn root_key_in(data_dir: &Path) -> Credentials {
    let file = data_dir.join("root-credentials");
    let lines = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let field = |name: &str| {
        let value = lines.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
        value.unwrap_or_else(|| panic!("{name} in {}", file.display())).to_owned()
    };
    Credentials {
        access_key_id: field("aws_access_key_id"),
        secret_access_key: field("aws_secret_access_key"),
        region: REGION.to_owned(),
    }
}

fn create_device(api: &Api, destination: &str, topic: &str, cellular: &Value) -> String {
    api.succeed(
        "POST",
        "/destinations",
        &json!({
            "Name": destination, "ExpressionType": "MqttTopic", "Expression": topic,
            "RoleArn": "arn:aws:iam::000000000000:role/tidegate",
        }),
    );
    let created = api.succeed(
        "POST",
        "/wireless-devices",
        &json!({
            "Type": "CoAP", "Name": destination, "DestinationName": destination,
            "Cellular": cellular,
        }),
    );
    text(&created, "Id")
}

const PROGRAMS: [&str; 2] = ["tidegate-dataplane", "tidegate-controlplane"];

/// The region of the root key's scope (the default of controlplane.toml).
pub const REGION: &str = "us-east-1";

/// DTLS 1.2 ClientHello offering one PSK suite and no extension.
const CLIENT_HELLO: &[u8] = &[
    22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 54, // record: handshake, epoch 0, number 0
    1, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 42, // client_hello, whole in one fragment
    0xfe, 0xfd, // version
    7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    0, 0, // no session id, no cookie
    0, 2, 0xc0, 0xa8, // PSK_WITH_AES_128_CCM_8
    1, 0, // null compression
];
