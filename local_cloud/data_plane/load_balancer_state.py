"""The emulator's load balancers, listeners and target groups, of every region."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ministack.core.arn import parse_arn  # type: ignore[import-untyped]
from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import alb  # type: ignore[import-untyped]

Record = dict[str, Any]


@dataclass(frozen=True)
class LoadBalancer:
    """A load balancer with the account and region that its listeners and target groups live in."""

    account: str
    region: str
    record: Record

    @property
    def arn(self) -> str:
        """Its ARN."""
        return str(self.record["LoadBalancerArn"])

    @property
    def dns_name(self) -> str:
        """Its DNS name, lower case."""
        return str(self.record["DNSName"]).lower()

    @property
    def internal(self) -> bool:
        """Whether its DNS name resolves to private addresses only."""
        return bool(self.record.get("Scheme") == "internal")

    @property
    def security_groups(self) -> list[str]:
        """Ids of the security groups on its network interfaces."""
        return list(self.record.get("SecurityGroups") or [])

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Run a block with the emulator's state of this balancer's account and region."""
        with request_scope(self.account, self.region):
            yield

    def attribute(self, key: str, default: str) -> str:
        """A load balancer attribute such as ``idle_timeout.timeout_seconds``."""
        with self.scope():
            return str(alb._lb_attr(self.arn, key, default))

    def listener(self, port: int) -> Record | None:
        """The listener on ``port``; None when nothing listens there."""
        with self.scope():
            return next(
                (
                    listener
                    for listener in alb._listeners.values()
                    if listener["LoadBalancerArn"] == self.arn and int(listener.get("Port", 80)) == port
                ),
                None,
            )

    def listener_ports(self) -> list[int]:
        """The ports that it listens on."""
        with self.scope():
            return sorted(
                int(listener.get("Port", 80))
                for listener in alb._listeners.values()
                if listener["LoadBalancerArn"] == self.arn
            )

    def certificate_names(self, listener: Record) -> set[str]:
        """The names, lower case, that the certificates of an HTTPS listener are for."""
        from ministack.services import acm

        names: set[str] = set()
        with self.scope():
            for item in listener.get("Certificates") or []:
                arn = item if isinstance(item, str) else item.get("CertificateArn", "")
                certificate = acm._certificates.get(arn) or {}
                names |= {
                    str(certificate.get("DomainName", "")),
                    *certificate.get("SubjectAlternativeNames", []),
                }
        return {name.lower() for name in names if name}

    def rules(self, listener_arn: str) -> list[Record]:
        """The listener's rules in the order in which they are tried, the default rule last."""
        with self.scope():
            rules = [rule for rule in alb._rules.values() if rule.get("ListenerArn") == listener_arn]
        return sorted(rules, key=alb._rule_sort_key)


def _all() -> Iterator[LoadBalancer]:
    for (account, region, _arn), record in alb._lbs.all_items():
        yield LoadBalancer(account, region, record)


def find_by_dns_name(host: str) -> LoadBalancer | None:
    """The load balancer of any region whose DNS name is ``host``."""
    wanted = host.lower().removeprefix("dualstack.")
    return next((balancer for balancer in _all() if balancer.dns_name == wanted), None)


def find_by_arn(arn: str) -> LoadBalancer | None:
    """The load balancer with this ARN."""
    return next((balancer for balancer in _all() if balancer.arn == arn), None)


def forwarded_target_groups(actions: list[Record]) -> list[tuple[str, int]]:
    """``(target group ARN, weight)`` of the forward action in ``actions``."""
    for action in actions:
        if str(action.get("Type", "")).lower() != "forward":
            continue
        groups = (action.get("ForwardConfig") or {}).get("TargetGroups") or []
        if groups:
            return [(str(group["TargetGroupArn"]), int(group.get("Weight", 1))) for group in groups]
        if action.get("TargetGroupArn"):
            return [(str(action["TargetGroupArn"]), 1)]
    return []


def load_balancers_of(target_group_arn: str) -> list[LoadBalancer]:
    """The load balancers with a rule that forwards to this target group."""
    found = []
    for balancer in _all():
        with balancer.scope():
            listeners = {
                arn for arn, listener in alb._listeners.items() if listener["LoadBalancerArn"] == balancer.arn
            }
            if any(
                target_group_arn == arn
                for rule in alb._rules.values()
                if rule.get("ListenerArn") in listeners
                for arn, _weight in forwarded_target_groups(rule.get("Actions") or [])
            ):
                found.append(balancer)
    return found


def target_group(arn: str) -> Record | None:
    """The target group's record."""
    spec = parse_arn(arn)
    record: Record | None = alb._tgs.get_scoped(spec.account_id, spec.region, arn)
    return record


def registered_targets(target_group_arn: str) -> list[tuple[str, int]]:
    """``(address, port)`` of every registered target, healthy or not."""
    spec = parse_arn(target_group_arn)
    group = target_group(target_group_arn) or {}
    targets = alb._targets.get_scoped(spec.account_id, spec.region, target_group_arn) or []
    default_port = int(group.get("Port") or 80)
    return [(str(target["Id"]), int(target.get("Port") or default_port)) for target in targets]


def target_group_attribute(arn: str, key: str, default: str) -> str:
    """A target group attribute such as ``stickiness.enabled``."""
    spec = parse_arn(arn)
    attributes = alb._tg_attrs.get_scoped(spec.account_id, spec.region, arn) or []
    return next((str(item["Value"]) for item in attributes if item.get("Key") == key), default)
