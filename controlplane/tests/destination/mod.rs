//! Destinations of actions, real ones: an HTTP server of ours, nats-server, librdkafka's broker.
#![allow(unreachable_pub, missing_docs, clippy::unwrap_used)]

use std::io::{BufRead as _, BufReader, Read as _};
use std::net::TcpListener as Listener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tidegate_controlplane::core::PublishId;
use tidegate_controlplane::rules::{Lane, Sink};
use tidegate_controlplane::sinks::{Delivered, Settings, Sinks};
use tidegate_controlplane::store::account::Account;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

pub const PATIENCE: Duration = Duration::from_secs(30);

/// Sinks, and what they say.
pub struct Office {
    sinks: Sinks,
    told: mpsc::UnboundedReceiver<(PublishId, Delivered)>,
    last: u64,
}

impl Office {
    pub fn new(settings: &Settings) -> Self {
        Self::start(settings).unwrap()
    }

    pub fn start(settings: &Settings) -> Result<Self, String> {
        let (tell, told) = mpsc::unbounded_channel();
        let tell = move |id, delivered| tell.send((id, delivered)).unwrap_or(());
        Ok(Self { sinks: Sinks::start(settings, Arc::new(tell))?, told, last: 0 })
    }

    pub fn hands_over(&mut self, lane: &Lane, sink: Sink, payload: &[u8]) -> u64 {
        self.last += 1;
        let account = Account::ROOT;
        self.sinks.deliver(PublishId(self.last), account, lane, sink, payload.to_vec());
        self.last
    }

    /// The next that has an end.
    pub async fn hears(&mut self) -> (u64, Delivered) {
        let told = timeout(PATIENCE, self.told.recv()).await.unwrap().unwrap();
        (told.0.0, told.1)
    }

    pub async fn delivers(&mut self, lane: &Lane, sink: Sink, payload: &[u8]) -> Delivered {
        let id = self.hands_over(lane, sink, payload);
        let (heard, delivered) = self.hears().await;
        assert_eq!(heard, id);
        delivered
    }
}

/// Why a delivery failed.
pub fn message(delivered: Delivered) -> String {
    match delivered {
        Delivered::Failed(failed) => failed.message,
        other => panic!("{other:?}"),
    }
}

/// A directory of this test, gone with it.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new() -> Self {
        let dir = std::env::temp_dir().join(format!("tidegate-sinks-{}", uuid::Uuid::new_v4()));
        std::fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// A file that only we may read.
    pub fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        tidegate_controlplane::private_file::write(&path, text).unwrap();
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// What an HTTP server got: head and body.
pub type Request = (String, Vec<u8>);

/// Answers with the statuses it was given, then 200; 0 is no answer at all.
pub struct Server {
    pub origin: String,
    pub requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let origin = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (statuses, got) = (statuses.to_vec(), requests.clone());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (statuses, got) = (statuses.clone(), got.clone());
                tokio::spawn(async move {
                    let Some(request) = read(&mut stream).await else { return };
                    let status = {
                        let mut got = got.lock().unwrap();
                        got.push(request);
                        statuses.get(got.len() - 1).copied().unwrap_or(200)
                    };
                    if status == 0 {
                        tokio::time::sleep(PATIENCE).await;
                    }
                    let answer = format!(
                        "HTTP/1.1 {status} X\r\nLocation: /other\r\nContent-Length: 0\r\n\
                         Connection: close\r\n\r\n"
                    );
                    let _ = stream.write_all(answer.as_bytes()).await;
                });
            }
        });
        Self { origin, requests }
    }

    pub fn got(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn read(stream: &mut tokio::net::TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    loop {
        let mut chunk = [0; 4_096];
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return None,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.unwrap().parse().unwrap();
        if bytes.len() >= end + 4 + length {
            return Some((head, bytes[end + 4..].to_vec()));
        }
    }
}

/// Killed with the test.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> u16 {
    Listener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Process {
    /// Debian's nats-server with JetStream; `login`: the one user and password.
    pub fn nats(dir: &Dir, port: u16, login: Option<(&str, &str)>) -> Self {
        let config = dir.path().join("nats.conf");
        let store = dir.path().join("jetstream");
        let user = login.map(|(user, password)| {
            format!("authorization {{ user: \"{user}\", password: \"{password}\" }}\n")
        });
        let text = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n{}",
            store.display(),
            user.unwrap_or_default()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("/usr/sbin/nats-server");
        command.arg("-c").arg(&config).stdout(Stdio::null()).stderr(Stdio::null());
        Self(command.spawn().expect("Debian's nats-server is installed"))
    }

    /// A broker of librdkafka (Debian's kcat runs it), and its address.
    pub fn kafka() -> (Self, String) {
        let mut command = Command::new("kcat");
        command.args(["-C", "-b", "unused", "-t", "warm-up", "-d", "mock"]);
        command.args(["-X", "test.mock.num.brokers=1"]).stdout(Stdio::null());
        let mut child = command.stderr(Stdio::piped()).spawn().expect("kcat is installed");
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| Some(line.split_once("bootstrap.servers=")?.1.trim().to_owned()));
        // It says a lot; nobody may make it wait.
        std::thread::spawn(move || lines.for_each(drop));
        (Self(child), address.expect("the broker's address"))
    }
}

/// What kcat reads of a topic that was written to: lines of `format`.
pub fn consumed(broker: &str, topic: &str, format: &str) -> Vec<String> {
    let mut command = Command::new("timeout");
    command.args(["20", "kcat", "-C", "-e", "-q", "-b", broker, "-t", topic, "-f", format]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert!(child.wait().unwrap().success(), "kcat: {text}");
    text.lines().map(ToOwned::to_owned).collect()
}

/// Asking for a topic makes it, with four partitions.
pub fn made_topic(broker: &str, topic: &str) {
    let mut command = Command::new("timeout");
    command.args(["20", "kcat", "-L", "-b", broker, "-t", topic]).stdout(Stdio::null());
    assert!(command.status().unwrap().success());
}
