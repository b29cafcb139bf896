"""CloudFormation's resource provider schemas, as cfn-lint bundles them, read on first use."""

from __future__ import annotations

import json
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Schema = dict[str, Any]


def _directory() -> Path:
    # Found, not imported: importing cfn-lint takes longer than starting the cloud.
    spec = find_spec("cfnlint")
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError("cfn-lint isn't installed; the local cloud needs the schemas in it")
    return Path(spec.origin).parent / "data" / "schemas"


_SCHEMAS = _directory()


@cache
def schema_of(type_name: str, region: str) -> Schema | None:
    """Return the schema of ``type_name`` in ``region``; None where CloudFormation doesn't know the type."""
    key = _types(region).get(type_name)
    if key is None:
        return None
    schema: Schema = _by_hash(key)
    return schema


@cache
def _types(region: str) -> dict[str, str]:
    table = _SCHEMAS / "providers" / f"{region}.json"
    if not table.is_file():
        table = _SCHEMAS / "providers" / "us-east-1.json"
    types: dict[str, str] = json.loads(table.read_text())
    return types


@cache
def _by_hash(key: str) -> Schema:
    schema: Schema = json.loads((_SCHEMAS / "resources" / f"{key}.json").read_text())
    return schema
