"""Who may call a gateway with a token, and with which token a gateway calls its server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jwt
import pytest
from aiohttp import web
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.local_cloud import stacks
from tests.local_cloud.agentcore_support import AgentCore
from tests.local_cloud.data_plane_support import Edge, http_server, unique

INITIALIZED = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "s"}}
TOOL = {"name": "t", "inputSchema": {"type": "object"}}
RESULTS = {"initialize": INITIALIZED, "tools/list": {"tools": [TOOL]}, "tools/call": {"content": []}}


@dataclass
class Pool:
    """A user pool with a domain, a resource server with two scopes, and clients."""

    edge: Edge
    pool_id: str
    domain: str

    @property
    def issuer(self) -> str:
        return f"https://cognito-idp.us-east-1.amazonaws.com/{self.pool_id}"

    @property
    def discovery_url(self) -> str:
        return f"{self.issuer}/.well-known/openid-configuration"

    def client(self, *scopes: str) -> tuple[str, str]:
        made = self.edge.api("cognito-idp").create_user_pool_client(
            UserPoolId=self.pool_id,
            ClientName=unique("client"),
            GenerateSecret=True,
            AllowedOAuthFlows=["client_credentials"],
            AllowedOAuthFlowsUserPoolClient=True,
            AllowedOAuthScopes=list(scopes),
        )["UserPoolClient"]
        return made["ClientId"], made["ClientSecret"]

    def token(self, client: tuple[str, str]) -> str:
        with self.edge.http() as http:
            endpoint = http.get(self.discovery_url).json()["token_endpoint"]
            answer = http.post(endpoint, data={"grant_type": "client_credentials"}, auth=client)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture
def pool(edge: Edge) -> Pool:
    cognito = edge.api("cognito-idp")
    pool_id = cognito.create_user_pool(PoolName=unique("pool"))["UserPool"]["Id"]
    domain = unique("domain")
    cognito.create_user_pool_domain(UserPoolId=pool_id, Domain=domain)
    cognito.create_resource_server(
        UserPoolId=pool_id,
        Identifier="mcp",
        Name="mcp",
        Scopes=[{"ScopeName": name, "ScopeDescription": name} for name in ("server", "gateway")],
    )
    return Pool(edge, pool_id, domain)


def authorizer(pool: Pool, **rules: list[str]) -> dict[str, Any]:
    return {
        "authorizerType": "CUSTOM_JWT",
        "authorizerConfiguration": {
            "customJWTAuthorizer": {"discoveryUrl": pool.discovery_url, **rules},
        },
    }


def test_the_discovery_document_names_the_pools_own_addresses(pool: Pool, edge: Edge) -> None:
    with edge.http() as http:
        document = http.get(pool.discovery_url).json()
        keys = http.get(document["jwks_uri"]).json()["keys"]
        nowhere = http.post("https://no-such-domain.auth.us-east-1.amazoncognito.com/oauth2/token")
        elsewhere = http.post(f"https://{pool.domain}.auth.eu-west-1.amazoncognito.com/oauth2/token")

    host = f"https://{pool.domain}.auth.us-east-1.amazoncognito.com"
    assert (document["issuer"], document["token_endpoint"]) == (pool.issuer, f"{host}/oauth2/token")
    assert document["jwks_uri"] == f"{pool.issuer}/.well-known/jwks.json"
    assert all(key["kty"] == "RSA" for key in keys)
    assert (nowhere.status_code, elsewhere.status_code) == (404, 404)


def test_a_gateway_lets_the_bearer_of_a_good_token_in_and_no_other(agentcore: AgentCore, pool: Pool) -> None:
    caller, other = pool.client("mcp/gateway"), pool.client("mcp/gateway")
    gateway = agentcore.gateway(**authorizer(pool, allowedClients=[caller[0]], allowedScopes=["mcp/gateway"]))
    good = pool.token(caller)
    claims = jwt.decode(good, options={"verify_signature": False})
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kid = jwt.get_unverified_header(good)["kid"]
    forged = jwt.encode(claims, key, algorithm="RS256", headers={"kid": kid})
    unsigned = jwt.encode(claims, "", algorithm="none", headers={"kid": kid})

    def status(authorization: str) -> int:
        headers: dict[str, Any] = {"authorization": authorization} if authorization else {}
        return agentcore.post(gateway["gatewayUrl"], "tools/list", **headers).status_code

    assert status(f"Bearer {good}") == 200
    for wrong in ("", "Bearer", "Basic dTpw", "Bearer abc", f"Bearer {forged}", f"Bearer {unsigned}"):
        assert status(wrong) == 401, wrong
    assert status(f"Bearer {pool.token(other)}") == 401
    refused = agentcore.post(gateway["gatewayUrl"], "tools/list")
    metadata = f"https://{gateway['gatewayId']}.gateway.bedrock-agentcore.us-east-1.amazonaws.com/.well-known"
    assert refused.headers["www-authenticate"] == (
        f'Bearer resource_metadata="{metadata}/oauth-protected-resource"'
    )
    with agentcore.edge.http() as http:
        published = http.get(f"{metadata}/oauth-protected-resource").json()
    assert published == {"resource": gateway["gatewayUrl"], "authorization_servers": [pool.issuer]}


def test_scope_and_audience_count_where_they_are_configured(agentcore: AgentCore, pool: Pool) -> None:
    caller = pool.client("mcp/server")
    by_scope = agentcore.gateway(**authorizer(pool, allowedScopes=["mcp/gateway"]))
    by_audience = agentcore.gateway(**authorizer(pool, allowedAudience=["gateway"]))
    bearer = f"Bearer {pool.token(caller)}"

    assert agentcore.post(by_scope["gatewayUrl"], "ping", authorization=bearer).status_code == 403
    # Cognito's tokens of the client credentials grant have no aud claim.
    assert agentcore.post(by_audience["gatewayUrl"], "ping", authorization=bearer).status_code == 401


def provider_config(pool: Pool, client_id: str, **secret: Any) -> dict[str, Any]:
    return {
        "credentialProviderVendor": "CustomOauth2",
        "oauth2ProviderConfigInput": {
            "customOauth2ProviderConfig": {
                "oauthDiscovery": {"discoveryUrl": pool.discovery_url},
                "clientId": client_id,
                **secret,
            }
        },
    }


@pytest.fixture
def guarded_server(edge: Edge) -> Iterator[tuple[str, list[str]]]:
    """An MCP server's address, and the Authorization fields of its requests."""
    seen: list[str] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        if request.method != "POST":
            return web.Response()  # the load balancer's health check
        message = await request.json()
        seen.append(request.headers.get("authorization", ""))
        if "id" not in message:
            return web.Response(status=202)
        result = RESULTS[message["method"]]
        return web.json_response({"jsonrpc": "2.0", "id": message["id"], "result": result})

    with http_server(answer) as port:
        yield edge.distribution(edge.forwarding_load_balancer(port)) + "/mcp", seen


def oauth_target(agentcore: AgentCore, endpoint: str, provider_arn: str) -> dict[str, Any]:
    gateway = agentcore.gateway()
    oauth = {"providerArn": provider_arn, "scopes": ["mcp/server"], "grantType": "CLIENT_CREDENTIALS"}
    created = agentcore.api.create_gateway_target(
        gatewayIdentifier=gateway["gatewayId"],
        name=unique("guarded"),
        targetConfiguration={"mcp": {"mcpServer": {"endpoint": endpoint}}},
        credentialProviderConfigurations=[
            {"credentialProviderType": "OAUTH", "credentialProvider": {"oauthCredentialProvider": oauth}}
        ],
    )
    target = agentcore.settled_target(gateway["gatewayId"], created["targetId"])
    return {**target, "gatewayUrl": gateway["gatewayUrl"]}


def test_a_gateway_calls_its_server_with_a_token_of_its_own(
    agentcore: AgentCore, edge: Edge, pool: Pool, guarded_server: tuple[str, list[str]]
) -> None:
    endpoint, seen = guarded_server
    client_id, secret = pool.client("mcp/server")
    external = edge.api("secretsmanager").create_secret(
        Name=unique("secret"), SecretString=json.dumps({"client_secret": secret})
    )["ARN"]
    sources: list[dict[str, Any]] = [
        {"clientSecret": secret},
        {
            "clientSecretSource": "EXTERNAL",
            "clientSecretConfig": {"secretId": external, "jsonKey": "client_secret"},
            "clientAuthenticationMethod": "CLIENT_SECRET_POST",
        },
    ]
    for source in sources:
        provider = agentcore.api.create_oauth2_credential_provider(
            name=unique("provider"), **provider_config(pool, client_id, **source)
        )
        seen.clear()
        target = oauth_target(agentcore, endpoint, provider["credentialProviderArn"])
        assert (target["status"], target.get("statusReasons")) == ("READY", None)
        name = f"{target['name']}___t"
        agentcore.post(target["gatewayUrl"], "tools/call", {"name": name})

        assert len(seen) == 6
        for authorization in seen:
            claims = jwt.decode(authorization.removeprefix("Bearer "), options={"verify_signature": False})
            assert (claims["client_id"], claims["scope"]) == (client_id, "mcp/server")
        assert secret not in json.dumps(
            agentcore.api.get_oauth2_credential_provider(name=provider["name"]), default=str
        )


def test_a_gateway_that_gets_no_token_says_so(
    agentcore: AgentCore, pool: Pool, guarded_server: tuple[str, list[str]]
) -> None:
    client_id, _secret = pool.client("mcp/server")
    provider = agentcore.api.create_oauth2_credential_provider(
        name=unique("provider"), **provider_config(pool, client_id, clientSecret="not-the-secret")
    )
    target = oauth_target(agentcore, guarded_server[0], provider["credentialProviderArn"])

    assert target["status"] == "FAILED"
    assert "Failed to get a token" in target["statusReasons"][0]
    assert "not-the-secret" not in target["statusReasons"][0]
    assert guarded_server[1] == []


def test_a_secret_that_is_gone_is_named(
    agentcore: AgentCore, edge: Edge, pool: Pool, guarded_server: tuple[str, list[str]]
) -> None:
    client_id, secret = pool.client("mcp/server")
    secrets = edge.api("secretsmanager")
    arn = secrets.create_secret(Name=unique("secret"), SecretString=json.dumps({"client_secret": secret}))[
        "ARN"
    ]
    reference = {"secretId": arn, "jsonKey": "client_secret"}
    provider = agentcore.api.create_oauth2_credential_provider(
        name=unique("provider"),
        **provider_config(pool, client_id, clientSecretSource="EXTERNAL", clientSecretConfig=reference),
    )
    secrets.delete_secret(SecretId=arn, ForceDeleteWithoutRecovery=True)
    target = oauth_target(agentcore, guarded_server[0], provider["credentialProviderArn"])

    assert target["status"] == "FAILED"
    assert arn in target["statusReasons"][0]


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ({}, "Give clientSecret"),
        ({"clientSecretSource": "EXTERNAL"}, "Give clientSecret"),
        (
            {
                "clientSecretSource": "EXTERNAL",
                "clientSecretConfig": {"secretId": "no-such-secret", "jsonKey": "k"},
            },
            "has no JSON value",
        ),
        (
            {"clientSecret": "s", "clientAuthenticationMethod": "PRIVATE_KEY_JWT"},
            "by their secret only",
        ),
    ],
)
def test_providers_that_are_refused(
    agentcore: AgentCore, pool: Pool, secret: dict[str, Any], text: str
) -> None:
    with pytest.raises(ClientError, match=text):
        agentcore.api.create_oauth2_credential_provider(
            name=unique("provider"), **provider_config(pool, "client", **secret)
        )


def test_a_provider_of_a_template(agentcore: AgentCore, edge: Edge, pool: Pool) -> None:
    client_id, secret = pool.client("mcp/server")
    arn = edge.api("secretsmanager").create_secret(
        Name=unique("secret"), SecretString=json.dumps({"client_secret": secret})
    )["ARN"]
    template = {
        "Parameters": {"ClientId": {"Type": "String"}, "Name": {"Type": "String"}},
        "Resources": {
            "Provider": {
                "Type": "AWS::BedrockAgentCore::OAuth2CredentialProvider",
                "Properties": {
                    "Name": {"Ref": "Name"},
                    "CredentialProviderVendor": "CustomOauth2",
                    "Oauth2ProviderConfigInput": {
                        "CustomOauth2ProviderConfig": {
                            "OauthDiscovery": {"DiscoveryUrl": pool.discovery_url},
                            "ClientId": {"Ref": "ClientId"},
                            "ClientSecretSource": "EXTERNAL",
                            "ClientSecretConfig": {"SecretId": arn, "JsonKey": "client_secret"},
                        }
                    },
                },
            }
        },
        "Outputs": {
            "Ref": {"Value": {"Ref": "Provider"}},
            "Arn": {"Value": {"Fn::GetAtt": ["Provider", "CredentialProviderArn"]}},
        },
    }
    cloudformation, stack, name = edge.api("cloudformation"), unique("provider-stack"), unique("provider")
    made = stacks.create(cloudformation, stack, template, {"ClientId": client_id, "Name": name})
    assert made["StackStatus"] == "CREATE_COMPLETE", stacks.failure_reasons(cloudformation, stack)
    outputs = stacks.outputs(made)
    assert outputs["Ref"] == outputs["Arn"]
    other_id, _other = pool.client("mcp/server")
    stacks.update(cloudformation, stack, template, {"ClientId": other_id, "Name": name})
    provider = agentcore.api.get_oauth2_credential_provider(name=name)
    config = provider["oauth2ProviderConfigOutput"]["customOauth2ProviderConfig"]
    assert (provider["credentialProviderArn"], config["clientId"]) == (outputs["Arn"], other_id)

    stacks.delete(cloudformation, stack)
    deadline = time.monotonic() + 10
    with pytest.raises(ClientError, match="not found"):
        while time.monotonic() < deadline:
            agentcore.api.get_oauth2_credential_provider(name=name)
            time.sleep(0.05)
