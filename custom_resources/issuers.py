"""Asking an OAuth 2.0 issuer over HTTPS, and the form in which a client's credentials are kept.

Only the standard library is used: urllib takes HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE from the environment.
"""

import json
import urllib.error
import urllib.request
from typing import Any

from custom_resources.errors import ResourceError

# Keys of the JSON that a client's credentials are kept as.
ID_KEY = "client_id"
SECRET_KEY = "client_secret"  # noqa: S105 - a key, not a secret
MOST_BYTES = 1024 * 1024
_LONGEST = 200


class IssuerError(ResourceError):
    """An issuer gives no token or document; the text says who refused it and holds no secret."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """What follows a redirect would carry the client's secret to another address."""

    def redirect_request(self, *_args: Any, **_keywords: Any) -> None:
        return None


def exchange(url: str, timeout: float, headers: dict[str, str], body: bytes | None = None) -> dict[str, Any]:
    """Return the JSON object that `url` answers, by POST where there is a body. Raises IssuerError."""
    request = urllib.request.Request(url, body, {"Accept": "application/json", **headers})  # noqa: S310 - https, by its property
    try:
        with urllib.request.build_opener(_NoRedirect).open(request, timeout=timeout) as response:
            content = json.loads(response.read(MOST_BYTES))
    except urllib.error.HTTPError as error:
        with error:
            raise IssuerError(f"{url} answered HTTP {error.code}{_reason(error)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise IssuerError(f"{url} can't be read: {type(reason).__name__}: {reason}") from None
    if not isinstance(content, dict):
        raise IssuerError(f"{url} answered no JSON object")
    return content


def _reason(error: urllib.error.HTTPError) -> str:
    """Return the error's own words (RFC 6749, section 5.2), and nothing else of the answer."""
    try:
        content = json.loads(error.read(MOST_BYTES))
        words = [str(content[key]) for key in ("error", "error_description") if content.get(key)]
    except (OSError, ValueError, AttributeError, TypeError):
        return ""
    return f": {': '.join(words)[:_LONGEST]}" if words else ""
