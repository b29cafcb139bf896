"""The two images of the tests: a stand-in for the official Python image, and the project's own on top of it.

Both are named after a hash of what they are made from, so they are made once and found afterwards.
"""

from __future__ import annotations

import hashlib
import os
import ssl
import subprocess
import tempfile
from pathlib import Path

from .engine import Engine

LAYOUT = Path(__file__).with_name("official_layout.sh")
# Debian's releases and their Pythons: that of the official slim images, and that with the oldest Python which
# the server runs on.
PYTHON_VERSIONS = {"trixie": "3.13", "bookworm": "3.11"}
SUITE = os.environ.get("BASE_SUITE") or "trixie"
if SUITE not in PYTHON_VERSIONS:
    raise ValueError(f"BASE_SUITE={SUITE} is not among {', '.join(PYTHON_VERSIONS)}")
PYTHON_VERSION = PYTHON_VERSIONS[SUITE]
# The first three are what the official image adds to a minimal Debian.
BASE_PACKAGES = (
    "ca-certificates",
    "netbase",
    "tzdata",
    f"python{PYTHON_VERSION}",
    f"python{PYTHON_VERSION}-venv",
    "python3-pip-whl",
)
UNUSED = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*")
AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")


def base_image(engine: Engine) -> str:
    """Return the name of the base image, made with mmdebstrap if the store lacks it (about 30 seconds)."""
    command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(BASE_PACKAGES)}"]
    command += [f"--dpkgopt=path-exclude={pattern}" for pattern in UNUSED]
    command += [f'--customize-hook=sh {LAYOUT} "$1" {PYTHON_VERSION}', SUITE]
    recipe = [*BASE_PACKAGES, *UNUSED, SUITE, PYTHON_VERSION, LAYOUT.read_text()]
    tag = f"localhost/python:{PYTHON_VERSION}-{_hash(recipe)}"
    if not engine.has_image(tag):
        with tempfile.TemporaryDirectory(dir=engine.directory) as scratch:
            tree = Path(scratch, "base.tar")
            done = subprocess.run(
                [*command, str(tree)], capture_output=True, text=True, timeout=900, check=False
            )
            if done.returncode != 0:
                raise RuntimeError(f"mmdebstrap ended with {done.returncode}:\n{done.stderr[-4000:]}")
            engine.podman("import", str(tree), tag)
    return tag


def project_image(engine: Engine, base: str, project: Path) -> str:
    """Return the name of the image of a project's unmodified Dockerfile, built if the store lacks it."""
    digest = hashlib.sha256(base.encode())
    for path in sorted(path for path in project.rglob("*") if path.is_file()):
        digest.update(f"\0{path.relative_to(project)}\0".encode() + path.read_bytes())
    tag = f"localhost/server:{digest.hexdigest()[:16]}"
    if not engine.has_image(tag):
        pip = engine.directory / "pip.conf"
        pip.write_text(_pip_configuration())
        mounts = {_authorities(): str(AUTHORITIES), pip: "/etc/pip.conf"}
        engine.build(project, tag, {"BASE_IMAGE": base}, mounts)
    return tag


def _hash(recipe: list[str]) -> str:
    return hashlib.sha256("\0".join(recipe).encode()).hexdigest()[:16]


def _authorities() -> Path:
    """Return the machine's certificate authorities: a proxy's own may be among them."""
    return Path(os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile or AUTHORITIES)


def _pip_configuration() -> str:
    """Return what pip needs to reach the index from inside a build the way it is reached from here."""
    lines = ["[global]", f"cert = {AUTHORITIES}"]
    if index := os.environ.get("PIP_INDEX_URL"):
        lines.append(f"index-url = {index}")
    return "\n".join([*lines, ""])
