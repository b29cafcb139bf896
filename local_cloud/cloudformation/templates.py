"""Templates: from virtual-hosted S3 addresses too, with checked references; conditions in full."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ministack.core.responses import get_account_id, get_region  # type: ignore[import-untyped]
from ministack.services.cloudformation import (  # type: ignore[import-untyped]
    changesets,
    engine,
    handlers,
    helpers,
    stacks,
)

from .patching import wrap

_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"
_VIRTUAL_HOSTED = re.compile(
    rf"(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])\.s3(?:[.-](?:dualstack\.)?{_REGION})?\.amazonaws\.com(?:\.cn)?"
)


def install() -> None:
    """Wrap the engine's reading and checking of templates."""
    wrap(helpers, "_resolve_document", _virtual_hosted)
    wrap(engine, "_validate_template_statics", _with_reference_check)
    # Each of these modules has a name of its own for the function.
    for module in (engine, changesets, handlers, stacks):
        wrap(module, "_evaluate_conditions", _with_functions)


def path_style(url: str) -> str:
    """``url`` as ``https://s3.amazonaws.com/<bucket>/<key>`` if it is virtual-hosted, else as it is."""
    parts = urlsplit(url)
    match = _VIRTUAL_HOSTED.fullmatch(parts.hostname or "")
    return f"https://s3.amazonaws.com/{match['bucket']}{parts.path}" if match else url


def unresolved_references(template: dict[str, Any], section: str) -> list[str]:
    """Return names in ``section`` that are neither a parameter, a resource nor a pseudo parameter."""
    resources = template.get("Resources") or {}
    known = {*resources, *(template.get("Parameters") or {})}
    used = {name for name, _ in engine._intrinsic_references(template.get(section) or {})}
    if section == "Resources":
        for resource in resources.values():
            needed = resource.get("DependsOn", []) if isinstance(resource, dict) else []
            used.update([needed] if isinstance(needed, str) else needed)
    return sorted(name for name in used - known if not name.startswith("AWS::"))


def _virtual_hosted(original: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_document(params: dict[str, Any], body_key: str, url_key: str, label: str) -> Any:
        url = helpers._p(params, url_key)
        if url:
            params = {**params, url_key: [path_style(url)]}
        return original(params, body_key, url_key, label)

    return resolve_document


def _with_reference_check(original: Callable[..., None]) -> Callable[..., None]:
    def validate_template_statics(template: dict[str, Any]) -> None:
        original(template)
        if template.get("Transform"):
            return
        for section in ("Resources", "Outputs"):
            unresolved = unresolved_references(template, section)
            if unresolved:
                names = ", ".join(unresolved)
                raise ValueError(
                    f"Template format error: Unresolved resource dependencies [{names}] in the {section} "
                    "block of the template"
                )

    return validate_template_statics


_OF_TEXT = ("Fn::FindInMap", "Fn::Join", "Fn::Select", "Fn::Split", "Fn::Sub")


def _with_functions(original: Callable[..., dict[str, bool]]) -> Callable[..., dict[str, bool]]:
    """Let conditions use pseudo parameters and functions of text, the emulator knows Select alone."""

    def evaluate_conditions(template: dict[str, Any], params: dict[str, Any]) -> dict[str, bool]:
        pseudo = {
            "AWS::AccountId": get_account_id(),
            "AWS::Partition": "aws",
            "AWS::Region": get_region(),
            "AWS::URLSuffix": "amazonaws.com",
        }
        known = {**{name: {"Value": value} for name, value in pseudo.items()}, **params}
        mappings = template.get("Mappings") or {}

        def as_text(node: Any) -> Any:
            if isinstance(node, list):
                return [as_text(item) for item in node]
            if not isinstance(node, dict):
                return node
            if len(node) == 1 and next(iter(node)) in _OF_TEXT:
                return engine._resolve_refs(node, {}, known, {}, mappings, "", "")
            return {key: as_text(value) for key, value in node.items()}

        conditions = as_text(template.get("Conditions") or {})
        return original({**template, "Conditions": conditions}, known)

    return evaluate_conditions
