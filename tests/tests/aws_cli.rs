//! Do AWS's own clients work? `aws` and boto3 with the overlay: device, destination, downlink,
//! queue, security modes, authorities, error shapes.

#![forbid(unsafe_code)]

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::aws::Aws;
use tidegate_tests::device::Device;
use tidegate_tests::edge::{Edge, Provisioned};

const ROLE: &str = "arn:aws:iam::123456789012:role/tidegate";

#[test]
fn the_command_line_creates_a_device_and_sends_it_a_message() {
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let run = |arguments: &[&str]| aws.cli(arguments).unwrap_or_else(|e| panic!("{e}"));
    let pump = create_pump(&run);
    let by_id = ["--identifier-type", "WirelessDeviceId", "--identifier", &pump.id];
    let read = run(&[&["get-wireless-device"][..], &by_id].concat());
    assert_eq!(read["Name"], "pump 7");
    assert_eq!(read["Cellular"]["Imei"], "490154203237518");
    assert_eq!(read["Cellular"]["DtlsV1_2"]["PreSharedKeyIdentity"], pump.identity);
    assert!(!read.to_string().contains(&pump.secret), "a secret never comes back: {read}");

    let metadata = json!({"MessageType": "CONFIRMABLE", "RequestMethod": "POST",
        "UriPaths": ["valve"], "QueueMode": 1});
    let send = ["send-data-to-wireless-device", "--id", &pump.id, "--transmit-mode", "1"];
    let message = ["--payload-data", "b3Blbg==", "--co-ap", &metadata.to_string()];
    let message = text(&run(&[&send[..], &message].concat()), "MessageId");
    let queue = run(&["list-queued-messages", "--id", &pump.id]);
    assert_eq!(queue["DownlinkQueueMessagesList"][0]["MessageId"], message);

    let mut device = Device::connect(edge.coap_port, &pump, &["cid=0"]);
    assert_eq!(device.next_request(), "post CON valve open");
    assert_eq!(edge.final_state(&pump, &message)["Status"], "RESPONDED");
    drop(device);

    run(&["update-wireless-device", "--id", &pump.id, "--name", "pump 8"]);
    let list = run(&["list-wireless-devices"]);
    assert_eq!(list["WirelessDeviceList"][0]["Name"], "pump 8");
    run(&["delete-wireless-device", "--id", &pump.id]);
    run(&["delete-destination", "--name", "plant"]);
}

/// A device, and the destination of its uplinks.
fn create_pump(run: &dyn Fn(&[&str]) -> Value) -> Provisioned {
    let mut pump = Provisioned {
        id: String::new(),
        identity: "pump-7-of-plant-3-in-the-north-0001".to_owned(),
        secret: "0123456789abcdef0123456789abcdef".to_owned(),
        destination: "plant".to_owned(),
        topic: "plant/uplinks".to_owned(),
    };
    let create = ["create-destination", "--name", "plant", "--expression-type", "MqttTopic"];
    let created = run(&[&create[..], &["--expression", &pump.topic, "--role-arn", ROLE]].concat());
    assert!(text(&created, "Arn").ends_with(":Destination/plant"), "{created}");
    let cellular = json!({"Imei": "490154203237518", "DtlsV1_2": {
        "PreSharedKeyIdentity": pump.identity, "PreSharedKeySecret": pump.secret,
    }});
    let create = ["create-wireless-device", "--type", "CoAP", "--name", "pump 7"];
    let block = ["--destination-name", "plant", "--cellular", &cellular.to_string()];
    pump.id = text(&run(&[&create[..], &block].concat()), "Id");
    pump
}

#[test]
fn boto3_does_the_same_and_its_errors_have_their_classes() {
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let told = aws.boto3(&format!(
        "
client.create_destination(Name='d', ExpressionType='MqttTopic', Expression='t', RoleArn='{ROLE}')
device = client.create_wireless_device(
    Type='CoAP', DestinationName='d',
    WiFi=dict(MacAddress='00:1b:44:11:3a:b7', DtlsV1_2=dict(
        PreSharedKeyIdentity='i' * 32, PreSharedKeySecret='0x' + 'ab' * 16)))
sent = client.send_data_to_wireless_device(
    Id=device['Id'], TransmitMode=1, PayloadData='b24=',
    CoAP=dict(RequestMethod='PUT', UriPaths=['led'], QueueMode=1))
def refused(call):
    try:
        call()
    except client.exceptions.ClientError as e:
        return [type(e).__name__, e.response['Error']['Code'],
                e.response['ResponseMetadata']['HTTPStatusCode']]
def device_of(identity, secret):
    return client.create_wireless_device(Type='CoAP', DestinationName='d', Cellular=dict(
        DtlsV1_2=dict(PreSharedKeyIdentity=identity, PreSharedKeySecret=secret)))
print(json.dumps(dict(
    message=sent['MessageId'],
    missing=refused(lambda: client.get_destination(Name='none')),
    conflict=refused(lambda: client.create_destination(
        Name='d', ExpressionType='MqttTopic', Expression='other', RoleArn='{ROLE}')),
    in_use=refused(lambda: client.delete_destination(Name='d')),
    same_identity=refused(lambda: device_of('i' * 32, 's' * 32)),
    bad_type=refused(lambda: client.list_wireless_devices(WirelessDeviceType='Toaster')),
)))"
    ));
    let told = told.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(text(&told, "message").len(), 36, "a UUID");
    assert_eq!(
        told["missing"],
        json!(["ResourceNotFoundException", "ResourceNotFoundException", 404])
    );
    assert_eq!(told["conflict"], json!(["ConflictException", "ConflictException", 409]));
    assert_eq!(told["in_use"], json!(["ConflictException", "ConflictException", 409]));
    assert_eq!(told["same_identity"], json!(["ConflictException", "ConflictException", 409]));
    assert_eq!(told["bad_type"], json!(["ValidationException", "ValidationException", 400]));
}

#[test]
fn a_wrong_signature_is_refused() {
    let edge = Edge::embedded();
    let wrong = Aws::of(&edge).with_secret("not-the-secret");
    let error = wrong.cli(&["list-destinations"]).expect_err("the signature is wrong");
    assert!(error.contains("SignatureDoesNotMatch"), "{error}");

    let mut api = edge.api();
    api.credentials.access_key_id = "TGRKNOBODYKNOWSTHIS0".to_owned();
    let reply = api.call("GET", "/destinations", &Value::Null);
    assert_eq!(reply.status, 403, "{reply:?}");
    let kind = reply.headers.iter().find(|(name, _)| name == "x-amzn-errortype");
    assert!(kind.is_some() && reply.body.get("Message").is_some(), "{reply:?}");
}

/// A public key of P-256, made with `openssl ecparam -genkey | openssl pkey -pubout`.
const PUBLIC_KEY: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEBL1643P43eHQLNfS0qAF315MVglilzOGSY7\
    pWgamH7St01II9mglD/ujGqiN4vdOlaE1a+e4G6KT6fnWssvrHw==";

#[test]
fn the_command_line_provisions_every_security_mode() {
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let run = |arguments: &[&str]| aws.cli(arguments).unwrap_or_else(|e| panic!("{e}"));
    let destination = ["create-destination", "--name", "d", "--expression-type", "MqttTopic"];
    run(&[&destination[..], &["--expression", "t", "--role-arn", ROLE]].concat());
    let create = ["create-wireless-device", "--type", "CoAP", "--destination-name", "d"];
    let cellular = |id: &str| {
        let by_id = ["--identifier-type", "WirelessDeviceId", "--identifier", id];
        run(&[&["get-wireless-device"][..], &by_id].concat())["Cellular"].clone()
    };
    let leaf = "0f".repeat(32);
    for (block, shown) in [
        (
            format!("DtlsV1_2={{RawPublicKey={PUBLIC_KEY}}}"),
            json!({"DtlsV1_2": {"RawPublicKey": PUBLIC_KEY}, "SecurityModes": ["RawPublicKey"]}),
        ),
        (
            "DtlsV1_2={CertificateName=URI:urn:dev:imei:352753090123456}".to_owned(),
            json!({"DtlsV1_2": {"CertificateName": "URI:urn:dev:imei:352753090123456"},
                   "SecurityModes": ["Certificate"]}),
        ),
        (
            format!("DtlsV1_2={{CertificateFingerprint={leaf}}}"),
            json!({"DtlsV1_2": {"CertificateFingerprint": leaf}, "SecurityModes": ["Certificate"]}),
        ),
        (
            "NoSec={SourceAddress=192.0.2.7:5683}".to_owned(),
            json!({"NoSec": {"SourceAddress": "192.0.2.7:5683"}, "SecurityModes": ["NoSec"]}),
        ),
    ] {
        let created = run(&[&create[..], &["--cellular", &block]].concat());
        assert_eq!(cellular(&text(&created, "Id")), shown, "{block}");
    }

    // From a secret to a certificate, as deploy/aws/README.md has it.
    let block = "DtlsV1_2={PreSharedKeyIdentity=urn:dev:imei:352753090123456:0001,\
        PreSharedKeySecret=0x00112233445566778899aabbccddeeff},Endpoint=127.0.0.1:5684";
    let id = text(&run(&[&create[..], &["--cellular", block]].concat()), "Id");
    let update = |block: &str| {
        run(&["update-wireless-device", "--id", &id, "--cellular", block]);
        cellular(&id)
    };
    let shown = update("DtlsV1_2={CertificateName=CN=pump 7}");
    assert_eq!(shown["SecurityModes"], json!(["PreSharedKey", "Certificate"]));
    let shown = update(r#"{"SecurityModes": ["Certificate"], "Endpoint": ""}"#);
    assert_eq!(shown["SecurityModes"], json!(["Certificate"]));
    let shown = update(r#"{"SecurityModes": [], "DtlsV1_2": {"PreSharedKeyIdentity": ""}}"#);
    let expected = json!({"DtlsV1_2": {"CertificateName": "CN=pump 7"},
        "SecurityModes": ["Certificate"]});
    assert_eq!(shown, expected);

    let key = run(&["get-service-endpoint", "--service-type", "COAP"])["ServerPublicKey"].clone();
    let said = edge.controlplane_command("server-key").output().expect("it can be run");
    let said = String::from_utf8(said.stdout).expect("text");
    for member in ["SubjectPublicKeyInfo", "Sha256", "Pem"] {
        assert!(said.contains(text(&key, member).trim_end()), "{member} in {said}");
    }
}

#[test]
fn the_command_line_registers_an_authority() {
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let run = |arguments: &[&str]| aws.cli_of("iot", arguments).unwrap_or_else(|e| panic!("{e}"));
    let file = edge.directory().join("ca.pem");
    std::fs::write(&file, authority("root")).expect("a file");
    let file = format!("file://{}", file.display());
    let register = ["register-ca-certificate", "--certificate-mode", "SNI_ONLY", "--set-as-active"];
    let register = [&register[..], &["--ca-certificate", &file]].concat();
    let made = run(&register);
    let id = text(&made, "certificateId");
    assert!(text(&made, "certificateArn").ends_with(&format!(":cacert/{id}")), "{made}");

    let by_id =
        |operation, rest: &[&str]| run(&[&[operation, "--certificate-id", &id][..], rest].concat());
    let described = by_id("describe-ca-certificate", &[])["certificateDescription"].clone();
    assert_eq!(described["status"], "ACTIVE");
    assert_eq!(described["certificateMode"], "SNI_ONLY");
    // As the pinned command prints times: seconds.
    assert_eq!(described["validity"]["notAfter"], 4_733_510_400_u64, "{described}");
    assert_eq!(run(&["list-ca-certificates"])["certificates"][0]["certificateId"], id);

    let error = aws.cli_of("iot", &register).expect_err("it is there");
    assert!(error.contains("ResourceAlreadyExistsException"), "{error}");
    let delete = ["delete-ca-certificate", "--certificate-id", &id];
    let error = aws.cli_of("iot", &delete).expect_err("it is active");
    assert!(error.contains("CertificateStateException"), "{error}");
    by_id("update-ca-certificate", &["--new-status", "INACTIVE"]);
    run(&delete);
    assert_eq!(run(&["list-ca-certificates"])["certificates"], json!([]));
}

#[test]
fn boto3_provisions_every_security_mode_and_an_authority() {
    let edge = Edge::embedded();
    let told = Aws::of(&edge).boto3(&format!(
        "
client.create_destination(Name='d', ExpressionType='MqttTopic', Expression='t', RoleArn='{ROLE}')
ca = core.register_ca_certificate(
    caCertificate='''{root}''', certificateMode='SNI_ONLY', setAsActive=True)
core.register_ca_certificate(caCertificate='''{other}''', certificateMode='SNI_ONLY')
pages = core.get_paginator('list_ca_certificates').paginate(PaginationConfig=dict(PageSize=1))
def create(**block):
    return client.create_wireless_device(Type='CoAP', DestinationName='d', WiFi=block)['Id']
def read(id):
    return client.get_wireless_device(Identifier=id, IdentifierType='WirelessDeviceId')['WiFi']
def refused(call):
    try:
        call()
    except Exception as e:
        return type(e).__name__
dtls = lambda **members: dict(DtlsV1_2=members)
key = create(**dtls(RawPublicKey='{PUBLIC_KEY}'))
client.update_wireless_device(Id=key, WiFi=dtls(CertificateName='DNS:a.example'))
client.update_wireless_device(Id=key, WiFi=dtls(RawPublicKey=''))
print(json.dumps(dict(
    status=core.describe_ca_certificate(certificateId=ca['certificateId'])
        ['certificateDescription']['status'],
    pages=[len(page['certificates']) for page in pages],
    changed=read(key),
    psk=read(create(**dtls(PreSharedKeyIdentity='i' * 32, PreSharedKeySecret='s' * 32))),
    plain=read(create(NoSec=dict(SourceAddress='2001:db8::7'))),
    taken=refused(lambda: create(NoSec=dict(SourceAddress='2001:db8::7'))),
    bad_key=refused(lambda: create(**dtls(RawPublicKey='AAAA'))),
    no_ca=refused(lambda: core.register_ca_certificate(
        caCertificate='none', certificateMode='SNI_ONLY')),
    no_mode=refused(lambda: core.register_ca_certificate(caCertificate='none')),
)))",
        root = authority("root"),
        other = authority("other"),
    ));
    let told = told.unwrap_or_else(|e| panic!("{e}"));
    assert_eq!((&told["status"], &told["pages"]), (&json!("ACTIVE"), &json!([1, 1])));
    assert_eq!(
        told["changed"],
        json!({"DtlsV1_2": {"CertificateName": "DNS:a.example"}, "SecurityModes": ["Certificate"]})
    );
    assert_eq!(told["psk"]["SecurityModes"], json!(["PreSharedKey"]));
    assert_eq!(told["plain"]["NoSec"], json!({"SourceAddress": "2001:db8::7"}));
    assert_eq!(told["taken"], "ConflictException");
    assert_eq!(told["bad_key"], "ValidationException");
    assert_eq!(told["no_ca"], "CertificateValidationException");
    assert_eq!(told["no_mode"], "InvalidRequestException");
}

/// A new certificate authority, PEM.
fn authority(name: &str) -> String {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_after = rcgen::date_time_ymd(2120, 1, 1);
    let key = KeyPair::generate().expect("a key");
    params.self_signed(&key).expect("a certificate").pem()
}
