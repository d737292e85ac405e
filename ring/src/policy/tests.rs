//! Does a policy allow what it says, and nothing else?
#![allow(clippy::unwrap_used)]

use super::*;

const GET: u8 = 1;
const PUT: u8 = 3;
const DEVICE_ID: DeviceId = [0xab; 16];

fn policy(statements: &[(Effect, u8, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (effect, methods, pattern) in statements {
        write_statement(&mut bytes, *effect, *methods, pattern.as_bytes());
    }
    bytes
}

fn sheet(own: &[(Effect, u8, &str)], profile: &[(Effect, u8, &str)]) -> (Sheet, Class) {
    let mut bytes = Vec::new();
    assert!(write(&mut bytes, &Item::Policy(&policy(own))));
    assert!(write(&mut bytes, &Item::Policy(&policy(profile))));
    let number = |statements: &[_], number| if statements.is_empty() { 0 } else { number };
    let (own, profile) = (number(own, 1), number(profile, 2));
    let class = Class { own, profile, ..Class::default() };
    assert!(write(&mut bytes, &Item::Class(7, class)));
    let sheet = Sheet::parse(&bytes).unwrap();
    assert_eq!(sheet.class(7), Some(class));
    (sheet, class)
}

fn allows((sheet, class): &(Sheet, Class), method: u8, path: &[&str]) -> bool {
    sheet.allows(class, &DEVICE_ID, method, path.iter().map(|segment| segment.as_bytes()))
}

#[test]
fn without_a_policy_everything_is_allowed() {
    assert!(allows(&sheet(&[], &[]), PUT, &["any"]));
    let silent = Sheet::default();
    assert_eq!((silent.class(0), silent.class(1)), (Some(Class::default()), None));
}

#[test]
fn what_no_statement_allows_is_denied() {
    let put = sheet(&[(Effect::Allow, method_bit(PUT), "sensors/*")], &[]);
    assert!(allows(&put, PUT, &["sensors", "1"]));
    assert!(allows(&put, PUT, &["sensors", "1", "raw"]), "a star goes on behind a slash");
    assert!(!allows(&put, GET, &["sensors", "1"]), "another method");
    for other in [&["sensors"][..], &["sensor", "1"], &["a", "sensors", "1"], &[]] {
        assert!(!allows(&put, PUT, other), "{other:?}");
    }
}

#[test]
fn a_denial_wins_wherever_it_stands() {
    let (allow, deny) = ((Effect::Allow, METHODS_ALL, "*"), (Effect::Deny, METHODS_ALL, "adm*"));
    let orders: [(&[_], &[_]); 5] = [
        (&[allow, deny], &[]),
        (&[deny, allow], &[]),
        (&[allow], &[deny]),
        (&[deny], &[allow]),
        (&[], &[deny, allow]),
    ];
    for (own, profile) in orders {
        let both = sheet(own, profile);
        assert!(!allows(&both, GET, &["admin"]) && allows(&both, GET, &["data"]));
    }
    assert!(!allows(&sheet(&[deny], &[]), GET, &["data"]), "nothing allows it");
}

#[test]
fn a_slash_within_a_segment_is_no_slash() {
    let put = sheet(&[(Effect::Allow, METHODS_ALL, "a/b")], &[]);
    assert!(allows(&put, PUT, &["a", "b"]) && !allows(&put, PUT, &["a/b"]));
    let encoded = sheet(&[(Effect::Allow, METHODS_ALL, "a%2Fb%2A%C3%A9%20")], &[]);
    assert!(allows(&encoded, PUT, &["a/b*é "]));
    assert_eq!(Path::of([&b"a/b"[..], b"", b"\x01"].into_iter()).as_bytes(), b"a%2Fb//%01");
}

#[test]
fn a_pattern_may_name_the_device() {
    let own = format!("devices/{}/*", '\u{1}');
    let own = sheet(&[(Effect::Allow, METHODS_ALL, &own)], &[]);
    assert!(allows(&own, PUT, &["devices", "abababab-abab-abab-abab-abababababab", "t"]));
    assert!(!allows(&own, PUT, &["devices", "abababab-abab-abab-abab-abababababac", "t"]));
    assert!(!allows(&own, PUT, &["devices", "\u{1}", "t"]));
}

#[test]
fn stars_match_as_anyone_would_expect() {
    let cases = [
        ("", "", true),
        ("", "a", false),
        ("*", "", true),
        ("a*c", "abbbc", true),
        ("a*c", "abbbcd", false),
        ("a*b*c", "a1b2b3c", true),
        ("a*b*c", "a1c2b", false),
        ("?", "a", true),
        ("?", "", false),
        ("a?c*", "abc", true),
        ("*aab", "aaaaab", true),
        ("**", "x", true),
    ];
    for (pattern, text, expected) in cases {
        assert_eq!(matches(pattern.as_bytes(), text.as_bytes()), expected, "{pattern} {text}");
    }
}

#[test]
fn a_path_is_judged_up_to_its_bound() {
    let any = sheet(&[(Effect::Allow, METHODS_ALL, "*")], &[]);
    let longest = "x".repeat(PATH_BYTES_MAX);
    assert!(allows(&any, PUT, &[&longest]));
    assert!(!allows(&any, PUT, &[&longest, ""]));
    // What does not fit is not taken for what does.
    assert!(!allows(&any, PUT, &[&longest[1..], "y"]));
    assert!(!allows(&any, PUT, &[&longest[2..], "\u{e9}", "a"]));
}

#[test]
fn bounds_of_policies_hold_on_both_sides() {
    let pattern = |len: usize| policy(&[(Effect::Allow, 1, &"p".repeat(len))]);
    assert!(is_policy(&pattern(PATTERN_BYTES_MAX)) && !is_policy(&pattern(PATTERN_BYTES_MAX + 1)));
    let devices = |count: usize| policy(&[(Effect::Allow, 1, &"\u{1}".repeat(count))]);
    assert!(is_policy(&devices(DEVICES_PER_PATTERN_MAX)));
    assert!(!is_policy(&devices(DEVICES_PER_PATTERN_MAX + 1)));
    let mut longest = vec![0; POLICY_BYTES_MAX - POLICY_BYTES_MAX % 3];
    longest.extend(policy(&[(Effect::Allow, 1, "")]).iter().take(POLICY_BYTES_MAX % 3));
    assert!(!is_policy(&longest), "the last statement is cut off");
    assert!(is_policy(&vec![0; POLICY_BYTES_MAX / 3 * 3]));
    assert!(!is_policy(&vec![0; POLICY_BYTES_MAX / 3 * 3 + 3]));
}

#[test]
fn no_part_of_a_sheet_but_whole_items_is_one() {
    let rate = Rate { interval_us: 1_000, burst: 9 };
    let class =
        Class { own: 1, profile: 0, account: 1, device: rate, body_bytes: 70_000, fresh_s: 90 };
    let statements = policy(&[(Effect::Deny, METHODS_ALL, "a")]);
    let items = [Item::Policy(&statements), Item::Account(rate), Item::Class(16, class)];
    let (mut bytes, mut ends) = (Vec::new(), vec![0]);
    for item in items {
        assert!(write(&mut bytes, &item));
        ends.push(bytes.len());
    }
    for cut in 0..bytes.len() {
        assert_eq!(Sheet::parse(&bytes[..cut]).is_some(), ends.contains(&cut), "{cut}");
    }
    let whole = Sheet::parse(&bytes).unwrap();
    assert_eq!((whole.account(1), whole.account(2), whole.account(0)), (Some(rate), None, None));
    assert_eq!((whole.class(16), whole.class(15)), (Some(class), None));
    assert!(Sheet::parse(&[9, 0, 0, 0, 0]).is_none(), "an unknown kind");
    write(&mut bytes, &Item::Class(16, class));
    assert!(Sheet::parse(&bytes).is_none(), "a class twice");
}

#[test]
fn a_class_names_only_what_stands_before_it() {
    let with = |class: Class, number: u16| {
        let mut bytes = Vec::new();
        write(&mut bytes, &Item::Policy(&[]));
        write(&mut bytes, &Item::Account(Rate::default()));
        write(&mut bytes, &Item::Class(number, class));
        Sheet::parse(&bytes).is_some()
    };
    let class = Class { own: 1, profile: 1, account: 1, ..Class::default() };
    assert!(with(class, 0) && with(class, CLASSES_MAX as u16 - 1));
    assert!(!with(class, CLASSES_MAX as u16));
    assert!(!with(Class { own: 2, ..class }, 0) && !with(Class { profile: 2, ..class }, 0));
    assert!(!with(Class { account: 2, ..class }, 0));
}

#[test]
fn a_sheet_is_full_at_its_bound() {
    let mut sheet = vec![0; POLICIES_BYTES_MAX - 5 - RATE_BYTES];
    assert!(!write(&mut sheet, &Item::Policy(&[0; RATE_BYTES + 1])));
    assert!(write(&mut sheet, &Item::Account(Rate::default())));
    assert_eq!(sheet.len(), POLICIES_BYTES_MAX);
    assert!(!write(&mut sheet, &Item::Policy(&[])));
}
