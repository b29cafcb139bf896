"""``client.images``: images of the local cloud's ECR, found by tag or digest."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from ..images.store import Image, ImageMissingError, ImageStore
from .docker_errors import ImageNotFound

_REFERENCE = re.compile(
    r"(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/"
    r"(?P<repository>[^:@]+)(?::(?P<tag>[^@]+))?(?:@(?P<digest>sha256:[0-9a-f]{64}))?"
)


@dataclass(frozen=True)
class PulledImage:
    """What ministack holds of an image."""

    image: Image
    id: str
    """The manifest's digest."""

    def tag(self, repository: str, tag: str | None = None) -> bool:
        """Do nothing: a task's host keeps no tags."""
        return bool(repository or tag)


class Images:
    """Pulls from ministack's ECR, in the account and region that the reference names."""

    def __init__(self, store: ImageStore) -> None:
        self.store = store

    def pull(self, reference: str, **_options: object) -> PulledImage:
        """Find the image; raises ImageNotFound in the words of the container agent."""
        record = _find(reference)
        if record is None:
            raise ImageNotFound(
                f"pull image manifest has been retried 1 time(s): failed to resolve ref {reference}: "
                f"{reference}: "
                "not found"
            )
        try:
            image = self.store.load_manifest(record["imageManifest"])
        except ImageMissingError as error:
            raise ImageNotFound(f"{reference}: {error}") from error
        return PulledImage(image, record["imageDigest"])

    get = pull
    get_registry_data = pull


def _find(reference: str) -> dict[str, Any] | None:
    from ministack.core.responses import request_scope  # type: ignore[import-untyped]
    from ministack.services import ecr  # type: ignore[import-untyped]

    match = _REFERENCE.fullmatch(reference)
    if not match:
        raise ImageNotFound(
            f"{reference} isn't in the local cloud's ECR "
            f"(<account>.dkr.ecr.<region>.amazonaws.com/<repository>), and "
            "there is no other registry"
        )
    with request_scope(match["account"], match["region"]):
        for record in ecr._images.get(match["repository"]) or []:
            if match["digest"]:
                if record["imageDigest"] == match["digest"]:
                    return dict(record)
            elif (match["tag"] or "latest") in record.get("imageTags", []):
                return dict(record)
    return None
