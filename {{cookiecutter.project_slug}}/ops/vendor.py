"""The functions' dependencies, installed into a folder that doesn't depend on the machine."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from urllib.parse import urlsplit

from ops.errors import OpsError

FORMAT = "1"
"""Raised when the layout of a vendored folder changes, so that older caches are not used."""

# The Lambda runtime the wheels are chosen for; it decides environment markers and wheel tags.
_PYTHON = "3.13"
_INSTALL_NOTES = frozenset({"RECORD", "INSTALLER", "REQUESTED", "direct_url.json", "uv_cache.json"})
# botocore/data/<service>/<version>/service-2.json.gz; what all services share is one level up.
_DEPTH_OF_A_MODEL = 4
_NATIVE_SUFFIXES = frozenset({".so", ".pyd", ".dylib"})


def vendor_key(requirements: Path) -> str:
    """Return what a vendored folder is known by: a hash of the pinned requirements."""
    return hashlib.sha256(f"{FORMAT} {_PYTHON}\n".encode() + requirements.read_bytes()).hexdigest()[:16]


def vendor(requirements: Path, cache: Path) -> Path:
    """Install pinned, hashed wheels into a cached folder.

    Args:
        requirements: a requirements file with a hash for every line.
        cache: the folder that holds earlier results.

    Returns:
        The folder with the packages at its top.

    Raises:
        OpsError: the install failed, or a package holds compiled code.

    """
    folder = cache / f"vendor-{vendor_key(requirements)}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix="vendor-") as scratch:
        fresh = Path(scratch) / "packages"
        _install(requirements, fresh)
        _tidy(fresh)
        _refuse_native(fresh, requirements)
        try:
            fresh.rename(folder)
        except OSError:
            # Another run finished first; what it made is the same.
            if not folder.is_dir():
                raise
    return folder


def is_used(name: str, services: Collection[str]) -> bool:
    """Tell whether functions that call only these services need a file of the vendored folder.

    botocore has a folder of models for each of its 400 services, which is nine tenths of its size; it reads
    one when a client of that service is made, and what all share lies beside the folders.

    Args:
        name: the file's name in the folder, with forward slashes.
        services: botocore's names of services; empty if nothing is known of them.

    """
    parts = name.split("/")
    if not services or parts[1:2] != ["data"] or len(parts) < _DEPTH_OF_A_MODEL:
        return True
    # boto3's data are the models of its resource objects, which clients don't use.
    return parts[0] != "boto3" and (parts[0] != "botocore" or parts[2] in services)


def _install(requirements: Path, target: Path) -> None:
    complaints = []
    for command in _installers():
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        done = subprocess.run(  # noqa: S603 - a fixed command, no shell
            [*command, "--target", str(target), "--requirement", str(requirements)],
            env=_environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode == 0:
            return
        complaints.append(f"{' '.join(command[:4])}: {done.stderr.strip() or done.stdout.strip()}")
    reasons = "\n".join(complaints) or "neither uv nor pip is installed"
    raise OpsError(f"The dependencies in {requirements} could not be installed.\n{reasons}")


def _installers() -> list[list[str]]:
    """Return the install commands to try: uv, then pip, which may know an index that uv doesn't."""
    checks = [
        "--require-hashes",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--quiet",
        "--python-version",
        _PYTHON,
    ]
    on_path, commands = shutil.which("uv"), []
    uv = [on_path] if on_path else [sys.executable, "-m", "uv"] if importlib.util.find_spec("uv") else None
    if uv:
        platform = [
            "--python-platform",
            "aarch64-manylinux2014",
            "--link-mode",
            "copy",
            "--python",
            sys.executable,
        ]
        commands.append([*uv, "pip", "install", *checks, *platform])
    if importlib.util.find_spec("pip"):
        platform = ["--platform", "manylinux2014_aarch64", "--implementation", "cp"]
        quiet = ["--no-compile", "--disable-pip-version-check", "--no-input"]
        commands.append([sys.executable, "-m", "pip", "install", *checks, *platform, *quiet])
    return commands


def _environment() -> dict[str, str]:
    """Return the environment for an installer.

    Where AWS is an emulator on this machine, its proxy and certificates lead to nothing else: the package
    index is reached without them.
    """
    environment = dict(os.environ)
    if not _is_loopback(environment.get("AWS_ENDPOINT_URL", "")):
        return environment
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"):
        for variable in (name, name.lower()):
            if _is_loopback(environment.get(variable, "")):
                del environment[variable]
    for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if environment.get(name) == environment.get("AWS_CA_BUNDLE"):
            environment.pop(name, None)
    return environment


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host == "localhost" or host == "::1" or host.startswith("127.")


def _tidy(folder: Path) -> None:
    """Drop scripts and the installer's notes; `archive.walk` leaves out hidden and compiled files."""
    shutil.rmtree(folder / "bin", ignore_errors=True)
    for path in folder.glob("*.dist-info/*"):
        if path.name in _INSTALL_NOTES:
            path.unlink()


def _refuse_native(folder: Path, requirements: Path) -> None:
    native = sorted(
        path.relative_to(folder).parts[0] for path in folder.rglob("*") if path.suffix in _NATIVE_SUFFIXES
    )
    if native:
        names = ", ".join(dict.fromkeys(native))
        raise OpsError(f"{requirements} brings compiled code ({names}); the functions take pure Python only.")
