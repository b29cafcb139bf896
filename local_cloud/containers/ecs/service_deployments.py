"""What ECS remembers of a service's deployments and the revisions they bring, and the API that tells it.

ministack answers DescribeServiceDeployments, ListServiceDeployments and DescribeServiceRevisions with
nothing. Shapes are botocore's ``ServiceDeployment``, ``ServiceDeploymentBrief`` and ``ServiceRevision``.
"""

from __future__ import annotations

import copy
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ministack.services import ecs  # type: ignore[import-untyped]

from . import deployment_events
from .target_groups import groups_of_deployment

REVISION_SETTINGS = (
    "taskDefinition",
    "launchType",
    "capacityProviderStrategy",
    "platformVersion",
    "platformFamily",
    "loadBalancers",
    "serviceRegistries",
    "networkConfiguration",
    "serviceConnectConfiguration",
)
"""What of a service belongs to a revision, and comes back when a deployment is rolled back."""

_ROLLING_STATUS = {"IN_PROGRESS": "IN_PROGRESS", "COMPLETED": "SUCCESSFUL"}
_PHRASES: dict[deployment_events.Name, str] = {
    "SERVICE_DEPLOYMENT_IN_PROGRESS": "in progress",
    "SERVICE_DEPLOYMENT_COMPLETED": "completed",
    "SERVICE_DEPLOYMENT_FAILED": "failed",
}
_FINAL = frozenset({"SUCCESSFUL", "STOPPED", "ROLLBACK_SUCCESSFUL", "ROLLBACK_FAILED"})


@dataclass
class ServiceDeployment:
    """One deployment: from the source revision, if there is one, to the target."""

    service: dict[str, Any]
    """ministack's record of the service."""
    deployment: dict[str, Any]
    """ministack's record of the deployment, a member of ``deployments`` of the service."""
    source: ServiceDeployment | None
    """The deployment whose revision serves before this one."""
    configuration: dict[str, Any]
    strategy: str
    settings: dict[str, Any]
    arn: str = ""
    revision_arn: str = ""
    status: str = "IN_PROGRESS"
    reason: str = ""
    stage: str = ""
    hooks: list[dict[str, Any]] = field(default_factory=list)
    """``DeploymentLifecycleHookDetail`` of the hooks of the stage."""
    weights: dict[str, float] = field(default_factory=lambda: {"test": 0.0, "production": 0.0})
    """Per cent of the traffic that the target revision gets."""
    rollback: dict[str, Any] | None = None
    watched_alarms: list[str] = field(default_factory=list)
    triggered_alarms: list[str] = field(default_factory=list)
    created: float = field(default_factory=time.time)
    updated: float = field(default_factory=time.time)
    finished: float | None = None

    def __post_init__(self) -> None:
        base, _, name = self.service["serviceArn"].partition(":service/")
        self.arn = f"{base}:service-deployment/{name}/{secrets.token_urlsafe(16)[:21]}"
        self.revision_arn = f"{base}:service-revision/{name}/{10**18 + secrets.randbelow(9 * 10**18)}"

    @property
    def final(self) -> bool:
        """Whether it has ended."""
        return self.status in _FINAL

    def set_status(self, status: str, reason: str = "") -> None:
        """Enter another status; a final one ends it."""
        self.status, self.reason, self.updated = status, reason, time.time()
        if self.final:
            self.finished = self.updated
            done = status == "SUCCESSFUL"
            self._announce("SERVICE_DEPLOYMENT_COMPLETED" if done else "SERVICE_DEPLOYMENT_FAILED")

    def _announce(self, name: deployment_events.Name) -> None:
        reason = self.reason or f"ECS deployment {self.deployment['id']} {_PHRASES[name]}."
        deployment_events.send(self.service["serviceArn"], self.deployment["id"], name, reason)

    def follow_rollout(self) -> None:
        """Take a rolling deployment's status from its rollout state."""
        if self.strategy != "ROLLING" or self.final:
            return
        state = self.deployment["rolloutState"]
        status = _ROLLING_STATUS.get(state) or ("ROLLBACK_SUCCESSFUL" if self.source else "ROLLBACK_FAILED")
        if status != self.status:
            self.set_status(status, self.deployment.get("rolloutStateReason", ""))

    def begin(self) -> None:
        """Announce that it is under way."""
        self._announce("SERVICE_DEPLOYMENT_IN_PROGRESS")

    def view(self) -> dict[str, Any]:
        """``ServiceDeployment`` of the API."""
        self.follow_rollout()
        alarms = self.configuration.get("alarms") or {}
        sources = [self.source._revision_summary(100 - self.weights["production"])] if self.source else []
        return {
            **self.brief(),
            "updatedAt": self.updated,
            "sourceServiceRevisions": sources,
            "targetServiceRevision": self._revision_summary(self.weights["production"], self.weights["test"]),
            "lifecycleStage": self.stage or None,
            "lifecycleHookDetails": self.hooks or None,
            "deploymentConfiguration": self.configuration,
            "rollback": self.rollback,
            "deploymentCircuitBreaker": {
                "status": self._monitor(
                    (self.configuration.get("deploymentCircuitBreaker") or {}), "breaker"
                ),
                "failureCount": int(self.deployment.get("failedTasks") or 0),
                "threshold": ecs._circuit_breaker_threshold(self.service),
            },
            "alarms": {
                "status": self._monitor(alarms, "alarms"),
                "alarmNames": alarms.get("alarmNames") or [],
                "triggeredAlarmNames": self.triggered_alarms,
            },
        }

    def brief(self) -> dict[str, Any]:
        """``ServiceDeploymentBrief`` of the API."""
        self.follow_rollout()
        return {
            "serviceDeploymentArn": self.arn,
            "serviceArn": self.service["serviceArn"],
            "clusterArn": self.service["clusterArn"],
            "createdAt": self.created,
            "startedAt": self.created,
            "finishedAt": self.finished,
            "targetServiceRevisionArn": self.revision_arn,
            "status": self.status,
            "statusReason": self.reason or None,
        }

    def revision(self) -> dict[str, Any]:
        """``ServiceRevision`` of the API."""
        groups = groups_of_deployment(self.service, self.deployment)
        rules = [
            (balancer.get("advancedConfiguration") or {}).get("productionListenerRule")
            for balancer in self.settings.get("loadBalancers") or []
        ]
        definition = ecs._task_defs.get(ecs._resolve_td_key(self.settings["taskDefinition"])) or {}
        return {
            "serviceRevisionArn": self.revision_arn,
            "serviceArn": self.service["serviceArn"],
            "clusterArn": self.service["clusterArn"],
            **self.settings,
            "containerImages": [
                {
                    "containerName": container["name"],
                    "image": container["image"],
                    "imageDigest": container["image"].partition("@")[2] or None,
                }
                for container in definition.get("containerDefinitions", [])
            ],
            "guardDutyEnabled": False,
            "createdAt": self.created,
            "resolvedConfiguration": {
                "loadBalancers": [
                    {"targetGroupArn": arn, "productionListenerRule": rule}
                    for (arn, _), rule in zip(groups, rules, strict=False)
                ]
            },
        }

    def _revision_summary(self, production: float, test: float = 0.0) -> dict[str, Any]:
        return {
            "arn": self.revision_arn,
            "requestedTaskCount": self.deployment.get("desiredCount", 0),
            "runningTaskCount": self.deployment.get("runningCount", 0),
            "pendingTaskCount": self.deployment.get("pendingCount", 0),
            "requestedTestTrafficWeight": test,
            "requestedProductionTrafficWeight": production,
        }

    def _monitor(self, configuration: dict[str, Any], kind: str) -> str:
        if not configuration.get("enable"):
            return "DISABLED"
        tripped = self.triggered_alarms if kind == "alarms" else "circuit breaker" in self.reason
        if tripped:
            return "TRIGGERED"
        return "MONITORING_COMPLETE" if self.final else "MONITORING"


class History:
    """Every deployment since the cloud started."""

    def __init__(self) -> None:
        self._deployments: dict[str, ServiceDeployment] = {}

    def install(self) -> None:
        """Answer the API's questions."""
        for name, answer in (
            ("DescribeServiceDeployments", self.describe_service_deployments),
            ("ListServiceDeployments", self.list_service_deployments),
            ("DescribeServiceRevisions", self.describe_service_revisions),
        ):
            ecs._ACTION_MAP[name] = answer
        ecs._describe_services = self._with_current(ecs._describe_services)
        ecs._ACTION_MAP["DescribeServices"] = ecs._describe_services

    def enter(self, service: dict[str, Any]) -> ServiceDeployment | None:
        """Record the service's newest deployment; None when it is known already."""
        deployment = ecs._primary_deployment(service)
        if deployment is None or self.of(deployment) is not None:
            return None
        configuration = copy.deepcopy(service.get("deploymentConfiguration") or {})
        entry = ServiceDeployment(
            service,
            deployment,
            self._source(service, deployment),
            configuration,
            configuration.get("strategy") or "ROLLING",
            {name: copy.deepcopy(service[name]) for name in REVISION_SETTINGS if service.get(name)},
        )
        self._deployments[entry.arn] = entry
        entry.begin()
        service["currentServiceDeployment"] = entry.arn
        return entry

    def of(self, deployment: dict[str, Any]) -> ServiceDeployment | None:
        """The entry of ministack's record of a deployment."""
        return next((each for each in self._deployments.values() if each.deployment is deployment), None)

    def of_service(self, service_arn: str) -> list[ServiceDeployment]:
        """The service's deployments, newest first."""
        found = [each for each in self._deployments.values() if each.service["serviceArn"] == service_arn]
        return found[::-1]

    def _source(self, service: dict[str, Any], target: dict[str, Any]) -> ServiceDeployment | None:
        for each in service["deployments"]:
            if each is not target and each["rolloutState"] == "COMPLETED":
                return self.of(each)
        return None

    def follow(self, service: dict[str, Any]) -> None:
        """Notice what has become of the service's rolling deployments."""
        for deployment in list(service["deployments"]):
            if entry := self.of(deployment):
                entry.follow_rollout()

    # The API.

    def describe_service_deployments(self, data: dict[str, Any]) -> Any:
        """DescribeServiceDeployments."""
        return self._described(data["serviceDeploymentArns"], "serviceDeployments", ServiceDeployment.view)

    def describe_service_revisions(self, data: dict[str, Any]) -> Any:
        """DescribeServiceRevisions."""
        return self._described(data["serviceRevisionArns"], "serviceRevisions", ServiceDeployment.revision)

    def list_service_deployments(self, data: dict[str, Any]) -> Any:
        """ListServiceDeployments, newest first, with its filter by status."""
        reference = ecs._resolve_service_ref(data["service"])
        cluster = ecs._resolve_cluster_name(data.get("cluster") or "default")
        service = ecs._services.get(f"{cluster}/{reference[0]}") if reference else None
        if service is None:
            return ecs.error_response_json("ServiceNotFoundException", "Service not found.", 400)
        briefs = [each.brief() for each in self.of_service(service["serviceArn"])]
        wanted = data.get("status")
        kept = [each for each in briefs if not wanted or each["status"] in wanted]
        return ecs.json_response({"serviceDeployments": ecs._sanitize(kept)})

    def _described(
        self, arns: list[str], member: str, view: Callable[[ServiceDeployment], dict[str, Any]]
    ) -> Any:
        known = {each.arn: each for each in self._deployments.values()}
        known |= {each.revision_arn: each for each in self._deployments.values()}
        found = [view(known[arn]) for arn in arns if arn in known]
        failures = [{"arn": arn, "reason": "MISSING"} for arn in arns if arn not in known]
        return ecs.json_response({member: ecs._sanitize(found), "failures": failures})

    def _with_current(self, describe: Callable[[dict[str, Any]], Any]) -> Callable[[dict[str, Any]], Any]:
        """Let DescribeServices name the revisions that have tasks."""

        def described(data: dict[str, Any]) -> Any:
            for service in list(ecs._services.values()):
                entries = [self.of(each) for each in service["deployments"]]
                service["currentServiceRevisions"] = [
                    {
                        "arn": entry.revision_arn,
                        "requestedTaskCount": entry.deployment["desiredCount"],
                        "runningTaskCount": entry.deployment["runningCount"],
                        "pendingTaskCount": entry.deployment["pendingCount"],
                    }
                    for entry in entries
                    if entry and entry.deployment["rolloutState"] != "FAILED"
                ]
            return describe(data)

        return described
