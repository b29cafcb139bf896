"""The functions' zip: small, and with all that the functions load."""

import ast
import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ops import archive, vendor

PACKAGE = Path(__file__).parents[2] / "custom_resources"


def services_called() -> set[str]:
    """The services that the source makes clients of: the first argument of every `_client(…)`."""
    found: set[str] = set()
    for path in PACKAGE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("self._client"):
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_the_zip_has_the_models_of_the_services_that_are_called() -> None:
    listed = (PACKAGE / "aws-services.txt").read_text().split()
    assert listed == sorted(services_called()), "aws-services.txt decides which models are packed"


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the functions' zip holds of the packages of this environment, as a folder."""
    folder = tmp_path_factory.mktemp("packed")
    services = (PACKAGE / "aws-services.txt").read_text().split()
    for package in ("boto3", "botocore", "crhelper", "dateutil", "jmespath", "s3transfer", "urllib3"):
        root = Path(str(importlib.import_module(package).__file__)).parent
        for path in root.rglob("*"):
            name = path.relative_to(root.parent)
            if path.is_file() and path.suffix != ".pyc" and vendor.is_used(name.as_posix(), services):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, folder / name)
    shutil.copyfile(str(importlib.import_module("six").__file__), folder / "six.py")
    shutil.copytree(PACKAGE, folder / "custom_resources", ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def test_every_client_works_with_what_is_packed(packed: Path) -> None:
    """With endpoints and partitions, the role's credentials from the environment, and botocore's retries."""
    code = """
import inspect, boto3, custom_resources.aws as aws
assert boto3.__file__.startswith(__import__("os").getcwd()), boto3.__file__
names = sorted(boto3.session.Session().get_available_services())
for region, suffix in (("eu-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn")):
    clients, made = aws.Clients(), set()
    __import__("os").environ["AWS_DEFAULT_REGION"] = region
    for name, method in inspect.getmembers(clients, inspect.ismethod):
        if name.startswith("_") or name == "sign":
            continue
        wanted = inspect.signature(method).parameters.values()
        given = {"region": region, "seconds": 5.0}
        client = method(**{one.name: given[one.name] for one in wanted if one.default is one.empty})
        made.add(client.meta.service_model.service_name)
        if client.meta.service_model.service_name != "route53":
            assert suffix in client.meta.endpoint_url, client.meta.endpoint_url
        assert client._request_signer._credentials.token == "session", "the role's credentials"
    assert sorted(made) == names, (made, names)
print("loaded", *names)
"""
    environment = {
        "PATH": os.environ["PATH"],
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_SESSION_TOKEN": "session",
    }
    done = subprocess.run(
        # -S: without this environment's own packages; -P isn't given, so the folder comes first.
        [sys.executable, "-S", "-c", code],
        cwd=packed,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.startswith("loaded "), done.stderr


def test_the_zip_is_small(packed: Path, tmp_path: Path) -> None:
    """Lambda unpacks it at every cold start."""
    path = tmp_path / "functions.zip"
    archive.write_zip(path, dict(archive.walk(packed)), compress=True)
    size = path.stat().st_size / 1e6
    print(f"functions' zip: {size:.1f} MB")
    assert size < 5
