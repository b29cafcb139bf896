"""What a deleted stack left behind: each resource it had is looked up again, by its kind.

The list is taken before the deletion, since CloudFormation forgets it afterwards.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from ops.aws import EDGE_REGION, Aws
from ops.errors import error_code, explain
from ops.stacks import STACK_TYPE, Resource, describe, resources

_GONE = frozenset(
    {
        "404",
        "ClusterNotFoundException",
        "DistributionNotFound",
        "EntityNotFoundException",
        "EntityNotFound",
        "InvalidAddress.NotFound",
        "InvalidVpcID.NotFound",
        "LoadBalancerNotFound",
        "NamespaceNotFound",
        "NatGatewayNotFound",
        "NoSuchBucket",
        "NoSuchDistribution",
        "NoSuchEntity",
        "NotFound",
        "NotFoundException",
        "RepositoryNotFoundException",
        "ResourceNotFound",
        "ResourceNotFoundException",
        "ServiceNotFoundException",
        "TargetGroupNotFound",
        "WAFNonexistentItemException",
    }
)
_CUSTOM_TARGET = "Custom::GatewayTarget"

# These have nothing of their own in AWS that could stay: what they work on is listed under its own kind.
_NO_RESIDUE = frozenset(
    {
        "AWS::CloudFormation::WaitConditionHandle",
        "AWS::Logs::MetricFilter",
        "AWS::SNS::TopicPolicy",
        "Custom::ClientSecret",
        "Custom::ContainerImage",
        "Custom::Emptied",
        "Custom::ListenerRule",
        "Custom::ManagedPrefixList",
        "Custom::SigningKeys",
    }
)


@dataclass(frozen=True)
class Inventory:
    """What a stack had.

    Attributes:
        stack_id: the root stack's id.
        resources: those of the root stack and of the stacks nested in it.

    """

    stack_id: str
    resources: list[Resource]

    def write(self, path: Path) -> None:
        """Keep the list, so that a destroy that was cut short can be taken up again."""
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {"stack_id": self.stack_id, "resources": [asdict(item) for item in self.resources]}
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Inventory | None:
        """Return a list that was kept; None if there is none, or it can't be read."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            return cls(content["stack_id"], [Resource(**item) for item in content["resources"]])
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def of(self, *kinds: str) -> list[str]:
        """Return the physical ids of the resources of some kinds."""
        return [item.physical_id for item in self.resources if item.kind in kinds and item.physical_id]

    @property
    def stack_ids(self) -> list[str]:
        """The ids of the root stack and of the stacks nested in it."""
        return [self.stack_id, *self.of(STACK_TYPE)]


@dataclass(frozen=True)
class Findings:
    """The result of looking for leftovers.

    Attributes:
        left: what is still there, each with what it is.
        unknown: lookups that AWS didn't answer, each with the reason.
        unlooked: kinds that are not looked up, and how many of each there were.
        looked_up: how many resources were looked up.

    """

    left: list[str]
    unknown: list[str]
    unlooked: dict[str, int]
    looked_up: int


def take_inventory(aws: Aws, stack_id: str) -> Inventory:
    """List what a stack has."""
    return Inventory(stack_id, list(resources(aws.cloudformation, stack_id)))


def look_for_leftovers(
    aws: Aws, slug: str, inventory: Inventory, *, patience: float, pause: float = 2.0
) -> Findings:
    """Look up everything a stack had.

    Args:
        aws: the session.
        slug: the project's name, which its gateways' names begin with.
        inventory: what the stack had.
        patience: seconds to wait for what is still on its way out.
        pause: seconds between tries.

    """
    deadline = time.monotonic() + patience
    while True:
        found = _look(aws, slug, inventory)
        if not found.left or time.monotonic() + pause > deadline:
            return found
        time.sleep(pause)


def _look(aws: Aws, slug: str, inventory: Inventory) -> Findings:
    left: list[str] = []
    unknown: list[str] = []

    def ask(kind: str, name: str, exists: Callable[[], object]) -> None:
        try:
            if exists():
                left.append(f"{kind} {name}")
        except ClientError as error:
            if error_code(error) not in _GONE:
                unknown.append(f"{kind} {name}: {explain(error)}")
        except BotoCoreError as error:
            unknown.append(f"{kind} {name}: {explain(error)}")

    looked_up = 1
    ask(STACK_TYPE, inventory.stack_id, lambda: _stack(aws, inventory.stack_id))
    for item in inventory.resources:
        lookup = LOOKUPS.get(item.kind)
        if lookup and item.physical_id:
            looked_up += 1
            # Bound now: `ask` runs at once, but the loop variable is shared.
            ask(item.kind, item.physical_id, lambda lookup=lookup, name=item.physical_id: lookup(aws, name))  # type: ignore[misc]
    for name in _log_groups_of(inventory):
        ask("AWS::Logs::LogGroup", name, lambda name=name: _log_group(aws, name))  # type: ignore[misc]
    _ask_lists(aws, slug, inventory, left, unknown)
    unlooked = Counter(
        item.kind for item in inventory.resources if item.kind not in LOOKUPS and item.kind not in _NO_RESIDUE
    )
    return Findings(list(dict.fromkeys(left)), unknown, dict(sorted(unlooked.items())), looked_up)


def _ask_lists(aws: Aws, slug: str, inventory: Inventory, left: list[str], unknown: list[str]) -> None:
    """Look for what carries our names without being in the inventory: gateways and network interfaces."""
    searches: tuple[tuple[str, Callable[[], list[str]]], ...] = (
        ("AWS::BedrockAgentCore::Gateway", lambda: _gateways(aws, slug, inventory.stack_ids)),
        ("AWS::EC2::NetworkInterface", lambda: _network_interfaces(aws, inventory)),
    )
    for kind, search in searches:
        try:
            left += [f"{kind} {name}" for name in search()]
        except (BotoCoreError, ClientError) as error:
            unknown.append(f"{kind}: {explain(error)}")


def _log_groups_of(inventory: Inventory) -> list[str]:
    """Return the log groups that functions and builds make for themselves."""
    functions = [f"/aws/lambda/{name}" for name in inventory.of("AWS::Lambda::Function")]
    return functions + [f"/aws/codebuild/{name}" for name in inventory.of("AWS::CodeBuild::Project")]


def _gateways(aws: Aws, slug: str, stack_ids: Iterable[str]) -> list[str]:
    """Return the gateways named after one of the stacks: the slug and 8 hex digits of the stack's UUID."""
    names = {f"{slug}-{stack_id.rpartition('/')[2][:8]}" for stack_id in stack_ids}
    pages = aws.client("bedrock-agentcore-control").get_paginator("list_gateways").paginate()
    return [item["gatewayId"] for page in pages for item in page["items"] if item.get("name") in names]


def _network_interfaces(aws: Aws, inventory: Inventory) -> list[str]:
    """Return the network interfaces in the stack's VPCs and security groups."""
    filters = {"vpc-id": inventory.of("AWS::EC2::VPC"), "group-id": inventory.of("AWS::EC2::SecurityGroup")}
    found: list[str] = []
    for name, values in filters.items():
        if values:
            pages = (
                aws.client("ec2")
                .get_paginator("describe_network_interfaces")
                .paginate(Filters=[{"Name": name, "Values": values}])
            )
            found += [item["NetworkInterfaceId"] for page in pages for item in page["NetworkInterfaces"]]
    return sorted(set(found))


def _credential_provider(aws: Aws, name: str) -> bool:
    # Its physical id is the ARN; the API takes the name at its end.
    client = aws.client("bedrock-agentcore-control")
    client.get_oauth2_credential_provider(name=name.rpartition("/")[2])
    return True


def _stack(aws: Aws, name: str) -> bool:
    stack = describe(aws.cloudformation, name)
    return stack is not None and stack["StackStatus"] != "DELETE_COMPLETE"


def _log_group(aws: Aws, name: str, region: str = "") -> bool:
    groups = aws.client("logs", region).describe_log_groups(logGroupNamePrefix=name)["logGroups"]
    return any(group.get("logGroupName") == name for group in groups)


def _saved_query(aws: Aws, query_id: str) -> bool:
    client = aws.client("logs")
    more: dict[str, str] = {}
    while True:
        page = client.describe_query_definitions(**more)
        if any(item["queryDefinitionId"] == query_id for item in page["queryDefinitions"]):
            return True
        if not page.get("nextToken"):
            return False
        more = {"nextToken": page["nextToken"]}


def _edge_web_acl(aws: Aws, physical_id: str) -> bool:
    name = physical_id.partition("|")[2]
    client = aws.client("wafv2", EDGE_REGION)
    marker: dict[str, str] = {}
    while True:
        page = client.list_web_acls(Scope="CLOUDFRONT", Limit=100, **marker)
        acls = page.get("WebACLs", [])
        if any(item["Name"] == name for item in acls):
            return True
        if not acls or not page.get("NextMarker"):
            return _log_group(aws, f"aws-waf-logs-{name}", EDGE_REGION)
        marker = {"NextMarker": page["NextMarker"]}


def _edge_certificate(aws: Aws, physical_id: str) -> bool:
    # The physical id is edge-certificate|<domain>|<hash>; what was made for it is tagged so.
    domain = physical_id.split("|")[1] if "|" in physical_id else ""
    client = aws.client("acm", EDGE_REGION)
    pages = client.get_paginator("list_certificates").paginate(
        Includes={"keyTypes": ["RSA_2048", "EC_prime256v1"]}
    )
    made = [item for page in pages for item in page["CertificateSummaryList"] if item["DomainName"] == domain]
    return any(
        tag["Key"] == "custom-resource:owner"
        for item in made
        for tag in client.list_tags_for_certificate(CertificateArn=item["CertificateArn"]).get("Tags", [])
    )


def _edge_access_log(aws: Aws, physical_id: str) -> object:
    name = physical_id.partition("|")[2]
    if _log_group(aws, f"/aws/vendedlogs/cloudfront/{name}", EDGE_REGION):
        return True
    return aws.client("logs", EDGE_REGION).get_delivery_source(name=name)


def _gateway_target(aws: Aws, physical_id: str) -> bool:
    gateway, _, name = physical_id.partition("|")
    pages = aws.client("bedrock-agentcore-control").get_paginator("list_gateway_targets")
    return any(
        item.get("name") == name
        for page in pages.paginate(gatewayIdentifier=gateway)
        for item in page["items"]
    )


def _native_gateway_target(aws: Aws, physical_id: str) -> object:
    gateway, _, target = physical_id.partition("|")
    client = aws.client("bedrock-agentcore-control")
    return client.get_gateway_target(gatewayIdentifier=gateway, targetId=target)


def _ecs_cluster(aws: Aws, name: str) -> bool:
    found = aws.client("ecs").describe_clusters(clusters=[name])["clusters"]
    return any(item.get("status") != "INACTIVE" for item in found)


def _ecs_service(aws: Aws, arn: str) -> bool:
    # The ARN of a service: …:service/<cluster>/<name>.
    cluster, _, _ = arn.partition(":service/")[2].partition("/")
    found = aws.client("ecs").describe_services(cluster=cluster, services=[arn])["services"]
    return any(item.get("status") != "INACTIVE" for item in found)


def _alarm(aws: Aws, name: str) -> bool:
    kinds = ["MetricAlarm", "CompositeAlarm"]
    found = aws.client("cloudwatch").describe_alarms(AlarmNames=[name], AlarmTypes=kinds)
    return bool(found.get("MetricAlarms") or found.get("CompositeAlarms"))


def _kms_key(aws: Aws, name: str) -> bool:
    # A key waits 7 to 30 days for its deletion and costs nothing meanwhile.
    return bool(aws.client("kms").describe_key(KeyId=name)["KeyMetadata"]["KeyState"] != "PendingDeletion")


def _nat_gateway(aws: Aws, name: str) -> bool:
    found = aws.client("ec2").describe_nat_gateways(NatGatewayIds=[name])["NatGateways"]
    return any(item["State"] != "deleted" for item in found)


def _web_acl(aws: Aws, physical_id: str) -> object:
    name, identifier, scope = physical_id.split("|")
    return aws.client("wafv2").get_web_acl(Name=name, Id=identifier, Scope=scope)


def _described(service: str, operation: str, argument: str) -> Callable[[Aws, str], object]:
    """Return a lookup for a kind whose describe call takes one name and says "not found" once it's gone."""

    def lookup(aws: Aws, name: str) -> object:
        getattr(aws.client(service), operation)(**{argument: name})
        return True

    return lookup


def _listed(service: str, operation: str, argument: str, key: str) -> Callable[[Aws, str], object]:
    """Return a lookup for a kind whose describe call takes and returns a list."""

    def lookup(aws: Aws, name: str) -> object:
        return getattr(aws.client(service), operation)(**{argument: [name]}).get(key)

    return lookup


LOOKUPS: dict[str, Callable[[Aws, str], object]] = {
    "AWS::BedrockAgentCore::Gateway": _described(
        "bedrock-agentcore-control", "get_gateway", "gatewayIdentifier"
    ),
    "AWS::BedrockAgentCore::GatewayTarget": _native_gateway_target,
    "AWS::BedrockAgentCore::OAuth2CredentialProvider": _credential_provider,
    "AWS::CloudFormation::Stack": _stack,
    "AWS::CloudFront::Distribution": _described("cloudfront", "get_distribution", "Id"),
    "AWS::CloudFront::VpcOrigin": _described("cloudfront", "get_vpc_origin", "Id"),
    "AWS::CloudWatch::Alarm": _alarm,
    "AWS::CloudWatch::CompositeAlarm": _alarm,
    "AWS::CloudWatch::Dashboard": _described("cloudwatch", "get_dashboard", "DashboardName"),
    "AWS::CodeBuild::Project": _listed("codebuild", "batch_get_projects", "names", "projects"),
    "AWS::Cognito::UserPool": _described("cognito-idp", "describe_user_pool", "UserPoolId"),
    "AWS::EC2::EIP": _listed("ec2", "describe_addresses", "PublicIps", "Addresses"),
    "AWS::EC2::NatGateway": _nat_gateway,
    "AWS::EC2::VPC": _listed("ec2", "describe_vpcs", "VpcIds", "Vpcs"),
    "AWS::ECR::Repository": _listed("ecr", "describe_repositories", "repositoryNames", "repositories"),
    "AWS::ECS::Cluster": _ecs_cluster,
    "AWS::ECS::Service": _ecs_service,
    "AWS::ElasticLoadBalancingV2::LoadBalancer": _listed(
        "elbv2", "describe_load_balancers", "LoadBalancerArns", "LoadBalancers"
    ),
    "AWS::ElasticLoadBalancingV2::TargetGroup": _listed(
        "elbv2", "describe_target_groups", "TargetGroupArns", "TargetGroups"
    ),
    "AWS::Events::Rule": _described("events", "describe_rule", "Name"),
    "AWS::IAM::Role": _described("iam", "get_role", "RoleName"),
    "AWS::KMS::Key": _kms_key,
    "AWS::Lambda::Function": _described("lambda", "get_function_configuration", "FunctionName"),
    "AWS::Logs::LogGroup": _log_group,
    "AWS::Logs::QueryDefinition": _saved_query,
    "AWS::S3::Bucket": _described("s3", "head_bucket", "Bucket"),
    "AWS::SecretsManager::Secret": _described("secretsmanager", "describe_secret", "SecretId"),
    "AWS::ServiceDiscovery::HttpNamespace": _described("servicediscovery", "get_namespace", "Id"),
    "AWS::SNS::Topic": _described("sns", "get_topic_attributes", "TopicArn"),
    "AWS::WAFv2::WebACL": _web_acl,
    "Custom::EdgeAccessLog": _edge_access_log,
    "Custom::EdgeCertificate": _edge_certificate,
    "Custom::EdgeWebAcl": _edge_web_acl,
    _CUSTOM_TARGET: _gateway_target,
}
"""Resource type to what looks one up by its physical id: false, or "not found", once it's gone."""
