"""Addresses, NAT gateways, flow logs and single security group rules, through the EC2 API; VPC attributes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.exceptions import ClientError
from ministack.core.responses import get_region  # type: ignore[import-untyped]
from ministack.services import ec2  # type: ignore[import-untyped]

from ...context import CloudContext
from .. import aws_clients, registry
from ..patching import wrap
from ..registry import Properties, Result


def install(_context: CloudContext) -> None:
    """Register the types of this module."""
    registry.register(
        "AWS::EC2::EIP", create=_allocate, update=_keep_address, delete=_release, blocking=True, tags="Tags"
    )
    registry.register(
        "AWS::EC2::NatGateway",
        create=_create_nat,
        update=_tag_nat,
        delete=_delete_nat,
        blocking=True,
        tags="Tags",
    )
    registry.register(
        "AWS::EC2::FlowLog",
        create=_create_flow_log,
        update=_tag_flow_log,
        delete=_delete_flow_log,
        blocking=True,
        tags="Tags",
    )
    wrap(ec2, "_zone_name_for_az_id", _with_every_zone)
    for direction in ("Ingress", "Egress"):
        rules = _SecurityGroupRules(direction)
        registry.register(
            f"AWS::EC2::SecurityGroup{direction}", create=rules.create, delete=rules.delete, blocking=True
        )
    registry.amend_attributes("AWS::EC2::VPC", _vpc_attributes)


def _vpc_attributes(vpc_id: str, props: Properties) -> dict[str, Any]:
    vpc = ec2._vpcs.get(vpc_id, {})
    return {"VpcId": vpc_id, "CidrBlock": vpc.get("CidrBlock", props.get("CidrBlock", ""))}


def _tags(resource_type: str, props: Properties) -> list[dict[str, Any]]:
    tags = props.get("Tags")
    return [{"ResourceType": resource_type, "Tags": tags}] if tags else []


def _allocate(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    client = aws_clients.client("ec2")
    answer = client.allocate_address(
        Domain=props.get("Domain", "vpc"), TagSpecifications=_tags("elastic-ip", props)
    )
    return answer["PublicIp"], {"PublicIp": answer["PublicIp"], "AllocationId": answer["AllocationId"]}


def _keep_address(public_ip: str, old: Properties, new: Properties, stack_name: str) -> Result:
    if {**old, "Tags": None} != {**new, "Tags": None}:
        return _allocate("", new, stack_name)
    allocation_id = _allocation_of(public_ip)
    if new.get("Tags"):
        aws_clients.client("ec2").create_tags(Resources=[allocation_id], Tags=new["Tags"])
    return public_ip, {"PublicIp": public_ip, "AllocationId": allocation_id}


def _allocation_of(public_ip: str) -> str:
    addresses = aws_clients.client("ec2").describe_addresses()["Addresses"]
    return next((str(a["AllocationId"]) for a in addresses if a["PublicIp"] == public_ip), "")


def _release(public_ip: str, _props: Properties) -> None:
    allocation_id = _allocation_of(public_ip)
    if allocation_id:
        aws_clients.client("ec2").release_address(AllocationId=allocation_id)


def _create_nat(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    if props.get("ConnectivityType", "public") == "public":
        _require_address(props.get("AllocationId"))
    wanted = {key: props[key] for key in ("AllocationId", "SubnetId", "ConnectivityType") if key in props}
    answer = aws_clients.client("ec2").create_nat_gateway(
        **wanted, TagSpecifications=_tags("natgateway", props)
    )
    nat_id = answer["NatGateway"]["NatGatewayId"]
    return nat_id, {"NatGatewayId": nat_id}


def _require_address(allocation_id: str | None) -> None:
    # The emulator's CreateNatGateway takes any; EC2 doesn't.
    addresses = aws_clients.client("ec2").describe_addresses()["Addresses"]
    if allocation_id not in {address["AllocationId"] for address in addresses}:
        raise ValueError(
            f"Elastic IP address {allocation_id} could not be found (InvalidAllocationID.NotFound)"
        )


def _tag_nat(nat_id: str, old: Properties, new: Properties, stack_name: str) -> Result:
    if {**old, "Tags": None} != {**new, "Tags": None}:
        return _create_nat("", new, stack_name)
    if new.get("Tags"):
        aws_clients.client("ec2").create_tags(Resources=[nat_id], Tags=new["Tags"])
    return nat_id, {"NatGatewayId": nat_id}


def _delete_nat(nat_id: str, _props: Properties) -> None:
    try:
        aws_clients.client("ec2").delete_nat_gateway(NatGatewayId=nat_id)
    except ClientError as error:
        if "NotFound" not in error.response["Error"]["Code"]:
            raise


def _with_every_zone(original: Callable[[str], str | None]) -> Callable[[str], str | None]:
    """Find zones by id past the three that the emulator lists: us-east-1 has six."""

    def zone_name(zone_id: str) -> str | None:
        others = (f"{get_region()}{letter}" for letter in "def")
        return original(zone_id) or next(
            (name for name in others if ec2._az_id_for_zone_name(name) == zone_id), None
        )

    return zone_name


def _create_flow_log(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    client = aws_clients.client("ec2")
    if props["ResourceType"] == "VPC":
        # The emulator's CreateFlowLogs takes any id; EC2 doesn't.
        client.describe_vpcs(VpcIds=[props["ResourceId"]])
    wanted = {key: value for key, value in props.items() if key not in ("ResourceId", "Tags")}
    answer = client.create_flow_logs(
        **wanted, ResourceIds=[props["ResourceId"]], TagSpecifications=_tags("vpc-flow-log", props)
    )
    (flow_log_id,) = answer["FlowLogIds"]
    return flow_log_id, {"Id": flow_log_id}


def _tag_flow_log(flow_log_id: str, old: Properties, new: Properties, stack_name: str) -> Result:
    if {**old, "Tags": None} != {**new, "Tags": None}:
        return _create_flow_log("", new, stack_name)
    if new.get("Tags"):
        aws_clients.client("ec2").create_tags(Resources=[flow_log_id], Tags=new["Tags"])
    return flow_log_id, {"Id": flow_log_id}


def _delete_flow_log(flow_log_id: str, _props: Properties) -> None:
    aws_clients.client("ec2").delete_flow_logs(FlowLogIds=[flow_log_id])


class _SecurityGroupRules:
    """One rule of a security group as a resource of its own; ``Ref`` is the rule's id."""

    def __init__(self, direction: str) -> None:
        self._direction = direction
        self._peer = "Source" if direction == "Ingress" else "Destination"

    def create(self, _logical_id: str, props: Properties, _stack_name: str) -> Result:
        client = aws_clients.client("ec2")
        group_id = props["GroupId"]
        before = self._rule_ids(group_id)
        authorize = getattr(client, f"authorize_security_group_{self._direction.lower()}")
        authorize(GroupId=group_id, IpPermissions=[self._permission(props)])
        added = self._rule_ids(group_id) - before
        rule_id = min(added) if added else f"{group_id}|{self._direction}|{self._permission(props)}"
        return rule_id, {"Id": rule_id}

    def delete(self, _rule_id: str, props: Properties) -> None:
        client = aws_clients.client("ec2")
        revoke = getattr(client, f"revoke_security_group_{self._direction.lower()}")
        try:
            revoke(GroupId=props["GroupId"], IpPermissions=[self._permission(props)])
        except ClientError as error:
            if "NotFound" not in error.response["Error"]["Code"]:
                raise

    def _rule_ids(self, group_id: str) -> set[str]:
        rules = aws_clients.client("ec2").describe_security_group_rules(
            Filters=[{"Name": "group-id", "Values": [group_id]}]
        )["SecurityGroupRules"]
        return {rule["SecurityGroupRuleId"] for rule in rules}

    def _permission(self, props: Properties) -> dict[str, Any]:
        permission: dict[str, Any] = {"IpProtocol": str(props["IpProtocol"])}
        for key in ("FromPort", "ToPort"):
            if key in props:
                permission[key] = int(props[key])
        described = {"Description": props["Description"]} if "Description" in props else {}
        if "CidrIp" in props:
            permission["IpRanges"] = [{"CidrIp": props["CidrIp"], **described}]
        elif "CidrIpv6" in props:
            permission["Ipv6Ranges"] = [{"CidrIpv6": props["CidrIpv6"], **described}]
        elif f"{self._peer}SecurityGroupId" in props:
            permission["UserIdGroupPairs"] = [{"GroupId": props[f"{self._peer}SecurityGroupId"], **described}]
        elif f"{self._peer}PrefixListId" in props:
            permission["PrefixListIds"] = [{"PrefixListId": props[f"{self._peer}PrefixListId"], **described}]
        else:
            raise ValueError(
                f"A security group rule needs a CIDR block, a prefix list or a {self._peer} group."
            )
        return permission
