//! Do topic rules work from end to end? boto3's `iot` client makes them, a device sends, the stream
//! shows what came out.

#![forbid(unsafe_code)]

use serde_json::json;
use tidegate_tests::aws::Aws;
use tidegate_tests::device::Device;
use tidegate_tests::edge::Edge;

/// Every answer that is no error is held against botocore's own output shape.
const SHAPES: &str = include_str!("../foreign/python/output_shapes.py");

/// Every operation of the control API; then errors by their class.
const LIFE_OF_A_RULE: &str = r#"
role = 'arn:aws:iam::123456789012:role/any'
def republish(topic): return {'republish': {'topic': topic, 'roleArn': role, 'qos': 1}}
payload = {
    'awsIotSqlVersion': '2016-03-23', 'description': 'what is hot',
    'sql': "SELECT decode(PayloadData, 'base64').t AS t FROM 'plant/+/up' "
           "WHERE decode(PayloadData, 'base64').t > 30",
    'actions': [republish('hot/${topic(1)}')], 'errorAction': republish('errors'),
}
core.create_topic_rule(ruleName='hot', topicRulePayload=payload)
core.create_topic_rule(ruleName='cold', topicRulePayload={
    'sql': 'SELECT *', 'actions': [republish('cold')], 'ruleDisabled': True})
got = core.get_topic_rule(ruleName='hot')
assert got['rule']['createdAt'].year > 2020, got
core.disable_topic_rule(ruleName='hot')
disabled = [rule['ruleName'] for rule in core.list_topic_rules(ruleDisabled=True)['rules']]
core.enable_topic_rule(ruleName='hot')
of_topic = [rule['ruleName'] for rule in core.list_topic_rules(topic='plant/7/up')['rules']]
first = core.list_topic_rules(maxResults=1)
pages = [first['rules'], core.list_topic_rules(maxResults=1, nextToken=first['nextToken'])['rules']]
payload['description'] = 'what is really hot'
core.replace_topic_rule(ruleName='hot', topicRulePayload=payload)
replaced = core.get_topic_rule(ruleName='hot')['rule']
core.delete_topic_rule(ruleName='cold')

def create(**change):
    return refused(core.create_topic_rule, ruleName='other', topicRulePayload={**payload, **change})
missing = [refused(call, ruleName='cold') for call in
    (core.get_topic_rule, core.delete_topic_rule, core.enable_topic_rule, core.disable_topic_rule)]
missing.append(refused(core.replace_topic_rule, ruleName='cold', topicRulePayload=payload))
misnamed = [refused(call, ruleName='a-b') for call in
    (core.get_topic_rule, core.delete_topic_rule, core.enable_topic_rule, core.disable_topic_rule)]
print(json.dumps({
    'rule': {k: v for k, v in got['rule'].items() if k != 'createdAt'}, 'arn': got['ruleArn'],
    'disabled': disabled, 'of_topic': of_topic,
    'pages': [[rule['ruleName'] for rule in page] for page in pages],
    'pattern': pages[1][0]['topicPattern'], 'description': replaced['description'],
    'errors': [
        refused(core.create_topic_rule, ruleName='hot', topicRulePayload=payload),
        create(sql='SELECT nothing() FROM x'),
        create(actions=[republish('${')]),
        create(actions=[{'sqs': {'queueUrl': 'https://q', 'roleArn': role}}]),
        create(awsIotSqlVersion='1999-01-01'),
        refused(core.replace_topic_rule, ruleName='hot', topicRulePayload={**payload, 'sql': '('}),
        refused(core.list_topic_rules, nextToken='no such page'),
    ],
    'missing': missing, 'misnamed': misnamed, 'checked': sorted(set(checked)),
}))
"#;

#[test]
fn a_rule_lives_by_boto3_and_decides_what_is_published() {
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let told =
        aws.boto3(&format!("{SHAPES}{LIFE_OF_A_RULE}")).unwrap_or_else(|why| panic!("{why}"));
    let role = "arn:aws:iam::123456789012:role/any";
    let republish = |topic: &str| json!({"republish": {"topic": topic, "roleArn": role, "qos": 1}});
    assert_eq!(
        told["rule"],
        json!({
            "ruleName": "hot",
            "sql": "SELECT decode(PayloadData, 'base64').t AS t FROM 'plant/+/up' \
                    WHERE decode(PayloadData, 'base64').t > 30",
            "description": "what is hot",
            "awsIotSqlVersion": "2016-03-23",
            "ruleDisabled": false,
            "actions": [republish("hot/${topic(1)}")],
            "errorAction": republish("errors"),
        })
    );
    assert!(told["arn"].as_str().is_some_and(|arn| arn.ends_with(":rule/hot")), "{told}");
    assert_eq!(told["disabled"], json!(["cold", "hot"]));
    assert_eq!(told["of_topic"], json!(["hot"]));
    assert_eq!(told["pages"], json!([["cold"], ["hot"]]));
    assert_eq!(told["pattern"], "plant/+/up");
    assert_eq!(told["description"], "what is really hot");
    assert_eq!(
        told["errors"],
        json!([
            "ResourceAlreadyExistsException",
            "SqlParseException",
            "SqlParseException",
            "InvalidRequestException",
            "InvalidRequestException",
            "SqlParseException",
            "InvalidRequestException",
        ])
    );
    assert_eq!(told["missing"], json!(vec!["ResourceNotFoundException"; 5]));
    assert_eq!(told["misnamed"], json!(vec!["InvalidRequestException"; 4]));
    assert_eq!(
        told["checked"],
        json!([
            "CreateTopicRule",
            "DeleteTopicRule",
            "DisableTopicRule",
            "EnableTopicRule",
            "GetTopicRule",
            "ListTopicRules",
            "ReplaceTopicRule",
        ])
    );
    decides_what_is_published(&edge);
}

/// The rule the script left behind, at work.
fn decides_what_is_published(edge: &Edge) {
    let device = edge.provision("ruled");
    let by_rule = json!({"ExpressionType": "RuleName", "Expression": "hot"});
    edge.api().succeed("PATCH", &format!("/destinations/{}", device.destination), &by_rule);
    let mut device = Device::connect(edge.coap_port, &device, &["cid=0"]);
    for (path, payload) in [("boiler", "{\"t\":31}"), ("boiler", "{\"t\":30}"), ("+", "{\"t\":32}")]
    {
        let sent = device.asks(&format!("con put {path} {payload}"));
        assert_eq!(sent.code, "2.04", "{path} {payload}");
    }
    // The second is not hot; the third asks for a topic with a wildcard, which is none.
    let mut events = edge.api().events("/uplinks?from=0");
    assert_eq!(events.next_event().data, json!({"t": 31}));
    let said = events.next_event().data;
    assert_eq!((&said["ruleName"], &said["topic"]), (&json!("hot"), &json!("+")));
    assert_eq!(said["failures"][0]["failedResource"], "hot/${topic(1)}");
    assert_eq!(device.asks("con put pump {\"t\":99}").code, "2.04");
    assert_eq!(events.next_event().data, json!({"t": 99}));
}
