from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.stub import Stubber
from ops.aws import Aws
from ops.console import Screen
from ops.deploy import describe_cause, report
from ops.errors import OpsError
from ops.events import EventStream, causes, newest, operation_start
from ops.follow import Outcome, Pauses, follow, poll_seconds

from tests.ops.conftest import ACCOUNT, REGION

Stub = Callable[[str], Stubber]
START = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
STACK = "AWS::CloudFormation::Stack"


def arn(name: str) -> str:
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/0a1b2c3d-0000-0000-0000-000000000000"


ROOT, FARGATE, NETWORK = arn("knowledge-dev"), arn("knowledge-dev-Fargate-1"), arn("knowledge-dev-Network-1")


def event(
    second: float, stack: str, logical: str, kind: str, status: str, physical: str = "", reason: str = ""
) -> dict[str, Any]:
    return {
        "StackId": stack,
        "EventId": f"{second}-{logical}-{status}",
        "StackName": stack.split("/")[1],
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "Timestamp": START + timedelta(seconds=second),
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


def stack_answer(status: str) -> dict[str, Any]:
    return {"Stacks": [{"StackName": "knowledge-dev", "CreationTime": START, "StackStatus": status}]}


def newest_first(*events: dict[str, Any]) -> dict[str, Any]:
    return {"StackEvents": sorted(events, key=lambda item: item["Timestamp"], reverse=True)}


FAILED_ROOT = [
    event(1, ROOT, "knowledge-dev", STACK, "CREATE_IN_PROGRESS", ROOT, "User Initiated"),
    event(2, ROOT, "Network", STACK, "CREATE_IN_PROGRESS", NETWORK),
    event(3, ROOT, "Fargate", STACK, "CREATE_IN_PROGRESS", FARGATE),
    event(8, ROOT, "Fargate", STACK, "CREATE_FAILED", FARGATE, f"Embedded stack {FARGATE} was not created"),
    event(9, ROOT, "Network", STACK, "CREATE_FAILED", NETWORK, "Resource creation cancelled"),
    event(10, ROOT, "knowledge-dev", STACK, "ROLLBACK_IN_PROGRESS", ROOT, "failed to create: [Fargate]"),
    event(12, ROOT, "knowledge-dev", STACK, "ROLLBACK_COMPLETE", ROOT),
]
REASON = (
    "Service deployment circuit breaker was triggered: tasks failed to start.\nexec format error " + "x" * 400
)
FAILED_FARGATE = [
    event(4, FARGATE, "knowledge-dev-Fargate-1", STACK, "CREATE_IN_PROGRESS", FARGATE),
    event(5, FARGATE, "Service", "AWS::ECS::Service", "CREATE_FAILED", "svc", REASON),
    event(6, FARGATE, "Scaling", "AWS::X::Y", "CREATE_FAILED", "", "Resource creation cancelled"),
    event(7, FARGATE, "knowledge-dev-Fargate-1", STACK, "ROLLBACK_IN_PROGRESS", FARGATE, "failed: [Service]"),
    event(11, FARGATE, "Cluster", "AWS::ECS::Cluster", "DELETE_FAILED", "cluster", "still has services"),
]


def script(cloudformation: Stubber) -> None:
    """Answer two polls: the second brings the failure, found only in the nested stack's events."""
    asked = {"StackName": ROOT}
    cloudformation.add_response("describe_stacks", stack_answer("CREATE_IN_PROGRESS"), asked)
    cloudformation.add_response("describe_stack_events", newest_first(*FAILED_ROOT[:2]), asked)
    cloudformation.add_response("describe_stack_events", newest_first(), {"StackName": NETWORK})
    cloudformation.add_response("describe_stacks", stack_answer("ROLLBACK_COMPLETE"), asked)
    cloudformation.add_response("describe_stack_events", newest_first(*FAILED_ROOT), asked)
    cloudformation.add_response("describe_stack_events", newest_first(), {"StackName": NETWORK})
    cloudformation.add_response(
        "describe_stack_events", newest_first(*FAILED_FARGATE), {"StackName": FARGATE}
    )


def test_the_first_cause_is_found_through_nested_stacks(
    aws: Aws, stub: Stub, screen: Screen, capsys: pytest.CaptureFixture[str]
) -> None:
    script(stub("cloudformation"))

    outcome = follow(aws, screen, ROOT, "knowledge-dev", START)

    assert outcome.status == "ROLLBACK_COMPLETE"
    assert [found.path for found in causes(outcome.events)] == ["Fargate/Service"]
    with pytest.raises(OpsError) as caught:
        report(screen, "knowledge-dev", outcome)
    assert caught.value.exit_code == 1
    assert REASON in str(caught.value)
    assert "cancelled" not in str(caught.value)
    lines = capsys.readouterr().err.splitlines()
    repeated = 2  # the nested stack's own two events, which its parent tells
    assert len(lines) == len(FAILED_ROOT) + len(FAILED_FARGATE) - repeated, "each event once, on its own line"
    assert any("Fargate/Service (AWS::ECS::Service): Service deployment" in line for line in lines)


def test_a_nested_stack_that_never_began_is_the_cause_itself(aws: Aws, stub: Stub) -> None:
    refused = event(3, ROOT, "Alb", STACK, "CREATE_FAILED", "", "Template format error: [/Resources]")
    stub("cloudformation").add_response("describe_stack_events", newest_first(refused))
    stream = EventStream(aws.cloudformation, ROOT, "knowledge-dev", START)

    (cause,) = causes(stream.poll())

    assert describe_cause(cause) == f"Alb ({STACK}) CREATE_FAILED: Template format error: [/Resources]"


def test_a_failed_rollback_is_told_when_nothing_else_is(aws: Aws, stub: Stub) -> None:
    stuck = event(3, ROOT, "Bucket", "AWS::S3::Bucket", "DELETE_FAILED", "b", "The bucket is not empty")
    stub("cloudformation").add_response("describe_stack_events", newest_first(stuck))
    stream = EventStream(aws.cloudformation, ROOT, "knowledge-dev", START)

    assert [found.reason for found in causes(stream.poll())] == ["The bucket is not empty"]


def test_no_cause_falls_back_to_what_the_stack_says(screen: Screen) -> None:
    outcome = Outcome("UPDATE_ROLLBACK_COMPLETE", "alarm fired", [], 1.0)

    with pytest.raises(OpsError, match="alarm fired"):
        report(screen, "knowledge-dev", outcome)


def test_older_operations_are_not_told(aws: Aws, stub: Stub) -> None:
    events = newest_first(*FAILED_ROOT)
    stub("cloudformation").add_response("describe_stack_events", events)
    stub("cloudformation").add_response("describe_stack_events", events)

    last = newest(aws.cloudformation, ROOT)

    assert last == START + timedelta(seconds=12)
    assert EventStream(aws.cloudformation, ROOT, "knowledge-dev", last).poll() == []


def test_a_running_operation_is_joined_from_its_beginning(aws: Aws, stub: Stub) -> None:
    again = event(50, ROOT, "knowledge-dev", STACK, "UPDATE_IN_PROGRESS", ROOT, "User Initiated")
    busy = event(51, ROOT, "Alb", STACK, "UPDATE_IN_PROGRESS")
    answer = newest_first(*FAILED_ROOT, again, busy)
    stub("cloudformation").add_response("describe_stack_events", answer)
    stub("cloudformation").add_response("describe_stack_events", answer)

    since = operation_start(aws.cloudformation, ROOT)
    told = EventStream(aws.cloudformation, ROOT, "knowledge-dev", since).poll()

    assert [item.path for item in told] == ["knowledge-dev", "Alb"]


def test_events_are_read_over_pages(aws: Aws, stub: Stub) -> None:
    late, early = newest_first(*FAILED_ROOT[4:]), newest_first(*FAILED_ROOT[:1])
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stack_events", {**late, "NextToken": "more"})
    cloudformation.add_response("describe_stack_events", early, {"StackName": ROOT, "NextToken": "more"})
    cloudformation.add_response("describe_stack_events", newest_first(), {"StackName": NETWORK})

    told = EventStream(aws.cloudformation, ROOT, "knowledge-dev", START).poll()

    assert [item.time.second for item in told] == [1, 9, 10, 12]


def test_a_lost_connection_is_survived(
    aws: Aws, stub: Stub, screen: Screen, capsys: pytest.CaptureFixture[str]
) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_client_error("describe_stacks", "Throttling", http_status_code=400)
    cloudformation.add_client_error("describe_stacks", "InternalFailure", http_status_code=500)
    cloudformation.add_response("describe_stacks", stack_answer("UPDATE_COMPLETE"))
    cloudformation.add_response("describe_stack_events", newest_first())

    assert follow(aws, screen, ROOT, "knowledge-dev", START).status == "UPDATE_COMPLETE"
    assert capsys.readouterr().err.count("trying again") == 1


def test_ended_credentials_say_that_it_goes_on(aws: Aws, stub: Stub, screen: Screen) -> None:
    stub("cloudformation").add_client_error("describe_stacks", "ExpiredToken", "The token has expired")

    with pytest.raises(OpsError, match=r"goes on in AWS.*\n.*follow --stack-name knowledge-dev") as caught:
        follow(aws, screen, ROOT, "knowledge-dev", START)

    assert caught.value.exit_code == 2


def test_ctrl_c_leaves_the_operation_alone(
    aws: Aws, stub: Stub, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stacks", stack_answer("CREATE_IN_PROGRESS"))
    cloudformation.add_response("describe_stack_events", newest_first())

    def interrupt(_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Pauses, "wait", interrupt)

    with pytest.raises(OpsError, match="goes on in AWS") as caught:
        follow(aws, screen, ROOT, "knowledge-dev", START)

    assert caught.value.exit_code == 130
    assert "delete" not in str(caught.value)


def test_pauses_grow_to_five_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPS_POLL_SECONDS")
    slept: list[float] = []
    pauses = Pauses(sleep=slept.append)

    for _ in range(20):
        pauses.wait()

    assert slept[0] == 1.0
    assert slept == sorted(slept)
    assert slept[-1] == 5.0


@pytest.mark.parametrize("value", ["soon", "-1", "inf", "nan"])
def test_poll_seconds_must_be_a_number(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("OPS_POLL_SECONDS", value)

    with pytest.raises(OpsError, match="OPS_POLL_SECONDS"):
        poll_seconds()


def test_a_terminal_gets_one_row_per_stack(
    aws: Aws, stub: Stub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    script(stub("cloudformation"))

    follow(aws, Screen(), ROOT, "knowledge-dev", START)

    shown = capsys.readouterr().err
    assert "in progress" in shown
    assert "circuit breaker" in shown
    assert "User Initiated" not in shown, "a terminal gets no line for what goes well"
