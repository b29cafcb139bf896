"""``python -m local_cloud``: start the cloud and print what makes a shell its client."""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

from . import server
from .errors import LocalCloudError

_DESCRIPTION = """\
Start AWS on this machine: CloudFormation, Lambda, ECS, load balancers, CloudFront and AgentCore gateways,
on loopback only, without an account and without the network. It runs until Ctrl-C and keeps nothing.
"""
_EPILOG = """\
examples:
  python -m local_cloud                                  start, print the variables to export
  python -m local_cloud --environment-file cloud.env &   start in the background;
  . ./cloud.env && aws cloudformation list-stacks        then use it from this shell
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code."""
    options = _parser().parse_args(arguments)
    directory: Path = options.state_directory or Path(tempfile.mkdtemp(prefix="local-cloud-"))
    settings = server.Settings(
        state_directory=directory.resolve(), region=options.region, port=options.port, verbose=options.verbose
    )

    def on_ready(running: server.Running) -> None:
        if options.environment_file:
            _write_atomically(options.environment_file, _exports(running.environment))
        if options.ready_file:
            _write_atomically(options.ready_file, running.to_json())
        if not options.quiet:
            print(_announcement(running, settings.region), flush=True)

    try:
        server.serve(settings, on_ready, sys.stdin.buffer if options.stop_with_stdin else None)
    except LocalCloudError as error:
        print(f"local_cloud: {error}", file=sys.stderr)
        return 1
    else:
        if options.discard_state:
            shutil.rmtree(directory, ignore_errors=True)
        return 0
    finally:
        for path in (options.environment_file, options.ready_file):
            if path:
                path.unlink(missing_ok=True)
        if options.state_directory is None:
            shutil.rmtree(directory, ignore_errors=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m local_cloud",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--region", default="us-east-1", help="default region of the clients (default: %(default)s)"
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=0,
        help="port of the AWS endpoint on 127.0.0.1; 0 takes a free one (default: %(default)s)",
    )
    parser.add_argument("--verbose", action="store_true", help="log every request to standard error too")
    parser.add_argument("--quiet", action="store_true", help="print nothing when ready")
    parser.add_argument(
        "--environment-file",
        type=Path,
        metavar="PATH",
        help="write the variables as shell exports to PATH once ready; removed when the cloud stops",
    )
    parser.add_argument(
        "--ready-file",
        type=Path,
        metavar="PATH",
        help="write variables, process id and ports as JSON to PATH once ready; removed when the cloud stops",
    )
    parser.add_argument(
        "--state-directory",
        type=Path,
        metavar="PATH",
        help="keep certificates, logs and images in PATH and leave it (default: a temporary one, removed)",
    )
    parser.add_argument(
        "--discard-state", action="store_true", help="remove PATH of --state-directory when the cloud stops"
    )
    parser.add_argument(
        "--stop-with-stdin",
        action="store_true",
        help="stop when standard input ends: the cloud then can't outlive the program that started it",
    )
    return parser


def _port(text: str) -> int:
    try:
        port = int(text)
    except ValueError:
        port = -1
    if not 0 <= port <= 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is not a port number between 0 and 65535")
    return port


def _exports(environment: dict[str, str]) -> str:
    lines = [f"export {name}={shlex.quote(value)}" for name, value in environment.items()]
    # A profile or session token of a real account must not mix with the cloud's test keys.
    return "\n".join([*lines, "unset AWS_PROFILE AWS_SESSION_TOKEN"]) + "\n"


def _announcement(running: server.Running, region: str) -> str:
    return (
        f"# Local cloud is ready at {running.api_url} ({region}). Paste these lines into another shell:\n\n"
        f"{_exports(running.environment)}\n"
        f"# Log: {running.log_path}\n"
        f"# Stop it with Ctrl-C, or: kill {os.getpid()}"
    )


def _write_atomically(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.write_text(text)
    partial.replace(path)


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads of the emulator may still wait for a function that has just been stopped.
    os._exit(code)
