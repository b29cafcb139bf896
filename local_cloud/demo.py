"""The main job on the local cloud: scaffold, bundle, deploy, call through the gateway, tear down, verify.

``python -m local_cloud.demo`` does it all and exits 0 only if every step did; ``--keep`` stops after the call
and leaves the cloud up, ``--down`` tears that down.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from local_cloud.launcher import LocalCloud

ROOT = Path(__file__).resolve().parents[1]
DEMO_DIRECTORY = ROOT / "build" / "demo"
STATE_FILE = DEMO_DIRECTORY / "state.json"
STAGE = "dev"
TAIL_LINES = 40


class DemoError(Exception):
    """A step failed; the text says which and shows the end of its output."""


@dataclass
class Step:
    """One line of the list: what is done, how it stands and how long it took."""

    title: str
    state: str = "waiting"  # waiting, running, done, failed
    seconds: float = 0.0
    note: str = ""
    started: float = 0.0


@dataclass
class StepList:
    """The demo's steps, shown live on a terminal and as plain lines elsewhere."""

    console: Console
    steps: list[Step] = field(default_factory=list)
    live: Live | None = None

    MARKS: ClassVar[Mapping[str, str]] = {"waiting": " ", "running": "…", "done": "✓", "failed": "✗"}

    def __rich__(self) -> Group:
        """Render a line for each step; called by rich a few times a second."""
        width = max(len(step.title) for step in self.steps)
        lines = []
        for step in self.steps:
            seconds = time.monotonic() - step.started if step.state == "running" else step.seconds
            shown = "" if step.state == "waiting" else f"{seconds:5.1f} s"
            style = {"done": "green", "failed": "bold red", "waiting": "dim"}.get(step.state, "")
            line = Text(
                f"{self.MARKS[step.state]} {step.title:<{width}}", style, no_wrap=True, overflow="ellipsis"
            )
            lines.append(line.append(f"  {shown:>7}  ", "default").append(step.note, "dim"))
        return Group(*lines)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Keep the list on the screen while the block runs."""
        if not self.console.is_terminal:
            yield
            return
        with Live(self, console=self.console, refresh_per_second=8) as self.live:
            yield

    @contextmanager
    def run(self, title: str) -> Iterator[Step]:
        """Time one step; an exception marks it failed and goes on up."""
        step = next(step for step in self.steps if step.title == title)
        step.state, step.started = "running", time.monotonic()
        try:
            yield step
        except BaseException:
            step.state = "failed"
            raise
        else:
            step.state = "done"
        finally:
            step.seconds = time.monotonic() - step.started
            if self.live is None:
                self.console.print(
                    f"{self.MARKS[step.state]} {step.title} ({step.seconds:.1f} s) {step.note}".rstrip(),
                    highlight=False,
                    soft_wrap=True,
                )


def run(
    command: list[str],
    *,
    directory: Path = ROOT,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run a command and return its output, standard error included.

    Raises DemoError with the command and its last lines when it exits non-zero.
    """
    plain = {"NO_COLOR": "1", "PYTHONUNBUFFERED": "1", "COLUMNS": "160"}
    lines: list[str] = []
    with subprocess.Popen(  # noqa: S603 - our own commands, by the running interpreter
        command,
        cwd=directory,
        env={**os.environ, **(environment or {}), **plain},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        try:
            for line in process.stdout or ():
                lines.append(line.rstrip("\n"))
                if on_line is not None and line.strip():
                    on_line(line.strip())
        except BaseException:
            process.send_signal(signal.SIGINT)
            raise
    if process.returncode != 0:
        shown = shlex.join(["python", *command[1:]])
        tail = "\n".join(lines[-TAIL_LINES:])
        raise DemoError(f"`{shown}` exited with {process.returncode}:\n{tail}")
    return "\n".join(lines)


def run_ops(
    project: Path,
    environment: Mapping[str, str],
    *arguments: str,
    on_line: Callable[[str], None] | None = None,
) -> str:
    """Run ``python -m ops`` in the project."""
    command = [sys.executable, "-m", "ops", *arguments]
    return run(command, directory=project, environment=environment, on_line=on_line)


@dataclass(frozen=True)
class Deployed:
    """What the summary tells of the deployed stack."""

    resources: int
    root_seconds: float
    outputs: Mapping[str, str]


def describe(cloud: LocalCloud, stack_name: str) -> Deployed:
    """Count the stack's resources, nested stacks' included, and time the root by its own events."""
    cloudformation = cloud.client("cloudformation")

    def count(name: str) -> int:
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=name)
        total = 0
        for resource in (resource for page in pages for resource in page["StackResourceSummaries"]):
            total += 1
            if resource["ResourceType"] == "AWS::CloudFormation::Stack":
                total += count(resource["PhysicalResourceId"])
        return total

    stack = cloudformation.describe_stacks(StackName=stack_name)["Stacks"][0]
    events = [
        event
        for page in cloudformation.get_paginator("describe_stack_events").paginate(StackName=stack_name)
        for event in page["StackEvents"]
        if event["PhysicalResourceId"] == stack["StackId"]
    ]
    moments = [event["Timestamp"] for event in events]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    return Deployed(count(stack_name), (max(moments) - min(moments)).total_seconds(), outputs)


def answer_in(verified: str) -> str:
    """Find the line of ``ops verify`` that holds the tool's answer."""
    for line in reversed(verified.splitlines()):
        if re.search(r"\d+ \+ \d+ = \d+", line):
            return line.strip()
    raise DemoError(f"`python -m ops verify` printed no answer:\n{verified}")


def refuse_a_second() -> None:
    """Raise DemoError while an earlier demo is left up, since a new one would overwrite its project."""
    if STATE_FILE.exists():
        raise DemoError("An earlier demo is still up. End it first: make demo-down")


def scaffold() -> Path:
    """Render the default project into the demo's directory and return its path."""
    shutil.rmtree(DEMO_DIRECTORY, ignore_errors=True)
    DEMO_DIRECTORY.mkdir(parents=True)
    run(
        [
            sys.executable,
            "-m",
            "cookiecutter",
            "--no-input",
            "--default-config",
            "-o",
            str(DEMO_DIRECTORY),
            ".",
        ]
    )
    return next(path for path in DEMO_DIRECTORY.iterdir() if path.is_dir())


TITLES = {
    "scaffold": "Scaffold a project with cookiecutter",
    "cloud": "Start the local cloud",
    "bundle": "Bundle templates, functions and source",
    "deploy": "Deploy the stack: build, run, register",
    "verify": "Call the tool through the gateway",
    "destroy": "Tear down and look for leftovers",
}


def demonstrate(console: Console, *, keep: bool) -> None:
    """Run every step; raises DemoError at the first that fails, with the cloud already stopped."""
    refuse_a_second()
    names = [name for name in TITLES if not (keep and name == "destroy")]
    steps = StepList(console, [Step(TITLES[name]) for name in names])
    cloud = LocalCloud(detached=keep)
    finished = False
    try:
        with steps.shown():
            with steps.run(TITLES["scaffold"]) as step:
                project = scaffold()
                stack_name = f"{project.name}-{STAGE}"
                step.note = str(project.relative_to(ROOT))
            with steps.run(TITLES["cloud"]) as step:
                cloud.start()
                environment = cloud.environment()
                step.note = environment["AWS_ENDPOINT_URL"]
            with steps.run(TITLES["bundle"]) as step:
                # Outside the cloud, whose proxy leads to no package index.
                run_ops(project, {}, "bundle")
                step.note = next((project / "build" / "bundle").iterdir()).name[:12]
            with steps.run(TITLES["deploy"]) as step:
                show = lambda line: setattr(step, "note", line[:90])  # noqa: E731
                run_ops(project, environment, "deploy", "--stage", STAGE, "--no-verify", on_line=show)
                deployed = describe(cloud, stack_name)
                step.note = (
                    f"{deployed.resources} resources; root stack's own time {deployed.root_seconds:.1f} s"
                )
            with steps.run(TITLES["verify"]) as step:
                answer = answer_in(run_ops(project, environment, "verify", "--stage", STAGE))
            if not keep:
                with steps.run(TITLES["destroy"]) as step:
                    run_ops(project, environment, "destroy", "--stage", STAGE, "--yes", "--artifacts")
                    step.note = "nothing left"
        finished = True
    finally:
        if not (keep and finished):
            cloud.stop()
    console.print()
    console.print(summary(deployed, answer, kept=keep), highlight=False, soft_wrap=True)
    if keep:
        leave_up(console, cloud, project, deployed)


def summary(deployed: Deployed, answer: str, *, kept: bool) -> str:
    """Put the closing lines together."""
    outputs = deployed.outputs
    leftovers = "kept up" if kept else "none"
    return "\n".join(
        [
            f"Resources created   {deployed.resources}",
            f"Server              {outputs['ServerUrl']}",
            f"Gateway             {outputs['GatewayUrl']}",
            f"Gateway tool        {outputs['TargetName']}___simpleadd",
            f"Answer              {answer}",
            f"Leftovers           {leftovers}",
        ]
    )


def leave_up(console: Console, cloud: LocalCloud, project: Path, deployed: Deployed) -> None:
    """Write down how to reach the cloud and how to end it, and print the same."""
    exports = "".join(f"export {key}={shlex.quote(value)}\n" for key, value in cloud.environment().items())
    environment_file = DEMO_DIRECTORY / "environment.sh"
    environment_file.write_text(exports, encoding="utf-8")
    STATE_FILE.write_text(
        json.dumps({"pid": cloud.pid, "project": str(project), "environment": dict(cloud.environment())}),
        encoding="utf-8",
    )
    call = '{"name":"simpleadd","arguments":{"a":10,"b":20}}'
    body = f'{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{call}}}'
    console.print(
        f"""
It is still up (the cloud is process {cloud.pid}). In another shell:

  cd {shlex.quote(str(project.relative_to(Path.cwd()) if project.is_relative_to(Path.cwd()) else project))}
  . ../environment.sh
  aws=../../../.venv/bin/aws; $aws cloudformation describe-stacks --query 'Stacks[].StackName'
  ../../../.venv/bin/python -m ops verify --stage {STAGE}
  # The server itself wants a token, which the gateway alone gets: 401
  curl -sS -o /dev/null -w '%{{http_code}}\\n' --cacert "$SSL_CERT_FILE" {deployed.outputs["ServerUrl"]} \\
    -H 'Content-Type: application/json' -d '{body}'

To end it: make demo-down""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


def tear_down(console: Console) -> None:
    """Destroy what ``--keep`` left, then stop its cloud by pid."""
    if not STATE_FILE.exists():
        raise DemoError("Nothing to tear down: no demo was left up (`make demo KEEP=1` leaves one).")
    state = json.loads(STATE_FILE.read_text(encoding="utf-8"))
    steps = StepList(console, [Step(TITLES["destroy"])])
    try:
        with steps.shown(), steps.run(TITLES["destroy"]) as step:
            run_ops(
                Path(state["project"]),
                state["environment"],
                "destroy",
                "--stage",
                STAGE,
                "--yes",
                "--artifacts",
            )
            step.note = "nothing left"
    finally:
        LocalCloud.stop_detached(state["pid"])
        STATE_FILE.unlink()


def main() -> int:
    """Command line of ``python -m local_cloud.demo``."""
    parser = argparse.ArgumentParser(prog="python -m local_cloud.demo", description=__doc__.splitlines()[0])
    group = parser.add_mutually_exclusive_group()
    group.add_argument(
        "--keep", action="store_true", help="leave the cloud and the stack up and say how to reach them"
    )
    group.add_argument("--down", action="store_true", help="tear down what --keep left up")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    try:
        if arguments.down:
            tear_down(console)
        else:
            demonstrate(console, keep=arguments.keep)
    except DemoError as error:
        console.print(str(error), style="red", highlight=False, markup=False)
        return 1
    except KeyboardInterrupt:
        console.print("Stopped; the local cloud and all it started are gone.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
