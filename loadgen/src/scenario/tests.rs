//! Does a scenario say what it seems to say? Each limit on both sides.

#![allow(clippy::unwrap_used)]

use super::*;

const HEAD: &str = r#"
[target]
server = "coaps://127.0.0.1"
[dtls]
psk_identity = "device-{n}"
psk = "hush-hush"
"#;

fn parse(tail: &str) -> Result<Scenario, String> {
    Scenario::parse(&format!("{HEAD}{tail}"), &[])
}

/// One phase with these keys, against a server of this scheme.
fn phase(scheme: &str, keys: &str) -> Result<Scenario, String> {
    let text =
        format!("[target]\nserver = '{scheme}://127.0.0.1:5'\n[[phase]]\nname = 'a'\n{keys}");
    let dtls = "\n[dtls]\npsk_identity = 'a'\npsk = 'b'";
    Scenario::parse(&format!("{text}{}", if scheme == "coaps" { dtls } else { "" }), &[])
}

const STEADY: &str = r#"
[[phase]]
name = "steady"
kind = "requests"
rate_per_s = 5000
duration_s = 10
[[phase.request]]
method = "PUT"
path = "/devices/{n}/t?unit={n}&b"
payload_bytes = [40, 60]
[[phase.request]]
method = "GET"
type = "NON"
weight = 3
[phase.thresholds]
p99_ms = 5
[thresholds]
p99_ms = 50
error_ratio = 0.001
"#;

#[test]
fn a_scenario_reads_as_it_is_written() {
    let scenario = parse(STEADY).unwrap();
    let phase = &scenario.phases[0];
    assert_eq!(phase.load(scenario.fleet.devices), Load::Open { rate_per_s: 5_000.0 });
    assert_eq!(phase.duration(), Some(std::time::Duration::from_secs(10)));
    let [put, get] = &phase.requests[..] else { panic!("two requests") };
    assert_eq!((put.method, put.message_type, put.weight), (Method::Put, Type::Con, 1));
    assert_eq!(put.payload_bytes.range(), [40, 60]);
    assert_eq!((get.method.code(), get.message_type, get.weight), (1, Type::Non, 3));
    assert_eq!(put.segments(7), ["devices", "7", "t"]);
    assert_eq!(put.query(7), ["unit=7", "b"]);
    assert!(get.segments(7).is_empty() && get.query(7).is_empty());

    let thresholds = scenario.thresholds_of(phase);
    assert_eq!(thresholds.p99_ms, Some(5.0), "the phase's own goes first");
    assert_eq!(thresholds.error_ratio, Some(0.001));
    assert_eq!(thresholds.completed_min, None);
}

#[test]
fn what_is_printed_can_be_read_again_but_for_the_key() {
    let scenario = parse(STEADY).unwrap();
    let printed = scenario.to_toml();
    assert!(!printed.contains("hush"), "{printed}");
    assert!(Scenario::parse(&printed, &[]).unwrap_err().contains("psk"));
    let again = Scenario::parse(&printed, &["dtls.psk=hush-hush".to_owned()]).unwrap();
    assert_eq!(again.to_toml(), printed);
}

#[test]
fn unknown_keys_are_errors_everywhere() {
    let steady = |from: &str, to: &str| parse(&STEADY.replacen(from, to, 1)).unwrap_err();
    assert!(steady("rate_per_s", "rate_per_m").contains("rate_per_m"));
    assert!(steady("method", "verb").contains("verb"));
    assert!(steady("p99_ms", "p98_ms").contains("p98_ms"));
    assert!(parse(&format!("{STEADY}\n[flete]\ndevices = 1")).unwrap_err().contains("flete"));
    assert!(parse(&format!("suite = []\n{STEADY}")).unwrap_err().contains("suite"));
}

#[test]
fn a_change_goes_before_what_the_file_says() {
    let with = |changes: &[&str]| {
        let changes: Vec<String> = changes.iter().map(|&text| text.to_owned()).collect();
        Scenario::parse(&format!("{HEAD}{STEADY}"), &changes)
    };
    let scenario = with(&[
        "target.server=coaps://192.0.2.1",
        "fleet.devices=7",
        "phase.0.rate_per_s=10.5",
        "phase.0.request.1.path=\"/a\"",
        "title=Nightly",
    ])
    .unwrap();
    assert_eq!(scenario.target.address().unwrap().host, "192.0.2.1");
    assert_eq!((scenario.fleet.devices, scenario.title.as_str()), (7, "Nightly"));
    assert_eq!(scenario.phases[0].load(7), Load::Open { rate_per_s: 10.5 });
    assert_eq!(scenario.phases[0].requests[1].path, "/a");
    for bad in ["fleet", "fleet.gadgets=1", "phase.1.name=b", "phase.first.name=b", "title.a=1"] {
        assert!(with(&[bad]).is_err(), "{bad}");
    }
}

#[test]
fn numbers_end_where_their_ranges_end() {
    let tail = |table: &str| parse(&format!("{table}\n{STEADY}"));
    assert!(tail("[fleet]\ndevices = 1000000").is_ok());
    assert!(tail("[fleet]\ndevices = 1000001").is_err() && tail("[fleet]\ndevices = 0").is_err());
    assert!(tail("[coap]\nack_timeout_ms = 100\nmax_retransmit = 10\nnstart = 64").is_ok());
    assert!(tail("[coap]\nack_timeout_ms = 99").is_err());
    assert!(tail("[coap]\nmax_retransmit = 11").is_err());
    assert!(tail("[coap]\nnstart = 65").is_err() && tail("[coap]\nnstart = 0").is_err());
    assert!(tail("[coap]\ntimeout_ms = 10").is_ok() && tail("[coap]\ntimeout_ms = 9").is_err());
    let threshold = |text: &str| parse(&format!("{STEADY}{text}"));
    assert!(threshold("own_cpu_ratio = 1.0").is_ok());
    assert!(threshold("own_cpu_ratio = 1.1").is_err() && threshold("max_ms = -1").is_err());
}

#[test]
fn a_source_is_an_address_or_a_block_of_them() {
    let sources = |source: &str| Fleet { source: source.to_owned(), ..Fleet::default() }.sources();
    assert_eq!(sources(""), Ok(None));
    let address = |text: &str| text.parse().unwrap();
    assert_eq!(sources("127.0.0.9"), Ok(Some((address("127.0.0.9"), 1))));
    assert_eq!(sources("127.0.0.0/8"), Ok(Some((address("127.0.0.0"), 1 << 24))));
    assert_eq!(sources("2001:db8::/120"), Ok(Some((address("2001:db8::"), 256))));
    for bad in ["127.0.0.0/33", "127.0.0.0/0", "localhost", "127.0.0.1/x"] {
        assert!(sources(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_phase_has_one_load_and_an_end() {
    let requests = |keys: &str| {
        phase("coaps", &format!("kind = 'requests'\n{keys}\n[[phase.request]]\npath = '/t'"))
    };
    assert!(requests("outstanding = 1\ncount = 1").is_ok());
    assert!(requests("outstanding = 1\ncount = 10\nduration_s = 0.1").is_ok());
    assert!(requests("outstanding = 1").unwrap_err().contains("duration_s"));
    assert!(requests("count = 1").unwrap_err().contains("outstanding"));
    assert!(requests("count = 1\noutstanding = 1\nrate_per_s = 1").is_err(), "both loops");
    assert!(requests("count = 1\noutstanding = 0").is_err());
    assert!(requests("count = 0\noutstanding = 1").is_err());
    assert!(requests("count = 1\nrate_per_s = 0").is_err());
    assert!(requests("duration_s = 0.09\nrate_per_s = 1").is_err());
    let twice = format!("{STEADY}{}", STEADY.split("[thresholds]").next().unwrap());
    assert!(parse(&twice).unwrap_err().contains("steady"), "two phases of one name");
    assert!(parse("").is_err(), "a run has a phase");
}

#[test]
fn a_key_of_another_kind_of_phase_is_an_error() {
    let request = "\n[[phase.request]]\npath = '/t'";
    let check = |kind: &str, keys: &str| phase("coaps", &format!("kind = '{kind}'\n{keys}"));
    assert!(check("connect", "rate_per_s = 100").is_ok());
    assert!(check("connect", "rate_per_s = 100\nduration_s = 1").is_err());
    assert!(check("connect", &format!("rate_per_s = 100{request}")).is_err());
    let storm = "outstanding = 64\ncount = 100";
    assert!(check("storm", &format!("{storm}\nresume_percent = 100\nleave_open = true")).is_ok());
    assert!(check("storm", &format!("{storm}\nresume_percent = 101")).is_err());
    assert!(check("storm", &format!("{storm}\nsuites = ['PSK_WITH_AES_256_CCM']")).is_ok());
    assert!(check("storm", &format!("{storm}\nsuites = ['NULL']")).is_err());
    assert!(check("connect", "rate_per_s = 100\nleave_open = true").is_err());
    assert!(check("connect", "rate_per_s = 100\nkeep_port = true").is_err());
    assert!(check("storm", &format!("{storm}\nrebind_every = 1")).is_err());
    let sleepy = "wake_every_s = 60\nduration_s = 60";
    assert!(check("sleepy", &format!("{sleepy}\nwake = 'resumed'{request}")).is_ok());
    assert!(check("sleepy", sleepy).is_err(), "it sends something");
    assert!(check("sleepy", &format!("{sleepy}\noutstanding = 1{request}")).is_err());
    let requests = format!("{storm}\nwake = 'full'{request}");
    assert!(check("requests", &requests).unwrap_err().contains("sleepy"));
    assert!(check("requests", &format!("{storm}\nwake_every_s = 60{request}")).is_err());

    assert!(phase("coap", &format!("kind = 'storm'\n{storm}")).is_err(), "no DTLS, no handshake");
    assert!(phase("coap", &format!("kind = 'requests'\n{storm}{request}")).is_ok());
    let with_cid = format!("kind = 'requests'\n{storm}\nconnection_id = true{request}");
    assert!(phase("coap", &with_cid).is_err());
}

#[test]
fn a_sleepy_fleet_is_an_open_loop() {
    let keys = "kind = 'sleepy'\nwake_every_s = 50\nduration_s = 1\n[[phase.request]]";
    let scenario = phase("coaps", keys).unwrap();
    assert_eq!(scenario.phases[0].load(1_000), Load::Open { rate_per_s: 20.0 });
}

#[test]
fn a_payload_fits_into_a_datagram_or_goes_in_blocks() {
    let with = |scheme: &str, keys: &str| {
        let keys =
            format!("kind = 'requests'\noutstanding = 1\ncount = 1\n[[phase.request]]\n{keys}");
        phase(scheme, &keys)
    };
    assert!(with("coaps", "payload_bytes = 1400").is_ok());
    assert!(with("coaps", "payload_bytes = 1401").is_err());
    assert!(with("coaps", "payload_bytes = 1048576\nblock_bytes = 1024").is_ok());
    assert!(with("coaps", "payload_bytes = 1048577\nblock_bytes = 1024").is_err());
    assert!(with("coaps", "block_bytes = 100").is_err(), "no block size of RFC 7959");
    assert!(with("coaps", "payload_bytes = [2, 1]").is_err());
    assert!(with("coaps", "weight = 0").is_err());
    assert!(with("udp", "payload_bytes = 1").is_ok());
    assert!(with("udp", "payload_bytes = 0").is_err());
    assert!(with("udp", "payload_bytes = 1\nblock_bytes = 16").is_err());
}
