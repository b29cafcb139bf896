"""True health of load balancer targets: each one is asked over HTTP, as the load balancer would.

States, reasons and descriptions are DescribeTargetHealth's (Elastic Load Balancing API, ``TargetHealth``).
Intervals and the deregistration delay are divided by the time scale; timeouts are real seconds.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal
from xml.sax.saxutils import escape

from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import alb  # type: ignore[import-untyped]

from local_cloud.data_plane import security_groups

State = Literal["initial", "healthy", "unhealthy", "draining"]
Key = tuple[str, str, int]
"""Target group's ARN, address, port."""

_SCAN_INTERVAL = 0.1
_USER_AGENT = "ELB-HealthChecker/2.0"


@dataclass
class Health:
    """What is known about one target."""

    state: State = "initial"
    reason: str = "Elb.RegistrationInProgress"
    description: str = "Target registration is in progress"
    successes: int = 0
    failures: int = 0
    draining_until: float = 0.0

    def record(
        self, failure: tuple[str, str] | None, healthy_threshold: int, unhealthy_threshold: int
    ) -> None:
        """Count one check; ``failure`` is its reason and description."""
        if failure is None:
            self.successes, self.failures = self.successes + 1, 0
            if self.state != "healthy" and self.successes >= healthy_threshold:
                self.state, self.reason, self.description = "healthy", "", ""
        else:
            self.successes, self.failures = 0, self.failures + 1
            if self.state == "unhealthy" or self.failures >= unhealthy_threshold:
                self.state, (self.reason, self.description) = "unhealthy", failure
        if self.state == "initial":
            self.reason, self.description = "Elb.InitialHealthChecking", "Initial health checks in progress"


@dataclass
class TargetHealthMonitor:
    """Finds target groups and their targets, and keeps one checking thread per target."""

    scaled: Callable[[float], float]
    """Turns AWS's seconds into the local cloud's."""
    _health: dict[Key, Health] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Begin to look for targets."""
        threading.Thread(target=self._scan, daemon=True, name="local-cloud-target-health").start()

    def close(self) -> None:
        """Stop checking."""
        self._closed.set()

    def health(self, arn: str, address: str, port: int) -> Health:
        """Give what is known; a target that was registered just now is ``initial``."""
        with self._lock:
            return self._health.get((arn, address, port)) or Health()

    def draining(self, arn: str) -> list[tuple[str, int, Health]]:
        """List targets that were deregistered and may still answer requests in flight."""
        with self._lock:
            found = [(key, health) for key, health in self._health.items() if key[0] == arn]
        return [(key[1], key[2], health) for key, health in found if health.state == "draining"]

    def _scan(self) -> None:
        while not self._closed.wait(_SCAN_INTERVAL):
            registered = {
                (group["TargetGroupArn"], address, port): (scope, group)
                for scope, group in _target_groups()
                for address, port in _registered(scope, group)
            }
            now = time.monotonic()
            with self._lock:
                for key, (scope, group) in registered.items():
                    known = self._health.get(key)
                    if known is None or known.state == "draining":
                        health = self._health[key] = Health()
                        self._check_in_background(key, health, scope, group)
                for key in [*self._health]:
                    if key not in registered:
                        self._deregister(key, now)

    def _deregister(self, key: Key, now: float) -> None:
        health = self._health[key]
        if health.state != "draining":
            health.state = "draining"
            health.reason = "Target.DeregistrationInProgress"
            health.description = "Target deregistration is in progress"
            health.draining_until = now + self.scaled(deregistration_delay(key[0]))
        elif now >= health.draining_until:
            del self._health[key]

    def _check_in_background(
        self, key: Key, health: Health, scope: tuple[str, str], group: dict[str, Any]
    ) -> None:
        def checking() -> bool:
            return self._health.get(key) is health and health.state != "draining"

        def check() -> None:
            while checking() and not self._closed.is_set():
                failure = check_target(group, key[1], key[2])
                with self._lock:
                    if checking():
                        health.record(
                            failure, group["HealthyThresholdCount"], group["UnhealthyThresholdCount"]
                        )
                self._closed.wait(self.scaled(group["HealthCheckIntervalSeconds"]))

        name = f"local-cloud-health-{key[1]}:{key[2]}-{scope[1]}"
        threading.Thread(target=check, daemon=True, name=name).start()


_monitor: TargetHealthMonitor | None = None


def install(scaled: Callable[[float], float]) -> TargetHealthMonitor:
    """Start checking, and let DescribeTargetHealth tell what was found."""
    global _monitor
    _monitor = TargetHealthMonitor(scaled)
    _monitor.start()
    alb._describe_target_health = _describe_target_health
    alb._ACTION_MAP["DescribeTargetHealth"] = _describe_target_health
    return _monitor


def healthy_targets(target_group_arn: str) -> list[tuple[str, int]]:
    """List the registered targets of the group that pass its health check: (address, port) pairs.

    Empty when none does; an Application Load Balancer then "fails open" and uses all registered ones.
    """
    return [
        (address, port)
        for address, port in registered_targets(target_group_arn)
        if target_health(target_group_arn, address, port).state == "healthy"
    ]


def registered_targets(target_group_arn: str) -> list[tuple[str, int]]:
    """List all registered targets of the group: (address, port) pairs."""
    for scope, group in _target_groups():
        if group["TargetGroupArn"] == target_group_arn:
            return _registered(scope, group)
    return []


def target_health(target_group_arn: str, address: str, port: int) -> Health:
    """Give the health of one registered target."""
    if _monitor is None:
        raise RuntimeError("local_cloud.containers isn't installed: target health isn't known")
    return _monitor.health(target_group_arn, address, port)


def target_group(target_group_arn: str) -> dict[str, Any] | None:
    """Give the target group's record in the emulator, by its ARN in any region."""
    return next((group for _, group in _target_groups() if group["TargetGroupArn"] == target_group_arn), None)


def deregistration_delay(target_group_arn: str) -> float:
    """Seconds (AWS's) that requests in flight get when a target is deregistered."""
    account = target_group_arn.split(":")[4]
    with request_scope(account, target_group_arn.split(":")[3]):
        attributes = alb._tg_attrs.get(target_group_arn) or []
    for attribute in attributes:
        if attribute["Key"] == "deregistration_delay.timeout_seconds":
            return float(attribute["Value"])
    return 300.0


def check_target(group: dict[str, Any], address: str, port: int) -> tuple[str, str] | None:
    """Do one health check; the failure's reason and description, or ``None`` when it passed."""
    wanted_port = group["HealthCheckPort"]
    check_port = port if wanted_port == "traffic-port" else int(wanted_port)
    timeout = float(group["HealthCheckTimeoutSeconds"])
    if not security_groups.reaches(group["TargetGroupArn"], address, check_port):
        return "Target.Timeout", "Request timed out"
    connection: http.client.HTTPConnection
    if group["HealthCheckProtocol"] == "HTTPS":
        # A load balancer doesn't verify its targets' certificates.
        unverified = ssl._create_unverified_context()  # noqa: S323
        connection = http.client.HTTPSConnection(address, check_port, timeout=timeout, context=unverified)
    else:
        connection = http.client.HTTPConnection(address, check_port, timeout=timeout)
    with contextlib.closing(connection):
        try:
            headers = {"User-Agent": _USER_AGENT, "Connection": "close"}
            connection.request("GET", group["HealthCheckPath"], headers=headers)
            status = connection.getresponse().status
        except TimeoutError:
            return "Target.Timeout", "Request timed out"
        except (OSError, http.client.HTTPException):
            return "Target.FailedHealthChecks", "Health checks failed"
    if matches(status, group["Matcher"]["HttpCode"]):
        return None
    return "Target.ResponseCodeMismatch", f"Health checks failed with these codes: [{status}]"


def matches(status: int, matcher: str) -> bool:
    """Whether a status is in a matcher such as ``200``, ``200,202`` or ``200-299``."""
    for part in str(matcher).split(","):
        low, _, high = part.strip().partition("-")
        if int(low) <= status <= int(high or low):
            return True
    return False


def _target_groups() -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for (account, region, _), group in list(alb._tgs.all_items()):
        if group.get("TargetType") != "lambda":
            yield (account, region), group


def _registered(scope: tuple[str, str], group: dict[str, Any]) -> list[tuple[str, int]]:
    with request_scope(*scope):
        targets = list(alb._targets.get(group["TargetGroupArn"]) or [])
    return [(target["Id"], int(target.get("Port") or group["Port"])) for target in targets]


def _describe_target_health(params: dict[str, Any]) -> Any:
    arn = alb._p(params, "TargetGroupArn")
    group = alb._tgs.get(arn)
    if group is None:
        return alb._error("TargetGroupNotFound", f"Target group '{arn}' not found.", 400)
    wanted = {target["Id"] for target in alb._parse_targets_param(params)}
    if group.get("TargetType") == "lambda":
        described = [(target["Id"], 0, Health("healthy", "", "")) for target in alb._targets.get(arn, [])]
    else:
        described = [(*target, target_health(arn, *target)) for target in registered_targets(arn)]
        described += _monitor.draining(arn) if _monitor else []
    members = "".join(_member(group, *each) for each in described if not wanted or each[0] in wanted)
    return alb._xml(
        200, "DescribeTargetHealth", f"<TargetHealthDescriptions>{members}</TargetHealthDescriptions>"
    )


def _member(group: dict[str, Any], address: str, port: int, health: Health) -> str:
    details = "".join(
        f"<{name}>{escape(value)}</{name}>"
        for name, value in (
            ("State", health.state),
            ("Reason", health.reason),
            ("Description", health.description),
        )
        if value
    )
    check_port = port if group["HealthCheckPort"] == "traffic-port" else group["HealthCheckPort"]
    return (
        f"<member><Target><Id>{escape(address)}</Id><Port>{port}</Port></Target>"
        f"<HealthCheckPort>{check_port}</HealthCheckPort><TargetHealth>{details}</TargetHealth></member>"
    )
