"""Secrets of container definitions: fetched by the execution role, and missed in ECS's own words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import botocore.exceptions
import pytest

from .container_service import Project, until
from .data_plane_support import unique

Client = Callable[..., Any]

pytestmark = pytest.mark.xdist_group("container_secrets")

PROGRAM = (
    "import json, os; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('SECRET_')}))"
)
FAILED = (
    "ResourceInitializationError: unable to pull secrets or registry auth: "
    "execution resource retrieval failed: "
)


@pytest.fixture(scope="module")
def image(client: Client) -> str:
    return Project(client, "secretive").image("v1")


def role(client: Client, *allowed: tuple[str, str], principal: str = "ecs-tasks.amazonaws.com") -> str:
    """A role that may do each action on its resource."""
    iam, name = client("iam"), unique("execution")
    trust = {"Effect": "Allow", "Principal": {"Service": principal}, "Action": "sts:AssumeRole"}
    created = iam.create_role(
        RoleName=name,
        AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]}),
    )
    statements = [{"Effect": "Allow", "Action": action, "Resource": arn} for action, arn in allowed]
    if statements:
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        iam.put_role_policy(RoleName=name, PolicyName="secrets", PolicyDocument=document)
    return str(created["Role"]["Arn"])


@pytest.fixture(scope="module")
def secret(client: Client) -> str:
    value = json.dumps({"password": "s3cret", "port": 5432})
    return str(client("secretsmanager").create_secret(Name=unique("db"), SecretString=value)["ARN"])


@pytest.fixture(scope="module")
def parameter(client: Client) -> str:
    name = f"/{unique('server')}/key"
    client("ssm").put_parameter(Name=name, Value="parametric", Type="SecureString")
    return str(client("ssm").get_parameter(Name=name)["Parameter"]["ARN"])


@pytest.fixture
def run(client: Client, image: str) -> Iterator[Callable[..., tuple[str, dict[str, str]]]]:
    """Run a task with these secrets: why it stopped, and the variables it saw."""
    group = f"/{unique('secrets')}"
    client("logs").create_log_group(logGroupName=group)
    vpc = client("ec2").create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = client("ec2").create_subnet(VpcId=vpc, CidrBlock="10.0.0.0/24")["Subnet"]["SubnetId"]

    def run_task(role_arn: str, **secrets: str) -> tuple[str, dict[str, str]]:
        ecs = client("ecs")
        definition = ecs.register_task_definition(
            family=unique("family"),
            requiresCompatibilities=["FARGATE"],
            networkMode="awsvpc",
            cpu="256",
            memory="512",
            **({"executionRoleArn": role_arn} if role_arn else {}),
            runtimePlatform={"cpuArchitecture": "ARM64", "operatingSystemFamily": "LINUX"},
            containerDefinitions=[
                {
                    "name": "server",
                    "image": image,
                    "command": ["python", "-c", PROGRAM],
                    "secrets": [{"name": name, "valueFrom": value} for name, value in secrets.items()],
                    "logConfiguration": {
                        "logDriver": "awslogs",
                        "options": {
                            "awslogs-group": group,
                            "awslogs-region": "us-east-1",
                            "awslogs-stream-prefix": "server",
                        },
                    },
                }
            ],
        )["taskDefinition"]["taskDefinitionArn"]
        task = ecs.run_task(
            taskDefinition=definition,
            launchType="FARGATE",
            networkConfiguration={"awsvpcConfiguration": {"subnets": [subnet]}},
        )["tasks"][0]["taskArn"]

        def stopped() -> dict[str, Any]:
            found: dict[str, Any] = ecs.describe_tasks(tasks=[task])["tasks"][0]
            return found if found["lastStatus"] == "STOPPED" else {}

        # The first task of a clean checkout waits for its image's environment.
        ended = until(stopped, "the task has stopped", seconds=150)
        if ended["stopCode"] == "TaskFailedToStart":
            return str(ended["stoppedReason"]), {}
        stream = f"server/server/{task.rpartition('/')[2]}"

        def messages() -> list[dict[str, Any]]:
            try:
                found = client("logs").get_log_events(logGroupName=group, logStreamName=stream)
            except botocore.exceptions.ClientError:
                return []
            return list(found["events"])

        line = until(messages, "the task's output is there")[0]["message"]
        return str(ended["stoppedReason"]), dict(json.loads(line))

    yield run_task
    client("logs").delete_log_group(logGroupName=group)


def test_secrets_arrive_in_every_form_of_valuefrom(
    run: Callable[..., Any], client: Client, secret: str, parameter: str
) -> None:
    manager = client("secretsmanager")
    old = manager.describe_secret(SecretId=secret)["VersionIdsToStages"]
    manager.put_secret_value(SecretId=secret, SecretString='{"password": "newer"}')
    arn = role(client, ("secretsmanager:GetSecretValue", secret), ("ssm:GetParameters", parameter))
    reason, seen = run(
        arn,
        SECRET_WHOLE=secret,
        SECRET_KEY=f"{secret}:password::",
        SECRET_STAGE=f"{secret}:password:AWSPREVIOUS:",
        SECRET_VERSION=f"{secret}:port::{next(iter(old))}",
        SECRET_PARAMETER=parameter,
    )
    assert reason == "Essential container exited"
    assert seen == {
        "SECRET_WHOLE": '{"password": "newer"}',
        "SECRET_KEY": "newer",
        "SECRET_STAGE": "s3cret",
        "SECRET_VERSION": "5432",
        "SECRET_PARAMETER": "parametric",
    }


def test_a_missing_secret_fails_the_start_and_is_named(run: Callable[..., Any], client: Client) -> None:
    missing = "arn:aws:secretsmanager:us-east-1:000000000000:secret:gone-AbCdEf"
    reason, _ = run(role(client, ("secretsmanager:GetSecretValue", "*")), SECRET=missing)
    assert reason == (
        f"{FAILED}unable to retrieve secret from asm: service call has been retried 1 time(s): failed to "
        f"fetch secret {missing} from secrets manager: ResourceNotFoundException: Secrets Manager can't find "
        "the specified secret."
    )


def test_a_missing_key_and_a_missing_parameter_are_named(
    run: Callable[..., Any], client: Client, secret: str
) -> None:
    arn = role(client, ("secretsmanager:*", secret), ("ssm:GetParameters", "*"))
    assert run(arn, SECRET=f"{secret}:user::")[0].endswith("did not contain json key user")
    assert run(arn, SECRET="/nowhere/at/all")[0].endswith("invalid ssm parameters: /nowhere/at/all")


@pytest.mark.parametrize("kind", ["secret", "parameter"])
def test_a_role_that_may_not_read_it_is_refused(
    run: Callable[..., Any], client: Client, request: pytest.FixtureRequest, kind: str
) -> None:
    resource = request.getfixturevalue(kind)
    action = {"secret": "secretsmanager:GetSecretValue", "parameter": "ssm:GetParameters"}[kind]
    reason, _ = run(role(client, (action, f"{resource}-other")), SECRET=resource)
    assert reason.startswith(FAILED)
    assert f"is not authorized to perform: {action} on resource: {resource}" in reason


def test_a_role_of_another_service_is_refused(run: Callable[..., Any], client: Client, secret: str) -> None:
    wrong = role(client, ("secretsmanager:*", "*"), principal="lambda.amazonaws.com")
    assert f"unable to assume the role '{wrong}'" in run(wrong, SECRET=secret)[0]


def test_secrets_need_an_execution_role(run: Callable[..., Any], secret: str) -> None:
    with pytest.raises(botocore.exceptions.ClientError, match="you must also specify a value for"):
        run("", SECRET=secret)
