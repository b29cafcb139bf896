"""Run taskcat on a bundle: create every stack, check each while it lives, delete all and wait.

Runs in taskcat's own environment, so it imports nothing of this project. taskcat's hooks fire before
the stacks are up and know no outputs, and its printer polls every ten seconds from a cache of sixty; hence
this driver on taskcat's own classes, with a printer that reads the stacks' status afresh.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import time
from pathlib import Path
from unittest import mock

import taskcat._generate_reports as reports
from taskcat._cfn.stack import StackStatus
from taskcat.exceptions import TaskCatException
from taskcat.testing import CFNTest

CREATED = "CREATE_COMPLETE"
DELETED = "DELETE_COMPLETE"


class FreshPrinter:
    """A taskcat printer that prints each change of a stack's status, read from CloudFormation every poll."""

    def __init__(self, poll_seconds: float) -> None:
        self._poll_seconds = poll_seconds
        self._seen: dict[str, str] = {}

    def report_test_progress(self, stacker, poll_interval=None) -> None:  # taskcat's interface
        """Return when no stack of ``stacker`` is in progress any more."""
        while True:
            in_progress = False
            for stack in stacker.stacks:
                stack.refresh()
                status = stack._status
                if self._seen.get(stack.id) != status:
                    self._seen[stack.id] = status
                    print(
                        f"{stack.region_name:<16} {status:<20} {stack.name} {stack.status_reason}", flush=True
                    )
                in_progress |= status in StackStatus.IN_PROGRESS
            if not in_progress:
                return
            time.sleep(self._poll_seconds)


def check(stack, command: list[str]) -> bool:
    """Run ``command --stack-name … --region …`` on a created stack; its exit status is the answer."""
    arguments = [*command, "--stack-name", stack.name, "--region", stack.region_name]
    return subprocess.run(arguments, check=False).returncode == 0


def remove_regional_buckets(test: CFNTest) -> None:
    """Delete the buckets that taskcat made; it keeps regional ones otherwise."""
    buckets = {
        bucket.name: bucket
        for by_region in test.config.get_buckets().values()
        for bucket in by_region.values()
    }
    for bucket in buckets.values():
        if bucket.auto_generated:
            bucket.delete(delete_objects=True)


def write_report(test: CFNTest, directory: Path, *, offline: bool) -> None:
    """Write taskcat's HTML report; ``offline`` leaves out the style sheet that it would fetch."""
    directory.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        if offline:
            stack.enter_context(mock.patch.object(reports.requests, "get", return_value=mock.Mock(text="")))
        test.report(str(directory))


def delete(test: CFNTest) -> None:
    """Delete the stacks and taskcat's buckets; what stays is told by the stacks' status."""
    try:
        test.clean_up()
    except TaskCatException as error:
        print(f"taskcat: {error}", file=sys.stderr, flush=True)
    remove_regional_buckets(test)


def main() -> int:
    """Exit 0 when every stack was created, checked and deleted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--project-root", type=Path, required=True, help="directory uploaded to each region's bucket"
    )
    parser.add_argument("--regions", default="ALL", help="comma separated; ALL takes them from .taskcat.yml")
    parser.add_argument("--report", type=Path, required=True, help="directory of taskcat's HTML report")
    parser.add_argument("--poll-seconds", type=float, default=10.0)
    parser.add_argument(
        "--offline", action="store_true", help="write the report without fetching its style sheet"
    )
    parser.add_argument(
        "command", nargs="+", help="run on each created stack, with --stack-name and --region added"
    )
    arguments = parser.parse_args()

    test = CFNTest.from_file(
        project_root=str(arguments.project_root), input_file=".taskcat.yml", regions=arguments.regions
    )
    test.printer = FreshPrinter(arguments.poll_seconds)
    test.lint_disable = True  # the project's own tests lint with a newer cfn-lint
    test.dont_wait_for_delete = False

    outcome: dict[str, dict[str, object]] = {}
    try:
        test.run()
        for stack in test.test_definition.stacks:
            created = stack._status == CREATED
            called = created and check(stack, arguments.command)
            outcome[stack.region_name] = {"stack": stack.name, "created": created, "called": called}
        write_report(test, arguments.report, offline=arguments.offline)
    finally:
        delete(test)
    for stack in test.test_definition.stacks:
        outcome[stack.region_name]["deleted"] = stack._status == DELETED
    print(json.dumps({"stacks": outcome}), flush=True)
    good = [row["created"] and row["called"] and row["deleted"] for row in outcome.values()]
    return 0 if good and all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
