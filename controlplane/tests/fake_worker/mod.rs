//! A worker's side of the rings, played by the test, and a control plane to play against.
#![allow(clippy::unwrap_used, dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_coap::code::Code;
use tidegate_coap::message::{Token, Type, Writer};
use tidegate_coap::option::Number;
use tidegate_controlplane::control::{Control, Limits, MqttSettings, Settings};
use tidegate_controlplane::model::{
    Destination, Device, DeviceId, DownlinkRequest, ExpressionType, MessageId, MessageType, Method,
    NewDevice, NewNetwork, Priority, QueueMode,
};
use tidegate_ring::Seq;
use tidegate_ring::contract::{
    Claim, Credential, CredentialWanted, Downlink, FailReason, Hello, Kind, Network, Outcome,
    Publication, Published, SessionRef, SessionUp, Step, Uplink,
};
use tidegate_ring::link::{self, WorkerEnds};
use zerocopy::IntoBytes;
use zeroize::Zeroizing;

/// Long enough for a loaded machine; a test that waits so long has failed.
pub const PATIENCE: Duration = Duration::from_secs(20);
pub const RING_BYTES: usize = 1 << 16;
pub const UNIX_MS: u64 = 1_795_000_000_000;

/// Directories of one test, gone with it.
pub struct Place(PathBuf);

impl Place {
    pub fn new() -> Self {
        let name = format!("tidegate-test-{:016x}", rand::random::<u64>());
        let place = Self(std::env::temp_dir().join(name));
        std::fs::create_dir_all(place.run_dir()).unwrap();
        place
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn run_dir(&self) -> PathBuf {
        self.0.join("run")
    }

    pub fn settings(&self) -> Settings {
        Settings {
            run_dir: self.run_dir(),
            data_dir: self.0.join("data"),
            mqtt: None,
            identities: Vec::new(),
            account_id: "123456789012".to_owned(),
            actions: tidegate_controlplane::sinks::Settings::default(),
            payloads: tidegate_controlplane::payloads::Settings::default(),
            limits: Limits::default(),
        }
    }

    pub fn settings_with_broker(&self, port: u16) -> Settings {
        let url = format!("mqtt://127.0.0.1:{port}");
        Settings { mqtt: Some(MqttSettings { url, client_id: None }), ..self.settings() }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Asks until the answer is there.
pub async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(started.elapsed() < PATIENCE, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub const IDENTITY: &str = "identity-of-the-device-in-the-test";
pub const SECRET: &str = "secret-of-the-device-in-the-test--";
pub const TOPIC: &str = "the/topic";

pub fn destination(name: &str) -> Destination {
    Destination {
        name: name.to_owned(),
        expression_type: ExpressionType::MqttTopic,
        expression: TOPIC.to_owned(),
        description: None,
        role_arn: "arn:aws:iam::000000000000:role/x".to_owned(),
        tags: Vec::new(),
        created_unix_ms: 0,
    }
}

pub fn new_device(destination: &str, identity: &str) -> NewDevice {
    let network = NewNetwork {
        hardware: None,
        identity: Some(identity.to_owned()),
        secret: Some(Zeroizing::new(SECRET.to_owned())),
        ..NewNetwork::default()
    };
    NewDevice {
        destination: destination.to_owned(),
        cellular: Some(network),
        ..NewDevice::default()
    }
}

/// A destination and a device.
pub async fn provision(control: &Control) -> Device {
    control.create_destination(destination("somewhere"), None).await.unwrap();
    control.create_device(new_device("somewhere", IDENTITY), None).await.unwrap()
}

pub fn request(queue_mode: QueueMode, payload: &[u8]) -> DownlinkRequest {
    DownlinkRequest {
        message_type: MessageType::Confirmable,
        method: Method::Put,
        uri_paths: vec!["led".to_owned()],
        uri_query: Vec::new(),
        content_format: None,
        accept: None,
        queue_mode,
        priority: Priority::Normal,
        ttl_s: None,
        options: Vec::new(),
        payload: payload.to_vec(),
        reference: None,
    }
}

/// Worker 0.
pub struct FakeWorker {
    pub ends: WorkerEnds,
}

impl FakeWorker {
    pub fn attach(run_dir: &Path, incarnation: u64) -> Self {
        let mut worker = Self { ends: link::worker_side(run_dir, 0, RING_BYTES).unwrap() };
        let hello = Hello { incarnation: incarnation.into(), worker: 0, workers: 1 };
        worker.push(Kind::Hello, &[hello.as_bytes()]).unwrap();
        worker
    }

    /// `None`: the ring is full.
    pub fn push(&mut self, kind: Kind, parts: &[&[u8]]) -> Option<Seq> {
        let seq = self.ends.up.push(kind as u8, parts, 0).ok()?;
        self.ends.up.wake_if_sleeping();
        Some(seq)
    }

    /// The next entry from the control plane.
    pub async fn next(&mut self) -> (Kind, Vec<u8>) {
        until("an entry from the control plane", async || self.try_next()).await
    }

    /// Trust sheets are not what these tests are about.
    pub fn try_next(&mut self) -> Option<(Kind, Vec<u8>)> {
        loop {
            let entry = self.ends.down.next().unwrap()?;
            let taken = (Kind::from_wire(entry.kind).unwrap(), entry.bytes.to_vec());
            let seq = entry.seq;
            self.ends.down.release(seq);
            if !matches!(taken.0, Kind::Trust | Kind::Policies | Kind::Class) {
                return Some(taken);
            }
        }
    }

    pub fn uplink(&mut self, device: DeviceId, exchange: u64, payload: &[u8]) -> Option<Seq> {
        let uplink = Uplink {
            exchange: exchange.into(),
            device: device.0,
            session: SESSION.0.into(),
            received_unix_ms: UNIX_MS.into(),
            class: 0.into(),
            network: Network::Cellular as u8,
            answer_awaited: 0,
            body_bytes: 0.into(),
        };
        let mut buffer = [0; 1_024];
        let mut writer = Writer::new(&mut buffer, Type::Con, Code::PUT, 1, &Token::EMPTY);
        let len = writer.option(Number::URI_PATH, b"t").payload(payload).finish().unwrap();
        self.push(Kind::Uplink, &[uplink.as_bytes(), &buffer[..len]])
    }

    pub async fn published(&mut self) -> (u64, Publication) {
        match self.next().await {
            (Kind::Published, bytes) => {
                let published = Published::split(&bytes).unwrap().0;
                let publication = Publication::from_wire(published.publication).unwrap();
                (published.exchange.get(), publication)
            }
            (kind, _) => panic!("{kind:?} instead of Published"),
        }
    }

    pub async fn credential(&mut self, identity: &str) -> (Credential, Vec<u8>) {
        let wanted = CredentialWanted { request: 1.into(), claim: Claim::PskIdentity as u8 };
        self.push(Kind::CredentialWanted, &[wanted.as_bytes(), identity.as_bytes()]).unwrap();
        match self.next().await {
            (Kind::Credential, bytes) => {
                let (credential, key) = Credential::split(&bytes).unwrap();
                (*credential, key.to_vec())
            }
            (kind, _) => panic!("{kind:?} instead of Credential"),
        }
    }

    pub async fn downlink(&mut self) -> (MessageId, Vec<u8>) {
        match self.next().await {
            (Kind::Downlink, bytes) => {
                let (downlink, message) = Downlink::split(&bytes).unwrap();
                let message = tidegate_coap::message::Message::parse(message).unwrap();
                (MessageId(downlink.message_id), message.payload.to_vec())
            }
            (kind, _) => panic!("{kind:?} instead of Downlink"),
        }
    }

    /// A session that was made with the device's credential as it is now.
    pub async fn session_up(&mut self, device: DeviceId) {
        let stamp = self.credential(IDENTITY).await.0.stamp;
        let up = SessionUp {
            device: device.0,
            session: SESSION.0.into(),
            at_unix_ms: UNIX_MS.into(),
            suite: 0.into(),
            peer_port: 1.into(),
            peer_ip: [0; 16],
            has_cid: 0,
            network: Network::Cellular as u8,
            stamp,
            class: 0.into(),
            claim: Claim::PskIdentity as u8,
            resumed: 0,
            connected: 0,
        };
        self.push(Kind::SessionUp, &[up.as_bytes(), IDENTITY.as_bytes()]).unwrap();
    }

    pub fn outcome(&mut self, device: DeviceId, id: MessageId, step: Step, is_final: bool) {
        let outcome = Outcome {
            message_id: id.0,
            device: device.0,
            at_unix_ms: UNIX_MS.into(),
            step: step as u8,
            reason: FailReason::None as u8,
            is_final: u8::from(is_final),
            network: Network::Cellular as u8,
            body_bytes: 0.into(),
        };
        self.push(Kind::Outcome, &[outcome.as_bytes()]).unwrap();
    }

    /// Everything we wrote was released.
    pub async fn released(&mut self) {
        let capacity = self.ends.up.capacity();
        until("the release of every entry", async || {
            (self.ends.up.free_bytes() + 8 >= capacity).then_some(())
        })
        .await;
    }
}

pub const SESSION: SessionRef = SessionRef(7 << 32 | 1);
