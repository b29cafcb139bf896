"""What services say of an error."""

from __future__ import annotations

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from custom_resources.aws import THROTTLING_CODES, error_code, error_message, is_throttled

SILENT = ConnectTimeoutError(endpoint_url="https://service")


def refusal(code: str, message: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": message}}, "GetObject")


def test_code_and_message_are_the_services_own() -> None:
    error = refusal("NoSuchBucket", "The bucket does not exist")
    assert (error_code(error), error_message(error)) == ("NoSuchBucket", "The bucket does not exist")


def test_an_error_that_no_service_gave_has_no_code_and_its_own_text() -> None:
    assert error_code(SILENT) == ""
    assert error_message(SILENT) == str(SILENT)


def test_a_service_without_a_message_is_told_by_the_errors_text() -> None:
    error = refusal("SlowDown", "")
    assert error_message(error) == str(error)
    assert error_code(ClientError({}, "GetObject")) == ""


@pytest.mark.parametrize("code", sorted(THROTTLING_CODES))
def test_throttling_is_known(code: str) -> None:
    assert is_throttled(refusal(code, "Rate exceeded"))


def test_nothing_else_counts_as_throttling() -> None:
    assert not is_throttled(refusal("AccessDenied", "no"))
    assert not is_throttled(SILENT)
