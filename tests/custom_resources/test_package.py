"""What holds of the package as it is zipped."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import custom_resources
from custom_resources import (
    container_image,
    edge_access_log,
    edge_certificate,
    edge_web_acl,
    emptied,
    gateway_target,
    listener_rule,
    managed_prefix_list,
    smoke_test_hook,
    smoke_test_probe,
    tool_call,
)
from custom_resources.aws import Clients

PACKAGE = Path(custom_resources.__file__).parent
MODULES = (
    gateway_target,
    container_image,
    edge_access_log,
    edge_certificate,
    edge_web_acl,
    emptied,
    listener_rule,
    managed_prefix_list,
    smoke_test_hook,
    smoke_test_probe,
    tool_call,
)


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


def test_clients_take_endpoint_and_region_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:4566")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    clients = Clients()
    made = (
        clients.gateway,
        clients.codebuild,
        clients.ec2,
        clients.ecr,
        clients.elbv2,
        clients.logs,
        clients.s3,
    )
    edge = tuple(make("us-east-1") for make in (clients.acm, clients.logs, clients.wafv2))
    at_home = tuple(make() for make in made)
    for client in (*at_home, *edge, clients.route53()):
        assert client.meta.endpoint_url == "http://127.0.0.1:4566"
        if client.meta.service_model.service_name != "route53":
            assert client.meta.region_name == ("us-east-1" if client in edge else "eu-west-1")
        # One call that isn't answered must end well inside the margin kept for the response.
        config: Any = client.meta.config
        assert (config.connect_timeout + config.read_timeout) * config.retries["total_max_attempts"] < 30
