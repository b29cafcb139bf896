"""Whether security groups let a connection through: to a load balancer, and from there to its targets.

Coarse on purpose: a peer is known by its groups, the networks its address may come from and the managed
prefix lists it is part of. Network ACLs and route tables play no part.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ministack.core.arn import parse_arn  # type: ignore[import-untyped]
from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import ec2, ecs  # type: ignore[import-untyped]

from .load_balancer_state import LoadBalancer, load_balancers_of

ORIGIN_FACING_PREFIX_LIST = "com.amazonaws.global.cloudfront.origin-facing"
VPC_ORIGINS_GROUP = "CloudFront-VPCOrigins-Service-SG"
"""Name of the group on the network interfaces through which CloudFront enters a VPC.

https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-vpc-origins.html
"""
_PRIVATE = tuple(ipaddress.IPv4Network(block) for block in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))


@dataclass(frozen=True)
class Peer:
    """The other end of a connection, as a security group's rules can name it."""

    groups: frozenset[str] = frozenset()
    group_names: frozenset[str] = frozenset()
    networks: tuple[ipaddress.IPv4Network, ...] = ()
    prefix_lists: frozenset[str] = frozenset()
    internet: bool = False
    """Some public address, which one is not known."""


def internet() -> Peer:
    """Any client on the internet."""
    return Peer(internet=True)


def cloudfront_vpc_origin(balancer: LoadBalancer) -> Peer:
    """CloudFront's network interfaces in the subnets of a VPC origin's load balancer."""
    return Peer(
        group_names=frozenset({VPC_ORIGINS_GROUP}),
        networks=_subnet_networks(balancer),
        prefix_lists=frozenset({ec2._aws_pl_id_from_name(ORIGIN_FACING_PREFIX_LIST)}),
    )


def load_balancer_peer(balancer: LoadBalancer) -> Peer:
    """The network interfaces of a load balancer."""
    return Peer(groups=frozenset(balancer.security_groups), networks=_subnet_networks(balancer))


def admits(group_ids: Iterable[str], port: int, source: Peer, *, account: str, region: str) -> bool:
    """Whether the inbound rules of any of ``group_ids`` admit TCP on ``port`` from ``source``.

    No group at all (a network interface that the emulator keeps none for) admits everything; a group that
    doesn't exist admits nothing.
    """
    return _any_rule(group_ids, "IpPermissions", port, source, account=account, region=region)


def lets_out(group_ids: Iterable[str], port: int, destination: Peer, *, account: str, region: str) -> bool:
    """Whether the outbound rules of any of ``group_ids`` let TCP to ``port`` of ``destination`` out."""
    return _any_rule(group_ids, "IpPermissionsEgress", port, destination, account=account, region=region)


def reaches(target_group_arn: str, address: str, port: int) -> bool:
    """Whether the load balancers of a target group can open a TCP connection to the task at ``address``.

    Health checks and requests pass the same rules. A target that is no ECS task, and a target group that no
    load balancer uses, are not checked.
    """
    balancers = load_balancers_of(target_group_arn)
    return not balancers or any(load_balancer_reaches(balancer, address, port) for balancer in balancers)


def load_balancer_reaches(balancer: LoadBalancer, address: str, port: int) -> bool:
    """Whether ``balancer``'s groups let a connection to the task out, and the task's groups let it in."""
    task = _network_interface(balancer.account, balancer.region, address)
    if task is None:
        return True
    group_ids, networks = task
    where = {"account": balancer.account, "region": balancer.region}
    destination = Peer(groups=frozenset(group_ids), networks=networks)
    return lets_out(balancer.security_groups, port, destination, **where) and admits(
        group_ids, port, load_balancer_peer(balancer), **where
    )


def _any_rule(
    group_ids: Iterable[str], direction: str, port: int, peer: Peer, *, account: str, region: str
) -> bool:
    ids = list(group_ids)
    if not ids:
        return True
    for group_id in ids:
        group = ec2._security_groups.get_scoped(account, region, group_id) or {}
        for rule in group.get(direction) or []:
            if _covers_port(rule, port) and _names(rule, peer, account=account, region=region):
                return True
    return False


def _covers_port(rule: dict[str, Any], port: int) -> bool:
    protocol = str(rule.get("IpProtocol", "-1")).lower()
    if protocol == "-1":
        return True
    if protocol not in {"tcp", "6"}:
        return False
    first, last = int(rule.get("FromPort", -1)), int(rule.get("ToPort", -1))
    return first == -1 or first <= port <= last


def _names(rule: dict[str, Any], peer: Peer, *, account: str, region: str) -> bool:
    for pair in rule.get("UserIdGroupPairs") or []:
        group_id = pair.get("GroupId", "")
        record = ec2._security_groups.get_scoped(account, region, group_id) or {}
        if group_id in peer.groups or {pair.get("GroupName"), record.get("GroupName")} & peer.group_names:
            return True
    if any(item.get("PrefixListId") in peer.prefix_lists for item in rule.get("PrefixListIds") or []):
        return True
    return any(_covers_network(item.get("CidrIp", ""), peer) for item in rule.get("IpRanges") or [])


def _covers_network(cidr: str, peer: Peer) -> bool:
    try:
        block = ipaddress.IPv4Network(cidr, strict=False)
    except ValueError:
        return False
    if peer.internet:
        return not any(block.subnet_of(private) for private in _PRIVATE)
    return any(network.subnet_of(block) or block.subnet_of(network) for network in peer.networks)


def _subnet_networks(balancer: LoadBalancer) -> tuple[ipaddress.IPv4Network, ...]:
    return networks_of(balancer.account, balancer.region, balancer.record.get("Subnets") or [])


def networks_of(account: str, region: str, subnet_ids: Iterable[str]) -> tuple[ipaddress.IPv4Network, ...]:
    """Address blocks of the subnets that exist."""
    blocks = (
        (ec2._subnets.get_scoped(account, region, subnet_id) or {}).get("CidrBlock")
        for subnet_id in subnet_ids
    )
    return tuple(ipaddress.IPv4Network(block, strict=False) for block in blocks if block)


def _network_interface(
    account: str, region: str, address: str
) -> tuple[list[str], tuple[ipaddress.IPv4Network, ...]] | None:
    """Security groups and subnets of the ECS task that has ``address``; None when there is no such task."""
    with request_scope(account, region):
        for task in list(ecs._tasks.values()):
            if ecs._task_ip(task) != address:
                continue
            network = _awsvpc(task)
            if network is None:
                return None
            groups = network.get("securityGroups") or network.get("SecurityGroups") or []
            subnets = network.get("subnets") or network.get("Subnets") or []
            return list(groups), networks_of(account, region, subnets)
    return None


def _awsvpc(task: dict[str, Any]) -> dict[str, Any] | None:
    """The network configuration that the task's service, or the call that ran it, asked for."""
    group = str(task.get("group", ""))
    configurations = [task.get("networkConfiguration")]
    if group.startswith("service:"):
        cluster = parse_arn(str(task["clusterArn"])).resource.rsplit("/", 1)[-1]
        service = ecs._services.get(f"{cluster}/{group.partition(':')[2]}") or {}
        configurations.append(service.get("networkConfiguration"))
    for configuration in configurations:
        if isinstance(configuration, dict):
            awsvpc = configuration.get("awsvpcConfiguration") or configuration.get("AwsvpcConfiguration")
            if isinstance(awsvpc, dict):
                return awsvpc
    return None
