"""Every promise is kept by the templates, and every promise notices when it is broken."""

import copy
from typing import Any

import pytest

from tests.infrastructure import promises
from tests.infrastructure.cloudformation import PROJECT, Templates, load_templates, template_paths

REMOVED = object()

# promise, path of what is changed, what it becomes
BROKEN: list[tuple[str, str, Any]] = [
    (
        "nothing_has_a_public_address",
        "fargate/Resources/Service/Properties/NetworkConfiguration/AwsvpcConfiguration/AssignPublicIp",
        "ENABLED",
    ),
    ("nothing_has_a_public_address", "network/Resources/PrivateSubnetA/Properties/MapPublicIpOnLaunch", True),
    ("nothing_has_a_public_address", "alb/Resources/LoadBalancer/Properties/Scheme", "internet-facing"),
    (
        "private_subnets_reach_the_internet_only_through_nat",
        "network/Resources/PrivateRouteA/Properties/NatGatewayId",
        REMOVED,
    ),
    (
        "private_subnets_reach_the_internet_only_through_nat",
        "network/Resources/PublicRoute/Condition",
        REMOVED,
    ),
    (
        "nothing_is_open_to_the_world",
        "network/Resources/EndpointSecurityGroup/Properties/SecurityGroupIngress/0/CidrIp",
        "0.0.0.0/0",
    ),
    ("nothing_is_open_to_the_world", "alb/Resources/TaskIngressFromLoadBalancer/Properties/CidrIpv6", "::/0"),
    (
        "security_groups_form_a_chain",
        "alb/Resources/LoadBalancerSecurityGroup/Properties/SecurityGroupIngress/0",
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "10.0.0.0/16"},
    ),
    ("security_groups_form_a_chain", "alb/Resources/TaskIngressFromLoadBalancer", REMOVED),
    (
        "security_groups_form_a_chain",
        "alb/Resources/OriginFacingPrefixList/Properties/PrefixListName",
        "com.amazonaws.global.groundstation",
    ),
    (
        "security_groups_name_their_egress",
        "alb/Resources/TaskSecurityGroup/Properties/SecurityGroupEgress",
        REMOVED,
    ),
    (
        "security_groups_name_their_egress",
        "alb/Resources/TaskSecurityGroup/Properties/SecurityGroupEgress/0/IpProtocol",
        "-1",
    ),
    (
        "the_server_ends_by_itself_before_it_is_killed",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/StopTimeout",
        REMOVED,
    ),
    (
        "the_two_task_roles_differ",
        "fargate/Resources/TaskDefinition/Properties/TaskRoleArn",
        {"Fn::GetAtt": ["ExecutionRole", "Arn"]},
    ),
    (
        "the_two_task_roles_differ",
        "fargate/Resources/TaskRole/Properties/AssumeRolePolicyDocument/Statement/0/Principal/Service",
        "ec2.amazonaws.com",
    ),
    (
        "services_act_for_this_account_only",
        "agentcore/Resources/GatewayRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
        REMOVED,
    ),
    (
        "roles_grant_no_more_than_is_named",
        "ecr/Resources/ContainerImageRole/Properties/Policies/0/PolicyDocument/Statement/0/Resource",
        "*",
    ),
    (
        "roles_grant_no_more_than_is_named",
        "ecr/Resources/BuildRole/Properties/Policies/0/PolicyDocument/Statement/2/Action",
        "ecr:*",
    ),
    (
        "the_task_may_ask_only_its_knowledge_base",
        "fargate/Resources/TaskRole/Properties/Policies/Fn::If/1/0/PolicyDocument/Statement/0/Resource/Fn::Sub",
        "arn:${AWS::Partition}:bedrock:${AWS::Region}:${AWS::AccountId}:knowledge-base/*",
    ),
    ("the_task_may_ask_only_its_knowledge_base", "fargate/Resources/TaskRole/Properties/Policies", []),
    ("one_health_path_and_one_port", "alb/Resources/TargetGroup/Properties/HealthCheckPath", "/mcp"),
    (
        "one_health_path_and_one_port",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/HealthCheck/Command",
        ["CMD", "true"],
    ),
    (
        "one_health_path_and_one_port",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/PortMappings/0/ContainerPort",
        8000,
    ),
    (
        "the_container_is_locked_down",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/ReadonlyRootFilesystem",
        False,
    ),
    (
        "the_container_is_locked_down",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/User",
        REMOVED,
    ),
    (
        "a_failed_deployment_goes_back",
        "fargate/Resources/Service/Properties/DeploymentConfiguration/DeploymentCircuitBreaker/Rollback",
        False,
    ),
    (
        "the_service_scales_on_cpu_and_requests",
        "fargate/Resources/CpuScalingPolicy/Properties/TargetTrackingScalingPolicyConfiguration/TargetValue",
        90,
    ),
    ("the_service_scales_on_cpu_and_requests", "fargate/Resources/RequestsScalingPolicy", REMOVED),
    (
        "one_architecture_for_build_and_run",
        "fargate/Resources/TaskDefinition/Properties/RuntimePlatform/CpuArchitecture",
        "X86_64",
    ),
    (
        "one_architecture_for_build_and_run",
        "ecr/Resources/BuildProject/Properties/Environment/Type",
        "LINUX_CONTAINER",
    ),
    (
        "one_architecture_for_build_and_run",
        "main/Resources/Ecr/Properties/Parameters/Architecture",
        "ARM64",
    ),
    (
        "images_are_immutable_and_pinned_by_digest",
        "ecr/Resources/Repository/Properties/ImageTagMutability",
        "MUTABLE",
    ),
    ("images_are_immutable_and_pinned_by_digest", "fargate/Parameters/ImageUri/AllowedPattern", REMOVED),
    (
        "images_are_immutable_and_pinned_by_digest",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/Image",
        {"Fn::Sub": "${RepositoryName}:latest"},
    ),
    (
        "the_load_balancer_suits_long_streams",
        "alb/Resources/LoadBalancer/Properties/LoadBalancerAttributes/0/Value",
        "60",
    ),
    (
        "the_load_balancer_suits_long_streams",
        "alb/Resources/TargetGroup/Properties/HealthCheckIntervalSeconds",
        10,
    ),
    (
        "the_load_balancer_suits_long_streams",
        "alb/Resources/TargetGroup/Properties/TargetGroupAttributes",
        REMOVED,
    ),
    (
        "access_logs_are_private_and_expire",
        "alb/Resources/AccessLogsBucket/Properties/LifecycleConfiguration",
        REMOVED,
    ),
    (
        "access_logs_are_private_and_expire",
        "alb/Resources/AccessLogsBucket/Properties/PublicAccessBlockConfiguration/BlockPublicPolicy",
        False,
    ),
    (
        "access_logs_are_private_and_expire",
        "alb/Resources/AccessLogsPolicy/Properties/PolicyDocument/Statement/0/Principal",
        "*",
    ),
    (
        "cloudfront_speaks_what_the_listener_speaks",
        "cloudfront/Resources/VpcOrigin/Properties/VpcOriginEndpointConfig/OriginProtocolPolicy",
        "https-only",
    ),
    ("cloudfront_speaks_what_the_listener_speaks", "alb/Resources/Listener/Properties/Port", 8080),
    (
        "cloudfront_passes_everything_and_keeps_nothing",
        "cloudfront/Resources/Distribution/Properties/DistributionConfig/DefaultCacheBehavior/AllowedMethods",
        ["GET", "HEAD"],
    ),
    (
        "cloudfront_passes_everything_and_keeps_nothing",
        "cloudfront/Resources/Distribution/Properties/DistributionConfig/DefaultCacheBehavior/Compress",
        True,
    ),
    (
        "cloudfront_passes_everything_and_keeps_nothing",
        "cloudfront/Mappings/ManagedPolicy/CachingDisabled/Id",
        "658327ea-f89d-4fab-a63d-7e88639e58f6",
    ),
    (
        "cloudfront_passes_everything_and_keeps_nothing",
        "cloudfront/Mappings/ManagedPolicy/CorsWithPreflightAndSecurityHeaders/Id",
        "5cc3b908-e619-4b99-88e5-2cf7f45965bd",
    ),
    (
        "the_web_acl_lets_mcp_by",
        "waf/Resources/WebAcl/Properties/ManagedRuleGroups/2/CountedRules",
        ["NoUserAgent_HEADER"],
    ),
    ("the_web_acl_lets_mcp_by", "waf/Resources/WebAcl/Properties/RateLimit", REMOVED),
    (
        "the_web_acl_lets_mcp_by",
        "cloudfront/Resources/Distribution/Properties/DistributionConfig/WebACLId",
        REMOVED,
    ),
    ("the_web_acl_lets_mcp_by", "main/Resources/CloudFront/Properties/Parameters/WebAclArn", ""),
    ("production_has_a_web_acl_unless_it_is_switched_off", "main/Parameters/WebAcl/Default", "false"),
    ("production_has_a_web_acl_unless_it_is_switched_off", "main/Parameters/AccessLog/Default", "false"),
    (
        "the_endpoints_own_name_answers_on_both_address_families",
        "cloudfront/Resources/AliasRecordIPv6",
        REMOVED,
    ),
    (
        "the_endpoints_own_name_answers_on_both_address_families",
        "cloudfront/Resources/AliasRecordIPv4/Properties/AliasTarget/HostedZoneId",
        {"Ref": "HostedZoneId"},
    ),
    (
        "the_endpoints_own_name_answers_on_both_address_families",
        "cloudfront/Resources/Distribution/Properties/DistributionConfig/ViewerCertificate/Fn::If/1/MinimumProtocolVersion",
        "TLSv1",
    ),
    (
        "custom_resources_outlive_their_functions",
        "ecr/Resources/ContainerImage/Properties/ServiceTimeout",
        900,
    ),
    (
        "custom_resources_outlive_their_functions",
        "agentcore/Resources/GatewayTarget/Properties/ServiceTimeout",
        REMOVED,
    ),
    (
        "functions_come_from_the_bundle",
        "alb/Resources/AccessLogsEmptiedFunction/Properties/Handler",
        "custom_resources.container_image.handler",
    ),
    (
        "functions_come_from_the_bundle",
        "ecr/Resources/ContainerImageFunction/Properties/Code",
        {"ZipFile": "def handler(event, context): ..."},
    ),
    ("the_gateway_comes_last", "main/Resources/AgentCore/DependsOn", REMOVED),
    ("a_deploy_ends_with_a_call", "agentcore/Resources/ToolCall/Properties/TargetName", "tools"),
    ("a_deploy_ends_with_a_call", "agentcore/Resources/ToolCall/Properties/Revision", "1"),
    ("the_gateway_comes_last", "agentcore/Resources/GatewayTarget/Properties/ImageDigest", REMOVED),
    ("children_wait_for_no_more_than_they_use", "main/Resources/CloudFront/DependsOn", "Fargate"),
    ("the_server_always_asks_for_tokens", "fargate/Parameters/AuthMode/AllowedValues", ["none", "jwt"]),
    (
        "the_server_always_asks_for_tokens",
        "main/Resources/Fargate/Properties/Parameters/AuthAudience",
        "",
    ),
    (
        "the_server_always_asks_for_tokens",
        "agentcore/Resources/GatewayTarget/Properties/CredentialProviderConfigurations",
        REMOVED,
    ),
    ("machines_alone_get_tokens", "auth/Resources/UserPool/Properties/AdminCreateUserConfig", REMOVED),
    (
        "machines_alone_get_tokens",
        "auth/Resources/GatewayClient/Properties/AllowedOAuthFlows",
        ["client_credentials", "implicit"],
    ),
    (
        "machines_alone_get_tokens",
        "auth/Resources/AgentClient/Properties/AllowedOAuthScopes",
        [{"Fn::Sub": "${ProjectName}/call"}],
    ),
    (
        "secrets_stay_in_secrets_manager",
        "auth/Outputs/ClientSecretArn/Value",
        {"Fn::GetAtt": ["GatewayClient", "ClientSecret"]},
    ),
    (
        "secrets_stay_in_secrets_manager",
        "auth/Resources/GatewayClientSecret/Properties/SecretString",
        "hunter2",
    ),
    (
        "secrets_stay_in_secrets_manager",
        "agentcore/Resources/TokenProvider/Properties/Oauth2ProviderConfigInput/CustomOauth2ProviderConfig"
        "/ClientSecretSource",
        "MANAGED",
    ),
    (
        "signing_keys_are_for_the_network_alone",
        "auth/Resources/SigningKeysBucketPolicy/Properties/PolicyDocument/Statement/0/Condition",
        REMOVED,
    ),
    ("signing_keys_are_for_the_network_alone", "auth/Resources/SigningKeysSchedule/DependsOn", REMOVED),
    (
        "the_gateway_can_search_and_speaks_every_version",
        "agentcore/Resources/Gateway/Properties/ProtocolConfiguration/Mcp/SearchType",
        REMOVED,
    ),
    (
        "the_gateway_can_search_and_speaks_every_version",
        "agentcore/Resources/Gateway/Properties/Name",
        "gateway",
    ),
    (
        "logs_are_kept_for_a_while_and_no_longer",
        "fargate/Resources/LogGroup/Properties/RetentionInDays",
        REMOVED,
    ),
    (
        "logs_are_kept_for_a_while_and_no_longer",
        "ecr/Resources/ContainerImageFunction/Properties/LoggingConfig",
        REMOVED,
    ),
    ("logs_are_kept_for_a_while_and_no_longer", "ecr/Resources/BuildProject/Properties/LogsConfig", REMOVED),
    (
        "alarms_say_what_is_wrong_and_tell_somebody",
        "alarms/Resources/LatencyAlarm/Properties/AlarmActions",
        [],
    ),
    (
        "alarms_say_what_is_wrong_and_tell_somebody",
        "alarms/Resources/CpuAlarm/Properties/AlarmDescription",
        "CPU high",
    ),
    (
        "alarms_say_what_is_wrong_and_tell_somebody",
        "alarms/Resources/CpuAlarm/Properties/TreatMissingData",
        REMOVED,
    ),
    (
        "the_alarm_topic_is_encrypted_and_reachable",
        "alarms/Resources/Topic/Properties/KmsMasterKeyId",
        "alias/aws/sns",
    ),
    (
        "the_alarm_topic_is_encrypted_and_reachable",
        "alarms/Resources/TopicKey/Properties/KeyPolicy/Statement/1",
        REMOVED,
    ),
    ("teardown_leaves_nothing", "ecr/Resources/Repository/DeletionPolicy", "Retain"),
    ("teardown_leaves_nothing", "alb/Resources/AccessLogsEmptied", REMOVED),
    ("teardown_leaves_nothing", "alb/Resources/LoadBalancer/DependsOn", REMOVED),
    ("no_parameter_and_no_variable_is_a_secret", "main/Parameters/ApiToken", {"Type": "String"}),
    (
        "no_parameter_and_no_variable_is_a_secret",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/Environment/0",
        {"Name": "OPENAI_API_KEY", "Value": "hunter2"},
    ),
    ("sections_come_in_order", "network/Metadata", {"moved": "to the end"}),
    ("conditions_read_as_questions", "network/Conditions/UseNat", {"Fn::Equals": ["a", "a"]}),
    (
        "nothing_is_tied_to_a_place",
        "ecr/Resources/ContainerImage/Properties/RepositoryName",
        "arn:aws:ecr:eu-west-1:123456789012:repository/server",
    ),
    (
        "nothing_is_tied_to_a_place",
        "main/Resources/Ecr/Properties/TemplateURL",
        "https://bundles.s3.amazonaws.com/ecr.yaml",
    ),
    (
        "nothing_is_tied_to_a_place",
        "network/Conditions/HasNat",
        {"Fn::Equals": [{"Ref": "Egress"}, "eu-west-1"]},
    ),
    (
        "vpc_origin_zones_are_named_where_one_is_excluded",
        "network/Resources/PrivateSubnetA/Properties/AvailabilityZoneId",
        REMOVED,
    ),
    (
        "vpc_origin_zones_are_named_where_one_is_excluded",
        "network/Resources/PrivateSubnetA/Properties/AvailabilityZoneId/Fn::If/1",
        "apne1-az3",
    ),
    ("names_come_from_the_stack", "fargate/Resources/Service/Properties/ServiceName", "server"),
]


def broken(templates: Templates, path: str, value: Any) -> Templates:
    """Return a copy of the templates with the node at `path` replaced, or removed.

    A replaced entry moves to the end of its mapping, as an edit that puts it there would.
    """
    changed = copy.deepcopy(templates)
    *parents, last = path.split("/")
    node: Any = changed
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if isinstance(node, list):
        node[int(last) : int(last) + 1] = [] if value is REMOVED else [value]
        return changed
    if value is REMOVED:
        del node[last]
    else:
        node.pop(last, None)
        node[last] = value
    return changed


@pytest.mark.parametrize("name", promises.PROMISES)
def test_promise_is_kept(name: str) -> None:
    assert promises.PROMISES[name](load_templates()) == []


@pytest.mark.parametrize(
    ("name", "path", "value"), BROKEN, ids=[f"{name}:{path}" for name, path, _ in BROKEN]
)
def test_breach_is_noticed(name: str, path: str, value: Any) -> None:
    assert promises.PROMISES[name](broken(load_templates(), path, value)) != []


def test_every_promise_has_been_broken_once() -> None:
    assert {name for name, _, _ in BROKEN} == set(promises.PROMISES)


def test_the_server_serves_the_path_that_is_checked() -> None:
    sources = [path.read_text() for path in (PROJECT / "src").rglob("*.py")]
    assert any(f'"{promises.HEALTH_PATH}"' in source for source in sources)


def test_the_image_starts_the_command_of_the_task_as_its_user() -> None:
    (container,) = promises.only(load_templates()["fargate"], "AWS::ECS::TaskDefinition")[
        "ContainerDefinitions"
    ]
    dockerfile = (PROJECT / "Dockerfile").read_text()
    (command,) = container["Command"]
    assert f'CMD ["{command}"]' in dockerfile
    assert f"USER {container['User']}" in dockerfile


def test_templates_hold_no_jinja() -> None:
    for path in template_paths():
        text = path.read_text()
        assert [mark for mark in ("{{", "{%", "{#") if mark in text] == [], path.name
