"""The AgentCore control API for gateways and targets: validation, state, and what a call sets in motion."""

from __future__ import annotations

import base64
import binascii
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any

from botocore.model import OperationModel
from ministack import app as emulator  # type: ignore[import-untyped]
from ministack.core.responses import (  # type: ignore[import-untyped]
    get_account_id,
    request_scope,
    set_request_account_id,
)

from ..context import AsgiApp, Receive, Scope, Send
from ..data_plane.http_message import Request, Response, exchange
from ..routing import credential_scope
from . import service_model
from .errors import (
    ApiError,
    ConflictError,
    InternalServerError,
    QuotaExceededError,
    ResourceNotFoundError,
    ValidationError,
)
from .fault_injection import FaultPlan
from .lifecycle import Lifecycle
from .oauth import CredentialProviders
from .service_role import check_service_role
from .state import Gateway, Place, Store, Target, new_id

logger = logging.getLogger(__name__)

MCP_VERSIONS = ("2026-07-28", "2025-11-25", "2025-06-18", "2025-03-26")
"""Protocol versions of the gateway, newest first.

https://docs.aws.amazon.com/bedrock-agentcore/latest/devguide/gateway-target-MCPservers.html
"""
MAX_GATEWAYS = 1000
MAX_TARGETS = 100
_PAGE = 100
_SETTLED = frozenset({"READY", "FAILED", "UPDATE_UNSUCCESSFUL", "SYNCHRONIZE_UNSUCCESSFUL"})
_GATEWAY_SETTINGS = (
    "name",
    "description",
    "roleArn",
    "protocolType",
    "protocolConfiguration",
    "authorizerType",
    "authorizerConfiguration",
    "kmsKeyArn",
    "exceptionLevel",
)
_TARGET_SETTINGS = (
    "description",
    "targetConfiguration",
    "credentialProviderConfigurations",
    "metadataConfiguration",
)
_UNAVAILABLE_GATEWAY_MEMBERS = (
    "interceptorConfigurations",
    "policyEngineConfiguration",
    "customTransformConfiguration",
    "wafConfiguration",
)
_UNAVAILABLE_TARGET_MEMBERS = ("privateEndpoint", "certificateConfigurations")
_TAGGABLE = re.compile(r"/tags/(?P<arn>[^/]+)/?")

Params = dict[str, Any]


class ControlApi:
    """The operations on gateways and targets; ``call`` runs one, ``serve`` does so over HTTP.

    Requests that are not about gateways go on to ``other_apis``, which serves the rest of AgentCore.
    """

    def __init__(
        self,
        store: Store,
        lifecycle: Lifecycle,
        faults: FaultPlan,
        providers: CredentialProviders,
        other_apis: AsgiApp,
    ) -> None:
        self._store = store
        self._providers = providers
        self._lifecycle = lifecycle
        self._faults = faults
        self._other_apis = other_apis
        self._operations: dict[str, Callable[[Place, Params], Params]] = {
            "CreateGateway": self._create_gateway,
            "GetGateway": self._get_gateway,
            "ListGateways": self._list_gateways,
            "UpdateGateway": self._update_gateway,
            "DeleteGateway": self._delete_gateway,
            "CreateGatewayTarget": self._create_target,
            "GetGatewayTarget": self._get_target,
            "ListGatewayTargets": self._list_targets,
            "UpdateGatewayTarget": self._update_target,
            "DeleteGatewayTarget": self._delete_target,
            "SynchronizeGatewayTargets": self._synchronize_targets,
            "ListTagsForResource": self._list_tags,
            "TagResource": self._tag,
            "UntagResource": self._untag,
            **providers.operations,
        }

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The API over HTTP."""
        raw_path = (scope.get("raw_path") or scope["path"].encode()).split(b"?", 1)[0].decode("latin-1")
        matched = service_model.match(scope["method"].upper(), raw_path)
        if matched is None or not _is_ours(raw_path):
            await self._other_apis(scope, receive, send)
            return
        operation, path = matched

        async def respond(request: Request) -> Response:
            return self._respond(_place(scope, request.header("authorization")), operation, path, request)

        await exchange(scope, receive, send, respond)

    def _respond(
        self, place: Place, operation: OperationModel, path: dict[str, str], request: Request
    ) -> Response:
        try:
            params = service_model.parse(operation, path, request.query, request.body)
            result = self.call(place, operation.name, params)
            body = service_model.serialize(operation, result)
            response = Response.of(
                operation.http["responseCode"], [("content-type", "application/json")], body
            )
        except ApiError as error:
            response = _error_response(error)
        except Exception:
            logger.exception("%s failed", operation.name)
            response = _error_response(InternalServerError("The local cloud failed; its log has the reason."))
        response.headers.append(("x-amzn-requestid", str(uuid.uuid4())))
        return response

    def call(self, place: Place, operation: str, params: Params) -> Params:
        """Run ``operation`` with parameters that satisfy the model. Raises ApiError."""
        self._faults.check(operation)
        with self._store.lock:
            return self._operations[operation](place, params)

    # Gateways

    def _create_gateway(self, place: Place, params: Params) -> Params:
        made = self._already_made(place, "CreateGateway", params)
        if made is not None:
            return _gateway_shape(self._gateway(place, made))
        _check_gateway(params)
        with request_scope(place.account, place.region):
            check_service_role(params["roleArn"], place, params["name"])
        existing = self._store.gateways(place)
        if any(gateway.name == params["name"] for gateway in existing):
            raise ConflictError(f"A gateway with name '{params['name']}' already exists in this account.")
        if len(existing) >= MAX_GATEWAYS:
            raise QuotaExceededError(f"You have reached the limit of {MAX_GATEWAYS} gateways per account.")
        gateway = Gateway(
            place=place,
            gateway_id=f"{params['name'].lower()}-{new_id()}",
            settings=_chosen(params, _GATEWAY_SETTINGS),
            tags=dict(params.get("tags") or {}),
        )
        self._store.add(gateway)
        self._remember(place, "CreateGateway", params, gateway.gateway_id)
        self._lifecycle.gateway_becomes_ready(gateway)
        return _gateway_shape(gateway)

    def _get_gateway(self, place: Place, params: Params) -> Params:
        return _gateway_shape(self._gateway(place, params["gatewayIdentifier"]))

    def _list_gateways(self, place: Place, params: Params) -> Params:
        members = (
            "gatewayId",
            "name",
            "status",
            "description",
            "createdAt",
            "updatedAt",
            "authorizerType",
            "protocolType",
        )
        shapes = [_gateway_shape(gateway) for gateway in self._store.gateways(place)]
        return _page([_chosen(shape, members) for shape in shapes], params)

    def _update_gateway(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        _check_gateway(params)
        _require_settled(gateway.status, f"Gateway {gateway.gateway_id}")
        if params["name"] != gateway.name:
            raise ValidationError(
                f"The name of gateway {gateway.gateway_id} cannot be changed from '{gateway.name}'."
            )
        if params["authorizerType"] != gateway.settings["authorizerType"]:
            raise ValidationError("Authorizer type cannot be updated for an existing gateway")
        search = ((params.get("protocolConfiguration") or {}).get("mcp") or {}).get("searchType")
        if search != gateway.protocol.get("searchType"):
            raise ValidationError("Search type cannot be updated for an existing gateway")
        check_service_role(params["roleArn"], place, gateway.name)
        gateway.settings = _chosen(params, _GATEWAY_SETTINGS)
        gateway.set_status("UPDATING")
        self._lifecycle.gateway_becomes_ready(gateway)
        return _gateway_shape(gateway)

    def _delete_gateway(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        if gateway.targets or time.monotonic() < gateway.released_at:
            raise ValidationError(
                f"Gateway {gateway.gateway_id} has targets associated with it. "
                "Delete all targets before deleting the gateway."
            )
        if gateway.status != "DELETING":
            _require_settled(gateway.status, f"Gateway {gateway.gateway_id}")
            gateway.set_status("DELETING")
            self._lifecycle.gateway_goes(gateway)
        return {"gatewayId": gateway.gateway_id, "status": gateway.status}

    # Targets

    def _create_target(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        made = self._already_made(place, "CreateGatewayTarget", params)
        if made is not None:
            return _target_shape(gateway, self._target(gateway, made))
        _check_target(gateway, params, self._providers)
        if gateway.status != "READY":
            raise ConflictError(
                f"Gateway {gateway.gateway_id} is in status {gateway.status}; it must be READY."
            )
        target_id = new_id()
        name = params.get("name") or f"target-{target_id}"
        if any(target.name == name for target in gateway.targets.values()):
            raise ConflictError(
                f"A target with name '{name}' already exists in gateway {gateway.gateway_id}."
            )
        if len(gateway.targets) >= MAX_TARGETS:
            raise QuotaExceededError(f"You have reached the limit of {MAX_TARGETS} targets per gateway.")
        target = Target(target_id=target_id, name=name, settings=_chosen(params, _TARGET_SETTINGS))
        gateway.targets[target_id] = target
        self._remember(place, "CreateGatewayTarget", params, target_id)
        self._lifecycle.target_is_indexed(gateway, target, failed_status="FAILED")
        return _target_shape(gateway, target)

    def _get_target(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        return _target_shape(gateway, self._target(gateway, params["targetId"]))

    def _list_targets(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        return _page([_target_summary(target) for target in gateway.targets.values()], params)

    def _update_target(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        target = self._target(gateway, params["targetId"])
        _check_target(gateway, params, self._providers)
        _require_settled(target.status, f"Target {target.target_id}")
        name = params.get("name") or target.name
        if any(other.name == name and other is not target for other in gateway.targets.values()):
            raise ConflictError(
                f"A target with name '{name}' already exists in gateway {gateway.gateway_id}."
            )
        target.name = name
        target.settings = _chosen(params, _TARGET_SETTINGS)
        target.set_status("UPDATING")
        self._lifecycle.target_is_indexed(gateway, target, failed_status="UPDATE_UNSUCCESSFUL")
        return _target_shape(gateway, target)

    def _delete_target(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        target = self._target(gateway, params["targetId"])
        if target.status != "DELETING":
            _require_settled(target.status, f"Target {target.target_id}")
            target.set_status("DELETING")
            self._lifecycle.target_goes(gateway, target)
        return {"gatewayArn": gateway.arn, "targetId": target.target_id, "status": target.status}

    def _synchronize_targets(self, place: Place, params: Params) -> Params:
        gateway = self._gateway(place, params["gatewayIdentifier"])
        target = self._target(gateway, params["targetIdList"][0])
        if target.dynamic:
            raise ValidationError(
                f"Target {target.target_id} has listing mode DYNAMIC and is not synchronized."
            )
        if target.status == "FAILED":
            raise ConflictError(f"Target {target.target_id} is in status FAILED and cannot be synchronized.")
        _require_settled(target.status, f"Target {target.target_id}")
        target.set_status("SYNCHRONIZING")
        self._lifecycle.target_is_indexed(gateway, target, failed_status="SYNCHRONIZE_UNSUCCESSFUL")
        return {"targets": [_target_shape(gateway, target)]}

    # Tags

    def _list_tags(self, _place: Place, params: Params) -> Params:
        return {"tags": dict(self._tagged(params).tags)}

    def _tag(self, _place: Place, params: Params) -> Params:
        self._tagged(params).tags.update(params["tags"])
        return {}

    def _untag(self, _place: Place, params: Params) -> Params:
        gateway = self._tagged(params)
        for key in params["tagKeys"]:
            gateway.tags.pop(key, None)
        return {}

    # Look-ups

    def _gateway(self, place: Place, gateway_id: str) -> Gateway:
        gateway = self._store.get(place, gateway_id)
        if gateway is None:
            raise ResourceNotFoundError(f"Gateway {gateway_id} not found.")
        return gateway

    def _target(self, gateway: Gateway, target_id: str) -> Target:
        target = gateway.targets.get(target_id)
        if target is None:
            raise ResourceNotFoundError(f"Target {target_id} not found in gateway {gateway.gateway_id}.")
        return target

    def _tagged(self, params: Params) -> Gateway:
        gateway = self._store.by_arn(params["resourceArn"])
        if gateway is None:
            raise ResourceNotFoundError(f"Resource {params['resourceArn']} not found.")
        return gateway

    def _already_made(self, place: Place, operation: str, params: Params) -> str | None:
        """The id that an earlier request with this client token made, unless that is gone again."""
        token = params.get("clientToken")
        earlier = self._store.remembered(place, operation, token) if token else None
        if earlier is None:
            return None
        if earlier[0] != params:
            raise ValidationError(
                "The client token was used with other parameters.",
                reason="IdempotentParameterMismatchException",
            )
        return earlier[1] if self._still_there(place, operation, params, earlier[1]) else None

    def _still_there(self, place: Place, operation: str, params: Params, made: str) -> bool:
        if operation == "CreateGateway":
            return self._store.get(place, made) is not None
        return made in self._gateway(place, params["gatewayIdentifier"]).targets

    def _remember(self, place: Place, operation: str, params: Params, made: str) -> None:
        token = params.get("clientToken")
        if token:
            self._store.remember(place, operation, token, params, made)


def _is_ours(raw_path: str) -> bool:
    tags = _TAGGABLE.fullmatch(raw_path)
    return tags is None or re.search(r"(:|%3A)gateway(/|%2F)", tags["arn"], re.IGNORECASE) is not None


def _place(scope: Scope, authorization: str) -> Place:
    signed = credential_scope(scope)
    access_key = re.search(r"Credential=([^/]+)/", authorization)
    set_request_account_id(emulator._request_account_scope(access_key.group(1)) if access_key else "")
    return Place(get_account_id(), signed[0] if signed else "us-east-1")


def _error_response(error: ApiError) -> Response:
    headers = [("content-type", "application/json"), ("x-amzn-errortype", error.code)]
    return Response.of(error.status, headers, json.dumps(error.body()).encode())


def _chosen(source: Params, members: Iterable[str]) -> Params:
    return {name: source[name] for name in members if source.get(name) is not None}


def _require_settled(status: str, subject: str) -> None:
    if status not in _SETTLED:
        raise ConflictError(
            f"{subject} is in status {status}; wait until the current operation has finished."
        )


def _check_gateway(params: Params) -> None:
    _refuse_unavailable(params, _UNAVAILABLE_GATEWAY_MEMBERS)
    kind = params["authorizerType"]
    if kind == "CUSTOM_JWT" and not params.get("authorizerConfiguration"):
        raise ValidationError("authorizerConfiguration is required for authorizer type CUSTOM_JWT.")
    if kind != "CUSTOM_JWT" and params.get("authorizerConfiguration"):
        raise ValidationError(f"authorizerConfiguration must not be set for authorizer type {kind}.")
    if kind not in {"AWS_IAM", "CUSTOM_JWT", "NONE"}:
        raise ValidationError(
            f"Authorizer type {kind} is not available in the local cloud; use AWS_IAM, CUSTOM_JWT or NONE."
        )
    if kind == "CUSTOM_JWT":
        _check_authorizer(params["authorizerConfiguration"].get("customJWTAuthorizer") or {})
    mcp = (params.get("protocolConfiguration") or {}).get("mcp") or {}
    if mcp.get("sessionConfiguration"):
        raise ValidationError("Gateway sessions (sessionConfiguration) are not available in the local cloud.")
    versions = mcp.get("supportedVersions")
    unknown = [version for version in versions or [] if version not in MCP_VERSIONS]
    if unknown or versions == []:
        raise ValidationError(
            f"supportedVersions {versions} has to name some of: {', '.join(MCP_VERSIONS)}.",
            fields=[("protocolConfiguration.mcp.supportedVersions", "unsupported MCP protocol version")],
        )


def _check_authorizer(authorizer: Params) -> None:
    for name in (
        "customClaims",
        "privateEndpoint",
        "privateEndpointOverrides",
        "allowedWorkloadConfiguration",
    ):
        if authorizer.get(name):
            raise ValidationError(f"{name} is not available in the local cloud.")
    if not any(authorizer.get(name) for name in ("allowedAudience", "allowedClients", "allowedScopes")):
        raise ValidationError("At least one of allowedAudience, allowedClients, allowedScopes is required.")


def _check_target(gateway: Gateway, params: Params, providers: CredentialProviders) -> None:
    _refuse_unavailable(params, _UNAVAILABLE_TARGET_MEMBERS)
    server = (params["targetConfiguration"].get("mcp") or {}).get("mcpServer")
    if server is None:
        raise ValidationError("The local cloud has targets of the type mcpServer only.")
    if server.get("mcpToolSchema"):
        raise ValidationError(
            "mcpToolSchema is not available in the local cloud; tools are listed at the server."
        )
    if server.get("listingMode") == "DYNAMIC" and gateway.semantic_search:
        raise ValidationError("Listing mode DYNAMIC is not supported for gateways with semantic search.")
    for configuration in params.get("credentialProviderConfigurations") or []:
        _check_credential(gateway, configuration, providers)


def _check_credential(gateway: Gateway, configuration: Params, providers: CredentialProviders) -> None:
    kind = configuration["credentialProviderType"]
    provider = configuration.get("credentialProvider") or {}
    if kind in {"CALLER_IAM_CREDENTIALS", "JWT_PASSTHROUGH"}:
        raise ValidationError(f"Credential provider type {kind} is not supported for MCP server targets.")
    if kind == "OAUTH":
        oauth = provider.get("oauthCredentialProvider")
        if oauth is None:
            raise ValidationError("oauthCredentialProvider is required for OAUTH.")
        if oauth.get("grantType", "CLIENT_CREDENTIALS") != "CLIENT_CREDENTIALS":
            raise ValidationError("The local cloud has the grant type CLIENT_CREDENTIALS only.")
        if providers.find(oauth["providerArn"], gateway.place) is None:
            raise ValidationError(f"Credential provider {oauth['providerArn']} not found.")
        return
    if kind != "GATEWAY_IAM_ROLE":
        raise ValidationError(
            f"Outbound authorization {kind} is not available in the local cloud; leave "
            "credentialProviderConfigurations out, or use OAUTH or GATEWAY_IAM_ROLE."
        )
    if "iamCredentialProvider" not in provider:
        raise ValidationError(
            "iamCredentialProvider is required for GATEWAY_IAM_ROLE with an MCP server target."
        )


def _refuse_unavailable(params: Params, members: Iterable[str]) -> None:
    for name in members:
        if params.get(name):
            raise ValidationError(f"{name} is not available in the local cloud.")


def _page(items: list[Params], params: Params) -> Params:
    try:
        start = int(base64.urlsafe_b64decode(params["nextToken"])) if params.get("nextToken") else 0
    except (ValueError, binascii.Error) as error:
        raise ValidationError("nextToken is not one that this operation returned.") from error
    end = start + params.get("maxResults", _PAGE)
    result: Params = {"items": items[start:end]}
    if end < len(items):
        result["nextToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return result


def _gateway_shape(gateway: Gateway) -> Params:
    place = gateway.place
    directory = (
        f"arn:aws:bedrock-agentcore:{place.region}:{place.account}:workload-identity-directory/default"
    )
    return {
        "gatewayArn": gateway.arn,
        "gatewayId": gateway.gateway_id,
        "gatewayUrl": gateway.url,
        "createdAt": gateway.created_at,
        "updatedAt": gateway.updated_at,
        "status": gateway.status,
        "statusReasons": gateway.status_reasons or None,
        "workloadIdentityDetails": {
            "workloadIdentityArn": f"{directory}/workload-identity/{gateway.gateway_id}"
        },
        **gateway.settings,
    }


def _target_shape(gateway: Gateway, target: Target) -> Params:
    return {
        "gatewayArn": gateway.arn,
        "targetId": target.target_id,
        "name": target.name,
        "createdAt": target.created_at,
        "updatedAt": target.updated_at,
        "status": target.status,
        "statusReasons": target.status_reasons or None,
        "lastSynchronizedAt": target.last_synchronized_at,
        "protocolType": "MCP",
        **target.settings,
        "credentialProviderConfigurations": target.settings.get("credentialProviderConfigurations") or [],
    }


def _target_summary(target: Target) -> Params:
    return {
        "targetId": target.target_id,
        "name": target.name,
        "status": target.status,
        "description": target.settings.get("description"),
        "createdAt": target.created_at,
        "updatedAt": target.updated_at,
        "lastSynchronizedAt": target.last_synchronized_at,
        "targetType": "MCP_SERVER",
        "listingMode": target.server.get("listingMode", "DEFAULT"),
        "resourcePriority": target.server.get("resourcePriority"),
    }
