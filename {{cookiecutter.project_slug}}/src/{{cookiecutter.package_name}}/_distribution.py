"""Name and version of the installed distribution this package belongs to."""

from functools import cache
from importlib import metadata
from typing import NamedTuple

UNINSTALLED_VERSION = "0+uninstalled"


class Distribution(NamedTuple):
    """What `serverInfo` and `--version` report."""

    name: str
    version: str


@cache
def this_distribution() -> Distribution:
    """Look the distribution up; a source tree that isn't installed reports `UNINSTALLED_VERSION`."""
    package = __package__ or __name__
    try:
        found = metadata.distribution(package)
    except metadata.PackageNotFoundError:
        # The distribution is called differently.
        owner = _owner(package)
        if owner is None:
            return Distribution(package.replace("_", "-"), UNINSTALLED_VERSION)
        found = owner
    return Distribution(found.metadata["Name"], found.version)


def _owner(package: str) -> metadata.Distribution | None:
    """Return the distribution that installed a package.

    `packages_distributions` parses the metadata of all, for longer than a tenth of a start.
    """
    line = f"\n{package}/__init__.py,"
    return next(
        (found for found in metadata.distributions() if line in f"\n{found.read_text('RECORD')}"), None
    )
