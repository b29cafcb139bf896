"""The command named ``docker`` inside a build: login, build, tag, push, images and image inspect.

Its "daemon" is a directory of the one build it serves, as CodeBuild starts a fresh daemon for each build.

Environment (set by the build's runner): ``LOCAL_CLOUD_DOCKER_STATE`` (a directory),
``LOCAL_CLOUD_DOCKER_CONFIG`` (a JSON file, see `DockerConfig`), ``LOCAL_CLOUD_DOCKER_PLATFORM`` (of the build
machine) and ``LOCAL_CLOUD_DOCKER_PRIVILEGED`` (``1`` for a privileged environment, which docker needs there).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from ..engine.launch import die_with_parent
from .build import BuildRequest, ImageBuilder
from .dockerfile import DockerfileError
from .shell import Tools
from .store import MANIFEST_TYPE, Image, ImageMissingError, ImageStore

_REGISTRY = re.compile(r"\d{12}\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?")
_PLATFORMS = {"linux/arm64": "linux/arm64", "linux/arm64/v8": "linux/arm64", "linux/amd64": "linux/amd64"}


class DockerError(Exception):
    """What docker would print before it exits with 1."""


@dataclass(frozen=True)
class DockerConfig:
    """How images are built on this machine; its file is the owner's only, for an index may hold keys."""

    cache_directory: str
    python: str
    package_environment: dict[str, str]

    def write(self, path: Path) -> None:
        """Write the file that ``LOCAL_CLOUD_DOCKER_CONFIG`` names."""
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(asdict(self), file)

    @classmethod
    def read(cls, path: Path) -> DockerConfig:
        """Read what `write` wrote."""
        return cls(**json.loads(path.read_text()))

    @property
    def tag(self) -> str:
        """Interpreter and machine, such as ``cpython-311-x86_64``."""
        return f"{sys.implementation.cache_tag}-{platform.machine()}"

    def store(self) -> ImageStore:
        """Return the store that images are built into and run from."""
        return ImageStore(Path(self.cache_directory) / "images", self.tag)

    def tools(self) -> Tools:
        """Return the programs that a build uses."""
        return Tools(
            python=Path(self.python),
            uv=[sys.executable, "-m", "uv"],
            cache=Path(self.cache_directory) / "requirements",
            environment=self.package_environment,
            tag=self.tag,
        )


class Docker:
    """The state and the commands of one build's docker."""

    def __init__(self, config: DockerConfig, state: Path, machine: str) -> None:
        self.config = config
        self.machine = machine
        self.store = config.store()
        self._file = state / "docker.json"
        content = json.loads(self._file.read_text()) if self._file.is_file() else {}
        self.images: dict[str, str] = content.get("images", {})
        self.logins: list[str] = content.get("logins", [])

    def _save(self) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._file.write_text(json.dumps({"images": self.images, "logins": self.logins}))

    def login(self, registry: str, username: str, password: str) -> None:
        """Remember the login when the registry's own token is the password."""
        match = _REGISTRY.fullmatch(registry)
        if not match:
            raise DockerError(
                f"Error response from daemon: Get https://{registry}/v2/: no such registry here: ECR only"
            )
        if username != "AWS" or password != self._token(match["region"]):
            raise DockerError(
                f"Error response from daemon: login attempt to https://{registry}/v2/ failed with status: "
                "400 Bad Request"
            )
        self.logins.append(registry)
        self._save()
        print("Login Succeeded")

    @staticmethod
    def _token(region: str) -> str:
        import base64

        data = _ecr(region).get_authorization_token()["authorizationData"]
        return base64.b64decode(data[0]["authorizationToken"]).decode().partition(":")[2]

    def build(self, options: argparse.Namespace) -> None:
        """Build and tag."""
        wanted = _platform(options.platform) if options.platform else self.machine
        request = BuildRequest(
            context=Path(options.context),
            platform=wanted,
            dockerfile=Path(options.file) if options.file else None,
            build_arguments=dict(_pair(each) for each in options.build_arg),
            labels=dict(_pair(each) for each in options.label),
            target=options.target,
            builder_platform=self.machine,
        )
        if not request.context.is_dir():
            raise DockerError(f"ERROR: unable to prepare context: path {options.context!r} not found")
        try:
            image = ImageBuilder(self.store, self.config.tools(), _say).build(request)
        except DockerfileError as error:
            raise DockerError(f"ERROR: failed to solve: {error}") from error
        _say(f"writing image {image.config_digest} done")
        for tag in options.tag:
            self.images[_with_tag(tag)] = image.content
            _say(f"naming to {_with_tag(tag)} done")
        self._save()
        if options.push:
            for tag in options.tag:
                self.push(tag)

    def tag(self, source: str, target: str) -> None:
        """Give an image another name."""
        self.images[_with_tag(target)] = self._image(source).content
        self._save()

    def push(self, name: str) -> None:
        """Put the image's manifest into the registry that its name begins with."""
        reference = _with_tag(name)
        registry, _, rest = reference.partition("/")
        match = _REGISTRY.fullmatch(registry)
        image = self.images.get(reference)
        if image is None:
            raise DockerError(f"An image does not exist locally with the tag: {reference.rpartition(':')[0]}")
        repository, _, tag = rest.rpartition(":")
        print(f"The push refers to repository [{registry}/{repository}]")
        if not match:
            raise DockerError(
                f"push access denied: the local cloud has no registry {registry}, only its own ECR"
            )
        if registry not in self.logins:
            raise DockerError("no basic auth credentials")
        self._put(match["region"], repository, tag, self.store.load(image))

    @staticmethod
    def _put(region: str, repository: str, tag: str, image: Image) -> None:
        from botocore.exceptions import ClientError

        ecr = _ecr(region)
        try:
            ecr.put_image(
                repositoryName=repository,
                imageTag=tag,
                imageManifest=image.manifest,
                imageManifestMediaType=MANIFEST_TYPE,
                imageDigest=image.digest,
            )
        except ClientError as error:
            code, message = error.response["Error"]["Code"], error.response["Error"]["Message"]
            if code == "ImageTagAlreadyExistsException" and _same_image(ecr, repository, tag, image.digest):
                print(f"{tag}: already exists")
            elif code == "RepositoryNotFoundException":
                raise DockerError(f"name unknown: {message}") from error
            else:
                raise DockerError(f"tag invalid: {message}") from error
        print(f"{tag}: digest: {image.digest} size: {len(image.manifest)}")

    def inspect(self, names: Sequence[str], template: str) -> None:
        """Print the images' descriptions, or the one field that ``template`` (``{{.Id}}``) names."""
        described = [self._described(name) for name in names]
        if not template:
            print(json.dumps(described, indent=4))
            return
        for each in described:
            print(_field(each, template))

    def _described(self, name: str) -> dict[str, Any]:
        image = self._image(name)
        tags = [reference for reference, content in self.images.items() if content == image.content]
        registries = (tag.rpartition(":")[0] for tag in tags if _REGISTRY.match(tag))
        return {
            "Id": image.config_digest,
            "RepoTags": tags,
            "RepoDigests": [f"{repository}@{image.digest}" for repository in registries],
            "Architecture": image.config["architecture"],
            "Os": image.config["os"],
            "Config": image.config["config"],
        }

    def list_images(self) -> None:
        """Print a line per tag."""
        for reference, content in self.images.items():
            print(reference, self.store.load(content).config_digest[7:19])

    def _image(self, name: str) -> Image:
        content = self.images.get(_with_tag(name))
        if content is None:
            raise DockerError(f"Error response from daemon: No such image: {_with_tag(name)}")
        return self.store.load(content)


def _ecr(region: str) -> Any:
    import boto3

    return boto3.client("ecr", region_name=region)


def _same_image(ecr: Any, repository: str, tag: str, digest: str) -> bool:
    details = ecr.describe_images(repositoryName=repository, imageIds=[{"imageTag": tag}])["imageDetails"]
    return bool(details) and details[0]["imageDigest"] == digest


def _say(line: str) -> None:
    print(line, flush=True)


def _platform(name: str) -> str:
    if name not in _PLATFORMS:
        raise DockerError(
            f"ERROR: {name!r}: unknown operating system or architecture: use linux/arm64 or linux/amd64"
        )
    return _PLATFORMS[name]


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    return name, value if equals else os.environ.get(name, "")


def _with_tag(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _field(value: Any, template: str) -> str:
    match = re.fullmatch(r"\{\{\s*(json\s+)?\.([\w.]+)\s*\}\}", template)
    if not match:
        raise DockerError(f"the local cloud's docker knows formats like {{{{.Id}}}} only, not {template!r}")
    for name in match[2].split("."):
        value = value[name]
    return json.dumps(value) if match[1] else str(value)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="docker", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True)
    login = commands.add_parser("login")
    login.add_argument("-u", "--username", required=True)
    login.add_argument("-p", "--password", default="")
    login.add_argument("--password-stdin", action="store_true")
    login.add_argument("registry")
    build = commands.add_parser("build")
    build.add_argument("--platform", default="")
    build.add_argument("--build-arg", action="append", default=[])
    build.add_argument("--label", action="append", default=[])
    build.add_argument("-t", "--tag", action="append", default=[])
    build.add_argument("-f", "--file", default="")
    build.add_argument("--target", default="")
    build.add_argument("--push", action="store_true")
    for ignored in (
        "--provenance",
        "--sbom",
        "--progress",
        "--cache-from",
        "--cache-to",
        "--output",
        "--network",
    ):
        build.add_argument(ignored)
    for ignored in ("--pull", "--no-cache", "--load", "-q", "--quiet"):
        build.add_argument(ignored, action="store_true")
    build.add_argument("context")
    tag = commands.add_parser("tag")
    tag.add_argument("source")
    tag.add_argument("target")
    commands.add_parser("push").add_argument("name")
    commands.add_parser("images")
    commands.add_parser("version")
    commands.add_parser("info")
    inspect = commands.add_parser("inspect")
    inspect.add_argument("-f", "--format", default="")
    inspect.add_argument("names", nargs="+")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise DockerError(f"docker: the local cloud's docker can't do this: {message}")


def _run(arguments: Sequence[str]) -> None:
    words = list(arguments)
    if words[:1] in (["image"], ["buildx"]):
        words = words[1:]
    options = _parser().parse_args(words)
    if os.environ.get("LOCAL_CLOUD_DOCKER_PRIVILEGED") != "1":
        raise DockerError(
            "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker "
            "daemon running? "
            "(the build environment isn't privileged: set PrivilegedMode)"
        )
    docker = Docker(
        DockerConfig.read(Path(os.environ["LOCAL_CLOUD_DOCKER_CONFIG"])),
        Path(os.environ["LOCAL_CLOUD_DOCKER_STATE"]),
        os.environ["LOCAL_CLOUD_DOCKER_PLATFORM"],
    )
    match options.command:
        case "login":
            password = sys.stdin.read().strip() if options.password_stdin else options.password
            docker.login(options.registry.removeprefix("https://"), options.username, password)
        case "build":
            docker.build(options)
        case "tag":
            docker.tag(options.source, options.target)
        case "push":
            docker.push(options.name)
        case "inspect":
            docker.inspect(options.names, options.format)
        case "images":
            docker.list_images()
        case "version" | "info":
            print("local cloud's stand-in for docker: images are directories, containers are processes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one docker command; returns its exit status."""
    die_with_parent(os.getppid())
    try:
        _run(sys.argv[1:] if arguments is None else arguments)
    except (DockerError, ImageMissingError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
