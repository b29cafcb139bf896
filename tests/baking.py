"""A project generated with the default answers, away from anybody's home."""

from __future__ import annotations

from pathlib import Path

from cookiecutter.main import cookiecutter

ROOT = Path(__file__).parents[1]
# Of the project that the default answers make.
PACKAGE = "knowledge_mcp_server"


def bake(directory: Path) -> Path:
    """Generate a project below `directory`, which must exist, and return its path."""
    config = directory / "cookiecutter.yaml"
    config.write_text(f"cookiecutters_dir: {directory / 'templates'}\nreplay_dir: {directory / 'replay'}\n")
    made = cookiecutter(str(ROOT), no_input=True, output_dir=str(directory / "out"), config_file=str(config))
    return Path(made)
