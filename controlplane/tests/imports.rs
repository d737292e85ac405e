//! Many devices at once: from lines in the request, from files, and again after a crash.
#![allow(clippy::unwrap_used)]

mod fake_worker;

use std::fmt::Write as _;
use std::time::Duration;

use fake_worker::{Place, destination};
use tidegate_controlplane::control::{Control, NewImport, NewSource};
use tidegate_controlplane::model::{DeviceKey, ImportStatus, ImportTask, PageRequest, Refused};
use zeroize::Zeroizing;

async fn start(place: &Place) -> Control {
    let control = Control::start(place.settings()).await.unwrap();
    let _ = control.create_destination(destination("somewhere"), None).await;
    control
}

fn new() -> NewImport {
    NewImport { destination: "somewhere".to_owned(), ..NewImport::default() }
}

fn lines(text: &str) -> NewSource {
    NewSource::Lines(Zeroizing::new(text.to_owned()))
}

fn csv(first: u32, count: u32) -> String {
    let mut text = String::from("Name,PreSharedKeyIdentity,PreSharedKeySecret\n");
    for n in first..first + count {
        let _ = writeln!(text, "device {n},identity-of-a-device-from-a-file-{n:08},{n:032}");
    }
    text
}

async fn ends(control: &Control, id: &str) -> ImportTask {
    for _ in 0..3_000 {
        let task = control.import(id).await.unwrap();
        if matches!(task.status, ImportStatus::Complete | ImportStatus::Failed) {
            return task;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the import does not end")
}

#[tokio::test(flavor = "multi_thread")]
async fn each_line_makes_a_device_or_says_why_not() {
    let place = Place::new();
    let control = start(&place).await;
    let good = r#"{"Name":"json","WiFi":{"MacAddress":"00:1b:44:11:3a:b7","DtlsV1_2":{"PreSharedKeyIdentity":"identity-of-a-device-from-json-01","PreSharedKeySecret":"0123456789abcdef0123456789abcdef"}}}"#;
    let text = format!("{good}\n\n{good}\n{{\"Name\":\"none\"}}\n{{nonsense\n");
    let task = control.start_import(new(), lines(&text), Some("once")).await.unwrap();
    let id = task.id.to_string();
    let again = control.start_import(new(), lines(&text), Some("once")).await.unwrap();
    assert_eq!(again.id, task.id, "the same request is not made twice");
    let other = control.start_import(new(), lines(good), Some("once")).await;
    assert!(matches!(other, Err(Refused::Conflict { .. })));
    let task = ends(&control, &id).await;
    assert_eq!(task.status, ImportStatus::Complete, "{:?}", task.reason);
    assert_eq!((task.onboarded, task.failed, task.lines), (1, 3, 4));
    let page = control.imported(&id, None, PageRequest::default()).await.unwrap();
    let device = page.items[0].device.unwrap();
    let found = DeviceKey::Identity("identity-of-a-device-from-json-01".to_owned());
    assert_eq!(control.device(found).await.unwrap().id, device);
    let reasons: Vec<_> = page.items.iter().map(|line| line.reason.clone()).collect();
    assert!(reasons[0].is_none() && reasons[1].as_ref().unwrap().contains("Another device"));
    assert!(reasons[2].as_ref().unwrap().starts_with("Cellular: "), "{reasons:?}");
    assert_eq!(page.items[3].line, 4);
    let failed = control.imported(&id, Some(false), PageRequest::default()).await.unwrap();
    assert_eq!(failed.items.len(), 3);
    assert!(!format!("{:?}", control.import(&id).await.unwrap()).contains("0123456789abcdef"));

    control.extend_import(&id, lines(&csv(1, 2))).await.unwrap();
    assert_eq!(ends(&control, &id).await.onboarded, 3);
    control.delete_import(&id).await.unwrap();
    for _ in 0..3_000 {
        if control.import(&id).await.is_err() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(matches!(control.import(&id).await, Err(Refused::NotFound { .. })));
    let kept = DeviceKey::Id(device.to_string());
    assert_eq!(control.device(kept).await.unwrap().id, device, "its devices stay");
    control.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_lies_under_the_import_directory() {
    let place = Place::new();
    let control = start(&place).await;
    let dir = place.settings().data_dir.join("import");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("devices.csv"), csv(1, 1_200)).unwrap();
    std::fs::write(place.settings().data_dir.join("outside.csv"), csv(1, 1)).unwrap();
    std::os::unix::fs::symlink("../outside.csv", dir.join("link.csv")).unwrap();
    for bad in ["../outside.csv", "/etc/passwd", "link.csv", "missing.csv", "", "."] {
        let refused = control.start_import(new(), NewSource::File(bad.to_owned()), None).await;
        assert!(matches!(refused, Err(Refused::Validation { .. })), "{bad}");
    }
    let file = NewSource::File("devices.csv".to_owned());
    let id = control.start_import(new(), file, None).await.unwrap().id.to_string();
    let task = ends(&control, &id).await;
    assert_eq!((task.onboarded, task.failed), (1_200, 0));
    let wrong = control.start_import(new(), lines("Name,Colour\na,b\n"), None).await.unwrap();
    let task = ends(&control, &wrong.id.to_string()).await;
    assert_eq!(task.status, ImportStatus::Failed);
    assert!(task.reason.unwrap().contains("Colour"));
    let nowhere = NewImport { destination: "nowhere".to_owned(), ..NewImport::default() };
    let refused = control.start_import(nowhere, lines("x"), None).await;
    assert!(matches!(refused, Err(Refused::NotFound { .. })));
    control.stop().await;
}

/// The process ends in the middle: what was made is not made again, the rest is.
#[tokio::test(flavor = "multi_thread")]
async fn an_import_goes_on_after_a_restart() {
    let place = Place::new();
    let control = start(&place).await;
    let task = control.start_import(new(), lines(&csv(1, 5_000)), None).await.unwrap();
    let id = task.id.to_string();
    while control.import(&id).await.unwrap().onboarded == 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    control.stop().await;
    drop(control);
    let control = loop {
        // The step under way ends first: it holds the store.
        match Control::start(place.settings()).await {
            Ok(control) => break control,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    };
    control.resume_imports();
    let task = ends(&control, &id).await;
    assert_eq!((task.onboarded, task.failed, task.lines), (5_000, 0, 5_000));
    control.stop().await;
}
