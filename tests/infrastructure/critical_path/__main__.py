"""Print the critical path of a stage's first deploy, or write the page in docs."""

import argparse
import json
from functools import cache

from tests.infrastructure.cloudformation import ROOT, STAGES, Templates, load_templates
from tests.infrastructure.critical_path.findings import Findings, find
from tests.infrastructure.critical_path.report import page, show

PAGE = ROOT / "docs" / "critical-path.md"
# The names don't matter to the order.
NAMED = {
    "ProjectName": "my-server",
    "ArtifactBucket": "bundles",
    "ArtifactPrefix": "my-server/0123456789abcdef/",
}
REGION = "eu-west-1"


def stages() -> list[str]:
    """Return the names of the stage files, production last."""
    return sorted((path.stem for path in STAGES.glob("*.json")), key=lambda name: (name == "prod", name))


@cache
def _templates() -> Templates:
    return load_templates()


@cache
def findings_of(stage: str, region: str = REGION) -> Findings:
    """Return the findings of a stage file."""
    parameters = json.loads((STAGES / f"{stage}.json").read_text(encoding="utf-8"))["Parameters"]
    return find(_templates(), parameters | NAMED, region)


def written_page() -> str:
    """Return what docs/critical-path.md must hold."""
    return page({stage: findings_of(stage) for stage in stages()})


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="make critical-path", description=__doc__)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--stage", default="prod", choices=stages(), help="a file of infrastructure/stages")
    what.add_argument("--docs", action="store_true", help=f"write {PAGE.relative_to(ROOT)} instead")
    parser.add_argument("--region", default=REGION, help="where; the templates ask for it here and there")
    options = parser.parse_args()
    if options.docs:
        PAGE.write_text(written_page(), encoding="utf-8")
    else:
        show(options.stage, findings_of(options.stage, options.region))


if __name__ == "__main__":
    main()
