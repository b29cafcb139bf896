"""HTTP connections from the load balancer to its targets."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import AsyncIterator

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from .http_message import HOP_BY_HOP, Request, Response, ResponseAbortedError

CONNECT_TIMEOUT = 10.0
"""Seconds an Application Load Balancer waits for a target to accept a connection.

https://docs.aws.amazon.com/elasticloadbalancing/latest/application/load-balancer-troubleshooting.html
"""


class TargetTimeoutError(Exception):
    """The target accepted no connection, or sent nothing, in the time it had."""


class TargetConnectionError(Exception):
    """The target refused or reset the connection, or answered with something that isn't HTTP."""


_sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = (
    weakref.WeakKeyDictionary()
)


def _session() -> aiohttp.ClientSession:
    """One session per event loop: connections stay open between requests, as the balancer keeps them."""
    loop = asyncio.get_running_loop()
    session = _sessions.get(loop)
    if session is None or session.closed:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=60),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        _sessions[loop] = session
    return session


def close_sessions() -> None:
    """Close the kept-alive connections; safe to call from the loop's own thread and from any other."""
    for loop, session in list(_sessions.items()):
        if loop.is_running():
            asyncio.run_coroutine_threadsafe(session.close(), loop)
    _sessions.clear()


async def fetch(request: Request, address: str, port: int, *, idle_timeout: float) -> Response:
    """Send ``request`` to ``http://address:port`` and return its answer, the body still to come.

    ``idle_timeout`` (seconds) bounds every silence of the target. Raises TargetTimeoutError and
    TargetConnectionError before the answer's head; a body that breaks off raises ResponseAbortedError.
    """
    headers: CIMultiDict[str] = CIMultiDict(
        (name, value)
        for name, value in request.headers
        if name not in HOP_BY_HOP and name not in {"content-length", "expect"}
    )
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_TIMEOUT, sock_read=idle_timeout)
    url = URL(f"http://{address}:{port}{request.target_with_query}", encoded=True)
    has_body = bool(request.body) or request.header("content-length") not in {"", "0"}
    try:
        answer = await _session().request(
            request.method,
            url,
            headers=headers,
            data=request.body if has_body else None,
            allow_redirects=False,
            timeout=timeout,
        )
    except (TimeoutError, aiohttp.ServerTimeoutError) as error:
        raise TargetTimeoutError(f"{address}:{port} was silent for {idle_timeout:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise TargetConnectionError(f"{address}:{port}: {error}") from error
    names = [(name.lower(), value) for name, value in answer.headers.items()]
    kept = [(name, value) for name, value in names if name not in HOP_BY_HOP]
    return Response(answer.status, kept, _chunks(answer))


async def _chunks(answer: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    complete = False
    try:
        async for chunk in answer.content.iter_any():
            yield chunk
        complete = True
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        raise ResponseAbortedError(str(error) or type(error).__name__) from error
    finally:
        # Closing cuts the connection, so the target learns at once that nobody reads on.
        if complete:
            answer.release()
        else:
            answer.close()
