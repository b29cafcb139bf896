"""The functions' roles allow the calls that the functions make, and no other.

The calls are those that botocore notes while the unit tests of a function's module run, and a life of its
resource with one fault at each of its calls (`tests/custom_resources/faults`): so those are among them that
only a failure leads to. A call that no test makes counts as never made.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.custom_resources.faults.worlds import WORLDS
from tests.custom_resources.recording import FILE
from tests.custom_resources.reference import CustomResource, custom_resources, in_words, statements
from tests.infrastructure.cloudformation import ROOT, load_templates

Calls = list[dict[str, Any]]

TYPES = custom_resources()
TEMPLATES = load_templates()
# One of the tests makes the notes for all.
pytestmark = [pytest.mark.timeout(600), pytest.mark.xdist_group("permissions")]
each_type = pytest.mark.parametrize("custom", TYPES, ids=[custom.type_name for custom in TYPES])

RECORDING = "tests.custom_resources.recording"
# The faults that lead to other calls: cleaning up, asking anew.
FAULTS = "FAILED,WORK_FAILS"
# Of operations whose IAM actions aren't named like them.
# https://docs.aws.amazon.com/service-authorization/latest/reference/list_amazons3.html
ACTIONS = {
    ("s3", "ListObjectVersions"): ("s3:ListBucketVersions",),
    ("lambda", "Invoke"): ("lambda:InvokeFunction",),
    ("s3", "DeleteObjects"): ("s3:DeleteObject", "s3:DeleteObjectVersion"),
}
PREFIXES = {"bedrock-agentcore-control": "bedrock-agentcore", "elbv2": "elasticloadbalancing"}
OF_EVERY_FUNCTION = {"logs:CreateLogStream", "logs:PutLogEvents"}
# Actions that a service asks for beside a call, named in the service's own guide.
BESIDE: dict[str, set[str]] = {
    "Custom::EdgeWebAcl": {
        # https://docs.aws.amazon.com/waf/latest/developerguide/logging-cw-logs.html
        "logs:CreateLogDelivery",
        "logs:DeleteLogDelivery",
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:PutResourcePolicy",
    },
    "Custom::EdgeAccessLog": {
        # https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/AWS-logs-infrastructure-V2-CloudWatchLogs.html
        "logs:DescribeLogGroups",
        "logs:DescribeResourcePolicies",
        "logs:PutResourcePolicy",
        "cloudfront:AllowVendedLogDeliveryForResource",
    },
    # https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/gateway-prerequisites-permissions.html
    "Custom::GatewayTarget": {
        "bedrock-agentcore:GetResourceOauth2Token",
        "bedrock-agentcore:GetWorkloadAccessToken",
    },
    # A request that botocore signs but doesn't send.
    "Custom::ToolCall": {"bedrock-agentcore:InvokeGateway"},
}
# Services that a type calls for a property which the templates don't give it.
UNUSED = {"Custom::Emptied": {"RepositoryName": "ecr"}}

# What a call of a service is about, as the end of an ARN.
RESOURCES: dict[str, Callable[[dict[str, Any]], str]] = {
    "bedrock-agentcore-control": lambda params: f"gateway/{params['gatewayIdentifier']}",
    "cognito-idp": lambda params: f"userpool/{params['UserPoolId']}",
    "codebuild": lambda params: f"project/{params.get('projectName') or _project_of_build(params)}",
    "ecr": lambda params: f"repository/{params.get('repositoryName') or params['repositoryNames'][0]}",
    "logs": lambda params: _log_resource(params),
}
# Calls that a service knows no resources for.
OF_NO_RESOURCE = {
    ("acm", "ListCertificates"),
    ("acm", "RequestCertificate"),
    ("elbv2", "DescribeRules"),
    ("elbv2", "DescribeTags"),
    ("logs", "DescribeDeliveries"),
    ("logs", "DescribeLogGroups"),
    ("wafv2", "ListWebACLs"),
}
# Modules that get tokens by `tokens`, which has unit tests of its own.
TAKES_TOKENS = frozenset({"gateway_target", "smoke_test_hook", "tool_call"})
OBJECT_OPERATIONS = frozenset({"DeleteObject", "DeleteObjects", "GetObject", "PutObject"})
# What `Fn::GetAtt: […, Arn]` gives.
ARNS = {
    "AWS::CodeBuild::Project": "arn:aws:codebuild:*:*:project/*",
    "AWS::Cognito::UserPool": "arn:aws:cognito-idp:*:*:userpool/*",
    "AWS::ECR::Repository": "arn:aws:ecr:*:*:repository/*",
    "AWS::Logs::LogGroup": "arn:aws:logs:*:*:log-group:*:*",
    "AWS::S3::Bucket": "arn:aws:s3:::bucket",
}


def _log_resource(params: dict[str, Any]) -> str:
    """Return what a call of CloudWatch Logs is about: a log group, or a part of a delivery."""
    if "logGroupName" in params:
        return f"log-group:{params['logGroupName']}:log-stream:{params.get('logStreamName', '')}"
    if "deliverySourceName" in params or "logType" in params:
        return f"delivery-source:{params.get('deliverySourceName') or params['name']}"
    if "deliveryDestinationConfiguration" in params:
        return f"delivery-destination:{params['name']}"
    return f"delivery:{params['id']}" if "id" in params else f"delivery-source:{params['name']}"


def _project_of_build(params: dict[str, Any]) -> str:
    """Return the project in the id of a build, <project>:<uuid>."""
    return str(params["id"] if "id" in params else params["ids"][0]).partition(":")[0]


TESTS = ROOT / "tests" / "custom_resources"
# The smoke test is no custom resource, so it has no world.
MODULES = sorted({custom.resource.__module__.rpartition(".")[2] for custom in TYPES} | {"smoke_test_hook"})


def files_of(module: str) -> list[str]:
    """Return the names of the files with the unit tests of a module and of what calls for it."""
    return [f"test_{module}.py", *(["test_tokens.py"] if module in TAKES_TOKENS else [])]


def lives_of(module: str) -> list[str]:
    """Return the tests, within their file, that let a module's resources live with faults."""
    return [
        f"test_any_one_fault_at_any_one_call[{world.__name__}]"
        for world in WORLDS
        if world.resource.__module__.endswith(f".{module}")
    ]


@pytest.fixture(scope="module")
def noted(tmp_path_factory: pytest.TempPathFactory) -> Calls:
    """All calls that the unit tests of all modules make, and by which test."""
    files = sorted({TESTS / name for module in MODULES for name in files_of(module)})
    for file in files:
        assert file.is_file(), f"{file.stem.removeprefix('test_')} has no unit tests of its own"
    faults = TESTS / "faults" / "test_faults.py"
    lives = [f"{faults}::{life}" for module in MODULES for life in lives_of(module)]
    path = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", RECORDING, *map(str, files), *lives],
        cwd=ROOT,
        env={**os.environ, FILE: str(path), "FAULTS": FAULTS, "PYTEST_ADDOPTS": "-p no:cacheprovider"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:]
    return [json.loads(line) for line in path.read_text().splitlines()]


def recorded(module: str, noted: Calls) -> Calls:
    """Return the calls that the unit tests of a module make."""
    files, lives = files_of(module), lives_of(module)

    def is_of_module(test: str) -> bool:
        path, _, name = test.partition("::")
        return Path(path).name in files or name in lives

    return [call for call in noted if is_of_module(call["test"])]


def calls(custom: CustomResource, noted: Calls) -> Calls:
    """Return the calls of a type's function as the templates use it."""
    uses = [
        resource["Properties"]
        for template in TEMPLATES.values()
        for resource in template["Resources"].values()
        if resource["Type"] == custom.type_name
    ]
    left_out = {
        service
        for name, service in UNUSED.get(custom.type_name, {}).items()
        if not any(name in properties for properties in uses)
    }
    module = custom.resource.__module__.rpartition(".")[2]
    return [call for call in recorded(module, noted) if call["service"] not in left_out]


def actions_of(call: dict[str, Any]) -> tuple[str, ...]:
    """Return the IAM actions that a call needs."""
    service, operation = call["service"], call["operation"]
    return ACTIONS.get((service, operation), (f"{PREFIXES.get(service, service)}:{operation}",))


def in_list(action: str | list[str]) -> list[str]:
    """Return a statement's actions, of which there may be one without a list."""
    return action if isinstance(action, list) else [action]


def allowed(custom: CustomResource) -> dict[str, list[str]]:
    """Return `{action: resources}` of a function's role."""
    found: dict[str, list[str]] = {}
    for statement in custom.statements:
        for action in in_list(statement["Action"]):
            found.setdefault(action, []).extend(in_words(statement["Resource"]))
    return found


@each_type
def test_the_role_allows_the_calls_that_are_made_and_no_other(custom: CustomResource, noted: Calls) -> None:
    needed = {action for call in calls(custom, noted) for action in actions_of(call)}
    assert needed, "no call was noted"
    assert set(allowed(custom)) == needed | OF_EVERY_FUNCTION | BESIDE.get(custom.type_name, set())


@each_type
def test_the_role_allows_them_on_what_they_are_about(
    custom: CustomResource, noted: Calls, say: Callable[[str], None]
) -> None:
    permitted, made = allowed(custom), calls(custom, noted)
    operations = len({(call["service"], call["operation"]) for call in made})
    say(f"{custom.type_name}: {len(made)} calls of {operations} operations checked against its policy")
    for call in made:
        for action in actions_of(call):
            patterns = permitted.get(action, [])
            about = resource_of(call)
            assert any(matches(custom, pattern, about) for pattern in patterns), (action, about, patterns)


def test_the_smoke_tests_role_allows_its_calls_and_no_other(noted: Calls) -> None:
    needed = {action for call in recorded("smoke_test_hook", noted) for action in actions_of(call)}
    granted = {
        action: statement["Resource"]
        for statement in statements(TEMPLATES["smoke-test"], "HookRole")
        for action in in_list(statement["Action"])
    }
    assert set(granted) == needed | OF_EVERY_FUNCTION
    assert granted["lambda:InvokeFunction"] == {"Fn::GetAtt": ["ProbeFunction", "Arn"]}
    assert granted["secretsmanager:GetSecretValue"] == {"Ref": "ClientSecretArn"}


def _arn_in(operation: str, params: dict[str, Any]) -> str:
    """Return the ARN that a call names what it is about by, "" where it uses names."""
    names = [
        "CertificateArn",
        "ListenerArn",
        "RuleArn",
        "ResourceARN",
        "ResourceArn",
        "SecretId",
        "StackName",
    ]
    # Of a delivery's source it is what is logged.
    names += [] if operation == "PutDeliverySource" else ["resourceArn"]
    for name in names:
        value = params.get(name) or params.get("LoggingConfiguration", {}).get(name)
        if value:
            return str(value)
    # Load balancing takes several at once; the functions name one.
    (arn,) = params.get("ResourceArns", [""])
    return str(arn)


def resource_of(call: dict[str, Any]) -> str:
    """Return the ARN of what a call is about; "*" where the service knows no resources for it."""
    service, params = call["service"], call["params"]
    if (service, call["operation"]) in OF_NO_RESOURCE:
        return "*"
    named = _arn_in(call["operation"], params)
    if named:
        return named
    if service == "wafv2":
        name = f"{params['Name']}/{params.get('Id', 'new')}"
        return f"arn:aws:wafv2:us-east-1:123456789012:global/webacl/{name}"
    if service == "route53":
        return f"arn:aws:route53:::hostedzone/{params['HostedZoneId']}"
    if service == "s3":
        key = f"/{params.get('Key', 'folder/key')}" if call["operation"] in OBJECT_OPERATIONS else ""
        return f"arn:aws:s3:::bucket{key}"
    if service not in RESOURCES:
        return "*"
    name = PREFIXES.get(service, service)
    return f"arn:aws:{name}:us-east-1:123456789012:{RESOURCES[service](params)}"


def matches(custom: CustomResource, pattern: str, about: str) -> bool:
    """Whether a policy's resource, with anything for what a deploy fills in, is about this."""

    def filled_in(found: re.Match[str]) -> str:
        name, _, attribute = found.group(1).partition(".")
        resource = TEMPLATES[custom.template]["Resources"].get(name)
        return ARNS[resource["Type"]] if resource is not None and attribute == "Arn" else "*"

    text = re.sub(r"\$\{([^}]+)\}", filled_in, pattern)
    return re.fullmatch(".*".join(re.escape(part) for part in text.split("*")), about) is not None
