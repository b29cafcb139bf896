# ruff: noqa: N803 - the services' own parameter names
"""WAF, CloudWatch Logs, Certificate Manager and Route 53 in memory, as the edge's resources use them."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from dataclasses import dataclass, field
from typing import Any

from tests.custom_resources.fakes import ApiError, Backend

ACCOUNT = "123456789012"


class Waf(Backend):
    """Web ACLs of scope CLOUDFRONT with lock tokens, tags, logging, and distributions that use them."""

    def __init__(self) -> None:
        super().__init__()
        self.acls: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.logging: dict[str, dict[str, Any]] = {}
        # How many more deletions are refused because a distribution counts as using it.
        self.associated = 0
        # How many more updates find that somebody else was quicker.
        self.overtaken = 0
        self.page = 2
        self._ids = itertools.count(1)

    def put(self, name: str, tags: list[dict[str, str]]) -> str:
        """Have a web ACL there, and return its ARN."""
        acl_id = str(uuid.UUID(int=next(self._ids)))
        arn = f"arn:aws:wafv2:us-east-1:{ACCOUNT}:global/webacl/{name}/{acl_id}"
        self.acls[acl_id] = {"Name": name, "Id": acl_id, "ARN": arn, "LockToken": str(uuid.uuid4())}
        self.tags[arn] = list(tags)
        return arn

    def named(self, name: str) -> dict[str, Any]:
        return next(acl for acl in self.acls.values() if acl["Name"] == name)

    def list_web_acls(self, Scope: str, Limit: int, NextMarker: str = "0") -> dict[str, Any]:
        assert Scope == "CLOUDFRONT"
        start, acls = int(NextMarker), list(self.acls.values())
        # As WAF does, the last page may carry a marker that leads to an empty one.
        return {
            "WebACLs": [
                {key: acl[key] for key in ("Name", "Id", "ARN", "LockToken")}
                for acl in acls[start : start + self.page]
            ],
            "NextMarker": str(start + self.page),
        }

    def create_web_acl(
        self, Name: str, Scope: str, Tags: list[dict[str, str]], **definition: Any
    ) -> dict[str, Any]:
        assert Scope == "CLOUDFRONT"
        if any(acl["Name"] == Name for acl in self.acls.values()):
            raise ApiError("WAFDuplicateItemException", "duplicate")
        acl = self.acls[self.put(Name, Tags).rpartition("/")[2]]
        acl.update(definition)
        return {"Summary": {key: acl[key] for key in ("Name", "Id", "ARN", "LockToken")}}

    def get_web_acl(self, Name: str, Scope: str, Id: str) -> dict[str, Any]:
        acl = self._acl(Id)
        shown = {key: value for key, value in acl.items() if key != "LockToken"}
        shown.setdefault("DefaultAction", {"Allow": {}})
        shown.setdefault(
            "VisibilityConfig",
            {"SampledRequestsEnabled": True, "CloudWatchMetricsEnabled": True, "MetricName": "m"},
        )
        return {"WebACL": {**shown, "Capacity": 932}, "LockToken": acl["LockToken"]}

    def update_web_acl(
        self, Name: str, Scope: str, Id: str, LockToken: str, **definition: Any
    ) -> dict[str, Any]:
        acl = self._acl(Id)
        if self.overtaken:
            self.overtaken -= 1
            acl["LockToken"] = str(uuid.uuid4())
        self._check(acl, LockToken)
        acl.update(definition, LockToken=str(uuid.uuid4()))
        return {"NextLockToken": acl["LockToken"]}

    def delete_web_acl(self, Name: str, Scope: str, Id: str, LockToken: str) -> dict[str, Any]:
        acl = self._acl(Id)
        self._check(acl, LockToken)
        if self.associated:
            self.associated -= 1
            raise ApiError("WAFAssociatedItemException", "AWS WAF couldn't delete it: it's in use")
        del self.acls[Id], self.tags[acl["ARN"]]
        assert acl["ARN"] not in self.logging, "logs of a web ACL that is gone go nowhere"
        return {}

    def list_tags_for_resource(self, ResourceARN: str) -> dict[str, Any]:
        return {"TagInfoForResource": {"ResourceARN": ResourceARN, "TagList": self._tags(ResourceARN)}}

    def tag_resource(self, ResourceARN: str, Tags: list[dict[str, str]]) -> dict[str, Any]:
        kept = [tag for tag in self._tags(ResourceARN) if tag["Key"] not in {new["Key"] for new in Tags}]
        self.tags[ResourceARN] = kept + Tags
        return {}

    def untag_resource(self, ResourceARN: str, TagKeys: list[str]) -> dict[str, Any]:
        self.tags[ResourceARN] = [tag for tag in self._tags(ResourceARN) if tag["Key"] not in TagKeys]
        return {}

    def put_logging_configuration(self, LoggingConfiguration: dict[str, Any]) -> dict[str, Any]:
        self.logging[LoggingConfiguration["ResourceArn"]] = LoggingConfiguration
        return {"LoggingConfiguration": LoggingConfiguration}

    def delete_logging_configuration(self, ResourceArn: str) -> dict[str, Any]:
        if self.logging.pop(ResourceArn, None) is None:
            raise ApiError("WAFNonexistentItemException", "no logging")
        return {}

    def _tags(self, arn: str) -> list[dict[str, str]]:
        if arn not in self.tags:
            raise ApiError("WAFNonexistentItemException", "not there")
        return self.tags[arn]

    def _acl(self, acl_id: str) -> dict[str, Any]:
        if acl_id not in self.acls:
            raise ApiError("WAFNonexistentItemException", "not there")
        return self.acls[acl_id]

    @staticmethod
    def _check(acl: dict[str, Any], token: str) -> None:
        if token != acl["LockToken"]:
            raise ApiError("WAFOptimisticLockException", "changed meanwhile")


class LogGroups(Backend):
    """Log groups with tags and retention."""

    def __init__(self) -> None:
        super().__init__()
        self.groups: dict[str, dict[str, Any]] = {}

    def create_log_group(self, logGroupName: str, tags: dict[str, str]) -> dict[str, Any]:
        if logGroupName in self.groups:
            raise ApiError("ResourceAlreadyExistsException", "exists")
        self.groups[logGroupName] = {"tags": dict(tags)}
        return {}

    def put_retention_policy(self, logGroupName: str, retentionInDays: int) -> dict[str, Any]:
        self._group(logGroupName)["days"] = retentionInDays
        return {}

    def list_tags_for_resource(self, resourceArn: str) -> dict[str, Any]:
        return {"tags": dict(self._tags(resourceArn))}

    def tag_resource(self, resourceArn: str, tags: dict[str, str]) -> dict[str, Any]:
        self._tags(resourceArn).update(tags)
        return {}

    def untag_resource(self, resourceArn: str, tagKeys: list[str]) -> dict[str, Any]:
        for key in tagKeys:
            self._tags(resourceArn).pop(key, None)
        return {}

    def delete_log_group(self, logGroupName: str) -> dict[str, Any]:
        self._group(logGroupName)
        del self.groups[logGroupName]
        return {}

    def _tags(self, arn: str) -> dict[str, str]:
        kind, name = _logs_resource(arn)
        assert kind == "log-group"
        tags: dict[str, str] = self._group(name)["tags"]
        return tags

    def _group(self, name: str) -> dict[str, Any]:
        if name not in self.groups:
            raise ApiError("ResourceNotFoundException", "no such group")
        return self.groups[name]


def _logs_resource(arn: str) -> tuple[str, str]:
    """Return kind and name in the ARN of something of CloudWatch Logs."""
    prefix = f"arn:aws:logs:us-east-1:{ACCOUNT}:"
    assert arn.startswith(prefix)
    kind, _, name = arn.removeprefix(prefix).partition(":")
    return kind, name


class LogDeliveries(LogGroups):
    """Log groups, and deliveries to them: a source gives one resource's log, and goes last.

    As the service does, Get… and Describe… leave the tags out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.sources: dict[str, dict[str, Any]] = {}
        self.destinations: dict[str, dict[str, Any]] = {}
        self.deliveries: dict[str, dict[str, Any]] = {}
        # Whether putting what is there replaces its tags or leaves them isn't documented.
        self.put_replaces_tags = True
        self._ids = itertools.count(1)

    def put_delivery_source(
        self, name: str, resourceArn: str, logType: str, tags: dict[str, str]
    ) -> dict[str, Any]:
        assert logType == "ACCESS_LOGS"
        known = self.sources.get(name)
        if known is not None and known["resourceArns"] != [resourceArn]:
            raise ApiError("ConflictException", "The source is of another resource")
        if any(one["resourceArns"] == [resourceArn] for key, one in self.sources.items() if key != name):
            raise ApiError("ConflictException", "This ResourceId has already been used")
        arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:delivery-source:{name}"
        self._put(self.sources, name, tags, arn=arn, resourceArns=[resourceArn])
        return {"deliverySource": _shown(self.sources[name])}

    def get_delivery_source(self, name: str) -> dict[str, Any]:
        return {"deliverySource": _shown(self._one(self.sources, name))}

    def put_delivery_destination(
        self,
        name: str,
        outputFormat: str,
        deliveryDestinationConfiguration: dict[str, str],
        tags: dict[str, str],
    ) -> dict[str, Any]:
        group = deliveryDestinationConfiguration["destinationResourceArn"].rpartition(":log-group:")[2]
        self._group(group)
        arn = f"arn:aws:logs:us-east-1:{ACCOUNT}:delivery-destination:{name}"
        self._put(
            self.destinations,
            name,
            tags,
            arn=arn,
            outputFormat=outputFormat,
            deliveryDestinationConfiguration=deliveryDestinationConfiguration,
        )
        return {"deliveryDestination": _shown(self.destinations[name])}

    def get_delivery_destination(self, name: str) -> dict[str, Any]:
        return {"deliveryDestination": _shown(self._one(self.destinations, name))}

    def create_delivery(
        self,
        deliverySourceName: str,
        deliveryDestinationArn: str,
        recordFields: list[str],
        tags: dict[str, str],
    ) -> dict[str, Any]:
        self._one(self.sources, deliverySourceName)
        if any(one["deliverySourceName"] == deliverySourceName for one in self.deliveries.values()):
            raise ApiError("ConflictException", "A delivery exists already")
        delivery_id = f"D{next(self._ids)}"
        self.deliveries[delivery_id] = {
            "id": delivery_id,
            "arn": f"arn:aws:logs:us-east-1:{ACCOUNT}:delivery:{delivery_id}",
            "deliverySourceName": deliverySourceName,
            "deliveryDestinationArn": deliveryDestinationArn,
            "recordFields": recordFields,
            "tags": dict(tags),
        }
        return {"delivery": _shown(self.deliveries[delivery_id])}

    def describe_deliveries(self, nextToken: str = "0") -> dict[str, Any]:
        start, deliveries = int(nextToken), [_shown(one) for one in self.deliveries.values()]
        answer: dict[str, Any] = {"deliveries": deliveries[start : start + 2]}
        if start + 2 < len(deliveries):
            answer["nextToken"] = str(start + 2)
        return answer

    def delete_delivery(self, id: str) -> dict[str, Any]:  # noqa: A002 - the service's own name
        self._one(self.deliveries, id)
        del self.deliveries[id]
        return {}

    def delete_delivery_destination(self, name: str) -> dict[str, Any]:
        arn = self._one(self.destinations, name)["arn"]
        if any(one["deliveryDestinationArn"] == arn for one in self.deliveries.values()):
            raise ApiError("ConflictException", "There is a delivery to it")
        del self.destinations[name]
        return {}

    def delete_delivery_source(self, name: str) -> dict[str, Any]:
        self._one(self.sources, name)
        if any(one["deliverySourceName"] == name for one in self.deliveries.values()):
            raise ApiError("ConflictException", "There is a delivery from it")
        del self.sources[name]
        return {}

    def _put(self, kept: dict[str, dict[str, Any]], name: str, tags: dict[str, str], **about: Any) -> None:
        is_new = name not in kept
        one = kept.setdefault(name, {"name": name})
        one.update(about)
        if is_new or self.put_replaces_tags:
            one["tags"] = dict(tags)

    def _tags(self, arn: str) -> dict[str, str]:
        kind, name = _logs_resource(arn)
        kept = {
            "delivery-source": self.sources,
            "delivery-destination": self.destinations,
            "delivery": self.deliveries,
        }
        if kind not in kept:
            return super()._tags(arn)
        tags: dict[str, str] = self._one(kept[kind], name)["tags"]
        return tags

    @staticmethod
    def _one(kept: dict[str, dict[str, Any]], name: str) -> dict[str, Any]:
        if name not in kept:
            raise ApiError("ResourceNotFoundException", "not there")
        return kept[name]


def _shown(part: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "tags"}


def validation_record(domain: str) -> dict[str, str]:
    """The record ACM wants for a name: the same at every request of this account, also for the wildcard."""
    base = domain.removeprefix("*.")
    token = hashlib.md5(base.encode()).hexdigest()  # noqa: S324 - stands for ACM's own token
    return {"Name": f"_{token}.{base}.", "Type": "CNAME", "Value": f"_{token[::-1]}.acm-validations.aws."}


@dataclass
class Zones(Backend):
    """Hosted zones; a zone takes records below its own name."""

    zones: dict[str, dict[tuple[str, str], dict[str, Any]]] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Backend.__init__(self)

    def add_zone(self, zone_id: str, name: str) -> None:
        self.zones[zone_id], self.names[zone_id] = {}, name

    def values(self, zone_id: str) -> dict[str, str]:
        """The zone's CNAME records: {name: value}."""
        return {
            name: record["ResourceRecords"][0]["Value"]
            for (name, kind), record in self.zones[zone_id].items()
            if kind == "CNAME"
        }

    def list_resource_record_sets(
        self, HostedZoneId: str, StartRecordName: str, StartRecordType: str, MaxItems: str
    ) -> dict[str, Any]:
        zone = self._zone(HostedZoneId)
        after = sorted(key for key in zone if key >= (StartRecordName, StartRecordType))
        shown = [zone[key] for key in after[: int(MaxItems)]]
        return {"ResourceRecordSets": shown, "IsTruncated": False, "MaxItems": MaxItems}

    def change_resource_record_sets(self, HostedZoneId: str, ChangeBatch: dict[str, Any]) -> dict[str, Any]:
        zone = self._zone(HostedZoneId)
        for change in ChangeBatch["Changes"]:
            record = change["ResourceRecordSet"]
            key = (record["Name"], record["Type"])
            if not record["Name"].endswith(f".{self.names[HostedZoneId]}."):
                raise ApiError("InvalidChangeBatch", f"{record['Name']} is not permitted in zone")
            if change["Action"] == "CREATE":
                if key in zone:
                    raise ApiError("InvalidChangeBatch", "Tried to create it but it already exists")
                zone[key] = record
            else:
                assert change["Action"] == "DELETE"
                if zone.get(key) != record:
                    raise ApiError("InvalidChangeBatch", "Tried to delete it but it was not found")
                del zone[key]
        return {"ChangeInfo": {"Id": "/change/C1", "Status": "PENDING", "SubmittedAt": 0}}

    def _zone(self, zone_id: str) -> dict[tuple[str, str], dict[str, Any]]:
        if zone_id not in self.zones:
            raise ApiError("NoSuchHostedZone", f"No hosted zone found with ID: {zone_id}", 404)
        return self.zones[zone_id]


class Acm(Backend):
    """Certificates of one region, issued once every record ACM wants is in one of the zones."""

    def __init__(self, zones: Zones, region: str = "us-east-1") -> None:
        super().__init__()
        self.zones = zones
        self.region = region
        self.certificates: dict[str, dict[str, Any]] = {}
        self.tags: dict[str, dict[str, str]] = {}
        # Reads of a new certificate that don't know it yet, and then that don't know its records yet.
        self.unknown_reads = 0
        self.silent_reads = 1
        self.verdict: tuple[str, str] | None = None
        self.page = 2
        self._tokens: dict[str, str] = {}
        self._ids = itertools.count(1)

    def put(self, domain: str, *names: str, tags: dict[str, str] | None = None, **more: Any) -> str:
        """Have a certificate there, and return its ARN."""
        arn = f"arn:aws:acm:{self.region}:{ACCOUNT}:certificate/{uuid.UUID(int=next(self._ids))}"
        self.certificates[arn] = {
            "CertificateArn": arn,
            "DomainName": domain,
            "SubjectAlternativeNames": [domain, *names],
            "Status": "PENDING_VALIDATION",
            "Type": "AMAZON_ISSUED",
            "InUseBy": [],
            **more,
        }
        self.tags[arn] = dict(tags or {})
        return arn

    def request_certificate(
        self,
        DomainName: str,
        ValidationMethod: str,
        IdempotencyToken: str,
        KeyAlgorithm: str,
        Tags: list[dict[str, str]],
        SubjectAlternativeNames: tuple[str, ...] = (),
    ) -> dict[str, Any]:
        assert ValidationMethod == "DNS"
        assert IdempotencyToken.isalnum()
        assert len(IdempotencyToken) <= 32
        if IdempotencyToken not in self._tokens:
            arn = self.put(DomainName, *SubjectAlternativeNames, KeyAlgorithm=KeyAlgorithm)
            self.tags[arn] = {tag["Key"]: tag["Value"] for tag in Tags}
            self._tokens[IdempotencyToken] = arn
        return {"CertificateArn": self._tokens[IdempotencyToken]}

    def describe_certificate(self, CertificateArn: str) -> dict[str, Any]:
        certificate = self._certificate(CertificateArn)
        if self.unknown_reads:
            self.unknown_reads -= 1
            raise ApiError("ResourceNotFoundException", "not yet")
        names = certificate["SubjectAlternativeNames"]
        if self.silent_reads:
            self.silent_reads -= 1
            return {"Certificate": {**certificate, "DomainValidationOptions": [{"DomainName": names[0]}]}}
        wanted = [{"DomainName": name, "ResourceRecord": validation_record(name)} for name in names]
        if certificate["Status"] == "PENDING_VALIDATION":
            self._validate(certificate, [option["ResourceRecord"] for option in wanted])
        return {"Certificate": {**certificate, "DomainValidationOptions": wanted}}

    def list_certificates(self, Includes: dict[str, Any], NextToken: str = "0") -> dict[str, Any]:
        start = int(NextToken)
        listed = [
            certificate
            for certificate in self.certificates.values()
            if certificate.get("KeyAlgorithm", "RSA_2048") in Includes["keyTypes"]
        ]
        answer: dict[str, Any] = {
            "CertificateSummaryList": [
                {
                    **{key: certificate[key] for key in ("CertificateArn", "DomainName", "Status", "Type")},
                    "SubjectAlternativeNameSummaries": certificate["SubjectAlternativeNames"],
                }
                for certificate in listed[start : start + self.page]
            ]
        }
        if start + self.page < len(listed):
            answer["NextToken"] = str(start + self.page)
        return answer

    def list_tags_for_certificate(self, CertificateArn: str) -> dict[str, Any]:
        self._certificate(CertificateArn)
        tags = self.tags[CertificateArn]
        return {"Tags": [{"Key": key, "Value": value} for key, value in tags.items()]}

    def add_tags_to_certificate(self, CertificateArn: str, Tags: list[dict[str, str]]) -> dict[str, Any]:
        self._certificate(CertificateArn)
        self.tags[CertificateArn] |= {tag["Key"]: tag["Value"] for tag in Tags}
        return {}

    def remove_tags_from_certificate(self, CertificateArn: str, Tags: list[dict[str, str]]) -> dict[str, Any]:
        self._certificate(CertificateArn)
        for tag in Tags:
            assert set(tag) == {"Key"}, "with a value only that one would go"
            self.tags[CertificateArn].pop(tag["Key"], None)
        return {}

    def delete_certificate(self, CertificateArn: str) -> dict[str, Any]:
        if self._certificate(CertificateArn)["InUseBy"]:
            raise ApiError("ResourceInUseException", "Certificate is in use")
        del self.certificates[CertificateArn]
        return {}

    def _validate(self, certificate: dict[str, Any], records: list[dict[str, str]]) -> None:
        if self.verdict is not None:
            certificate["Status"], certificate["FailureReason"] = self.verdict
            return
        present = {pair for zone in self.zones.zones for pair in self.zones.values(zone).items()}
        if all((record["Name"], record["Value"]) in present for record in records):
            certificate["Status"] = "ISSUED"

    def _certificate(self, arn: str) -> dict[str, Any]:
        if arn not in self.certificates:
            raise ApiError("ResourceNotFoundException", "no such certificate")
        return self.certificates[arn]
