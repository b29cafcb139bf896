"""The project's paths and facts, read from its own files."""

from __future__ import annotations

import json
import os
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ops.errors import USAGE, OpsError

STACK_NAME = re.compile(r"[A-Za-z][-A-Za-z0-9]{0,127}")


@dataclass(frozen=True)
class Project:
    """A generated project.

    Attributes:
        root: the directory that holds `pyproject.toml` and `infrastructure/main.yaml`.
        slug: the project's name, `[project] name`.
        region: the project's own region, `[tool.ops] region`; None if it has none.

    """

    root: Path
    slug: str
    region: str | None

    @property
    def build(self) -> Path:
        """Where results are written."""
        return self.root / "build"

    @property
    def cache(self) -> Path:
        """Where work that can be reused is kept."""
        return self.root / ".cache" / "ops"

    @property
    def stages(self) -> list[str]:
        """The names of the stages that have a parameter file."""
        return sorted(path.stem for path in (self.root / "infrastructure" / "stages").glob("*.json"))

    def stack_name(self, stage: str, override: str | None = None) -> str:
        """Return the name of a stage's stack.

        Raises:
            OpsError: the name isn't one CloudFormation accepts.

        """
        name = override or f"{self.slug}-{stage}"
        if not STACK_NAME.fullmatch(name):
            raise OpsError(
                f"{name!r} can't be a stack name: it starts with a letter and has letters, digits and "
                "hyphens, at most 128.",
                USAGE,
            )
        return name


@dataclass(frozen=True)
class Stage:
    """A stage file, in CloudFormation's template configuration format.

    Attributes:
        name: such as `dev`.
        parameters: the root template's parameters.
        tags: the stack's tags, which CloudFormation hands on to the resources.

    """

    name: str
    parameters: dict[str, str]
    tags: dict[str, str]


def find_project(start: Path) -> Project:
    """Find the project that a directory belongs to.

    Raises:
        OpsError: no project there or above, or its `pyproject.toml` can't be used.

    """
    start = start.resolve()
    for folder in (start, *start.parents):
        if (folder / "pyproject.toml").is_file() and (folder / "infrastructure" / "main.yaml").is_file():
            return _read_project(folder)
    raise OpsError(
        f"{start} is not inside a project: no pyproject.toml beside infrastructure/main.yaml there or above.",
        USAGE,
    )


def _read_project(root: Path) -> Project:
    path = root / "pyproject.toml"
    try:
        facts: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise OpsError(f"{path} is not valid TOML: {error}.", USAGE) from error
    slug = facts.get("project", {}).get("name")
    if not isinstance(slug, str) or not slug:
        raise OpsError(f"{path} has no [project] name.", USAGE)
    region = facts.get("tool", {}).get("ops", {}).get("region")
    return Project(root, slug, str(region) if region else None)


def choose_region(project: Project, option: str | None) -> str:
    """Return the region to work in: the option, the environment's or the project's own.

    Raises:
        OpsError: none is given, or it doesn't look like a region.

    """
    environment = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    region = option or environment or project.region
    if not region:
        raise OpsError(
            "No AWS region: pass --region, set AWS_REGION, or set region under [tool.ops] in pyproject.toml.",
            USAGE,
        )
    if not re.fullmatch(r"[a-z]{2,}(-[a-z]+)+-\d+", region):
        raise OpsError(f"{region!r} is not the name of an AWS region, such as us-east-1.", USAGE)
    return region


def read_stage(project: Project, name: str) -> Stage:
    """Read a stage file.

    Raises:
        OpsError: no such stage, or a file of another shape.

    """
    if name not in project.stages:
        known = ", ".join(project.stages) or "none"
        raise OpsError(
            f"Unknown stage {name!r}; infrastructure/stages has: {known}.",
            USAGE,
        )
    path = project.root / "infrastructure" / "stages" / f"{name}.json"
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OpsError(f"{path} is not valid JSON: {error}.", USAGE) from error
    if not isinstance(content, dict):
        raise OpsError(f"{path} must hold an object with Parameters and Tags.", USAGE)
    return Stage(name, _strings(path, content, "Parameters"), _strings(path, content, "Tags"))


def _strings(path: Path, content: dict[str, Any], section: str) -> dict[str, str]:
    values = content.get(section, {})
    if not isinstance(values, dict):
        raise OpsError(f"{path}: {section} must be an object.", USAGE)
    for key, value in values.items():
        if not isinstance(value, str):
            raise OpsError(
                f"{path}: {section}.{key} must be a string, such as {json.dumps(str(value))}.", USAGE
            )
    return dict(values)
