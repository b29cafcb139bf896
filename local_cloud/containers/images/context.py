"""The build context: the files of a directory that ``.dockerignore`` lets through."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def context_files(directory: Path, ignore_file: Path | None = None) -> list[PurePosixPath]:
    """Paths of the context, relative to ``directory``, sorted.

    A path is left out when the last pattern that matches it, or a directory above it, has no ``!``
    (https://docs.docker.com/build/concepts/context/#dockerignore-files).
    """
    ignore = ignore_file or directory / ".dockerignore"
    rules = list(_rules(ignore.read_text())) if ignore.is_file() else []
    return sorted(path for path in _walk(directory) if not _ignored(path, rules))


def _rules(text: str) -> Iterator[tuple[bool, re.Pattern[str]]]:
    for line in text.splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        excluded = not pattern.startswith("!")
        pattern = pattern.removeprefix("!").strip().strip("/")
        if pattern:
            yield excluded, re.compile(_expression(os.path.normpath(pattern)))


def _expression(pattern: str) -> str:
    expression, index = "", 0
    while index < len(pattern):
        if pattern.startswith("**/", index):
            expression, index = expression + "(?:.*/)?", index + 3
        elif pattern.startswith("**", index):
            expression, index = expression + ".*", index + 2
        elif pattern[index] in "*?":
            expression += "[^/]*" if pattern[index] == "*" else "[^/]"
            index += 1
        else:
            expression, index = expression + re.escape(pattern[index]), index + 1
    return expression + r"\Z"


def _ignored(path: PurePosixPath, rules: list[tuple[bool, re.Pattern[str]]]) -> bool:
    names = [str(path), *(str(parent) for parent in path.parents if str(parent) != ".")]
    ignored = False
    for excluded, expression in rules:
        if any(expression.match(name) for name in names):
            ignored = excluded
    return ignored


def _walk(directory: Path) -> Iterator[PurePosixPath]:
    for root, folders, files in os.walk(directory):
        folders.sort()
        for name in files:
            yield PurePosixPath((Path(root) / name).relative_to(directory))


def context_digest(directory: Path, files: list[PurePosixPath]) -> str:
    """SHA-256 (hex) of names, executable bits and contents."""
    digest = hashlib.sha256()
    for path in files:
        source = directory / path
        executable = b"x" if os.access(source, os.X_OK) else b"-"
        digest.update(str(path).encode() + b"\0" + executable + hashlib.sha256(source.read_bytes()).digest())
    return digest.hexdigest()
