"""Each stage's life: create, a new image, another scale, another tag, a bad update, delete.

What callers know by its address stays the same thing through all of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from tests.end_to_end.identities import LASTING, RENEWED, Identity, replaced
from tests.end_to_end.leftovers import everything
from tests.stages.conftest import PROPERTY, Stage

pytestmark = pytest.mark.timeout(600)

Record = Callable[[str, object], None]


def change(stage: Stage, step: str, record: Record) -> list[Identity]:
    """Deploy what was changed, and return what it replaced."""
    before = stage.identities()
    code, told = stage.deploy(step)
    assert code == 0, told
    done = replaced(before, stage.identities())
    record(PROPERTY, [stage.name, step, stage.seconds[step], [found.path for found in done]])
    return done


def test_a_stage_is_created(stage: Stage, record_property: Record) -> None:
    code, told = stage.deploy("create")
    assert code == 0, told
    assert stage.status() == "CREATE_COMPLETE"
    record_property(PROPERTY, [stage.name, "create", stage.seconds["create"], []])
    kinds = {found.kind for found in stage.identities().values()}
    # So that what the tests below look at is really there.
    assert kinds >= LASTING
    assert kinds >= RENEWED


def test_a_new_image_replaces_the_task_definition_alone(stage: Stage, record_property: Record) -> None:
    module = f"src/{stage.project.path.name.replace('-', '_')}/tools/simpleadd.py"
    stage.project.replace(module, "total = a + b", "total = b + a")
    done = change(stage, "image", record_property)
    assert {found.kind for found in done} == RENEWED


def test_another_scale_replaces_nothing(stage: Stage, record_property: Record) -> None:
    desired, most = int(stage.parameter("DesiredCount")), int(stage.parameter("MaxCount"))
    stage.configure("Parameters", DesiredCount=str(desired + 1), MaxCount=str(most + 1))
    assert change(stage, "scaling", record_property) == []
    scaling = stage.project.cloud.client("application-autoscaling")
    (target,) = scaling.describe_scalable_targets(ServiceNamespace="ecs")["ScalableTargets"]
    assert (target["MinCapacity"], target["MaxCapacity"]) == (desired + 1, most + 1)


def test_another_tag_replaces_nothing(stage: Stage, record_property: Record) -> None:
    stage.configure("Tags", CostCentre="4711")
    assert change(stage, "tags", record_property) == []


def test_a_bad_update_goes_back(stage: Stage, record_property: Record) -> None:
    before = stage.identities()
    module = f"src/{stage.project.path.name.replace('-', '_')}/tools/simpleadd.py"
    stage.project.replace(module, "total = b + a", "total = b + a + 1")
    code, told = stage.deploy("bad update")
    stage.project.replace(module, "total = b + a + 1", "total = b + a")
    assert code == 1, told
    # Rolling deployments are found out by the deploy's last call, blue/green ones before any caller sees them
    if stage.parameter("Strategy", "ROLLING") == "ROLLING":
        assert re.search(r"Registration/ToolCall .* answered '31'; expected '30'", told), told
    else:
        assert re.search(r"Fargate/Service .*UPDATE_FAILED", told), told
    assert stage.status() == "UPDATE_ROLLBACK_COMPLETE"
    done = replaced(before, stage.identities())
    record_property(
        PROPERTY, [stage.name, "bad update", stage.seconds["bad update"], [found.path for found in done]]
    )
    assert {found.kind for found in done} <= RENEWED


def test_the_version_before_serves_on(stage: Stage) -> None:
    code, told = stage.run("verify", "verify")
    assert code == 0, told


def test_a_protected_stage_is_not_deleted(stage: Stage) -> None:
    code, told = stage.run("protect", "deploy", "--no-verify", "--protect")
    assert code == 0, told
    status = stage.status()
    code, told = stage.run("refused", "destroy", "--yes")
    assert code == 1
    assert "--no-enable-termination-protection" in told
    assert stage.status() == status
    stage.unprotect()


def test_delete_leaves_nothing(stage: Stage, record_property: Record) -> None:
    code, told = stage.run("delete", "destroy", "--yes", "--artifacts")
    assert code == 0, told
    record_property(PROPERTY, [stage.name, "delete", stage.seconds["delete"], []])
    assert everything(stage.project.cloud) == stage.before
