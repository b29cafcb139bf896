"""Telling CloudFormation, or giving up in time."""

from __future__ import annotations

import logging
import socket
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custom_resources.response import Outbox, deliver, signed_at
from custom_resources.waiting import Deadline
from tests.custom_resources.fakes import Clock
from tests.custom_resources.servers import SIGNATURE, Inbox, serving

BODY = {"Status": "SUCCESS"}


@pytest.fixture(autouse=True)
def _log_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def deadline(clock: Clock, seconds: float = 300) -> Deadline:
    return Deadline(clock, clock.now() + seconds)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_body_is_put_with_the_empty_content_type_that_was_signed(inbox: Inbox, clock: Clock) -> None:
    assert deliver(inbox.url, BODY, deadline(clock))
    assert inbox.bodies == [BODY]
    assert inbox.content_types == [""]


def test_https_is_verified(certificate: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    inbox = Inbox()
    with serving(inbox.put, certificate) as port:
        assert not deliver(f"https://localhost:{port}/", BODY, deadline(clock, 5))
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert deliver(f"https://localhost:{port}/", BODY, deadline(clock))
    assert inbox.bodies == [BODY]


@pytest.mark.parametrize("status", [500, 503, 429, 408])
def test_what_may_pass_is_repeated(inbox: Inbox, clock: Clock, status: int) -> None:
    inbox.answers = [status, status]
    assert deliver(inbox.url, BODY, deadline(clock))
    assert len(inbox.content_types) == 3


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_refusal_is_not_repeated(
    inbox: Inbox, clock: Clock, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.answers = [status, status]
    assert not deliver(inbox.url, BODY, deadline(clock))
    assert len(inbox.content_types) == 1
    assert f"HTTP {status}" in caplog.text


def test_an_address_that_cannot_be_reached_is_given_up_on_at_the_deadline(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    start = clock.now()
    url = f"http://127.0.0.1:{free_port()}/response?{SIGNATURE}"
    assert not deliver(url, BODY, deadline(clock))
    assert 280 < clock.now() - start <= 300
    assert "Gave up" in caplog.text
    assert "ConnectionRefusedError" in caplog.text
    assert SIGNATURE not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["http://198.51.100.7/x?{0}", "ftp://127.0.0.1/{0}", "file:///etc/passwd?{0}", "{0}", "https:///{0}"],
)
def test_only_https_and_loopback_are_written_to(
    url: str, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert not deliver(url.format(SIGNATURE), BODY, deadline(clock))
    assert clock.now() == Clock().now(), "nothing was tried"
    assert SIGNATURE not in caplog.text


def test_a_url_that_http_client_would_quote_in_its_error_stays_out_of_the_log(
    inbox: Inbox, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert not deliver(f"{inbox.url} and\ta space", BODY, deadline(clock, 3))
    assert SIGNATURE not in caplog.text


def test_the_first_of_two_threads_outcomes_is_the_only_one_sent(inbox: Inbox, clock: Clock) -> None:
    outbox = Outbox(inbox.url, deadline(clock))
    threads = [threading.Thread(target=outbox.put, args=({"Status": str(number)},)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(inbox.bodies) == 1
    assert outbox.delivered


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("X-Amz-Algorithm=a&X-Amz-Date=20231123T074157Z&X-Amz-Expires=7200", (2023, 11, 23, 7, 41, 57)),
        ("AWSAccessKeyId=a&Expires=1510162268&Signature=s", None),
        ("X-Amz-Date=yesterday", None),
        ("", None),
    ],
)
def test_a_presigned_url_tells_when_it_was_made(query: str, expected: tuple[int, ...] | None) -> None:
    found = signed_at(f"https://bucket.s3.amazonaws.com/stack%7CThing?{query}")
    assert found == (None if expected is None else datetime(*expected, tzinfo=UTC))  # type: ignore[arg-type,misc]
