"""What the templates promise of roles, policies and secrets."""

import json
from functools import cache
from importlib.resources import files
from typing import Any

from tests.infrastructure.cloudformation import (
    Templates,
    all_resources,
    get_att,
    resources,
    walk,
)
from tests.infrastructure.promises.registry import containers, differences, only, promise


def _trust(role: dict[str, Any]) -> list[dict[str, Any]]:
    return list(role["AssumeRolePolicyDocument"]["Statement"])


@promise
def the_two_task_roles_differ(templates: Templates) -> list[str]:
    """Execution role and task role are two roles, and only ECS tasks may take either."""
    fargate = templates["fargate"]
    task = only(fargate, "AWS::ECS::TaskDefinition")
    named = [get_att(task.get("ExecutionRoleArn")), get_att(task.get("TaskRoleArn"))]
    breaches = differences("roles of the task", named, ["ExecutionRole.Arn", "TaskRole.Arn"])
    roles = resources(fargate, "AWS::IAM::Role")
    for name in ("ExecutionRole", "TaskRole"):
        principals = [statement["Principal"] for statement in _trust(roles[name])]
        breaches += differences(f"trust of {name}", principals, [{"Service": "ecs-tasks.amazonaws.com"}])
    return breaches


def statements_of(document: Any) -> list[dict[str, Any]]:
    """Return the statements of a policy, or of several, those under a condition too."""
    return [node for _, node in walk(document) if isinstance(node, dict) and "Effect" in node]


def conditions_of(statement: dict[str, Any]) -> dict[str, Any]:
    """Return `{condition key: value}` of a statement, over all operators."""
    return {key: value for keys in statement.get("Condition", {}).values() for key, value in keys.items()}


def _roles_of_functions_in_a_vpc(templates: Templates) -> set[str]:
    return {
        f"{stem}.{str(get_att(function['Role'])).removesuffix('.Arn')}"
        for stem, template in templates.items()
        for function in resources(template, "AWS::Lambda::Function").values()
        if "VpcConfig" in function
    }


@promise
def ecs_moves_the_traffic_of_one_load_balancer(templates: Templates) -> list[str]:
    """The role for that is no task's, and what AWS's policy allows ends at two groups and two rules."""
    fargate = templates["fargate"]
    role = resources(fargate, "AWS::IAM::Role")["LoadBalancerRole"]
    principals = [statement["Principal"] for statement in _trust(role)]
    denied = [
        statement.get("NotResource")
        for policy in role.get("Policies", [])
        for statement in policy["PolicyDocument"]["Statement"]
        if statement["Effect"] == "Deny" and statement.get("NotAction") == "elasticloadbalancing:Describe*"
    ]
    here = [
        {"Ref": name}
        for name in ("BlueTargetGroupArn", "GreenTargetGroupArn", "ProductionRuleArn", "TestRuleArn")
    ]
    (registered,) = only(fargate, "AWS::ECS::Service")["LoadBalancers"]
    used = get_att(registered["AdvancedConfiguration"]["RoleArn"])
    return (
        differences("trust of LoadBalancerRole", principals, [{"Service": "ecs.amazonaws.com"}])
        + differences("the only place", denied, [here])
        + differences("role of the service", used, "LoadBalancerRole.Arn")
    )


@promise
def services_act_for_this_account_only(templates: Templates) -> list[str]:
    """Every service that takes a role must do so for this account, and most for one kind of resource."""
    breaches = []
    in_a_vpc = _roles_of_functions_in_a_vpc(templates)
    for name, role in all_resources(templates, "AWS::IAM::Role"):
        for statement in _trust(role):
            if statement["Principal"] == {"Service": "ecs.amazonaws.com"}:
                # As AWS documents both of these roles; a role is passed to services of its own account only.
                # https://docs.aws.amazon.com/AmazonECS/latest/developerguide/blue-green-permissions.html
                continue
            conditions = conditions_of(statement)
            if name in in_a_vpc:
                # While Lambda prepares a VPC it names no source, and creating the function fails:
                # https://github.com/aws/aws-parallelcluster/pull/6926
                breaches += differences(f"conditions on the trust of {name}", conditions, {})
                continue
            account = conditions.get("aws:SourceAccount")
            breaches += differences(f"aws:SourceAccount of {name}", account, {"Ref": "AWS::AccountId"})
            # A function's ARN holds its name, which CloudFormation makes up after the role.
            if statement["Principal"] != {"Service": "lambda.amazonaws.com"} and (
                "aws:SourceArn" not in statement.get("Condition", {}).get("ArnLike", {})
            ):
                breaches.append(f"{name} doesn't name aws:SourceArn")
    return breaches


RESOURCE_POLICIES = {
    "AWS::KMS::Key": "KeyPolicy",
    "AWS::S3::BucketPolicy": "PolicyDocument",
    "AWS::SNS::TopicPolicy": "PolicyDocument",
    "AWS::SQS::QueuePolicy": "PolicyDocument",
}
# Services that name no account when they use a resource.
WITHOUT_A_SOURCE = {
    # Its guide has no such condition; it writes each account's logs under that account's own key.
    # https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
    ("AWS::S3::BucketPolicy", "logdelivery.elasticloadbalancing.amazonaws.com"),
}


@promise
def services_use_our_resources_for_this_account_only(templates: Templates) -> list[str]:
    """What a policy of a bucket, key, topic, queue or function lets a service do, it may do for us alone."""
    account = {"Ref": "AWS::AccountId"}
    breaches = []
    for kind, document in RESOURCE_POLICIES.items():
        for name, resource in all_resources(templates, kind):
            for statement in statements_of(resource[document]):
                principal = statement["Principal"]
                service = principal.get("Service") if isinstance(principal, dict) else None
                if statement["Effect"] != "Allow" or service is None:
                    continue
                if (kind, service) in WITHOUT_A_SOURCE:
                    if "AWS::AccountId" not in str(statement["Resource"]):
                        breaches.append(f"{name} lets {service} write for any account")
                    continue
                source = conditions_of(statement).get("aws:SourceAccount")
                breaches += differences(f"aws:SourceAccount of {service} in {name}", source, account)
    for name, permission in all_resources(templates, "AWS::Lambda::Permission"):
        breaches += differences(f"SourceAccount of {name}", permission.get("SourceAccount"), account)
        if "SourceArn" not in permission:
            breaches.append(f"{name} doesn't name what may invoke the function")
    return breaches


@promise
def every_role_keeps_within_the_boundary(templates: Templates) -> list[str]:
    """One parameter of the root reaches every role there is."""
    bounded = {"Fn::If": ["HasPermissionsBoundary", {"Ref": "PermissionsBoundary"}, {"Ref": "AWS::NoValue"}]}
    breaches = [
        breach
        for name, role in all_resources(templates, "AWS::IAM::Role")
        for breach in differences(f"boundary of {name}", role.get("PermissionsBoundary"), bounded)
    ]
    for name, resource in templates["main"]["Resources"].items():
        stem = resource["Properties"]["TemplateURL"]["Fn::Sub"].rpartition("/")[2].removesuffix(".yaml")
        if resources(templates[stem], "AWS::IAM::Role"):
            passed = resource["Properties"]["Parameters"].get("PermissionsBoundary")
            breaches += differences(f"boundary passed to {name}", passed, {"Ref": "PermissionsBoundary"})
    return breaches


@cache
def _service_authorization() -> dict[str, Any]:
    """Return AWS's service authorization reference, as cfn-lint carries it: `{service: {"Actions": …}}`."""
    data = files("cfnlint") / "data" / "AdditionalSpecs" / "Policies.json"
    return dict(json.loads(data.read_text(encoding="utf-8")))


def knows_no_resources(action: str) -> bool:
    """Whether an IAM action can only be allowed on `*`; an unknown action counts as one that knows some."""
    service, _, name = action.partition(":")
    known = _service_authorization().get(service, {}).get("Actions", {})
    return name.lower() in known and "Resources" not in known[name.lower()]


# What Lambda asks for on everything before it connects a function to a network.
# https://docs.aws.amazon.com/lambda/latest/dg/configuration-vpc.html
OF_A_NETWORK = {
    "ec2:AssignPrivateIpAddresses",
    "ec2:CreateNetworkInterface",
    "ec2:DeleteNetworkInterface",
    "ec2:DescribeNetworkInterfaces",
    "ec2:DescribeSubnets",
    "ec2:UnassignPrivateIpAddresses",
}
# Policies of AWS's own, each with a Deny beside it that says where it ends.
MANAGED_POLICIES = {"arn:${AWS::Partition}:iam::aws:policy/AmazonECSInfrastructureRolePolicyForLoadBalancers"}


@promise
def roles_grant_no_more_than_is_named(templates: Templates) -> list[str]:
    """No action is a wildcard, and only actions that know no resources are granted on all of them."""
    breaches = []
    for name, role in all_resources(templates, "AWS::IAM::Role"):
        statements = list(statements_of(role.get("Policies", [])))
        effects = {node["Effect"] for node in statements}
        for policy in role.get("ManagedPolicyArns", []):
            if policy.get("Fn::Sub") not in MANAGED_POLICIES or "Deny" not in effects:
                breaches.append(f"{name} takes permissions from a managed policy")
        for node in statements:
            if node["Effect"] != "Allow":
                continue
            actions = [node["Action"]] if isinstance(node["Action"], str) else node["Action"]
            if any("*" in action for action in actions):
                breaches.append(f"{name} allows {actions}")
            if set(actions) <= OF_A_NETWORK and "Deny" in effects:
                continue
            named = [action for action in actions if not knows_no_resources(action)]
            if "*" in (node["Resource"], *node["Resource"]) and named:
                breaches.append(f"{name} allows {named} on everything")
    return breaches


@promise
def the_probe_of_a_new_version_has_no_permissions_to_use(templates: Templates) -> list[str]:
    """Lambda connects it to the network; its own code may do nothing but reach the test listener."""
    role = resources(templates["smoke-test"], "AWS::IAM::Role")["ProbeRole"]
    statements = [
        statement for policy in role["Policies"] for statement in policy["PolicyDocument"]["Statement"]
    ]
    allowed = {action for one in statements if one["Effect"] == "Allow" for action in one["Action"]}
    denied = [(one["Action"], one.get("Condition")) for one in statements if one["Effect"] == "Deny"]
    of_code = ("ec2:*", {"Null": {"lambda:SourceFunctionArn": "false"}})
    return differences(
        "what is allowed", allowed, OF_A_NETWORK | {"logs:CreateLogStream", "logs:PutLogEvents"}
    ) + differences("what its code is denied", denied, [of_code])


@promise
def the_task_may_do_what_it_was_asked_to_alone(templates: Templates) -> list[str]:
    """Without a knowledge base and without tracing the task role has no permission at all."""
    policies = resources(templates["fargate"], "AWS::IAM::Role")["TaskRole"].get("Policies", [])
    granted = {}
    for policy in policies:
        if set(policy) != {"Fn::If"} or policy["Fn::If"][2] != {"Ref": "AWS::NoValue"}:
            return ["TaskRole has a policy without a condition"]
        condition, given, _ = policy["Fn::If"]
        for statement in given["PolicyDocument"]["Statement"]:
            granted[condition, statement["Action"]] = statement["Resource"]
    expected = {("HasKnowledgeBase", "bedrock:Retrieve"), ("HasTracing", "xray:PutTraceSegments")}
    breaches = differences("permissions of the task", set(granted), expected)
    asked = granted.get(("HasKnowledgeBase", "bedrock:Retrieve"), {})
    if not str(asked.get("Fn::Sub", "")).endswith(":knowledge-base/${KnowledgeBaseId}"):
        breaches.append("TaskRole may ask other knowledge bases")
    return breaches


@promise
def ecs_reads_the_given_secrets_and_no_others(templates: Templates) -> list[str]:
    """Each place of SecretArns is a variable of the container and one of what the execution role may read."""
    fargate = templates["fargate"]
    container, *_ = containers(templates)
    none = {"Ref": "AWS::NoValue"}
    breaches, values = [], []
    for place, entry in enumerate(container.get("Secrets", [])):
        item = {"Fn::Select": [place, {"Ref": "SecretArns"}]}
        name, value = ({"Fn::Select": [part, {"Fn::Split": ["=", item]}]} for part in (0, 1))
        expected = {"Fn::If": [f"HasSecret{place + 1}", {"Name": name, "ValueFrom": value}, none]}
        breaches += differences(f"secret {place + 1}", entry, expected)
        none_given: dict[str, Any] = {"Fn::Equals": [item, "-"]}
        if not place:
            none_given = {"Fn::Or": [{"Fn::Equals": [item, ""]}, none_given]}
        given = {"Fn::Not": [none_given]}
        condition = fargate["Conditions"].get(f"HasSecret{place + 1}")
        breaches += differences(f"HasSecret{place + 1}", condition, given)
        # The first is there, or the whole policy isn't.
        values.append({"Fn::If": [f"HasSecret{place + 1}", value, none]} if place else value)
    breaches += differences("secrets", len(values), 5)
    passed = templates["main"]["Resources"]["Fargate"]["Properties"]["Parameters"].get("SecretArns")
    breaches += differences("SecretArns passed", passed, {"Fn::Sub": "${SecretArns},-,-,-,-,-"})
    policies = resources(fargate, "AWS::IAM::Role")["ExecutionRole"]["Policies"]
    conditions = [policy["Fn::If"][0] for policy in policies if "Fn::If" in policy]
    breaches += differences("conditions of the role", conditions, ["HasSecret1"])
    read = [
        node["Resource"]
        for _, node in walk(policies)
        if isinstance(node, dict) and "secretsmanager:GetSecretValue" in node.get("Action", [])
    ]
    return breaches + differences("what may be read", read, [values])
