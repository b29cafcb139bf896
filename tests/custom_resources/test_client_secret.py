# ruff: noqa: N803 - the services' own parameter names
"""Custom::ClientSecret against a user pool and a secret in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custom_resources.client_secret import ClientSecret
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import Backend, Clients
from tests.custom_resources.issuer_fakes import ARN, SECRET, Secrets

POOL = "us-east-1_Abc123"


class UserPool(Backend):
    """A user pool with one app client."""

    def __init__(self, secret: str | None = SECRET) -> None:
        super().__init__()
        self.secret = secret

    def describe_user_pool_client(self, UserPoolId: str, ClientId: str) -> dict[str, Any]:
        client: dict[str, Any] = {"UserPoolId": UserPoolId, "ClientId": ClientId}
        return {"UserPoolClient": client | ({"ClientSecret": self.secret} if self.secret else {})}


CLIENT = {"UserPoolId": POOL, "ClientId": "abc123", "SecretArn": ARN}


@pytest.mark.parametrize("kind", ["Create", "Update"])
def test_the_secret_goes_to_secrets_manager_and_nowhere_else(
    run: Run, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    secrets = Secrets()
    response = run(ClientSecret, Clients(user_pools=UserPool(), secrets=secrets), kind, CLIENT)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", f"client-secret|{ARN}")
    assert response["Data"] == {"SecretArn": ARN}
    assert json.loads(secrets.content) == {"client_id": "abc123", "client_secret": SECRET}
    assert "hunter2" not in caplog.text + json.dumps(response)


def test_a_client_without_a_secret_is_named(run: Run) -> None:
    secrets = Secrets()
    response = run(ClientSecret, Clients(user_pools=UserPool(None), secrets=secrets), "Create", CLIENT)
    assert response["Status"] == "FAILED"
    assert response["Reason"].endswith("App client abc123 has no secret")
    assert secrets.calls == []


def test_deletion_leaves_the_secret_to_the_stack(run: Run) -> None:
    backends = {"user_pools": UserPool(), "secrets": Secrets()}
    response = run(ClientSecret, Clients(**backends), "Delete", CLIENT, physical_id=f"client-secret|{ARN}")
    assert response["Status"] == "SUCCESS"
    assert [backend.calls for backend in backends.values()] == [[], []]
