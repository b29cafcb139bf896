"""Generate projects the way users do, without touching anybody's home."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[2]
# What makes up the template; the rest of the repository tests and documents it.
TEMPLATE_ENTRIES = ("cookiecutter.json", "hooks", "custom_resources", "{{cookiecutter.project_slug}}")
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")

Bake = Callable[..., Path]


def run(*command: str, cwd: Path, answer: str = "", seconds: float = 120, **variables: str) -> str:
    """Run a command with `variables` added to the environment, expect success, and return what it wrote."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **variables},
        input=answer,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def copy_template(source: Path, target: Path) -> Path:
    """Copy a template's files as they would be committed: links stay links, caches stay away."""
    target.mkdir(parents=True)
    for name in TEMPLATE_ENTRIES:
        if (source / name).is_dir():
            ignore = shutil.ignore_patterns(*CACHES)
            shutil.copytree(source / name, target / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy2(source / name, target / name)
    return target


def contents(directory: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a directory by its path, following no git internals."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(directory).parts
    }


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Keep cookiecutter, cruft and git inside a directory of the test run; return the environment."""
    home = tmp_path_factory.mktemp("home")
    config = home / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {home / 'templates'}\nreplay_dir: {home / 'replay'}\n")
    variables = {
        "HOME": str(home),
        "COOKIECUTTER_CONFIG": str(config),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        **{f"GIT_{who}_{what}": "test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        yield dict(os.environ)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the template that no test changes."""
    return copy_template(ROOT, tmp_path_factory.mktemp("template") / "repository")


@pytest.fixture
def bake(template: Path, tmp_path: Path) -> Bake:
    """Return a function that generates a project below `tmp_path / "out"` with the given answers."""

    def generate(source: Path | None = None, **answers: str) -> Path:
        return Path(
            cookiecutter(
                str(source or template),
                no_input=True,
                extra_context=answers,
                output_dir=str(tmp_path / "out"),
            )
        )

    return generate


@pytest.fixture(scope="session")
def project(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project generated with the default answers, that no test changes."""
    target = tmp_path_factory.mktemp("project")
    return Path(cookiecutter(str(template), no_input=True, output_dir=str(target)))
