"""Security groups between CloudFront, load balancer and task, read from the emulator's state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import alb, ec2, ecs  # type: ignore[import-untyped]

from local_cloud.data_plane import security_groups
from local_cloud.data_plane.load_balancer_state import LoadBalancer, find_by_arn

ACCOUNT, REGION = "000000000000", "eu-central-1"
BALANCER = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/app/a/1"
GROUP = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/t/1"
LISTENER = f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/app/a/1/2"
TASK_ADDRESS = "127.9.8.7"
ORIGIN_FACING = ec2._aws_pl_id_from_name("com.amazonaws.global.cloudfront.origin-facing")


def tcp(port: int, **source: Any) -> dict[str, Any]:
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}


def group(group_id: str, name: str = "") -> dict[str, Any]:
    return {"UserIdGroupPairs": [{"GroupId": group_id, **({"GroupName": name} if name else {})}]}


def cidr(block: str) -> dict[str, Any]:
    return {"IpRanges": [{"CidrIp": block}]}


EVERYWHERE = {"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}


def define(
    group_id: str, inbound: list[dict[str, Any]], outbound: list[dict[str, Any]] | None = None
) -> None:
    ec2._security_groups[group_id] = {
        "GroupId": group_id,
        "GroupName": group_id,
        "IpPermissions": inbound,
        "IpPermissionsEgress": [EVERYWHERE] if outbound is None else outbound,
    }


@pytest.fixture
def balancer() -> Iterator[LoadBalancer]:
    """A load balancer in front of a service's task on port 8080."""
    with request_scope(ACCOUNT, REGION):
        define("sg-balancer", [])
        define("sg-task", [tcp(8080, **group("sg-balancer"))])
        ec2._subnets["subnet-a"] = {"SubnetId": "subnet-a", "VpcId": "vpc-a", "CidrBlock": "10.1.0.0/24"}
        alb._lbs[BALANCER] = {
            "LoadBalancerArn": BALANCER,
            "DNSName": f"a-1.{REGION}.elb.amazonaws.com",
            "Subnets": ["subnet-a"],
            "SecurityGroups": ["sg-balancer"],
        }
        alb._listeners[LISTENER] = {"ListenerArn": LISTENER, "LoadBalancerArn": BALANCER, "Port": 80}
        alb._rules["rule"] = {
            "RuleArn": "rule",
            "ListenerArn": LISTENER,
            "Actions": [{"Type": "forward", "TargetGroupArn": GROUP}],
        }
        cluster = f"arn:aws:ecs:{REGION}:{ACCOUNT}:cluster/c"
        ecs._services["c/s"] = {
            "networkConfiguration": {
                "awsvpcConfiguration": {"subnets": ["subnet-a"], "securityGroups": ["sg-task"]}
            }
        }
        ecs._tasks["task"] = {"clusterArn": cluster, "group": "service:s", "_container_ip": TASK_ADDRESS}
    found = find_by_arn(BALANCER)
    assert found is not None
    yield found
    for store in (
        ec2._security_groups,
        ec2._subnets,
        alb._lbs,
        alb._listeners,
        alb._rules,
        ecs._services,
        ecs._tasks,
    ):
        store.clear()


def reaches() -> bool:
    return security_groups.reaches(GROUP, TASK_ADDRESS, 8080)


def test_task_admits_the_load_balancers_group(balancer: LoadBalancer) -> None:
    assert reaches()
    assert not security_groups.reaches(GROUP, TASK_ADDRESS, 9090)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (tcp(8080, **group("sg-other")), False),
        (tcp(80, **group("sg-balancer")), False),
        ({**tcp(8080, **group("sg-balancer")), "IpProtocol": "udp"}, False),
        ({**group("sg-balancer"), "IpProtocol": "-1"}, True),
        ({**tcp(8000, **group("sg-balancer")), "ToPort": 8100}, True),
        (tcp(8080, **cidr("10.1.0.0/16")), True),
        (tcp(8080, **cidr("10.2.0.0/16")), False),
        (tcp(8080, **cidr("0.0.0.0/0")), True),
    ],
)
def test_inbound_rules_of_the_task(balancer: LoadBalancer, rule: dict[str, Any], expected: bool) -> None:
    with balancer.scope():
        define("sg-task", [rule])
    assert reaches() is expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (tcp(8080, **group("sg-task")), True),
        (tcp(443, **group("sg-task")), False),
        (tcp(8080, **cidr("10.1.0.0/24")), True),
        (tcp(8080, **cidr("192.168.0.0/24")), False),
    ],
)
def test_outbound_rules_of_the_load_balancer(
    balancer: LoadBalancer, rule: dict[str, Any], expected: bool
) -> None:
    with balancer.scope():
        define("sg-balancer", [], [rule])
    assert reaches() is expected


def test_groups_that_are_gone_admit_nothing(balancer: LoadBalancer) -> None:
    with balancer.scope():
        del ec2._security_groups["sg-task"]
    assert not reaches()


def test_targets_that_are_no_tasks_are_not_checked(balancer: LoadBalancer) -> None:
    assert security_groups.reaches(GROUP, "127.1.1.1", 8080)
    assert security_groups.reaches(GROUP.replace("/t/1", "/unused/2"), TASK_ADDRESS, 9090)


@pytest.mark.parametrize(
    ("rule", "cloudfront", "public"),
    [
        (tcp(80, **cidr("10.1.0.0/16")), True, False),
        (tcp(80, **cidr("10.1.0.5/32")), True, False),
        (tcp(80, **cidr("203.0.113.0/24")), False, True),
        (tcp(80, **cidr("0.0.0.0/0")), True, True),
        (tcp(80, **group("sg-x", "CloudFront-VPCOrigins-Service-SG")), True, False),
        (tcp(80, PrefixListIds=[{"PrefixListId": ORIGIN_FACING}]), True, False),
        (tcp(80, PrefixListIds=[{"PrefixListId": "pl-other"}]), False, False),
        (tcp(443, **cidr("0.0.0.0/0")), False, False),
    ],
)
def test_who_may_enter_the_load_balancer(
    balancer: LoadBalancer, rule: dict[str, Any], cloudfront: bool, public: bool
) -> None:
    with balancer.scope():
        define("sg-balancer", [rule])

    def admitted(peer: security_groups.Peer) -> bool:
        return security_groups.admits(["sg-balancer"], 80, peer, account=ACCOUNT, region=REGION)

    assert admitted(security_groups.cloudfront_vpc_origin(balancer)) is cloudfront
    assert admitted(security_groups.internet()) is public
