"""The table of creation times."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

TABLE = Path(__file__).with_name("times.yaml")
ASSUMED = "assumed"


@dataclass(frozen=True)
class Time:
    """One row: how long the creation of what matches it takes.

    `resource_type` is a type's name or, ending with *, the beginning of one; `when` names string properties
    that must have a value; `source` is one or more addresses with spaces between, or `ASSUMED`.
    """

    resource_type: str
    when: Mapping[str, str]
    seconds: int
    source: str
    note: str

    def fits(self, resource_type: str, properties: Mapping[str, Any]) -> bool:
        """Return whether the row is about such a resource."""
        prefix = self.resource_type.removesuffix("*")
        named = (
            resource_type.startswith(prefix) if self.resource_type.endswith("*") else resource_type == prefix
        )
        return named and all(properties.get(name) == value for name, value in self.when.items())


@cache
def table() -> tuple[Time, ...]:
    """Return the rows in their order."""
    return tuple(
        Time(row["type"], row.get("when", {}), row["seconds"], row["source"], " ".join(row["note"].split()))
        for row in yaml.safe_load(TABLE.read_text(encoding="utf-8"))
    )


def time_of(resource_type: str, properties: Mapping[str, Any]) -> Time:
    """Return the first row that fits; the last row fits everything."""
    return next(row for row in table() if row.fits(resource_type, properties))
