"""Deploying a stage: bundle, upload, change set, events, outputs."""

from __future__ import annotations

from ops import artifacts, changeset, stacks
from ops.aws import Aws
from ops.bundle import Bundle, build_bundle, stage_parameters, write_stage
from ops.console import Screen
from ops.errors import OpsError
from ops.events import Event, causes, newest, operation_start, summary
from ops.follow import Outcome, follow
from ops.project import Project, Stage

_GOOD = frozenset({"CREATE_COMPLETE", "UPDATE_COMPLETE"})
_DESTROY_FIRST = frozenset({"DELETE_FAILED", "ROLLBACK_FAILED"})


def upload_bundle(
    aws: Aws, screen: Screen, project: Project, stage: Stage, bucket: str | None
) -> tuple[Bundle, str]:
    """Bring the project's bundle to its bucket, and write the stage's parameters to `build/`.

    Args:
        aws: the session.
        screen: shows what was done.
        project: what to bundle.
        stage: whose parameters to write.
        bucket: None for the account's own bucket.

    Returns:
        The bundle and the bucket's name.

    """
    place = bucket or artifacts.default_bucket(aws)
    # Asked first: a bucket that can't be used is told before any work is done.
    there = artifacts.has_bucket(aws, place)
    bundle = build_bundle(project)
    screen.note(f"Bundle {bundle.hash}: {len(bundle.files)} files, {bundle.size / 1e6:.1f} MB")
    if not there:
        artifacts.create_bucket(aws, place)
        screen.note(f"Made the bucket {place}")
    done = artifacts.upload(aws, bundle, place, screen)
    screen.note(f"Uploaded {done.sent} files to s3://{place}/{bundle.prefix} ({done.kept} were there)")
    write_stage(project, stage, bundle, place)
    return bundle, place


def deploy(
    aws: Aws,
    screen: Screen,
    project: Project,
    stage: Stage,
    stack_name: str,
    *,
    bucket: str | None = None,
    rollback: bool = True,
) -> None:
    """Create or update a stage's stack, following it to its end.

    Raises:
        OpsError: it could not be started, or failed; the message has the first causes.

    """
    bundle, place = upload_bundle(aws, screen, project, stage, bucket)
    cloudformation = aws.cloudformation
    parameters = stage_parameters(stage, bundle, place)
    if is_current(aws, stack_name, parameters, stage.tags):
        screen.result(f"{stack_name}: no changes.", "green")
        return
    kind = _prepare(aws, screen, stack_name)
    change_set = changeset.create(
        cloudformation,
        stack_name,
        kind,
        f"https://{place}.s3.{aws.region}.{aws.url_suffix}/{bundle.prefix}infrastructure/main.yaml",
        parameters,
        stage.tags,
    )
    if change_set is None:
        screen.result(f"{stack_name}: no changes.", "green")
        return
    screen.note(f"{'Creating' if kind == 'CREATE' else 'Updating'} {stack_name}: {change_set.summary}")
    since = newest(cloudformation, change_set.stack_id)
    changeset.execute(cloudformation, change_set, rollback=rollback)
    outcome = follow(aws, screen, change_set.stack_id, stack_name, since)
    report(screen, stack_name, outcome)
    _show_outputs(aws, screen, change_set.stack_id)


def is_current(aws: Aws, stack_name: str, parameters: dict[str, str], tags: dict[str, str]) -> bool:
    """Tell whether a stack is complete and was deployed with just these parameters and tags.

    A change set can't tell: CloudFormation calls every nested stack changed. The parameters can, since the
    artifact prefix holds the hash of all templates and code.
    """
    stack = stacks.describe(aws.cloudformation, stack_name)
    if stack is None or stack["StackStatus"] not in _GOOD:
        return False
    deployed = stack.get("Parameters", [])
    # A parameter that names an SSM parameter may have another value by now.
    if any("ResolvedValue" in item for item in deployed):
        return False
    now = {item.get("ParameterKey", ""): item.get("ParameterValue", "") for item in deployed}
    if (
        parameters.items() - now.items()
        or {tag["Key"]: tag["Value"] for tag in stack.get("Tags", [])} != tags
    ):
        return False
    asked = aws.cloudformation.get_template_summary(StackName=str(stack.get("StackId", stack_name)))
    defaults = {
        item.get("ParameterKey", ""): item.get("DefaultValue", "") for item in asked.get("Parameters", [])
    }
    return now == {**defaults, **parameters}


def follow_running(aws: Aws, screen: Screen, stack_name: str) -> None:
    """Follow the operation that is going on at a stack, from its beginning.

    Raises:
        OpsError: there is no such stack, or the operation failed.

    """
    stack = stacks.describe(aws.cloudformation, stack_name)
    if stack is None:
        raise OpsError(f"There is no stack {stack_name} in {aws.region}.")
    stack_id, status = str(stack.get("StackId", stack_name)), stack["StackStatus"]
    if not status.endswith("_IN_PROGRESS") or status == "REVIEW_IN_PROGRESS":
        screen.result(f"{stack_name}: {status}, nothing is going on.")
        return
    since = operation_start(aws.cloudformation, stack_id)
    report(screen, stack_name, follow(aws, screen, stack_id, stack_name, since))


def report(screen: Screen, stack_name: str, outcome: Outcome) -> None:
    """Say how an operation ended.

    Raises:
        OpsError: it failed; the message has the first causes, each with its reason in full.

    """
    if outcome.status in _GOOD or outcome.status == "DELETE_COMPLETE":
        screen.result(f"{stack_name}: {outcome.status} in {outcome.seconds:.0f} s", "green")
        return
    lines = [f"{stack_name}: {outcome.status}. First cause:"]
    found = causes(outcome.events)
    lines += [f"  {describe_cause(event)}" for event in found]
    if not found:
        lines.append(f"  {summary(outcome.events) or outcome.reason or 'CloudFormation gave no reason.'}")
    raise OpsError("\n".join(lines))


def describe_cause(event: Event) -> str:
    """Return a failed resource and the reason in full."""
    return f"{event.path} ({event.kind}) {event.status}: {event.reason or 'no reason given'}"


def _prepare(aws: Aws, screen: Screen, stack_name: str) -> changeset.Kind:
    """Decide between creating and updating, clearing away a stack whose creation failed.

    Raises:
        OpsError: the stack is in a state that takes no change.

    """
    stack = stacks.describe(aws.cloudformation, stack_name)
    if stack is None:
        return "CREATE"
    status, stack_id = stack["StackStatus"], str(stack.get("StackId", stack_name))
    if status in {"REVIEW_IN_PROGRESS", "DELETE_COMPLETE"}:
        return "CREATE"
    if status == "ROLLBACK_COMPLETE":
        screen.note(f"{stack_name} is left over from a creation that failed; deleting it first")
        since = newest(aws.cloudformation, stack_id)
        aws.cloudformation.delete_stack(StackName=stack_id)
        report(screen, stack_name, follow(aws, screen, stack_id, stack_name, since))
        return "CREATE"
    if status.endswith("_IN_PROGRESS"):
        raise OpsError(
            f"{stack_name} is busy ({status}). Wait for it with\n"
            f"  python -m ops follow --stack-name {stack_name} --region {aws.region}"
        )
    if status == "UPDATE_ROLLBACK_FAILED":
        raise OpsError(
            f"{stack_name} is stuck in {status}. Mend what the last events name, then\n"
            f"  aws cloudformation continue-update-rollback --stack-name {stack_name} --region {aws.region}"
        )
    if status in _DESTROY_FIRST:
        raise OpsError(f"{stack_name} is in {status} and takes no update: destroy it first.")
    return "UPDATE"


def _show_outputs(aws: Aws, screen: Screen, stack_id: str) -> None:
    stack = stacks.describe(aws.cloudformation, stack_id)
    values = stacks.outputs(stack) if stack else {}
    width = max(map(len, values), default=0)
    for key in sorted(values):
        screen.result(f"  {key:<{width}}  {values[key]}")
