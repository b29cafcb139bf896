# ruff: noqa: N803 - the services' own parameter names
"""Custom::SigningKeys between an issuer on loopback and a bucket in memory."""

from __future__ import annotations

import json
from typing import Any

import pytest

from custom_resources import signing_keys
from custom_resources.issuers import IssuerError
from custom_resources.signing_keys import SigningKeys
from tests.custom_resources.conftest import Run
from tests.custom_resources.fakes import ApiError, Backend, Clients, Clock, Context
from tests.custom_resources.issuer_fakes import Issuer

BUCKET = "bucket"


class Bucket(Backend):
    """A bucket."""

    def __init__(self) -> None:
        super().__init__()
        self.objects: dict[tuple[str, str], bytes] = {}

    def put_object(self, Bucket: str, Key: str, Body: Any, ContentType: str) -> dict[str, Any]:
        assert ContentType == "application/json"
        self.objects[Bucket, Key] = Body
        return {}

    def delete_object(self, Bucket: str, Key: str) -> dict[str, Any]:
        self.objects.pop((Bucket, Key), None)
        return {}


def keys_of(bucket: Bucket) -> Any:
    return json.loads(bucket.objects[BUCKET, "jwks.json"])


def test_the_keys_are_copied_refreshed_and_deleted(
    run: Run, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> None:
    bucket, given = Bucket(), {"DiscoveryUrl": issuer.discovery_url, "BucketName": BUCKET}
    response = run(SigningKeys, Clients(s3=bucket), "Create", given)
    assert (response["Status"], response["PhysicalResourceId"]) == ("SUCCESS", f"signing-keys|{BUCKET}")
    assert response["Data"] == {"Key": "jwks.json"}
    assert keys_of(bucket) == issuer.keys

    issuer.keys = {"keys": [{"kty": "RSA", "kid": "2"}]}
    monkeypatch.setattr("custom_resources.aws.Clients", lambda: Clients(s3=bucket))
    signing_keys.handler(given, Context(clock))
    assert keys_of(bucket) == issuer.keys

    bucket.objects.clear()
    assert run(SigningKeys, Clients(s3=bucket), "Update", given)["Data"] == {"Key": "jwks.json"}
    assert keys_of(bucket) == issuer.keys

    run(SigningKeys, Clients(s3=bucket), "Delete", given, physical_id=f"signing-keys|{BUCKET}")
    assert bucket.objects == {}


@pytest.mark.parametrize("keys", [{"keys": []}, {}, {"keys": "none"}])
def test_a_document_without_keys_replaces_nothing(
    run: Run, issuer: Issuer, monkeypatch: pytest.MonkeyPatch, clock: Clock, keys: dict[str, Any]
) -> None:
    bucket, given = Bucket(), {"DiscoveryUrl": issuer.discovery_url, "BucketName": BUCKET}
    run(SigningKeys, Clients(s3=bucket), "Create", given)
    before, issuer.keys = keys_of(bucket), keys
    monkeypatch.setattr("custom_resources.aws.Clients", lambda: Clients(s3=bucket))
    with pytest.raises(IssuerError, match="publishes no keys"):
        signing_keys.handler(given, Context(clock))
    assert keys_of(bucket) == before


def test_keys_over_plain_http_are_refused(run: Run, issuer: Issuer) -> None:
    issuer.discovery["jwks_uri"] = "http://idp.example/keys"
    bucket = Bucket()
    response = run(
        SigningKeys,
        Clients(s3=bucket),
        "Create",
        {"DiscoveryUrl": issuer.discovery_url, "BucketName": BUCKET},
    )
    assert response["Status"] == "FAILED"
    assert "names no https jwks_uri" in response["Reason"]
    assert bucket.objects == {}


def test_a_bucket_that_is_gone_is_no_obstacle(run: Run) -> None:
    bucket = Bucket()
    bucket.errors["delete_object"] = [ApiError("NoSuchBucket", status=404)]
    response = run(SigningKeys, Clients(s3=bucket), "Delete", {}, physical_id=f"signing-keys|{BUCKET}")
    assert response["Status"] == "SUCCESS"


def test_a_copy_that_never_was_is_no_obstacle(run: Run) -> None:
    bucket = Bucket()
    assert (
        run(SigningKeys, Clients(s3=bucket), "Delete", {}, physical_id="not-created|x")["Status"] == "SUCCESS"
    )
    assert bucket.calls == []


def test_an_issuer_that_does_not_answer_yet_is_asked_again(run: Run, issuer: Issuer, clock: Clock) -> None:
    bucket, discovery = Bucket(), issuer.discovery

    def wake_up() -> None:
        issuer.discovery = discovery

    issuer.discovery, clock.on_sleep = {}, wake_up
    given = {"DiscoveryUrl": issuer.discovery_url, "BucketName": BUCKET}
    assert run(SigningKeys, Clients(s3=bucket), "Create", given)["Status"] == "SUCCESS"
    assert keys_of(bucket) == issuer.keys


def test_an_issuer_that_never_answers_is_told_in_time(run: Run, issuer: Issuer, clock: Clock) -> None:
    issuer.discovery, before = {}, clock.now()
    given = {"DiscoveryUrl": issuer.discovery_url, "BucketName": BUCKET}
    response = run(SigningKeys, Clients(s3=Bucket()), "Create", given, seconds=60.0)
    assert "names no https jwks_uri" in response["Reason"]
    assert 10 < clock.now() - before < 25


def test_delete_by_an_id_that_cloudformation_made_up_removes_the_copy(run: Run, issuer: Issuer) -> None:
    bucket, given = Bucket(), {"DiscoveryUrl": issuer.discovery_url, "BucketName": BUCKET}
    run(SigningKeys, Clients(s3=bucket), "Create", given)
    run(SigningKeys, Clients(s3=bucket), "Delete", given, physical_id="tools-dev-Keys-1A2B3C4D5E6F")
    assert bucket.objects == {}
