"""The property `Tags`: its limits, and what becomes of it in each type that has one."""

from __future__ import annotations

import re
import sys
import unicodedata
from abc import ABC, abstractmethod
from typing import Any

import pytest

from custom_resources import edge_access_log, edge_certificate, edge_web_acl, listener_rule
from custom_resources.lifecycle import Resource
from custom_resources.ownership import OWNER_TAG, STACK_TAG, tag_mapping
from custom_resources.properties import documented
from custom_resources.tags import MOST_TAGS, Tag, Tagging
from tests.custom_resources.conftest import Run
from tests.custom_resources.edge_fakes import Acm, LogDeliveries, LogGroups, Waf, Zones
from tests.custom_resources.fakes import ApiError, Backend, Clients
from tests.custom_resources.load_balancer_fakes import ELB, LISTENER, LoadBalancer

NAME = "tools-6b0c1c2e"
TAGS = {"Project": "tools", "Stage": "dev", "Empty": ""}
# One is kept, one changed, one gone, one new.
OTHER_TAGS = {"Project": "tools", "Stage": "prod", "Owner": "platform team"}


class Made(ABC):
    """A type with the services it works with; `backends` by what they are called in `Clients`."""

    resource: type[Resource[Any]]
    properties: dict[str, Any]
    tag: str
    untag: str

    def __init__(self) -> None:
        self.backends: dict[str, Backend] = {}

    @abstractmethod
    def tags(self) -> dict[str, dict[str, str]]:
        """Return the tags of everything that the resource has made, by what it is."""

    @abstractmethod
    def give(self, key: str, value: str) -> None:
        """Have somebody else give everything a tag."""

    def tell(self, run: Run, kind: str, tags: dict[str, str], **details: Any) -> dict[str, Any]:
        if kind != "Create":
            details.setdefault("physical_id", self.resource.identify(self.properties))
        return run(self.resource, Clients(**self.backends), kind, with_tags(self.properties, tags), **details)

    def update(self, run: Run, tags: dict[str, str], old: dict[str, str]) -> dict[str, Any]:
        return self.tell(run, "Update", tags, old=with_tags(self.properties, old))

    def calls(self) -> list[str]:
        """Return the operations that change tags, in the order they were called."""
        names = [name for backend in self.backends.values() for name, _ in backend.calls]
        return [name for name in names if name in {self.tag, self.untag}]


class MadeWebAcl(Made):
    resource = edge_web_acl.EdgeWebAcl
    properties = {"Name": NAME, "LogRetentionDays": "30", "RateLimit": "100"}  # noqa: RUF012
    tag, untag = "tag_resource", "untag_resource"

    def __init__(self) -> None:
        self.waf, self.logs = Waf(), LogGroups()
        self.backends = {"wafv2": self.waf, "logs": self.logs}

    def tags(self) -> dict[str, dict[str, str]]:
        (acl,) = self.waf.tags.values()
        (group,) = self.logs.groups.values()
        return {"web ACL": tag_mapping(acl), "log group": dict(group["tags"])}

    def give(self, key: str, value: str) -> None:
        (acl,) = self.waf.tags
        self.waf.tag_resource(acl, [{"Key": key, "Value": value}])
        (group,) = self.logs.groups.values()
        group["tags"][key] = value


class MadeCertificate(Made):
    resource = edge_certificate.EdgeCertificate
    properties = {"DomainName": "mcp.example.com", "HostedZoneId": "Z1"}  # noqa: RUF012
    tag, untag = "add_tags_to_certificate", "remove_tags_from_certificate"

    def __init__(self) -> None:
        zones = Zones()
        zones.add_zone("Z1", "example.com")
        self.acm = Acm(zones)
        self.backends = {"acm": self.acm, "route53": zones}

    def tags(self) -> dict[str, dict[str, str]]:
        (certificate,) = self.acm.tags.values()
        return {"certificate": dict(certificate)}

    def give(self, key: str, value: str) -> None:
        (certificate,) = self.acm.tags.values()
        certificate[key] = value


class MadeAccessLog(Made):
    resource = edge_access_log.EdgeAccessLog
    properties = {"Name": NAME, "DistributionId": "E1EXAMPLE", "LogRetentionDays": "30"}  # noqa: RUF012
    tag, untag = "tag_resource", "untag_resource"

    def __init__(self) -> None:
        self.logs = LogDeliveries()
        self.backends = {"logs": self.logs}

    def _parts(self) -> dict[str, dict[str, str]]:
        kinds = ("groups", "sources", "destinations", "deliveries")
        return {kind: one["tags"] for kind in kinds for one in getattr(self.logs, kind).values()}

    def tags(self) -> dict[str, dict[str, str]]:
        return {kind: dict(tags) for kind, tags in self._parts().items()}

    def give(self, key: str, value: str) -> None:
        for tags in self._parts().values():
            tags[key] = value


class MadeRule(Made):
    resource = listener_rule.ListenerRule
    properties = {  # noqa: RUF012
        "ListenerArn": LISTENER,
        "Priority": "1",
        "BlueTargetGroupArn": f"{ELB}:targetgroup/blue/0123456789abcdef",
        "GreenTargetGroupArn": f"{ELB}:targetgroup/green/0123456789abcdef",
    }
    tag, untag = "add_tags", "remove_tags"

    def __init__(self) -> None:
        self.balancer = LoadBalancer()
        self.backends = {"elbv2": self.balancer}

    def tags(self) -> dict[str, dict[str, str]]:
        return {"rule": tag_mapping(self.balancer.tags[self.balancer.rule()["RuleArn"]])}

    def give(self, key: str, value: str) -> None:
        self.balancer.add_tags([self.balancer.rule()["RuleArn"]], [{"Key": key, "Value": value}])


TYPES: tuple[type[Made], ...] = (MadeWebAcl, MadeCertificate, MadeAccessLog, MadeRule)
PARTS = {MadeWebAcl: 2, MadeCertificate: 1, MadeAccessLog: 4, MadeRule: 1}


@pytest.fixture(params=TYPES, ids=[made.resource.__name__ for made in TYPES])
def made(request: pytest.FixtureRequest) -> Made:
    """Each type in its turn, with nothing made yet."""
    fresh: Made = request.param()
    return fresh


@pytest.fixture
def tagged(made: Made, run: Run) -> Made:
    """What each type makes, with TAGS."""
    assert made.tell(run, "Create", TAGS)["Status"] == "SUCCESS"
    for backend in made.backends.values():
        backend.calls.clear()
    return made


def with_tags(properties: dict[str, Any], tags: dict[str, str]) -> dict[str, Any]:
    return {**properties, "Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}


def given(tags: dict[str, str]) -> dict[str, str]:
    """Leave out the marks that say whose a thing is."""
    assert {OWNER_TAG, STACK_TAG} <= set(tags), "the marks stay"
    return {key: value for key, value in tags.items() if not key.startswith("custom-resource:")}


def test_create_tags_everything_it_makes_as_it_makes_it(made: Made, run: Run) -> None:
    assert made.tell(run, "Create", TAGS)["Status"] == "SUCCESS"
    assert [given(tags) for tags in made.tags().values()] == [TAGS] * PARTS[type(made)]
    # A certificate remembers its records in a tag, which comes later.
    assert [call for call in made.calls() if call != "add_tags_to_certificate"] == []


def test_update_adds_changes_and_removes_on_what_is_there(tagged: Made, run: Run) -> None:
    before = tagged.tags()
    response = tagged.update(run, OTHER_TAGS, TAGS)
    assert response["Status"] == "SUCCESS"
    assert response["PhysicalResourceId"] == tagged.resource.identify(tagged.properties)
    assert {name: given(tags) for name, tags in tagged.tags().items()} == dict.fromkeys(before, OTHER_TAGS)
    assert sorted(tagged.calls()) == sorted([tagged.tag, tagged.untag] * PARTS[type(tagged)])


def test_tags_of_others_stay(tagged: Made, run: Run) -> None:
    tagged.give("CostCentre", "4711")
    assert tagged.update(run, {}, TAGS)["Status"] == "SUCCESS"
    assert [given(tags) for tags in tagged.tags().values()] == [{"CostCentre": "4711"}] * PARTS[type(tagged)]


def test_an_update_that_changes_no_tag_calls_nothing_for_them(tagged: Made, run: Run) -> None:
    assert tagged.update(run, TAGS, TAGS)["Status"] == "SUCCESS"
    assert tagged.calls() == []


def test_what_an_earlier_delivery_left_gets_the_tags(tagged: Made, run: Run) -> None:
    assert tagged.tell(run, "Create", OTHER_TAGS)["Status"] == "SUCCESS"
    assert [given(tags) for tags in tagged.tags().values()] == [TAGS | OTHER_TAGS] * PARTS[type(tagged)]


def test_nothing_is_removed_where_the_old_properties_say_nothing(tagged: Made, run: Run) -> None:
    assert tagged.tell(run, "Update", {}, old={"Nonsense": "1"})["Status"] == "SUCCESS"
    assert [given(tags) for tags in tagged.tags().values()] == [TAGS] * PARTS[type(tagged)]


@pytest.mark.parametrize("kind", ["tag", "untag"])
def test_a_refused_change_of_tags_is_told_and_takes_nothing_away(tagged: Made, run: Run, kind: str) -> None:
    operation, before = getattr(tagged, kind), tagged.tags()
    for backend in tagged.backends.values():
        backend.errors[operation] = [ApiError("AccessDeniedException", "a tag policy forbids it")] * 9
    response = tagged.update(run, OTHER_TAGS, TAGS)
    assert response["Status"] == "FAILED"
    assert "a tag policy forbids it" in response["Reason"]
    assert list(tagged.tags()) == list(before)


def test_throttling_of_a_change_of_tags_is_waited_out(tagged: Made, run: Run) -> None:
    for backend in tagged.backends.values():
        for operation in (tagged.tag, tagged.untag):
            backend.errors[operation] = [ApiError("ThrottlingException", "Rate exceeded")] * 2
    assert tagged.update(run, OTHER_TAGS, TAGS)["Status"] == "SUCCESS"
    assert [given(tags) for tags in tagged.tags().values()] == [OTHER_TAGS] * PARTS[type(tagged)]


@pytest.mark.parametrize(
    ("tags", "complaint"),
    [
        ([{"Key": "aws:cloudformation:x", "Value": "y"}], "entry 1: Property Key: 'aws:cloudformation:x'"),
        ([{"Key": "AWS:x", "Value": "y"}], "don't begin with aws: or custom-resource:"),
        ([{"Key": OWNER_TAG, "Value": "y"}], f"Property Key: '{OWNER_TAG}' isn't valid"),
        ([{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}], "Key 'a' is given more than once"),
        ([{"Key": "", "Value": "y"}], "Property Key: '' isn't valid"),
        ([{"Key": "k" * 129, "Value": "y"}], "expected 1 to 128"),
        ([{"Key": "a", "Value": "v" * 257}], "expected at most 256"),
        ([{"Key": "a", "Value": "tab\tstop"}], "Property Value: 'tab"),
        ([{"Key": "a#b", "Value": "y"}], "Property Key: 'a#b' isn't valid"),
        ([{"Key": "a"}], "entry 1: Property Value is required"),
        ([{"Value": "y"}], "entry 1: Property Key is required"),
        ([{"Key": "a", "Value": "y", "More": "z"}], "Property More isn't known"),
        ({"a": "y"}, "expected a list of objects"),
        ([{"Key": f"k{number}", "Value": ""} for number in range(MOST_TAGS + 1)], "expected at most 46"),
    ],
)
def test_a_bad_tag_is_named_and_nothing_is_made(made: Made, run: Run, tags: Any, complaint: str) -> None:
    response = run(made.resource, Clients(**made.backends), "Create", {**made.properties, "Tags": tags})
    assert response["Status"] == "FAILED"
    assert "Property Tags" in response["Reason"]
    assert complaint in response["Reason"]
    assert all(backend.calls == [] for backend in made.backends.values())


def test_as_many_and_as_long_as_aws_takes_are_taken(made: Made, run: Run) -> None:
    tags = {f"{number:02}{'k' * 126}": "v" * 256 for number in range(MOST_TAGS)}
    assert made.tell(run, "Create", tags)["Status"] == "SUCCESS"
    assert [given(given_tags) for given_tags in made.tags().values()] == [tags] * PARTS[type(made)]
    assert max(len(given_tags) for given_tags in made.tags().values()) <= 50


def test_letters_numbers_and_separators_of_every_script_are_taken_and_no_others() -> None:
    r"""AWS's own pattern is [\p{L}\p{Z}\p{N}_.:/=+\-@], which Python's expressions can't say."""
    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    allowed = {one for one in characters if unicodedata.category(one)[0] in "LZN" or one in "_.:/=+-@"}
    for item in documented(Tag):
        pattern = re.compile(item.kind.limits["Pattern"])
        assert {one for one in characters if pattern.fullmatch(one)} == allowed


def test_room_is_made_before_tags_are_added() -> None:
    calls: list[Any] = []
    tagging = Tagging({"new": "1", "same": "2"}, frozenset({"old", "gone"}))
    tagging.settle({"old": "1", "same": "2", "theirs": "3"}, calls.append, calls.append)
    assert calls == [["old"], {"new": "1"}]
