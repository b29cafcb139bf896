"""The module ``docker`` that ministack imports errors from, where the Docker SDK isn't installed."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
from types import ModuleType
from typing import Never


class DockerError(Exception):
    """Base of the engine's errors (``docker.errors.DockerException``)."""


class APIError(DockerError):
    """The engine refused (``docker.errors.APIError``)."""


class NotFound(APIError):  # noqa: N818 - the Docker SDK's name
    """No such container (``docker.errors.NotFound``)."""


class ImageNotFound(NotFound):
    """No such image (``docker.errors.ImageNotFound``)."""


def install_docker_module() -> None:
    """Register ``docker`` and ``docker.errors`` in ``sys.modules`` unless the Docker SDK is installed.

    ministack runs ``from docker.errors import ImageNotFound`` after a failed pull, and expects the engine's
    error to be that class. ``docker.from_env`` fails as it does on a machine without a daemon.
    """
    if "docker" in sys.modules or importlib.util.find_spec("docker") is not None:
        errors = importlib.import_module("docker.errors")
        errors.ImageNotFound = ImageNotFound  # type: ignore[attr-defined]
        return
    package, errors = ModuleType("docker"), ModuleType("docker.errors")
    package.__spec__ = importlib.machinery.ModuleSpec("docker", None, is_package=True)
    package.__path__ = []
    for name, value in {"DockerException": DockerError, "APIError": APIError, "NotFound": NotFound}.items():
        setattr(errors, name, value)
    errors.ImageNotFound = ImageNotFound  # type: ignore[attr-defined]
    package.errors = errors  # type: ignore[attr-defined]
    package.from_env = _no_daemon  # type: ignore[attr-defined]
    sys.modules.update({"docker": package, "docker.errors": errors})


def _no_daemon(*_args: object, **_options: object) -> Never:
    raise DockerError("the local cloud has no Docker daemon")
