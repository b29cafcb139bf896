"""A small project in the generated layout, a wheel to vendor, and AWS clients that answer from a script."""

import base64
import hashlib
import json
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import botocore.loaders
import pytest
from botocore.stub import Stubber

HERE = Path(__file__).parent
# What is imported from the template's project directory must leave no compiled files there to be scaffolded.
sys.dont_write_bytecode = True

sys.path.insert(0, str(HERE.parents[1] / "{{cookiecutter.project_slug}}"))

from ops.aws import Aws  # noqa: E402
from ops.console import Screen  # noqa: E402
from ops.project import Project, find_project  # noqa: E402

ACCOUNT = "111122223333"
REGION = "eu-west-1"
SECRET = "wJalr-not-a-real-secret-key"
TOKEN = "not-a-real-session-token"


SERVICE_MODELS = botocore.loaders.Loader()


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of this machine: no AWS settings, no proxies, no waiting."""
    home = tmp_path_factory.mktemp("home")
    for name in ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(home / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(home / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAIOSFODNN7EXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("OPS_POLL_SECONDS", "0")
    # Read once for all sessions: parsing the service models is most of a client's cost.
    monkeypatch.setattr(botocore.loaders, "create_loader", lambda *_: SERVICE_MODELS)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Callable[..., str]]:
    """A folder of wheels, and a function that puts one there and returns its requirement with its hash."""
    folder = tmp_path_factory.mktemp("wheels")

    def make(name: str = "tinydep", extra: str = "") -> str:
        path = folder / f"{name}-1.0-py3-none-any.whl"
        info = f"{name}-1.0.dist-info"
        files = {
            f"{name}/__init__.py": "VALUE = 1\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[console_scripts]\n{name}={name}:run\n",
        }
        if extra:
            files[extra] = "\x7fELF"
        lines = []
        with zipfile.ZipFile(path, "w") as wheel:
            for file, text in files.items():
                wheel.writestr(zipfile.ZipInfo(file), text)
                digest = (
                    base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()
                )
                lines.append(f"{file},sha256={digest},{len(text.encode())}")
            wheel.writestr(zipfile.ZipInfo(f"{info}/RECORD"), "\n".join([*lines, f"{info}/RECORD,,"]) + "\n")
        return f"{name}==1.0 --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"

    return folder, make


@pytest.fixture
def make_project(
    tmp_path: Path, wheels: tuple[Path, Callable[..., str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Project]:
    """Return a function that writes a project and returns it."""
    folder, make_wheel = wheels
    for tool in ("PIP", "UV"):
        monkeypatch.setenv(f"{tool}_FIND_LINKS", str(folder))
        monkeypatch.setenv(f"{tool}_NO_INDEX", "1")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "uv-cache"))

    def make(name: str = "one") -> Project:
        root = tmp_path / name
        files = {
            "pyproject.toml": '[project]\nname = "knowledge-mcp-server"\n[tool.ops]\nregion = "us-east-1"\n',
            "README.md": "# Knowledge\n",
            "Dockerfile": "FROM scratch\n",
            ".dockerignore": "tests\n",
            "requirements.txt": "fastmcp==4.1.2\n",
            ".env": "PASSWORD=hunter2\n",
            "src/server/__init__.py": "",
            "src/server/app.py": "app = 1\n",
            "src/server/__pycache__/app.cpython-311.pyc": "compiled",
            "src/server/.env": "PASSWORD=hunter2\n",
            "infrastructure/main.yaml": "Resources: {}\n",
            "infrastructure/network.yaml": "Resources: {}\n",
            "custom_resources/__init__.py": "",
            "custom_resources/emptied.py": "def handler(event, context): ...\n",
            "custom_resources/requirements.txt": make_wheel(),
            "custom_resources/requirements.in": "tinydep\n",
            "custom_resources/tests/test_emptied.py": "",
            "custom_resources/reference/Emptied.md": "# Custom::Emptied\n",
            "custom_resources/__pycache__/emptied.cpython-311.pyc": "compiled",
        }
        for stage in ("dev", "prod"):
            content = {"Parameters": {"Stage": stage, "DesiredCount": "1"}, "Tags": {"Project": "Knowledge"}}
            files[f"infrastructure/stages/{stage}.json"] = json.dumps(content)
        for file, text in files.items():
            path = root / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return find_project(root)

    return make


@pytest.fixture
def project(make_project: Callable[..., Project]) -> Project:
    return make_project()


@pytest.fixture
def aws() -> Aws:
    """A session whose account is known; clients answer through `stub`."""
    session = Aws(REGION)
    session._account = ACCOUNT
    return session


@pytest.fixture
def stub(aws: Aws) -> Iterator[Callable[[str], Stubber]]:
    """Return a function giving a service's Stubber; at the end each must have been asked everything.

    `service@region` is the service of another region than the session's.
    """
    stubs: dict[str, Stubber] = {}

    def get(service: str) -> Stubber:
        if service not in stubs:
            name, _, region = service.partition("@")
            stubs[service] = Stubber(aws.client(name, region))
            stubs[service].activate()
        return stubs[service]

    yield get
    for each in stubs.values():
        each.assert_no_pending_responses()


@pytest.fixture
def screen() -> Screen:
    return Screen()
