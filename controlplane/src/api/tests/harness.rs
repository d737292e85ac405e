//! A control plane without a dataplane, its API on a free port, and a client that signs.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::api::access_key::RootKey;
use crate::api::endpoint::Endpoints;
use crate::api::route::{Operation, segments};
use crate::api::serve::{Listener, serve};
use crate::api::sigv4::signer::Signing;
use crate::api::{Api, Aws, Bounds, spec};
use crate::control::{Control, Limits, MqttSettings, Settings};
use crate::iam::directory::{Directory, NewKey};
use crate::identity::ServerPublicKey;
use crate::store::Store;
use crate::store::vault::Vault;

pub(super) const SECRET: &str = "a-secret-of-the-tests-that-nobody-may-see";
pub(super) const BODY_BYTES_MAX: usize = 524_288;
pub(super) const FOLLOWERS_MAX: usize = 4;
pub(super) const COAP: &str = "coaps://edge.example.com:5684";
const ACCESS_KEY_ID: &str = "TGRKTESTTESTTESTTEST";
pub(super) const REGION: &str = "us-east-1";

/// A running API.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) control: Control,
    dir: PathBuf,
    stop: watch::Sender<bool>,
    api: Arc<Api>,
    task: JoinHandle<()>,
}

/// One answer.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    headers: Vec<(String, String)>,
    pub(super) text: String,
    /// Null when the body is no JSON.
    pub(super) json: Value,
}

impl Answer {
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The error shape, or nothing.
    pub(super) fn shape(&self) -> &str {
        self.header("x-amzn-errortype").unwrap_or_default()
    }

    /// What the operation answers is what its shape says: in every test.
    fn check(&self, method: &str, target: &str) {
        let path = target.split('?').next().unwrap_or_default();
        let Some(operation) = Operation::of(method, &segments(path)) else { return };
        let spec = spec::operations::of(operation.name()).unwrap();
        if self.status < 300 {
            assert_eq!(self.status, spec.status, "{}", spec.name);
            let said = spec::check_answer(spec, &self.json);
            assert_eq!(said, Ok(()), "{}: {}", spec.name, self.text);
            assert!(self.status != 204 || self.text.is_empty(), "{}", spec.name);
        }
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines.filter_map(|line| {
            let (name, value) = line.split_once(": ")?;
            Some((name.to_ascii_lowercase(), value.to_owned()))
        });
        Self {
            status,
            headers: headers.collect(),
            text: body.to_owned(),
            json: serde_json::from_str(body).unwrap_or_default(),
        }
    }
}

impl Server {
    /// Starts one with an empty store and the embedded stream.
    pub(super) async fn start() -> Self {
        Self::start_with(None).await
    }

    /// Starts one with an empty store that publishes to `broker`.
    pub(super) async fn start_with(broker: Option<&str>) -> Self {
        Self::start_as(broker, crate::sinks::Settings::default(), None).await
    }

    /// Starts one over this store, and what actions of rules may reach.
    pub(super) async fn start_as(
        broker: Option<&str>,
        actions: crate::sinks::Settings,
        store: Option<Arc<dyn Store>>,
    ) -> Self {
        let dir = std::env::temp_dir().join(format!("tidegate-api-{}", uuid::Uuid::new_v4()));
        let limits = Limits { queue_messages_per_device_max: 3, ..Limits::default() };
        let mqtt = broker.map(|url| MqttSettings { url: url.to_owned(), client_id: None });
        let (run_dir, data_dir) = (dir.join("run"), dir.join("data"));
        let settings = Settings {
            run_dir,
            data_dir,
            mqtt,
            identities: Vec::new(),
            account_id: "123456789012".to_owned(),
            actions,
            payloads: crate::payloads::Settings::default(),
            limits,
        };
        std::fs::create_dir_all(dir.join("run")).unwrap();
        let control = match store {
            Some(store) => Control::start_over(store, Vault::new(&[9; 32]), settings).unwrap(),
            None => Control::start(settings).await.unwrap(),
        };
        let (stop, stopping) = watch::channel(false);
        let aws = Aws {
            partition: "aws".to_owned(),
            region: REGION.to_owned(),
            account_id: "123456789012".to_owned(),
        };
        let bounds = Bounds {
            body_bytes_max: BODY_BYTES_MAX,
            head_timeout: Duration::from_mins(1),
            body_timeout: Duration::from_millis(500),
            requests_max: 64,
            streams_max: FOLLOWERS_MAX,
        };
        let endpoints = Endpoints {
            coap: Some(COAP.to_owned()),
            raw_key: Some(raw_key()),
            ..Endpoints::default()
        };
        let stopped = stopping.clone();
        let api = Api::new(control.clone(), Box::new(root_key()), aws, endpoints, bounds, stopping);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let api = Arc::new(api);
        let server = serve(Listener::Tcp(listener, None), api.clone(), stopped);
        Self { address, control, dir, stop, api, task: tokio::spawn(server) }
    }

    /// Stops it; what still streams ends.
    pub(super) async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
        self.control.stop().await;
        std::fs::remove_dir_all(&self.dir).unwrap();
    }

    /// Listens there too.
    pub(super) fn listens(&self, listener: Listener) {
        self.listens_for(listener, self.api.bounds.head_timeout);
    }

    /// The same, with so long for the head of a request.
    pub(super) fn listens_for(&self, listener: Listener, head_timeout: Duration) {
        let mut api = Api::clone(&self.api);
        api.bounds.head_timeout = head_timeout;
        tokio::spawn(serve(listener, Arc::new(api), self.stop.subscribe()));
    }

    /// Where the store is.
    pub(super) fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Where a dataplane would keep its rings.
    pub(super) fn run_dir(&self) -> PathBuf {
        self.dir.join("run")
    }

    /// A signed GET of a path with query.
    pub(super) async fn get(&self, target: &str) -> Answer {
        self.call("GET", target, "").await
    }

    /// A signed request with JSON.
    pub(super) async fn send(&self, method: &str, target: &str, body: Value) -> Answer {
        self.call(method, target, &body.to_string()).await
    }

    /// A signed request.
    pub(super) async fn call(&self, method: &str, target: &str, body: &str) -> Answer {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let headers = self.signed_headers(method, path, query, body.as_bytes());
        self.unsigned(method, target, &headers, body.as_bytes()).await
    }

    /// A request signed with another key than the root's.
    pub(super) async fn call_as(
        &self,
        key: &NewKey,
        method: &str,
        target: &str,
        body: &Value,
    ) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let by = (key.id.as_str(), key.secret.as_str());
        let headers = self.headers_signed_by(by, method, path, query, body.as_bytes());
        self.unsigned(method, target, &headers, body.as_bytes()).await
    }

    /// What the admin commands work on.
    pub(super) fn directory(&self) -> &Directory {
        self.control.directory()
    }

    /// The headers of a signed request.
    pub(super) fn signed_headers(
        &self,
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Vec<(String, String)> {
        self.headers_signed_by((ACCESS_KEY_ID, SECRET), method, path, query, body)
    }

    fn headers_signed_by(
        &self,
        (access_key_id, secret): (&str, &str),
        method: &str,
        path: &str,
        query: &str,
        body: &[u8],
    ) -> Vec<(String, String)> {
        let signing = Signing { access_key_id, secret, region: REGION, service: "iotwireless" };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed();
        let host = self.address.to_string();
        let headers = signing.headers(method, &host, path, query, body, now);
        let text = |value: &warp::http::HeaderValue| value.to_str().unwrap().to_owned();
        headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
    }

    /// A request with just these headers.
    pub(super) async fn unsigned(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Answer {
        self.unsigned_of_length(method, target, headers, body, body.len()).await
    }

    /// A request that promises `length` bytes of body and sends `body`.
    pub(super) async fn unsigned_of_length(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        body: &[u8],
        length: usize,
    ) -> Answer {
        let mut stream = self.open(method, target, headers, length).await;
        stream.write_all(body).await.unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        let answer = Answer::parse(&answer);
        answer.check(method, target);
        answer
    }

    /// Sends the head of a request. *Why HTTP/1.0:* the answer ends with the connection.
    pub(super) async fn open(
        &self,
        method: &str,
        target: &str,
        headers: &[(String, String)],
        length: usize,
    ) -> TcpStream {
        let mut head = format!("{method} {target} HTTP/1.0\r\n");
        if !headers.iter().any(|(name, _)| name == "host") {
            head.push_str("host: edge\r\n");
        }
        for (name, value) in headers {
            head.extend([name, ": ", value, "\r\n"]);
        }
        head.extend(["content-length: ", &length.to_string(), "\r\n\r\n"]);
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// Makes a destination.
    pub(super) async fn make_destination(&self, name: &str) {
        let answer = self.send("POST", "/destinations", destination(name)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
    }

    /// Makes a device with number `n` and a destination `d`, and returns its id.
    pub(super) async fn make_device(&self, n: u32) -> String {
        let answer = self.send("POST", "/wireless-devices", device(n)).await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer.json["Id"].as_str().unwrap().to_owned()
    }
}

/// The server's raw public key.
pub(super) fn raw_key() -> ServerPublicKey {
    ServerPublicKey(b"not looked at".to_vec())
}

/// The key of the tests.
pub(super) fn root_key() -> RootKey {
    RootKey { access_key_id: ACCESS_KEY_ID.to_owned(), secret: Zeroizing::new(SECRET.to_owned()) }
}

/// A good CreateDestination body.
pub(super) fn destination(name: &str) -> Value {
    json!({
        "Name": name, "ExpressionType": "MqttTopic", "Expression": "devices/up",
        "Description": "where uplinks go",
        "RoleArn": "arn:aws:iam::123456789012:role/any",
        "Tags": [{ "Key": "k", "Value": "" }],
    })
}

/// A good CreateWirelessDevice body.
pub(super) fn device(n: u32) -> Value {
    json!({
        "Type": "CoAP", "Name": format!("device {n}"), "DestinationName": "d",
        "Cellular": {
            "Imei": format!("{n:015}"),
            "DtlsV1_2": { "PreSharedKeyIdentity": identity(n), "PreSharedKeySecret": psk(n) },
        },
    })
}

/// The identity of device `n`, 32 characters.
pub(super) fn identity(n: u32) -> String {
    format!("urn:dev:{n:024}")
}

/// The secret of device `n`, which no answer may show.
pub(super) fn psk(n: u32) -> String {
    format!("never-shown-{n:020}")
}
