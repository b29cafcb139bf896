import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ops import archive, vendor
from ops.bundle import Bundle, build_bundle, write_stage
from ops.errors import OpsError
from ops.project import Project, find_project, read_stage

Make = Callable[..., Project]


def contents(bundle: Bundle) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in bundle.files.items()}


def zip_names(content: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return archive.namelist()


def test_layout(project: Project) -> None:
    bundle = build_bundle(project)

    files = contents(bundle)
    assert list(files) == [
        "functions/custom-resources.zip",
        "infrastructure/main.yaml",
        "infrastructure/network.yaml",
        "source.zip",
    ]
    assert zip_names(files["source.zip"]) == [
        ".dockerignore",
        "Dockerfile",
        "README.md",
        "pyproject.toml",
        "requirements.txt",
        "src/server/__init__.py",
        "src/server/app.py",
    ]
    assert zip_names(files["functions/custom-resources.zip"]) == [
        "custom_resources/__init__.py",
        "custom_resources/emptied.py",
        "tinydep-1.0.dist-info/METADATA",
        "tinydep-1.0.dist-info/WHEEL",
        "tinydep-1.0.dist-info/entry_points.txt",
        "tinydep/__init__.py",
    ]
    note = json.loads((project.build / "bundle.json").read_text())
    assert note == {
        "path": f"build/bundle/{bundle.hash}",
        "prefix": f"knowledge-mcp-server/{bundle.hash}/",
        "hash": bundle.hash,
    }
    assert bundle.path == project.root / note["path"]


def test_archives_do_not_tell_when_and_where_they_were_made(project: Project) -> None:
    (project.root / "src/server/app.py").chmod(0o755)
    bundle = build_bundle(project)

    for name in ("source.zip", "functions/custom-resources.zip"):
        with zipfile.ZipFile(bundle.files[name]) as archive:
            entries = archive.infolist()
        assert {entry.date_time for entry in entries} == {(1980, 1, 1, 0, 0, 0)}
        assert {entry.external_attr >> 16 for entry in entries} == {0o100644}
        assert {entry.create_system for entry in entries} == {3}
        stored = name == "source.zip"
        assert {entry.compress_type for entry in entries} == {
            zipfile.ZIP_STORED if stored else zipfile.ZIP_DEFLATED
        }


def test_same_content_same_bytes(make_project: Make) -> None:
    one = build_bundle(make_project("one"))
    mask = os.umask(0o077)
    try:
        other = make_project("other")
    finally:
        os.umask(mask)
    for number, path in enumerate(sorted(other.root.rglob("*"))):
        os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
    (other.root / "src/server/app.py").chmod(0o755)

    two = build_bundle(other)

    assert one.hash == two.hash
    assert contents(one) == contents(two)


@pytest.mark.parametrize(
    "changed",
    [
        "src/server/app.py",
        "Dockerfile",
        "requirements.txt",
        "infrastructure/network.yaml",
        "custom_resources/emptied.py",
    ],
)
def test_a_changed_line_changes_the_hash(project: Project, changed: str) -> None:
    before = build_bundle(project)

    with (project.root / changed).open("a") as file:
        file.write("# changed\n")

    assert build_bundle(project).hash != before.hash


def test_a_renamed_file_changes_the_hash(project: Project) -> None:
    before = build_bundle(project)

    (project.root / "src/server/app.py").rename(project.root / "src/server/apps.py")

    assert build_bundle(project).hash != before.hash


def test_what_is_not_bundled_does_not_change_the_hash(project: Project) -> None:
    before = build_bundle(project)

    for name in ("tests/test_app.py", "custom_resources/tests/test_emptied.py", "src/server/.env", ".env"):
        path = project.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("changed\n")

    assert build_bundle(project).hash == before.hash


def test_secrets_stay_out(project: Project) -> None:
    assert not [name for name, content in contents(build_bundle(project)).items() if b"hunter2" in content]


@pytest.mark.parametrize("name", ["server.pem", "Private.KEY", "id_rsa", "id_ed25519.pub", "store.jks"])
def test_key_files_in_the_source_reach_no_bucket(project: Project, name: str) -> None:
    before = build_bundle(project)

    (project.root / "src/server/deep").mkdir()
    (project.root / "src/server/deep" / name).write_text("-----BEGIN PRIVATE KEY-----\n")

    after = build_bundle(project)
    assert not [
        path for path, content in contents(after).items() if b"PRIVATE KEY" in content or name in path
    ]
    assert after.hash == before.hash


def test_second_bundle_is_quick(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build_bundle(project)
    monkeypatch.setattr(vendor, "vendor", lambda *_: pytest.fail("the cache was not used"))

    started = time.monotonic()
    second = build_bundle(project)

    assert time.monotonic() - started < 0.5
    assert second == first


def test_a_tampered_bundle_is_replaced(project: Project) -> None:
    before = contents(build_bundle(project))
    (project.build / "bundle" / build_bundle(project).hash / "infrastructure/main.yaml").write_text(
        "Resources: {Evil: {}}"
    )

    assert contents(build_bundle(project)) == before


def test_uv_and_pip_give_the_same_packages(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installers, found = vendor._installers(), []
    assert [command[-1] for command in installers]
    assert len(installers) == 2, "this environment is meant to have uv and pip"
    for number, command in enumerate(installers):
        monkeypatch.setattr(vendor, "_installers", lambda command=command: [command])
        folder = vendor.vendor(project.root / "custom_resources/requirements.txt", tmp_path / str(number))
        found.append({name: path.read_bytes() for name, path in archive.walk(folder)})

    assert found[0] == found[1]


def test_an_emulators_proxy_is_not_asked_for_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:4000")
    monkeypatch.setenv("SSL_CERT_FILE", "/emulator/ca.pem")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/emulator/ca.pem")
    assert vendor._environment()["HTTPS_PROXY"] == "http://127.0.0.1:4000", "a proxy of the user's own"

    monkeypatch.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:4566")
    monkeypatch.setenv("http_proxy", "http://proxy.example:3128")
    seen = vendor._environment()

    assert not {"HTTPS_PROXY", "SSL_CERT_FILE"} & set(seen)
    assert seen["http_proxy"] == "http://proxy.example:3128"


def test_a_wrong_hash_is_refused(project: Project) -> None:
    requirements = project.root / "custom_resources/requirements.txt"
    requirements.write_text(f"tinydep==1.0 --hash=sha256:{'0' * 64}\n")

    with pytest.raises(OpsError, match="could not be installed") as caught:
        build_bundle(project)

    assert "hash" in str(caught.value).lower()
    assert not list(project.cache.glob("vendor-*"))


def test_compiled_code_is_refused(project: Project, wheels: tuple[Path, Callable[..., str]]) -> None:
    line = wheels[1]("nativedep", extra="nativedep/_speedups.cpython-313-x86_64-linux-gnu.so")
    (project.root / "custom_resources/requirements.txt").write_text(line)

    with pytest.raises(OpsError, match=r"compiled code \(nativedep\)"):
        build_bundle(project)


def test_missing_file_is_named(project: Project) -> None:
    (project.root / "Dockerfile").unlink()

    with pytest.raises(OpsError, match="The image needs Dockerfile"):
        build_bundle(project)


def test_linked_directory_is_refused(project: Project, tmp_path: Path) -> None:
    (project.root / "src/server/shared").symlink_to(tmp_path, target_is_directory=True)

    with pytest.raises(OpsError, match="link to a directory"):
        build_bundle(project)


def test_linked_custom_resources_are_followed(project: Project, tmp_path: Path) -> None:
    before = build_bundle(project).hash
    (project.root / "custom_resources").rename(tmp_path / "elsewhere")
    (project.root / "custom_resources").symlink_to(tmp_path / "elsewhere", target_is_directory=True)

    assert build_bundle(project).hash == before


def test_stage_files(project: Project) -> None:
    bundle = build_bundle(project)

    path = write_stage(project, read_stage(project, "dev"), bundle, "artifacts")

    assert path == project.build / "dev.json"
    assert json.loads(path.read_text()) == {
        "Parameters": {
            "Stage": "dev",
            "DesiredCount": "1",
            "ArtifactBucket": "artifacts",
            "ArtifactPrefix": bundle.prefix,
        },
        "Tags": {"Project": "Knowledge"},
    }
    pairs = json.loads((project.build / "dev.parameters.json").read_text())
    assert f"ArtifactPrefix={bundle.prefix}" in pairs
    assert json.loads((project.build / "dev.tags.json").read_text()) == ["Project=Knowledge"]


def test_the_aws_cli_reads_the_parameter_lists(project: Project) -> None:
    from awscli.clidriver import create_clidriver  # type: ignore[import-untyped]
    from awscli.customizations.cloudformation import deploy as cli_deploy  # type: ignore[import-untyped]

    write_stage(project, read_stage(project, "dev"), build_bundle(project), "artifacts")
    seen = {}

    def capture(self: Any, parsed: Any, _: object) -> int:
        seen["parameters"] = self.parse_key_value_arg(parsed.parameter_overrides, "parameter-overrides")
        seen["tags"] = self.parse_key_value_arg(parsed.tags, "tags")
        return 0

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cli_deploy.DeployCommand, "_run_main", capture)
        arguments = ["--template-file", "x", "--stack-name", "x", "--region", "us-east-1"]
        arguments += ["--parameter-overrides", f"file://{project.build / 'dev.parameters.json'}"]
        arguments += ["--tags", f"file://{project.build / 'dev.tags.json'}"]
        assert create_clidriver().main(["cloudformation", "deploy", *arguments]) == 0

    assert seen["parameters"] == json.loads((project.build / "dev.json").read_text())["Parameters"]
    assert seen["tags"] == {"Project": "Knowledge"}


def test_unknown_stage_lists_the_known(project: Project) -> None:
    with pytest.raises(
        OpsError, match=r"^Unknown stage 'qa'; infrastructure/stages has: dev, prod\.$"
    ) as caught:
        read_stage(project, "qa")

    assert caught.value.exit_code == 2


def test_a_number_in_a_stage_file_is_named(project: Project) -> None:
    (project.root / "infrastructure/stages/dev.json").write_text('{"Parameters": {"DesiredCount": 1}}')

    with pytest.raises(OpsError, match=r'Parameters\.DesiredCount must be a string, such as "1"'):
        read_stage(project, "dev")


def test_project_is_found_from_below(project: Project) -> None:
    assert find_project(project.root / "src" / "server") == project


def test_no_project(tmp_path: Path) -> None:
    with pytest.raises(OpsError, match="is not inside a project"):
        find_project(tmp_path)


def test_models_of_services_that_are_not_called_stay_out(
    project: Project, wheels: tuple[Path, Callable[..., str]]
) -> None:
    shared = [
        "botocore/data/endpoints.json",
        "botocore/data/s3/2006-03-01/service-2.json.gz",
        "botocore/auth.py",
    ]
    unused = ["botocore/data/sqs/2012-11-05/service-2.json.gz", "boto3/data/s3/2006-03-01/resources-1.json"]
    names = [*shared, *unused]
    (project.root / "custom_resources/aws-services.txt").write_text("s3\n")
    assert [name for name in names if vendor.is_used(name, ["s3"])] == shared
    assert all(vendor.is_used(name, []) for name in names), "nothing is known of the services"

    (project.root / "custom_resources/requirements.txt").write_text(
        wheels[1]("botocore", extra=shared[1]) + wheels[1]("others", extra=unused[0])
    )
    packed = zip_names(contents(build_bundle(project))["functions/custom-resources.zip"])
    assert (shared[1] in packed, unused[0] in packed) == (True, False)
