"""`Custom::ContainerImage`: the server's image, built by CodeBuild from the source, pinned by digest.

The tag is the hash of the source's bytes with the architecture, so the same source is built once, and an
image of the wrong architecture can't be taken for the right one.
"""

import hashlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from custom_resources.aws import error_code, error_message
from custom_resources.errors import ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.properties import Raw, Update, choice, required_text, text
from custom_resources.waiting import poll

if TYPE_CHECKING:
    from mypy_boto3_codebuild.type_defs import BuildTypeDef

logger = logging.getLogger(__name__)

TAG_HASH_DIGITS = 16
CHUNK_BYTES = 1024 * 1024
# Kept of the function's time for stopping a build that takes too long.
STOP_SECONDS = 20.0
STOP_SHARE = 0.2
# A pushed tag shows in ECR within seconds.
PUSH_SECONDS = 60.0
LOG_EVENTS_READ = 60
LOG_CHARACTERS_SHOWN = 200
# CodeBuild's own remarks, which follow the lines of the command that failed.
RUNNER_PREFIX = "[Container]"


@dataclass(frozen=True)
class ContainerImageProperties:
    """Properties of `Custom::ContainerImage`."""

    build_project: str = text(
        r"[A-Za-z0-9][A-Za-z0-9\-_]{1,254}",
        "the name of a CodeBuild project",
        description="Project that builds the source and pushes the image with the tag `$IMAGE_TAG`.",
    )
    repository_name: str = text(
        r"[a-z0-9][a-z0-9._/\-]{1,255}",
        "the name of an ECR repository",
        description="Repository the project pushes to.",
        update=Update.REPLACEMENT,
    )
    source_bucket: str = text(
        r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]",
        "the name of an S3 bucket",
        description="Bucket of the zipped source.",
    )
    source_key: str = text(
        r"[^\s].{0,1023}",
        "the key of the zipped source in the bucket",
        description="Key of the zipped source. Other bytes make another tag, and so a build.",
    )
    architecture: str = choice(
        "ARM64", "X86_64", description="Architecture of the image; must be the project's."
    )


class ContainerImage(Resource[ContainerImageProperties]):
    """Sees to it that the image of a zipped source is in the repository: built unless it is there already.

    The tag is the first 16 hexadecimal digits of the SHA-256 of the source's bytes, with `-arm64` or
    `-x86_64`. A build that outlasts the function is stopped.
    """

    model = ContainerImageProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "ImageUri": "The image by digest: `<registry>/<repository>@sha256:…`.",
        "ImageDigest": "Its digest, `sha256:…`.",
        "ImageTag": "Its tag.",
    }
    failures = {  # noqa: RUF012
        "the source can't be read": "check bucket, key and the function's permission",
        "ended FAILED in phase …": (
            "the build's last lines follow; the whole log is in the project's log group"
        ),
        "took longer than the function may run": (
            "a bigger compute type, a smaller build, or a longer `Timeout` of the function"
        ),
        "pushed no …": "the buildspec must push `$IMAGE_TAG` to this repository",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `container-image|<RepositoryName>`."""
        return f"container-image|{required_text(raw, 'RepositoryName')}"

    def create(self, request: Request, properties: ContainerImageProperties) -> Attributes:
        """Return the image of this source, built now where the repository doesn't have it."""
        tag = self._tag(properties)
        registry_uri = self._repository_uri(properties)
        digest = self._digest(properties.repository_name, tag)
        if digest is None:
            digest = self._build(request, properties, tag)
        else:
            logger.info("%s has %s already", properties.repository_name, tag)
        return {"ImageUri": f"{registry_uri}@{digest}", "ImageDigest": digest, "ImageTag": tag}

    def update(
        self,
        request: Request,
        properties: ContainerImageProperties,
        previous: ContainerImageProperties | None,  # noqa: ARG002 - the interface
    ) -> Attributes:
        """Do what `create` does; images of earlier sources stay, for running tasks and rollbacks."""
        return self.create(request, properties)

    def delete(self, request: Request, properties: ContainerImageProperties | None) -> None:
        """Leave the images: they are the repository's, and go with it."""

    def _tag(self, properties: ContainerImageProperties) -> str:
        bucket, key = properties.source_bucket, properties.source_key
        self.runtime.doing(f"reading s3://{bucket}/{key}")
        digest = hashlib.sha256()
        try:
            answer = self.runtime.call(lambda: self.runtime.clients.s3().get_object(Bucket=bucket, Key=key))
            for chunk in answer["Body"].iter_chunks(CHUNK_BYTES):
                digest.update(chunk)
        except Exception as error:
            raise ResourceError(
                f"The source s3://{bucket}/{key} can't be read: {error_message(error)}"
            ) from error
        return f"{digest.hexdigest()[:TAG_HASH_DIGITS]}-{properties.architecture.lower()}"

    def _repository_uri(self, properties: ContainerImageProperties) -> str:
        name = properties.repository_name
        try:
            answer = self.runtime.call(
                lambda: self.runtime.clients.ecr().describe_repositories(repositoryNames=[name])
            )
        except Exception as error:
            raise ResourceError(f"ECR repository {name} can't be read: {error_message(error)}") from error
        return answer["repositories"][0]["repositoryUri"]

    def _digest(self, repository: str, tag: str) -> str | None:
        """Return the digest of a tag, None where the repository doesn't have it."""
        try:
            answer = self.runtime.call(
                lambda: self.runtime.clients.ecr().describe_images(
                    repositoryName=repository, imageIds=[{"imageTag": tag}]
                )
            )
        except Exception as error:
            if error_code(error) == "ImageNotFoundException":
                return None
            raise
        details = answer["imageDetails"]
        return details[0]["imageDigest"] if details else None

    def _build(self, request: Request, properties: ContainerImageProperties, tag: str) -> str:
        codebuild = self.runtime.clients.codebuild()
        answer = self.runtime.call(
            lambda: codebuild.start_build(
                projectName=properties.build_project,
                sourceTypeOverride="S3",
                sourceLocationOverride=f"{properties.source_bucket}/{properties.source_key}",
                environmentVariablesOverride=[{"name": "IMAGE_TAG", "value": tag, "type": "PLAINTEXT"}],
                # The same request delivered again within minutes gets the same build.
                idempotencyToken=hashlib.sha256(request.request_id.encode()).hexdigest(),
            )
        )
        build_id = answer["build"]["id"]
        self.runtime.doing(f"waiting for build {build_id}")
        try:
            build = self._finished(build_id)
        except Exception:
            self._stop(build_id)
            raise
        if build["buildStatus"] != "SUCCEEDED":
            # Tags are immutable: where another build pushed this one meanwhile, the image is there all the
            # same.
            digest = self._digest(properties.repository_name, tag)
            if digest is None:
                raise ResourceError(self._why(build))
            return digest
        return self._pushed(properties.repository_name, tag, build_id)

    def _finished(self, build_id: str) -> "BuildTypeDef":
        codebuild = self.runtime.clients.codebuild()
        limit = self.runtime.deadline
        limit = limit.earlier_by(min(STOP_SECONDS, limit.remaining() * STOP_SHARE))
        phase = ["SUBMITTED"]

        def attempt() -> "BuildTypeDef | None":
            builds = self.runtime.call(lambda: codebuild.batch_get_builds(ids=[build_id]))["builds"]
            if not builds:
                return None
            phase[0] = builds[0].get("currentPhase", phase[0])
            return builds[0] if builds[0]["buildStatus"] != "IN_PROGRESS" else None

        return poll(
            attempt,
            limit,
            lambda: (
                f"Build {build_id} took longer than the function may run and was stopped in phase {phase[0]}"
            ),
        )

    def _stop(self, build_id: str) -> None:
        try:
            self.runtime.call(lambda: self.runtime.clients.codebuild().stop_build(id=build_id))
        except Exception as error:  # the reason for stopping is what must be told
            logger.warning("Build %s couldn't be stopped: %s", build_id, error_message(error))

    def _pushed(self, repository: str, tag: str, build_id: str) -> str:
        return poll(
            lambda: self._digest(repository, tag),
            self.runtime.deadline.share(1, at_most=PUSH_SECONDS),
            lambda: f"Build {build_id} succeeded but pushed no {repository}:{tag}; check its buildspec",
        )

    def _why(self, build: "BuildTypeDef") -> str:
        """Return the reason a build failed, the end of its log last."""
        failed = [
            phase for phase in build.get("phases", []) if phase.get("phaseStatus") not in (None, "SUCCEEDED")
        ]
        where = failed[0].get("phaseType", "") if failed else build.get("currentPhase", "")
        contexts = [context.get("message", "") for phase in failed for context in phase.get("contexts", [])]
        cause = self._log_end(build) or "; ".join(filter(None, contexts)) or "CodeBuild gave no cause"
        return f"Build {build['id']} ended {build['buildStatus']} in phase {where}. Its last lines: {cause}"

    def _log_end(self, build: "BuildTypeDef") -> str:
        """Return the last lines that the build's commands wrote, "" where the log can't be read."""
        where = build.get("logs", {})
        group, stream = where.get("groupName"), where.get("streamName")
        if not group or not stream:
            return ""
        try:
            events = self.runtime.call(
                lambda: self.runtime.clients.logs().get_log_events(
                    logGroupName=group, logStreamName=stream, limit=LOG_EVENTS_READ, startFromHead=False
                )
            )["events"]
        except Exception as error:
            logger.warning("The log of build %s can't be read: %s", build["id"], error_message(error))
            return ""
        lines = [event.get("message", "").strip() for event in events]
        written = [line for line in lines if line and not line.startswith(RUNNER_PREFIX)]
        return " / ".join(written or [line for line in lines if line])[-LOG_CHARACTERS_SHOWN:]


handler = lambda_handler_for(ContainerImage)
