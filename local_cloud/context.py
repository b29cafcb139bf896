"""What the rooms of the local cloud share: addresses, directories, routes and the way to stop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
AsgiApp = Callable[[Scope, Receive, Send], Awaitable[None]]

ACCOUNT_ID = "000000000000"


@dataclass
class CloudContext:
    """One running local cloud, as its rooms see it.

    Each room has an ``install(context)`` that adds its routes and hooks before the server starts.
    """

    state_directory: Path
    """A directory of this cloud alone; removed when it stops."""
    api_url: str
    """``https://127.0.0.1:<port>``: every AWS API, and every routed host (told apart by ``Host``)."""
    client_environment: Mapping[str, str]
    """Environment variables that make a child process (function, build, task) a client of this cloud."""
    default_region: str = "us-east-1"
    host_routes: list[tuple[Callable[[str], bool], AsgiApp]] = field(default_factory=list)
    """``(matches(host), app)``: the first match serves the request; ``host`` is lower case, without port."""
    service_routes: dict[str, AsgiApp] = field(default_factory=dict)
    """SigV4 signing name of an AWS API that ministack lacks (``bedrock-agentcore``) to the app serving it."""
    certificate_names: list[Callable[[str], set[str]]] = field(default_factory=list)
    """Each tells which names the certificate of a host is for; empty where it is for the host itself."""
    shutdown_hooks: list[Callable[[], None]] = field(default_factory=list)
    """Called in reverse order when the cloud stops; each must be quick and must not raise."""

    def route_host(self, matches: Callable[[str], bool], app: AsgiApp) -> None:
        """Serve requests whose ``Host`` satisfies ``matches`` by ``app``."""
        self.host_routes.append((matches, app))

    def route_service(self, signing_name: str, app: AsgiApp) -> None:
        """Serve API requests signed for ``signing_name`` by ``app`` instead of ministack."""
        self.service_routes[signing_name] = app

    def at_shutdown(self, hook: Callable[[], None]) -> None:
        """Call ``hook`` when the cloud stops."""
        self.shutdown_hooks.append(hook)
