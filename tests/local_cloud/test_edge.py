"""The edge's templates and functions on the local cloud, from a stack in another region than CloudFront's."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.launcher import LocalCloud
from tests.infrastructure.cloudformation import INFRASTRUCTURE, ROOT, load_templates
from tests.local_cloud import stacks
from tests.local_cloud.data_plane_support import Edge, unique

REGION = "eu-central-1"
BUCKET = "edge-code"
PREFIX = "server/0123456789abcdef/"
BUNDLE = {"ArtifactBucket": BUCKET, "ArtifactPrefix": PREFIX, "PermissionsBoundary": ""}
WEB_ACL = {
    "ProjectName": "tools",
    "Stage": "dev",
    "RateLimit": "1000",
    "AllowedCountries": "",
    "BlockedCountries": "KP",
    "LogRetentionDays": "30",
}


@pytest.fixture(scope="module")
def cloudformation(client: Callable[..., Any]) -> Any:
    """CloudFormation of the stacks' region, with the functions' bundle in place."""
    s3 = client("s3", REGION)
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}functions/custom-resources.zip", Body=functions())
    return client("cloudformation", REGION)


def functions() -> bytes:
    """The functions' zip: this repository's handlers and crhelper; boto3 is the runtime's."""
    content = io.BytesIO()
    spec = find_spec("crhelper")
    assert spec is not None
    assert spec.origin is not None
    with zipfile.ZipFile(content, "w") as archive:
        for package in (ROOT / "custom_resources", Path(spec.origin).parent):
            for path in sorted(package.glob("*.py")):
                archive.write(path, f"{package.name}/{path.name}")
    return content.getvalue()


def template(stem: str) -> str:
    return (INFRASTRUCTURE / f"{stem}.yaml").read_text()


@pytest.fixture
def waf(client: Callable[..., Any]) -> Any:
    return client("wafv2")


@pytest.fixture
def acm(client: Callable[..., Any]) -> Any:
    return client("acm")


@pytest.fixture
def route53(client: Callable[..., Any]) -> Any:
    return client("route53")


@pytest.fixture
def zone(route53: Any) -> Iterator[tuple[str, str]]:
    """Id and name of a hosted zone."""
    name = f"{unique('zone')}.example"
    made = route53.create_hosted_zone(Name=name, CallerReference=name)["HostedZone"]["Id"]
    zone_id = made.rpartition("/")[2]
    yield zone_id, name
    records = route53.list_resource_record_sets(HostedZoneId=zone_id)["ResourceRecordSets"]
    for record in records:
        if record["Type"] not in {"NS", "SOA"}:
            change(route53, zone_id, "DELETE", record)
    route53.delete_hosted_zone(Id=zone_id)


def change(route53: Any, zone_id: str, action: str, record: dict[str, Any]) -> None:
    changes = [{"Action": action, "ResourceRecordSet": record}]
    route53.change_resource_record_sets(HostedZoneId=zone_id, ChangeBatch={"Changes": changes})


def cnames(route53: Any, zone_id: str) -> dict[str, str]:
    records = route53.list_resource_record_sets(HostedZoneId=zone_id)["ResourceRecordSets"]
    return {
        record["Name"]: record["ResourceRecords"][0]["Value"]
        for record in records
        if record["Type"] == "CNAME"
    }


def web_acls(waf: Any) -> list[str]:
    return [acl["Name"] for acl in waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]]


def log_groups(client: Callable[..., Any], prefix: str = "") -> dict[str, int]:
    """CloudFront's log groups with their retention; functions' own groups of other tests aside."""
    groups = client("logs").describe_log_groups()["logGroups"]
    return {
        group["logGroupName"]: group.get("retentionInDays", 0)
        for group in groups
        if group["logGroupName"].startswith(prefix or ("aws-waf-logs-", "/aws/vendedlogs/cloudfront/"))
    }


def certificates(acm: Any) -> dict[str, str]:
    listed = acm.list_certificates(Includes={"keyTypes": ["RSA_2048", "EC_prime256v1"]})
    return {one["CertificateArn"]: one["DomainName"] for one in listed["CertificateSummaryList"]}


def given_tags(tags: dict[str, str] | list[dict[str, str]]) -> dict[str, str]:
    """Tags of a thing of a custom resource, without the marks that say whose it is."""
    found = tags if isinstance(tags, dict) else {tag["Key"]: tag["Value"] for tag in tags}
    assert "custom-resource:owner" in found
    return {key: value for key, value in found.items() if not key.startswith("custom-resource:")}


def log_tags(client: Callable[..., Any], kind: str, name: str) -> dict[str, str]:
    """Tags of a log group, or of a part of a delivery, in CloudFront's region."""
    arn = f"arn:aws:logs:us-east-1:000000000000:{kind}:{name}"
    return given_tags(client("logs").list_tags_for_resource(resourceArn=arn)["tags"])


def refusal(call: Callable[..., Any], **parameters: Any) -> str:
    """The error code a call is answered with."""
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return str(caught.value.response["Error"]["Code"])


# --- web ACL ---


def test_a_web_acl_lives_in_cloudfronts_region_changes_in_place_and_goes_whole(
    client: Callable[..., Any], cloudformation: Any, waf: Any
) -> None:
    stack = stacks.create(cloudformation, "edge-acl", template("waf"), {**BUNDLE, **WEB_ACL})
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(cloudformation, "edge-acl")
    outputs = stacks.outputs(stack)
    assert ":us-east-1:" in outputs["WebAclArn"]
    assert ":global/webacl/tools-" in outputs["WebAclArn"]
    (name,) = web_acls(waf)
    acl_id = outputs["WebAclArn"].rpartition("/")[2]
    found = waf.get_web_acl(Name=name, Scope="CLOUDFRONT", Id=acl_id)["WebACL"]
    assert [rule["Name"] for rule in found["Rules"]] == [
        "countries",
        "rate",
        "AWSManagedRulesAmazonIpReputationList",
        "AWSManagedRulesKnownBadInputsRuleSet",
        "AWSManagedRulesCommonRuleSet",
    ]
    assert found["Capacity"] == 1 + 2 + 25 + 200 + 700
    assert found["DataProtectionConfig"]["DataProtections"][0]["Field"]["FieldKeys"] == ["authorization"]
    assert log_groups(client) == {outputs["WebAclLogGroupName"]: 30}
    logging = waf.get_logging_configuration(ResourceArn=outputs["WebAclArn"])["LoggingConfiguration"]
    assert logging["LogDestinationConfigs"][0].endswith(outputs["WebAclLogGroupName"])
    tags = waf.list_tags_for_resource(ResourceARN=outputs["WebAclArn"])["TagInfoForResource"]["TagList"]
    assert given_tags(tags) == {"Project": "tools", "Stage": "dev"}
    assert log_tags(client, "log-group", outputs["WebAclLogGroupName"]) == given_tags(tags)

    changed = {**BUNDLE, **WEB_ACL, "RateLimit": "2000", "LogRetentionDays": "90", "Stage": "test"}
    stack = stacks.update(cloudformation, "edge-acl", template("waf"), changed)
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.outputs(stack) == outputs
    found = waf.get_web_acl(Name=name, Scope="CLOUDFRONT", Id=acl_id)["WebACL"]
    assert found["Rules"][1]["Statement"]["RateBasedStatement"]["Limit"] == 2000
    assert log_groups(client) == {outputs["WebAclLogGroupName"]: 90}
    tags = waf.list_tags_for_resource(ResourceARN=outputs["WebAclArn"])["TagInfoForResource"]["TagList"]
    assert given_tags(tags) == {"Project": "tools", "Stage": "test"}
    assert log_tags(client, "log-group", outputs["WebAclLogGroupName"]) == given_tags(tags)

    assert stacks.delete(cloudformation, "edge-acl")["StackStatus"] == "DELETE_COMPLETE"
    assert (web_acls(waf), log_groups(client)) == ([], {})


def test_a_refused_update_rolls_back_to_what_was(cloudformation: Any, waf: Any) -> None:
    stacks.create(cloudformation, "edge-back", template("waf"), {**BUNDLE, **WEB_ACL})
    stack = stacks.update(
        cloudformation, "edge-back", template("waf"), {**BUNDLE, **WEB_ACL, "RateLimit": "3"}
    )
    assert stack["StackStatus"] == "UPDATE_ROLLBACK_COMPLETE"
    assert "RateLimit: 3 is too few" in stacks.failure_reasons(cloudformation, "edge-back")["WebAcl"]
    acl_id = stacks.outputs(stack)["WebAclArn"].rpartition("/")[2]
    (name,) = web_acls(waf)
    found = waf.get_web_acl(Name=name, Scope="CLOUDFRONT", Id=acl_id)["WebACL"]
    assert found["Rules"][1]["Statement"]["RateBasedStatement"]["Limit"] == 1000
    stacks.delete(cloudformation, "edge-back")


def test_a_failure_after_the_create_leaves_nothing(
    client: Callable[..., Any], cloudformation: Any, waf: Any
) -> None:
    body = load_templates()["waf"]
    body["Resources"]["Later"] = {
        "Type": "Custom::EdgeWebAcl",
        "DependsOn": "WebAcl",
        "Properties": {
            "ServiceToken": {"Fn::GetAtt": ["WebAclFunction", "Arn"]},
            "Name": "refused",
            "LogRetentionDays": "7",
        },
    }
    stack = stacks.create(cloudformation, "edge-later", body, {**BUNDLE, **WEB_ACL})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "would let everything by" in stacks.failure_reasons(cloudformation, "edge-later")["Later"]
    assert (web_acls(waf), log_groups(client)) == ([], {})
    stacks.delete(cloudformation, "edge-later")


def test_a_create_that_fails_in_its_middle_leaves_nothing(
    client: Callable[..., Any], cloudformation: Any, waf: Any
) -> None:
    # The log group is made first; then the name turns out to be another's.
    body = json.loads(json.dumps(load_templates()["waf"]).replace("${ProjectName}-${Suffix}", "taken"))
    visibility = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"}
    waf.create_web_acl(
        Name="taken", Scope="CLOUDFRONT", DefaultAction={"Allow": {}}, VisibilityConfig=visibility
    )
    body["Resources"]["WebAcl"]["Properties"]["Name"] = "taken"
    stack = stacks.create(cloudformation, "edge-taken", body, {**BUNDLE, **WEB_ACL})
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert "isn't this stack's" in stacks.failure_reasons(cloudformation, "edge-taken")["WebAcl"]
    assert (web_acls(waf), log_groups(client)) == (["taken"], {})
    stacks.delete(cloudformation, "edge-taken")
    (theirs,) = waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    waf.delete_web_acl(Name="taken", Scope="CLOUDFRONT", Id=theirs["Id"], LockToken=theirs["LockToken"])


def test_an_event_delivered_again_finds_what_is_there(
    client: Callable[..., Any], cloudformation: Any, waf: Any
) -> None:
    stack = stacks.create(cloudformation, "edge-again", template("waf"), {**BUNDLE, **WEB_ACL})
    (name,) = web_acls(waf)
    s3 = client("s3", REGION)
    url = s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": "answer"})
    event = {
        "RequestType": "Create",
        "ResponseURL": url,
        "StackId": stack["StackId"],
        "RequestId": "again",
        "LogicalResourceId": "WebAcl",
        "ResourceProperties": {"Name": name, "RateLimit": "1000", "LogRetentionDays": "30"},
    }
    (function,) = [
        one["FunctionName"]
        for one in client("lambda", REGION).list_functions()["Functions"]
        if "edge-again" in one["FunctionName"]
    ]
    answer = client("lambda", REGION).invoke(FunctionName=function, Payload=json.dumps(event))
    assert "FunctionError" not in answer, answer["Payload"].read()
    told = json.loads(s3.get_object(Bucket=BUCKET, Key="answer")["Body"].read())
    assert (told["Status"], told["Data"]["Arn"]) == ("SUCCESS", stacks.outputs(stack)["WebAclArn"])
    assert web_acls(waf) == [name]
    assert stacks.delete(cloudformation, "edge-again")["StackStatus"] == "DELETE_COMPLETE"
    assert web_acls(waf) == []


def test_waf_refuses_what_aws_refuses(client: Callable[..., Any], waf: Any) -> None:
    assert (
        refusal(client("wafv2", REGION).list_web_acls, Scope="CLOUDFRONT") == "WAFInvalidParameterException"
    )
    visibility = {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"}
    definition = {"DefaultAction": {"Allow": {}}, "VisibilityConfig": visibility}
    made = waf.create_web_acl(Name="contract", Scope="CLOUDFRONT", **definition)["Summary"]
    one = {"Name": "contract", "Scope": "CLOUDFRONT", "Id": made["Id"]}
    stale = made["LockToken"]
    fresh = waf.update_web_acl(**one, **definition, LockToken=stale)["NextLockToken"]
    assert refusal(waf.update_web_acl, **one, **definition, LockToken=stale) == "WAFOptimisticLockException"
    assert refusal(waf.delete_web_acl, **one, LockToken=stale) == "WAFOptimisticLockException"
    account = made["ARN"].split(":")[4]
    for group, expected in {
        "any-name": "WAFInvalidParameterException",
        "aws-waf-logs-absent": "WAFLogDestinationPermissionIssueException",
    }.items():
        destination = f"arn:aws:logs:us-east-1:{account}:log-group:{group}"
        configuration = {"ResourceArn": made["ARN"], "LogDestinationConfigs": [destination]}
        assert refusal(waf.put_logging_configuration, LoggingConfiguration=configuration) == expected
    assert refusal(waf.get_logging_configuration, ResourceArn=made["ARN"]) == "WAFNonexistentItemException"
    assert refusal(waf.delete_logging_configuration, ResourceArn=made["ARN"]) == "WAFNonexistentItemException"
    waf.delete_web_acl(**one, LockToken=fresh)


# --- certificate ---


def certificate_parameters(domain: str, zone_id: str = "", stage: str = "dev") -> dict[str, str]:
    identity = {"ProjectName": "tools", "Stage": stage, "DomainName": domain, "HostedZoneId": zone_id}
    return {**BUNDLE, **identity, "LogRetentionDays": "30"}


def test_a_certificate_is_validated_replaced_and_goes_with_its_record(
    cloudformation: Any, acm: Any, route53: Any, zone: tuple[str, str]
) -> None:
    zone_id, name = zone
    first, second = f"mcp.{name}", f"tools.{name}"
    stack = stacks.create(
        cloudformation, "edge-cert", template("certificate"), certificate_parameters(first, zone_id)
    )
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(cloudformation, "edge-cert")
    outputs = stacks.outputs(stack)
    assert acm.describe_certificate(CertificateArn=outputs["CertificateArn"])["Certificate"]["Status"] == (
        "ISSUED"
    )
    ((record, value),) = cnames(route53, zone_id).items()
    assert outputs["ValidationRecords"] == f"{record} CNAME {value}"
    tags = acm.list_tags_for_certificate(CertificateArn=outputs["CertificateArn"])["Tags"]
    assert given_tags(tags) == {"Project": "tools", "Stage": "dev"}

    stack = stacks.update(
        cloudformation, "edge-cert", template("certificate"), certificate_parameters(first, zone_id, "test")
    )
    assert (stack["StackStatus"], stacks.outputs(stack)) == ("UPDATE_COMPLETE", outputs)
    tags = acm.list_tags_for_certificate(CertificateArn=outputs["CertificateArn"])["Tags"]
    assert given_tags(tags) == {"Project": "tools", "Stage": "test"}

    stack = stacks.update(
        cloudformation, "edge-cert", template("certificate"), certificate_parameters(second, zone_id)
    )
    assert stack["StackStatus"] == "UPDATE_COMPLETE"
    replaced = stacks.outputs(stack)["CertificateArn"]
    assert certificates(acm) == {replaced: second}
    (kept,) = cnames(route53, zone_id)
    assert kept.endswith(f".{second}.")

    assert stacks.delete(cloudformation, "edge-cert")["StackStatus"] == "DELETE_COMPLETE"
    assert (certificates(acm), cnames(route53, zone_id)) == ({}, {})


def test_a_domain_whose_caa_record_shuts_amazon_out_is_told_so(
    cloudformation: Any, acm: Any, route53: Any, zone: tuple[str, str]
) -> None:
    zone_id, name = zone
    caa = {"Name": f"{name}.", "Type": "CAA", "TTL": 60}
    issuer = {"ResourceRecords": [{"Value": '0 issue "letsencrypt.org"'}]}
    change(route53, zone_id, "CREATE", {**caa, **issuer})
    stack = stacks.create(
        cloudformation, "edge-caa", template("certificate"), certificate_parameters(f"mcp.{name}", zone_id)
    )
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert (
        'add one with the value 0 issue "amazon.com"'
        in (stacks.failure_reasons(cloudformation, "edge-caa")["Certificate"])
    )
    assert (certificates(acm), cnames(route53, zone_id)) == ({}, {})
    stacks.delete(cloudformation, "edge-caa")


def test_without_a_zone_it_waits_for_somebody_to_make_the_record(
    cloudformation: Any, acm: Any, route53: Any, zone: tuple[str, str]
) -> None:
    zone_id, name = zone
    domain = f"mcp.{name}"
    cloudformation.create_stack(
        **stacks.arguments("edge-manual", template("certificate"), certificate_parameters(domain))
    )
    deadline = time.monotonic() + 20
    while not (waiting := [arn for arn, of in certificates(acm).items() if of == domain]):
        assert time.monotonic() < deadline, "no certificate was asked for"
        time.sleep(0.05)
    detail = acm.describe_certificate(CertificateArn=waiting[0])["Certificate"]
    assert detail["Status"] == "PENDING_VALIDATION"
    wanted = detail["DomainValidationOptions"][0]["ResourceRecord"]
    record = {"Name": wanted["Name"], "Type": "CNAME", "TTL": 60}
    change(route53, zone_id, "CREATE", {**record, "ResourceRecords": [{"Value": wanted["Value"]}]})
    assert stacks.settled(cloudformation, "edge-manual")["StackStatus"] == "CREATE_COMPLETE"
    assert stacks.delete(cloudformation, "edge-manual")["StackStatus"] == "DELETE_COMPLETE"
    assert (certificates(acm), list(cnames(route53, zone_id))) == ({}, [wanted["Name"]])


def test_certificate_manager_and_route53_behave_as_relied_on(
    acm: Any, route53: Any, zone: tuple[str, str]
) -> None:
    zone_id, name = zone
    asked = {"DomainName": name, "SubjectAlternativeNames": [f"*.{name}"], "ValidationMethod": "DNS"}
    arn = acm.request_certificate(**asked, IdempotencyToken="once")["CertificateArn"]
    assert acm.request_certificate(**asked, IdempotencyToken="once")["CertificateArn"] == arn
    other = acm.request_certificate(**asked, IdempotencyToken="twice", KeyAlgorithm="EC_prime256v1")
    assert other["CertificateArn"] != arn
    assert [one["CertificateArn"] for one in acm.list_certificates()["CertificateSummaryList"]] == [arn]
    detail = acm.describe_certificate(CertificateArn=arn)["Certificate"]
    records = [option["ResourceRecord"] for option in detail["DomainValidationOptions"]]
    assert (len(records), len({record["Name"] for record in records})) == (2, 1)
    assert records[0]["Name"].endswith(f".{name}.")
    outside = {"Name": "elsewhere.test.", "Type": "CNAME", "TTL": 60, "ResourceRecords": [{"Value": "x."}]}
    batch = {"Changes": [{"Action": "CREATE", "ResourceRecordSet": outside}]}
    code = refusal(route53.change_resource_record_sets, HostedZoneId=zone_id, ChangeBatch=batch)
    assert code == "InvalidChangeBatch"
    for one in (arn, other["CertificateArn"]):
        acm.delete_certificate(CertificateArn=one)
    assert refusal(acm.describe_certificate, CertificateArn=arn) == "ResourceNotFoundException"


# --- distribution ---


@pytest.fixture(scope="module")
def balancer(local_cloud: LocalCloud, client: Callable[..., Any], echo_port: int) -> dict[str, Any]:
    """An internal load balancer in the stacks' region, before a server that answers with what it got."""
    return Edge(local_cloud, client, REGION).forwarding_load_balancer(echo_port)


def access_log_parts(client: Callable[..., Any]) -> dict[str, dict[str, Any]]:
    """The one source, destination and delivery, as CloudWatch Logs describes them."""
    logs = client("logs")
    (source,) = logs.describe_delivery_sources()["deliverySources"]
    (destination,) = logs.describe_delivery_destinations()["deliveryDestinations"]
    (delivery,) = logs.describe_deliveries()["deliveries"]
    return {"delivery-source": source, "delivery-destination": destination, "delivery": delivery}


def access_log_tags(client: Callable[..., Any]) -> list[dict[str, str]]:
    """The tags of the one access log's four parts."""
    (group,) = log_groups(client, "/aws/vendedlogs/")
    names = {kind: one.get("id") or one["name"] for kind, one in access_log_parts(client).items()}
    return [log_tags(client, kind, name) for kind, name in {"log-group": group, **names}.items()]


def distribution_parameters(balancer: dict[str, Any], **more: str) -> dict[str, str]:
    return {
        "ProjectName": "tools",
        "LoadBalancerArn": balancer["LoadBalancerArn"],
        "LoadBalancerDnsName": balancer["DNSName"],
        "LoadBalancerDomainName": "",
        "DomainName": "",
        "CertificateArn": "",
        "HostedZoneId": "",
        "WebAclArn": "",
        **more,
    }


def test_a_distribution_with_everything(
    client: Callable[..., Any],
    edge: Edge,
    cloudformation: Any,
    waf: Any,
    acm: Any,
    zone: tuple[str, str],
    balancer: dict[str, Any],
) -> None:
    zone_id, name = zone
    domain = f"mcp.{name}"
    acl = stacks.outputs(
        stacks.create(cloudformation, "edge-all-acl", template("waf"), {**BUNDLE, **WEB_ACL})
    )["WebAclArn"]
    certificate = stacks.outputs(
        stacks.create(
            cloudformation, "edge-all-cert", template("certificate"), certificate_parameters(domain, zone_id)
        )
    )["CertificateArn"]
    own_name = {"DomainName": domain, "CertificateArn": certificate, "HostedZoneId": zone_id}
    parameters = distribution_parameters(balancer, **own_name, WebAclArn=acl)
    stack = stacks.create(cloudformation, "edge-all", template("cloudfront"), parameters)
    assert stack["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(cloudformation, "edge-all")
    outputs = stacks.outputs(stack)
    assert outputs["ServerUrl"] == f"https://{domain}/mcp"

    # By its own name, with what MCP clients send.
    sent = {
        "Mcp-Session-Id": "s1",
        "MCP-Protocol-Version": "2025-06-18",
        "Last-Event-ID": "7",
        "Authorization": "Bearer token",
    }
    answer = edge.request("POST", outputs["ServerUrl"], headers=sent, content=b"{}")
    assert answer.status_code == 200
    arrived = answer.json()["headers"]
    assert {key: arrived[key.lower()] for key in sent} == sent
    assert arrived["host"] == domain
    assert answer.headers["strict-transport-security"].startswith("max-age=")
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "content-encoding" not in answer.headers
    plain = edge.request("GET", f"http://{domain}/mcp")
    assert (plain.status_code, plain.headers["location"]) == (301, f"https://{domain}/mcp")

    # Its access log, which comes and goes beside it.
    identity = {"ProjectName": "tools", "DistributionId": outputs["DistributionId"], "LogRetentionDays": "30"}
    dev, test = ({**BUNDLE, **identity, "Stage": stage} for stage in ("dev", "test"))
    log = stacks.create(cloudformation, "edge-all-log", template("edge-log"), dev)
    assert log["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(cloudformation, "edge-all-log")
    parts = access_log_parts(client)
    assert parts["delivery-source"]["resourceArns"][0].endswith(f":distribution/{outputs['DistributionId']}")
    assert log_groups(client, "/aws/vendedlogs/") == {stacks.outputs(log)["AccessLogGroupName"]: 30}
    assert access_log_tags(client) == [{"Project": "tools", "Stage": "dev"}] * 4
    assert all("tags" not in part for part in parts.values()), "as on AWS"
    changed = stacks.update(cloudformation, "edge-all-log", template("edge-log"), test)
    assert changed["StackStatus"] == "UPDATE_COMPLETE", stacks.failure_reasons(cloudformation, "edge-all-log")
    assert access_log_tags(client) == [{"Project": "tools", "Stage": "test"}] * 4
    assert access_log_parts(client) == parts
    stacks.delete(cloudformation, "edge-all-log")
    assert client("logs").describe_delivery_sources()["deliverySources"] == []
    assert log_groups(client, "/aws/vendedlogs/") == {}

    # What it uses can't go before it.
    (listed,) = waf.list_web_acls(Scope="CLOUDFRONT")["WebACLs"]
    one = {"Name": listed["Name"], "Scope": "CLOUDFRONT", "Id": listed["Id"]}
    assert refusal(waf.delete_web_acl, **one, LockToken=listed["LockToken"]) == "WAFAssociatedItemException"
    assert refusal(acm.delete_certificate, CertificateArn=certificate) == "ResourceInUseException"

    # The web ACL goes in place.
    changed = stacks.update(
        cloudformation, "edge-all", template("cloudfront"), distribution_parameters(balancer, **own_name)
    )
    assert changed["StackStatus"] == "UPDATE_COMPLETE"
    assert stacks.outputs(changed)["DistributionId"] == outputs["DistributionId"]

    for stack_name in ("edge-all-acl", "edge-all", "edge-all-cert"):
        assert stacks.delete(cloudformation, stack_name)["StackStatus"] == "DELETE_COMPLETE", stack_name
    assert (web_acls(waf), certificates(acm), log_groups(client)) == ([], {}, {})
    gone = edge.request("GET", outputs["ServerUrl"].replace(domain, outputs["DistributionDomainName"]))
    assert gone.status_code in {502, 503, 504}


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            {"WebAclArn": "arn:aws:wafv2:us-east-1:000000000000:global/webacl/none/x"},
            "InvalidWebACLId",
        ),
        (
            {"DomainName": "mcp.example.com", "CertificateArn": "arn:aws:acm:us-east-1:000000000000:none"},
            "InvalidViewerCertificate",
        ),
    ],
)
def test_a_distribution_with_what_is_not_there_is_refused(
    cloudformation: Any, balancer: dict[str, Any], more: dict[str, str], told: str
) -> None:
    name = unique("edge-refused")
    stack = stacks.create(
        cloudformation, name, template("cloudfront"), distribution_parameters(balancer, **more)
    )
    assert stack["StackStatus"] == "ROLLBACK_COMPLETE"
    assert told in stacks.failure_reasons(cloudformation, name)["Distribution"]
    stacks.delete(cloudformation, name)


def test_a_name_that_no_record_leads_to_does_not_resolve(
    edge: Edge, cloudformation: Any, zone: tuple[str, str], balancer: dict[str, Any]
) -> None:
    zone_id, name = zone
    domain = f"mcp.{name}"
    made = stacks.create(
        cloudformation, "edge-dark-cert", template("certificate"), certificate_parameters(domain, zone_id)
    )
    own_name = {"DomainName": domain, "CertificateArn": stacks.outputs(made)["CertificateArn"]}
    stack = stacks.create(
        cloudformation, "edge-dark", template("cloudfront"), distribution_parameters(balancer, **own_name)
    )
    outputs = stacks.outputs(stack)
    # The records are somebody else's to make, so the stack names CloudFront's own address.
    assert outputs["ServerUrl"] == f"https://{outputs['DistributionDomainName']}/mcp"
    assert edge.request("GET", outputs["ServerUrl"]).status_code == 200
    with pytest.raises(Exception, match="403"):
        edge.request("GET", f"https://{domain}/mcp")
    for stack_name in ("edge-dark", "edge-dark-cert"):
        stacks.delete(cloudformation, stack_name)
