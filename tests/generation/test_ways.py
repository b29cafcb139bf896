"""Every way to generate a project gives the same project: command line, replay, zip, cruft."""

import json
import os
import stat
import sys
import zipfile
from pathlib import Path

import pytest

from .conftest import CACHES, contents, copy_template, run

BIN = Path(sys.executable).parent


def test_the_command_line_says_what_to_do_next(template: Path, project: Path, tmp_path: Path) -> None:
    said = run(str(BIN / "cookiecutter"), "--no-input", str(template), cwd=tmp_path)
    assert contents(tmp_path / project.name) == contents(project)
    lines = said.splitlines()
    assert len(lines) == 3
    assert f"cd {project.name} && make test" in lines[1]


def test_questions_are_asked_in_words_and_private_values_are_not(template: Path, tmp_path: Path) -> None:
    questions = json.loads((template / "cookiecutter.json").read_text())
    public = [name for name in questions if not name.startswith("_")]
    assert questions["__prompts__"].keys() == set(public)
    answers = ["Maps", "", "", 'Finds "places" \\ {{ cookiecutter._template }}', "Ada", "eu-north-1", "3"]
    said = run(str(BIN / "cookiecutter"), str(template), cwd=tmp_path, answer="\n".join(answers) + "\n")
    assert f"[{len(public)}/{len(public)}]" in said
    assert f"[{len(public) + 1}/" not in said
    baked = tmp_path / "maps"
    assert 'Finds "places" \\ {{ cookiecutter._template }}' in (baked / "README.md").read_text()
    assert (baked / "LICENSE").read_text().startswith("BSD 3-Clause")


def test_a_replay_gives_the_same_answers(template: Path, tmp_path: Path) -> None:
    cookiecutter = str(BIN / "cookiecutter")
    replay = tmp_path / "replay.json"
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    run(cookiecutter, "--no-input", str(template), "project_name=Maps", cwd=tmp_path / "first")
    saved = Path(os.environ["HOME"]) / "replay" / f"{template.name}.json"
    replay.write_bytes(saved.read_bytes())
    run(cookiecutter, "--replay-file", str(replay), str(template), cwd=tmp_path / "second")
    assert contents(tmp_path / "second" / "maps") == contents(tmp_path / "first" / "maps")


def archive(template: Path, target: Path) -> Path:
    """Write a zip as `git archive` and code hosts do: one top directory, links as links."""
    with zipfile.ZipFile(target, "w") as file:
        file.writestr(zipfile.ZipInfo("template-main/"), "")
        for path in sorted(template.rglob("*")):
            if set(CACHES) & set(path.parts) or (path.is_dir() and not path.is_symlink()):
                continue
            name = f"template-main/{path.relative_to(template).as_posix()}"
            if path.is_symlink():
                entry = zipfile.ZipInfo(name)
                entry.create_system = 3  # Unix
                entry.external_attr = (stat.S_IFLNK | 0o777) << 16
                file.writestr(entry, os.readlink(path))  # noqa: PTH115
            else:
                file.write(path, name)
    return target


def test_a_zip_of_the_repository_works(template: Path, project: Path, tmp_path: Path) -> None:
    packed = archive(template, tmp_path / "template.zip")
    run(str(BIN / "cookiecutter"), "--no-input", str(packed), cwd=tmp_path)
    assert contents(tmp_path / project.name) == contents(project)


def test_git_without_symbolic_links_works(template: Path, project: Path, tmp_path: Path) -> None:
    source = copy_template(template, tmp_path / "source")
    link = source / "{{cookiecutter.project_slug}}" / "custom_resources"
    text = os.readlink(link)  # noqa: PTH115
    link.unlink()
    link.write_text(text)
    run(str(BIN / "cookiecutter"), "--no-input", str(source), cwd=tmp_path)
    assert contents(tmp_path / project.name) == contents(project)


@pytest.fixture
def repository(template: Path, tmp_path: Path) -> Path:
    """Return a git repository that holds the template."""
    directory = copy_template(template, tmp_path / "repository")
    (directory / ".gitignore").write_text("__pycache__/\n")
    commit(directory, "template", initialise=True)
    return directory


def commit(directory: Path, message: str, *, initialise: bool = False) -> None:
    """Commit everything there is."""
    if initialise:
        run("git", "init", "--quiet", "--initial-branch", "main", cwd=directory)
    run("git", "add", "--all", cwd=directory)
    run("git", "commit", "--quiet", "--message", message, cwd=directory)


def test_cruft_creates_the_same_project_and_updates_it(
    repository: Path, project: Path, tmp_path: Path
) -> None:
    cruft = str(BIN / "cruft")
    run(cruft, "create", "--no-input", str(repository), cwd=tmp_path)
    created = tmp_path / project.name
    expected = contents(project)
    found = contents(created)
    found.pop(".cruft.json")
    assert found == expected
    run(cruft, "check", cwd=created)

    settings = next(created.glob("src/*/settings.py"))
    settings.write_text(settings.read_text() + "\n# changed in the project\n")
    commit(created, "project", initialise=True)
    inside = repository / "{{cookiecutter.project_slug}}"
    for name in ("Makefile", "Dockerfile"):
        (inside / name).write_text((inside / name).read_text() + "# changed in the template\n")
    (repository / "custom_resources" / "added.py").write_text('"""Added in the template."""\n')
    commit(repository, "newer template")

    run(cruft, "update", "--skip-apply-ask", cwd=created)
    assert list(created.rglob("*.rej")) == []
    assert (created / "Makefile").read_text().endswith("# changed in the template\n")
    assert (created / "Dockerfile").read_text().endswith("# changed in the template\n")
    assert (created / "custom_resources" / "added.py").is_file()
    assert settings.read_text().endswith("# changed in the project\n")
    run(cruft, "check", cwd=created)
