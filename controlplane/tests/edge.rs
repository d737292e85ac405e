//! Rings, core, store and stream together: the test plays the worker.
#![allow(clippy::unwrap_used)]

mod fake_worker;

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt as _;

use fake_worker::{
    FakeWorker, IDENTITY, Place, RING_BYTES, SECRET, TOPIC, provision, request, until,
};
use futures_util::StreamExt as _;
use tidegate_controlplane::control::{Control, Limits, Settings};
use tidegate_controlplane::iam::erase;
use tidegate_controlplane::model::{Downlink, MessageState, PageRequest, QueueMode, Refused};
use tidegate_ring::contract::{Kind, Publication, Step, Verdict};

#[tokio::test]
async fn an_uplink_is_in_the_stream_before_it_is_confirmed() {
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    for exchange in 1..=3 {
        worker.uplink(device.id, exchange, b"21").unwrap();
    }
    let mut exchanges = BTreeSet::new();
    for _ in 0..3 {
        let (exchange, publication) = worker.published().await;
        assert_eq!(publication, Publication::Confirmed);
        exchanges.insert(exchange);
    }
    assert_eq!(exchanges, (1..=3).collect());
    worker.released().await;
    let uplinks: Vec<_> = control.uplinks(Some(0)).await.unwrap().take(3).collect().await;
    for (at, uplink) in uplinks.into_iter().enumerate() {
        let uplink = uplink.unwrap();
        assert_eq!((uplink.cursor, uplink.topic.as_str()), (at as u64 + 1, TOPIC));
        assert!(uplink.json.contains("\"PayloadData\":\"MjE=\""));
    }
    control.stop().await;
}

/// A reader that resumes with its cursor misses nothing and sees nothing twice.
#[tokio::test]
async fn the_stream_resumes_at_its_cursor() {
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    let mut only_new = control.uplinks(None).await.unwrap();
    worker.uplink(device.id, 1, b"1").unwrap();
    worker.published().await;
    assert_eq!(only_new.next().await.unwrap().unwrap().cursor, 1);
    drop(only_new);
    control.stop().await;
    drop(control);

    let control = Control::start(place.settings()).await.unwrap();
    worker.uplink(device.id, 2, b"2").unwrap();
    worker.published().await;
    let mut resumed = control.uplinks(Some(1)).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().unwrap().cursor, 2);
    control.stop().await;
}

#[tokio::test]
async fn credentials_come_from_the_api_and_go_with_it() {
    let place = Place::new();
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    // The dataplane starts after the control plane this time.
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let (credential, key) = worker.credential(IDENTITY).await;
    assert_eq!((credential.verdict, credential.device), (Verdict::Known as u8, device.id.0));
    assert_eq!(key, SECRET.as_bytes());
    control.delete_device(&device.id.to_string()).await.unwrap();
    let (kind, _) = worker.next().await;
    assert_eq!(kind, tidegate_ring::contract::Kind::CredentialDropped);
    let (credential, key) = worker.credential(IDENTITY).await;
    assert_eq!((credential.verdict, key), (Verdict::Unknown as u8, Vec::new()));
    control.stop().await;
}

/// The sentence: QueueMode 1 survives a restart of both processes, in order.
#[tokio::test]
async fn the_queue_survives_a_restart_of_both() {
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    let id = device.id.to_string();
    let mut sent = Vec::new();
    for n in 0..3 {
        let downlink = Downlink::Request(request(QueueMode::Queued, &[n]));
        sent.push(control.send(&id, downlink).await.unwrap());
    }
    worker.session_up(device.id).await;
    assert_eq!(worker.downlink().await, (sent[0], vec![0]));
    worker.outcome(device.id, sent[0], Step::Sent, false);
    worker.released().await;
    control.stop().await;
    drop((control, worker));

    let mut worker = FakeWorker::attach(&place.run_dir(), 2);
    let control = Control::start(place.settings()).await.unwrap();
    worker.uplink(device.id, 1, b"").unwrap();
    let mut in_order = Vec::new();
    while in_order.len() < 3 {
        match worker.next().await.0 {
            tidegate_ring::contract::Kind::Downlink => {
                let next = sent[in_order.len()];
                in_order.push(next);
                worker.outcome(device.id, next, Step::Delivered, true);
            }
            tidegate_ring::contract::Kind::Published => {}
            other => panic!("{other:?}"),
        }
    }
    for message in in_order {
        let state = until("the final state", async || {
            let (status, _) = control.message_status(&id, &message.to_string()).await.unwrap();
            status.ended_unix_ms.map(|_| status.state)
        });
        assert_eq!(state.await, MessageState::Delivered);
    }
    let page = control.queued_messages(&id, PageRequest::default()).await.unwrap();
    assert!(page.items.is_empty());
    control.stop().await;
}

/// What was not released before a kill is read and published again: nothing is lost.
#[tokio::test]
async fn unconfirmed_uplinks_are_published_after_a_restart() {
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    control.stop().await;
    drop(control);
    for exchange in 1..=5 {
        worker.uplink(device.id, exchange, b"").unwrap();
    }
    let control = Control::start(place.settings()).await.unwrap();
    for _ in 1..=5 {
        assert_eq!(worker.published().await.1, Publication::Confirmed);
    }
    worker.released().await;
    control.stop().await;
}

/// Ten thousand through a small ring: back-pressure, no loss, each answered once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_uplink_is_answered_once() {
    const UPLINKS: u64 = 10_000;
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    let mut sent = 0;
    let mut waiting: BTreeSet<u64> = BTreeSet::new();
    while sent < UPLINKS || !waiting.is_empty() {
        while sent < UPLINKS && worker.uplink(device.id, sent, b"0123456789").is_some() {
            waiting.insert(sent);
            sent += 1;
        }
        let (exchange, publication) = worker.published().await;
        assert_eq!(publication, Publication::Confirmed);
        assert!(waiting.remove(&exchange), "{exchange} was answered twice");
    }
    worker.released().await;
    let health = control.health().await;
    assert_eq!(health.publisher.confirmed, UPLINKS);
    assert_eq!((health.publisher.in_flight, health.store_ok), (0, true));
    let stream = control.uplinks(Some(0)).await.unwrap().take(UPLINKS as usize);
    let last = stream.fold(0, |_, uplink| async move { uplink.unwrap().cursor }).await;
    assert_eq!(last, UPLINKS);
    control.stop().await;
}

/// Damaged shared memory costs what lay in it, not the process.
#[tokio::test]
async fn a_damaged_ring_is_emptied_and_goes_on() {
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    worker.released().await;
    control.stop().await;
    drop(control);
    worker.uplink(device.id, 1, b"").unwrap();
    let ring = place.run_dir().join("worker-0.up");
    let file = std::fs::OpenOptions::new().write(true).open(&ring).unwrap();
    let header = std::fs::metadata(&ring).unwrap().len() - RING_BYTES as u64;
    file.write_all_at(&[0xff; 512], header).unwrap();
    let control = Control::start(place.settings()).await.unwrap();
    worker.released().await;
    worker.uplink(device.id, 2, b"").unwrap();
    assert_eq!(worker.published().await, (2, Publication::Confirmed));
    control.stop().await;
}

/// A worker that makes new rings (another version, another size) is found again.
#[tokio::test]
async fn replaced_rings_are_attached_again() {
    let place = Place::new();
    let worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let device = provision(&control).await;
    drop(worker);
    for end in ["up", "down"] {
        std::fs::remove_file(place.run_dir().join(format!("worker-0.{end}"))).unwrap();
    }
    let mut worker = FakeWorker::attach(&place.run_dir(), 2);
    worker.uplink(device.id, 1, b"").unwrap();
    assert_eq!(worker.published().await, (1, Publication::Confirmed));
    control.stop().await;
}

#[tokio::test]
async fn a_stopped_control_plane_refuses_and_lets_go() {
    let place = Place::new();
    let control = Control::start(place.settings()).await.unwrap();
    assert!(Control::start(place.settings()).await.is_err(), "one store, one process");
    let device = provision(&control).await.id.to_string();
    control.stop().await;
    let downlink = Downlink::Request(request(QueueMode::Queued, b""));
    let refused = control.send(&device, downlink).await.unwrap_err();
    assert!(matches!(refused, Refused::Internal { .. }));
    drop(control);
    let limits = Limits { stream_entries_max: 1, ..Limits::default() };
    let control = Control::start(Settings { limits, ..place.settings() }).await.unwrap();
    control.stop().await;
}

/// An account's devices shake hands, its uplinks are its own; once it is gone they are strangers.
#[tokio::test]
async fn a_terminated_account_s_sessions_end_and_its_devices_are_strangers() {
    let place = Place::new();
    let mut worker = FakeWorker::attach(&place.run_dir(), 1);
    let control = Control::start(place.settings()).await.unwrap();
    let (account, _) = control.directory().create_account("tenant").await.unwrap();
    let own = control.within(account);
    let device = provision(&own).await;
    let (credential, key) = worker.credential(IDENTITY).await;
    assert_eq!((credential.verdict, credential.device), (Verdict::Known as u8, device.id.0));
    assert_eq!(key, SECRET.as_bytes());
    worker.session_up(device.id).await;
    worker.uplink(device.id, 1, b"21").unwrap();
    assert_eq!(worker.published().await, (1, Publication::Confirmed));
    assert_eq!(own.uplinks(Some(0)).await.unwrap().next().await.unwrap().unwrap().topic, TOPIC);
    let mut of_root = control.uplinks(Some(0)).await.unwrap();
    let nothing = tokio::time::timeout(std::time::Duration::from_millis(50), of_root.next()).await;
    assert!(nothing.is_err(), "another account's");

    erase::terminate(control.directory(), Some(&control), account).await.unwrap();
    let mut kinds = Vec::new();
    while !kinds.contains(&Kind::SessionEnd) {
        kinds.push(worker.next().await.0);
    }
    assert!(kinds.contains(&Kind::CredentialDropped), "{kinds:?}");
    let (credential, key) = worker.credential(IDENTITY).await;
    assert_eq!((credential.verdict, key), (Verdict::Unknown as u8, Vec::new()));
    worker.uplink(device.id, 2, b"22").unwrap();
    assert_eq!(worker.published().await, (2, Publication::Forbidden));
    control.stop().await;
}
