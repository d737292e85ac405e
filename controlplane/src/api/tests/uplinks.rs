//! The embedded stream over HTTP, and `tail` on top of it.

use std::time::Duration;

use serde_json::Value;
use tidegate_ring::contract::{Hello, Kind, Network, Uplink};
use tidegate_ring::link::{WorkerEnds, worker_side};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use zerocopy::IntoBytes;

use super::harness::{FOLLOWERS_MAX, REGION, Server, root_key};
use crate::tail::Tail;

/// The worker's end of the rings: devices without sockets.
struct Worker(WorkerEnds);

impl Worker {
    fn attach(server: &Server) -> Self {
        let mut ends = worker_side(&server.run_dir(), 0, 1 << 16).unwrap();
        let hello = Hello { incarnation: 1.into(), worker: 0, workers: 1 };
        ends.up.push(Kind::Hello as u8, &[hello.as_bytes()], 0).unwrap();
        ends.up.wake_if_sleeping();
        Self(ends)
    }

    /// The device puts one digit at `/n`.
    fn uplink(&mut self, device: &str, digit: u8) {
        let uplink = Uplink {
            exchange: u64::from(digit).into(),
            device: uuid::Uuid::parse_str(device).unwrap().into_bytes(),
            session: 1.into(),
            received_unix_ms: 1_700_000_000_000.into(),
            class: 0.into(),
            network: Network::Cellular as u8,
            answer_awaited: 0,
            body_bytes: 0.into(),
        };
        // CON PUT, Message ID = digit, Uri-Path "n", payload (RFC 7252 section 3).
        let put = [0x40, 0x03, 0, digit, 0xb1, b'n', 0xff, b'0' + digit];
        self.0.up.push(Kind::Uplink as u8, &[uplink.as_bytes(), &put], 0).unwrap();
        self.0.up.wake_if_sleeping();
    }
}

/// A follower of the stream.
struct Follower(BufReader<TcpStream>);

impl Follower {
    /// Asks; returns the status line too. `last` is the Last-Event-ID.
    async fn open(server: &Server, query: &str, last: Option<&str>) -> (String, Self) {
        let mut headers = server.signed_headers("GET", "/uplinks", query, b"");
        headers.extend(last.map(|last| ("last-event-id".to_owned(), last.to_owned())));
        let stream = server.open("GET", &format!("/uplinks?{query}"), &headers, 0).await;
        let mut stream = BufReader::new(stream);
        let mut status = String::new();
        stream.read_line(&mut status).await.unwrap();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.unwrap();
            if header.trim_end().is_empty() {
                return (status, Self(stream));
            }
        }
    }

    /// The next event: its id and the payload of its uplink.
    async fn next(&mut self) -> (String, String) {
        let (mut id, mut payload) = (String::new(), None);
        loop {
            let mut line = String::new();
            assert_ne!(self.0.read_line(&mut line).await.unwrap(), 0, "the stream ended");
            let line = line.trim_end();
            if let Some(value) = line.strip_prefix("id:") {
                value.clone_into(&mut id);
            }
            if let Some(data) = line.strip_prefix("data:") {
                let uplink: Value = serde_json::from_str(data).unwrap();
                payload = uplink["PayloadData"].as_str().map(ToOwned::to_owned);
            }
            if let ("", Some(payload)) = (line, &payload) {
                return (id, payload.clone());
            }
        }
    }
}

/// The payloads that [`Worker::uplink`] makes, in base64.
const DIGITS: [&str; 4] = ["MA==", "MQ==", "Mg==", "Mw=="];

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_resumes_after_the_event_it_names() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let device = server.make_device(1).await;
    let mut worker = Worker::attach(&server);
    worker.uplink(&device, 1);
    worker.uplink(&device, 2);

    let (status, mut oldest) = Follower::open(&server, "from=0", None).await;
    assert!(status.contains(" 200 "), "{status}");
    let (first, payload) = oldest.next().await;
    assert_eq!(payload, DIGITS[1]);
    let (second, payload) = oldest.next().await;
    assert_eq!(payload, DIGITS[2]);
    worker.uplink(&device, 3);
    assert_eq!(oldest.next().await.1, DIGITS[3]);
    let health = server.unsigned("GET", "/health", &[], b"").await;
    assert_eq!(health.json["Status"], "ok", "{}", health.text);
    drop(oldest);

    let (status, mut by_query) = Follower::open(&server, &format!("from={first}"), None).await;
    assert!(status.contains(" 200 "), "{status}");
    assert_eq!(by_query.next().await.1, DIGITS[2]);
    drop(by_query);
    // What a browser does: the same URL again, and the id of the last event.
    let (status, mut by_header) = Follower::open(&server, "from=0", Some(&second)).await;
    assert!(status.contains(" 200 "), "{status}");
    assert_eq!(by_header.next().await.1, DIGITS[3]);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tail_prints_one_line_an_uplink_and_goes_on_where_it_was() {
    let server = Server::start().await;
    server.make_destination("d").await;
    let device = server.make_device(1).await;
    let mut worker = Worker::attach(&server);
    worker.uplink(&device, 1);
    let tail = |raw| Tail {
        address: server.address,
        socket: None,
        key: root_key(),
        region: REGION.into(),
        raw,
    };
    let (lines, mut shown) = mpsc::unbounded_channel();
    let text = tail(false);
    let following = tokio::spawn(async move {
        text.follow(Some(0), |line| lines.send(line.to_owned()).unwrap()).await
    });
    let line = shown.recv().await.unwrap();
    assert!(line.contains(&device) && line.contains("CON  PUT /n  1  -> devices/up"), "{line}");
    worker.uplink(&device, 2);
    assert!(shown.recv().await.unwrap().contains("PUT /n  2"));
    following.abort();

    let (lines, mut shown) = mpsc::unbounded_channel();
    let raw = tail(true);
    let following = tokio::spawn(async move {
        raw.follow(Some(0), |line| lines.send(line.to_owned()).unwrap()).await
    });
    let uplink: Value = serde_json::from_str(&shown.recv().await.unwrap()).unwrap();
    assert_eq!(uplink["WirelessDeviceId"], device.as_str());
    following.abort();

    // A server that refuses is not asked again.
    let stranger = Tail { region: "elsewhere".into(), ..tail(false) };
    let refused = tokio::time::timeout(Duration::from_secs(10), stranger.follow(None, |_| {}));
    assert!(refused.await.unwrap().contains("403"));
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_are_bounded_and_end_with_the_server() {
    let server = Server::start().await;
    let mut followers = Vec::new();
    for _ in 0..FOLLOWERS_MAX {
        let (status, follower) = Follower::open(&server, "from=0", None).await;
        assert!(status.contains(" 200 "), "{status}");
        followers.push(follower);
    }
    let answer = server.get("/uplinks?from=0").await;
    assert_eq!((answer.status, answer.shape()), (429, "ThrottlingException"));

    // Whoever leaves makes room.
    followers.pop();
    let entered = async {
        loop {
            let (status, follower) = Follower::open(&server, "from=0", None).await;
            if status.contains(" 200 ") {
                return follower;
            }
            assert!(status.contains(" 429 "), "{status}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    followers.push(tokio::time::timeout(Duration::from_secs(10), entered).await.unwrap());
    // Stopping waits for the streams, so that it returns shows that they ended.
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_a_number() {
    let server = Server::start().await;
    for (query, shape) in [
        ("from=x", "SerializationException"),
        ("from=-1", "ValidationException"),
        ("from=", "SerializationException"),
    ] {
        let answer = server.get(&format!("/uplinks?{query}")).await;
        assert_eq!((answer.status, answer.shape()), (400, shape), "{query}");
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_broker_there_is_no_stream() {
    // Nobody listens there; the API answers all the same, and health says what is wrong.
    let server = Server::start_with(Some("mqtt://127.0.0.1:9")).await;
    let answer = server.get("/uplinks").await;
    assert_eq!((answer.status, answer.shape()), (404, "ResourceNotFoundException"));
    assert_eq!(answer.json["ResourceType"], "UplinkStream");
    let health = server.unsigned("GET", "/health", &[], b"").await;
    assert_eq!((health.status, &health.json["Status"]), (200, &Value::from("degraded")));
    assert_eq!(health.json["Publisher"]["Connected"], false);
    let tail = Tail {
        address: server.address,
        socket: None,
        key: root_key(),
        region: REGION.into(),
        raw: false,
    };
    assert!(tail.follow(None, |_| {}).await.contains("MQTT broker"));
    server.stop().await;
}
