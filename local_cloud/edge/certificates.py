"""Certificate Manager's API where the emulator is too kind: DNS validation takes records, use is respected.

A certificate asked for through the API waits until every record that it wants is in a hosted zone, fails
where a CAA record shuts Amazon out, and can't be deleted while a distribution or listener uses it.
(Templates' own `AWS::CertificateManager::Certificate` is the emulator's: issued at once.)
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import (  # type: ignore[import-untyped]
    error_response_json,
    get_account_id,
    get_region,
    json_response,
    new_uuid,
    now_iso,
)
from ministack.services import acm, alb, route53  # type: ignore[import-untyped]

from ..cloudformation import patching
from .distributions import using_certificate

TOKEN_SECONDS = 3600.0
AMAZONS = ("amazon.com", "amazontrust.com", "awstrust.com", "amazonaws.com")

Answer = tuple[int, dict[str, str], bytes]
Certificate = dict[str, Any]
# (region, token) -> (ARN, when it was given)
_tokens: dict[tuple[str, str], tuple[str, float]] = {}


def install() -> None:
    """Wrap the emulator's API."""
    _tokens.clear()
    patching.wrap(acm, "handle_request", _with_validation)


def _with_validation(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        data = json.loads(body or b"{}")
        if action == "RequestCertificate" and data.get("ValidationMethod") == "DNS":
            return _request(data)
        if action == "ListCertificates":
            return _list(data)
        certificate = acm._get_local_certificate(data.get("CertificateArn", ""))
        if certificate is not None:
            _validate(certificate)
            certificate["InUseBy"] = _users(certificate["CertificateArn"])
            if action == "DeleteCertificate" and certificate["InUseBy"]:
                message = f"Certificate {data['CertificateArn']} in account {get_account_id()} is in use."
                return error_response_json("ResourceInUseException", message, 400)  # type: ignore[no-any-return]
        answer: Answer = await original(method, path, headers, body, query_params)
        if action == "DescribeCertificate" and certificate is not None and answer[0] == 200:
            return _described(certificate, answer)
        return answer

    return handle


def _request(data: dict[str, Any]) -> Answer:
    token = (get_region(), data.get("IdempotencyToken", ""))
    known = _tokens.get(token)
    if token[1] and known is not None and time.monotonic() - known[1] < TOKEN_SECONDS:
        return json_response({"CertificateArn": known[0]})  # type: ignore[no-any-return]
    arn = f"arn:aws:acm:{get_region()}:{get_account_id()}:certificate/{new_uuid()}"
    domain = data["DomainName"]
    names = list(dict.fromkeys([domain, *data.get("SubjectAlternativeNames", [])]))
    acm._certificates[arn] = {
        "CertificateArn": arn,
        "DomainName": domain,
        "SubjectAlternativeNames": names,
        "Status": "PENDING_VALIDATION",
        "Type": "AMAZON_ISSUED",
        "CreatedAt": now_iso(),
        "DomainValidationOptions": [_validation(name) for name in names],
        "ValidationMethod": "DNS",
        "KeyAlgorithm": data.get("KeyAlgorithm", "RSA_2048"),
        "Tags": data.get("Tags", []),
        "Options": data.get("Options", {}),
        "_pem_body": acm._synthetic_pem(domain),
        "_pem_chain": "",
        "_private_key": "",
    }
    _tokens[token] = arn, time.monotonic()
    return json_response({"CertificateArn": arn})  # type: ignore[no-any-return]


def _validation(name: str) -> dict[str, Any]:
    """The record for a name: the same at every request of the account, and for the name's wildcard."""
    base = name.removeprefix("*.")
    token = hashlib.sha256(f"{get_account_id()}\n{base}".encode()).hexdigest()
    return {
        "DomainName": name,
        "ValidationDomain": name,
        "ValidationStatus": "PENDING_VALIDATION",
        "ValidationMethod": "DNS",
        "ResourceRecord": {
            "Name": f"_{token[:32]}.{base}.",
            "Type": "CNAME",
            "Value": f"_{token[32:]}.acm-validations.aws.",
        },
    }


def _validate(certificate: Certificate) -> None:
    if certificate["Status"] != "PENDING_VALIDATION":
        return
    if any(_is_shut_out(name) for name in certificate["SubjectAlternativeNames"]):
        certificate.update(Status="FAILED", FailureReason="CAA_ERROR")
        return
    for option in certificate["DomainValidationOptions"]:
        record = option["ResourceRecord"]
        if record["Value"].rstrip(".") in {
            value.rstrip(".") for value in _values(record["Name"], record["Type"])
        }:
            option["ValidationStatus"] = "SUCCESS"
    if all(option["ValidationStatus"] == "SUCCESS" for option in certificate["DomainValidationOptions"]):
        certificate.update(Status="ISSUED", IssuedAt=now_iso(), NotBefore=now_iso())
        certificate["NotAfter"] = acm._future_iso(395 * 24 * 3600)


def _values(name: str, kind: str) -> Iterator[str]:
    for records in route53._records.to_dict().values():
        for record in records:
            if record["Name"].lower().rstrip(".") == name.lower().rstrip(".") and record["Type"] == kind:
                yield from record.get("ResourceRecords", [])


def _is_shut_out(name: str) -> bool:
    """Whether the closest CAA records of a name, or of one above it, name others than Amazon (RFC 8659)."""
    labels = name.removeprefix("*.").split(".")
    for start in range(len(labels)):
        issuers = [value for value in _values(".".join(labels[start:]), "CAA") if " issue " in value]
        if issuers:
            return not any(amazon in value for value in issuers for amazon in AMAZONS)
    return False


def _described(certificate: Certificate, answer: Answer) -> Answer:
    status, headers, body = answer
    shown = json.loads(body)
    detail = shown["Certificate"]
    if certificate["Status"] != "ISSUED":
        for name in ("IssuedAt", "NotBefore", "NotAfter"):
            detail.pop(name, None)
    for name in ("FailureReason", "KeyAlgorithm"):
        if name in certificate:
            detail[name] = certificate[name]
    # What the service's model doesn't have.
    detail.pop("Tags", None)
    return status, headers, json.dumps(shown).encode()


def _list(data: dict[str, Any]) -> Answer:
    statuses = data.get("CertificateStatuses", [])
    # Unless it is asked for others, the service lists RSA keys of 1024 and 2048 bits only.
    keys = data.get("Includes", {}).get("keyTypes") or ["RSA_1024", "RSA_2048"]
    summaries = []
    for arn, certificate in acm._certificates.items():
        key = certificate.get("KeyAlgorithm", "RSA_2048")
        if not acm._is_local_certificate_arn(arn) or key not in keys:
            continue
        _validate(certificate)
        if statuses and certificate["Status"] not in statuses:
            continue
        summaries.append(
            {
                "CertificateArn": arn,
                "DomainName": certificate["DomainName"],
                "SubjectAlternativeNameSummaries": certificate["SubjectAlternativeNames"],
                "HasAdditionalSubjectAlternativeNames": False,
                "Status": certificate["Status"],
                "Type": certificate.get("Type", "AMAZON_ISSUED"),
                "KeyAlgorithm": key,
                "InUse": bool(_users(arn)),
            }
        )
    start = int(data.get("NextToken", "0"))
    end = start + int(data.get("MaxItems", 100))
    answer: dict[str, Any] = {"CertificateSummaryList": summaries[start:end]}
    if end < len(summaries):
        answer["NextToken"] = str(end)
    return json_response(answer)  # type: ignore[no-any-return]


def _users(arn: str) -> list[str]:
    listeners = [
        listener_arn
        for listener_arn, listener in alb._listeners.items()
        if any(
            arn == (item if isinstance(item, str) else item.get("CertificateArn"))
            for item in listener.get("Certificates") or []
        )
    ]
    return using_certificate(arn) + listeners
