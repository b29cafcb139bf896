"""A local cloud and freshly scaffolded projects for tests that go the whole way."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cookiecutter.main import cookiecutter

from local_cloud.launcher import LocalCloud

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def cloud() -> Iterator[LocalCloud]:
    """One local cloud for the tests of this directory."""
    with LocalCloud() as started:
        yield started


@pytest.fixture
def inside_the_cloud(cloud: LocalCloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have this process's own calls go to the local cloud."""
    for name, value in cloud.environment().items():
        monkeypatch.setenv(name, value)


@dataclass(frozen=True)
class Project:
    """A scaffolded project and the cloud it is deployed to."""

    path: Path
    cloud: LocalCloud

    @property
    def stack_name(self) -> str:
        """The stack of stage ``dev``."""
        return f"{self.path.name}-dev"

    def ops(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run ``python -m ops`` as a user would; never raises."""
        merged = {**os.environ, **self.cloud.environment(), "NO_COLOR": "1", "COLUMNS": "200", **environment}
        return subprocess.run(
            [sys.executable, "-m", "ops", *arguments],
            cwd=self.path,
            env=merged,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=280,
        )

    def deploy(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Deploy stage ``dev`` without verifying."""
        return self.ops("deploy", "--stage", "dev", "--no-verify", *arguments)

    def replace(self, file: str, old: str, new: str) -> None:
        """Change a file of the project; the text must be there once."""
        path = self.path / file
        text = path.read_text(encoding="utf-8")
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new), encoding="utf-8")

    def outputs(self) -> dict[str, str]:
        """The root stack's outputs."""
        stack = self.cloud.client("cloudformation").describe_stacks(StackName=self.stack_name)["Stacks"][0]
        return {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}


@pytest.fixture(scope="session")
def scaffold(tmp_path_factory: pytest.TempPathFactory, cloud: LocalCloud) -> Callable[[str], Project]:
    """Scaffold a project by name; the name keeps stacks, targets and log groups of different tests apart."""

    def make(project_name: str) -> Project:
        path = cookiecutter(
            str(ROOT),
            no_input=True,
            output_dir=str(tmp_path_factory.mktemp("project")),
            extra_context={"project_name": project_name},
            default_config=True,
        )
        # The functions' packages are fetched outside the cloud, whose proxy leads to no package index.
        subprocess.run([sys.executable, "-m", "ops", "bundle"], cwd=path, check=True, capture_output=True)
        return Project(Path(path), cloud)

    return make
