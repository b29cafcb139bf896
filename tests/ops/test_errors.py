import pytest
from botocore import exceptions as aws
from ops.errors import explain, is_transient


def answer(code: str, message: str = "the message", status: int = 400) -> aws.ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return aws.ClientError(response, "DescribeStacks")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "code", ["ExpiredToken", "ExpiredTokenException", "InvalidClientTokenId", "RequestExpired"]
)
def test_bad_credentials_say_how_to_sign_in(code: str) -> None:
    told = explain(answer(code))

    assert str(told).startswith(
        f"AWS did not accept the credentials: the message ({code}). Sign in (`aws sso login`"
    )
    assert told.exit_code == 2


def test_a_refusal_names_the_operation() -> None:
    told = explain(answer("AccessDenied", "not authorized to perform:\n cloudformation:DescribeStacks"))

    assert str(told) == (
        "AWS refused DescribeStacks: not authorized to perform: cloudformation:DescribeStacks (AccessDenied)."
    )
    assert told.exit_code == 1


@pytest.mark.parametrize(
    ("error", "said", "advice"),
    [
        (aws.NoCredentialsError(), "No usable AWS credentials", "aws sso login"),
        (
            aws.PartialCredentialsError(provider="env", cred_var="secret"),
            "No usable AWS credentials",
            "AWS_PROFILE",
        ),
        (aws.UnauthorizedSSOTokenError(), "The AWS sign-in has ended", "aws sso login"),
        (aws.NoRegionError(), "No AWS region", "--region"),
        (
            aws.SSLError(endpoint_url="https://x", error=ValueError("self-signed")),
            "The TLS certificate was not accepted",
            "AWS_CA_BUNDLE",
        ),
        (aws.ProxyConnectionError(proxy_url="http://p"), "The proxy could not be reached", "NO_PROXY"),
        (
            aws.EndpointConnectionError(endpoint_url="https://x"),
            "AWS could not be reached",
            "AWS_ENDPOINT_URL",
        ),
        (aws.ConnectTimeoutError(endpoint_url="https://x"), "AWS could not be reached", "network"),
    ],
)
def test_local_errors_are_one_line_with_advice(error: aws.BotoCoreError, said: str, advice: str) -> None:
    told = explain(error)

    assert str(told).startswith(said)
    assert advice in str(told)
    assert "\n" not in str(told)
    assert told.exit_code == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (answer("Throttling"), True),
        (answer("InternalFailure", status=500), True),
        (answer("ValidationError"), False),
        (aws.ReadTimeoutError(endpoint_url="https://x"), True),
        (aws.EndpointConnectionError(endpoint_url="https://x"), True),
        (aws.SSLError(endpoint_url="https://x", error=ValueError("self-signed")), False),
        (aws.NoCredentialsError(), False),
    ],
)
def test_transient(error: Exception, expected: bool) -> None:
    assert is_transient(error) is expected
