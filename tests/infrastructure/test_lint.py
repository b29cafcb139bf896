"""Every template passes cfn-lint with nothing left to say: errors, warnings and informational findings."""

import json
from pathlib import Path

import cfnlint  # type: ignore[import-untyped]
import pytest
from botocore.session import Session
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from tests.infrastructure.cloudformation import load_templates, template_paths, walk

PROVIDERS = Path(cfnlint.__file__).parent / "data" / "schemas" / "providers"


def regions_with_everything() -> list[str]:
    """Return the commercial regions in which every resource type of the templates exists."""
    used = {
        resource["Type"]
        for template in load_templates().values()
        for resource in template["Resources"].values()
        if resource["Type"].startswith("AWS::")
    }
    session = Session()
    regions = [path.stem for path in PROVIDERS.glob("*-*-*.json") if path.stem.count("-") == 2]
    return sorted(
        region
        for region in regions
        if session.get_partition_for_region(region) == "aws"
        and used <= set(json.loads((PROVIDERS / f"{region}.json").read_text()))
    )


def findings(path: Path, regions: list[str]) -> list[str]:
    matches = lint_file(path, ManualArgs(regions=regions, include_checks=["I"]))
    return [f"{match.rule.id} {path.name}:{match.linenumber} {match.message}" for match in matches]


def test_the_templates_can_be_deployed_in_a_dozen_regions() -> None:
    regions = regions_with_everything()
    assert {"us-east-1", "us-west-2", "eu-central-1", "ap-southeast-2"} <= set(regions)
    assert len(regions) >= 12


@pytest.mark.parametrize("path", template_paths(), ids=lambda path: path.stem)
def test_cfn_lint_finds_nothing(path: Path) -> None:
    assert findings(path, regions_with_everything()) == []


@pytest.mark.parametrize(
    ("stem", "before", "after", "rule"),
    [
        ("network", "EnableDnsSupport: true", "EnableDnsSupport: perhaps", "E3012"),
        ("outbound", "!Select [0, !Ref AvailabilityZones]", "us-east-1a", "W3010"),
        ("fargate", "    DeletionPolicy: Delete\n", "", "I3011"),
    ],
    ids=["error", "warning", "informational"],
)
def test_cfn_lint_finds_what_is_broken(tmp_path: Path, stem: str, before: str, after: str, rule: str) -> None:
    text = next(path for path in template_paths() if path.stem == stem).read_text()
    assert before in text
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(before, after, 1))
    assert rule in {finding.split()[0] for finding in findings(broken, ["us-east-1"])}


def test_a_suppression_carries_its_reason() -> None:
    for stem, template in load_templates().items():
        for path, node in walk(template):
            if path and path[-1] == "cfn-lint":
                config = node["config"]
                assert set(config["ignore_checks"]) <= set(config.get("ignore_reasons", {})), (stem, path)
