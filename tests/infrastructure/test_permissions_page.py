"""docs/permissions.md says what the templates say."""

import copy

import pytest

from tests.infrastructure.cloudformation import all_resources, load_templates
from tests.infrastructure.permissions import PAGE, page
from tests.infrastructure.promises.roles import statements_of

TEMPLATES = load_templates()


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(TEMPLATES), "the templates changed: make docs"


def test_every_role_and_every_action_is_on_it() -> None:
    written = PAGE.read_text(encoding="utf-8")
    for name, role in all_resources(TEMPLATES, "AWS::IAM::Role"):
        section = written.split(f"### {name.partition('.')[2]}\n")[1].split("\n##")[0]
        for statement in statements_of(role.get("Policies", [])):
            actions: str | list[str] = statement["Action" if "Action" in statement else "NotAction"]
            for action in [actions] if isinstance(actions, str) else actions:
                assert f"`{action}`" in section, name
        for statement in statements_of(role["AssumeRolePolicyDocument"]):
            assert f"`{statement['Principal']['Service']}`" in section, name


@pytest.mark.parametrize(
    ("role", "key", "value"),
    [("BuildRole", "Resource", "arn:aws:s3:::another/*"), ("BuildRole", "Action", ["s3:ListBucket"])],
)
def test_a_changed_policy_changes_the_page(role: str, key: str, value: object) -> None:
    changed = copy.deepcopy(TEMPLATES)
    policies = changed["ecr"]["Resources"][role]["Properties"]["Policies"]
    policies[0]["PolicyDocument"]["Statement"][0][key] = value
    assert page(changed) != page(TEMPLATES)
