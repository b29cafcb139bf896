"""Run the official suite against a server, and read what it found."""

from __future__ import annotations

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.baking import ROOT

NODE = ROOT / ".node-venv" / "bin" / "node"
PACKAGES = ROOT / ".cache" / "npm" / "conformance" / "node_modules"
# The suite names a scenario's directory `server-<scenario>-<time>`.
DIRECTORY = re.compile(r"server-(?P<scenario>.+)-\d{4}-\d\d-\d\dT[\d-]+Z")
TIMEOUT_SECONDS = 180
GAPS = ("FAILURE", "WARNING", "SKIPPED")


class SuiteError(Exception):
    """The suite itself broke; the message holds what it wrote."""


@dataclass(frozen=True)
class Findings:
    """What one run found: the scenarios, and the checks as `(status, "scenario:check")`, one for each result.

    The status is the suite's: SUCCESS, FAILURE, WARNING (a recommendation isn't followed) or SKIPPED.
    """

    scenarios: frozenset[str]
    checks: tuple[tuple[str, str], ...]

    @property
    def succeeded(self) -> int:
        """How many checks succeeded."""
        return sum(status == "SUCCESS" for status, _ in self.checks)

    @property
    def gaps(self) -> frozenset[tuple[str, str]]:
        """What didn't succeed."""
        return frozenset(check for check in self.checks if check[0] in GAPS)

    @property
    def passed(self) -> frozenset[str]:
        """The scenarios in which something succeeded and nothing failed."""
        by_status = {
            wanted: {check.split(":")[0] for status, check in self.checks if status == wanted}
            for wanted in ("SUCCESS", "FAILURE")
        }
        return frozenset(by_status["SUCCESS"] - by_status["FAILURE"])


def version(package: str) -> str:
    """Return the installed version of `conformance-release` or `conformance-preview`."""
    found: str = json.loads((PACKAGES / package / "package.json").read_text())["version"]
    return found


def required(package: str, revision: str) -> frozenset[str]:
    """Return the scenarios that a revision requires of servers; empty where the suite says nothing of it."""
    path = PACKAGES / package / "requirements" / f"{revision}.yaml"
    return frozenset(yaml.safe_load(path.read_text())["server"]) if path.is_file() else frozenset()


def run(package: str, revision: str, url: str, directory: Path) -> Findings:
    """Run every scenario for servers of a revision. Raises `SuiteError` where one left no result."""
    program = [str(NODE), str(PACKAGES / package / "dist" / "index.js")]
    applicable = set(_applicable(_output([*program, "list", "--server"]), revision))
    options = ["--url", url, "--suite", "all", "--spec-version", revision, "--output-dir", str(directory)]
    written = _output([*program, "server", *options])
    found = {path: DIRECTORY.fullmatch(path.name) for path in directory.iterdir()}
    results = {match["scenario"]: path for path, match in found.items() if match}
    if missing := applicable - results.keys():
        raise SuiteError(f"no result of {', '.join(sorted(missing))}:\n{written[-4000:]}")
    return _findings(results)


def _output(command: list[str]) -> str:
    # The exit status says only whether everything passed.
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    return done.stdout


def _applicable(listing: str, revision: str) -> list[str]:
    listed = re.findall(r"^  - ([a-z0-9-]+) \[(.*)\]$", listing, re.MULTILINE)
    return [scenario for scenario, revisions in listed if revision in revisions.split(",")]


def _findings(results: dict[str, Path]) -> Findings:
    checks = []
    for scenario, path in sorted(results.items()):
        written: list[dict[str, Any]] = json.loads((path / "checks.json").read_text())
        judged = [check for check in written if check["status"] != "INFO"]
        checks += [(str(check["status"]), f"{scenario}:{check['id']}") for check in judged]
        if not judged:
            checks.append(("SKIPPED", f"{scenario}:{scenario}"))
    return Findings(frozenset(results), tuple(checks))
