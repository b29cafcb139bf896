from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import ANY, Stubber
from ops import artifacts, changeset, deploy
from ops.aws import Aws
from ops.bundle import build_bundle
from ops.console import Screen
from ops.errors import OpsError
from ops.project import Project, read_stage

from tests.ops.conftest import ACCOUNT, REGION

Stub = Callable[[str], Stubber]
NAME = "knowledge-mcp-server-dev"
ROOT = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{NAME}/0a1b2c3d-0000-0000-0000-000000000000"
CHANGES = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:changeSet/ops-1/0a1b2c3d"
NOW = datetime(2026, 11, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def uploaded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bucket holds the bundle already; test_artifacts.py has the upload."""
    monkeypatch.setattr(artifacts, "has_bucket", lambda *_: True)
    monkeypatch.setattr(artifacts, "upload", lambda *_: artifacts.Upload(0, 4))


@pytest.fixture
def outdated(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is deployed is another version."""
    monkeypatch.setattr(deploy, "is_current", lambda *_: False)


def stack(status: str, **more: Any) -> dict[str, Any]:
    return {
        "Stacks": [{"StackName": NAME, "StackId": ROOT, "CreationTime": NOW, "StackStatus": status, **more}]
    }


def missing(cloudformation: Stubber) -> None:
    text = f"Stack with id {NAME} does not exist"
    cloudformation.add_client_error("describe_stacks", "ValidationError", text)


def change_set(cloudformation: Stubber, status: str, reason: str = "", kind: str = "UPDATE") -> None:
    expected = {
        "StackName": NAME,
        "ChangeSetName": ANY,
        "ChangeSetType": kind,
        "TemplateURL": ANY,
        "Parameters": ANY,
        "Tags": [{"Key": "Project", "Value": "Knowledge"}],
        "Capabilities": ["CAPABILITY_IAM"],
    }
    cloudformation.add_response("create_change_set", {"Id": CHANGES, "StackId": ROOT}, expected)
    answer = {"Status": status, "StatusReason": reason}
    cloudformation.add_response("describe_change_set", answer, {"ChangeSetName": CHANGES})


def ready(cloudformation: Stubber) -> None:
    parts = [
        {"Action": "Add", "LogicalResourceId": "Alb"},
        {"Action": "Modify", "LogicalResourceId": "Vpc", "Replacement": "True"},
        {"Action": "Remove", "LogicalResourceId": "Old"},
    ]
    first, *rest = [{"Type": "Resource", "ResourceChange": part} for part in parts]
    asked = {"ChangeSetName": CHANGES}
    cloudformation.add_response("describe_change_set", {"Changes": [first], "NextToken": "more"}, asked)
    cloudformation.add_response("describe_change_set", {"Changes": rest}, {**asked, "NextToken": "more"})


def executed(cloudformation: Stubber, status: str, *, rollback: bool = True) -> None:
    cloudformation.add_response("describe_stack_events", {"StackEvents": []})
    expected = {"ChangeSetName": CHANGES, "DisableRollback": not rollback}
    cloudformation.add_response("execute_change_set", {}, expected)
    cloudformation.add_response("describe_stacks", stack(status), {"StackName": ROOT})
    cloudformation.add_response("describe_stack_events", {"StackEvents": []}, {"StackName": ROOT})


def run(aws: Aws, project: Project, **options: Any) -> None:
    deploy.deploy(aws, Screen(), project, read_stage(project, "dev"), NAME, **options)


@pytest.mark.usefixtures("outdated")
def test_create(aws: Aws, stub: Stub, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    cloudformation = stub("cloudformation")
    missing(cloudformation)
    change_set(cloudformation, "CREATE_COMPLETE", kind="CREATE")
    ready(cloudformation)
    executed(cloudformation, "CREATE_COMPLETE")
    outputs = [{"OutputKey": "ServerUrl", "OutputValue": "https://d1.cloudfront.net/mcp"}]
    cloudformation.add_response("describe_stacks", stack("CREATE_COMPLETE", Outputs=outputs))

    run(aws, project)

    shown = capsys.readouterr()
    assert "1 to add, 1 to change, 1 to remove; replaces Vpc" in shown.err
    assert f"{NAME}: CREATE_COMPLETE in" in shown.out
    assert "ServerUrl  https://d1.cloudfront.net/mcp" in shown.out


@pytest.mark.usefixtures("outdated")
def test_what_is_asked_of_cloudformation(aws: Aws, project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def create(
        _: object, name: str, kind: str, url: str, parameters: dict[str, str], tags: dict[str, str]
    ) -> None:
        asked.update(name=name, kind=kind, url=url, parameters=parameters, tags=tags)

    monkeypatch.setattr(changeset, "create", create)
    monkeypatch.setattr(deploy, "_prepare", lambda *_: "UPDATE")

    run(aws, project, bucket="mine")

    prefix = build_bundle(project).prefix
    assert asked["url"] == f"https://mine.s3.{REGION}.amazonaws.com/{prefix}infrastructure/main.yaml"
    assert asked["parameters"] == {
        "Stage": "dev",
        "DesiredCount": "1",
        "ArtifactBucket": "mine",
        "ArtifactPrefix": prefix,
    }
    assert (project.build / "dev.json").is_file()


OURS = {"Stage": "dev", "ArtifactPrefix": "knowledge/1/"}
DEPLOYED = [
    {"ParameterKey": "Stage", "ParameterValue": "dev"},
    {"ParameterKey": "ArtifactPrefix", "ParameterValue": "knowledge/1/"},
    {"ParameterKey": "Cpu", "ParameterValue": "256"},
]
SUMMARY = {"Parameters": [{"ParameterKey": "Stage"}, {"ParameterKey": "Cpu", "DefaultValue": "256"}]}
TAGS = [{"Key": "Project", "Value": "Knowledge"}]


def test_the_same_parameters_and_tags_are_current(aws: Aws, stub: Stub) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stacks", stack("UPDATE_COMPLETE", Parameters=DEPLOYED, Tags=TAGS))
    cloudformation.add_response("get_template_summary", SUMMARY, {"StackName": ROOT})

    assert deploy.is_current(aws, NAME, OURS, {"Project": "Knowledge"}) is True


@pytest.mark.parametrize(
    ("status", "ours", "tags", "deployed"),
    [
        ("UPDATE_COMPLETE", {**OURS, "ArtifactPrefix": "knowledge/2/"}, {"Project": "Knowledge"}, DEPLOYED),
        ("UPDATE_COMPLETE", {**OURS, "New": "1"}, {"Project": "Knowledge"}, DEPLOYED),
        ("UPDATE_COMPLETE", OURS, {}, DEPLOYED),
        ("UPDATE_ROLLBACK_COMPLETE", OURS, {"Project": "Knowledge"}, DEPLOYED),
        (
            "UPDATE_COMPLETE",
            OURS,
            {"Project": "Knowledge"},
            [{**DEPLOYED[0], "ResolvedValue": "x"}, *DEPLOYED[1:]],
        ),
    ],
)
def test_anything_else_is_not_current(
    aws: Aws,
    stub: Stub,
    status: str,
    ours: dict[str, str],
    tags: dict[str, str],
    deployed: list[dict[str, str]],
) -> None:
    stub("cloudformation").add_response("describe_stacks", stack(status, Parameters=deployed, Tags=TAGS))

    assert deploy.is_current(aws, NAME, ours, tags) is False


def test_a_value_taken_out_of_the_stage_file_is_not_current(aws: Aws, stub: Stub) -> None:
    cloudformation = stub("cloudformation")
    bigger = [*DEPLOYED[:2], {"ParameterKey": "Cpu", "ParameterValue": "1024"}]
    cloudformation.add_response("describe_stacks", stack("UPDATE_COMPLETE", Parameters=bigger, Tags=TAGS))
    cloudformation.add_response("get_template_summary", SUMMARY)

    assert deploy.is_current(aws, NAME, OURS, {"Project": "Knowledge"}) is False


def test_deploying_what_is_current_asks_for_no_change_set(
    aws: Aws, project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(deploy, "is_current", lambda *_: True)
    monkeypatch.setattr(changeset, "create", lambda *_: pytest.fail("a change set was made"))

    run(aws, project)

    assert f"{NAME}: no changes." in capsys.readouterr().out


@pytest.mark.usefixtures("outdated")
@pytest.mark.parametrize(
    "reason",
    [
        "The submitted information didn't contain changes. Submit different.",
        "No updates are to be performed.",
    ],
)
def test_no_changes_succeeds_and_cleans_up(
    aws: Aws, stub: Stub, project: Project, capsys: pytest.CaptureFixture[str], reason: str
) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stacks", stack("UPDATE_COMPLETE"))
    change_set(cloudformation, "FAILED", reason)
    cloudformation.add_response("delete_change_set", {}, {"ChangeSetName": CHANGES})

    run(aws, project)

    assert f"{NAME}: no changes." in capsys.readouterr().out


@pytest.mark.usefixtures("outdated")
def test_a_refused_change_is_told_and_its_empty_stack_removed(aws: Aws, stub: Stub, project: Project) -> None:
    cloudformation = stub("cloudformation")
    missing(cloudformation)
    change_set(cloudformation, "FAILED", "Parameters: [Colour] do not exist in the template", kind="CREATE")
    cloudformation.add_response("delete_change_set", {}, {"ChangeSetName": CHANGES})
    cloudformation.add_response("describe_stacks", stack("REVIEW_IN_PROGRESS"), {"StackName": ROOT})
    cloudformation.add_response("delete_stack", {}, {"StackName": ROOT})

    with pytest.raises(OpsError, match=r"refused the change of .*\[Colour\] do not exist"):
        run(aws, project)


@pytest.mark.usefixtures("outdated")
def test_an_invalid_template_is_one_line(aws: Aws, stub: Stub, project: Project) -> None:
    cloudformation = stub("cloudformation")
    missing(cloudformation)
    text = "Template format error: YAML not well-formed.\n(line 3, column 1)"
    cloudformation.add_client_error("create_change_set", "ValidationError", text)

    with pytest.raises(OpsError, match=r"YAML not well-formed. \(line 3, column 1\)\.$") as caught:
        run(aws, project)

    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("outdated")
def test_no_rollback(aws: Aws, stub: Stub, project: Project) -> None:
    cloudformation = stub("cloudformation")
    missing(cloudformation)
    change_set(cloudformation, "CREATE_COMPLETE", kind="CREATE")
    ready(cloudformation)
    executed(cloudformation, "CREATE_FAILED", rollback=False)

    with pytest.raises(OpsError, match=r"CREATE_FAILED\. First cause:"):
        run(aws, project, rollback=False)


@pytest.mark.usefixtures("outdated")
def test_a_failed_creation_is_cleared_first(aws: Aws, stub: Stub, project: Project) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stacks", stack("ROLLBACK_COMPLETE"), {"StackName": NAME})
    cloudformation.add_response("describe_stack_events", {"StackEvents": []})
    cloudformation.add_response("delete_stack", {}, {"StackName": ROOT})
    cloudformation.add_response("describe_stacks", stack("DELETE_COMPLETE"), {"StackName": ROOT})
    cloudformation.add_response("describe_stack_events", {"StackEvents": []})
    change_set(cloudformation, "CREATE_COMPLETE", kind="CREATE")
    ready(cloudformation)
    executed(cloudformation, "CREATE_COMPLETE")
    cloudformation.add_response("describe_stacks", stack("CREATE_COMPLETE"))

    run(aws, project)


def test_a_stack_under_review_is_created(aws: Aws, stub: Stub, screen: Screen) -> None:
    stub("cloudformation").add_response("describe_stacks", stack("REVIEW_IN_PROGRESS"))

    assert deploy._prepare(aws, screen, NAME) == "CREATE"


@pytest.mark.parametrize("status", ["CREATE_COMPLETE", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_FAILED"])
def test_a_stack_that_takes_updates(aws: Aws, stub: Stub, screen: Screen, status: str) -> None:
    stub("cloudformation").add_response("describe_stacks", stack(status))

    assert deploy._prepare(aws, screen, NAME) == "UPDATE"


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        ("UPDATE_IN_PROGRESS", f"python -m ops follow --stack-name {NAME} --region {REGION}"),
        ("UPDATE_ROLLBACK_FAILED", f"continue-update-rollback --stack-name {NAME}"),
        ("DELETE_FAILED", "destroy it first"),
        ("ROLLBACK_FAILED", "destroy it first"),
    ],
)
def test_a_stack_that_takes_no_change_says_what_to_do(
    aws: Aws, stub: Stub, screen: Screen, status: str, advice: str
) -> None:
    stub("cloudformation").add_response("describe_stacks", stack(status))

    with pytest.raises(OpsError, match=advice):
        deploy._prepare(aws, screen, NAME)


def test_follow_with_nothing_going_on(
    aws: Aws, stub: Stub, screen: Screen, capsys: pytest.CaptureFixture[str]
) -> None:
    stub("cloudformation").add_response("describe_stacks", stack("UPDATE_COMPLETE"))

    deploy.follow_running(aws, screen, NAME)

    assert "UPDATE_COMPLETE, nothing is going on" in capsys.readouterr().out
