"""Errors told to people: one clear line and an exit code, never a traceback."""

from __future__ import annotations

from botocore import exceptions as aws

FAILURE = 1
"""Exit code: the command ran and the answer is no."""
USAGE = 2
"""Exit code: the command could not run (arguments, credentials, region, network)."""
INTERRUPTED = 130
"""Exit code: stopped with Ctrl-C (128 + SIGINT)."""

_BAD_CREDENTIALS = frozenset(
    {
        "AuthFailure",
        "ExpiredToken",
        "ExpiredTokenException",
        "InvalidAccessKeyId",
        "InvalidClientTokenId",
        "InvalidToken",
        "RequestExpired",
        "SignatureDoesNotMatch",
        "UnrecognizedClientException",
    }
)
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "AllAccessDisabled", "UnauthorizedOperation"})
_THROTTLED = frozenset(
    {"RequestLimitExceeded", "Throttling", "ThrottlingException", "TooManyRequestsException"}
)
_LOGIN = "Sign in (`aws sso login`, or set AWS_PROFILE) and check with `aws sts get-caller-identity`."

CONNECTION_ERRORS = (
    aws.ConnectionClosedError,
    aws.ConnectTimeoutError,
    aws.EndpointConnectionError,
    aws.HTTPClientError,
    aws.ReadTimeoutError,
)
"""What botocore raises when AWS could not be reached; `HTTPClientError` is also the parent of TLS errors."""


class OpsError(Exception):
    """Something a person has to know: what was wrong, which value, what to do next.

    Args:
        message: one or more lines, shown as they are.
        exit_code: the exit code of the command.

    """

    def __init__(self, message: str, exit_code: int = FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def error_code(error: aws.ClientError) -> str:
    """Return the error code of an AWS answer, such as `ValidationError`."""
    return str(error.response.get("Error", {}).get("Code", ""))


def error_message(error: aws.ClientError) -> str:
    """Return the message of an AWS answer on one line."""
    return _one_line(str(error.response.get("Error", {}).get("Message", "")) or str(error))


def is_transient(error: Exception) -> bool:
    """Tell whether the same AWS call may well succeed a moment later."""
    if isinstance(error, aws.ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error_code(error) in _THROTTLED
    return isinstance(error, CONNECTION_ERRORS) and not isinstance(error, aws.SSLError)


def explain(error: aws.BotoCoreError | aws.ClientError) -> OpsError:
    """Turn an error of the AWS SDK into one line for a person."""
    if isinstance(error, aws.ClientError):
        return _explain_answer(error)
    return OpsError(_explain_local(error), USAGE)


def _explain_answer(error: aws.ClientError) -> OpsError:
    code, message = error_code(error), error_message(error)
    if code in _BAD_CREDENTIALS:
        return OpsError(f"AWS did not accept the credentials: {message} ({code}). {_LOGIN}", USAGE)
    if code in _DENIED:
        return OpsError(f"AWS refused {error.operation_name}: {message} ({code}).")
    return OpsError(f"{error.operation_name} failed: {message} ({code}).")


def _explain_local(error: aws.BotoCoreError) -> str:
    detail = _one_line(str(error)).rstrip(".")
    match error:
        case aws.NoCredentialsError() | aws.PartialCredentialsError() | aws.CredentialRetrievalError():
            return f"No usable AWS credentials: {detail}. {_LOGIN}"
        case aws.SSOError() | aws.TokenRetrievalError():
            return f"The AWS sign-in has ended: {detail}. {_LOGIN}"
        case aws.NoRegionError():
            return "No AWS region: pass --region or set AWS_REGION."
        case aws.ProfileNotFound():
            return f"{detail}. Choose one of `aws configure list-profiles` with AWS_PROFILE."
        case aws.SSLError():
            return f"The TLS certificate was not accepted: {detail}. Behind a TLS proxy, set AWS_CA_BUNDLE."
        case aws.ProxyConnectionError():
            return f"The proxy could not be reached: {detail}. Check HTTPS_PROXY and NO_PROXY."
        case _ if isinstance(error, CONNECTION_ERRORS):
            return f"AWS could not be reached: {detail}. Check the network, the region and AWS_ENDPOINT_URL."
    return f"{detail}."


def _one_line(text: str) -> str:
    return " ".join(text.split())
