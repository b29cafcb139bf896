"""The bundle: everything one version of the stack reads from S3, under a hash of its content.

    build/bundle/<hash>/infrastructure/*.yaml
    build/bundle/<hash>/functions/custom-resources.zip
    build/bundle/<hash>/source.zip

The hash is taken over names and bytes before they are packed, so it is the same on every machine.
"""

from __future__ import annotations

import filecmp
import fnmatch
import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ops import archive, vendor
from ops.errors import OpsError
from ops.project import Project, Stage

FORMAT = b"1"
"""Part of the hash: raised when the same content is packed in another way."""

_SOURCE_FILES = (".dockerignore", "Dockerfile", "README.md", "pyproject.toml", "requirements.txt")
# What .dockerignore keeps out of the image must not lie in a bucket either; hidden files never get here.
_KEY_FILES = ("*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "id_rsa*", "id_ecdsa*", "id_ed25519*")
_NOT_IN_FUNCTIONS = ("tests", "reference", "requirements.in", "requirements.txt", "README.md")
# The services that the functions call; the models of all others are left out.
_SERVICES = "custom_resources/aws-services.txt"
_HASH_LENGTH = 16


@dataclass(frozen=True)
class Bundle:
    """A bundle on disk.

    Attributes:
        path: its folder.
        hash: 16 hex digits over its content.
        prefix: where its files go in the bucket; ends with a slash.

    """

    path: Path
    hash: str
    prefix: str

    @property
    def files(self) -> dict[str, Path]:
        """The files by the name they have below the prefix."""
        found = (path for path in self.path.rglob("*") if path.is_file())
        return dict(sorted((path.relative_to(self.path).as_posix(), path) for path in found))

    @property
    def size(self) -> int:
        """The size in bytes."""
        return sum(path.stat().st_size for path in self.files.values())


def build_bundle(project: Project) -> Bundle:
    """Build the bundle of the project as it lies, and note it in `build/bundle.json`.

    Raises:
        OpsError: a file that the bundle needs is missing, or the dependencies can't be installed.

    """
    templates = _templates(project.root)
    functions = _functions(project.root)
    source = _source(project.root)
    requirements = project.root / "custom_resources" / "requirements.txt"
    functions_key = archive.content_hash({**functions, "\0vendor": vendor.vendor_key(requirements).encode()})
    packed = {**templates, **{f"source/{name}": content for name, content in source.items()}}
    packed |= {"\0format": FORMAT, "\0functions": functions_key.encode()}
    digest = archive.content_hash(packed)[:_HASH_LENGTH]

    bundles = project.build / "bundle"
    bundles.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bundles, prefix=".") as scratch:
        fresh = Path(scratch) / digest
        for name, content in templates.items():
            _write(fresh / name, content)
        archive.write_zip(fresh / "source.zip", source, compress=False)
        (fresh / "functions").mkdir()
        shutil.copyfile(
            _functions_zip(project, functions, requirements, functions_key),
            fresh / "functions" / "custom-resources.zip",
        )
        _put_in_place(fresh, bundles / digest)

    bundle = Bundle(bundles / digest, digest, f"{project.slug}/{digest}/")
    relative = bundle.path.relative_to(project.root).as_posix()
    _write_json(project.build / "bundle.json", {"path": relative, "prefix": bundle.prefix, "hash": digest})
    return bundle


def write_stage(project: Project, stage: Stage, bundle: Bundle, bucket: str) -> Path:
    """Write a stage's parameters with the bundle's place filled in.

    `build/<stage>.json` is the template configuration that CodePipeline and version 2 of the AWS CLI read;
    `build/<stage>.parameters.json` and `build/<stage>.tags.json` are `Key=Value` lists, which
    `aws cloudformation deploy` of either version reads.

    Returns:
        The path of the template configuration.

    """
    parameters = stage_parameters(stage, bundle, bucket)
    target = project.build / f"{stage.name}.json"
    _write_json(target, {"Parameters": parameters, "Tags": stage.tags})
    for kind, values in (("parameters", parameters), ("tags", stage.tags)):
        pairs = [f"{key}={value}" for key, value in values.items()]
        _write_json(project.build / f"{stage.name}.{kind}.json", pairs)
    return target


def stage_parameters(stage: Stage, bundle: Bundle, bucket: str) -> dict[str, str]:
    """Return all parameters of the root template."""
    return {**stage.parameters, "ArtifactBucket": bucket, "ArtifactPrefix": bundle.prefix}


def _templates(root: Path) -> dict[str, bytes]:
    return {
        f"infrastructure/{path.name}": path.read_bytes() for path in (root / "infrastructure").glob("*.yaml")
    }


def _functions(root: Path) -> dict[str, bytes]:
    folder = root / "custom_resources"
    if not (folder / "requirements.txt").is_file():
        raise OpsError(
            f"{folder / 'requirements.txt'} is missing. Where custom_resources came as a link, "
            "put the directory itself there."
        )
    found = archive.walk(folder, exclude=_NOT_IN_FUNCTIONS)
    return {f"custom_resources/{name}": path.read_bytes() for name, path in found}


def _is_key_file(name: str) -> bool:
    return any(fnmatch.fnmatch(name.lower(), pattern) for pattern in _KEY_FILES)


def _source(root: Path) -> dict[str, bytes]:
    missing = [name for name in _SOURCE_FILES if not (root / name).is_file()]
    found = archive.walk(root / "src")
    source = {f"src/{name}": path.read_bytes() for name, path in found if not _is_key_file(path.name)}
    if missing or not source:
        raise OpsError(f"The image needs {', '.join(missing or ['src/'])}, missing in {root}.")
    return source | {name: (root / name).read_bytes() for name in _SOURCE_FILES}


def _functions_zip(project: Project, functions: dict[str, bytes], requirements: Path, key: str) -> Path:
    cached = project.cache / f"functions-{key[:_HASH_LENGTH]}.zip"
    if not cached.is_file():
        packages = vendor.vendor(requirements, project.cache)
        partial = cached.with_suffix(f".{os.getpid()}.partial")
        try:
            services = functions.get(_SERVICES, b"").decode().split()
            used = {name: path for name, path in archive.walk(packages) if vendor.is_used(name, services)}
            content: dict[str, bytes | Path] = {**used, **functions}
            archive.write_zip(partial, content, compress=True)
            partial.replace(cached)
        finally:
            partial.unlink(missing_ok=True)
    return cached


def _put_in_place(fresh: Path, target: Path) -> None:
    """Move a new bundle to its place, unless the same one is there; a changed one is replaced."""
    if target.is_dir():
        names = sorted(path.relative_to(fresh) for path in fresh.rglob("*") if path.is_file())
        there = sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file())
        if names == there and all(filecmp.cmp(fresh / name, target / name, shallow=False) for name in names):
            return
        shutil.rmtree(target)
    fresh.rename(target)


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _write_json(path: Path, content: object) -> None:
    _write(path, (json.dumps(content, indent=2) + "\n").encode())
