"""What differs from region to region is right in each that the SDK knows."""

from typing import Any

import pytest
from botocore.session import Session

from tests.infrastructure.cloudformation import Template, load_templates
from tests.infrastructure.critical_path.evaluation import made
from tests.infrastructure.promises.roles import statements_of

ALB = load_templates()["alb"]
SERVICE = "logdelivery.elasticloadbalancing.amazonaws.com"
# Of the accounts that page lists, those of other partitions. In the partition aws it calls them legacy: the
# service principal replaces them; whether it does elsewhere is not documented, so there both are admitted.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/application/enable-access-logging.html
ACCOUNTS = {
    "cn-north-1": "638102146993",
    "cn-northwest-1": "037604701340",
    "us-gov-east-1": "190560391635",
    "us-gov-west-1": "048591011584",
}
REGIONS = sorted(
    region
    for partition in ("aws", "aws-cn", "aws-us-gov")
    for region in Session().get_available_regions("elbv2", partition)
)


def principals(template: Template, region: str) -> list[Any]:
    """Who may write access logs in a region: the service, and accounts by number."""
    policy = made(template, {}, region)["AccessLogsPolicy"]["Properties"]["PolicyDocument"]
    found: list[Any] = []
    for statement in statements_of(policy):
        if statement["Effect"] != "Allow":
            continue
        ((kind, name),) = statement["Principal"].items()
        if kind == "Service":
            found.append(name)
            continue
        text, names = name["Fn::Sub"]
        assert text == "arn:${AWS::Partition}:iam::${Account}:root"
        mapping, key, attribute = names["Account"]["Fn::FindInMap"]
        assert key == {"Ref": "AWS::Region"}
        found.append(template["Mappings"][mapping][region][attribute])
    return found


def test_the_sdk_knows_the_regions_of_the_table() -> None:
    assert set(ACCOUNTS) <= set(REGIONS)
    assert len(REGIONS) > 30


@pytest.mark.parametrize("region", REGIONS)
def test_access_logs_are_written_by_whom_the_region_wants(region: str) -> None:
    expected = [SERVICE, ACCOUNTS[region]] if region in ACCOUNTS else [SERVICE]
    assert principals(ALB, region) == expected
