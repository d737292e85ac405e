//! What is written into the customer's log, and what goes out of it again?

use super::*;
use crate::customer_log::{About, DEVICE_ENTRIES_PER_MINUTE, Level, LogEntry, LogLimits};
use crate::model::{LogLevel, LogLevels};
use crate::store::{Store as _, keys};
use tidegate_ring::contract::{Event, Mishap};

fn limits(log: LogLimits) -> Limits {
    Limits { log, ..Limits::default() }
}

impl Story {
    fn notices(&mut self, event: Event, code: Code, detail: u8, tail: &[u8]) {
        self.notices_of(DEVICE, event, code, detail, tail);
    }

    fn notices_of(&mut self, device: DeviceId, event: Event, code: Code, detail: u8, tail: &[u8]) {
        let notice = contract::Notice {
            device: device.0,
            session: session(1).0.into(),
            at_unix_ms: UNIX_MS.into(),
            class: 0.into(),
            event: event as u8,
            method: Code::PUT.0,
            code: code.0,
            detail,
            confirmable: 1,
            mid: 7.into(),
        };
        let seq = self.entry(Kind::Notice, &[notice.as_bytes(), tail]);
        assert!(self.done.contains(&seq));
    }

    fn says_of_all(&mut self, level: LogLevel) {
        let levels = LogLevels { default_log_level: level, ..LogLevels::default() };
        let mut tx = Transaction::new();
        tx.put(Table::Settings, keys::LOG_LEVELS, records::encode(&levels));
        self.store.submit(tx, Box::new(|_| ()));
    }

    /// What the store has, oldest first, and how many a device's list names.
    fn kept(&self) -> (Vec<LogEntry>, usize) {
        let all = self.store.scan(Table::CustomerLog, keys::LOG_ENTRIES, None, 10_000).unwrap();
        let entries = all.iter().map(|(_, value)| records::decode(value, "entry").unwrap());
        let of = keys::log_of(DEVICE);
        let of_device = self.store.scan(Table::CustomerLog, &of, None, 10_000).unwrap();
        (entries.collect(), of_device.len())
    }
}

#[test]
fn a_refusal_becomes_an_entry_in_the_shape_of_aws() {
    let mut story = Story::new();
    let forbidden = Code::FORBIDDEN;
    story.notices(Event::Refused, forbidden, forbidden.0, b"admin/x");
    assert!(story.logged.is_empty(), "it is gathered");
    story.waits_ms(60);
    assert_eq!(story.kept(), (story.logged.clone(), 1));
    let json = serde_json::to_value(&story.logged[0]).unwrap();
    assert_eq!(
        json,
        serde_json::json!({
            "timestamp": json["timestamp"],
            "resource": "WirelessDevice",
            "wirelessDeviceId": DEVICE.to_string(),
            "wirelessDeviceType": "CoAP",
            "event": "Uplink_Data",
            "logLevel": "ERROR",
            "message": "PUT /admin/x was answered FORBIDDEN(4.03): no policy of the device allows it",
            "CoAP": {
                "RequestMethod": "PUT", "UriPath": "admin/x", "MessageType": "CONFIRMABLE",
                "ResponseStatus": "FORBIDDEN(4.03)", "Reason": "POLICY",
            },
        })
    );
}

#[test]
fn everything_that_goes_wrong_has_its_word() {
    let mut story = Story::new();
    let limited = Code::TOO_MANY_REQUESTS;
    story.notices(Event::Refused, Code::EMPTY, limited.0, b"t");
    story.notices(Event::Unpublished, Code::NOT_FOUND, 0, b"a/b");
    story.notices(Event::TimedOut, Code::GATEWAY_TIMEOUT, 0, b"");
    story.notices(Event::Answered, Code::CONFLICT, 0, b"");
    story.notices(Event::HandshakeFailed, Code::EMPTY, Mishap::WrongKey as u8, b"");
    story.waits_ms(60);
    let words: Vec<_> =
        story.logged.iter().map(|entry| entry.coap.reason.clone().unwrap()).collect();
    assert_eq!(words, ["QUOTA", "NO_ROUTE", "TIMEOUT", "APPLICATION", "WRONG_KEY"]);
    assert!(story.logged[0].message.contains("was dropped"));
    assert_eq!(story.logged[1].coap.uri_path.as_deref(), Some("a/b"));
    let message = "PUT /a/b was answered NOT_FOUND(4.04): the device's destination leads nowhere";
    assert_eq!(story.logged[1].message, message);
    assert_eq!(story.logged[4].event, About::Join);
}

#[test]
fn sessions_and_failed_downlinks_are_told() {
    let mut story = Story::new();
    story.says_of_all(LogLevel::Info);
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"on");
    story.fails(id, FailReason::Reset);
    story.session_down(1);
    story.waits_ms(60);
    let told: Vec<_> = story.logged.iter().map(|e| (e.event, e.log_level, e.message_id)).collect();
    let expected = [
        (About::Join, Level::Info, None),
        (About::DownlinkData, Level::Error, Some(id)),
        (About::Join, Level::Info, None),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_level_leaves_out_what_is_above_it() {
    for (level, count) in [(LogLevel::Info, 2), (LogLevel::Error, 1), (LogLevel::Disabled, 0)] {
        let mut story = Story::new();
        story.says_of_all(level);
        story.session_up(1);
        story.notices(Event::TimedOut, Code::GATEWAY_TIMEOUT, 0, b"");
        story.waits_ms(60);
        assert_eq!(story.logged.len(), count, "{level:?}");
    }
}

/// An expired certificate names its device, and proves nothing: a stranger's name is no entry.
#[test]
fn a_certificate_that_proves_nothing_leads_to_the_device_it_names() {
    let mut story = Story::new();
    story.changes(STAMP, |block| block.certificate_name = Some("CN=meter".to_owned()));
    let leaf =
        |name: &str| [&[1; 32][..], &(name.len() as u16).to_le_bytes(), name.as_bytes()].concat();
    let nobody = DeviceId([0; 16]);
    let claim = Code(contract::Claim::Certificate as u8);
    let expired = Mishap::CertificateExpired as u8;
    for name in ["CN=stranger", "CN=meter"] {
        story.notices_of(nobody, Event::HandshakeUnproven, claim, expired, &leaf(name));
    }
    story.waits_ms(60);
    let devices: Vec<_> = story.logged.iter().map(|entry| entry.wireless_device_id).collect();
    assert_eq!(devices, [DEVICE]);
    assert_eq!(story.logged[0].coap.reason.as_deref(), Some("CERTIFICATE_EXPIRED"));
}

#[test]
fn one_device_does_not_fill_the_log() {
    let mut story = Story::new();
    for _ in 0..=DEVICE_ENTRIES_PER_MINUTE {
        story.notices(Event::TimedOut, Code::GATEWAY_TIMEOUT, 0, b"");
    }
    let other = DeviceId([8; 16]);
    let mut tx = Transaction::new();
    tx.put(Table::Devices, other.0, records::encode(&Device { id: other, ..device() }));
    story.store.submit(tx, Box::new(|_| ()));
    story.notices_of(other, Event::TimedOut, Code::GATEWAY_TIMEOUT, 0, b"");
    story.waits_ms(60);
    let mut of_device = story.logged.iter().filter(|e| e.wireless_device_id == DEVICE);
    assert_eq!(of_device.clone().count(), DEVICE_ENTRIES_PER_MINUTE as usize);
    assert!(of_device.next_back().unwrap().message.ends_with("is left out"));
    assert_eq!(story.logged.len(), DEVICE_ENTRIES_PER_MINUTE as usize + 1);
    story.waits_ms(60_000);
    story.notices(Event::TimedOut, Code::GATEWAY_TIMEOUT, 0, b"");
    story.waits_ms(60);
    assert_eq!(story.logged.len(), DEVICE_ENTRIES_PER_MINUTE as usize + 2);
}

#[test]
fn the_oldest_entries_go_when_there_are_too_many_or_they_are_too_old() {
    let log = LogLimits { entries_max: 3, age_max_ms: 100_000, ..LogLimits::default() };
    let mut story = Story::with_limits(limits(log));
    for path in [b"1", b"2", b"3", b"4"] {
        story.notices(Event::Refused, Code::NOT_FOUND, Code::NOT_FOUND.0, path);
        story.waits_ms(60);
    }
    let paths = |story: &Story| -> Vec<String> {
        story.kept().0.into_iter().map(|entry| entry.coap.uri_path.unwrap()).collect()
    };
    assert_eq!((paths(&story), story.kept().1), (["2", "3", "4"].map(str::to_owned).to_vec(), 3));
    // A restarted control plane knows how many there are.
    let mut story = story.restarts();
    story.notices(Event::Refused, Code::NOT_FOUND, Code::NOT_FOUND.0, b"5");
    story.waits_ms(60);
    assert_eq!(paths(&story), ["3", "4", "5"]);
    story.waits_ms(100_000);
    for _ in 0..5 {
        story.waits_ms(10_000);
    }
    assert_eq!(story.kept(), (Vec::new(), 0));
}
