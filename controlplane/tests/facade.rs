//! The facade as the API uses it: devices, destinations, rules, tokens, pages.
#![allow(clippy::unwrap_used)]

mod fake_worker;

use fake_worker::{IDENTITY, Place, SECRET, destination, new_device, request};
use tidegate_controlplane::control::{Control, PAYLOAD_BYTES_MAX};
use tidegate_controlplane::model::{
    Action, DestinationChange, DeviceChange, DeviceFilter, DeviceKey, Downlink, ExpressionType,
    NewNetwork, PageRequest, QueueMode, Refused, ResourceType, Rule,
};
use zeroize::Zeroizing;

async fn start(place: &Place) -> Control {
    let control = Control::start(place.settings()).await.unwrap();
    control.create_destination(destination("somewhere"), None).await.unwrap();
    control
}

fn is_conflict(refused: &Refused) -> bool {
    matches!(refused, Refused::Conflict { .. })
}

fn is_missing(refused: &Refused, of: ResourceType) -> bool {
    matches!(refused, Refused::NotFound { resource_type, .. } if *resource_type == of)
}

#[tokio::test]
async fn a_device_is_found_by_each_of_its_names() {
    let place = Place::new();
    let control = start(&place).await;
    let mut new = new_device("somewhere", IDENTITY);
    new.cellular.as_mut().unwrap().hardware = Some("123456789012345".to_owned());
    new.wifi = Some(NewNetwork {
        hardware: Some("00-1A-2B-3C-4D-5E".to_owned()),
        identity: Some("i".repeat(32)),
        secret: Some(Zeroizing::new(format!("0x{}", "ab".repeat(16)))),
        ..NewNetwork::default()
    });
    let device = control.create_device(new, None).await.unwrap();
    for key in [
        DeviceKey::Id(device.id.to_string()),
        DeviceKey::Imei("123456789012345".to_owned()),
        DeviceKey::MacAddress("001a2b3c4d5e".to_owned()),
        DeviceKey::Identity(IDENTITY.to_owned()),
        DeviceKey::Identity("i".repeat(32)),
    ] {
        assert_eq!(control.device(key).await.unwrap(), device);
    }
    for key in [DeviceKey::Id("no".to_owned()), DeviceKey::Imei("0".repeat(15))] {
        let refused = control.device(key).await.unwrap_err();
        assert!(is_missing(&refused, ResourceType::WirelessDevice));
    }
    assert!(!format!("{device:?}").contains(SECRET));
    control.stop().await;
    drop(control);
    let control = Control::start(place.settings()).await.unwrap();
    let again = control.device(DeviceKey::Id(device.id.to_string())).await.unwrap();
    assert_eq!(again, device, "and again after a restart");
    control.stop().await;
}

#[tokio::test]
async fn names_are_unique_among_devices() {
    let place = Place::new();
    let control = start(&place).await;
    let mut first = new_device("somewhere", IDENTITY);
    first.cellular.as_mut().unwrap().hardware = Some("1".repeat(15));
    let first = control.create_device(first, None).await.unwrap();
    let same_identity = new_device("somewhere", IDENTITY);
    assert!(is_conflict(&control.create_device(same_identity, None).await.unwrap_err()));
    let mut same_imei = new_device("somewhere", &"x".repeat(32));
    same_imei.cellular.as_mut().unwrap().hardware = Some("1".repeat(15));
    assert!(is_conflict(&control.create_device(same_imei, None).await.unwrap_err()));
    control.delete_device(&first.id.to_string()).await.unwrap();
    control.create_device(new_device("somewhere", IDENTITY), None).await.unwrap();
    let refused = control.create_device(new_device("nowhere", &"y".repeat(32)), None).await;
    assert!(is_missing(&refused.unwrap_err(), ResourceType::Destination));
    control.stop().await;
}

/// Many at once: exactly one gets the name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_at_once_one_gets_the_name() {
    let place = Place::new();
    let control = start(&place).await;
    let tries = (0..32).map(|_| {
        let control = control.clone();
        tokio::spawn(async move {
            control.create_device(new_device("somewhere", IDENTITY), None).await.is_ok()
        })
    });
    let made = futures_util::future::join_all(tries).await;
    assert_eq!(made.into_iter().filter(|made| *made.as_ref().unwrap()).count(), 1);
    let page = control.devices(DeviceFilter::default(), PageRequest::default()).await.unwrap();
    assert_eq!(page.items.len(), 1);
    control.stop().await;
}

/// The same token with the same parameters is the same device; with others, a Conflict.
#[tokio::test]
async fn a_request_token_makes_one_device() {
    let place = Place::new();
    let control = start(&place).await;
    let new = || new_device("somewhere", IDENTITY);
    let first = control.create_device(new(), Some("token-1")).await.unwrap();
    let again = control.create_device(new(), Some("token-1")).await.unwrap();
    assert_eq!(again, first);
    let mut other = new();
    other.cellular.as_mut().unwrap().secret = Some(Zeroizing::new("z".repeat(32)));
    assert!(is_conflict(&control.create_device(other, Some("token-1")).await.unwrap_err()));
    assert!(is_conflict(&control.create_device(new(), Some("token-2")).await.unwrap_err()));
    assert!(control.create_device(new(), Some("not a token")).await.is_err());

    let made = control.create_destination(destination("other"), Some("token-1")).await.unwrap();
    let again = control.create_destination(destination("other"), Some("token-1")).await.unwrap();
    assert_eq!(again, made);
    let refused = control.create_destination(destination("third"), Some("token-1")).await;
    assert!(is_conflict(&refused.unwrap_err()));
    control.stop().await;
}

#[tokio::test]
async fn an_update_changes_only_what_it_names() {
    let place = Place::new();
    let control = start(&place).await;
    control.create_destination(destination("other"), None).await.unwrap();
    let device = control.create_device(new_device("somewhere", IDENTITY), None).await.unwrap();
    let id = device.id.to_string();
    let renamed = "renamed-".repeat(4);
    let change = DeviceChange {
        name: Some("n".to_owned()),
        destination: Some("other".to_owned()),
        cellular: Some(NewNetwork { identity: Some(renamed.clone()), ..NewNetwork::default() }),
        ..DeviceChange::default()
    };
    control.update_device(&id, change).await.unwrap();
    let after = control.device(DeviceKey::Identity(renamed)).await.unwrap();
    assert_eq!((after.name.as_deref(), after.destination.as_str()), (Some("n"), "other"));
    assert!(control.device(DeviceKey::Identity(IDENTITY.to_owned())).await.is_err());
    control.delete_destination("somewhere").await.unwrap();
    assert!(is_conflict(&control.delete_destination("other").await.unwrap_err()), "now in use");
    let half = NewNetwork { identity: Some("w".repeat(32)), ..NewNetwork::default() };
    let change = DeviceChange { wifi: Some(half), ..DeviceChange::default() };
    let refused = control.update_device(&id, change).await.unwrap_err();
    assert!(matches!(refused, Refused::Validation { .. }), "a new block needs a secret");
    control.delete_device(&id).await.unwrap();
    control.delete_destination("other").await.unwrap();
    let refused = control.delete_device(&id).await.unwrap_err();
    assert!(is_missing(&refused, ResourceType::WirelessDevice));
    control.stop().await;
}

#[tokio::test]
async fn destinations_and_rules_live_their_lives() {
    let place = Place::new();
    let control = start(&place).await;
    let twice = control.create_destination(destination("somewhere"), None).await;
    assert!(is_conflict(&twice.unwrap_err()));
    let change = DestinationChange {
        expression_type: Some(ExpressionType::RuleName),
        expression: Some("not a rule's name".to_owned()),
        ..DestinationChange::default()
    };
    let refused = control.update_destination("somewhere", change.clone()).await.unwrap_err();
    assert!(matches!(refused, Refused::Validation { ref path, .. } if path == "Expression"));
    let change = DestinationChange { expression: Some("route".to_owned()), ..change };
    control.update_destination("somewhere", change).await.unwrap();
    assert_eq!(control.destination("somewhere").await.unwrap().expression, "route");

    let action = Action::Republish { topic: "x".to_owned(), qos: 1, role_arn: None };
    let rule = Rule {
        name: "route".to_owned(),
        sql: "SELECT * FROM 'a'".to_owned(),
        description: None,
        disabled: false,
        sql_version: None,
        actions: vec![action],
        error_action: None,
        created_unix_ms: 0,
    };
    control.create_rule(rule.clone()).await.unwrap();
    assert!(is_conflict(&control.create_rule(rule.clone()).await.unwrap_err()));
    control.enable_rule("route", false).await.unwrap();
    assert!(control.rule("route").await.unwrap().disabled);
    control.replace_rule(rule.clone()).await.unwrap();
    assert!(!control.rule("route").await.unwrap().disabled);
    let joined = Rule { sql: "SELECT a FROM 'b', 'c'".to_owned(), ..rule };
    assert!(matches!(control.replace_rule(joined).await, Err(Refused::Sql { .. })));
    assert_eq!(control.rules(PageRequest::default()).await.unwrap().items.len(), 1);
    control.delete_rule("route").await.unwrap();
    assert!(is_missing(&control.delete_rule("route").await.unwrap_err(), ResourceType::Rule));
    control.stop().await;
}

#[tokio::test]
async fn lists_come_page_by_page() {
    let place = Place::new();
    let control = start(&place).await;
    let mut made = Vec::new();
    for n in 0..5 {
        let identity = format!("identity-{n}-{}", "x".repeat(32));
        let device = control.create_device(new_device("somewhere", &identity), None).await;
        made.push(device.unwrap().id);
    }
    made.sort();
    for destination in [None, Some("somewhere".to_owned())] {
        let filter = DeviceFilter { destination, ..DeviceFilter::default() };
        let mut page = PageRequest { items_max: Some(2), next: None };
        let mut listed = Vec::new();
        let mut sizes = Vec::new();
        loop {
            let found = control.devices(filter.clone(), page.clone()).await.unwrap();
            sizes.push(found.items.len());
            listed.extend(found.items.into_iter().map(|summary| summary.device.id));
            page.next = found.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!((listed, sizes), (made.clone(), vec![2, 2, 1]));
    }
    let filter = DeviceFilter { destination: Some("some".to_owned()), ..DeviceFilter::default() };
    let found = control.devices(filter, PageRequest::default()).await.unwrap();
    assert!(found.items.is_empty(), "a prefix of a name is another name");
    for (items_max, is_good) in [(250, true), (251, false)] {
        let page = PageRequest { items_max: Some(items_max), next: None };
        assert_eq!(control.destinations(page).await.is_ok(), is_good);
    }
    let page = PageRequest { items_max: None, next: Some("!".to_owned()) };
    assert!(matches!(control.destinations(page).await, Err(Refused::Validation { .. })));
    control.stop().await;
}

#[tokio::test]
async fn queued_messages_are_listed_in_order_and_deleted() {
    let place = Place::new();
    let control = start(&place).await;
    let device = control.create_device(new_device("somewhere", IDENTITY), None).await.unwrap();
    let id = device.id.to_string();
    let mut sent = Vec::new();
    for n in 0..3 {
        let downlink = Downlink::Request(request(QueueMode::Queued, &[n]));
        sent.push(control.send(&id, downlink).await.unwrap());
    }
    let listed = async || {
        let page = control.queued_messages(&id, PageRequest::default()).await.unwrap();
        page.items.into_iter().map(|message| message.id).collect::<Vec<_>>()
    };
    assert_eq!(listed().await, sent);
    control.delete_queued_message(&id, &sent[1].to_string()).await.unwrap();
    assert_eq!(listed().await, [sent[0], sent[2]]);
    let again = control.delete_queued_message(&id, &sent[1].to_string()).await;
    assert!(is_missing(&again.unwrap_err(), ResourceType::Message));
    control.delete_queued_messages(&id).await.unwrap();
    assert!(listed().await.is_empty());
    for (bytes, is_good) in [(PAYLOAD_BYTES_MAX, true), (PAYLOAD_BYTES_MAX + 1, false)] {
        let downlink = Downlink::Request(request(QueueMode::Queued, &vec![1; bytes]));
        assert_eq!(control.send(&id, downlink).await.is_ok(), is_good);
    }
    let mut long = request(QueueMode::Queued, b"");
    long.uri_paths = vec!["p".repeat(256)];
    assert!(control.send(&id, Downlink::Request(long)).await.is_err());
    control.stop().await;
}
