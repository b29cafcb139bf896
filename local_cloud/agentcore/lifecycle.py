"""What happens after a control API call was accepted: creating, updating, synchronizing, deleting."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from botocore.credentials import Credentials

from .fault_injection import CONNECT_TARGET, FaultPlan
from .mcp_client import McpServer, TargetError
from .oauth import CredentialProviders
from .outbound_http import OutboundHttp
from .state import Catalog, Gateway, Store, Target, now

logger = logging.getLogger(__name__)

CONNECT_FAILED = (
    "Failed to connect and fetch tools from the provided MCP target server. "
    "Please check the server endpoint or tool capability support. "
)


class Lifecycle:
    """Moves gateways and targets from one status to the next on its own threads.

    ``delay`` (seconds) is how long each step lasts at least, so that callers see the states between.
    """

    def __init__(
        self,
        store: Store,
        http: OutboundHttp,
        faults: FaultPlan,
        credentials: Credentials,
        providers: CredentialProviders,
        delay: float,
    ) -> None:
        self._store = store
        self._http = http
        self._faults = faults
        self._credentials = credentials
        self._providers = providers
        self._delay = delay
        self._stopping = threading.Event()
        self._executor = ThreadPoolExecutor(max_workers=8, thread_name_prefix="agentcore")

    def stop(self) -> None:
        """Start nothing more; steps that wait end at once."""
        self._stopping.set()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def gateway_becomes_ready(self, gateway: Gateway) -> None:
        """CREATING or UPDATING, then READY."""
        self.later(lambda: gateway.set_status("READY"))

    def gateway_goes(self, gateway: Gateway) -> None:
        """DELETING, then gone."""
        self.later(lambda: self._store.remove(gateway))

    def target_goes(self, gateway: Gateway, target: Target) -> None:
        """DELETING, then gone; the gateway counts it a little longer, as the service does."""

        def remove() -> None:
            gateway.targets.pop(target.target_id, None)
            gateway.released_at = time.monotonic() + self._delay

        self.later(remove)

    def target_is_indexed(self, gateway: Gateway, target: Target, *, failed_status: str) -> None:
        """List the server's tools, then READY or ``failed_status``; a DYNAMIC target lists nothing."""

        def index() -> None:
            if target.dynamic:
                with self._store.lock:
                    target.catalog = Catalog()
                    target.set_status("READY")
                return
            try:
                tools = asyncio.run(self.fetch_tools(gateway, target))
            except TargetError as error:
                logger.info("target %s of %s: %s", target.name, gateway.gateway_id, error)
                with self._store.lock:
                    target.set_status(failed_status, CONNECT_FAILED + str(error))
                return
            with self._store.lock:
                target.catalog = Catalog(tools)
                target.last_synchronized_at = now()
                target.set_status("READY")

        self.later(
            index, locked=False, on_error=lambda: target.set_status(failed_status, "Internal failure.")
        )

    def server(self, gateway: Gateway, target: Target, **options: Any) -> McpServer:
        """A client of the target's MCP server, with the target's outbound authorization."""
        credential = (target.credential or {}).get("credentialProvider") or {}
        if "oauthCredentialProvider" in credential:

            async def token() -> str:
                return await self._providers.token(gateway.place, credential["oauthCredentialProvider"])

            return McpServer(self._http, target.endpoint, token=token, **options)
        signing = None
        if "iamCredentialProvider" in credential:
            provider = credential["iamCredentialProvider"]
            signing = (self._credentials, provider["service"], provider.get("region", gateway.place.region))
        return McpServer(self._http, target.endpoint, signing=signing, **options)

    async def fetch_tools(self, gateway: Gateway, target: Target) -> list[dict[str, Any]]:
        """List the tools of the target's server. Raises TargetError."""
        fault = self._faults.take(CONNECT_TARGET)
        if fault is not None:
            raise TargetError(fault.message)
        try:
            async with self.server(gateway, target) as server:
                return await server.list_tools()
        finally:
            await self._http.close()

    def later(
        self, step: Callable[[], None], *, locked: bool = True, on_error: Callable[[], None] | None = None
    ) -> None:
        """Take a step once the delay is over, with the store's lock held if ``locked``."""

        def run() -> None:
            if self._stopping.wait(self._delay):
                return
            try:
                if locked:
                    with self._store.lock:
                        step()
                else:
                    step()
            except Exception:
                logger.exception("a step of AgentCore failed")
                if on_error is not None:
                    on_error()

        self._executor.submit(run)
