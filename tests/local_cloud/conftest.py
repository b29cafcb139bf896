"""One local cloud per test session (and per xdist worker), and clients of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from local_cloud.launcher import LocalCloud
from tests.local_cloud.agentcore_support import AgentCore
from tests.local_cloud.data_plane_support import Edge, echo, http_server


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


@pytest.fixture(scope="module")
def edge(local_cloud: LocalCloud, client: Callable[..., Any]) -> Edge:
    """Makes load balancers and distributions, and asks them."""
    return Edge(local_cloud, client)


@pytest.fixture(scope="module")
def agentcore(edge: Edge) -> AgentCore:
    """Makes gateways and targets."""
    return AgentCore(edge)


@pytest.fixture(scope="module")
def echo_port() -> Iterator[int]:
    """Port of a server on loopback that answers with what arrived."""
    with http_server(echo) as port:
        yield port
