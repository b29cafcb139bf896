"""The token that the gateway shows to a deployed server."""

from __future__ import annotations

from custom_resources.aws import Clients
from custom_resources.lifecycle import Runtime
from custom_resources.tokens import TokenSource, bearer_token
from custom_resources.waiting import Deadline, SystemClock
from tests.end_to_end.conftest import Project


def token_of(project: Project) -> str:
    """Return such a token; the process must be inside the cloud (`inside_the_cloud`)."""
    secrets = project.cloud.client("secretsmanager").list_secrets()["SecretList"]
    (arn,) = [
        one["ARN"]
        for one in secrets
        if one.get("Description", "").startswith(f"Credentials of the gateway of {project.path.name}")
    ]
    clock = SystemClock()
    runtime = Runtime(Clients(), Deadline(clock, clock.now() + 30))
    source = TokenSource(project.outputs()["TokenDiscoveryUrl"], arn, (f"{project.path.name}/call",))
    return bearer_token(runtime, source, 10)
