"""Load balancers and distributions that carry traffic, as far as security groups let them."""

from __future__ import annotations

from ..context import CloudContext


def install(context: CloudContext) -> None:
    """Route ``*.cloudfront.net`` and ``*.elb.amazonaws.com``; add what the emulator lacks behind them."""
    from . import distribution, forward_config, load_balancer, upstream, vpc_origin

    forward_config.install()
    vpc_origin.install()
    context.route_host(distribution.is_distribution_host, distribution.serve)
    context.route_host(load_balancer.is_load_balancer_host, load_balancer.serve)
    context.certificate_names.append(load_balancer.certificate_names)
    context.at_shutdown(upstream.close_sessions)
