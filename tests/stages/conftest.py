"""The life of each stage on a local cloud, and the table of it at the end of the run."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from rich.console import Console
from rich.table import Table

from local_cloud.launcher import LocalCloud
from tests.end_to_end.conftest import Project, cloud, inside_the_cloud, scaffold
from tests.end_to_end.identities import Identity, identities
from tests.end_to_end.leftovers import everything
from tests.infrastructure.cloudformation import STAGES

__all__ = ["cloud", "inside_the_cloud", "scaffold"]

STEPS = ("create", "image", "scaling", "tags", "bad update", "delete")
PROPERTY = "stage step"


@dataclass
class Stage:
    """One stage of a project, and what its last change did.

    Attributes:
        name: a file of infrastructure/stages.
        project: where it comes from; nobody else uses it.
        before: what the cloud held before.
        seconds: how long each step took that was done.

    """

    name: str
    project: Project
    before: dict[str, list[str]]
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def stack_name(self) -> str:
        """The root stack's name."""
        return f"{self.project.path.name}-{self.name}"

    def run(self, step: str, command: str, *arguments: str) -> tuple[int, str]:
        """Run a command for this stage; return its exit code and what it said, and note how long it took."""
        begin = time.monotonic()
        done = self.project.ops(command, "--stage", self.name, *arguments)
        self.seconds[step] = time.monotonic() - begin
        return done.returncode, done.stdout + done.stderr

    def deploy(self, step: str) -> tuple[int, str]:
        """Deploy without verifying: the deploy's own last step calls a tool."""
        return self.run(step, "deploy", "--no-verify")

    def configure(self, part: str, **values: str) -> None:
        """Change parameters or tags in the stage's file."""
        path = self.project.path / "infrastructure" / "stages" / f"{self.name}.json"
        content = json.loads(path.read_text(encoding="utf-8"))
        content[part] |= values
        path.write_text(json.dumps(content, indent=2), encoding="utf-8")

    def parameter(self, name: str, default: str = "") -> str:
        """Return what the stage's file says of a parameter; the default where it says nothing."""
        path = self.project.path / "infrastructure" / "stages" / f"{self.name}.json"
        return str(json.loads(path.read_text(encoding="utf-8"))["Parameters"].get(name, default))

    def status(self) -> str:
        """Return the root stack's status."""
        answer = self.project.cloud.client("cloudformation").describe_stacks(StackName=self.stack_name)
        return str(answer["Stacks"][0]["StackStatus"])

    def unprotect(self) -> None:
        """Lift termination protection."""
        self.project.cloud.client("cloudformation").update_termination_protection(
            StackName=self.stack_name, EnableTerminationProtection=False
        )

    def identities(self) -> dict[str, Identity]:
        """Return every resource of the stack and of those below it, by its path."""
        return identities(self.project.cloud, self.stack_name)


@pytest.fixture(
    scope="module",
    params=[
        # Each stage in a worker of its own, and so in a cloud of its own.
        pytest.param(path.stem, marks=pytest.mark.xdist_group(f"stage {path.stem}"))
        for path in sorted(STAGES.glob("*.json"))
    ],
)
def stage(
    request: pytest.FixtureRequest, cloud: LocalCloud, scaffold: Callable[[str], Project]
) -> Iterator[Stage]:
    """A stage that isn't deployed yet; destroyed whatever happened."""
    before = everything(cloud)
    made = Stage(request.param, scaffold(f"Stage {request.param.title()}"), before)
    yield made
    made.project.ops("destroy", "--stage", made.name, "--yes", "--artifacts")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print stage, step, seconds, and what was replaced."""
    drawn = Table(title="stages on the local cloud", title_justify="left")
    for column in ("stage", "step", "seconds", "replaced or renewed"):
        drawn.add_column(column, justify="right" if column == "seconds" else "left", overflow="fold")
    rows = [
        value
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    for stage_name, step, seconds, replaced in sorted(rows, key=lambda row: (row[0], STEPS.index(row[1]))):
        drawn.add_row(stage_name, step, f"{seconds:.0f}", ", ".join(replaced) or "nothing")
    if rows:
        console = Console(highlight=False, width=160)
        with console.capture() as capture:
            console.print(drawn)
        terminalreporter.write_line(capture.get())
