"""What the templates promise: each a function from all templates to a list of breaches, empty if it is kept.

They look at the templates as plain data, so that a test can break a copy and see the breach reported.
"""

import itertools
import re
from collections.abc import Callable, Iterator
from typing import Any

from tests.infrastructure.cloudformation import (
    Template,
    Templates,
    all_resources,
    dependencies,
    get_att,
    resources,
    walk,
)

SERVER_PORT = 8080
HEALTH_PATH = "/health"
SECTIONS = [
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Rules",
    "Mappings",
    "Conditions",
    "Resources",
    "Outputs",
]


Promise = Callable[[Templates], list[str]]

PROMISES: dict[str, Promise] = {}


def promise(function: Promise) -> Promise:
    """Enter a function into PROMISES under its own name, which reads as a sentence."""
    PROMISES[function.__name__] = function
    return function


def only(template: Template, resource_type: str) -> dict[str, Any]:
    """Return the properties of the one resource of a type; raises ValueError if there isn't exactly one."""
    (properties,) = resources(template, resource_type).values()
    return properties


def differences(what: str, actual: Any, expected: Any) -> list[str]:
    return [] if actual == expected else [f"{what} is {actual!r}, not {expected!r}"]


# --- network ---


@promise
def nothing_has_a_public_address(templates: Templates) -> list[str]:
    """Tasks and load balancer are private, and no subnet hands out public addresses."""
    breaches = []
    for name, service in all_resources(templates, "AWS::ECS::Service"):
        assigned = service["NetworkConfiguration"]["AwsvpcConfiguration"].get("AssignPublicIp")
        breaches += differences(f"{name} AssignPublicIp", assigned, "DISABLED")
    for name, subnet in all_resources(templates, "AWS::EC2::Subnet"):
        breaches += differences(f"{name} MapPublicIpOnLaunch", subnet.get("MapPublicIpOnLaunch"), False)
    for name, balancer in all_resources(templates, "AWS::ElasticLoadBalancingV2::LoadBalancer"):
        breaches += differences(f"{name} Scheme", balancer.get("Scheme"), "internal")
    return breaches


@promise
def private_subnets_reach_the_internet_only_through_nat(templates: Templates) -> list[str]:
    """Only the public route table leads to the internet gateway, and only if NAT was chosen."""
    network = templates["network"]
    breaches = []
    for name, resource in network["Resources"].items():
        if resource["Type"] != "AWS::EC2::Route":
            continue
        breaches += differences(f"{name} Condition", resource.get("Condition"), "HasNat")
        private = "Private" in resource["Properties"]["RouteTableId"]["Ref"]
        if private and "NatGatewayId" not in resource["Properties"]:
            breaches.append(f"{name} leads a private subnet past the NAT gateway")
    return breaches


def _ingress_rules(templates: Templates) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, group in all_resources(templates, "AWS::EC2::SecurityGroup"):
        for rule in group.get("SecurityGroupIngress", []):
            yield name, rule
    for _, rule in all_resources(templates, "AWS::EC2::SecurityGroupIngress"):
        target = get_att(rule["GroupId"]) or rule["GroupId"]["Ref"]
        stem = next(
            stem for stem, template in templates.items() if target.split(".")[0] in template["Resources"]
        )
        yield f"{stem}.{target.split('.')[0]}", rule


@promise
def nothing_is_open_to_the_world(templates: Templates) -> list[str]:
    """No security group admits traffic from everywhere."""
    return [
        f"{name} admits {rule[key]}"
        for name, rule in _ingress_rules(templates)
        for key in ("CidrIp", "CidrIpv6")
        if rule.get(key) in ("0.0.0.0/0", "::/0")
    ]


@promise
def security_groups_form_a_chain(templates: Templates) -> list[str]:
    """The task admits only the load balancer, and the load balancer only CloudFront."""
    rules: dict[str, list[dict[str, Any]]] = {}
    for name, rule in _ingress_rules(templates):
        rules.setdefault(name, []).append({key: value for key, value in rule.items() if key != "Description"})
    task = [
        {
            "GroupId": {"Fn::GetAtt": ["TaskSecurityGroup", "GroupId"]},
            "IpProtocol": "tcp",
            "FromPort": SERVER_PORT,
            "ToPort": SERVER_PORT,
            "SourceSecurityGroupId": {"Fn::GetAtt": ["LoadBalancerSecurityGroup", "GroupId"]},
        }
    ]
    balancer = [
        {
            "IpProtocol": "tcp",
            "FromPort": 80,
            "ToPort": 80,
            "SourcePrefixListId": {"Fn::GetAtt": ["OriginFacingPrefixList", "PrefixListId"]},
        }
    ]
    prefix_list = only(templates["alb"], "Custom::ManagedPrefixList")["PrefixListName"]
    return (
        differences("ingress of the task", rules.get("alb.TaskSecurityGroup"), task)
        + differences("ingress of the load balancer", rules.get("alb.LoadBalancerSecurityGroup"), balancer)
        + differences("the prefix list", prefix_list, "com.amazonaws.global.cloudfront.origin-facing")
    )


@promise
def security_groups_name_their_egress(templates: Templates) -> list[str]:
    """A group without an egress rule of its own would get one that allows everything."""
    breaches = []
    for name, group in all_resources(templates, "AWS::EC2::SecurityGroup"):
        if not group.get("SecurityGroupEgress"):
            breaches.append(f"{name} names no egress")
        for rule in group.get("SecurityGroupEgress", []):
            if rule["IpProtocol"] == "-1" and rule.get("CidrIp") != "127.0.0.1/32":
                breaches.append(f"{name} lets every protocol out")
    return breaches


# --- roles ---


def _trust(role: dict[str, Any]) -> list[dict[str, Any]]:
    return list(role["AssumeRolePolicyDocument"]["Statement"])


@promise
def the_two_task_roles_differ(templates: Templates) -> list[str]:
    """Execution role and task role are two roles, and only ECS tasks may take either."""
    fargate = templates["fargate"]
    task = only(fargate, "AWS::ECS::TaskDefinition")
    named = [get_att(task.get("ExecutionRoleArn")), get_att(task.get("TaskRoleArn"))]
    breaches = differences("roles of the task", named, ["ExecutionRole.Arn", "TaskRole.Arn"])
    for name, role in resources(fargate, "AWS::IAM::Role").items():
        principals = [statement["Principal"] for statement in _trust(role)]
        breaches += differences(f"trust of {name}", principals, [{"Service": "ecs-tasks.amazonaws.com"}])
    return breaches


@promise
def services_act_for_this_account_only(templates: Templates) -> list[str]:
    """Every role and topic that a shared service uses names the account it must act for."""
    breaches = []
    for name, role in all_resources(templates, "AWS::IAM::Role"):
        for statement in _trust(role):
            if statement["Principal"] == {"Service": "lambda.amazonaws.com"}:
                continue  # Lambda takes a role for a function of the same account only
            account = statement.get("Condition", {}).get("StringEquals", {}).get("aws:SourceAccount")
            breaches += differences(f"aws:SourceAccount of {name}", account, {"Ref": "AWS::AccountId"})
            if "aws:SourceArn" not in statement.get("Condition", {}).get("ArnLike", {}):
                breaches.append(f"{name} doesn't name aws:SourceArn")
    return breaches


# Actions that know no resources, see the service authorization reference.
ACTIONS_WITHOUT_RESOURCES = {
    "acm:ListCertificates",
    "acm:RequestCertificate",
    "ec2:DescribeManagedPrefixLists",
    "ecr:GetAuthorizationToken",
    "logs:CreateLogDelivery",
    "logs:DeleteLogDelivery",
    "logs:DescribeDeliveries",
    "logs:DescribeLogGroups",
    "logs:DescribeResourcePolicies",
    "logs:PutResourcePolicy",
    "wafv2:ListWebACLs",
}


@promise
def roles_grant_no_more_than_is_named(templates: Templates) -> list[str]:
    """No action is a wildcard, and only actions that know no resources are granted on all of them."""
    breaches = []
    for name, role in all_resources(templates, "AWS::IAM::Role"):
        if "ManagedPolicyArns" in role:
            breaches.append(f"{name} takes permissions from a managed policy")
        for _, node in walk(role.get("Policies", [])):
            if not isinstance(node, dict) or node.get("Effect") != "Allow":
                continue
            actions = [node["Action"]] if isinstance(node["Action"], str) else node["Action"]
            if any("*" in action for action in actions):
                breaches.append(f"{name} allows {actions}")
            if node["Resource"] == "*" and not set(actions) <= ACTIONS_WITHOUT_RESOURCES:
                breaches.append(f"{name} allows {actions} on everything")
    return breaches


@promise
def the_task_may_ask_only_its_knowledge_base(templates: Templates) -> list[str]:
    """Without a knowledge base the task role has no permission at all."""
    policies = resources(templates["fargate"], "AWS::IAM::Role")["TaskRole"].get("Policies")
    if not isinstance(policies, dict) or "Fn::If" not in policies:
        return ["TaskRole has policies without a condition"]
    condition, granted, otherwise = policies["Fn::If"]
    statements = [statement for policy in granted for statement in policy["PolicyDocument"]["Statement"]]
    breaches = differences("condition", condition, "HasKnowledgeBase")
    breaches += differences("permissions otherwise", otherwise, {"Ref": "AWS::NoValue"})
    breaches += differences(
        "actions", [statement["Action"] for statement in statements], ["bedrock:Retrieve"]
    )
    if not str(statements[0]["Resource"].get("Fn::Sub", "")).endswith(":knowledge-base/${KnowledgeBaseId}"):
        breaches.append("TaskRole may ask other knowledge bases")
    return breaches


# --- service ---


@promise
def one_health_path_and_one_port(templates: Templates) -> list[str]:
    """Load balancer and container check the path the server serves, on the port it listens on."""
    group = only(templates["alb"], "AWS::ElasticLoadBalancingV2::TargetGroup")
    (container,) = only(templates["fargate"], "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    (registered,) = only(templates["fargate"], "AWS::ECS::Service")["LoadBalancers"]
    environment = {entry["Name"]: entry["Value"] for entry in container["Environment"] if "Name" in entry}
    checked = re.search(r"http://127\.0\.0\.1:(\d+)(/[^']*)'", " ".join(container["HealthCheck"]["Command"]))
    return (
        differences("health path of the target group", group.get("HealthCheckPath"), HEALTH_PATH)
        + differences(
            "health check of the container", checked and checked.groups(), (str(SERVER_PORT), HEALTH_PATH)
        )
        + differences("port of the target group", group["Port"], SERVER_PORT)
        + differences("port of the container", container["PortMappings"][0]["ContainerPort"], SERVER_PORT)
        + differences("registered port", registered["ContainerPort"], SERVER_PORT)
        + differences("registered container", registered["ContainerName"], container["Name"])
        + differences("PORT", environment.get("PORT"), str(SERVER_PORT))
        + differences("HOST", environment.get("HOST"), "0.0.0.0")  # noqa: S104
    )


@promise
def the_container_is_locked_down(templates: Templates) -> list[str]:
    """Read-only root, no root user, an init process, and time to drain."""
    (container,) = only(templates["fargate"], "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    return (
        differences("ReadonlyRootFilesystem", container.get("ReadonlyRootFilesystem"), True)
        + differences("User", container.get("User"), "1001")
        + differences("InitProcessEnabled", container["LinuxParameters"].get("InitProcessEnabled"), True)
        + differences("Privileged", container.get("Privileged", False), False)
        + differences("StopTimeout", container.get("StopTimeout"), 120)
    )


@promise
def the_server_ends_by_itself_before_it_is_killed(templates: Templates) -> list[str]:
    """After SIGTERM the server waits for calls in flight, for less time than ECS waits for the server."""
    (container,) = only(templates["fargate"], "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    environment = {entry["Name"]: entry["Value"] for entry in container["Environment"] if "Name" in entry}
    grace = int(environment.get("SHUTDOWN_GRACE_SECONDS", 0))
    stop_timeout = int(container.get("StopTimeout", 30))
    if 0 < grace <= stop_timeout - 5:
        return []
    return [f"SHUTDOWN_GRACE_SECONDS is {grace}, not well below the StopTimeout of {stop_timeout} s"]


@promise
def a_failed_deployment_goes_back(templates: Templates) -> list[str]:
    """New tasks come up beside the old ones, and a deployment that fails is rolled back."""
    deployment = only(templates["fargate"], "AWS::ECS::Service").get("DeploymentConfiguration", {})
    return (
        differences(
            "circuit breaker", deployment.get("DeploymentCircuitBreaker"), {"Enable": True, "Rollback": True}
        )
        + differences("MinimumHealthyPercent", deployment.get("MinimumHealthyPercent"), 100)
        + differences("MaximumPercent", deployment.get("MaximumPercent"), 200)
    )


@promise
def the_service_scales_on_cpu_and_requests(templates: Templates) -> list[str]:
    """Target tracking on 60 % CPU and on the requests of each target, between DesiredCount and MaxCount."""
    fargate = templates["fargate"]
    target = only(fargate, "AWS::ApplicationAutoScaling::ScalableTarget")
    tracked = {}
    for policy in resources(fargate, "AWS::ApplicationAutoScaling::ScalingPolicy").values():
        tracking = policy["TargetTrackingScalingPolicyConfiguration"]
        tracked[tracking["PredefinedMetricSpecification"]["PredefinedMetricType"]] = tracking["TargetValue"]
    return (
        differences("MinCapacity", target["MinCapacity"], {"Ref": "DesiredCount"})
        + differences("MaxCapacity", target["MaxCapacity"], {"Ref": "MaxCount"})
        + differences("CPU target", tracked.get("ECSServiceAverageCPUUtilization"), 60)
        + ([] if "ALBRequestCountPerTarget" in tracked else ["requests aren't tracked"])
    )


@promise
def one_architecture_for_build_and_run(templates: Templates) -> list[str]:
    """The same parameter chooses where the image is built, what for, and where it runs."""
    root = templates["main"]["Resources"]
    breaches = []
    for child in ("Ecr", "Fargate"):
        passed = root[child]["Properties"]["Parameters"].get("Architecture")
        breaches += differences(f"Architecture of {child}", passed, {"Ref": "Architecture"})
    platform = only(templates["fargate"], "AWS::ECS::TaskDefinition")["RuntimePlatform"]
    breaches += differences("CpuArchitecture", platform.get("CpuArchitecture"), {"Ref": "Architecture"})
    build = only(templates["ecr"], "AWS::CodeBuild::Project")["Environment"]
    variables = {entry["Name"]: entry["Value"] for entry in build["EnvironmentVariables"]}
    condition = templates["ecr"]["Conditions"]["IsArm64"]
    breaches += differences("IsArm64", condition, {"Fn::Equals": [{"Ref": "Architecture"}, "ARM64"]})
    chosen = {"Fn::If": ["IsArm64", "ARM_CONTAINER", "LINUX_CONTAINER"]}
    breaches += differences("type of the build", build["Type"], chosen)
    chosen = {"Fn::If": ["IsArm64", "linux/arm64", "linux/amd64"]}
    breaches += differences("platform of the build", variables.get("PLATFORM"), chosen)
    aarch64, x86_64 = build["Image"]["Fn::If"][1:]
    if "aarch64" not in aarch64 or "x86_64" not in x86_64:
        breaches.append(f"build images are {aarch64} and {x86_64}")
    breaches += differences(
        "architecture of the image",
        only(templates["ecr"], "Custom::ContainerImage").get("Architecture"),
        {"Ref": "Architecture"},
    )
    return breaches


@promise
def images_are_immutable_and_pinned_by_digest(templates: Templates) -> list[str]:
    """A tag never changes, every push is scanned, and the task names a digest."""
    repository = only(templates["ecr"], "AWS::ECR::Repository")
    (container,) = only(templates["fargate"], "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    accepted = re.compile(templates["fargate"]["Parameters"]["ImageUri"].get("AllowedPattern", ".*"))
    passed = templates["main"]["Resources"]["Fargate"]["Properties"]["Parameters"]["ImageUri"]
    digest = "0" * 64
    return (
        differences("tag mutability", repository.get("ImageTagMutability"), "IMMUTABLE")
        + differences("scan", repository.get("ImageScanningConfiguration"), {"ScanOnPush": True})
        + differences("EmptyOnDelete", repository.get("EmptyOnDelete"), True)
        + differences("image of the task", container["Image"], {"Ref": "ImageUri"})
        + differences("image passed", get_att(passed), "Ecr.Outputs.ImageUri")
        + differences("a tag is accepted", bool(accepted.fullmatch("registry/server:latest")), False)
        + differences(
            "a digest is accepted", bool(accepted.fullmatch(f"registry/server@sha256:{digest}")), True
        )
    )


# --- load balancer and CloudFront ---


def _attributes(properties: dict[str, Any], key: str) -> dict[str, Any]:
    return {attribute["Key"]: attribute["Value"] for attribute in properties.get(key, [])}


@promise
def the_load_balancer_suits_long_streams(templates: Templates) -> list[str]:
    """Timeouts, thresholds and attributes for connections that stay open."""
    group = only(templates["alb"], "AWS::ElasticLoadBalancingV2::TargetGroup")
    balancer = only(templates["alb"], "AWS::ElasticLoadBalancingV2::LoadBalancer")
    expected = {
        "TargetType": "ip",
        "Protocol": "HTTP",
        "Port": 8080,
        "HealthCheckPath": "/health",
        "HealthyThresholdCount": 2,
        "UnhealthyThresholdCount": 3,
        "HealthCheckIntervalSeconds": 30,
        "HealthCheckTimeoutSeconds": 5,
    }
    breaches = [
        breach for key, value in expected.items() for breach in differences(key, group.get(key), value)
    ]
    group_attributes = _attributes(group, "TargetGroupAttributes")
    for key, value in {
        "deregistration_delay.timeout_seconds": "300",
        "slow_start.duration_seconds": "30",
        "load_balancing.algorithm.type": "round_robin",
        "stickiness.enabled": {"Fn::If": ["IsStateful", "true", "false"]},
        "stickiness.type": "lb_cookie",
        "stickiness.lb_cookie.duration_seconds": "86400",
    }.items():
        breaches += differences(key, group_attributes.get(key), value)
    balancer_attributes = _attributes(balancer, "LoadBalancerAttributes")
    for key, value in {
        "idle_timeout.timeout_seconds": "3600",
        "routing.http.drop_invalid_header_fields.enabled": "true",
        "access_logs.s3.enabled": "true",
        "access_logs.s3.bucket": {"Ref": "AccessLogsBucket"},
    }.items():
        breaches += differences(key, balancer_attributes.get(key), value)
    return breaches


@promise
def access_logs_are_private_and_expire(templates: Templates) -> list[str]:
    """Encrypted, closed to the public, kept for a while, written by the load balancer service only."""
    bucket = only(templates["alb"], "AWS::S3::Bucket")
    block = bucket.get("PublicAccessBlockConfiguration", {})
    breaches = differences("public access block", [block.get(key) for key in sorted(block)], [True] * 4)
    if "BucketEncryption" not in bucket:
        breaches.append("the bucket isn't encrypted")
    if "ExpirationInDays" not in str(bucket.get("LifecycleConfiguration")):
        breaches.append("access logs are kept for ever")
    writers = [
        statement["Principal"]
        for statement in only(templates["alb"], "AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Allow"
    ]
    return breaches + differences(
        "writers", writers, [{"Service": "logdelivery.elasticloadbalancing.amazonaws.com"}]
    )


@promise
def cloudfront_speaks_what_the_listener_speaks(templates: Templates) -> list[str]:
    """Another protocol than the listener's ends in 504 Gateway Timeout."""
    listener = only(templates["alb"], "AWS::ElasticLoadBalancingV2::Listener")
    origin = only(templates["cloudfront"], "AWS::CloudFront::VpcOrigin")["VpcOriginEndpointConfig"]
    expected = {"HTTP": "http-only", "HTTPS": "https-only"}[listener["Protocol"]]
    port = origin.get("HTTPPort" if listener["Protocol"] == "HTTP" else "HTTPSPort")
    return differences("OriginProtocolPolicy", origin.get("OriginProtocolPolicy"), expected) + differences(
        "port of the origin", port, listener["Port"]
    )


@promise
def cloudfront_passes_everything_and_keeps_nothing(templates: Templates) -> list[str]:
    """All seven methods, all headers, HTTPS only, CORS and security headers, nothing cached or held back."""
    distribution = only(templates["cloudfront"], "AWS::CloudFront::Distribution")["DistributionConfig"]
    behaviour = distribution["DefaultCacheBehavior"]
    methods = {"GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"}
    policies = templates["cloudfront"]["Mappings"]["ManagedPolicy"]
    chosen = {
        key: policies[behaviour[key]["Fn::FindInMap"][1]]["Id"]
        for key in ("CachePolicyId", "OriginRequestPolicyId", "ResponseHeadersPolicyId")
    }
    (origin,) = distribution["Origins"]
    timeout = origin["VpcOriginConfig"].get("OriginReadTimeout", 30)
    # https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/using-managed-cache-policies.html
    return (
        differences("methods", set(behaviour.get("AllowedMethods", [])), methods)
        + differences("viewer protocol", behaviour["ViewerProtocolPolicy"], "redirect-to-https")
        + differences("CachingDisabled", chosen["CachePolicyId"], "4135ea2d-6df8-44a3-9df3-4b5a84be39ad")
        + differences("AllViewer", chosen["OriginRequestPolicyId"], "216adef6-5c7f-47e4-b989-5492eafa07d3")
        + differences(
            "CORS-with-preflight-and-SecurityHeadersPolicy",
            chosen["ResponseHeadersPolicyId"],
            "eaab4381-ed33-4a86-88ca-d9558dc6cd63",
        )
        + differences("Compress", behaviour.get("Compress"), False)
        + ([] if 60 <= timeout <= 120 else [f"OriginReadTimeout is {timeout}"])
    )


@promise
def the_web_acl_lets_mcp_by(templates: Templates) -> list[str]:
    """Big bodies and callers without User-Agent are counted, not blocked; addresses are limited."""
    acl = only(templates["waf"], "Custom::EdgeWebAcl")
    groups = {group["Name"]: group.get("CountedRules", []) for group in acl.get("ManagedRuleGroups", [])}
    counted = groups.get("AWSManagedRulesCommonRuleSet")
    passed = templates["main"]["Resources"]["CloudFront"]["Properties"]["Parameters"]["WebAclArn"]
    used = only(templates["cloudfront"], "AWS::CloudFront::Distribution")["DistributionConfig"].get(
        "WebACLId"
    )
    return (
        differences("counted rules", counted, ["SizeRestrictions_BODY", "NoUserAgent_HEADER"])
        + differences("RateLimit", acl.get("RateLimit"), {"Ref": "RateLimit"})
        + differences(
            "web ACL passed",
            passed,
            {"Fn::If": ["HasWebAcl", {"Fn::GetAtt": ["Waf", "Outputs.WebAclArn"]}, ""]},
        )
        + differences(
            "web ACL of the distribution",
            used,
            {"Fn::If": ["HasWebAcl", {"Ref": "WebAclArn"}, {"Ref": "AWS::NoValue"}]},
        )
    )


@promise
def production_has_a_web_acl_unless_it_is_switched_off(templates: Templates) -> list[str]:
    """Who says nothing gets the web ACL and the access log."""
    parameters = templates["main"]["Parameters"]
    return differences("WebAcl", parameters["WebAcl"]["Default"], "true") + differences(
        "AccessLog", parameters["AccessLog"]["Default"], "true"
    )


@promise
def the_endpoints_own_name_answers_on_both_address_families(templates: Templates) -> list[str]:
    """Alias records of types A and AAAA, and a certificate with TLS 1.2 or newer and no extra address."""
    cloudfront = templates["cloudfront"]
    records = resources(cloudfront, "AWS::Route53::RecordSet")
    targets = {record["Type"]: record.get("AliasTarget", {}) for record in records.values()}
    breaches = differences("record types", sorted(targets), ["A", "AAAA"])
    zone = {"Fn::FindInMap": ["Edge", {"Ref": "AWS::Partition"}, "HostedZoneId"]}
    for kind, target in targets.items():
        breaches += differences(
            f"target of {kind}", get_att(target.get("DNSName")), "Distribution.DomainName"
        )
        breaches += differences(f"zone of {kind}", target.get("HostedZoneId"), zone)
    distribution = only(cloudfront, "AWS::CloudFront::Distribution")["DistributionConfig"]
    condition, own, _ = distribution["ViewerCertificate"].get("Fn::If", ["", {}, {}])
    breaches += differences("condition of the certificate", condition, "HasDomainName")
    breaches += differences("SslSupportMethod", own.get("SslSupportMethod"), "sni-only")
    return breaches + differences("MinimumProtocolVersion", own.get("MinimumProtocolVersion"), "TLSv1.2_2021")


# --- custom resources ---


@promise
def custom_resources_outlive_their_functions(templates: Templates) -> list[str]:
    """ServiceTimeout is longer than the function's Timeout, so that the function's own report arrives."""
    breaches = []
    for stem, template in templates.items():
        for name, properties in resources(template, "Custom::*").items():
            function = str(get_att(properties["ServiceToken"])).removesuffix(".Arn")
            timeout = template["Resources"][function]["Properties"]["Timeout"]
            if not int(properties.get("ServiceTimeout", 0)) > timeout:
                breaches.append(f"{stem}.{name} gives up before its function does")
    return breaches


HANDLERS = {
    "Custom::ClientSecret": "custom_resources.client_secret.handler",
    "Custom::ContainerImage": "custom_resources.container_image.handler",
    "Custom::EdgeAccessLog": "custom_resources.edge_access_log.handler",
    "Custom::EdgeCertificate": "custom_resources.edge_certificate.handler",
    "Custom::EdgeWebAcl": "custom_resources.edge_web_acl.handler",
    "Custom::Emptied": "custom_resources.emptied.handler",
    "Custom::GatewayTarget": "custom_resources.gateway_target.handler",
    "Custom::ToolCall": "custom_resources.tool_call.handler",
    "Custom::ManagedPrefixList": "custom_resources.managed_prefix_list.handler",
    "Custom::SigningKeys": "custom_resources.signing_keys.handler",
}


@promise
def functions_come_from_the_bundle(templates: Templates) -> list[str]:
    """One zip, addressed by the bundle's parameters, and the handler that goes with the resource."""
    breaches = []
    for stem, template in templates.items():
        for name, properties in resources(template, "Custom::*").items():
            function_id = str(get_att(properties["ServiceToken"])).removesuffix(".Arn")
            function = template["Resources"][function_id]["Properties"]
            handler = HANDLERS[template["Resources"][name]["Type"]]
            code = {
                "S3Bucket": {"Ref": "ArtifactBucket"},
                "S3Key": {"Fn::Sub": "${ArtifactPrefix}functions/custom-resources.zip"},
            }
            breaches += differences(f"handler of {stem}.{name}", function["Handler"], handler)
            breaches += differences(f"code of {stem}.{function_id}", function["Code"], code)
            breaches += differences(f"runtime of {stem}.{function_id}", function["Runtime"], "python3.13")
            breaches += differences(f"architecture of {function_id}", function["Architectures"], ["arm64"])
    return breaches


@promise
def a_deploy_ends_with_a_call(templates: Templates) -> list[str]:
    """Once the target is registered a tool is called through the gateway, and again for each new version."""
    call = only(templates["agentcore"], "Custom::ToolCall")
    breaches = differences(
        "what the call waits for", call["TargetName"], {"Fn::GetAtt": ["GatewayTarget", "TargetName"]}
    )
    revision = str(call.get("Revision"))
    breaches += [
        f"{name} makes no call" for name in ("ImageDigest", "ArtifactPrefix") if name not in revision
    ]
    return breaches


@promise
def the_gateway_comes_last(templates: Templates) -> list[str]:
    """The target is registered once the server can be reached, and again for each new image."""
    root = templates["main"]
    missing = {"Fargate", "CloudFront", "Ecr"} - dependencies(root, "AgentCore")
    breaches = [f"AgentCore doesn't wait for {name}" for name in sorted(missing)]
    target = only(templates["agentcore"], "Custom::GatewayTarget")
    breaches += differences("ImageDigest", target.get("ImageDigest"), {"Ref": "ImageDigest"})
    return breaches + differences("Endpoint", target.get("Endpoint"), {"Ref": "ServerUrl"})


@promise
def children_wait_for_no_more_than_they_use(templates: Templates) -> list[str]:
    """Network and image start at once; CloudFront deploys while the tasks start."""
    expected: dict[str, set[str]] = {
        "Network": set(),
        "Ecr": set(),
        "Alb": {"Network"},
        "Auth": {"Network"},
        "Fargate": {"Network", "Ecr", "Alb", "Auth"},
        "Waf": set(),
        "Certificate": set(),
        "CloudFront": {"Alb", "Waf", "Certificate"},
        "AgentCore": {"Ecr", "Auth", "Fargate", "CloudFront"},
        "Alarms": {"Alb", "Fargate"},
        "Dashboard": {"Alb", "Fargate", "CloudFront", "AgentCore"},
    }
    root = templates["main"]
    return [
        breach
        for name in root["Resources"]
        for breach in differences(f"{name} waits for", dependencies(root, name), expected.get(name))
    ]


CALLERS = {
    "AUTH_MODE": "AuthMode",
    "AUTH_ISSUER": "AuthIssuer",
    "AUTH_AUDIENCE": "AuthAudience",
    "AUTH_CLIENT_IDS": "AuthClientIds",
    "AUTH_REQUIRED_SCOPES": "AuthScopes",
    "AUTH_JWKS_URL": "AuthKeysUrl",
    "AUTH_RESOURCE_URL": "ResourceUrl",
}


@promise
def the_server_always_asks_for_tokens(templates: Templates) -> list[str]:
    """No mode without, the audience or the client decides, and the gateway has a token to show."""
    fargate, root = templates["fargate"], templates["main"]
    modes = fargate["Parameters"]["AuthMode"].get("AllowedValues")
    breaches = differences("modes", modes, ["cognito", "jwt"])
    (container,) = only(fargate, "AWS::ECS::TaskDefinition")["ContainerDefinitions"]
    environment = {item["Name"]: item["Value"] for item in container["Environment"] if "Name" in item}
    for variable, parameter in CALLERS.items():
        breaches += differences(variable, environment.get(variable), {"Ref": parameter})
    passed = root["Resources"]["Fargate"]["Properties"]["Parameters"]
    breaches += differences("AuthAudience", passed["AuthAudience"], {"Ref": "OidcAudience"})
    for parameter, output in {"AuthMode": "AuthMode", "AuthIssuer": "Issuer", "AuthScopes": "Scopes"}.items():
        breaches += differences(parameter, get_att(passed[parameter]), f"Auth.Outputs.{output}")
    target = only(templates["agentcore"], "Custom::GatewayTarget")
    (credentials,) = target.get("CredentialProviderConfigurations") or [{}]
    kind = credentials.get("credentialProviderType")
    return breaches + differences("credentials of the target", kind, "OAUTH")


@promise
def machines_alone_get_tokens(templates: Templates) -> list[str]:
    """The user pool has no sign-up; a client has one grant, its own credentials, and one scope."""
    auth = templates["auth"]
    pool = only(auth, "AWS::Cognito::UserPool")
    alone = pool.get("AdminCreateUserConfig", {}).get("AllowAdminCreateUserOnly")
    breaches = differences("AllowAdminCreateUserOnly", alone, True)
    scopes = []
    for name, client in resources(auth, "AWS::Cognito::UserPoolClient").items():
        breaches += differences(f"flows of {name}", client.get("AllowedOAuthFlows"), ["client_credentials"])
        breaches += differences(f"secret of {name}", client.get("GenerateSecret"), True)
        flows = client.get("ExplicitAuthFlows")
        breaches += differences(f"users' flows of {name}", flows, ["ALLOW_REFRESH_TOKEN_AUTH"])
        scopes += client["AllowedOAuthScopes"]
    expected = [{"Fn::Sub": f"${{ProjectName}}/{scope}"} for scope in ("call", "invoke")]
    return breaches + differences("scopes", scopes, expected)


@promise
def secrets_stay_in_secrets_manager(templates: Templates) -> list[str]:
    """No property and no output holds a client's secret, and no secret is written in a template."""
    breaches = []
    for stem, template in templates.items():
        for path, node in walk({key: template.get(key, {}) for key in ("Resources", "Outputs")}):
            if str(get_att(node) or "").endswith(".ClientSecret"):
                breaches.append(f"{stem} shows a client's secret at {'.'.join(map(str, path))}")
            if isinstance(node, dict) and {"SecretString", "ClientSecret"} & set(node):
                breaches.append(f"{stem} writes a secret at {'.'.join(map(str, path))}")
        for name, template_secret in resources(template, "AWS::SecretsManager::Secret").items():
            if "GenerateSecretString" in template_secret:
                breaches.append(f"{stem}.{name} makes up a secret nobody else has")
    config = only(templates["agentcore"], "AWS::BedrockAgentCore::OAuth2CredentialProvider")
    custom = config["Oauth2ProviderConfigInput"]["CustomOauth2ProviderConfig"]
    return breaches + differences("the provider's secret", custom.get("ClientSecretSource"), "EXTERNAL")


@promise
def signing_keys_are_for_the_network_alone(templates: Templates) -> list[str]:
    """The bucket of the issuer's keys is read by one VPC, over TLS, and written by one function."""
    auth = templates["auth"]
    policy = only(auth, "AWS::S3::BucketPolicy")["PolicyDocument"]["Statement"]
    allowed = [statement for statement in policy if statement["Effect"] == "Allow"]
    conditions = [statement.get("Condition") for statement in allowed]
    expected = [{"StringEquals": {"aws:SourceVpc": {"Ref": "VpcId"}}}]
    breaches = differences("who may read", conditions, expected)
    breaches += differences("what", [statement["Action"] for statement in allowed], ["s3:GetObject"])
    blocked = only(auth, "AWS::S3::Bucket").get("PublicAccessBlockConfiguration", {})
    breaches += differences("public access block", list(blocked.values()), [True] * 4)
    # The schedule goes first on deletion, so that it copies nothing into a bucket that is being emptied.
    if "SigningKeys" not in dependencies(auth, "SigningKeysSchedule"):
        breaches.append("the schedule may outlive the last copy")
    return breaches


@promise
def the_gateway_can_search_and_speaks_every_version(templates: Templates) -> list[str]:
    """Semantic search can be had only at creation, and a name only once in an account."""
    gateway = only(templates["agentcore"], "AWS::BedrockAgentCore::Gateway")
    mcp = gateway["ProtocolConfiguration"]["Mcp"]
    versions = ["2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26"]
    return (
        differences("SearchType", mcp.get("SearchType"), "SEMANTIC")
        + differences("SupportedVersions", mcp.get("SupportedVersions"), versions)
        + differences("AuthorizerType", gateway["AuthorizerType"], {"Ref": "GatewayAuthorizer"})
        + differences("ProtocolType", gateway.get("ProtocolType"), "MCP")
        + ([] if "AWS::StackId" in str(gateway["Name"]) else ["the gateway's name isn't the stack's own"])
    )


# --- operations ---


@promise
def logs_are_kept_for_a_while_and_no_longer(templates: Templates) -> list[str]:
    """Every log group has a retention and goes with its stack; whatever logs, logs to such a group."""
    breaches = []
    for stem, template in templates.items():
        groups = resources(template, "AWS::Logs::LogGroup")
        for name, group in groups.items():
            kept = group.get("RetentionInDays")
            breaches += differences(f"retention of {stem}.{name}", kept, {"Ref": "LogRetentionDays"})
        for name, function in resources(template, "AWS::Lambda::Function").items():
            if function.get("LoggingConfig", {}).get("LogGroup", {}).get("Ref") not in groups:
                breaches.append(f"{stem}.{name} logs to a group nobody cleans up")
        for name, project in resources(template, "AWS::CodeBuild::Project").items():
            logs = project.get("LogsConfig", {}).get("CloudWatchLogs", {})
            if logs.get("GroupName", {}).get("Ref") not in groups:
                breaches.append(f"{stem}.{name} logs to a group nobody cleans up")
        for name, task in resources(template, "AWS::ECS::TaskDefinition").items():
            for container in task["ContainerDefinitions"]:
                options = container.get("LogConfiguration", {}).get("Options", {})
                if options.get("awslogs-group", {}).get("Ref") not in groups:
                    breaches.append(f"{stem}.{name} logs to a group nobody cleans up")
    return breaches


@promise
def alarms_say_what_is_wrong_and_tell_somebody(templates: Templates) -> list[str]:
    """Every alarm has an action, decides about missing data, and is described in a sentence or two."""
    breaches = []
    for name, alarm in all_resources(templates, "AWS::CloudWatch::Alarm"):
        for key in ("AlarmActions", "OKActions"):
            breaches += differences(f"{key} of {name}", alarm.get(key), [{"Ref": "Topic"}])
        if "TreatMissingData" not in alarm:
            breaches.append(f"{name} leaves missing data to chance")
        if len(str(alarm.get("AlarmDescription", "")).split()) < 15:
            breaches.append(f"{name} doesn't say what is wrong and where to look")
    return breaches


@promise
def the_alarm_topic_is_encrypted_and_reachable(templates: Templates) -> list[str]:
    """CloudWatch needs the right to publish and the right to use the key, both for this account only."""
    alarms = templates["alarms"]
    key = get_att(only(alarms, "AWS::SNS::Topic").get("KmsMasterKeyId"))
    breaches = differences("key of the topic", key, "TopicKey.Arn")
    documents = [
        only(alarms, "AWS::KMS::Key")["KeyPolicy"],
        only(alarms, "AWS::SNS::TopicPolicy")["PolicyDocument"],
    ]
    for document in documents:
        accounts = [
            statement.get("Condition", {}).get("StringEquals", {}).get("aws:SourceAccount")
            for statement in document["Statement"]
            if statement["Principal"] == {"Service": "cloudwatch.amazonaws.com"}
        ]
        breaches += differences("aws:SourceAccount of CloudWatch", accounts, [{"Ref": "AWS::AccountId"}])
    return breaches


@promise
def teardown_leaves_nothing(templates: Templates) -> list[str]:
    """Nothing is retained, and what must be empty to be deleted is emptied first."""
    breaches = []
    for stem, template in templates.items():
        for name, resource in template["Resources"].items():
            for policy in ("DeletionPolicy", "UpdateReplacePolicy"):
                if resource.get(policy, "Delete") != "Delete":
                    breaches.append(f"{stem}.{name} stays behind: {policy} is {resource[policy]}")
        for name in resources(template, "AWS::S3::Bucket"):
            emptied = [
                key
                # Signing keys are one object, which goes with their resource.
                for kind in ("Custom::Emptied", "Custom::SigningKeys")
                for key, properties in resources(template, kind).items()
                if properties.get("BucketName") == {"Ref": name}
            ]
            if not emptied:
                breaches.append(f"{stem}.{name} is never emptied")
    alb = templates["alb"]
    # Deletion runs backwards: load balancer, policy, emptying, bucket.
    chain = ["LoadBalancer", "AccessLogsPolicy", "AccessLogsEmptied", "AccessLogsBucket"]
    for later, earlier in itertools.pairwise(chain):
        if earlier not in dependencies(alb, later):
            breaches.append(f"{earlier} may be deleted before {later}")
    return breaches


@promise
def no_parameter_and_no_variable_is_a_secret(templates: Templates) -> list[str]:
    """A secret belongs in Secrets Manager and is passed by ARN."""
    secret = re.compile(r"secret|passw|token|credential|api_?key|private_?key", re.IGNORECASE)
    breaches = [
        f"{stem} has a parameter {name}"
        for stem, template in templates.items()
        for name in template["Parameters"]
        if secret.search(name) and not name.endswith("Arn")
    ]
    for stem, template in templates.items():
        for _, node in walk(template["Resources"]):
            if isinstance(node, dict) and {"Name", "Value"} <= set(node) and secret.search(str(node["Name"])):
                breaches.append(f"{stem} sets {node['Name']} in plain text")
    return breaches


# --- house rules ---


@promise
def sections_come_in_order(templates: Templates) -> list[str]:
    """The order every template keeps, so that a reader knows where to look."""
    return [
        breach
        for stem, template in templates.items()
        for breach in differences(
            stem, list(template), [section for section in SECTIONS if section in template]
        )
    ]


@promise
def conditions_read_as_questions(templates: Templates) -> list[str]:
    """Has… or Is…"""
    return [
        f"{stem} has a condition {name}"
        for stem, template in templates.items()
        for name in template.get("Conditions", {})
        if not re.match(r"(Has|Is)[A-Z]", name)
    ]


PLACES = {
    "a partition": re.compile(r"\barn:aws"),
    "a region": re.compile(r"\b(af|ap|ca|cn|eu|il|me|mx|sa|us)-(gov-)?[a-z]+-\d\b"),
    "an account": re.compile(r"\b\d{12}\b"),
    "a DNS suffix": re.compile(r"(?<!\w)[\w-]+\.amazonaws\.com"),
}
# Names of services, of endpoints and of prefix lists, which are the same in every partition.
NO_PLACE = re.compile(r"^[a-z-]+(\.elasticloadbalancing)?\.amazonaws\.com$|^com\.amazonaws\.")


def _asks_for_the_region(template: Template, path: tuple[str | int, ...]) -> bool:
    """Return whether the path leads into a condition of the form `!Equals [!Ref AWS::Region, <region>]`.

    Or to what a given certificate must look like: CloudFront takes those of one region only.
    """
    if path[:2] == ("Parameters", "CertificateArn"):
        return True
    if path[0] != "Conditions" or path[2:3] != ("Fn::Equals",):
        return False
    return bool(template["Conditions"][path[1]]["Fn::Equals"][0] == {"Ref": "AWS::Region"})


@promise
def vpc_origin_zones_are_named_where_one_is_excluded(templates: Templates) -> list[str]:
    """Where CloudFront leaves a zone out, both zones are chosen by id, so that no account gets that zone."""
    network = templates["network"]
    excluded = {"apne1-az3", "cac1-az3", "use1-az3", "usw1-az2"}
    named = [
        {
            node
            for _, node in walk(subnet.get("AvailabilityZoneId", {}))
            if "-az" in str(node) and isinstance(node, str)
        }
        for name, subnet in resources(network, "AWS::EC2::Subnet").items()
        if name.startswith("Private")
    ]
    breaches = differences("regions with named zones", [len(zones) for zones in named], [len(excluded)] * 2)
    breaches += [f"zone {zone} can't hold a VPC origin" for zones in named for zone in zones & excluded]
    return breaches + [f"zone {zone} is used twice" for zone in set.intersection(*named)]


@promise
def nothing_is_tied_to_a_place(templates: Templates) -> list[str]:
    """No partition, region, account or DNS suffix, but in Mappings and where the region is asked for."""
    return [
        f"{stem}: {'.'.join(map(str, path))} names {what}"
        for stem, template in templates.items()
        for section in SECTIONS
        if section not in ("AWSTemplateFormatVersion", "Mappings")
        for path, node in walk(template.get(section, {}), (section,))
        if isinstance(node, str) and not NO_PLACE.match(node) and not _asks_for_the_region(template, path)
        for what, pattern in PLACES.items()
        if pattern.search(node)
    ]


NAMES = re.compile(
    r"^(Alarm|Bucket|Cluster|Dashboard|Function|Group|LoadBalancer|LogGroup|Repository|Role|Service|Topic)Name$|^Family$"
)


@promise
def names_come_from_the_stack(templates: Templates) -> list[str]:
    """CloudFormation makes the names, so that two stacks never collide."""
    return [
        f"{stem}.{name} has a fixed {key}"
        for stem, template in templates.items()
        for name, properties in resources(template, "AWS::*").items()
        for key in properties
        if NAMES.match(key)
        # These name what is there already.
        and template["Resources"][name]["Type"] not in ("AWS::EC2::VPCEndpoint", "AWS::Lambda::Permission")
    ]
