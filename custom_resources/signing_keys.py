"""`Custom::SigningKeys`: an issuer's public signing keys, kept in a bucket for servers without internet.

A server that checks tokens needs its issuer's keys. Tasks that reach AWS through VPC endpoints alone can't
fetch them, not even Cognito's: a user pool with a domain, which tokens take, answers no VPC endpoint
(https://docs.aws.amazon.com/cognito/latest/developerguide/vpc-interface-endpoints.html). S3 they do reach.
"""

import json
import logging
import re
from dataclasses import dataclass
from typing import Any

from custom_resources.issuers import IssuerError, exchange
from custom_resources.lifecycle import (
    Attributes,
    Context,
    Event,
    Request,
    Resource,
    Runtime,
    lambda_handler_for,
)
from custom_resources.properties import Raw, Update, parse, required_text, text
from custom_resources.waiting import Deadline, SystemClock, retry

logger = logging.getLogger(__name__)

KEY = "jwks.json"
LONGEST_EXCHANGE = 10.0
ISSUER_SECONDS = 20.0
MARGIN_SECONDS = 5.0
_PHYSICAL_ID = re.compile(r"signing-keys\|(?P<bucket>[a-z0-9.-]+)")


@dataclass(frozen=True)
class SigningKeysProperties:
    """Properties of `Custom::SigningKeys`."""

    discovery_url: str = text(
        r"https://[^\s?#@]+/\.well-known/openid-configuration",
        "an https:// address that ends in /.well-known/openid-configuration",
        description="The issuer's OpenID Connect discovery document, which names its `jwks_uri`.",
    )
    bucket_name: str = text(
        r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]",
        "the name of a bucket",
        description=f"Bucket that gets the keys, as `{KEY}`.",
        update=Update.REPLACEMENT,
    )


class SigningKeys(Resource[SigningKeysProperties]):
    """Copies an issuer's public signing keys to a bucket, for servers that can't reach the issuer.

    The same function, called by a schedule with `DiscoveryUrl` and `BucketName` as its event, copies them
    again: issuers change their keys.
    """

    model = SigningKeysProperties
    attributes = {"Key": "Key of the object, a JSON Web Key Set (RFC 7517)."}  # noqa: RUF012 - ClassVar in the base
    failures = {  # noqa: RUF012
        "… names no https jwks_uri": "check `DiscoveryUrl`: it must be an OpenID Connect discovery document",
        "… publishes no keys": "the issuer is at fault; earlier keys stay as they are",
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `signing-keys|<BucketName>`."""
        return f"signing-keys|{required_text(raw, 'BucketName')}"

    def create(self, request: Request, properties: SigningKeysProperties) -> Attributes:  # noqa: ARG002
        """Copy the keys; an issuer that doesn't answer is asked again for a while."""
        retry(
            lambda: copy(self.runtime, properties),
            lambda error: isinstance(error, IssuerError),
            self.runtime.deadline.share(1, at_most=ISSUER_SECONDS),
        )
        return {"Key": KEY}

    def update(
        self,
        request: Request,
        properties: SigningKeysProperties,
        previous: SigningKeysProperties | None,  # noqa: ARG002
    ) -> Attributes:
        """Copy them again."""
        return self.create(request, properties)

    def delete(self, request: Request, properties: SigningKeysProperties | None) -> None:
        """Delete the copy."""
        address = _PHYSICAL_ID.fullmatch(request.physical_resource_id)
        if address is not None:
            bucket = address["bucket"]
        elif properties is not None:
            # CloudFormation made the id up for a Create it gave up on, which may have come far all the same.
            bucket = properties.bucket_name
        else:
            logger.info("Nothing was copied under %s", request.physical_resource_id)
            return
        self.runtime.doing(f"deleting {KEY} in {bucket}")
        s3 = self.runtime.clients.s3()
        try:
            self.runtime.call(lambda: s3.delete_object(Bucket=bucket, Key=KEY))
        except s3.exceptions.NoSuchBucket:
            logger.info("The bucket is gone, and the keys with it")


def copy(runtime: Runtime, properties: SigningKeysProperties) -> None:
    """Copy the issuer's keys to the bucket; a document without keys replaces nothing. Raises IssuerError."""
    runtime.doing(f"reading the keys that {properties.discovery_url} names")
    timeout = max(1.0, min(LONGEST_EXCHANGE, runtime.deadline.remaining()))
    url = exchange(properties.discovery_url, timeout, {}).get("jwks_uri")
    if not isinstance(url, str) or not url.startswith("https://"):
        raise IssuerError(f"{properties.discovery_url} names no https jwks_uri")
    keys = exchange(url, timeout, {}).get("keys")
    if not isinstance(keys, list) or not keys:
        raise IssuerError(f"{url} publishes no keys")
    body = json.dumps({"keys": keys}).encode()
    runtime.doing(f"writing {KEY} to {properties.bucket_name}")
    runtime.call(
        lambda: runtime.clients.s3().put_object(
            Bucket=properties.bucket_name, Key=KEY, Body=body, ContentType="application/json"
        )
    )
    logger.info("%d keys of %s are in %s", len(keys), url, properties.bucket_name)


_resource_handler = lambda_handler_for(SigningKeys)


def handler(event: Event, context: Context) -> None:
    """Serve CloudFormation, or a schedule, whose event is the properties; Lambda repeats what raises."""
    if "RequestType" in event:
        _resource_handler(event, context)
        return
    refresh(event, context)


def refresh(event: dict[str, Any], context: Context) -> None:
    """Copy the keys that `event` names, as a schedule asks."""
    from custom_resources.aws import Clients

    clock = SystemClock()
    seconds = context.get_remaining_time_in_millis() / 1000 - MARGIN_SECONDS
    runtime = Runtime(Clients(), Deadline(clock, clock.now() + seconds))
    copy(runtime, parse(SigningKeysProperties, event))
