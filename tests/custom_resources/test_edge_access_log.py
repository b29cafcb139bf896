"""Custom::EdgeAccessLog against CloudWatch Logs in memory."""

from __future__ import annotations

from typing import Any

import pytest

from custom_resources.edge_access_log import FIELDS, EdgeAccessLog
from custom_resources.ownership import Owner
from tests.custom_resources.conftest import Run
from tests.custom_resources.edge_fakes import LogDeliveries
from tests.custom_resources.fakes import STACK_ID, ApiError, Clients

NAME = "tools-6b0c1c2e"
OTHER_NAME = "search-6b0c1c2e"
GROUP = f"/aws/vendedlogs/cloudfront/{NAME}"
PHYSICAL_ID = f"edge-access-log|{NAME}"
PROPERTIES: dict[str, Any] = {"Name": NAME, "DistributionId": "E1EXAMPLE", "LogRetentionDays": "30"}
OWNER = Owner(STACK_ID, "Target")
SOMEBODY = Owner(STACK_ID, "Another").tags()
EUROPE = STACK_ID.replace("us-east-1", "eu-central-1")


@pytest.fixture
def logs() -> LogDeliveries:
    return LogDeliveries()


@pytest.fixture
def clients(logs: LogDeliveries) -> Clients:
    return Clients(logs=logs)


def create(run: Run, clients: Clients, **more: Any) -> Any:
    return run(EdgeAccessLog, clients, "Create", PROPERTIES, **more)


def update(run: Run, clients: Clients, new: dict[str, Any]) -> Any:
    return run(EdgeAccessLog, clients, "Update", new, old=PROPERTIES, physical_id=PHYSICAL_ID)


def delete(run: Run, clients: Clients, physical_id: str = PHYSICAL_ID, **more: Any) -> Any:
    response = run(EdgeAccessLog, clients, "Delete", PROPERTIES, physical_id=physical_id, **more)
    assert response["PhysicalResourceId"] == physical_id
    return response


def nothing_is_left(logs: LogDeliveries) -> bool:
    return not (logs.sources or logs.destinations or logs.deliveries or logs.groups)


def test_create_delivers_to_a_log_group(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    response = create(run, clients)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert response["Data"] == {
        "LogGroupName": GROUP,
        "LogGroupArn": f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}",
    }
    assert logs.groups == {GROUP: {"tags": OWNER.tags(), "days": 30}}
    assert logs.sources[NAME]["resourceArns"] == ["arn:aws:cloudfront::123456789012:distribution/E1EXAMPLE"]
    (delivery,) = logs.deliveries.values()
    assert delivery["recordFields"] == list(FIELDS)
    assert logs.destinations[NAME]["outputFormat"] == "json"


def test_nothing_a_caller_proves_itself_by_is_logged() -> None:
    assert not {"cs(Cookie)", "cs-uri-query", "cs(Referer)"} & set(FIELDS)


def test_a_stack_of_any_region_asks_in_cloudfronts_region(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    assert create(run, clients, stack_id=EUROPE)["Status"] == "SUCCESS"
    assert clients.regions == {("logs", "us-east-1")}
    assert delete(run, clients, stack_id=EUROPE)["Status"] == "SUCCESS"
    assert nothing_is_left(logs)


def test_another_partition_is_refused_and_its_delete_succeeds(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    china = STACK_ID.replace("arn:aws:", "arn:aws-cn:")
    assert "Partition aws-cn" in create(run, clients, stack_id=china)["Reason"]
    assert delete(run, clients, stack_id=china)["Status"] == "SUCCESS"
    assert logs.calls == []


def test_a_create_delivered_again_makes_nothing_more(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    assert create(run, clients)["Data"] == create(run, clients)["Data"]
    assert (len(logs.sources), len(logs.deliveries)) == (1, 1)
    assert len(logs.called("create_delivery")) == 1


def test_its_delivery_is_found_on_a_later_page(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    for number in range(5):
        logs.deliveries[f"X{number}"] = {"id": f"X{number}", "deliverySourceName": f"other-{number}"}
        logs.deliveries[f"X{number}"]["deliveryDestinationArn"] = "arn:aws:logs:us-east-1:1:other"
    create(run, clients)
    create(run, clients)
    assert len(logs.called("create_delivery")) == 1
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert set(logs.deliveries) == {f"X{number}" for number in range(5)}


@pytest.mark.parametrize("kind", ["sources", "destinations"])
def test_another_ones_delivery_is_neither_taken_nor_deleted(
    run: Run, clients: Clients, logs: LogDeliveries, kind: str
) -> None:
    arn = f"arn:aws:logs:us-east-1:123456789012:delivery-{kind.removesuffix('s')}:{NAME}"
    theirs = {"name": NAME, "resourceArns": ["arn:other"], "arn": arn, "tags": SOMEBODY}
    shown = {key: value for key, value in theirs.items() if kind == "sources" or key != "resourceArns"}
    getattr(logs, kind)[NAME] = shown
    response = create(run, clients)
    assert response["Status"] == "FAILED"
    assert f"Log delivery {NAME} exists and isn't this stack's" in response["Reason"]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert getattr(logs, kind) == {NAME: shown}


def test_another_ones_log_group_is_neither_taken_nor_deleted(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    logs.groups[GROUP] = {"tags": SOMEBODY}
    assert "exists and isn't this stack's" in create(run, clients)["Reason"]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert list(logs.groups) == [GROUP]


def test_update_changes_the_retention_in_place(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    create(run, clients)
    response = update(run, clients, {**PROPERTIES, "LogRetentionDays": "90"})
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert logs.groups[GROUP]["days"] == 90
    assert len(logs.called("create_delivery")) == 1


TAGGED = {**PROPERTIES, "Tags": [{"Key": "Stage", "Value": "dev"}, {"Key": "Old", "Value": "1"}]}
RETAGGED = {**PROPERTIES, "Tags": [{"Key": "Stage", "Value": "prod"}]}


def test_other_tags_leave_the_delivery_as_it_is(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    run(EdgeAccessLog, clients, "Create", TAGGED)
    response = run(EdgeAccessLog, clients, "Update", RETAGGED, old=TAGGED, physical_id=PHYSICAL_ID)
    assert response["Status"] == "SUCCESS"
    for operation in ("put_delivery_source", "put_delivery_destination", "create_delivery"):
        assert len(logs.called(operation)) == 1
    for kept in (logs.groups, logs.sources, logs.destinations, logs.deliveries):
        assert [one["tags"] for one in kept.values()] == [{**OWNER.tags(), "Stage": "prod"}]


@pytest.mark.parametrize("put_replaces_tags", [True, False])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("outputFormat", "plain"),
        ("deliveryDestinationConfiguration", {"destinationResourceArn": "arn:aws:s3:::elsewhere"}),
    ],
)
def test_a_destination_that_somebody_changed_is_put_right(
    run: Run, clients: Clients, logs: LogDeliveries, name: str, value: Any, put_replaces_tags: bool
) -> None:
    run(EdgeAccessLog, clients, "Create", TAGGED)
    right = logs.destinations[NAME][name]
    logs.destinations[NAME][name] = value
    logs.put_replaces_tags = put_replaces_tags
    response = run(EdgeAccessLog, clients, "Update", RETAGGED, old=TAGGED, physical_id=PHYSICAL_ID)
    assert response["Status"] == "SUCCESS"
    assert logs.destinations[NAME][name] == right
    assert logs.destinations[NAME]["tags"] == {**OWNER.tags(), "Stage": "prod"}


@pytest.mark.parametrize("operation", ["get_delivery_source", "list_tags_for_resource"])
def test_what_may_not_be_read_is_told_and_not_taken_for_gone(
    run: Run, clients: Clients, logs: LogDeliveries, operation: str
) -> None:
    create(run, clients)
    logs.errors[operation] = [ApiError("AccessDeniedException", "not allowed")]
    response = update(run, clients, PROPERTIES)
    assert response["Status"] == "FAILED"
    assert "not allowed" in response["Reason"]
    assert len(logs.called("put_delivery_source")) == 1


def test_a_delivery_that_goes_while_its_tags_are_read_is_made_anew(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    run(EdgeAccessLog, clients, "Create", TAGGED)
    list_tags = logs.list_tags_for_resource

    def gone(resourceArn: str) -> dict[str, Any]:  # noqa: N803 - the service's own name
        if ":delivery:" in resourceArn:
            logs.deliveries.clear()
        return list_tags(resourceArn)

    logs.list_tags_for_resource = gone  # type: ignore[method-assign]
    assert run(EdgeAccessLog, clients, "Create", TAGGED)["Status"] == "SUCCESS"
    (delivery,) = logs.deliveries.values()
    assert delivery["tags"] == {**OWNER.tags(), "Stage": "dev", "Old": "1"}


def test_another_distribution_is_logged_under_the_same_name(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    create(run, clients)
    assert update(run, clients, {**PROPERTIES, "DistributionId": "E2EXAMPLE"})["Status"] == "SUCCESS"
    (source,) = logs.sources.values()
    assert source["resourceArns"] == ["arn:aws:cloudfront::123456789012:distribution/E2EXAMPLE"]
    assert len(logs.deliveries) == 1


def test_another_name_takes_the_distribution_over_from_the_old(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    create(run, clients)
    response = update(run, clients, {**PROPERTIES, "Name": OTHER_NAME})
    assert (response["Status"], response["PhysicalResourceId"]) == (
        "SUCCESS",
        f"edge-access-log|{OTHER_NAME}",
    )
    assert list(logs.sources) == [OTHER_NAME]
    assert GROUP in logs.groups, "the log so far goes with the Delete of what was replaced"
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (list(logs.sources), len(logs.deliveries)) == ([OTHER_NAME], 1)
    assert GROUP not in logs.groups


def test_delete_removes_what_is_left_where_somebody_deleted_the_source(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    create(run, clients)
    logs.deliveries.clear()
    logs.sources.clear()
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert nothing_is_left(logs)


def test_delete_removes_a_delivery_that_a_second_run_makes_meanwhile(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    create(run, clients)
    (delivery,) = logs.deliveries.values()
    forget = logs.delete_delivery

    def raced(id: str) -> dict[str, Any]:  # noqa: A002 - the service's own name
        logs.delete_delivery = forget  # type: ignore[method-assign]
        forget(id)
        logs.deliveries["D99"] = {**delivery, "id": "D99"}
        return {}

    logs.delete_delivery = raced  # type: ignore[method-assign]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert nothing_is_left(logs)


def test_other_fields_make_the_delivery_anew(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    create(run, clients)
    (delivery,) = logs.deliveries.values()
    delivery["recordFields"] = ["date"]
    assert update(run, clients, PROPERTIES)["Status"] == "SUCCESS"
    (delivery,) = logs.deliveries.values()
    assert delivery["recordFields"] == list(FIELDS)


def test_update_makes_anew_what_somebody_deleted(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    create(run, clients)
    for kept in (logs.sources, logs.destinations, logs.deliveries, logs.groups):
        kept.clear()
    assert update(run, clients, PROPERTIES)["Status"] == "SUCCESS"
    assert (len(logs.deliveries), list(logs.groups)) == (1, [GROUP])


def test_a_delivery_whose_answer_got_lost_is_taken_for_done(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    make = logs.create_delivery

    def unheard(**parameters: Any) -> dict[str, Any]:
        make(**parameters)
        raise ApiError("ServiceUnavailableException", "done, but not told", 503)

    logs.create_delivery = unheard  # type: ignore[assignment,method-assign]
    assert create(run, clients)["Status"] == "SUCCESS"
    assert len(logs.deliveries) == 1


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("put_delivery_source", "ConflictException"),
        ("put_delivery_destination", "ServiceUnavailableException"),
        ("create_delivery", "ConflictException"),
        ("create_delivery", "ThrottlingException"),
        ("create_log_group", "OperationAbortedException"),
    ],
)
def test_what_passes_is_waited_out(
    run: Run, clients: Clients, logs: LogDeliveries, operation: str, code: str
) -> None:
    logs.errors[operation] = [ApiError(code)] * 3
    assert create(run, clients)["Status"] == "SUCCESS"
    assert len(logs.deliveries) == 1


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("create_delivery", "AccessDeniedException"),
        ("create_delivery", "ConflictException"),
        ("put_delivery_source", "ValidationException"),
        ("put_retention_policy", "AccessDeniedException"),
    ],
)
def test_a_failed_create_leaves_nothing(
    run: Run, clients: Clients, logs: LogDeliveries, operation: str, code: str
) -> None:
    logs.errors[operation] = [ApiError(code, "the service's own words")] * 200
    response = create(run, clients)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert response["Reason"].endswith("the service's own words")
    assert nothing_is_left(logs)


def test_a_failed_update_leaves_the_log_as_it_is(run: Run, clients: Clients, logs: LogDeliveries) -> None:
    create(run, clients)
    logs.errors["put_retention_policy"] = [ApiError("AccessDeniedException", "no")]
    assert update(run, clients, PROPERTIES)["Status"] == "FAILED"
    assert (len(logs.deliveries), list(logs.groups)) == (1, [GROUP])


def test_what_cannot_be_removed_again_is_named_and_the_cause_comes_last(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    logs.errors["create_delivery"] = [ApiError("AccessDeniedException", "may not deliver")]
    logs.errors["delete_delivery_source"] = [ApiError("AccessDeniedException", "may not delete")]
    response = create(run, clients)
    assert f"Log delivery {NAME} couldn't be removed again" in response["Reason"]
    assert response["Reason"].endswith("may not deliver")


def test_delete_removes_everything_and_may_come_twice(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    create(run, clients)
    logs.errors["delete_delivery_destination"] = [ApiError("ConflictException")] * 3
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert nothing_is_left(logs)
    assert delete(run, clients)["Status"] == "SUCCESS"


@pytest.mark.parametrize(
    "operation", ["delete_delivery", "delete_delivery_destination", "delete_delivery_source"]
)
def test_an_interrupted_delete_is_finished_by_the_next(
    run: Run, clients: Clients, logs: LogDeliveries, operation: str
) -> None:
    create(run, clients)
    logs.errors[operation] = [ApiError("AccessDeniedException", "no")]
    assert delete(run, clients)["Status"] == "FAILED"
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert nothing_is_left(logs)


def test_an_id_made_up_by_cloudformation_is_looked_up_by_the_properties(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    create(run, clients)
    assert delete(run, clients, "tools-dev-Target-1A2B3C4D5E6F")["Status"] == "SUCCESS"
    assert nothing_is_left(logs)


def test_delete_of_a_create_that_was_refused_touches_nothing(
    run: Run, clients: Clients, logs: LogDeliveries
) -> None:
    gone = run(EdgeAccessLog, clients, "Delete", {}, physical_id="not-created|Target")
    assert gone["Status"] == "SUCCESS"
    assert logs.calls == []
