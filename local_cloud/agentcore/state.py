"""Gateways and targets of every account and region, in memory."""

from __future__ import annotations

import datetime
import secrets
import string
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_ID_CHARACTERS = string.ascii_lowercase + string.digits


def now() -> datetime.datetime:
    """The time stamp of a change."""
    return datetime.datetime.now(datetime.UTC)


def new_id() -> str:
    """Ten random characters, as gateway and target ids end with."""
    return "".join(secrets.choice(_ID_CHARACTERS) for _ in range(10))


@dataclass(frozen=True)
class Place:
    """The account and region that a request is for."""

    account: str
    region: str


@dataclass
class Catalog:
    """What a synchronization found at a target."""

    tools: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Target:
    """A gateway target; ``settings`` are the members of the last create or update request."""

    target_id: str
    name: str
    settings: dict[str, Any]
    status: str = "CREATING"
    status_reasons: list[str] = field(default_factory=list)
    created_at: datetime.datetime = field(default_factory=now)
    updated_at: datetime.datetime = field(default_factory=now)
    last_synchronized_at: datetime.datetime | None = None
    catalog: Catalog = field(default_factory=Catalog)

    @property
    def server(self) -> dict[str, Any]:
        """``targetConfiguration.mcp.mcpServer``."""
        server: dict[str, Any] = self.settings["targetConfiguration"]["mcp"]["mcpServer"]
        return server

    @property
    def endpoint(self) -> str:
        """The MCP server's address."""
        return str(self.server["endpoint"])

    @property
    def dynamic(self) -> bool:
        """Whether tools are listed at the server whenever a client asks."""
        return bool(self.server.get("listingMode") == "DYNAMIC")

    @property
    def credential(self) -> dict[str, Any] | None:
        """The one credential provider configuration, if there is one."""
        configurations = self.settings.get("credentialProviderConfigurations") or []
        return configurations[0] if configurations else None

    def set_status(self, status: str, *reasons: str) -> None:
        """Enter ``status`` now, with the reasons for it."""
        self.status = status
        self.status_reasons = list(reasons)
        self.updated_at = now()


@dataclass
class Gateway:
    """A gateway; ``settings`` are the members of the last create or update request."""

    place: Place
    gateway_id: str
    settings: dict[str, Any]
    tags: dict[str, str]
    status: str = "CREATING"
    status_reasons: list[str] = field(default_factory=list)
    created_at: datetime.datetime = field(default_factory=now)
    updated_at: datetime.datetime = field(default_factory=now)
    targets: dict[str, Target] = field(default_factory=dict)
    released_at: float = 0.0
    """Monotonic time until which the service still counts a target that was deleted."""

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.settings["name"])

    @property
    def arn(self) -> str:
        """Its ARN."""
        return f"arn:aws:bedrock-agentcore:{self.place.region}:{self.place.account}:gateway/{self.gateway_id}"

    @property
    def host(self) -> str:
        """The host name of its MCP endpoint."""
        return f"{self.gateway_id}.gateway.bedrock-agentcore.{self.place.region}.amazonaws.com"

    @property
    def url(self) -> str:
        """The address of its MCP endpoint."""
        return f"https://{self.host}/mcp"

    @property
    def protocol(self) -> dict[str, Any]:
        """``protocolConfiguration.mcp``."""
        protocol: dict[str, Any] = (self.settings.get("protocolConfiguration") or {}).get("mcp") or {}
        return protocol

    @property
    def semantic_search(self) -> bool:
        """Whether it offers the search tool."""
        return bool(self.protocol.get("searchType") == "SEMANTIC")

    def set_status(self, status: str, *reasons: str) -> None:
        """Enter ``status`` now, with the reasons for it."""
        self.status = status
        self.status_reasons = list(reasons)
        self.updated_at = now()


class Store:
    """All gateways; hold ``lock`` while reading or changing more than one thing."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._gateways: dict[Place, dict[str, Gateway]] = {}
        self._tokens: dict[tuple[Place, str, str], tuple[dict[str, Any], str]] = {}

    def gateways(self, place: Place) -> list[Gateway]:
        """The gateways of one account and region, oldest first."""
        with self.lock:
            return list(self._gateways.get(place, {}).values())

    def get(self, place: Place, gateway_id: str) -> Gateway | None:
        """The gateway with this id."""
        with self.lock:
            return self._gateways.get(place, {}).get(gateway_id)

    def add(self, gateway: Gateway) -> None:
        """Keep a new gateway."""
        with self.lock:
            self._gateways.setdefault(gateway.place, {})[gateway.gateway_id] = gateway

    def remove(self, gateway: Gateway) -> None:
        """Forget a gateway."""
        with self.lock:
            self._gateways.get(gateway.place, {}).pop(gateway.gateway_id, None)

    def by_host(self, host: str) -> Gateway | None:
        """The gateway whose MCP endpoint has this host name."""
        with self.lock:
            return next((gateway for gateway in self._all() if gateway.host == host), None)

    def by_arn(self, arn: str) -> Gateway | None:
        """The gateway with this ARN."""
        with self.lock:
            return next((gateway for gateway in self._all() if gateway.arn == arn), None)

    def remembered(self, place: Place, operation: str, token: str) -> tuple[dict[str, Any], str] | None:
        """The parameters and the resource id of an earlier request with this client token."""
        return self._tokens.get((place, operation, token))

    def remember(self, place: Place, operation: str, token: str, params: dict[str, Any], made: str) -> None:
        """Keep what a request with a client token made."""
        self._tokens[(place, operation, token)] = (params, made)

    def _all(self) -> Iterator[Gateway]:
        for gateways in self._gateways.values():
            yield from gateways.values()
