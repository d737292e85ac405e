//! Do rules live as elsewhere? The same program of boto3 runs against moto's AWS IoT and against
//! the edge, and sees the same: what moto's own tests look at, and a little more.

#![forbid(unsafe_code)]

use tidegate_tests::aws::Aws;
use tidegate_tests::edge::Edge;
use tidegate_tests::moto::Moto;

/// `core` is the client of AWS IoT; prints what was seen, without what is of one service alone.
const PROGRAM: &str = r#"
role = 'arn:aws:iam::123456789012:role/any'
def republish(topic, qos): return {'republish': {'topic': topic, 'roleArn': role, 'qos': qos}}
payload = {'sql': "SELECT * FROM 'topic/*' WHERE something > 0", 'description': 'as it was',
           'awsIotSqlVersion': '2016-03-23', 'ruleDisabled': False,
           'actions': [republish('one', 0), republish('two', 1)],
           'errorAction': republish('errors', 0)}
def of(call, **arguments):
    try:
        said = getattr(core, call)(**arguments)
        del said['ResponseMetadata']
        return said
    except core.exceptions.ClientError as error:
        return [error.response['Error']['Code'], error.response['ResponseMetadata']['HTTPStatusCode']]
times = []
def plain(rule):
    times.append(rule.pop('createdAt'))
    if 'ruleArn' in rule: rule['ruleArn'] = rule['ruleArn'].split(':')[-1]
    return rule
def rule(name):
    got = of('get_topic_rule', ruleName=name)
    if isinstance(got, list): return got
    return [got['ruleArn'].split(':')[-1], plain(got['rule'])]
def rules(**of_which): return [plain(rule) for rule in of('list_topic_rules', **of_which)['rules']]
def create(name, **change):
    return of('create_topic_rule', ruleName=name, topicRulePayload={**payload, **change})
def replace(name, **change):
    return of('replace_topic_rule', ruleName=name, topicRulePayload={**payload, **change})
seen = {'none': rules()}
named = ['get_topic_rule', 'enable_topic_rule', 'disable_topic_rule']
seen['missing'] = [of(call, ruleName='a') for call in named] + [replace('a')]
seen['created'] = [create('a'), create('a'), create('a', description='other')]
seen['as made'] = rule('a')
seen['two'] = [create('b', ruleDisabled=True), rules()]
seen['replaced'] = [replace('a', description='as it is'), rule('a')]
seen['disabled'] = [of('disable_topic_rule', ruleName='a'), rule('a')]
seen['disabled again'] = [of('disable_topic_rule', ruleName='a'), rule('a')]
seen['enabled'] = [of('enable_topic_rule', ruleName=name) for name in 'ab'] + [rule('a'), rule('b')]
seen['deleted'] = [of('delete_topic_rule', ruleName=name) for name in 'ab'] + [rules(), rule('a')]
assert all(time.year > 2020 for time in times), times
print(json.dumps(seen, sort_keys=True))
"#;

#[test]
fn a_rule_lives_as_with_moto() {
    let moto = Moto::start();
    let edge = Edge::embedded();
    let aws = Aws::of(&edge);
    let ours = aws.boto3(PROGRAM).unwrap_or_else(|why| panic!("{why}"));
    let theirs = format!(
        "core = boto3.client('iot', endpoint_url='http://127.0.0.1:{}',\n    \
         aws_access_key_id='testing', aws_secret_access_key='testing')\n{PROGRAM}",
        moto.port
    );
    let theirs = aws.boto3(&theirs).unwrap_or_else(|why| panic!("{why}"));
    for (what, seen) in theirs.as_object().expect("an object") {
        assert_eq!(&ours[what], seen, "{what}: moto has this");
    }
}
