"""AgentCore gateways: the control API, the MCP endpoints, and the CloudFormation type."""

from __future__ import annotations

import os
from typing import cast

from ..context import AsgiApp, CloudContext

DELAY_VARIABLE = "LOCAL_CLOUD_AGENTCORE_DELAY"
"""Seconds that each status such as CREATING lasts at least."""


def install(context: CloudContext) -> None:
    """Serve gateways: their API by signing name, their MCP endpoints by host, their type for templates."""
    from botocore.credentials import Credentials
    from ministack import app as emulator  # type: ignore[import-untyped]

    from ..cloudformation import registry
    from . import fault_injection, gateway_type, oauth_type, service_model
    from .control_api import ControlApi
    from .lifecycle import Lifecycle
    from .mcp_endpoint import McpEndpoint
    from .oauth import CredentialProviders
    from .outbound_http import OutboundHttp
    from .state import Store

    environment = context.client_environment
    credentials = Credentials(environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    store, faults, http = Store(), fault_injection.FaultPlan(), OutboundHttp(context)
    delay = float(os.environ.get(DELAY_VARIABLE, "0.3"))
    providers = CredentialProviders(http)
    lifecycle = Lifecycle(store, http, faults, credentials, providers, delay)
    api = ControlApi(store, lifecycle, faults, providers, cast(AsgiApp, emulator.app))
    endpoint = McpEndpoint(store, lifecycle, http, environment)
    gateway, provider = gateway_type.GatewayType(api), oauth_type.OAuthProviderType(api)

    context.route_service(service_model.SIGNING_NAME, api.serve)
    context.route_host(endpoint.is_gateway_host, endpoint.serve)
    context.route_host(lambda host: host == fault_injection.HOST, faults.serve)
    registry.register(
        gateway_type.TYPE_NAME,
        create=gateway.create,
        update=gateway.update,
        delete=gateway.delete,
        blocking=True,
    )
    registry.register(
        oauth_type.TYPE_NAME, create=provider.create, update=provider.update, delete=provider.delete
    )
    context.at_shutdown(http.close_all)
    context.at_shutdown(lifecycle.stop)
