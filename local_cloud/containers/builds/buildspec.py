"""Reading a buildspec, and the shell script that runs it.

Source: the build specification reference for CodeBuild, version 0.2: one shell for all phases; a failing
command ends its phase; after a failed INSTALL or PRE_BUILD the build is over, after a failed BUILD POST_BUILD
still runs; ``finally`` runs in any case; ``on-failure`` is ABORT or CONTINUE.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

PHASES = ("install", "pre_build", "build", "post_build")

_PRELUDE = """\
export CODEBUILD_BUILD_SUCCEEDING=1
__report() { printf '%s\\n' "$*" >&"$LOCAL_CLOUD_PHASES"; }
__say() { printf '[Container] %s %s\\n' "$(date -u '+%Y/%m/%d %H:%M:%S')" "$*"; }
__over=0
__command() {
  __say "Running command $1"
  eval "$1"
}
"""


class BuildspecError(Exception):
    """The buildspec can't be run; worded as CodeBuild words it."""


@dataclass(frozen=True)
class Phase:
    """One phase's commands."""

    commands: list[str] = field(default_factory=list)
    finally_commands: list[str] = field(default_factory=list)
    continues: bool = False
    """``on-failure: CONTINUE``."""


@dataclass(frozen=True)
class Buildspec:
    """What a buildspec asks for, as far as it is supported."""

    phases: dict[str, Phase]
    variables: dict[str, str]
    parameters: dict[str, str]
    """Variable name to Parameter Store name."""
    secrets: dict[str, str]
    """Variable name to ``secret-id:json-key:version-stage:version-id``."""

    def script(self) -> str:
        """Return a bash script that runs the phases and reports each on the descriptor LOCAL_CLOUD_PHASES."""
        lines = [_PRELUDE]
        for name in PHASES:
            phase = self.phases.get(name, Phase())
            lines.append(_phase_script(name.upper(), phase))
        lines.append('[ "$CODEBUILD_BUILD_SUCCEEDING" = 1 ]')
        return "\n".join(lines)


def parse(text: str) -> Buildspec:
    """Read a buildspec. Raises BuildspecError."""
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BuildspecError(f"YAML_FILE_ERROR Message: {error}") from error
    if not isinstance(content, dict) or "phases" not in content:
        raise BuildspecError("YAML_FILE_ERROR Message: phases isn't declared in the buildspec")
    if str(content.get("version")) != "0.2":
        raise BuildspecError(
            f"YAML_FILE_ERROR Message: version {content.get('version')!r} isn't supported: use version 0.2"
        )
    unknown = set(content["phases"]) - set(PHASES)
    if unknown:
        raise BuildspecError(f"YAML_FILE_ERROR Message: Unknown phases: {', '.join(sorted(unknown))}")
    environment = content.get("env") or {}
    return Buildspec(
        phases={name: _phase(name, phase or {}) for name, phase in content["phases"].items()},
        variables=_strings(environment.get("variables")),
        parameters=_strings(environment.get("parameter-store")),
        secrets=_strings(environment.get("secrets-manager")),
    )


def _phase(name: str, phase: Mapping[str, Any]) -> Phase:
    on_failure = str(phase.get("on-failure", "ABORT"))
    if on_failure not in {"ABORT", "CONTINUE"}:
        raise BuildspecError(f"YAML_FILE_ERROR Message: {name}: on-failure must be ABORT or CONTINUE")
    return Phase(
        _commands(name, phase, "commands"), _commands(name, phase, "finally"), on_failure == "CONTINUE"
    )


def _commands(name: str, phase: Mapping[str, Any], key: str) -> list[str]:
    commands = phase.get(key) or []
    if not isinstance(commands, list) or not all(isinstance(each, str) for each in commands):
        raise BuildspecError(
            f"YAML_FILE_ERROR Message: Expected {key} of {name} to be a list of strings (quote a "
            f"command with a colon)"
        )
    return commands


def _strings(value: Any) -> dict[str, str]:
    return {str(name): str(each) for name, each in (value or {}).items()}


def _phase_script(name: str, phase: Phase) -> str:
    lines = [
        'if [ "$__over" = 0 ]; then',
        f"__report START {name}",
        f'__say "Entering phase {name}"',
        "__failed=''",
    ]
    for command in phase.commands:
        quoted = shlex.quote(command.rstrip())
        lines.append(
            f'if [ -z "$__failed" ]; then __command {quoted} || __failed="$? {_excerpt(command)}"; fi'
        )
    lines += [f"__command {shlex.quote(command.rstrip())}" for command in phase.finally_commands]
    ends = "0" if phase.continues or name in {"BUILD", "POST_BUILD"} else "1"
    lines += [
        'if [ -n "$__failed" ]; then',
        '  __say "Command did not exit successfully ${__failed#* } exit status ${__failed%% *}"',
        f'  __say "Phase complete: {name} State: FAILED"',
        '  __reason="Error while executing command: ${__failed#* }. Reason: exit status ${__failed%% *}"',
        '  __say "Phase context status code: COMMAND_EXECUTION_ERROR Message: $__reason"',
        f'  __report FAILED {name} "$__reason"',
        f"  export CODEBUILD_BUILD_SUCCEEDING=0; __over={ends}",
        "else",
        f'  __say "Phase complete: {name} State: SUCCEEDED"',
        f"  __report SUCCEEDED {name}",
        "fi",
        "fi",
    ]
    return "\n".join(lines)


def _excerpt(command: str) -> str:
    """Give the command's first line, safe inside of double quotes."""
    first = command.strip().splitlines()[0][:200]
    return "".join("\\" + letter if letter in '"\\$`' else letter for letter in first)
