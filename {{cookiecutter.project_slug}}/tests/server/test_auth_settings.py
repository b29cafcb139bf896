"""A server whose guard isn't complete doesn't start."""

import json
import subprocess
from typing import Any

import pytest

JWT = {"AUTH_MODE": "jwt", "AUTH_ISSUER": "https://issuer.example/", "AUTH_AUDIENCE": "https://a.example/mcp"}
COGNITO = {
    "AUTH_MODE": "cognito",
    "AUTH_ISSUER": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_example",
    "AUTH_CLIENT_IDS": "client-1",
    "AUTH_REQUIRED_SCOPES": "mcp-server/call",
}


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, {"auth_mode": "none", "auth_required_scopes": ()}),
        ({**JWT, "AUTH_MODE": "JWT"}, {"auth_mode": "jwt", "auth_audience": ("https://a.example/mcp",)}),
        ({**JWT, "AUTH_REQUIRED_SCOPES": "a, b  c"}, {"auth_required_scopes": ("a", "b", "c")}),
        (
            {**JWT, "AUTH_RESOURCE_URL": "https://a.example/team/mcp"},
            {"auth_issuer": "https://issuer.example/"},
        ),
        (
            {**JWT, "AUTH_ISSUER": "http://localhost:9000/realm"},
            {"auth_issuer": "http://localhost:9000/realm"},
        ),
        (COGNITO, {"auth_client_ids": ("client-1",), "auth_jwks_url": None}),
        ({**COGNITO, "AUTH_REQUIRED_SCOPES": "https://a.example/call"}, {"auth_algorithm": "RS256"}),
        # What templates pass for a parameter that was left empty.
        ({"AUTH_MODE": "none", "AUTH_ISSUER": "", "AUTH_AUDIENCE": ""}, {"auth_mode": "none"}),
    ],
)
def test_complete_settings(
    package: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: dict[str, object]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = package("settings").load_settings()
    assert {name: getattr(found, name) for name in expected} == expected


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"AUTH_MODE": "jwt"}, ["AUTH_ISSUER", "AUTH_AUDIENCE"]),
        ({**JWT, "AUTH_AUDIENCE": ""}, ["AUTH_MODE=jwt needs AUTH_AUDIENCE"]),
        ({**JWT, "AUTH_AUDIENCE": " , "}, ["AUTH_MODE=jwt needs AUTH_AUDIENCE"]),
        ({**JWT, "AUTH_ISSUER": ""}, ["AUTH_MODE=jwt needs AUTH_ISSUER"]),
        ({**JWT, "AUTH_CLIENT_IDS": "client-1"}, ["AUTH_CLIENT_IDS"]),
        ({**JWT, "AUTH_ALGORITHM": "HS256"}, ["AUTH_ALGORITHM='HS256'"]),
        ({**JWT, "AUTH_ALGORITHM": "none"}, ["AUTH_ALGORITHM='none'"]),
        ({**JWT, "AUTH_ISSUER": "http://issuer.example"}, ["AUTH_ISSUER='http://issuer.example'", "https"]),
        ({**JWT, "AUTH_ISSUER": "issuer.example"}, ["AUTH_ISSUER='issuer.example'"]),
        ({**JWT, "AUTH_ISSUER": "https://user@issuer.example"}, ["AUTH_ISSUER="]),
        ({**JWT, "AUTH_ISSUER": "https://issuer.example:port"}, ["AUTH_ISSUER="]),
        ({**JWT, "AUTH_JWKS_URL": "http://issuer.example/keys"}, ["AUTH_JWKS_URL="]),
        ({**JWT, "AUTH_JWKS_URL": "file:///etc/keys"}, ["AUTH_JWKS_URL="]),
        ({**JWT, "AUTH_RESOURCE_URL": "https://a.example"}, ["AUTH_RESOURCE_URL=", "/mcp"]),
        ({**JWT, "AUTH_JWKS_MAX_AGE": "0"}, ["AUTH_JWKS_MAX_AGE='0'"]),
        ({**JWT, "AUTH_JWKS_GRACE": "-1"}, ["AUTH_JWKS_GRACE='-1'"]),
        ({"AUTH_MODE": "cognito"}, ["AUTH_ISSUER", "AUTH_CLIENT_IDS", "AUTH_REQUIRED_SCOPES"]),
        ({**COGNITO, "AUTH_CLIENT_IDS": ""}, ["AUTH_MODE=cognito needs AUTH_CLIENT_IDS"]),
        ({**COGNITO, "AUTH_ISSUER": ""}, ["AUTH_MODE=cognito needs AUTH_ISSUER"]),
        ({**COGNITO, "AUTH_REQUIRED_SCOPES": ""}, ["AUTH_MODE=cognito needs AUTH_REQUIRED_SCOPES"]),
        ({**COGNITO, "AUTH_REQUIRED_SCOPES": "mcp-server/call read"}, ["'read'"]),
        ({**COGNITO, "AUTH_REQUIRED_SCOPES": "/call"}, ["'/call'"]),
        ({**COGNITO, "AUTH_REQUIRED_SCOPES": "mcp-server/"}, ["'mcp-server/'"]),
        ({**COGNITO, "AUTH_ALGORITHM": "ES256"}, ["AUTH_ALGORITHM"]),
        ({"AUTH_MODE": "oidc"}, ["AUTH_MODE='oidc'"]),
        # Whoever set these believes the server to be closed.
        ({"AUTH_ISSUER": "https://issuer.example"}, ["AUTH_ISSUER", "AUTH_MODE"]),
        ({**JWT, "AUTH_MODE": "none"}, ["AUTH_ISSUER, AUTH_AUDIENCE", "AUTH_MODE"]),
        ({"AUTH_REQUIRED_SCOPES": "a"}, ["AUTH_REQUIRED_SCOPES"]),
        ({"AUTH_CLIENT_IDS": "a"}, ["AUTH_CLIENT_IDS"]),
        ({"AUTH_JWKS_URL": "https://issuer.example"}, ["AUTH_JWKS_URL"]),
        ({"AUTH_RESOURCE_URL": "https://a.example/mcp"}, ["AUTH_RESOURCE_URL"]),
    ],
)
def test_incomplete_settings_are_one_line_that_names_them(
    package: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], named: list[str]
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = package("settings")
    with pytest.raises(settings.SettingsError) as caught:
        settings.load_settings()
    message = str(caught.value)
    assert "\n" not in message
    for part in named:
        assert part in message


@pytest.mark.parametrize(
    "variables", [{"AUTH_MODE": "jwt"}, {"AUTH_MODE": "cognito"}, {"AUTH_AUDIENCE": "a"}]
)
def test_the_process_ends_before_it_listens(command: Any, variables: dict[str, str]) -> None:
    answer = subprocess.run(
        **command(**variables), input="", capture_output=True, text=True, timeout=30, check=False
    )
    assert answer.returncode == 2
    assert answer.stdout == ""
    assert json.loads(answer.stderr)["error"].startswith("AUTH_")
    assert answer.stderr.count("\n") == 1
