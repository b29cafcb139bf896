"""Lambda functions on workers like Lambda's: the bundle, boto3, and no package of this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ministack.core import lambda_runtime  # type: ignore[import-untyped]

from .cloudformation.patching import wrap
from .context import CloudContext
from .data_plane import vpc_clients

_RUNTIME_PACKAGES = ("boto3", "botocore", "dateutil", "jmespath", "s3transfer", "six", "urllib3")
"""What the Python runtime of Lambda has besides the standard library (Lambda developer guide)."""

_ISOLATION = """\
def _isolate():
    import os, sys
    base = os.path.realpath(sys.base_prefix) + os.sep
    packages = ("site-packages", "dist-packages")
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [
        entry for entry in sys.path
        if entry and (os.path.abspath(entry) == own or os.path.realpath(entry).startswith(base))
        and not any(package in entry for package in packages)
    ] + [{runtime!r}]
    sys.meta_path[:] = [
        finder for finder in sys.meta_path
        if getattr(finder, "__module__", "").startswith(("_frozen", "importlib"))
    ]
    for name in ("PYTHONPATH", "VIRTUAL_ENV"):
        os.environ.pop(name, None)

_isolate()
"""
_PROXY_VARIABLES = ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy", "http_proxy")
_MARK = "# worker of the local cloud\n"


def install(context: CloudContext) -> None:
    """Let Python functions see their bundle, the standard library and boto3 only."""
    runtime = context.state_directory / "lambda-runtime"
    runtime.mkdir(parents=True, exist_ok=True)
    for name in _RUNTIME_PACKAGES:
        source = _location(name)
        if source is not None and not (runtime / source.name).exists():
            (runtime / source.name).symlink_to(source)
    script: str = lambda_runtime._PYTHON_WORKER_SCRIPT
    if _MARK not in script:
        lambda_runtime._PYTHON_WORKER_SCRIPT = _MARK + _ISOLATION.format(runtime=str(runtime)) + script
    wrap(lambda_runtime.Worker, "_spawn", _with_own_proxy(context.client_environment))


def _with_own_proxy(client: Mapping[str, str]) -> Callable[[Callable[[Any], None]], Callable[[Any], None]]:
    """Name the function to the proxy, which is how a load balancer learns who calls it."""

    def wrapped(spawn: Callable[[Any], None]) -> Callable[[Any], None]:
        def spawn_with_own_proxy(worker: Any) -> None:
            config = worker.config
            own = f"http://{vpc_clients.address_of(config['FunctionArn'])}:-@"
            declared = (config.get("Environment") or {}).get("Variables") or {}
            proxies = {name: client[name].replace("http://", own, 1) for name in _PROXY_VARIABLES}
            worker.config = {**config, "Environment": {"Variables": {**proxies, **declared}}}
            try:
                spawn(worker)
            finally:
                worker.config = config

        return spawn_with_own_proxy

    return wrapped


def _location(name: str) -> Path | None:
    spec = importlib.util.find_spec(name)
    if spec is None:
        return None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    return Path(spec.origin) if spec.origin else None
