//! Do actions of rules reach their destinations by TLS, and only those that an authority of theirs
//! vouches for? OpenSSL's TLS in Python (an endpoint, moto's S3), Go's in nats-server.

#![forbid(unsafe_code)]

use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tidegate_tests::aws::Aws;
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::moto::Moto;
use tidegate_tests::pki::Pki;
use tidegate_tests::place::{Directory, free_port};
use tidegate_tests::process::Process;
use tidegate_tests::repository::cached;
use tidegate_tests::wait::eventually;

/// Prints the body of each POST: PORT CERTIFICATE KEY.
const ENDPOINT: &str = "
import http.server, ssl, sys
class Endpoint(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers['Content-Length']))
        print('posted', self.path, body.decode(), flush=True)
        self.send_response(200); self.send_header('Content-Length', '0'); self.end_headers()
server = http.server.ThreadingHTTPServer(('127.0.0.1', int(sys.argv[1])), Endpoint)
tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER); tls.load_cert_chain(*sys.argv[2:4])
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
";

/// One request to a NATS server that wants TLS and a login, its protocol by hand: PORT AUTHORITY
/// SUBJECT PAYLOAD. Prints the answer.
const NATS: &str = "
import json, socket, ssl, sys
port, authority, subject, payload = sys.argv[1:]
raw = socket.create_connection(('127.0.0.1', int(port)))
assert raw.recv(65536).startswith(b'INFO')
tls = ssl.create_default_context(cafile=authority).wrap_socket(raw, server_hostname='localhost')
stream = tls.makefile('rwb')
login = json.dumps(dict(verbose=False, user='us', **{'pass': 's3cret'}))
stream.write(f'CONNECT {login}\\r\\nSUB in 1\\r\\nPUB {subject} in {len(payload)}\\r\\n'.encode())
stream.write(payload.encode() + b'\\r\\n'); stream.flush()
for line in stream:
    assert not line.startswith(b'-ERR'), line
    if line.startswith(b'MSG'):
        print(stream.read(int(line.split()[-1])).decode()); break
";

/// Every destination behind a certificate of one authority.
struct Destinations {
    pki: Pki,
    directory: Directory,
    endpoint: (Process, u16),
    s3: Moto,
    nats: (Process, u16),
}

impl Destinations {
    fn start() -> Self {
        let (pki, directory) = (Pki::new(), Directory::new("destinations"));
        let pair = pki.certified("localhost");
        let (certificate, key) = (pair.certificate.as_path(), pair.key.as_path());
        let started = |name: &str, port: u16, command: &mut Command| {
            let process = Process::start(name, command);
            eventually(name, || TcpStream::connect(("127.0.0.1", port)).ok());
            (process, port)
        };
        let port = free_port();
        let mut command = python(ENDPOINT);
        command.arg(port.to_string()).args([certificate, key]);
        let endpoint = started("the endpoint", port, &mut command);
        let s3 = Moto::start_tls(certificate, key);
        let port = free_port();
        let config = format!(
            "listen: \"127.0.0.1:{port}\"\njetstream {{ store_dir: \"{}\" }}\n\
             authorization {{ user: us, password: s3cret }}\n\
             tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n",
            directory.path().join("jetstream").display(),
            certificate.display(),
            key.display()
        );
        let mut command = Command::new("/usr/sbin/nats-server");
        let nats = command.arg("-c").arg(directory.write("nats.conf", &config));
        let nats = started("nats-server", port, nats);
        Self { pki, directory, endpoint, s3, nats }
    }

    /// An edge whose rules may reach all of them, and who believes this authority.
    fn edge(&self, authority: &Path) -> Edge {
        let ca = authority.display();
        let controlplane = format!(
            "[publish]\ntimeout_ms = 30000\n[actions]\ntimeout_ms = 25000\n\
             attempt_timeout_ms = 10000\nattempts_max = 2\n\
             [[actions.http]]\norigin = \"https://localhost:{}\"\nca_file = \"{ca}\"\n\
             [[actions.s3]]\nbucket = \"readings\"\nurl = \"s3://readings\"\nca_file = \"{ca}\"\n\
             endpoint = \"https://localhost:{}\"\ncredentials_file = \"{}\"\n\
             [[actions.nats]]\nname = \"main\"\nurl = \"tls://localhost:{}\"\nca_file = \"{ca}\"\n\
             user = \"us\"\npassword_file = \"{}\"\n",
            self.endpoint.1,
            self.s3.port,
            self.secret("s3.key", "testing\ntesting\n").display(),
            self.nats.1,
            self.secret("nats.password", "s3cret").display(),
        );
        let coap = "response_timeout_ms = 60000".to_owned();
        let edge = Edge::with(&Options { controlplane, coap, ..Options::default() });
        let url = format!("https://localhost:{}/in", self.endpoint.1);
        for (name, action) in [
            ("http", json!({"http": {"url": url}})),
            ("s3", json!({"s3": {"bucketName": "readings", "key": "one", "roleArn": ROLE}})),
            ("nats", json!({"nats": {"server": "main", "subject": "up.7"}})),
        ] {
            let rule = json!({"awsIotSqlVersion": "2016-03-23", "actions": [action],
                "sql": "SELECT VALUE decode(PayloadData, 'base64')"});
            edge.api().succeed("POST", &format!("/rules/{name}"), &rule);
        }
        edge
    }

    fn secret(&self, name: &str, text: &str) -> PathBuf {
        let path = self.directory.write(name, text);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).expect("ours");
        path
    }

    fn nats(&self, subject: &str, payload: &str) -> String {
        let mut command = python(NATS);
        command.arg(self.nats.1.to_string()).arg(self.pki.authority()).args([subject, payload]);
        Process::run("a NATS client", &mut command).unwrap_or_else(|said| panic!("{said}"))
    }

    fn boto3(&self, edge: &Edge, program: &str) -> serde_json::Value {
        let head = format!(
            "s3 = boto3.client('s3', endpoint_url='https://localhost:{}', verify='{}',\n    \
             aws_access_key_id='testing', aws_secret_access_key='testing')\n",
            self.s3.port,
            self.pki.authority().display()
        );
        Aws::of(edge).boto3(&(head + program)).unwrap_or_else(|why| panic!("{why}"))
    }
}

const ROLE: &str = "arn:aws:iam::123456789012:role/any";

fn python(program: &str) -> Command {
    let mut command = Command::new(cached("venv/bin/python", "aws"));
    command.args(["-c", program]);
    command
}

/// A device whose uplinks go through the rule.
fn device(edge: &Edge, rule: &str) -> Device {
    let device: Provisioned = edge.provision(rule);
    let by_rule = json!({"ExpressionType": "RuleName", "Expression": rule});
    edge.api().succeed("PATCH", &format!("/destinations/{}", device.destination), &by_rule);
    Device::connect(edge.coap_port, &device, &["cid=0", "patience=90000"])
}

#[test]
fn a_message_goes_where_the_authority_vouches_for_the_destination() {
    let mut all = Destinations::start();
    let edge = all.edge(&all.pki.authority());
    all.boto3(&edge, "s3.create_bucket(Bucket='readings')\nprint('{}')");
    let stream = json!({"name": "UP", "subjects": ["up.>"]}).to_string();
    let made = all.nats("$JS.API.STREAM.CREATE.UP", &stream);
    assert!(made.contains("stream_create_response") && !made.contains("\"error\""), "{made}");

    for rule in ["http", "s3", "nats"] {
        let answer = device(&edge, rule).asks(&format!("con put boiler \"by {rule}\""));
        assert_eq!(answer.code, "2.04", "{rule}");
    }
    let posted = all.endpoint.0.next_line("a POST", |line| line.starts_with("posted "));
    assert_eq!(posted, "posted /in \"by http\"");
    let read = "s3.get_object(Bucket='readings', Key='one')['Body'].read().decode()";
    let object = all.boto3(&edge, &format!("print(json.dumps([{read}]))"));
    assert_eq!(object, json!(["\"by s3\""]));
    let kept = all.nats("$JS.API.STREAM.MSG.GET.UP", &json!({"seq": 1}).to_string());
    // "by nats" in base64, with its quotes.
    assert!(kept.contains("\"subject\":\"up.7\"") && kept.contains("ImJ5IG5hdHMi"), "{kept}");

    // The control: another authority does not vouch for them.
    let other = Pki::new();
    let edge = all.edge(&other.authority());
    for rule in ["http", "s3", "nats"] {
        assert_eq!(device(&edge, rule).asks("con put boiler \"none\"").code, "5.03", "{rule}");
    }
    assert!(!all.endpoint.0.said().contains("none"), "{}", all.endpoint.0.said());
}
