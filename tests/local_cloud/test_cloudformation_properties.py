from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.cloudformation.property_validation import PropertyValidationError, validated
from tests.local_cloud import stacks

REGION = "us-east-1"


def check(type_name: str, properties: dict[str, Any]) -> dict[str, Any]:
    return validated(type_name, "Thing", properties, REGION)


@pytest.mark.parametrize(
    ("type_name", "properties", "message"),
    [
        ("AWS::EC2::EIP", {"Colour": "red"}, "#: extraneous key [Colour] is not permitted"),
        ("AWS::EC2::EIP", {"PublicIp": "1.2.3.4"}, "#: extraneous key [PublicIp] is not permitted"),
        ("AWS::EC2::Subnet", {"CidrBlock": "10.0.0.0/24"}, "#: required key [VpcId] not found"),
        ("AWS::Logs::LogGroup", {"RetentionInDays": 4}, "#/RetentionInDays: 4 is not a valid enum value"),
        ("AWS::Logs::LogGroup", {"LogGroupName": "a b"}, "#/LogGroupName: failed validation constraint"),
        ("AWS::Logs::LogGroup", {"RetentionInDays": "soon"}, "expected type: Integer, found: String"),
        (
            "AWS::ECS::Service",
            {"DesiredCount": [1]},
            "#/DesiredCount: expected type: Integer, found: JSONArray",
        ),
        (
            "AWS::Lambda::Function",
            {"Role": "arn:aws:iam::000000000000:role/r", "Code": {"S3Bukket": "b"}},
            "#/Code: extraneous key [S3Bukket] is not permitted",
        ),
        ("AWS::Nothing::AtAll", {}, "is not available in us-east-1"),
    ],
)
def test_refuses_what_cloudformation_refuses(
    type_name: str, properties: dict[str, Any], message: str
) -> None:
    with pytest.raises(PropertyValidationError) as refused:
        check(type_name, properties)
    assert message in str(refused.value)


def test_names_the_resource_and_every_problem() -> None:
    with pytest.raises(PropertyValidationError) as refused:
        check("AWS::EC2::Subnet", {"A": 1, "B": 2, "CidrBlock": "10.0.0.0/24"})
    lines = str(refused.value).splitlines()
    assert lines[0] == "Properties validation failed for resource Thing with message:"
    assert len(lines) == 4


def test_coerces_scalars_as_cloudformation_does() -> None:
    properties = check(
        "AWS::ECS::Service",
        {"DesiredCount": "2", "EnableExecuteCommand": "true", "Tags": [{"Key": "port", "Value": 8080}]},
    )
    assert properties["DesiredCount"] == 2
    assert properties["EnableExecuteCommand"] is True
    assert properties["Tags"] == [{"Key": "port", "Value": "8080"}]


def test_custom_resources_have_no_schema() -> None:
    assert check("Custom::Anything", {"Whatever": 1}) == {"Whatever": 1}


@pytest.fixture
def cloudformation(client: Any) -> Any:
    return client("cloudformation")


def test_stack_with_a_bad_property_is_rolled_back(client: Any, cloudformation: Any) -> None:
    template = {
        "Resources": {
            "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": "props-queue"}},
            "Bad": {
                "Type": "AWS::SNS::Topic",
                "DependsOn": "Queue",
                "Properties": {"TopicName": "props", "Volume": 11},
            },
        }
    }
    stack = stacks.create(cloudformation, "props-bad", template)
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "extraneous key [Volume]" in stacks.failure_reasons(cloudformation, "props-bad")["Bad"]
    assert client("sqs").list_queues(QueueNamePrefix="props-queue").get("QueueUrls", []) == []


def test_update_to_a_bad_property_keeps_the_old_one(client: Any, cloudformation: Any) -> None:
    def template(days: int) -> dict[str, Any]:
        properties = {"LogGroupName": "props-group", "RetentionInDays": days}
        return {"Resources": {"Group": {"Type": "AWS::Logs::LogGroup", "Properties": properties}}}

    stacks.create(cloudformation, "props-update", template(7))
    stack = stacks.update(cloudformation, "props-update", template(8))
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    [group] = client("logs").describe_log_groups(logGroupNamePrefix="props-group")["logGroups"]
    assert group["retentionInDays"] == 7
    stacks.delete(cloudformation, "props-update")


TOPIC = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}


@pytest.mark.parametrize(
    ("definition", "value", "message"),
    [
        ({"Type": "String", "AllowedPattern": "[a-z]+"}, "A1", "pattern"),
        ({"Type": "String", "AllowedValues": ["a", "b"]}, "c", "AllowedValues"),
        ({"Type": "String", "MinLength": 3}, "ab", "at least 3 characters"),
        ({"Type": "Number", "MaxValue": 10}, "11", "not greater than 10"),
        ({"Type": "Number"}, "many", "Number"),
    ],
)
@pytest.mark.parametrize("action", ["create_stack", "create_change_set"])
def test_parameters_are_checked_before_anything_exists(
    cloudformation: Any, definition: dict[str, Any], value: str, message: str, action: str
) -> None:
    request = stacks.arguments("props-param", {**TOPIC, "Parameters": {"P": definition}}, {"P": value})
    if action == "create_change_set":
        request |= {"ChangeSetName": "first", "ChangeSetType": "CREATE"}
    with pytest.raises(ClientError, match=message):
        getattr(cloudformation, action)(**request)
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="props-param")


def test_rules_are_asserted_before_anything_exists(cloudformation: Any) -> None:
    template = {
        **TOPIC,
        "Parameters": {"Stage": {"Type": "String"}, "Count": {"Type": "Number"}},
        "Rules": {
            "Two": {
                "RuleCondition": {"Fn::Equals": [{"Ref": "Stage"}, "prod"]},
                "Assertions": [
                    {
                        "Assert": {"Fn::Not": [{"Fn::Equals": [{"Ref": "Count"}, "1"]}]},
                        "AssertDescription": "prod needs two tasks",
                    }
                ],
            }
        },
    }
    with pytest.raises(ClientError, match="prod needs two tasks"):
        stacks.create(cloudformation, "props-rules", template, {"Stage": "prod", "Count": "1"})
    with pytest.raises(ClientError, match="does not exist"):
        cloudformation.describe_stacks(StackName="props-rules")
    stack = stacks.create(cloudformation, "props-rules", template, {"Stage": "dev", "Count": "1"})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    stacks.delete(cloudformation, "props-rules")


@pytest.mark.parametrize(
    "reference", [{"Ref": "Absent"}, {"Fn::GetAtt": ["Absent", "Arn"]}, {"Fn::Sub": "${Absent}"}]
)
def test_unresolved_references_are_refused(cloudformation: Any, reference: dict[str, Any]) -> None:
    properties = {"DisplayName": reference}
    template = {"Resources": {"Topic": {"Type": "AWS::SNS::Topic", "Properties": properties}}}
    with pytest.raises(
        ClientError, match=r"Unresolved resource dependencies \[Absent\] in the Resources block"
    ):
        stacks.create(cloudformation, "props-ref", template)
