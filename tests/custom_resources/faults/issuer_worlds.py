# ruff: noqa: N803 - the services' own parameter names
"""The worlds of the types that deal with tokens: a gateway to call, a secret to copy, keys to publish."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager, ExitStack
from types import MappingProxyType
from typing import Any
from unittest.mock import patch

from botocore.exceptions import ConnectTimeoutError, ReadTimeoutError
from hypothesis import strategies as st

from custom_resources import signing_keys, tokens, tool_call
from custom_resources.client_secret import ClientSecret
from custom_resources.issuers import IssuerError
from custom_resources.mcp_probe import ProbeError, Sign, Trial
from custom_resources.signing_keys import KEY, SigningKeys
from custom_resources.tool_call import ToolCall
from tests.custom_resources.fakes import ApiError
from tests.custom_resources.faults.world import Clock, Faults, World

ISSUER = "https://issuer.example.com"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
GATEWAY_URL = "https://tools-a1b2c3d4e5.gateway.example.com/mcp"
SECRETS = tuple(
    f"arn:aws:secretsmanager:us-east-1:123456789012:secret:{name}" for name in ("gateway", "other")
)
CLIENTS = MappingProxyType({"client1": "hunter2", "client2": "hunter3", "public": ""})
UNHEARD = (ApiError, ConnectTimeoutError, ReadTimeoutError)


class IssuerWorld(World):
    """An issuer whose documents are asked for over HTTPS, with faults at each exchange."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.keys: list[dict[str, str]] = [{"kid": "1"}]

    def backend(self, service: str, region: str | None) -> Any:
        assert region is None
        return self

    def exchange(
        self, url: str, timeout: float, headers: dict[str, str], body: bytes | None = None
    ) -> dict[str, Any]:
        """Answer as `issuers.exchange` does."""
        documents = {
            DISCOVERY: {"token_endpoint": f"{ISSUER}/token", "jwks_uri": f"{ISSUER}/keys"},
            f"{ISSUER}/token": {"access_token": "token"},
            f"{ISSUER}/keys": {"keys": list(self.keys)},
        }
        try:
            answer: dict[str, Any] = self.faults.meet(lambda: documents[url])
        except UNHEARD as error:
            raise IssuerError(f"{url} can't be read: {error}") from error
        return answer


class ToolCallWorld(IssuerWorld):
    """A gateway, whose tool answers rightly, wrongly or not at all."""

    resource = ToolCall
    seconds = 300.0
    disturbances = 4
    properties = st.fixed_dictionaries(
        {
            "GatewayUrl": st.just(GATEWAY_URL),
            "TargetName": st.sampled_from(["tools", "search"]),
            "Call": st.just({"tool": "add", "arguments": {"a": 1}, "answer": "3"}),
            "Revision": st.sampled_from(["sha256:aa", "sha256:bb"]),
            "DiscoveryUrl": st.just(DISCOVERY),
            "ClientSecretArn": st.just(SECRETS[0]),
        }
    )
    _life = MappingProxyType(
        {
            "GatewayUrl": GATEWAY_URL,
            "Call": {"tool": "add", "arguments": {"a": 1}, "answer": "3"},
            "DiscoveryUrl": DISCOVERY,
            "ClientSecretArn": SECRETS[0],
        }
    )
    life = (
        {**_life, "TargetName": "tools", "Revision": "sha256:aa"},
        {**_life, "TargetName": "tools", "Revision": "sha256:bb"},
        {**_life, "TargetName": "search", "Revision": "sha256:aa"},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.answer: str | None = "3"
        self.answered = 0

    def get_secret_value(self, SecretId: str) -> dict[str, Any]:
        return {"ARN": SecretId, "SecretString": json.dumps({"client_id": "client1", "client_secret": "s"})}

    def describe_stacks(self, StackName: str) -> dict[str, Any]:
        status = "UPDATE_ROLLBACK_IN_PROGRESS" if self.is_rolling_back else "UPDATE_IN_PROGRESS"
        stack = {"StackName": "tools-dev", "StackStatus": status, "CreationTime": 0}
        return {"Stacks": [stack]}

    def ours(self) -> list[str]:
        return []

    def others(self) -> Any:
        return None

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        told = attributes["Answer"]
        if told.startswith("none: "):
            return [] if self.is_rolling_back else ["an Update succeeded without an answer"]
        facts = {
            "answer": told == self.answer == properties["Call"]["answer"],
            "tool": attributes["Tool"] == f"{properties['TargetName']}___add",
            "latency": attributes["LatencyMs"] == "250",
            "was called": self.answered > 0,
        }
        return [name for name, holds in facts.items() if not holds]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        self.answered = 0
        return self.answer != "3" and not self.is_rolling_back

    def disturb(self, choice: int) -> None:
        self.answer = ("3", "3", "4", None)[choice]

    def patches(self) -> AbstractContextManager[Any]:
        both = ExitStack()
        both.enter_context(patch.object(tokens, "exchange", self.exchange))
        both.enter_context(patch.object(tool_call, "try_tool", self._call))
        return both

    def _call(self, endpoint: str, timeout: float, tool: str, arguments: Any, sign: Sign) -> Trial:
        assert (endpoint, arguments) == (GATEWAY_URL, {"a": 1})
        assert sign("POST", endpoint, {}, b"")["Authorization"] == "Bearer token"
        try:
            self.faults.meet(lambda: None)
        except UNHEARD as error:
            raise ProbeError("timeout", "host: no answer in time") from error
        if self.answer is None:
            raise ProbeError("http", "HTTP 502", status=502)
        self.answered += 1
        return Trial((tool,), self.answer, failed=False, seconds=0.25)


class ClientSecretWorld(IssuerWorld):
    """App clients of a user pool, and secrets, of which the resource writes one and deletes none."""

    resource = ClientSecret
    seconds = 60.0
    properties = st.fixed_dictionaries(
        {
            "UserPoolId": st.just("us-east-1_Abc123"),
            "ClientId": st.sampled_from(["client1", "client1", "client2", "public"]),
            "SecretArn": st.sampled_from(SECRETS),
        }
    )
    life = (
        {"UserPoolId": "us-east-1_Abc123", "ClientId": "client1", "SecretArn": SECRETS[0]},
        {"UserPoolId": "us-east-1_Abc123", "ClientId": "client2", "SecretArn": SECRETS[0]},
        {"UserPoolId": "us-east-1_Abc123", "ClientId": "client1", "SecretArn": SECRETS[1]},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.secrets = {**dict.fromkeys(SECRETS, ""), "theirs": "theirs"}

    def describe_user_pool_client(self, UserPoolId: str, ClientId: str) -> dict[str, Any]:
        secret = {"ClientSecret": CLIENTS[ClientId]} if CLIENTS[ClientId] else {}
        return {"UserPoolClient": {"UserPoolId": UserPoolId, "ClientId": ClientId, **secret}}

    def put_secret_value(self, SecretId: str, SecretString: str, **_: Any) -> dict[str, Any]:
        self.secrets[SecretId] = SecretString
        return {"ARN": SecretId}

    def ours(self) -> list[str]:
        return []

    def others(self) -> dict[str, str]:
        return dict(self.secrets)

    def harmed(self, before: dict[str, str], request: dict[str, Any]) -> list[str]:
        """Only the secret that is named is written, and a Delete writes none."""
        named = "" if request["RequestType"] == "Delete" else request["ResourceProperties"]["SecretArn"]
        return [arn for arn, content in self.secrets.items() if arn != named and content != before[arn]]

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        arn, client = properties["SecretArn"], properties["ClientId"]
        written = json.loads(self.secrets[arn])
        wanted = {"client_id": client, "client_secret": CLIENTS[client]}
        return [] if attributes == {"SecretArn": arn} and written == wanted else [repr(attributes)]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        return not CLIENTS[properties["ClientId"]]


class SigningKeysWorld(IssuerWorld):
    """An issuer that changes its keys, and buckets with more in them than the keys."""

    resource = SigningKeys
    seconds = 60.0
    disturbances = 4
    properties = st.fixed_dictionaries(
        {"DiscoveryUrl": st.just(DISCOVERY), "BucketName": st.sampled_from(["keys-one", "keys-two"])}
    )
    life = (
        {"DiscoveryUrl": DISCOVERY, "BucketName": "keys-one"},
        {"DiscoveryUrl": DISCOVERY, "BucketName": "keys-one"},
        {"DiscoveryUrl": DISCOVERY, "BucketName": "keys-two"},
    )

    def __init__(self, clock: Clock, faults: Faults) -> None:
        super().__init__(clock, faults)
        self.buckets: dict[str, dict[str, bytes]] = {
            name: {"theirs.json": b"theirs"} for name in ("keys-one", "keys-two")
        }

    def put_object(self, Bucket: str, Key: str, Body: bytes, ContentType: str) -> dict[str, Any]:
        if Bucket not in self.buckets:
            raise ApiError("NoSuchBucket", "gone", 404)
        self.buckets[Bucket][Key] = Body
        return {}

    def delete_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        if Bucket not in self.buckets:
            raise ApiError("NoSuchBucket", "gone", 404)
        self.buckets[Bucket].pop(Key, None)
        return {}

    def ours(self) -> list[str]:
        return [name for name, objects in self.buckets.items() if KEY in objects]

    def others(self) -> Any:
        return {
            name: {key: body for key, body in objects.items() if key != KEY}
            for name, objects in self.buckets.items()
        }

    def untruths(self, properties: dict[str, Any], attributes: dict[str, str]) -> list[str]:
        published = json.loads(self.buckets[properties["BucketName"]][KEY])["keys"]
        return [] if published == self.keys and attributes == {"Key": KEY} else [f"{published}"]

    def untruths_of_delete(self, physical_id: str) -> list[str]:
        return [name for name in self.ours() if physical_id == f"signing-keys|{name}"]

    def refuses(self, kind: str, properties: dict[str, Any]) -> bool:
        is_missing = properties["BucketName"] not in self.buckets
        return kind != "Delete" and (not self.keys or is_missing)

    def disturb(self, choice: int) -> None:
        if choice == 0:
            self.keys = [{"kid": str(len(self.keys) + 1)}, *self.keys]
        elif choice == 1:
            self.keys = [] if self.keys else [{"kid": "9"}]
        elif choice == 2:
            self.buckets.pop("keys-two", None)
        else:
            self.buckets["keys-one"].pop(KEY, None)

    def patches(self) -> AbstractContextManager[Any]:
        return patch.object(signing_keys, "exchange", self.exchange)
