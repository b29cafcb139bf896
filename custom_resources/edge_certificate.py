"""`Custom::EdgeCertificate`: the certificate of a distribution's own name, for a stack in any region.

CloudFront takes certificates of US East (N. Virginia) only, and `AWS::CertificateManager::Certificate` makes
one in the stack's region only. Shapes and limits are those of botocore's models of acm and route53. Needs the
commercial partition: see `edge.py`.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass, replace

from custom_resources.certificates import (
    FOUND_SECONDS,
    RECORDS_TAG,
    ZONE_TAG,
    Certificate,
    Certificates,
    HostedZone,
    Record,
    Sibling,
    claims,
    is_edge_certificate,
    needs,
)
from custom_resources.edge import Place
from custom_resources.errors import DeadlineReached, PropertyError, ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.ownership import Owner
from custom_resources.properties import Raw, Update, choice, parse, text, text_list
from custom_resources.tags import Tag, Tagging, tags_property
from custom_resources.waiting import Deadline, poll

logger = logging.getLogger(__name__)

DOMAIN = r"(\*\.)?([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9][a-z0-9-]{0,61}[a-z0-9]"
DOMAIN_EXPECTED = "a domain name in lower case, such as mcp.example.com"
LONGEST_DOMAIN = 253
_PHYSICAL_ID = re.compile(r"edge-certificate\|[^|]+\|[0-9a-f]{16}")
# ACM's quota of names in a certificate is ten until it is raised.
MOST_ALTERNATIVE_NAMES = 9
# Kept of the function's time for removing what was made.
CLEAN_UP_SECONDS = 60.0
CLEAN_UP_SHARE = 0.25
# Lambda delivers an event three times, and seldom once more.
MOST_DELIVERIES = 4
# Statuses that never become ISSUED, of certificates that nothing can use.
DEAD = frozenset({"FAILED", "VALIDATION_TIMED_OUT", "INACTIVE"})
# https://docs.aws.amazon.com/acm/latest/userguide/troubleshooting-failed.html
FAILURES = {
    "CAA_ERROR": (
        "a CAA record of the domain, or of one above it, doesn't allow Amazon to issue; "
        'add one with the value 0 issue "amazon.com"'
    ),
    "DOMAIN_NOT_ALLOWED": "the domain is on a list of unsafe ones; appeal there, then deploy again",
    "INVALID_PUBLIC_DOMAIN": "one of the names isn't below a public suffix",
    "ADDITIONAL_VERIFICATION_REQUIRED": "ACM wants to know more; ask AWS Support",
    "DOMAIN_VALIDATION_DENIED": "the validation was refused",
}


@dataclass(frozen=True)
class EdgeCertificateProperties:
    """Properties of `Custom::EdgeCertificate`."""

    domain_name: str = text(
        DOMAIN,
        DOMAIN_EXPECTED,
        description="Name the certificate is for; may begin with `*.`.",
        update=Update.REPLACEMENT,
    )
    subject_alternative_names: tuple[str, ...] = text_list(
        DOMAIN,
        "domain names in lower case",
        at_most=MOST_ALTERNATIVE_NAMES,
        description="Further names the certificate is for.",
        update=Update.REPLACEMENT,
    )
    hosted_zone_id: str = text(
        r"(Z[A-Z0-9]{1,31})?",
        "the id of a Route 53 hosted zone, such as Z0123456789ABCDEFGHIJ, or nothing",
        default="",
        description=(
            "Public hosted zone in which the validation records are made. "
            "Without it somebody must make them while the function waits; its log and the reason name them."
        ),
        update=Update.REPLACEMENT,
    )
    key_algorithm: str = choice(
        "RSA_2048",
        "EC_prime256v1",
        default="RSA_2048",
        description="The certificate's key.",
        update=Update.REPLACEMENT,
    )
    tags: tuple[Tag, ...] = tags_property()

    def __post_init__(self) -> None:
        """Refuse names that are too long, and names given twice."""
        for name in self.names:
            if len(name) > LONGEST_DOMAIN:
                raise PropertyError(f"Domain name {name[:40]}… is longer than {LONGEST_DOMAIN} characters")
        if len(set(self.names)) != len(self.names):
            raise PropertyError("Property SubjectAlternativeNames: a name is given twice")

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the certificate, the domain name first."""
        return (self.domain_name, *self.subject_alternative_names)

    @property
    def physical_id(self) -> str:
        """`edge-certificate|<DomainName>|<hash of the rest>`: certificates don't change but are replaced."""
        rest = "\n".join([*sorted(self.subject_alternative_names), self.hosted_zone_id, self.key_algorithm])
        return f"edge-certificate|{self.domain_name}|{hashlib.sha256(rest.encode()).hexdigest()[:16]}"


class EdgeCertificate(Resource[EdgeCertificateProperties]):
    """Keeps a DNS-validated certificate for a CloudFront distribution, for a stack in any region.

    CloudFront takes certificates from US East (N. Virginia) only. The validation records are made in a
    Route 53 hosted zone, and those that nobody else had made go with the last certificate that needs them.
    """

    model = EdgeCertificateProperties
    attributes = {  # noqa: RUF012 - ClassVar in the base
        "Arn": "ARN of the certificate.",
        "DomainName": "The name it is for.",
        "ValidationRecords": "The CNAME records that validate it, `<name> CNAME <value>`, one a line.",
    }
    failures = {  # noqa: RUF012
        "PENDING_VALIDATION": "make the named records, or give `HostedZoneId`",
        "CAA": "a CAA record forbids Amazon's certificates: allow `amazon.com` or remove it",
        "has another record of that name": "remove that record, or use another hosted zone",
        "has no hosted zone": "check `HostedZoneId`",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return the physical id that follows from the properties; see `physical_id`."""
        return parse(EdgeCertificateProperties, raw).physical_id

    def create(self, request: Request, properties: EdgeCertificateProperties) -> Attributes:
        """Ask for the certificate, or adopt the one an earlier delivery left, and wait until it is issued."""
        return self._converge(request, properties, None)

    def update(
        self,
        request: Request,
        properties: EdgeCertificateProperties,
        previous: EdgeCertificateProperties | None,
    ) -> Attributes:
        """Change the tags, and see that certificate and records are there; make what is missing anew."""
        return self._converge(request, properties, previous)

    def delete(self, request: Request, properties: EdgeCertificateProperties | None) -> None:
        """Delete the certificate if it is this resource's, and those of its records that no other needs."""
        name = request.physical_resource_id
        if not _PHYSICAL_ID.fullmatch(name):
            # CloudFormation made the id up for a Create it gave up on, which may have come far all the same.
            name = properties.physical_id if properties is not None else ""
        if not name or not Place.of_stack(request.stack_id).has_edge:
            logger.info("Nothing was made under %s", request.physical_resource_id)
            return
        self._remove(request, name)

    def _converge(
        self,
        request: Request,
        properties: EdgeCertificateProperties,
        previous: EdgeCertificateProperties | None,
    ) -> Attributes:
        deadline = self.runtime.deadline
        work = deadline.earlier_by(min(CLEAN_UP_SECONDS, deadline.remaining() * CLEAN_UP_SHARE))
        certificates = self._certificates(Place.of_stack(request.stack_id).edge_region, work)
        existing = self._find_usable(certificates, request, properties)
        marks = _owner(request, properties).tags() | {ZONE_TAG: properties.hosted_zone_id}
        tagging = Tagging.of(marks, properties.tags, previous.tags if previous else ())
        if existing is not None:
            certificates.settle_tags(existing, tagging)
            return self._complete(certificates, existing, properties)
        try:
            arn = self._request(certificates, request, properties, tagging)
            return self._complete(certificates, arn, properties)
        except Exception as error:
            self._clean_up(request, properties, error)
            raise

    def _complete(
        self, certificates: Certificates, arn: str, properties: EdgeCertificateProperties
    ) -> Attributes:
        """Return the attributes once the certificate is issued."""
        certificate = self._with_records(certificates, arn)
        if certificate.status == "PENDING_VALIDATION" or properties.hosted_zone_id:
            self._ensure_records(certificates, certificate, properties)
        if certificate.status != "ISSUED":
            certificate = self._issued(certificates, certificate, properties)
        return {
            "Arn": certificate.arn,
            "DomainName": properties.domain_name,
            "ValidationRecords": "\n".join(map(str, certificate.records)),
        }

    def _find_usable(
        self, certificates: Certificates, request: Request, properties: EdgeCertificateProperties
    ) -> str | None:
        """Return this resource's certificate; one that will never be issued is removed first."""
        arn = certificates.find(properties.domain_name, _owner(request, properties))
        if arn is None:
            return None
        certificate = certificates.get(arn)
        if certificate is not None and certificate.status in DEAD:
            logger.info("Certificate %s is asked for anew; it was %s", arn, _state(certificate))
            certificates.remove(arn)
            return None
        return arn if certificate is not None else None

    def _request(
        self,
        certificates: Certificates,
        request: Request,
        properties: EdgeCertificateProperties,
        tagging: Tagging,
    ) -> str:
        self.runtime.doing(f"requesting a certificate for {properties.domain_name}")
        seed = [request.stack_id, request.logical_resource_id, request.request_id, properties.physical_id]

        def ask() -> str:
            # A token has at most 32 word characters.
            token = hashlib.sha256("\n".join(seed).encode()).hexdigest()[:32]
            return certificates.request(
                properties.domain_name,
                properties.subject_alternative_names,
                properties.key_algorithm,
                token,
                tagging.wanted,
            )

        for _ in range(MOST_DELIVERIES):
            arn = ask()
            if self._appears(certificates, arn):
                return arn
            # The token of an earlier delivery answers with what that delivery made and removed.
            seed.append(arn)
        raise ResourceError(f"ACM doesn't know the certificate it has just made: {seed[-1]}")

    @staticmethod
    def _appears(certificates: Certificates, arn: str) -> bool:
        """Whether a certificate that was just asked for can be read, at once or a little later."""
        try:
            return poll(
                lambda: True if certificates.get(arn) is not None else None,
                certificates.deadline.share(1, at_most=FOUND_SECONDS),
                lambda: arn,
            )
        except DeadlineReached:
            return False

    def _with_records(self, certificates: Certificates, arn: str) -> Certificate:
        """Return the certificate once ACM has said which records it wants."""
        self.runtime.doing(f"waiting for the validation records of {arn}")

        def attempt() -> Certificate | None:
            certificate = _living(certificates.get(arn), arn)
            return certificate if certificate.is_complete else None

        return poll(
            attempt,
            certificates.deadline,
            lambda: f"ACM didn't say in time which records validate certificate {arn}",
        )

    def _ensure_records(
        self,
        certificates: Certificates,
        certificate: Certificate,
        properties: EdgeCertificateProperties,
    ) -> None:
        if not properties.hosted_zone_id:
            for record in certificate.records:
                logger.warning("Somebody must make this DNS record, and keep it: %s", record)
            return
        zone = self._zone(properties.hosted_zone_id, certificates.deadline)
        for record in certificate.records:
            self.runtime.doing(f"making record {record.name} in hosted zone {zone.id}")
            self._ensure_record(certificates, certificate, zone, record, properties)

    def _ensure_record(
        self,
        certificates: Certificates,
        certificate: Certificate,
        zone: HostedZone,
        record: Record,
        properties: EdgeCertificateProperties,
    ) -> None:
        present = zone.value_of(record.name)
        if present is None:
            # Claimed first: a record that an interrupted attempt made must be known for ours.
            self._claim(certificates, certificate, zone, record)
            try:
                zone.add(record)
            except ResourceError:
                present = zone.value_of(record.name)
                if present is None:
                    raise
        elif any(
            is_edge_certificate(sibling) and record.digest in claims(sibling.tags, zone.id)
            for sibling in certificates.siblings(certificate.arn, properties.names)
        ):
            # Made by another resource of this type, so the last of them removes it.
            self._claim(certificates, certificate, zone, record)
        if present is not None and present.lower().rstrip(".") != record.value.lower().rstrip("."):
            raise ResourceError(
                f"Hosted zone {zone.id} has another record of that name, with value {present}; "
                f"it must be {record}"
            )

    def _claim(
        self, certificates: Certificates, certificate: Certificate, zone: HostedZone, record: Record
    ) -> None:
        claimed = claims(certificates.tags(certificate.arn), zone.id)
        if record.digest not in claimed:
            certificates.tag(certificate.arn, {RECORDS_TAG: " ".join(sorted(claimed | {record.digest}))})

    def _issued(
        self,
        certificates: Certificates,
        certificate: Certificate,
        properties: EdgeCertificateProperties,
    ) -> Certificate:
        arn = certificate.arn
        self.runtime.doing(
            f"waiting for certificate {arn} to be issued; DNS must have {_shown(certificate.records)}"
        )

        def attempt() -> Certificate | None:
            current = _living(certificates.get(arn), arn)
            return current if current.status == "ISSUED" else None

        def late() -> str:
            if properties.hosted_zone_id:
                hint = (
                    f"is {properties.hosted_zone_id} the public zone that the domain's name servers serve? "
                )
            else:
                hint = "make the record, keep it and deploy again: "
            return f"The certificate wasn't issued in time; {hint}{_shown(certificate.records)}"

        return poll(attempt, certificates.deadline, late)

    def _clean_up(self, request: Request, properties: EdgeCertificateProperties, cause: Exception) -> None:
        """Remove what a failed creation made; what stays is named in the reason."""
        self.runtime.doing(f"removing the certificate for {properties.domain_name} again")
        try:
            if Place.of_stack(request.stack_id).has_edge:
                # What it made is newer than the request.
                self._remove(replace(request, asked_at=None), properties.physical_id)
        except Exception as error:
            logger.exception("The certificate for %s couldn't be removed again", properties.domain_name)
            raise ResourceError(
                f"(The certificate couldn't be removed again: {type(error).__name__}.) {cause}"
            ) from cause

    def _remove(self, request: Request, physical_id: str) -> None:
        """Remove the certificate of that id, which says all: properties beside it may be those of another."""
        place = Place.of_stack(request.stack_id)
        certificates = self._certificates(place.edge_region, self.runtime.deadline)
        domain_name = physical_id.split("|")[1]
        owner = Owner(request.stack_id, request.logical_resource_id, physical_id)
        arn = certificates.find(domain_name, owner)
        if arn is None:
            logger.info("The certificate for %s is gone already", domain_name)
            return
        found = certificates.get(arn)
        if found is not None and request.is_older_than(found.made_at):
            logger.warning("Certificate %s was made after this Delete and stays", arn)
            return
        self.runtime.doing(f"waiting until nothing uses certificate {arn}")
        certificate = certificates.wait_until_unused(arn)
        if certificate is None:
            return
        self._remove_records(certificates, certificate, place)
        self.runtime.doing(f"deleting certificate {arn}")
        # Last, because it remembers which records are to be removed.
        certificates.remove(arn)

    def _remove_records(
        self,
        certificates: Certificates,
        certificate: Certificate,
        place: Place,
    ) -> None:
        tags = certificates.tags(certificate.arn)
        if not tags.get(ZONE_TAG):
            return
        zone = self._zone(tags[ZONE_TAG], certificates.deadline)
        claimed = claims(tags, zone.id)
        ours = [record for record in certificate.records if record.digest in claimed]
        if not ours:
            return
        others = self._siblings(certificates, certificate, place)
        for record in ours:
            users = [other for other in others if needs(other, record, zone.id)]
            if users:
                logger.info("Record %s stays for %s", record, users[0].arn)
                self._hand_over(certificates, users, zone, record)
                continue
            self.runtime.doing(f"deleting record {record.name} in hosted zone {zone.id}")
            zone.remove(record)

    @staticmethod
    def _hand_over(
        certificates: Certificates, users: list[Sibling], zone: HostedZone, record: Record
    ) -> None:
        """Have another resource of this type remove the record: one that was interrupted doesn't claim it."""
        heirs = [user for user in users if is_edge_certificate(user)]
        if heirs and not any(record.digest in claims(heir.tags, zone.id) for heir in heirs):
            # Read again: this may be the second record that it inherits.
            claimed = claims(certificates.tags(heirs[0].arn), zone.id)
            certificates.tag(heirs[0].arn, {RECORDS_TAG: " ".join(sorted(claimed | {record.digest}))})

    def _siblings(self, certificates: Certificates, certificate: Certificate, place: Place) -> list[Sibling]:
        """Return other certificates for the same names, in CloudFront's region and in the stack's own."""
        found = certificates.siblings(certificate.arn, certificate.names)
        if place.region != place.edge_region:
            at_home = self._certificates(place.region, certificates.deadline)
            found += at_home.siblings(certificate.arn, certificate.names)
        return found

    def _certificates(self, region: str, deadline: Deadline) -> Certificates:
        return Certificates(self.runtime.clients.acm(region), deadline)

    def _zone(self, zone_id: str, deadline: Deadline) -> HostedZone:
        return HostedZone(self.runtime.clients.route53(), zone_id, deadline)


def _owner(request: Request, properties: EdgeCertificateProperties) -> Owner:
    return Owner(request.stack_id, request.logical_resource_id, properties.physical_id)


def _living(certificate: Certificate | None, arn: str) -> Certificate:
    if certificate is None:
        raise ResourceError(f"Certificate {arn} was deleted by someone else; deploy again")
    if certificate.status not in {"PENDING_VALIDATION", "ISSUED"}:
        raise ResourceError(f"The certificate is {_state(certificate)}")
    return certificate


def _state(certificate: Certificate) -> str:
    if certificate.status == "VALIDATION_TIMED_OUT":
        return f"VALIDATION_TIMED_OUT: DNS didn't show {_shown(certificate.records)} within 72 hours"
    if certificate.status == "EXPIRED":
        return f"EXPIRED: it couldn't be renewed; DNS must keep {_shown(certificate.records)}"
    if not certificate.failure:
        return certificate.status
    explanation = FAILURES.get(certificate.failure, "see DescribeCertificate")
    return f"{certificate.status}, {certificate.failure}: {explanation}"


def _shown(records: tuple[Record, ...]) -> str:
    return "; ".join(map(str, records)) or "no record"


handler = lambda_handler_for(EdgeCertificate)
