"""The generated project, as its user has it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cookiecutter.main import cookiecutter

from .processes import Command

ROOT = Path(__file__).parents[1]
HEALTH = "/health"


@dataclass(frozen=True)
class Project:
    """A generated project; it isn't installed, its sources are on the path."""

    directory: Path
    package: str

    def command(self, **environment: str) -> Command:
        """Return what starts its server, with some settings."""
        return Command([sys.executable, "-m", self.package], self._environment(environment))

    def command_with_tools(self, count: int) -> Command:
        """Return what starts its server with `count` tools."""
        script = ROOT / "benchmarks" / "yardsticks" / "many_tools.py"
        return Command([sys.executable, str(script), self.package, str(count)], self._environment({}))

    def _environment(self, more: Mapping[str, str]) -> dict[str, str]:
        return {"PYTHONPATH": str(self.directory / "src"), **more}


def generate(directory: Path) -> Project:
    """Generate a project with the default answers below `directory`, leaving the user's home alone."""
    config = directory / "cookiecutter.yaml"
    config.write_text(
        f"cookiecutters_dir: '{directory / 'templates'}'\nreplay_dir: '{directory / 'replay'}'\n"
    )
    made = cookiecutter(
        str(ROOT),
        no_input=True,
        output_dir=str(directory / "made"),
        config_file=str(config),
        # They check answers, which are the defaults, and say what to do next.
        accept_hooks=False,
    )
    path = Path(made)
    (package,) = (entry.name for entry in (path / "src").iterdir() if (entry / "__main__.py").exists())
    return Project(path, package)
