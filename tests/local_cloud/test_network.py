"""The network's own templates, deployed in every shape: what there is, and what a change of shape keeps."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.infrastructure.cloudformation import INFRASTRUCTURE
from tests.local_cloud import stacks

REGIONS = ("us-east-1", "eu-west-1")
Parameters = dict[str, str]


class Network:
    """The stacks `network.yaml` and `outbound.yaml` of a region, wired as the root template wires them."""

    def __init__(self, client: Callable[..., Any], region: str) -> None:
        self.ec2 = client("ec2", region)
        self.logs = client("logs", region)
        self._cloudformation = client("cloudformation", region)
        self._applied: dict[str, Parameters] = {}

    def deploy(self, zones: str, egress: str, **others: str) -> Parameters:
        """Create or update both; return the outputs of both."""
        common = {"ProjectName": "shapes", "VpcCidr": "10.7.0.0/21", "Zones": zones, "Egress": egress}
        network = self._apply(
            "network",
            {**common, "FlowLogs": "true", "LogRetentionDays": "7", "PermissionsBoundary": ""}
            | {key: value for key, value in others.items() if key == "FlowLogs"},
        )
        options = {"KnowledgeBaseId": "", "SecretArns": "", "Tracing": "false", "StsEndpoint": "false"}
        outbound = self._apply(
            "outbound", common | network | {key: others.get(key, value) for key, value in options.items()}
        )
        return network | outbound

    def _apply(self, stem: str, parameters: Parameters) -> Parameters:
        template = (INFRASTRUCTURE / f"{stem}.yaml").read_text()
        known = {name: value for name, value in parameters.items() if f"  {name}:\n    Type" in template}
        if self._applied.get(stem) != known:
            change = stacks.update if stem in self._applied else stacks.create
            change(self._cloudformation, f"shapes-{stem}", template, known)
            self._applied[stem] = known
        stack = stacks.settled(self._cloudformation, f"shapes-{stem}")
        assert stack["StackStatus"] in ("CREATE_COMPLETE", "UPDATE_COMPLETE"), stacks.failure_reasons(
            self._cloudformation, f"shapes-{stem}"
        )
        return stacks.outputs(stack)

    def delete(self) -> None:
        """Delete both."""
        for stem in ("outbound", "network"):
            assert stacks.delete(self._cloudformation, f"shapes-{stem}")["StackStatus"] == "DELETE_COMPLETE"

    def ways_out(self, deployed: Parameters) -> list[str]:
        """The NAT gateway of each private subnet's default route, "" where there is none."""
        return [
            next(
                (
                    route["NatGatewayId"]
                    for route in table["Routes"]
                    if route.get("DestinationCidrBlock") == "0.0.0.0/0"
                ),
                "",
            )
            for table in self._tables_of(deployed["PrivateSubnetIds"].split(","))
        ]

    def _tables_of(self, subnet_ids: list[str]) -> list[dict[str, Any]]:
        tables = self.ec2.describe_route_tables()["RouteTables"]
        return [
            table
            for subnet_id in subnet_ids
            for table in tables
            if any(held.get("SubnetId") == subnet_id for held in table["Associations"])
        ]

    def endpoints(self, deployed: Parameters) -> dict[str, dict[str, Any]]:
        """The endpoints of the VPC by their service's short name."""
        found = self.ec2.describe_vpc_endpoints(Filters=[{"Name": "vpc-id", "Values": [deployed["VpcId"]]}])
        return {
            endpoint["ServiceName"].split(".", 3)[3]: endpoint
            for endpoint in found["VpcEndpoints"]
            if endpoint["VpcId"] == deployed["VpcId"]
        }


@pytest.fixture(scope="module", params=REGIONS)
def network(request: pytest.FixtureRequest, client: Callable[..., Any]) -> Iterator[Network]:
    """A network of a region; the tests below change its shape one after another."""
    made = Network(client, request.param)
    yield made
    made.delete()
    assert not [vpc for vpc in made.ec2.describe_vpcs()["Vpcs"] if vpc["CidrBlock"] == "10.7.0.0/21"]
    addresses = made.ec2.describe_addresses()["Addresses"]
    tags = [tag["Value"] for address in addresses for tag in address.get("Tags", [])]
    assert not [tag for tag in tags if tag.startswith("shapes-")]


@pytest.fixture(scope="module")
def first(network: Network) -> Parameters:
    """Two zones and endpoints, the defaults."""
    return network.deploy("2", "endpoints")


def test_without_nat_every_service_is_reached_by_an_endpoint(network: Network, first: Parameters) -> None:
    assert network.ways_out(first) == ["", ""]
    assert "NatAddresses" not in first
    endpoints = network.endpoints(first)
    assert set(endpoints) == {"s3", "ecr.api", "ecr.dkr", "logs"}
    subnets = set(first["PrivateSubnetIds"].split(","))
    assert all(set(found["SubnetIds"]) == subnets for name, found in endpoints.items() if name != "s3")


def test_the_flow_log_writes_to_the_stacks_group(network: Network, first: Parameters) -> None:
    [flow_log] = [
        item for item in network.ec2.describe_flow_logs()["FlowLogs"] if item["ResourceId"] == first["VpcId"]
    ]
    [group] = network.logs.describe_log_groups(logGroupNamePrefix=flow_log["LogDestination"])["logGroups"]
    assert (flow_log["TrafficType"], group["retentionInDays"]) == ("ALL", 7)


def test_options_bring_their_endpoints(network: Network, first: Parameters) -> None:
    arns = "A=arn:aws:ssm:us-east-1:000000000000:parameter/a,B=arn:aws:ssm:us-east-1:000000000000:parameter/b"
    changed = network.deploy("2", "endpoints", KnowledgeBaseId="ABCDE12345", SecretArns=arns, Tracing="true")
    brought = set(network.endpoints(changed)) - {"s3", "ecr.api", "ecr.dkr", "logs"}
    assert brought == {"bedrock-agent-runtime", "ssm", "xray"}
    assert changed == first


def test_a_third_zone_leaves_the_other_two_alone(network: Network, first: Parameters) -> None:
    changed = network.deploy("3", "endpoints", FlowLogs="false")
    before, after = (shape["PrivateSubnetIds"].split(",") for shape in (first, changed))
    assert (after[:2], len(after)) == (before, 3)
    described = network.ec2.describe_subnets(SubnetIds=after)["Subnets"]
    assert len({subnet["AvailabilityZone"] for subnet in described}) == 3
    assert len({subnet["CidrBlock"] for subnet in described}) == 3
    assert not network.ec2.describe_flow_logs()["FlowLogs"]
    assert all(
        len(found["SubnetIds"]) == 3 for name, found in network.endpoints(changed).items() if name != "s3"
    )


def test_nat_takes_the_place_of_endpoints_in_every_zone(network: Network, first: Parameters) -> None:
    changed = network.deploy("3", "nat")
    gateways = network.ways_out(changed)
    assert len(set(gateways)) == len(gateways) == 3
    assert "" not in gateways
    described = network.ec2.describe_nat_gateways(NatGatewayIds=gateways)["NatGateways"]
    zones = network.ec2.describe_subnets(SubnetIds=[gateway["SubnetId"] for gateway in described])["Subnets"]
    assert {zone["AvailabilityZone"] for zone in zones} == set(changed["AvailabilityZones"].split(","))
    assert len(changed["NatAddresses"].split(",")) == 3
    assert set(network.endpoints(changed)) == {"s3"}
    assert changed["PrivateSubnetIds"].startswith(first["PrivateSubnetIds"])


def test_one_nat_gateway_can_serve_all_zones(network: Network, first: Parameters) -> None:
    changed = network.deploy("3", "single-nat")
    gateways = network.ways_out(changed)
    assert len(gateways) == 3
    assert len(set(gateways)) == 1
    assert changed["NatAddresses"].count(",") == 0
    alive = [
        gateway
        for gateway in network.ec2.describe_nat_gateways()["NatGateways"]
        if gateway["VpcId"] == first["VpcId"] and gateway["State"] == "available"
    ]
    assert [gateway["NatGatewayId"] for gateway in alive] == gateways[:1]
