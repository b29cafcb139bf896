"""What the templates promise of image, task and service."""

import re

from tests.infrastructure.cloudformation import (
    Templates,
    all_resources,
    get_att,
    resources,
    walk,
)
from tests.infrastructure.promises.registry import (
    HEALTH_PATH,
    SERVER_PORT,
    containers,
    differences,
    only,
    promise,
    target_groups,
)


@promise
def one_health_path_and_one_port(templates: Templates) -> list[str]:
    """Load balancer and container check the path the server serves, on the port it listens on."""
    container, *_ = containers(templates)
    (registered,) = only(templates["fargate"], "AWS::ECS::Service")["LoadBalancers"]
    environment = {entry["Name"]: entry["Value"] for entry in container["Environment"] if "Name" in entry}
    checked = re.search(r"http://127\.0\.0\.1:(\d+)(/[^']*)'", " ".join(container["HealthCheck"]["Command"]))
    breaches = []
    for name, group in target_groups(templates).items():
        breaches += differences(f"health path of {name}", group.get("HealthCheckPath"), HEALTH_PATH)
        breaches += differences(f"port of {name}", group["Port"], SERVER_PORT)
    return (
        breaches
        + differences(
            "health check of the container", checked and checked.groups(), (str(SERVER_PORT), HEALTH_PATH)
        )
        + differences("port of the container", container["PortMappings"][0]["ContainerPort"], SERVER_PORT)
        + differences("registered port", registered["ContainerPort"], SERVER_PORT)
        + differences("registered container", registered["ContainerName"], container["Name"])
        + differences("PORT", environment.get("PORT"), str(SERVER_PORT))
        + differences("HOST", environment.get("HOST"), "0.0.0.0")  # noqa: S104
    )


@promise
def the_container_is_locked_down(templates: Templates) -> list[str]:
    """Read-only root, no root user, an init process, and time to drain."""
    container, *_ = containers(templates)
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
    container, *_ = containers(templates)
    environment = {entry["Name"]: entry["Value"] for entry in container["Environment"] if "Name" in entry}
    grace = int(environment.get("SHUTDOWN_GRACE_SECONDS", 0))
    stop_timeout = int(container.get("StopTimeout", 30))
    if 0 < grace <= stop_timeout - 5:
        return []
    return [f"SHUTDOWN_GRACE_SECONDS is {grace}, not well below the StopTimeout of {stop_timeout} s"]


@promise
def a_failed_deployment_goes_back(templates: Templates) -> list[str]:
    """New tasks come up beside the old ones; one that fails or sets an alarm off is rolled back."""
    deployment = only(templates["fargate"], "AWS::ECS::Service").get("DeploymentConfiguration", {})
    none = {"Ref": "AWS::NoValue"}
    breaker = {"Fn::If": ["IsBlueGreen", none, {"Enable": True, "Rollback": True}]}
    names = {"Fn::Split": [",", {"Ref": "RollbackAlarmNames"}]}
    alarms = {"AlarmNames": names, "Enable": True, "Rollback": True}
    alarms = {"Fn::If": ["HasRollbackAlarms", alarms, none]}
    return (
        differences("circuit breaker", deployment.get("DeploymentCircuitBreaker"), breaker)
        + differences("alarms", deployment.get("Alarms"), alarms)
        + differences("MinimumHealthyPercent", deployment.get("MinimumHealthyPercent"), 100)
        + differences("MaximumPercent", deployment.get("MaximumPercent"), 200)
    )


@promise
def a_new_version_is_tried_before_anybody_calls_it(templates: Templates) -> list[str]:
    """Blue/green asks the smoke test when the test listener leads to the new tasks; silence is a no."""
    deployment = only(templates["fargate"], "AWS::ECS::Service").get("DeploymentConfiguration", {})
    condition, hooks, otherwise = deployment.get("LifecycleHooks", {}).get("Fn::If", [None, [{}], None])
    (hook,) = hooks
    passed = templates["main"]["Resources"]["Fargate"]["Properties"]["Parameters"]
    given = [passed[name] for name in ("SmokeTestFunctionArn", "SmokeTestRoleArn")]
    expected = [
        {"Fn::If": ["IsBlueGreen", {"Fn::GetAtt": ["SmokeTest", f"Outputs.{name}"]}, ""]}
        for name in ("FunctionArn", "RoleArn")
    ]
    return (
        differences("strategy", deployment.get("Strategy"), {"Ref": "Strategy"})
        + differences("when", condition, "IsBlueGreen")
        + differences("otherwise", otherwise, {"Ref": "AWS::NoValue"})
        + differences("stages", hook.get("LifecycleStages"), ["POST_TEST_TRAFFIC_SHIFT"])
        + differences("function", hook.get("HookTargetArn"), {"Ref": "SmokeTestFunctionArn"})
        + differences("role", hook.get("RoleArn"), {"Ref": "SmokeTestRoleArn"})
        + differences("silence", hook.get("TimeoutConfiguration", {}).get("Action"), "ROLLBACK")
        + differences("what is passed", given, expected)
    )


@promise
def listener_rules_are_ecss_to_rewrite(templates: Templates) -> list[str]:
    """No rule is CloudFormation's own, and the service names both of those that ECS moves the traffic by."""
    breaches = [
        f"{name} would write its own weights over those of ECS"
        for name, _ in all_resources(templates, "AWS::ElasticLoadBalancingV2::ListenerRule")
    ]
    alb = templates["alb"]
    listeners = {"Fn::If": ["HasCertificate", {"Ref": "HttpsListener"}, {"Ref": "HttpListener"}]}
    rules = resources(alb, "Custom::ListenerRule")
    for name, listener in {"ProductionRule": listeners, "TestRule": {"Ref": "TestListener"}}.items():
        rule = rules.get(name, {})
        breaches += differences(f"listener of {name}", rule.get("ListenerArn"), listener)
        groups = [rule.get("BlueTargetGroupArn"), rule.get("GreenTargetGroupArn")]
        expected = [{"Ref": "BlueTargetGroup"}, {"Ref": "GreenTargetGroup"}]
        breaches += differences(f"groups of {name}", groups, expected)
    (registered,) = only(templates["fargate"], "AWS::ECS::Service")["LoadBalancers"]
    advanced = registered.get("AdvancedConfiguration", {})
    named = {
        "TargetGroupArn": "BlueTargetGroupArn",
        "AlternateTargetGroupArn": "GreenTargetGroupArn",
        "ProductionListenerRule": "ProductionRuleArn",
        "TestListenerRule": "TestRuleArn",
    }
    passed = templates["main"]["Resources"]["Fargate"]["Properties"]["Parameters"]
    for key, parameter in named.items():
        breaches += differences(key, {**registered, **advanced}.get(key), {"Ref": parameter})
        breaches += differences(parameter, get_att(passed.get(parameter)), f"Alb.Outputs.{parameter}")
    return breaches


@promise
def both_target_groups_are_alike(templates: Templates) -> list[str]:
    """Every deployment changes which of them serves, so a difference would come and go."""
    groups = target_groups(templates)
    return differences("GreenTargetGroup", groups.get("GreenTargetGroup"), groups.get("BlueTargetGroup"))


@promise
def nobody_gets_a_shell_in_a_task(templates: Templates) -> list[str]:
    """ECS Exec is off, and said to be."""
    service = only(templates["fargate"], "AWS::ECS::Service")
    return differences("EnableExecuteCommand", service.get("EnableExecuteCommand"), False)


@promise
def the_service_scales_on_cpu_and_requests(templates: Templates) -> list[str]:
    """Target tracking on 60 % CPU and on the requests of each target, between DesiredCount and MaxCount."""
    fargate = templates["fargate"]
    target = only(fargate, "AWS::ApplicationAutoScaling::ScalableTarget")
    policies = resources(fargate, "AWS::ApplicationAutoScaling::ScalingPolicy")
    tracking = {name: policy["TargetTrackingScalingPolicyConfiguration"] for name, policy in policies.items()}
    cpu = tracking.get("CpuScalingPolicy", {})
    metric = cpu.get("PredefinedMetricSpecification", {}).get("PredefinedMetricType")
    queries = tracking.get("RequestsScalingPolicy", {}).get("CustomizedMetricSpecification", {})
    counted = []
    for query in queries.get("Metrics", []):
        measured = query.get("MetricStat", {}).get("Metric", {})
        if measured.get("MetricName") == "RequestCountPerTarget":
            counted += [one["Value"]["Ref"] for one in measured["Dimensions"] if one["Name"] == "TargetGroup"]
    return (
        differences("MinCapacity", target["MinCapacity"], {"Ref": "DesiredCount"})
        + differences("MaxCapacity", target["MaxCapacity"], {"Ref": "MaxCount"})
        + differences("metric", metric, "ECSServiceAverageCPUUtilization")
        + differences("CPU target", cpu.get("TargetValue"), 60)
        + differences(
            "groups whose requests count", counted, ["BlueTargetGroupFullName", "GreenTargetGroupFullName"]
        )
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
    container, *_ = containers(templates)
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


@promise
def a_trace_collector_is_pinned_and_hurts_no_server(templates: Templates) -> list[str]:
    """It takes spans on the task's own loopback, may end or hang without harm, and outlives the server."""
    server, *others = containers(templates)
    if [each["Name"] for each in others] != ["collector"]:
        return [f"beside the server there are {others}, not one collector"]
    (collector,) = others
    fargate, none = templates["fargate"], {"Ref": "AWS::NoValue"}
    (endpoint,) = [
        entry["Fn::If"][1]["Value"]
        for entry in server["Environment"]
        if entry.get("Fn::If", [""])[0] == "HasTracing"
    ]
    image = "${AWS::AccountId}.dkr.ecr.${AWS::Region}.${AWS::URLSuffix}/${TraceCollector}"
    after = {"Fn::If": ["HasTraceCollector", [{"ContainerName": "collector", "Condition": "START"}], none]}
    breaches = (
        differences("image of the collector", collector["Image"], {"Fn::Sub": image})
        + differences("Essential", collector.get("Essential"), False)
        + differences("ReadonlyRootFilesystem", collector.get("ReadonlyRootFilesystem"), True)
        + differences("Privileged", collector.get("Privileged", False), False)
        + differences("ports of the collector", collector.get("PortMappings", []), [])
        + differences("spans with a collector", endpoint["Fn::If"][1], "http://127.0.0.1:4318")
        + differences("what the server starts after", server.get("DependsOn"), after)
    )
    if not 0 < collector.get("Memory", 0) <= 256:
        breaches.append("the collector may take the server's memory")
    for stem in ("main", "fargate"):
        accepted = re.compile(templates[stem]["Parameters"]["TraceCollector"].get("AllowedPattern", ".*"))
        breaches += differences(f"a tag in {stem}", bool(accepted.search("collector:latest")), False)
    pulled = [
        node["Resource"]
        for _, node in walk(resources(fargate, "AWS::IAM::Role")["ExecutionRole"])
        if isinstance(node, dict) and "ecr:BatchGetImage" in node.get("Action", [])
    ]
    repository = {"Fn::Select": [0, {"Fn::Split": ["@", {"Ref": "TraceCollector"}]}]}
    arn = "arn:${AWS::Partition}:ecr:${AWS::Region}:${AWS::AccountId}:repository/"
    allowed = [
        {"Fn::Sub": f"{arn}${{RepositoryName}}"},
        {
            "Fn::If": [
                "HasTraceCollector",
                {"Fn::Sub": [f"{arn}${{CollectorRepository}}", {"CollectorRepository": repository}]},
                none,
            ]
        },
    ]
    return breaches + differences("repositories that may be pulled from", pulled, [allowed])
