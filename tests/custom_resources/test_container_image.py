# ruff: noqa: A002, N803 - the services' own parameter names
"""Custom::ContainerImage against S3, CodeBuild, ECR and CloudWatch Logs in memory."""

from __future__ import annotations

import hashlib
import io
from typing import Any

import pytest
from botocore.response import StreamingBody

from custom_resources.container_image import ContainerImage
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import ApiError, Backend, Clients, Clock

SOURCE = b"zip of the source" * 1000
HASH = hashlib.sha256(SOURCE).hexdigest()[:16]
REPOSITORY_URI = "123456789012.dkr.ecr.us-east-1.amazonaws.com/tools"
DIGEST = f"sha256:{'d' * 64}"
PROPERTIES = {
    "BuildProject": "tools-build",
    "RepositoryName": "tools",
    "SourceBucket": "artifacts",
    "SourceKey": "tools/abc/source.zip",
    "Architecture": "ARM64",
}
PHYSICAL_ID = "container-image|tools"
BUILD_ID = "tools-build:11111111-2222-3333-4444-555555555555"
LOG = [
    "[Container] Entering phase BUILD",
    "Step 4/9 : RUN pip install",
    "",
    "ERROR: No matching distribution",
    "[Container] Phase complete: BUILD State: FAILED",
]


class Storage(Backend):
    def get_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        assert (Bucket, Key) == ("artifacts", "tools/abc/source.zip")
        return {"Body": StreamingBody(io.BytesIO(SOURCE), len(SOURCE))}


class Registry(Backend):
    def __init__(self) -> None:
        super().__init__()
        self.tags: dict[str, str] = {}

    def describe_repositories(self, repositoryNames: list[str]) -> dict[str, Any]:
        if repositoryNames != ["tools"]:
            raise ApiError("RepositoryNotFoundException", "The repository does not exist")
        return {"repositories": [{"repositoryName": "tools", "repositoryUri": REPOSITORY_URI}]}

    def describe_images(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        tag = imageIds[0]["imageTag"]
        if tag not in self.tags:
            raise ApiError("ImageNotFoundException", "no such tag")
        return {"imageDetails": [{"imageDigest": self.tags[tag], "imageTags": [tag]}]}


class Builds(Backend):
    """One project; a build goes through `statuses` and pushes its tag when it succeeds."""

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self.registry = registry
        self.statuses = ["IN_PROGRESS", "IN_PROGRESS", "SUCCEEDED"]
        self.pushes = True
        self.has_log = True
        self.tag = ""

    def start_build(self, environmentVariablesOverride: list[dict[str, str]], **_: Any) -> dict[str, Any]:
        self.tag = environmentVariablesOverride[0]["value"]
        return {"build": {"id": BUILD_ID, "buildStatus": "IN_PROGRESS"}}

    def batch_get_builds(self, ids: list[str]) -> dict[str, Any]:
        assert ids == [BUILD_ID]
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if status == "SUCCEEDED" and self.pushes:
            self.registry.tags[self.tag] = DIGEST
        build: dict[str, Any] = {"id": BUILD_ID, "buildStatus": status, "currentPhase": "BUILD"}
        if status not in {"SUCCEEDED", "IN_PROGRESS"}:
            message = "Error while executing command: docker build. Reason: exit status 1"
            build["phases"] = [
                {"phaseType": "INSTALL", "phaseStatus": "SUCCEEDED"},
                {"phaseType": "BUILD", "phaseStatus": "FAILED", "contexts": [{"message": message}]},
                {"phaseType": "COMPLETED"},
            ]
        if self.has_log:
            build["logs"] = {"groupName": "/aws/codebuild/tools-build", "streamName": "1111"}
        return {"builds": [build]}

    def stop_build(self, id: str) -> dict[str, Any]:
        return {"build": {"id": id, "buildStatus": "STOPPED"}}


class Logs(Backend):
    lines = LOG

    def get_log_events(self, startFromHead: bool, limit: int, **where: str) -> dict[str, Any]:
        assert where == {"logGroupName": "/aws/codebuild/tools-build", "logStreamName": "1111"}
        assert not startFromHead
        return {"events": [{"timestamp": 1, "message": f"{line}\n"} for line in self.lines[-limit:]]}


@pytest.fixture
def registry() -> Registry:
    return Registry()


@pytest.fixture
def builds(registry: Registry) -> Builds:
    return Builds(registry)


@pytest.fixture
def logs() -> Logs:
    return Logs()


@pytest.fixture
def storage() -> Storage:
    return Storage()


@pytest.fixture
def clients(storage: Storage, registry: Registry, builds: Builds, logs: Logs) -> Clients:
    return Clients(s3=storage, ecr=registry, codebuild=builds, logs=logs)


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_a_tag_that_exists_is_not_built_again(
    run: Run, clients: Clients, registry: Registry, builds: Builds, kind: str
) -> None:
    registry.tags[f"{HASH}-arm64"] = DIGEST
    response = run(ContainerImage, clients, kind, PROPERTIES, physical_id=PHYSICAL_ID)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert response["Data"] == {
        "ImageUri": f"{REPOSITORY_URI}@{DIGEST}",
        "ImageDigest": DIGEST,
        "ImageTag": f"{HASH}-arm64",
    }
    assert builds.calls == []


@pytest.mark.parametrize(("architecture", "suffix"), [("ARM64", "arm64"), ("X86_64", "x86_64")])
def test_a_new_source_is_built_for_its_architecture(
    run: Run, clients: Clients, builds: Builds, architecture: str, suffix: str
) -> None:
    response = run(ContainerImage, clients, "Create", {**PROPERTIES, "Architecture": architecture})
    assert response["Status"] == "SUCCESS"
    assert response["Data"]["ImageTag"] == f"{HASH}-{suffix}"
    assert response["Data"]["ImageDigest"] == DIGEST
    (started,) = builds.called("start_build")
    started.pop("idempotencyToken")
    assert started == {
        "projectName": "tools-build",
        "sourceTypeOverride": "S3",
        "sourceLocationOverride": "artifacts/tools/abc/source.zip",
        "environmentVariablesOverride": [
            {"name": "IMAGE_TAG", "value": f"{HASH}-{suffix}", "type": "PLAINTEXT"}
        ],
    }
    assert builds.called("stop_build") == []


def test_an_image_of_the_other_architecture_is_not_taken(
    run: Run, clients: Clients, registry: Registry, builds: Builds
) -> None:
    registry.tags[f"{HASH}-x86_64"] = f"sha256:{'e' * 64}"
    assert run(ContainerImage, clients, "Create", PROPERTIES)["Data"]["ImageDigest"] == DIGEST


def test_the_same_request_asks_for_the_same_build(
    run: Run, clients: Clients, builds: Builds, registry: Registry
) -> None:
    for request_id in ("request-1", "request-1", "request-2"):
        registry.tags.clear()
        run(ContainerImage, clients, "Create", PROPERTIES, request_id=request_id)
    first, again, other = (call["idempotencyToken"] for call in builds.called("start_build"))
    assert first == again != other


@pytest.mark.parametrize("status", ["FAILED", "FAULT", "TIMED_OUT", "STOPPED"])
def test_a_failed_build_tells_the_end_of_its_log(
    run: Run, clients: Clients, builds: Builds, status: str
) -> None:
    builds.statuses = ["IN_PROGRESS", status]
    response = run(ContainerImage, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert f"ended {status} in phase BUILD" in response["Reason"]
    assert response["Reason"].endswith("Step 4/9 : RUN pip install / ERROR: No matching distribution")


def test_of_a_long_log_the_end_is_told(run: Run, clients: Clients, builds: Builds, logs: Logs) -> None:
    builds.statuses = ["FAILED"]
    logs.lines = [f"line {number} {'x' * 50}" for number in range(500)] + ["the cause"]
    reason = run(ContainerImage, clients, "Create", PROPERTIES)["Reason"]
    assert reason.endswith("/ the cause")
    assert len(reason) <= 260


@pytest.mark.parametrize("has_log", [True, False])
def test_without_a_readable_log_the_phase_context_is_told(
    run: Run, clients: Clients, builds: Builds, logs: Logs, has_log: bool
) -> None:
    builds.statuses, builds.has_log = ["FAILED"], has_log
    logs.errors["get_log_events"] = [ApiError("ResourceNotFoundException", "no stream")]
    response = run(ContainerImage, clients, "Create", PROPERTIES)
    assert response["Reason"].endswith("Reason: exit status 1")


def test_a_build_that_lost_against_another_of_the_same_tag_is_no_failure(
    run: Run, clients: Clients, builds: Builds, registry: Registry
) -> None:
    builds.statuses = ["FAILED"]
    original = builds.batch_get_builds

    def meanwhile(ids: list[str]) -> dict[str, Any]:
        registry.tags[builds.tag] = DIGEST
        return original(ids)

    builds.batch_get_builds = meanwhile  # type: ignore[method-assign]
    response = run(ContainerImage, clients, "Create", PROPERTIES)
    assert (response["Status"], response["Data"]["ImageDigest"]) == ("SUCCESS", DIGEST)


def test_a_build_that_takes_too_long_is_stopped(
    run: Run, clients: Clients, builds: Builds, clock: Clock
) -> None:
    builds.statuses = ["IN_PROGRESS"]
    start = clock.now()
    response = run(ContainerImage, clients, "Create", PROPERTIES, seconds=600)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert "took longer" in response["Reason"]
    assert response["Reason"].endswith("phase BUILD")
    assert builds.called("stop_build") == [{"id": BUILD_ID}]
    assert clock.now() - start < 570


def test_a_build_whose_state_cannot_be_read_is_stopped(run: Run, clients: Clients, builds: Builds) -> None:
    builds.errors["batch_get_builds"] = [ApiError("AccessDeniedException", "not allowed")]
    builds.errors["stop_build"] = [ApiError("AccessDeniedException", "not allowed either")]
    response = run(ContainerImage, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert response["Reason"].endswith("not allowed")
    assert builds.called("stop_build") == [{"id": BUILD_ID}]


def test_throttling_while_waiting_is_waited_out(run: Run, clients: Clients, builds: Builds) -> None:
    builds.errors["batch_get_builds"] = [ApiError("ThrottlingException", "Rate exceeded")] * 4
    assert run(ContainerImage, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"


def test_a_build_that_pushes_nothing_is_told(run: Run, clients: Clients, builds: Builds) -> None:
    builds.pushes = False
    response = run(ContainerImage, clients, "Create", PROPERTIES)
    assert response["Status"] == "FAILED"
    assert f"pushed no tools:{HASH}-arm64" in response["Reason"]


def test_a_source_that_cannot_be_read_is_named(run: Run, clients: Clients, storage: Storage) -> None:
    storage.errors["get_object"] = [ApiError("NoSuchKey", "The specified key does not exist.", 404)]
    response = run(ContainerImage, clients, "Create", PROPERTIES)
    assert response["Reason"] == (
        "The source s3://artifacts/tools/abc/source.zip can't be read: The specified key does not exist."
    )


def test_a_missing_repository_is_named(run: Run, clients: Clients) -> None:
    response = run(ContainerImage, clients, "Create", {**PROPERTIES, "RepositoryName": "absent"})
    assert response["Reason"] == "ECR repository absent can't be read: The repository does not exist"
    assert response["PhysicalResourceId"] == "container-image|absent"


@pytest.mark.parametrize("missing", sorted(PROPERTIES))
def test_each_property_is_required(run: Run, clients: Clients, builds: Builds, missing: str) -> None:
    properties = {name: value for name, value in PROPERTIES.items() if name != missing}
    response = run(ContainerImage, clients, "Create", properties)
    assert response["Reason"] == f"Property {missing} is required"
    assert builds.calls == []


def test_delete_touches_nothing(
    run: Run, clients: Clients, storage: Storage, registry: Registry, builds: Builds
) -> None:
    response = run(ContainerImage, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert storage.calls == registry.calls == builds.calls == []
