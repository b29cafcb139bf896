from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from local_cloud.errors import LocalCloudError
from local_cloud.launcher import LocalCloud

ROOT = Path(__file__).resolve().parents[2]


def trusting(cloud: LocalCloud) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=cloud.environment()["AWS_CA_BUNDLE"])


def through_proxy(cloud: LocalCloud, host: str, path: str = "/") -> bytes:
    port = cloud.ports["proxy"]
    with closing(
        http.client.HTTPSConnection("127.0.0.1", port, context=trusting(cloud), timeout=10)
    ) as connection:
        connection.set_tunnel(host, 443)
        connection.request("GET", path)
        return connection.getresponse().read()


@pytest.fixture(scope="module")
def stored_object(client: Any) -> str:
    client("s3").create_bucket(Bucket="engine-bucket")
    client("s3").put_object(Bucket="engine-bucket", Key="greeting", Body=b"hello")
    return "/greeting"


@pytest.mark.parametrize(
    "host", ["engine-bucket.s3.us-east-1.amazonaws.com", "engine-bucket.s3.amazonaws.com"]
)
def test_certificate_is_minted_for_the_name_asked_for(
    local_cloud: LocalCloud, stored_object: str, host: str
) -> None:
    assert through_proxy(local_cloud, host, stored_object) == b"hello"


def test_certificate_of_another_name_is_refused_by_a_client(local_cloud: LocalCloud) -> None:
    with socket.create_connection(("127.0.0.1", local_cloud.ports["api"])) as raw:
        connection = trusting(local_cloud).wrap_socket(raw, server_hostname="d1.cloudfront.net")
        names = dict(connection.getpeercert()["subjectAltName"])  # type: ignore[index,arg-type]
        assert names == {"DNS": "d1.cloudfront.net"}
        connection.close()


def test_loopback_address_is_certified(local_cloud: LocalCloud) -> None:
    url = urlsplit(local_cloud.api_url)
    context = trusting(local_cloud)
    with closing(
        http.client.HTTPSConnection(str(url.hostname), url.port, context=context, timeout=10)
    ) as connection:
        connection.request("GET", "/_ministack/health")
        assert connection.getresponse().status == 200


def test_a_stranger_is_not_trusted(local_cloud: LocalCloud) -> None:
    url = urlsplit(local_cloud.api_url)
    untrusting = ssl.create_default_context(cadata=None)
    with (
        closing(
            http.client.HTTPSConnection(str(url.hostname), url.port, context=untrusting, timeout=10)
        ) as connection,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        connection.request("GET", "/")


@pytest.mark.parametrize(
    "host", ["example.com", "amazonaws.com.example.org", "127.0.0.1", "evilcloudfront.net"]
)
def test_proxy_refuses_strangers(local_cloud: LocalCloud, host: str) -> None:
    with pytest.raises(OSError, match="403"):
        through_proxy(local_cloud, host)


def plain_proxy_request(cloud: LocalCloud, head: str) -> tuple[int, str]:
    with socket.create_connection(("127.0.0.1", cloud.ports["proxy"]), timeout=10) as raw:
        raw.sendall(head.encode())
        response = http.client.HTTPResponse(raw)
        response.begin()
        return response.status, response.read().decode()


def test_proxy_forwards_plain_requests(local_cloud: LocalCloud, stored_object: str) -> None:
    host = "engine-bucket.s3.us-east-1.amazonaws.com"
    head = (
        f"GET http://{host}{stored_object} HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: keep-alive\r\n\r\n"
    )
    assert plain_proxy_request(local_cloud, head) == (200, "hello")


@pytest.mark.parametrize(
    ("head", "status", "text"),
    [
        ("GET http://example.com/ HTTP/1.1\r\nHost: example.com\r\n\r\n", 403, "no route to example.com"),
        ("GET /path HTTP/1.1\r\nHost: x\r\n\r\n", 400, "absolute http:// address"),
        ("CONNECT nonsense HTTP/1.1\r\n\r\n", 400, "host:port"),
        ("CONNECT a.amazonaws.com:22 HTTP/1.1\r\n\r\n", 403, "ports 80 and 443 only"),
        ("nonsense\r\n\r\n", 400, "malformed"),
    ],
)
def test_proxy_explains_its_refusals(local_cloud: LocalCloud, head: str, status: int, text: str) -> None:
    answered, body = plain_proxy_request(local_cloud, head)
    assert answered == status
    assert text in body


def test_command_line_is_a_client_by_environment_alone(local_cloud: LocalCloud, stored_object: str) -> None:
    environment = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", **local_cloud.environment("eu-west-1")}
    aws = Path(sys.executable).parent / "aws"
    answer = subprocess.run(
        [aws, "s3", "cp", f"s3://engine-bucket{stored_object}", "-"],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert answer.stdout == b"hello"
    region = subprocess.run(
        [aws, "configure", "get", "region"], env=environment, capture_output=True, check=False
    )
    assert region.stdout in {b"", b"eu-west-1\n"}


def run(*arguments: str, **settings: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "local_cloud", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        **settings,
    )


@contextmanager
def running(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    process = run(*arguments)
    assert process.stdout is not None
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if line.startswith("# Stop it"):
                break
        yield process, "".join(lines)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def group_is_empty(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False


def becomes_empty(group: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and not group_is_empty(group):
        time.sleep(0.05)
    return group_is_empty(group)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_it_quickly_with_all_it_started(tmp_path: Path, number: signal.Signals) -> None:
    exports = tmp_path / "cloud.env"
    with running("--environment-file", str(exports), "--region", "eu-west-1") as (process, text):
        assert "export AWS_ENDPOINT_URL=https://127.0.0.1:" in text
        assert "export AWS_REGION=eu-west-1" in exports.read_text()
        assert "\x1b" not in text
        state = Path(text.split("# Log: ")[1].splitlines()[0]).parent
        assert state.exists()
        begun = time.monotonic()
        process.send_signal(number)
        assert process.wait(10) == 0
        assert time.monotonic() - begun < 5
        assert group_is_empty(process.pid)
        assert not state.exists()
        assert not exports.exists()


def test_busy_port_is_one_clear_line(local_cloud: LocalCloud) -> None:
    port = local_cloud.ports["api"]
    process = run("--port", str(port))
    output, error = process.communicate(timeout=20)
    assert process.returncode == 1
    assert output == ""
    assert error.count("\n") == 1
    assert f"Port {port} on 127.0.0.1 is already in use" in error


@pytest.mark.parametrize("port", ["-1", "70000", "https"])
def test_wrong_port_is_a_usage_error(port: str) -> None:
    process = run(f"--port={port}")
    _, error = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"{port!r} is not a port number between 0 and 65535" in error


def test_launcher_reports_why_a_start_failed(local_cloud: LocalCloud) -> None:
    with pytest.raises(LocalCloudError, match="is already in use"):
        LocalCloud(port=local_cloud.ports["api"]).start()


def test_cloud_dies_with_the_program_that_started_it() -> None:
    code = (
        "import os, signal\n"
        "from local_cloud.launcher import LocalCloud\n"
        "cloud = LocalCloud()\n"
        "cloud.start()\n"
        "print(cloud.pid, cloud.state_directory, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    pid, directory = int(answer.stdout.split()[0]), Path(answer.stdout.split()[1])
    assert becomes_empty(pid)
    assert not directory.exists()


def test_unstarted_cloud_says_so() -> None:
    with pytest.raises(LocalCloudError, match="isn't running"):
        LocalCloud().environment()


def test_help_names_every_option() -> None:
    process = run("--help")
    output, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    for option in (
        "--region",
        "--port",
        "--verbose",
        "--environment-file",
        "--ready-file",
        "--stop-with-stdin",
    ):
        assert option in output


def test_detached_cloud_outlives_its_program_until_it_is_stopped() -> None:
    code = (
        "from local_cloud.launcher import LocalCloud\n"
        "cloud = LocalCloud(detached=True)\n"
        "cloud.start()\n"
        "print(cloud.pid, cloud.state_directory, flush=True)\n"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    pid, directory = int(answer.stdout.split()[0]), Path(answer.stdout.split()[1])
    try:
        time.sleep(0.5)
        assert not group_is_empty(pid)
    finally:
        LocalCloud.stop_detached(pid)
    assert becomes_empty(pid)
    assert not directory.exists()


def test_stopping_a_detached_cloud_spares_other_processes() -> None:
    LocalCloud.stop_detached(os.getpid())
