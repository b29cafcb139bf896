"""Every promise is kept by the templates, and every promise notices when it is broken."""

import copy
import math
import re
from typing import Any

import pytest

from tests.infrastructure.cloudformation import PROJECT, Templates, load_templates, template_paths
from tests.infrastructure.promises import PROMISES, edge, service
from tests.infrastructure.promises.registry import containers

REMOVED = object()
CONTAINERS = "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions"

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
        "outbound/Resources/PrivateRouteA/Properties/NatGatewayId",
        REMOVED,
    ),
    (
        "private_subnets_reach_the_internet_only_through_nat",
        "outbound/Resources/PublicRoute/Condition",
        REMOVED,
    ),
    (
        "private_subnets_reach_the_internet_only_through_nat",
        "outbound/Resources/PrivateRouteB/Properties/NatGatewayId",
        {"Ref": "NatGatewayB"},
    ),
    (
        "private_subnets_reach_the_internet_only_through_nat",
        "outbound/Resources/PrivateRouteC/Condition",
        "HasNatInThirdZone",
    ),
    ("a_third_zone_is_whole", "network/Resources/PrivateRouteTableC/Condition", REMOVED),
    (
        "a_third_zone_is_whole",
        "network/Resources/PrivateSubnetC/Properties/CidrBlock/Fn::Select/0",
        3,
    ),
    ("a_third_zone_is_whole", "network/Outputs/PrivateRouteTableIds/Value/Fn::Join/1/2", REMOVED),
    (
        "endpoints_are_made_where_they_are_needed",
        "outbound/Resources/BedrockAgentRuntimeEndpoint/Condition",
        "HasEndpoints",
    ),
    ("endpoints_are_made_where_they_are_needed", "outbound/Resources/LogsEndpoint", REMOVED),
    (
        "endpoints_are_made_where_they_are_needed",
        "main/Resources/Outbound/Properties/Parameters/Tracing",
        "false",
    ),
    ("endpoints_are_made_where_they_are_needed", "outbound/Resources/EcrApiEndpoint/Condition", REMOVED),
    (
        "endpoints_serve_this_account_only",
        "outbound/Resources/LogsEndpoint/Properties/PolicyDocument",
        REMOVED,
    ),
    (
        "endpoints_serve_this_account_only",
        "outbound/Resources/EcrApiEndpoint/Properties/PolicyDocument/Statement/0/Condition",
        {"StringEquals": {"aws:PrincipalOrgID": "o-1234567890"}},
    ),
    (
        "endpoints_serve_this_account_only",
        "outbound/Resources/S3Endpoint/Properties/PolicyDocument/Fn::If/1/Statement/1/Action",
        "s3:*",
    ),
    ("the_network_is_watched", "network/Resources/FlowLog/Properties/TrafficType", "REJECT"),
    ("the_network_is_watched", "main/Parameters/FlowLogs/Default", "false"),
    ("an_existing_network_is_taken_as_it_is", "main/Resources/Outbound/Condition", REMOVED),
    (
        "an_existing_network_is_taken_as_it_is",
        "main/Resources/Auth/Properties/Parameters/VpcId",
        {"Fn::GetAtt": ["Network", "Outputs.VpcId"]},
    ),
    (
        "nothing_is_open_to_the_world",
        "outbound/Resources/EndpointSecurityGroup/Properties/SecurityGroupIngress/0/CidrIp",
        "0.0.0.0/0",
    ),
    ("nothing_is_open_to_the_world", "alb/Resources/TaskIngressFromLoadBalancer/Properties/CidrIpv6", "::/0"),
    (
        "security_groups_form_a_chain",
        "alb/Resources/LoadBalancerSecurityGroup/Properties/SecurityGroupIngress/0",
        {"IpProtocol": "tcp", "FromPort": 80, "ToPort": 80, "CidrIp": "10.0.0.0/16"},
    ),
    ("security_groups_form_a_chain", "alb/Resources/TaskIngressFromLoadBalancer", REMOVED),
    ("security_groups_form_a_chain", "alb/Resources/HttpsIngressFromCloudFront/Condition", REMOVED),
    (
        "only_the_smoke_test_reaches_the_test_listener",
        "alb/Resources/TestIngressFromSmokeTest/Properties/SourceSecurityGroupId",
        {"Fn::GetAtt": ["TaskSecurityGroup", "GroupId"]},
    ),
    (
        "only_the_smoke_test_reaches_the_test_listener",
        "alb/Resources/LoadBalancerSecurityGroup/Properties/SecurityGroupIngress/0/ToPort",
        65535,
    ),
    (
        "only_the_smoke_test_reaches_the_test_listener",
        "alb/Resources/SmokeTestSecurityGroup/Properties/SecurityGroupEgress/0/ToPort",
        65535,
    ),
    ("only_the_smoke_test_reaches_the_test_listener", "alb/Resources/TestListener/Properties/Port", 8443),
    (
        "only_the_smoke_test_reaches_the_test_listener",
        "main/Resources/Fargate/Properties/Parameters/SecurityGroupId",
        {"Fn::GetAtt": ["Alb", "Outputs.SmokeTestSecurityGroupId"]},
    ),
    (
        "only_the_smoke_test_reaches_the_test_listener",
        "smoke-test/Resources/HookFunction/Properties/VpcConfig",
        {"SecurityGroupIds": [{"Ref": "SecurityGroupId"}]},
    ),
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
        "ecs_moves_the_traffic_of_one_load_balancer",
        "fargate/Resources/LoadBalancerRole/Properties/Policies",
        [],
    ),
    (
        "ecs_moves_the_traffic_of_one_load_balancer",
        "fargate/Resources/LoadBalancerRole/Properties/Policies/0/PolicyDocument/Statement/0/NotResource",
        "*",
    ),
    (
        "ecs_moves_the_traffic_of_one_load_balancer",
        "fargate/Resources/Service/Properties/LoadBalancers/0/AdvancedConfiguration/RoleArn",
        {"Fn::GetAtt": ["TaskRole", "Arn"]},
    ),
    (
        "services_act_for_this_account_only",
        "agentcore/Resources/GatewayRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
        REMOVED,
    ),
    (
        "services_act_for_this_account_only",
        "waf/Resources/WebAclRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition",
        REMOVED,
    ),
    (
        "services_act_for_this_account_only",
        "ecr/Resources/BuildRole/Properties/AssumeRolePolicyDocument/Statement/0/Condition/ArnLike",
        REMOVED,
    ),
    (
        "services_act_for_this_account_only",
        "waf/Resources/WebAclFunction/Properties/VpcConfig",
        {"SubnetIds": ["subnet-1"]},
    ),
    (
        "services_use_our_resources_for_this_account_only",
        "notification/Resources/TopicPolicy/Properties/PolicyDocument/Statement/0/Condition",
        REMOVED,
    ),
    (
        "services_use_our_resources_for_this_account_only",
        "auth/Resources/SigningKeysPermission/Properties/SourceAccount",
        REMOVED,
    ),
    (
        "services_use_our_resources_for_this_account_only",
        "alb/Resources/AccessLogsPolicy/Properties/PolicyDocument/Statement/0/Resource",
        {"Fn::Sub": "${AccessLogsBucket.Arn}/*"},
    ),
    (
        "every_role_keeps_within_the_boundary",
        "fargate/Resources/TaskRole/Properties/PermissionsBoundary",
        REMOVED,
    ),
    (
        "every_role_keeps_within_the_boundary",
        "main/Resources/Auth/Properties/Parameters/PermissionsBoundary",
        "",
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
        "roles_grant_no_more_than_is_named",
        "fargate/Resources/LoadBalancerRole/Properties/ManagedPolicyArns/0/Fn::Sub",
        "arn:${AWS::Partition}:iam::aws:policy/ElasticLoadBalancingFullAccess",
    ),
    ("roles_grant_no_more_than_is_named", "fargate/Resources/LoadBalancerRole/Properties/Policies", REMOVED),
    (
        "the_probe_of_a_new_version_has_no_permissions_to_use",
        "smoke-test/Resources/ProbeRole/Properties/Policies/0/PolicyDocument/Statement/1",
        REMOVED,
    ),
    (
        "the_probe_of_a_new_version_has_no_permissions_to_use",
        "smoke-test/Resources/ProbeRole/Properties/Policies/0/PolicyDocument/Statement/2/Action",
        ["logs:CreateLogStream", "logs:PutLogEvents", "secretsmanager:GetSecretValue"],
    ),
    (
        "the_task_may_do_what_it_was_asked_to_alone",
        "fargate/Resources/TaskRole/Properties/Policies/0/Fn::If/1/PolicyDocument/Statement/0/Resource/Fn::Sub",
        "arn:${AWS::Partition}:bedrock:${AWS::Region}:${AWS::AccountId}:knowledge-base/*",
    ),
    (
        "the_task_may_do_what_it_was_asked_to_alone",
        "fargate/Resources/TaskRole/Properties/Policies/1/Fn::If/1/PolicyDocument/Statement/0/Action",
        "xray:GetTraceSummaries",
    ),
    (
        "the_task_may_do_what_it_was_asked_to_alone",
        "fargate/Resources/TaskRole/Properties/Policies/1",
        {"PolicyName": "more", "PolicyDocument": {"Statement": []}},
    ),
    (
        "ecs_reads_the_given_secrets_and_no_others",
        "fargate/Resources/ExecutionRole/Properties/Policies/1/Fn::If/1/PolicyDocument/Statement/0/Resource",
        "*",
    ),
    (
        "ecs_reads_the_given_secrets_and_no_others",
        "fargate/Resources/TaskDefinition/Properties/ContainerDefinitions/0/Secrets/4",
        REMOVED,
    ),
    ("ecs_reads_the_given_secrets_and_no_others", "fargate/Conditions/HasSecret2/Fn::Not/0/Fn::Equals/1", ""),
    (
        "ecs_reads_the_given_secrets_and_no_others",
        "main/Resources/Fargate/Properties/Parameters/SecretArns",
        "-",
    ),
    ("one_health_path_and_one_port", "alb/Resources/GreenTargetGroup/Properties/HealthCheckPath", "/mcp"),
    ("one_health_path_and_one_port", "alb/Resources/BlueTargetGroup/Properties/Port", 80),
    *(
        ("a_trace_collector_is_pinned_and_hurts_no_server", path, broken)
        for path, broken in (
            (f"{CONTAINERS}/1/Fn::If/1/Essential", True),
            (f"{CONTAINERS}/1/Fn::If/1/Memory", 1024),
            (f"{CONTAINERS}/1/Fn::If/1/Memory", REMOVED),
            (f"{CONTAINERS}/1/Fn::If/1/ReadonlyRootFilesystem", False),
            (f"{CONTAINERS}/1/Fn::If/1/Image", {"Ref": "TraceCollector"}),
            (f"{CONTAINERS}/1/Fn::If/1/PortMappings", [{"ContainerPort": 4318}]),
            (f"{CONTAINERS}/0/DependsOn", REMOVED),
            ("main/Parameters/TraceCollector/AllowedPattern", ".*"),
            (
                "fargate/Resources/ExecutionRole/Properties/Policies/0/PolicyDocument/Statement/1/Resource",
                ["*"],
            ),
        )
    ),
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
        "fargate/Resources/Service/Properties/DeploymentConfiguration/DeploymentCircuitBreaker/Fn::If/2/Rollback",
        False,
    ),
    (
        "a_failed_deployment_goes_back",
        "fargate/Resources/Service/Properties/DeploymentConfiguration/Alarms/Fn::If/1/Rollback",
        False,
    ),
    (
        "a_new_version_is_tried_before_anybody_calls_it",
        "fargate/Resources/Service/Properties/DeploymentConfiguration/LifecycleHooks",
        REMOVED,
    ),
    (
        "a_new_version_is_tried_before_anybody_calls_it",
        "fargate/Resources/Service/Properties/DeploymentConfiguration/LifecycleHooks/Fn::If/1/0/LifecycleStages",
        ["POST_PRODUCTION_TRAFFIC_SHIFT"],
    ),
    (
        "a_new_version_is_tried_before_anybody_calls_it",
        "fargate/Resources/Service/Properties/DeploymentConfiguration/LifecycleHooks/Fn::If/1/0"
        "/TimeoutConfiguration/Action",
        "CONTINUE",
    ),
    (
        "a_new_version_is_tried_before_anybody_calls_it",
        "main/Resources/Fargate/Properties/Parameters/SmokeTestFunctionArn",
        "",
    ),
    (
        "listener_rules_are_ecss_to_rewrite",
        "alb/Resources/TestRule/Type",
        "AWS::ElasticLoadBalancingV2::ListenerRule",
    ),
    (
        "listener_rules_are_ecss_to_rewrite",
        "fargate/Resources/Service/Properties/LoadBalancers/0/AdvancedConfiguration/ProductionListenerRule",
        {"Ref": "TestRuleArn"},
    ),
    (
        "listener_rules_are_ecss_to_rewrite",
        "main/Resources/Fargate/Properties/Parameters/TestRuleArn",
        {"Fn::GetAtt": ["Alb", "Outputs.ProductionRuleArn"]},
    ),
    (
        "listener_rules_are_ecss_to_rewrite",
        "alb/Resources/ProductionRule/Properties/ListenerArn",
        {"Ref": "HttpListener"},
    ),
    (
        "both_target_groups_are_alike",
        "alb/Resources/GreenTargetGroup/Properties/TargetGroupAttributes/0/Value",
        "30",
    ),
    ("nobody_gets_a_shell_in_a_task", "fargate/Resources/Service/Properties/EnableExecuteCommand", REMOVED),
    (
        "the_service_scales_on_cpu_and_requests",
        "fargate/Resources/CpuScalingPolicy/Properties/TargetTrackingScalingPolicyConfiguration/TargetValue",
        90,
    ),
    ("the_service_scales_on_cpu_and_requests", "fargate/Resources/RequestsScalingPolicy", REMOVED),
    (
        "the_service_scales_on_cpu_and_requests",
        "fargate/Resources/RequestsScalingPolicy/Properties/TargetTrackingScalingPolicyConfiguration"
        "/CustomizedMetricSpecification/Metrics/1",
        REMOVED,
    ),
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
        "alb/Resources/BlueTargetGroup/Properties/HealthCheckIntervalSeconds",
        10,
    ),
    (
        "the_load_balancer_suits_long_streams",
        "alb/Resources/BlueTargetGroup/Properties/TargetGroupAttributes",
        REMOVED,
    ),
    (
        "nothing_cuts_a_stream_that_the_server_keeps_alive",
        "alb/Resources/LoadBalancer/Properties/LoadBalancerAttributes/0/Value",
        "29",
    ),
    (
        "nothing_cuts_a_stream_that_the_server_keeps_alive",
        "alb/Resources/LoadBalancer/Properties/LoadBalancerAttributes/0/Value",
        "4000",
    ),
    (
        "nothing_cuts_a_stream_that_the_server_keeps_alive",
        "cloudfront/Resources/Distribution/Properties/DistributionConfig/Origins/0/VpcOriginConfig"
        "/OriginReadTimeout",
        20,
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
        {"AWS": "*"},
    ),
    (
        "access_logs_are_private_and_expire",
        "alb/Resources/AccessLogsPolicy/Properties/PolicyDocument/Statement/1/Fn::If/1/Resource",
        {"Fn::Sub": "${AccessLogsBucket.Arn}/*"},
    ),
    (
        "cloudfront_speaks_what_the_listener_speaks",
        "cloudfront/Resources/VpcOrigin/Properties/VpcOriginEndpointConfig/OriginProtocolPolicy",
        "https-only",
    ),
    ("cloudfront_speaks_what_the_listener_speaks", "alb/Resources/HttpsListener/Properties/Port", 8443),
    ("cloudfront_speaks_what_the_listener_speaks", "alb/Resources/HttpListener/Properties/Protocol", "HTTPS"),
    (
        "cloudfront_speaks_what_the_listener_speaks",
        "cloudfront/Resources/Distribution/Properties/DistributionConfig/Origins/0/DomainName",
        {"Ref": "LoadBalancerDnsName"},
    ),
    (
        "cloudfront_speaks_what_the_listener_speaks",
        "main/Resources/CloudFront/Properties/Parameters/LoadBalancerDomainName",
        "",
    ),
    (
        "the_load_balancer_keeps_http_and_tls_apart",
        "alb/Resources/HttpListener/Properties/DefaultActions/0/Fn::If/1/Type",
        "forward",
    ),
    (
        "the_load_balancer_keeps_http_and_tls_apart",
        "alb/Resources/HttpsListener/Properties/SslPolicy",
        "ELBSecurityPolicy-2016-08",
    ),
    (
        "the_load_balancer_keeps_http_and_tls_apart",
        "alb/Resources/TestListener/Properties/SslPolicy",
        REMOVED,
    ),
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
    (
        "the_load_balancers_web_acl_lets_mcp_by",
        "load-balancer-waf/Resources/WebAcl/Properties/Rules/0/Statement",
        {"SizeConstraintStatement": {"FieldToMatch": {"Body": {}}, "ComparisonOperator": "GT", "Size": 8192}},
    ),
    (
        "the_load_balancers_web_acl_lets_mcp_by",
        "load-balancer-waf/Resources/WebAcl/Properties/Rules/1/Statement/RateBasedStatement/AggregateKeyType",
        "IP",
    ),
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
        "registration/Resources/GatewayTarget/Properties/ServiceTimeout",
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
    (
        "functions_come_from_the_bundle",
        "smoke-test/Resources/ProbeFunction/Properties/Code/S3Key",
        {"Fn::Sub": "${ArtifactPrefix}functions/smoke-test.zip"},
    ),
    ("the_registration_comes_last", "main/Resources/Registration/DependsOn", REMOVED),
    ("a_deploy_ends_with_a_call", "registration/Resources/ToolCall/Properties/TargetName", "tools"),
    ("a_deploy_ends_with_a_call", "registration/Resources/ToolCall/Properties/Revision", "1"),
    ("the_registration_comes_last", "registration/Resources/GatewayTarget/Properties/ImageDigest", REMOVED),
    ("children_wait_for_no_more_than_they_use", "main/Resources/CloudFront/DependsOn", "Fargate"),
    ("children_wait_for_no_more_than_they_use", "main/Resources/Alb/DependsOn", "Outbound"),
    ("the_server_always_asks_for_tokens", "fargate/Parameters/AuthMode/AllowedValues", ["none", "jwt"]),
    (
        "the_server_always_asks_for_tokens",
        "main/Resources/Fargate/Properties/Parameters/AuthAudience",
        "",
    ),
    (
        "the_server_always_asks_for_tokens",
        "registration/Resources/GatewayTarget/Properties/CredentialProviderConfigurations",
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
    ("logs_elsewhere_are_kept_as_long", "waf/Resources/WebAcl/Properties/LogRetentionDays", 3653),
    (
        "logs_elsewhere_are_kept_as_long",
        "edge-log/Resources/AccessLogDelivery/Properties/LogRetentionDays",
        REMOVED,
    ),
    ("what_is_stored_is_encrypted", "alb/Resources/AccessLogsBucket/Properties/BucketEncryption", REMOVED),
    ("what_is_stored_is_encrypted", "notification/Resources/Topic/Properties/KmsMasterKeyId", REMOVED),
    ("what_is_stored_is_encrypted", "notification/Resources/TopicKey/Properties/EnableKeyRotation", False),
    (
        "what_is_stored_is_encrypted",
        "auth/Resources/SigningKeysBucketPolicy/Properties/PolicyDocument/Statement/1",
        REMOVED,
    ),
    (
        "what_is_stored_is_encrypted",
        "notification/Resources/DeadLetters",
        {"Type": "AWS::SQS::Queue", "Properties": {"SqsManagedSseEnabled": False}},
    ),
    (
        "everyday_changes_replace_nothing",
        "fargate/Resources/Cluster/Properties/ClusterName",
        {"Fn::Sub": ["${Name}-cluster", {"Name": {"Ref": "DesiredCount"}}]},
    ),
    (
        "everyday_changes_replace_nothing",
        "alb/Resources/LoadBalancer/Properties/Name",
        {"Ref": "LogRetentionDays"},
    ),
    ("the_stack_tells_its_version", "main/Outputs/TemplateVersion", REMOVED),
    ("the_stack_tells_its_version", "main/Outputs/TemplateVersion/Value", "1"),
    ("everything_carries_project_and_stage", "main/Resources/Waf/Properties/Tags", REMOVED),
    ("everything_carries_project_and_stage", "main/Resources/Ecr/Properties/Tags/1", REMOVED),
    ("everything_carries_project_and_stage", "fargate/Resources/Service/Properties/PropagateTags", REMOVED),
    (
        "everything_carries_project_and_stage",
        "ecr/Resources/Repository/Properties/Tags",
        [{"Key": "Stage", "Value": "test"}],
    ),
    *[
        ("what_custom_resources_make_carries_project_and_stage", f"{path}/Properties/Tags", REMOVED)
        for path in (
            "alb/Resources/ProductionRule",
            "alb/Resources/TestRule",
            "certificate/Resources/Certificate",
            "edge-log/Resources/AccessLogDelivery",
            "waf/Resources/WebAcl",
        )
    ],
    (
        "what_custom_resources_make_carries_project_and_stage",
        "waf/Resources/WebAcl/Properties/Tags/0/Value",
        "tools",
    ),
    (
        "what_custom_resources_make_carries_project_and_stage",
        "main/Resources/Alb/Properties/Parameters/Stage",
        {"Ref": "ProjectName"},
    ),
    (
        "what_custom_resources_make_carries_project_and_stage",
        "auth/Resources/GatewayClientCredentials/Type",
        "Custom::New",
    ),
    (
        "alarms_say_what_is_wrong_where_to_look_and_what_to_do",
        "alarms/Resources/CpuAlarm/Properties/AlarmDescription",
        "CPU high",
    ),
    (
        "alarms_say_what_is_wrong_where_to_look_and_what_to_do",
        "rollback-alarms/Resources/LatencyAlarm/Properties/AlarmDescription/Fn::Sub",
        "${ProjectName} (${Stage}) answers too slowly, for minutes now. Look at the dashboard of it.",
    ),
    (
        "alarms_say_what_is_wrong_where_to_look_and_what_to_do",
        "alarms/Resources/CallersWaitAlarm/Properties/AlarmDescription",
        REMOVED,
    ),
    ("alarms_decide_about_missing_data", "alarms/Resources/CpuAlarm/Properties/TreatMissingData", REMOVED),
    (
        "alarms_decide_about_missing_data",
        "alarms/Resources/RunningTasksAlarm/Properties/TreatMissingData",
        "notBreaching",
    ),
    (
        "single_alarms_page_by_way_of_others",
        "alarms/Resources/LatencyAlarm/Properties/AlarmActions",
        [{"Ref": "Topic"}],
    ),
    (
        "single_alarms_page_by_way_of_others",
        "alarms/Resources/CallersWaitAlarm/Properties/AlarmRule/Fn::Sub",
        'ALARM("${LatencyAlarm}")',
    ),
    ("single_alarms_page_by_way_of_others", "rollback-alarms/Outputs/AlarmNames/Value/Fn::Join/1/0", REMOVED),
    (
        "composite_alarms_page_and_say_when_it_is_over",
        "alarms/Resources/CallersWaitAlarm/Properties/AlarmActions",
        REMOVED,
    ),
    (
        "composite_alarms_page_and_say_when_it_is_over",
        "alarms/Resources/CallersWaitAlarm/Properties/OKActions",
        [],
    ),
    (
        "composite_alarms_page_and_say_when_it_is_over",
        "alarms/Resources/CallersWaitAlarm/Properties/ActionsEnabled",
        False,
    ),
    (
        "rules_name_alarms_only_where_they_exist",
        "alarms/Resources/CallersWaitAlarm/Properties/AlarmRule/Fn::Sub",
        'ALARM("${LatencyAlarm}") OR ALARM("${EdgeErrorsAlarm}")',
    ),
    (
        "nobody_is_rolled_back_by_an_alarm_that_needs_the_service",
        "rollback-alarms/Parameters/ServiceName",
        {"Type": "String"},
    ),
    ("every_alarm_is_on_the_dashboard", "alarms/Outputs/AlarmArns/Value/Fn::Join/1/1", REMOVED),
    ("every_alarm_is_on_the_dashboard", "alarms/Outputs/PagingAlarmArns/Value/Fn::Join/1/0", REMOVED),
    (
        "metrics_from_log_lines_have_no_dimensions",
        "alarms/Resources/ToolErrorsFilter/Properties/MetricTransformations/0/Dimensions",
        [{"Key": "tool", "Value": "$.tool"}],
    ),
    (
        "a_failed_deployment_is_told_and_counted",
        "notification/Resources/DeploymentFailureRule/Properties/Targets/0",
        REMOVED,
    ),
    (
        "a_failed_deployment_is_told_and_counted",
        "notification/Resources/DeploymentFailureRule/Properties/EventPattern/resources",
        REMOVED,
    ),
    ("a_failed_deployment_is_told_and_counted", "alarms/Resources/UndeliveredEventsAlarm", REMOVED),
    ("undelivered_alerts_are_noticed", "alarms/Resources/UndeliveredAlertsAlarm", REMOVED),
    (
        "saved_queries_are_in_the_stacks_own_folder",
        "dashboard/Resources/SlowToolsQuery/Properties/Name",
        "Slow tools",
    ),
    (
        "saved_queries_are_in_the_stacks_own_folder",
        "dashboard/Resources/SlowToolsQuery/Properties/LogGroupNames",
        REMOVED,
    ),
    (
        "the_alarm_topic_is_encrypted_and_reachable",
        "notification/Resources/TopicPolicy/Properties/PolicyDocument/Statement/0/Condition/ArnLike",
        REMOVED,
    ),
    (
        "the_alarm_topic_is_encrypted_and_reachable",
        "notification/Resources/DeploymentFailureRole/Properties/Policies/0/PolicyDocument/Statement/1",
        REMOVED,
    ),
    (
        "the_alarm_topic_is_encrypted_and_reachable",
        "notification/Resources/Topic/Properties/KmsMasterKeyId",
        "alias/aws/sns",
    ),
    (
        "the_alarm_topic_is_encrypted_and_reachable",
        "notification/Resources/TopicKey/Properties/KeyPolicy/Statement/1",
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
    (
        "vpc_origin_zones_are_named_where_one_is_excluded",
        "network/Resources/PrivateSubnetC/Properties/AvailabilityZoneId/Fn::If/1",
        "apne1-az4",
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


@pytest.mark.parametrize("name", PROMISES)
def test_promise_is_kept(name: str) -> None:
    assert PROMISES[name](load_templates()) == []


@pytest.mark.parametrize(
    ("name", "path", "value"), BROKEN, ids=[f"{name}:{path}" for name, path, _ in BROKEN]
)
def test_breach_is_noticed(name: str, path: str, value: Any) -> None:
    assert PROMISES[name](broken(load_templates(), path, value)) != []


def test_every_promise_has_been_broken_once() -> None:
    assert {name for name, _, _ in BROKEN} == set(PROMISES)


def test_the_path_that_is_checked_is_the_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "HEALTH_PATH", "/healthz")
    (breach, *_) = service.one_health_path_and_one_port(load_templates())
    assert "'/health', not '/healthz'" in breach


def test_a_server_that_hangs_up_first_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        edge, "constant", lambda module, name: {"PING_SECONDS": 15, "KEEP_ALIVE_SECONDS": 5}[name]
    )
    (breach,) = edge.nothing_cuts_a_stream_that_the_server_keeps_alive(load_templates())
    assert breach.startswith("the server hangs up after 5 s")


def test_the_image_starts_the_command_of_the_task_as_its_user() -> None:
    container, *_ = containers(load_templates())
    dockerfile = (PROJECT / "Dockerfile").read_text()
    (command,) = container["Command"]
    assert f'CMD ["{command}"]' in dockerfile
    assert f"USER {container['User']}" in dockerfile


def test_the_load_balancers_web_acl_knows_the_servers_limit() -> None:
    (settings,) = (PROJECT / "src").rglob("settings.py")
    (limit,) = re.findall(r"^MAX_BODY_BYTES = ([\d *]+)$", settings.read_text(), re.MULTILINE)
    first, *others = (int(factor) for factor in limit.split("*"))
    assert math.prod(others, start=first) == 4_194_304


def test_templates_hold_no_jinja() -> None:
    for path in template_paths():
        text = path.read_text()
        assert [mark for mark in ("{{", "{%", "{#") if mark in text] == [], path.name
