import hashlib
import json
from collections.abc import Callable

import pytest
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from ops import artifacts
from ops.aws import Aws
from ops.bundle import build_bundle
from ops.console import Screen
from ops.errors import OpsError
from ops.project import Project

from tests.ops.conftest import ACCOUNT, REGION

Stub = Callable[[str], Stubber]
HEAD = {"Bucket": "mine", "ExpectedBucketOwner": ACCOUNT}


def test_default_name(aws: Aws) -> None:
    assert artifacts.default_bucket(aws) == f"fastmcp-artifacts-{ACCOUNT}-{REGION}"


def test_ours_in_this_region(aws: Aws, stub: Stub) -> None:
    stub("s3").add_response("head_bucket", {"BucketRegion": REGION}, HEAD)

    assert artifacts.has_bucket(aws, "mine") is True


def test_missing_is_made_closed(aws: Aws, stub: Stub) -> None:
    s3 = stub("s3")
    s3.add_client_error("head_bucket", "404", http_status_code=404, expected_params=HEAD)
    assert artifacts.has_bucket(aws, "mine") is False
    place = {"LocationConstraint": REGION}
    s3.add_response("create_bucket", {}, {"Bucket": "mine", "CreateBucketConfiguration": place})
    s3.add_response("head_bucket", {"ResponseMetadata": {"HTTPStatusCode": 200}}, {"Bucket": "mine"})
    block = dict.fromkeys(
        ("BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"), True
    )
    s3.add_response(
        "put_public_access_block", {}, {"Bucket": "mine", "PublicAccessBlockConfiguration": block}
    )
    s3.add_response(
        "put_bucket_encryption",
        {},
        {
            "Bucket": "mine",
            "ServerSideEncryptionConfiguration": {
                "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
            },
        },
    )
    s3.add_response("put_bucket_policy", {}, {"Bucket": "mine", "Policy": ANY})

    artifacts.create_bucket(aws, "mine")


def test_policy_denies_plain_http() -> None:
    policy = artifacts._tls_only("aws-cn", "mine")

    (statement,) = json.loads(json.dumps(policy))["Statement"]
    assert statement["Effect"] == "Deny"
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert statement["Resource"] == ["arn:aws-cn:s3:::mine", "arn:aws-cn:s3:::mine/*"]


def test_us_east_1_takes_no_location(stub: Stub, aws: Aws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "region", "us-east-1")
    s3 = stub("s3")
    s3.add_response("create_bucket", {}, {"Bucket": "mine"})
    s3.add_response("head_bucket", {"ResponseMetadata": {"HTTPStatusCode": 200}}, {"Bucket": "mine"})
    s3.add_client_error("put_public_access_block", "AccessDenied", http_status_code=403)

    with pytest.raises(ClientError, match="AccessDenied"):
        artifacts.create_bucket(aws, "mine")


@pytest.mark.parametrize("answer", ["body", "redirect", "location"])
def test_bucket_in_another_region_names_both(aws: Aws, stub: Stub, answer: str) -> None:
    s3 = stub("s3")
    if answer == "body":
        s3.add_response("head_bucket", {"BucketRegion": "us-west-2"}, HEAD)
    elif answer == "redirect":
        headers = {"HTTPHeaders": {"x-amz-bucket-region": "us-west-2"}}
        s3.add_client_error("head_bucket", "301", http_status_code=301, response_meta=headers)
    else:
        s3.add_response("head_bucket", {}, HEAD)
        s3.add_response("get_bucket_location", {"LocationConstraint": "us-west-2"}, {"Bucket": "mine"})

    with pytest.raises(OpsError, match=r"mine is in us-west-2, the stack in eu-west-1") as caught:
        artifacts.has_bucket(aws, "mine")

    assert "\n" not in str(caught.value)


def test_somebody_elses_bucket(aws: Aws, stub: Stub) -> None:
    stub("s3").add_client_error("head_bucket", "403", http_status_code=403)

    with pytest.raises(OpsError, match=f"account {ACCOUNT} does not own it"):
        artifacts.has_bucket(aws, "mine")


def test_only_what_is_missing_is_sent(aws: Aws, stub: Stub, project: Project, screen: Screen) -> None:
    bundle = build_bundle(project)
    contents = {bundle.prefix + name: path.read_bytes() for name, path in bundle.files.items()}
    new, stale, *same = contents
    there = [
        {"Key": key, "Size": len(contents[key]), "ETag": f'"{hashlib.md5(contents[key]).hexdigest()}"'}  # noqa: S324
        for key in same
    ]
    there.append({"Key": stale, "Size": len(contents[stale]), "ETag": '"of something else"'})
    s3 = stub("s3")
    s3.add_response("list_objects_v2", {"Contents": there}, {"Bucket": "mine", "Prefix": bundle.prefix})
    for key in (new, stale):
        expected = {"Bucket": "mine", "Key": key, "Body": ANY, "ExpectedBucketOwner": ACCOUNT}
        s3.add_response("put_object", {}, {**expected, "ChecksumAlgorithm": ANY})

    done = artifacts.upload(aws, bundle, "mine", screen, workers=1)

    assert (done.sent, done.kept) == (2, 2)


def test_a_failed_upload_is_told(aws: Aws, stub: Stub, project: Project, screen: Screen) -> None:
    s3 = stub("s3")
    s3.add_response("list_objects_v2", {})
    for _ in build_bundle(project).files:
        s3.add_client_error("put_object", "AccessDenied", http_status_code=403)

    with pytest.raises(ClientError, match="AccessDenied"):
        artifacts.upload(aws, build_bundle(project), "mine", screen, workers=1)


def test_remove_takes_every_version(aws: Aws, stub: Stub) -> None:
    s3 = stub("s3")
    page = {
        "Versions": [{"Key": "knowledge/1/a", "VersionId": "null"}],
        "DeleteMarkers": [{"Key": "knowledge/1/b", "VersionId": "v2"}],
    }
    s3.add_response("list_object_versions", page, {"Bucket": "mine", "Prefix": "knowledge/"})
    doomed = [{"Key": "knowledge/1/a", "VersionId": "null"}, {"Key": "knowledge/1/b", "VersionId": "v2"}]
    s3.add_response(
        "delete_objects",
        {},
        {"Bucket": "mine", "Delete": {"Objects": doomed, "Quiet": True}, "ExpectedBucketOwner": ACCOUNT},
    )

    assert artifacts.remove_artifacts(aws, "mine", "knowledge") == 2


def test_remove_tells_what_stayed(aws: Aws, stub: Stub) -> None:
    s3 = stub("s3")
    s3.add_response("list_object_versions", {"Versions": [{"Key": "knowledge/1/a", "VersionId": "null"}]})
    s3.add_response("delete_objects", {"Errors": [{"Key": "knowledge/1/a", "Message": "locked"}]})

    with pytest.raises(OpsError, match="knowledge/1/a in mine was not deleted: locked"):
        artifacts.remove_artifacts(aws, "mine", "knowledge")
