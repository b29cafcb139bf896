"""HTTPS from the gateway to the hosts that the cloud stands for, and to no other."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import ssl
import weakref
from urllib.parse import urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult

from ..context import CloudContext
from ..proxy import ALLOWED_SUFFIXES

USER_AGENT = "bedrock-agentcore-gateway (local cloud)"


class _CloudResolver(AbstractResolver):
    """Names of the cloud lead to its own port; every other name does not exist."""

    def __init__(self, context: CloudContext) -> None:
        self._context = context

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family  # the cloud has IPv4 addresses only
        name = host.lower()
        if not any(matches(name) for matches, _app in self._context.host_routes) and not name.endswith(
            ALLOWED_SUFFIXES
        ):
            raise OSError(f"the local cloud has no host {host}")
        api_port = urlsplit(self._context.api_url).port
        if port != 443 or api_port is None:
            raise OSError(f"the local cloud serves port 443 of {host} only, not {port}")
        return [
            ResolveResult(
                hostname=host,
                host="127.0.0.1",
                port=api_port,
                family=socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
        ]

    async def close(self) -> None:
        """Nothing is held."""


class OutboundHttp:
    """Client sessions, one per event loop, that trust the cloud's certificate authority."""

    def __init__(self, context: CloudContext) -> None:
        self._context = context
        self._sessions: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, aiohttp.ClientSession] = (
            weakref.WeakKeyDictionary()
        )

    def session(self) -> aiohttp.ClientSession:
        """The running loop's session."""
        loop = asyncio.get_running_loop()
        session = self._sessions.get(loop)
        if session is None or session.closed:
            trust = ssl.create_default_context(cafile=self._context.client_environment.get("SSL_CERT_FILE"))
            session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=_CloudResolver(self._context), ssl=trust, limit=0, use_dns_cache=False
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": USER_AGENT},
            )
            self._sessions[loop] = session
        return session

    async def close(self) -> None:
        """Close the running loop's session."""
        session = self._sessions.pop(asyncio.get_running_loop(), None)
        if session is not None:
            await session.close()

    def close_all(self) -> None:
        """Close the sessions of all loops that run; safe from any thread."""
        for loop, session in list(self._sessions.items()):
            if loop.is_running():
                asyncio.run_coroutine_threadsafe(session.close(), loop)
        self._sessions.clear()


def check_endpoint(url: str) -> None:
    """Refuse addresses that no gateway on AWS could reach. Raises OSError."""
    host = urlsplit(url).hostname or ""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    raise OSError(f"{host} is an address of this machine or network, not a public host name")
