"""The templates of alarms and dashboard by what they do: who is paged when, and what is left afterwards."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.infrastructure.cloudformation import INFRASTRUCTURE
from tests.local_cloud import stacks

ACCOUNT = "000000000000"
SERVICE = "arn:aws:ecs:{region}:000000000000:service/cluster-1/service-1"
COMMON = {
    "ProjectName": "knowledge",
    "Stage": "prod",
    "LoadBalancerFullName": "app/alb/1",
    "LatencyAlarmSeconds": "5",
}
WATCHED = {
    **COMMON,
    "BlueTargetGroupFullName": "targetgroup/blue/1",
    "ClusterName": "cluster-1",
    "ServiceName": "service-1",
    "DesiredCount": "2",
    "LogGroupName": "server",
    "DistributionId": "E123",
    "GatewayId": "knowledge-abc",
    "SigningKeysFunctionName": "",
}
# Where there is more of everything, and where there is less.
PLACES = {"us-east-1": "targetgroup/green/1", "eu-central-1": ""}


@dataclass
class Deployed:
    """The stacks in one region, and a queue that gets what the topic publishes."""

    region: str
    client: Any
    outputs: dict[str, str]
    names: dict[str, str]
    queue: str

    def messages(self) -> list[str]:
        """Return what was published since the last time."""
        sqs = self.client("sqs", self.region)
        found: list[str] = []
        while answer := sqs.receive_message(QueueUrl=self.queue, MaxNumberOfMessages=10).get("Messages"):
            for message in answer:
                found.append(json.loads(message["Body"])["Message"])
                sqs.delete_message(QueueUrl=self.queue, ReceiptHandle=message["ReceiptHandle"])
        return found

    def set(self, alarm: str, state: str) -> list[str]:
        """Bring an alarm into a state, and return `<logical id> <state>` of what was published then."""
        cloudwatch = self.client("cloudwatch", self.region)
        cloudwatch.set_alarm_state(AlarmName=self.names[alarm], StateValue=state, StateReason="a test")
        told = [json.loads(message) for message in self.messages()]
        ids = {name: logical_id for logical_id, name in self.names.items()}
        return [f"{ids[message['AlarmName']]} {message['NewStateValue']}" for message in told]


@pytest.fixture(scope="module", params=PLACES)
def deployed(request: pytest.FixtureRequest, client: Any) -> Iterator[Deployed]:
    region = str(request.param)
    cloudformation, logs = client("cloudformation", region), client("logs", region)
    logs.create_log_group(logGroupName="server")
    green = PLACES[region]
    more = {"GreenTargetGroupFullName": green, "SigningKeysFunctionName": "keys" if green else ""}
    created = {}

    def create(stem: str, parameters: dict[str, str]) -> dict[str, str]:
        template = (INFRASTRUCTURE / f"{stem}.yaml").read_text()
        created[f"knowledge-prod-{stem}"] = stacks.create(
            cloudformation, f"knowledge-prod-{stem}", template, parameters
        )
        assert created[f"knowledge-prod-{stem}"]["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(
            cloudformation, f"knowledge-prod-{stem}"
        )
        return stacks.outputs(created[f"knowledge-prod-{stem}"])

    rollback = create("rollback-alarms", COMMON)
    service = {key: WATCHED[key] for key in ("ProjectName", "Stage", "ClusterName", "ServiceName")}
    notification = create("notification", {**service, "AlarmEmail": "", "PermissionsBoundary": ""})
    alarms = create("alarms", {**WATCHED, **more, **notification})
    unshown = {"DesiredCount", "LatencyAlarmSeconds", "SigningKeysFunctionName"}
    shown = {key: value for key, value in WATCHED.items() if key not in unshown}
    create(
        "dashboard",
        {
            **shown,
            "GreenTargetGroupFullName": green,
            **{key: alarms[key] for key in ("PagingAlarmArns", "AlarmArns", "LogMetricsNamespace")},
            "AlarmTopicName": notification["TopicName"],
            "RollbackAlarmArns": rollback["AlarmArns"],
        },
    )
    resources = [
        item
        for stem in ("notification", "alarms")
        for item in cloudformation.describe_stack_resources(StackName=f"knowledge-prod-{stem}")[
            "StackResources"
        ]
    ]
    sqs, sns = client("sqs", region), client("sns", region)
    queue = sqs.create_queue(QueueName="subscriber")["QueueUrl"]
    sns.subscribe(
        TopicArn=notification["TopicArn"],
        Protocol="sqs",
        Endpoint=f"arn:aws:sqs:{region}:{ACCOUNT}:subscriber",
    )
    names = {item["LogicalResourceId"]: item["PhysicalResourceId"] for item in resources}
    yield Deployed(region, client, alarms, names, queue)
    for name in reversed(created):
        assert stacks.delete(cloudformation, name)["StackStatus"] == "DELETE_COMPLETE"
    sqs.delete_queue(QueueUrl=queue)
    cloudwatch = client("cloudwatch", region)
    both = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert (both["MetricAlarms"], both["CompositeAlarms"]) == ([], [])
    assert cloudwatch.list_dashboards()["DashboardEntries"] == []
    assert (
        logs.describe_query_definitions(queryDefinitionNamePrefix="knowledge-prod")["queryDefinitions"] == []
    )
    assert logs.describe_metric_filters(logGroupName="server")["metricFilters"] == []
    assert client("events", region).list_rules()["Rules"] == []
    logs.delete_log_group(logGroupName="server")


def test_a_single_alarm_pages_by_the_one_it_is_in(deployed: Deployed) -> None:
    deployed.messages()
    for single, page in (
        ("TargetErrorsAlarm", "CallersGetErrorsAlarm"),
        ("GatewayErrorsAlarm", "CallersGetErrorsAlarm"),
        ("GatewayThrottlesAlarm", "CallersWaitAlarm"),
        ("RunningTasksAlarm", "CapacityIsShortAlarm"),
        ("UndeliveredAlertsAlarm", "UpkeepFailsAlarm"),
    ):
        assert deployed.set(single, "ALARM") == [f"{page} ALARM"]
        assert deployed.set(single, "OK") == [f"{page} OK"]


def test_one_page_for_one_trouble(deployed: Deployed) -> None:
    deployed.messages()
    assert deployed.set("TargetErrorsAlarm", "ALARM") == ["CallersGetErrorsAlarm ALARM"]
    assert deployed.set("ToolErrorsAlarm", "ALARM") == []
    assert deployed.set("TargetErrorsAlarm", "OK") == []
    assert deployed.set("ToolErrorsAlarm", "OK") == ["CallersGetErrorsAlarm OK"]


def test_a_busy_processor_pages_nobody_until_callers_wait(deployed: Deployed) -> None:
    deployed.messages()
    assert deployed.set("CpuAlarm", "ALARM") == []
    assert sorted(deployed.set("LatencyAlarm", "ALARM")) == [
        "CallersWaitAlarm ALARM",
        "CapacityIsShortAlarm ALARM",
    ]
    assert deployed.set("CpuAlarm", "OK") == ["CapacityIsShortAlarm OK"]
    assert deployed.set("LatencyAlarm", "OK") == ["CallersWaitAlarm OK"]


def test_what_is_not_everywhere_pages_where_it_is(deployed: Deployed) -> None:
    deployed.messages()
    somewhere = {"EdgeErrorsAlarm", "GreenUnhealthyHostsAlarm", "SigningKeysAlarm"}
    there = somewhere & set(deployed.names)
    assert there == (somewhere if deployed.region == "us-east-1" else set())
    for name in sorted(there):
        assert len(deployed.set(name, "ALARM")) == 1
        assert len(deployed.set(name, "OK")) == 1
        assert deployed.names[name] in deployed.outputs["AlarmArns"]


def test_the_rule_hears_of_failed_deployments_of_this_service_alone(deployed: Deployed) -> None:
    events = deployed.client("events", deployed.region)
    pattern = events.describe_rule(Name=deployed.names["DeploymentFailureRule"])["EventPattern"]
    service = SERVICE.format(region=deployed.region)

    def heard(name: str, arn: str) -> bool:
        event = {
            "id": "1",
            "account": ACCOUNT,
            "source": "aws.ecs",
            "time": "2026-01-01T00:00:00Z",
            "region": deployed.region,
            "resources": [arn],
            "detail-type": "ECS Deployment State Change",
            "detail": {"eventType": "ERROR", "eventName": name, "deploymentId": "ecs-svc/1"},
        }
        answer = events.test_event_pattern(EventPattern=pattern, Event=json.dumps(event))
        return bool(answer["Result"])

    assert heard("SERVICE_DEPLOYMENT_FAILED", service)
    assert not heard("SERVICE_DEPLOYMENT_FAILED", service + "0")
    assert not heard("SERVICE_DEPLOYMENT_COMPLETED", service)


def test_a_failed_deployment_is_told_in_words(deployed: Deployed) -> None:
    deployed.messages()
    events = deployed.client("events", deployed.region)
    # Nobody may send events in a service's name, so the rule listens to another one for a moment.
    rule = deployed.names["DeploymentFailureRule"]
    pattern = events.describe_rule(Name=rule)["EventPattern"]
    events.put_rule(Name=rule, EventPattern=pattern.replace("aws.ecs", "test.ecs"))
    reason = "ECS deployment circuit breaker: tasks failed to start."
    detail = {"eventName": "SERVICE_DEPLOYMENT_FAILED", "deploymentId": "ecs-svc/1", "reason": reason}
    entry = {
        "Source": "test.ecs",
        "DetailType": "ECS Deployment State Change",
        "Resources": [SERVICE.format(region=deployed.region)],
        "Detail": json.dumps(detail),
    }
    events.put_events(Entries=[entry])
    deadline, told = time.monotonic() + 10, deployed.messages()
    while not told and time.monotonic() < deadline:
        time.sleep(0.1)
        told = deployed.messages()
    events.put_rule(Name=rule, EventPattern=pattern)
    (message,) = told
    words = rf"knowledge \(prod\): deployment ecs-svc/1 failed at 2\S+Z\. {reason} What ran before runs on\."
    assert re.fullmatch(words, message.strip('"'))


def test_the_dashboard_is_json_and_shows_every_alarm(deployed: Deployed) -> None:
    cloudwatch = deployed.client("cloudwatch", deployed.region)
    (entry,) = cloudwatch.list_dashboards()["DashboardEntries"]
    body = json.loads(cloudwatch.get_dashboard(DashboardName=entry["DashboardName"])["DashboardBody"])
    shown = {arn for widget in body["widgets"] for arn in widget["properties"].get("alarms", [])}
    both = cloudwatch.describe_alarms(AlarmTypes=["MetricAlarm", "CompositeAlarm"])
    assert shown == {alarm["AlarmArn"] for alarm in both["MetricAlarms"] + both["CompositeAlarms"]}


def test_saved_queries_lie_in_one_folder(deployed: Deployed) -> None:
    logs = deployed.client("logs", deployed.region)
    found = logs.describe_query_definitions()["queryDefinitions"]
    assert len(found) >= 8
    assert {query["name"].partition("/")[0] for query in found} == {"knowledge-prod-dashboard"}
    assert all(query["logGroupNames"] == ["server"] for query in found)
