"""Custom::EdgeCertificate against Certificate Manager and Route 53 in memory."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from custom_resources.certificates import RECORDS_TAG, ZONE_TAG
from custom_resources.edge_certificate import EdgeCertificate
from custom_resources.ownership import Owner
from tests.custom_resources.conftest import Run
from tests.custom_resources.edge_fakes import Acm, Zones, validation_record
from tests.custom_resources.fakes import STACK_ID, ApiError, Clients, Clock

DOMAIN = "mcp.example.com"
ZONE = "Z0123456789EXAMPLE"
PROPERTIES: dict[str, Any] = {"DomainName": DOMAIN, "HostedZoneId": ZONE}
WITHOUT_ZONE: dict[str, Any] = {"DomainName": DOMAIN}
WITH_WILDCARD: dict[str, Any] = {
    **PROPERTIES,
    "SubjectAlternativeNames": [f"*.{DOMAIN}", "tools.example.com"],
}
EUROPE = STACK_ID.replace("us-east-1", "eu-central-1")
RECORD = validation_record(DOMAIN)
VALUES = {RECORD["Name"]: RECORD["Value"]}
SHOWN = f"{RECORD['Name']} CNAME {RECORD['Value']}"


@pytest.fixture
def zones() -> Zones:
    zones = Zones()
    zones.add_zone(ZONE, "example.com")
    return zones


@pytest.fixture
def acm(zones: Zones) -> Acm:
    return Acm(zones)


@pytest.fixture
def home(zones: Zones) -> Acm:
    """Certificates of the stack's own region, where that isn't CloudFront's."""
    return Acm(zones, "eu-central-1")


@pytest.fixture
def clients(acm: Acm, home: Acm, zones: Zones) -> Clients:
    return Clients(**{"acm": acm, "acm@eu-central-1": home, "route53": zones})


def create(run: Run, clients: Clients, properties: dict[str, Any] | None = None, **more: Any) -> Any:
    return run(EdgeCertificate, clients, "Create", properties or PROPERTIES, seconds=900, **more)


def update(run: Run, clients: Clients, new: dict[str, Any], old: dict[str, Any], **more: Any) -> Any:
    return run(
        EdgeCertificate,
        clients,
        "Update",
        new,
        old=old,
        physical_id=EdgeCertificate.identify(old),
        seconds=900,
        **more,
    )


def delete(run: Run, clients: Clients, properties: dict[str, Any] | None = None, **more: Any) -> Any:
    properties = properties or PROPERTIES
    more.setdefault("physical_id", EdgeCertificate.identify(properties))
    response = run(EdgeCertificate, clients, "Delete", properties, seconds=900, **more)
    assert response["PhysicalResourceId"] == more["physical_id"]
    return response


def foreign_record(zones: Zones, zone_id: str = ZONE) -> None:
    """Have the validation record there, made by somebody else."""
    record = {"Name": RECORD["Name"], "Type": "CNAME", "TTL": 60}
    zones.zones[zone_id][RECORD["Name"], "CNAME"] = {
        **record,
        "ResourceRecords": [{"Value": RECORD["Value"]}],
    }


def test_create_returns_the_issued_certificate_and_its_record(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    response = create(run, clients)
    ((arn, certificate),) = acm.certificates.items()
    assert response["Status"] == "SUCCESS"
    assert response["PhysicalResourceId"] == EdgeCertificate.identify(PROPERTIES)
    assert response["Data"] == {"Arn": arn, "DomainName": DOMAIN, "ValidationRecords": SHOWN}
    assert certificate["Status"] == "ISSUED"
    assert zones.values(ZONE) == VALUES


def test_a_name_and_its_wildcard_share_one_record(run: Run, clients: Clients, acm: Acm, zones: Zones) -> None:
    assert create(run, clients, WITH_WILDCARD)["Status"] == "SUCCESS"
    other = validation_record("tools.example.com")
    assert zones.values(ZONE) == {**VALUES, other["Name"]: other["Value"]}
    (certificate,) = acm.certificates.values()
    assert certificate["SubjectAlternativeNames"] == [DOMAIN, f"*.{DOMAIN}", "tools.example.com"]


def test_a_stack_of_any_region_gets_a_certificate_for_cloudfront(
    run: Run, clients: Clients, acm: Acm, home: Acm
) -> None:
    assert create(run, clients, stack_id=EUROPE)["Data"]["Arn"].startswith("arn:aws:acm:us-east-1:")
    assert home.certificates == {}
    assert delete(run, clients, stack_id=EUROPE)["Status"] == "SUCCESS"
    assert acm.certificates == {}


def test_another_partition_is_refused_and_its_delete_succeeds(run: Run, clients: Clients, acm: Acm) -> None:
    china = STACK_ID.replace("arn:aws:", "arn:aws-cn:")
    assert "Partition aws-cn" in create(run, clients, stack_id=china)["Reason"]
    assert delete(run, clients, stack_id=china)["Status"] == "SUCCESS"
    assert acm.calls == []


def test_a_create_delivered_again_gets_the_same_certificate(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    assert create(run, clients)["Data"] == create(run, clients)["Data"]
    assert len(acm.certificates) == 1
    assert len(acm.called("request_certificate")) == 1
    assert len(zones.called("change_resource_record_sets")) == 1


def test_a_certificate_that_is_not_readable_at_once_is_waited_for(
    run: Run, clients: Clients, acm: Acm
) -> None:
    acm.unknown_reads, acm.silent_reads = 4, 6
    assert create(run, clients)["Status"] == "SUCCESS"
    assert len(acm.certificates) == 1


def test_a_create_delivered_again_after_it_cleaned_up_asks_anew(run: Run, clients: Clients, acm: Acm) -> None:
    acm.verdict = ("FAILED", "OTHER")
    assert create(run, clients)["Status"] == "FAILED"
    acm.verdict = None
    # The first delivery's idempotency token still answers with what is gone.
    assert create(run, clients)["Status"] == "SUCCESS"
    assert len(acm.certificates) == 1


def test_a_certificate_is_found_on_a_later_page_and_whatever_its_key(
    run: Run, clients: Clients, acm: Acm
) -> None:
    for number in range(5):
        acm.put(f"other-{number}.example.com")
    properties = {**PROPERTIES, "KeyAlgorithm": "EC_prime256v1"}
    first = create(run, clients, properties)
    assert create(run, clients, properties, request_id="request-2")["Data"] == first["Data"]
    assert len(acm.called("request_certificate")) == 1


@pytest.mark.parametrize("status", ["FAILED", "VALIDATION_TIMED_OUT"])
def test_one_that_will_never_be_issued_is_asked_for_anew(
    run: Run, clients: Clients, acm: Acm, status: str
) -> None:
    dead = create(run, clients)["Data"]["Arn"]
    acm.certificates[dead]["Status"] = status
    response = create(run, clients, request_id="request-2")
    assert response["Status"] == "SUCCESS"
    assert response["Data"]["Arn"] != dead
    assert list(acm.certificates) == [response["Data"]["Arn"]]


@pytest.mark.parametrize(
    ("failure", "explained"),
    [
        ("CAA_ERROR", 'add one with the value 0 issue "amazon.com"'),
        ("DOMAIN_NOT_ALLOWED", "list of unsafe ones"),
        ("OTHER", "see DescribeCertificate"),
    ],
)
def test_a_failure_is_explained_and_leaves_nothing(
    run: Run, clients: Clients, acm: Acm, zones: Zones, failure: str, explained: str
) -> None:
    acm.verdict = ("FAILED", failure)
    response = create(run, clients)
    assert response["Status"] == "FAILED"
    assert f"FAILED, {failure}" in response["Reason"]
    assert explained in response["Reason"]
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_without_a_zone_the_record_is_told_and_waited_for(
    run: Run, clients: Clients, acm: Acm, zones: Zones, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    moment = clock.now() + 300

    def somebody() -> None:
        if clock.now() >= moment:
            foreign_record(zones)

    clock.on_sleep = somebody
    response = create(run, clients, WITHOUT_ZONE)
    assert response["Status"] == "SUCCESS"
    assert clock.now() < moment + 60
    assert any(SHOWN in record.getMessage() and record.levelname == "WARNING" for record in caplog.records)
    assert zones.calls == []
    assert delete(run, clients, WITHOUT_ZONE)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, VALUES)


def test_without_a_zone_and_without_a_record_the_reason_says_which(
    run: Run, clients: Clients, acm: Acm, clock: Clock
) -> None:
    start = clock.now()
    response = create(run, clients, WITHOUT_ZONE)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith(f"make the record, keep it and deploy again: {SHOWN}")
    assert acm.certificates == {}
    assert clock.now() - start < 900


def test_a_zone_that_nobody_asks_is_suspected(run: Run, clients: Clients, acm: Acm, zones: Zones) -> None:
    acm.zones = Zones()
    response = create(run, clients)
    assert response["Status"] == "FAILED"
    assert f"is {ZONE} the public zone" in response["Reason"]
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_a_missing_zone_and_a_name_outside_it_are_told(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    response = create(run, clients, {**PROPERTIES, "HostedZoneId": "Z9"})
    assert "no hosted zone Z9; check HostedZoneId" in response["Reason"]
    zones.names[ZONE] = "example.org"
    response = create(run, clients, request_id="request-2")
    assert f"Hosted zone {ZONE}: " in response["Reason"]
    assert "is not permitted in zone" in response["Reason"]
    assert acm.certificates == {}


def test_a_record_with_another_value_is_not_overwritten(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    foreign_record(zones)
    zones.zones[ZONE][RECORD["Name"], "CNAME"]["ResourceRecords"][0]["Value"] = "elsewhere."
    response = create(run, clients)
    assert response["Status"] == "FAILED"
    assert "has another record of that name, with value elsewhere." in response["Reason"]
    assert zones.values(ZONE) == {RECORD["Name"]: "elsewhere."}
    assert acm.certificates == {}


def test_a_record_somebody_else_made_is_used_and_stays(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    foreign_record(zones)
    assert create(run, clients)["Status"] == "SUCCESS"
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, VALUES)
    assert zones.called("change_resource_record_sets") == []


def test_a_record_made_while_the_answer_got_lost_is_ours(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    change = zones.change_resource_record_sets

    def unheard(**parameters: Any) -> dict[str, Any]:
        change(**parameters)
        raise ApiError("InternalFailure", "done, but not told", 500)

    zones.change_resource_record_sets = unheard  # type: ignore[assignment,method-assign]
    assert create(run, clients)["Status"] == "SUCCESS"
    zones.change_resource_record_sets = change  # type: ignore[method-assign]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert zones.values(ZONE) == {}


def test_update_restores_a_record_that_the_renewal_would_miss(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    arn = create(run, clients)["Data"]["Arn"]
    zones.zones[ZONE].clear()
    response = update(run, clients, PROPERTIES, PROPERTIES)
    assert (response["Status"], response["Data"]["Arn"]) == ("SUCCESS", arn)
    assert zones.values(ZONE) == VALUES


@pytest.mark.parametrize("status", ["EXPIRED", "REVOKED"])
def test_update_of_a_certificate_that_is_over_tells_so_and_leaves_it(
    run: Run, clients: Clients, acm: Acm, status: str
) -> None:
    arn = create(run, clients)["Data"]["Arn"]
    acm.certificates[arn]["Status"] = status
    response = update(run, clients, PROPERTIES, PROPERTIES)
    assert response["Status"] == "FAILED"
    assert status in response["Reason"]
    assert list(acm.certificates) == [arn]


@pytest.mark.parametrize(
    "changed",
    [
        {**PROPERTIES, "DomainName": "tools.example.com"},
        WITH_WILDCARD,
        {**PROPERTIES, "KeyAlgorithm": "EC_prime256v1"},
    ],
    ids=["domain", "names", "key"],
)
def test_a_change_replaces_and_the_last_one_out_takes_the_record_along(
    run: Run, clients: Clients, acm: Acm, zones: Zones, changed: dict[str, Any]
) -> None:
    old = create(run, clients)
    new = update(run, clients, changed, PROPERTIES)
    assert new["Status"] == "SUCCESS"
    assert new["PhysicalResourceId"] != old["PhysicalResourceId"]
    assert set(acm.certificates) == {old["Data"]["Arn"], new["Data"]["Arn"]}
    assert delete(run, clients, PROPERTIES)["Status"] == "SUCCESS"
    assert list(acm.certificates) == [new["Data"]["Arn"]]
    # What the new certificate needs for its renewal is still there.
    names = {changed["DomainName"], *changed.get("SubjectAlternativeNames", [])}
    assert set(zones.values(ZONE)) == {validation_record(name)["Name"] for name in names}
    assert delete(run, clients, changed)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_a_replacement_that_is_rolled_back_leaves_the_old_one_whole(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    old = create(run, clients)["Data"]["Arn"]
    assert update(run, clients, WITH_WILDCARD, PROPERTIES)["Status"] == "SUCCESS"
    assert update(run, clients, PROPERTIES, WITH_WILDCARD)["Data"]["Arn"] == old
    assert delete(run, clients, WITH_WILDCARD)["Status"] == "SUCCESS"
    assert (list(acm.certificates), zones.values(ZONE)) == ([old], VALUES)
    assert delete(run, clients, PROPERTIES)["Status"] == "SUCCESS"
    assert zones.values(ZONE) == {}


def test_another_zone_gets_the_record_and_the_former_loses_it(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    zones.add_zone("Z2", DOMAIN)
    moved = {**PROPERTIES, "HostedZoneId": "Z2"}
    create(run, clients)
    assert update(run, clients, moved, PROPERTIES)["Status"] == "SUCCESS"
    assert delete(run, clients, PROPERTIES)["Status"] == "SUCCESS"
    assert (zones.values(ZONE), zones.values("Z2")) == ({}, VALUES)
    assert delete(run, clients, moved)["Status"] == "SUCCESS"
    assert zones.values("Z2") == {}


def test_two_stacks_with_one_name_share_the_record(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    other = STACK_ID.replace("tools-dev", "tools-prod")
    create(run, clients)
    create(run, clients, stack_id=other)
    assert len(acm.certificates) == 2
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (len(acm.certificates), zones.values(ZONE)) == (1, VALUES)
    assert delete(run, clients, stack_id=other)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_a_record_left_for_an_interrupted_certificate_goes_with_it(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    create(run, clients)
    # A replacement that ended before it looked at the record: a certificate without a claim.
    new = {**PROPERTIES, "KeyAlgorithm": "EC_prime256v1"}
    mark = Owner(STACK_ID, "Target", EdgeCertificate.identify(new))
    arn = acm.put(DOMAIN, tags=mark.tags() | {ZONE_TAG: ZONE}, KeyAlgorithm="EC_prime256v1")
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (list(acm.certificates), zones.values(ZONE)) == ([arn], VALUES)
    assert delete(run, clients, new)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_a_third_delivery_gets_a_certificate_too(run: Run, clients: Clients, acm: Acm) -> None:
    acm.verdict = ("FAILED", "CAA_ERROR")
    assert [create(run, clients)["Status"] for _ in range(2)] == ["FAILED", "FAILED"]
    acm.verdict = None
    assert create(run, clients)["Status"] == "SUCCESS"


@pytest.mark.parametrize("where", ["edge", "home"])
@pytest.mark.parametrize("names", [(DOMAIN,), (f"*.{DOMAIN}",), ("www.example.com", DOMAIN)])
def test_a_record_that_another_certificate_needs_stays(
    run: Run, clients: Clients, acm: Acm, home: Acm, zones: Zones, where: str, names: tuple[str, ...]
) -> None:
    create(run, clients, stack_id=EUROPE)
    {"edge": acm, "home": home}[where].put(*names, Status="ISSUED")
    assert delete(run, clients, stack_id=EUROPE)["Status"] == "SUCCESS"
    assert zones.values(ZONE) == VALUES


@pytest.mark.parametrize(
    "more", [{"Type": "IMPORTED", "Status": "ISSUED"}, {"Status": "EXPIRED"}, {"Status": "FAILED"}]
)
def test_a_record_stays_for_no_certificate_that_does_not_need_it(
    run: Run, clients: Clients, acm: Acm, zones: Zones, more: dict[str, Any]
) -> None:
    create(run, clients)
    other = acm.put(DOMAIN, **more)
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (list(acm.certificates), zones.values(ZONE)) == ([other], {})


@pytest.mark.parametrize(("made_at", "is_left"), [("12:00:00", False), ("12:00:03", True)])
def test_a_delete_delivered_late_leaves_a_certificate_made_since(
    run: Run, clients: Clients, acm: Acm, made_at: str, is_left: bool
) -> None:
    create(run, clients)
    (certificate,) = acm.certificates.values()
    certificate["CreatedAt"] = datetime.fromisoformat(f"2026-11-01T{made_at}+00:00")
    assert delete(run, clients, asked_at="20261101T120000Z")["Status"] == "SUCCESS"
    assert bool(acm.certificates) == is_left


def test_a_failed_creation_removes_a_certificate_newer_than_its_request(
    run: Run, clients: Clients, acm: Acm
) -> None:
    acm.verdict = ("FAILED", "CAA_ERROR")
    ask = acm.request_certificate

    def late(**parameters: Any) -> dict[str, Any]:
        answer = ask(**parameters)
        acm.certificates[answer["CertificateArn"]]["CreatedAt"] = datetime(2026, 11, 1, 12, 5, tzinfo=UTC)
        return answer

    acm.request_certificate = late  # type: ignore[assignment,method-assign]
    assert create(run, clients, asked_at="20261101T120000Z")["Status"] == "FAILED"
    assert acm.certificates == {}


def test_delete_goes_by_its_id_where_the_properties_are_of_another(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    create(run, clients)
    other = {**PROPERTIES, "HostedZoneId": "Z0OTHER"}
    delete(run, clients, other, physical_id=EdgeCertificate.identify(PROPERTIES))
    assert acm.certificates == {}
    assert zones.values(ZONE) == {}


def test_delete_waits_until_nothing_uses_the_certificate(
    run: Run, clients: Clients, acm: Acm, zones: Zones, clock: Clock
) -> None:
    arn = create(run, clients)["Data"]["Arn"]
    acm.certificates[arn]["InUseBy"] = ["arn:aws:cloudfront::123456789012:distribution/E1"]
    moment = clock.now() + 400

    def let_go() -> None:
        if clock.now() >= moment:
            acm.certificates.get(arn, {})["InUseBy"] = []
        else:
            # Until then it may have to be renewed.
            assert zones.values(ZONE) == VALUES

    clock.on_sleep = let_go
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_delete_of_a_certificate_in_use_tells_by_what_and_leaves_its_record(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    arn = create(run, clients)["Data"]["Arn"]
    acm.certificates[arn]["InUseBy"] = ["arn:aws:cloudfront::123456789012:distribution/E1"]
    response = delete(run, clients)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("distribution/E1")
    assert zones.values(ZONE) == VALUES


def test_a_refusal_because_of_use_is_waited_out(run: Run, clients: Clients, acm: Acm) -> None:
    create(run, clients)
    acm.errors["delete_certificate"] = [ApiError("ResourceInUseException"), ApiError("ConflictException")]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert acm.certificates == {}


def test_an_interrupted_delete_is_finished_by_the_next(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    create(run, clients)
    acm.errors["delete_certificate"] = [ApiError("AccessDeniedException", "no")]
    assert delete(run, clients)["Status"] == "FAILED"
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_a_record_that_somebody_changed_or_a_zone_that_is_gone_does_not_stop_a_delete(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    create(run, clients)
    zones.zones[ZONE][RECORD["Name"], "CNAME"] = {"Name": RECORD["Name"], "Type": "CNAME", "TTL": 1}
    zones.zones[ZONE][RECORD["Name"], "CNAME"]["ResourceRecords"] = [{"Value": "other."}]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert zones.values(ZONE) == {RECORD["Name"]: "other."}
    zones.zones[ZONE].clear()
    create(run, clients, request_id="request-2")
    del zones.zones[ZONE]
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert acm.certificates == {}


def test_another_ones_certificate_is_neither_taken_nor_deleted(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    other = acm.put(DOMAIN)
    mine = create(run, clients)["Data"]["Arn"]
    assert mine != other
    assert delete(run, clients)["Status"] == "SUCCESS"
    assert list(acm.certificates) == [other]
    # It waits for the record too.
    assert zones.values(ZONE) == VALUES


def test_an_id_made_up_by_cloudformation_is_looked_up_by_the_properties(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    create(run, clients)
    assert delete(run, clients, physical_id="tools-dev-Target-1A2B3C4D5E6F")["Status"] == "SUCCESS"
    assert (acm.certificates, zones.values(ZONE)) == ({}, {})


def test_what_cannot_be_removed_again_is_named_and_the_cause_comes_last(
    run: Run, clients: Clients, acm: Acm
) -> None:
    acm.verdict = ("FAILED", "DOMAIN_VALIDATION_DENIED")
    acm.errors["delete_certificate"] = [ApiError("AccessDeniedException", "may not")]
    response = create(run, clients)
    assert "couldn't be removed again" in response["Reason"]
    assert response["Reason"].endswith("the validation was refused")


def test_a_redelivered_create_that_fails_takes_nothing_away(run: Run, clients: Clients, acm: Acm) -> None:
    create(run, clients)
    acm.errors["describe_certificate"] = [None, ApiError("AccessDeniedException", "no")]
    assert create(run, clients)["Status"] == "FAILED"
    assert len(acm.certificates) == 1


@pytest.mark.parametrize("operation", ["request_certificate", "describe_certificate", "list_certificates"])
def test_throttling_is_waited_out(run: Run, clients: Clients, acm: Acm, operation: str) -> None:
    acm.errors[operation] = [ApiError("ThrottlingException", "slow down")] * 3
    assert create(run, clients)["Status"] == "SUCCESS"


@pytest.mark.parametrize("code", ["PriorRequestNotComplete", "Throttling"])
def test_a_busy_zone_is_waited_out(run: Run, clients: Clients, zones: Zones, code: str) -> None:
    zones.errors["change_resource_record_sets"] = [ApiError(code)] * 3
    assert create(run, clients)["Status"] == "SUCCESS"


def test_ten_names_fit_the_tag_that_remembers_their_records(
    run: Run, clients: Clients, acm: Acm, zones: Zones
) -> None:
    names = [f"name-{number}.example.com" for number in range(9)]
    properties = {**PROPERTIES, "SubjectAlternativeNames": names}
    assert create(run, clients, properties)["Status"] == "SUCCESS"
    (tags,) = [acm.tags[arn] for arn in acm.certificates]
    assert len(tags[RECORDS_TAG].split()) == 10
    assert len(tags[RECORDS_TAG]) <= 256
    assert delete(run, clients, properties)["Status"] == "SUCCESS"
    assert zones.values(ZONE) == {}


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"DomainName": "MCP.example.com"}, "Property DomainName: 'MCP.example.com' isn't valid"),
        ({"DomainName": "localhost"}, "Property DomainName"),
        ({"DomainName": f"{'a' * 62}.{'b' * 62}.{'c' * 62}.{'d' * 62}.example"}, "longer than 253"),
        ({"HostedZoneId": "example.com"}, "the id of a Route 53 hosted zone"),
        ({"KeyAlgorithm": "RSA_4096"}, "expected one of RSA_2048, EC_prime256v1"),
        ({"SubjectAlternativeNames": [DOMAIN]}, "a name is given twice"),
        ({"SubjectAlternativeNames": [f"{n}.example.com" for n in range(10)]}, "expected at most 9"),
        ({"Domain": "x"}, "Property Domain isn't known"),
    ],
)
def test_a_bad_property_is_named_and_nothing_is_made(
    run: Run, clients: Clients, acm: Acm, change: dict[str, Any], complaint: str
) -> None:
    response = create(run, clients, {**PROPERTIES, **change})
    assert response["Status"] == "FAILED"
    assert complaint in response["Reason"]
    assert response["PhysicalResourceId"] == "not-created|Target"
    assert acm.calls == []
    gone = run(EdgeCertificate, clients, "Delete", {**PROPERTIES, **change}, physical_id="not-created|Target")
    assert gone["Status"] == "SUCCESS"
    assert acm.calls == []
