"""One process that is the cloud: the emulator, its rooms, the TLS listener and the proxy."""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import signal
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from .certificates import CertificateAuthority
from .context import AsgiApp, CloudContext
from .environment import client_environment, emulator_environment, forget_callers_cloud, install_in_process
from .errors import PortInUseError
from .proxy import ForwardProxy
from .routing import Router

logger = logging.getLogger(__name__)

ROOMS = ("cloudformation", "containers", "data_plane", "edge", "cognito", "agentcore")
"""Subpackages with an ``install(context)``, in the order in which they are installed."""

_GRACE = 0.3
"""Seconds that requests in flight get when the cloud stops."""


@dataclass(frozen=True)
class Settings:
    """How to start a cloud."""

    state_directory: Path
    region: str = "us-east-1"
    port: int = 0
    verbose: bool = False

    @property
    def log_path(self) -> Path:
        """Where every log line of the cloud goes."""
        return self.state_directory / "local-cloud.log"


@dataclass(frozen=True)
class Running:
    """What a caller must know about a cloud that has started."""

    api_url: str
    environment: dict[str, str]
    log_path: Path
    ports: dict[str, int]

    def to_json(self) -> str:
        """Return the machine-readable form that the launcher reads."""
        return json.dumps(
            {
                "api_url": self.api_url,
                "environment": self.environment,
                "log_path": str(self.log_path),
                "pid": os.getpid(),
                "ports": self.ports,
            },
            indent=2,
        )


def serve(
    settings: Settings, on_ready: Callable[[Running], None], stop_on_end_of: IO[bytes] | None = None
) -> None:
    """Run a cloud until SIGINT, SIGTERM or the end of ``stop_on_end_of``; return when all is stopped.

    For the main thread of a process of its own, which must end when this returns.
    ``on_ready`` is called once every address answers. Raises PortInUseError when ``settings.port`` is taken.
    """
    tls_socket = _listen(settings.port)
    plain_socket = _listen(0)
    _configure_logging(settings)
    forget_callers_cloud(os.environ)
    _keep_temporary_files_in(settings.state_directory / "tmp")
    port = tls_socket.getsockname()[1]
    os.environ.update(emulator_environment(port=port, region=settings.region, verbose=settings.verbose))
    # Not asyncio.run, whose tidying would wait for idle connections: the process ends right after this.
    loop = asyncio.new_event_loop()
    loop.run_until_complete(_run(settings, tls_socket, plain_socket, on_ready, stop_on_end_of))


async def _run(
    settings: Settings,
    tls_socket: socket.socket,
    plain_socket: socket.socket,
    on_ready: Callable[[Running], None],
    stop_on_end_of: IO[bytes] | None,
) -> None:
    stopping = _stop_event(stop_on_end_of)
    authority = CertificateAuthority(settings.state_directory / "certificates")
    port, plain_port = tls_socket.getsockname()[1], plain_socket.getsockname()[1]
    proxy = ForwardProxy(port, plain_port)
    proxy_port = await proxy.start()
    api_url = f"https://127.0.0.1:{port}"
    environment = client_environment(
        api_url=api_url,
        proxy_url=f"http://127.0.0.1:{proxy_port}",
        ca_bundle=authority.bundle_path,
        region=settings.region,
        config_directory=settings.state_directory / "aws",
    )
    context = CloudContext(settings.state_directory, api_url, environment, settings.region)
    try:
        app = _application(context)
        from .data_plane import vpc_clients

        proxy.send_from(vpc_clients.is_known)
        authority.ask_names(lambda host: set().union(*(names(host) for names in context.certificate_names)))
        proxy.also_lead(lambda host: any(matches(host) for matches, _app in context.host_routes))
        install_in_process(environment)
        ports = {"api": port, "plain": plain_port, "proxy": proxy_port}
        running = Running(api_url, environment, settings.log_path, ports)
        serving = asyncio.create_task(_serve_http(app, authority, tls_socket, plain_socket, stopping))
        await _answering(port, serving)
        on_ready(running)
        await stopping.wait()
    finally:
        stopping.set()
        _run_hooks(context)
        await proxy.stop()
    await asyncio.wait({serving}, timeout=_GRACE)


def _application(context: CloudContext) -> AsgiApp:
    """Return the emulator, imported now that its settings are in place, with every room installed."""
    from ministack import app as emulator  # type: ignore[import-untyped]
    from ministack.core import lambda_runtime  # type: ignore[import-untyped]
    from ministack.core.responses import (  # type: ignore[import-untyped]
        set_request_account_id,
        set_request_region,
    )

    from . import lambda_workers
    from .context import ACCOUNT_ID

    def pin_region(region: str) -> None:
        set_request_account_id(ACCOUNT_ID)
        set_request_region(region)

    context.at_shutdown(lambda_runtime.reset)
    lambda_workers.install(context)
    for room in ROOMS:
        importlib.import_module(f"{__package__}.{room}").install(context)
    return Router(context, cast(AsgiApp, emulator.app), pin_region)


async def _serve_http(
    app: AsgiApp,
    authority: CertificateAuthority,
    tls_socket: socket.socket,
    plain_socket: socket.socket,
    stopping: asyncio.Event,
) -> None:
    from hypercorn.asyncio import serve as serve_asgi
    from hypercorn.config import Config

    class CloudConfig(Config):
        """Hypercorn's settings, with a certificate per host name instead of one file."""

        @property
        def ssl_enabled(self) -> bool:
            return True

        def create_ssl_context(self) -> ssl.SSLContext:
            return authority.server_context()

    config = CloudConfig()
    config.bind = [f"fd://{tls_socket.detach()}"]
    config.insecure_bind = [f"fd://{plain_socket.detach()}"]
    config.keep_alive_timeout = 75
    config.keep_alive_max_requests = 1_000_000
    config.graceful_timeout = _GRACE
    config.shutdown_timeout = _GRACE
    config.accesslog = None
    config.errorlog = logging.getLogger("hypercorn.error")
    await serve_asgi(cast(Any, app), config, shutdown_trigger=stopping.wait)


async def _answering(port: int, serving: asyncio.Task[None]) -> None:
    """Wait until the TLS port accepts connections; raise what ended the server if it ends first."""
    while True:
        if serving.done():
            serving.result()
            raise RuntimeError("the server ended before it was ready")
        # The socket listens from the start, so ask for an answer rather than for a connection.
        if await asyncio.to_thread(_health, port):
            return
        await asyncio.sleep(0.02)


def _health(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=5) as raw,
            context.wrap_socket(raw) as connection,
        ):
            connection.sendall(
                b"GET /_ministack/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
            )
            return connection.recv(12) == b"HTTP/1.1 200"
    except OSError:
        return False


def _listen(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        # Listening now, so that a second cloud on this port fails here and not later.
        listener.listen(128)
    except OSError as error:
        listener.close()
        raise PortInUseError(port) from error
    return listener


def _stop_event(stop_on_end_of: IO[bytes] | None) -> asyncio.Event:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    if stop_on_end_of is not None:
        descriptor = stop_on_end_of.fileno()

        def end_of_input() -> None:
            if not os.read(descriptor, 1024):
                loop.remove_reader(descriptor)
                stopping.set()

        loop.add_reader(descriptor, end_of_input)
    return stopping


def _run_hooks(context: CloudContext) -> None:
    for hook in reversed(context.shutdown_hooks):
        try:
            hook()
        except Exception:
            logger.exception("a shutdown hook failed")


def _keep_temporary_files_in(directory: Path) -> None:
    """Unpacked functions and the like go with the cloud, even after it was killed."""
    directory.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(directory)
    tempfile.tempdir = None


def _configure_logging(settings: Settings) -> None:
    settings.state_directory.mkdir(parents=True, exist_ok=True)
    handlers: list[logging.Handler] = [logging.FileHandler(settings.log_path)]
    if settings.verbose:
        handlers.append(logging.StreamHandler(sys.stderr))
    logging.basicConfig(
        level=logging.DEBUG if settings.verbose else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s %(message)s",
        handlers=handlers,
    )
