"""Every operation once successfully and once per error shape that its model declares, by boto3.

Given on standard input: keys of callers, the table of calls, its values, and the OpenAPI document. Tells on standard output what was
called, which shapes came, and what the model declares that did not. Every answer is compared with the
model's output shape, every error with the model's error shape.
"""
import json
import sys

import boto3
import botocore.auth
import botocore.awsrequest
import botocore.config
import botocore.credentials
import botocore.exceptions
import urllib.error
import urllib.parse
import urllib.request
from botocore import xform_name

given = json.load(sys.stdin)
NONE = "00000000-0000-4000-8000-000000000000"
ROLE = given["values"]["role"]
unchecked = botocore.config.Config(parameter_validation=False, retries={"total_max_attempts": 1})


class Caller:
    """One key; the clients of both services, and what their last answer was."""

    def __init__(self, key):
        self.key, self.raw = key, {}
        self.clients = {}
        for service in ("iotwireless", "iot"):
            client = boto3.client(service, aws_access_key_id=key["id"],
                                  aws_secret_access_key=key["secret"], config=unchecked)
            client.meta.events.register("before-parse", self.keep)
            self.clients[service] = client

    def keep(self, operation_model, response_dict, customized_response_dict, **_):
        self.raw = dict(op=operation_model, body=response_dict["body"],
                        status=response_dict["status_code"])

    def call(self, op, params):
        client = self.clients[SERVICE[op]]
        return getattr(client, xform_name(op))(**params)


root, nobody, slow = (Caller(given[name]) for name in ("root", "nobody", "slow"))
models = {name: client.meta.service_model for name, client in root.clients.items()}

# Operations of the API, by the document that its code makes.
OPERATIONS, SERVICE = {}, {}
for path, methods in given["document"]["paths"].items():
    for method, said in methods.items():
        service = said["x-iam-action"].split(":")[0]
        OPERATIONS[said["operationId"]] = (method.upper(), path, said)
        SERVICE[said["operationId"]] = service
# A stream and a document: no client has them, curl and schemathesis do.
NO_CLIENT = {"FollowUplinks", "GetOpenApiDocument"}
SDK = [op for op in OPERATIONS if op not in NO_CLIENT]
for op in SDK:
    assert op in models[SERVICE[op]].operation_names, f"the model has no {op}"


def model(op):
    return models[SERVICE[op]].operation_model(op)


def declared(op):
    return [shape.name for shape in model(op).error_shapes]


def members(shape, value, at):
    """The value has what the shape has, of its types."""
    if value is None:
        return
    kind = shape.type_name
    if kind == "structure":
        assert isinstance(value, dict), at
        for name, of in value.items():
            assert name in shape.members, (at, name)
            members(shape.members[name], of, at + [name])
    elif kind == "list":
        assert isinstance(value, list), at
        for of in value:
            members(shape.member, of, at)
    elif kind == "string":
        assert isinstance(value, str), at
        enum = getattr(shape, "enum", None)
        assert not enum or value in enum, (at, value)
    elif kind in ("integer", "long"):
        assert isinstance(value, int) and not isinstance(value, bool), (at, value)
    elif kind in ("double", "float"):
        assert isinstance(value, (int, float)), (at, value)
    elif kind == "boolean":
        assert isinstance(value, bool), (at, value)


succeeded, seen = set(), {}


def ok(op, caller=root, **params):
    answer = caller.call(op, params)
    raw = caller.raw
    assert raw["status"] == model(op).http.get("responseCode", 200), (op, raw["status"])
    if raw["status"] == 204:
        assert raw["body"] == b"", op
    elif model(op).output_shape is not None and raw["body"]:
        members(model(op).output_shape, json.loads(raw["body"]), [op])
    succeeded.add(op)
    return answer


def fails(shape, op, caller=root, **params):
    """The call fails with this shape, its status and its body as the model has them."""
    try:
        caller.call(op, params)
    except botocore.exceptions.ClientError as error:
        name = error.response["Error"]["Code"]
        assert name == shape, (op, shape, name, error.response["Error"]["Message"])
        of = [of for of in model(op).error_shapes if of.name == shape]
        if of:
            assert type(error).__name__ == shape, (op, type(error).__name__)
            status = of[0].metadata.get("error", {}).get("httpStatusCode")
            assert status in (None, caller.raw["status"]), (op, shape, caller.raw["status"])
            body = json.loads(caller.raw["body"])
            # Ours beside the model's, as Smithy services have it.
            body.pop("fieldList", None)
            members(of[0], body, [op, shape])
        assert error.response["Error"]["Message"], (op, shape)
        seen.setdefault(op, set()).add(shape)
        return error.response
    raise AssertionError(f"{op} did not fail with {shape}")


V, N, C = "ValidationException", "ResourceNotFoundException", "ConflictException"
INVALID = "InvalidRequestException"


def identity(n):
    return f"urn:dev:{n:024}"


def block(n):
    return dict(WiFi=dict(DtlsV1_2=dict(PreSharedKeyIdentity=identity(n),
                                        PreSharedKeySecret="s" * 32)))


def device(n, **more):
    return dict(Type="CoAP", DestinationName="d", **block(n), **more)



# --- once successfully -----------------------------------------------------------------------------

def filled(value):
    """What stands for a `$name` in the table of calls."""
    if isinstance(value, dict):
        return {name: filled(of) for name, of in value.items()}
    if isinstance(value, list):
        return [filled(of) for of in value]
    return kept[value[1:]] if isinstance(value, str) and value.startswith("$") else value


def run(steps):
    for step in steps:
        answer = ok(step["op"], **filled(step["in"]))
        answers[step["op"]] = answer
        kept.update({name: answer[member] for name, member in step.get("keep", {}).items()})


kept, answers = dict(given["values"]), {}
run(given["calls"]["first"])
tested = answers["TestWirelessDevice"]["Result"]
assert tested.startswith("Test succeeded"), tested
counted = answers["GetMetrics"]["SummaryMetricQueryResults"][0]
assert counted["QueryStatus"] == "Succeeded" and counted["Values"][-1]["Max"] == 2.0, counted
assert len(counted["Timestamps"]) == len(counted["Values"]), counted

# --- once per error shape --------------------------------------------------------------------------

LINE = json.dumps(block(77))
RULE = dict(sql="SELECT *", actions=[dict(republish=dict(roleArn=ROLE, topic="t"))])
to = dict(ExpressionType="MqttTopic", Expression="t", RoleArn=ROLE)
id, arn, sent, spare = (kept[name] for name in ("device", "arn", "message", "spare"))
profile, task, authority = (kept[name] for name in ("profile", "task", "authority"))
thing, POLICY = kept["thing"], kept["policy"]
ca = dict(caCertificate=kept["ca"], certificateMode="SNI_ONLY")
level = dict(ResourceIdentifier=id, ResourceType="WirelessDevice")
event = dict(Identifier=id, IdentifierType="WirelessDeviceId")
question = dict(QueryId="q", MetricName="AwsAccountDeviceCount", AggregationPeriod="OneHour",
                StartTimestamp=kept["start"], EndTimestamp=kept["end"])

# What a good call looks like: nobody may make it, and the slow account not so often.
GOOD = dict(
    CreateDestination=dict(Name="x", **to), GetDestination=dict(Name="d"), ListDestinations={},
    UpdateDestination=dict(Name="d"), DeleteDestination=dict(Name="d"),
    CreateWirelessDevice=device(3), ListWirelessDevices={}, ListQueuedMessages=dict(Id=id),
    GetWirelessDevice=dict(Identifier=id, IdentifierType="WirelessDeviceId"),
    GetWirelessDeviceStatistics=dict(WirelessDeviceId=id),
    AssociateWirelessDeviceWithThing=dict(Id=id, ThingArn=thing),
    SendDataToWirelessDevice=dict(Id=id, PayloadData="", CoAP=dict(RequestMethod="PUT")),
    GetMessageStatus=dict(Id=id, MessageId=sent), DeleteQueuedMessages=dict(Id=id, MessageId="*"),
    PutWirelessDeviceResource=dict(Id=id, UriPaths=["x"], PayloadData=""),
    DeleteWirelessDeviceResource=dict(Id=id, UriPath="x"),
    CreatePayload=dict(Bytes=9), PutPayloadPart=dict(Id=id, Offset=0, PayloadData="AQ=="),
    DeregisterWirelessDevice=dict(Identifier=id), CreateApplicationProfile={},
    TagResource=dict(ResourceArn=arn, Tags=[]), ListTagsForResource=dict(ResourceArn=arn),
    UntagResource=dict(ResourceArn=arn, TagKeys=["k"]), PutResourceLogLevel=dict(LogLevel="INFO", **level),
    GetResourceLogLevel=level, ResetResourceLogLevel=level,
    UpdateResourceEventConfiguration=event, GetResourceEventConfiguration=event,
    ListEventConfigurations=dict(ResourceType="WirelessDevice"),
    PutWirelessDevicePolicy=dict(Id=id, PolicyDocument=POLICY),
    PutApplicationProfilePolicy=dict(Id=profile, PolicyDocument=POLICY),
    UpdateAccountQuotas=dict(Quotas=dict(Rules=1)),
    StartWirelessDeviceImportTask=dict(DestinationName="d", CoAP=dict(DeviceCreationData=LINE)),
    StartSingleWirelessDeviceImportTask=dict(DestinationName="d", **block(80)),
    ListDevicesForWirelessDeviceImportTask=dict(Id=task),
    UpdateWirelessDeviceImportTask=dict(Id=task, CoAP=dict(DeviceCreationData=LINE)),
    CreateTopicRule=dict(ruleName="x", topicRulePayload=RULE),
    ReplaceTopicRule=dict(ruleName="x", topicRulePayload=RULE), RegisterCACertificate=ca,
)
LABELS = dict(ruleName="copy", certificateId=authority, Name="d", Id=id)


def good(op):
    if op in GOOD:
        return GOOD[op]
    labels = [part[1:-1] for part in OPERATIONS[op][1].split("/") if part.startswith("{")]
    return {label: LABELS[label] for label in labels}


for op in SDK:
    fails("AccessDeniedException", op, nobody, **good(op))
    for _ in range(200):
        try:
            fails("ThrottlingException", op, slow, **good(op))
            break
        except AssertionError:
            continue
    else:
        raise AssertionError(f"{op} is not throttled")

# Every member of every query and body that has a constraint, one at a time, and required ones left out.


def violating(schema):
    """A value that the schema does not allow; None: it allows every one of its type."""
    if "enum" in schema:
        return "no-such-value"
    if schema["type"] == "string" and schema.get("maxLength", 1 << 20) <= 4_096:
        return "x" * (schema["maxLength"] + 1)
    if schema["type"] in ("integer", "number") and schema.get("maximum", 1 << 62) < 1 << 60:
        return schema["maximum"] + 1
    if schema["type"] == "array" and schema["maxItems"] <= 256:
        item = good_value(schema["items"])
        return None if item is None else [item] * (schema["maxItems"] + 1)
    return None


def good_value(schema):
    if "oneOf" in schema:
        return good_value(schema["oneOf"][0])
    kind = schema["type"]
    if kind == "string":
        return schema["enum"][0] if "enum" in schema else "a" * max(schema.get("minLength", 1), 1)
    if kind in ("integer", "number"):
        return schema.get("minimum", 0)
    if kind == "boolean":
        return False
    if kind == "array":
        return []
    required = schema.get("required", [])
    return {name: good_value(schema["properties"][name]) for name in required}


def send(op, query, body):
    """A signed request as it is, whatever a client would say to it."""
    method, path, _ = OPERATIONS[op]
    for label, value in LABELS.items():
        path = path.replace("{%s}" % label, value)
    path = path.replace("{Identifier}", id).replace("{ResourceIdentifier}", id)
    path = path.replace("{MessageId}", sent)
    data = json.dumps(body).encode() if body is not None else b""
    text = urllib.parse.urlencode(query, doseq=True, quote_via=urllib.parse.quote)
    request = botocore.awsrequest.AWSRequest(
        method, f"{given['url']}{path}?{text}", data=data,
        headers={"content-type": "application/json"})
    credentials = botocore.credentials.Credentials(root.key["id"], root.key["secret"])
    botocore.auth.SigV4Auth(credentials, SERVICE[op], given["region"]).add_auth(request)
    prepared = request.prepare()
    call = urllib.request.Request(prepared.url, data or None, dict(prepared.headers), method=method)
    try:
        with urllib.request.urlopen(call) as answer:
            return answer.status, "", answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["x-amzn-ErrorType"], error.read()


checked = 0
for op, (method, path, said) in OPERATIONS.items():
    queries = {p["name"]: p for p in said["parameters"] if p["in"] == "query"}
    content = said.get("requestBody", {}).get("content", {})
    body = content.get("application/json", {}).get("schema")
    query = {name: good_value(p["schema"]) for name, p in queries.items() if p["required"]}
    query = {name: value for name, value in query.items() if value != []}
    calls = []
    for name, parameter in queries.items():
        bad = violating(parameter["schema"])
        if bad is not None:
            calls.append((name, {**query, name: bad}, good_value(body) if body else None))
        if parameter["required"]:
            rest = {key: value for key, value in query.items() if key != name}
            calls.append((name, rest, good_value(body) if body else None))
    for name, schema in (body or {}).get("properties", {}).items():
        schema = schema.get("oneOf", [schema])[0]
        bad = violating(schema)
        if bad is not None:
            calls.append((name, query, {**good_value(body), name: bad}))
        if name in body.get("required", []):
            rest = {key: value for key, value in good_value(body).items() if key != name}
            calls.append((name, query, rest))
    for name, query_, body_ in calls:
        status, shape, text = send(op, query_, body_)
        wanted = INVALID if SERVICE[op] == "iot" else V
        assert (status, shape) == (400, wanted), (op, name, status, shape, text)
        answer = json.loads(text)
        message = answer.get("Message") or answer["message"]
        assert f"Value at '{name}" in message, (op, name, message)
        assert "failed to satisfy constraint: Member must" in message, (op, name, message)
        assert "validation error" in message, (op, name, message)
        checked += 1

# The same by boto3, an operation each: a label too long, or a member that the model constrains.
for op in SDK:
    if V not in declared(op) and INVALID not in declared(op):
        continue
    labels = {name: "a-b" if name == "ruleName" else "x" * 300
              for name, of in model(op).input_shape.members.items()
              if of.serialization.get("location") == "uri"} if model(op).input_shape else {}
    if labels:
        fails(INVALID if SERVICE[op] == "iot" else V, op, **{**good(op), **labels})
page = dict(MaxResults=251)
for op in ("ListDestinations", "ListWirelessDevices", "ListApplicationProfiles", "ListDeviceProfiles",
           "ListServiceProfiles", "ListWirelessDeviceImportTasks", "ListPayloads"):
    fails(V, op, **page)
fails(V, "ListEventConfigurations", ResourceType="Toaster")
fails(V, "ListDevicesForWirelessDeviceImportTask", Id=task, Status="LOST")
fails(V, "ListCustomerLogs", MaxResults=1001)
fails(V, "CreateWirelessDevice", **{**device(4), "Type": "LoRaWAN"})
fails(V, "CreateDestination", **{**to, "Name": "d", "ExpressionType": "Path"})
fails(V, "CreateApplicationProfile", NStart=9)
for op in ("CreateDeviceProfile", "CreateServiceProfile"):
    fails(V, op, Name="radio")
arns = dict(ResourceArn="x" * 1012)
fails(V, "TagResource", Tags=[], **arns)
fails(V, "UntagResource", TagKeys=["k"], **arns)
fails(V, "ListTagsForResource", **arns)
fails(V, "UpdateLogLevelsByResourceTypes", DefaultLogLevel="LOUD")
fails(V, "UpdateEventConfigurationByResourceTypes",
      Join=dict(CoAP=dict(WirelessDeviceEventTopic="On")))
fails(V, "UpdateMetricConfiguration", SummaryMetric=dict(Status="On"))
fails(V, "GetMetrics", SummaryMetricQueries=[{**question, "MetricName": "Nothing"}])
fails(V, "CreatePayload", Bytes=0)
fails(V, "GetServiceEndpoint", ServiceType="FTP")
fails(V, "GetAccountQuotas", AccountId="12")
fails(V, "UpdateAccountQuotas", Quotas=dict(Rules=10_001))
fails(V, "StartWirelessDeviceImportTask", DestinationName="d")
fails(V, "StartSingleWirelessDeviceImportTask", DestinationName="d")
fails(INVALID, "ListTopicRules", nextToken="nonsense")
fails(INVALID, "RegisterCACertificate", **{**ca, "certificateMode": "DEFAULT"})
fails(INVALID, "ListCACertificates", pageSize=251)

# What is not there.
other = dict(CreateWirelessDevice={**device(5), "DestinationName": "none"},
             StartWirelessDeviceImportTask=dict(DestinationName="none",
                                                CoAP=dict(DeviceCreationData=LINE)),
             StartSingleWirelessDeviceImportTask=dict(DestinationName="none", **block(81)),
             ListDevicesForWirelessDeviceImportTask=dict(Id=NONE),
             GetAccountQuotas=dict(AccountId="999999999998"),
             UpdateAccountQuotas=dict(AccountId="999999999998", Quotas=dict(Rules=1)))
missing = arn.replace(id, NONE)
for op, more in (("TagResource", dict(Tags=[])), ("UntagResource", dict(TagKeys=["k"])),
                 ("ListTagsForResource", {})):
    other[op] = dict(ResourceArn=missing, **more)
for op in SDK:
    if N not in declared(op):
        continue
    labels = {name: "f" * 64 if name == "certificateId" else "none" if name == "Name" else NONE
              for name, of in model(op).input_shape.members.items()
              if of.serialization.get("location") == "uri"} if model(op).input_shape else {}
    if op in other:
        fails(N, op, **other[op])
    elif labels:
        fails(N, op, **{**good(op), **labels})

# What is in the way.
token = dict(ClientRequestToken="once")
ok("CreateWirelessDevice", **device(6), **token)
fails(C, "CreateWirelessDevice", **device(7), **token)
fails(C, "AssociateWirelessDeviceWithThing", Id=spare, ThingArn=thing)
fails(C, "CreateDestination", Name="d", **to)
fails(C, "DeleteDestination", Name="d")
ok("CreateApplicationProfile", NStart=1, **token)
fails(C, "CreateApplicationProfile", NStart=2, **token)
fails(C, "DeleteApplicationProfile", Id=profile)
fails(C, "StartWirelessDeviceImportTask", DestinationName="spare", ClientRequestToken="import-1",
      CoAP=dict(DeviceCreationData=LINE))
fails(C, "StartSingleWirelessDeviceImportTask", DestinationName="spare",
      ClientRequestToken="single-1", **block(78))
for _ in range(98):
    ok("UpdateWirelessDeviceImportTask", Id=task, CoAP=dict(DeviceCreationData=LINE))
fails(C, "UpdateWirelessDeviceImportTask", Id=task, CoAP=dict(DeviceCreationData=LINE))
payloads = [ok("CreatePayload", Bytes=2)["Id"] for _ in range(16)]
fails(C, "CreatePayload", Bytes=9)
fails(C, "PutPayloadPart", Id=payloads[0], Offset=1, PayloadData="AQ==")
ok("TagResource", ResourceArn=arn, Tags=[dict(Key="first", Value="")])
fails("TooManyTagsException", "TagResource", ResourceArn=arn,
      Tags=[dict(Key=str(n), Value="") for n in range(50)])
for op in ("CreateTopicRule", "ReplaceTopicRule"):
    fails("SqlParseException", op, ruleName="copy", topicRulePayload={**RULE, "sql": "SELECT"})
fails("ResourceAlreadyExistsException", "CreateTopicRule", ruleName="copy", topicRulePayload=RULE)
fails("ResourceAlreadyExistsException", "RegisterCACertificate", **ca)
fails("CertificateValidationException", "RegisterCACertificate",
      **{**ca, "caCertificate": given["leaf"]})
fails("CertificateStateException", "DeleteCACertificate", certificateId=authority)

# --- and what is there is deleted ------------------------------------------------------------------

run(given["calls"]["last"])

unseen = {op: sorted(set(declared(op)) - seen.get(op, set())) for op in SDK}
print(json.dumps(dict(
    operations=len(SDK), never_succeeded=sorted(set(SDK) - succeeded), constraints=checked,
    seen=sum(len(shapes) for shapes in seen.values()),
    unseen=[f"{op} {shape}" for op, shapes in unseen.items() for shape in shapes])))
