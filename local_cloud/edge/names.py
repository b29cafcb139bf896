"""Route 53 as far as distributions' own names go: records lead to them, a zone holds only its own names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ministack.services import route53  # type: ignore[import-untyped]

from ..cloudformation import patching
from ..data_plane.distribution import with_alias

_ADDRESSES = {"A", "AAAA"}


def install() -> None:
    """Wrap the emulator's API."""
    patching.wrap(route53, "_change_resource_record_sets", _with_zone_check)


def is_alias(host: str) -> bool:
    """Whether a distribution has this name, and a record of some zone leads there."""
    found = with_alias(host)
    if found is None:
        return False
    domain = str(found[1]["DomainName"]).lower().rstrip(".")
    for records in route53._records.to_dict().values():
        for record in records:
            if record["Name"].lower().rstrip(".") != host:
                continue
            target = str((record.get("AliasTarget") or {}).get("DNSName", "")).lower().rstrip(".")
            values = {value.lower().rstrip(".") for value in record.get("ResourceRecords", [])}
            if (record["Type"] in _ADDRESSES and target == domain) or domain in values:
                return True
    return False


def _with_zone_check(original: Callable[..., Any]) -> Callable[..., Any]:
    def change(zone_id: str, body: bytes) -> Any:
        zone = route53._zones.get(zone_id)
        root = route53._parse_body(body)
        if zone is not None and root is not None:
            for element in root.iter():
                if not element.tag.endswith("ResourceRecordSet"):
                    continue
                name = str(route53._parse_record_set(element)["Name"])
                if name != zone["name"] and not name.endswith(f".{zone['name']}"):
                    message = f"RRSet with DNS name {name} is not permitted in zone {zone['name']}"
                    return route53._error_response("InvalidChangeBatch", f"[{message}]")
        return original(zone_id, body)

    return change
