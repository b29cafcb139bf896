"""An HTTP caller inside a network namespace, started with `ip netns exec`.

`python caller.py <seconds> <json>`, the JSON being `{"url", "method", "headers", "body"}`, tries until an
answer comes or the seconds are over. Prints `{"status", "headers", "body", "at", "seconds"}` or
`{"error", "at"}`: `at` in Unix time, `seconds` of the try that was answered.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

PAUSE_SECONDS = 0.02


def ask(request: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Send the request until it is answered; an HTTP error status is an answer."""
    body = request.get("body")
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    deadline = time.monotonic() + seconds
    while True:
        asked = urllib.request.Request(  # noqa: S310
            request["url"],
            data=None if body is None else json.dumps(body).encode(),
            headers=request.get("headers", {}),
            method=request.get("method"),
        )
        begin = time.monotonic()
        try:
            with direct.open(asked, timeout=max(1.0, deadline - time.monotonic())) as answer:
                return _answer(answer.status, answer.headers, answer.read(), begin)
        except urllib.error.HTTPError as error:
            return _answer(error.code, error.headers, error.read(), begin)
        except OSError as error:
            if time.monotonic() >= deadline:
                return {"error": str(error), "at": time.time()}
        time.sleep(PAUSE_SECONDS)


def _answer(status: int, headers: Any, body: bytes, begin: float) -> dict[str, Any]:
    lower = {name.lower(): value for name, value in headers.items()}
    seconds = time.monotonic() - begin
    return {"status": status, "headers": lower, "body": body.decode(), "at": time.time(), "seconds": seconds}


def start(namespace: str, seconds: float, **request: Any) -> subprocess.Popen[str]:
    """Start asking from a namespace."""
    inside = [
        "ip",
        "netns",
        "exec",
        namespace,
        sys.executable,
        "-I",
        __file__,
        str(seconds),
        json.dumps(request),
    ]
    return subprocess.Popen(inside, stdout=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait for what `start` started."""
    output, _ = process.communicate(timeout=180)
    result: dict[str, Any] = json.loads(output)
    return result


def call(namespace: str, seconds: float = 10, **request: Any) -> dict[str, Any]:
    """Ask from a namespace and wait for the answer."""
    return finish(start(namespace, seconds, **request))


if __name__ == "__main__":
    print(json.dumps(ask(json.loads(sys.argv[2]), float(sys.argv[1]))))
