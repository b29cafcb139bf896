"""What a Dockerfile's RUN lines do to a tree: commands that are stood in for, all others are refused.

==========================================  ===========================================================
``python -m venv``, ``uv venv``             makes a virtual environment with the machine's interpreter
``pip install``, ``python -m pip install``,  installs into that environment with uv, hashes checked
``uv pip install``
``mkdir``, ``rm``, ``touch``, ``cd``        done in the tree
``apt-get``, ``groupadd``, ``useradd``,     noted in the build's log, nothing is done: there is one user
``addgroup``, ``adduser``, ``chown``,       and no package system; environments are compiled anyway
``chmod``, ``compileall``, ``set``, ``true``,
``echo``
==========================================  ===========================================================
"""

from __future__ import annotations

import glob
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from .dockerfile import DockerfileError
from .tree import Tree, clone

NOTED = frozenset(
    {"apt-get", "groupadd", "useradd", "addgroup", "adduser", "chown", "chmod", "set", "true", ":", "echo"}
)
SUPPORTED = (
    "python -m venv, pip install (or uv), compileall, mkdir, rm, touch, cd, apt-get, groupadd, "
    "useradd, chown, chmod"
)

_OPERATORS = frozenset({"&&", ";"})
_PIP_VALUES = frozenset(
    {"--python", "--cache-dir", "--timeout", "--retries", "--root-user-action", "--progress-bar", "-p"}
)
_PIP_IGNORED = frozenset(
    {
        "--no-cache-dir",
        "--no-cache",
        "--compile",
        "--compile-bytecode",
        "--no-compile",
        "--disable-pip-version-check",
        "--no-input",
        "--quiet",
        "-q",
        "--upgrade",
        "-U",
        "--isolated",
        "--no-python-version-warning",
    }
)
_PIP_PASSED = frozenset({"--require-hashes", "--no-deps", "--no-build-isolation", "--no-index"})


@dataclass(frozen=True)
class Tools:
    """Programs and directories that a build uses on the host."""

    python: Path
    """The interpreter that environments are made with."""
    uv: list[str]
    """Command line that starts uv."""
    cache: Path
    """Directory of installed requirements, by the hash of the file that names them."""
    environment: Mapping[str, str]
    """Environment for uv."""
    tag: str
    """Interpreter and machine, such as ``cpython-311-x86_64``."""


@dataclass
class RunStep:
    """One RUN line in a tree; ``say`` receives what a terminal would show."""

    tree: Tree
    workdir: str
    environment: Mapping[str, str]
    tools: Tools
    say: Callable[[str], None]
    fresh: set[Path] = field(default_factory=set)
    """Environments of this build that nothing was installed into yet."""

    def run(self, command: list[str]) -> None:
        """Do what ``command`` (a vector, or ``/bin/sh -c text``) would do; raises DockerfileError."""
        words = _words(command[2]) if command[:2] == ["/bin/sh", "-c"] else command
        for each in _simple_commands(words):
            self._simple(each)

    def _simple(self, words: list[str]) -> None:
        name = PurePosixPath(words[0]).name
        if words[0] == "cd":
            self.workdir = str(PurePosixPath(self.workdir) / words[1])
        elif name in NOTED or _compiles(words):
            self.say(f"noted, nothing to do: {shlex.join(words)[:120]}")
        elif name in {"mkdir", "rm", "touch"}:
            self._file_command(name, words[1:])
        elif _is_python(name) and words[1:3] == ["-m", "venv"]:
            self._make_environment(words[3:])
        elif name == "uv" and words[1:2] == ["venv"]:
            self._make_environment(words[2:])
        elif (pip := _pip_arguments(words)) is not None:
            self._install(words[0], *pip)
        else:
            raise DockerfileError(
                f"the local cloud's docker can't run {shlex.join(words)[:160]!r}: "
                f"without a container engine it stands in for {SUPPORTED} only"
            )

    def _path(self, text: str) -> Path:
        return self.tree.host(PurePosixPath(self.workdir) / text)

    def _file_command(self, name: str, arguments: list[str]) -> None:
        for argument in (each for each in arguments if not each.startswith("-")):
            path = self._path(argument)
            if name == "mkdir":
                path.mkdir(parents=True, exist_ok=True)
            elif name == "touch":
                path.touch()
            else:
                for match in glob.glob(str(path)):  # noqa: PTH207 - absolute pattern
                    shutil.rmtree(match) if Path(match).is_dir() else Path(match).unlink()

    def _make_environment(self, arguments: list[str]) -> None:
        targets = [each for each in arguments if not each.startswith("-")]
        path = self._path(targets[-1] if targets else ".venv")
        self._uv("venv", "--quiet", "--no-project", "--python", str(self.tools.python), str(path))
        self.fresh.add(path)

    def _install(self, program: str, python: str | None, arguments: list[str]) -> None:
        environment = self._environment_of(program, python)
        requirements, passed, named = self._install_arguments(arguments)
        cacheable = requirements and not named and environment in self.fresh
        self.fresh.discard(environment)
        if cacheable:
            cached = self._cached_requirements(requirements, passed)
            clone(cached, environment, cached, environment)
        else:
            self._uv_install(environment, requirements, passed, named)

    def _environment_of(self, program: str, python: str | None) -> Path:
        if python or "/" in program:
            path = self._path(python or program)
            root = path if (path / "pyvenv.cfg").is_file() else path.parent.parent
        else:
            wanted = self.environment.get("VIRTUAL_ENV")
            folders = [f"{wanted}/bin"] if wanted else self.environment.get("PATH", "").split(":")
            roots = [self._path(folder).parent for folder in folders if folder.startswith("/")]
            root = next((each for each in roots if (each / "pyvenv.cfg").is_file()), self.tree.root)
        if not (root / "pyvenv.cfg").is_file():
            raise DockerfileError(
                f"{program} installs outside of a virtual environment; the local cloud's docker installs "
                f"into one "
                "only: make it with `python -m venv /opt/venv` and install with /opt/venv/bin/pip"
            )
        return root

    def _install_arguments(self, arguments: list[str]) -> tuple[list[Path], list[str], list[str]]:
        requirements: list[Path] = []
        passed: list[str] = []
        named: list[str] = []
        remaining = iter(arguments)
        for argument in remaining:
            flag, _, value = argument.partition("=")
            if flag in {"-r", "--requirement", "--requirements"}:
                requirements.append(self._requirements_file(value or next(remaining, "")))
            elif flag in _PIP_VALUES:
                value or next(remaining, "")
            elif flag in _PIP_PASSED:
                passed.append(flag)
            elif argument.startswith("-"):
                if flag not in _PIP_IGNORED:
                    raise DockerfileError(
                        f"the local cloud's docker doesn't know pip install's option {flag}"
                    )
            else:
                named.append(self._project_or_name(argument))
        return requirements, passed, named

    def _requirements_file(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise DockerfileError(
                f"ERROR: Could not open requirements file: No such file or directory: {name!r}"
            )
        return path

    def _project_or_name(self, argument: str) -> str:
        if argument.startswith((".", "/")):
            return str(self._path(argument))
        return argument

    def _cached_requirements(self, requirements: list[Path], passed: list[str]) -> Path:
        digest = hashlib.sha256("\0".join([self.tools.tag, str(self.tools.python), *passed]).encode())
        for path in requirements:
            digest.update(path.read_bytes())
        cached = self.tools.cache / digest.hexdigest()[:32]
        complete = cached / ".complete"
        if complete.exists():
            self.say("requirements are installed already: taken from the cache")
        else:
            shutil.rmtree(cached, ignore_errors=True)
            self._uv("venv", "--quiet", "--no-project", "--python", str(self.tools.python), str(cached))
            self._uv_install(cached, requirements, passed, [])
            complete.touch()
        os.utime(cached)
        return cached

    def _uv_install(
        self, target: Path, requirements: list[Path], passed: list[str], named: list[str]
    ) -> None:
        files = [word for path in requirements for word in ("--requirement", str(path))]
        options = [
            "--python",
            str(target / "bin" / "python"),
            "--compile-bytecode",
            "--link-mode",
            "hardlink",
        ]
        install = ["pip", "install", "--no-progress", *options, *passed, *files, *named]
        if requirements and self._uv_succeeds(["--offline", *install]):
            return
        self._uv(*install)

    def _uv_succeeds(self, arguments: list[str]) -> bool:
        command = [*self.tools.uv, *arguments]
        result = subprocess.run(  # noqa: S603 - uv, with the options above
            command, env=self.tools.environment, capture_output=True, check=False
        )
        return result.returncode == 0

    def _uv(self, *arguments: str) -> None:
        with subprocess.Popen(  # noqa: S603 - uv, with the options above
            [*self.tools.uv, *arguments],
            env=self.tools.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            for line in process.stdout or ():
                self.say(line.rstrip())
        if process.returncode:
            raise DockerfileError(f"exit code: {process.returncode}")


def _words(text: str) -> list[str]:
    lexer = shlex.shlex(text, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    return list(lexer)


def _simple_commands(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    for word in [*words, ";"]:
        if word in _OPERATORS:
            if command:
                yield command
            command = []
        elif word and not word.strip("|&;<>()"):
            raise DockerfileError(
                f"the local cloud's docker runs commands joined by && or ; only, not by {word}"
            )
        else:
            command.append(word)


def _is_python(name: str) -> bool:
    return name.startswith("python")


def _compiles(words: list[str]) -> bool:
    return _is_python(PurePosixPath(words[0]).name) and any("compileall" in word for word in words[1:])


def _pip_arguments(words: list[str]) -> tuple[str | None, list[str]] | None:
    """Interpreter asked for and the arguments after ``install``; ``None`` for another command."""
    name = PurePosixPath(words[0]).name
    if name.startswith("pip"):
        rest = words[1:]
    elif (_is_python(name) and words[1:3] == ["-m", "pip"]) or (name == "uv" and words[1:2] == ["pip"]):
        rest = words[3:] if _is_python(name) else words[2:]
    else:
        return None
    python = None
    while rest and rest[0] != "install":
        flag, _, value = rest[0].partition("=")
        takes_value = flag in _PIP_VALUES and not value
        if flag == "--python":
            python = value or (rest[1] if len(rest) > 1 else None)
        rest = rest[2:] if takes_value else rest[1:]
    arguments = rest[1:]
    for index, argument in enumerate(arguments):
        flag, _, value = argument.partition("=")
        if flag in {"--python", "-p"}:
            python = value or arguments[index + 1]
    return (python, arguments) if rest else None
