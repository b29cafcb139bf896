"""What a generated project looks like, and that it passes its own checks."""

import ast
import re
import stat
import sys
import tomllib
from functools import partial
from pathlib import Path

import pytest
import yaml

from .conftest import CACHES, ROOT, Bake, contents, copy_template
from .conftest import run as run_command

PACKAGE = "src/knowledge_mcp_server"
SERVER_FILES = {
    ".dockerignore",
    ".gitattributes",
    ".github/workflows/ci.yml",
    ".gitignore",
    ".taskcat.yml",
    "Dockerfile",
    "LICENSE",
    "Makefile",
    "README.md",
    "pyproject.toml",
    "requirements-dev.in",
    "requirements-dev.txt",
    "requirements.in",
    "requirements.txt",
    "tests/conftest.py",
    "tests/server/conftest.py",
    "tests/server/more_tools.py",
    "tests/server/test_auth_http.py",
    "tests/server/test_auth_keys.py",
    "tests/server/test_auth_settings.py",
    "tests/server/test_auth_tokens.py",
    "tests/server/test_call_spans.py",
    "tests/server/test_draining.py",
    "tests/server/test_exchange.py",
    "tests/server/test_fuzz.py",
    "tests/server/test_garbage.py",
    "tests/server/test_guards.py",
    "tests/server/test_http.py",
    "tests/server/test_logs.py",
    "tests/server/test_main.py",
    "tests/server/test_protocol.py",
    "tests/server/test_results.py",
    "tests/server/test_server.py",
    "tests/server/test_session_state.py",
    "tests/server/test_settings.py",
    "tests/server/test_tools.py",
    "tests/server/test_traces.py",
    f"{PACKAGE}/__init__.py",
    f"{PACKAGE}/__main__.py",
    f"{PACKAGE}/_distribution.py",
    f"{PACKAGE}/answers.py",
    f"{PACKAGE}/app.py",
    f"{PACKAGE}/auth/__init__.py",
    f"{PACKAGE}/auth/keys.py",
    f"{PACKAGE}/auth/provider.py",
    f"{PACKAGE}/auth/verifier.py",
    f"{PACKAGE}/auth_settings.py",
    f"{PACKAGE}/aws_spans.py",
    f"{PACKAGE}/call_log.py",
    f"{PACKAGE}/call_spans.py",
    f"{PACKAGE}/draining.py",
    f"{PACKAGE}/exchange.py",
    f"{PACKAGE}/garbage.py",
    f"{PACKAGE}/guards.py",
    f"{PACKAGE}/health.py",
    f"{PACKAGE}/logs.py",
    f"{PACKAGE}/middleware.py",
    f"{PACKAGE}/otlp.py",
    f"{PACKAGE}/own_tools.py",
    f"{PACKAGE}/py.typed",
    f"{PACKAGE}/request_ids.py",
    f"{PACKAGE}/request_log.py",
    f"{PACKAGE}/results.py",
    f"{PACKAGE}/server.py",
    f"{PACKAGE}/serving.py",
    f"{PACKAGE}/session_state.py",
    f"{PACKAGE}/sessions.py",
    f"{PACKAGE}/settings.py",
    f"{PACKAGE}/tools/__init__.py",
    f"{PACKAGE}/tools/knowledge_base.py",
    f"{PACKAGE}/tools/simpleadd.py",
    f"{PACKAGE}/traces.py",
}
# Written by other rooms of the template, each with tests of its own.
OTHER_ROOMS = ("custom_resources/", "infrastructure/", "ops/")
RENDERED = {".taskcat.yml", "LICENSE", "Makefile", "README.md", "pyproject.toml"}


# Running the project's own tests takes minutes on a busy machine.
run = partial(run_command, seconds=900)


def test_the_tree_is_the_expected_one(project: Path) -> None:
    found = {path for path in contents(project) if not path.startswith(OTHER_ROOMS)}
    assert found == SERVER_FILES


def test_nothing_but_the_named_files_is_rendered(project: Path, template: Path) -> None:
    source = contents(template / "{{cookiecutter.project_slug}}")
    for path, body in contents(project).items():
        if path in RENDERED or path.startswith(("infrastructure/stages/", "custom_resources/")):
            continue
        original = path.replace("knowledge_mcp_server", "{{cookiecutter.package_name}}")
        assert body == source[original], path


def test_no_variable_is_left(project: Path) -> None:
    for path, body in contents(project).items():
        text = body.decode("utf-8")
        assert not re.search(r"\{\{-?\s*cookiecutter|\{%-?\s*(?:if|for|raw|end)|\{\{\s*cookiecutter", text), (
            path
        )
        assert "cookiecutter" not in path


def test_a_fresh_project_needs_no_tidying(project: Path) -> None:
    for path, body in contents(project).items():
        assert b"\r" not in body, path
        assert not re.search(rb"[ \t]+$", body, re.MULTILINE), path
        if body:
            assert body.endswith(b"\n"), path
            assert not body.endswith(b"\n\n"), path


def test_generating_twice_gives_identical_bytes(bake: Bake, project: Path) -> None:
    assert contents(bake()) == contents(project)


def test_custom_resources_are_the_templates_own(project: Path, template: Path) -> None:
    target = project / "custom_resources"
    assert target.is_dir()
    assert not target.is_symlink()
    assert contents(target) == contents(template / "custom_resources")
    assert any(path.endswith(".py") for path in contents(target))


def test_the_working_tree_itself_generates_the_same_project(bake: Bake, project: Path) -> None:
    assert contents(bake(source=ROOT)) == contents(project)


def test_caches_are_never_generated_and_modes_are_kept(bake: Bake, template: Path, tmp_path: Path) -> None:
    source = copy_template(template, tmp_path / "source")
    inside = source / "{{cookiecutter.project_slug}}"
    for number, cache in enumerate(CACHES):
        for directory in (inside, inside / "tests", inside / "src" / "{{cookiecutter.package_name}}"):
            (directory / cache).mkdir(exist_ok=True)
            (directory / cache / f"{number}.pyc").write_bytes(b"{{ not text \x89")
    (source / "custom_resources" / "__pycache__").mkdir(exist_ok=True)
    for script in ("Makefile", "tests/conftest.py", "Dockerfile"):
        (inside / script).chmod(0o755)
    project = bake(source=source)
    assert [path for path in project.rglob("*") if path.name in CACHES] == []
    for script in ("Makefile", "tests/conftest.py", "Dockerfile"):
        assert (project / script).stat().st_mode & stat.S_IXUSR, script


@pytest.mark.parametrize(
    ("region", "regions"),
    [
        ("us-east-1", ["us-east-1", "eu-west-1"]),
        ("eu-west-1", ["eu-west-1", "us-east-1"]),
        ("cn-north-1", ["cn-north-1"]),
        ("us-gov-west-1", ["us-gov-west-1"]),
    ],
)
def test_taskcat_covers_regions_one_account_can_reach(bake: Bake, region: str, regions: list[str]) -> None:
    config = yaml.safe_load((bake(aws_region=region) / ".taskcat.yml").read_text())
    assert config["project"]["regions"] == regions
    assert config["project"]["name"] == "knowledge-mcp-server"
    assert config["project"]["package_lambda"] is False
    for test in config["tests"].values():
        assert test["parameters"]["ArtifactPrefix"] == "knowledge-mcp-server/"


def test_the_makefile_documents_every_target(bake: Bake, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "STAGE"):
        monkeypatch.delenv(name, raising=False)
    project = bake(aws_region="eu-central-1")
    shown = run("make", "help", cwd=project)
    phony = re.search(r"^\.PHONY: (.+)$", (project / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    for target in phony[1].split():
        assert re.search(rf"^  {target} +\S", shown, re.MULTILINE), target
    assert "AWS_REGION=eu-central-1" in shown
    assert "AWS_REGION=us-west-2" in run("make", "help", cwd=project, AWS_REGION="us-west-2")
    assert "AWS_REGION=us-west-1" in run("make", "help", cwd=project, AWS_DEFAULT_REGION="us-west-1")


def test_the_lock_is_complete(project: Path) -> None:
    for name in ("requirements", "requirements-dev"):
        lock = (project / f"{name}.txt").read_text()
        assert "://" not in lock
        for requirement in re.split(r"\n(?=\S)", lock.strip()):
            assert re.match(r"[a-z0-9-]+==\S+", requirement), requirement
            assert "--hash=sha256:" in requirement, requirement
    runtime = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (project / "requirements.txt").read_text(), re.MULTILINE)
    )
    both = dict(
        re.findall(r"^([a-z0-9-]+)==(\S+)", (project / "requirements-dev.txt").read_text(), re.MULTILINE)
    )
    assert runtime.items() <= both.items()
    metadata = tomllib.loads((project / "pyproject.toml").read_text())
    asked = [*metadata["project"]["dependencies"], *metadata["build-system"]["requires"]]
    assert {re.split("[<>=; ]", requirement)[0] for requirement in asked} <= runtime.keys()


def test_the_server_knows_its_package_by_relative_imports_only(project: Path) -> None:
    for path in (project / PACKAGE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names.append(node.module or "")
            assert not any(name.startswith("knowledge_mcp_server") for name in names), path


def test_the_image_is_built_from_what_the_bundle_carries(project: Path) -> None:
    dockerfile = (project / "Dockerfile").read_text()
    copied = set(re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE))
    names = {name for line in copied for name in line.split()}
    assert names == {"requirements.txt", "pyproject.toml", "README.md", "src"}
    allowed = re.findall(r"^!(.+)$", (project / ".dockerignore").read_text(), re.MULTILINE)
    assert set(allowed) == names
    assert "USER 1001" in dockerfile
    assert 'CMD ["mcp-server"]' in dockerfile
    # Builders that stacks are built with understand none of these.
    assert not re.search(r"<<|--link|--start-interval|^# *syntax", dockerfile, re.MULTILINE)


@pytest.mark.parametrize(
    "package", ["knowledge_mcp_server", "k", "a_package_whose_name_is_long_enough_to_move_line_breaks_about"]
)
def test_style_and_types_hold_for_any_package_name(bake: Bake, package: str) -> None:
    project = bake(package_name=package)
    run(sys.executable, "-m", "ruff", "check", "--no-cache", "src", "tests", cwd=project)
    run(sys.executable, "-m", "ruff", "format", "--no-cache", "--check", "src", "tests", cwd=project)
    # What mypy knows of the packages is the same for every project, and takes most of its time.
    run(
        sys.executable,
        "-m",
        "mypy",
        "--cache-dir",
        str(ROOT / ".mypy_cache" / "generated"),
        "src",
        cwd=project,
    )


@pytest.mark.timeout(900)
def test_the_installed_project_passes_its_own_tests(bake: Bake, tmp_path: Path) -> None:
    project = bake(project_name="Weather Desk", package_name="forecasts", description='Says "sun".')
    site = tmp_path / "site"
    install = ("pip", "install", "--quiet", "--offline", "--no-deps", "--no-build-isolation")
    run(
        *(str(Path(sys.executable).parent / "uv"), *install),
        *("--python", sys.executable, "--target", str(site), str(project)),
        cwd=tmp_path,
        UV_CACHE_DIR=str(tmp_path / "cache"),
    )
    version = run(sys.executable, "-m", "forecasts", "--version", cwd=tmp_path, PYTHONPATH=str(site))
    assert version == "weather-desk 0.1.0\n"
    shown = run(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=project, PYTHONPATH=str(site)
    )
    assert re.search(r"\d+ passed", shown), shown
    assert "failed" not in shown
    assert "skipped" not in shown
