"""crhelper 2.0.12, set up so that it keeps CloudFormation's promises.

What is changed, through seams crhelper has:

* the physical id is fixed from outside: crhelper clears it at the start and makes one up on a failure;
* responses go through an `Outbox`, which ends and logs no URL;
* the watchdog fires earlier than half a second before the function dies, and says what was being waited for;
* the three clients for its EventBridge polling, which isn't used, are never made.

One instance serves one invocation: crhelper keeps Data and NoEcho from the one before.
"""

import logging
import threading
from collections.abc import Mapping
from typing import Any

from crhelper import CfnResource

from custom_resources.response import Outbox
from custom_resources.waiting import Activity

logger = logging.getLogger(__name__)

WATCHDOG_SECONDS = 5.0


class Helper(CfnResource):
    """One request's conversation with CloudFormation."""

    def __init__(self, physical_resource_id: str, outbox: Outbox, activity: Activity) -> None:
        self._physical_resource_id = physical_resource_id
        self._outbox = outbox
        self._activity = activity
        super().__init__(json_logging=True, log_level="INFO", boto_level="CRITICAL", sleep_on_delete=0)

    @property
    def PhysicalResourceId(self) -> str:  # noqa: N802 - crhelper's attribute
        """The id to report, whatever crhelper assigns."""
        return self._physical_resource_id

    @PhysicalResourceId.setter
    def PhysicalResourceId(self, value: str) -> None:  # noqa: N802
        pass

    @property
    def _sam_local(self) -> bool:
        """True, so that crhelper doesn't make its polling clients: it skips them in SAM's local mode."""
        return True

    @_sam_local.setter
    def _sam_local(self, value: object) -> None:
        pass

    def _send(self, status: str | None = None, reason: str = "", send_response: Any = None) -> None:  # noqa: ARG002 - ours is used
        super()._send(status, reason, send_response=self._put)  # type: ignore[misc]

    def _put(self, _url: str, body: Mapping[str, Any], _ssl_verify: Any) -> None:
        self._outbox.put(body)

    def _set_timeout(self) -> None:
        remaining = self._context.get_remaining_time_in_millis() / 1000  # type: ignore[attr-defined]
        self._timer = threading.Timer(
            max(0.0, remaining - min(WATCHDOG_SECONDS, remaining / 10)), self._timeout
        )
        # The thread must not keep a process alive that has nothing else to do.
        self._timer.daemon = True
        self._timer.start()

    def _timeout(self) -> None:
        logger.error("The function's time is nearly over")
        self._send(
            "FAILED", f"The Lambda function's time ended; raise its Timeout. It was {self._activity.text}"
        )
