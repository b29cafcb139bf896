"""One local cloud per test session (and per xdist worker), and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_cloud.launcher import LocalCloud


@pytest.fixture(scope="session")
def local_cloud() -> Iterator[LocalCloud]:
    """A running local cloud."""
    with LocalCloud() as cloud:
        yield cloud


@pytest.fixture(scope="session")
def client(local_cloud: LocalCloud) -> Callable[..., Any]:
    """``client(service, region="us-east-1")``: boto3 clients of the cloud, one per service and region."""
    clients: dict[tuple[str, str], Any] = {}

    def make(service: str, region: str = "us-east-1") -> Any:
        key = (service, region)
        if key not in clients:
            clients[key] = local_cloud.client(service, region)
        return clients[key]

    return make
