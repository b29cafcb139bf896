"""Two gateways of the local cloud's AgentCore, in this process and in virtual time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any
from unittest.mock import patch

from botocore.credentials import Credentials
from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from hypothesis import strategies as st

from custom_resources import gateway_target
from custom_resources.gateway_target import GatewayTarget
from custom_resources.mcp_probe import ProbeError
from custom_resources.ownership import Owner
from local_cloud.agentcore import errors as cloud_errors
from local_cloud.agentcore.control_api import ControlApi
from local_cloud.agentcore.fault_injection import FaultPlan
from local_cloud.agentcore.lifecycle import Lifecycle
from local_cloud.agentcore.mcp_client import TargetError
from local_cloud.agentcore.oauth import CredentialProviders
from local_cloud.agentcore.state import Gateway, Place, Store, Target
from tests.custom_resources.fakes import STACK_ID, ApiError
from tests.custom_resources.faults.machine import LOGICAL_ID
from tests.custom_resources.faults.world import Clock, Fault, Faults, World

PLACE = Place("123456789012", "us-east-1")
GATEWAYS = ("tools-a1b2c3d4e5", "other-a1b2c3d4e5")
NAMES = ("tools", "search")
OWNER = Owner(STACK_ID, LOGICAL_ID)
STRANGER = Owner(STACK_ID.replace("tools-dev", "shop-prod"), LOGICAL_ID)
STEP_SECONDS = 3.0
HANG_SECONDS = 1800.0
# An authorization URL runs out after ten minutes.
CONSENT_SECONDS = 600.0
# Changes of targets that a gateway takes at once:
# https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/bedrock-agentcore-limits.html
MOST_CHANGES = 5
OTHERS_SECONDS = 15.0
CHANGES = frozenset(
    {
        "create_gateway_target",
        "update_gateway_target",
        "delete_gateway_target",
        "synchronize_gateway_targets",
    }
)
DELETING = frozenset({"DELETING"})
IN_PROGRESS = frozenset({"CREATING", "UPDATING", "SYNCHRONIZING"}) | DELETING


class VirtualLifecycle(Lifecycle):
    """The local cloud's life cycle of targets, with steps on the world's clock and faults in them."""

    def __init__(self, store: Store, world: GatewayWorld) -> None:
        super().__init__(store, None, FaultPlan(), Credentials("a", "b"), None, 0.0)  # type: ignore[arg-type]
        self._world = world

    def later(
        self, step: Callable[[], None], *, locked: bool = True, on_error: Callable[[], None] | None = None
    ) -> None:
        work = self._world.faults.work
        world, outcome = self._world, step

        def run() -> None:
            world.failing = work is Fault.WORK_FAILS
            outcome()
            world.failing = False

        world.clock.later(HANG_SECONDS if work is Fault.WORK_HANGS else world.step_seconds, run)

    async def fetch_tools(self, gateway: Gateway, target: Target) -> list[dict[str, Any]]:
        if self._world.failing:
            raise TargetError("HTTP 502")
        return [{"name": name, "inputSchema": {}} for name in self._world.tools]


class Control:
    """The control API's operations in snake case."""

    def __init__(self, api: ControlApi, world: GatewayWorld) -> None:
        self._api = api
        self._world = world

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        name = "".join(word.capitalize() for word in operation.split("_"))

        def call(**params: Any) -> dict[str, Any]:
            if (
                operation in CHANGES
                and self._world.changes_under_way(params["gatewayIdentifier"]) >= MOST_CHANGES
            ):
                raise ApiError("ServiceQuotaExceededException", "Too many concurrent target operations", 402)
            try:
                answer: dict[str, Any] = _without_nulls(self._api.call(PLACE, name, params))
                self._world.date_targets()
            except cloud_errors.ApiError as error:
                raise ApiError(error.code, error.message, error.status) from error
            return answer

        return call


def _without_nulls(value: Any) -> Any:
    """Return an answer as it is on the wire."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


class GatewayWorld(World):
    """Gateways with targets of this stack and of others, and an MCP server."""

    resource = GatewayTarget
    tells_age = True
    disturbances = 7
    properties = st.fixed_dictionaries(
        {
            "GatewayIdentifier": st.sampled_from(GATEWAYS),
            "Name": st.sampled_from(NAMES),
            "Endpoint": st.sampled_from(["https://one.example.com/mcp", "https://two.example.com/mcp"]),
            "ImageDigest": st.sampled_from(["sha256:aa", "sha256:bb"]),
            "ListingMode": st.sampled_from(["DEFAULT", "DEFAULT", "DYNAMIC"]),
        }
    )

    life = (
        {
            "GatewayIdentifier": GATEWAYS[0],
            "Name": NAMES[0],
            "Endpoint": "https://one.example.com/mcp",
            "ListingMode": "DEFAULT",
        },
        {
            "GatewayIdentifier": GATEWAYS[0],
            "Name": NAMES[0],
            "Endpoint": "https://two.example.com/mcp",
            "ListingMode": "DEFAULT",
        },
        {
            "GatewayIdentifier": GATEWAYS[1],
            "Name": NAMES[0],
            "Endpoint": "https://one.example.com/mcp",
            "ListingMode": "DEFAULT",
        },
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.store, self.failing = Store(), False
        self._dated: dict[str, datetime] = {}
        self.step_seconds = STEP_SECONDS
        self.tools: tuple[str, ...] = ("add", "search")
        lifecycle = VirtualLifecycle(self.store, self)
        api = ControlApi(self.store, lifecycle, FaultPlan(), CredentialProviders(None), None)  # type: ignore[arg-type]
        self.control = Control(api, self)
        for gateway_id in GATEWAYS:
            self.store.add(Gateway(PLACE, gateway_id, {"name": gateway_id}, {}, status="READY"))
        self._add(GATEWAYS[0], "theirs", STRANGER.description())

    def backend(self, service: str, region: str | None) -> Control:
        assert (service, region) == ("bedrock-agentcore-control", None)
        return self.control

    def changes_under_way(self, gateway_id: str) -> int:
        """How many targets of a gateway are being changed, whoever's they are."""
        return sum(target.status in IN_PROGRESS for target in self._gateway(gateway_id).targets.values())

    def date_targets(self) -> None:
        """Have targets made in the world's time."""
        for _, target in self._targets():
            if target.target_id not in self._dated:
                target.created_at = self._dated[target.target_id] = self.clock.date()

    def busy(self, operation: str) -> ApiError | None:
        return ApiError("ConflictException", "Too many changes", 409) if operation in CHANGES else None

    def ours(self) -> list[str]:
        return [f"{gateway}|{target.name}" for gateway, target in self._targets() if self._is_ours(target)]

    def others(self) -> Any:
        return [
            (gateway, target.target_id, target.name, repr(target.settings), target.created_at)
            for gateway, target in self._targets()
            if not self._is_ours(target)
        ]

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        target = self._find(properties["GatewayIdentifier"], properties["Name"])
        if target is None or not self._is_ours(target):
            return ["there is no such target of ours"]
        synchronized = target.last_synchronized_at
        facts = {
            "status": target.status == "READY",
            "endpoint": target.endpoint == properties["Endpoint"],
            "listing mode": target.dynamic == (properties["ListingMode"] == "DYNAMIC"),
            "id": attributes["TargetId"] == target.target_id,
            "name": attributes["TargetName"] == properties["Name"],
            "tool count": attributes["ToolCount"] == str(len(self.tools)),
            "time": attributes["LastSynchronizedAt"] == (synchronized.isoformat() if synchronized else ""),
            "tools": target.dynamic or [tool["name"] for tool in target.catalog.tools] == list(self.tools),
        }
        return [name for name, holds in facts.items() if not holds]

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        return [name for name in self.ours() if name == physical_id]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        target = self._find(properties["GatewayIdentifier"], properties["Name"])
        pending = any(
            target.status in IN_PROGRESS or target.status.endswith("PENDING_AUTH")
            for _, target in self._targets()
            if self._is_ours(target)
        )
        foreign = target is not None and not self._is_ours(target)
        return pending or (foreign and kind != "Delete")

    def disturb(self, choice: int) -> None:
        ours = [(gateway, target) for gateway, target in self._targets() if self._is_ours(target)]
        if choice == 0 and self._find(GATEWAYS[0], "search") is None:
            self._add(GATEWAYS[0], "search", STRANGER.description())
        elif choice == 1:
            self.tools = (*self.tools, f"tool-{len(self.tools)}")
        elif choice == 6:
            self._others_change()
        elif choice in {2, 3, 4, 5}:
            for gateway_id, target in ours:
                if target.status in IN_PROGRESS:
                    continue
                if choice == 2:
                    self._gateway(gateway_id).targets.pop(target.target_id)
                elif choice == 5:
                    target.set_status("SYNCHRONIZE_PENDING_AUTH")
                    self.clock.later(CONSENT_SECONDS, lambda target=target: target.set_status("FAILED"))  # type: ignore[misc]
                else:
                    target.set_status("FAILED" if choice == 3 else "UPDATE_UNSUCCESSFUL", "broken")

    def _others_change(self) -> None:
        """Have as many changes of others' targets under way as the gateway takes."""
        for number in range(MOST_CHANGES):
            name = f"busy-{number}"
            if self._find(GATEWAYS[0], name) is None:
                self._add(GATEWAYS[0], name, STRANGER.description())
            target = self._find(GATEWAYS[0], name)
            assert target is not None
            target.set_status("UPDATING")
            self.clock.later(OTHERS_SECONDS * (number + 1), lambda target=target: target.set_status("READY"))  # type: ignore[misc]

    def patches(self) -> AbstractContextManager[Any]:
        return patch.object(gateway_target, "list_tools", self._probe)

    def _probe(self, endpoint: str, timeout: float, *, referring: dict[str, str]) -> tuple[str, ...]:
        try:
            answer: tuple[str, ...] = self.faults.meet(lambda: self.tools)
        except (ApiError, ConnectTimeoutError, ReadTimeoutError) as error:
            raise ProbeError("timeout", "host: no answer in time") from error
        return answer

    def _gateway(self, gateway_id: str) -> Gateway:
        gateway = self.store.get(PLACE, gateway_id)
        assert gateway is not None
        return gateway

    def _targets(self) -> list[tuple[str, Target]]:
        return [(name, target) for name in GATEWAYS for target in self._gateway(name).targets.values()]

    def _find(self, gateway_id: str, name: str) -> Target | None:
        return next((one for one in self._gateway(gateway_id).targets.values() if one.name == name), None)

    @staticmethod
    def _is_ours(target: Target) -> bool:
        return OWNER.owns(target.settings.get("description", ""))

    def _add(self, gateway_id: str, name: str, description: str) -> None:
        server = {"endpoint": "https://their.example.com/mcp"}
        settings = {"description": description, "targetConfiguration": {"mcp": {"mcpServer": server}}}
        target = Target(f"{name:_<10}".replace("_", "x"), name, settings, status="READY")
        self._gateway(gateway_id).targets[target.target_id] = target
        self.date_targets()
