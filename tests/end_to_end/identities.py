"""What a stack's resources are, by physical id, and what a change put in another's place."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from local_cloud.launcher import LocalCloud


@dataclass(frozen=True)
class Identity:
    """One resource of a stack or of one below it; `path` is such as `Alb/LoadBalancer`."""

    path: str
    kind: str
    physical_id: str


def identities(cloud: LocalCloud, stack_name: str) -> dict[str, Identity]:
    """Return every resource of a stack and of those below it, by its path."""
    return {found.path: found for found in _below(cloud, stack_name, "")}


def _below(cloud: LocalCloud, stack: str, prefix: str) -> Iterator[Identity]:
    pages = cloud.client("cloudformation").get_paginator("list_stack_resources")
    for page in pages.paginate(StackName=stack):
        for found in page["StackResourceSummaries"]:
            path, physical_id = f"{prefix}{found['LogicalResourceId']}", found["PhysicalResourceId"]
            yield Identity(path, found["ResourceType"], physical_id)
            if found["ResourceType"] == "AWS::CloudFormation::Stack":
                yield from _below(cloud, physical_id, f"{path}/")


def replaced(before: Mapping[str, Identity], after: Mapping[str, Identity]) -> list[Identity]:
    """Return what was there before and is gone, or is another thing now."""
    return [found for path, found in before.items() if after.get(path) != found]


# What has an address, a name or a registration that others hold: replacing it breaks them.
LASTING = {
    "AWS::EC2::VPC",
    "AWS::EC2::Subnet",
    "AWS::EC2::SecurityGroup",
    "AWS::ElasticLoadBalancingV2::LoadBalancer",
    "AWS::ElasticLoadBalancingV2::Listener",
    "AWS::ElasticLoadBalancingV2::TargetGroup",
    "AWS::CloudFront::VpcOrigin",
    "AWS::CloudFront::Distribution",
    "AWS::BedrockAgentCore::Gateway",
    "AWS::BedrockAgentCore::OAuth2CredentialProvider",
    "AWS::Cognito::UserPool",
    "AWS::Cognito::UserPoolClient",
    "AWS::Cognito::UserPoolDomain",
    "AWS::ECR::Repository",
    "AWS::ECS::Cluster",
    "AWS::ECS::Service",
    "AWS::IAM::Role",
    "AWS::Logs::LogGroup",
    "AWS::SNS::Topic",
    "AWS::CloudFormation::Stack",
    "Custom::GatewayTarget",
    "Custom::EdgeWebAcl",
}
# A revision is never changed: a new one takes its place.
RENEWED = {"AWS::ECS::TaskDefinition"}
