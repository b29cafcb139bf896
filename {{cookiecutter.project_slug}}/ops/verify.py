"""Proving that a deployed stack works: health, a tool call through the gateway, and strangers refused.

A check is `ok`, `failed` (the wrong answer came) or `unverified` (no answer came, so nothing is known).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from urllib3.exceptions import HTTPError, SSLError

from ops import stacks
from ops.aws import Aws
from ops.console import Screen
from ops.errors import OpsError
from ops.gateway import endpoint, gateway_client, tool_name
from ops.http import HttpClient
from ops.mcp_client import McpClient, McpError, text_of
from ops.tokens import bearer

TOOL = "simpleadd"
A, B, SUM = 10, 20, 30
# A token in form, of no issuer: {"alg":"RS256","kid":"forged"}.{"sub":"verify"}.
FORGED = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImZvcmdlZCJ9.eyJzdWIiOiJ2ZXJpZnkifQ.c2lnbmF0dXJl"
_NEEDED = ("DistributionDomainName", "GatewayUrl", "ServerUrl", "TargetName")
_FIRST_PAUSE, _LAST_PAUSE = 1.0, 5.0
_REFUSALS = frozenset({401, 403})

State = Literal["ok", "failed", "unverified"]
_STYLES: dict[State, str] = {"ok": "green", "failed": "red", "unverified": "yellow"}


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: what was checked.
        state: see the module's text.
        milliseconds: of the last try.
        detail: what was found.
        look_at: where to look if it isn't ok.

    """

    name: str
    state: State
    milliseconds: int
    detail: str
    look_at: str


@dataclass(frozen=True)
class _Step:
    """A check to be run: `run` returns what it found, or raises."""

    name: str
    run: Callable[[], str]
    look_at: str


class _WrongAnswer(Exception):  # noqa: N818 - it is a verdict, caught beside the check
    """An answer came and it is wrong."""


class _Transient(Exception):  # noqa: N818 - caught by the retry loop only
    """An answer that says: not now."""


def stack_outputs(aws: Aws, stack_name: str) -> dict[str, str]:
    """Return the outputs that verification needs.

    Raises:
        OpsError: there is no such stack, or it lacks outputs.

    """
    stack = stacks.describe(aws.cloudformation, stack_name)
    if stack is None:
        raise OpsError(f"There is no stack {stack_name} in {aws.region}; deploy it first.")
    values = stacks.outputs(stack)
    missing = [key for key in _NEEDED if not values.get(key)]
    if missing:
        raise OpsError(f"{stack_name} ({stack['StackStatus']}) has no output {', '.join(missing)}.")
    return values


def verify(aws: Aws, screen: Screen, outputs: dict[str, str], *, timeout: float) -> bool:
    """Run all checks and print them.

    Args:
        aws: whose credentials sign the gateway's requests.
        screen: where to print.
        outputs: of the stack.
        timeout: seconds for all checks together; each is tried at least once.

    Returns:
        Whether all are ok.

    """
    deadline = time.monotonic() + timeout
    with HttpClient() as http:
        checks = [_run(step, screen, deadline) for step in _plan(aws, http, outputs)]
    for check in checks:
        if check.state != "ok":
            screen.result(f"{check.name} {check.state}: look at {check.look_at}.")
    good = all(check.state == "ok" for check in checks)
    if good:
        name = tool_name(outputs["TargetName"], TOOL)
        screen.result(f"{A} + {B} = {SUM} through {endpoint(outputs['GatewayUrl'])} ({name})", "bold green")
    return good


def _plan(aws: Aws, http: HttpClient, outputs: dict[str, str]) -> list[_Step]:
    health = f"https://{outputs['DistributionDomainName']}/health"
    server = outputs["ServerUrl"]
    name = tool_name(outputs["TargetName"], TOOL)
    service = "the service's events and log group (outputs ServiceName, LogGroupName)"
    registered = "the gateway target's status reasons (output GatewayTargetId)"
    allowed = "bedrock-agentcore:InvokeGateway for these credentials, and the gateway's log"
    public = "the gateway's authorizer type: anybody may call it"
    guarded = "the task's AUTH_ variables, and in its log whether it can fetch its issuer's keys"
    return [
        _Step("server health", lambda: _health(http, health), service),
        _Step("server refuses no token", lambda: _refused(McpClient(server, http)), guarded),
        _Step(
            "server refuses forged token", lambda: _refused(McpClient(server, http, bearer(FORGED))), guarded
        ),
        _Step("gateway tools", lambda: _tools(gateway_client(aws, outputs, http), name), registered),
        _Step("gateway tool call", lambda: _add(gateway_client(aws, outputs, http), name), allowed),
        _Step(
            "gateway refuses unsigned",
            lambda: _refused(gateway_client(aws, outputs, http, signed=False)),
            public,
        ),
    ]


def _run(step: _Step, screen: Screen, deadline: float) -> Check:
    check = _try(step, deadline)
    line = f"{check.state:<10} {check.milliseconds:>6} ms  {check.name:<24}  {check.detail}"
    screen.result(line, _STYLES[check.state])
    return check


def _try(step: _Step, deadline: float) -> Check:
    pause = _FIRST_PAUSE
    while True:
        started = time.monotonic()
        state: State = "failed"
        try:
            state, detail, again = "ok", step.run(), False
        except _WrongAnswer as error:
            detail, again = str(error), False
        except McpError as error:
            detail, again = str(error), _passes(error.status)
        except _Transient as error:
            detail, again = str(error), True
        except OpsError as error:
            detail, again = str(error), False
        except HTTPError as error:
            state, detail = "unverified", _unreached(error)
            again = not isinstance(error, SSLError)
        elapsed = time.monotonic() - started
        if not again or time.monotonic() + pause > deadline:
            return Check(step.name, state, round(elapsed * 1000), detail, step.look_at)
        time.sleep(pause)
        pause = min(pause * 1.5, _LAST_PAUSE)


def _passes(status: int) -> bool:
    return status == 429 or status >= 500


def _unreached(error: HTTPError) -> str:
    text = " ".join(str(error).split())
    return f"no answer: {text or type(error).__name__}"


def _health(http: HttpClient, url: str) -> str:
    with http.send("GET", url, {"Accept": "application/json"}, None) as answer:
        body = answer.read(1000).decode(errors="replace")
        if _passes(answer.status):
            raise _Transient(f"HTTP {answer.status}")
        if answer.status != 200 or not _says_healthy(body):
            raise _WrongAnswer(f"HTTP {answer.status}: {' '.join(body.split())[:200]}")
    return url


def _says_healthy(body: str) -> bool:
    try:
        content = json.loads(body)
    except ValueError:
        return False
    return isinstance(content, dict) and content.get("status") == "healthy"


def _tools(client: McpClient, name: str) -> str:
    client.initialize()
    names = sorted(str(tool.get("name")) for tool in client.list_tools())
    if name not in names:
        raise _WrongAnswer(f"no tool {name}; it has: {', '.join(names) or 'none'}")
    return f"{len(names)} tools"


def _add(client: McpClient, name: str) -> str:
    client.initialize()
    result = client.call_tool(name, {"a": A, "b": B})
    if not any(_equals(value, SUM) for value in _values(result)):
        raise _WrongAnswer(f"{A} + {B} gave {text_of(result)[:200] or result}")
    return f"{A} + {B} = {SUM}"


def _values(result: dict[str, Any]) -> list[Any]:
    structured = result.get("structuredContent")
    return [text_of(result), structured.get("result") if isinstance(structured, dict) else structured]


def _equals(value: object, number: float) -> bool:
    try:
        return float(str(value)) == number
    except ValueError:
        return False


def _refused(client: McpClient) -> str:
    try:
        client.initialize()
    except McpError as error:
        if error.status in _REFUSALS:
            return f"HTTP {error.status}"
        raise
    raise _WrongAnswer("a stranger's call was answered")
