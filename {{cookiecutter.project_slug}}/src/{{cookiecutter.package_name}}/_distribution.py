"""Name and version of the installed distribution this package belongs to."""

from functools import cache
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions
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
        found = distribution(package)
    except PackageNotFoundError:
        # The distribution is called differently: only then is the slow search through all of them needed.
        owners = packages_distributions().get(package)
        if not owners:
            return Distribution(package.replace("_", "-"), UNINSTALLED_VERSION)
        found = distribution(owners[0])
    return Distribution(found.metadata["Name"], found.version)
