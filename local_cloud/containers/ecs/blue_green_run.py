"""One blue/green deployment: a new revision comes up beside the old one, is tried, gets the traffic, or goes.

Stages and their order: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-deployment-how-it-works.html
A hook of a ``…_TRAFFIC_SHIFT`` stage is asked right after its rule has been led to the other target group.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from ministack.services import cloudwatch, ecs  # type: ignore[import-untyped]

from . import roles, target_groups, traffic
from .lifecycle_hooks import ClientFactory, HookError, HookRunner
from .service_deployments import REVISION_SETTINGS, ServiceDeployment
from .service_record import say, tasks_of
from .traffic import NetworkingError

logger = logging.getLogger(__name__)

BAKE_SCALE = 10.0
"""By how much more than other times the bake time is shortened: it is spent looking at alarms only."""
NO_CANDIDATE = "No rollback candidate was found to run the rollback."
"""ECS's reason when a service's first deployment fails."""

SCALED_UP = "_scaled_up"
"""Key in a deployment's record: whether its tasks are kept at the service's desired count."""
DONE = "_blue_green_done"
"""Key in a deployment's record: whether it may replace the others."""
TRIPPED = "_circuit_breaker_tripped"
"""Key in a deployment's record: whether too many of its tasks have failed."""

_POLL = 0.1
_PRINCIPAL = "ecs.amazonaws.com"


class Runner(Protocol):
    """What a deployment needs from whoever runs it."""

    client: ClientFactory
    scaled: Callable[[float], float]
    closed: threading.Event


class FailedError(Exception):
    """The deployment has failed and is to be rolled back; the text is ECS's reason."""


class SupersededError(Exception):
    """A newer deployment of the service has begun."""


class ServiceGoneError(Exception):
    """The service was deleted."""


class DeploymentRun:
    """One deployment on its way through the stages."""

    def __init__(self, runner: Runner, key: str, entry: ServiceDeployment) -> None:
        self.runner = runner
        self.key = key
        self.cluster = key.partition("/")[0]
        self.entry = entry
        self.service = entry.service
        self.deployment = entry.deployment
        self.balancers = list(self.service.get("loadBalancers") or [])
        self.hooks = HookRunner(runner.client, runner.scaled, self._pause)
        self.before: list[str] = []
        """Target groups that serve before, one per load balancer."""
        self.after: list[str] = []
        self.test_shifted = self.production_shifted = False

    def run(self) -> None:
        """Go through the stages; roll back on any failure."""
        try:
            self._watch_alarms()
            self._prepare_traffic()
            self._deploy()
        except FailedError as error:
            self._roll_back(str(error))
        except SupersededError:
            self._give_way()
        except ServiceGoneError:
            self.entry.set_status("STOPPED", "The service was deleted.")
        except Exception:
            logger.exception("deployment %s of %s broke off", self.entry.arn, self.key)
            self._roll_back(
                "Service deployment rolled back because of an error of the local cloud: see its log."
            )

    def _deploy(self) -> None:
        source = self.entry.source
        if sum(is_scaled_up(each) for each in self.service["deployments"]) > 1:
            self._stage("RECONCILE_SERVICE", self._weights(0), self._weights(0))
        self._stage("PRE_SCALE_UP")
        self.entry.stage = "SCALE_UP"
        self.deployment[SCALED_UP] = True
        ecs._reconcile_service_tasks(self.cluster, self.key)
        while not self._is_healthy():
            self._pause(_POLL)
        self._stage("POST_SCALE_UP")
        self._shift_test(self.after, 100)
        self._stage("TEST_TRAFFIC_SHIFT", test=self._weights(100))
        self._stage("POST_TEST_TRAFFIC_SHIFT")
        self._hooks("PRE_PRODUCTION_TRAFFIC_SHIFT", production=self._weights(0))
        self._shift_production(self.after, 100)
        self._stage("PRODUCTION_TRAFFIC_SHIFT", production=self._weights(100))
        self._stage("POST_PRODUCTION_TRAFFIC_SHIFT")
        self.entry.stage = "BAKE_TIME"
        if source is not None:
            minutes = self.entry.configuration.get("bakeTimeInMinutes")
            self._pause(self.runner.scaled(60.0 * float(15 if minutes is None else minutes)) / BAKE_SCALE)
        self.entry.stage = "CLEAN_UP"
        self.deployment[DONE] = True
        for other in self.service["deployments"]:
            if other is not self.deployment:
                other[SCALED_UP] = False
        while self.deployment["rolloutState"] != "COMPLETED":
            ecs._complete_service_deployment(self.cluster, self.key, self.deployment["id"])
            self._pause(_POLL)
        self.entry.set_status("SUCCESSFUL")

    # Before the stages.

    def _watch_alarms(self) -> None:
        """Alarms that are in ALARM when a deployment begins play no part in it, as on AWS."""
        alarms = self.entry.configuration.get("alarms") or {}
        names = (alarms.get("alarmNames") or []) if alarms.get("enable") else []
        self.entry.watched_alarms = [name for name in names if not _in_alarm(name)]

    def _prepare_traffic(self) -> None:
        if self.runner.closed.is_set():
            raise ServiceGoneError
        reason = "Service deployment rolled back because of invalid networking configuration."
        groups = []
        for balancer in self.balancers:
            advanced = balancer["advancedConfiguration"]
            role = advanced.get("roleArn", "")
            if not roles.trusts(role, _PRINCIPAL):
                raise FailedError(
                    f"{reason} ECS was unable to manage the ELB resources due to missing permissions on ECS "
                    f"Infrastructure Role '{role}'."
                )
            try:
                serving = traffic.checked_serving_group(balancer)
            except NetworkingError as error:
                raise FailedError(f"{reason} {error}") from None
            both = (balancer["targetGroupArn"], advanced["alternateTargetGroupArn"])
            other = both[0] if serving == both[1] else both[1]
            self.before.append(serving)
            self.after.append(other if self.entry.source else both[0])
            groups.append((self.after[-1], int(balancer["containerPort"])))
        target_groups.assign(self.deployment, groups)

    # Stages.

    def _stage(
        self, stage: str, test: dict[str, int] | None = None, production: dict[str, int] | None = None
    ) -> None:
        self.entry.stage = stage
        self.entry.updated = time.time()
        self._check()
        self._hooks(stage, test, production)

    def _hooks(
        self, stage: str, test: dict[str, int] | None = None, production: dict[str, int] | None = None
    ) -> None:
        try:
            self.hooks.run(self.entry, stage, test, production)
        except HookError as error:
            raise FailedError(f"Service deployment rolled back because {error}") from None
        self._check()

    def _shift_test(self, groups: list[str], weight: int) -> None:
        traffic.shift(self.balancers, "testListenerRule", groups)
        self.test_shifted = weight > 0
        self.entry.weights["test"] = float(weight)

    def _shift_production(self, groups: list[str], weight: int) -> None:
        traffic.shift(self.balancers, "productionListenerRule", groups)
        self.production_shifted = weight > 0
        self.entry.weights["production"] = float(weight)

    def _weights(self, target: int) -> dict[str, int]:
        source = self.entry.source
        others = {source.revision_arn: 100 - target} if source else {}
        return {self.entry.revision_arn: target, **others}

    def _is_healthy(self) -> bool:
        ready = [
            task
            for task in tasks_of(self.service)
            if ecs._deployment_for_task(self.service, task) is self.deployment
            and task["lastStatus"] == "RUNNING"
            and task.get("_startup_stable")
        ]
        return len(ready) >= int(self.service["desiredCount"])

    # Interruptions.

    def _pause(self, seconds: float) -> None:
        """Wait; raises when the deployment must not go on."""
        deadline = time.monotonic() + seconds
        while True:
            self._check()
            left = deadline - time.monotonic()
            if left <= 0:
                return
            self.runner.closed.wait(min(left, _POLL))

    def _check(self) -> None:
        current = ecs._services.get(self.key)
        if self.runner.closed.is_set() or current is not self.service or current["status"] != "ACTIVE":
            raise ServiceGoneError
        if ecs._primary_deployment(self.service) is not self.deployment:
            raise SupersededError
        if self.deployment.get(TRIPPED):
            raise FailedError(
                "Service deployment rolled back because the circuit breaker threshold was exceeded."
            )
        triggered = [name for name in self.entry.watched_alarms if _in_alarm(name)]
        if triggered:
            self.entry.triggered_alarms = triggered
            names = ", ".join(triggered)
            raise FailedError(f"Service deployment rolled back because alarm(s) detected: {names}.")

    # The way back.

    def _roll_back(self, reason: str) -> None:
        """Give the traffic back to the source revision, and remove the target's tasks."""
        source = self.entry.source
        name, identity = self.service["serviceName"], self.entry.arn.rpartition("/")[2]
        self.entry.set_status("ROLLBACK_IN_PROGRESS", reason)
        say(self.service, f"(deployment {identity}) deployment failed: {reason}")
        self.entry.rollback = {
            "reason": reason,
            "startedAt": time.time(),
            "serviceRevisionArn": source.revision_arn if source else None,
        }
        production, test = self.production_shifted, self.test_shifted
        if len(self.before) == len(self.balancers):
            self._shift_production(self.before, 0)
            self._shift_test(self.before, 0)
        self._tell_hooks(production=production, test=test)
        self.deployment |= {
            "rolloutState": "FAILED",
            "rolloutStateReason": reason,
            "desiredCount": 0,
            SCALED_UP: False,
        }
        if source is None:
            ecs._reconcile_service_tasks(self.cluster, self.key)
            self.entry.set_status("ROLLBACK_FAILED", f"{reason} {NO_CANDIDATE}")
            say(self.service, f"(deployment {identity}) rollback has failed. {NO_CANDIDATE}")
            return
        self.deployment["status"] = "ACTIVE"
        source.deployment |= {"status": "PRIMARY", "desiredCount": self.service["desiredCount"]}
        self.service |= {
            setting: source.settings.get(setting) for setting in REVISION_SETTINGS if setting in self.service
        }
        ecs._reconcile_service_tasks(self.cluster, self.key)
        self.entry.set_status("ROLLBACK_SUCCESSFUL", reason)
        logger.info("service %s was rolled back: %s", name, reason)
        say(self.service, f"(deployment {identity}) rolled back to {source.revision_arn}.")

    def _tell_hooks(self, *, production: bool, test: bool) -> None:
        """Ask the traffic stages' hooks again, with the weights turned round; no answer changes anything."""
        stages = [("PRODUCTION_TRAFFIC_SHIFT", production), ("TEST_TRAFFIC_SHIFT", test)]
        patient = HookRunner(self.runner.client, self.runner.scaled, time.sleep)
        for stage, shifted in stages:
            weights = self._weights(0)
            arguments = (None, weights) if stage.startswith("PRODUCTION") else (weights, None)
            if shifted:
                try:
                    patient.run(self.entry, stage, *arguments)
                except HookError as error:
                    say(self.service, f"rollback goes on although {error}")

    def _give_way(self) -> None:
        """End for a newer deployment, which begins from the same source."""
        if self.production_shifted:
            self._shift_production(self.before, 0)
        if self.test_shifted:
            self._shift_test(self.before, 0)
        self.deployment |= {"rolloutState": "FAILED", "desiredCount": 0, SCALED_UP: False}
        ecs._reconcile_service_tasks(self.cluster, self.key)
        self.entry.set_status("STOPPED", "A newer service deployment has begun.")


def is_scaled_up(deployment: dict[str, Any]) -> bool:
    """Whether the deployment's tasks are wanted; one that a rolling deployment completed counts."""
    return bool(deployment.get(SCALED_UP, deployment["rolloutState"] == "COMPLETED"))


def _in_alarm(name: str) -> bool:
    alarm = cloudwatch._alarms.get(name) or cloudwatch._composite_alarms.get(name) or {}
    return bool(alarm.get("StateValue") == "ALARM")
