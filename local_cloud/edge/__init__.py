"""What belongs to a distribution beside it: web ACLs, certificates, access logs, its own names in DNS."""

from __future__ import annotations

from ..context import CloudContext

CLOUDFRONT_REGION = "us-east-1"


def install(context: CloudContext) -> None:
    """Make WAF, Certificate Manager and Route 53 refuse and wait as AWS does; serve own names."""
    from ..data_plane import distribution
    from . import access_logs, certificates, distributions, names, web_acls

    web_acls.install()
    certificates.install()
    access_logs.install()
    distributions.install()
    names.install()
    context.route_host(names.is_alias, distribution.serve)
