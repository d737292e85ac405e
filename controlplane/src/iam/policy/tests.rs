//! What is allowed and what is not? The matrix of AWS's rules.
#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

const DEVICE: &str = "arn:aws:iotwireless:us-east-1:123456789012:WirelessDevice/d1";
const OTHER: &str = "arn:aws:iotwireless:us-east-1:123456789012:WirelessDevice/d2";
const ALL: &str = "arn:aws:iotwireless:us-east-1:123456789012:*";
const GET: &str = "iotwireless:GetWirelessDevice";
const CREATE: &str = "iotwireless:CreateWirelessDevice";

fn policy(statements: Value) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn about() -> Circumstances {
    Circumstances {
        principal: "arn:aws:iam::123456789012:user/ann".to_owned(),
        user: "ann".to_owned(),
        account: "123456789012".to_owned(),
        source: Some([192, 0, 2, 7].into()),
        is_secure: true,
        now_unix_s: 1_790_000_000,
        ..Circumstances::default()
    }
}

fn judge_about(
    statements: Value,
    action: &str,
    arn: &str,
    tags: &[(&str, &str)],
    about: &Circumstances,
) -> Verdict {
    let document = policy(statements);
    parse(&document).unwrap();
    let policies = Policies::of([&document].into_iter());
    let tags = tags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let resource = Resource { arn: arn.to_owned(), tags: tags.collect() };
    policies.judge(action, &resource, about)
}

fn judge(statements: Value, action: &str, arn: &str) -> Verdict {
    judge_about(statements, action, arn, &[], &about())
}

#[test]
fn what_no_statement_allows_is_not_allowed() {
    let read = json!({ "Effect": "Allow", "Action": "iotwireless:Get*", "Resource": "*" });
    assert_eq!(judge(read.clone(), GET, DEVICE), Verdict::Allowed);
    assert_eq!(judge(read.clone(), CREATE, DEVICE), Verdict::NotAllowed);
    assert_eq!(judge(read, "iot:GetTopicRule", DEVICE), Verdict::NotAllowed);
    assert_eq!(Policies::of([].into_iter()).judge(GET, &of(DEVICE), &about()), Verdict::NotAllowed);
}

fn of(arn: &str) -> Resource {
    Resource { arn: arn.to_owned(), tags: Vec::new() }
}

#[test]
fn an_explicit_deny_wins_wherever_it_stands() {
    let allow = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let deny = json!({ "Effect": "Deny", "Action": GET, "Resource": DEVICE });
    for statements in [json!([allow, deny]), json!([deny, allow])] {
        assert_eq!(judge(statements.clone(), GET, DEVICE), Verdict::Denied);
        assert_eq!(judge(statements, GET, OTHER), Verdict::Allowed);
    }
    let (one, other) = (policy(allow), policy(deny));
    let both = Policies::of([&one, &other].into_iter());
    assert_eq!(both.judge(GET, &of(DEVICE), &about()), Verdict::Denied, "in another policy");
}

#[test]
fn resources_are_named_by_arn_with_wildcards() {
    let on = |resource: &str, arn: &str| {
        judge(json!({ "Effect": "Allow", "Action": GET, "Resource": resource }), GET, arn)
    };
    for resource in [
        DEVICE,
        "*",
        "arn:aws:iotwireless:*:*:WirelessDevice/*",
        "arn:aws:iotwireless:us-east-1:123456789012:WirelessDevice/d?",
        "arn:*:iotwireless:*:123456789012:*",
    ] {
        assert_eq!(on(resource, DEVICE), Verdict::Allowed, "{resource}");
    }
    for resource in [
        OTHER,
        "arn:aws:iotwireless:us-east-1:999999999999:WirelessDevice/*",
        "arn:aws:iotwireless:eu-west-1:123456789012:WirelessDevice/d1",
        "arn:aws:iotwireless:us-east-1:123456789012:Destination/*",
    ] {
        assert_eq!(on(resource, DEVICE), Verdict::NotAllowed, "{resource}");
    }
    // What names no resource needs a grant on all.
    assert_eq!(on("arn:aws:iotwireless:*:*:WirelessDevice/*", ALL), Verdict::NotAllowed);
    assert_eq!(on("*", ALL), Verdict::Allowed);
}

#[test]
fn not_action_and_not_resource_are_what_is_left() {
    let but = json!({ "Effect": "Allow", "NotAction": "iotwireless:Delete*", "Resource": "*" });
    assert_eq!(judge(but.clone(), GET, DEVICE), Verdict::Allowed);
    assert_eq!(judge(but, "iotwireless:DeleteWirelessDevice", DEVICE), Verdict::NotAllowed);
    let but = json!({ "Effect": "Allow", "Action": "*", "NotResource": DEVICE });
    assert_eq!(judge(but.clone(), GET, DEVICE), Verdict::NotAllowed);
    assert_eq!(judge(but, GET, OTHER), Verdict::Allowed);
}

#[test]
fn a_resource_s_tags_decide() {
    let statement = json!({ "Effect": "Allow", "Action": "*", "Resource": "*",
        "Condition": { "StringEquals": { "aws:ResourceTag/Team": "red" } } });
    let with = |tags: &[(&str, &str)]| judge_about(statement.clone(), GET, DEVICE, tags, &about());
    assert_eq!(with(&[("Team", "red")]), Verdict::Allowed);
    assert_eq!(with(&[("team", "red")]), Verdict::Allowed, "names of keys have no case");
    assert_eq!(with(&[("Team", "Red")]), Verdict::NotAllowed, "values have");
    assert_eq!(with(&[("Team", "blue")]), Verdict::NotAllowed);
    assert_eq!(with(&[]), Verdict::NotAllowed);
}

#[test]
fn tags_of_the_request_and_their_keys_decide() {
    let tagged = |tags: &[(&str, &str)]| Circumstances {
        request_tags: tags.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        ..about()
    };
    let statement = json!({ "Effect": "Allow", "Action": CREATE, "Resource": "*",
        "Condition": { "StringLike": { "aws:RequestTag/stage": ["test*", "dev"] },
                       "ForAllValues:StringEquals": { "aws:TagKeys": ["stage", "owner"] } } });
    let with =
        |tags: &[(&str, &str)]| judge_about(statement.clone(), CREATE, ALL, &[], &tagged(tags));
    assert_eq!(with(&[("stage", "test-1")]), Verdict::Allowed);
    assert_eq!(with(&[("stage", "dev"), ("owner", "ann")]), Verdict::Allowed);
    assert_eq!(with(&[("stage", "prod")]), Verdict::NotAllowed);
    assert_eq!(with(&[("stage", "dev"), ("extra", "x")]), Verdict::NotAllowed);
    assert_eq!(with(&[]), Verdict::NotAllowed);
    let deny = json!([
        { "Effect": "Allow", "Action": "*", "Resource": "*" },
        { "Effect": "Deny", "Action": "*", "Resource": "*",
          "Condition": { "ForAnyValue:StringEquals": { "aws:TagKeys": "protected" } } },
    ]);
    let untags = Circumstances { tag_keys: vec!["protected".to_owned()], ..about() };
    let untag = "iotwireless:UntagResource";
    assert_eq!(judge_about(deny.clone(), untag, DEVICE, &[], &untags), Verdict::Denied);
    assert_eq!(judge_about(deny, untag, DEVICE, &[], &about()), Verdict::Allowed);
}

#[test]
fn time_place_and_transport_decide() {
    let when = |condition: Value| {
        let statement =
            json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": condition });
        judge(statement, GET, DEVICE)
    };
    let good = [
        json!({ "IpAddress": { "aws:SourceIp": "192.0.2.0/24" } }),
        json!({ "NotIpAddress": { "aws:SourceIp": ["198.51.100.0/24", "192.0.2.8/32"] } }),
        json!({ "DateGreaterThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } }),
        json!({ "StringEquals": { "AWS:UserName": "ann" } }),
        json!({ "Null": { "aws:TagKeys": "true" } }),
        json!({ "StringEqualsIfExists": { "aws:RequestTag/x": "y" } }),
        json!({ "StringNotEquals": { "aws:RequestTag/x": "y" } }),
    ];
    for condition in good {
        assert_eq!(when(condition.clone()), Verdict::Allowed, "{condition}");
    }
    let bad = [
        json!({ "IpAddress": { "aws:SourceIp": "198.51.100.0/24" } }),
        json!({ "DateLessThan": { "aws:CurrentTime": "2026-01-01T00:00:00Z" } }),
        json!({ "StringEquals": { "aws:username": "bob" } }),
        json!({ "StringEquals": { "aws:username": "ann", "aws:RequestTag/x": "y" } }),
        json!({ "StringNotEquals": { "aws:username": ["bob", "ann"] } }),
    ];
    for condition in bad {
        assert_eq!(when(condition.clone()), Verdict::NotAllowed, "{condition}");
    }
}

#[test]
fn a_policy_variable_is_the_caller_s() {
    let own = json!({ "Effect": "Allow", "Action": "*",
        "Resource": "arn:aws:iotwireless:*:*:Destination/${aws:username}-*" });
    let arn = |name: &str| format!("arn:aws:iotwireless:us-east-1:123456789012:Destination/{name}");
    assert_eq!(judge(own.clone(), GET, &arn("ann-1")), Verdict::Allowed);
    assert_eq!(judge(own, GET, &arn("bob-1")), Verdict::NotAllowed);
}

/// A condition that can't be judged is no permission.
#[test]
fn what_can_t_be_judged_is_denied() {
    let allow = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    let soon = json!({ "Effect": "Allow", "Action": "*", "Resource": "*",
        "Condition": { "DateLessThan": { "aws:CurrentTime": "soon" } } });
    let document = policy(json!([allow, soon]));
    assert!(parse(&document).is_err(), "it is not attached");
    for document in [document, json!("what is this")] {
        let good = policy(allow.clone());
        let policies = Policies::of([&good, &document].into_iter());
        assert_eq!(policies.judge(GET, &of(DEVICE), &about()), Verdict::Denied, "and if it was");
    }
}

#[test]
fn a_policy_that_aws_would_not_take_is_refused() {
    let allow = json!({ "Effect": "Allow", "Action": "*", "Resource": "*" });
    assert!(parse(&policy(json!([allow]))).is_ok());
    assert!(parse(&json!({ "Statement": [allow] })).is_err(), "no version");
    assert!(parse(&json!({ "Version": "2008-10-17", "Statement": [allow] })).is_err());
    for statement in [
        json!([]),
        json!("Allow"),
        json!({ "Effect": "Maybe", "Action": "*", "Resource": "*" }),
        json!({ "Effect": "Allow", "Resource": "*" }),
        json!({ "Effect": "Allow", "Action": "*" }),
        json!({ "Effect": "Allow", "Action": "*", "NotAction": "x:Y", "Resource": "*" }),
        json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Principal": "*" }),
        json!({ "Effect": "Allow", "Action": "*", "Resource": "*", "Condition": { "Is": {} } }),
    ] {
        assert!(parse(&policy(statement.clone())).is_err(), "{statement}");
    }
    let sized = |characters: usize| {
        let resource = "r".repeat(characters);
        policy(json!([{ "Effect": "Allow", "Action": "*", "Resource": ["*", resource] }]))
    };
    let empty = sized(0).to_string().len();
    let says = |document: &Value| parse(document).err().unwrap_or_default();
    assert!(!says(&sized(POLICY_BYTES_MAX - empty)).contains("bytes"));
    assert!(says(&sized(POLICY_BYTES_MAX - empty + 1)).contains("bytes"));
}
