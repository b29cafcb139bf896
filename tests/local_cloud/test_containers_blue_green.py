"""Blue/green deployments of ECS on the local cloud: traffic, hooks, alarms, the way back."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import botocore.exceptions
import pytest

from . import stacks
from .blue_green_service import PRODUCTION, STAGES, TEST, BlueGreenService, Callers, blue_green_template
from .container_service import Project, until
from .data_plane_support import Edge, unique

Client = Callable[..., Any]
NAME = "blue-green"

pytestmark = pytest.mark.xdist_group("blue_green")


@pytest.fixture(scope="module")
def image(client: Client) -> str:
    return Project(client, "coloured").image("v1")


@pytest.fixture(scope="module")
def bucket(client: Client) -> str:
    name = unique("hook")
    client("s3").create_bucket(Bucket=name)
    return name


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stacks, "_TIMEOUT", 150.0)


@pytest.fixture(scope="module")
def service(client: Client, edge: Edge, image: str, bucket: str) -> Iterator[BlueGreenService]:
    """A service of version 1; tests put it back to a good version before they end."""
    cloudformation = client("cloudformation")
    stack = stacks.create(cloudformation, NAME, blue_green_template(image, bucket, "1"))
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(cloudformation, NAME)
    yield BlueGreenService(client, edge, bucket, stacks.outputs(stack))
    assert stacks.delete(cloudformation, NAME)["StackStatus"] == "DELETE_COMPLETE"


def stages_of(events: list[dict[str, Any]]) -> list[str]:
    return [event["lifecycleStage"] for event in events]


def test_versions_take_turns_in_the_two_groups_without_a_failed_call(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    created = service.hook_events()
    first_groups = service.weights("ProductionRule"), service.weights("TestRule")
    with Callers(service) as callers:
        until(lambda: callers.answers, "the first answer came")
        started = time.monotonic()
        stack = stacks.update(client("cloudformation"), NAME, blue_green_template(image, bucket, "2"))
        seconds = time.monotonic() - started
        until(lambda: callers.order[-1] == "2", "the new version answers")
        events = service.hook_events()
        second_groups = service.weights("ProductionRule"), service.weights("TestRule")
        # Without hooks nothing but the health of the new tasks holds the shift up.
        unhooked = blue_green_template(image, bucket, "1", hooked=False)
        back = stacks.update(client("cloudformation"), NAME, unhooked)
        until(lambda: callers.order[-1] == "1", "the third version answers")

    assert (stack["StackStatus"], back["StackStatus"]) == ("UPDATE_COMPLETE", "UPDATE_COMPLETE")
    assert callers.failures == []
    assert callers.order == ["1", "2", "1"]
    assert callers.answers.total() > 20
    assert seconds < 20
    assert first_groups == ([100, 0], [100, 0])
    assert second_groups == ([0, 100], [0, 100])
    assert service.weights("ProductionRule") == [100, 0]
    assert stages_of(created) == stages_of(events) == STAGES
    described = service.describe()
    assert (described["runningCount"], described["pendingCount"]) == (1, 0)
    assert [each["rolloutState"] for each in described["deployments"]] == ["COMPLETED"]


def test_hooks_get_the_event_that_ecs_documents(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    service.hook_events()
    before = service.deployments()[0]["targetServiceRevision"]["arn"]
    stacks.update(client("cloudformation"), NAME, blue_green_template(image, bucket, "events"))
    events = {event["lifecycleStage"]: event for event in service.hook_events()}
    deployment = service.deployments()[0]
    after = deployment["targetServiceRevision"]["arn"]
    test = events["POST_TEST_TRAFFIC_SHIFT"]
    assert test.pop("executionId")
    assert test == {
        "lifecycleStage": "POST_TEST_TRAFFIC_SHIFT",
        "resourceArn": deployment["serviceDeploymentArn"],
        "executionDetails": {
            "serviceArn": service.outputs["Service"],
            "targetServiceRevisionArn": after,
            "testTrafficWeights": {},
            "productionTrafficWeights": {},
        },
        "hookDetails": {"bucket": bucket, "KeepsItsCase": "yes"},
    }
    details = {stage: event["executionDetails"] for stage, event in events.items()}
    assert details["TEST_TRAFFIC_SHIFT"]["testTrafficWeights"] == {after: 100, before: 0}
    assert details["PRE_PRODUCTION_TRAFFIC_SHIFT"]["productionTrafficWeights"] == {after: 0, before: 100}
    assert details["PRODUCTION_TRAFFIC_SHIFT"]["productionTrafficWeights"] == {after: 100, before: 0}


def test_a_hook_that_refuses_leaves_production_with_blue(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    good, seen_by_hook = service.get(), []
    weights = service.weights("ProductionRule")
    service.hook_events()
    service.answer(
        "POST_TEST_TRAFFIC_SHIFT",
        *[{"hookStatus": "IN_PROGRESS", "callBackDelay": 60}],
        {"hookStatus": "FAILED"},
    )
    with Callers(service) as callers:
        until(lambda: callers.answers, "the first answer came")
        arguments = stacks.arguments(NAME, blue_green_template(image, bucket, "bad"))
        client("cloudformation").update_stack(**arguments)
        until(lambda: service.get(TEST) == (200, "bad"), "the test listener leads to the new version")
        seen_by_hook.append(service.get(PRODUCTION))
        stack = stacks.settled(client("cloudformation"), NAME)

    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(client("cloudformation"), NAME)["Service"]
    assert "POST_TEST_TRAFFIC_SHIFT lifecycle hook(s) failed" in reason
    assert reason.split("hook(s) failed. ")[1].startswith("Lifecycle hook target arn:aws:lambda:")
    assert "returned FAILED status" in reason
    assert callers.failures == []
    assert set(callers.answers) == {good}
    assert callers.answers.total() > 20
    assert seen_by_hook == [good]
    assert service.weights("ProductionRule") == service.weights("TestRule") == weights
    assert service.get(TEST) == good
    deployment = service.deployments()[0]
    assert deployment["status"] == "ROLLBACK_SUCCESSFUL"
    assert deployment["rollback"]["serviceRevisionArn"] == deployment["sourceServiceRevisions"][0]["arn"]
    assert any(
        "deployment failed: Service deployment rolled back" in e["message"]
        for e in service.describe()["events"]
    )
    events = service.hook_events()
    assert stages_of(events)[:5] == [*STAGES[:4], "POST_TEST_TRAFFIC_SHIFT"]
    assert stages_of(events)[5:] == ["TEST_TRAFFIC_SHIFT"], "the shift back is told to the hook"
    weights_told = events[-1]["executionDetails"]["testTrafficWeights"]
    assert weights_told[events[-1]["executionDetails"]["targetServiceRevisionArn"]] == 0


def test_a_hook_that_refuses_after_the_shift_gives_production_back(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    good, weights = service.get(), service.weights("ProductionRule")
    service.answer("POST_PRODUCTION_TRAFFIC_SHIFT", {"hookStatus": "nonsense"})
    with Callers(service) as callers:
        stack = stacks.update(client("cloudformation"), NAME, blue_green_template(image, bucket, "late"))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "HookStatus must not be null" in stacks.failure_reasons(client("cloudformation"), NAME)["Service"]
    assert callers.failures == []
    assert service.get() == good
    assert service.weights("ProductionRule") == weights


def test_a_green_version_that_never_gets_healthy_gets_no_traffic(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    good = service.get()
    broken = blue_green_template(image, bucket, "unhealthy", environment={"HOST": "127.0.0.1"})
    with Callers(service) as callers:
        stack = stacks.update(client("cloudformation"), NAME, broken)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(client("cloudformation"), NAME)["Service"]
    assert "the circuit breaker threshold was exceeded" in reason
    assert "Health checks failed" in reason
    assert callers.failures == []
    assert set(callers.answers) == {good}


def test_an_alarm_while_baking_rolls_back(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    good = service.get()
    cloudwatch = client("cloudwatch")
    for name in ("too-many-errors", "alarmed-before"):
        cloudwatch.put_metric_alarm(
            AlarmName=name,
            Namespace="AWS/ApplicationELB",
            MetricName="HTTPCode_Target_5XX_Count",
            ComparisonOperator="GreaterThanThreshold",
            EvaluationPeriods=1,
            Period=60,
            Statistic="Sum",
            Threshold=1,
            TreatMissingData="ignore",
        )
    cloudwatch.set_alarm_state(AlarmName="alarmed-before", StateValue="ALARM", StateReason="since yesterday")
    alarmed = blue_green_template(
        image, bucket, "alarmed", bake_minutes=1440, alarms=["too-many-errors", "alarmed-before"]
    )
    client("cloudformation").update_stack(**stacks.arguments(NAME, alarmed))
    until(lambda: service.deployments()[0].get("lifecycleStage") == "BAKE_TIME", "it bakes", 60)
    baking = service.get(), service.describe()["runningCount"]
    cloudwatch.set_alarm_state(AlarmName="too-many-errors", StateValue="ALARM", StateReason="test")
    stack = stacks.settled(client("cloudformation"), NAME)
    assert baking == ((200, "alarmed"), 2), "both versions run while baking"
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert service.get() == good
    alarms = service.deployments()[0]["alarms"]
    assert (alarms["status"], alarms["triggeredAlarmNames"]) == ("TRIGGERED", ["too-many-errors"])
    configuration = service.describe()["deploymentConfiguration"]
    assert configuration["bakeTimeInMinutes"] == 1, "the stack's rollback brings the configuration back"
    cloudwatch.delete_alarms(AlarmNames=["too-many-errors", "alarmed-before"])


def test_a_hook_that_takes_too_long_rolls_back(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    good = service.get()
    service.answer("PRE_SCALE_UP", *[{"hookStatus": "IN_PROGRESS", "callBackDelay": 20}] * 9)
    slow = blue_green_template(image, bucket, "slow", timeout={"TimeoutInMinutes": 1, "Action": "ROLLBACK"})
    stack = stacks.update(client("cloudformation"), NAME, slow)
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "timed out after 1 minutes" in stacks.failure_reasons(client("cloudformation"), NAME)["Service"]
    assert service.get() == good
    client("s3").delete_object(Bucket=bucket, Key="answers/PRE_SCALE_UP")


def test_the_strategy_changes_in_place_both_ways(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    """A rolling deployment goes to the group that serves, whichever it is."""
    cloudformation = client("cloudformation")
    arn = service.outputs["Service"]
    if service.weights("ProductionRule") == [100, 0]:
        stacks.update(cloudformation, NAME, blue_green_template(image, bucket, "turn"))
    assert service.weights("ProductionRule") == [0, 100]
    with Callers(service) as callers:
        for version, strategy in (("3", "ROLLING"), ("4", "ROLLING"), ("5", "BLUE_GREEN")):
            body = blue_green_template(image, bucket, version, strategy=strategy)
            stack = stacks.update(cloudformation, NAME, body)
            assert stack["StackStatus"] == "UPDATE_COMPLETE", stacks.failure_reasons(cloudformation, NAME)
            until(lambda wanted=version: service.get() == (200, wanted), "the new version answers")  # type: ignore[misc]
            assert stacks.outputs(stack)["Service"] == arn
    assert callers.failures == []
    assert service.weights("ProductionRule") == [100, 0]


def test_a_service_can_be_deleted_in_the_middle_of_a_deployment(
    client: Client, edge: Edge, image: str, bucket: str
) -> None:
    cloudformation = client("cloudformation")
    name = "cut-short"
    body = blue_green_template(image, bucket, "1")
    hooks = body["Resources"]["Service"]["Properties"]["DeploymentConfiguration"]["LifecycleHooks"]
    hooks[0]["LifecycleStages"] = ["POST_TEST_TRAFFIC_SHIFT"]
    service = BlueGreenService(client, edge, bucket, {})
    service.hook_events()
    service.answer("POST_TEST_TRAFFIC_SHIFT", *[{"hookStatus": "IN_PROGRESS"}] * 50)
    cloudformation.create_stack(**stacks.arguments(name, body))
    until(service.hook_events, "the hook is asked", 60)
    assert stacks.delete(cloudformation, name)["StackStatus"] == "DELETE_COMPLETE"
    asked = len(service.hook_events())
    time.sleep(2.5)
    assert len(service.hook_events()) <= 1, f"the deployment went on after {asked} questions"
    client("s3").delete_object(Bucket=bucket, Key="answers/POST_TEST_TRAFFIC_SHIFT")


def test_a_first_deployment_that_fails_has_nothing_to_go_back_to(
    client: Client, edge: Edge, image: str, bucket: str
) -> None:
    service = BlueGreenService(client, edge, bucket, {})
    service.answer("PRE_SCALE_UP", {"hookStatus": "FAILED"})
    stack = stacks.create(client("cloudformation"), "never", blue_green_template(image, bucket, "1"))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(client("cloudformation"), "never")["Service"]
    assert "No rollback candidate was found" in reason
    assert "PRE_SCALE_UP lifecycle hook(s) failed" in reason


def test_impossible_configurations_are_refused_by_name(service: BlueGreenService, client: Client) -> None:
    ecs = client("ecs")
    current = service.describe()
    where = {"cluster": service.outputs["Cluster"], "service": service.outputs["Service"]}

    def refusal(**change: Any) -> str:
        balancer = {**current["loadBalancers"][0]}
        balancer["advancedConfiguration"] = {**balancer["advancedConfiguration"], **change}
        with pytest.raises(botocore.exceptions.ClientError) as caught:
            ecs.update_service(**where, loadBalancers=[balancer])
        return str(caught.value)

    rule = service.outputs["ProductionRule"]
    assert "cannot be used as both production and test" in refusal(testListenerRule=rule)
    listener = rule.replace("listener-rule", "listener")
    assert "productionListenerRule has an invalid ARN format" in refusal(productionListenerRule=listener)
    with pytest.raises(botocore.exceptions.ClientError, match="advancedConfiguration field is required"):
        bare = {
            key: value for key, value in current["loadBalancers"][0].items() if key != "advancedConfiguration"
        }
        ecs.update_service(**where, loadBalancers=[bare])


def test_the_api_tells_of_deployments_and_revisions(service: BlueGreenService, client: Client) -> None:
    ecs = client("ecs")
    where = {"cluster": service.outputs["Cluster"], "service": service.outputs["Service"]}
    newest = service.deployments()[0]
    revision_arn = newest["targetServiceRevision"]["arn"]
    revision = ecs.describe_service_revisions(serviceRevisionArns=[revision_arn])["serviceRevisions"][0]
    assert revision["taskDefinition"] == service.describe()["taskDefinition"]
    serving = ("Targets", "Alternate")[service.weights("ProductionRule").index(100)]
    resolved = revision["resolvedConfiguration"]["loadBalancers"]
    assert resolved == [
        {
            "targetGroupArn": service.outputs[serving],
            "productionListenerRule": service.outputs["ProductionRule"],
        }
    ]
    assert revision["containerImages"][0]["imageDigest"].startswith("sha256:")
    only = ecs.list_service_deployments(**where, status=["ROLLBACK_SUCCESSFUL"])["serviceDeployments"]
    assert {each["status"] for each in only} <= {"ROLLBACK_SUCCESSFUL"}
    described = service.describe()
    assert described["currentServiceDeployment"] == newest["serviceDeploymentArn"]
    assert [each["arn"] for each in described["currentServiceRevisions"]] == [revision_arn]
    unknown = ecs.describe_service_deployments(serviceDeploymentArns=[revision_arn + "x"])
    assert [each["reason"] for each in unknown["failures"]] == ["MISSING"]


def test_capacity_and_service_connect_are_kept_and_checked(service: BlueGreenService, client: Client) -> None:
    described = service.describe()
    providers = {each["capacityProvider"] for each in described["capacityProviderStrategy"]}
    assert providers == {"FARGATE", "FARGATE_SPOT"}
    assert described["enableExecuteCommand"] is False
    assert described["availabilityZoneRebalancing"] == "ENABLED"
    connect = described["deployments"][0]["serviceConnectConfiguration"]
    assert connect["services"][0]["clientAliases"] == [{"port": 8080}]
    where = {"cluster": service.outputs["Cluster"], "service": service.outputs["Service"]}
    for change, words in (
        ({"capacityProviderStrategy": [{"capacityProvider": "OWN"}]}, "is not associated with the cluster"),
        ({"serviceConnectConfiguration": {**connect, "namespace": "elsewhere"}}, "no namespace 'elsewhere'"),
        (
            {"serviceConnectConfiguration": {**connect, "services": [{"portName": "http"}]}},
            r"portName\(http\) does not refer",
        ),
    ):
        with pytest.raises(botocore.exceptions.ClientError, match=words):
            client("ecs").update_service(**where, **change)


def test_deployments_are_told_to_rules_of_the_event_bus(
    service: BlueGreenService, client: Client, image: str, bucket: str
) -> None:
    queue = client("sqs").create_queue(QueueName=unique("deployments"))["QueueUrl"]
    attributes = client("sqs").get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
    rule = unique("deployments")
    pattern = {
        "source": ["aws.ecs"],
        "detail-type": ["ECS Deployment State Change"],
        "resources": [service.outputs["Service"]],
    }
    client("events").put_rule(Name=rule, EventPattern=json.dumps(pattern))
    target = {"Id": "queue", "Arn": attributes["Attributes"]["QueueArn"]}
    client("events").put_targets(Rule=rule, Targets=[target])
    service.answer("PRE_SCALE_UP", {"hookStatus": "FAILED"})
    for version in ("refused", "accepted"):
        stacks.update(client("cloudformation"), NAME, blue_green_template(image, bucket, version))
    told: list[dict[str, Any]] = []

    def hear() -> bool:
        messages = client("sqs").receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
        for message in messages:
            told.append(json.loads(message["Body"])["detail"])
            client("sqs").delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
        return len(told) >= 4

    until(hear, "all events have come")
    by_deployment: dict[str, list[str]] = {}
    for detail in told:
        by_deployment.setdefault(detail["deploymentId"], []).append(detail["eventName"])
    assert sorted(by_deployment.values()) == [
        ["SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_COMPLETED"],
        ["SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_FAILED"],
    ]
    failed = next(each for each in told if each["eventName"] == "SERVICE_DEPLOYMENT_FAILED")
    assert failed["eventType"] == "ERROR"
    assert "PRE_SCALE_UP lifecycle hook(s) failed" in failed["reason"]
    client("events").remove_targets(Rule=rule, Ids=["queue"])
    client("events").delete_rule(Name=rule)
