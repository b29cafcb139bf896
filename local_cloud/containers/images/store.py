"""Where built images are, and the manifest by which a registry knows them."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
_CONFIG_TYPE = "application/vnd.docker.container.image.v1+json"
_LAYER_TYPE = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_UNUSED_SECONDS = 14 * 24 * 3600


class ImageMissingError(Exception):
    """The image's files aren't on this machine."""


@dataclass(frozen=True)
class Image:
    """An image: its content hash, its configuration (in docker's format) and its tree."""

    content: str
    """SHA-256 (hex) of what it was built from."""
    config: dict[str, Any]
    root: Path

    @property
    def platform(self) -> str:
        """``linux/arm64`` or ``linux/amd64``."""
        return f"{self.config['os']}/{self.config['architecture']}"

    @property
    def config_digest(self) -> str:
        """Docker's image id."""
        return _digest(_canonical(self.config))

    @property
    def manifest(self) -> str:
        """Give the manifest that a registry stores; the same source gives the same text."""
        config = _canonical(self.config)
        layer = f"sha256:{self.content}"
        return _canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": {"mediaType": _CONFIG_TYPE, "size": len(config), "digest": _digest(config)},
                "layers": [{"mediaType": _LAYER_TYPE, "size": len(config), "digest": layer}],
            }
        )

    @property
    def digest(self) -> str:
        """The digest that ``repository@sha256:…`` names."""
        return _digest(self.manifest)


class ImageStore:
    """Images by content hash, in a directory that several clouds may share."""

    def __init__(self, directory: Path, tag: str) -> None:
        self.directory = directory
        self.tag = tag
        """Interpreter and machine; the same source has other files for another interpreter."""

    def load(self, content: str) -> Image:
        """Return the image with this content hash; raises ImageMissingError."""
        path = self._path(content)
        if not (path / "image.json").is_file():
            raise ImageMissingError(
                f"the files of image content {content[:12]} aren't in {self.directory}: it was built with "
                f"another "
                "cache directory (LOCAL_CLOUD_CACHE) or interpreter; build it again"
            )
        os.utime(path)
        return Image(content, json.loads((path / "image.json").read_text()), path / "root")

    def load_manifest(self, manifest: str) -> Image:
        """Return the image that a registry's manifest describes; raises ImageMissingError."""
        try:
            layer = json.loads(manifest)["layers"][0]["digest"]
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise ImageMissingError(
                "the registry's manifest wasn't written by the local cloud's docker"
            ) from error
        return self.load(layer.removeprefix("sha256:"))

    @contextmanager
    def building(self, content: str) -> Iterator[Path]:
        """Hold the lock on ``content`` and give its directory, emptied unless the image is complete."""
        self.directory.mkdir(parents=True, exist_ok=True)
        path = self._path(content)
        with path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (path / "image.json").is_file():
                shutil.rmtree(path, ignore_errors=True)
                path.mkdir()
            yield path

    def complete(self, content: str, config: dict[str, Any]) -> Image:
        """Write the configuration, which makes the image available."""
        path = self._path(content)
        config = {**config, "rootfs": {"type": "layers", "diff_ids": [f"sha256:{content}"]}}
        partial = path / "image.json.partial"
        partial.write_text(_canonical(config))
        partial.rename(path / "image.json")
        return self.load(content)

    def prune(self) -> None:
        """Remove images that nobody used for two weeks."""
        limit = time.time() - _UNUSED_SECONDS
        for path in self.directory.glob("*") if self.directory.is_dir() else ():
            if path.is_dir() and path.stat().st_mtime < limit:
                shutil.rmtree(path, ignore_errors=True)
                path.with_suffix(".lock").unlink(missing_ok=True)

    def _path(self, content: str) -> Path:
        return self.directory / f"{self.tag}-{content[:32]}"


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
