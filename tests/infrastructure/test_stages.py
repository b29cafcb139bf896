"""The stage files fit the root template, as `aws cloudformation deploy` reads them."""

import json
from pathlib import Path

import pytest

from tests.infrastructure.cloudformation import STAGES, load_templates, parameter_problems, rule_problems

MAIN = load_templates()["main"]
SLUG = "knowledge-mcp-server"
# Known only when a bundle is uploaded, so no stage file may hold them.
FROM_THE_DEPLOY = {"ArtifactBucket": "bundles", "ArtifactPrefix": f"{SLUG}/0123456789abcdef/"}


def rendered(path: Path) -> dict[str, dict[str, str]]:
    text = path.read_text().replace("{{ cookiecutter.project_slug }}", SLUG)
    assert "{{" not in text, f"{path.name} uses an answer other than project_slug"
    return dict(json.loads(text))


def problems(stage: dict[str, dict[str, str]]) -> list[str]:
    values = stage["Parameters"] | FROM_THE_DEPLOY
    return parameter_problems(MAIN, values) + rule_problems(MAIN, values)


def test_there_is_a_file_for_every_stage() -> None:
    stages = {path.stem for path in STAGES.glob("*.json")}
    assert stages == set(MAIN["Parameters"]["Stage"]["AllowedValues"])


@pytest.mark.parametrize("path", sorted(STAGES.glob("*.json")), ids=lambda path: path.stem)
def test_a_stage_file_fits_the_template(path: Path) -> None:
    stage = rendered(path)
    assert set(stage) == {"Parameters", "Tags"}
    assert problems(stage) == []
    assert all(isinstance(value, str) for part in stage.values() for value in part.values())
    assert stage["Parameters"]["Stage"] == stage["Tags"]["Stage"] == path.stem
    assert not set(FROM_THE_DEPLOY) & set(stage["Parameters"])


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("MaxTasks", "4", "is no parameter"),
        ("Architecture", "RISCV", "is none of"),
        ("ProjectName", "Not A Slug", "doesn't match"),
        ("DesiredCount", "1", "In prod DesiredCount must be 2 or more"),
        ("Memory", "512", "With Cpu 512"),
    ],
)
def test_a_broken_stage_file_is_found(name: str, value: str, complaint: str) -> None:
    stage = rendered(STAGES / "prod.json")
    stage["Parameters"][name] = value
    assert any(complaint in problem for problem in problems(stage))
