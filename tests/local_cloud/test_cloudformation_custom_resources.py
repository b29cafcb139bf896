from __future__ import annotations

import io
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from tests.local_cloud import stacks

HANDLER = """
import json, os, sys
import boto3, crhelper
from crhelper import CfnResource

helper = CfnResource(json_logging=False, log_level="INFO")
s3 = boto3.client("s3")

def note(event, text):
    bucket = event["ResourceProperties"]["Bucket"]
    key = f"{event['LogicalResourceId']}/{event['RequestType']}"
    s3.put_object(Bucket=bucket, Key=key, Body=text.encode())

@helper.create
def create(event, context):
    helper.PhysicalResourceId = "made-" + event["ResourceProperties"]["Name"]
    note(event, json.dumps([crhelper.__file__, context.get_remaining_time_in_millis(), sys.path]))
    if event["ResourceProperties"].get("Fail") == "true":
        raise ValueError("told to fail")
    helper.Data["Answer"] = "forty-two"
    return helper.PhysicalResourceId

@helper.update
def update(event, context):
    note(event, event["OldResourceProperties"]["Name"])
    if event["ResourceProperties"].get("Fail") == "true":
        raise ValueError("told to fail")
    helper.Data["Answer"] = "forty-three"

@helper.delete
def delete(event, context):
    note(event, event["PhysicalResourceId"])

def handler(event, context):
    helper(event, context)

def silent(event, context):
    return None
"""

ROLE = stacks.role("lambda.amazonaws.com")


def template(handler: str = "handler", **properties: str) -> dict[str, Any]:
    return {
        "Resources": {
            "Role": ROLE,
            "Function": {
                "Type": "AWS::Lambda::Function",
                "Properties": {
                    "Runtime": "python3.13",
                    "Handler": f"things.{handler}",
                    "Role": {"Fn::GetAtt": ["Role", "Arn"]},
                    "Timeout": "20",
                    "Code": {"S3Bucket": "custom-code", "S3Key": "things.zip"},
                },
            },
            "Thing": {
                "Type": "Custom::Thing",
                "Properties": {
                    "ServiceToken": {"Fn::GetAtt": ["Function", "Arn"]},
                    "ServiceTimeout": 30 if handler == "handler" else 1,
                    "Bucket": "custom-notes",
                    **properties,
                },
            },
        },
        "Outputs": {
            "Answer": {"Value": {"Fn::GetAtt": ["Thing", "Answer"]}},
            "Id": {"Value": {"Ref": "Thing"}},
        },
    }


@pytest.fixture(scope="module")
def notes(client: Any) -> Any:
    s3 = client("s3")
    s3.create_bucket(Bucket="custom-code")
    s3.create_bucket(Bucket="custom-notes")
    s3.put_object(Bucket="custom-code", Key="things.zip", Body=bundle())

    def read(name: str) -> str:
        text: str = s3.get_object(Bucket="custom-notes", Key=name)["Body"].read().decode()
        s3.delete_object(Bucket="custom-notes", Key=name)
        return text

    return read


def bundle(handler: str = HANDLER) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("things.py", handler)
        spec = find_spec("crhelper")
        assert spec is not None
        assert spec.origin is not None
        for path in sorted(Path(spec.origin).parent.glob("*.py")):
            archive.write(path, f"crhelper/{path.name}")
    return content.getvalue()


@pytest.fixture
def cloudformation(client: Any) -> Any:
    return client("cloudformation")


def test_real_handler_creates_updates_and_deletes(cloudformation: Any, notes: Any) -> None:
    stack = stacks.create(cloudformation, "custom-real", template(Name="one"))
    assert stacks.outputs(stack) == {"Answer": "forty-two", "Id": "made-one"}
    seen = notes("Thing/Create")
    assert "/code/crhelper/" in seen
    assert "site-packages" not in seen
    assert 0 < int(seen.split(",")[1]) <= 20_000

    stack = stacks.update(cloudformation, "custom-real", template(Name="two"))
    assert stacks.outputs(stack)["Answer"] == "forty-three"
    assert notes("Thing/Update") == "one"

    assert stacks.delete(cloudformation, "custom-real")["StackStatus"] == "DELETE_COMPLETE"
    assert notes("Thing/Delete") == "made-one"


def test_failed_create_is_deleted_and_rolled_back(client: Any, cloudformation: Any, notes: Any) -> None:
    stack = stacks.create(cloudformation, "custom-fail", template(Name="bad", Fail="true"))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(cloudformation, "custom-fail")["Thing"]
    assert reason.startswith(
        "Received response status [FAILED] from custom resource. Message returned: told to fail"
    )
    assert notes("Thing/Delete") == "made-bad"
    functions = client("lambda").list_functions()["Functions"]
    assert [f["FunctionName"] for f in functions if f["FunctionName"].startswith("custom-fail")] == []
    roles = client("iam").list_roles()["Roles"]
    assert [r["RoleName"] for r in roles if r["RoleName"].startswith("custom-fail")] == []


def test_failed_update_gets_the_old_properties_back(cloudformation: Any, notes: Any) -> None:
    stacks.create(cloudformation, "custom-back", template(Name="old"))
    stack = stacks.update(cloudformation, "custom-back", template(Name="new", Fail="true"))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert notes("Thing/Update") == "new"
    stacks.delete(cloudformation, "custom-back")


def test_silence_fails_after_the_service_timeout(cloudformation: Any, notes: Any) -> None:
    request = stacks.arguments("custom-silent", template("silent", Name="mute"))
    cloudformation.create_stack(**request, DisableRollback=True)
    stack = stacks.settled(cloudformation, "custom-silent")
    assert stack["StackStatus"] == "CREATE_FAILED"
    reasons = stacks.failure_reasons(cloudformation, "custom-silent")
    assert "did not receive a response from your Custom Resource" in reasons["Thing"]


def test_function_needs_code_that_exists(cloudformation: Any, notes: Any) -> None:
    wanted = template(Name="x")
    wanted["Resources"]["Function"]["Properties"]["Code"]["S3Key"] = "absent.zip"
    stack = stacks.create(cloudformation, "custom-nocode", wanted)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "NoSuchKey" in stacks.failure_reasons(cloudformation, "custom-nocode")["Function"]


def workers(name: str) -> list[Path]:
    """Return the processes of functions whose names begin with ``name``, where the system tells (Linux)."""
    commands = Path("/proc").glob("[0-9]*/cmdline")
    return [path for path in commands if f"ministack-lambda-{name}" in _text(path)]


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_new_code_takes_effect_and_no_worker_stays(client: Any, cloudformation: Any, notes: Any) -> None:
    changed = bundle(HANDLER.replace("forty-three", "forty-four"))
    client("s3").put_object(Bucket="custom-code", Key="changed.zip", Body=changed)
    stacks.create(cloudformation, "custom-code", template(Name="one"))
    wanted = template(Name="two")
    wanted["Resources"]["Function"]["Properties"]["Code"]["S3Key"] = "changed.zip"
    assert stacks.outputs(stacks.update(cloudformation, "custom-code", wanted))["Answer"] == "forty-four"
    stacks.delete(cloudformation, "custom-code")
    assert workers("custom-code") == []


def test_function_finds_no_package_of_this_machine(client: Any, cloudformation: Any, notes: Any) -> None:
    bare = io.BytesIO()
    with zipfile.ZipFile(bare, "w") as archive:
        archive.writestr("things.py", "import boto3, crhelper\n")
    client("s3").put_object(Bucket="custom-code", Key="bare.zip", Body=bare.getvalue())
    wanted = template("silent", Name="x")
    wanted["Resources"]["Function"]["Properties"]["Code"]["S3Key"] = "bare.zip"
    stack = stacks.create(
        cloudformation, "custom-bare", {"Resources": {**wanted["Resources"], "Thing": ROLE}}
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    [function] = [
        f["FunctionName"]
        for f in client("lambda").list_functions()["Functions"]
        if "custom-bare" in f["FunctionName"]
    ]
    answer = client("lambda").invoke(FunctionName=function, Payload=b"{}")
    assert "No module named 'crhelper'" in answer["Payload"].read().decode()
    stacks.delete(cloudformation, "custom-bare")
