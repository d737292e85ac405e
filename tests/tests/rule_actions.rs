//! Do actions of rules work from end to end? boto3 makes the rule, a device sends, and the message
//! is at an HTTP endpoint, in a bucket of a foreign S3 (moto) and in a file, before the 2.04.

#![forbid(unsafe_code)]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tidegate_tests::aws::Aws;
use tidegate_tests::coap_client::Flavour::OpenSsl;
use tidegate_tests::coap_client::{CoapClient, Request};
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Options, Provisioned};
use tidegate_tests::moto::Moto;
use tidegate_tests::place::Directory;

const SHAPES: &str = include_str!("../foreign/python/output_shapes.py");

/// An endpoint that answers what it is told to.
struct Endpoint {
    port: u16,
    status: Arc<AtomicU16>,
    asked: Arc<AtomicUsize>,
    bodies: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let endpoint = Self {
            port: listener.local_addr().expect("bound").port(),
            status: Arc::new(AtomicU16::new(200)),
            asked: Arc::default(),
            bodies: Arc::default(),
        };
        let (status, asked) = (endpoint.status.clone(), endpoint.asked.clone());
        let bodies = endpoint.bodies.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                asked.fetch_add(1, Ordering::SeqCst);
                answer(stream, status.load(Ordering::SeqCst), &bodies);
            }
        });
        endpoint
    }

    fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    fn got(&self) -> Vec<String> {
        self.bodies.lock().expect("no panic").clone()
    }
}

fn answer(stream: TcpStream, status: u16, bodies: &Mutex<Vec<String>>) {
    let mut reader = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while reader.read_line(&mut line).is_ok_and(|read| read > 2) {
        let lower = line.to_lowercase();
        if let Some(value) = lower.strip_prefix("content-length: ") {
            length = value.trim().parse().expect("a length");
        }
        line.clear();
    }
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    if status < 300 {
        bodies.lock().expect("no panic").push(String::from_utf8_lossy(&body).into_owned());
    }
    let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let _ = reader.get_mut().write_all(head.as_bytes());
}

/// A foreign S3, an endpoint, a directory, and an edge whose rules may reach them.
struct Scene {
    edge: Edge,
    endpoint: Endpoint,
    directory: Directory,
    s3: Moto,
}

impl Scene {
    fn new() -> Self {
        let (endpoint, directory, s3) =
            (Endpoint::start(), Directory::new("actions"), Moto::start());
        let s3_port = s3.port;
        let credentials = directory.write("s3.key", "testing\ntesting\n");
        fs::set_permissions(&credentials, fs::Permissions::from_mode(0o600)).expect("ours");
        let root = directory.path().join("root");
        fs::create_dir(&root).expect("a new directory");
        let controlplane = format!(
            "[publish]\ntimeout_ms = 3000\n[actions]\ntimeout_ms = 2000\n\
             attempt_timeout_ms = 1000\nattempts_max = 2\n\
             [[actions.http]]\norigin = \"http://127.0.0.1:{}\"\n\
             [[actions.s3]]\nbucket = \"readings\"\nurl = \"s3://readings\"\n\
             endpoint = \"http://127.0.0.1:{s3_port}\"\ncredentials_file = \"{}\"\n\
             [actions.file]\nroot = \"{}\"\n",
            endpoint.port,
            credentials.display(),
            root.display()
        );
        let edge = Edge::with(&Options { controlplane, ..Options::default() });
        Self { edge, endpoint, directory, s3 }
    }

    /// boto3 with `core`, `s3` of the foreign S3, and `url` of the endpoint.
    fn boto3(&self, program: &str) -> Value {
        let head = format!(
            "s3 = boto3.client('s3', endpoint_url='http://127.0.0.1:{}',\n    \
             aws_access_key_id='testing', aws_secret_access_key='testing')\n\
             url = 'http://127.0.0.1:{}'\n",
            self.s3.port, self.endpoint.port
        );
        let told = Aws::of(&self.edge).boto3(&format!("{SHAPES}{head}{program}"));
        told.unwrap_or_else(|why| panic!("{why}"))
    }

    /// A device whose uplinks go through the rule.
    fn device(&self, name: &str, rule: &str) -> Provisioned {
        let device = self.edge.provision(name);
        let by_rule = json!({"ExpressionType": "RuleName", "Expression": rule});
        let target = format!("/destinations/{}", device.destination);
        self.edge.api().succeed("PATCH", &target, &by_rule);
        device
    }
}

/// Actions of AWS in AWS's members, ours by the overlay; what is not allowed is refused.
const RULES: &str = r#"
s3.create_bucket(Bucket='readings')
role = 'arn:aws:iam::123456789012:role/any'
def rule(name, actions, **more):
    sql = "SELECT VALUE decode(PayloadData, 'base64')"
    payload = {'awsIotSqlVersion': '2016-03-23', 'sql': sql, 'actions': actions, **more}
    core.create_topic_rule(ruleName=name, topicRulePayload=payload)
http = {'url': url + '/in/${topic()}', 'confirmationUrl': url + '/in',
        'headers': [{'key': 'x-device', 'value': '${WirelessDeviceId}'}]}
bucket = {'bucketName': 'readings', 'key': '${topic()}/${traceid()}.json', 'roleArn': role}
actions = [{'http': http}, {'s3': bucket}, {'file': {'path': 'all/${topic()}.jsonl'}}]
rule('every', actions)
rule('guarded', [{'http': http}], errorAction={'file': {'path': 'errors.jsonl'}})
rule('bare', [{'http': http}])
got = core.get_topic_rule(ruleName='every')['rule']['actions']
assert got == actions, got
kafka = {'destinationArn': 'arn:aws:iot:us-east-1:1:ruledestination/vpc/main', 'topic': 'up',
         'clientProperties': {'acks': 'all'}}
print(json.dumps([refused(rule, name='other', actions=[action]) for action in (
    {'http': {**http, 'url': 'http://127.0.0.1:1/', 'confirmationUrl': 'http://127.0.0.1:1/'}},
    {'http': {**http, 'url': 'http://${topic()}/'}},
    {'http': {**http, 'confirmationUrl': url + '/other'}},
    {'http': {**http, 'headers': [{'key': 'Authorization', 'value': 'x'}]}},
    {'http': {**http, 'auth': {'sigv4': {'signingRegion': 'r', 'serviceName': 's', 'roleArn': role}}}},
    {'s3': {**bucket, 'bucketName': 'other'}},
    {'s3': {**bucket, 'cannedAcl': 'public-read'}},
    {'kafka': kafka},
    {'kafka': {**kafka, 'clientProperties': {'sasl.scram.password': 'x'}}},
    {'nats': {'server': 'main', 'subject': 'up'}},
    {'file': {'path': '../out'}},
    {'http': http, 's3': bucket},
)]))
"#;

#[test]
fn a_message_is_everywhere_before_its_device_hears_so() {
    let scene = Scene::new();
    let refused = scene.boto3(RULES);
    assert_eq!(refused, json!(vec!["InvalidRequestException"; 12]));
    let device = scene.device("everywhere", "every");
    let mut device = Device::connect(scene.edge.coap_port, &device, &["cid=0"]);
    for value in 1..=3 {
        assert_eq!(device.asks(&format!("con put boiler {{\"t\":{value}}}")).code, "2.04");
        assert_eq!(scene.endpoint.got().len(), value);
        let lines = fs::read_to_string(scene.directory.path().join("root/all/boiler.jsonl"));
        assert_eq!(lines.expect("the file").lines().count(), value);
    }
    assert_eq!(scene.endpoint.got(), ["{\"t\":1}", "{\"t\":2}", "{\"t\":3}"]);
    let objects = scene.boto3(
        "keys = [o['Key'] for o in s3.list_objects_v2(Bucket='readings')['Contents']]\n\
         read = lambda key: s3.get_object(Bucket='readings', Key=key)['Body'].read().decode()\n\
         print(json.dumps([sorted(map(read, keys)), [k.split('/')[0] for k in keys]]))",
    );
    let bodies = ["{\"t\":1}", "{\"t\":2}", "{\"t\":3}"];
    assert_eq!(objects, json!([bodies, vec!["boiler"; 3]]));
}

/// Two attempts, then the error action; without one 5.03 with Max-Age, and the next is taken again.
#[test]
fn what_an_endpoint_refuses_is_the_error_actions_or_a_503() {
    let scene = Scene::new();
    scene.boto3(RULES);
    scene.endpoint.answers(503);
    let guarded = scene.device("guarded", "guarded");
    let mut device = Device::connect(scene.edge.coap_port, &guarded, &["cid=0"]);
    assert_eq!(device.asks("con put boiler {\"t\":1}").code, "2.04");
    assert_eq!(scene.endpoint.asked.load(Ordering::SeqCst), 2);
    let text = fs::read_to_string(scene.directory.path().join("root/errors.jsonl"));
    let said: Value = serde_json::from_str(&text.expect("the file")).expect("one line");
    let resource = format!("http://127.0.0.1:{}/in/boiler", scene.endpoint.port);
    let message = "The endpoint answered 503 Service Unavailable (2 attempts).";
    let failure = json!([{"failedAction": "HttpAction", "failedResource": resource,
                          "errorMessage": message}]);
    assert_eq!((&said["failures"], &said["ruleName"]), (&failure, &json!("guarded")));
    assert_eq!((&said["clientId"], &said["topic"]), (&json!(guarded.id), &json!("boiler")));

    let bare = scene.device("bare", "bare");
    let mut device = Device::connect(scene.edge.coap_port, &bare, &["cid=0"]);
    assert_eq!(device.asks("con put boiler {\"t\":2}").code, "5.03");
    let other = scene.device("asks-when", "bare");
    let request = Request { method: "put", confirmable: true, uri: "/n", payload: "{}" };
    let response = CoapClient::start(OpenSsl, scene.edge.coap_port, &other, &request).response();
    assert!(response.code == "5.03" && response.options.contains("Max-Age:"), "{response:?}");
    scene.endpoint.answers(200);
    assert_eq!(device.asks("con put boiler {\"t\":3}").code, "2.04");
    assert_eq!(scene.endpoint.got(), ["{\"t\":3}"]);
}
