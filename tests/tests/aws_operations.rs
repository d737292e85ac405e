//! Do AWS's own clients work with everything beside devices and messages? Profiles, tags, things,
//! log levels, events, metrics, by boto3 and `aws`; every answer as its model has it. Every
//! operation and every error shape: `aws_errors.rs`.

#![forbid(unsafe_code)]

use serde_json::{Value, json};
use tidegate_tests::api::text;
use tidegate_tests::aws::Aws;
use tidegate_tests::calls;
use tidegate_tests::edge::Edge;
use tidegate_tests::pki::Pki;

const ROLE: &str = "arn:aws:iam::123456789012:role/tidegate";

/// Whatever the service answers is what its model says, no more and no less.
const CHECKED: &str = "
import botocore.model
def members(shape, value, at):
    if shape.type_name == 'structure':
        assert isinstance(value, dict), at
        for name, of in value.items():
            if name != 'ResponseMetadata':
                assert name in shape.members, (at, name)
                members(shape.members[name], of, at + [name])
    elif shape.type_name == 'list':
        for of in value:
            members(shape.member, of, at)
    elif shape.enum if hasattr(shape, 'enum') else False:
        assert value in shape.enum, (at, value)
raw = {}
client.meta.events.register('before-parse.iot-wireless', lambda operation_model, response_dict,
    customized_response_dict, **k: raw.update(
        op=operation_model, body=response_dict['body'], status=response_dict['status_code']))
def call(name, **arguments):
    answer = getattr(client, name)(**arguments)
    op = raw['op']
    assert raw['status'] == op.http.get('responseCode', 200), (name, raw['status'])
    if raw['status'] == 204:
        assert raw['body'] == b'', name
    elif op.output_shape is not None:
        members(op.output_shape, json.loads(raw['body']), [name])
    return answer
def refused(name, **arguments):
    try:
        getattr(client, name)(**arguments)
    except client.exceptions.ClientError as e:
        return [type(e).__name__, e.response['ResponseMetadata']['HTTPStatusCode']]
";

/// Runs a program of boto3 over a fresh edge with a destination and a device; what it told.
fn told(program: &str) -> Value {
    let edge = Edge::embedded();
    let program = format!("{CHECKED}{SETTING}{program}").replace("ROLE", ROLE);
    Aws::of(&edge).boto3(&program).unwrap_or_else(|e| panic!("{e}"))
}

/// What there is.
const SETTING: &str = "
call('create_destination', Name='d', ExpressionType='MqttTopic', Expression='t', RoleArn='ROLE',
    Tags=[dict(Key='a', Value='b')])
profile = call('create_application_profile', Name='slow', NStart=2, AckRandomFactor=1.5,
    QueueDepth=1, Tags=[dict(Key='a', Value='')])
device = call('create_wireless_device', Type='CoAP', DestinationName='d',
    ApplicationProfileId=profile['Id'], WiFi=dict(DtlsV1_2=dict(
        PreSharedKeyIdentity='i' * 32, PreSharedKeySecret='s' * 32)))
id = device['Id']
";

#[test]
fn a_profile_counts_for_the_devices_that_refer_to_it() {
    let told = told(
        "
call('update_application_profile', Id=profile['Id'], MaxRetransmit=2)
read = call('get_application_profile', Id=profile['Id'])
listed = call('list_application_profiles', MaxResults=10)['ApplicationProfileList']
used = refused('delete_application_profile', Id=profile['Id'])
wide = refused('create_application_profile', NStart=9)
of_profile = call('list_wireless_devices', ApplicationProfileId=profile['Id'])
call('send_data_to_wireless_device', Id=id, TransmitMode=1, PayloadData='b24=',
    CoAP=dict(RequestMethod='PUT', QueueMode=1, Priority='HIGH', TtlSeconds=60))
full = refused('send_data_to_wireless_device', Id=id, TransmitMode=1, PayloadData='b24=',
    CoAP=dict(RequestMethod='PUT', QueueMode=1))
queued = call('list_queued_messages', Id=id)['DownlinkQueueMessagesList'][0]['CoAP']
call('delete_queued_messages', Id=id, MessageId='*')
call('update_wireless_device', Id=id, ApplicationProfileId='')
call('delete_application_profile', Id=profile['Id'])
gone = refused('get_application_profile', Id=profile['Id'])
print(json.dumps(dict(read={k: read[k] for k in ['Name', 'NStart', 'AckRandomFactor',
    'MaxRetransmit']}, listed=len(listed), used=used, wide=wide, full=full, gone=gone,
    of_profile=len(of_profile['WirelessDeviceList']), priority=queued['Priority'])))",
    );
    let expected = json!({
        "read": { "Name": "slow", "NStart": 2, "AckRandomFactor": 1.5, "MaxRetransmit": 2 },
        "listed": 1, "of_profile": 1, "priority": "HIGH",
        "used": ["ConflictException", 409], "wide": ["ValidationException", 400],
        "full": ["ThrottlingException", 429], "gone": ["ResourceNotFoundException", 404],
    });
    assert_eq!(told, expected);
}

#[test]
fn every_kind_of_resource_has_tags_and_a_device_its_thing() {
    let told = told(
        "
tags = []
for arn in [device['Arn'], profile['Arn'], call('get_destination', Name='d')['Arn']]:
    call('tag_resource', ResourceArn=arn, Tags=[dict(Key='k', Value='v')])
    call('untag_resource', ResourceArn=arn, TagKeys=['a', 'none'])
    tags.append(call('list_tags_for_resource', ResourceArn=arn)['Tags'])
many = refused('tag_resource', ResourceArn=device['Arn'],
    Tags=[dict(Key=str(n), Value='') for n in range(50)])
thing = 'arn:aws:iot:us-east-1:123456789012:thing/pump'
call('associate_wireless_device_with_thing', Id=id, ThingArn=thing)
by_thing = call('get_wireless_device', Identifier='pump', IdentifierType='ThingName')['Id'] == id
call('disassociate_wireless_device_from_thing', Id=id)
call('get_wireless_device_statistics', WirelessDeviceId=id)
call('deregister_wireless_device', Identifier=id, WirelessDeviceType='CoAP')
call('delete_wireless_device', Id=id)
call('delete_destination', Name='d')
print(json.dumps(dict(tags=tags, many=many, by_thing=by_thing)))",
    );
    let one = json!([{ "Key": "k", "Value": "v" }]);
    let many = json!(["TooManyTagsException", 400]);
    assert_eq!(told, json!({ "tags": [one, one, one], "many": many, "by_thing": true }));
}

#[test]
fn log_levels_events_and_metrics_are_configured() {
    let told = told(
        "
call('update_log_levels_by_resource_types', DefaultLogLevel='INFO', WirelessDeviceLogOptions=[
    dict(Type='CoAP', LogLevel='ERROR', Events=[dict(Event='Join', LogLevel='INFO')])])
levels = call('get_log_levels_by_resource_types')
one = dict(ResourceIdentifier=id, ResourceType='WirelessDevice')
call('put_resource_log_level', LogLevel='DISABLED', **one)
level = call('get_resource_log_level', **one)['LogLevel']
call('reset_resource_log_level', **one)
call('reset_all_resource_log_levels')
no_level = refused('get_resource_log_level', **one)
on = dict(CoAP=dict(WirelessDeviceEventTopic='Enabled'))
call('update_event_configuration_by_resource_types', Join=on, ConnectionStatus=on)
events = call('get_event_configuration_by_resource_types')['Join']['CoAP']
one = dict(Identifier=id, IdentifierType='WirelessDeviceId')
call('update_resource_event_configuration',
    Join=dict(WirelessDeviceIdEventTopic='Enabled'), **one)
call('get_resource_event_configuration', **one)
configured = call('list_event_configurations', ResourceType='WirelessDevice')
call('update_metric_configuration', SummaryMetric=dict(Status='Enabled'))
metrics = call('get_metric_configuration')['SummaryMetric']['Status']
print(json.dumps(dict(levels=levels['DefaultLogLevel'], level=level, no_level=no_level,
    events=events, configured=len(configured['EventConfigurationsList']), metrics=metrics)))",
    );
    let expected = json!({
        "levels": "INFO", "level": "DISABLED",
        "no_level": ["ResourceNotFoundException", 404],
        "events": { "WirelessDeviceEventTopic": "Enabled" },
        "configured": 1, "metrics": "Enabled",
    });
    assert_eq!(told, expected);
}

/// By the table that boto3, curl and the JavaScript client read, too.
#[test]
fn the_command_line_calls_every_operation() {
    let edge = calls::edge();
    let given = calls::given(&edge, &Pki::new());
    let called =
        Aws::of(&edge).python("aws_cli_calls.py", &given).unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(called, json!(calls::operations(&given["document"])));
}

#[test]
fn the_command_line_makes_a_profile_and_tags_it() {
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let run = |arguments: &[&str]| aws.cli(arguments).unwrap_or_else(|e| panic!("{e}"));
    let create = ["create-application-profile", "--name", "slow", "--n-start", "2"];
    let made = run(&[&create[..], &["--queue-ttl-seconds", "60"]].concat());
    let (id, arn) = (text(&made, "Id"), text(&made, "Arn"));
    run(&["tag-resource", "--resource-arn", &arn, "--tags", "Key=site,Value=north"]);
    let tags = run(&["list-tags-for-resource", "--resource-arn", &arn]);
    assert_eq!(tags["Tags"], json!([{ "Key": "site", "Value": "north" }]));
    let read = run(&["get-application-profile", "--id", &id]);
    assert_eq!((&read["NStart"], &read["QueueTtlSeconds"]), (&json!(2), &json!(60)));
    let error = aws.cli(&["create-application-profile", "--n-start", "9"]).expect_err("too many");
    assert!(error.contains("ValidationException"), "{error}");
    run(&["delete-application-profile", "--id", &id]);
}
