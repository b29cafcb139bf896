"""What holds of the package as it is zipped."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import custom_resources
from custom_resources import container_image, emptied, gateway_target, managed_prefix_list
from custom_resources.aws import Clients
from custom_resources.properties import property_name

PACKAGE = Path(custom_resources.__file__).parent
MODULES = (gateway_target, container_image, emptied, managed_prefix_list)


def test_handlers_import_without_the_vendored_packages() -> None:
    """Else a function with a broken zip couldn't tell CloudFormation, which would wait an hour."""
    names = ", ".join(module.__name__ for module in MODULES)
    blocked = "boto3=None, botocore=None, crhelper=None"
    code = f"import sys; sys.modules.update({blocked}); import {names}; print('imported')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PACKAGE.parent, capture_output=True, text=True, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("imported", "")


def test_only_what_is_vendored_is_imported() -> None:
    allowed = {"boto3", "botocore", "crhelper", "custom_resources", *sys.stdlib_module_names}
    typing_only = re.compile(r"^(mypy_boto3_\w+|_typeshed)$")
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                top = name.partition(".")[0]
                assert top in allowed or typing_only.match(top), f"{path.name} imports {name}"


def test_requirements_are_pinned_with_hashes_and_name_no_host() -> None:
    text = (PACKAGE / "requirements.txt").read_text()
    blocks = re.split(r"\n(?=\w)", text.strip())
    assert {block.partition("==")[0] for block in blocks} >= {"boto3", "botocore", "crhelper"}
    for block in blocks:
        assert re.match(r"[\w.-]+==\S+ \\\n(    --hash=sha256:[0-9a-f]{64}( \\\n)?)+$", block), block
    assert "://" not in text
    assert "crhelper==2.0.12" in text, "helper.py relies on this release's insides"


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_the_readme_tells_every_property_and_attribute(module: Any) -> None:
    resource: Any = next(
        value
        for value in vars(module).values()
        if isinstance(value, type) and getattr(value, "model", None) and value.__module__ == module.__name__
    )
    sections = re.split(r"^## ", (PACKAGE / "README.md").read_text(), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"Custom::{resource.__name__}\n")]
    for field in fields(resource.model):
        assert f"| `{property_name(field.name)}` |" in section
    for heading in ("Syntax", "Properties", "Return values", "Behaviour", "Permissions", "Failure reasons"):
        assert f"### {heading}\n" in section


def test_every_call_the_handlers_make_is_in_the_readme() -> None:
    """The permissions are named after the calls, but for S3's."""
    readme = (PACKAGE / "README.md").read_text()
    permission = {"list_object_versions": "ListBucketVersions", "delete_objects": "DeleteObjectVersion"}
    made: set[str] = set()
    for path in PACKAGE.glob("*.py"):
        made |= set(
            re.findall(
                r"(?:_client|ec2|ecr|codebuild|s3|logs)(?:\(\))?\.([a-z]+_[a-z_]+)\(", path.read_text()
            )
        )
    assert len(made) == 18, made
    for call in made:
        name = permission.get(call, "".join(word.capitalize() for word in call.split("_")))
        assert re.search(rf"\b{name}\b", readme), name


def test_clients_take_endpoint_and_region_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    clients = Clients()
    made = (clients.gateway, clients.codebuild, clients.ec2, clients.ecr, clients.logs, clients.s3)
    for client in (make() for make in made):
        assert client.meta.endpoint_url == "http://127.0.0.1:4566"
        assert client.meta.region_name == "eu-west-1"
        # One call that isn't answered must end well inside the margin kept for the response.
        config: Any = client.meta.config
        assert (config.connect_timeout + config.read_timeout) * config.retries["total_max_attempts"] < 30
