"""Termination protection is switched on when asked for, and missed in production."""

from collections.abc import Callable
from typing import Any

import pytest
from botocore.stub import Stubber
from ops import __main__ as command
from ops import protection
from ops.aws import Aws
from ops.console import Screen
from ops.project import Stage

from tests.ops.conftest import REGION

NAME = "knowledge-mcp-server-prod"
Stub = Callable[[str], Stubber]


def stage(kind: str) -> Stage:
    return Stage("production", {"Stage": kind}, {})


def deployed(cloudformation: Stubber, **more: Any) -> None:
    stack = {"StackName": NAME, "CreationTime": "2026-11-01T00:00:00Z", "StackStatus": "CREATE_COMPLETE"}
    cloudformation.add_response("describe_stacks", {"Stacks": [stack | more]}, {"StackName": NAME})


def test_protect(aws: Aws, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    expected = {"EnableTerminationProtection": True, "StackName": NAME}
    stub("cloudformation").add_response("update_termination_protection", {"StackId": NAME}, expected)
    protection.protect(aws, Screen(), NAME)
    assert capsys.readouterr().out == f"{NAME}: termination protection is on\n"


def test_production_without_is_told_how(aws: Aws, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    deployed(stub("cloudformation"), EnableTerminationProtection=False)
    protection.advise(aws, Screen(), stage("prod"), NAME)
    told = capsys.readouterr().err
    assert told.splitlines()[0] == f"{NAME} has no termination protection. Switch it on with"
    # What it says is a command this program takes.
    arguments = told.splitlines()[1].split()
    assert arguments[:3] == ["python", "-m", "ops"]
    options = command._parser().parse_args(arguments[3:])
    assert (options.protect, options.stage, options.stack_name) == (True, "production", NAME)
    assert options.region == REGION


def test_protected_production_is_left_alone(aws: Aws, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    deployed(stub("cloudformation"), EnableTerminationProtection=True)
    protection.advise(aws, Screen(), stage("prod"), NAME)
    assert capsys.readouterr().err == ""


def test_other_stages_are_not_asked_about(aws: Aws, stub: Stub, capsys: pytest.CaptureFixture[str]) -> None:
    stub("cloudformation")  # any call is an error
    protection.advise(aws, Screen(), stage("dev"), NAME)
    assert capsys.readouterr().err == ""
