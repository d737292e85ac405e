//! Does a policy parse or not, whatever it says, and can one that parses be judged? Input: JSON.

use serde_json::Value;
use tidegate_controlplane::iam::policy::{Circumstances, Policies, Resource, Verdict, parse};

pub(crate) fn run(input: &[u8]) {
    let Ok(document) = serde_json::from_slice::<Value>(input) else { return };
    let is_policy = parse(&document).is_ok();
    let policies = Policies::of([&document].into_iter());
    let about = Circumstances { user: "somebody".to_owned(), ..Circumstances::default() };
    let resource = Resource {
        arn: "arn:aws:iotwireless:us-east-1:000000000000:WirelessDevice/1".to_owned(),
        tags: vec![("stage".to_owned(), "test".to_owned())],
    };
    let verdict = policies.judge("iotwireless:GetWirelessDevice", &resource, &about);
    assert!(is_policy || verdict == Verdict::Denied, "what can't be read denies");
}
