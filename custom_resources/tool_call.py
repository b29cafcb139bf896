"""`Custom::ToolCall`: a deploy's last step, a real `tools/call` through the AgentCore gateway.

READY says that the gateway has read the tools, not that a call gets through it to the server and back. This
calls one, as an agent would, and fails the deploy where the answer isn't the right one.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from custom_resources.errors import DeadlineReached, PropertyError, ResourceError
from custom_resources.expected_call import shape_error, wrong_answer
from custom_resources.issuers import IssuerError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.mcp_probe import ProbeError, Sign, Trial, bearer, try_tool
from custom_resources.properties import Raw, Update, json_object, required_text, text, text_list
from custom_resources.tokens import TokenSource, bearer_token
from custom_resources.waiting import Deadline, poll

logger = logging.getLogger(__name__)

SERVICE = "bedrock-agentcore"
# Between target and tool in the names the gateway gives its tools.
SEPARATOR = "___"
LONGEST_EXCHANGE = 60.0
# A wrong answer repeated so often isn't the last one of the version before.
WRONG_ANSWERS = 3
# Of a stack's output CloudFormation keeps 1,024 characters.
LONGEST_ANSWER = 1000
# A rollback isn't kept waiting for an answer that may never come.
ROLLBACK_SECONDS = 60.0
ROLLING_BACK = "UPDATE_ROLLBACK_IN_PROGRESS"
_CALL = 'an object such as {"tool": "simpleadd", "arguments": {"a": 10, "b": 20}, "answer": "30"}'
_HINTS = {
    401: "the gateway asks for a token, or for another one: see its authorizer",
    403: "the gateway refuses this function's role, which needs bedrock-agentcore:InvokeGateway on it",
    404: "there is no such gateway",
}


class WrongAnswerError(ResourceError):
    """The tool answered, but not what was expected."""


@dataclass(frozen=True)
class ToolCallProperties:
    """Properties of `Custom::ToolCall`."""

    gateway_url: str = text(
        r"https://[^\s/?#@]+(/[^\s?#]*)?",
        "the gateway's https:// address",
        description="MCP endpoint of the gateway.",
    )
    target_name: str = text(
        r"([0-9a-zA-Z]-?){1,100}",
        "the name of a target: 1 to 100 letters, digits and single hyphens",
        description="Name of the target whose tool is called.",
        update=Update.REPLACEMENT,
    )
    call: Mapping[str, Any] = json_object(
        _CALL,
        description=(
            "What is called: `tool` is the server's own name for it, `arguments` an object, `answer` the "
            "whole text of the right answer."
        ),
    )
    # Only its change matters: every Update calls.
    revision: str = text(
        r"[^\r\n]{0,1000}",
        "one line of up to 1,000 characters",
        default="",
        description="Stands for the version of the server: when it changes, the tool is called again.",
    )

    discovery_url: str = text(
        r"(https://[^\s?#@]+/\.well-known/openid-configuration)?",
        "an https:// address that ends in /.well-known/openid-configuration",
        default="",
        description=(
            "Discovery document of the issuer of tokens, for a gateway that authorizes by them. "
            "Empty signs the call."
        ),
    )
    client_secret_arn: str = text(
        r"(arn:[\w-]+:secretsmanager:\S{1,1900})?",
        "the ARN of a secret",
        default="",
        description="Secret with the caller's client, as JSON with `client_id` and `client_secret`.",
    )
    scopes: tuple[str, ...] = text_list(
        r"[^\s,]{1,128}",
        "scopes of up to 128 characters",
        at_most=100,
        description="Scopes that the token is asked for with.",
    )

    def __post_init__(self) -> None:
        """Refuse a call that isn't one."""
        if bool(self.discovery_url) != bool(self.client_secret_arn):
            missing = "ClientSecretArn" if self.discovery_url else "DiscoveryUrl"
            raise PropertyError(
                f"Property {missing}: is missing; a token takes DiscoveryUrl and ClientSecretArn"
            )
        error = shape_error(self.call)
        if error:
            raise PropertyError(f"Property Call: {error}; expected {_CALL}")

    @property
    def token_source(self) -> TokenSource | None:
        """Where the caller's token comes from; None where the call is signed."""
        if not self.discovery_url:
            return None
        return TokenSource(self.discovery_url, self.client_secret_arn, self.scopes)

    @property
    def endpoint(self) -> str:
        """The gateway's MCP endpoint; its URL is reported with or without the path."""
        bare = urlsplit(self.gateway_url).path in {"", "/"}
        return f"{self.gateway_url.rstrip('/')}/mcp" if bare else self.gateway_url

    @property
    def tool(self) -> str:
        """The gateway's name of the tool."""
        return f"{self.target_name}{SEPARATOR}{self.call['tool']}"


class ToolCall(Resource[ToolCallProperties]):
    """Calls a tool through the gateway, and succeeds only with the right answer.

    `READY` says that the gateway has read the tools, not that calls get through it to the server. As the last
    resource of a stack this one makes that a condition of the deploy. It makes nothing, so deleting it does
    nothing.
    """

    model = ToolCallProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "Tool": "The gateway's name of the tool, `<TargetName>___<tool>`.",
        "Answer": "Text of the tool's answer, its first 1,000 characters.",
        "LatencyMs": "Milliseconds from the call to its answer, as seen by the function.",
    }
    failures = {  # noqa: RUF012
        "… answered …; expected …": "the server runs, but wrongly: see its log, or mend `Call`",
        "… lists …": "the target has no such tool: check `Call` and the target's synchronisation",
        "the gateway refuses this function's role": "check the role's policy, and the gateway's authorizer",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `tool-call|<TargetName>`."""
        return f"tool-call|{required_text(raw, 'TargetName')}"

    def create(self, request: Request, properties: ToolCallProperties) -> Attributes:  # noqa: ARG002
        """Call until the answer is right or the function's time ends."""
        return self._call(properties, self.runtime.deadline)

    def update(
        self,
        request: Request,
        properties: ToolCallProperties,
        previous: ToolCallProperties | None,  # noqa: ARG002
    ) -> Attributes:
        """Call again. While the stack rolls back, a failure is only told in `Answer` and stops nothing."""
        if not self._is_rolling_back(request.stack_id):
            return self._call(properties, self.runtime.deadline)
        try:
            return self._call(properties, self.runtime.deadline.share(1, at_most=ROLLBACK_SECONDS))
        except ResourceError as error:
            logger.warning("Not answered while the stack rolls back: %s", error)
            return {"Tool": properties.tool, "Answer": f"none: {error}"[:LONGEST_ANSWER], "LatencyMs": "none"}

    def delete(self, request: Request, properties: ToolCallProperties | None) -> None:  # noqa: ARG002
        """Do nothing: nothing was made."""
        logger.info("%s made nothing", request.physical_resource_id)

    def _call(self, properties: ToolCallProperties, deadline: Deadline) -> Attributes:
        self.runtime.doing(f"calling {properties.tool} through the gateway")
        source = properties.token_source
        signs: list[Sign] = [] if source else [self.runtime.clients.sign(SERVICE)]
        reasons: list[ResourceError] = []

        def attempt() -> Trial | None:
            seconds = max(1.0, min(LONGEST_EXCHANGE, deadline.remaining()))
            arguments = properties.call["arguments"]
            try:
                if source is not None and not signs:
                    signs.append(bearer(bearer_token(self.runtime, source, seconds)))
                trial = try_tool(properties.endpoint, seconds, properties.tool, arguments, signs[0])
                _check(trial, properties)
            except ProbeError as error:
                reason: ResourceError = _explained(error)
            except (WrongAnswerError, IssuerError) as error:
                reason = error
            else:
                return trial
            logger.info("Not yet: %s", reason)
            reasons.append(reason)
            latest = reasons[-WRONG_ANSWERS:]
            if len(latest) == WRONG_ANSWERS and all(isinstance(one, WrongAnswerError) for one in latest):
                raise reason
            return None

        try:
            trial = poll(attempt, deadline, lambda: str(reasons[-1]))
        except DeadlineReached as error:
            raise ResourceError(f"The tool wasn't called through the gateway: {error}") from reasons[-1]
        milliseconds = round(trial.seconds * 1000)
        logger.info("%s answered %r in %d ms", properties.tool, trial.text[:200], milliseconds)
        answer = trial.text[:LONGEST_ANSWER]
        return {"Tool": properties.tool, "Answer": answer, "LatencyMs": str(milliseconds)}

    def _is_rolling_back(self, stack_id: str) -> bool:
        self.runtime.doing("asking whether the stack is rolling back")
        try:
            stacks = self.runtime.call(
                lambda: self.runtime.clients.cloudformation().describe_stacks(StackName=stack_id)
            )["Stacks"]
        except Exception:
            # A call that is answered rightly needs to know nothing of the stack.
            logger.exception("The stack's status can't be read")
            return False
        return bool(stacks) and stacks[0]["StackStatus"] == ROLLING_BACK


def _check(trial: Trial, properties: ToolCallProperties) -> None:
    tool = properties.tool
    wrong = wrong_answer(trial, tool, properties.call["answer"])
    if not wrong:
        return
    if tool not in trial.tools:
        # Not final: after a synchronisation the gateway takes a moment to call by new names.
        listed = ", ".join(trial.tools) or "none"
        raise ProbeError("tool", f"the gateway has no tool {tool}; it lists {listed}")
    raise WrongAnswerError(wrong)


def _explained(error: ProbeError) -> ResourceError:
    hint = _HINTS.get(error.status)
    return error if hint is None else ResourceError(f"HTTP {error.status}: {hint}")


handler = lambda_handler_for(ToolCall)
