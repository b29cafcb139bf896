"""A blue/green service for tests: its template, its hook, and what its listeners answer."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from . import stacks
from .container_service import template
from .data_plane_support import Edge

PRODUCTION, TEST = 80, 9001
STAGES = [
    "PRE_SCALE_UP",
    "POST_SCALE_UP",
    "TEST_TRAFFIC_SHIFT",
    "POST_TEST_TRAFFIC_SHIFT",
    "PRE_PRODUCTION_TRAFFIC_SHIFT",
    "PRODUCTION_TRAFFIC_SHIFT",
    "POST_PRODUCTION_TRAFFIC_SHIFT",
]

HOOK = """
import json, time, boto3
s3 = boto3.client("s3")
def handler(event, context):
    bucket = event["hookDetails"]["bucket"]
    stage = event["lifecycleStage"]
    s3.put_object(Bucket=bucket, Key=f"events/{time.time_ns()}", Body=json.dumps(event))
    try:
        answers = json.loads(s3.get_object(Bucket=bucket, Key=f"answers/{stage}")["Body"].read())
    except s3.exceptions.NoSuchKey:
        return {"hookStatus": "SUCCEEDED"}
    answer = answers.pop(0)
    if answers:
        s3.put_object(Bucket=bucket, Key=f"answers/{stage}", Body=json.dumps(answers))
    else:
        s3.delete_object(Bucket=bucket, Key=f"answers/{stage}")
    return answer
"""
"""Keeps every event, and answers what the test has put down for the stage, once each; else SUCCEEDED."""


def blue_green_template(
    image: str,
    bucket: str,
    version: str,
    *,
    strategy: str = "BLUE_GREEN",
    bake_minutes: int = 1,
    alarms: list[str] | None = None,
    hooked: bool = True,
    timeout: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The service of `container_service.template` with two target groups, their rules and a hook."""
    body = template(image, environment={"VERSION": version, **(environment or {})}, health_check=False)
    resources = body["Resources"]
    resources["Balancer"]["Properties"]["Scheme"] = "internet-facing"
    resources["Alternate"] = json.loads(json.dumps(resources["Targets"]))
    refuse = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "404"}}
    resources["Listener"]["Properties"]["DefaultActions"] = [refuse]
    listener = json.loads(json.dumps(resources["Listener"]))
    listener["Properties"]["Port"] = TEST
    resources["TestListener"] = listener
    for name, place in (("ProductionRule", "Listener"), ("TestRule", "TestListener")):
        resources[name] = {
            "Type": "AWS::ElasticLoadBalancingV2::ListenerRule",
            "Properties": {
                "ListenerArn": {"Ref": place},
                "Priority": 1,
                "Conditions": [{"Field": "path-pattern", "Values": ["/*"]}],
                "Actions": [
                    {
                        "Type": "forward",
                        "ForwardConfig": {
                            "TargetGroups": [
                                {"TargetGroupArn": {"Ref": "Targets"}, "Weight": 100},
                                {"TargetGroupArn": {"Ref": "Alternate"}, "Weight": 0},
                            ]
                        },
                    }
                ],
            },
        }
    definition = resources["TaskDefinition"]["Properties"]["ContainerDefinitions"][0]
    definition["PortMappings"] = [{"ContainerPort": 8080, "Name": "mcp"}]
    resources["Namespace"] = {
        "Type": "AWS::ServiceDiscovery::HttpNamespace",
        "Properties": {"Name": {"Fn::Sub": "${AWS::StackName}"}},
    }
    resources["Cluster"]["Properties"] = {"CapacityProviders": ["FARGATE", "FARGATE_SPOT"]}
    resources["HookRole"] = stacks.role(
        "ecs.amazonaws.com",
        {"Effect": "Allow", "Action": "lambda:InvokeFunction", "Resource": {"Fn::GetAtt": ["Hook", "Arn"]}},
    )
    resources["FunctionRole"] = stacks.role("lambda.amazonaws.com")
    resources["BalancerRole"] = stacks.role("ecs.amazonaws.com")
    resources["Hook"] = {
        "Type": "AWS::Lambda::Function",
        "Properties": {
            "Runtime": "python3.13",
            "Handler": "index.handler",
            "Timeout": 60,
            "Role": {"Fn::GetAtt": ["FunctionRole", "Arn"]},
            "Code": {"ZipFile": HOOK},
        },
    }
    service = resources["Service"]["Properties"]
    resources["Service"]["DependsOn"] = ["ProductionRule", "TestRule", "HookRole"]
    hook = {
        "HookTargetArn": {"Fn::GetAtt": ["Hook", "Arn"]},
        "RoleArn": {"Fn::GetAtt": ["HookRole", "Arn"]},
        "LifecycleStages": STAGES,
        "HookDetails": {"bucket": bucket, "KeepsItsCase": "yes"},
        **({"TimeoutConfiguration": timeout} if timeout else {}),
    }
    service["DeploymentConfiguration"] |= {"Strategy": strategy}
    del service["LaunchType"]
    service |= {
        "CapacityProviderStrategy": [
            {"CapacityProvider": "FARGATE", "Base": 1, "Weight": 1},
            {"CapacityProvider": "FARGATE_SPOT", "Weight": 1},
        ],
        "ServiceConnectConfiguration": {
            "Enabled": True,
            "Namespace": {"Fn::GetAtt": ["Namespace", "Arn"]},
            "Services": [{"PortName": "mcp", "ClientAliases": [{"Port": 8080}]}],
        },
        "EnableExecuteCommand": False,
        "AvailabilityZoneRebalancing": "ENABLED",
    }
    if strategy == "BLUE_GREEN":
        service["DeploymentConfiguration"] |= {
            "BakeTimeInMinutes": bake_minutes,
            "LifecycleHooks": [hook] if hooked else [],
            "Alarms": {"AlarmNames": alarms or [], "Enable": bool(alarms), "Rollback": True},
        }
    service["LoadBalancers"][0]["AdvancedConfiguration"] = {
        "AlternateTargetGroupArn": {"Ref": "Alternate"},
        "ProductionListenerRule": {"Ref": "ProductionRule"},
        "TestListenerRule": {"Ref": "TestRule"},
        "RoleArn": {"Fn::GetAtt": ["BalancerRole", "Arn"]},
    }
    for name in ("Alternate", "ProductionRule", "TestRule"):
        body["Outputs"][name] = {"Value": {"Ref": name}}
    body["Outputs"]["Host"] = {"Value": {"Fn::GetAtt": ["Balancer", "DNSName"]}}
    return body


@dataclass
class BlueGreenService:
    """A deployed service, its hook's notes, and its listeners."""

    client: Callable[..., Any]
    edge: Edge
    bucket: str
    outputs: dict[str, str]

    def answer(self, stage: str, *answers: dict[str, Any]) -> None:
        """Make the hook give these answers at ``stage``, one after another."""
        body = json.dumps(answers).encode()
        self.client("s3").put_object(Bucket=self.bucket, Key=f"answers/{stage}", Body=body)

    def hook_events(self) -> list[dict[str, Any]]:
        """What the hook was asked, oldest first, and forget it."""
        s3 = self.client("s3")
        keys = [
            each["Key"]
            for each in s3.list_objects_v2(Bucket=self.bucket, Prefix="events/").get("Contents", [])
        ]
        events = [
            json.loads(s3.get_object(Bucket=self.bucket, Key=key)["Body"].read()) for key in sorted(keys)
        ]
        for key in keys:
            s3.delete_object(Bucket=self.bucket, Key=key)
        return events

    def get(self, port: int = PRODUCTION) -> tuple[int, str]:
        """Status and body of one request to a listener."""
        answer = self.edge.request("GET", f"http://{self.outputs['Host']}:{port}/version")
        return answer.status_code, answer.text

    def weights(self, rule: str) -> list[int]:
        """Weights of the rule ``ProductionRule`` or ``TestRule``: the first group's, the alternate one's."""
        found = self.client("elbv2").describe_rules(RuleArns=[self.outputs[rule]])["Rules"][0]
        groups = {
            each["TargetGroupArn"]: each["Weight"]
            for each in found["Actions"][0]["ForwardConfig"]["TargetGroups"]
        }
        return [groups[self.outputs["Targets"]], groups[self.outputs["Alternate"]]]

    def describe(self) -> dict[str, Any]:
        """DescribeServices."""
        found = self.client("ecs").describe_services(
            cluster=self.outputs["Cluster"], services=[self.outputs["Service"]]
        )
        return dict(found["services"][0])

    def deployments(self) -> list[dict[str, Any]]:
        """DescribeServiceDeployments, newest first."""
        ecs = self.client("ecs")
        listed = ecs.list_service_deployments(
            cluster=self.outputs["Cluster"], service=self.outputs["Service"]
        )["serviceDeployments"]
        arns = [each["serviceDeploymentArn"] for each in listed]
        found = ecs.describe_service_deployments(serviceDeploymentArns=arns)["serviceDeployments"]
        return sorted(found, key=lambda each: arns.index(each["serviceDeploymentArn"]))


@dataclass
class Callers:
    """Calls to the production listener, one after another, each on a connection of its own."""

    service: BlueGreenService
    answers: Counter[tuple[int, str]] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Callers:
        self._thread = threading.Thread(target=self._call)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _call(self) -> None:
        url = f"http://{self.service.outputs['Host']}/version"
        with self.service.edge.http() as http:
            while not self._stop.is_set():
                try:
                    answer = http.get(url)
                except Exception as error:
                    self.failures.append(repr(error))
                    continue
                self.answers[answer.status_code, answer.text] += 1
                if not self.order or self.order[-1] != answer.text:
                    self.order.append(answer.text)
                if answer.status_code != 200:
                    self.failures.append(f"{answer.status_code} {answer.text[:100]}")
