//! Which class is a device in, and who is told when it is another one?

use super::*;
use crate::model::ProfileId;
use crate::policy::{self, Scope};
use crate::store::keys;
use crate::store::records::{Der, PolicyRecord};
use tidegate_ring::policy::Sheet;

const HERE: Scope<'_> = Scope { partition: "aws", region: "us-east-1", account: "000000000000" };
const PROFILE: ProfileId = ProfileId([3; 16]);
/// What the tests' devices send: no path at all.
const ANYTHING: &str = "*";
pub(super) const SENSORS: &str = "arn:aws:iotwireless:*:*:coap/sensors/*";

fn allowing(resource: &str) -> PolicyRecord {
    let document =
        format!(r#"{{"Statement":{{"Effect":"Allow","Action":"*","Resource":"{resource}"}}}}"#);
    let compiled = Der(policy::compile(&document, HERE).unwrap());
    PolicyRecord { document, compiled, changed_unix_ms: UNIX_MS }
}

impl Story {
    fn puts_policy(&mut self, key: Vec<u8>, policy: Option<PolicyRecord>) {
        let mut tx = Transaction::new();
        match policy {
            Some(policy) => tx.put(Table::Policies, key, records::encode(&policy)),
            None => tx.delete(Table::Policies, key),
        }
        self.store.submit(tx, Box::new(|_| ()));
    }

    /// The device gets this policy; the API says so.
    pub(super) fn device_may(&mut self, resource: Option<&str>) {
        self.puts_policy(keys::policy_of_device(DEVICE), resource.map(allowing));
        assert!(self.asks(Request::PolicyOfDevice { device: DEVICE }).unwrap().is_ok());
    }

    /// The last whole sheet.
    pub(super) fn sheet(&self) -> Sheet {
        let mut bytes = Vec::new();
        for post in self.posts.iter().filter(|post| post.kind == Kind::Policies) {
            let (piece, part) = contract::Policies::split(&post.bytes).unwrap();
            if piece.offset.get() == 0 {
                bytes.clear();
            }
            bytes.extend_from_slice(part);
        }
        Sheet::parse(&bytes).unwrap()
    }

    fn classes_told(&mut self) -> Vec<(u64, u16)> {
        let posts = self.posts.iter().filter(|post| post.kind == Kind::Class);
        let classes = posts.map(|post| {
            let (class, _) = contract::Class::split(&post.bytes).unwrap();
            (class.session.get(), class.class.get())
        });
        let classes = classes.collect();
        self.posts.retain(|post| post.kind != Kind::Class);
        classes
    }

    fn class_of_credential(&mut self) -> u16 {
        let claim = contract::Claim::PskIdentity as u8;
        let wanted = contract::CredentialWanted { request: 9.into(), claim };
        self.entry(Kind::CredentialWanted, &[wanted.as_bytes(), IDENTITY.as_bytes()]);
        let post = self.posts.iter().rev().find(|post| post.kind == Kind::Credential).unwrap();
        contract::Credential::split(&post.bytes).unwrap().0.class.get()
    }

    /// What became of an uplink that was let through by this class.
    fn uplink_by_class(&mut self, class: u16) -> Option<u8> {
        let uplink = contract::Uplink { class: class.into(), ..head(5) };
        self.posts.retain(|post| post.kind != Kind::Published);
        self.entry(Kind::Uplink, &[uplink.as_bytes(), &message(Type::Con, Code::PUT, b"1")]);
        let post = self.posts.iter().find(|post| post.kind == Kind::Published)?;
        Some(contract::Published::split(&post.bytes).unwrap().0.publication)
    }
}

fn may_put(story: &Story, class: u16, path: &str) -> bool {
    let sheet = story.sheet();
    let class = sheet.class(class).expect("the sheet has it");
    sheet.allows(&class, &DEVICE.0, Code::PUT.0, path.split('/').map(str::as_bytes))
}

#[test]
fn a_device_without_policies_is_in_the_class_that_may_everything() {
    let mut story = Story::new();
    assert_eq!(story.class_of_credential(), 0);
    assert!(may_put(&story, 0, "any"));
}

/// The sheet comes before the class it explains, and the session that is there is told.
#[test]
fn a_policy_reaches_the_session_that_is_there() {
    let mut story = Story::new();
    story.session_up(1);
    story.posts.clear();
    story.device_may(Some(SENSORS));
    let kinds: Vec<Kind> = story.posts.iter().map(|post| post.kind).collect();
    assert_eq!(kinds, [Kind::Policies, Kind::Class]);
    let told = story.classes_told();
    let class = told[0].1;
    assert_eq!((told.len(), told[0].0), (1, session(1).0));
    assert!(may_put(&story, class, "sensors/1") && !may_put(&story, class, "other"));
    assert_eq!(story.class_of_credential(), class);
    // The same policy again is the same class; nobody has to be told.
    story.posts.clear();
    story.device_may(Some(SENSORS));
    assert!(story.posts.is_empty());
    story.device_may(None);
    assert_eq!(story.classes_told(), [(session(1).0, 0)]);
}

#[test]
fn a_worker_that_is_attached_and_a_control_plane_that_restarts_know_the_classes() {
    let mut story = Story::new();
    story.device_may(Some(SENSORS));
    let class = story.class_of_credential();
    let mut story = story.restarts();
    story.settles();
    assert!(!may_put(&story, class, "other"));
    assert_eq!(story.class_of_credential(), class);
    story.posts.clear();
    story.hello(77);
    assert!(!may_put(&story, class, "other"));
}

/// A session that knows an older class: its uplink is judged here, and it is told.
#[test]
fn an_uplink_by_another_class_is_judged_again() {
    let mut story = Story::new();
    story.session_up(1);
    assert_eq!(story.uplink_by_class(0), None, "it is being published");
    story.device_may(Some(SENSORS));
    let class = story.class_of_credential();
    story.classes_told();
    assert_eq!(story.uplink_by_class(0), Some(Publication::Forbidden as u8));
    assert_eq!(story.classes_told(), [(session(1).0, class)]);
    assert!(story.posts.iter().all(|post| post.kind != Kind::SessionEnd), "it goes on");
    assert_eq!(story.uplink_by_class(class), None, "the worker has judged it");
    story.device_may(Some(ANYTHING));
    assert_eq!(story.uplink_by_class(class), None);
}

#[test]
fn a_resumed_session_of_another_class_is_told() {
    let mut story = Story::new();
    story.device_may(Some(SENSORS));
    let class = story.class_of_credential();
    story.classes_told();
    story.session_up_with(1, |up| up.resumed = 1);
    assert_eq!(story.classes_told(), [(session(1).0, class)]);
    story.session_up_with(2, |up| up.class = class.into());
    assert_eq!(story.classes_told(), []);
}

/// A profile's policy changes for all its devices by the sheet alone.
#[test]
fn a_policy_of_a_profile_changes_without_a_word_to_sessions() {
    let mut story = Story::new();
    let record = Device { application_profile: Some(PROFILE), ..device() };
    let mut tx = Transaction::new();
    tx.put(Table::Devices, DEVICE.0, records::encode(&record));
    story.store.submit(tx, Box::new(|_| ()));
    story.session_up(1);
    story.asks(Request::DeviceChanged { device: DEVICE, credentials: false });
    let class = story.classes_told()[0].1;
    assert!(may_put(&story, class, "other"));
    story.puts_policy(keys::policy_of_profile(PROFILE), Some(allowing(SENSORS)));
    assert!(story.asks(Request::PolicyOfProfile).unwrap().is_ok());
    assert_eq!(story.classes_told(), []);
    assert!(may_put(&story, class, "sensors/1") && !may_put(&story, class, "other"));
    // The device's own counts beside it.
    story.device_may(Some("arn:aws:iotwireless:*:*:coap/other"));
    let both = story.classes_told()[0].1;
    assert!(may_put(&story, both, "sensors/1") && may_put(&story, both, "other"));
    assert!(!may_put(&story, both, "neither"));
}

#[test]
fn policies_are_accepted_up_to_what_a_sheet_holds() {
    let mut story = Story::new();
    let most = contract::POLICIES_BYTES_MAX - 8_192;
    assert!(story.asks(Request::PolicyCheck { bytes: most }).unwrap().is_ok());
    let too_many = Request::PolicyCheck { bytes: contract::POLICIES_BYTES_MAX };
    assert!(matches!(story.asks(too_many), Some(Err(Refused::Limit { .. }))));
}
