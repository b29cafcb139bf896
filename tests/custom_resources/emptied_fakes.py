# ruff: noqa: N803 - the services' own parameter names
"""A bucket and a repository in memory."""

from __future__ import annotations

from typing import Any

from tests.custom_resources.fakes import ApiError, Backend


class Bucket(Backend):
    """A versioned bucket; `entries` are (key, version, is a delete marker)."""

    def __init__(self) -> None:
        super().__init__()
        self.exists = True
        self.entries: list[tuple[str, str, bool]] = []
        self.arriving: list[tuple[str, str, bool]] = []
        self.locked: set[str] = set()

    def list_object_versions(
        self, Bucket: str, MaxKeys: int, KeyMarker: str = "", VersionIdMarker: str = ""
    ) -> dict[str, Any]:
        if not self.exists:
            raise ApiError("NoSuchBucket", "The specified bucket does not exist", 404)
        after = [entry for entry in sorted(self.entries) if entry[:2] > (KeyMarker, VersionIdMarker)]
        page, rest = after[:MaxKeys], after[MaxKeys:]
        answer: dict[str, Any] = {"IsTruncated": bool(rest)}
        for kind, marker in (("Versions", False), ("DeleteMarkers", True)):
            chosen = [entry for entry in page if entry[2] is marker]
            if chosen:
                answer[kind] = [{"Key": key, "VersionId": version} for key, version, _ in chosen]
        if rest:
            answer.update(NextKeyMarker=page[-1][0], NextVersionIdMarker=page[-1][1])
        return answer

    def delete_objects(self, Bucket: str, Delete: dict[str, Any], **_: Any) -> dict[str, Any]:
        assert 0 < len(Delete["Objects"]) <= 1000
        going = {(one["Key"], one["VersionId"]) for one in Delete["Objects"]}
        refused = [key for key, _ in sorted(going) if key in self.locked]
        self.entries = [entry for entry in self.entries if entry[:2] not in going or entry[0] in self.locked]
        self.entries += self.arriving
        self.arriving = []
        errors = [{"Key": key, "Code": "AccessDenied", "Message": "Object is locked"} for key in refused]
        return {"Errors": errors} if errors else {}


class Repository(Backend):
    """Images by digest; an index refers to others, which can't go before it."""

    def __init__(self) -> None:
        super().__init__()
        self.exists = True
        self.images: set[str] = set()
        self.indexes: dict[str, set[str]] = {}
        self.stuck: set[str] = set()

    def list_images(self, repositoryName: str, nextToken: str = "0") -> dict[str, Any]:
        if not self.exists:
            raise ApiError("RepositoryNotFoundException", "no such repository")
        images, start = sorted(self.images), int(nextToken)
        page = images[start : start + 100]
        # An image with two tags is listed twice.
        answer: dict[str, Any] = {
            "imageIds": [{"imageDigest": digest, "imageTag": tag} for digest in page for tag in ("a", "b")]
        }
        if start + 100 < len(images):
            answer["nextToken"] = str(start + 100)
        return answer

    def batch_delete_image(self, repositoryName: str, imageIds: list[dict[str, str]]) -> dict[str, Any]:
        assert 0 < len(imageIds) <= 100
        failures = []
        for digest in [image["imageDigest"] for image in imageIds]:
            held = any(digest in parts for index, parts in self.indexes.items() if index in self.images)
            if held or digest in self.stuck:
                code = "ImageReferencedByManifestList" if held else "KmsError"
                failures.append(
                    {
                        "imageId": {"imageDigest": digest},
                        "failureCode": code,
                        "failureReason": f"{code} of it",
                    }
                )
            else:
                self.images.discard(digest)
        return {"failures": failures}
