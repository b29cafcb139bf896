from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud import stacks
from tests.local_cloud.data_plane_support import Edge, unique


@pytest.fixture
def cloudformation(client: Any) -> Any:
    return client("cloudformation")


def resource(type_name: str, **properties: Any) -> dict[str, Any]:
    return {"Type": f"AWS::{type_name}", "Properties": properties}


NETWORK = {
    "Vpc": resource("EC2::VPC", CidrBlock="10.9.0.0/16"),
    "Subnet": resource("EC2::Subnet", VpcId={"Ref": "Vpc"}, CidrBlock="10.9.0.0/24"),
}


def attribute(name: str, member: str) -> dict[str, Any]:
    return {"Fn::GetAtt": [name, member]}


def test_nat_gateway_has_an_address_and_goes_with_its_stack(client: Any, cloudformation: Any) -> None:
    template = {
        "Resources": {
            **NETWORK,
            "Address": resource("EC2::EIP", Domain="vpc", Tags=[{"Key": "Name", "Value": "nat"}]),
            "Nat": resource(
                "EC2::NatGateway",
                SubnetId={"Ref": "Subnet"},
                AllocationId=attribute("Address", "AllocationId"),
            ),
        },
        "Outputs": {
            "Cidr": {"Value": attribute("Vpc", "CidrBlock")},
            "PublicIp": {"Value": {"Ref": "Address"}},
            "Nat": {"Value": {"Ref": "Nat"}},
        },
    }
    outputs = stacks.outputs(stacks.create(cloudformation, "types-nat", template))
    assert outputs["Cidr"] == "10.9.0.0/16"
    ec2 = client("ec2")
    [nat] = ec2.describe_nat_gateways(NatGatewayIds=[outputs["Nat"]])["NatGateways"]
    assert nat["State"] == "available"
    assert outputs["PublicIp"] in {address["PublicIp"] for address in ec2.describe_addresses()["Addresses"]}
    stacks.delete(cloudformation, "types-nat")
    assert outputs["PublicIp"] not in {
        address["PublicIp"] for address in ec2.describe_addresses()["Addresses"]
    }
    alive = [
        n for n in ec2.describe_nat_gateways()["NatGateways"] if n["State"] not in {"deleted", "deleting"}
    ]
    assert outputs["Nat"] not in {n["NatGatewayId"] for n in alive}


def test_nat_gateway_needs_an_address_that_exists(cloudformation: Any) -> None:
    nat = resource("EC2::NatGateway", SubnetId={"Ref": "Subnet"}, AllocationId="eipalloc-0123456789abcdef0")
    stack = stacks.create(cloudformation, "types-nonat", {"Resources": {**NETWORK, "Nat": nat}})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "eipalloc-0123456789abcdef0" in stacks.failure_reasons(cloudformation, "types-nonat")["Nat"]


def flow_log_template(name: str, vpc: Any) -> dict[str, Any]:
    flow_log = resource(
        "EC2::FlowLog",
        ResourceType="VPC",
        ResourceId=vpc,
        TrafficType="ALL",
        LogGroupName="types-flow",
        DeliverLogsPermissionArn="arn:aws:iam::000000000000:role/types-flow",
        Tags=[{"Key": "Name", "Value": name}],
    )
    return {
        "Resources": {"Vpc": NETWORK["Vpc"], "FlowLog": flow_log},
        "Outputs": {"FlowLog": {"Value": {"Ref": "FlowLog"}}, "Vpc": {"Value": {"Ref": "Vpc"}}},
    }


def test_a_flow_log_is_of_its_vpc_keeps_its_id_over_tags_and_goes_with_its_stack(
    client: Any, cloudformation: Any
) -> None:
    ec2 = client("ec2")
    outputs = stacks.outputs(
        stacks.create(cloudformation, "types-flow", flow_log_template("one", {"Ref": "Vpc"}))
    )
    assert outputs["FlowLog"].startswith("fl-")
    again = stacks.update(cloudformation, "types-flow", flow_log_template("two", {"Ref": "Vpc"}))
    assert stacks.outputs(again) == outputs
    [flow_log] = ec2.describe_flow_logs(FlowLogIds=[outputs["FlowLog"]])["FlowLogs"]
    assert (flow_log["ResourceId"], flow_log["TrafficType"]) == (outputs["Vpc"], "ALL")
    assert {"Key": "Name", "Value": "two"} in flow_log["Tags"]
    stacks.delete(cloudformation, "types-flow")
    assert ec2.describe_flow_logs(FlowLogIds=[outputs["FlowLog"]])["FlowLogs"] == []


def test_a_flow_log_needs_a_vpc_that_exists(cloudformation: Any) -> None:
    missing = "vpc-0123456789abcdef0"
    stack = stacks.create(cloudformation, "types-noflow", flow_log_template("none", missing))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert missing in stacks.failure_reasons(cloudformation, "types-noflow")["FlowLog"]


def permissions(client: Any, group_id: str) -> list[tuple[int, str]]:
    [group] = client("ec2").describe_security_groups(GroupIds=[group_id])["SecurityGroups"]
    return [(p["FromPort"], p["UserIdGroupPairs"][0]["GroupId"]) for p in group["IpPermissions"]]


def test_security_group_rules_of_their_own(client: Any, cloudformation: Any) -> None:
    def template(port: int) -> dict[str, Any]:
        return {
            "Resources": {
                "Vpc": NETWORK["Vpc"],
                "Task": resource("EC2::SecurityGroup", GroupDescription="task", VpcId={"Ref": "Vpc"}),
                "Balancer": resource("EC2::SecurityGroup", GroupDescription="balancer", VpcId={"Ref": "Vpc"}),
                "Rule": resource(
                    "EC2::SecurityGroupIngress",
                    GroupId=attribute("Task", "GroupId"),
                    IpProtocol="tcp",
                    FromPort=port,
                    ToPort=port,
                    SourceSecurityGroupId=attribute("Balancer", "GroupId"),
                ),
            },
            "Outputs": {
                "Task": {"Value": attribute("Task", "GroupId")},
                "Balancer": {"Value": attribute("Balancer", "GroupId")},
            },
        }

    outputs = stacks.outputs(stacks.create(cloudformation, "types-rules", template(8080)))
    assert permissions(client, outputs["Task"]) == [(8080, outputs["Balancer"])]
    stacks.update(cloudformation, "types-rules", template(9090))
    assert permissions(client, outputs["Task"]) == [(9090, outputs["Balancer"])]
    assert stacks.delete(cloudformation, "types-rules")["StackStatus"] == "DELETE_COMPLETE"


def test_composite_alarm(client: Any, cloudformation: Any) -> None:
    def template(description: str) -> dict[str, Any]:
        return {
            "Resources": {
                "Errors": resource(
                    "CloudWatch::Alarm",
                    AlarmName="types-errors",
                    Namespace="Test",
                    MetricName="Errors",
                    Statistic="Sum",
                    Period=60,
                    EvaluationPeriods="1",
                    Threshold="1",
                    ComparisonOperator="GreaterThanThreshold",
                ),
                "Any": resource(
                    "CloudWatch::CompositeAlarm",
                    AlarmRule={"Fn::Sub": "ALARM(${Errors})"},
                    AlarmDescription=description,
                ),
            },
            "Outputs": {"Name": {"Value": {"Ref": "Any"}}, "Arn": {"Value": attribute("Any", "Arn")}},
        }

    outputs = stacks.outputs(stacks.create(cloudformation, "types-alarm", template("one")))
    stacks.update(cloudformation, "types-alarm", template("two"))
    [alarm] = client("cloudwatch").describe_alarms(
        AlarmNames=[outputs["Name"]], AlarmTypes=["CompositeAlarm"]
    )["CompositeAlarms"]
    assert (alarm["AlarmRule"], alarm["AlarmDescription"]) == ("ALARM(types-errors)", "two")
    assert alarm["AlarmArn"] == outputs["Arn"]
    stacks.delete(cloudformation, "types-alarm")
    assert not client("cloudwatch").describe_alarms(AlarmTypes=["CompositeAlarm"])["CompositeAlarms"]


def test_alarm_on_a_query(client: Any, cloudformation: Any) -> None:
    query = {"Id": "errors", "Expression": 'SELECT SUM(Errors) FROM "Test"', "Period": 60, "ReturnData": True}
    alarm = resource(
        "CloudWatch::Alarm",
        Metrics=[query],
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
        TreatMissingData="notBreaching",
    )
    template = {"Resources": {"Errors": alarm}, "Outputs": {"Name": {"Value": {"Ref": "Errors"}}}}
    name = stacks.outputs(stacks.create(cloudformation, "types-query-alarm", template))["Name"]
    [found] = client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]
    assert (found["Threshold"], found["TreatMissingData"]) == (1.0, "notBreaching")
    assert "MetricName" not in found
    client("cloudwatch").set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a test")
    [found] = client("cloudwatch").describe_alarms(AlarmNames=[name], StateValue="ALARM")["MetricAlarms"]
    stacks.delete(cloudformation, "types-query-alarm")
    assert not client("cloudwatch").describe_alarms(AlarmNames=[name])["MetricAlarms"]


def test_saved_query(client: Any, cloudformation: Any) -> None:
    def template(query: str) -> dict[str, Any]:
        saved = resource("Logs::QueryDefinition", Name="types/Errors", QueryString=query, LogGroupNames=["a"])
        return {"Resources": {"Saved": saved}, "Outputs": {"Id": {"Value": {"Ref": "Saved"}}}}

    def saved() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = logs.describe_query_definitions(queryDefinitionNamePrefix="types/")[
            "queryDefinitions"
        ]
        return found

    logs = client("logs")
    query_id = stacks.outputs(stacks.create(cloudformation, "types-query", template("limit 1")))["Id"]
    stacks.update(cloudformation, "types-query", template("limit 2"))
    [found] = saved()
    assert (found["queryDefinitionId"], found["queryString"]) == (query_id, "limit 2")
    assert (found["name"], found["logGroupNames"]) == ("types/Errors", ["a"])
    assert client("logs", "eu-west-1").describe_query_definitions()["queryDefinitions"] == []
    logs.delete_query_definition(queryDefinitionId=query_id)
    with pytest.raises(ClientError, match="does not exist"):
        logs.delete_query_definition(queryDefinitionId=query_id)
    # What somebody deleted by hand doesn't keep a stack from being deleted.
    assert stacks.delete(cloudformation, "types-query")["StackStatus"] == "DELETE_COMPLETE"
    assert saved() == []


def test_secret_is_referred_to_by_arn(client: Any, cloudformation: Any) -> None:
    template = {
        "Resources": {"Secret": resource("SecretsManager::Secret", SecretString="s")},
        "Outputs": {"Secret": {"Value": {"Ref": "Secret"}}},
    }
    arn = stacks.outputs(stacks.create(cloudformation, "types-secret", template))["Secret"]
    assert arn.startswith("arn:aws:secretsmanager:us-east-1:000000000000:secret:")
    template["Resources"]["Secret"]["Properties"]["SecretString"] = "changed"
    stacks.update(cloudformation, "types-secret", template)
    assert client("secretsmanager").get_secret_value(SecretId=arn)["SecretString"] == "changed"
    stacks.delete(cloudformation, "types-secret")
    with pytest.raises(ClientError):
        client("secretsmanager").get_secret_value(SecretId=arn)


def scaling_template(maximum: int, target: str) -> dict[str, Any]:
    return {
        "Resources": {
            "Target": resource(
                "ApplicationAutoScaling::ScalableTarget",
                ServiceNamespace="ecs",
                ScalableDimension="ecs:service:DesiredCount",
                ResourceId=target,
                MinCapacity="1",
                MaxCapacity=maximum,
            ),
            "Policy": resource(
                "ApplicationAutoScaling::ScalingPolicy",
                PolicyName="cpu",
                PolicyType="TargetTrackingScaling",
                ScalingTargetId={"Ref": "Target"},
                TargetTrackingScalingPolicyConfiguration={
                    "TargetValue": 60,
                    "PredefinedMetricSpecification": {
                        "PredefinedMetricType": "ECSServiceAverageCPUUtilization"
                    },
                },
            ),
        },
        "Outputs": {"Target": {"Value": {"Ref": "Target"}}},
    }


def test_scaling_of_a_service(client: Any, cloudformation: Any) -> None:
    ecs, scaling = client("ecs"), client("application-autoscaling")
    ecs.create_cluster(clusterName="types-cluster")
    ecs.register_task_definition(family="types", containerDefinitions=[{"name": "main", "image": "types"}])
    ecs.create_service(cluster="types-cluster", serviceName="types", taskDefinition="types", desiredCount=0)
    name = "service/types-cluster/types"
    stack = stacks.create(cloudformation, "types-scaling", scaling_template(4, name))
    assert stacks.outputs(stack)["Target"] == f"{name}|ecs:service:DesiredCount|ecs"
    stacks.update(cloudformation, "types-scaling", scaling_template(6, name))
    [target] = scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[name])[
        "ScalableTargets"
    ]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (1, 6)
    [policy] = scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=name)["ScalingPolicies"]
    assert policy["TargetTrackingScalingPolicyConfiguration"]["TargetValue"] == 60
    stacks.delete(cloudformation, "types-scaling")
    assert not scaling.describe_scalable_targets(ServiceNamespace="ecs", ResourceIds=[name])[
        "ScalableTargets"
    ]
    assert not scaling.describe_scaling_policies(ServiceNamespace="ecs", ResourceId=name)["ScalingPolicies"]
    ecs.delete_service(cluster="types-cluster", service="types", force=True)
    ecs.delete_cluster(cluster="types-cluster")


def test_scaling_needs_a_service(cloudformation: Any) -> None:
    stack = stacks.create(cloudformation, "types-unscaled", scaling_template(4, "service/none/none"))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "ECS service doesn't exist" in stacks.failure_reasons(cloudformation, "types-unscaled")["Target"]


def role_template(boundary: str | None) -> dict[str, Any]:
    trust = {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
    bounded = {"PermissionsBoundary": boundary} if boundary else {}
    role = resource("IAM::Role", AssumeRolePolicyDocument=trust, **bounded)
    return {"Resources": {"Role": role}, "Outputs": {"Name": {"Value": {"Ref": "Role"}}}}


def test_a_role_keeps_within_its_boundary_until_it_has_none(client: Any, cloudformation: Any) -> None:
    iam = client("iam")
    policy = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    arn = iam.create_policy(PolicyName="types-boundary", PolicyDocument=json.dumps(policy))["Policy"]["Arn"]
    stack = stacks.create(cloudformation, "types-role", role_template(None))
    name = stacks.outputs(stack)["Name"]
    for boundary in (arn, None, arn):
        stacks.update(cloudformation, "types-role", role_template(boundary))
        role = iam.get_role(RoleName=name)["Role"]
        assert role.get("PermissionsBoundary", {}).get("PermissionsBoundaryArn") == boundary
    stacks.delete(cloudformation, "types-role")
    iam.delete_policy(PolicyArn=arn)


def test_a_boundary_that_is_no_policy_fails_the_role(client: Any, cloudformation: Any) -> None:
    before = client("iam").list_roles()["Roles"]
    missing = "arn:aws:iam::000000000000:policy/nobody-made-it"
    stack = stacks.create(cloudformation, "types-unbound", role_template(missing))
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert missing in stacks.failure_reasons(cloudformation, "types-unbound")["Role"]
    assert client("iam").list_roles()["Roles"] == before


def test_unknown_types_are_refused_before_anything_exists(cloudformation: Any) -> None:
    with pytest.raises(ClientError, match=r"Unrecognized resource types: \[AWS::Synthetics::Canary\]"):
        stacks.create(cloudformation, "types-none", {"Resources": {"A": resource("Synthetics::Canary")}})
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="types-none")


@pytest.mark.parametrize(
    ("names", "second"), [("", "none"), ("first", "none"), ("first,second", "second"), ("a,b,c", "b")]
)
def test_conditions_take_text_apart(client: Any, names: str, second: str) -> None:
    part = {"Fn::Select": ["1", {"Fn::Split": [",", {"Fn::Sub": "${Names},,"}]}]}
    template = {
        "Parameters": {"Names": {"Type": "String"}},
        "Mappings": {"Nothing": {"is": {"called": ""}}},
        "Conditions": {
            "IsOne": {"Fn::Not": [{"Fn::Equals": [part, {"Fn::FindInMap": ["Nothing", "is", "called"]}]}]}
        },
        "Resources": {"Topic": resource("SNS::Topic")},
        "Outputs": {"Second": {"Value": {"Fn::If": ["IsOne", part, "none"]}}},
    }
    cloudformation = client("cloudformation")
    found = stacks.outputs(stacks.create(cloudformation, "types-text", template, {"Names": names}))
    assert found == {"Second": second}
    stacks.delete(cloudformation, "types-text")


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1"])
def test_conditions_know_the_region(client: Any, region: str) -> None:
    template = {
        "Conditions": {"IsHere": {"Fn::Equals": [{"Ref": "AWS::Region"}, "eu-west-1"]}},
        "Resources": {"Topic": resource("SNS::Topic")},
        "Outputs": {"Here": {"Value": {"Fn::If": ["IsHere", "yes", "no"]}}},
    }
    cloudformation = client("cloudformation", region)
    found = stacks.outputs(stacks.create(cloudformation, "types-region", template))
    assert found == {"Here": "yes" if region == "eu-west-1" else "no"}
    stacks.delete(cloudformation, "types-region")


def test_a_regional_web_acl_is_associated_with_a_load_balancer(
    client: Any, cloudformation: Any, edge: Edge
) -> None:
    waf = client("wafv2")
    visibility = {"SampledRequestsEnabled": False, "CloudWatchMetricsEnabled": True, "MetricName": "all"}
    resources: dict[str, Any] = {
        "Acl": {
            "Type": "AWS::WAFv2::WebACL",
            "Properties": {
                "Scope": "REGIONAL",
                "DefaultAction": {"Allow": {}},
                "VisibilityConfig": visibility,
            },
        },
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {"Scheme": "internal", "Subnets": edge.network().subnet_ids},
        },
        "Association": {
            "Type": "AWS::WAFv2::WebACLAssociation",
            "Properties": {
                "ResourceArn": {"Ref": "Balancer"},
                "WebACLArn": {"Fn::GetAtt": ["Acl", "Arn"]},
            },
        },
    }
    outputs = {
        "Balancer": {"Value": {"Ref": "Balancer"}},
        "Acl": {"Value": {"Fn::GetAtt": ["Acl", "Arn"]}},
    }
    name = unique("walled")
    created = stacks.create(cloudformation, name, {"Resources": resources, "Outputs": outputs})
    values = stacks.outputs(created)
    found = waf.get_web_acl_for_resource(ResourceArn=values["Balancer"])["WebACL"]
    assert found["ARN"] == values["Acl"]
    del resources["Association"]
    stacks.update(cloudformation, name, {"Resources": resources, "Outputs": outputs})
    with pytest.raises(ClientError, match="WAFNonexistentItemException"):
        waf.get_web_acl_for_resource(ResourceArn=values["Balancer"])
    resources["Association"] = {
        "Type": "AWS::WAFv2::WebACLAssociation",
        "Properties": {
            "ResourceArn": values["Balancer"] + "gone",
            "WebACLArn": {"Fn::GetAtt": ["Acl", "Arn"]},
        },
    }
    stacks.update(cloudformation, name, {"Resources": resources, "Outputs": outputs})
    assert "your resource doesn't exist" in stacks.failure_reasons(cloudformation, name)["Association"]
    assert stacks.delete(cloudformation, name)["StackStatus"] == "DELETE_COMPLETE"
