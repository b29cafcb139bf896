"""A raw client of revision 2025-06-18, started inside a network namespace with `ip netns exec`.

`python legacy_client.py <url> jar|nojar calls <n>` opens a session and prints the statuses of `n` calls in
it; `python legacy_client.py <url> jar|nojar stream <seconds>` listens to the session's stream and prints how
many seconds it stayed open, at most that many.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import time
from collections.abc import Mapping
from urllib.parse import urlsplit

REVISION = "2025-06-18"
HEADERS = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream"}
INITIALIZE = {
    "protocolVersion": REVISION,
    "capabilities": {},
    "clientInfo": {"name": "legacy", "version": "1"},
}


class LegacyClient:
    """A connection for each request, as clients in functions and scripts have it."""

    def __init__(self, url: str, *, jar: bool) -> None:
        parts = urlsplit(url)
        self._address = parts.netloc
        self._path = parts.path
        self._jar = jar
        self._headers = dict(HEADERS)

    def post(self, method: str, params: Mapping[str, object]) -> int:
        """Send a request, keep what the session needs, and return the status."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=15)) as connection:
            connection.request("POST", self._path, body, self._headers)
            answer = connection.getresponse()
            answer.read()
            if session := answer.headers["Mcp-Session-Id"]:
                self._headers |= {"Mcp-Session-Id": session, "MCP-Protocol-Version": REVISION}
            if self._jar and (cookie := answer.headers["Set-Cookie"]):
                self._headers["Cookie"] = cookie.split(";")[0]
            return answer.status

    def listen(self, seconds: float) -> float:
        """Open the session's stream and return how long it stayed open, at most `seconds`."""
        begin = time.monotonic()
        connection = http.client.HTTPConnection(self._address, timeout=seconds)
        with contextlib.closing(connection):
            connection.request("GET", self._path, headers=self._headers)
            answer = connection.getresponse()
            if answer.status != 200:
                raise SystemExit(f"the stream was answered with {answer.status}")
            with contextlib.suppress(TimeoutError, http.client.IncompleteRead):
                while answer.read(1):
                    pass
        return time.monotonic() - begin


def main(url: str, jar: str, what: str, amount: str) -> None:
    """Run one of the two and print JSON."""
    client = LegacyClient(url, jar=jar == "jar")
    opened = client.post("initialize", INITIALIZE)
    if opened != 200:
        raise SystemExit(f"initialize was answered with {opened}")
    if what == "calls":
        print(json.dumps([client.post("tools/list", {}) for _ in range(int(amount))]))
    else:
        print(json.dumps(client.listen(float(amount))))


if __name__ == "__main__":
    main(*sys.argv[1:])
