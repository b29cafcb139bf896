"""haproxy in the role of the Application Load Balancer that alb.yaml describes.

Taken from the template: the idle timeout, the health check, the algorithm and stickiness. Not played: slow
start, the deregistration delay, access logs, and a new target's `initial` state, since haproxy takes servers
for up at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.infrastructure.cloudformation import Templates, resources

ALGORITHMS = {"round_robin": "roundrobin", "least_outstanding_requests": "leastconn"}


def attributes(entries: list[dict[str, Any]], conditions: Mapping[str, bool]) -> dict[str, Any]:
    """Return `{key: value}` of a list of attributes; a value may be an Fn::If."""
    found = {}
    for entry in entries:
        value = entry["Value"]
        if isinstance(value, dict) and "Fn::If" in value:
            condition, then, otherwise = value["Fn::If"]
            value = then if conditions[condition] else otherwise
        found[entry["Key"]] = value
    return found


def idle_timeout(templates: Templates) -> int:
    """Return the seconds after which a connection that carries nothing is closed."""
    ((_, balancer),) = resources(templates["alb"], "AWS::ElasticLoadBalancingV2::LoadBalancer").items()
    return int(attributes(balancer["LoadBalancerAttributes"], {})["idle_timeout.timeout_seconds"])


def haproxy_configuration(
    templates: Templates,
    targets: list[str],
    *,
    port: int,
    stateful: bool,
    idle_seconds: int | None = None,
    sticky: bool | None = None,
) -> str:
    """Return haproxy.cfg; `idle_seconds` and `sticky` replace what the template says."""
    group = resources(templates["alb"], "AWS::ElasticLoadBalancingV2::TargetGroup")["BlueTargetGroup"]
    of_group = attributes(group["TargetGroupAttributes"], {"IsStateful": stateful})
    sticks = of_group["stickiness.enabled"] == "true" if sticky is None else sticky
    seconds = idle_timeout(templates) if idle_seconds is None else idle_seconds
    lifetime = of_group["stickiness.lb_cookie.duration_seconds"]
    lines = [
        "defaults",
        "  mode http",
        "  timeout connect 5s",
        f"  timeout client {seconds}s",
        f"  timeout server {seconds}s",
        "listen alb",
        f"  bind 127.0.0.1:{port}",
        f"  balance {ALGORITHMS[of_group['load_balancing.algorithm.type']]}",
        f"  option httpchk GET {group['HealthCheckPath']}",
        f"  http-check expect status {group['Matcher']['HttpCode']}",
        "  option forwardfor",
    ]
    if sticks:
        lines.append(f"  cookie AWSALB insert indirect nocache maxlife {lifetime}s")
    check = (
        f"check inter {group['HealthCheckIntervalSeconds']}s rise {group['HealthyThresholdCount']} "
        f"fall {group['UnhealthyThresholdCount']}"
    )
    lines += [f"  server t{n} {target} {check} cookie t{n}" for n, target in enumerate(targets)]
    return "\n".join([*lines, ""])
