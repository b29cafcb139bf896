"""Tells CloudFormation the outcome: one PUT to the request's pre-signed URL, with an end.

crhelper 2.0.12's own sender repeats for ever when the address can't be reached, ignores the HTTP status, and
logs the URL and the body at DEBUG. This one stops at a deadline and logs neither.
"""

import ipaddress
import json
import logging
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs, urlsplit

from custom_resources.waiting import Deadline, intervals

logger = logging.getLogger(__name__)

LONGEST_ATTEMPT = 10.0
SHORTEST_ATTEMPT = 0.5
WORTH_REPEATING = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})


class Outbox:
    """Sends the first response it is given, once, whichever thread gives it."""

    def __init__(self, url: str, deadline: Deadline) -> None:
        self._url = url
        self._deadline = deadline
        self._lock = threading.Lock()
        self._sent = False
        self.delivered = False

    def put(self, body: Mapping[str, Any]) -> None:
        """Send `body`; later calls do nothing. The outcome is in `delivered`."""
        with self._lock:
            if self._sent:
                return
            self._sent = True
            self.delivered = deliver(self._url, body, self._deadline)


def deliver(url: str, body: Mapping[str, Any], deadline: Deadline) -> bool:
    """PUT `body` as JSON to `url`, repeating until the deadline; return whether it was accepted.

    Refusals (a 4xx other than 408 and 429) aren't repeated: the pre-signed URL won't get better.
    """
    if not _is_allowed(url):
        logger.error("The response URL is neither https nor on this machine: nothing was sent")
        return False
    payload = json.dumps(body).encode()
    context = ssl.create_default_context() if url.startswith("https:") else None
    for pause in intervals():
        # S3 signs the URL for an empty content type; urllib would fill in one of its own.
        request = urllib.request.Request(url, payload, {"Content-Type": ""}, method="PUT")  # noqa: S310 - checked
        timeout = min(LONGEST_ATTEMPT, max(SHORTEST_ATTEMPT, deadline.remaining()))
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=context):  # noqa: S310 - checked above
                return True
        except urllib.error.HTTPError as error:
            error.close()
            logger.error("CloudFormation's response URL answered HTTP %s", error.code)  # noqa: TRY400 - text holds the URL
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR and error.code not in WORTH_REPEATING:
                return False
        except Exception as error:
            # Only the class: some texts of http.client quote the signed URL.
            cause = getattr(error, "reason", error)
            logger.error("CloudFormation's response URL can't be reached: %s", type(cause).__name__)  # noqa: TRY400
        if deadline.remaining() <= pause:
            logger.error("Gave up telling CloudFormation the outcome: the function's time is over")
            return False
        deadline.clock.sleep(pause)
    raise AssertionError("intervals() doesn't end")


def signed_at(url: str) -> datetime | None:
    """Return when a URL was pre-signed (SigV4's X-Amz-Date), None where it doesn't say."""
    stamp = parse_qs(urlsplit(url).query).get("X-Amz-Date", [""])[0]
    try:
        return datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return None


def _is_allowed(url: str) -> bool:
    parts = urlsplit(url)
    if parts.scheme == "https":
        return bool(parts.hostname)
    if parts.scheme != "http" or not parts.hostname:
        return False
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
