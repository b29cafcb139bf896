"""`Custom::Emptied`: empties a bucket or an image repository when the stack lets go of it.

CloudFormation can't delete a bucket or a repository that has something in it. Depend this on the bucket or
repository, so that it is deleted, and empties, first.
"""

import logging
from dataclasses import dataclass
from typing import Any

from custom_resources.aws import error_code
from custom_resources.errors import PropertyError, ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.properties import Raw, Update, required_text, text
from custom_resources.waiting import poll

logger = logging.getLogger(__name__)

# Limits of DeleteObjects and BatchDeleteImage.
OBJECTS_PER_CALL = 1000
IMAGES_PER_CALL = 100
SHOWN_FAILURES = 2


@dataclass(frozen=True)
class EmptiedProperties:
    """Properties of `Custom::Emptied`: exactly one of the two names."""

    bucket_name: str = text(
        r"[a-z0-9][a-z0-9.\-]{1,61}[a-z0-9]",
        "the name of an S3 bucket",
        default="",
        description="Bucket to empty of all object versions. Either this or `RepositoryName`.",
        update=Update.REPLACEMENT,
    )
    repository_name: str = text(
        r"[a-z0-9][a-z0-9._/\-]{1,255}",
        "the name of an ECR repository",
        default="",
        description="Repository to empty of all images. Either this or `BucketName`.",
        update=Update.REPLACEMENT,
    )

    def __post_init__(self) -> None:
        """Refuse both and neither."""
        if bool(self.bucket_name) == bool(self.repository_name):
            raise PropertyError("Give exactly one of the properties BucketName and RepositoryName")


class Emptied(Resource[EmptiedProperties]):
    """Empties a bucket or an image repository on Delete: CloudFormation can't delete either with contents.

    The `Ref` to the bucket makes this resource depend on it, so that it goes, and empties, first. Whatever
    writes to the bucket must depend on this resource, so that it stops before.
    """

    model = EmptiedProperties
    failures = {  # noqa: RUF012 - ClassVar in the base
        "… objects can't be deleted": "look for object lock, or a bucket policy that denies it",
        "isn't empty yet": "stop what writes to it, and delete the stack again",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `emptied|<name>`."""
        return f"emptied|{required_text(raw, 'BucketName' if 'BucketName' in raw else 'RepositoryName')}"

    def create(self, request: Request, properties: EmptiedProperties) -> Attributes:  # noqa: ARG002 - does nothing
        """Do nothing."""
        return {}

    def update(
        self,
        request: Request,  # noqa: ARG002 - does nothing
        properties: EmptiedProperties,  # noqa: ARG002
        previous: EmptiedProperties | None,  # noqa: ARG002
    ) -> Attributes:
        """Do nothing; another name makes another physical id, and CloudFormation then deletes the old one."""
        return {}

    def delete(self, request: Request, properties: EmptiedProperties | None) -> None:
        """Remove every object version, delete marker or image; what is gone is empty."""
        name = "" if properties is None else properties.bucket_name or properties.repository_name
        if properties is None or request.physical_resource_id != f"emptied|{name}":
            logger.info("%s names nothing to empty", request.physical_resource_id)
        elif properties.bucket_name:
            self._empty_bucket(name)
        else:
            self._empty_repository(name)

    def _empty_bucket(self, bucket: str) -> None:
        self.runtime.doing(f"emptying bucket {bucket}")
        poll(
            lambda: self._delete_versions(bucket),
            self.runtime.deadline,
            lambda: f"Bucket {bucket} isn't empty yet; stop what writes to it and delete the stack again",
        )

    def _delete_versions(self, bucket: str) -> bool | None:
        """Delete what one listing shows; True when it showed nothing. Writers may add to it meanwhile."""
        s3 = self.runtime.clients.s3()
        found = False
        position: dict[str, Any] = {}
        while True:
            where = position
            try:
                page = self.runtime.call(
                    lambda where=where: s3.list_object_versions(  # type: ignore[misc]
                        Bucket=bucket, MaxKeys=OBJECTS_PER_CALL, **where
                    )
                )
            except Exception as error:
                if error_code(error) == "NoSuchBucket":
                    return True
                raise
            entries = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            objects = [{"Key": entry["Key"], "VersionId": entry["VersionId"]} for entry in entries]
            for start in range(0, len(objects), OBJECTS_PER_CALL):
                found = True
                self._delete_objects(bucket, objects[start : start + OBJECTS_PER_CALL])
            if not page.get("IsTruncated"):
                return None if found else True
            position = {
                "KeyMarker": page["NextKeyMarker"],
                "VersionIdMarker": page.get("NextVersionIdMarker", ""),
            }
            if self.runtime.deadline.remaining() <= 0:
                return None

    def _delete_objects(self, bucket: str, objects: list[dict[str, str]]) -> None:
        answer = self.runtime.call(
            lambda: self.runtime.clients.s3().delete_objects(
                Bucket=bucket,
                Delete={"Objects": objects, "Quiet": True},  # type: ignore[typeddict-item]
            )
        )
        failures = answer.get("Errors", [])
        if failures:
            shown = "; ".join(f"{one.get('Key')}: {one.get('Message')}" for one in failures[:SHOWN_FAILURES])
            raise ResourceError(f"{len(failures)} objects of bucket {bucket} can't be deleted: {shown}")

    def _empty_repository(self, repository: str) -> None:
        self.runtime.doing(f"emptying repository {repository}")
        failures: list[str] = []

        def attempt() -> bool | None:
            failures[:] = []
            return self._delete_images(repository, failures)

        poll(
            attempt,
            self.runtime.deadline,
            lambda: (
                f"Repository {repository} isn't empty yet; delete the stack again. "
                f"{'; '.join(failures[:SHOWN_FAILURES]) or 'Images are still being pushed'}"
            ),
        )

    def _delete_images(self, repository: str, failures: list[str]) -> bool | None:
        """Delete what one listing shows; True when it showed nothing.

        An image that an index refers to can be deleted only after the index, hence in a later round.
        """
        ecr = self.runtime.clients.ecr()
        digests: set[str] = set()
        token: dict[str, Any] = {}
        while True:
            where = token
            try:
                page = self.runtime.call(
                    lambda where=where: ecr.list_images(repositoryName=repository, **where)  # type: ignore[misc]
                )
            except Exception as error:
                if error_code(error) == "RepositoryNotFoundException":
                    return True
                raise
            digests.update(image["imageDigest"] for image in page.get("imageIds", []))
            if not page.get("nextToken"):
                break
            token = {"nextToken": page["nextToken"]}
        ordered = sorted(digests)
        for start in range(0, len(ordered), IMAGES_PER_CALL):
            batch = ordered[start : start + IMAGES_PER_CALL]
            answer = self.runtime.call(
                lambda batch=batch: ecr.batch_delete_image(  # type: ignore[misc]
                    repositoryName=repository, imageIds=[{"imageDigest": digest} for digest in batch]
                )
            )
            failures.extend(
                f"{one.get('failureCode')}: {one.get('failureReason')}"
                for one in answer.get("failures", [])
                if one.get("failureCode") != "ImageNotFound"
            )
        return True if not ordered else None


handler = lambda_handler_for(Emptied)
