"""HTTP as the environment wants it: its proxies, its certificates."""

from __future__ import annotations

import os
import ssl
from typing import Self
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from botocore.httpsession import get_cert_path

_CONNECT_SECONDS, _READ_SECONDS = 5.0, 30.0


class HttpClient:
    """Requests that honour HTTPS_PROXY, HTTP_PROXY and NO_PROXY, and AWS_CA_BUNDLE or SSL_CERT_FILE."""

    def __init__(self) -> None:
        self._tls = tls_context()
        self._pools: dict[str | None, urllib3.PoolManager] = {}

    def send(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        """Send one request, without retries and without following redirects.

        Returns:
            The answer, its body not yet read.

        Raises:
            urllib3.exceptions.HTTPError: no answer.

        """
        return self._pool(url).request(
            method,
            url,
            headers=headers,
            body=body,
            redirect=False,
            retries=False,
            preload_content=False,
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=_READ_SECONDS),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pool in self._pools.values():
            pool.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        proxy = proxy_for(url)
        if proxy not in self._pools:
            self._pools[proxy] = (
                urllib3.ProxyManager(proxy, ssl_context=self._tls, proxy_headers=_proxy_login(proxy))
                if proxy
                else urllib3.PoolManager(ssl_context=self._tls)
            )
        return self._pools[proxy]


def proxy_for(url: str) -> str | None:
    """Return the proxy for a URL by the environment; None for a direct connection."""
    parts = urlsplit(url)
    if proxy_bypass(parts.hostname or ""):
        return None
    return getproxies().get(parts.scheme)


def _proxy_login(proxy: str) -> dict[str, str]:
    parts = urlsplit(proxy)
    if parts.username is None:
        return {}
    return urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}")


def tls_context() -> ssl.SSLContext:
    """Return a context that trusts the environment's bundle, else the system's and the AWS SDK's."""
    for name in ("AWS_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        if os.environ.get(name):
            return ssl.create_default_context(cafile=os.environ[name])
    context = ssl.create_default_context()
    context.load_verify_locations(get_cert_path(True))
    return context
