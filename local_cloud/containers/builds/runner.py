"""CodeBuild's StartBuild and StopBuild, and the build behind them.

Hooks: ``codebuild._start_build``, ``_stop_build`` and ``_execute_build`` are replaced; ``_create_project``,
``_update_project`` and ``_project_shape`` keep the project's log, queue and cache settings.
"""

from __future__ import annotations

import contextlib
import contextvars
import copy
import io
import logging
import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
import time
import urllib.parse
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ministack.core.responses import (  # type: ignore[import-untyped]
    error_response_json,
    get_account_id,
    get_region,
    json_response,
)
from ministack.services import cloudwatch_logs, codebuild, ecs  # type: ignore[import-untyped]
from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

from ..ecs import container_secrets
from ..engine.processes import Processes, signal_group
from .buildspec import Buildspec, BuildspecError, parse

logger = logging.getLogger(__name__)

_PLATFORMS = {
    "ARM_CONTAINER": "linux/arm64",
    "ARM_EC2": "linux/arm64",
    "LINUX_CONTAINER": "linux/amd64",
    "LINUX_GPU_CONTAINER": "linux/amd64",
    "LINUX_EC2": "linux/amd64",
}
_KEPT = ("logsConfig", "queuedTimeoutInMinutes", "cache", "concurrentBuildLimit")
_OVERRIDES = {
    "sourceTypeOverride": ("source", "type"),
    "sourceLocationOverride": ("source", "location"),
    "buildspecOverride": ("source", "buildspec"),
    "environmentTypeOverride": ("environment", "type"),
    "imageOverride": ("environment", "image"),
    "computeTypeOverride": ("environment", "computeType"),
    "privilegedModeOverride": ("environment", "privilegedMode"),
    "timeoutInMinutesOverride": ("timeoutInMinutes",),
    "logsConfigOverride": ("logsConfig",),
}
_OTHER_PARAMETERS = frozenset(
    {"projectName", "sourceVersion", "environmentVariablesOverride", "idempotencyToken", "artifactsOverride"}
)


class BuildError(Exception):
    """A phase outside of the buildspec failed; worded as CodeBuild words it."""


class Builder:
    """Runs builds as processes."""

    def __init__(
        self,
        directory: Path,
        programs: Path,
        docker_config: Path,
        processes: Processes,
        client_environment: Mapping[str, str],
        client: Callable[[str, str], Any],
    ) -> None:
        self.directory = directory
        self.programs = programs
        """Directory with the commands ``docker`` and ``aws``."""
        self.docker_config = docker_config
        self.processes = processes
        self.client_environment = client_environment
        self.client = client
        """Makes a boto3 client of this cloud from a service name and a region."""
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def install(self) -> None:
        """Replace ministack's build operations, which only keep records."""
        codebuild._start_build = self.start_build
        codebuild._stop_build = self.stop_build
        _keep_project_settings()

    def start_build(self, data: dict[str, Any]) -> Any:
        """Answer StartBuild, and build in the background."""
        name = data.get("projectName", "")
        if name not in codebuild._projects:
            return error_response_json("ResourceNotFoundException", f"Project cannot be found: {name}", 400)
        unknown = set(data) - set(_OVERRIDES) - _OTHER_PARAMETERS
        if unknown:
            text = f"the local cloud's CodeBuild doesn't support {', '.join(sorted(unknown))}"
            return error_response_json("InvalidInputException", text, 400)
        project = overridden(codebuild._projects[name], data)
        build = self._record(project, data.get("sourceVersion"))
        codebuild._builds[build["id"]] = build
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run,
            args=(self._execute, build, project),
            daemon=True,
            name=f"local-cloud-build-{name}",
        ).start()
        return json_response({"build": copy.deepcopy(build)})

    def stop_build(self, data: dict[str, Any]) -> Any:
        """Answer StopBuild: kill the build's processes."""
        build = codebuild._builds.get(data.get("id", ""))
        if build is None:
            text = f"Build cannot be found: {data.get('id', '')}"
            return error_response_json("ResourceNotFoundException", text, 400)
        if build["buildStatus"] == "IN_PROGRESS":
            codebuild._mark_stopped(build["id"])
            process = self._running.get(build["id"])
            if process:
                signal_group(process, signal.SIGKILL)
                process.wait()
            _finish(build, "STOPPED")
        return json_response({"build": copy.deepcopy(build)})

    def _record(self, project: dict[str, Any], source_version: str | None) -> dict[str, Any]:
        identity = codebuild._build_id(project["name"])
        build: dict[str, Any] = codebuild._make_build_record(project, identity, source_version)
        build.pop("endTime")
        logs = (project.get("logsConfig") or {}).get("cloudWatchLogs") or {}
        group = logs.get("groupName") or f"/aws/codebuild/{project['name']}"
        stream = "/".join(part for part in (logs.get("streamName"), identity.partition(":")[2]) if part)
        build |= {
            "buildStatus": "IN_PROGRESS",
            "buildComplete": False,
            "currentPhase": "SUBMITTED",
            "phases": [],
            "logs": {
                "groupName": group,
                "streamName": stream,
                "deepLink": _deep_link(group, stream),
                "cloudWatchLogs": {"status": "ENABLED", **logs},
            },
        }
        build["sourceVersion"] = source_version or ""
        _begin_phase(build, "SUBMITTED")
        _end_phase(build, "SUCCEEDED")
        return build

    def _execute(self, build: dict[str, Any], project: dict[str, Any]) -> None:
        directory = self.directory / build["id"].replace(":", "-")
        emit = _log_writer(build)
        status = "FAULT"
        try:
            for phase in ("QUEUED", "PROVISIONING"):
                _begin_phase(build, phase)
                _end_phase(build, "SUCCEEDED")
            source = directory / "src"
            source.mkdir(parents=True)
            _begin_phase(build, "DOWNLOAD_SOURCE")
            self._download(project["source"], source)
            buildspec = _read_buildspec(project["source"], source)
            environment = self._environment(build, project, buildspec, directory)
            _end_phase(build, "SUCCEEDED")
            status = self._run(build, buildspec, environment, directory, emit)
        except (BuildError, BuildspecError) as error:
            emit(f"Phase context status code: {error}")
            _end_phase(build, "FAILED", str(error))
            status = "FAILED"
        except Exception as error:
            logger.exception("build %s", build["id"])
            emit(f"INTERNAL_SERVICE_ERROR: {error}")
        finally:
            shutil.rmtree(directory, ignore_errors=True)
            _finish(build, status)

    def _download(self, source: Mapping[str, Any], directory: Path) -> None:
        if source.get("type") == "NO_SOURCE":
            return
        if source.get("type") != "S3":
            raise BuildError(
                f"CLIENT_ERROR Message: source type {source.get('type')} isn't in the local cloud: use S3"
            )
        bucket, _, key = str(source.get("location", "")).removeprefix("arn:aws:s3:::").partition("/")
        try:
            content = self.client("s3", get_region()).get_object(Bucket=bucket, Key=key)["Body"].read()
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                _extract(archive, directory)
        except zipfile.BadZipFile as error:
            raise BuildError(f"CLIENT_ERROR Message: {bucket}/{key} isn't a zip archive") from error
        except Exception as error:
            raise BuildError(
                f"CLIENT_ERROR Message: {error} for primary source and source version"
            ) from error

    def _environment(
        self, build: dict[str, Any], project: dict[str, Any], buildspec: Buildspec, directory: Path
    ) -> dict[str, str]:
        region = get_region()
        settings = project["environment"]
        home = directory / "home"
        home.mkdir()
        variables = {
            **self.client_environment,
            "AWS_DEFAULT_REGION": region,
            "AWS_REGION": region,
            "HOME": str(home),
            "TMPDIR": str(directory),
            "LANG": "C.UTF-8",
            "PATH": f"{self.programs}:{os.environ.get('PATH', os.defpath)}",
            "CODEBUILD_BUILD_ARN": build["arn"],
            "CODEBUILD_BUILD_ID": build["id"],
            "CODEBUILD_BUILD_IMAGE": settings.get("image", ""),
            "CODEBUILD_BUILD_NUMBER": str(build["buildNumber"]),
            "CODEBUILD_CI": "true",
            "CODEBUILD_INITIATOR": build["initiator"],
            "CODEBUILD_KMS_KEY_ID": build["encryptionKey"],
            "CODEBUILD_LOG_PATH": build["logs"]["streamName"],
            "CODEBUILD_RESOLVED_SOURCE_VERSION": build["sourceVersion"],
            "CODEBUILD_SOURCE_REPO_URL": str(project["source"].get("location", "")),
            "CODEBUILD_SOURCE_VERSION": build["sourceVersion"],
            "CODEBUILD_SRC_DIR": str(directory / "src"),
            "CODEBUILD_START_TIME": str(int(build["startTime"] * 1000)),
            "LOCAL_CLOUD_DOCKER_CONFIG": str(self.docker_config),
            "LOCAL_CLOUD_DOCKER_PLATFORM": _platform(settings),
            "LOCAL_CLOUD_DOCKER_PRIVILEGED": "1" if _is_true(settings.get("privilegedMode")) else "0",
            "LOCAL_CLOUD_DOCKER_STATE": str(directory),
        }
        variables |= buildspec.variables
        declared = list(settings.get("environmentVariables") or [])
        declared += [
            {"name": n, "value": v, "type": "PARAMETER_STORE"} for n, v in buildspec.parameters.items()
        ]
        declared += [{"name": n, "value": v, "type": "SECRETS_MANAGER"} for n, v in buildspec.secrets.items()]
        return variables | {each["name"]: _value(each) for each in declared}

    def _run(
        self,
        build: dict[str, Any],
        buildspec: Buildspec,
        environment: dict[str, str],
        directory: Path,
        emit: Callable[[str], None],
    ) -> str:
        script = directory / "buildspec.sh"
        script.write_text(buildspec.script())
        phases_read, phases_write = os.pipe()
        output_read, output_write = os.pipe()
        environment["LOCAL_CLOUD_PHASES"] = str(phases_write)
        bash = shutil.which("bash") or "/bin/bash"
        process = self.processes.start(
            [bash, str(script)], environment, directory / "src", output_write, [phases_write], group=True
        )
        os.close(phases_write)
        os.close(output_write)
        self._running[build["id"]] = process
        timed_out = threading.Event()

        def time_out() -> None:
            timed_out.set()
            signal_group(process, signal.SIGKILL)

        timer = threading.Timer(float(build["timeoutInMinutes"]) * 60, time_out)
        timer.daemon = True
        timer.start()
        reports = threading.Thread(target=_follow_phases, args=(build, phases_read), daemon=True)
        reports.start()
        try:
            with os.fdopen(output_read, encoding="utf-8", errors="replace") as output:
                for line in output:
                    emit(line.rstrip("\n"))
            code = process.wait()
            reports.join(5)
        finally:
            timer.cancel()
            self._running.pop(build["id"], None)
            # What a command left in the background would hold the environment on AWS, and is killed with it.
            signal_group(process, signal.SIGKILL)
        if codebuild._stop_requested(build["id"]):
            return "STOPPED"
        if timed_out.is_set():
            _end_phase(build, "TIMED_OUT", f"Build timed out after {build['timeoutInMinutes']} minutes")
            return "TIMED_OUT"
        return "SUCCEEDED" if code == 0 else "FAILED"


def install_programs(directory: Path) -> None:
    """Make the commands ``docker`` and ``aws`` in ``directory``, run by this interpreter."""
    directory.mkdir(parents=True, exist_ok=True)
    package_root = str(Path(__file__).parents[3])
    programs = {
        "docker": "from local_cloud.containers.images.docker_command import main",
        "aws": "from awscli.clidriver import main",
    }
    for name, statement in programs.items():
        script = directory / name
        script.write_text(
            f"#!/bin/sh\n''':'\nexec '{sys.executable}' -B \"$0\" \"$@\"\n'''\n"
            f"import sys\nsys.path.insert(0, {package_root!r})\n{statement}\nsys.exit(main())\n"
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)


def overridden(project: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the project with StartBuild's overrides."""
    result: dict[str, Any] = copy.deepcopy(dict(project))
    for parameter, path in _OVERRIDES.items():
        if parameter in data:
            place = result
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = copy.deepcopy(data[parameter])
    variables = {each["name"]: each for each in result["environment"].get("environmentVariables") or []}
    variables |= {each["name"]: each for each in data.get("environmentVariablesOverride") or []}
    result["environment"]["environmentVariables"] = [*variables.values()]
    return result


def _keep_project_settings() -> None:
    create, update, shape = codebuild._create_project, codebuild._update_project, codebuild._project_shape

    def keep(data: Mapping[str, Any]) -> None:
        project = codebuild._projects.get(data.get("name", ""))
        if project is not None:
            project.update({name: data[name] for name in _KEPT if name in data})

    def create_project(data: dict[str, Any]) -> Any:
        answer = create(data)
        if answer[0] < 400:
            keep(data)
            return json_response({"project": project_shape(codebuild._projects[data["name"]])})
        return answer

    def update_project(data: dict[str, Any]) -> Any:
        answer = update(data)
        keep(data)
        return answer

    def project_shape(project: dict[str, Any]) -> dict[str, Any]:
        return {**shape(project), **{name: project[name] for name in _KEPT if name in project}}

    codebuild._create_project = create_project
    codebuild._update_project = update_project
    codebuild._project_shape = project_shape
    _keep_template_settings()


def _keep_template_settings() -> None:
    handler = provisioners._RESOURCE_HANDLERS["AWS::CodeBuild::Project"]
    properties = {name[:1].upper() + name[1:]: name for name in _KEPT}

    def keep(physical_id: str, props: Mapping[str, Any]) -> None:
        project = codebuild._projects[physical_id]
        for prop, name in properties.items():
            if prop in props:
                project[name] = provisioners._codebuild_cfn_to_api(props[prop])
            else:
                project.pop(name, None)

    def create(logical_id: str, props: dict[str, Any], stack_name: str) -> Any:
        result = handler["create"](logical_id, props, stack_name)
        keep(result[0], props)
        return result

    def update(
        physical_id: str, old_props: dict[str, Any], new_props: dict[str, Any], stack_name: str
    ) -> Any:
        result = handler["update"](physical_id, old_props, new_props, stack_name)
        keep(result[0], new_props)
        return result

    provisioners._RESOURCE_HANDLERS["AWS::CodeBuild::Project"] = {
        **handler,
        "create": create,
        "update": update,
    }


def _read_buildspec(source: Mapping[str, Any], directory: Path) -> Buildspec:
    declared = str(source.get("buildspec") or "buildspec.yml")
    if "\n" in declared:
        return parse(declared)
    path = directory / declared
    if not path.is_file():
        raise BuildError(f"YAML_FILE_ERROR Message: stat {path.name}: no such file or directory")
    return parse(path.read_text())


def _extract(archive: zipfile.ZipFile, directory: Path) -> None:
    for entry in archive.infolist():
        path = Path(archive.extract(entry, directory))
        mode = entry.external_attr >> 16 & 0o777
        if mode and path.is_file():
            path.chmod(mode | stat.S_IRUSR | stat.S_IWUSR)


def _platform(settings: Mapping[str, Any]) -> str:
    kind = str(settings.get("type", "LINUX_CONTAINER"))
    if kind not in _PLATFORMS:
        raise BuildError(f"CLIENT_ERROR Message: environment type {kind} isn't in the local cloud")
    return _PLATFORMS[kind]


def _value(variable: Mapping[str, Any]) -> str:
    kind, value = variable.get("type", "PLAINTEXT"), str(variable.get("value", ""))
    if kind == "PLAINTEXT":
        return value
    if kind == "SECRETS_MANAGER" and not value.startswith("arn:"):
        name, _, key = value.partition(":")
        value = f"arn:aws:secretsmanager:{get_region()}:{get_account_id()}:secret:{name}" + (
            f":{key}" if key else ""
        )
    try:
        # The role of a build isn't asked here.
        return container_secrets.fetch(value, None)
    except ecs._SecretResolutionError as error:
        raise BuildError(f"CLIENT_ERROR Message: {error}") from error


def _is_true(value: object) -> bool:
    return str(value).lower() == "true"


def _deep_link(group: str, stream: str) -> str:
    def quoted(text: str) -> str:
        return urllib.parse.quote(text, safe="").replace("%", "$25")

    region = get_region()
    return (
        f"https://console.aws.amazon.com/cloudwatch/home?region={region}#logsV2:log-groups/log-group/"
        f"{quoted(group)}/log-events/{quoted(stream)}"
    )


def _log_writer(build: Mapping[str, Any]) -> Callable[[str], None]:
    """Create the build's log stream, and its group if need be; returns the function that adds a line."""
    group, stream = build["logs"]["groupName"], build["logs"]["streamName"]
    if group not in cloudwatch_logs._log_groups:
        cloudwatch_logs._create_log_group({"logGroupName": group})
    cloudwatch_logs._create_log_stream({"logGroupName": group, "logStreamName": stream})

    def emit(line: str) -> None:
        event = {"timestamp": int(time.time() * 1000), "message": line + "\n"}
        with contextlib.suppress(KeyError):
            cloudwatch_logs._put_log_events(
                {"logGroupName": group, "logStreamName": stream, "logEvents": [event]}
            )

    return emit


def _follow_phases(build: dict[str, Any], descriptor: int) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as reports:
        for line in reports:
            state, name, *reason = line.rstrip("\n").split(" ", 2)
            if state == "START":
                _begin_phase(build, name)
            else:
                _end_phase(build, state, reason[0] if reason else "", "COMMAND_EXECUTION_ERROR")


def _begin_phase(build: dict[str, Any], name: str) -> None:
    build["currentPhase"] = name
    build["phases"].append({"phaseType": name, "startTime": time.time()})


def _end_phase(build: dict[str, Any], status: str, message: str = "", code: str = "CLIENT_ERROR") -> None:
    phase = build["phases"][-1]
    now = time.time()
    phase |= {"phaseStatus": status, "endTime": now, "durationInSeconds": int(now - phase["startTime"])}
    if message:
        known, separator, text = message.partition(" Message: ")
        phase["contexts"] = [
            {"statusCode": known if separator else code, "message": text if separator else message}
        ]


def _finish(build: dict[str, Any], status: str) -> None:
    if build["buildComplete"]:
        return
    if "phaseStatus" not in build["phases"][-1]:
        _end_phase(build, status)
    build["buildComplete"] = True
    build["endTime"] = time.time()
    _begin_phase(build, "COMPLETED")
    build["buildStatus"] = status
