"""One project's life: deploy, deploy again, change a tool, destroy."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from local_cloud.launcher import LocalCloud
from tests.end_to_end.conftest import Project
from tests.end_to_end.identities import LASTING, RENEWED, identities, replaced
from tests.end_to_end.leftovers import everything

pytestmark = pytest.mark.xdist_group("end_to_end")


@pytest.fixture(scope="module")
def before(cloud: LocalCloud) -> dict[str, list[str]]:
    """What the cloud held before the project came."""
    return everything(cloud)


DOMAIN = "mcp.whole-way.example"


@pytest.fixture(scope="module")
def zone_id(cloud: LocalCloud) -> str:
    """A hosted zone for the project's own name."""
    zone = cloud.client("route53").create_hosted_zone(Name="whole-way.example", CallerReference="whole-way")
    return str(zone["HostedZone"]["Id"]).rpartition("/")[2]


@pytest.fixture(scope="module")
def project(
    scaffold: Callable[[str], Project], before: dict[str, list[str]], zone_id: str
) -> Iterator[Project]:
    """A deployed project with a name of its own, web ACL and access log; destroyed whatever happened."""
    made = scaffold("Whole Way Server")
    stage = "infrastructure/stages/dev.json"
    made.replace(stage, '"WebAcl": "true"', f'"WebAcl": "true", "DomainName": "{DOMAIN}"')
    made.replace(stage, '"AccessLog": "false"', f'"AccessLog": "true", "HostedZoneId": "{zone_id}"')
    done = made.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    yield made
    made.ops("destroy", "--stage", "dev", "--yes")


def running_tasks(project: Project) -> set[str]:
    outputs = project.outputs()
    ecs = project.cloud.client("ecs")
    return set(
        ecs.list_tasks(
            cluster=outputs["ClusterName"], serviceName=outputs["ServiceName"], desiredStatus="RUNNING"
        )["taskArns"]
    )


def test_an_agent_gets_its_answer_through_the_gateway(project: Project) -> None:
    done = project.ops("verify", "--stage", "dev")
    assert done.returncode == 0, done.stdout + done.stderr
    for refusal in ("server refuses no token", "server refuses forged token"):
        assert re.search(rf"^ok .+ {refusal} +HTTP 401$", done.stdout, re.MULTILINE), done.stdout
    last = done.stdout.strip().splitlines()[-1]
    assert last.startswith("10 + 20 = 30 through https://")
    assert "whole-way-server___simpleadd" in last


def test_the_distribution_has_its_own_name_a_web_acl_and_a_log(project: Project) -> None:
    outputs = project.outputs()
    assert outputs["ServerUrl"] == f"https://{DOMAIN}/mcp"
    assert outputs["ValidationRecords"].split()[0].endswith(f".{DOMAIN}.")
    found = everything(project.cloud)
    assert {outputs["WebAclLogGroupName"], outputs["AccessLogGroupName"]} <= set(found["log groups"])
    assert (len(found["web ACLs"]), found["certificates"], len(found["log deliveries"])) == (1, [DOMAIN], 1)


def tags_beside_cloudformation(project: Project) -> dict[str, list[dict[str, str]]]:
    """Tags of what the project's custom resources have made, by its kind."""
    waf, acm, logs, elbv2 = (project.cloud.client(name) for name in ("wafv2", "acm", "logs", "elbv2"))
    outputs = project.outputs()
    acls = [acl["ARN"] for acl in waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]]
    certificates = acm.list_certificates()["CertificateSummaryList"]
    parts = [
        *[one["arn"] for one in logs.describe_delivery_sources()["deliverySources"]],
        *[one["arn"] for one in logs.describe_delivery_destinations()["deliveryDestinations"]],
        *[one["arn"] for one in logs.describe_deliveries()["deliveries"]],
        *[
            group["logGroupArn"]
            for name in ("WebAclLogGroupName", "AccessLogGroupName")
            for group in logs.describe_log_groups(logGroupNamePrefix=outputs[name])["logGroups"]
        ],
    ]
    rules = [
        rule["RuleArn"]
        for balancer in elbv2.describe_load_balancers()["LoadBalancers"]
        for listener in elbv2.describe_listeners(LoadBalancerArn=balancer["LoadBalancerArn"])["Listeners"]
        for rule in elbv2.describe_rules(ListenerArn=listener["ListenerArn"])["Rules"]
        if rule["Priority"] != "default"
    ]
    described = elbv2.describe_tags(ResourceArns=rules)["TagDescriptions"]
    found = {
        "web ACL": [
            mapping(waf.list_tags_for_resource(ResourceARN=arn)["TagInfoForResource"]["TagList"])
            for arn in acls
        ],
        "certificate": [
            mapping(acm.list_tags_for_certificate(CertificateArn=one["CertificateArn"])["Tags"])
            for one in certificates
        ],
        "log": [logs.list_tags_for_resource(resourceArn=arn)["tags"] for arn in parts],
        "listener rule": [mapping(one["Tags"]) for one in described],
    }
    # Those that carry the mark of this project's stacks.
    stack = f"{project.stack_name}-"
    return {
        kind: [tags for tags in every if tags.get("custom-resource:stack", "").startswith(stack)]
        for kind, every in found.items()
    }


def mapping(tags: list[dict[str, str]]) -> dict[str, str]:
    return {tag["Key"]: tag["Value"] for tag in tags}


def test_what_custom_resources_made_has_the_stacks_tags(project: Project) -> None:
    found = tags_beside_cloudformation(project)
    numbers = {kind: len(every) for kind, every in found.items()}
    assert numbers == {"web ACL": 1, "certificate": 1, "log": 5, "listener rule": 2}
    wanted = {"Project": "whole-way-server", "Stage": "dev"}
    for kind, every in found.items():
        for tags in every:
            assert {key: tags.get(key) for key in wanted} == wanted, kind


def test_the_stack_tells_of_the_call_that_ended_the_deploy(project: Project) -> None:
    outputs = project.outputs()
    assert (outputs["ToolCall"], outputs["ToolCallAnswer"]) == ("whole-way-server___simpleadd", "30")
    assert 0 < int(outputs["ToolCallLatency"]) < 60_000


def test_the_same_bundle_deployed_again_changes_nothing(project: Project) -> None:
    tasks, outputs = running_tasks(project), project.outputs()
    done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no changes" in done.stdout
    assert running_tasks(project) == tasks
    assert project.outputs() == outputs


def gateway_tools(project: Project) -> list[str]:
    """Names that the gateway lists to a signed caller, by the project's own client."""
    program = """
import json, os, sys
from ops.aws import Aws
from ops.http import HttpClient
from ops.gateway import gateway_client
client = gateway_client(Aws(os.environ["AWS_REGION"]), json.loads(sys.argv[1]), HttpClient())
client.initialize()
print(*[tool["name"] for tool in client.list_tools()])
"""
    environment = {**os.environ, **project.cloud.environment()}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(project.outputs())],
        cwd=project.path, env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.split()


def test_one_changed_line_replaces_the_task_and_the_gateway_lists_the_new_tool(project: Project) -> None:
    tasks, before = running_tasks(project), project.outputs()
    there = identities(project.cloud, project.stack_name)
    assert {found.kind for found in there.values()} >= LASTING
    assert "whole-way-server___addsimply" not in gateway_tools(project)
    module = "src/whole_way_server/tools/simpleadd.py"
    line = "server.tool(annotations=hints, run_in_thread=False)(simpleadd)"
    project.replace(module, line, f'{line}; server.tool("addsimply", annotations=hints)(simpleadd)')
    done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    after = project.outputs()
    assert "whole-way-server___addsimply" in gateway_tools(project)
    assert tasks
    assert not running_tasks(project) & tasks
    assert after["ImageUri"] != before["ImageUri"]
    for kept in (
        "ValidationRecords",
        "WebAclLogGroupName",
        "GatewayId",
        "GatewayUrl",
        "GatewayTargetId",
        "DistributionDomainName",
        "ServiceName",
    ):
        assert after[kept] == before[kept], f"{kept} changed with the image"
    gone = replaced(there, identities(project.cloud, project.stack_name))
    assert {found.kind for found in gone} == RENEWED


def test_another_scale_and_another_tag_replace_nothing(project: Project) -> None:
    before = identities(project.cloud, project.stack_name)
    project.replace("infrastructure/stages/dev.json", '"MaxCount": "2"', '"MaxCount": "3"')
    project.replace("infrastructure/stages/dev.json", '"Stage": "dev"\n', '"Stage": "dev", "Owner": "team"\n')
    done = project.deploy()
    assert done.returncode == 0, done.stdout + done.stderr
    assert replaced(before, identities(project.cloud, project.stack_name)) == []


def test_a_wrong_answer_fails_the_deploy_and_the_version_before_serves_again(project: Project) -> None:
    before = project.outputs()
    module = "src/whole_way_server/tools/simpleadd.py"
    project.replace(module, "total = a + b", "total = a + b + 1")
    done = project.deploy()
    project.replace(module, "total = a + b + 1", "total = a + b")
    assert done.returncode != 0
    assert "whole-way-server___simpleadd answered '31'; expected '30'" in done.stdout + done.stderr
    assert project.outputs() | {"ToolCallLatency": ""} == before | {"ToolCallLatency": ""}
    verified = project.ops("verify", "--stage", "dev")
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_destroy_leaves_nothing_and_says_so(
    project: Project, before: dict[str, list[str]], zone_id: str
) -> None:
    done = project.ops("destroy", "--stage", "dev", "--yes", "--artifacts")
    assert done.returncode == 0, done.stdout + done.stderr
    assert everything(project.cloud) == before
    records = project.cloud.client("route53").list_resource_record_sets(HostedZoneId=zone_id)
    assert {record["Type"] for record in records["ResourceRecordSets"]} == {"NS", "SOA"}
    again = project.ops("destroy", "--stage", "dev", "--yes")
    assert again.returncode == 0, again.stdout + again.stderr
