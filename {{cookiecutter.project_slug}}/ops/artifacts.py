"""The artifact bucket: made when missing, checked when there, filled with bundles."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from boto3.s3.transfer import TransferConfig
from botocore.exceptions import ClientError
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from ops.aws import Aws
from ops.bundle import Bundle
from ops.console import Screen
from ops.errors import USAGE, OpsError, error_code

if TYPE_CHECKING:
    from mypy_boto3_s3.type_defs import ObjectIdentifierTypeDef

_WORKERS = 8
# One PUT per object keeps the ETag equal to the MD5 of the bytes: so an unchanged object is recognised.
_ONE_PUT = TransferConfig(multipart_threshold=5 * 1024**3, use_threads=False)


@dataclass(frozen=True)
class Upload:
    """What an upload did: how many objects were sent, and how many were there already."""

    sent: int
    kept: int


def default_bucket(aws: Aws) -> str:
    """Return the name of the bucket that the projects of an account and region share."""
    return f"fastmcp-artifacts-{aws.account}-{aws.region}"


def has_bucket(aws: Aws, bucket: str) -> bool:
    """Tell whether the bucket is there; if it is, check that it is ours and in this region.

    Raises:
        OpsError: it lies in another region, or belongs to another account.

    """
    place = _bucket_region(aws, bucket)
    if place is not None and place != aws.region:
        raise OpsError(
            f"The bucket {bucket} is in {place}, the stack in {aws.region}: Lambda and CodeBuild take "
            f"artifacts from their own region only. Leave --bucket out, or name a bucket in {aws.region}.",
            USAGE,
        )
    return place is not None


def _bucket_region(aws: Aws, bucket: str) -> str | None:
    """Return the region of a bucket; None if there is no such bucket."""
    try:
        # The owner is checked so that nobody who took the name first receives the bundle.
        answer = aws.s3.head_bucket(Bucket=bucket, ExpectedBucketOwner=aws.account)
    except ClientError as error:
        headers = error.response.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        match error_code(error):
            case "404" | "NoSuchBucket":
                return None
            case "301" | "PermanentRedirect":
                return str(headers.get("x-amz-bucket-region", "another region"))
            case "403" | "AccessDenied":
                raise OpsError(
                    f"The bucket {bucket} exists, but account {aws.account} does not own it or "
                    "may not use it. Name another bucket with --bucket.",
                    USAGE,
                ) from error
        raise
    if answer.get("BucketRegion"):
        return answer["BucketRegion"]
    # us-east-1 is reported as nothing and eu-west-1 of old as EU: S3 API reference, GetBucketLocation.
    location = str(aws.s3.get_bucket_location(Bucket=bucket).get("LocationConstraint") or "us-east-1")
    return "eu-west-1" if location == "EU" else location


def create_bucket(aws: Aws, bucket: str) -> None:
    """Make a private, encrypted bucket that takes TLS requests only.

    Raises:
        OpsError: the name is taken.

    """
    s3 = aws.s3
    try:
        if aws.region == "us-east-1":
            s3.create_bucket(Bucket=bucket)
        else:
            s3.create_bucket(
                Bucket=bucket,
                CreateBucketConfiguration={"LocationConstraint": aws.region},  # type: ignore[typeddict-item]
            )
    except ClientError as error:
        if error_code(error) == "BucketAlreadyExists":
            raise OpsError(
                f"The bucket name {bucket} is taken by another account; use --bucket.", USAGE
            ) from error
        if error_code(error) != "BucketAlreadyOwnedByYou":
            raise
    s3.get_waiter("bucket_exists").wait(Bucket=bucket, WaiterConfig={"Delay": 1, "MaxAttempts": 30})
    s3.put_public_access_block(
        Bucket=bucket,
        PublicAccessBlockConfiguration={
            "BlockPublicAcls": True,
            "BlockPublicPolicy": True,
            "IgnorePublicAcls": True,
            "RestrictPublicBuckets": True,
        },
    )
    s3.put_bucket_encryption(
        Bucket=bucket,
        ServerSideEncryptionConfiguration={
            "Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}]
        },
    )
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps(_tls_only(aws.partition, bucket)))


def _tls_only(partition: str, bucket: str) -> dict[str, object]:
    arn = f"arn:{partition}:s3:::{bucket}"
    statement = {
        "Sid": "TlsOnly",
        "Effect": "Deny",
        "Principal": "*",
        "Action": "s3:*",
        "Resource": [arn, f"{arn}/*"],
        "Condition": {"Bool": {"aws:SecureTransport": "false"}},
    }
    return {"Version": "2012-10-17", "Statement": [statement]}


def upload(aws: Aws, bundle: Bundle, bucket: str, screen: Screen, *, workers: int = _WORKERS) -> Upload:
    """Send the bundle's files that the bucket doesn't hold yet.

    Args:
        aws: the session.
        bundle: what to send.
        bucket: where to.
        screen: shows a bar while bytes move.
        workers: how many files are sent at once.

    """
    there = dict(_objects(aws, bucket, bundle.prefix))
    fresh = {}
    for name, path in bundle.files.items():
        content = path.read_bytes()
        checksum = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if there.get(bundle.prefix + name) != (len(content), checksum):
            fresh[bundle.prefix + name] = path
    if fresh:
        _send(aws, bucket, fresh, screen, workers)
    return Upload(len(fresh), len(bundle.files) - len(fresh))


def _objects(aws: Aws, bucket: str, prefix: str) -> Iterator[tuple[str, tuple[int, str]]]:
    for page in aws.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for item in page.get("Contents", []):
            yield item["Key"], (item["Size"], item["ETag"].strip('"'))


def _send(aws: Aws, bucket: str, files: dict[str, Path], screen: Screen, workers: int) -> None:
    owner = {"ExpectedBucketOwner": aws.account}
    total = sum(path.stat().st_size for path in files.values())
    columns = (TextColumn("Upload"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    bar = Progress(*columns, console=screen.progress, transient=True, disable=not screen.live)
    with bar, ThreadPoolExecutor(workers) as pool:
        task = bar.add_task("upload", total=total)

        def advance(count: int) -> None:
            bar.advance(task, count)

        def send(key: str, path: Path, progress: Callable[[int], None] = advance) -> None:
            with path.open("rb") as file:
                aws.s3.upload_fileobj(file, bucket, key, ExtraArgs=owner, Callback=progress, Config=_ONE_PUT)

        for done in [pool.submit(send, key, path) for key, path in files.items()]:
            done.result()


def remove_artifacts(aws: Aws, bucket: str, slug: str) -> int:
    """Delete all bundles of a project, every version of them.

    Returns:
        How many objects (versions and delete markers included) were deleted; 0 if there is no such bucket.

    Raises:
        OpsError: some could not be deleted.

    """
    count = 0
    try:
        for page in aws.s3.get_paginator("list_object_versions").paginate(Bucket=bucket, Prefix=f"{slug}/"):
            doomed: list[ObjectIdentifierTypeDef] = [
                {"Key": item["Key"], "VersionId": item["VersionId"]}
                for item in (*page.get("Versions", []), *page.get("DeleteMarkers", []))
            ]
            if doomed:
                answer = aws.s3.delete_objects(
                    Bucket=bucket, Delete={"Objects": doomed, "Quiet": True}, ExpectedBucketOwner=aws.account
                )
                for failure in answer.get("Errors", []):
                    raise OpsError(
                        f"{failure.get('Key')} in {bucket} was not deleted: {failure.get('Message')}."
                    )
                count += len(doomed)
    except ClientError as error:
        if error_code(error) != "NoSuchBucket":
            raise
    return count
