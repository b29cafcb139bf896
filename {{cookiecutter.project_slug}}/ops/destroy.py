"""Destroying a stage's stack, and proving that nothing of it is left."""

from __future__ import annotations

import os
from pathlib import Path

from botocore.exceptions import ClientError

from ops import artifacts, stacks
from ops.aws import Aws
from ops.console import Screen
from ops.deploy import describe_cause
from ops.errors import USAGE, OpsError, error_code, error_message
from ops.events import causes, newest
from ops.follow import follow
from ops.leftovers import Findings, Inventory, look_for_leftovers, take_inventory
from ops.project import Project

_PATIENCE = 30.0
"""Seconds that things on their way out get before they are called leftovers."""


def destroy(aws: Aws, screen: Screen, project: Project, stack_name: str, *, yes: bool) -> bool:
    """Delete a stack and look for leftovers.

    Args:
        aws: the session.
        screen: where to show progress and findings.
        project: whose stack it is.
        stack_name: the stack.
        yes: don't ask.

    Returns:
        Whether nothing is left.

    Raises:
        OpsError: not confirmed, protected, or the deletion failed.

    """
    record = project.build / f"{stack_name}.{aws.region}.inventory.json"
    stack = stacks.describe(aws.cloudformation, stack_name)
    stack_id = str(stack.get("StackId", stack_name)) if stack else ""
    if not stack or stack["StackStatus"] == "DELETE_COMPLETE":
        screen.result(f"There is no stack {stack_name} in {aws.region}.")
        inventory = Inventory.read(record)
        return inventory is None or _prove(aws, screen, project, inventory, record)
    _confirm(aws, screen, stack_name, yes=yes)
    inventory = _merge(take_inventory(aws, stack_id), Inventory.read(record))
    inventory.write(record)
    screen.note(f"Deleting {stack_name}: {len(inventory.resources)} resources")
    _delete(aws, screen, stack_name, stack_id)
    return _prove(aws, screen, project, inventory, record)


def remove_artifacts(aws: Aws, screen: Screen, project: Project, stack_name: str, bucket: str | None) -> None:
    """Delete the project's bundles from the artifact bucket.

    Raises:
        OpsError: the stack of another stage still uses them.

    """
    names = {project.stack_name(stage) for stage in project.stages} - {stack_name}
    users = [name for name in sorted(names) if stacks.describe(aws.cloudformation, name)]
    place = bucket or artifacts.default_bucket(aws)
    if users:
        raise OpsError(f"The artifacts in {place} were kept: {', '.join(users)} still uses them.")
    count = artifacts.remove_artifacts(aws, place, project.slug)
    screen.result(f"Deleted {count} objects under s3://{place}/{project.slug}/")


def _confirm(aws: Aws, screen: Screen, stack_name: str, *, yes: bool) -> None:
    if yes:
        return
    answer = screen.confirm(
        f"Type {stack_name} to delete it from account {aws.account}, {aws.region}: ", stack_name
    )
    if answer is None:
        raise OpsError(f"Nobody to ask whether {stack_name} may be deleted: pass --yes.", USAGE)
    if not answer:
        raise OpsError(f"{stack_name} was not deleted: the name typed was another.")


def _merge(now: Inventory, before: Inventory | None) -> Inventory:
    """Add what an earlier, unfinished deletion of the same stack had seen."""
    if before is None or before.stack_id != now.stack_id:
        return now
    known = {(item.kind, item.physical_id) for item in now.resources}
    return Inventory(
        now.stack_id,
        now.resources + [item for item in before.resources if (item.kind, item.physical_id) not in known],
    )


def _delete(aws: Aws, screen: Screen, stack_name: str, stack_id: str) -> None:
    since = newest(aws.cloudformation, stack_id)
    try:
        aws.cloudformation.delete_stack(StackName=stack_id)
    except ClientError as error:
        if error_code(error) == "ValidationError" and "TerminationProtection" in error_message(error):
            raise OpsError(
                f"{stack_name} has termination protection. To allow its deletion:\n"
                "  aws cloudformation update-termination-protection --no-enable-termination-protection "
                f"--stack-name {stack_name} --region {aws.region}"
            ) from error
        raise
    outcome = follow(aws, screen, stack_id, stack_name, since)
    if outcome.status != "DELETE_COMPLETE":
        lines = [f"{stack_name}: {outcome.status}. What could not be deleted:"]
        lines += [f"  {describe_cause(event)}" for event in causes(outcome.events)]
        if len(lines) == 1:
            lines.append(f"  {outcome.reason or 'CloudFormation gave no reason.'}")
        raise OpsError("\n".join([*lines, "Mend what they name, then run destroy again."]))
    screen.result(f"{stack_name}: DELETE_COMPLETE in {outcome.seconds:.0f} s")


def _prove(aws: Aws, screen: Screen, project: Project, inventory: Inventory, record: Path) -> bool:
    found = look_for_leftovers(aws, project.slug, inventory, patience=_patience())
    _show(screen, found)
    if found.left:
        return False
    if not found.unknown:
        record.unlink(missing_ok=True)
    return True


def _show(screen: Screen, found: Findings) -> None:
    for item in found.left:
        screen.result(f"left over: {item}", "red")
    for item in found.unknown:
        screen.result(f"could not be looked up: {item}", "yellow")
    if found.unlooked:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in found.unlooked.items())
        screen.note(f"Not looked up, on CloudFormation's word only: {kinds}")
    if found.left:
        screen.result(f"{len(found.left)} left over of {found.looked_up} looked up.", "bold red")
    elif found.unknown:
        screen.result(
            f"Nothing found of {found.looked_up} looked up; {len(found.unknown)} unknown.", "bold yellow"
        )
    else:
        screen.result(f"Nothing is left: {found.looked_up} looked up.", "bold green")


def _patience() -> float:
    """Return how long to wait for stragglers; no longer than the polling interval where that is set."""
    return _PATIENCE if not os.environ.get("OPS_POLL_SECONDS") else 0.0
