"""Which callers the server lets in over HTTP, read from environment variables that begin with `AUTH_`."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator
from pydantic_settings import BaseSettings, NoDecode

AuthMode = Literal["none", "jwt", "cognito"]
# Asymmetric ones alone: a server that also took HS256 would take a token signed with its issuer's public key.
AuthAlgorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
MCP_PATH = "/mcp"
LOOPBACK_HOSTS = ("127.0.0.1", "::1", "localhost")
# Cognito's custom scopes: the resource server's identifier, a slash, the scope's own name.
COGNITO_SCOPE = re.compile(r"[^/].*/[^/]+")


def is_trustworthy(url: str) -> bool:
    """Return whether nobody on the way can change what `url` answers: https, or http on this machine."""
    try:
        parts = urlsplit(url)
        host, _port, user = parts.hostname, parts.port, parts.username
    except ValueError:
        return False
    if not host or user is not None or parts.query or parts.fragment or re.search(r"[\s\x00-\x1f]", url):
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and host in LOOPBACK_HOSTS)


def _trustworthy(url: str) -> str:
    if not is_trustworthy(url):
        raise ValueError(
            "it must be an https address without user, query and fragment (http on this machine only)"
        )
    return url


def _resource(url: str) -> str:
    if not url.endswith(MCP_PATH):
        raise ValueError(f"it must end in {MCP_PATH}, as the address that clients are given does")
    return url


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _lower(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


Url = Annotated[str, AfterValidator(_trustworthy)]
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class AuthSettings(BaseSettings):
    """One attribute per environment variable; lists are separated by spaces or commas."""

    auth_mode: Annotated[AuthMode, BeforeValidator(_lower)] = Field(
        "none",
        validation_alias="AUTH_MODE",
        description="who may call over HTTP: none (anyone), jwt or cognito (bearers of a valid access token)",
    )
    auth_issuer: Url | None = Field(
        None,
        validation_alias="AUTH_ISSUER",
        description="issuer of the tokens, exactly as their iss claim has it",
    )
    auth_audience: Words = Field(
        (), validation_alias="AUTH_AUDIENCE", description="aud claims of tokens meant for this server"
    )
    auth_client_ids: Words = Field(
        (), validation_alias="AUTH_CLIENT_IDS", description="Cognito app clients that may call"
    )
    auth_required_scopes: Words = Field(
        (),
        validation_alias="AUTH_REQUIRED_SCOPES",
        description="scopes that every token must hold; for cognito in full: resource-server/scope",
    )
    auth_resource_url: Annotated[Url, AfterValidator(_resource)] | None = Field(
        None,
        validation_alias="AUTH_RESOURCE_URL",
        description="address clients reach /mcp at; with it the server publishes where tokens come from",
    )
    auth_jwks_url: Url | None = Field(
        None,
        validation_alias="AUTH_JWKS_URL",
        description="the issuer's signing keys; found by way of the issuer where not set",
    )
    auth_algorithm: AuthAlgorithm = Field(
        "RS256", validation_alias="AUTH_ALGORITHM", description="the one algorithm tokens are signed with"
    )
    auth_jwks_max_age: int = Field(
        600,
        ge=1,
        le=86_400,
        validation_alias="AUTH_JWKS_MAX_AGE",
        description="seconds after which signing keys are fetched again",
    )
    auth_jwks_grace: int = Field(
        3600,
        ge=0,
        le=604_800,
        validation_alias="AUTH_JWKS_GRACE",
        description="seconds that older keys go on serving while new ones can't be fetched; then 503",
    )

    @model_validator(mode="after")
    def _leave_no_door_open(self) -> Self:
        if found := " ".join(self._auth_problems()):
            raise ValueError(found)
        return self

    def _auth_problems(self) -> list[str]:
        given = {
            "AUTH_ISSUER": self.auth_issuer,
            "AUTH_AUDIENCE": self.auth_audience,
            "AUTH_CLIENT_IDS": self.auth_client_ids,
            "AUTH_REQUIRED_SCOPES": self.auth_required_scopes,
            "AUTH_RESOURCE_URL": self.auth_resource_url,
            "AUTH_JWKS_URL": self.auth_jwks_url,
        }
        if self.auth_mode == "none":
            names = ", ".join(name for name, value in given.items() if value)
            # Whoever set them believes the server to be closed.
            return [f"{names} set while AUTH_MODE is none: set AUTH_MODE to jwt or cognito."] if names else []
        needed = {
            "jwt": {
                "AUTH_ISSUER": "the iss claim of your tokens",
                "AUTH_AUDIENCE": "the aud claim of tokens meant for this server",
            },
            "cognito": {
                "AUTH_ISSUER": "https://cognito-idp.<region>.amazonaws.com/<user pool id>",
                "AUTH_CLIENT_IDS": "the app clients that may call",
                "AUTH_REQUIRED_SCOPES": "at least one scope of your resource server, such as mcp-server/call",
            },
        }[self.auth_mode]
        problems = [
            f"AUTH_MODE={self.auth_mode} needs {name}: {what}."
            for name, what in needed.items()
            if not given[name]
        ]
        if self.auth_mode == "jwt" and self.auth_client_ids:
            problems.append("AUTH_CLIENT_IDS is read with AUTH_MODE=cognito only: use AUTH_AUDIENCE.")
        if self.auth_mode == "cognito":
            problems += [
                f"AUTH_REQUIRED_SCOPES: {scope!r} must begin with its resource server and a slash."
                for scope in self.auth_required_scopes
                if not COGNITO_SCOPE.fullmatch(scope)
            ]
            if self.auth_algorithm != "RS256":
                problems.append("AUTH_ALGORITHM must be RS256 with AUTH_MODE=cognito.")
        return problems
