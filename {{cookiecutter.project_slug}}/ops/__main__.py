"""Command line: `python -m ops <command>`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from ops import artifacts, bundle, deploy, destroy, protection, verify
from ops.aws import Aws
from ops.console import Screen
from ops.errors import FAILURE, INTERRUPTED, USAGE, OpsError, explain
from ops.project import Project, choose_region, find_project, read_stage

_EPILOG = """\
exit codes: 0 done, 1 failed, 2 could not run (arguments, credentials, region, network), 130 Ctrl-C

environment: AWS_PROFILE and all else the AWS SDK reads; NO_COLOR switches colours off;
OPS_POLL_SECONDS fixes the polling interval (else 1 growing to 5).
"""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m ops",
        description="Deploy, prove and destroy this project's stacks.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", metavar="command", required=True)

    place = argparse.ArgumentParser(add_help=False)
    place.add_argument(
        "--region",
        help="AWS region (default: AWS_REGION, AWS_DEFAULT_REGION, then [tool.ops] region in pyproject.toml)",
    )
    bucket = argparse.ArgumentParser(add_help=False)
    bucket.add_argument(
        "--bucket", help="artifact bucket in the same region (default: fastmcp-artifacts-<account>-<region>)"
    )
    stack = argparse.ArgumentParser(add_help=False)
    stack.add_argument("--stage", default="dev", help="a file of infrastructure/stages (default: dev)")
    stack.add_argument("--stack-name", help="name of the stack (default: <project>-<stage>)")
    timeout = argparse.ArgumentParser(add_help=False)
    timeout.add_argument(
        "--timeout",
        type=_seconds,
        default=120.0,
        metavar="SECONDS",
        help="how long the checks together are tried again while nothing answers (default: 120)",
    )

    def add(name: str, text: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(
            name, help=text, description=f"{text[0].upper()}{text[1:]}.", parents=parents
        )

    build = add(
        "bundle",
        "build the bundle: templates, function code and source under a hash of their content, in build/; "
        "with --stage, also write the stage's parameters to build/<stage>.json",
        place,
        bucket,
    )
    build.add_argument("--stage", help="write build/<stage>.json for this stage")
    add(
        "upload", "build the bundle, upload it and write build/<stage>.json, without deploying", place, bucket
    ).add_argument("--stage", default="dev", help="a file of infrastructure/stages (default: dev)")
    up = add(
        "deploy",
        "bundle, upload, create or update the stack, follow its events, verify",
        place,
        bucket,
        stack,
        timeout,
    )
    up.add_argument(
        "--no-rollback", action="store_true", help="leave what was made before a failure, to look at it"
    )
    up.add_argument("--no-verify", action="store_true", help="don't verify after the deployment")
    up.add_argument(
        "--protect", action="store_true", help="switch termination protection on, so that nothing deletes it"
    )
    add("follow", "follow the operation that is going on at the stack", place, stack)
    add(
        "verify",
        "check health, MCP handshake and tool calls, direct and through the gateway",
        place,
        stack,
        timeout,
    )
    down = add("destroy", "delete the stack and check that nothing of it is left", place, bucket, stack)
    down.add_argument("--yes", action="store_true", help="don't ask (needed where there is no terminal)")
    down.add_argument(
        "--artifacts", action="store_true", help="also delete this project's bundles from the artifact bucket"
    )
    return parser


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds < float("inf"):
        raise ValueError
    return seconds


def _run(options: argparse.Namespace, screen: Screen) -> int:
    project = find_project(Path.cwd())
    if options.command == "bundle":
        return _bundle(options, screen, project)
    stage = read_stage(project, options.stage)
    aws = Aws(choose_region(project, options.region))
    if options.command == "upload":
        deploy.upload_bundle(aws, screen, project, stage, options.bucket)
        return 0
    name = project.stack_name(stage.name, options.stack_name)
    match options.command:
        case "deploy":
            rollback = not options.no_rollback
            deploy.deploy(aws, screen, project, stage, name, bucket=options.bucket, rollback=rollback)
            if options.protect:
                protection.protect(aws, screen, name)
            else:
                protection.advise(aws, screen, stage, name)
            return 0 if options.no_verify else _verify(aws, screen, name, options.timeout)
        case "follow":
            deploy.follow_running(aws, screen, name)
        case "verify":
            return _verify(aws, screen, name, options.timeout)
        case "destroy":
            clean = destroy.destroy(aws, screen, project, name, yes=options.yes)
            if options.artifacts:
                destroy.remove_artifacts(aws, screen, project, name, options.bucket)
            return 0 if clean else FAILURE
    return 0


def _bundle(options: argparse.Namespace, screen: Screen, project: Project) -> int:
    stage = read_stage(project, options.stage) if options.stage else None
    built = bundle.build_bundle(project)
    screen.result(f"{built.path.relative_to(project.root).as_posix()}")
    if stage:
        bucket = options.bucket or artifacts.default_bucket(Aws(choose_region(project, options.region)))
        screen.result(bundle.write_stage(project, stage, built, bucket).relative_to(project.root).as_posix())
    return 0


def _verify(aws: Aws, screen: Screen, stack_name: str, timeout: float) -> int:
    outputs = verify.stack_outputs(aws, stack_name)
    return 0 if verify.verify(aws, screen, outputs, timeout=timeout) else FAILURE


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: of the command line; None for those of this process.

    Returns:
        The exit code.

    """
    options = _parser().parse_args(arguments)
    screen = Screen()
    try:
        return _run(options, screen)
    except OpsError as error:
        screen.error(str(error))
        return error.exit_code
    except (BotoCoreError, ClientError) as error:
        told = explain(error)
        screen.error(str(told))
        return told.exit_code
    except OSError as error:
        screen.error(f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}")
        return USAGE
    except KeyboardInterrupt:
        screen.error("Stopped.")
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
