//! Is what we send what the RFCs say, in somebody else's eyes? tshark, given the pre-shared key,
//! decrypts the sessions of foreign devices with our edge and shows the CoAP inside.

#![forbid(unsafe_code)]

use std::process::Command;

use tidegate_tests::device::{Device, Library};
use tidegate_tests::fleet::Fleet;
use tidegate_tests::place::Directory;
use tidegate_tests::process::Process;
use tidegate_tests::suite::PSK;
use tidegate_tests::wiretap::Wiretap;

/// With and without a Connection ID, through every PSK suite, over a change of the port.
#[test]
fn tshark_reads_our_sessions() {
    let mut fleet = Fleet::default();
    let edge = fleet.edge();
    let devices = fleet.provision(&edge, 0);
    let key = hex::encode(devices.psk.key());
    let psk = format!("psk={}:{key}", devices.psk.identity);
    for suite in PSK {
        for cid in [None, Some("cid=5")] {
            let what = format!("{} {cid:?}", suite.name);
            let wiretap = Wiretap::towards(edge.coap_port);
            let named = format!("suite={}", suite.iana());
            let mut options = vec![psk.as_str(), &named];
            options.extend(cid);
            let device = Device::start(Library::MbedTls, "127.0.0.1", wiretap.port, &options);
            let mut device = device.unwrap_or_else(|said| panic!("{what}: {said}"));
            assert_eq!(device.asks("con put reading 21.5").code, "2.04", "{what}");
            let mut wanted = vec!["3 reading 21.5", "68"]; // 0.03 PUT, 2.04
            if cid.is_some() {
                device.rebinds();
                assert_eq!(device.asks("con put reading 22.5").code, "2.04", "{what}");
                wanted.extend(["3 reading 22.5", "68"]);
            }
            device.closes();
            let (right, wrong) = (decode(&wiretap, &key), decode(&wiretap, &"00".repeat(16)));
            assert_eq!(right.messages, wanted, "{what}");
            assert_eq!(right.cid_records > 0, cid.is_some(), "{what}");
            assert_eq!(wrong.messages, [""; 0], "{what}: the control, with another key");
        }
    }
}

/// What tshark makes of a capture.
struct Decoded {
    /// `CODE PATH PAYLOAD`, the code as a number.
    messages: Vec<String>,
    /// Records of content type 25, tls12_cid (RFC 9146 section 4).
    cid_records: usize,
}

fn decode(wiretap: &Wiretap, key: &str) -> Decoded {
    let place = Directory::new("capture");
    let capture = place.path().join("session.pcap");
    wiretap.write_capture(&capture);
    let tshark = |filter: &str, fields: &[&str]| {
        let mut command = Command::new("tshark");
        command.arg("-r").arg(&capture).args(["-o", &format!("dtls.psk:{key}"), "-Y", filter]);
        command.args(["-T", "fields", "-E", "separator=|"]);
        for field in fields {
            command.args(["-e", field]);
        }
        Process::run("tshark", &mut command).expect("tshark reads a capture")
    };
    let said = tshark("coap", &["coap.code", "coap.opt.uri_path", "text"]);
    Decoded {
        messages: said.lines().filter_map(message).collect(),
        cid_records: tshark("dtls.record.connection_id", &["frame.number"])
            .lines()
            .filter(|line| line.parse::<u32>().is_ok())
            .count(),
    }
}

/// `3|reading|Timestamps,21.5`: what tshark calls text begins with its own headings.
fn message(line: &str) -> Option<String> {
    let (code, rest) = line.split_once('|')?;
    let (path, texts) = rest.split_once('|')?;
    let text = texts.rsplit(',').next().filter(|text| *text != "Timestamps").unwrap_or_default();
    Some(format!("{code} {path} {text}").trim_end().to_owned())
}
