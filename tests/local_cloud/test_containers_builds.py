"""CodeBuild on the local cloud: the source, the phases, the log, docker and the registry are real."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.containers.builds.buildspec import BuildspecError, parse
from local_cloud.launcher import LocalCloud

from .container_service import DOCKERFILE, Project, running, source, until

Client = Callable[..., Any]


@pytest.fixture(scope="module")
def project(client: Client) -> Project:
    return Project(client, "built")


def buildspec(*commands: str, phase: str = "build", **more: str) -> str:
    lines = "".join(f"      - {command}\n" for command in commands)
    rest = "".join(f"  {name}:\n    commands:\n      - {command}\n" for name, command in more.items())
    return f"version: 0.2\nphases:\n  {phase}:\n    commands:\n{lines}{rest}"


def phases(build: dict[str, Any]) -> dict[str, str]:
    return {phase["phaseType"]: phase.get("phaseStatus", "") for phase in build["phases"]}


def test_an_image_is_built_pushed_and_described_by_its_digest(project: Project, client: Client) -> None:
    build = project.build(source(), "v1")
    log = project.log(build)
    assert build["buildStatus"] == "SUCCEEDED", log
    assert build["buildComplete"] is True
    assert set(phases(build).values()) == {"SUCCEEDED", ""}
    assert build["logs"]["groupName"] == "/build/built"
    assert "deepLink" in build["logs"]
    assert "[Container]" in log
    assert "Login Succeeded" in log
    detail = client("ecr").describe_images(repositoryName="built", imageIds=[{"imageTag": "v1"}])[
        "imageDetails"
    ][0]
    assert f"v1: digest: {detail['imageDigest']}" in log
    # The same source under another tag is the same image.
    assert project.build(source(), "v2")["buildStatus"] == "SUCCEEDED"
    details = client("ecr").describe_images(repositoryName="built")["imageDetails"]
    assert [(each["imageDigest"], sorted(each["imageTags"])) for each in details] == [
        (detail["imageDigest"], ["v1", "v2"])
    ]


def test_a_failing_build_says_why_in_its_log_and_phase(project: Project) -> None:
    build = project.build(source(dockerfile=DOCKERFILE + "COPY missing.txt ./\n"), "broken")
    log = project.log(build)
    assert build["buildStatus"] == "FAILED"
    assert '"/missing.txt": not found' in log
    assert "Command did not exit successfully docker build" in log
    assert phases(build)["BUILD"] == "FAILED"
    failed = next(phase for phase in build["phases"] if phase["phaseType"] == "BUILD")
    assert failed["contexts"][0]["statusCode"] == "COMMAND_EXECUTION_ERROR"
    assert "exit status 1" in failed["contexts"][0]["message"]


def test_an_immutable_tag_can_not_be_moved(project: Project) -> None:
    assert project.build(source(), "fixed")["buildStatus"] == "SUCCEEDED"
    moved = project.build(source(dockerfile=DOCKERFILE + "ENV CHANGED=1\n"), "fixed")
    assert moved["buildStatus"] == "FAILED"
    assert "tag invalid" in project.log(moved)


@pytest.mark.parametrize(
    ("settings", "overrides", "message"),
    [
        ({"architecture": "amd64"}, {"environmentTypeOverride": "ARM_CONTAINER"}, None),
        ({"privileged": False}, {}, "Cannot connect to the Docker daemon"),
    ],
)
def test_docker_needs_a_fitting_build_environment(
    client: Client, settings: dict[str, Any], overrides: dict[str, Any], message: str | None
) -> None:
    project = Project(client, f"env-{'-'.join(settings)}", **settings)
    dockerfile = DOCKERFILE + "RUN python -m venv /opt/venv\n"
    build = project.build(source(dockerfile=dockerfile), "v1", **overrides)
    assert build["buildStatus"] == "FAILED"
    assert (message or "exec format error") in project.log(build)


def test_phases_follow_codebuilds_order_of_failure(project: Project) -> None:
    failing = project.build(
        source(),
        "a",
        buildspecOverride=buildspec(
            "/bin/false", phase="pre_build", build="echo built", post_build="echo done"
        ),
    )
    assert failing["buildStatus"] == "FAILED"
    assert (phases(failing)["PRE_BUILD"], "BUILD" in phases(failing)) == ("FAILED", False)
    late = project.build(
        source(),
        "b",
        buildspecOverride=buildspec("exit 3", post_build='echo "succeeding=$CODEBUILD_BUILD_SUCCEEDING"'),
    )
    assert late["buildStatus"] == "FAILED"
    kept = project.build(
        source(),
        "c",
        buildspecOverride=buildspec("export KEPT=yes", "cd /tmp", post_build='echo "$KEPT in $PWD"'),
    )
    assert kept["buildStatus"] == "SUCCEEDED"
    assert "yes in /tmp" in project.log(kept)
    after = project.build(
        source(),
        "d",
        buildspecOverride=buildspec("/bin/false", post_build='echo "succeeding=$CODEBUILD_BUILD_SUCCEEDING"'),
    )
    assert "succeeding=0" in project.log(after)


def test_variables_come_from_the_project_the_build_and_the_parameter_store(
    project: Project, client: Client
) -> None:
    client("ssm").put_parameter(Name="/built/colour", Value="green", Type="String")
    spec = "version: 0.2\nenv:\n  parameter-store:\n    COLOUR: /built/colour\n" + buildspec(
        'echo "$COLOUR $PLATFORM $IMAGE_TAG $AWS_REGION ${CODEBUILD_BUILD_ID%%:*} [$HOST_SECRET]"'
    ).removeprefix("version: 0.2\n")
    build = project.build(source(), "variables", buildspecOverride=spec)
    assert "green linux/arm64 variables us-east-1 built []" in project.log(build)


def test_a_stopped_build_leaves_no_process(project: Project, local_cloud: LocalCloud) -> None:
    build_id = project.start(source(), "stopped", buildspecOverride=buildspec("sleep 61.25"))
    until(lambda: running("sleep 61.25"), "the command runs")
    assert project.client("codebuild").stop_build(id=build_id)["build"]["buildStatus"] == "STOPPED"
    assert not running("sleep 61.25")
    time.sleep(0.3)
    assert project.finished(build_id)["buildStatus"] == "STOPPED"


def test_what_is_not_supported_is_refused(project: Project) -> None:
    with pytest.raises(ClientError, match="doesn't support fleetOverride"):
        project.client("codebuild").start_build(projectName="built", fleetOverride={"fleetArn": "x"})
    no_source = project.client("codebuild").start_build(
        projectName="built", sourceTypeOverride="S3", sourceLocationOverride="built-source/none.zip"
    )
    build = project.finished(no_source["build"]["id"])
    assert build["buildStatus"] == "FAILED"
    assert phases(build)["DOWNLOAD_SOURCE"] == "FAILED"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("version: 0.1\nphases: {}\n", "version"),
        ("phases:\n  build: [", "YAML_FILE_ERROR"),
        ("version: 0.2\nphases:\n  compile:\n    commands: [x]\n", "Unknown phases: compile"),
        ("version: 0.2\nphases:\n  build:\n    commands:\n      - a: b\n", "list of strings"),
        ("version: 0.2\n", "phases isn't declared"),
    ],
)
def test_a_wrong_buildspec_is_refused(text: str, message: str) -> None:
    with pytest.raises(BuildspecError, match=message):
        parse(text)
