"""haproxy in the role of the CloudFront distribution that cloudfront.yaml describes, in front of its origin.

Taken from the template: how long the origin may be silent, how long and how often a connection to it is
tried, how long an idle one is kept, and the methods that pass. Not played: TLS, caching (the template
switches it off), response headers, and the VPC origin's own network.
"""

from __future__ import annotations

from typing import Any

from tests.infrastructure.cloudformation import Templates, resources

# What CloudFront does where the template says nothing: AWS::CloudFront::Distribution Origin.
CONNECTION_ATTEMPTS = 3
CONNECTION_TIMEOUT_SECONDS = 10


def read_timeout(templates: Templates) -> int:
    """Return the seconds that the origin may be silent."""
    return int(_origin(templates)["VpcOriginConfig"]["OriginReadTimeout"])


def keep_alive(templates: Templates) -> int:
    """Return the seconds that an idle connection to the origin is kept."""
    return int(_origin(templates)["VpcOriginConfig"]["OriginKeepaliveTimeout"])


def haproxy_section(templates: Templates, *, port: int, origin_port: int, read_seconds: int | None) -> str:
    """Return a section for haproxy.cfg; `read_seconds` replaces what the template says."""
    origin = _origin(templates)
    behavior = _configuration(templates)["DefaultCacheBehavior"]
    seconds = read_timeout(templates) if read_seconds is None else read_seconds
    lines = [
        "listen cloudfront",
        f"  bind 127.0.0.1:{port}",
        "  timeout client 1h",
        f"  timeout connect {origin.get('ConnectionTimeout', CONNECTION_TIMEOUT_SECONDS)}s",
        f"  timeout server {seconds}s",
        f"  retries {origin.get('ConnectionAttempts', CONNECTION_ATTEMPTS) - 1}",
        f"  http-request deny deny_status 403 unless {{ method {' '.join(behavior['AllowedMethods'])} }}",
        "  http-reuse always",
        f"  server origin 127.0.0.1:{origin_port} pool-purge-delay {keep_alive(templates)}s",
    ]
    return "\n".join([*lines, ""])


def _origin(templates: Templates) -> dict[str, Any]:
    (origin,) = _configuration(templates)["Origins"]
    return dict(origin)


def _configuration(templates: Templates) -> dict[str, Any]:
    ((_, distribution),) = resources(templates["cloudfront"], "AWS::CloudFront::Distribution").items()
    return dict(distribution["DistributionConfig"])
