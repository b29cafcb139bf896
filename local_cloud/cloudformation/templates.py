"""Templates: by virtual-hosted S3 addresses too, and refused when they refer to what they don't declare."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from ministack.services.cloudformation import engine, helpers  # type: ignore[import-untyped]

from .patching import wrap

_REGION = r"[a-z]{2}(?:-[a-z]+)+-\d"
_VIRTUAL_HOSTED = re.compile(
    rf"(?P<bucket>[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9])\.s3(?:[.-](?:dualstack\.)?{_REGION})?\.amazonaws\.com(?:\.cn)?"
)


def install() -> None:
    """Wrap the engine's reading and checking of templates."""
    wrap(helpers, "_resolve_document", _virtual_hosted)
    wrap(engine, "_validate_template_statics", _with_reference_check)


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
