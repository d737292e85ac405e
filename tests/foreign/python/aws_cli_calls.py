"""Every operation of the table of calls by the AWS CLI, its own driver run here for each: a process for each
would read its modules 80 times. Given on standard input: the table and its values. Tells on standard output which
operations were called, in the order of their names.
"""
import contextlib
import io
import json
import sys

from awscli.clidriver import create_clidriver
from botocore import xform_name

given = json.load(sys.stdin)
kept = dict(given["values"])
driver = create_clidriver()
services = {said["operationId"]: said["x-iam-action"].split(":")[0]
            for methods in given["document"]["paths"].values() for said in methods.values()}


def filled(value):
    if isinstance(value, dict):
        return {name: filled(of) for name, of in value.items()}
    if isinstance(value, list):
        return [filled(of) for of in value]
    return kept[value[1:]] if isinstance(value, str) and value.startswith("$") else value


called = set()
for step in given["calls"]["first"] + given["calls"]["last"]:
    op = step["op"]
    command = [services[op], xform_name(op, "-"), "--output", "json",
               "--cli-input-json", json.dumps(filled(step["in"]))]
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = driver.main(command)
    assert status == 0, (op, status, err.getvalue())
    answer = json.loads(out.getvalue() or "{}")
    kept.update({name: answer[member] for name, member in step.get("keep", {}).items()})
    called.add(op)
print(json.dumps(sorted(called)))
