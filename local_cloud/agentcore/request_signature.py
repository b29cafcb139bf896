"""Checks a SigV4 signature: signed again with the caller's secret, the request must come out the same."""

from __future__ import annotations

import datetime
import hashlib
import hmac
import re
from collections.abc import Mapping

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from ministack.services import iam, sts  # type: ignore[import-untyped]

from ..context import ACCOUNT_ID
from ..data_plane.http_message import Request

MAX_SKEW = datetime.timedelta(minutes=5)
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 "
    r"Credential=(?P<key>[^/,]+)/(?P<date>\d{8})/(?P<region>[^/,]+)/(?P<service>[^/,]+)/aws4_request,"
    r"\s*SignedHeaders=(?P<signed>[^,]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class MissingSignatureError(Exception):
    """The request carries no signature."""


class WrongSignatureError(Exception):
    """The signature is not the one that the caller's secret gives; the text says what is wrong."""


def check_signature(
    request: Request, host: str, *, region: str, service: str, environment: Mapping[str, str]
) -> None:
    """Accept ``request`` or raise MissingSignatureError or WrongSignatureError.

    ``environment`` has the cloud's own key pair (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY); keys made by IAM
    and sessions made by STS are known too.
    """
    authorization = request.header("authorization")
    if not authorization:
        raise MissingSignatureError
    parts = _AUTHORIZATION.fullmatch(authorization)
    if parts is None:
        raise WrongSignatureError("The Authorization header is not an AWS4-HMAC-SHA256 signature.")
    if (parts["region"], parts["service"]) != (region, service):
        raise WrongSignatureError(
            f"Credential should be scoped to region '{region}' and service '{service}', "
            f"not to '{parts['region']}' and '{parts['service']}'."
        )
    timestamp = request.header("x-amz-date")
    _check_time(timestamp, parts["date"])
    secret = _secret_of(parts["key"], environment)
    if secret is None:
        raise WrongSignatureError("The security token included in the request is invalid.")
    digest = hashlib.sha256(request.body).hexdigest()
    declared = request.header("x-amz-content-sha256")
    if declared not in {"", digest}:
        raise WrongSignatureError(
            "The provided x-amz-content-sha256 header does not match the request's body."
        )
    names = parts["signed"].split(";")
    if "host" not in names:
        raise WrongSignatureError("The host header is not signed.")
    expected = _signature(request, host, names, Credentials(parts["key"], secret), region, service, timestamp)
    if not hmac.compare_digest(expected, parts["signature"]):
        raise WrongSignatureError(
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method."
        )


def _signature(
    request: Request,
    host: str,
    names: list[str],
    credentials: Credentials,
    region: str,
    service: str,
    timestamp: str,
) -> str:
    again = AWSRequest(
        method=request.method,
        url=f"https://{host}{request.target_with_query}",
        data=request.body,
        headers={name: request.header(name) for name in names},
    )
    again.context["timestamp"] = timestamp
    auth = SigV4Auth(credentials, service, region)
    to_sign = auth.string_to_sign(again, auth.canonical_request(again))
    return str(auth.signature(to_sign, again))


def _check_time(timestamp: str, date: str) -> None:
    try:
        signed_at = datetime.datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise WrongSignatureError("The X-Amz-Date header is missing or malformed.") from error
    if not timestamp.startswith(date):
        raise WrongSignatureError("The credential's date is not the date of X-Amz-Date.")
    if abs(datetime.datetime.now(datetime.UTC) - signed_at) > MAX_SKEW:
        raise WrongSignatureError(f"Signature expired: {timestamp} is more than {MAX_SKEW} from now.")


def _secret_of(access_key: str, environment: Mapping[str, str]) -> str | None:
    # A Lambda function's key is its account's id, with the cloud's own secret.
    if access_key in {environment.get("AWS_ACCESS_KEY_ID"), ACCOUNT_ID}:
        return environment.get("AWS_SECRET_ACCESS_KEY")
    session = sts._sessions.get(access_key)
    if session is not None and not sts._session_expired(session):
        return str(session.get("SecretAccessKey", "")) or None
    for (_account, key), record in list(iam._access_keys.to_dict().items()):
        if key == access_key and record.get("Status") == "Active":
            return str(record["SecretAccessKey"])
    return None
