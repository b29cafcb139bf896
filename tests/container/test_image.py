"""What is in the image, and what is not."""

from __future__ import annotations

import importlib.util
import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from tests.baking import ROOT

from .conftest import MARKER, PLANTED
from .engine import Engine
from .images import PYTHON_VERSION, SUITE

MIB = 2**20
# Of the layers that the Dockerfile adds, uncompressed.
ADDED_LIMIT_MIB = 190
# With the stand-in's Debian; the official slim image differs by a few MiB.
TOTAL_LIMIT_MIB = {"trixie": 300, "bookworm": 330}[SUITE]
PROGRAM_DIRECTORIES = (
    "bin",
    "sbin",
    "usr/bin",
    "usr/sbin",
    "usr/local/bin",
    "usr/local/sbin",
    "opt/venv/bin",
)
# No compiler, no package installer of Python, nothing that fetches.
FORBIDDEN = re.compile(
    r"(pip|uv|uvx|easy_install|virtualenv|poetry|conda)[\d.]*"
    r"|([\w-]+-)?(gcc|g\+\+|cc|c\+\+|cpp|clang|ld|as|make|cmake|rustc|cargo|go)(-[\d.]+)?"
    r"|git|curl|wget|ssh|scp|nc|gdb"
)
SERVER_UID = 1001


def programs(tree: Path) -> Iterator[Path]:
    for directory in PROGRAM_DIRECTORIES:
        yield from (path for path in (tree / directory).iterdir() if not path.is_dir())


def test_there_is_a_python_that_the_environment_was_made_with(tree: Path) -> None:
    names = {path.name for path in programs(tree)}
    assert {"python", f"python{PYTHON_VERSION}", "mcp-server"} <= names


def test_no_compiler_and_no_installer_is_in_it(tree: Path) -> None:
    assert [str(path) for path in programs(tree) if FORBIDDEN.fullmatch(path.name)] == []


def test_no_pip_is_in_it_as_a_module_or_as_a_wheel(tree: Path) -> None:
    names = ("pip", "ensurepip", "setuptools", "pip-*.dist-info", "pip-*.whl")
    found = [path for name in names for path in tree.rglob(name) if path.is_dir() or path.suffix == ".whl"]
    # pip keeps its own packages' names: only directories with code count.
    assert [str(path) for path in found if not path.is_relative_to(tree / "var/lib")] == []


def test_the_project_holds_what_must_stay_out(project: Path) -> None:
    for name in PLANTED:
        assert MARKER in (project / name).read_text()


def test_no_planted_secret_and_no_planted_test_is_in_it(tree: Path) -> None:
    marker = MARKER.encode()
    added = [
        path
        for name in ("opt", "app", "build", "root", "home", "tmp", "srv")
        for path in (tree / name).rglob("*")
    ]
    files = [path for path in added if path.is_file() and not path.is_symlink()]
    assert len(files) > 1000
    assert [str(path.relative_to(tree)) for path in files if marker in path.read_bytes()] == []


def test_no_version_control_is_in_it(tree: Path) -> None:
    assert [str(path) for name in (".git", ".hg", ".svn") for path in tree.rglob(name)] == []


def test_the_server_can_change_nothing_of_itself(tree: Path) -> None:
    files = [path for name in ("opt", "usr") for path in (tree / name).rglob("*") if not path.is_symlink()]
    mine = [path for path in files if path.stat().st_uid == SERVER_UID or path.stat().st_mode & 0o002]
    assert [str(path) for path in mine if path.is_file()] == []


def test_every_module_is_compiled(tree: Path) -> None:
    library = tree / "usr/local/lib" / f"python{PYTHON_VERSION}"
    # Neither is ever imported by a server; packages hold sources for other versions of Python.
    unused = re.compile(r"/(test|tests|idlelib|lib2to3|turtledemo|ensurepip|site-packages/pip)/")
    sources = [path for path in library.rglob("*.py") if not unused.search(str(path))]
    sources += [path for path in (tree / "opt/venv/lib").rglob("*.py") if not unused.search(str(path))]
    bare = [path for path in sources if not cached(path).is_file()]
    assert len(sources) > 3000
    assert [str(path.relative_to(tree)) for path in bare if compiles(path)] == []


def cached(source: Path) -> Path:
    name = Path(importlib.util.cache_from_source(source.name)).name
    tag = f"cpython-{PYTHON_VERSION.replace('.', '')}"
    return source.parent / "__pycache__" / re.sub(r"\.cpython-\d+", f".{tag}", name)


def compiles(source: Path) -> bool:
    try:
        compile(source.read_bytes(), str(source), "exec")
    except (SyntaxError, ValueError):
        return False
    return True


def test_the_size_is_bounded(engine: Engine, image: str, base: str, say: Callable[[str], None]) -> None:
    total = engine.image(image)["Size"] / MIB
    added = total - engine.image(base)["Size"] / MIB
    say(f"image: {total:.0f} MiB uncompressed, {added:.0f} MiB of them above the base image")
    assert added < ADDED_LIMIT_MIB
    assert total < TOTAL_LIMIT_MIB


def test_the_configuration_is_what_fargate_is_told(engine: Engine, image: str) -> None:
    described = engine.image(image)
    config = described["Config"]
    assert config["User"] == "1001:1001"
    assert config["WorkingDir"] == "/app"
    assert set(config["ExposedPorts"]) == {"8080/tcp"}
    # A list, not a line for a shell: the server itself gets SIGTERM.
    assert config["Cmd"] == ["mcp-server"]
    assert config.get("Entrypoint") is None
    environment = dict(line.split("=", 1) for line in config["Env"])
    path = environment.pop("PATH")
    assert path.startswith("/opt/venv/bin:")
    assert environment == {
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "HOST": "0.0.0.0",  # noqa: S104
        "PORT": "8080",
    }


def test_the_health_check_of_the_image_agrees_with_the_task_definition(
    engine: Engine, image: str, container_definition: dict[str, object]
) -> None:
    image_check = engine.image(image)[
        "HealthCheck" if "HealthCheck" in engine.image(image) else "Healthcheck"
    ]
    check = container_definition["HealthCheck"]
    assert isinstance(check, dict)
    second = 10**9
    assert image_check["Test"][0] == check["Command"][0] == "CMD"
    assert image_check["Interval"] == check["Interval"] * second
    assert image_check["Timeout"] == check["Timeout"] * second
    assert image_check["Retries"] == check["Retries"]
    assert image_check["StartPeriod"] == check["StartPeriod"] * second


def test_nothing_secret_is_in_the_history(engine: Engine, image: str) -> None:
    history = yaml.safe_dump(engine.image(image)["History"])
    assert not re.search(r"(?i)password|secret|token|_key", history)


@pytest.mark.parametrize("machine", ["aarch64", "x86_64"])
def test_every_locked_package_has_a_wheel(machine: str, tmp_path: Path) -> None:
    """The image has no compiler, and only one of the architectures that it is built for is this machine's."""
    uv = [str(ROOT / ".venv" / "bin" / "uv"), "pip", "install", "--dry-run", "--target", str(tmp_path)]
    platform = ["--python-platform", f"{machine}-unknown-linux-gnu", "--python-version", PYTHON_VERSION]
    locked = ROOT / "{{cookiecutter.project_slug}}" / "requirements.txt"
    options = ["--only-binary", ":all:", "--require-hashes", "--requirement", str(locked)]
    done = subprocess.run([*uv, *platform, *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "uvicorn" in done.stdout + done.stderr


@pytest.mark.parametrize("name", ["Dockerfile"])
def test_hadolint_finds_nothing(name: str) -> None:
    dockerfile = ROOT / "{{cookiecutter.project_slug}}" / name
    hadolint = ROOT / ".venv" / "bin" / "hadolint"
    done = subprocess.run(
        [str(hadolint), "--no-color", str(dockerfile)], capture_output=True, text=True, check=False
    )
    assert (done.stdout + done.stderr, done.returncode) == ("", 0)
