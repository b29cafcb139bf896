"""Events of deployments on the default event bus, which ministack's ECS doesn't send.

Shape: https://docs.aws.amazon.com/AmazonECS/latest/developerguide/ecs_service_deployment_events.html
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal

from ministack.services import eventbridge  # type: ignore[import-untyped]

logger = logging.getLogger(__name__)

Name = Literal["SERVICE_DEPLOYMENT_IN_PROGRESS", "SERVICE_DEPLOYMENT_COMPLETED", "SERVICE_DEPLOYMENT_FAILED"]


def send(service_arn: str, deployment_id: str, name: Name, reason: str) -> None:
    """Tell the rules of the current account and region; a target that fails is logged, as nobody waits."""
    detail = {
        "eventType": "ERROR" if name == "SERVICE_DEPLOYMENT_FAILED" else "INFO",
        "eventName": name,
        "deploymentId": deployment_id,
        "updatedAt": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "reason": reason,
    }
    entry = {
        "Source": "aws.ecs",
        "DetailType": "ECS Deployment State Change",
        "Resources": [service_arn],
        "Detail": json.dumps(detail),
    }
    try:
        eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
    except Exception:
        # A deployment goes on whether anybody can be told of it or not, as on AWS.
        logger.exception("the event %s of %s could not be delivered", name, service_arn)
