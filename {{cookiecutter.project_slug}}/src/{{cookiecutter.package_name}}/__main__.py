"""Command line of the server: `mcp-server`, or `python -m` with the package's name."""

import argparse
import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime

from pydantic import AliasChoices

from ._distribution import this_distribution
from .auth_settings import AuthSettings
from .garbage import collection_paused
from .settings import Settings, SettingsError, load_settings

EXIT_USAGE = 2
EXIT_INTERRUPTED = 130


def variables() -> str:
    """Return a line per environment variable: name, meaning, default."""
    lines = []
    # What the server is before whom it lets in; pydantic lists the fields of a base class first.
    own = [name for name in Settings.model_fields if name not in AuthSettings.model_fields]
    for field in (Settings.model_fields[name] for name in (*own, *AuthSettings.model_fields)):
        alias = field.validation_alias
        names = ", ".join(map(str, alias.choices)) if isinstance(alias, AliasChoices) else str(alias)
        default = str(field.default).lower() if isinstance(field.default, bool) else field.default or "none"
        lines.append(f"  {names:<20} {field.description} (default: {default})")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """Return the command line's grammar."""
    distribution = this_distribution()
    result = argparse.ArgumentParser(
        prog="mcp-server",
        description="Serve MCP over streamable HTTP at /mcp, with GET /health beside it; or over stdio.",
        epilog=f"environment variables, which the options win over:\n{variables()}\n\n"
        "AWS credentials and the region are found the usual way (AWS_PROFILE, AWS_REGION, the task's role).",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    result.add_argument(
        "--stdio",
        action="store_true",
        help="serve one client on standard input and output; logs go to standard error",
    )
    result.add_argument("--host", help="address to listen on")
    result.add_argument("--port", help="TCP port to listen on")
    result.add_argument("--version", action="version", version=f"{distribution.name} {distribution.version}")
    return result


def refuse(error: SettingsError) -> None:
    """Say why the server doesn't start: in a sentence to a person, as a log line to anything else."""
    if sys.stderr.isatty():
        print(f"mcp-server: {error}", file=sys.stderr)
        return
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    line = {"timestamp": now, "level": "critical", "logger": __package__, "event": "settings.refused"}
    print(json.dumps({**line, "error": str(error)}), file=sys.stderr)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the server; returns the exit status."""
    options = parser().parse_args(arguments)
    given = {"HOST": options.host, "PORT": options.port}
    try:
        settings = load_settings({name: value for name, value in given.items() if value is not None})
    except SettingsError as error:
        refuse(error)
        return EXIT_USAGE
    # Imported late, so that --help, --version and a bad setting answer at once.
    from .logs import capture_prints, configure_logs

    configure_logs(settings.log_level, sys.stderr if options.stdio else sys.stdout)
    if not options.stdio:
        capture_prints()
    with collection_paused():
        from .serving import serve_http, serve_stdio

    try:
        (serve_stdio if options.stdio else serve_http)(settings)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
