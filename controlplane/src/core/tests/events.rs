//! Events are told to whoever wants them, and to nobody else.

use serde_json::{Value, json};

use super::*;
use crate::store::keys;

const ROOT: &str = "$aws/iotwireless/events";

impl Story {
    fn says(&mut self, key: &[u8], value: &Value) {
        let mut tx = Transaction::new();
        tx.put(Table::Settings, key, records::encode(value));
        self.store.submit(tx, Box::new(|_| ()));
    }

    fn topics(&self) -> Vec<&str> {
        self.publishes.iter().map(|(_, topic, _)| topic.as_str()).collect()
    }
}

fn everything() -> Value {
    let on = json!({ "CoAP": { "WirelessDeviceEventTopic": "Enabled" } });
    json!({ "Join": on, "ConnectionStatus": on, "MessageDeliveryStatus": on,
        "DeviceRegistrationState": on })
}

#[test]
fn nothing_is_told_until_somebody_enabled_it() {
    let mut story = Story::new();
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"on");
    story.fails(id, FailReason::Reset);
    story.session_down(1);
    assert!(story.publishes.is_empty());
}

#[test]
fn a_session_and_a_message_have_their_events() {
    let mut story = Story::new();
    story.says(keys::EVENTS, &everything());
    story.session_up(1);
    let of = |event: &str| format!("{ROOT}/{event}/coap/wireless_devices");
    let up = [
        "device_registration_state/registered",
        "join/join_accepted",
        "connection_status/connected",
    ];
    assert_eq!(story.topics(), up.map(of));
    story.session_up(2);
    assert_eq!(story.topics()[3..], ["join/join_accepted"].map(of), "it was connected before");
    let good = story.sends(QueueMode::Immediate, b"on");
    story.outcome(good, Step::Delivered, true);
    let bad = story.sends(QueueMode::Immediate, b"on");
    story.fails(bad, FailReason::Reset);
    story.session_down(1);
    story.session_down(2);
    let rest = [
        "message_delivery_status/success",
        "message_delivery_status/error",
        "connection_status/disconnected",
    ];
    assert_eq!(story.topics()[4..], rest.map(of));
    let failed: Value = serde_json::from_slice(&story.publishes[5].2).unwrap();
    assert_eq!(failed["WirelessDeviceId"], DEVICE.to_string());
    assert_eq!((&failed["eventType"], failed["timestamp"].is_u64()), (&json!("error"), true));
    let about = json!({ "MessageId": bad.to_string(), "Status": "FAILED", "Reason": "RESET" });
    assert_eq!(failed["CoAP"], about);
}

/// Each step that shows that the device has the message is told once, with the message's id.
#[test]
fn an_acknowledgement_and_an_answer_have_their_events() {
    let mut story = Story::new();
    let on = json!({ "CoAP": { "WirelessDeviceEventTopic": "Enabled" } });
    story.says(keys::EVENTS, &json!({ "MessageAcknowledgement": on }));
    story.session_up(1);
    let id = story.sends(QueueMode::Immediate, b"on");
    story.outcome(id, Step::Sent, false);
    assert!(story.publishes.is_empty());
    for _ in 0..2 {
        story.outcome(id, Step::Delivered, false);
    }
    let lost = story.sends(QueueMode::Immediate, b"on");
    story.fails(lost, FailReason::Timeout);
    story.outcome(id, Step::Delivered, true);
    let of = |kind| format!("{ROOT}/message_acknowledgement/{kind}/coap/wireless_devices");
    assert_eq!(story.topics(), [of("acknowledged")]);
    let told: Value = serde_json::from_slice(&story.publishes[0].2).unwrap();
    assert_eq!(told["CoAP"], json!({ "MessageId": id.to_string(), "Status": "DELIVERED" }));

    let id = story.sends(QueueMode::Immediate, b"on");
    story.responds(id, b"21");
    let of_answer = story.publishes.iter().find(|(_, topic, _)| *topic == of("answered"));
    let told: Value = serde_json::from_slice(&of_answer.expect("it is told").2).unwrap();
    assert_eq!(
        told["CoAP"],
        json!({ "MessageId": id.to_string(), "Status": "RESPONDED",
            "ResponseStatus": "CONTENT(2.05)" })
    );
}

#[test]
fn one_device_has_a_topic_of_its_own() {
    let mut story = Story::new();
    let own = json!({ "ConnectionStatus": { "WirelessDeviceIdEventTopic": "Enabled" } });
    story.says(&keys::resource_events(&DEVICE.to_string()), &own);
    story.session_up(1);
    let topic = format!(
        "{ROOT}/connection_status/connected/coap/wireless_devices/wireless_device_id/{DEVICE}"
    );
    assert_eq!(story.topics(), [topic]);
}

#[test]
fn what_the_broker_does_not_take_is_told_again() {
    let mut story = Story::new();
    let on = json!({ "CoAP": { "WirelessDeviceEventTopic": "Enabled" } });
    story.says(keys::EVENTS, &json!({ "ConnectionStatus": on }));
    story.core.on_publisher(story.now(), false);
    story.session_up(1);
    assert!(story.publishes.is_empty());
    story.core.on_publisher(story.now(), true);
    story.settles();
    assert_eq!(story.publishes.len(), 1);
    story.core.on_published(story.now(), story.publishes[0].0, PublishResult::Unavailable);
    story.waits_ms(4_999);
    assert_eq!(story.publishes.len(), 1);
    story.waits_ms(1);
    assert_eq!(story.publishes.len(), 2);
    story.confirms(1);
    story.waits_ms(100_000);
    assert_eq!(story.publishes.len(), 2);
    assert_eq!(story.publishes[0].2, story.publishes[1].2, "the same event");
}

/// What the broker has not confirmed when the process ends is told by the next; once confirmed it
/// is told no more.
#[test]
fn an_event_that_is_not_confirmed_outlives_the_process() {
    let mut story = Story::new();
    let on = json!({ "CoAP": { "WirelessDeviceEventTopic": "Enabled" } });
    story.says(keys::EVENTS, &json!({ "ConnectionStatus": on }));
    story.session_up(1);
    assert_eq!((story.publishes.len(), story.stored_keys(Table::Events)), (1, 1));
    let first = story.publishes[0].2.clone();
    let mut story = story.restarts();
    story.settles();
    assert_eq!(story.publishes.len(), 1);
    assert_eq!(story.publishes[0].2, first, "the same event");
    story.session_down(1);
    assert_eq!(story.stored_keys(Table::Events), 2, "a number of its own");
    story.confirms(0);
    story.confirms(1);
    assert_eq!(story.stored_keys(Table::Events), 0);
    let mut story = story.restarts();
    story.settles();
    assert!(story.publishes.is_empty());
}
