"""What distributions use, and what CloudFront refuses about it when a template makes one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from ministack.core.responses import get_account_id, request_scope  # type: ignore[import-untyped]
from ministack.services import acm, cloudfront, waf  # type: ignore[import-untyped]
from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

from ..data_plane.distribution import with_alias
from . import CLOUDFRONT_REGION

_TYPE = "AWS::CloudFront::Distribution"

Properties = dict[str, Any]


def install() -> None:
    """Make distributions of templates refuse a web ACL, a certificate or a name that they can't have."""
    handlers = provisioners._RESOURCE_HANDLERS[_TYPE]
    if getattr(handlers["create"], "checks_edge", False):
        return

    def checked(function: Callable[..., Any], properties_at: int) -> Callable[..., Any]:
        def check(*arguments: Any, **named: Any) -> Any:
            own_id = arguments[0] if properties_at == 2 else ""
            _check((arguments[properties_at].get("DistributionConfig") or {}), str(own_id))
            return function(*arguments, **named)

        check.checks_edge = True  # type: ignore[attr-defined]
        return check

    provisioners._RESOURCE_HANDLERS[_TYPE] = {
        **handlers,
        "create": checked(handlers["create"], 1),
        "update": checked(handlers["update"], 2),
    }


def using_web_acl(arn: str) -> list[str]:
    """Return the ARNs of the distributions that a web ACL protects."""
    return [
        distribution["ARN"]
        for _account, distribution, config in _distributions()
        if cloudfront._text(config, "WebACLId") == arn
    ]


def using_certificate(arn: str) -> list[str]:
    """Return the ARNs of the distributions that show a certificate to their viewers."""
    found = []
    for _account, distribution, config in _distributions():
        shown = cloudfront._find(config, "ViewerCertificate")
        if shown is not None and cloudfront._text(shown, "ACMCertificateArn") == arn:
            found.append(distribution["ARN"])
    return found


def _distributions() -> Iterator[tuple[str, dict[str, Any], Any]]:
    for (account, _id), distribution in list(cloudfront._distributions.to_dict().items()):
        yield account, distribution, cloudfront._dist_config_el(distribution)


def _check(config: Properties, own_id: str) -> None:
    """Raise ValueError with CloudFront's message about what it can't use."""
    web_acl = config.get("WebACLId")
    with request_scope(get_account_id(), CLOUDFRONT_REGION):
        if web_acl and waf._resolve_local_web_acl(web_acl)[0] is None:
            raise ValueError(f"Web ACL is not accessible by the requester. (InvalidWebACLId: {web_acl})")
        aliases = [str(alias).lower() for alias in config.get("Aliases") or []]
        arn = (config.get("ViewerCertificate") or {}).get("AcmCertificateArn")
        certificate = acm._certificates.get(arn) if arn else None
    if aliases and not arn:
        raise ValueError(
            "To add an alternate domain name (CNAME) to a CloudFront distribution, you must attach a "
            "trusted certificate that validates your authorization to use the domain name."
        )
    if arn and (certificate is None or certificate["Status"] != "ISSUED"):
        raise ValueError(
            "The specified SSL certificate doesn't exist, isn't in us-east-1 region, isn't valid, or "
            f"doesn't include a valid certificate chain. (InvalidViewerCertificate: {arn})"
        )
    for alias in aliases:
        if certificate is not None and not _covers(certificate, alias):
            raise ValueError(f"The certificate that is attached doesn't cover the alternate name {alias}.")
        taken = with_alias(alias)
        if taken is not None and taken[1]["Id"] != own_id:
            raise ValueError(f"One or more of the CNAMEs is already in use: {alias} (CNAMEAlreadyExists)")


def _covers(certificate: dict[str, Any], name: str) -> bool:
    names = {str(one).lower() for one in certificate.get("SubjectAlternativeNames", [])}
    return name in names or f"*.{name.partition('.')[2]}" in names
