"""Custom::EdgeWebAcl against WAF and CloudWatch Logs in memory."""

from __future__ import annotations

from typing import Any

import pytest

from custom_resources.edge import Place
from custom_resources.edge_web_acl import EdgeWebAcl
from custom_resources.errors import ResourceError
from custom_resources.ownership import Owner, tag_list
from tests.custom_resources.conftest import Run
from tests.custom_resources.edge_fakes import LogGroups, Waf
from tests.custom_resources.fakes import STACK_ID, ApiError, Clients, Clock

NAME = "tools-6b0c1c2e"
GROUP = f"aws-waf-logs-{NAME}"
PHYSICAL_ID = f"edge-web-acl|{NAME}"
PROPERTIES: dict[str, Any] = {
    "Name": NAME,
    "ManagedRuleGroups": [
        {
            "Name": "AWSManagedRulesCommonRuleSet",
            "CountedRules": ["SizeRestrictions_BODY", "NoUserAgent_HEADER"],
        },
        {"Name": "AWSManagedRulesKnownBadInputsRuleSet", "Version": "Version_1.22"},
    ],
    "RateLimit": "10000",
    "LogRetentionDays": "30",
}
EUROPE = STACK_ID.replace("us-east-1", "eu-central-1")
OWNER = Owner(STACK_ID, "Target")
SOMEBODY = tag_list(Owner(STACK_ID, "Another").tags())


@pytest.fixture
def waf() -> Waf:
    return Waf()


@pytest.fixture
def logs() -> LogGroups:
    return LogGroups()


@pytest.fixture
def clients(waf: Waf, logs: LogGroups) -> Clients:
    return Clients(wafv2=waf, logs=logs)


def create(run: Run, clients: Clients, properties: dict[str, Any] | None = None, **more: Any) -> Any:
    return run(EdgeWebAcl, clients, "Create", properties or PROPERTIES, **more)


def update(run: Run, clients: Clients, properties: dict[str, Any], **more: Any) -> Any:
    return run(EdgeWebAcl, clients, "Update", properties, old=PROPERTIES, physical_id=PHYSICAL_ID, **more)


def delete(run: Run, clients: Clients, physical_id: str = PHYSICAL_ID, **more: Any) -> Any:
    response = run(EdgeWebAcl, clients, "Delete", PROPERTIES, physical_id=physical_id, **more)
    assert response["PhysicalResourceId"] == physical_id
    return response


def test_create_makes_web_acl_and_log(run: Run, clients: Clients, waf: Waf, logs: LogGroups) -> None:
    response = create(run, clients)
    acl = waf.named(NAME)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert response["Data"] == {
        "Arn": acl["ARN"],
        "Id": acl["Id"],
        "Capacity": "932",
        "MetricName": NAME,
        "LogGroupName": GROUP,
    }
    assert waf.tags[acl["ARN"]] == tag_list(OWNER.tags())
    assert logs.groups == {GROUP: {"tags": OWNER.tags(), "days": 30}}
    assert waf.logging[acl["ARN"]]["LogDestinationConfigs"] == [
        f"arn:aws:logs:us-east-1:123456789012:log-group:{GROUP}"
    ]


def test_rules_say_what_the_properties_say(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients, {**PROPERTIES, "AllowedCountries": ["DE", "US"], "RateWindowSeconds": "60"})
    acl = waf.named(NAME)
    assert acl["DefaultAction"] == {"Allow": {}}
    assert [(rule["Name"], rule["Priority"]) for rule in acl["Rules"]] == [
        ("countries", 0),
        ("rate", 1),
        ("AWSManagedRulesCommonRuleSet", 2),
        ("AWSManagedRulesKnownBadInputsRuleSet", 3),
    ]
    countries, rate, common, bad_inputs = acl["Rules"]
    assert countries["Statement"] == {
        "NotStatement": {"Statement": {"GeoMatchStatement": {"CountryCodes": ["DE", "US"]}}}
    }
    assert rate["Statement"] == {
        "RateBasedStatement": {"Limit": 10000, "EvaluationWindowSec": 60, "AggregateKeyType": "IP"}
    }
    assert countries["Action"] == rate["Action"] == {"Block": {}}
    assert common["OverrideAction"] == bad_inputs["OverrideAction"] == {"None": {}}
    assert common["Statement"]["ManagedRuleGroupStatement"] == {
        "VendorName": "AWS",
        "Name": "AWSManagedRulesCommonRuleSet",
        "RuleActionOverrides": [
            {"Name": "SizeRestrictions_BODY", "ActionToUse": {"Count": {}}},
            {"Name": "NoUserAgent_HEADER", "ActionToUse": {"Count": {}}},
        ],
    }
    assert bad_inputs["Statement"]["ManagedRuleGroupStatement"]["Version"] == "Version_1.22"


def test_blocked_countries_are_blocked(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients, {"Name": NAME, "BlockedCountries": ["KP"], "LogRetentionDays": "7"})
    (rule,) = waf.named(NAME)["Rules"]
    assert rule["Statement"] == {"GeoMatchStatement": {"CountryCodes": ["KP"]}}
    assert rule["Action"] == {"Block": {}}


def test_what_a_caller_proves_itself_by_reaches_neither_log_nor_console(
    run: Run, clients: Clients, waf: Waf
) -> None:
    create(run, clients)
    protected = waf.named(NAME)["DataProtectionConfig"]["DataProtections"]
    assert [one["Field"]["FieldKeys"] for one in protected] == [["authorization"], ["cookie"]]
    assert {one["Action"] for one in protected} == {"SUBSTITUTION"}


def test_the_log_leaves_out_what_no_rule_matched_unless_all_is_wanted(
    run: Run, clients: Clients, waf: Waf
) -> None:
    create(run, clients)
    (configuration,) = waf.logging.values()
    assert configuration["LoggingFilter"]["DefaultBehavior"] == "DROP"
    (kept,) = configuration["LoggingFilter"]["Filters"]
    assert [one["ActionCondition"]["Action"] for one in kept["Conditions"]] == [
        "BLOCK",
        "COUNT",
        "EXCLUDED_AS_COUNT",
    ]
    update(run, clients, {**PROPERTIES, "LoggedRequests": "ALL"})
    (configuration,) = waf.logging.values()
    assert "LoggingFilter" not in configuration


def test_a_stack_of_any_region_asks_in_cloudfronts_region(run: Run, clients: Clients, waf: Waf) -> None:
    assert create(run, clients, stack_id=EUROPE)["Status"] == "SUCCESS"
    assert clients.regions == {("wafv2", "us-east-1"), ("logs", "us-east-1")}
    assert delete(run, clients, stack_id=EUROPE)["Status"] == "SUCCESS"
    assert waf.acls == {}


def test_another_partition_is_refused_and_its_delete_succeeds(run: Run, clients: Clients, waf: Waf) -> None:
    china = STACK_ID.replace("arn:aws:", "arn:aws-cn:")
    response = create(run, clients, stack_id=china)
    assert response["Status"] == "FAILED"
    assert "Partition aws-cn has no CloudFront with web ACLs" in response["Reason"]
    assert delete(run, clients, stack_id=china)["Status"] == "SUCCESS"
    assert waf.calls == []


def test_a_create_delivered_again_makes_nothing_more(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    first, second = create(run, clients), create(run, clients)
    assert first["Data"] == second["Data"]
    assert (len(waf.acls), list(logs.groups)) == (1, [GROUP])
    assert len(waf.called("create_web_acl")) == 1


def test_what_an_interrupted_attempt_left_is_taken_over(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    logs.groups[GROUP] = {"tags": OWNER.tags()}
    arn = waf.put(NAME, tag_list(OWNER.tags()))
    assert create(run, clients)["Data"]["Arn"] == arn
    assert len(waf.named(NAME)["Rules"]) == 3
    assert waf.called("create_web_acl") == []


def test_a_web_acl_is_found_on_a_later_page(run: Run, clients: Clients, waf: Waf) -> None:
    for number in range(5):
        waf.put(f"other-{number}", SOMEBODY)
    arn = waf.put(NAME, tag_list(OWNER.tags()))
    assert create(run, clients)["Data"]["Arn"] == arn


def test_another_ones_web_acl_is_neither_taken_nor_deleted(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    waf.put(NAME, SOMEBODY)
    response = create(run, clients)
    assert response["Status"] == "FAILED"
    assert "isn't this stack's; choose another Name" in response["Reason"]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert "Rules" not in waf.named(NAME)
    assert waf.called("delete_web_acl") == []
    # The log group was made before the refusal.
    assert logs.groups == {}


def test_another_ones_log_group_is_neither_taken_nor_deleted(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    logs.groups[GROUP] = {"tags": Owner(EUROPE, "Target").tags()}
    response = create(run, clients)
    assert response["Status"] == "FAILED"
    assert f"Log group {GROUP} exists and isn't this stack's" in response["Reason"]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (waf.acls, list(logs.groups)) == ({}, [GROUP])
    assert "days" not in logs.groups[GROUP]


@pytest.mark.parametrize("operation", ["create_log_group", "list_tags_for_resource"])
def test_a_log_group_that_may_not_be_made_or_read_is_told(
    run: Run, clients: Clients, logs: LogGroups, operation: str
) -> None:
    create(run, clients)
    logs.errors[operation] = [ApiError("AccessDeniedException", "not allowed")]
    response = update(run, clients, PROPERTIES)
    assert response["Status"] == "FAILED"
    assert "not allowed" in response["Reason"]


def test_update_changes_in_place(run: Run, clients: Clients, waf: Waf, logs: LogGroups) -> None:
    arn = create(run, clients)["Data"]["Arn"]
    response = update(run, clients, {**PROPERTIES, "RateLimit": "500", "LogRetentionDays": "90"})
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", PHYSICAL_ID)
    assert response["Data"]["Arn"] == arn
    assert waf.named(NAME)["Rules"][0]["Statement"]["RateBasedStatement"]["Limit"] == 500
    assert logs.groups[GROUP]["days"] == 90
    assert waf.called("delete_web_acl") == []


def test_another_name_is_a_replacement(run: Run, clients: Clients, waf: Waf, logs: LogGroups) -> None:
    create(run, clients)
    response = update(run, clients, {**PROPERTIES, "Name": "tools-other"})
    assert response["PhysicalResourceId"] == "edge-web-acl|tools-other"
    assert {acl["Name"] for acl in waf.acls.values()} == {NAME, "tools-other"}
    # CloudFormation then lets go of what was before.
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert [acl["Name"] for acl in waf.acls.values()] == ["tools-other"]
    assert list(logs.groups) == ["aws-waf-logs-tools-other"]


def test_update_makes_anew_what_somebody_deleted(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    create(run, clients)
    for kept in (waf.acls, waf.tags, waf.logging, logs.groups):
        kept.clear()
    assert update(run, clients, PROPERTIES)["Status"] == "SUCCESS"
    assert (len(waf.acls), list(logs.groups)) == (1, [GROUP])


def test_a_change_by_somebody_else_is_waited_out(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients)
    waf.overtaken = 3
    assert update(run, clients, {**PROPERTIES, "RateLimit": "500"})["Status"] == "SUCCESS"
    assert waf.named(NAME)["Rules"][0]["Statement"]["RateBasedStatement"]["Limit"] == 500


def test_a_web_acl_that_is_always_being_changed_is_told_in_time(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients)
    waf.overtaken = 1000
    response = update(run, clients, {**PROPERTIES, "RateLimit": "500"})
    assert response["Status"] == "FAILED"
    assert "changed by somebody else all the time" in response["Reason"]


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("create_web_acl", "WAFUnavailableEntityException"),
        ("create_web_acl", "WAFOptimisticLockException"),
        ("create_web_acl", "ThrottlingException"),
        ("create_web_acl", "WAFTagOperationInternalErrorException"),
        ("list_web_acls", "WAFInternalErrorException"),
        ("get_web_acl", "WAFNonexistentItemException"),
        ("put_logging_configuration", "WAFNonexistentItemException"),
        ("put_logging_configuration", "WAFLogDestinationPermissionIssueException"),
    ],
)
def test_what_passes_is_waited_out(run: Run, clients: Clients, waf: Waf, operation: str, code: str) -> None:
    waf.errors[operation] = [ApiError(code)] * 3
    assert create(run, clients)["Status"] == "SUCCESS"
    assert (len(waf.acls), len(waf.logging)) == (1, 1)


@pytest.mark.parametrize(
    ("operation", "code"),
    [
        ("create_web_acl", "WAFLimitsExceededException"),
        ("create_web_acl", "WAFInvalidParameterException"),
        ("put_logging_configuration", "WAFLogDestinationPermissionIssueException"),
        ("put_logging_configuration", "AccessDeniedException"),
    ],
)
def test_a_failed_create_leaves_nothing(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups, operation: str, code: str
) -> None:
    waf.errors[operation] = [ApiError(code, "the service's own words")] * 100
    response = create(run, clients)
    assert (response["Status"], response["PhysicalResourceId"]) == ("FAILED", PHYSICAL_ID)
    assert response["Reason"].endswith("the service's own words")
    assert (waf.acls, logs.groups) == ({}, {})


def test_a_failed_update_leaves_the_web_acl_as_it_is(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    create(run, clients)
    rules = waf.named(NAME)["Rules"]
    waf.errors["update_web_acl"] = [ApiError("WAFInvalidParameterException", "No such rule group")]
    response = update(run, clients, {**PROPERTIES, "RateLimit": "500"})
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("No such rule group")
    assert waf.named(NAME)["Rules"] == rules
    assert list(logs.groups) == [GROUP]


def test_a_redelivered_create_that_fails_takes_nothing_away(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients)
    waf.errors["update_web_acl"] = [ApiError("AccessDeniedException", "no")]
    assert create(run, clients)["Status"] == "FAILED"
    assert len(waf.acls) == 1


def test_a_created_web_acl_whose_answer_got_lost_is_adopted(run: Run, clients: Clients, waf: Waf) -> None:
    make = waf.create_web_acl

    def unheard(**parameters: Any) -> dict[str, Any]:
        make(**parameters)
        raise ApiError("WAFInternalErrorException", "done, but not told", 500)

    waf.create_web_acl = unheard  # type: ignore[assignment,method-assign]
    assert create(run, clients)["Status"] == "SUCCESS"
    assert len(waf.acls) == 1


def test_what_cannot_be_removed_again_is_named_and_the_cause_comes_last(
    run: Run, clients: Clients, waf: Waf
) -> None:
    waf.errors["put_logging_configuration"] = [ApiError("AccessDeniedException", "may not log")]
    waf.errors["delete_web_acl"] = [ApiError("AccessDeniedException", "may not delete")]
    response = create(run, clients)
    assert f"Web ACL {NAME} couldn't be removed again" in response["Reason"]
    assert response["Reason"].endswith("may not log")


def test_delete_removes_web_acl_and_log(run: Run, clients: Clients, waf: Waf, logs: LogGroups) -> None:
    create(run, clients)
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (waf.acls, waf.logging, logs.groups) == ({}, {}, {})
    assert delete(run, clients)["Status"] == "SUCCESS"


def test_delete_waits_for_the_distribution_to_let_go(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients)
    waf.associated = 20
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert waf.acls == {}


def test_delete_of_a_web_acl_in_use_tells_so_in_time(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    create(run, clients)
    waf.associated = 10_000
    response = delete(run, clients)
    assert response["Status"] == "FAILED"
    assert "take it from the distribution first" in response["Reason"]
    assert list(logs.groups) == [GROUP]


@pytest.mark.parametrize("operation", ["delete_web_acl", "delete_logging_configuration"])
def test_delete_goes_on_after_a_change_by_somebody_else(
    run: Run, clients: Clients, waf: Waf, operation: str
) -> None:
    create(run, clients)
    waf.errors[operation] = [ApiError("WAFOptimisticLockException")]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert waf.acls == {}


def test_delete_after_an_interrupted_delete_removes_the_log(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    create(run, clients)
    logs.errors["delete_log_group"] = [ApiError("AccessDeniedException", "no")]
    assert delete(run, clients)["Status"] == "FAILED"
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (waf.acls, logs.groups) == ({}, {})


def test_an_id_made_up_by_cloudformation_is_looked_up_by_the_properties(
    run: Run, clients: Clients, waf: Waf, logs: LogGroups
) -> None:
    create(run, clients)
    assert delete(run, clients, "tools-dev-Target-1A2B3C4D5E6F")["Status"] == "SUCCESS"
    assert (waf.acls, logs.groups) == ({}, {})


def test_delete_of_a_create_that_was_refused_touches_nothing(run: Run, clients: Clients, waf: Waf) -> None:
    response = run(EdgeWebAcl, clients, "Delete", {}, physical_id="not-created|Target")
    assert response["Status"] == "SUCCESS"
    assert waf.calls == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"Name": "has spaces"}, "Property Name: 'has spaces' isn't valid"),
        ({"RateLimit": "9"}, "Property RateLimit: 9 is too few"),
        ({"RateLimit": "-1"}, "expected a whole number from 0"),
        ({"RateWindowSeconds": "90"}, "expected one of 60, 120, 300, 600"),
        ({"AllowedCountries": ["Germany"]}, "Property AllowedCountries: 'Germany' isn't valid"),
        ({"AllowedCountries": ["DE"], "BlockedCountries": ["US"]}, "only one of the properties"),
        ({"LogRetentionDays": "31"}, "Property LogRetentionDays"),
        ({"ManagedRuleGroups": [{"VendorName": "AWS"}]}, "entry 1: Property Name is required"),
        ({"ManagedRuleGroups": [{"Name": "A", "Counted": []}]}, "Property Counted isn't known"),
        (
            {"ManagedRuleGroups": [{"Name": "A"}, {"Name": "A"}]},
            "Property ManagedRuleGroups: Name 'A' is given more",
        ),
        ({"ManagedRuleGroups": [], "RateLimit": "0"}, "would let everything by"),
    ],
)
def test_a_bad_property_is_named_and_nothing_is_made(
    run: Run, clients: Clients, waf: Waf, change: dict[str, Any], complaint: str
) -> None:
    response = create(run, clients, {**PROPERTIES, **change})
    assert response["Status"] == "FAILED"
    assert complaint in response["Reason"]
    assert waf.calls == []


def test_an_empty_comma_delimited_list_is_no_country(run: Run, clients: Clients, waf: Waf) -> None:
    create(run, clients, {**PROPERTIES, "AllowedCountries": [""], "BlockedCountries": [""]})
    assert waf.named(NAME)["Rules"][0]["Name"] == "rate"


def test_the_wait_for_a_distribution_ends_before_the_function(
    run: Run, clients: Clients, waf: Waf, clock: Clock
) -> None:
    create(run, clients)
    waf.associated = 10_000
    start = clock.now()
    assert delete(run, clients, seconds=900)["Status"] == "FAILED"
    assert 800 < clock.now() - start < 900


@pytest.mark.parametrize(
    "stack_id", ["arn:aws:cloudformation", "tools", "urn:aws:cloudformation:us-east-1:1:stack/a"]
)
def test_a_stack_is_placed_by_its_arn_alone(stack_id: str) -> None:
    with pytest.raises(ResourceError, match="isn't the ARN of a stack"):
        Place.of_stack(stack_id)
