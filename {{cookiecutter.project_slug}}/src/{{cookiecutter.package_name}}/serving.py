"""Run the server: over HTTP with uvicorn, or over standard input and output."""

import uvicorn

from .app import build_app, build_server
from .draining import DrainingServer
from .garbage import collection_paused
from .settings import Settings

# The longest idle timeout the load balancer is given. A server that closes an idle connection first makes the
# balancer answer 502 to the request it was just sending; uvicorn's default is 5 seconds.
LOAD_BALANCER_IDLE_SECONDS = 3600
KEEP_ALIVE_SECONDS = LOAD_BALANCER_IDLE_SECONDS + 60


def uvicorn_config(settings: Settings) -> uvicorn.Config:
    """Return uvicorn's configuration; uvloop and httptools are used where they are installed."""
    return uvicorn.Config(
        build_app(settings),
        host=settings.host,
        port=settings.port,
        lifespan="on",
        ws="none",
        log_config=None,
        # `request_log` writes what is worth a line.
        access_log=False,
        # No peer is one that may say where a request came from; nothing here asks.
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
    )


def serve_http(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT; exits with status 3 where the address can't be used."""
    with collection_paused():
        config = uvicorn_config(settings)
    DrainingServer(
        config,
        settings.shutdown_grace_seconds,
        end_streams=lambda: config.app.state.sessions.end_standalone_streams(),  # type: ignore[union-attr]
    ).run()


def serve_stdio(settings: Settings) -> None:
    """Serve one client on standard input and output until the input ends."""
    build_server(settings).run(transport="stdio", show_banner=False)
