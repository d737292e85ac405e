//! Does a firmware reach its device without being held whole anywhere? Messages refer to a payload
//! in a bucket, or to an upload; foreign CoAP stacks take it block by block over DTLS.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tidegate_tests::api::{Api, coap, payload, text};
use tidegate_tests::aws::Aws;
use tidegate_tests::coap_client::{CoapClient, Flavour, Request};
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::long_bodies::{Listening, aiocoap, small_credential, text_of};
use tidegate_tests::moto::Moto;
use tidegate_tests::place::{Directory, free_port};
use tidegate_tests::process::Process;
use tidegate_tests::wiretap::Wiretap;

/// What is read ahead of a device, bytes.
const READ_BYTES: u64 = 64 << 10;
/// Longest part of an upload, bytes.
const PART_BYTES: usize = 256 << 10;
/// A transfer of ten thousand round trips on a busy machine.
const PATIENCE: Duration = Duration::from_mins(20);

/// 16 MiB, uploaded part by part and put to libcoap's server; blocks of it are read back from there
/// and compared. The control plane never has more of it at hand than one read.
#[test]
fn coap_server_takes_16_mib_that_were_uploaded() {
    let metrics = free_port();
    let controlplane = format!("[metrics]\nlisten = \"127.0.0.1:{metrics}\"\n");
    // libcoap's server takes a copy of the last block for the first of another body: no copies.
    let coap = "ack_timeout_ms = 60000".to_owned();
    let edge = Edge::with(&Options { controlplane, coap, ..Options::default() });
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    let body = text_of("firmware", 16 << 20);
    let reference = uploads(&api, body.as_bytes());
    let listening = Listening::start(&edge, "whole", &[]);
    let message = puts(&api, &listening.device, &reference);
    let end = ends(&api, &listening.device, &message);
    assert_eq!(end["Status"], "RESPONDED", "{end}");
    let uplink = uplinks.next_event().data;
    let told = &uplink["WirelessMetadata"]["CoAP"];
    assert_eq!(text(told, "MessageId"), message);
    assert!(text(told, "ResponseStatus").contains("2.0"), "{uplink}");
    assert_eq!(gauge(metrics, "tidegate_bodies_held_bytes_max"), READ_BYTES);
    assert_eq!(gauge(metrics, "tidegate_bodies_held_bytes"), 0, "none of what has ended");

    // Three blocks of it: libcoap's server takes a response for stale after a minute, and to read
    // all of it may take longer.
    let place = Directory::new("firmware");
    for number in [1, 8_191, 16_383] {
        let file = place.path().join(number.to_string());
        let mut command = Command::new("coap-client-openssl");
        command.args(["-B", "60", "-u", "reader", "-k", &format!("{:-<16}", "whole"), "-o"]);
        command.arg(&file).args(["-b", &format!("{number},1024")]);
        command.arg(format!("coaps://127.0.0.1:{}/fw", listening.port));
        let said = Process::run("coap-client-openssl", &mut command).unwrap_or_else(|said| said);
        let read = fs::read(&file).unwrap_or_else(|why| panic!("{why}: {said}"));
        let is_it = read.len() >= 1_024 && body.as_bytes()[number * 1_024..].starts_with(&read);
        assert!(is_it, "block {number}: {} bytes", read.len());
    }
}

/// 1 MiB from a bucket, which is moto's S3, over a link that loses what the device sends; what the
/// device has then is what lies there. An object that is not there is refused; one that changes, or
/// goes, ends its message and says so.
#[test]
fn coap_server_takes_an_object_over_a_lossy_link() {
    let (moto, place) = (Moto::start(), Directory::new("bucket"));
    let endpoint = format!("http://127.0.0.1:{}", moto.port);
    let controlplane = format!(
        "[[payloads.s3]]\nbucket = \"firmware\"\nurl = \"s3://firmware\"\n\
         endpoint = \"{endpoint}\"\ncredentials_file = \"{}\"\n",
        key_file(&place).display()
    );
    let patient = patient() + "\nupload_bytes = 1048576";
    let options = Options { controlplane, coap: patient, ..Options::default() };
    let edge = Edge::with(&options);
    let body = text_of("object", 1 << 20);
    let bucket = Bucket { aws: Aws::of(&edge), endpoint };
    let file = place.write("object", &body);
    bucket.does("s3.create_bucket(Bucket='firmware')");
    bucket.does(&format!("s3.upload_file('{}', 'firmware', 'v2.bin')", file.display()));
    let api = edge.api();
    let mut uplinks = api.events("/uplinks?from=0");
    // Some on the way, but not the last: libcoap's server takes a copy of the last block for the
    // first of another body.
    let lost: Vec<String> = (60..900).step_by(120).map(|number| number.to_string()).collect();
    let listening = Listening::start(&edge, "lossy", &["-l", &lost.join(",")]);
    let message = puts(&api, &listening.device, "s3://firmware/v2.bin");
    let end = ends(&api, &listening.device, &message);
    assert_eq!(end["Status"], "RESPONDED", "{end}");
    assert_eq!(text(coap(&uplinks.next_event().data), "MessageId"), message);
    let get = json!({"RequestMethod": "GET", "UriPaths": ["fw"]});
    let message = api.send_data(&listening.device.id, &get, "");
    assert_eq!(ends(&api, &listening.device, &message)["Status"], "RESPONDED");
    let uplink = uplinks.next_event().data;
    assert!(payload(&uplink) == body, "{} bytes", payload(&uplink).len());

    let device = edge.provision("sleeper");
    let data = format!("/wireless-devices/{}/data", device.id);
    let none = json!({"CoAP": {"RequestMethod": "PUT",
        "PayloadReference": "s3://firmware/none"}});
    assert_eq!(api.call("POST", &data, &none).status, 400);
}

/// An object that changes after its message was accepted, or goes, fails the message before the
/// device has anything of it. The bucket is a directory.
#[test]
fn an_object_that_changed_or_went_fails_its_message() {
    let place = Directory::new("bucket");
    let controlplane = format!(
        "[[payloads.s3]]\nbucket = \"firmware\"\nurl = \"file://{}\"\n",
        place.path().display()
    );
    let edge = Edge::with(&Options { controlplane, ..Options::default() });
    let api = edge.api();
    for (name, reason) in [("changed", "PAYLOAD_CHANGED"), ("gone", "PAYLOAD_GONE")] {
        let file = place.write(name, "the first version");
        let device = edge.provision(name);
        let coap = json!({"RequestMethod": "PUT", "QueueMode": 1,
            "PayloadReference": format!("s3://firmware/{name}")});
        let data = format!("/wireless-devices/{}/data", device.id);
        let message = text(&api.succeed("POST", &data, &json!({"CoAP": coap})), "MessageId");
        if name == "gone" {
            fs::remove_file(&file).expect("it was there");
        } else {
            place.write(name, "another one");
        }
        let put = Request { method: "put", confirmable: true, uri: "/awake", payload: "1" };
        let client = CoapClient::start(Flavour::OpenSsl, edge.coap_port, &device, &put);
        let end = edge.final_state(&device, &message);
        assert_eq!((&end["Status"], &end["Reason"]), (&json!("FAILED"), &json!(reason)), "{end}");
        drop(client);
    }
}

/// A device downloads its firmware: aiocoap asks for it and reads the answer, which refers to an
/// upload, block by block over a link that loses datagrams either way.
#[test]
fn aiocoap_downloads_a_firmware_over_a_lossy_link() {
    let edge = Edge::embedded();
    let api = edge.api();
    let place = Directory::new("downloads");
    let mut uplinks = api.events("/uplinks?from=0");
    for (name, bytes, every) in [("short", 64 << 10, 13), ("long", 1 << 20, 151)] {
        let device = small_credential(&edge, name);
        let body = text_of(name, bytes);
        let reference = uploads(&api, body.as_bytes());
        let link = Wiretap::losing(edge.coap_port, every);
        let mut command = aiocoap(link.port, &device, &place);
        command.arg(format!("coaps://127.0.0.1:{}/firmware", link.port));
        let mut client = Process::start("aiocoap-client", &mut command);
        let asked = uplinks.next_event().data;
        assert_eq!(coap(&asked)["RequestMethod"], "GET");
        let answer = json!({"CoAP": {
            "ResponseToken": text(coap(&asked), "ResponseToken"),
            "ResponseStatus": "CONTENT(2.05)",
            "PayloadReference": reference,
        }});
        let data = format!("/wireless-devices/{}/data", device.id);
        let message = text(&api.succeed("POST", &data, &answer), "MessageId");
        let end = ends(&api, &device, &message);
        // Its last block came with an ACK of ours, which nothing acknowledges.
        assert_eq!(end["Status"], "SENT", "{end}");
        client.wait();
        // What it prints has line ends of its own.
        let said = client.said();
        assert!(said.contains(body.trim_end()), "{} bytes of {}", said.len(), body.len());
        assert!(link.lost() >= 8, "only {} were lost", link.lost());
    }
}

/// The same when the firmware lies at the edge, where no application is asked: what the device
/// observes tells it of a new one.
#[test]
fn libcoap_downloads_what_lies_at_the_edge_over_a_lossy_link() {
    let edge = Edge::embedded();
    let api = edge.api();
    let device = small_credential(&edge, "asks");
    let place = Directory::new("resource");
    for (bytes, every) in [(64 << 10, 13), (1 << 20, 151)] {
        let body = text_of("resource", bytes);
        let reference = uploads(&api, body.as_bytes());
        let resource = json!({"UriPaths": ["u", "main@2"], "PayloadReference": reference});
        api.succeed("PUT", &format!("/wireless-devices/{}/resources", device.id), &resource);
        let link = Wiretap::losing(edge.coap_port, every);
        let file = place.path().join("fetched");
        let mut command = Command::new("coap-client-openssl");
        command.args(["-B", "300", "-u", &device.identity, "-k", &format!("{:-<16}", "asks")]);
        command.arg("-o").arg(&file).arg(format!("coaps://127.0.0.1:{}/u/main@2", link.port));
        let said = Process::run("coap-client-openssl", &mut command).unwrap_or_else(|said| said);
        let read = fs::read(&file).unwrap_or_else(|why| panic!("{why}: {said}"));
        assert!(read == body.as_bytes(), "{} bytes of {bytes}: {said}", read.len());
        assert!(link.lost() >= 8, "only {} were lost", link.lost());
    }
}

/// ACKs are waited for shortly, and often.
fn patient() -> String {
    "ack_timeout_ms = 1000\nmax_retransmit = 8".to_owned()
}

/// Puts what the reference names to the device's `/fw`; the message's id.
fn puts(api: &Api, device: &Provisioned, reference: &str) -> String {
    let data = format!("/wireless-devices/{}/data", device.id);
    let put = json!({"TransmitMode": 1, "CoAP": {"RequestMethod": "PUT", "UriPaths": ["fw"],
        "PayloadReference": reference}});
    text(&api.succeed("POST", &data, &put), "MessageId")
}

/// What becomes of a message, however long it takes.
fn ends(api: &Api, device: &Provisioned, message: &str) -> Value {
    let target = format!("/wireless-devices/{}/data/{message}", device.id);
    let give_up = Instant::now() + PATIENCE;
    loop {
        let status = api.succeed("GET", &target, &Value::Null);
        if !status["EndedAt"].is_null() {
            return status;
        }
        assert!(Instant::now() < give_up, "{status}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// Uploads a payload, part by part; what a message calls it.
fn uploads(api: &Api, body: &[u8]) -> String {
    let made = api.succeed("POST", "/payloads", &json!({"Bytes": body.len()}));
    let target = format!("/payloads/{}", text(&made, "Id"));
    for (part, number) in body.chunks(PART_BYTES).zip(0..) {
        let part = json!({"Offset": number * PART_BYTES, "PayloadData": STANDARD.encode(part)});
        api.succeed("PUT", &target, &part);
    }
    text(&made, "PayloadReference")
}

/// moto's S3, by boto3.
struct Bucket {
    aws: Aws,
    endpoint: String,
}

impl Bucket {
    fn does(&self, what: &str) {
        let script = format!(
            "s3 = boto3.client('s3', endpoint_url='{}', aws_access_key_id='testing', \
             aws_secret_access_key='testing')\n{what}\nprint('{{}}')",
            self.endpoint
        );
        self.aws.boto3(&script).unwrap_or_else(|why| panic!("{why}"));
    }
}

fn key_file(place: &Directory) -> std::path::PathBuf {
    let key = place.write("s3.key", "testing\ntesting\n");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).expect("ours");
    key
}

fn gauge(port: u16, name: &str) -> u64 {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("the port is open");
    stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sent");
    let mut page = String::new();
    stream.read_to_string(&mut page).expect("text");
    let value = page.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    value.unwrap_or_else(|| panic!("no {name}: {page}")).parse().expect("a number")
}
