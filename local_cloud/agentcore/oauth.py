"""OAuth 2.0 credential providers: their control API, and the tokens that gateways get from them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote_plus, urlencode

import aiohttp
from ministack.core.responses import request_scope  # type: ignore[import-untyped]
from ministack.services import secretsmanager  # type: ignore[import-untyped]

from .errors import ConflictError, ResourceNotFoundError, ValidationError
from .mcp_client import TargetError
from .outbound_http import OutboundHttp, check_endpoint
from .state import Place, now

_ARN = re.compile(r"arn:aws:bedrock-agentcore:(?P<region>[^:]+):(?P<account>\d+):.+/(?P<name>[^/]+)")
_CONFIGURATION = "customOauth2ProviderConfig"
_KEPT = ("oauthDiscovery", "clientId", "clientAuthenticationMethod")
_METHODS = ("CLIENT_SECRET_BASIC", "CLIENT_SECRET_POST")
_TIMEOUT = aiohttp.ClientTimeout(total=30)

Params = dict[str, Any]


@dataclass
class Provider:
    """A credential provider; ``config`` is its ``customOauth2ProviderConfig``."""

    place: Place
    name: str
    config: Params
    created_at: Any = field(default_factory=now)
    updated_at: Any = field(default_factory=now)

    @property
    def arn(self) -> str:
        """Its ARN."""
        vault = f"arn:aws:bedrock-agentcore:{self.place.region}:{self.place.account}:token-vault/default"
        return f"{vault}/oauth2credentialprovider/{self.name}"


class CredentialProviders:
    """The providers of every account and region; ``operations`` are the control API's."""

    def __init__(self, http: OutboundHttp) -> None:
        self._http = http
        self._providers: dict[tuple[Place, str], Provider] = {}
        self.operations: dict[str, Callable[[Place, Params], Params]] = {
            "CreateOauth2CredentialProvider": self._create,
            "GetOauth2CredentialProvider": self._get,
            "ListOauth2CredentialProviders": self._list,
            "UpdateOauth2CredentialProvider": self._update,
            "DeleteOauth2CredentialProvider": self._delete,
        }

    def find(self, arn: str, place: Place) -> Provider | None:
        """The provider with this ARN, which must be of the same account and region."""
        match = _ARN.fullmatch(arn)
        if match is None or Place(match["account"], match["region"]) != place:
            return None
        found = self._providers.get((place, match["name"]))
        return found if found is not None and found.arn == arn else None

    async def token(self, place: Place, credential: Mapping[str, Any]) -> str:
        """An access token for a target's ``oauthCredentialProvider``. Raises TargetError."""
        provider = self.find(str(credential["providerArn"]), place)
        if provider is None:
            raise TargetError(f"Credential provider {credential['providerArn']} does not exist.")
        try:
            client_id, secret = provider.config["clientId"], _secret(provider)
            endpoint = await self._token_endpoint(provider)
            form = {"grant_type": "client_credentials", **(credential.get("customParameters") or {})}
            if credential.get("scopes"):
                form["scope"] = " ".join(credential["scopes"])
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            if provider.config.get("clientAuthenticationMethod") == "CLIENT_SECRET_POST":
                form |= {"client_id": client_id, "client_secret": secret}
            else:
                pair = f"{quote_plus(client_id)}:{quote_plus(secret)}".encode()
                headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
            check_endpoint(endpoint)
            async with self._http.session().post(
                endpoint, data=urlencode(form), headers=headers, timeout=_TIMEOUT, allow_redirects=False
            ) as answer:
                if answer.status != 200:
                    raise TargetError(
                        f"Failed to get a token from {endpoint}: HTTP {answer.status} {await answer.text()}"
                    )
                return str((await answer.json(content_type=None))["access_token"])
        except (OSError, aiohttp.ClientError, ValidationError, ValueError, LookupError) as error:
            raise TargetError(f"Failed to get a token by {provider.name}: {error}") from error

    async def _token_endpoint(self, provider: Provider) -> str:
        discovery = provider.config["oauthDiscovery"]
        url = discovery.get("discoveryUrl")
        if url is None:
            return str(discovery["authorizationServerMetadata"]["tokenEndpoint"])
        check_endpoint(url)
        async with self._http.session().get(url, timeout=_TIMEOUT, allow_redirects=False) as answer:
            if answer.status != 200:
                raise TargetError(f"The discovery document at {url} answered HTTP {answer.status}")
            return str((await answer.json(content_type=None))["token_endpoint"])

    # The control API

    def _create(self, place: Place, params: Params) -> Params:
        name = params["name"]
        config = _checked(params, place)
        if (place, name) in self._providers:
            raise ConflictError(f"A credential provider with name '{name}' already exists in this account.")
        provider = Provider(place, name, config)
        self._providers[place, name] = provider
        return _made(provider)

    def _get(self, place: Place, params: Params) -> Params:
        return _described(self._known(place, params["name"]))

    def _list(self, place: Place, _params: Params) -> Params:
        found = [provider for (where, _), provider in self._providers.items() if where == place]
        items = [
            {
                "name": provider.name,
                "credentialProviderVendor": "CustomOauth2",
                "credentialProviderArn": provider.arn,
                "createdTime": provider.created_at,
                "lastUpdatedTime": provider.updated_at,
            }
            for provider in found
        ]
        return {"credentialProviders": items}

    def _update(self, place: Place, params: Params) -> Params:
        provider = self._known(place, params["name"])
        provider.config = _checked(params, place)
        provider.updated_at = now()
        return _described(provider)

    def _delete(self, place: Place, params: Params) -> Params:
        self._known(place, params["name"])
        del self._providers[place, params["name"]]
        return {}

    def _known(self, place: Place, name: str) -> Provider:
        provider = self._providers.get((place, name))
        if provider is None:
            raise ResourceNotFoundError(f"Credential provider '{name}' not found.")
        return provider


def _checked(params: Params, place: Place) -> Params:
    """The provider's configuration, if it is one that works. Raises ValidationError."""
    config = params["oauth2ProviderConfigInput"].get(_CONFIGURATION)
    if params["credentialProviderVendor"] != "CustomOauth2" or config is None:
        raise ValidationError("The local cloud has credential providers of the vendor CustomOauth2 only.")
    if not config.get("clientId"):
        raise ValidationError("clientId is required.")
    if config.get("clientAuthenticationMethod", _METHODS[0]) not in _METHODS:
        raise ValidationError("The local cloud knows clients by their secret only.")
    external = config.get("clientSecretSource") == "EXTERNAL"
    if external == bool(config.get("clientSecret")) or external != bool(config.get("clientSecretConfig")):
        raise ValidationError(
            "Give clientSecret, or clientSecretConfig with clientSecretSource EXTERNAL, and not both."
        )
    _secret(Provider(place, params["name"], config))
    return dict(config)


def _secret(provider: Provider) -> str:
    """The client's secret. Raises ValidationError where its secret in Secrets Manager has none."""
    config = provider.config
    if config.get("clientSecret"):
        return str(config["clientSecret"])
    reference = config["clientSecretConfig"]
    with request_scope(provider.place.account, provider.place.region):
        status, _headers, body = secretsmanager._get_secret_value({"SecretId": reference["secretId"]})
    if status == 200:
        try:
            return str(json.loads(json.loads(body)["SecretString"])[reference["jsonKey"]])
        except (ValueError, LookupError, TypeError):
            pass
    raise ValidationError(
        f"Secret {reference['secretId']} has no JSON value with the key {reference['jsonKey']}."
    )


def _made(provider: Provider) -> Params:
    external = provider.config.get("clientSecretConfig") or {}
    arn = external.get("secretId") or (
        f"arn:aws:secretsmanager:{provider.place.region}:{provider.place.account}:secret:"
        f"bedrock-agentcore-identity!default/oauth2/{provider.name}-AbCdEf"
    )
    return {
        "clientSecretArn": {"secretArn": arn},
        "clientSecretJsonKey": external.get("jsonKey"),
        "clientSecretSource": provider.config.get("clientSecretSource", "MANAGED"),
        "name": provider.name,
        "credentialProviderArn": provider.arn,
        "oauth2ProviderConfigOutput": {
            _CONFIGURATION: {name: provider.config[name] for name in _KEPT if name in provider.config}
        },
        "status": "READY",
    }


def _described(provider: Provider) -> Params:
    return {
        **_made(provider),
        "credentialProviderVendor": "CustomOauth2",
        "createdTime": provider.created_at,
        "lastUpdatedTime": provider.updated_at,
    }
