"""Finish a fresh repository and say what to do next. Runs again, harmlessly, at every `cruft update`."""

import json
import shutil
import sys
from pathlib import Path

SLUG: str = json.loads(r""" {{ cookiecutter.project_slug | tojson }} """)
# cookiecutter sets both, cruft only the second; either may be an address instead of a directory.
TEMPLATE_DIRECTORIES: list[str] = [
    json.loads(r""" {{ cookiecutter._repo_dir | default("") | string | tojson }} """),
    json.loads(r""" {{ cookiecutter._template | default("") | string | tojson }} """),
]
CUSTOM_RESOURCES = Path("custom_resources")
CACHES = ("__pycache__", ".pytest_cache", ".ruff_cache", ".mypy_cache", ".hypothesis")


def copy_custom_resources() -> None:
    """Put the directory where a zip, or git without symbolic links, left a text file naming it."""
    if CUSTOM_RESOURCES.is_dir():
        return
    for directory in filter(None, TEMPLATE_DIRECTORIES):
        source = Path(directory) / CUSTOM_RESOURCES
        if source.is_dir():
            CUSTOM_RESOURCES.unlink(missing_ok=True)
            shutil.copytree(source, CUSTOM_RESOURCES, ignore=shutil.ignore_patterns(*CACHES))
            return
    sys.exit(
        "ERROR: the template's custom_resources is a link that was not followed. "
        "Clone the template with `git -c core.symlinks=true clone` and generate from the clone."
    )


def remove_caches() -> None:
    """Remove what tools left in the template: cookiecutter copies whatever lies there."""
    for cache in CACHES:
        for directory in list(Path().rglob(cache)):
            shutil.rmtree(directory)


if __name__ == "__main__":
    copy_custom_resources()
    remove_caches()
    print(f"{SLUG} is ready. Next:")
    print(f"  cd {SLUG} && make test     # set up and run the server's own tests")
    print("  make run, then make deploy  # on this machine, then on AWS; README.md tells the rest")
