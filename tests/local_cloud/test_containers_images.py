"""Images: what a Dockerfile becomes, what is refused, and that the same source is the same image."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import pytest

from local_cloud.containers.images.build import BuildRequest, ImageBuilder
from local_cloud.containers.images.context import context_files
from local_cloud.containers.images.docker_command import DockerConfig
from local_cloud.containers.images.dockerfile import DockerfileError, expand, key_values, parse
from local_cloud.containers.images.store import Image
from local_cloud.containers.settings import ContainerSettings, package_environment

BASE = "FROM public.ecr.aws/docker/library/python:3.13-slim\n"
PROJECT = {
    "pyproject.toml": """
        [build-system]
        requires = []
        build-backend = "backend"
        backend-path = ["."]
        [project]
        name = "hello"
        version = "1.0"
    """,
    # A build backend of a few lines, so that nothing is fetched.
    "backend.py": """
        import zipfile
        def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
            name = "hello-1.0-py3-none-any.whl"
            files = {
                "hello.py": "def main(): print('hello from', __file__)",
                "hello-1.0.dist-info/METADATA": "Metadata-Version: 2.1\\nName: hello\\nVersion: 1.0\\n",
                "hello-1.0.dist-info/WHEEL":
                    "Wheel-Version: 1.0\\nGenerator: test\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
                "hello-1.0.dist-info/entry_points.txt": "[console_scripts]\\nhello = hello:main\\n",
                "hello-1.0.dist-info/RECORD": "",
            }
            with zipfile.ZipFile(f"{wheel_directory}/{name}", "w") as wheel:
                for path, text in files.items():
                    wheel.writestr(path, text)
            return name
    """,
}

Build = Callable[..., Image]


@pytest.fixture
def output() -> list[str]:
    return []


@pytest.fixture
def build(tmp_path: Path, output: list[str]) -> Build:
    """``build(dockerfile, files, **request)``: build in a directory of its own with a cache of this test."""
    python = getattr(sys, "_base_executable", sys.executable)
    config = DockerConfig(str(tmp_path / "cache"), python, package_environment())

    def run(
        dockerfile: str, files: Mapping[str, str] | None = None, folder: str = "context", **options: str
    ) -> Image:
        context = tmp_path / folder
        for name, text in {"Dockerfile": dockerfile, **(files or {})}.items():
            path = context / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        request = BuildRequest(context, **{"platform": "linux/arm64", **options})  # type: ignore[arg-type]
        return ImageBuilder(config.store(), config.tools(), output.append).build(request)

    return run


def test_the_last_stage_is_the_image(build: Build) -> None:
    dockerfile = f"""\
        ARG BASE_IMAGE=public.ecr.aws/docker/library/python:3.13-slim
        FROM ${{BASE_IMAGE}} AS build
        WORKDIR /build
        COPY pyproject.toml backend.py ./
        RUN python -m venv --without-pip /opt/venv
        RUN python -m pip --python /opt/venv/bin/python \\
            # a comment in between
            install --compile --no-deps --no-build-isolation .
        {BASE.strip()}
        COPY --from=build /opt/venv /opt/venv
        ENV PATH=/opt/venv/bin:$PATH GREETING="good day"
        WORKDIR /app
        USER 1001:1001
        EXPOSE 8080
        HEALTHCHECK --interval=30s CMD ["hello"]
        CMD ["hello"]
    """
    image = build(dockerfile, {name: PROJECT[name] for name in ("pyproject.toml", "backend.py")})
    config = image.config["config"]
    assert config["Cmd"] == ["hello"]
    assert config["User"] == "1001:1001"
    assert config["WorkingDir"] == "/app"
    assert config["ExposedPorts"] == {"8080/tcp": {}}
    assert config["Healthcheck"]["Test"] == ["CMD", "hello"]
    environment = dict(entry.split("=", 1) for entry in config["Env"])
    assert environment["GREETING"] == "good day"
    assert environment["PATH"].startswith("/opt/venv/bin:/usr/local/bin")
    script = image.root / "opt/venv/bin/hello"
    said = subprocess.run([script], capture_output=True, text=True, check=True).stdout
    assert str(image.root / "opt/venv") in said, "the copied environment must not use the build stage's files"
    assert not (image.root / "build").exists()


def test_the_same_source_has_the_same_digest_and_is_not_built_again(build: Build, output: list[str]) -> None:
    dockerfile = BASE + "COPY a.txt /a.txt\n"
    first = build(dockerfile, {"a.txt": "1"})
    again = build(dockerfile, {"a.txt": "1"}, folder="elsewhere")
    assert again.digest == first.digest
    assert any("CACHED" in line for line in output)
    assert build(dockerfile, {"a.txt": "2"}, folder="changed").digest != first.digest
    assert build(dockerfile, {"a.txt": "1"}, folder="amd", platform="linux/amd64").digest != first.digest


def test_requirements_are_installed_once_for_all_sources(build: Build, output: list[str]) -> None:
    files = {"requirements.txt": "# none\n"}
    dockerfile = (
        BASE + "WORKDIR /w\nCOPY requirements.txt ./\nRUN python -m venv /opt/venv\n"
        "RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt\nCOPY a.txt ./\n"
    )
    build(dockerfile, {**files, "a.txt": "1"})
    assert not any("from the cache" in line for line in output)
    image = build(dockerfile, {**files, "a.txt": "2"}, folder="second")
    assert any("from the cache" in line for line in output)
    assert (image.root / "opt/venv/bin/python").exists()


def test_a_requirement_without_its_hash_fails_the_build(build: Build) -> None:
    dockerfile = (
        BASE + "COPY requirements.txt ./\nRUN python -m venv /opt/venv\n"
        "RUN /opt/venv/bin/pip install --require-hashes -r requirements.txt\n"
    )
    with pytest.raises(DockerfileError, match="did not complete successfully: exit code"):
        build(dockerfile, {"requirements.txt": "idna==3.10\n"})


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        (BASE + "COPY missing.txt ./\n", r'failed to calculate checksum of ref: "/missing.txt": not found'),
        (BASE + "COPPY a b\n", "dockerfile parse error on line 2: unknown instruction: COPPY"),
        (BASE + "RUN curl https://example.com | sh\n", "joined by && or ; only"),
        (BASE + "RUN make install\n", "can't run 'make install'"),
        (BASE + "RUN pip install requests\n", "outside of a virtual environment"),
        (BASE + "RUN cat <<EOF\nEOF\n", "here-documents"),
        (BASE + "COPY --from=nowhere /a /b\n", "no stage of this Dockerfile"),
        ("FROM node:22\n", "Python base images only"),
        ("RUN true\n", "no build stage in current context"),
        ("", "file with no instructions"),
    ],
)
def test_what_can_not_be_built_fails_the_build(build: Build, dockerfile: str, message: str) -> None:
    with pytest.raises(DockerfileError, match=message):
        build(dockerfile)


def test_another_platform_than_the_machines_can_not_run_programs(build: Build) -> None:
    dockerfile = BASE + "RUN python -m venv /opt/venv\n"
    with pytest.raises(DockerfileError, match="exec format error"):
        build(dockerfile, platform="linux/arm64", builder_platform="linux/amd64")


def test_files_left_out_by_dockerignore_are_not_in_the_context(tmp_path: Path) -> None:
    names = ["src/app.py", "src/__pycache__/app.pyc", "src/.env", "README.md", "secret.key", "docs/index.md"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / ".dockerignore").write_text("# all but\n*\n!src\n!README.md\n**/__pycache__\n**/.env*\n")
    assert context_files(tmp_path) == [PurePosixPath("README.md"), PurePosixPath("src/app.py")]


def test_copying_an_ignored_file_fails_as_docker_does(build: Build) -> None:
    with pytest.raises(DockerfileError, match=r'"/a\.txt": not found'):
        build(BASE + "COPY a.txt ./\n", {"a.txt": "1", ".dockerignore": "*.txt\n"})


@pytest.mark.parametrize(
    ("destination", "expected"),
    [("./", "/w/d/f.txt"), ("/x/", "/x/d/f.txt"), ("/x", "/x/d/f.txt"), ("new", "/w/new/d/f.txt")],
)
def test_a_directory_is_copied_by_its_contents(build: Build, destination: str, expected: str) -> None:
    image = build(BASE + f"WORKDIR /w\nCOPY src {destination}\n", {"src/d/f.txt": "1"})
    assert (image.root / expected.lstrip("/")).read_text() == "1"


def test_variables_are_expanded_as_in_a_dockerfile() -> None:
    assert expand("$A ${A} ${B:-none} ${A:+some} \\$A", {"A": "1"}) == "1 1 none some $A"
    assert key_values('A=1 B="two words" C=$A', {"A": "x"}) == {"A": "1", "B": "two words", "C": "x"}
    assert key_values("OLD a form", {}) == {"OLD": "a form"}
    stages = parse("ARG V=3.13\nFROM python:${V} AS one\nFROM one\n", {"V": "3.14"}).stages
    assert [(stage.base, stage.name) for stage in stages] == [("python:3.14", "one"), ("one", "")]


def test_the_base_image_has_no_curl(build: Build) -> None:
    image = build(BASE)
    assert (image.root / "usr/bin/sleep").exists()
    assert not [*image.root.rglob("curl"), *image.root.rglob("wget")]


def test_a_time_scale_below_one_is_refused() -> None:
    assert ContainerSettings.from_environment({"LOCAL_CLOUD_TIME_SCALE": "60"}).scaled(30) == 0.5
    for wrong in ("0", "-1", "fast", "nan"):
        with pytest.raises(ValueError, match="must be a number of at least 1"):
            ContainerSettings.from_environment({"LOCAL_CLOUD_TIME_SCALE": wrong})
