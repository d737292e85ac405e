# Does every answer have botocore's own output shape? Put before a program that has `core` (boto3's
# iot client): what is no member, is missing or of another type ends it.
from botocore.exceptions import ClientError
def fits(shape, value, at):
    kind = shape.type_name
    if kind == 'structure':
        names = {m.serialization.get('name', n): m for n, m in shape.members.items()}
        assert isinstance(value, dict) and set(value) <= set(names), (at, value)
        for name in shape.required_members: assert name in value, (at, name)
        for name, item in value.items(): fits(names[name], item, at + '.' + name)
    elif kind == 'list':
        assert isinstance(value, list), (at, value)
        for item in value: fits(shape.member, item, at + '[]')
    elif kind == 'map':
        assert isinstance(value, dict), (at, value)
        for item in value.values(): fits(shape.value, item, at + '{}')
    else:
        kinds = {'string': str, 'boolean': bool, 'integer': int, 'timestamp': (int, float)}
        assert isinstance(value, kinds[kind]), (at, kind, value)
        assert not getattr(shape, 'enum', None) or value in shape.enum, (at, value)
checked = []
def check(http_response, parsed, model, **_):
    if http_response.status_code < 300:
        body = json.loads(http_response.content or b'{}')
        if model.output_shape: fits(model.output_shape, body, model.name)
        else: assert body == {}, (model.name, body)
        checked.append(model.name)
core.meta.events.register('after-call.iot', check)
def refused(call, **arguments):
    try: call(**arguments)
    except ClientError as error:
        assert error.response['Error']['Message'], error.response
        return error.response['Error']['Code']
