//! Do AWS's own clients work? `aws` and boto3 with the overlay: device, destination, downlink,
//! queue, error shapes.

#![forbid(unsafe_code)]

use serde_json::json;
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
    let created = run(&[
        "create-destination",
        "--name",
        "plant",
        "--expression-type",
        "MqttTopic",
        "--expression",
        "plant/uplinks",
        "--role-arn",
        ROLE,
    ]);
    assert!(text(&created, "Arn").ends_with(":Destination/plant"), "{created}");

    let mut pump = Provisioned {
        id: String::new(),
        identity: "pump-7-of-plant-3-in-the-north-0001".to_owned(),
        secret: "0123456789abcdef0123456789abcdef".to_owned(),
        destination: "plant".to_owned(),
        topic: "plant/uplinks".to_owned(),
    };
    let cellular = json!({"Imei": "490154203237518", "DtlsV1_2": {
        "PreSharedKeyIdentity": pump.identity, "PreSharedKeySecret": pump.secret,
    }});
    let created = run(&[
        "create-wireless-device",
        "--type",
        "CoAP",
        "--name",
        "pump 7",
        "--destination-name",
        "plant",
        "--cellular",
        &cellular.to_string(),
    ]);
    pump.id = text(&created, "Id");
    let read = run(&[
        "get-wireless-device",
        "--identifier-type",
        "WirelessDeviceId",
        "--identifier",
        &pump.id,
    ]);
    assert_eq!(read["Name"], "pump 7");
    assert_eq!(read["Cellular"]["Imei"], "490154203237518");
    assert_eq!(read["Cellular"]["DtlsV1_2"]["PreSharedKeyIdentity"], pump.identity);
    assert!(!read.to_string().contains(&pump.secret), "a secret never comes back: {read}");

    let metadata = json!({"MessageType": "CONFIRMABLE", "RequestMethod": "POST",
        "UriPaths": ["valve"], "QueueMode": 1});
    let sent = run(&[
        "send-data-to-wireless-device",
        "--id",
        &pump.id,
        "--transmit-mode",
        "1",
        "--payload-data",
        "b3Blbg==",
        "--co-ap",
        &metadata.to_string(),
    ]);
    let message = text(&sent, "MessageId");
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
    let reply = api.call("GET", "/destinations", &serde_json::Value::Null);
    assert_eq!(reply.status, 403, "{reply:?}");
    let kind = reply.headers.iter().find(|(name, _)| name == "x-amzn-errortype");
    assert!(kind.is_some() && reply.body.get("Message").is_some(), "{reply:?}");
}
