"""Errors of the local cloud that a person reads."""

from __future__ import annotations


class LocalCloudError(Exception):
    """The local cloud could not do what was asked; the message says why and what to do next."""


class PortInUseError(LocalCloudError):
    """The wanted port is taken by another process."""

    def __init__(self, port: int) -> None:
        super().__init__(
            f"Port {port} on 127.0.0.1 is already in use. Stop what listens there, choose another port with "
            f"--port, or leave --port out to get a free one."
        )
