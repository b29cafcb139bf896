"""Bearer tokens: `keys` holds the issuer's keys, `verifier` judges tokens, `provider` speaks HTTP."""

from .provider import build_auth

__all__ = ["build_auth"]
