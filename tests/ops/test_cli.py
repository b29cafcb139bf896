import os
import subprocess
import sys
from pathlib import Path

import pytest
from ops.__main__ import main
from ops.console import Screen
from ops.project import Project, choose_region

from tests.ops.conftest import SECRET, TOKEN

COMMANDS = ("bundle", "upload", "deploy", "follow", "verify", "destroy")
SLUG_DIR = Path(__file__).parents[2] / "{{cookiecutter.project_slug}}"


@pytest.fixture(autouse=True)
def inside(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project.root)


def one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """Return the error line, which must be the last; and no traceback, no secret."""
    shown = capsys.readouterr()
    assert "Traceback" not in shown.err
    assert SECRET not in shown.out + shown.err
    assert TOKEN not in shown.out + shown.err
    line = shown.err.rstrip("\n").splitlines()[-1]
    assert line.startswith("error: ")
    return line


@pytest.mark.parametrize("command", COMMANDS)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([command, "--help"])

    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert f"usage: python -m ops {command}" in shown
    assert "--region" in shown
    assert "--stage" in shown


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])

    shown = capsys.readouterr().out
    assert all(f"    {command} " in shown for command in COMMANDS)
    assert "exit codes" in shown


def test_runs_as_a_module(project: Project) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ops", "bundle"],
        cwd=project.root,
        env={
            "PATH": "/usr/bin:/bin",
            "PYTHONPATH": str(SLUG_DIR),
            "PYTHONDONTWRITEBYTECODE": "1",
            **dict(_install_environment()),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert (project.root / done.stdout.strip() / "infrastructure/main.yaml").is_file()
    assert "\x1b" not in done.stdout + done.stderr


def _install_environment() -> list[tuple[str, str]]:
    return [(key, value) for key, value in os.environ.items() if key.startswith(("PIP_", "UV_"))]


def test_no_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([])

    assert left.value.code == 2


@pytest.mark.parametrize("command", ["deploy", "verify", "destroy", "follow", "upload", "bundle"])
def test_unknown_stage(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--stage", "qa"]) == 2
    assert one_error(capsys) == "error: Unknown stage 'qa'; infrastructure/stages has: dev, prod."


@pytest.mark.parametrize("command", ["deploy", "verify", "destroy", "follow", "upload"])
def test_missing_credentials(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)

    assert main([command, "--region", "eu-west-1"]) == 2
    assert "No usable AWS credentials: Unable to locate credentials. Sign in" in one_error(capsys)


def test_unknown_profile(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")

    assert main(["verify"]) == 2
    assert "(nobody) could not be found" in one_error(capsys)


@pytest.mark.parametrize("command", ["deploy", "verify", "destroy", "follow"])
def test_unreachable_endpoint(
    command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    assert main([command]) == 2
    assert "AWS could not be reached" in (line := one_error(capsys))
    assert "127.0.0.1:9" in line


def test_missing_region(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (project.root / "pyproject.toml").write_text('[project]\nname = "knowledge-mcp-server"\n')

    assert main(["verify"]) == 2
    assert "No AWS region: pass --region" in one_error(capsys)


def test_the_projects_own_region_is_the_default(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_region(project, None) == "us-east-1"
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert choose_region(project, None) == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-3")
    assert choose_region(project, None) == "eu-west-3"
    assert choose_region(project, "us-gov-west-1") == "us-gov-west-1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--region", "Ireland"], "'Ireland' is not the name of an AWS region"),
        (["--stack-name", "9 lives"], "'9 lives' can't be a stack name"),
    ],
)
def test_bad_values_are_named(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", *arguments]) == 2
    assert said in one_error(capsys)


@pytest.mark.parametrize("value", ["soon", "-1", "nan"])
def test_bad_timeout(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["verify", f"--timeout={value}"])

    assert left.value.code == 2
    assert "--timeout" in capsys.readouterr().err


def test_outside_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert main(["bundle"]) == 2
    assert "is not inside a project" in one_error(capsys)


def test_a_full_disk_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device", "build")

    monkeypatch.setattr("ops.bundle.build_bundle", full)

    assert main(["bundle"]) == 2
    assert one_error(capsys) == "error: No space left on device: build"


def test_bundle_writes_the_stage_without_asking_aws(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")

    assert main(["bundle", "--stage", "prod", "--bucket", "mine"]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "build/prod.json"


def test_ctrl_c(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ops.bundle.build_bundle", interrupt)

    assert main(["bundle"]) == 130
    assert one_error(capsys) == "error: Stopped."


def test_lines_are_neither_wrapped_nor_coloured_in_a_log(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    Screen().note("word " * 60, "red")

    assert capsys.readouterr().err == "word " * 60 + "\n"


def test_no_color_on_a_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    Screen().note("plain", "red")
    monkeypatch.setenv("NO_COLOR", "1")
    Screen().note("plain", "red")

    coloured, plain = capsys.readouterr().err.splitlines()
    assert "\x1b[31m" in coloured
    assert plain == "plain"
