"""The image, built once and kept under .cache/, and a server running from it as on Fargate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.baking import ROOT, bake
from tests.infrastructure.cloudformation import Templates, load_templates, resources

from . import caller, machine
from .engine import AS_ON_FARGATE, Container, Engine, missing_packages
from .images import base_image, project_image
from .network import TASK_ADDRESS, Cable, cable

URL = f"http://{TASK_ADDRESS}:8080"
# Longer than any start is allowed to take: a server that comes late fails where its time is checked.
START_TIMEOUT_SECONDS = 90
# In every file that must stay out of the image.
MARKER = "must-never-be-in-an-image"
# What lies about in real working directories.
PLANTED = (
    ".env",
    ".env.production",
    ".git/config",
    ".aws/credentials",
    "server.key",
    "tests/server/test_planted.py",
    "src/knowledge_mcp_server/.env",
    "src/knowledge_mcp_server/.git",
    "src/knowledge_mcp_server/.netrc",
    "src/knowledge_mcp_server/.aws/credentials",
    "src/knowledge_mcp_server/id_ed25519",
    "src/knowledge_mcp_server/server.key",
    "src/knowledge_mcp_server/server.pem",
    "src/knowledge_mcp_server/server.p12",
    "src/knowledge_mcp_server/tests/test_planted.py",
    "src/knowledge_mcp_server/tools/test_planted.py",
)

Run = Callable[..., Container]


@pytest.fixture(scope="session")
def engine() -> Engine:
    """Return the engine; its store stays for the next run."""
    if reason := machine.obstacle():
        pytest.fail(f"No container can run on this machine: {reason}.", pytrace=False)
    if packages := missing_packages():
        command = f"apt-get install --no-install-recommends {' '.join(packages)}"
        pytest.fail(f"Commands are missing. Install them first: {command}", pytrace=False)
    return Engine(ROOT / ".cache" / "containers")


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a generated project in which secrets and tests lie where they shouldn't."""
    made = bake(tmp_path_factory.mktemp("home"))
    for name in PLANTED:
        path = made / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"# {MARKER}\n")
    return made


@pytest.fixture(scope="session")
def templates() -> Templates:
    """Return the CloudFormation templates by name."""
    return load_templates()


@pytest.fixture(scope="session")
def container_definition(templates: Templates) -> dict[str, Any]:
    """Return what the task definition says of the server's container."""
    ((_, task),) = resources(templates["fargate"], "AWS::ECS::TaskDefinition").items()
    definition, *_ = task["ContainerDefinitions"]
    assert isinstance(definition, dict)
    return definition


@pytest.fixture(scope="session")
def base(engine: Engine) -> str:
    """Return the name of the stand-in for the official Python image."""
    return base_image(engine)


@pytest.fixture(scope="session")
def image(engine: Engine, base: str, project: Path) -> str:
    """Return the name of the project's image."""
    return project_image(engine, base, project)


@pytest.fixture(scope="session")
def tree(engine: Engine, image: str) -> Iterator[Path]:
    """Return the image's files, mounted."""
    yield Path(engine.podman("image", "mount", image).stdout.strip())
    engine.podman("image", "unmount", image)


@pytest.fixture(scope="session")
def namespaces() -> Iterator[Cable]:
    """Return the namespaces of the task and of its callers."""
    with cable("shared") as ends:
        yield ends


@pytest.fixture
def own_namespaces() -> Iterator[Cable]:
    """Return namespaces in which nothing runs yet."""
    with cable("own") as ends:
        yield ends


@pytest.fixture(scope="session")
def server(engine: Engine, image: str, namespaces: Cable) -> Iterator[Container]:
    """Return a server that answers, under Fargate's conditions."""
    container = engine.create(image, options=(*AS_ON_FARGATE, f"--network=ns:{namespaces.task_path}"))
    try:
        engine.start(container)
        wait_until_healthy(container, namespaces)
        yield container
    finally:
        engine.remove(container)


@pytest.fixture
def create(engine: Engine, image: str, own_namespaces: Cable) -> Iterator[Run]:
    """Return a function that creates a container in `own_namespaces`: `create(*command, options=())`."""
    made: list[Container] = []

    def new(*command: str, options: tuple[str, ...] = AS_ON_FARGATE) -> Container:
        network = f"--network=ns:{own_namespaces.task_path}"
        made.append(engine.create(image, *command, options=(*options, network)))
        return made[-1]

    yield new
    for container in made:
        engine.remove(container)


def wait_until_healthy(container: Container, ends: Cable) -> float:
    """Ask /health from the callers' namespace until it is answered; return the Unix time of the answer."""
    answer = caller.call(ends.caller, START_TIMEOUT_SECONDS, url=f"{URL}/health")
    assert answer.get("status") == 200, f"{answer}\n{container.output()}"
    return float(answer["at"])
