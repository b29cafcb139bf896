"""The root template and its children fit together: every parameter passed, every output there.

cfn-lint checks a child's parameters and outputs only where TemplateURL is a local path. So the templates are
copied and the S3 addresses become file names before it looks.
"""

import re
from pathlib import Path

import pytest
from cfnlint.api import lint_file  # type: ignore[import-untyped]
from cfnlint.config import ManualArgs  # type: ignore[import-untyped]

from tests.infrastructure.cloudformation import INFRASTRUCTURE, Templates, get_att, load_templates, walk

BUNDLE = "https://${ArtifactBucket}.s3.${AWS::Region}.${AWS::URLSuffix}/${ArtifactPrefix}infrastructure/"
PACKAGED = re.compile(r"TemplateURL: !Sub " + re.escape(BUNDLE) + r"(\S+)")


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with all templates, the root's TemplateURLs pointing to the files beside it.

    It becomes the working directory: cfn-lint 1.58 looks there, not beside the root, for a child's outputs.
    """
    monkeypatch.chdir(tmp_path)
    for path in INFRASTRUCTURE.glob("*.yaml"):
        text, replaced = PACKAGED.subn(r"TemplateURL: \1", path.read_text())
        assert bool(replaced) == (path.stem == "main")
        (tmp_path / path.name).write_text(text)
    return tmp_path


def wiring_findings(directory: Path) -> set[str]:
    # W3002: a local path must be packaged before a deploy. These copies never are.
    arguments = ManualArgs(regions=["us-east-1"], ignore_checks=["W3002"])
    return {f"{match.rule.id} {match.message}" for match in lint_file(directory / "main.yaml", arguments)}


def replace(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert before in text, f"{path.name} no longer holds {before!r}"
    path.write_text(text.replace(before, after, 1))


def children(templates: Templates) -> dict[str, str]:
    """Return `{logical id: stem of the child's template}`."""
    return {
        name: Path(resource["Properties"]["TemplateURL"]["Fn::Sub"]).stem
        for name, resource in templates["main"]["Resources"].items()
    }


def test_root_and_children_fit_together(copies: Path) -> None:
    assert wiring_findings(copies) == set()


@pytest.mark.parametrize(
    ("file", "before", "after", "rule"),
    [
        ("main.yaml", "        VpcId: !GetAtt Network.Outputs.VpcId\n", "", "E3043"),
        ("main.yaml", "        Egress: !Ref Egress\n", "        Egres: !Ref Egress\n", "E3043"),
        ("main.yaml", "Network.Outputs.VpcId", "Network.Outputs.VpcID", "E1010"),
        (
            "main.yaml",
            "Value: !GetAtt Fargate.Outputs.ServiceName",
            "Value: !GetAtt Fargate.Outputs.Name",
            "E6101",
        ),
        (
            "network.yaml",
            "  VpcId:\n    Description: Id of the VPC.",
            "  Vpc:\n    Description: Id.",
            "E1010",
        ),
    ],
    ids=[
        "parameter missing",
        "parameter misspelt",
        "output misspelt",
        "root output misspelt",
        "output renamed",
    ],
)
def test_broken_wiring_is_found(copies: Path, file: str, before: str, after: str, rule: str) -> None:
    replace(copies / file, before, after)
    assert rule in {finding.split()[0] for finding in wiring_findings(copies)}


def test_every_template_is_a_child_and_every_child_a_template() -> None:
    templates = load_templates()
    assert sorted(children(templates).values()) == sorted(set(templates) - {"main"})


def test_every_address_is_built_from_the_bundle() -> None:
    main = load_templates()["main"]
    for name, resource in main["Resources"].items():
        assert resource["Type"] == "AWS::CloudFormation::Stack", f"{name}: the root template is wiring only"
        assert resource["Properties"]["TemplateURL"]["Fn::Sub"].startswith(BUNDLE), name


def test_every_parameter_without_a_default_is_passed() -> None:
    templates = load_templates()
    for name, stem in children(templates).items():
        declared = templates[stem]["Parameters"]
        passed = templates["main"]["Resources"][name]["Properties"]["Parameters"]
        needed = {key for key, declaration in declared.items() if "Default" not in declaration}
        assert needed <= set(passed) <= set(declared), name


def test_every_output_that_is_asked_for_exists() -> None:
    templates = load_templates()
    stems = children(templates)
    asked = [
        target.split(".Outputs.")
        for _, node in walk(templates["main"])
        if (target := get_att(node)) is not None
    ]
    assert asked
    for child, output in asked:
        assert output in templates[stems[child]]["Outputs"], f"{child} has no output {output}"


def test_every_output_of_a_child_is_used() -> None:
    templates = load_templates()
    stems = children(templates)
    used = {target for _, node in walk(templates["main"]) if (target := get_att(node))}
    offered = {
        f"{name}.Outputs.{key}" for name, stem in stems.items() for key in templates[stem].get("Outputs", {})
    }
    assert offered == used


def test_root_offers_what_tools_and_people_read() -> None:
    assert list(load_templates()["main"]["Outputs"]) == [
        "GatewayId",
        "GatewayUrl",
        "GatewayTargetId",
        "TargetName",
        "ToolCount",
        "GatewayAuthorizer",
        "TokenDiscoveryUrl",
        "AgentSecretArn",
        "AgentScopes",
        "ToolCall",
        "ToolCallAnswer",
        "ToolCallLatency",
        "ServerUrl",
        "DistributionDomainName",
        "NatAddresses",
        "ValidationRecords",
        "WebAclLogGroupName",
        "AccessLogGroupName",
        "ImageUri",
        "ClusterName",
        "ServiceName",
        "LogGroupName",
        "DashboardName",
        "RollbackAlarmNames",
        "AlarmTopicArn",
        "TemplateVersion",
    ]
