"""A project within an organisation: its network, its boundary, its collector of traces, its tokens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from custom_resources.mcp_probe import bearer, try_tool
from local_cloud.launcher import LocalCloud
from tests.end_to_end.conftest import Project
from tests.end_to_end.gateway_token import token_of
from tests.end_to_end.leftovers import everything
from tests.infrastructure.cloudformation import INFRASTRUCTURE
from tests.local_cloud import container_service, stacks

pytestmark = pytest.mark.xdist_group("end_to_end")


COLLECTOR = """
import gzip, http.server

class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        print(self.path, body.decode(), flush=True)
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

http.server.ThreadingHTTPServer(("127.0.0.1", 4318), Collector).serve_forever()
"""
"""Logs what it is sent, and listens where only its own task reaches it."""
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass(frozen=True)
class Organisation:
    """What the project is given."""

    vpc_id: str
    subnet_ids: str
    boundary: str
    collector: str


@pytest.fixture(scope="module")
def organisation(cloud: LocalCloud) -> Iterator[Organisation]:
    """A network in three zones that isn't the project's, and a policy for boundaries."""
    iam, cloudformation = cloud.client("iam"), cloud.client("cloudformation")
    allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
    policy = iam.create_policy(PolicyName="developers", PolicyDocument=json.dumps(allowed))["Policy"]["Arn"]
    parameters = {
        "ProjectName": "organisation",
        "VpcCidr": "172.20.0.0/16",
        "Zones": "3",
        "FlowLogs": "false",
        "LogRetentionDays": "7",
        "PermissionsBoundary": policy,
    }
    template = (INFRASTRUCTURE / "network.yaml").read_text(encoding="utf-8")
    network = stacks.outputs(stacks.create(cloudformation, "organisation", template, parameters))
    collector = container_service.Project(cloud.client, "collector").image("1", server=COLLECTOR)
    yield Organisation(network["VpcId"], network["PrivateSubnetIds"], policy, collector.partition("/")[2])
    stacks.delete(cloudformation, "organisation")
    iam.delete_policy(PolicyArn=policy)


@pytest.fixture(scope="module")
def project(
    scaffold: Callable[[str], Project], organisation: Organisation, cloud: LocalCloud
) -> Iterator[Project]:
    """A deployed project; once destroyed, the cloud holds what it held before."""
    before = everything(cloud)
    made = scaffold("Token Server")
    stage = made.path / "infrastructure/stages/dev.json"
    content = json.loads(stage.read_text())
    content["Parameters"] |= {
        "GatewayAuthorizer": "CUSTOM_JWT",
        "ExistingVpcId": organisation.vpc_id,
        "ExistingSubnetIds": organisation.subnet_ids,
        "PermissionsBoundary": organisation.boundary,
        "Tracing": "true",
        "TraceCollector": organisation.collector,
        "Cpu": "512",
        "Memory": "1024",
    }
    stage.write_text(json.dumps(content))
    done = made.deploy()
    try:
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        destroyed = made.ops("destroy", "--stage", "dev", "--yes", "--artifacts")
    assert destroyed.returncode == 0, destroyed.stdout + destroyed.stderr
    assert everything(cloud) == before


def test_agents_call_with_a_token_of_their_own(project: Project) -> None:
    outputs = project.outputs()
    # The deploy's own call got through with such a token; now from outside.
    assert outputs["ToolCallAnswer"] == "30"
    verified = project.ops("verify", "--stage", "dev")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    shown = json.dumps([outputs, events(project)], default=str)
    secret = project.cloud.client("secretsmanager").get_secret_value(SecretId=outputs["AgentSecretArn"])
    client = json.loads(secret["SecretString"])
    assert client["client_secret"] not in shown + verified.stdout


def test_the_server_runs_in_the_network_it_was_given(project: Project, organisation: Organisation) -> None:
    outputs = project.outputs()
    [service] = project.cloud.client("ecs").describe_services(
        cluster=outputs["ClusterName"], services=[outputs["ServiceName"]]
    )["services"]
    subnets = service["networkConfiguration"]["awsvpcConfiguration"]["subnets"]
    assert ",".join(subnets) == organisation.subnet_ids
    [balancer] = of_type(project, "AWS::ElasticLoadBalancingV2::LoadBalancer")
    described = project.cloud.client("elbv2").describe_load_balancers(LoadBalancerArns=[balancer])
    zones = described["LoadBalancers"][0]["AvailabilityZones"]
    assert {zone["SubnetId"] for zone in zones} == set(subnets)
    assert not of_type(project, "AWS::EC2::VPC")
    assert not of_type(project, "AWS::EC2::VPCEndpoint")


@pytest.mark.usefixtures("inside_the_cloud")
def test_spans_go_to_the_collector_in_the_servers_task(project: Project) -> None:
    outputs, bring_token = project.outputs(), bearer(token_of(project))

    def sign(verb: str, address: str, headers: dict[str, str], body: bytes) -> dict[str, str]:
        traced = f"Root=1-{TRACE[:8]}-{TRACE[8:]};Parent=b7ad6b7169203331;Sampled=1"
        return {**bring_token(verb, address, headers, body), "X-Amzn-Trace-Id": traced}

    trial = try_tool(outputs["ServerUrl"], 20, "simpleadd", {"a": 10, "b": 20}, sign)
    assert trial.text == "30"
    logs = project.cloud.client("logs")
    (group,) = [name for name in of_type(project, "AWS::Logs::LogGroup") if "Fargate" in name]

    def received() -> list[str]:
        found = logs.filter_log_events(logGroupName=group, logStreamNamePrefix="collector/collector/")
        return [event["message"] for event in found["events"] if TRACE in event["message"]]

    spans = container_service.until(received, "the collector has the span", seconds=60)
    assert spans[0].startswith("/v1/traces ")


def test_every_role_keeps_within_the_boundary(project: Project, organisation: Organisation) -> None:
    iam = project.cloud.client("iam")
    roles = of_type(project, "AWS::IAM::Role")
    assert len(roles) > 5
    boundaries = {role: iam.get_role(RoleName=role)["Role"].get("PermissionsBoundary", {}) for role in roles}
    assert {role: bound.get("PermissionsBoundaryArn") for role, bound in boundaries.items()} == dict.fromkeys(
        roles, organisation.boundary
    )


def of_type(project: Project, resource_type: str) -> list[str]:
    """Physical ids of the resources of a type, over the root stack and its children."""
    cloudformation = project.cloud.client("cloudformation")

    def resources(stack: str) -> list[dict[str, Any]]:
        found = cloudformation.describe_stack_resources(StackName=stack)["StackResources"]
        nested = [item for item in found if item["ResourceType"] == "AWS::CloudFormation::Stack"]
        return [*found, *(inner for item in nested for inner in resources(item["PhysicalResourceId"]))]

    return [
        item["PhysicalResourceId"]
        for item in resources(project.stack_name)
        if item["ResourceType"] == resource_type
    ]


def events(project: Project) -> list[object]:
    """Every event of every stack, with the properties that CloudFormation shows."""
    cloudformation = project.cloud.client("cloudformation")
    names = [stack["StackName"] for stack in cloudformation.describe_stacks()["Stacks"]]
    paginator = cloudformation.get_paginator("describe_stack_events")
    return [
        event
        for name in names
        for page in paginator.paginate(StackName=name)
        for event in page["StackEvents"]
    ]
