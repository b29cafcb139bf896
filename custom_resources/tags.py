"""The property `Tags`, and how the tags of what was made follow it.

Limits are those of botocore's models of acm, elbv2, logs and wafv2, which agree where they say one. Whose a
thing is, its tags say too (`ownership.py`): those are never in the property.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from custom_resources.properties import object_list, text

# AWS's [\p{L}\p{Z}\p{N}_.:/=+\-@]: letters, numbers and "_" are Python's \w, the rest is written out.
_CHARACTER = r"[\w \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000.:/=+\-@]"
_CHARACTERS = "letters, digits, spaces and _ . : / = + - @"
# AWS keeps the first for itself, in capitals too; the second begins the marks of this package.
_RESERVED = "(?!(?i:aws|custom-resource):)"
# A thing may have fifty, of which its owner's marks are four at most.
MOST_TAGS = 46


@dataclass(frozen=True)
class Tag:
    """An entry of `Tags`."""

    key: str = text(
        rf"{_RESERVED}{_CHARACTER}{{1,128}}",
        f"1 to 128 {_CHARACTERS} that don't begin with aws: or custom-resource:",
        description="Key of the tag.",
    )
    value: str = text(
        rf"{_CHARACTER}{{0,256}}",
        f"at most 256 {_CHARACTERS}",
        description="Value of the tag; may be empty.",
    )


def tags_property() -> Any:
    """Make the field `tags` of a model: an optional list of `Tag`, a key once at most."""
    return object_list(
        Tag,
        at_most=MOST_TAGS,
        unique="key",
        description="Tags of everything that is made. Tags that somebody else gives it stay.",
    )


@dataclass(frozen=True)
class Tagging:
    """What becomes of a thing's tags: it gets those that are wanted, and loses those that were."""

    wanted: Mapping[str, str]
    dropped: frozenset[str] = frozenset()

    @classmethod
    def of(cls, marks: Mapping[str, str], tags: Iterable[Tag], previous: Iterable[Tag] = ()) -> "Tagging":
        """Return it for an owner's marks, the property, and the property before."""
        wanted = {**marks, **{tag.key: tag.value for tag in tags}}
        return cls(wanted, frozenset(tag.key for tag in previous) - wanted.keys())

    def settle(
        self,
        present: Mapping[str, str],
        tag: Callable[[dict[str, str]], object],
        untag: Callable[[list[str]], object],
    ) -> None:
        """Change a thing that has the tags `present`; where nothing differs, nothing is called."""
        # First, so that a thing with fifty has room.
        gone = sorted(self.dropped & present.keys())
        if gone:
            untag(gone)
        changed = {key: value for key, value in self.wanted.items() if present.get(key) != value}
        if changed:
            tag(changed)
