"""Lambda functions as a load balancer meets them: each one comes from an address of its own.

The proxy opens a function's connections from its address; what is behind the address is read from the
function's ``VpcConfig`` when a request arrives. A function outside of every VPC is on the internet.
"""

from __future__ import annotations

import ipaddress
import threading
from dataclasses import dataclass
from typing import Any

from ministack.core.arn import parse_arn  # type: ignore[import-untyped]
from ministack.services import lambda_svc  # type: ignore[import-untyped]

from .security_groups import Peer, networks_of

_FIRST = ipaddress.IPv4Address("127.63.0.1")
"""Outside of the networks of tasks, 127.64.0.0/9: an address here is only ever a source."""

_functions: dict[str, str] = {}
"""Address to function ARN."""
_lock = threading.Lock()


@dataclass(frozen=True)
class VpcClient:
    """A function's network interfaces."""

    account: str
    region: str
    vpc_id: str
    groups: tuple[str, ...]
    peer: Peer


def address_of(function_arn: str) -> str:
    """The address that stands for the function, the same every time."""
    with _lock:
        for address, arn in _functions.items():
            if arn == function_arn:
                return address
        address = str(_FIRST + len(_functions))
        _functions[address] = function_arn
        return address


def is_known(address: str) -> bool:
    """Whether the address stands for a function."""
    return address in _functions


def client_at(address: str) -> VpcClient | None:
    """The function inside of a VPC that has the address; None for any other client."""
    arn = _functions.get(address)
    if arn is None:
        return None
    spec = parse_arn(arn)
    name = str(spec.resource).split(":")[1]
    record: dict[str, Any] = lambda_svc._functions.get_scoped(spec.account_id, spec.region, name) or {}
    network = (record.get("config") or {}).get("VpcConfig") or {}
    subnets, groups = network.get("SubnetIds") or [], tuple(network.get("SecurityGroupIds") or [])
    if not subnets:
        return None
    peer = Peer(groups=frozenset(groups), networks=networks_of(spec.account_id, spec.region, subnets))
    return VpcClient(spec.account_id, spec.region, network.get("VpcId", ""), groups, peer)
