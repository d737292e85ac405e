//! Does the API believe what botocore signs, and nothing else? Headers and presigned URLs.

#![forbid(unsafe_code)]

use serde_json::Value;
use tidegate_tests::aws::Aws;
use tidegate_tests::edge::Edge;

/// `ask(signer, method, path)` signs with botocore and answers status and error shape; `change`
/// may alter the request after it was signed.
const PROGRAM: &str = r#"
import datetime, os, urllib.error, urllib.request
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
import botocore.auth

END = os.environ['AWS_ENDPOINT_URL_IOT_WIRELESS']
REGION = os.environ['AWS_REGION']
KEY = Credentials(os.environ['AWS_ACCESS_KEY_ID'], os.environ['AWS_SECRET_ACCESS_KEY'])

def header(service='iotwireless', region=REGION, key=KEY):
    return SigV4Auth(key, service, region)

def query(expires=60, service='iotwireless', key=KEY):
    return SigV4QueryAuth(key, service, REGION, expires=expires)

def ask(signer, path, method='GET', body=b'', change=lambda url, headers, body: (url, body), skew=0):
    headers = {'Content-Type': 'application/json'} if body else {}
    request = AWSRequest(method=method, url=END + path, data=body, headers=headers)
    real = botocore.auth.get_current_datetime
    botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) + datetime.timedelta(seconds=skew)
    signer.add_auth(request)
    botocore.auth.get_current_datetime = real
    prepared = request.prepare()
    headers = dict(prepared.headers)
    url, body = change(prepared.url, headers, body)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    sent = urllib.request.Request(url, data=body or None, headers=headers, method=method)
    try:
        with opener.open(sent) as answer:
            return [answer.status, '']
    except urllib.error.HTTPError as error:
        return [error.code, error.headers.get('x-amzn-errortype', '')]

other = Credentials(KEY.access_key, 'x' * 40)
nobody = Credentials('TGAKNOBODYNOBODYNOBO', 'x' * 40)
destination = b'{"Name":"d","ExpressionType":"MqttTopic","Expression":"t","RoleArn":"arn:aws:iam::1:role/roooole"}'
swap = lambda old, new: lambda url, headers, body: (url.replace(old, new), body)
said = {
    'header': ask(header(), '/destinations'),
    'header with a body': ask(header(), '/destinations', 'POST', destination),
    'encoded segment': ask(header(), '/wireless-devices/a%3Ab%2Fc%20d?identifierType=DevEui'),
    'encoded query': ask(header(), '/wireless-devices?destinationName=d&nextToken='),
    'repeated query': ask(header(), '/tags?resourceArn=x&tagKeys=b&tagKeys=a%20c&tagKeys=a', 'DELETE'),
    'star': ask(header(), '/wireless-devices/x/data?messageId=%2A', 'DELETE'),
    'presigned': ask(query(), '/destinations'),
    'presigned with a query': ask(query(), '/wireless-devices?maxResults=5&destinationName=d'),
    'presigned encoded segment': ask(query(), '/wireless-devices/a%3Ab%2Fc?identifierType=DevEui'),
    'presigned delete': ask(query(), '/destinations/none', 'DELETE'),
    'a week': ask(query(604800), '/destinations'),
    'more than a week': ask(query(604801), '/destinations'),
    'another secret': ask(header(key=other), '/destinations'),
    'another secret, presigned': ask(query(key=other), '/destinations'),
    'nobody': ask(header(key=nobody), '/destinations'),
    'another service': ask(header('s3'), '/destinations'),
    'another region': ask(header(region='mars-1'), '/destinations'),
    'clock 200 s behind': ask(header(), '/destinations', skew=-200),
    'clock 200 s ahead': ask(header(), '/destinations', skew=200),
    'clock 400 s behind': ask(header(), '/destinations', skew=-400),
    'clock 400 s ahead': ask(header(), '/destinations', skew=400),
    'presigned, expired': ask(query(60), '/destinations', skew=-90),
    'presigned, not expired': ask(query(600), '/destinations', skew=-400),
    'another path': ask(header(), '/destinations', change=swap('/destinations', '/rules')),
    'another query': ask(header(), '/destinations?maxResults=1', change=swap('=1', '=2')),
    'another path, presigned': ask(query(), '/destinations/a', change=swap('/a?', '/b?')),
    'longer life, presigned': ask(query(60), '/destinations', change=swap('Expires=60', 'Expires=70')),
    'another body': ask(header(), '/destinations', 'POST', destination,
                        change=lambda url, headers, body: (url, body.replace(b'"d"', b'"e"'))),
}
print(json.dumps(said))
"#;

#[test]
fn what_botocore_signed_is_believed_and_nothing_else() {
    let edge = Edge::embedded();
    let said = Aws::of(&edge).boto3(PROGRAM).unwrap_or_else(|e| panic!("{e}"));
    let of = |case: &str| {
        let status = said[case][0].as_u64().unwrap_or_else(|| panic!("no case {case}"));
        (status, said[case][1].as_str().unwrap_or_default())
    };
    let believed = [
        "header",
        "header with a body",
        "encoded segment",
        "encoded query",
        "repeated query",
        "star",
        "presigned",
        "presigned with a query",
        "presigned encoded segment",
        "presigned delete",
        "a week",
        "clock 200 s behind",
        "clock 200 s ahead",
        "presigned, not expired",
    ];
    for case in believed {
        assert_ne!(of(case).0, 403, "{case}: {said:#}");
    }
    let mismatch = "SignatureDoesNotMatch";
    for (case, status, shape) in [
        ("more than a week", 400, "IncompleteSignature"),
        ("another secret", 403, mismatch),
        ("another secret, presigned", 403, mismatch),
        ("nobody", 403, "InvalidClientTokenId"),
        ("another service", 403, mismatch),
        ("another region", 403, mismatch),
        ("clock 400 s behind", 403, "RequestExpired"),
        ("clock 400 s ahead", 403, "RequestExpired"),
        ("presigned, expired", 403, "RequestExpired"),
        ("another path", 403, mismatch),
        ("another query", 403, mismatch),
        ("another path, presigned", 403, mismatch),
        ("longer life, presigned", 403, mismatch),
        ("another body", 403, mismatch),
    ] {
        assert_eq!(of(case), (status, shape), "{case}");
    }
    let cases = said.as_object().map_or(0, serde_json::Map::len);
    assert_eq!(cases, believed.len() + 14, "every case is looked at: {}", Value::clone(&said));
}
