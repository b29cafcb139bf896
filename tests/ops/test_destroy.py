from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.stub import Stubber
from ops import artifacts, destroy
from ops.aws import Aws
from ops.console import Screen
from ops.errors import OpsError
from ops.leftovers import LOOKUPS, Findings, Inventory, look_for_leftovers, take_inventory
from ops.project import Project
from ops.stacks import Resource

from tests.ops.conftest import ACCOUNT, REGION

Stub = Callable[[str], Stubber]
NAME = "knowledge-mcp-server-dev"
CERTIFICATE = f"arn:aws:acm:{REGION}:{ACCOUNT}:certificate/11111111-2222-3333-4444-555555555555"
EDGE_LISTING = {"Scope": "CLOUDFRONT", "Limit": 100}
NOW = datetime(2026, 11, 1, tzinfo=UTC)
STACK = "AWS::CloudFormation::Stack"


def arn(name: str, uuid: str) -> str:
    return f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{name}/{uuid}-0000-0000-0000-000000000000"


ROOT, CHILD = arn(NAME, "0a1b2c3d"), arn(f"{NAME}-Ecr-1", "4e5f6071")


def stack(status: str, stack_id: str = ROOT) -> dict[str, Any]:
    return {"Stacks": [{"StackName": NAME, "StackId": stack_id, "CreationTime": NOW, "StackStatus": status}]}


def resource(
    kind: str, physical: str, logical: str = "Thing", status: str = "CREATE_COMPLETE"
) -> dict[str, Any]:
    return {
        "LogicalResourceId": logical,
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "LastUpdatedTimestamp": NOW,
        "ResourceStatus": status,
    }


def inventory(*found: tuple[str, str]) -> Inventory:
    return Inventory(ROOT, [Resource("Thing", kind, name, "CREATE_COMPLETE", "") for kind, name in found])


def gone_stack(stub: Stub) -> None:
    stub("cloudformation").add_response("describe_stacks", stack("DELETE_COMPLETE"), {"StackName": ROOT})


def gateways(stub: Stub, *names: str) -> None:
    item = {"createdAt": NOW, "updatedAt": NOW, "status": "READY", "authorizerType": "AWS_IAM"}
    found = [{**item, "gatewayId": f"{name}-abcdefghij", "name": name} for name in names]
    stub("bedrock-agentcore-control").add_response("list_gateways", {"items": found}, {})


def look(aws: Aws, listed: Inventory) -> Findings:
    return look_for_leftovers(aws, "knowledge-mcp-server", listed, patience=0)


def test_inventory_goes_through_nested_stacks(aws: Aws, stub: Stub) -> None:
    cloudformation = stub("cloudformation")
    top = [
        resource(STACK, CHILD, "Ecr"),
        resource("AWS::SNS::Topic", "arn:topic", "Old", "DELETE_COMPLETE"),
        resource(STACK, "", "NeverMade", "CREATE_FAILED"),
    ]
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": top}, {"StackName": ROOT})
    below = [resource("AWS::ECR::Repository", "images", "Repository")]
    cloudformation.add_response(
        "list_stack_resources", {"StackResourceSummaries": below}, {"StackName": CHILD}
    )

    found = take_inventory(aws, ROOT)

    assert [item.path for item in found.resources] == ["Ecr", "Ecr/Repository", "NeverMade"]
    assert found.stack_ids == [ROOT, CHILD]


def test_every_leftover_is_named(aws: Aws, stub: Stub) -> None:
    gone_stack(stub)
    stub("cloudformation").add_response(
        "describe_stacks", stack("DELETE_FAILED", CHILD), {"StackName": CHILD}
    )
    stub("ecr").add_response(
        "describe_repositories",
        {"repositories": [{"repositoryName": "images"}]},
        {"repositoryNames": ["images"]},
    )
    stub("s3").add_response("head_bucket", {}, {"Bucket": "logs"})
    groups = {"logGroups": [{"logGroupName": "/ecs/knowledge"}, {"logGroupName": "/ecs/knowledge-other"}]}
    stub("logs").add_response("describe_log_groups", groups, {"logGroupNamePrefix": "/ecs/knowledge"})
    again = {"logGroups": [{"logGroupName": "/aws/lambda/registrar"}]}
    stub("lambda").add_client_error("get_function_configuration", "ResourceNotFoundException")
    stub("logs").add_response("describe_log_groups", again, {"logGroupNamePrefix": "/aws/lambda/registrar"})
    stub("ec2").add_response("describe_vpcs", {"Vpcs": [{"VpcId": "vpc-1"}]}, {"VpcIds": ["vpc-1"]})
    interfaces = {"NetworkInterfaces": [{"NetworkInterfaceId": "eni-1"}]}
    filters = [{"Name": "vpc-id", "Values": ["vpc-1"]}]
    stub("ec2").add_response("describe_network_interfaces", interfaces, {"Filters": filters})
    target = {
        "targetId": "ABCDEFGHIJ",
        "name": "knowledge-mcp-server",
        "status": "READY",
        "createdAt": NOW,
        "updatedAt": NOW,
    }
    stub("bedrock-agentcore-control").add_response("list_gateway_targets", {"items": [target]})
    gateways(stub, "knowledge-mcp-server-4e5f6071", "knowledge-mcp-server-ffffffff", "other-4e5f6071")

    found = look(
        aws,
        inventory(
            (STACK, CHILD),
            ("AWS::ECR::Repository", "images"),
            ("AWS::S3::Bucket", "logs"),
            ("AWS::Logs::LogGroup", "/ecs/knowledge"),
            ("AWS::Lambda::Function", "registrar"),
            ("AWS::EC2::VPC", "vpc-1"),
            ("Custom::GatewayTarget", "knowledge-abcdefghij|knowledge-mcp-server"),
            ("Custom::Emptied", "emptied|logs"),
            ("AWS::EC2::Route", "route"),
        ),
    )

    assert found.left == [
        f"{STACK} {CHILD}",
        "AWS::ECR::Repository images",
        "AWS::S3::Bucket logs",
        "AWS::Logs::LogGroup /ecs/knowledge",
        "AWS::EC2::VPC vpc-1",
        "Custom::GatewayTarget knowledge-abcdefghij|knowledge-mcp-server",
        "AWS::Logs::LogGroup /aws/lambda/registrar",
        "AWS::BedrockAgentCore::Gateway knowledge-mcp-server-4e5f6071-abcdefghij",
        "AWS::EC2::NetworkInterface eni-1",
    ]
    assert found.unknown == []
    assert found.unlooked == {"AWS::EC2::Route": 1}


# How each service says that a thing is gone, and what it is asked by.
GONE: dict[str, list[tuple[str, str, str]]] = {
    "AWS::BedrockAgentCore::Gateway": [
        ("bedrock-agentcore-control", "get_gateway", "ResourceNotFoundException")
    ],
    "AWS::BedrockAgentCore::GatewayTarget": [
        ("bedrock-agentcore-control", "get_gateway_target", "ResourceNotFoundException")
    ],
    "AWS::BedrockAgentCore::OAuth2CredentialProvider": [
        ("bedrock-agentcore-control", "get_oauth2_credential_provider", "ResourceNotFoundException")
    ],
    "AWS::CloudFront::Distribution": [("cloudfront", "get_distribution", "NoSuchDistribution")],
    "AWS::CloudFront::VpcOrigin": [("cloudfront", "get_vpc_origin", "EntityNotFound")],
    "AWS::CloudWatch::Dashboard": [("cloudwatch", "get_dashboard", "ResourceNotFound")],
    "AWS::Cognito::UserPool": [("cognito-idp", "describe_user_pool", "ResourceNotFoundException")],
    "AWS::EC2::EIP": [("ec2", "describe_addresses", "InvalidAddress.NotFound")],
    "AWS::EC2::NatGateway": [("ec2", "describe_nat_gateways", "NatGatewayNotFound")],
    "AWS::EC2::VPC": [("ec2", "describe_vpcs", "InvalidVpcID.NotFound")],
    "AWS::ECR::Repository": [("ecr", "describe_repositories", "RepositoryNotFoundException")],
    "AWS::ECS::Service": [("ecs", "describe_services", "ClusterNotFoundException")],
    "AWS::ElasticLoadBalancingV2::LoadBalancer": [
        ("elbv2", "describe_load_balancers", "LoadBalancerNotFound")
    ],
    "AWS::ElasticLoadBalancingV2::TargetGroup": [("elbv2", "describe_target_groups", "TargetGroupNotFound")],
    "AWS::IAM::Role": [("iam", "get_role", "NoSuchEntity")],
    "AWS::Events::Rule": [("events", "describe_rule", "ResourceNotFoundException")],
    "AWS::Lambda::Function": [("lambda", "get_function_configuration", "ResourceNotFoundException")],
    "AWS::S3::Bucket": [("s3", "head_bucket", "404")],
    "AWS::SecretsManager::Secret": [("secretsmanager", "describe_secret", "ResourceNotFoundException")],
    "AWS::ServiceDiscovery::HttpNamespace": [("servicediscovery", "get_namespace", "NamespaceNotFound")],
    "AWS::SNS::Topic": [("sns", "get_topic_attributes", "NotFound")],
    "AWS::WAFv2::WebACL": [("wafv2", "get_web_acl", "WAFNonexistentItemException")],
    "Custom::EdgeAccessLog": [("logs@us-east-1", "get_delivery_source", "ResourceNotFoundException")],
    "Custom::GatewayTarget": [
        ("bedrock-agentcore-control", "list_gateway_targets", "ResourceNotFoundException")
    ],
}
# These say it with an empty list, or a status.
EMPTY: dict[str, tuple[str, str, dict[str, Any]]] = {
    "AWS::CloudFormation::Stack": ("cloudformation", "describe_stacks", stack("DELETE_COMPLETE")),
    "AWS::CloudWatch::Alarm": ("cloudwatch", "describe_alarms", {"MetricAlarms": []}),
    "AWS::CloudWatch::CompositeAlarm": ("cloudwatch", "describe_alarms", {"CompositeAlarms": []}),
    "AWS::CodeBuild::Project": (
        "codebuild",
        "batch_get_projects",
        {"projects": [], "projectsNotFound": ["x"]},
    ),
    "AWS::ECS::Cluster": ("ecs", "describe_clusters", {"clusters": [{"status": "INACTIVE"}]}),
    "AWS::KMS::Key": ("kms", "describe_key", {"KeyMetadata": {"KeyId": "k", "KeyState": "PendingDeletion"}}),
    "AWS::Logs::LogGroup": ("logs", "describe_log_groups", {"logGroups": [{"logGroupName": "longer"}]}),
    "AWS::Logs::QueryDefinition": (
        "logs",
        "describe_query_definitions",
        {"queryDefinitions": [{"queryDefinitionId": "another", "name": "slow"}]},
    ),
    "Custom::EdgeCertificate": (
        "acm@us-east-1",
        "list_certificates",
        {"CertificateSummaryList": [{"CertificateArn": CERTIFICATE, "DomainName": "other.example.com"}]},
    ),
    "Custom::EdgeWebAcl": ("wafv2@us-east-1", "list_web_acls", {"WebACLs": [{"Name": "other"}]}),
}
IDS = {
    "AWS::BedrockAgentCore::Gateway": "knowledge-abcdefghij",
    "AWS::BedrockAgentCore::GatewayTarget": "knowledge-abcdefghij|ABCDEFGHIJ",
    "AWS::Cognito::UserPool": "eu-west-1_AbCdEf",
    "AWS::ECS::Service": f"arn:aws:ecs:{REGION}:{ACCOUNT}:service/cluster-1/service-1",
    "AWS::ElasticLoadBalancingV2::LoadBalancer": "arn:lb",
    "AWS::SNS::Topic": "arn:topic",
    "AWS::WAFv2::WebACL": "load-balancer|11111111-2222-3333-4444-555555555555|REGIONAL",
    "Custom::EdgeAccessLog": "edge-access-log|knowledge-0a1b2c3d",
    "Custom::EdgeCertificate": "edge-certificate|mcp.example.com|0123456789abcdef",
    "Custom::EdgeWebAcl": "edge-web-acl|knowledge-0a1b2c3d",
    "Custom::GatewayTarget": "knowledge-abcdefghij|knowledge",
}
# Kinds that have a log group beside them.
WITH_LOG_GROUP = {
    "AWS::CodeBuild::Project": "logs",
    "AWS::Lambda::Function": "logs",
    "Custom::EdgeAccessLog": "logs@us-east-1",
    "Custom::EdgeWebAcl": "logs@us-east-1",
}


def test_each_lookup_has_a_test() -> None:
    assert set(LOOKUPS) == set(GONE) | set(EMPTY)


@pytest.mark.parametrize("kind", sorted(LOOKUPS))
def test_what_is_gone_is_not_a_leftover(aws: Aws, stub: Stub, kind: str) -> None:
    gone_stack(stub)
    if kind in WITH_LOG_GROUP:
        stub(WITH_LOG_GROUP[kind]).add_response("describe_log_groups", {"logGroups": []})
    for service, operation, code in GONE.get(kind, []):
        stub(service).add_client_error(operation, code)
    if kind in EMPTY:
        service, operation, answer = EMPTY[kind]
        stub(service).add_response(operation, answer)
    name = IDS.get(kind, "thing")
    if kind == "AWS::EC2::VPC":
        stub("ec2").add_response("describe_network_interfaces", {"NetworkInterfaces": []})
    gateways(stub)

    found = look(aws, inventory((kind, name)))

    assert (found.left, found.unknown) == ([], [])
    assert found.looked_up == 2


def test_what_the_edge_still_has_is_a_leftover(aws: Aws, stub: Stub) -> None:
    gone_stack(stub)
    kinds = ("Custom::EdgeWebAcl", "Custom::EdgeCertificate", "Custom::EdgeAccessLog")
    stub("wafv2@us-east-1").add_response(
        "list_web_acls", {"WebACLs": [{"Name": "other"}], "NextMarker": "other"}, EDGE_LISTING
    )
    stub("wafv2@us-east-1").add_response(
        "list_web_acls",
        {"WebACLs": [{"Name": "knowledge-0a1b2c3d"}]},
        {**EDGE_LISTING, "NextMarker": "other"},
    )
    stub("acm@us-east-1").add_response(
        "list_certificates",
        {"CertificateSummaryList": [{"CertificateArn": CERTIFICATE, "DomainName": "mcp.example.com"}]},
    )
    stub("acm@us-east-1").add_response(
        "list_tags_for_certificate", {"Tags": [{"Key": "custom-resource:owner", "Value": "ab12"}]}
    )
    group = "/aws/vendedlogs/cloudfront/knowledge-0a1b2c3d"
    stub("logs@us-east-1").add_response(
        "describe_log_groups", {"logGroups": [{"logGroupName": group}]}, {"logGroupNamePrefix": group}
    )
    gateways(stub)

    found = look(aws, inventory(*((kind, IDS[kind]) for kind in kinds)))

    assert found.left == [f"{kind} {IDS[kind]}" for kind in kinds]


def test_a_lookup_that_was_refused_is_unknown_not_gone(aws: Aws, stub: Stub) -> None:
    gone_stack(stub)
    stub("ecr").add_client_error("describe_repositories", "AccessDeniedException", "not authorized")
    gateways(stub)

    found = look(aws, inventory(("AWS::ECR::Repository", "images")))

    assert found.left == []
    assert len(found.unknown) == 1
    assert "AWS::ECR::Repository images: AWS refused DescribeRepositories: not authorized" in found.unknown[0]


def test_what_is_on_its_way_out_gets_time(aws: Aws, stub: Stub) -> None:
    listed = inventory(("AWS::S3::Bucket", "logs"))
    for _ in range(2):
        gone_stack(stub)
        gateways(stub)
    stub("s3").add_response("head_bucket", {})
    stub("s3").add_client_error("head_bucket", "404")

    found = look_for_leftovers(aws, "knowledge-mcp-server", listed, patience=5, pause=0.01)

    assert found.left == []


def deleting(stub: Stub, project: Project, status: str, **more: Any) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stacks", stack("UPDATE_ROLLBACK_FAILED"), {"StackName": NAME})
    listed = [resource("AWS::S3::Bucket", "logs", "Logs")]
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": listed})
    cloudformation.add_response("describe_stack_events", {"StackEvents": []})
    cloudformation.add_response("delete_stack", {}, {"StackName": ROOT})
    cloudformation.add_response("describe_stacks", stack(status), {"StackName": ROOT})
    cloudformation.add_response("describe_stack_events", {"StackEvents": more.get("events", [])})


def test_destroy_clean(aws: Aws, stub: Stub, project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    deleting(stub, project, "DELETE_COMPLETE")
    gone_stack(stub)
    stub("s3").add_client_error("head_bucket", "404")
    gateways(stub)

    assert destroy.destroy(aws, Screen(), project, NAME, yes=True) is True
    assert "Nothing is left: 2 looked up." in capsys.readouterr().out
    assert not list(project.build.glob("*.inventory.json"))


def test_destroy_with_a_leftover_then_again(
    aws: Aws, stub: Stub, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    deleting(stub, project, "DELETE_COMPLETE")
    gone_stack(stub)
    stub("s3").add_response("head_bucket", {})
    gateways(stub)

    assert destroy.destroy(aws, Screen(), project, NAME, yes=True) is False
    assert "left over: AWS::S3::Bucket logs" in capsys.readouterr().out

    # The stack is gone by now, and what it had is still known.
    stub("cloudformation").add_client_error(
        "describe_stacks", "ValidationError", f"Stack {NAME} does not exist"
    )
    gone_stack(stub)
    stub("s3").add_client_error("head_bucket", "404")
    gateways(stub)

    assert destroy.destroy(aws, Screen(), project, NAME, yes=True) is True
    assert not list(project.build.glob("*.inventory.json"))


def test_destroy_tells_what_could_not_be_deleted(aws: Aws, stub: Stub, project: Project) -> None:
    event = {
        "StackId": ROOT,
        "EventId": "1",
        "StackName": NAME,
        "LogicalResourceId": "Logs",
        "PhysicalResourceId": "logs",
        "ResourceType": "AWS::S3::Bucket",
        "Timestamp": NOW,
        "ResourceStatus": "DELETE_FAILED",
        "ResourceStatusReason": "The bucket you tried to delete is not empty",
    }
    deleting(stub, project, "DELETE_FAILED", events=[event])

    with pytest.raises(OpsError, match=r"Logs \(AWS::S3::Bucket\) DELETE_FAILED: The bucket you tried"):
        destroy.destroy(aws, Screen(), project, NAME, yes=True)

    assert list(project.build.glob("*.inventory.json")), "kept for the next try"


def test_a_stack_already_gone_is_success(
    aws: Aws, stub: Stub, project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    stub("cloudformation").add_client_error(
        "describe_stacks", "ValidationError", f"Stack {NAME} does not exist"
    )

    assert destroy.destroy(aws, Screen(), project, NAME, yes=False) is True
    assert f"There is no stack {NAME} in {REGION}." in capsys.readouterr().out


def test_without_a_terminal_it_wants_yes(aws: Aws, stub: Stub, project: Project) -> None:
    stub("cloudformation").add_response("describe_stacks", stack("CREATE_COMPLETE"))

    with pytest.raises(OpsError, match="pass --yes") as caught:
        destroy.destroy(aws, Screen(), project, NAME, yes=False)

    assert caught.value.exit_code == 2


@pytest.mark.parametrize("typed", ["yes", "", "knowledge-mcp-server-prod"])
def test_another_name_typed_deletes_nothing(
    aws: Aws, stub: Stub, project: Project, monkeypatch: pytest.MonkeyPatch, typed: str
) -> None:
    stub("cloudformation").add_response("describe_stacks", stack("CREATE_COMPLETE"))
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", lambda *_: typed)

    with pytest.raises(OpsError, match="was not deleted"):
        destroy.destroy(aws, Screen(), project, NAME, yes=False)


def test_termination_protection_says_how(aws: Aws, stub: Stub, project: Project) -> None:
    cloudformation = stub("cloudformation")
    cloudformation.add_response("describe_stacks", stack("CREATE_COMPLETE"))
    cloudformation.add_response("list_stack_resources", {"StackResourceSummaries": []})
    cloudformation.add_response("describe_stack_events", {"StackEvents": []})
    text = "Stack cannot be deleted while TerminationProtection is enabled"
    cloudformation.add_client_error("delete_stack", "ValidationError", text)

    with pytest.raises(OpsError, match="--no-enable-termination-protection --stack-name"):
        destroy.destroy(aws, Screen(), project, NAME, yes=True)


def test_artifacts_in_use_by_another_stage_are_kept(
    aws: Aws, stub: Stub, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "remove_artifacts", lambda *_: pytest.fail("removed"))
    stub("cloudformation").add_response(
        "describe_stacks", stack("CREATE_COMPLETE"), {"StackName": "knowledge-mcp-server-prod"}
    )

    with pytest.raises(OpsError, match="knowledge-mcp-server-prod still uses them"):
        destroy.remove_artifacts(aws, Screen(), project, NAME, None)
