"""What the templates promise of logs, alarms, dashboard and deployments."""

import itertools
import re
from typing import Any

from local_cloud.cloudformation.resource_schemas import schema_of
from tests.infrastructure.cloudformation import (
    Templates,
    all_resources,
    dependencies,
    get_att,
    resources,
    walk,
)
from tests.infrastructure.promises.registry import containers, differences, only, promise
from tests.infrastructure.promises.roles import statements_of


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
        if resources(template, "AWS::ECS::TaskDefinition"):
            for container in containers(templates):
                options = container.get("LogConfiguration", {}).get("Options", {})
                if options.get("awslogs-group", {}).get("Ref") not in groups:
                    breaches.append(f"{stem}'s {container['Name']} logs to a group nobody cleans up")
    return breaches


ALARM, COMPOSITE = "AWS::CloudWatch::Alarm", "AWS::CloudWatch::CompositeAlarm"
# What is wrong, in words, a sentence on where to look, and what to do.
ADVICE = re.compile(r"(?s)(?P<wrong>\S.{40,}?\.) (?P<look>Look at .{20,}\.) (?P<do>Do: .{20,}\.)")


def subs(node: Any) -> str:
    """Return all texts in a node, those in intrinsic functions too, one after another."""
    return " ".join(value for _, value in walk(node) if isinstance(value, str))


@promise
def alarms_say_what_is_wrong_where_to_look_and_what_to_do(templates: Templates) -> list[str]:
    """A message in the middle of the night has all three, and for which project and stage."""
    breaches = []
    for name, alarm in all_resources(templates, ALARM) + all_resources(templates, COMPOSITE):
        description = alarm.get("AlarmDescription", "")
        text = description.get("Fn::Sub", "") if isinstance(description, dict) else description
        if not ADVICE.fullmatch(text):
            breaches.append(f"{name} doesn't say what is wrong, where to look and what to do")
        if not {"${ProjectName}", "${Stage}"} <= set(re.findall(r"\$\{\w+\}", text)):
            breaches.append(f"{name} doesn't say whose alarm it is")
        # CloudWatch's limit, less what long names add.
        if len(text) > 1024 - 200:
            breaches.append(f"the description of {name} is longer than CloudWatch takes")
    return breaches


@promise
def alarms_decide_about_missing_data(templates: Templates) -> list[str]:
    """Never by default; and only metrics that always come, of tasks and of a schedule, may be missed."""
    breaches = []
    for name, alarm in all_resources(templates, ALARM):
        running, scheduled = "ECS/ContainerInsights", "AWS/Lambda"
        always = alarm.get("Namespace") in (running, scheduled)
        expected = "breaching" if always else "notBreaching"
        breaches += differences(f"TreatMissingData of {name}", alarm.get("TreatMissingData"), expected)
    return breaches


@promise
def single_alarms_page_by_way_of_others(templates: Templates) -> list[str]:
    """None has an action; each is in the rule of one that pages, or named to ECS, which rolls back on it."""
    breaches = []
    for name, alarm in all_resources(templates, ALARM):
        for key in ("AlarmActions", "OKActions", "InsufficientDataActions"):
            breaches += differences(f"{key} of {name}", alarm.get(key), None)
    rules = " ".join(subs(alarm["AlarmRule"]) for alarm in resources(templates["alarms"], COMPOSITE).values())
    for name in resources(templates["alarms"], ALARM):
        if f'ALARM("${{{name}}}")' not in rules:
            breaches.append(f"alarms.{name} pages nobody")
    named = templates["rollback-alarms"]["Outputs"]["AlarmNames"]["Value"]
    (separator, names) = named["Fn::Join"]
    breaches += differences("separator of AlarmNames", separator, ",")
    expected = [{"Ref": name} for name in resources(templates["rollback-alarms"], ALARM)]
    return breaches + differences("AlarmNames", names, expected)


@promise
def composite_alarms_page_and_say_when_it_is_over(templates: Templates) -> list[str]:
    """Both ways to the topic, and switched on."""
    breaches = []
    for name, alarm in all_resources(templates, COMPOSITE):
        for key in ("AlarmActions", "OKActions"):
            breaches += differences(f"{key} of {name}", alarm.get(key), [{"Ref": "TopicArn"}])
        breaches += differences(f"ActionsEnabled of {name}", alarm.get("ActionsEnabled"), True)
    return breaches


@promise
def rules_name_alarms_only_where_they_exist(templates: Templates) -> list[str]:
    """An alarm with a condition is in a rule under that condition: a rule with an unknown name is refused."""
    template = templates["alarms"]
    breaches = []
    for name in resources(template, ALARM):
        condition = template["Resources"][name].get("Condition")
        for composite, alarm in resources(template, COMPOSITE).items():
            for path, text in walk(alarm["AlarmRule"]):
                if not isinstance(text, str) or f"${{{name}}}" not in text:
                    continue
                asked = alarm["AlarmRule"]
                for part in path:
                    if isinstance(asked, dict) and "Fn::If" in asked:
                        break
                    asked = asked[part]
                found = asked["Fn::If"][0] if isinstance(asked, dict) and "Fn::If" in asked else None
                breaches += differences(f"condition of {name} in {composite}", found, condition)
    return breaches


@promise
def nobody_is_rolled_back_by_an_alarm_that_needs_the_service(templates: Templates) -> list[str]:
    """The service names these alarms, so they may know the load balancer only."""
    known = set(templates["rollback-alarms"]["Parameters"])
    expected = {"ProjectName", "Stage", "LoadBalancerFullName", "LatencyAlarmSeconds"}
    return differences("what the rollback alarms know", known, expected)


@promise
def every_alarm_is_on_the_dashboard(templates: Templates) -> list[str]:
    """By the ARNs that the dashboard is given."""
    breaches = []
    for stem, kind, output in (
        ("alarms", COMPOSITE, "PagingAlarmArns"),
        ("alarms", ALARM, "AlarmArns"),
        ("rollback-alarms", ALARM, "AlarmArns"),
    ):
        value = templates[stem]["Outputs"][output]["Value"]
        found = {target.removesuffix(".Arn") for _, node in walk(value) if (target := get_att(node))}
        found |= set(re.findall(r"\$\{(\w+)\.Arn\}", subs(value)))
        breaches += differences(f"{stem}.{output}", found, set(resources(templates[stem], kind)))
    return breaches


@promise
def metrics_from_log_lines_have_no_dimensions(templates: Templates) -> list[str]:
    """A field that clients fill would make metrics without end, each of which costs."""
    breaches = []
    for name, log_filter in all_resources(templates, "AWS::Logs::MetricFilter"):
        breaches += differences(f"log group of {name}", log_filter["LogGroupName"], {"Ref": "LogGroupName"})
        for transformation in log_filter["MetricTransformations"]:
            breaches += differences(f"dimensions of {name}", transformation.get("Dimensions"), None)
    return breaches


@promise
def a_failed_deployment_is_told_and_counted(templates: Templates) -> list[str]:
    """ECS's event goes to the topic, and an alarm counts it; another one counts what didn't get there."""
    rule = only(templates["notification"], "AWS::Events::Rule")
    pattern = rule["EventPattern"]
    breaches = differences("events", pattern["detail"].get("eventName"), ["SERVICE_DEPLOYMENT_FAILED"])
    if "service/${ClusterName}/${ServiceName}" not in subs(pattern.get("resources", "")):
        breaches.append("the rule hears of other services too")
    targets = [(target["Arn"], get_att(target.get("RoleArn"))) for target in rule["Targets"]]
    breaches += differences("targets", targets, [({"Ref": "Topic"}, "DeploymentFailureRole.Arn")])
    counted = {
        alarm["MetricName"]
        for alarm in resources(templates["alarms"], ALARM).values()
        if {"Name": "RuleName", "Value": {"Ref": "DeploymentFailureRuleName"}} in alarm.get("Dimensions", [])
    }
    return breaches + differences("counted", counted, {"TriggeredRules", "FailedInvocations"})


@promise
def undelivered_alerts_are_noticed(templates: Templates) -> list[str]:
    """An alarm on the topic's own failures."""
    watched = [
        alarm["Dimensions"]
        for alarm in resources(templates["alarms"], ALARM).values()
        if alarm.get("MetricName") == "NumberOfNotificationsFailed"
    ]
    topic = {"Name": "TopicName", "Value": {"Ref": "TopicName"}}
    return differences("topics watched", watched, [[topic]])


@promise
def saved_queries_are_in_the_stacks_own_folder(templates: Templates) -> list[str]:
    """And over the server's log group."""
    breaches = []
    for name, query in all_resources(templates, "AWS::Logs::QueryDefinition"):
        breaches += differences(
            f"log groups of {name}", query.get("LogGroupNames"), [{"Ref": "LogGroupName"}]
        )
        if "${Folder}/" not in subs(query["Name"]) or "AWS::StackName" not in subs(query["Name"]):
            breaches.append(f"{name} lies among the queries of other stacks")
    return breaches


@promise
def the_alarm_topic_is_encrypted_and_reachable(templates: Templates) -> list[str]:
    """CloudWatch needs the right to publish and the right to use the key, for this account's alarms only."""
    template = templates["notification"]
    key = get_att(only(template, "AWS::SNS::Topic").get("KmsMasterKeyId"))
    breaches = differences("key of the topic", key, "TopicKey.Arn")
    documents = [
        only(template, "AWS::KMS::Key")["KeyPolicy"],
        only(template, "AWS::SNS::TopicPolicy")["PolicyDocument"],
    ]
    source = {
        "Fn::Sub": "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:*",
    }
    expected = {
        "StringEquals": {"aws:SourceAccount": {"Ref": "AWS::AccountId"}},
        "ArnLike": {"aws:SourceArn": source},
    }
    for document in documents:
        conditions = [
            (statement["Principal"]["Service"], statement.get("Condition"))
            for statement in document["Statement"]
            if "Service" in statement["Principal"]
        ]
        breaches += differences("who may use the topic", conditions, [("cloudwatch.amazonaws.com", expected)])
    granted = [
        (statement["Action"], statement["Resource"])
        for policy in resources(template, "AWS::IAM::Role")["DeploymentFailureRole"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
    ]
    return breaches + differences(
        "what EventBridge may do",
        granted,
        [
            ("sns:Publish", {"Ref": "Topic"}),
            (["kms:Decrypt", "kms:GenerateDataKey"], {"Fn::GetAtt": ["TopicKey", "Arn"]}),
        ],
    )


@promise
def logs_elsewhere_are_kept_as_long(templates: Templates) -> list[str]:
    """A custom resource that makes a log group in another region is told how long to keep it."""
    breaches = []
    for name, properties in all_resources(templates, "Custom::*"):
        there = templates[name.partition(".")[0]]["Resources"]
        function = there[str(get_att(properties["ServiceToken"])).removesuffix(".Arn")]
        role = there[str(get_att(function["Properties"]["Role"])).removesuffix(".Arn")]
        kept = {"Ref": "LogRetentionDays"} if "logs:CreateLogGroup" in str(role) else None
        breaches += differences(f"LogRetentionDays of {name}", properties.get("LogRetentionDays"), kept)
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


# Log groups, secrets, build artefacts and variables of functions are encrypted by their services in any case.
ENCRYPTION = {
    "AWS::ECR::Repository": "EncryptionConfiguration",
    "AWS::KMS::Key": "EnableKeyRotation",
    "AWS::S3::Bucket": "BucketEncryption",
    "AWS::SNS::Topic": "KmsMasterKeyId",
}


@promise
def what_is_stored_is_encrypted(templates: Templates) -> list[str]:
    """Buckets, images and messages are encrypted, keys rotate, and no bucket speaks plain HTTP."""
    breaches = [
        f"{name} has no {key}"
        for kind, key in ENCRYPTION.items()
        for name, properties in all_resources(templates, kind)
        if not properties.get(key)
    ]
    for name, queue in all_resources(templates, "AWS::SQS::Queue"):
        if not queue.get("KmsMasterKeyId") and queue.get("SqsManagedSseEnabled") is not True:
            breaches.append(f"{name} keeps messages in plain text")
    for stem, template in templates.items():
        guarded = [
            policy["Bucket"]["Ref"]
            for policy in resources(template, "AWS::S3::BucketPolicy").values()
            for statement in statements_of(policy["PolicyDocument"])
            if statement["Effect"] == "Deny"
            and statement.get("Condition") == {"Bool": {"aws:SecureTransport": "false"}}
        ]
        buckets = resources(template, "AWS::S3::Bucket")
        breaches += [f"{stem}.{name} answers plain HTTP" for name in buckets if name not in guarded]
    return breaches


# What a deploy changes day by day.
EVERYDAY = {
    *("ArtifactPrefix", "ImageUri", "ImageDigest"),
    *("DesiredCount", "MaxCount", "Cpu", "Memory", "LogLevel", "LogRetentionDays"),
    *("RateLimit", "AllowedCountries", "BlockedCountries", "SmokeTestCall"),
}
# Revisions are never changed: a new one takes the old one's place.
REVISIONS = {"AWS::ECS::TaskDefinition"}


@promise
def everyday_changes_replace_nothing(templates: Templates) -> list[str]:
    """No property that CloudFormation can't change in place depends on image, scale, retention or limits."""
    breaches = []
    for stem, template in templates.items():
        for name, resource in template["Resources"].items():
            schema = schema_of(resource["Type"], "us-east-1")
            if schema is None or resource["Type"] in REVISIONS:
                continue  # a custom resource decides for itself
            fixed = {path.split("/")[2] for path in schema.get("createOnlyProperties", [])}
            for key in fixed & resource.get("Properties", {}).keys():
                used = {
                    node.get("Ref") for _, node in walk(resource["Properties"][key]) if isinstance(node, dict)
                }
                breaches += [f"{parameter} replaces {stem}.{name} by {key}" for parameter in used & EVERYDAY]
    return sorted(breaches)


@promise
def the_stack_tells_its_version(templates: Templates) -> list[str]:
    """The root's TemplateVersion is the bundle's prefix, which holds the hash of all that was deployed."""
    version = templates["main"]["Outputs"].get("TemplateVersion", {}).get("Value")
    return differences("TemplateVersion", version, {"Ref": "ArtifactPrefix"})


TAGS: list[dict[str, Any]] = [
    {"Key": "Project", "Value": {"Ref": "ProjectName"}},
    {"Key": "Stage", "Value": {"Ref": "Stage"}},
]


@promise
def everything_carries_project_and_stage(templates: Templates) -> list[str]:
    """CloudFormation gives a stack's tags to all its resources, and the service its own to its tasks."""
    breaches = []
    for name, stack in resources(templates["main"], "AWS::CloudFormation::Stack").items():
        breaches += differences(f"tags of {name}", stack.get("Tags"), TAGS)
    for name, service in all_resources(templates, "AWS::ECS::Service"):
        breaches += differences(f"PropagateTags of {name}", service.get("PropagateTags"), "SERVICE")
    for name, resource in all_resources(templates, "AWS::*"):
        own = resource.get("Tags", [])
        keys = {tag["Key"] for tag in own} if isinstance(own, list) else set(own)
        if keys & {"Project", "Stage"} and not name.startswith("main."):
            breaches.append(f"{name} overrides a tag of its stack")
    return breaches


# Types that make nothing with tags of its own, and why.
WITHOUT_TAGS = {
    "Custom::ClientSecret": "fills a secret of the stack's",
    "Custom::ContainerImage": "images in a repository have no tags of this kind",
    "Custom::Emptied": "makes nothing",
    "Custom::GatewayTarget": "targets have no tags",
    "Custom::ManagedPrefixList": "makes nothing",
    "Custom::SigningKeys": "writes an object in a bucket of the stack's",
    "Custom::ToolCall": "makes nothing",
}


@promise
def what_custom_resources_make_carries_project_and_stage(templates: Templates) -> list[str]:
    """CloudFormation tags only what it makes itself; a custom resource is told the tags, from the root on."""
    breaches = []
    for name, properties in all_resources(templates, "Custom::*"):
        stem, _, logical_id = name.partition(".")
        if templates[stem]["Resources"][logical_id]["Type"] in WITHOUT_TAGS:
            continue
        breaches += differences(f"tags of {name}", properties.get("Tags"), TAGS)
        for child, stack in resources(templates["main"], "AWS::CloudFormation::Stack").items():
            if stack["TemplateURL"]["Fn::Sub"].endswith(f"/{stem}.yaml"):
                for tag in TAGS:
                    parameter = tag["Value"]["Ref"]
                    passed = stack["Parameters"].get(parameter)
                    breaches += differences(f"{parameter} of {child}", passed, tag["Value"])
    return breaches


@promise
def no_parameter_and_no_variable_is_a_secret(templates: Templates) -> list[str]:
    """A secret belongs in Secrets Manager and is passed by ARN."""
    secret = re.compile(r"secret|passw|token|credential|api_?key|private_?key", re.IGNORECASE)
    breaches = [
        f"{stem} has a parameter {name}"
        for stem, template in templates.items()
        for name in template["Parameters"]
        if secret.search(name) and not name.endswith(("Arn", "Arns"))
    ]
    for stem, template in templates.items():
        for _, node in walk(template["Resources"]):
            if isinstance(node, dict) and {"Name", "Value"} <= set(node) and secret.search(str(node["Name"])):
                breaches.append(f"{stem} sets {node['Name']} in plain text")
    return breaches
