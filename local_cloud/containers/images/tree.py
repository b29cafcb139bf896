"""Directory trees that stand in for an image's file system."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

_SCRIPT_LIMIT = 65536


class Tree:
    """A directory that plays ``/`` of one build stage."""

    def __init__(self, root: Path) -> None:
        self.root = root
        root.mkdir(parents=True, exist_ok=True)

    def host(self, path: str | PurePosixPath) -> Path:
        """Where the image's absolute ``path`` is on the host; ``..`` never leaves the tree."""
        return self.root / os.path.normpath("/" + str(path)).lstrip("/")

    def translate(self, text: str) -> str:
        """Replace ``text`` by the host's path when it names something that is in the tree."""
        if not text.startswith("/") or text == "/":
            return text
        host = self.host(text)
        return str(host) if os.path.lexists(host) else text

    def translate_search_path(self, value: str) -> str:
        """``translate`` each element of a value like ``PATH``."""
        return ":".join(self.translate(element) for element in value.split(":"))


def clone(source: Path, target: Path, old_root: Path, new_root: Path) -> None:
    """Copy a tree by hard links, with the paths in its ``bin`` scripts moved from one root to the other.

    A virtual environment's scripts name their interpreter by an absolute path, so they can't be linked.
    """
    target.mkdir(parents=True, exist_ok=True)
    with os.scandir(source) as entries:
        for entry in entries:
            copy = target / entry.name
            if entry.is_symlink():
                copy.unlink(missing_ok=True)
                copy.symlink_to(Path(entry.path).readlink())
            elif entry.is_dir():
                clone(Path(entry.path), copy, old_root, new_root)
            else:
                copy.unlink(missing_ok=True)
                _clone_file(Path(entry.path), copy, old_root, new_root)


def _clone_file(source: Path, copy: Path, old_root: Path, new_root: Path) -> None:
    if source.parent.name == "bin" and source.stat().st_size < _SCRIPT_LIMIT:
        content = source.read_bytes()
        old = os.fsencode(old_root)
        if old in content:
            copy.write_bytes(content.replace(old, os.fsencode(new_root)))
            shutil.copystat(source, copy)
            return
    try:
        os.link(source, copy)
    except OSError:
        shutil.copy2(source, copy)
