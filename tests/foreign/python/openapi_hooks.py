# How does schemathesis ask this API? Every request signed by botocore, and now and then about things
# that are there: IDS has, as JSON, for each name in a path what exists. Loaded by SCHEMATHESIS_HOOKS.
# At its end it writes how often each status came into the file STATUSES.
import atexit
import collections
import json
import os
import zlib

import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from requests.auth import AuthBase

IDS = json.loads(os.environ["IDS"])
SIGNER = SigV4Auth(
    Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"]),
    "iotwireless",
    os.environ["AWS_REGION"],
)


class Signed(AuthBase):
    def __call__(self, request):
        # Clients of AWS write a space so; the other way is of forms.
        request.url = request.url.replace("+", "%20")
        signed = AWSRequest(method=request.method, url=request.url, data=request.body or b"")
        SIGNER.add_auth(signed)
        for name in ("X-Amz-Date", "Authorization"):
            request.headers[name] = signed.headers[name]
        return request


schemathesis.auth.set_from_requests(Signed())


# By a digest of what was made up, so that a run with the same seed is the same run.
def map_names(names):
    if not names:
        return names
    for name, value in names.items():
        known = IDS.get(name)
        digest = zlib.crc32(repr(value).encode())
        if known and digest % 4 != 0:
            names[name] = known[digest % len(known)]
    return names


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    return map_names(path_parameters)


@schemathesis.hook
def map_query(context, query):
    return map_names(query)


# Of whatever phase: an answer that never ends is waited for until the request times out.
@schemathesis.hook
def before_call(context, case, kwargs):
    if isinstance(case.query, dict):
        case.query.pop("follow", None)


@schemathesis.hook
def map_body(context, body):
    if isinstance(body, dict):
        for name in ("DestinationName", "ApplicationProfileId"):
            if name in body and isinstance(body[name], str):
                body[name] = IDS[name][zlib.crc32(body[name].encode()) % len(IDS[name])]
    return body


statuses = collections.Counter()


@schemathesis.hook
def after_call(context, case, response):
    statuses[response.status_code] += 1


@atexit.register
def tell_statuses():
    with open(os.environ["STATUSES"], "w") as file:
        json.dump(statuses, file)
