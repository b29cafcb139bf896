"""The smoke test: tells ECS whether a new version, already on the test listener, may have the traffic.

A lifecycle hook of a blue/green deployment, at the stage POST_TEST_TRAFFIC_SHIFT. The test listener is inside
the network and the issuer of tokens is not reachable from there, so the test has two halves: this one gets a
token as the gateway does, and hands it to `smoke_test_probe`, which asks the server.
https://docs.aws.amazon.com/AmazonECS/latest/developerguide/lambda-lifecycle-hooks.html
"""

import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from custom_resources.aws import Clients, error_message
from custom_resources.errors import ResourceError
from custom_resources.expected_call import shape_error
from custom_resources.issuers import IssuerError
from custom_resources.lifecycle import Context, Event, Runtime
from custom_resources.tokens import TokenSource, bearer_token
from custom_resources.waiting import Clock, Deadline, SystemClock

logger = logging.getLogger(__name__)

# A healthy version passes the first time; a load balancer may need a moment for its rule.
MOST_ATTEMPTS = 10
CALL_BACK_SECONDS = 10
MARGIN_SECONDS = 5.0
LONGEST_EXCHANGE = 10.0
# As long as the probe may run, and a cold start of it inside a network.
LONGEST_PROBE = 75.0
_ATTEMPT = "attempt"


class SettingsError(ResourceError):
    """The function's environment can't be used."""


@dataclass(frozen=True)
class Settings:
    """The function's environment."""

    probe_function: str
    url: str
    certificate_name: str
    call: Mapping[str, Any] | None
    source: TokenSource


@dataclass(frozen=True)
class Verdict:
    """What came of one try: `reason` says why it wasn't passed, `final` that another is no use."""

    passed: bool
    final: bool = False
    reason: str = ""


def handler(event: Event, context: Context) -> dict[str, Any]:
    """Answer ECS with `hookStatus`; a version that isn't there yet is asked for again."""
    logging.getLogger().setLevel(logging.INFO)
    return answer(event, context, os.environ, Clients)


def answer(
    event: Event,
    context: Context,
    environment: Mapping[str, str],
    clients: Callable[[], Clients],
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Return the answer of `handler`; environment, clients and clock are parameters for tests."""
    time = clock or SystemClock()
    seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    attempt = _attempts_before(event) + 1
    try:
        runtime = Runtime(clients(), Deadline(time, time.now() + seconds))
        verdict = _try(runtime, settings(environment))
    except SettingsError as error:
        verdict = Verdict(passed=False, final=True, reason=str(error))
    except IssuerError as error:
        verdict = Verdict(passed=False, reason=f"no token for the call: {error}")
    except Exception as error:
        # ECS would take a function that fails for a refusal too, but nobody could read why.
        logger.exception("The smoke test itself failed")
        verdict = Verdict(passed=False, reason=f"{type(error).__name__}: {error_message(error)}")
    revision = event.get("targetServiceRevisionArn", "The new version")
    if verdict.passed:
        logger.info("%s may have the traffic", revision)
        return {"hookStatus": "SUCCEEDED"}
    if verdict.final or attempt >= MOST_ATTEMPTS:
        logger.error("%s is refused, and the traffic stays where it is: %s", revision, verdict.reason)
        return {"hookStatus": "FAILED"}
    logger.warning("Try %d of %d: not yet: %s", attempt, MOST_ATTEMPTS, verdict.reason)
    return {
        "hookStatus": "IN_PROGRESS",
        "callBackDelay": CALL_BACK_SECONDS,
        "hookDetails": {_ATTEMPT: attempt},
    }


def settings(environment: Mapping[str, str]) -> Settings:
    """Return the settings in the environment. Raises SettingsError."""
    missing = [name for name in ("PROBE_FUNCTION", "TEST_URL", "DISCOVERY_URL") if not environment.get(name)]
    if missing:
        raise SettingsError(f"{', '.join(missing)} must be set")
    named = environment.get("AUDIENCE_PARAMETER", "")
    return Settings(
        probe_function=environment["PROBE_FUNCTION"],
        url=environment["TEST_URL"],
        certificate_name=environment.get("CERTIFICATE_NAME", ""),
        call=_call(environment.get("CALL", "")),
        source=TokenSource(
            environment["DISCOVERY_URL"],
            environment.get("CLIENT_SECRET_ARN", ""),
            tuple(scope for scope in environment.get("SCOPES", "").split(",") if scope),
            {named: environment.get("AUDIENCE", "")} if named else {},
        ),
    )


def _call(text: str) -> Mapping[str, Any] | None:
    if not text:
        return None
    try:
        call = json.loads(text)
        error = shape_error(call)
    except (ValueError, AttributeError) as broken:
        raise SettingsError(f"CALL isn't a JSON object: {broken}") from None
    if error:
        raise SettingsError(f"CALL {error}; expected tool, arguments and answer")
    return dict(call)


def _attempts_before(event: Event) -> int:
    """Return how often this deployment was tried before: ECS hands back what the last answer held."""
    details = event.get("hookDetails")
    count = details.get(_ATTEMPT) if isinstance(details, dict) else None
    return count if isinstance(count, int) else 0


def _try(runtime: Runtime, settings: Settings) -> Verdict:
    """Get a token, have the probe ask. Raises IssuerError, and botocore's errors."""
    timeout = max(1.0, min(LONGEST_EXCHANGE, runtime.deadline.remaining() / 4))
    token = bearer_token(runtime, settings.source, timeout)
    payload = {
        "Url": settings.url,
        "CertificateName": settings.certificate_name,
        "Token": token,
        "Call": settings.call,
    }
    functions = runtime.clients.functions(max(1.0, min(LONGEST_PROBE, runtime.deadline.remaining())))
    answered = runtime.call(
        lambda: functions.invoke(FunctionName=settings.probe_function, Payload=json.dumps(payload).encode())
    )
    content = json.loads(answered["Payload"].read())
    if answered.get("FunctionError"):
        # Without its message, which could quote what the probe was given.
        return Verdict(passed=False, reason=f"the probe failed with {content.get('errorType')}; see its log")
    return Verdict(content["Passed"], content["Final"], content["Reason"])
