"""Building an image: a Dockerfile's instructions carried out in directory trees."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from .context import context_digest, context_files
from .dockerfile import (
    Dockerfile,
    DockerfileError,
    Instruction,
    Stage,
    argument,
    command_form,
    expand,
    key_values,
    parse,
)
from .shell import RunStep, Tools
from .store import Image, ImageStore
from .tree import Tree, clone

BASE_PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
BASE_PROGRAMS = (
    "[ awk basename bash cat chmod chown cp cut date dirname echo env expr false find grep "
    "head hostname id kill ln ls "
    "mkdir mktemp mv nproc printf pwd readlink realpath rm sed seq sh sleep sort stat tail tee "
    "test timeout touch tr "
    "true uname uniq wc whoami xargs"
)
"""What a slim image holds. No curl, no wget: a health check that needs one fails here as it does there."""

_FORMAT = "1"
_FLAG = re.compile(r"--([a-z-]+)(?:=(\S+))?\s+")


@dataclass(frozen=True)
class BuildRequest:
    """What ``docker build`` was asked for."""

    context: Path
    platform: str
    """``linux/arm64`` or ``linux/amd64``."""
    dockerfile: Path | None = None
    build_arguments: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    target: str = ""
    builder_platform: str = ""
    """Platform of the machine that builds; it can't run another one's programs."""


@dataclass
class _StageState:
    """What a stage has become so far."""

    tree: Tree
    config: dict[str, Any]
    environment: dict[str, str]
    arguments: dict[str, str]
    workdir: str = "/"

    @property
    def variables(self) -> dict[str, str]:
        return {**self.arguments, **self.environment}


class ImageBuilder:
    """Builds images into a store; ``say`` receives the build's output line by line."""

    def __init__(self, store: ImageStore, tools: Tools, say: Callable[[str], None]) -> None:
        self.store = store
        self.tools = tools
        self.say = say
        self._step = 0
        self._fresh: set[Path] = set()

    def build(self, request: BuildRequest) -> Image:
        """Build, or find the image already built from the same files; raises DockerfileError."""
        path = request.dockerfile or request.context / "Dockerfile"
        if not path.is_file():
            raise DockerfileError(f"failed to read dockerfile: open {path.name}: no such file or directory")
        self._begin(f"[internal] load build definition from {path.name}")
        text = path.read_text()
        dockerfile = parse(text, request.build_arguments)
        _refuse_other_platform(dockerfile, request)
        files = context_files(request.context)
        self._begin(f"[internal] load build context: {len(files)} files")
        content = _content(request, text, files)
        with self.store.building(content) as directory:
            if (directory / "image.json").is_file():
                self._begin("CACHED: nothing changed since this image was built")
                return self.store.load(content)
            config = self._build_stages(dockerfile, request, files, directory)
            return self.store.complete(content, config)

    def _build_stages(
        self, dockerfile: Dockerfile, request: BuildRequest, files: list[PurePosixPath], directory: Path
    ) -> dict[str, Any]:
        last = _target(dockerfile, request.target)
        states: dict[str, _StageState] = {}
        for index, stage in enumerate(dockerfile.stages[: last + 1]):
            root = directory / ("root" if index == last else f"stage-{index}")
            state = self._start_stage(stage, states, root, request)
            for number, instruction in enumerate(stage.instructions, 1):
                name = stage.name or f"stage-{index}"
                self._begin(
                    f"[{name} {number}/{len(stage.instructions)}] {instruction.keyword} "
                    f"{instruction.text[:160]}"
                )
                self._carry_out(instruction, state, states, request, files, dockerfile.global_arguments)
            states[str(index)] = state
            if stage.name:
                states[stage.name] = state
        for index in range(last):
            shutil.rmtree(directory / f"stage-{index}", ignore_errors=True)
        return _image_config(states[str(last)], request)

    def _start_stage(
        self, stage: Stage, states: Mapping[str, _StageState], root: Path, request: BuildRequest
    ) -> _StageState:
        self._begin(f"FROM {stage.base}")
        parent = states.get(stage.base.lower())
        if parent:
            tree = Tree(root)
            clone(parent.tree.root, root, parent.tree.root, root)
            config = json.loads(json.dumps(parent.config))
            return _StageState(tree, config, dict(parent.environment), {}, parent.workdir)
        _check_base(stage.base)
        tree = Tree(root)
        _fill_base(tree, self.tools.python)
        environment = {"PATH": BASE_PATH, "LANG": "C.UTF-8"}
        arguments = {"TARGETPLATFORM": request.platform, "TARGETARCH": request.platform.partition("/")[2]}
        return _StageState(tree, {"Cmd": ["python3"]}, environment, arguments)

    def _carry_out(
        self,
        instruction: Instruction,
        state: _StageState,
        states: Mapping[str, _StageState],
        request: BuildRequest,
        files: list[PurePosixPath],
        global_arguments: Mapping[str, str],
    ) -> None:
        match instruction.keyword:
            case "RUN":
                self._run(instruction, state)
            case "COPY" | "ADD":
                _copy(instruction, state, states, request.context, files)
            case "ARG":
                name, default = argument(instruction.text, state.variables)
                fallback = default if default is not None else global_arguments.get(name)
                value = request.build_arguments.get(name, fallback)
                if value is not None:
                    state.arguments[name] = value
            case _:
                _configure(instruction, state)

    def _run(self, instruction: Instruction, state: _StageState) -> None:
        _, text = _flags(instruction.text)
        step = RunStep(state.tree, state.workdir, state.environment, self.tools, self._detail, self._fresh)
        command = command_form(text if text.startswith("[") else expand(text, state.variables))
        try:
            step.run(command)
        except DockerfileError as error:
            raise DockerfileError(f'process "{text[:200]}" did not complete successfully: {error}') from error

    def _begin(self, title: str) -> None:
        self._step += 1
        self._started = time.monotonic()
        self.say(f"#{self._step} {title}")

    def _detail(self, line: str) -> None:
        self.say(f"#{self._step} {time.monotonic() - self._started:.3f} {line}")


def _refuse_other_platform(dockerfile: Dockerfile, request: BuildRequest) -> None:
    builder = request.builder_platform or request.platform
    runs = any(each.keyword == "RUN" for stage in dockerfile.stages for each in stage.instructions)
    if builder != request.platform and runs:
        raise DockerfileError(
            f'process "/bin/sh" did not complete successfully: exit code: 255: exec /bin/sh: exec '
            f"format error "
            f"(this machine is {builder} and has no emulation for {request.platform}: build on a "
            f"machine of that "
            "architecture, in CodeBuild ARM_CONTAINER for arm64 and LINUX_CONTAINER for amd64)"
        )


def _content(request: BuildRequest, dockerfile: str, files: list[PurePosixPath]) -> str:
    facts = {
        "format": _FORMAT,
        "platform": request.platform,
        "arguments": dict(request.build_arguments),
        "labels": dict(request.labels),
        "target": request.target,
        "dockerfile": dockerfile,
        "context": context_digest(request.context, files),
    }
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _target(dockerfile: Dockerfile, name: str) -> int:
    if not name:
        return len(dockerfile.stages) - 1
    for index, stage in enumerate(dockerfile.stages):
        if stage.name == name.lower():
            return index
    raise DockerfileError(f"target stage {name!r} could not be found")


def _check_base(base: str) -> None:
    repository = base.partition("@")[0].rpartition(":")[0] or base
    if repository.rpartition("/")[2] != "python":
        raise DockerfileError(
            f"{base}: the local cloud's docker has Python base images only (…/python:3.x-slim), because "
            f"it builds "
            "without a container engine"
        )


def _fill_base(tree: Tree, python: Path) -> None:
    for folder in BASE_PATH.split(":"):
        tree.host(folder).mkdir(parents=True, exist_ok=True)
    for name in ("python", "python3"):
        tree.host(f"/usr/local/bin/{name}").symlink_to(python)
    for name in BASE_PROGRAMS.split():
        found = shutil.which(name)
        for folder in ("/usr/bin", "/bin") if found else ():
            tree.host(f"{folder}/{name}").symlink_to(found or "")


def _flags(text: str) -> tuple[dict[str, str], str]:
    flags: dict[str, str] = {}
    while match := _FLAG.match(text):
        flags[match[1]] = match[2] or ""
        text = text[match.end() :]
    return flags, text


def _copy(
    instruction: Instruction,
    state: _StageState,
    states: Mapping[str, _StageState],
    context: Path,
    files: list[PurePosixPath],
) -> None:
    flags, text = _flags(instruction.text)
    words = command_form(text) if text.startswith("[") else expand(text, state.variables).split()
    if len(words) < 2:
        raise DockerfileError(f"{instruction.keyword} requires at least two arguments")
    *sources, destination = words
    target = PurePosixPath(state.workdir) / destination
    into_folder = destination.endswith(("/", ".")) or len(sources) > 1
    for source in sources:
        if source.startswith(("http://", "https://", "git@")):
            raise DockerfileError(
                f"the local cloud's docker doesn't fetch {source}: COPY files of the context instead"
            )
        if "from" in flags:
            _copy_from_stage(flags["from"], source, state, states, target, into_folder)
        else:
            _copy_from_context(source, state, context, files, target, into_folder)


def _copy_from_stage(
    name: str,
    source: str,
    state: _StageState,
    states: Mapping[str, _StageState],
    target: PurePosixPath,
    folder: bool,
) -> None:
    stage = states.get(name.lower())
    if stage is None:
        raise DockerfileError(
            f"pull access denied for {name}: it is no stage of this Dockerfile, and there is no registry"
        )
    origin = stage.tree.host(source)
    if not origin.exists():
        raise _missing(source)
    if origin.is_dir():
        clone(origin, state.tree.host(target), stage.tree.root, state.tree.root)
        return
    copy = state.tree.host(target / origin.name if folder else target)
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(origin, copy)


def _copy_from_context(
    source: str,
    state: _StageState,
    context: Path,
    files: list[PurePosixPath],
    target: PurePosixPath,
    folder: bool,
) -> None:
    wanted = PurePosixPath(source.lstrip("/"))
    matched = False
    for path in files:
        base = _source_base(path, wanted)
        if base is None:
            continue
        matched = True
        relative = path.relative_to(base) if base != path else PurePosixPath(path.name)
        single = base == path and not folder
        copy = state.tree.host(target if single else target / relative)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(context / path, copy)
    if not matched:
        raise _missing(source)


def _source_base(path: PurePosixPath, wanted: PurePosixPath) -> PurePosixPath | None:
    """Find the part of ``path`` that ``wanted`` (maybe with wildcards) names: a directory, or the file."""
    if str(wanted) == ".":
        return wanted
    for candidate in (path, *path.parents):
        if len(candidate.parts) == len(wanted.parts) and candidate.match(str(wanted)):
            return candidate
    return None


def _missing(source: str) -> DockerfileError:
    path = "/" + source.removeprefix("./").lstrip("/")
    return DockerfileError(
        f'failed to compute cache key: failed to calculate checksum of ref: "{path}": not found'
    )


def _configure(instruction: Instruction, state: _StageState) -> None:
    text, config = instruction.text, state.config
    match instruction.keyword:
        case "ENV":
            state.environment.update(key_values(text, state.variables))
        case "LABEL":
            config.setdefault("Labels", {}).update(key_values(text, state.variables))
        case "WORKDIR":
            state.workdir = str(PurePosixPath(state.workdir) / expand(text, state.variables))
            state.tree.host(state.workdir).mkdir(parents=True, exist_ok=True)
        case "CMD":
            config["Cmd"] = command_form(text)
        case "ENTRYPOINT":
            config["Entrypoint"] = command_form(text)
            config.pop("Cmd", None)
        case "USER":
            config["User"] = expand(text, state.variables)
        case "EXPOSE":
            ports = (port if "/" in port else f"{port}/tcp" for port in expand(text, state.variables).split())
            config.setdefault("ExposedPorts", {}).update({port: {} for port in ports})
        case "HEALTHCHECK":
            config["Healthcheck"] = _health_check(text)
        case "STOPSIGNAL":
            config["StopSignal"] = expand(text, state.variables)
        case "VOLUME" | "MAINTAINER":
            pass
        case keyword:
            raise DockerfileError(
                f"the local cloud's docker doesn't support {keyword} (line {instruction.line})"
            )


def _health_check(text: str) -> dict[str, Any]:
    flags, command = _flags(text)
    if command.strip() == "NONE":
        return {"Test": ["NONE"]}
    vector = command_form(command.removeprefix("CMD").strip())
    test = ["CMD-SHELL", vector[2]] if vector[:2] == ["/bin/sh", "-c"] else ["CMD", *vector]
    return {"Test": test, **{name.title().replace("-", ""): value for name, value in flags.items()}}


def _image_config(state: _StageState, request: BuildRequest) -> dict[str, Any]:
    system, _, architecture = request.platform.partition("/")
    config = {**state.config, "Env": [f"{name}={value}" for name, value in state.environment.items()]}
    config["WorkingDir"] = state.workdir
    if request.labels:
        config["Labels"] = {**config.get("Labels", {}), **request.labels}
    return {"os": system, "architecture": architecture, "config": config}
