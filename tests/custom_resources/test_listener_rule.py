"""Custom::ListenerRule against a load balancer in memory, with ECS rewriting the weights in between."""

from __future__ import annotations

from typing import Any

import pytest

from custom_resources.listener_rule import ListenerRule
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import STACK_ID, ApiError, Clients
from tests.custom_resources.load_balancer_fakes import ELB, LISTENER, OTHER_LISTENER, LoadBalancer

BLUE, GREEN, NEW = (f"{ELB}:targetgroup/{name}/0123456789abcdef" for name in ("blue", "green", "new"))
PROPERTIES = {
    "ListenerArn": LISTENER,
    "Priority": "1",
    "BlueTargetGroupArn": BLUE,
    "GreenTargetGroupArn": GREEN,
}
MOVED = {**PROPERTIES, "ListenerArn": OTHER_LISTENER}
PHYSICAL_ID = f"listener-rule|{LISTENER}|1"
EVERY_PATH = [{"Field": "path-pattern", "PathPatternConfig": {"Values": ["/*"]}}]


@pytest.fixture
def balancer() -> LoadBalancer:
    return LoadBalancer()


@pytest.fixture
def made(run: Run, balancer: LoadBalancer) -> LoadBalancer:
    """A load balancer with the rule."""
    assert run(ListenerRule, Clients(elbv2=balancer), "Create", PROPERTIES)["Status"] == "SUCCESS"
    balancer.calls.clear()
    return balancer


def update(run: Run, balancer: LoadBalancer, properties: dict[str, Any], **details: Any) -> dict[str, Any]:
    given = {"physical_id": PHYSICAL_ID, "old": PROPERTIES, **details}
    return run(ListenerRule, Clients(elbv2=balancer), "Update", properties, **given)


def test_a_new_rule_takes_every_path_to_blue(run: Run, balancer: LoadBalancer) -> None:
    response = run(ListenerRule, Clients(elbv2=balancer), "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert response["Data"] == {"RuleArn": balancer.rule()["RuleArn"]}
    assert balancer.weights() == {BLUE: 100, GREEN: 0}
    assert balancer.rule()["Conditions"] == EVERY_PATH


def test_a_create_that_is_delivered_twice_makes_one_rule(run: Run, made: LoadBalancer) -> None:
    response = run(ListenerRule, Clients(elbv2=made), "Create", PROPERTIES)
    assert response["Data"] == {"RuleArn": made.rule()["RuleArn"]}
    assert made.called("create_rule") == made.called("modify_rule") == []


def test_a_rule_whose_making_went_unheard_is_taken_over(
    run: Run, balancer: LoadBalancer, monkeypatch: pytest.MonkeyPatch
) -> None:
    make = balancer.create_rule

    def create_rule(**parameters: Any) -> dict[str, Any]:
        make(**parameters)
        return make(**parameters)

    monkeypatch.setattr(balancer, "create_rule", create_rule)
    response = run(ListenerRule, Clients(elbv2=balancer), "Create", PROPERTIES)
    assert response["Data"] == {"RuleArn": balancer.rule()["RuleArn"]}
    assert balancer.weights() == {BLUE: 100, GREEN: 0}


def test_a_refusal_to_make_the_rule_is_told(run: Run, balancer: LoadBalancer) -> None:
    balancer.errors["create_rule"] = [ApiError("TooManyRules", "the quota is 100")]
    response = run(ListenerRule, Clients(elbv2=balancer), "Create", PROPERTIES)
    assert response["Status"] == "FAILED"
    assert "the quota is 100" in response["Reason"]


@pytest.mark.parametrize("weights", [{BLUE: 0, GREEN: 100}, {GREEN: 1}, {BLUE: 50, GREEN: 50}])
def test_an_update_leaves_the_weights_to_ecs(run: Run, made: LoadBalancer, weights: dict[str, int]) -> None:
    """Whatever a deployment has left there, or is about to."""
    made.shift(weights)
    response = update(run, made, PROPERTIES)
    assert response["Data"] == {"RuleArn": made.rule()["RuleArn"]}
    assert made.weights() == weights
    assert {name for name, _ in made.calls} == {"describe_rules", "describe_tags"}


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        ({"BlueTargetGroupArn": NEW}, {NEW: 0, GREEN: 100}),
        ({"GreenTargetGroupArn": NEW}, {BLUE: 0, NEW: 100}),
    ],
)
def test_another_target_group_takes_the_share_of_the_one_before(
    run: Run, made: LoadBalancer, groups: dict[str, str], expected: dict[str, int]
) -> None:
    made.shift({BLUE: 0, GREEN: 100})
    assert update(run, made, {**PROPERTIES, **groups})["Status"] == "SUCCESS"
    assert made.weights() == expected


def test_another_listeners_rule_begins_where_the_traffic_is(run: Run, made: LoadBalancer) -> None:
    made.shift({BLUE: 0, GREEN: 100})
    response = update(run, made, MOVED)
    assert response["PhysicalResourceId"] == f"listener-rule|{OTHER_LISTENER}|1"
    assert response["Data"] == {"RuleArn": made.rule(OTHER_LISTENER)["RuleArn"]}
    assert made.weights(OTHER_LISTENER) == {BLUE: 0, GREEN: 100}
    assert made.weights() == {BLUE: 0, GREEN: 100}, "the old rule serves until CloudFormation deletes it"


def test_a_rollback_brings_the_weights_back_with_it(run: Run, made: LoadBalancer) -> None:
    """Between the two ECS has moved the traffic, by the other listener's rule."""
    update(run, made, MOVED)
    made.shift({BLUE: 0, GREEN: 100}, OTHER_LISTENER)
    moved_id = f"listener-rule|{OTHER_LISTENER}|1"
    response = update(run, made, PROPERTIES, physical_id=moved_id, old=MOVED)
    assert response["PhysicalResourceId"] == PHYSICAL_ID
    assert made.weights() == {BLUE: 0, GREEN: 100}


@pytest.mark.parametrize("weights", [{BLUE: 100, GREEN: 0}, {BLUE: 0, GREEN: 100}])
@pytest.mark.parametrize("groups", [{"BlueTargetGroupArn": NEW}, {"GreenTargetGroupArn": NEW}])
def test_the_way_back_from_an_update_that_changed_nothing_changes_nothing(
    run: Run, made: LoadBalancer, groups: dict[str, str], weights: dict[str, int]
) -> None:
    """The properties before are those of the Update that failed, and the rule has never had its groups."""
    made.shift(weights)
    assert update(run, made, PROPERTIES, old={**PROPERTIES, **groups})["Status"] == "SUCCESS"
    assert made.weights() == weights
    assert made.called("modify_rule") == []


def test_the_way_back_from_a_rule_that_was_never_made_changes_nothing(run: Run, made: LoadBalancer) -> None:
    made.shift({BLUE: 0, GREEN: 100})
    assert update(run, made, PROPERTIES, old=MOVED)["Status"] == "SUCCESS"
    assert made.weights() == {BLUE: 0, GREEN: 100}


def test_somebody_elses_weights_are_not_taken_over(run: Run, made: LoadBalancer) -> None:
    forward = {"TargetGroups": [{"TargetGroupArn": GREEN, "Weight": 7}]}
    made.create_rule(OTHER_LISTENER, 1, EVERY_PATH, [{"Type": "forward", "ForwardConfig": forward}], [])
    assert update(run, made, PROPERTIES, old=MOVED)["Status"] == "SUCCESS"
    assert made.weights() == {BLUE: 100, GREEN: 0}


def test_a_rule_deleted_by_hand_is_made_again(run: Run, made: LoadBalancer) -> None:
    made.delete_rule(made.rule()["RuleArn"])
    assert update(run, made, PROPERTIES)["Status"] == "SUCCESS"
    assert made.weights() == {BLUE: 100, GREEN: 0}


def test_a_rule_that_forwards_elsewhere_is_put_right(run: Run, made: LoadBalancer) -> None:
    made.shift({NEW: 100})
    assert update(run, made, PROPERTIES)["Status"] == "SUCCESS"
    assert made.weights() == {BLUE: 100, GREEN: 0}


def test_a_rule_that_names_its_group_without_a_weight_is_read(run: Run, made: LoadBalancer) -> None:
    made.rule()["Actions"] = [{"Type": "forward", "TargetGroupArn": GREEN}]
    assert update(run, made, PROPERTIES)["Status"] == "SUCCESS"
    assert made.called("modify_rule") == []


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_somebody_elses_rule_of_that_priority_is_left_alone(
    run: Run, balancer: LoadBalancer, kind: str
) -> None:
    balancer.create_rule(LISTENER, 1, EVERY_PATH, [{"Type": "forward", "TargetGroupArn": NEW}], [])
    details = {"physical_id": PHYSICAL_ID, "old": PROPERTIES} if kind == "Update" else {}
    response = run(ListenerRule, Clients(elbv2=balancer), kind, PROPERTIES, **details)
    assert response["Status"] == "FAILED"
    assert f"{LISTENER} has a rule of priority 1 that isn't this stack's" in response["Reason"]
    assert balancer.rule()["Actions"] == [{"Type": "forward", "TargetGroupArn": NEW}]


def test_delete_deletes_the_rule(run: Run, made: LoadBalancer) -> None:
    clients = Clients(elbv2=made)
    for _ in range(2):
        response = run(ListenerRule, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
        assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert [rule["Priority"] for rule in made.listeners[LISTENER]] == ["default"]
    assert len(made.called("delete_rule")) == 1


def test_a_create_that_cloudformation_gave_up_on_is_found_by_its_properties(
    run: Run, made: LoadBalancer
) -> None:
    response = run(ListenerRule, Clients(elbv2=made), "Delete", PROPERTIES, physical_id="made-up-1A2B3C")
    assert response["Status"] == "SUCCESS"
    assert [rule["Priority"] for rule in made.listeners[LISTENER]] == ["default"]


def test_a_create_that_was_refused_left_nothing(run: Run, made: LoadBalancer) -> None:
    bad = {**PROPERTIES, "Priority": "first"}
    response = run(ListenerRule, Clients(elbv2=made), "Delete", bad, physical_id="not-created|Rule")
    assert response["Status"] == "SUCCESS"
    assert made.calls == []


@pytest.mark.parametrize("physical_id", [f"listener-rule|{OTHER_LISTENER}|1", f"listener-rule|{LISTENER}|2"])
def test_delete_of_what_is_not_there_succeeds(run: Run, made: LoadBalancer, physical_id: str) -> None:
    response = run(ListenerRule, Clients(elbv2=made), "Delete", PROPERTIES, physical_id=physical_id)
    assert response["Status"] == "SUCCESS"
    assert made.weights() == {BLUE: 100, GREEN: 0}


def test_delete_leaves_another_stacks_rule_alone(run: Run, made: LoadBalancer) -> None:
    response = run(
        ListenerRule,
        Clients(elbv2=made),
        "Delete",
        PROPERTIES,
        physical_id=PHYSICAL_ID,
        stack_id=STACK_ID.replace("tools-dev", "tools-prod"),
    )
    assert response["Status"] == "SUCCESS"
    assert made.called("delete_rule") == []


def test_delete_without_a_listener_or_beside_another_delete_succeeds(run: Run, made: LoadBalancer) -> None:
    made.errors["delete_rule"] = [ApiError("RuleNotFound")]
    clients = Clients(elbv2=made)
    assert run(ListenerRule, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)["Status"] == "SUCCESS"
    made.listeners.clear()
    assert run(ListenerRule, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)["Status"] == "SUCCESS"


@pytest.mark.parametrize("operation", ["describe_rules", "delete_rule"])
def test_an_error_that_says_something_else_is_told(run: Run, made: LoadBalancer, operation: str) -> None:
    made.errors[operation] = [ApiError("AccessDenied", "not allowed")]
    response = run(ListenerRule, Clients(elbv2=made), "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert response["Status"] == "FAILED"
    assert "not allowed" in response["Reason"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("ListenerArn", ELB),
        ("ListenerArn", LISTENER.replace("/app/", "/net/")),
        ("Priority", "0"),
        ("Priority", "50001"),
        ("Priority", "first"),
        ("BlueTargetGroupArn", "blue"),
        ("GreenTargetGroupArn", ""),
    ],
)
def test_a_bad_property_is_named(run: Run, balancer: LoadBalancer, name: str, value: str) -> None:
    response = run(ListenerRule, Clients(elbv2=balancer), "Create", {**PROPERTIES, name: value})
    assert response["Status"] == "FAILED"
    assert name in response["Reason"]
    assert balancer.calls == []
