"""The targets of one AgentCore gateway: AgentCore's control API as a few verbs that wait.

A status counts as settled only when it is read twice in a row, because reads may lag behind changes; the
Terraform provider found the same necessary for READY.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from custom_resources.aws import error_code, error_message, is_throttled
from custom_resources.errors import ResourceError
from custom_resources.waiting import Deadline, poll, retry

if TYPE_CHECKING:
    from mypy_boto3_bedrock_agentcore_control import BedrockAgentCoreControlClient
    from mypy_boto3_bedrock_agentcore_control.type_defs import GetGatewayTargetResponseTypeDef

logger = logging.getLogger(__name__)

T = TypeVar("T")

# TargetStatus of the service model has eleven values; one added later is waited out like those in progress.
PENDING_AUTH = frozenset({"CREATE_PENDING_AUTH", "UPDATE_PENDING_AUTH", "SYNCHRONIZE_PENDING_AUTH"})
UNSUCCESSFUL = frozenset({"FAILED", "UPDATE_UNSUCCESSFUL", "SYNCHRONIZE_UNSUCCESSFUL"})
SETTLED = PENDING_AUTH | UNSUCCESSFUL | {"READY"}

# A new role's permissions reach the service within a minute or two.
ROLE_PROPAGATION_SECONDS = 120.0
ROLE_LACKS_PERMISSION = "execution role lacks permission"
# The service allows few changes of a gateway at once; others' changes are waited out this long.
BUSY_SECONDS = 180.0
# After a change is accepted, reads may still show the state before it.
SETTLING_PAUSE = 1.0
# A deploy waits for what this function sees: at most so long, and the pause above, after it is so.
LONGEST_PAUSE = 3.0


class GatewayMissing(ResourceError):  # noqa: N818 - the state it names
    """The gateway doesn't exist."""


@dataclass(frozen=True)
class Target:
    """A gateway target as last read."""

    id: str
    name: str
    status: str
    reasons: tuple[str, ...]
    description: str
    configuration: Mapping[str, Any]
    credentials: list[Any]
    synchronized_at: str
    made_at: datetime

    @classmethod
    def of(cls, answer: GetGatewayTargetResponseTypeDef) -> Target:
        """Return the target of a GetGatewayTarget response."""
        synchronized = answer.get("lastSynchronizedAt")
        return cls(
            id=answer["targetId"],
            name=answer["name"],
            status=answer["status"],
            reasons=tuple(answer.get("statusReasons", ())),
            description=answer.get("description", ""),
            configuration=answer["targetConfiguration"],
            credentials=list(answer.get("credentialProviderConfigurations", ())),
            synchronized_at=synchronized.isoformat() if synchronized else "",
            made_at=answer["createdAt"],
        )

    def state(self) -> str:
        """Return the status and its reasons, the reasons last."""
        return f"{self.status}: {'; '.join(self.reasons)}" if self.reasons else self.status


class Targets:
    """Reads and changes targets of `gateway_id` until `deadline`."""

    def __init__(self, client: BedrockAgentCoreControlClient, gateway_id: str, deadline: Deadline) -> None:
        self.deadline = deadline
        self._client = client
        self._gateway_id = gateway_id

    def find(self, name: str) -> Target | None:
        """Return the target of that name, None where there is none; raises GatewayMissing."""
        token = ""
        while True:
            page = token
            try:
                answer = self._call(
                    lambda page=page: self._client.list_gateway_targets(  # type: ignore[misc]
                        gatewayIdentifier=self._gateway_id, **({"nextToken": page} if page else {})
                    )
                )
            except Exception as error:
                if error_code(error) == "ResourceNotFoundException":
                    raise GatewayMissing(
                        f"No gateway {self._gateway_id} in this account and Region; check GatewayIdentifier"
                    ) from error
                raise
            for item in answer["items"]:
                if item["name"] == name:
                    return self.get(item["targetId"])
            token = answer.get("nextToken", "")
            if not token:
                return None

    def get(self, target_id: str) -> Target | None:
        """Return the target, None where it is gone."""
        try:
            return Target.of(
                self._call(
                    lambda: self._client.get_gateway_target(
                        gatewayIdentifier=self._gateway_id, targetId=target_id
                    )
                )
            )
        except Exception as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise

    def create(self, definition: Mapping[str, Any], client_token: str) -> str | None:
        """Ask for a new target and return its id; None where the service reports a conflict."""
        try:
            answer = self._call_as_role(
                lambda: self._client.create_gateway_target(
                    gatewayIdentifier=self._gateway_id, clientToken=client_token, **definition
                )
            )
        except Exception as error:
            if error_code(error) == "ConflictException":
                logger.info("CreateGatewayTarget: %s", error_message(error))
                return None
            raise
        return answer["targetId"]

    def update(self, target_id: str, definition: Mapping[str, Any]) -> None:
        """Replace the target's whole configuration."""
        self._when_free(
            target_id,
            lambda: self._call_as_role(
                lambda: self._client.update_gateway_target(
                    gatewayIdentifier=self._gateway_id, targetId=target_id, **definition
                )
            ),
        )

    def synchronize(self, target_id: str) -> None:
        """Have the gateway read the target's tools again; the API takes one target a call."""
        self._when_free(
            target_id,
            lambda: self._call_as_role(
                lambda: self._client.synchronize_gateway_targets(
                    gatewayIdentifier=self._gateway_id, targetIdList=[target_id]
                )
            ),
        )

    def settle(self, target_id: str) -> Target | None:
        """Wait until the target stays in a status that isn't in progress; None when it is gone."""
        seen: list[str] = []

        def attempt() -> tuple[Target | None] | None:
            first = self.get(target_id)
            if first is None:
                return (None,)
            if first.status not in SETTLED:
                seen.append(first.status)
                return None
            self.deadline.clock.sleep(min(SETTLING_PAUSE, self.deadline.remaining()))
            second = self.get(target_id)
            if second is None or second.status == first.status:
                return (second,)
            seen.append(second.status)
            return None

        self.deadline.clock.sleep(min(SETTLING_PAUSE, self.deadline.remaining()))
        return poll(
            attempt,
            self.deadline,
            lambda: f"The function's time ended while target {target_id} was still {seen[-1]}",
            longest=LONGEST_PAUSE,
        )[0]

    def remove(self, target_id: str) -> None:
        """Delete the target and wait until it is gone; what is in progress on it is waited out first."""
        last: list[Target] = []

        def attempt() -> bool | None:
            target = self.get(target_id)
            if target is None:
                return True
            last[:] = [target]
            if target.status in SETTLED:
                self._request_deletion(target)
            return None

        poll(
            attempt,
            self.deadline,
            lambda: (
                f"The function's time ended before target {target_id} was gone; it was {last[-1].state()}"
            ),
            longest=LONGEST_PAUSE,
        )

    def _request_deletion(self, target: Target) -> None:
        # Refused while the target is busy, and in *_PENDING_AUTH until the authorization URL has run out.
        refusals = {"ConflictException", "ResourceNotFoundException"}
        if target.status in PENDING_AUTH:
            refusals.add("ValidationException")
        try:
            self._call(
                lambda: self._client.delete_gateway_target(
                    gatewayIdentifier=self._gateway_id, targetId=target.id
                )
            )
        except Exception as error:
            if error_code(error) not in refusals:
                raise
            logger.info("DeleteGatewayTarget: %s", error_message(error))

    def _call(self, call: Callable[[], T]) -> T:
        return retry(call, _asks_to_wait, self.deadline)

    def _call_as_role(self, call: Callable[[], T]) -> T:
        """Make a call in which the service tries the gateway's role, whose permissions may be seconds old."""
        limit = self.deadline.share(1, at_most=ROLE_PROPAGATION_SECONDS)
        return retry(lambda: self._call(call), _lacks_permission, limit)

    def _when_free(self, target_id: str, change: Callable[[], object]) -> None:
        limit = self.deadline.share(1, at_most=BUSY_SECONDS)
        conflict: list[str] = []

        def attempt() -> bool | None:
            try:
                change()
            except Exception as error:
                if error_code(error) != "ConflictException":
                    raise
                conflict[:] = [error_message(error)]
                logger.info("Target %s is busy: %s", target_id, conflict[0])
                return None
            return True

        poll(attempt, limit, lambda: f"Target {target_id} stayed busy with another change: {conflict[0]}")


def _asks_to_wait(error: Exception) -> bool:
    """Whether the service asked to slow down, or to let others' changes of this gateway end first."""
    is_full = error_code(error) == "ServiceQuotaExceededException"
    return is_throttled(error) or (is_full and "concurrent" in error_message(error).lower())


def _lacks_permission(error: Exception) -> bool:
    return (
        error_code(error) == "ValidationException" and ROLE_LACKS_PERMISSION in error_message(error).lower()
    )
