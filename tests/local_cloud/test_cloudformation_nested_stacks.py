from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local_cloud import stacks

CHILD = {
    "Parameters": {"Name": {"Type": "String"}, "Days": {"Type": "Number"}},
    "Resources": {
        "Queue": {"Type": "AWS::SQS::Queue", "Properties": {"QueueName": {"Ref": "Name"}}},
        "Group": {
            "Type": "AWS::Logs::LogGroup",
            "DependsOn": "Queue",
            "Properties": {"LogGroupName": {"Ref": "Name"}, "RetentionInDays": {"Ref": "Days"}},
        },
    },
    "Outputs": {"Arn": {"Value": {"Fn::GetAtt": ["Group", "Arn"]}}},
}


def parent(prefix: str = "") -> dict[str, Any]:
    return {
        "Parameters": {"Bucket": {"Type": "String"}, "Days": {"Type": "Number", "Default": 3}},
        "Resources": {
            "Child": {
                "Type": "AWS::CloudFormation::Stack",
                "Properties": {
                    "TemplateURL": {
                        "Fn::Sub": "https://${Bucket}.s3.${AWS::Region}.${AWS::URLSuffix}/"
                        + prefix
                        + "child.json"
                    },
                    "Parameters": {"Name": {"Ref": "AWS::StackName"}, "Days": {"Ref": "Days"}},
                    "Tags": [{"Key": "owner", "Value": "test"}],
                },
            },
            "Value": {
                "Type": "AWS::SSM::Parameter",
                "Properties": {"Type": "String", "Value": {"Fn::GetAtt": ["Child", "Outputs.Arn"]}},
            },
        },
        "Outputs": {"ChildId": {"Value": {"Ref": "Child"}}},
    }


@pytest.fixture(scope="module")
def bucket(client: Any) -> str:
    name = "nested-templates"
    client("s3").create_bucket(Bucket=name)
    client("s3").put_object(Bucket=name, Key="child.json", Body=json.dumps(CHILD))
    return name


@pytest.fixture
def cloudformation(client: Any) -> Any:
    return client("cloudformation")


def log_groups(client: Any, prefix: str) -> dict[str, int]:
    groups = client("logs").describe_log_groups(logGroupNamePrefix=prefix)["logGroups"]
    return {group["logGroupName"]: group["retentionInDays"] for group in groups}


def queues(client: Any, prefix: str) -> list[str]:
    return list(client("sqs").list_queues(QueueNamePrefix=prefix).get("QueueUrls", []))


def live_stacks(cloudformation: Any, prefix: str) -> list[str]:
    return [
        s["StackName"]
        for s in cloudformation.describe_stacks()["Stacks"]
        if s["StackName"].startswith(prefix)
    ]


def test_child_is_created_updated_and_deleted_with_its_parent(
    client: Any, cloudformation: Any, bucket: str
) -> None:
    stack = stacks.create(cloudformation, "nest-full", parent(), {"Bucket": bucket})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    child_id = stacks.outputs(stack)["ChildId"]
    child = cloudformation.describe_stacks(StackName=child_id)["Stacks"][0]
    assert child["StackName"].startswith("nest-full-Child-")
    assert len(child["StackName"].rsplit("-", 1)[1]) == 12
    assert child["ParentId"] == child["RootId"] == stack["StackId"]
    assert {"Key": "owner", "Value": "test"} in child["Tags"]
    assert log_groups(client, "nest-full") == {"nest-full": 3}
    value = client("ssm").get_parameter(
        Name=cloudformation.describe_stack_resource(StackName="nest-full", LogicalResourceId="Value")[
            "StackResourceDetail"
        ]["PhysicalResourceId"]
    )
    assert value["Parameter"]["Value"].endswith(":log-group:nest-full:*")

    updated = stacks.update(cloudformation, "nest-full", parent(), {"Bucket": bucket, "Days": "5"})
    assert updated["StackStatus"] == "UPDATE_COMPLETE"
    assert log_groups(client, "nest-full") == {"nest-full": 5}
    # An unchanged resource of the child is left alone and not reported.
    child_events = stacks.events(cloudformation, child_id)
    assert not [
        e for e in child_events if e["LogicalResourceId"] == "Queue" and "UPDATE" in e["ResourceStatus"]
    ]

    assert stacks.delete(cloudformation, "nest-full")["StackStatus"] == "DELETE_COMPLETE"
    assert (log_groups(client, "nest-full"), queues(client, "nest-full")) == ({}, [])
    assert live_stacks(cloudformation, "nest-full") == []


def test_events_lead_to_the_child_while_it_is_created(cloudformation: Any, bucket: str) -> None:
    stack = stacks.create(cloudformation, "nest-events", parent(), {"Bucket": bucket})
    child_id = stacks.outputs(stack)["ChildId"]
    child = [e for e in stacks.events(cloudformation, "nest-events") if e["LogicalResourceId"] == "Child"]
    assert [(e["ResourceStatus"], e.get("PhysicalResourceId")) for e in child[1:]] == [
        ("CREATE_IN_PROGRESS", child_id),
        ("CREATE_COMPLETE", child_id),
    ]
    summaries = cloudformation.list_stack_resources(StackName="nest-events")["StackResourceSummaries"]
    assert child_id in {summary["PhysicalResourceId"] for summary in summaries}
    stacks.delete(cloudformation, "nest-events")


def test_failed_child_is_rolled_back_without_remains(client: Any, cloudformation: Any, bucket: str) -> None:
    stack = stacks.create(cloudformation, "nest-fail", parent(), {"Bucket": bucket, "Days": "4"})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(cloudformation, "nest-fail")["Child"]
    assert "was not successfully created: The following resource(s) failed to create: [Group]. " in reason
    child_id = reason.split()[2]
    assert "4 is not a valid enum value" in stacks.failure_reasons(cloudformation, child_id)["Group"]
    assert queues(client, "nest-fail") == []
    assert cloudformation.describe_stacks(StackName=child_id)["Stacks"][0]["StackStatus"] == "DELETE_COMPLETE"
    stacks.delete(cloudformation, "nest-fail")


def test_disabled_rollback_keeps_the_child_until_the_parent_is_deleted(
    client: Any, cloudformation: Any, bucket: str
) -> None:
    request = stacks.arguments("nest-keep", parent(), {"Bucket": bucket, "Days": "4"})
    cloudformation.create_stack(**request, DisableRollback=True)
    assert stacks.settled(cloudformation, "nest-keep")["StackStatus"] == "CREATE_FAILED"
    assert len(queues(client, "nest-keep")) == 1
    assert stacks.delete(cloudformation, "nest-keep")["StackStatus"] == "DELETE_COMPLETE"
    assert queues(client, "nest-keep") == []


def test_failed_update_of_a_child_restores_it(client: Any, cloudformation: Any, bucket: str) -> None:
    stacks.create(cloudformation, "nest-back", parent(), {"Bucket": bucket})
    stack = stacks.update(cloudformation, "nest-back", parent(), {"Bucket": bucket, "Days": "4"})
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    reason = stacks.failure_reasons(cloudformation, "nest-back")["Child"]
    assert "was not successfully updated" in reason
    assert "The following resource(s) failed to update: [Group]" in reason
    assert log_groups(client, "nest-back") == {"nest-back": 3}
    stacks.delete(cloudformation, "nest-back")


def test_new_prefix_with_a_changed_template_updates_the_child(
    client: Any, cloudformation: Any, bucket: str
) -> None:
    changed = json.loads(json.dumps(CHILD))
    del changed["Resources"]["Queue"], changed["Resources"]["Group"]["DependsOn"]
    client("s3").put_object(Bucket=bucket, Key="v2/child.json", Body=json.dumps(changed))
    stacks.create(cloudformation, "nest-prefix", parent(), {"Bucket": bucket})
    assert len(queues(client, "nest-prefix")) == 1
    stack = stacks.update(cloudformation, "nest-prefix", parent("v2/"), {"Bucket": bucket})
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert queues(client, "nest-prefix") == []
    stacks.delete(cloudformation, "nest-prefix")


def test_missing_child_template_fails_the_parent(cloudformation: Any, bucket: str) -> None:
    stack = stacks.create(cloudformation, "nest-missing", parent("nowhere/"), {"Bucket": bucket})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "nowhere/child.json" in stacks.failure_reasons(cloudformation, "nest-missing")["Child"]
    stacks.delete(cloudformation, "nest-missing")


def change_set(cloudformation: Any, bucket: str, name: str, **more: Any) -> dict[str, Any]:
    request = stacks.arguments("nest-set", parent(), {"Bucket": bucket})
    cloudformation.create_change_set(**request, ChangeSetName=name, ChangeSetType="UPDATE", **more)
    described: dict[str, Any] = cloudformation.describe_change_set(StackName="nest-set", ChangeSetName=name)
    return described


def test_change_sets_look_into_children_only_when_asked(
    client: Any, cloudformation: Any, bucket: str
) -> None:
    stacks.create(cloudformation, "nest-set", parent(), {"Bucket": bucket})
    automatic = change_set(cloudformation, bucket, "plain")
    assert automatic["Status"] == "CREATE_COMPLETE"
    [change] = [change["ResourceChange"] for change in automatic["Changes"]]
    assert (change["LogicalResourceId"], change["Details"][0]["ChangeSource"]) == ("Child", "Automatic")

    unchanged = change_set(cloudformation, bucket, "deep", IncludeNestedStacks=True)
    assert unchanged["Status"] == "FAILED"
    assert "didn't contain changes" in unchanged["StatusReason"]

    cloudformation.execute_change_set(StackName="nest-set", ChangeSetName="plain")
    assert stacks.settled(cloudformation, "nest-set")["StackStatus"] == "UPDATE_COMPLETE"
    stacks.delete(cloudformation, "nest-set")


def test_children_live_in_their_parents_region(client: Any, bucket: str) -> None:
    west = client("cloudformation", "us-west-2")
    client("s3", "us-west-2").create_bucket(
        Bucket="nested-west", CreateBucketConfiguration={"LocationConstraint": "us-west-2"}
    )
    client("s3", "us-west-2").put_object(Bucket="nested-west", Key="child.json", Body=json.dumps(CHILD))
    stack = stacks.create(west, "nest-west", parent(), {"Bucket": "nested-west"})
    assert stack["StackStatus"] == "CREATE_COMPLETE"
    assert ":us-west-2:" in stacks.outputs(stack)["ChildId"]
    assert log_groups(client, "nest-west") == {}
    with pytest.raises(ClientError, match="does not exist"):
        client("cloudformation").describe_stacks(StackName="nest-west")
    stacks.delete(west, "nest-west")
