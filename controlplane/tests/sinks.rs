//! Do actions reach real destinations, and do they say so only when what was sent is kept?
#![allow(clippy::unwrap_used)]

mod destination;

use std::collections::BTreeSet;
use std::time::Duration;

use async_nats::jetstream;
use destination::{Dir, Office, Process, Server, consumed, free_port, made_topic, message};
use futures_util::StreamExt as _;
use tidegate_controlplane::rules::{Lane, Sink};
use tidegate_controlplane::sinks::{
    Delivered, FileSettings, HttpSettings, KafkaSettings, NatsSettings, ObjectSettings, Settings,
};

fn to_http(origin: &str) -> Settings {
    let origin = origin.to_owned();
    let http = HttpSettings { origin, authorization_file: None, ca_file: None };
    Settings { http: vec![http], attempt_timeout_ms: 500, ..Settings::default() }
}

fn posted(server: &Server, path: &str, headers: &[(&str, &str)]) -> Sink {
    let headers = headers.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Sink::Http { url: format!("{}{path}", server.origin), headers }
}

fn http_lane(server: &Server) -> Lane {
    Lane::Http(server.origin.as_str().into())
}

#[tokio::test]
async fn a_post_has_its_headers_and_the_operators_credentials() {
    let server = Server::start(&[]).await;
    let dir = Dir::new();
    let mut settings = to_http(&server.origin);
    settings.http[0].authorization_file = Some(dir.secret("token", "Bearer s3cret\n"));
    let mut office = Office::new(&settings);
    let sink = posted(&server, "/a?b=c", &[("X-One", "1"), ("x-one", "2")]);
    assert_eq!(office.delivers(&http_lane(&server), sink, b"{}").await, Delivered::Confirmed);
    let sink = posted(&server, "/", &[("Content-Type", "text/plain")]);
    assert_eq!(office.delivers(&http_lane(&server), sink, b"no {").await, Delivered::Confirmed);
    let sink = posted(&server, "/", &[]);
    assert_eq!(office.delivers(&http_lane(&server), sink, b"\xff").await, Delivered::Confirmed);
    let got = server.got();
    let (head, body) = &got[0];
    assert!(head.starts_with("post /a?b=c http/1.1\r\n"), "{head}");
    for line in
        ["content-type: application/json", "authorization: bearer s3cret", "x-one: 1", "x-one: 2"]
    {
        assert!(head.lines().any(|found| found == line), "{line} in {head}");
    }
    assert_eq!(body, b"{}");
    assert!(got[1].0.contains("content-type: text/plain"));
    assert!(got[2].0.contains("content-type: application/octet-stream"));
}

/// What may pass is tried again, what will not is not.
#[tokio::test]
async fn a_5xx_is_tried_again_and_a_4xx_is_not() {
    let server = Server::start(&[500, 429, 204, 404, 302, 503, 503, 503, 200]).await;
    let mut office = Office::new(&to_http(&server.origin));
    let mut ends = Vec::new();
    for _ in 0..5 {
        let sink = posted(&server, "/", &[]);
        ends.push(office.delivers(&http_lane(&server), sink, b"1").await);
    }
    assert_eq!(ends[0], Delivered::Confirmed);
    let messages: Vec<_> = ends.drain(1..4).map(message).collect();
    assert_eq!(
        messages,
        [
            "The endpoint answered 404 Not Found.",
            "The endpoint answered 302 Found.",
            "The endpoint answered 503 Service Unavailable (3 attempts).",
        ]
    );
    assert_eq!((ends.pop(), server.got().len()), (Some(Delivered::Confirmed), 9));
}

#[tokio::test]
async fn what_does_not_answer_in_time_has_failed() {
    let server = Server::start(&[0, 0, 0, 0]).await;
    let mut office = Office::new(&Settings {
        attempt_timeout_ms: 100,
        timeout_ms: 2_000,
        ..to_http(&server.origin)
    });
    let end = office.delivers(&http_lane(&server), posted(&server, "/", &[]), b"1").await;
    assert_eq!(message(end), "no answer in time (3 attempts).");
    let nobody = format!("http://127.0.0.1:{}", free_port());
    let mut office = Office::new(&to_http(&nobody));
    let sink = Sink::Http { url: format!("{nobody}/"), headers: Vec::new() };
    let end = message(office.delivers(&Lane::Http(nobody.as_str().into()), sink, b"1").await);
    assert!(end.contains("refused") && end.ends_with("(3 attempts)."), "{end}");
    assert!(!end.contains(&nobody), "the URL is failedResource's: {end}");
}

/// One more than under way and queued is busy, at once; so is what waited too long.
#[tokio::test]
async fn a_full_queue_is_busy() {
    let server = Server::start(&[0; 16]).await;
    let mut office = Office::new(&Settings {
        timeout_ms: 400,
        attempt_timeout_ms: 400,
        queue_max: 2,
        concurrency_max: 2,
        ..to_http(&server.origin)
    });
    let lane = http_lane(&server);
    for _ in 0..2 {
        office.hands_over(&lane, posted(&server, "/", &[]), b"1");
    }
    while server.got().len() < 2 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    for _ in 2..5 {
        office.hands_over(&lane, posted(&server, "/", &[]), b"1");
    }
    assert_eq!(office.hears().await, (5, Delivered::Busy));
    let mut ends =
        [office.hears().await, office.hears().await, office.hears().await, office.hears().await];
    ends.sort_by_key(|(id, _)| *id);
    let [first, second, third, fourth] = ends.map(|(_, delivered)| delivered);
    for tried in [first, second] {
        assert_eq!(message(tried), "no answer in time.");
    }
    assert_eq!((third, fourth), (Delivered::Busy, Delivered::Busy));
    assert_eq!(server.got().len(), 2);
}

/// Off is the default, and an origin is not what is before the @.
#[tokio::test]
async fn what_is_not_allowed_is_not_reached() {
    let server = Server::start(&[]).await;
    let sink = posted(&server, "/", &[]);
    let mut office = Office::new(&Settings::default());
    let end = office.delivers(&http_lane(&server), sink, b"1").await;
    assert_eq!(message(end), format!("The operator does not allow the origin {}.", server.origin));
    let mut office = Office::new(&to_http("http://127.0.0.1:9"));
    let lane = Lane::Http("http://127.0.0.1:9".into());
    for url in [format!("{}/", server.origin), "http://127.0.0.1:9@127.0.0.2/".to_owned()] {
        let end = office.delivers(&lane, Sink::Http { url, headers: Vec::new() }, b"1").await;
        assert_eq!(message(end), "the URL has another origin.");
    }
    assert!(server.got().is_empty());
}

fn to_files(dir: &Dir, file_bytes_max: u64, files_max: usize) -> Settings {
    let root = dir.path().join("root");
    std::fs::create_dir_all(&root).unwrap();
    let file = FileSettings { root, file_bytes_max, files_max };
    Settings { file: Some(file), ..Settings::default() }
}

fn line(path: &str) -> Sink {
    Sink::File { path: path.to_owned() }
}

#[tokio::test]
async fn a_message_is_a_line_of_its_file() {
    let dir = Dir::new();
    let mut office = Office::new(&to_files(&dir, 4_096, 10));
    let root = dir.path().join("root");
    std::fs::write(root.join("torn"), "half").unwrap();
    for at in 0..20 {
        office.hands_over(&Lane::File, line("deep/er/a.jsonl"), format!("{at}").as_bytes());
    }
    for _ in 0..20 {
        assert_eq!(office.hears().await.1, Delivered::Confirmed);
    }
    let text = std::fs::read_to_string(root.join("deep/er/a.jsonl")).unwrap();
    let lines: BTreeSet<u32> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert_eq!((lines, text.lines().count()), ((0..20).collect(), 20));
    assert_eq!(office.delivers(&Lane::File, line("torn"), b"whole").await, Delivered::Confirmed);
    assert_eq!(std::fs::read_to_string(root.join("torn")).unwrap(), "half\nwhole\n");
}

#[tokio::test]
async fn files_have_bounds() {
    let dir = Dir::new();
    let mut office = Office::new(&to_files(&dir, 4_096, 2));
    let fits = vec![b'x'; 4_095];
    assert_eq!(office.delivers(&Lane::File, line("a"), &fits).await, Delivered::Confirmed);
    let end = office.delivers(&Lane::File, line("a"), b"").await;
    assert_eq!(message(end), "a: a file may have 4096 bytes.");
    assert_eq!(office.delivers(&Lane::File, line("b"), b"1").await, Delivered::Confirmed);
    let end = office.delivers(&Lane::File, line("c"), b"1").await;
    assert_eq!(message(end), "c: there may be 2 files.");
    // They are counted anew at the next start.
    let mut office = Office::new(&to_files(&dir, 4_096, 2));
    let end = office.delivers(&Lane::File, line("d/e"), b"1").await;
    assert_eq!(message(end), "d/e: there may be 2 files.");
    assert_eq!(office.delivers(&Lane::File, line("b"), b"2").await, Delivered::Confirmed);
}

/// The rule's own check refuses `..`; the kernel does it again, and links with it.
#[tokio::test]
async fn nothing_is_written_outside_the_root() {
    let dir = Dir::new();
    let mut office = Office::new(&to_files(&dir, 4_096, 10));
    let root = dir.path().join("root");
    std::fs::write(dir.path().join("outside"), "").unwrap();
    std::os::unix::fs::symlink(dir.path(), root.join("link")).unwrap();
    std::os::unix::fs::symlink(dir.path().join("outside"), root.join("file")).unwrap();
    let absolute = dir.path().join("outside").display().to_string();
    for path in ["../outside", "link/outside", "link/new", "file", &absolute, "a/../../new"] {
        let end = office.delivers(&Lane::File, line(path), b"1").await;
        assert!(matches!(end, Delivered::Failed(_)), "{path}: {end:?}");
    }
    assert_eq!(std::fs::read(dir.path().join("outside")).unwrap(), b"");
    assert!(!dir.path().join("new").exists());
}

#[tokio::test]
async fn an_object_is_written_into_a_directory() {
    let dir = Dir::new();
    let s3 = ObjectSettings {
        bucket: "readings".to_owned(),
        url: format!("file://{}", dir.path().display()),
        endpoint: None,
        region: None,
        credentials_file: None,
        ca_file: None,
    };
    let mut office = Office::new(&Settings { s3: vec![s3], ..Settings::default() });
    let lane = Lane::Object("readings".into());
    let object = |key: &str| Sink::Object { key: key.to_owned() };
    for payload in [&b"one"[..], b"two"] {
        let end = office.delivers(&lane, object("2026/11/a b.json"), payload).await;
        assert_eq!(end, Delivered::Confirmed);
    }
    assert_eq!(std::fs::read(dir.path().join("2026/11/a b.json")).unwrap(), b"two");
    let end = office.delivers(&lane, object("../up"), b"1").await;
    assert!(matches!(end, Delivered::Failed(_)), "{end:?}");
}

#[tokio::test]
async fn a_stream_of_nats_keeps_what_is_confirmed() {
    let (dir, port) = (Dir::new(), free_port());
    let _server = Process::nats(&dir, port, Some(("us", "s3cret")));
    let url = format!("nats://127.0.0.1:{port}");
    let nats = |password: &str| NatsSettings {
        name: "main".to_owned(),
        url: url.clone(),
        credentials_file: None,
        user: Some("us".to_owned()),
        password_file: Some(dir.secret("password", password)),
        ca_file: None,
    };
    let login = || async_nats::ConnectOptions::with_user_and_password("us".into(), "s3cret".into());
    let client = loop {
        match login().connect(url.as_str()).await {
            Ok(client) => break client,
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    };
    let streams = jetstream::new(client.clone());
    let stream = jetstream::stream::Config {
        name: "UP".to_owned(),
        subjects: vec!["up.>".to_owned()],
        ..Default::default()
    };
    streams.create_stream(stream).await.unwrap();
    let mut seen = client.subscribe("up.>").await.unwrap();
    client.flush().await.unwrap();

    let settings = |password| Settings { nats: vec![nats(password)], ..Settings::default() };
    let mut office = Office::new(&settings("s3cret\n"));
    let lane = Lane::Nats("main".into());
    let sink = |subject: &str| Sink::Nats {
        subject: subject.to_owned(),
        headers: vec![("X-Device".to_owned(), "7".to_owned())],
    };
    assert_eq!(office.delivers(&lane, sink("up.7"), b"21").await, Delivered::Confirmed);
    let message_seen = seen.next().await.unwrap();
    assert_eq!((message_seen.subject.as_str(), &message_seen.payload[..]), ("up.7", &b"21"[..]));
    let header = message_seen.headers.unwrap();
    assert_eq!(header.get("X-Device").map(async_nats::HeaderValue::as_str), Some("7"));
    let kept = streams.get_stream("UP").await.unwrap().cached_info().state.messages;
    assert_eq!(kept, 1);

    let end = message(office.delivers(&lane, sink("nobody.takes"), b"21").await);
    assert!(end.contains("no stream") && end.ends_with("(3 attempts)."), "{end}");
    let mut office = Office::new(&settings("wrong"));
    let end = message(office.delivers(&lane, sink("up.7"), b"21").await);
    assert!(end.contains("authorization") && !end.contains("wrong"), "{end}");
}

#[tokio::test]
async fn a_record_is_on_its_partition() {
    let (_broker, address) = Process::kafka();
    made_topic(&address, "up");
    let kafka = KafkaSettings {
        name: "main".to_owned(),
        brokers: vec![address.clone()],
        tls: false,
        ca_file: None,
        sasl: None,
        user: None,
        password_file: None,
    };
    let mut office = Office::new(&Settings { kafka: vec![kafka], ..Settings::default() });
    let lane = Lane::Kafka("main".into());
    let sink = |topic: &str, key: Option<&str>, partition| Sink::Kafka {
        topic: topic.to_owned(),
        key: key.map(ToOwned::to_owned),
        partition,
        headers: vec![("device".to_owned(), "7".to_owned())],
    };
    for (key, partition, payload) in
        [(Some("foobar"), None, "a"), (Some("k"), Some(3), "b"), (None, Some(0), "c")]
    {
        let end = office.delivers(&lane, sink("up", key, partition), payload.as_bytes()).await;
        assert_eq!(end, Delivered::Confirmed, "{payload}");
    }
    for _ in 0..4 {
        let end = office.delivers(&lane, sink("up", None, None), b"any").await;
        assert_eq!(end, Delivered::Confirmed);
    }
    let lines: BTreeSet<_> = consumed(&address, "up", "%p %k %h %s\n").into_iter().collect();
    // murmur2("foobar") is -790332482: partition 2 of four, as Kafka's own clients choose.
    for line in ["2 foobar device=7 a", "3 k device=7 b", "0  device=7 c"] {
        assert!(lines.contains(line), "{line} in {lines:?}");
    }
    let turns = (0..4).map(|partition| format!("{partition}  device=7 any"));
    assert!(turns.into_iter().all(|line| lines.contains(&line)), "{lines:?}");
    let end = message(office.delivers(&lane, sink("unknown", None, None), b"1").await);
    assert!(end.starts_with("Kafka: there is no topic unknown"), "{end}");
}
