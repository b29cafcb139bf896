"""What a cloud still holds, asked of each service itself rather than of CloudFormation."""

from __future__ import annotations

from typing import Any

from local_cloud.launcher import LocalCloud


def everything(cloud: LocalCloud) -> dict[str, list[str]]:
    """Names of what a stack makes, by kind; the artifact buckets and deleted stacks left out."""

    def names(service: str, operation: str, key: str, field: str | None, **arguments: Any) -> list[str]:
        answer = getattr(cloud.client(service), operation)(**arguments)
        return sorted(item if field is None else item[field] for item in answer[key])

    buckets = names("s3", "list_buckets", "Buckets", "Name")
    stacks = [
        stack["StackName"]
        for page in cloud.client("cloudformation").get_paginator("list_stacks").paginate()
        for stack in page["StackSummaries"]
        if stack["StackStatus"] != "DELETE_COMPLETE"
    ]
    default_vpcs = names(
        "ec2", "describe_vpcs", "Vpcs", "VpcId", Filters=[{"Name": "is-default", "Values": ["true"]}]
    )
    found = {
        "stacks": stacks,
        "buckets": [name for name in buckets if not name.startswith("fastmcp-artifacts-")],
        "vpcs": [name for name in names("ec2", "describe_vpcs", "Vpcs", "VpcId") if name not in default_vpcs],
        "endpoints": names("ec2", "describe_vpc_endpoints", "VpcEndpoints", "VpcEndpointId"),
        "addresses": names("ec2", "describe_addresses", "Addresses", "AllocationId"),
        "flow logs": names("ec2", "describe_flow_logs", "FlowLogs", "FlowLogId"),
        "repositories": names("ecr", "describe_repositories", "repositories", "repositoryName"),
        "clusters": names("ecs", "list_clusters", "clusterArns", None),
        "functions": names("lambda", "list_functions", "Functions", "FunctionName"),
        "load balancers": names("elbv2", "describe_load_balancers", "LoadBalancers", "LoadBalancerName"),
        "target groups": names("elbv2", "describe_target_groups", "TargetGroups", "TargetGroupName"),
        "gateways": names("bedrock-agentcore-control", "list_gateways", "items", "gatewayId"),
        "user pools": names("cognito-idp", "list_user_pools", "UserPools", "Id", MaxResults=60),
        "secrets": names("secretsmanager", "list_secrets", "SecretList", "ARN"),
        "credential providers": names(
            "bedrock-agentcore-control", "list_oauth2_credential_providers", "credentialProviders", "name"
        ),
        "rules": names("events", "list_rules", "Rules", "Name"),
        "log groups": names("logs", "describe_log_groups", "logGroups", "logGroupName"),
        "alarms": names("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
        "composite alarms": names(
            "cloudwatch", "describe_alarms", "CompositeAlarms", "AlarmName", AlarmTypes=["CompositeAlarm"]
        ),
        "saved queries": names("logs", "describe_query_definitions", "queryDefinitions", "queryDefinitionId"),
        "dashboards": names("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
        "topics": names("sns", "list_topics", "Topics", "TopicArn"),
        "build projects": names("codebuild", "list_projects", "projects", None),
        "web ACLs": names("wafv2", "list_web_acls", "WebACLs", "Name", Scope="CLOUDFRONT"),
        "certificates": names("acm", "list_certificates", "CertificateSummaryList", "DomainName"),
        "log deliveries": names("logs", "describe_deliveries", "deliveries", "id"),
        "roles": names("iam", "list_roles", "Roles", "RoleName"),
    }
    distributions = cloud.client("cloudfront").list_distributions()["DistributionList"].get("Items", [])
    found["distributions"] = [distribution["Id"] for distribution in distributions]
    return {kind: sorted(values) for kind, values in found.items()}
