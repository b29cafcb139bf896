"""Which answers are refused, and that no answer is ever executed."""

import json
import re
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import botocore.session
import pytest
from cookiecutter.exceptions import FailedHookException, OutputDirExistsException

from .conftest import ROOT, Bake

PROJECT = ROOT / "{{cookiecutter.project_slug}}"
LONGEST_SLUG = "k" * 39


def refused(bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], **answers: str) -> str:
    """Generate, expect a refusal that leaves nothing, and return what was said."""
    with pytest.raises(FailedHookException):
        bake(**answers)
    assert [path for path in tmp_path.rglob("*") if path.name != "out"] == []
    said = capfd.readouterr().err
    # Said by the hook's own rules, not by a crash of the hook.
    assert re.search(r"^ERROR: \w+ = ", said, re.MULTILINE), said
    return said


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("project_slug", "Knowledge", "lower-case"),
        ("project_slug", "knowledge_server", "single hyphens"),
        ("project_slug", "knowledge--server", "single hyphens"),
        ("project_slug", "knowledge-", "single hyphens"),
        ("project_slug", "-knowledge", "begin with a letter"),
        ("project_slug", "3d-maps", "begin with a letter"),
        ("project_slug", "wissen-für-alle", "lower-case"),
        ("project_slug", "two words", "lower-case"),
        ("project_slug", "knowledge\n", "lower-case"),
        ("project_slug", LONGEST_SLUG + "k", "40 characters and 39 are left"),
        ("project_slug", "fastmcp", "same name"),
        ("project_slug", "pydantic-settings", "same name"),
        ("package_name", "Knowledge", "lower-case"),
        ("package_name", "knowledge-server", "underscores"),
        ("package_name", "_knowledge", "begins with a letter"),
        ("package_name", "", "begins with a letter"),
        ("package_name", "class", "keyword"),
        ("package_name", "match", "keyword"),
        ("package_name", "json", "standard library"),
        ("package_name", "fastmcp", "depends on"),
        ("package_name", "yaml", "depends on"),
        ("package_name", "ops", "generated repository"),
        ("package_name", "custom_resources", "generated repository"),
        ("package_name", "tests", "generated repository"),
        ("aws_region", "", "not the name"),
        ("aws_region", "Frankfurt", "not the name"),
        ("aws_region", "eu-west", "not the name"),
        ("aws_region", "us-east-1a", "not the name"),
        ("aws_region", "us-east-1\n", "not the name"),
        ("project_name", " ", "empty"),
        ("project_name", "Know\tledge", "U+0009"),
        ("description", "", "empty"),
        ("description", "One\nTwo", "U+000A"),
        ("description", "One\x1b[31mTwo", "U+001B"),
        ("author_name", "", "empty"),
        ("author_name", "A\u2028B", "U+2028"),
    ],
)
def test_a_bad_answer_is_refused_with_name_value_reason_and_advice(
    bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, value: str, why: str
) -> None:
    answers = {"project_slug": "knowledge-server", "package_name": "knowledge_server", name: value}
    line = next(
        line
        for line in refused(bake, tmp_path, capfd, **answers).splitlines()
        if line.startswith(f"ERROR: {name} = ")
    )
    assert repr(value) in line
    assert why in line
    assert re.search(r"\. (Use|Shorten|Answer|Write) .+\.$", line)


def test_every_bad_answer_is_named_at_once(
    bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = refused(bake, tmp_path, capfd, project_slug="A", package_name="json", aws_region="here")
    assert {"project_slug", "package_name", "aws_region"} <= set(re.findall(r"ERROR: (\w+) =", said))


def test_an_empty_slug_would_be_the_working_directory_and_is_refused(bake: Bake, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputDirExistsException):
        bake(project_slug="", package_name="knowledge_server")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "slug", "package"),
    [
        ("Knowledge MCP Server", "knowledge-mcp-server", "knowledge_mcp_server"),
        ("Wissen für Alle!", "wissen-fur-alle", "wissen_fur_alle"),
        ("An Extraordinarily Long Name For A Small Server", "an-extraordinarily-long-name-for-a", None),
    ],
)
def test_names_are_derived_from_the_projects(bake: Bake, name: str, slug: str, package: str | None) -> None:
    project = bake(project_name=name)
    assert project.name == slug
    assert (project / "src" / (package or slug.replace("-", "_")) / "__main__.py").is_file()


def test_the_longest_slug_fits_every_name(bake: Bake) -> None:
    assert bake(project_slug=LONGEST_SLUG, package_name="k").name == LONGEST_SLUG
    assert len(f"{LONGEST_SLUG}-{'0' * 8}") <= 48
    assert len(f"{LONGEST_SLUG}___search_knowledge_base") <= 64


PAYLOADS = (
    '"); __import__("pathlib").Path("{marker}").touch(); ("',
    '""" ); __import__("pathlib").Path("{marker}").touch(); (r"""',
    "'''); __import__('pathlib').Path('{marker}').touch(); ('''",
    '\\"""); __import__("pathlib").Path("{marker}").touch(); (r"""\\',
    "$(touch {marker}) `touch {marker}` \\",
)


@pytest.mark.parametrize("payload", PAYLOADS)
@pytest.mark.parametrize("name", ["project_slug", "package_name", "aws_region"])
def test_an_answer_shaped_like_code_is_refused_and_not_executed(
    bake: Bake, tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, payload: str
) -> None:
    # The payload has no slash: a slug with one would name a directory before any hook runs.
    answers = {"project_slug": "server", "package_name": "server", name: payload.format(marker="executed")}
    refused(bake, tmp_path, capfd, **answers)
    assert not list(tmp_path.rglob("executed"))
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    "text", [*PAYLOADS, 'A "quoted" \\ back\\\\slash', "tail\\", "<b>&amp;</b>", "Ünï 😀 ✓"]
)
def test_texts_are_data_and_come_out_as_they_went_in(bake: Bake, tmp_path: Path, text: str) -> None:
    text = text.format(marker="executed")
    project = bake(description=text, author_name=text)
    metadata = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["description"] == text
    assert metadata["authors"] == [{"name": text}]
    assert text in (project / "README.md").read_text(encoding="utf-8")
    assert text in (project / "LICENSE").read_text(encoding="utf-8")
    assert not list(tmp_path.rglob("executed"))
    assert not Path("executed").exists()


@pytest.mark.parametrize("license_name", ["MIT", "Apache-2.0", "BSD-3-Clause", "Proprietary"])
def test_license_text_and_metadata_agree(bake: Bake, license_name: str) -> None:
    project = bake(license=license_name, author_name="Ada Lovelace")
    expression = tomllib.loads((project / "pyproject.toml").read_text())["project"]["license"]
    text = (project / "LICENSE").read_text()
    begin = {
        "MIT": "MIT License\n",
        "Apache-2.0": "SPDX-License-Identifier: Apache-2.0\n",
        "BSD-3-Clause": "BSD 3-Clause License\n",
        "Proprietary": "Copyright Ada Lovelace. All rights reserved.\n",
    }[license_name]
    assert text.startswith(begin)
    assert "Ada Lovelace" in text
    assert expression == ("LicenseRef-Proprietary" if license_name == "Proprietary" else license_name)


@pytest.fixture(scope="module")
def hook() -> ModuleType:
    """Import the hook as it lies there, with stand-ins for the answers."""
    source = (ROOT / "hooks" / "pre_gen_project.py").read_text(encoding="utf-8")
    module = ModuleType("pre_gen_project")
    exec(compile(re.sub(r"\{\{.*?\}\}", json.dumps("x"), source), "pre_gen_project", "exec"), module.__dict__)  # noqa: S102
    return module


def test_every_region_aws_names_is_accepted(hook: ModuleType) -> None:
    session = botocore.session.get_session()
    partitions = session.get_available_partitions()
    regions = [region for name in partitions for region in session.get_available_regions("ec2", name)]
    assert len(regions) > 30
    assert [region for region in regions if not hook.REGION.fullmatch(region)] == []


def test_no_locked_dependency_can_be_hidden_by_the_project(hook: ModuleType) -> None:
    locked = {
        re.split("[=;[ ]", line)[0].replace("-", "_").replace(".", "_").lower()
        for line in (PROJECT / "requirements.txt").read_text().splitlines()
        if re.match(r"\w", line)
    }
    imported = {
        module
        for module, distributions in packages_distributions().items()
        if {name.replace("-", "_").replace(".", "_").lower() for name in distributions} & locked
        and re.fullmatch("[a-z][a-z0-9_]*", module)
    }
    assert len(locked) > 50
    assert sorted((locked | imported) - hook.DEPENDENCIES) == []


def test_every_top_level_module_of_the_project_is_taken(hook: ModuleType, project: Path) -> None:
    roots = {path.stem for path in project.iterdir() if path.is_dir() and path.name.isidentifier()}
    assert roots <= hook.PROJECT_MODULES


def test_hooks_use_neither_network_nor_processes() -> None:
    for source in (ROOT / "hooks").glob("*.py"):
        imports = set(re.findall(r"^(?:import|from) (\w+)", source.read_text(), re.MULTILINE))
        assert imports <= {"json", "keyword", "pathlib", "re", "shutil", "sys", "unicodedata"}, source.name
