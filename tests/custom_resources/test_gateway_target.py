"""Custom::GatewayTarget against a gateway in memory; the endpoint's probe has tests of its own."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest

from custom_resources import gateway_target
from custom_resources.gateway_target import GatewayTarget
from custom_resources.issuers import IssuerError
from custom_resources.mcp_probe import ProbeError
from custom_resources.ownership import Owner
from custom_resources.tokens import TokenSource
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import GATEWAY, STACK_ID, ApiError, Clients, Clock, Gateway

ENDPOINT = "https://d111111abcdef8.cloudfront.net/mcp"
PROPERTIES = {"GatewayIdentifier": GATEWAY, "Name": "tools", "Endpoint": ENDPOINT, "ImageDigest": "sha256:aa"}
PHYSICAL_ID = f"{GATEWAY}|tools"
MINE = Owner(STACK_ID, "Target").description()
OTHERS = Owner(STACK_ID.replace("tools-dev", "shop-prod"), "Target").description()
CONFIGURATION = {"mcp": {"mcpServer": {"endpoint": ENDPOINT, "listingMode": "DEFAULT"}}}
OAUTH = [
    {
        "credentialProviderType": "OAUTH",
        "credentialProvider": {
            "oauthCredentialProvider": {
                "providerArn": "arn:aws:bedrock-agentcore:us-east-1:123456789012:token-vault/default/"
                "oauth2credentialprovider/cognito",
                "scopes": ["tools/call"],
            }
        },
    }
]


@pytest.fixture
def gateway() -> Gateway:
    return Gateway()


@pytest.fixture
def clients(gateway: Gateway) -> Clients:
    return Clients(gateway=gateway)


class Probe:
    """Stands in for list_tools."""

    def __init__(self) -> None:
        self.names = ("add", "search")
        self.failures: list[ProbeError] = []
        self.referring: dict[str, str] = {}
        self.asked = 0
        self.headers: dict[str, str] = {}

    def __call__(
        self, endpoint: str, timeout: float, sign: Any = None, *, referring: dict[str, str]
    ) -> tuple[str, ...]:
        assert endpoint.startswith(ENDPOINT)
        assert 0 < timeout <= 30
        self.asked += 1
        self.headers = {} if sign is None else sign("POST", endpoint, {}, b"")
        if self.failures:
            raise self.failures.pop(0)
        referring.update(self.referring)
        return self.names


@pytest.fixture(autouse=True)
def probe(monkeypatch: pytest.MonkeyPatch) -> Iterator[Probe]:
    probe = Probe()
    monkeypatch.setattr(gateway_target, "list_tools", probe)
    yield probe


def mine(gateway: Gateway, *statuses: str, **parameters: Any) -> str:
    return gateway.add("tools", MINE, *statuses, **{"targetConfiguration": CONFIGURATION, **parameters})


# Create


def test_create_registers_the_server_and_returns_its_attributes(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert response["Data"] == {
        "TargetId": "TARGET0001",
        "TargetName": "tools",
        "ToolCount": "2",
        "ToolNamesHash": hashlib.sha256(b"add\nsearch").hexdigest(),
        "LastSynchronizedAt": "2026-11-01T12:00:00+00:00",
    }
    (created,) = gateway.called("create_gateway_target")
    assert created["targetConfiguration"] == CONFIGURATION
    assert "credentialProviderConfigurations" not in created, "the service refuses an empty list"
    assert gateway.called("synchronize_gateway_targets") == [], "creation synchronises by itself"


def test_create_passes_credentials_and_listing_mode(run: Run, clients: Clients, gateway: Gateway) -> None:
    given = {**PROPERTIES, "ListingMode": "DYNAMIC", "CredentialProviderConfigurations": json.dumps(OAUTH)}
    assert run(GatewayTarget, clients, "Create", given)["Status"] == "SUCCESS"
    (created,) = gateway.called("create_gateway_target")
    assert created["credentialProviderConfigurations"] == OAUTH
    assert created["targetConfiguration"]["mcp"]["mcpServer"]["listingMode"] == "DYNAMIC"


def test_ready_counts_only_when_read_twice_in_a_row(run: Run, clients: Clients, gateway: Gateway) -> None:
    gateway.plans["create"] = ["CREATING", "READY", "SYNCHRONIZING", "READY", "READY"]
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    assert len(gateway.called("get_gateway_target")) == 5


@pytest.mark.parametrize("status", ["FAILED", "UPDATE_UNSUCCESSFUL", "SYNCHRONIZE_UNSUCCESSFUL"])
def test_a_target_that_fails_after_creation_is_removed_and_its_reasons_are_told(
    run: Run, clients: Clients, gateway: Gateway, status: str
) -> None:
    gateway.plans["create"] = ["CREATING", status]
    gateway.reasons = ["Failed to connect and fetch tools", "Apache transport request failed"]
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert response["Reason"].endswith(
        f"{status}: Failed to connect and fetch tools; Apache transport request failed"
    )
    assert gateway.targets == {}


@pytest.mark.parametrize("status", ["CREATE_PENDING_AUTH", "UPDATE_PENDING_AUTH", "SYNCHRONIZE_PENDING_AUTH"])
def test_a_target_that_waits_for_consent_is_told_plainly_and_removed_once_that_is_allowed(
    run: Run, clients: Clients, gateway: Gateway, status: str
) -> None:
    gateway.plans["create"] = [*[status] * 5, "FAILED"]
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert status in response["Reason"]
    assert "CLIENT_CREDENTIALS" in response["Reason"]
    assert gateway.targets == {}


def test_a_target_still_being_created_at_the_deadline_is_reported_before_the_function_dies(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    gateway.plans["create"] = ["CREATING"]
    response = run(GatewayTarget, clients, "Create", PROPERTIES, seconds=300)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert "couldn't be removed again" in response["Reason"]
    assert response["Reason"].endswith("still CREATING")


def test_time_is_kept_to_remove_a_target_that_comes_too_late(
    run: Run, clients: Clients, gateway: Gateway, clock: Clock
) -> None:
    gateway.plans["create"] = ["CREATING"]
    start = clock.now()

    def settle() -> None:
        if clock.now() - start > 230 and gateway.targets:
            target = next(iter(gateway.targets.values()))
            if target.statuses == ["CREATING"]:
                target.statuses = ["READY"]

    clock.on_sleep = settle
    response = run(GatewayTarget, clients, "Create", PROPERTIES, seconds=300)
    assert response["Status"] == "FAILED"
    assert gateway.targets == {}


def test_a_target_deleted_while_it_is_awaited_is_told(run: Run, clients: Clients, gateway: Gateway) -> None:
    mine(gateway, "READY")
    gateway.plans["synchronize"] = ["SYNCHRONIZING", "GONE"]
    response = run(GatewayTarget, clients, "Update", PROPERTIES, physical_id=PHYSICAL_ID, old=PROPERTIES)
    assert response["Status"] == "FAILED"
    assert "deleted by someone else" in response["Reason"]


# Adoption and conflict


def test_the_same_create_delivered_again_makes_no_duplicate(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    first = run(GatewayTarget, clients, "Create", PROPERTIES)
    second = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert first["Data"] == second["Data"]
    assert (second["Status"], second["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert len(gateway.called("create_gateway_target")) == 1
    assert gateway.names() == ["tools"]


def test_client_tokens_repeat_for_a_request_and_differ_between_requests(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    for request_id in ("request-1", "request-1", "request-2"):
        run(GatewayTarget, clients, "Create", PROPERTIES, request_id=request_id)
        gateway.targets.clear()
    tokens = [call["clientToken"] for call in gateway.called("create_gateway_target")]
    # The second delivery is answered with the target that is gone, and asks anew.
    assert tokens[0] == tokens[1]
    assert len(set(tokens)) == 3


def test_a_conflict_over_a_target_of_ours_adopts_it(run: Run, clients: Clients, gateway: Gateway) -> None:
    original = gateway.create_gateway_target

    def meanwhile(**parameters: Any) -> dict[str, Any]:
        if not gateway.targets:
            mine(gateway, "CREATING", "READY")
        return original(**parameters)

    gateway.create_gateway_target = meanwhile  # type: ignore[assignment,method-assign]
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["Data"]["TargetId"]) == ("SUCCESS", "TARGET0001")
    assert gateway.names() == ["tools"]


def test_a_conflict_that_passes_is_waited_out(run: Run, clients: Clients, gateway: Gateway) -> None:
    gateway.errors["create_gateway_target"] = [ApiError("ConflictException", "Gateway is UPDATING", 409)] * 2
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    assert len(gateway.called("create_gateway_target")) == 3


@pytest.mark.parametrize("description", [OTHERS, "Made by hand"])
def test_a_target_of_someone_else_is_named_and_left_alone(
    run: Run, clients: Clients, gateway: Gateway, description: str
) -> None:
    gateway.add("tools", description)
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert "isn't this stack's" in response["Reason"]
    assert response["Reason"].endswith(description)
    assert gateway.names() == ["tools"]
    changes = {"create_gateway_target", "update_gateway_target", "delete_gateway_target"}
    assert not changes & {name for name, _ in gateway.calls}


def test_a_failed_target_of_ours_is_made_anew(run: Run, clients: Clients, gateway: Gateway) -> None:
    old = mine(gateway, "FAILED")
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert response["Status"] == "SUCCESS"
    assert response["Data"]["TargetId"] != old
    assert list(gateway.targets) == [response["Data"]["TargetId"]]


@pytest.mark.parametrize("status", ["CREATING", "UPDATING", "SYNCHRONIZING"])
def test_a_target_of_ours_in_progress_is_waited_for_and_adopted(
    run: Run, clients: Clients, gateway: Gateway, status: str
) -> None:
    target_id = mine(gateway, status, status, "READY")
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["Data"]["TargetId"]) == ("SUCCESS", target_id)
    assert gateway.called("create_gateway_target") == []


def test_a_target_of_ours_being_deleted_is_waited_for_and_made_anew(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    old = mine(gateway, "DELETING", "DELETING", "GONE")
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert response["Status"] == "SUCCESS"
    assert response["Data"]["TargetId"] != old


def test_a_target_is_found_on_a_later_page(run: Run, clients: Clients, gateway: Gateway) -> None:
    for number in range(5):
        gateway.add(f"other-{number}", OTHERS)
    target_id = mine(gateway)
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert response["Data"]["TargetId"] == target_id


def test_a_missing_gateway_is_named(run: Run, clients: Clients) -> None:
    response = run(GatewayTarget, clients, "Create", {**PROPERTIES, "GatewayIdentifier": "absent-0123456789"})
    assert response["Status"] == "FAILED"
    assert "No gateway absent-0123456789" in response["Reason"]


# Retries


def test_a_role_whose_permissions_are_still_spreading_is_waited_for(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    denied = ApiError("ValidationException", "Gateway execution role lacks permission to call the target")
    gateway.errors["create_gateway_target"] = [denied] * 3
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    assert len(gateway.called("create_gateway_target")) == 4


def test_a_role_that_keeps_lacking_permission_is_reported_after_two_minutes(
    run: Run, clients: Clients, gateway: Gateway, clock: Clock
) -> None:
    denied = ApiError("ValidationException", "Gateway execution role lacks permission to call the target")
    gateway.errors["create_gateway_target"] = [denied] * 100
    start = clock.now()
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert response["Reason"].endswith("Gateway execution role lacks permission to call the target")
    assert 90 < clock.now() - start < 150


def test_other_validation_errors_are_not_repeated(run: Run, clients: Clients, gateway: Gateway) -> None:
    gateway.errors["create_gateway_target"] = [ApiError("ValidationException", "endpoint is not allowed")]
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert response["Reason"].endswith("endpoint is not allowed")
    assert len(gateway.called("create_gateway_target")) == 1


@pytest.mark.parametrize(
    "operation",
    [
        "list_gateway_targets",
        "get_gateway_target",
        "create_gateway_target",
        "synchronize_gateway_targets",
        "delete_gateway_target",
    ],
)
def test_throttling_is_waited_out(run: Run, clients: Clients, gateway: Gateway, operation: str) -> None:
    if operation != "create_gateway_target":
        mine(gateway)
    gateway.errors[operation] = [ApiError("ThrottlingException", "Rate exceeded", 429)] * 3
    kind = "Delete" if operation == "delete_gateway_target" else "Create"
    response = run(GatewayTarget, clients, kind, PROPERTIES, physical_id=PHYSICAL_ID)
    assert response["Status"] == "SUCCESS"
    assert len(gateway.called(operation)) >= 4


def test_a_creation_whose_answer_is_lost_leaves_nothing(run: Run, clients: Clients, gateway: Gateway) -> None:
    original = gateway.create_gateway_target

    def lost(**parameters: Any) -> dict[str, Any]:
        original(**parameters)
        raise ApiError("InternalServerException", "lost", 500)

    gateway.create_gateway_target = lost  # type: ignore[assignment,method-assign]
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "FAILED"
    assert gateway.targets == {}


# Update


def update(run: Run, clients: Clients, properties: dict[str, Any], old: dict[str, Any]) -> dict[str, Any]:
    return run(GatewayTarget, clients, "Update", properties, physical_id=PHYSICAL_ID, old=old)


@pytest.mark.parametrize("digest", ["sha256:aa", "sha256:bb"])
def test_an_update_without_a_configuration_change_synchronises_only(
    run: Run, clients: Clients, gateway: Gateway, digest: str
) -> None:
    target_id = mine(gateway)
    response = update(run, clients, {**PROPERTIES, "ImageDigest": digest}, PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert gateway.called("synchronize_gateway_targets") == [
        {"gatewayIdentifier": GATEWAY, "targetIdList": [target_id]}
    ]
    assert gateway.called("update_gateway_target") == []


@pytest.mark.parametrize(
    "change",
    [
        {"Endpoint": f"{ENDPOINT}/v2"},
        {"ListingMode": "DYNAMIC"},
        {"CredentialProviderConfigurations": OAUTH},
    ],
)
def test_an_update_of_the_configuration_replaces_it_in_place(
    run: Run, clients: Clients, gateway: Gateway, change: dict[str, Any]
) -> None:
    target_id = mine(gateway)
    response = update(run, clients, {**PROPERTIES, **change}, PROPERTIES)
    assert (response["Status"], response["Data"]["TargetId"]) == ("SUCCESS", target_id)
    (sent,) = gateway.called("update_gateway_target")
    assert sent["name"] == "tools"
    assert sent["description"] == MINE, "an update that leaves it out would lose the mark"
    assert gateway.called("synchronize_gateway_targets") == [], "an update synchronises by itself"


def test_a_configuration_changed_by_hand_is_put_back(run: Run, clients: Clients, gateway: Gateway) -> None:
    mine(gateway, targetConfiguration={"mcp": {"mcpServer": {"endpoint": "https://elsewhere/mcp"}}})
    assert update(run, clients, PROPERTIES, PROPERTIES)["Status"] == "SUCCESS"
    assert gateway.called("update_gateway_target")[0]["targetConfiguration"] == CONFIGURATION


def test_values_the_service_fills_in_are_no_change(run: Run, clients: Clients, gateway: Gateway) -> None:
    filled = json.loads(json.dumps(OAUTH))
    filled[0]["credentialProvider"]["oauthCredentialProvider"]["grantType"] = "CLIENT_CREDENTIALS"
    mine(gateway, credentialProviderConfigurations=filled)
    properties = {**PROPERTIES, "CredentialProviderConfigurations": OAUTH}
    assert update(run, clients, properties, properties)["Status"] == "SUCCESS"
    assert gateway.called("update_gateway_target") == []


def test_credentials_taken_out_of_the_template_are_taken_off_the_target(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    mine(gateway, credentialProviderConfigurations=OAUTH)
    old = {**PROPERTIES, "CredentialProviderConfigurations": OAUTH}
    assert update(run, clients, PROPERTIES, old)["Status"] == "SUCCESS"
    assert "credentialProviderConfigurations" not in gateway.called("update_gateway_target")[0]


def test_a_setting_taken_out_of_the_credentials_is_taken_off_the_target(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    extended = json.loads(json.dumps(OAUTH))
    extended[0]["credentialProvider"]["oauthCredentialProvider"]["customParameters"] = {"audience": "tools"}
    mine(gateway, credentialProviderConfigurations=extended)
    old, new = ({**PROPERTIES, "CredentialProviderConfigurations": value} for value in (extended, OAUTH))
    assert update(run, clients, new, old)["Status"] == "SUCCESS"
    assert gateway.called("update_gateway_target")[0]["credentialProviderConfigurations"] == OAUTH


def test_a_target_that_lists_live_is_not_synchronised(run: Run, clients: Clients, gateway: Gateway) -> None:
    dynamic = {"mcp": {"mcpServer": {"endpoint": ENDPOINT, "listingMode": "DYNAMIC"}}}
    mine(gateway, targetConfiguration=dynamic)
    properties = {**PROPERTIES, "ListingMode": "DYNAMIC"}
    assert update(run, clients, properties, properties)["Status"] == "SUCCESS"
    assert gateway.called("synchronize_gateway_targets") == []
    assert gateway.called("update_gateway_target") == []


@pytest.mark.parametrize(
    ("status", "operation"),
    [
        ("UPDATE_UNSUCCESSFUL", "update_gateway_target"),
        ("SYNCHRONIZE_UNSUCCESSFUL", "synchronize_gateway_targets"),
    ],
)
def test_an_unsuccessful_change_is_tried_again(
    run: Run, clients: Clients, gateway: Gateway, status: str, operation: str
) -> None:
    mine(gateway, status)
    assert update(run, clients, PROPERTIES, PROPERTIES)["Status"] == "SUCCESS"
    assert len(gateway.called(operation)) == 1


@pytest.mark.parametrize(
    ("change", "plan", "status"),
    [
        ({}, "synchronize", "SYNCHRONIZE_UNSUCCESSFUL"),
        ({"Endpoint": f"{ENDPOINT}/v2"}, "update", "UPDATE_UNSUCCESSFUL"),
        ({}, "synchronize", "FAILED"),
        ({}, "synchronize", "SYNCHRONIZE_PENDING_AUTH"),
    ],
)
def test_a_failed_update_keeps_the_target_and_tells_why(
    run: Run, clients: Clients, gateway: Gateway, change: dict[str, str], plan: str, status: str
) -> None:
    target_id = mine(gateway)
    gateway.plans[plan] = [status]
    gateway.targets[target_id].reasons = ["HTTP 503 from the server"]
    response = update(run, clients, {**PROPERTIES, **change}, PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert status in response["Reason"]
    assert response["Reason"].endswith(("HTTP 503 from the server", "CLIENT_CREDENTIALS grant"))
    assert list(gateway.targets) == [target_id]


@pytest.mark.parametrize("status", ["CREATE_PENDING_AUTH", "UPDATE_PENDING_AUTH"])
def test_a_target_waiting_for_consent_is_not_updated(
    run: Run, clients: Clients, gateway: Gateway, status: str
) -> None:
    mine(gateway, status)
    response = update(run, clients, PROPERTIES, PROPERTIES)
    assert response["Status"] == "FAILED"
    assert status in response["Reason"]
    assert gateway.names() == ["tools"]


def test_a_busy_target_is_synchronised_once_it_is_free(run: Run, clients: Clients, gateway: Gateway) -> None:
    mine(gateway)
    busy = ApiError("ConflictException", "Target is SYNCHRONIZING", 409)
    gateway.errors["synchronize_gateway_targets"] = [busy, busy]
    assert update(run, clients, PROPERTIES, PROPERTIES)["Status"] == "SUCCESS"
    assert len(gateway.called("synchronize_gateway_targets")) == 3


def test_a_target_deleted_by_hand_is_made_anew_on_update(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    assert update(run, clients, PROPERTIES, PROPERTIES)["Status"] == "SUCCESS"
    assert gateway.names() == ["tools"]


def test_another_name_makes_another_target_and_the_old_one_goes_with_its_delete(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    run(GatewayTarget, clients, "Create", PROPERTIES)
    renamed = {**PROPERTIES, "Name": "tools-v2"}
    response = run(
        GatewayTarget,
        clients,
        "Update",
        renamed,
        physical_id=PHYSICAL_ID,
        old=PROPERTIES,
        request_id="request-2",
    )
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", f"{GATEWAY}|tools-v2")
    assert gateway.names() == ["tools", "tools-v2"]
    run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert gateway.names() == ["tools-v2"]


def test_an_update_with_a_bad_property_keeps_the_id(run: Run, clients: Clients, gateway: Gateway) -> None:
    response = update(run, clients, {**PROPERTIES, "ListingMode": "SOMETIMES"}, PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert "ListingMode: 'SOMETIMES'" in response["Reason"]
    assert gateway.calls == []


# Delete


@pytest.mark.parametrize(
    "status",
    [
        "READY",
        "FAILED",
        "UPDATE_UNSUCCESSFUL",
        "SYNCHRONIZE_UNSUCCESSFUL",
        "CREATING",
        "UPDATING",
        "SYNCHRONIZING",
        "CREATE_PENDING_AUTH",
        "UPDATE_PENDING_AUTH",
        "SYNCHRONIZE_PENDING_AUTH",
    ],
)
def test_delete_waits_out_what_is_in_progress_and_until_the_target_is_gone(
    run: Run, clients: Clients, gateway: Gateway, status: str
) -> None:
    settled = status in {"READY", "FAILED"} or status.endswith("UNSUCCESSFUL")
    mine(gateway, *([status] if settled else [status] * 4 + ["FAILED"]))
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert gateway.targets == {}


def test_delete_waits_for_a_deletion_under_way(run: Run, clients: Clients, gateway: Gateway) -> None:
    mine(gateway, "DELETING", "DELETING", "GONE")
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert response["Status"] == "SUCCESS"
    assert gateway.called("delete_gateway_target") == []


def test_a_deletion_that_fails_is_tried_again(run: Run, clients: Clients, gateway: Gateway) -> None:
    mine(gateway)
    gateway.plans["delete"] = ["DELETING", "FAILED"]
    original = gateway.delete_gateway_target

    def second_time(**parameters: Any) -> dict[str, Any]:
        answer = original(**parameters)
        gateway.plans["delete"] = ["DELETING", "GONE"]
        return answer

    gateway.delete_gateway_target = second_time  # type: ignore[assignment,method-assign]
    assert run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)["Status"] == "SUCCESS"
    assert gateway.targets == {}


def test_delete_leaves_what_is_not_ours(
    run: Run, clients: Clients, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    gateway.add("tools", OTHERS)
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert gateway.names() == ["tools"]
    assert "isn't this resource's" in caplog.text


@pytest.mark.parametrize("physical_id", [PHYSICAL_ID, "absent-0123456789|tools"])
def test_delete_of_what_is_gone_succeeds(run: Run, clients: Clients, physical_id: str) -> None:
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=physical_id)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", physical_id)


MADE_UP = "tools-dev-Target-1A2B3C4D5E6F"


def test_delete_of_an_id_that_says_nothing_succeeds(run: Run, clients: Clients, gateway: Gateway) -> None:
    gateway.add("tools", OTHERS)
    for properties in (PROPERTIES, {"Endpoint": "nonsense"}, {}):
        response = run(GatewayTarget, clients, "Delete", properties, physical_id=MADE_UP)
        assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", MADE_UP)
    assert gateway.names() == ["tools"]


def test_delete_of_a_create_that_was_given_up_on_removes_what_it_made(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    mine(gateway, "CREATING", "CREATING", "READY")
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=MADE_UP)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", MADE_UP)
    assert gateway.targets == {}


def test_a_delete_that_outlasts_the_function_is_reported(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    mine(gateway)
    gateway.plans["delete"] = ["DELETING"]
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert response["Reason"].endswith("DELETING")


@pytest.mark.parametrize("physical_id", [PHYSICAL_ID, "tools-dev-Target-1A2B3C4D5E6F"])
@pytest.mark.parametrize(
    ("asked_at", "left"),
    [("20261101T115900Z", ["tools"]), ("20261101T115959Z", []), ("20261101T120100Z", []), ("", [])],
)
def test_a_delete_delivered_late_leaves_what_was_made_since(
    run: Run, clients: Clients, gateway: Gateway, physical_id: str, asked_at: str, left: list[str]
) -> None:
    # This fake makes every target at 12:00:00.
    gateway.add("tools", MINE)
    response = run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=physical_id, asked_at=asked_at)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", physical_id)
    assert gateway.names() == left


def test_a_failed_target_names_the_tools_whose_schemas_may_be_why(
    run: Run, clients: Clients, gateway: Gateway, probe: Probe
) -> None:
    probe.referring = {"search": "$defs, $ref", "add": "$defs, $ref"}
    gateway.plans["create"], gateway.reasons = ["CREATING", "FAILED"], ["Unsupported schema"]
    reason = run(GatewayTarget, clients, "Create", PROPERTIES)["Reason"]
    assert reason.startswith(
        "(Gateways have refused schemas with $defs, $ref; write them out in place: add, search.) After "
    )
    assert reason.endswith("is FAILED: Unsupported schema")


def test_schemas_that_a_gateway_takes_are_no_failure(run: Run, clients: Clients, probe: Probe) -> None:
    probe.referring = {"search": "$ref"}
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"


def test_delete_does_not_probe(run: Run, clients: Clients, probe: Probe) -> None:
    run(GatewayTarget, clients, "Delete", PROPERTIES, physical_id=PHYSICAL_ID)
    assert probe.asked == 0


# Probe


def test_nothing_is_created_when_the_endpoint_does_not_answer(
    run: Run, clients: Clients, gateway: Gateway, probe: Probe, clock: Clock
) -> None:
    probe.failures = [ProbeError("dns", "the name doesn't resolve")] * 1000
    start = clock.now()
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert response["Reason"].endswith("the name doesn't resolve")
    assert 120 < clock.now() - start < 200, "a third of the time, so that some is left"
    assert gateway.calls == []


def test_a_young_endpoint_is_waited_for(run: Run, clients: Clients, probe: Probe) -> None:
    probe.failures = [ProbeError("http", "HTTP 503", status=503)] * 5
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    assert probe.asked == 6


def test_an_answer_that_waiting_cannot_change_ends_the_probe(
    run: Run, clients: Clients, probe: Probe
) -> None:
    probe.failures = [ProbeError("http", "HTTP 401: asks for a token", status=401, final=True)] * 1000
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "FAILED"
    assert probe.asked == 3


@pytest.mark.parametrize("status", [401, 403])
def test_a_server_that_wants_the_gateways_token_is_registered_without_its_tools(
    run: Run, clients: Clients, probe: Probe, status: int
) -> None:
    probe.failures = [ProbeError("http", f"HTTP {status}", status=status, final=True)]
    properties = {**PROPERTIES, "CredentialProviderConfigurations": OAUTH}
    response = run(GatewayTarget, clients, "Create", properties)
    assert response["Status"] == "SUCCESS"
    assert (response["Data"]["ToolCount"], response["Data"]["ToolNamesHash"]) == ("unknown", "unknown")


DISCOVERY = "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_Abc/.well-known/openid-configuration"
SECRET_ARN = "arn:aws:secretsmanager:us-east-1:123456789012:secret:gateway-AbCdEf"
WITH_TOKEN = {
    **PROPERTIES,
    "CredentialProviderConfigurations": OAUTH,
    "DiscoveryUrl": DISCOVERY,
    "ClientSecretArn": SECRET_ARN,
}


class Tokens:
    """Stands in for bearer_token."""

    def __init__(self) -> None:
        self.failures: list[IssuerError] = []
        self.sources: list[TokenSource] = []

    def __call__(self, _runtime: Any, source: TokenSource, timeout: float) -> str:
        assert 0 < timeout <= 30
        self.sources.append(source)
        if self.failures:
            raise self.failures.pop(0)
        return "the-gateways-token"


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    tokens = Tokens()
    monkeypatch.setattr(gateway_target, "bearer_token", tokens)
    return tokens


def test_the_probe_shows_a_token_such_as_the_gateways(
    run: Run, clients: Clients, gateway: Gateway, probe: Probe, tokens: Tokens
) -> None:
    response = run(GatewayTarget, clients, "Create", WITH_TOKEN)
    assert (response["Status"], response["Data"]["ToolCount"]) == ("SUCCESS", "2")
    assert tokens.sources == [TokenSource(DISCOVERY, SECRET_ARN, ("tools/call",), {})]
    assert probe.headers == {"Authorization": "Bearer the-gateways-token"}
    (created,) = gateway.called("create_gateway_target")
    assert SECRET_ARN not in json.dumps(created)


def test_an_issuer_as_young_as_the_stack_is_waited_for(
    run: Run, clients: Clients, probe: Probe, tokens: Tokens
) -> None:
    tokens.failures = [IssuerError("the domain doesn't resolve")] * 4
    assert run(GatewayTarget, clients, "Create", WITH_TOKEN)["Status"] == "SUCCESS"
    assert (len(tokens.sources), probe.asked) == (5, 1)


def test_an_issuer_that_gives_no_token_is_named(
    run: Run, clients: Clients, gateway: Gateway, tokens: Tokens
) -> None:
    tokens.failures = [IssuerError("https://idp/token answered HTTP 400: invalid_client")] * 1000
    response = run(GatewayTarget, clients, "Create", WITH_TOKEN)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("invalid_client")
    assert gateway.calls == []


def test_a_server_that_refuses_the_token_is_not_registered(
    run: Run, clients: Clients, gateway: Gateway, probe: Probe, tokens: Tokens
) -> None:
    challenge = 'Bearer error="invalid_token"'
    refusal = ProbeError("http", "HTTP 401", status=401, final=True, challenge=challenge)
    probe.failures = [refusal] * 1000
    response = run(GatewayTarget, clients, "Create", WITH_TOKEN)
    assert response["Status"] == "FAILED"
    assert "refuses the gateway's token (HTTP 401)" in response["Reason"]
    assert response["Reason"].endswith(challenge)
    assert probe.asked == 3, "waiting won't help"
    assert gateway.calls == []
    assert tokens.sources, "a token was shown"


@pytest.mark.parametrize("missing", ["DiscoveryUrl", "ClientSecretArn"])
def test_half_of_what_a_token_takes_is_refused(
    run: Run, clients: Clients, gateway: Gateway, missing: str
) -> None:
    given = {key: value for key, value in WITH_TOKEN.items() if key != missing}
    response = run(GatewayTarget, clients, "Create", given)
    assert response["Status"] == "FAILED"
    assert f"Property {missing}" in response["Reason"]
    assert gateway.calls == []


def test_others_changes_of_the_gateway_are_waited_out(run: Run, clients: Clients, gateway: Gateway) -> None:
    full = ApiError("ServiceQuotaExceededException", "Too many concurrent target operations", status=402)
    gateway.errors["create_gateway_target"] = [full, full]
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    assert len(gateway.called("create_gateway_target")) == 3


def test_a_full_gateway_is_not_waited_for(run: Run, clients: Clients, gateway: Gateway) -> None:
    full = ApiError("ServiceQuotaExceededException", "You have reached the limit of 100 targets", status=402)
    gateway.errors["create_gateway_target"] = [full] * 9
    response = run(GatewayTarget, clients, "Create", PROPERTIES)
    assert response["Status"] == "FAILED"
    assert len(gateway.called("create_gateway_target")) == 1


def test_tool_names_too_long_for_clients_are_warned_of(
    run: Run, clients: Clients, probe: Probe, caplog: pytest.LogCaptureFixture
) -> None:
    probe.names = ("a" * 56, "b" * 57)
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    (warning,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert f"tools___{'b' * 57}" in warning.getMessage()


# Properties and ownership


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Name": "my_tools"}, "Name: 'my_tools' isn't valid"),
        ({"GatewayIdentifier": "arn:aws:bedrock-agentcore:x:1:gateway/g"}, "not its ARN"),
        ({"Endpoint": "http://host/mcp"}, "Property Endpoint"),
        ({"Endpoint": "https://user:hunter2@host/mcp"}, "Property Endpoint"),
        ({"CredentialProviderConfigurations": "{"}, "not valid JSON"),
        ({"CredentialProviderConfigurations": OAUTH * 2}, "has 2 entries"),
        ({"Endpont": "https://host/mcp"}, "Property Endpont isn't known"),
    ],
)
def test_a_bad_property_is_named_before_anything_is_touched(
    run: Run,
    clients: Clients,
    gateway: Gateway,
    caplog: pytest.LogCaptureFixture,
    change: dict[str, Any],
    reason: str,
) -> None:
    response = run(GatewayTarget, clients, "Create", {**PROPERTIES, **change})
    assert response["Status"] == "FAILED"
    assert reason in response["Reason"]
    assert response["PhysicalResourceId"]
    assert gateway.calls == []
    assert "hunter2" not in caplog.text + response["Reason"]


def test_a_query_in_the_endpoint_is_registered_and_not_logged(
    run: Run, clients: Clients, gateway: Gateway, caplog: pytest.LogCaptureFixture
) -> None:
    response = run(GatewayTarget, clients, "Create", {**PROPERTIES, "Endpoint": f"{ENDPOINT}?key=hunter2"})
    assert response["Status"] == "SUCCESS"
    assert "hunter2" in str(gateway.called("create_gateway_target"))
    assert "hunter2" not in caplog.text


def test_the_mark_is_stable_unique_and_fits() -> None:
    owner = Owner(STACK_ID, "Target")
    assert owner.description() == MINE
    assert "tools-dev" in MINE
    assert owner.owns(MINE)
    long = Owner(STACK_ID.replace("tools-dev", "s" * 128), "L" * 255)
    assert len(long.description()) == 200
    assert long.owns(long.description())
    for other in (Owner(STACK_ID, "Other"), Owner(STACK_ID.replace("6b0c1c2e", "7b0c1c2e"), "Target")):
        assert not other.owns(MINE)
    assert not owner.owns("")


def test_a_target_is_looked_at_every_few_seconds_however_long_it_takes(
    run: Run, clients: Clients, gateway: Gateway, clock: Clock
) -> None:
    """What the last pause adds to the deploy's time stays under five seconds."""
    gateway.plans["create"] = ["CREATING"] * 60 + ["READY"]
    times = [clock.now()]
    clock.on_sleep = lambda: times.append(clock.now())
    assert run(GatewayTarget, clients, "Create", PROPERTIES)["Status"] == "SUCCESS"
    pauses = [after - before for before, after in itertools.pairwise(times)]
    assert len(pauses) > 60
    assert max(pauses) + pauses[-1] < 5


def test_a_target_that_stays_busy_is_told_with_the_services_words(
    run: Run, clients: Clients, gateway: Gateway
) -> None:
    gateway.add("tools", MINE, targetConfiguration=CONFIGURATION)
    gateway.errors["synchronize_gateway_targets"] = [ApiError("ConflictException", "Too many changes")] * 200
    response = run(GatewayTarget, clients, "Update", PROPERTIES, physical_id=PHYSICAL_ID, old=PROPERTIES)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("stayed busy with another change: Too many changes")
