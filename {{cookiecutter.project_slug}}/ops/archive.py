"""Deterministic zip files: the same names and bytes give the same archive."""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ops.errors import OpsError

_EPOCH = (1980, 1, 1, 0, 0, 0)
_UNIX = 3
_MODE = 0o100644
_LEVEL = 6
_SKIPPED_SUFFIXES = (".pyc", ".pyo", ".egg-info")


def walk(folder: Path, exclude: Iterable[str] = ()) -> Iterator[tuple[str, Path]]:
    """Yield the files below a folder as (name with forward slashes, path), without hidden and compiled ones.

    Args:
        folder: may itself be a symbolic link.
        exclude: names directly below the folder to leave out.

    Raises:
        OpsError: a linked directory, whose content would be left out unseen.

    """
    folder = folder.resolve()
    left_out = frozenset(exclude)
    for current, folders, files in os.walk(folder):
        here = Path(current)
        folders[:] = sorted(
            name for name in folders if _wanted(name) and not (here == folder and name in left_out)
        )
        for name in folders:
            if (here / name).is_symlink():
                raise OpsError(
                    f"{here / name} is a link to a directory; a bundle takes real directories only."
                )
        for name in sorted(files):
            if _wanted(name) and not (here == folder and name in left_out):
                path = here / name
                yield path.relative_to(folder).as_posix(), path


def _wanted(name: str) -> bool:
    return not name.startswith(".") and name != "__pycache__" and not name.endswith(_SKIPPED_SUFFIXES)


def content_hash(files: Mapping[str, bytes]) -> str:
    """Return the SHA-256 over names and bytes, in hex."""
    digest = hashlib.sha256()
    for name in sorted(files):
        for part in (name.encode(), files[name]):
            digest.update(len(part).to_bytes(8, "big"))
            digest.update(part)
    return digest.hexdigest()


def write_zip(
    target: Path, files: Mapping[str, bytes | Path] | Mapping[str, bytes], *, compress: bool
) -> None:
    """Write an archive with sorted names, one timestamp and one mode.

    Args:
        target: the file to write.
        files: name in the archive to its bytes, or to the file that holds them.
        compress: False stores the bytes as they are, so the archive doesn't depend on the zlib at hand.

    """
    method = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
    with zipfile.ZipFile(target, "w", method, compresslevel=_LEVEL) as archive:
        for name in sorted(files):
            content = files[name]
            info = zipfile.ZipInfo(name, _EPOCH)
            info.create_system = _UNIX
            info.external_attr = _MODE << 16
            info.compress_type = method
            archive.writestr(info, content.read_bytes() if isinstance(content, Path) else content)
