"""boto3 clients of the cloud itself, for handlers that work through its public APIs."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from ministack.core.responses import get_region  # type: ignore[import-untyped]

if TYPE_CHECKING:
    from ..context import CloudContext

_clients: dict[tuple[str, str], Any] = {}
_lock = threading.Lock()
_settings: dict[str, Any] = {}


def configure(context: CloudContext) -> None:
    """Point the clients at ``context``'s cloud."""
    _clients.clear()
    _settings.update(endpoint_url=context.api_url, verify=context.client_environment["AWS_CA_BUNDLE"])


def client(service: str) -> Any:
    """Return a client of ``service`` in the running request's region, made once for both.

    Calls re-enter the cloud: only handlers registered as blocking may use it.
    """
    import boto3
    from botocore.config import Config

    key = service, get_region()
    with _lock:
        if key not in _clients:
            session = boto3.session.Session(
                aws_access_key_id="test",
                aws_secret_access_key="test",  # noqa: S106 - the cloud's well-known test key
                region_name=key[1],
            )
            _clients[key] = session.client(
                service,  # type: ignore[call-overload]
                config=Config(proxies={}, retries={"total_max_attempts": 1}),
                **_settings,
            )
        return _clients[key]
