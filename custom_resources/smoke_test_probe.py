"""The smoke test's half inside the network: asks the version on the test listener what callers will ask it.

It holds no credentials: the token it shows comes with the event, from `smoke_test_hook`, and is neither
logged nor part of an answer.
"""

import json
import logging
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar

from custom_resources.errors import ResourceError
from custom_resources.expected_call import wrong_answer
from custom_resources.lifecycle import Context, Event
from custom_resources.mcp_probe import (
    MOST_BYTES,
    PROTOCOL_VERSION,
    STATELESS_VERSION,
    USER_AGENT,
    ProbeError,
    Trial,
    bearer,
    connection_error,
    list_tools,
    trusting,
    try_tool,
)

logger = logging.getLogger(__name__)

T = TypeVar("T")

LONGEST_EXCHANGE = 10.0
MARGIN_SECONDS = 5.0
UNAUTHORIZED = 401
# What the server has said itself, or what it is: a minute later it says the same.
_FINAL_CAUSES = frozenset({"protocol", "tls"})
_HINTS = {
    401: "refuses the gateway's token; check AUTH_ISSUER, AUTH_AUDIENCE and AUTH_CLIENT_IDS",
    403: "refuses the gateway's scopes; check AUTH_REQUIRED_SCOPES, and a web ACL's rules",
}


class RefusedError(ResourceError):
    """The version must not get the traffic; another try won't change that."""


def handler(event: Event, context: Context) -> dict[str, Any]:
    """Answer whether the version is fit: `{"Passed": …, "Final": …, "Reason": …}`.

    The event has `Url`, `CertificateName`, `Token` and `Call`, which is None or has `tool`, `arguments` and
    `answer`. `Final` says that asking again is no use.
    """
    logging.getLogger().setLevel(logging.INFO)
    seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    try:
        examine(event["Url"], event["CertificateName"], event["Token"], event["Call"], seconds)
    except ProbeError as error:
        return _refusal(str(error), final=error.final or error.cause in _FINAL_CAUSES)
    except RefusedError as error:
        return _refusal(str(error), final=True)
    return {"Passed": True, "Final": True, "Reason": ""}


def _refusal(reason: str, *, final: bool) -> dict[str, Any]:
    logger.warning("%s%s", "" if final else "Not yet: ", reason)
    return {"Passed": False, "Final": final, "Reason": reason}


def examine(
    url: str, certificate_name: str, token: str, call: Mapping[str, Any] | None, seconds: float
) -> None:
    """Ask all questions within `seconds`; raises RefusedError or ProbeError at the first wrong answer."""
    endpoint = f"{url}/mcp"
    # Health, the stranger's and two handshakes of a few exchanges each.
    timeout = max(1.0, min(LONGEST_EXCHANGE, seconds / 4))
    _healthy(f"{url}/health", certificate_name, timeout)
    _stranger_is_turned_away(endpoint, certificate_name, timeout)
    sign = bearer(token)
    served = []
    for version in (PROTOCOL_VERSION, STATELESS_VERSION):
        if call is None:
            listed = partial(list_tools, endpoint, timeout, sign, version=version)
            served.append(_as_caller(partial(listed, certificate_name=certificate_name)))
            continue
        tool = call["tool"]
        asked = partial(try_tool, endpoint, timeout, tool, call["arguments"], sign, version=version)
        trial = _as_caller(partial(asked, certificate_name=certificate_name))
        _check(trial, tool, call["answer"])
        served.append(trial.tools)
    older, newer = served
    if not older:
        raise RefusedError("The new version lists no tools")
    if older != newer:
        raise RefusedError(
            f"The new version lists {', '.join(older)} by MCP {PROTOCOL_VERSION}, but "
            f"{', '.join(newer) or 'nothing'} by {STATELESS_VERSION}"
        )
    logger.info("The new version serves %s", ", ".join(older))


def _healthy(url: str, certificate_name: str, timeout: float) -> None:
    """Raise unless the health check answers 200 with its word."""
    request = urllib.request.Request(url, headers={"User-Agent": USER_AGENT})  # noqa: S310 - the stack's own load balancer
    handler = urllib.request.HTTPSHandler(context=trusting(certificate_name))
    try:
        with urllib.request.build_opener(handler).open(request, timeout=timeout) as response:
            content = response.read(MOST_BYTES)
    except urllib.error.HTTPError as error:
        with error:
            raise ProbeError("http", f"{url} answered HTTP {error.code}", status=error.code) from error
    except OSError as error:
        cause = getattr(error, "reason", error)
        raise connection_error(url, cause if isinstance(cause, Exception) else error) from error
    try:
        status = json.loads(content)["status"]
    except (ValueError, LookupError, TypeError):
        status = content[:100]
    if status != "healthy":
        raise RefusedError(f"{url} says {status!r}; expected 'healthy'")


def _stranger_is_turned_away(endpoint: str, certificate_name: str, timeout: float) -> None:
    """Raise unless a request without a token is answered 401 with a challenge (RFC 6750, section 3)."""
    try:
        list_tools(endpoint, timeout, version=STATELESS_VERSION, certificate_name=certificate_name)
    except ProbeError as error:
        if error.status != UNAUTHORIZED:
            raise
        if not error.challenge.lower().startswith("bearer"):
            raise RefusedError("The new version answers 401 without WWW-Authenticate: Bearer") from None
        return
    raise RefusedError("The new version serves callers without a token")


def _as_caller(ask: Callable[[], T]) -> T:
    """Return what `ask` returns, with the errors of tokens in the smoke test's words."""
    try:
        return ask()
    except ProbeError as error:
        hint = _HINTS.get(error.status)
        if hint is None:
            raise
        raise RefusedError(f"HTTP {error.status}: the new version {hint}") from error


def _check(trial: Trial, tool: str, expected: str) -> None:
    if tool not in trial.tools:
        raise RefusedError(f"The new version has no tool {tool}; it lists {', '.join(trial.tools) or 'none'}")
    wrong = wrong_answer(trial, tool, expected)
    if wrong:
        raise RefusedError(wrong)
