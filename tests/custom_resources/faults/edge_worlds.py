# ruff: noqa: N803 - the services' own parameter names
"""The worlds of what belongs to a distribution: its web ACL, its certificate, its access log.

The stack is in another region than CloudFront's, as those types are for.
"""

from __future__ import annotations

from contextlib import suppress
from types import MappingProxyType
from typing import Any

from hypothesis import strategies as st

from custom_resources import certificates
from custom_resources.certificates import ZONE_TAG, Record
from custom_resources.edge_access_log import FIELDS, LOG_GROUP_PREFIX, EdgeAccessLog
from custom_resources.edge_certificate import EdgeCertificate, EdgeCertificateProperties
from custom_resources.edge_web_acl import EdgeWebAcl, EdgeWebAclProperties
from custom_resources.errors import ResourceError
from custom_resources.lifecycle import Request, Runtime
from custom_resources.ownership import OWNER_TAG, STACK_TAG, Owner, tag_list, tag_mapping
from custom_resources.properties import parse
from custom_resources.waiting import Deadline
from custom_resources.web_acls import LOG_GROUP_PREFIX as WAF_LOG_GROUP_PREFIX
from tests.custom_resources.edge_fakes import (
    ACCOUNT,
    Acm,
    LogDeliveries,
    LogGroups,
    Waf,
    Zones,
    validation_record,
)
from tests.custom_resources.fakes import STACK_ID, ApiError
from tests.custom_resources.faults.machine import LOGICAL_ID
from tests.custom_resources.faults.tagged import A_FEW, CHANGED, THEIRS, some_tags, untrue_tags
from tests.custom_resources.faults.world import Clients, Clock, Fault, Faults, World

EDGE = "us-east-1"
HOME = "eu-central-1"
HOME_STACK = STACK_ID.replace(EDGE, HOME)
OWNER = Owner(HOME_STACK, LOGICAL_ID)
STRANGER = Owner(HOME_STACK.replace("tools-dev", "shop-prod"), LOGICAL_ID)
NAMES = ("tools-6b0c1c2e", "search-6b0c1c2e")
# What was made a moment ago isn't listed yet.
LISTED_AFTER = 3.0
# How long a distribution holds on to what it was given.
USED_SECONDS = 1500.0
# How long ACM takes for a certificate whose records are there, and for one that it never gets to.
ISSUED_AFTER = 20.0
HANG_SECONDS = 3000.0
# Somebody who makes records by hand has made them so long after the certificate was asked for.
PERSON_SECONDS = 60.0
ZONES = ("Z1", "Z2")


class ListedLater(Waf):
    """WAF, which lists a web ACL a while after it was made."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._made: dict[str, float] = {}

    def create_web_acl(
        self, Name: str, Scope: str, Tags: list[dict[str, str]], **definition: Any
    ) -> dict[str, Any]:
        answer = super().create_web_acl(Name, Scope, Tags, **definition)
        self._made[answer["Summary"]["Id"]] = self._clock.now()
        return answer

    def list_web_acls(self, Scope: str, Limit: int, NextMarker: str = "0") -> dict[str, Any]:
        every, now = self.acls, self._clock.now()
        listed = {
            key: acl for key, acl in every.items() if self._made.get(key, -LISTED_AFTER) + LISTED_AFTER <= now
        }
        self.acls = listed
        try:
            return super().list_web_acls(Scope, Limit, NextMarker)
        finally:
            self.acls = every

    def delete_web_acl(self, Name: str, Scope: str, Id: str, LockToken: str) -> dict[str, Any]:
        if Id in self.acls and self.acls[Id].get("in use"):
            raise ApiError("WAFAssociatedItemException", "AWS WAF couldn't delete it: it's in use")
        return super().delete_web_acl(Name, Scope, Id, LockToken)

    def get_web_acl(self, Name: str, Scope: str, Id: str) -> dict[str, Any]:
        answer = super().get_web_acl(Name, Scope, Id)
        answer["WebACL"].pop("in use", None)
        return answer


class WebAclWorld(World):
    """Web ACLs and log groups of this stack and of others, and a distribution that uses one now and then."""

    resource = EdgeWebAcl
    stack_id = HOME_STACK
    seconds = 900.0
    between = LISTED_AFTER
    disturbances = 7
    properties = st.fixed_dictionaries(
        {
            "Name": st.sampled_from(NAMES),
            "LogRetentionDays": st.sampled_from(["30", "365"]),
            "RateLimit": st.sampled_from(["100", "2000"]),
            "LoggedRequests": st.sampled_from(["MATCHED", "ALL"]),
            "Tags": some_tags,
        }
    )
    _life = MappingProxyType({"LogRetentionDays": "30", "RateLimit": "100", "LoggedRequests": "MATCHED"})
    life = (
        {**_life, "Name": NAMES[0], "Tags": A_FEW},
        {
            "Name": NAMES[0],
            "LogRetentionDays": "365",
            "RateLimit": "2000",
            "LoggedRequests": "ALL",
            "Tags": CHANGED,
        },
        {**_life, "Name": NAMES[1], "Tags": A_FEW},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.waf, self.logs = ListedLater(clock), LogGroups()
        self._given: list[dict[str, Any]] = []
        theirs = self.waf.put("theirs", tag_list(STRANGER.tags()))
        self.waf.logging[theirs] = {"ResourceArn": theirs, "LogDestinationConfigs": ["theirs"]}
        self.logs.groups[f"{WAF_LOG_GROUP_PREFIX}theirs"] = {"tags": STRANGER.tags(), "days": 7}

    def backend(self, service: str, region: str | None) -> Any:
        assert region == EDGE
        return {"wafv2": self.waf, "logs": self.logs}[service]

    def busy(self, operation: str) -> ApiError | None:
        if operation in {"create_log_group", "put_retention_policy", "delete_log_group"}:
            return ApiError("OperationAbortedException", "Another request for it is in progress")
        if operation.startswith(("create_", "update_", "delete_", "put_")):
            return ApiError("WAFOptimisticLockException", "Somebody else changed it meanwhile")
        return None

    def ours(self) -> list[str]:
        acls = {acl["Name"] for acl in self.waf.acls.values() if self._owns(acl)}
        groups = {
            name.removeprefix(WAF_LOG_GROUP_PREFIX)
            for name, group in self.logs.groups.items()
            if OWNER.owns_tagged(group["tags"])
        }
        return sorted(acls | groups)

    def others(self) -> Any:
        acls = [acl for acl in self.waf.acls.values() if not self._owns(acl)]
        logging = [self.waf.logging.get(acl["ARN"]) for acl in acls]
        groups = {
            name: repr(group)
            for name, group in self.logs.groups.items()
            if not OWNER.owns_tagged(group["tags"])
        }
        return [repr(acl) for acl in acls], logging, groups

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        wanted = parse(EdgeWebAclProperties, properties)
        found = [acl for acl in self.waf.acls.values() if acl["Name"] == wanted.name and self._owns(acl)]
        group = self.logs.groups.get(wanted.log_group_name, {"tags": {}})
        if len(found) != 1 or not OWNER.owns_tagged(group["tags"]):
            return ["there is no such web ACL and log group of ours"]
        (acl,) = found
        log = self.waf.logging.get(acl["ARN"], {})
        facts = {
            "definition": all(acl.get(key) == value for key, value in wanted.definition().items()),
            "retention": group.get("days") == int(wanted.log_retention_days),
            "log": log.get("LogDestinationConfigs")
            == [f"arn:aws:logs:{EDGE}:{ACCOUNT}:log-group:{wanted.log_group_name}"],
            "filter": log.get("LoggingFilter") == wanted.logging_filter(),
            "arn and id": (attributes["Arn"], attributes["Id"]) == (acl["ARN"], acl["Id"]),
            "metric": attributes["MetricName"] == wanted.name,
            "group": attributes["LogGroupName"] == wanted.log_group_name,
        }
        things = [(acl, tag_mapping(self.waf.tags[acl["ARN"]])), (group, group["tags"])]
        untruths = untrue_tags(things, properties, self._given)
        return untruths + [name for name, holds in facts.items() if not holds]

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        return [name for name in self.ours() if physical_id == f"edge-web-acl|{name}"]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        if kind == "Delete":
            return any(acl.get("in use") for acl in self.waf.acls.values())
        group = self.logs.groups.get(WAF_LOG_GROUP_PREFIX + properties["Name"], {"tags": OWNER.tags()})
        foreign = [acl for acl in self.waf.acls.values() if not self._owns(acl)]
        # The way back from a dead Update deletes what that made, too.
        return (
            not OWNER.owns_tagged(group["tags"])
            or any(acl["Name"] == properties["Name"] for acl in foreign)
            or self.refuses("Delete", properties)
        )

    def disturb(self, choice: int) -> None:
        mine = [acl for acl in self.waf.acls.values() if self._owns(acl)]
        if choice == 0 and not any(acl["Name"] == NAMES[1] for acl in self.waf.acls.values()):
            self.waf.put(NAMES[1], tag_list(STRANGER.tags()))
        elif choice == 1:
            self.logs.groups.setdefault(f"{WAF_LOG_GROUP_PREFIX}{NAMES[1]}", {"tags": STRANGER.tags()})
        elif choice == 2 and mine:
            mine[0]["in use"] = True
            self.clock.later(USED_SECONDS, lambda: mine[0].pop("in use", None))
        elif choice == 3 and mine and not mine[0].get("in use"):
            self.waf.logging.pop(mine[0]["ARN"], None)
            self.waf.acls.pop(mine[0]["Id"])
        elif choice == 4:
            for name in [name for name in self.logs.groups if name.endswith(NAMES[0])]:
                self.logs.groups.pop(name)
        elif choice == 5:
            for name in list(self.waf.logging):
                if "theirs" not in name:
                    self.waf.logging.pop(name)
        elif choice == 6:
            groups = [group for group in self.logs.groups.values() if OWNER.owns_tagged(group["tags"])]
            for acl in mine:
                self.waf.tag_resource(acl["ARN"], tag_list(THEIRS))
            for group in groups:
                group["tags"].update(THEIRS)
            self._given += mine + groups

    def _owns(self, acl: dict[str, Any]) -> bool:
        return OWNER.owns_tagged(tag_mapping(self.waf.tags[acl["ARN"]]))


class SlowAcm(Acm):
    """ACM, which lists and describes a certificate a while after it was asked for, and issues it later."""

    def __init__(self, world: CertificateWorld, region: str) -> None:
        super().__init__(world.zones, region)
        self._world = world
        self._since: dict[str, float] = {}
        self.slow_until: dict[str, float] = {}
        self._failing: set[str] = set()

    def request_certificate(self, **parameters: Any) -> dict[str, Any]:  # type: ignore[override]
        known, work, now = set(self.certificates), self._world.faults.work, self._world.clock.now()
        answer = super().request_certificate(**parameters)
        arn = answer["CertificateArn"]
        if arn not in known and arn in self.certificates:
            self._since[arn] = now
            self.certificates[arn]["CreatedAt"] = self._world.clock.date()
            self.slow_until[arn] = now + (HANG_SECONDS if work is Fault.WORK_HANGS else ISSUED_AFTER)
            if work is Fault.WORK_FAILS:
                self._failing.add(arn)
            self._world.clock.later(PERSON_SECONDS, self._world.person_acts)
        return answer

    def describe_certificate(self, CertificateArn: str) -> dict[str, Any]:
        if self._is_new(CertificateArn):
            raise ApiError("ResourceNotFoundException", "not yet")
        return super().describe_certificate(CertificateArn)

    def list_certificates(self, Includes: dict[str, Any], NextToken: str = "0") -> dict[str, Any]:
        every = self.certificates
        self.certificates = {arn: one for arn, one in every.items() if not self._is_new(arn)}
        try:
            return super().list_certificates(Includes, NextToken)
        finally:
            self.certificates = every

    def _is_new(self, arn: str) -> bool:
        return self._since.get(arn, -LISTED_AFTER) + LISTED_AFTER > self._world.clock.now()

    def _validate(self, certificate: dict[str, Any], records: list[dict[str, str]]) -> None:
        arn = certificate["CertificateArn"]
        if arn in self._failing:
            certificate["Status"], certificate["FailureReason"] = "FAILED", "CAA_ERROR"
        elif self.slow_until.get(arn, 0.0) <= self._world.clock.now():
            super()._validate(certificate, records)


class CertificateWorld(World):
    """Certificates and records of this stack, of other stacks and of people, in two zones of one domain."""

    resource = EdgeCertificate
    stack_id = HOME_STACK
    seconds = 900.0
    between = LISTED_AFTER
    disturbances = 9
    tells_age = True
    properties = st.fixed_dictionaries(
        {
            "DomainName": st.sampled_from(["mcp.example.com", "*.example.com"]),
            "SubjectAlternativeNames": st.sampled_from([[], [], ["api.example.com"]]),
            "HostedZoneId": st.sampled_from(["Z1", "Z1", "Z2", ""]),
            "KeyAlgorithm": st.sampled_from(["RSA_2048", "EC_prime256v1"]),
            "Tags": some_tags,
        }
    )
    _life = MappingProxyType(
        {"DomainName": "mcp.example.com", "SubjectAlternativeNames": [], "HostedZoneId": "Z1"}
    )
    life = (
        {**_life, "KeyAlgorithm": "RSA_2048", "Tags": A_FEW},
        {**_life, "KeyAlgorithm": "RSA_2048", "Tags": CHANGED},
        {**_life, "KeyAlgorithm": "EC_prime256v1", "Tags": CHANGED},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.zones = Zones()
        for zone in ZONES:
            self.zones.add_zone(zone, "example.com")
        self.acm = {region: SlowAcm(self, region) for region in (EDGE, HOME)}
        self.made: set[tuple[str, str]] = set()
        """Records, as zone and name, that this stack's resource made and nobody took over."""
        self._person = False
        self._given: list[dict[str, Any]] = []

    def backend(self, service: str, region: str | None) -> Any:
        if service == "route53":
            return self
        assert service == "acm"
        assert region is not None
        return self.acm[region]

    # Route 53, which knows here who made a record

    def list_resource_record_sets(self, **parameters: Any) -> dict[str, Any]:
        return self.zones.list_resource_record_sets(**parameters)

    def change_resource_record_sets(self, HostedZoneId: str, ChangeBatch: dict[str, Any]) -> dict[str, Any]:
        answer = self.zones.change_resource_record_sets(HostedZoneId, ChangeBatch)
        for change in ChangeBatch["Changes"]:
            key = HostedZoneId, change["ResourceRecordSet"]["Name"]
            if change["Action"] == "CREATE":
                self.made.add(key)
            else:
                self.made.discard(key)
        return answer

    def busy(self, operation: str) -> ApiError | None:
        refusals = {
            "delete_certificate": ApiError("ConflictException", "You are trying to update a resource"),
            "change_resource_record_sets": ApiError("PriorRequestNotComplete", "Another change is pending"),
        }
        return refusals.get(operation)

    def ours(self) -> list[str]:
        orphans = [
            f"{zone} {name}"
            for zone, name in sorted(self.made)
            if not any(self._needs(arn, zone, name) for arn in self._certificates())
        ]
        return [arn for arn in self._certificates() if self._owns(arn)] + orphans

    def others(self) -> Any:
        """Records that aren't ours; others' certificates; and which certificate needs which record."""
        records = [
            (zone, name, value)
            for zone in ZONES
            for name, value in self.zones.values(zone).items()
            if (zone, name) not in self.made
        ]
        theirs = [
            (arn, tuple(one["SubjectAlternativeNames"]), self._tags(arn).get(ZONE_TAG))
            for arn, one in self._certificates().items()
            if not self._owns(arn)
        ]
        needed = [
            (arn, zone, name)
            for arn in self._certificates()
            for zone in ZONES
            for name in self.zones.values(zone)
            if self._needs(arn, zone, name)
        ]
        return records, theirs, needed

    def harmed(self, before: Any, request: dict[str, Any]) -> list[str]:
        """What of others is gone, and records of certificates that the request isn't about."""
        records, theirs, needed = before
        records_now, theirs_now, _ = self.others()
        asked = [request["ResourceProperties"], request.get("OldResourceProperties")]
        names = [self.resource.identify(properties) for properties in asked if properties is not None]
        own = {Owner(self.stack_id, LOGICAL_ID, name).mark for name in names}
        lost = [entry for entry in records if entry not in records_now]
        lost += [entry for entry in theirs if entry not in theirs_now]
        lost += [
            (arn, zone, name)
            for arn, zone, name in needed
            if arn in self._certificates()
            and name not in self.zones.values(zone)
            and self._tags(arn).get(OWNER_TAG) not in own
        ]
        return [repr(entry) for entry in lost]

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        arn, zone = attributes["Arn"], properties["HostedZoneId"]
        certificate = self._certificates().get(arn)
        owner = Owner(self.stack_id, LOGICAL_ID, self.resource.identify(properties))
        if certificate is None or not owner.owns_tagged(self._tags(arn)):
            return ["there is no such certificate of ours"]
        names = [properties["DomainName"], *properties["SubjectAlternativeNames"]]
        wanted = {record["Name"]: record["Value"] for record in map(validation_record, names)}
        facts = {
            "status": certificate["Status"] == "ISSUED",
            "names": certificate["SubjectAlternativeNames"] == names,
            "key": certificate["KeyAlgorithm"] == properties["KeyAlgorithm"],
            "region": f":acm:{EDGE}:" in arn,
            "domain": attributes["DomainName"] == names[0],
            "told records": attributes["ValidationRecords"].splitlines()
            == sorted(f"{name} CNAME {value}" for name, value in wanted.items()),
            "records": not zone or wanted.items() <= self.zones.values(zone).items(),
        }
        untruths = untrue_tags([(certificate, self._tags(arn))], properties, self._given)
        return untruths + [name for name, holds in facts.items() if not holds]

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        owner = Owner(self.stack_id, LOGICAL_ID, physical_id)
        return [arn for arn in self._certificates() if owner.owns_tagged(self._tags(arn))]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        mine = [arn for arn in self._certificates() if self._owns(arn)]
        if any(self._certificates()[arn]["InUseBy"] for arn in mine):
            return True
        if kind == "Delete":
            return False
        zone = properties["HostedZoneId"]
        names = [properties["DomainName"], *properties["SubjectAlternativeNames"]]
        present = self.zones.values(zone) if zone else {}
        return (
            not zone
            or any(self.acm[EDGE].slow_until[arn] > self.clock.now() + ISSUED_AFTER for arn in mine)
            or any(
                present.get(record["Name"], record["Value"]) != record["Value"]
                for record in map(validation_record, names)
            )
        )

    def disturb(self, choice: int) -> None:
        mine = [arn for arn in self._certificates() if self._owns(arn)]
        record = validation_record("mcp.example.com")
        if choice == 0:
            self._person = True
            self.person_acts()
        elif choice == 1 and record["Name"] not in self.zones.values("Z1"):
            self._put("Z1", {**record, "Value": "_other.acm-validations.aws."})
        elif choice in {2, 3}:
            self.acm[(EDGE, HOME)[choice - 2]].put("mcp.example.com", "api.example.com")
        elif choice == 4:
            self._stranger("Create")
        elif choice == 5:
            for acm in self.acm.values():
                for arn in [arn for arn in acm.certificates if OWNER_TAG not in acm.tags[arn]]:
                    del acm.certificates[arn]
            # What stayed for them is nobody's now, unless one of ours, or a neighbour's, still claims it.
            self.made = {
                (zone, name) for zone, name in self.made if any(self._claims(arn, zone, name) for arn in mine)
            }
            self._stranger("Delete")
        elif choice == 6 and mine:
            self._certificates()[mine[0]]["InUseBy"] = ["arn:aws:cloudfront::1:distribution/E1"]
            released = self._certificates()[mine[0]]
            self.clock.later(USED_SECONDS, lambda: released.update(InUseBy=[]))
        elif choice == 7 and mine and not self._certificates()[mine[0]]["InUseBy"]:
            del self.acm[EDGE].certificates[mine[0]]
            self.made = {(zone, name) for zone, name in self.made if self._is_needed(zone, name)}
        elif choice == 8:
            for arn in mine:
                self._tags(arn).update(THEIRS)
                self._given.append(self._certificates()[arn])

    def person_acts(self) -> None:
        """Have somebody make, in the second zone, the records of certificates without a zone."""
        for arn, certificate in self._certificates().items() if self._person else ():
            if self._owns(arn) and not self._tags(arn)[ZONE_TAG]:
                for name in certificate["SubjectAlternativeNames"]:
                    record = validation_record(name)
                    if record["Name"] not in self.zones.values("Z2"):
                        self._put("Z2", record)

    def _stranger(self, kind: str) -> None:
        """Run another stack's resource of this type, without faults; it may fail for good reasons."""
        self.faults.begin({})
        properties = parse(
            EdgeCertificateProperties,
            {"DomainName": "mcp.example.com", "HostedZoneId": "Z1", "KeyAlgorithm": "RSA_2048"},
        )
        request = Request(STRANGER.stack_id, LOGICAL_ID, f"stranger-{self.clock.now()}", "")
        resource = EdgeCertificate(Runtime(Clients(self), Deadline(self.clock, self.clock.now() + 300.0)))
        before = set(self.made)
        with suppress(ResourceError):
            if kind == "Create":
                resource.create(request, properties)
            else:
                resource.delete(request, properties)
        # What it made is its own, and what it left to us is ours.
        self.made &= before
        self.made |= {
            (zone, name)
            for zone in ZONES
            for name in self.zones.values(zone)
            if any(self._claims(arn, zone, name) and self._owns(arn) for arn in self._certificates())
            and not any(self._claims(arn, zone, name) and not self._owns(arn) for arn in self._certificates())
        }

    def _put(self, zone: str, record: dict[str, str]) -> None:
        self.zones.zones[zone][record["Name"], "CNAME"] = {
            "Name": record["Name"],
            "Type": "CNAME",
            "TTL": 60,
            "ResourceRecords": [{"Value": record["Value"]}],
        }

    def _certificates(self) -> dict[str, dict[str, Any]]:
        return self.acm[EDGE].certificates | self.acm[HOME].certificates

    def _tags(self, arn: str) -> dict[str, str]:
        return next(acm.tags[arn] for acm in self.acm.values() if arn in acm.tags)

    def _owns(self, arn: str) -> bool:
        return self._tags(arn).get(STACK_TAG) == OWNER.stack_name

    def _claims(self, arn: str, zone: str, name: str) -> bool:
        return Record(name, "").digest in certificates.claims(self._tags(arn), zone)

    def _is_needed(self, zone: str, name: str) -> bool:
        return any(self._needs(arn, zone, name) for arn in self._certificates())

    def _needs(self, arn: str, zone: str, name: str) -> bool:
        """Whether a certificate is, or is to be, validated by a record of this zone."""
        certificate = self._certificates()[arn]
        return (
            certificate["Status"] in certificates.VALIDATED
            and self._tags(arn).get(ZONE_TAG, zone) == zone
            and any(validation_record(one)["Name"] == name for one in certificate["SubjectAlternativeNames"])
        )


class AccessLogWorld(World):
    """Log groups and log deliveries of this stack and of others."""

    resource = EdgeAccessLog
    stack_id = HOME_STACK
    properties = st.fixed_dictionaries(
        {
            "Name": st.sampled_from(NAMES),
            "DistributionId": st.sampled_from(["E1EXAMPLE", "E2EXAMPLE"]),
            "LogRetentionDays": st.sampled_from(["30", "365"]),
            "Tags": some_tags,
        }
    )
    life = (
        {"Name": NAMES[0], "DistributionId": "E1EXAMPLE", "LogRetentionDays": "30", "Tags": A_FEW},
        {"Name": NAMES[0], "DistributionId": "E2EXAMPLE", "LogRetentionDays": "365", "Tags": CHANGED},
        {"Name": NAMES[1], "DistributionId": "E1EXAMPLE", "LogRetentionDays": "30", "Tags": A_FEW},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.logs = LogDeliveries()
        self._given: list[dict[str, Any]] = []
        self._stranger("theirs", "E3EXAMPLE")

    def backend(self, service: str, region: str | None) -> Any:
        assert (service, region) == ("logs", EDGE)
        return self.logs

    def busy(self, operation: str) -> ApiError | None:
        if operation in {"create_log_group", "put_retention_policy", "delete_log_group"}:
            return ApiError("OperationAbortedException", "Another request for it is in progress")
        if operation.startswith(("create_", "delete_", "put_")):
            return ApiError("ConflictException", "Another change is in progress")
        return None

    def ours(self) -> list[str]:
        logs = self.logs
        groups = [name.removeprefix(LOG_GROUP_PREFIX) for name, one in logs.groups.items() if self._owns(one)]
        kept = [*logs.sources.items(), *logs.destinations.items()]
        names = [name for name, one in kept if self._owns(one)]
        names += [one["deliverySourceName"] for one in logs.deliveries.values() if self._owns(one)]
        return sorted({*groups, *names})

    def others(self) -> Any:
        logs = self.logs
        return [
            repr({key: one for key, one in kept.items() if not self._owns(one)})
            for kept in (logs.groups, logs.sources, logs.destinations, logs.deliveries)
        ]

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        name, logs = properties["Name"], self.logs
        group = f"{LOG_GROUP_PREFIX}{name}"
        distribution = f"arn:aws:cloudfront::{ACCOUNT}:distribution/{properties['DistributionId']}"
        delivered = [one for one in logs.deliveries.values() if one["deliverySourceName"] == name]
        facts = {
            "group": self._owns(logs.groups.get(group, {"tags": {}})),
            "retention": logs.groups.get(group, {}).get("days") == int(properties["LogRetentionDays"]),
            "source": logs.sources.get(name, {}).get("resourceArns") == [distribution],
            "destination": self._owns(logs.destinations.get(name, {"tags": {}})),
            "fields": [one["recordFields"] for one in delivered] == [list(FIELDS)],
            "attributes": attributes
            == {"LogGroupName": group, "LogGroupArn": f"arn:aws:logs:{EDGE}:{ACCOUNT}:log-group:{group}"},
        }
        false = [name for name, holds in facts.items() if not holds]
        if false:
            return false
        parts = [logs.groups[group], logs.sources[name], logs.destinations[name], *delivered]
        return untrue_tags([(part, part["tags"]) for part in parts], properties, self._given)

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        return [name for name in self.ours() if physical_id == f"edge-access-log|{name}"]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        name, logs = properties["Name"], self.logs
        named = [logs.groups.get(f"{LOG_GROUP_PREFIX}{name}"), logs.sources.get(name)]
        return kind != "Delete" and any(one is not None and not self._owns(one) for one in named)

    def disturb(self, choice: int) -> None:
        logs = self.logs
        if choice == 0 and NAMES[1] not in logs.sources:
            self._stranger(NAMES[1], "E4EXAMPLE")
        elif choice in {1, 2}:
            for key in [key for key, one in logs.deliveries.items() if self._owns(one)]:
                logs.deliveries.pop(key)
                if choice == 2:
                    logs.sources.pop(NAMES[0], None)
        elif choice == 3:
            logs.groups.pop(f"{LOG_GROUP_PREFIX}{NAMES[0]}", None)
        elif choice == 4:
            for kept in (logs.groups, logs.sources, logs.destinations, logs.deliveries):
                mine = [one for one in kept.values() if self._owns(one)]
                for one in mine:
                    one["tags"].update(THEIRS)
                self._given += mine

    @staticmethod
    def _owns(one: dict[str, Any]) -> bool:
        return OWNER.owns_tagged(one["tags"])

    def _stranger(self, name: str, distribution: str) -> None:
        tags, group = STRANGER.tags(), f"{LOG_GROUP_PREFIX}{name}"
        if group in self.logs.groups:
            return
        self.logs.create_log_group(group, tags)
        self.logs.put_delivery_source(
            name, f"arn:aws:cloudfront::{ACCOUNT}:distribution/{distribution}", "ACCESS_LOGS", tags
        )
        arn = f"arn:aws:logs:{EDGE}:{ACCOUNT}:log-group:{group}"
        made = self.logs.put_delivery_destination(name, "json", {"destinationResourceArn": arn}, tags)
        self.logs.create_delivery(name, made["deliveryDestination"]["arn"], list(FIELDS), tags)
