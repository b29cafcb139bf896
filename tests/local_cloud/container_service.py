"""A small service for the container tests: its image's source, its build and its stack."""

from __future__ import annotations

import io
import subprocess
import time
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from . import stacks

Client = Callable[..., Any]
Found = TypeVar("Found")

SERVER = """
import http.server, os, signal, sys, threading, time

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.path == "/slow":
            time.sleep(1.5)
        body = os.environ.get("VERSION", "none").encode()
        self.send_response(200 if self.path in ("/health", "/version", "/slow") else 404)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass

server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
print("listening with", os.environ.get("VERSION"), flush=True)
server.serve_forever()
"""

DOCKERFILE = """\
FROM public.ecr.aws/docker/library/python:3.13-slim
WORKDIR /app
COPY server.py ./
ENV HOST=0.0.0.0 PORT=8080
CMD ["python", "server.py"]
"""

BUILDSPEC = """\
version: 0.2
phases:
  pre_build:
    commands:
      - registry="${REPOSITORY_URI%%/*}"
      - aws ecr get-login-password | docker login --username AWS --password-stdin "$registry"
  build:
    commands:
      - docker build --provenance=false --platform "$PLATFORM" -t "$REPOSITORY_URI:$IMAGE_TAG" .
  post_build:
    commands:
      - test "$CODEBUILD_BUILD_SUCCEEDING" = 1
      - docker push "$REPOSITORY_URI:$IMAGE_TAG"
"""

HEALTH_CHECK = (
    "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', "
    "int(os.environ['PORT']), timeout=4); "
    "c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"
)


def zipped(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def source(**changes: str) -> dict[str, str]:
    """Files of the image; ``changes`` replace ``dockerfile`` or ``server``."""
    return {
        "Dockerfile": changes.get("dockerfile", DOCKERFILE),
        "server.py": changes.get("server", SERVER),
    }


class Project:
    """A bucket, a repository and a CodeBuild project of one name."""

    def __init__(
        self, client: Client, name: str, *, architecture: str = "arm64", privileged: bool = True
    ) -> None:
        self.client = client
        self.name = name
        client("s3").create_bucket(Bucket=f"{name}-source")
        repository = client("ecr").create_repository(repositoryName=name, imageTagMutability="IMMUTABLE")
        self.repository_uri = repository["repository"]["repositoryUri"]
        kind = "ARM_CONTAINER" if architecture == "arm64" else "LINUX_CONTAINER"
        client("codebuild").create_project(
            name=name,
            source={"type": "S3", "location": f"{name}-source/unset.zip", "buildspec": BUILDSPEC},
            artifacts={"type": "NO_ARTIFACTS"},
            environment={
                "type": kind,
                "image": "aws/codebuild/amazonlinux-aarch64-standard:3.0",
                "computeType": "BUILD_GENERAL1_SMALL",
                "privilegedMode": privileged,
                "environmentVariables": [
                    {"name": "REPOSITORY_URI", "value": self.repository_uri},
                    {"name": "PLATFORM", "value": f"linux/{architecture}"},
                ],
            },
            serviceRole="arn:aws:iam::000000000000:role/build",
            logsConfig={"cloudWatchLogs": {"status": "ENABLED", "groupName": f"/build/{name}"}},
        )

    def start(self, files: Mapping[str, str], tag: str, **overrides: Any) -> str:
        self.client("s3").put_object(Bucket=f"{self.name}-source", Key=f"{tag}.zip", Body=zipped(files))
        started = self.client("codebuild").start_build(
            projectName=self.name,
            sourceTypeOverride="S3",
            sourceLocationOverride=f"{self.name}-source/{tag}.zip",
            environmentVariablesOverride=[{"name": "IMAGE_TAG", "value": tag}],
            **overrides,
        )
        return str(started["build"]["id"])

    def finished(self, build_id: str) -> dict[str, Any]:
        def build() -> dict[str, Any]:
            found: dict[str, Any] = self.client("codebuild").batch_get_builds(ids=[build_id])["builds"][0]
            return found if found["buildStatus"] != "IN_PROGRESS" else {}

        return until(build, "the build ends")

    def build(self, files: Mapping[str, str], tag: str, **overrides: Any) -> dict[str, Any]:
        return self.finished(self.start(files, tag, **overrides))

    def log(self, build: Mapping[str, Any]) -> str:
        logs = build["logs"]
        events = self.client("logs").get_log_events(
            logGroupName=logs["groupName"], logStreamName=logs["streamName"], startFromHead=True
        )["events"]
        return "".join(event["message"] for event in events)

    def image(self, tag: str, **changes: str) -> str:
        """Build the standard source with ``changes`` under ``tag``; its reference by digest."""
        build = self.build(source(**changes), tag)
        assert build["buildStatus"] == "SUCCEEDED", self.log(build)
        details = self.client("ecr").describe_images(repositoryName=self.name, imageIds=[{"imageTag": tag}])
        return f"{self.repository_uri}@{details['imageDetails'][0]['imageDigest']}"


def template(
    image: str,
    *,
    environment: Mapping[str, str] | None = None,
    desired: int = 1,
    architecture: str = "ARM64",
    path: str = "/health",
    health_check: bool = True,
) -> dict[str, Any]:
    """A load-balanced Fargate service as a CloudFormation template."""
    container: dict[str, Any] = {
        "Name": "server",
        "Image": image,
        "PortMappings": [{"ContainerPort": 8080}],
        "Environment": [{"Name": key, "Value": value} for key, value in (environment or {}).items()],
        "StopTimeout": 10,
        "LogConfiguration": {
            "LogDriver": "awslogs",
            "Options": {
                "awslogs-group": {"Ref": "Logs"},
                "awslogs-region": {"Ref": "AWS::Region"},
                "awslogs-stream-prefix": "server",
            },
        },
    }
    if health_check:
        container["HealthCheck"] = {"Command": ["CMD", "python", "-c", HEALTH_CHECK], "StartPeriod": 60}
    resources = {
        "Logs": {"Type": "AWS::Logs::LogGroup"},
        "Vpc": {"Type": "AWS::EC2::VPC", "Properties": {"CidrBlock": "10.0.0.0/16"}},
        "SubnetA": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": "10.0.0.0/24",
                "AvailabilityZone": "us-east-1a",
            },
        },
        "SubnetB": {
            "Type": "AWS::EC2::Subnet",
            "Properties": {
                "VpcId": {"Ref": "Vpc"},
                "CidrBlock": "10.0.1.0/24",
                "AvailabilityZone": "us-east-1b",
            },
        },
        "Group": {
            "Type": "AWS::EC2::SecurityGroup",
            "Properties": {
                "GroupDescription": "everything inside of the VPC",
                "VpcId": {"Ref": "Vpc"},
                "SecurityGroupIngress": [{"IpProtocol": "-1", "CidrIp": "0.0.0.0/0"}],
            },
        },
        "Balancer": {
            "Type": "AWS::ElasticLoadBalancingV2::LoadBalancer",
            "Properties": {
                "Scheme": "internal",
                "Subnets": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}],
                "SecurityGroups": [{"Ref": "Group"}],
            },
        },
        "Targets": {
            "Type": "AWS::ElasticLoadBalancingV2::TargetGroup",
            "Properties": {
                "Port": 8080,
                "Protocol": "HTTP",
                "VpcId": {"Ref": "Vpc"},
                "TargetType": "ip",
                "HealthCheckPath": path,
                "HealthyThresholdCount": 2,
                "UnhealthyThresholdCount": 3,
                "HealthCheckIntervalSeconds": 15,
                "HealthCheckTimeoutSeconds": 2,
                "TargetGroupAttributes": [{"Key": "deregistration_delay.timeout_seconds", "Value": "60"}],
            },
        },
        "Listener": {
            "Type": "AWS::ElasticLoadBalancingV2::Listener",
            "Properties": {
                "LoadBalancerArn": {"Ref": "Balancer"},
                "Port": 80,
                "Protocol": "HTTP",
                "DefaultActions": [{"Type": "forward", "TargetGroupArn": {"Ref": "Targets"}}],
            },
        },
        "Cluster": {"Type": "AWS::ECS::Cluster"},
        "Role": stacks.role("ecs-tasks.amazonaws.com"),
        "TaskDefinition": {
            "Type": "AWS::ECS::TaskDefinition",
            "Properties": {
                "RequiresCompatibilities": ["FARGATE"],
                "NetworkMode": "awsvpc",
                "Cpu": "256",
                "Memory": "512",
                "ExecutionRoleArn": {"Fn::GetAtt": ["Role", "Arn"]},
                "RuntimePlatform": {"CpuArchitecture": architecture, "OperatingSystemFamily": "LINUX"},
                "ContainerDefinitions": [container],
            },
        },
        "Service": {
            "Type": "AWS::ECS::Service",
            "DependsOn": ["Listener"],
            "Properties": {
                "Cluster": {"Ref": "Cluster"},
                "TaskDefinition": {"Ref": "TaskDefinition"},
                "DesiredCount": desired,
                "LaunchType": "FARGATE",
                "HealthCheckGracePeriodSeconds": 30,
                "DeploymentConfiguration": {
                    "MinimumHealthyPercent": 100,
                    "MaximumPercent": 200,
                    "DeploymentCircuitBreaker": {"Enable": True, "Rollback": True},
                },
                "LoadBalancers": [
                    {"ContainerName": "server", "ContainerPort": 8080, "TargetGroupArn": {"Ref": "Targets"}}
                ],
                "NetworkConfiguration": {
                    "AwsvpcConfiguration": {
                        "Subnets": [{"Ref": "SubnetA"}, {"Ref": "SubnetB"}],
                        "SecurityGroups": [{"Ref": "Group"}],
                    }
                },
            },
        },
    }
    outputs = {name: {"Value": {"Ref": name}} for name in ("Cluster", "Service", "Targets", "Logs")}
    return {"Resources": resources, "Outputs": outputs}


def until(look: Callable[[], Found], what: str, seconds: float = 30.0) -> Found:
    """Look until what is found is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"waited {seconds:.0f} s in vain until {what}")


def running(command: str) -> bool:
    """Whether a process with this command line runs on the machine."""
    return command in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
