"""What AWS publishes: the metrics that the templates look at, with their documented dimensions."""

from __future__ import annotations

from dataclasses import dataclass

_BALANCER = frozenset({"LoadBalancer"})
_GROUP = frozenset({"LoadBalancer", "TargetGroup"})


@dataclass(frozen=True)
class Namespace:
    """Metrics of one service.

    Attributes:
        source: the page that lists them.
        metrics: for each the sets of dimensions under which it is published.

    """

    source: str
    metrics: dict[str, tuple[frozenset[str], ...]]


PUBLISHED = {
    "AWS/ApplicationELB": Namespace(
        "https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-cloudwatch-metrics.html",
        {
            "ActiveConnectionCount": (_BALANCER,),
            "HTTPCode_ELB_5XX_Count": (_BALANCER,),
            "HTTPCode_Target_4XX_Count": (_BALANCER, _GROUP),
            "HTTPCode_Target_5XX_Count": (_BALANCER, _GROUP),
            "HealthyHostCount": (_GROUP,),
            "RejectedConnectionCount": (_BALANCER,),
            "RequestCount": (_BALANCER, _GROUP),
            "TargetResponseTime": (_BALANCER, _GROUP),
            "UnHealthyHostCount": (_GROUP,),
        },
    ),
    "AWS/ECS": Namespace(
        "https://docs.aws.amazon.com/AmazonECS/latest/developerguide/available-metrics.html",
        dict.fromkeys(
            ("CPUUtilization", "MemoryUtilization"),
            (frozenset({"ClusterName"}), frozenset({"ClusterName", "ServiceName"})),
        ),
    ),
    "ECS/ContainerInsights": Namespace(
        "https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Container-Insights-metrics-ECS.html",
        dict.fromkeys(
            ("DesiredTaskCount", "PendingTaskCount", "RunningTaskCount"),
            (frozenset({"ClusterName", "ServiceName"}),),
        ),
    ),
    "AWS/CloudFront": Namespace(
        "https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/programming-cloudwatch-metrics.html",
        dict.fromkeys(
            ("4xxErrorRate", "5xxErrorRate", "Requests"), (frozenset({"DistributionId", "Region"}),)
        ),
    ),
    "AWS/Bedrock-AgentCore": Namespace(
        "https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/observability-gateway-metrics.html",
        dict.fromkeys(
            (
                "Invocations",
                "Latency",
                "SystemErrors",
                "TargetExecutionTime",
                "Throttles",
                "UserErrors",
            ),
            (frozenset({"Operation", "Protocol", "Method", "Resource", "Name"}),),
        ),
    ),
    "AWS/Lambda": Namespace(
        "https://docs.aws.amazon.com/lambda/latest/dg/monitoring-metrics-types.html",
        {"Errors": (frozenset({"FunctionName"}),)},
    ),
    "AWS/Events": Namespace(
        "https://docs.aws.amazon.com/eventbridge/latest/userguide/eb-monitoring.html",
        dict.fromkeys(("FailedInvocations", "TriggeredRules"), (frozenset({"RuleName"}),)),
    ),
    "AWS/SNS": Namespace(
        "https://docs.aws.amazon.com/sns/latest/dg/sns-monitoring-using-cloudwatch.html",
        {"NumberOfNotificationsFailed": (frozenset({"TopicName"}),)},
    ),
}

# What gives a dimension its value: the type of a resource, and its attribute, or "Ref".
DIMENSIONS = {
    "ClusterName": ("AWS::ECS::Cluster", "Ref"),
    "DistributionId": ("AWS::CloudFront::Distribution", "Ref"),
    "FunctionName": ("AWS::Lambda::Function", "Ref"),
    "LoadBalancer": ("AWS::ElasticLoadBalancingV2::LoadBalancer", "LoadBalancerFullName"),
    "RuleName": ("AWS::Events::Rule", "Ref"),
    "ServiceName": ("AWS::ECS::Service", "Name"),
    "TargetGroup": ("AWS::ElasticLoadBalancingV2::TargetGroup", "TargetGroupFullName"),
    "TopicName": ("AWS::SNS::Topic", "TopicName"),
}
# Dimensions that are the same everywhere.
CONSTANT = {("Region", "Global")}
