"""What a person can set about the containers of the local cloud, and where their files are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

DEFAULT_TIME_SCALE = 30.0

_PACKAGE_PREFIXES = ("UV_", "PIP_", "SSL_CERT_", "XDG_")
_PIP_TO_UV = {"PIP_INDEX_URL": "UV_INDEX_URL", "PIP_EXTRA_INDEX_URL": "UV_EXTRA_INDEX_URL"}
"""uv doesn't read pip's settings, and a person's machine may have only those."""
_UV_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX")
_PACKAGE_NAMES = frozenset({"HOME", "PATH", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"})


@dataclass(frozen=True)
class ContainerSettings:
    """Settings read once, when the cloud starts."""

    cache_directory: Path
    """Images and requirements, kept between clouds. ``LOCAL_CLOUD_CACHE``, else ``.cache/local-cloud``."""
    time_scale: float = DEFAULT_TIME_SCALE
    """AWS's seconds per second here, for intervals and delays. ``LOCAL_CLOUD_TIME_SCALE``; 1 is real time."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ContainerSettings:
        """Read the settings; raises ValueError for a time scale that isn't a number of at least 1."""
        text = environment.get("LOCAL_CLOUD_TIME_SCALE", str(DEFAULT_TIME_SCALE))
        try:
            scale = float(text)
        except ValueError:
            scale = 0.0
        if not scale >= 1:
            raise ValueError(
                f"LOCAL_CLOUD_TIME_SCALE is {text!r}; it must be a number of at least 1 (1 is real time)."
            )
        cache = Path(environment.get("LOCAL_CLOUD_CACHE") or Path(".cache") / "local-cloud")
        return cls(cache.absolute(), scale)

    def scaled(self, seconds: float) -> float:
        """Turn AWS's seconds into the local cloud's."""
        return seconds / self.time_scale


def package_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables with which packages can be installed from this machine: indexes, proxies, trust.

    Taken from what the process was started with, because the cloud replaces proxies and trust by its own.
    """
    initial = environment if environment is not None else _initial_environment()
    chosen = {
        name: value
        for name, value in initial.items()
        if name.upper() in _PACKAGE_NAMES or name.startswith(_PACKAGE_PREFIXES)
    }
    if not any(name in initial for name in _UV_INDEXES):
        chosen |= {uv: initial[pip] for pip, uv in _PIP_TO_UV.items() if pip in initial}
    return chosen


def _initial_environment() -> dict[str, str]:
    try:
        entries = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return dict(os.environ)
    pairs = (os.fsdecode(entry).partition("=") for entry in entries if b"=" in entry)
    return {name: value for name, _, value in pairs}
