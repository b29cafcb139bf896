"""DNS-validated certificates and the records that validate them: ACM and Route 53 as verbs that wait.

ACM asks every certificate of an account for the same record when the name is the same, and asks for it again
at each renewal. So a record has as many users as there are such certificates; the last may remove it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeVar

from custom_resources.aws import error_code, error_message, is_throttled
from custom_resources.errors import ResourceError
from custom_resources.ownership import OWNER_TAG, Owner, tag_list, tag_mapping
from custom_resources.tags import Tagging
from custom_resources.waiting import Deadline, poll, retry

if TYPE_CHECKING:
    from mypy_boto3_acm import ACMClient
    from mypy_boto3_route53 import Route53Client

logger = logging.getLogger(__name__)

T = TypeVar("T")

RECORD_TYPE: Final = "CNAME"
RECORD_TTL = 300
# Which of its records an EdgeCertificate made, and in which zone.
RECORDS_TAG = "custom-resource:records"
ZONE_TAG = "custom-resource:hosted-zone"
# Without this filter ListCertificates leaves out all but RSA keys of 1024 and 2048 bits (API reference).
KEY_TYPES: Final = (
    "RSA_1024",
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "EC_prime256v1",
    "EC_secp384r1",
    "EC_secp521r1",
)
# Certificates that need their record, now or at their next renewal.
VALIDATED: Final = ("PENDING_VALIDATION", "ISSUED")
# A certificate asked for a moment ago may not be found yet.
FOUND_SECONDS = 30.0


@dataclass(frozen=True)
class Record:
    """A CNAME that ACM asks for; both names end with a dot."""

    name: str
    value: str

    def __str__(self) -> str:
        """The record as a zone file has it."""
        return f"{self.name} {RECORD_TYPE} {self.value}"

    @property
    def digest(self) -> str:
        """16 hex digits that stand for the record's name in a tag."""
        return hashlib.sha256(self.name.lower().encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Certificate:
    """A certificate as last read."""

    arn: str
    names: tuple[str, ...]
    status: str
    failure: str
    records: tuple[Record, ...]
    # Whether ACM has named a record for every domain.
    is_complete: bool
    used_by: tuple[str, ...]
    made_at: datetime | None

    @classmethod
    def of(cls, detail: Any) -> Certificate:
        """Return the certificate of a DescribeCertificate response."""
        options = detail.get("DomainValidationOptions", [])
        asked = [option["ResourceRecord"] for option in options if "ResourceRecord" in option]
        # A name and its wildcard share one record.
        records = {record["Name"].lower(): record["Value"] for record in asked}
        return cls(
            arn=detail["CertificateArn"],
            names=tuple(detail.get("SubjectAlternativeNames", ())),
            status=detail["Status"],
            failure=detail.get("FailureReason", ""),
            records=tuple(Record(name, value) for name, value in sorted(records.items())),
            is_complete=bool(options) and len(asked) == len(options),
            used_by=tuple(detail.get("InUseBy", ())),
            made_at=detail.get("CreatedAt"),
        )


@dataclass(frozen=True)
class Sibling:
    """A certificate of this account that may need one of our records."""

    arn: str
    names: frozenset[str]
    tags: Mapping[str, str]


class Certificates:
    """Certificates of one region, read and changed until `deadline`."""

    def __init__(self, acm: ACMClient, deadline: Deadline) -> None:
        self.deadline = deadline
        self._acm = acm

    def find(self, domain_name: str, owner: Owner) -> str | None:
        """Return the ARN of the owner's certificate for this domain, None where there is none."""
        for summary in self._list():
            if summary.get("DomainName", "").lower() == domain_name:
                tags = self._tags(summary["CertificateArn"])
                if tags is not None and owner.owns_tagged(tags):
                    return str(summary["CertificateArn"])
        return None

    def request(
        self,
        domain_name: str,
        alternative_names: Iterable[str],
        key_algorithm: Any,
        token: str,
        tags: Mapping[str, str],
    ) -> str:
        """Ask for a certificate and return its ARN; the same token returns the same one for an hour."""
        names = list(alternative_names)
        optional: Any = {"SubjectAlternativeNames": names} if names else {}
        return self._call(
            lambda: self._acm.request_certificate(
                DomainName=domain_name,
                ValidationMethod="DNS",
                IdempotencyToken=token,
                KeyAlgorithm=key_algorithm,
                Tags=tag_list(tags),
                **optional,
            )
        )["CertificateArn"]

    def get(self, arn: str) -> Certificate | None:
        """Return the certificate, None where it is gone."""
        try:
            answer = self._call(lambda: self._acm.describe_certificate(CertificateArn=arn))
        except Exception as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return Certificate.of(answer["Certificate"])

    def tags(self, arn: str) -> dict[str, str]:
        """Return the certificate's tags; none where it is gone."""
        return self._tags(arn) or {}

    def tag(self, arn: str, tags: Mapping[str, str]) -> None:
        """Add tags, or replace those of the same keys."""
        self._call(
            lambda: self._acm.add_tags_to_certificate(CertificateArn=arn, Tags=tag_list(tags)),
        )

    def settle_tags(self, arn: str, tagging: Tagging) -> None:
        """Change the certificate's tags."""
        tagging.settle(
            self.tags(arn),
            lambda tags: self.tag(arn, tags),
            lambda keys: self._call(
                lambda: self._acm.remove_tags_from_certificate(
                    CertificateArn=arn, Tags=[{"Key": key} for key in keys]
                )
            ),
        )

    def siblings(self, arn: str, names: Iterable[str]) -> list[Sibling]:
        """Return other certificates that are validated, or wait to be, for one of these names."""
        wanted = {_base(name) for name in names}
        found = []
        for summary in self._list():
            covered = {_base(name) for name in _names(summary)}
            # Beyond a hundred names the list doesn't say which; then it may be any.
            is_open = summary.get("HasAdditionalSubjectAlternativeNames", False)
            if summary["CertificateArn"] == arn or summary.get("Type", "AMAZON_ISSUED") != "AMAZON_ISSUED":
                continue
            if summary.get("Status") in VALIDATED and (is_open or covered & wanted):
                tags = self._tags(summary["CertificateArn"])
                if tags is not None:
                    names_covered = wanted if is_open else covered & wanted
                    found.append(Sibling(summary["CertificateArn"], frozenset(names_covered), tags))
        return found

    def wait_until_unused(self, arn: str) -> Certificate | None:
        """Wait until nothing uses the certificate; None when it is gone."""
        users: list[str] = []

        def attempt() -> tuple[Certificate | None] | None:
            certificate = self.get(arn)
            if certificate is not None and certificate.used_by:
                users[:] = certificate.used_by
                return None
            return (certificate,)

        return poll(attempt, self.deadline, lambda: _still_used(arn, users))[0]

    def remove(self, arn: str) -> None:
        """Delete the certificate; one that still counts as used is waited for."""
        refusal: list[str] = []

        def attempt() -> bool | None:
            try:
                self._call(lambda: self._acm.delete_certificate(CertificateArn=arn))
            except Exception as error:
                code = error_code(error)
                if code == "ResourceNotFoundException":
                    return True
                if code not in {"ResourceInUseException", "ConflictException"}:
                    raise
                refusal[:] = [error_message(error)]
                logger.info("DeleteCertificate: %s", refusal[0])
                return None
            return True

        poll(attempt, self.deadline, lambda: _still_used(arn, refusal))

    def _list(self) -> Iterable[Any]:
        token = ""
        while True:
            page = token
            answer = self._call(
                lambda page=page: self._acm.list_certificates(  # type: ignore[misc]
                    Includes={"keyTypes": list(KEY_TYPES)}, **({"NextToken": page} if page else {})
                )
            )
            yield from answer.get("CertificateSummaryList", [])
            token = answer.get("NextToken", "")
            if not token:
                return

    def _tags(self, arn: str) -> dict[str, str] | None:
        try:
            answer = self._call(lambda: self._acm.list_tags_for_certificate(CertificateArn=arn))
        except Exception as error:
            if error_code(error) == "ResourceNotFoundException":
                return None
            raise
        return tag_mapping(answer.get("Tags", []))

    def _call(self, call: Callable[[], T]) -> T:
        return retry(call, is_throttled, self.deadline)


class HostedZone:
    """The CNAME records of one Route 53 hosted zone."""

    def __init__(self, route53: Route53Client, zone_id: str, deadline: Deadline) -> None:
        self.id = zone_id
        self._route53 = route53
        self._deadline = deadline

    def value_of(self, name: str) -> str | None:
        """Return what the CNAME of this name points to, None where there is none; raises ResourceError."""
        try:
            answer = self._call(
                lambda: self._route53.list_resource_record_sets(
                    HostedZoneId=self.id, StartRecordName=name, StartRecordType=RECORD_TYPE, MaxItems="1"
                )
            )
        except Exception as error:
            raise self._explained(error) from error
        for item in answer["ResourceRecordSets"]:
            if item["Name"].lower() == name.lower() and item["Type"] == RECORD_TYPE:
                return str(item.get("ResourceRecords", [{"Value": ""}])[0]["Value"])
        return None

    def add(self, record: Record) -> None:
        """Make the record; raises ResourceError, also where the zone has one of that name by now."""
        self._change("CREATE", record)

    def remove(self, record: Record) -> None:
        """Delete the record as it was made; one that is gone, or changed, is left as it is."""
        try:
            self._change("DELETE", record)
        except ResourceError as error:
            if error_code(error.__cause__ or error) not in {"InvalidChangeBatch", "NoSuchHostedZone"}:
                raise
            logger.info("Record %s isn't there as it was made: %s", record, error)

    def _change(self, action: Any, record: Record) -> None:
        change: Any = {
            "Action": action,
            "ResourceRecordSet": {
                "Name": record.name,
                "Type": RECORD_TYPE,
                "TTL": RECORD_TTL,
                "ResourceRecords": [{"Value": record.value}],
            },
        }
        try:
            self._call(
                lambda: self._route53.change_resource_record_sets(
                    HostedZoneId=self.id, ChangeBatch={"Changes": [change]}
                )
            )
        except Exception as error:
            raise self._explained(error) from error

    def _explained(self, error: Exception) -> ResourceError:
        if error_code(error) == "NoSuchHostedZone":
            return ResourceError(f"The account has no hosted zone {self.id}; check HostedZoneId")
        return ResourceError(f"Hosted zone {self.id}: {error_message(error)}")

    def _call(self, call: Callable[[], T]) -> T:
        return retry(
            call,
            lambda error: is_throttled(error) or error_code(error) == "PriorRequestNotComplete",
            self._deadline,
        )


def is_edge_certificate(sibling: Sibling) -> bool:
    """Whether a Custom::EdgeCertificate, of whatever stack, made this certificate."""
    return OWNER_TAG in sibling.tags


def claims(tags: Mapping[str, str], zone_id: str) -> frozenset[str]:
    """Return the digests of the records that an EdgeCertificate with these tags made in a zone."""
    if tags.get(ZONE_TAG, "") != zone_id:
        return frozenset()
    return frozenset(tags.get(RECORDS_TAG, "").split())


def needs(sibling: Sibling, record: Record, zone_id: str) -> bool:
    """Whether a sibling needs a record in this zone; an EdgeCertificate's tags say which zone it uses."""
    if is_edge_certificate(sibling) and sibling.tags.get(ZONE_TAG, zone_id) != zone_id:
        return False
    # The record's name is the domain's with one label before it.
    return record.name.partition(".")[2].rstrip(".").lower() in sibling.names


def _still_used(arn: str, users: list[str]) -> str:
    return f"Certificate {arn} is still in use; take it from there first: {', '.join(users[:2])}"


def _names(summary: Any) -> set[str]:
    return {summary.get("DomainName", ""), *summary.get("SubjectAlternativeNameSummaries", [])}


def _base(name: str) -> str:
    return name.lower().removeprefix("*.")
