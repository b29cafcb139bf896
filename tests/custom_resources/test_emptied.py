"""Custom::Emptied against a bucket and a repository in memory."""

from __future__ import annotations

from typing import Any

import pytest

from custom_resources.emptied import Emptied
from tests.custom_resources.conftest import Run
from tests.custom_resources.emptied_fakes import Bucket, Repository
from tests.custom_resources.fakes import ApiError, Clients


@pytest.fixture
def bucket() -> Bucket:
    return Bucket()


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def clients(bucket: Bucket, repository: Repository) -> Clients:
    return Clients(s3=bucket, ecr=repository)


BUCKET = {"BucketName": "access-logs"}
REPOSITORY = {"RepositoryName": "tools"}


def delete(run: Run, clients: Clients, properties: dict[str, str]) -> dict[str, Any]:
    name = next(iter(properties.values()))
    response = run(Emptied, clients, "Delete", properties, physical_id=f"emptied|{name}")
    assert response["PhysicalResourceId"] == f"emptied|{name}"
    return response


@pytest.mark.parametrize("properties", [BUCKET, REPOSITORY])
@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_create_and_update_touch_nothing(
    run: Run, clients: Clients, bucket: Bucket, repository: Repository, kind: str, properties: dict[str, str]
) -> None:
    response = run(Emptied, clients, kind, properties, physical_id="emptied|older")
    assert response["Status"] == "SUCCESS"
    assert response["PhysicalResourceId"] == f"emptied|{next(iter(properties.values()))}"
    assert bucket.calls == repository.calls == []


def test_every_version_and_delete_marker_goes(run: Run, clients: Clients, bucket: Bucket) -> None:
    bucket.entries = [(f"log/{number:05}", "v1", False) for number in range(1500)]
    bucket.entries += [(f"log/{number:05}", "v2", True) for number in range(0, 1500, 2)]
    bucket.entries += [("plain", "null", False)]
    assert delete(run, clients, BUCKET)["Status"] == "SUCCESS"
    assert bucket.entries == []
    assert len(bucket.called("delete_objects")) == 3


def test_objects_that_arrive_meanwhile_go_too(run: Run, clients: Clients, bucket: Bucket) -> None:
    bucket.entries, bucket.arriving = [("a", "1", False)], [("late", "1", False)]
    assert delete(run, clients, BUCKET)["Status"] == "SUCCESS"
    assert bucket.entries == []


def test_an_object_that_cannot_be_deleted_is_named(run: Run, clients: Clients, bucket: Bucket) -> None:
    bucket.entries, bucket.locked = [("free", "1", False), ("kept", "1", False)], {"kept"}
    response = delete(run, clients, BUCKET)
    assert response["Status"] == "FAILED"
    assert response["Reason"] == "1 objects of bucket access-logs can't be deleted: kept: Object is locked"


@pytest.mark.parametrize("properties", [BUCKET, REPOSITORY])
def test_what_is_gone_is_empty(
    run: Run, clients: Clients, bucket: Bucket, repository: Repository, properties: dict[str, str]
) -> None:
    bucket.exists = repository.exists = False
    assert delete(run, clients, properties)["Status"] == "SUCCESS"


def test_another_refusal_is_told(run: Run, clients: Clients, bucket: Bucket) -> None:
    bucket.errors["list_object_versions"] = [ApiError("AccessDenied", "Access Denied", 403)]
    response = delete(run, clients, BUCKET)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("Access Denied")


def test_a_bucket_that_keeps_being_written_to_is_reported_in_time(
    run: Run, clients: Clients, bucket: Bucket
) -> None:
    bucket.entries = [("a", "1", False)]
    original = bucket.delete_objects

    def and_again(**parameters: Any) -> dict[str, Any]:
        bucket.arriving = [("a", "1", False)]
        return original(**parameters)

    bucket.delete_objects = and_again  # type: ignore[assignment,method-assign]
    response = delete(run, clients, BUCKET)
    assert response["Status"] == "FAILED"
    assert "stop what writes to it" in response["Reason"]


def test_throttling_is_waited_out(run: Run, clients: Clients, bucket: Bucket) -> None:
    bucket.entries = [("a", "1", False)]
    bucket.errors["delete_objects"] = [ApiError("SlowDown", "Please reduce your request rate.", 503)] * 2
    assert delete(run, clients, BUCKET)["Status"] == "SUCCESS"


def test_a_repository_of_many_images_is_emptied(run: Run, clients: Clients, repository: Repository) -> None:
    repository.images = {f"sha256:{number:064x}" for number in range(250)}
    assert delete(run, clients, REPOSITORY)["Status"] == "SUCCESS"
    assert repository.images == set()
    assert len(repository.called("batch_delete_image")) == 3


def test_images_of_an_index_go_after_it(run: Run, clients: Clients, repository: Repository) -> None:
    parts = {f"sha256:{number:064x}" for number in (1, 2)}
    repository.images = {f"sha256:{9:064x}", *parts}
    repository.indexes = {f"sha256:{9:064x}": parts}
    assert delete(run, clients, REPOSITORY)["Status"] == "SUCCESS"
    assert repository.images == set()


def test_an_image_that_stays_is_explained(run: Run, clients: Clients, repository: Repository) -> None:
    repository.images = repository.stuck = {f"sha256:{1:064x}"}
    response = delete(run, clients, REPOSITORY)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("KmsError: KmsError of it")


@pytest.mark.parametrize("properties", [{}, {**BUCKET, **REPOSITORY}])
def test_exactly_one_name_is_wanted(run: Run, clients: Clients, properties: dict[str, str]) -> None:
    response = run(Emptied, clients, "Create", properties)
    assert response["Status"] == "FAILED"
    assert "exactly one of the properties BucketName and RepositoryName" in response["Reason"]
    assert response["PhysicalResourceId"]


@pytest.mark.parametrize(
    ("physical_id", "properties"),
    [("tools-dev-Emptied-1A2B3C", BUCKET), ("emptied|other", BUCKET), ("emptied|access-logs", {})],
)
def test_delete_of_an_id_that_does_not_name_the_bucket_deletes_nothing(
    run: Run, clients: Clients, bucket: Bucket, physical_id: str, properties: dict[str, str]
) -> None:
    bucket.entries = [("a", "1", False)]
    response = run(Emptied, clients, "Delete", properties, physical_id=physical_id)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert bucket.entries == [("a", "1", False)]


def test_two_objects_that_stay_are_named_and_the_rest_counted(
    run: Run, clients: Clients, bucket: Bucket
) -> None:
    bucket.entries = [(key, "v1", False) for key in ("a", "b", "c")]
    bucket.locked = {"a", "b", "c"}
    response = run(Emptied, clients, "Delete", BUCKET, physical_id="emptied|access-logs")
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith(
        "3 objects of bucket access-logs can't be deleted: a: Object is locked; b: Object is locked"
    )
