"""``AWS::CloudFront::VpcOrigin`` for templates over the emulator's API, and the checks that the API lacks."""

from __future__ import annotations

from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring, tostring

from ministack.services import cloudfront, ec2  # type: ignore[import-untyped]
from ministack.services.cloudformation import provisioners  # type: ignore[import-untyped]

from .load_balancer_state import find_by_arn

TYPE_NAME = "AWS::CloudFront::VpcOrigin"
_DISTRIBUTION = "AWS::CloudFront::Distribution"

Attributes = dict[str, Any]
Properties = dict[str, Any]


def install() -> None:
    """Register the type; make VPC origins and distributions refuse what CloudFront refuses."""
    from ..cloudformation import registry

    registry.register(TYPE_NAME, create=create, update=update, delete=delete, tags="Tags")
    _require_internet_gateway()
    _check_distributions()


def create(_logical_id: str, props: Properties, _stack_name: str) -> tuple[str, Attributes]:
    """Create the VPC origin. Raises ValueError with CloudFront's message."""
    root = Element("CreateVpcOriginRequest")
    root.append(_endpoint_config(props))
    answer = cloudfront._create_vpc_origin(tostring(root))
    vpc_origin_id = _succeed(answer).findtext("{*}Id") or ""
    record = cloudfront._vpc_origins[vpc_origin_id]
    cloudfront._tags[record["Arn"]] = [dict(tag) for tag in props.get("Tags") or []]
    return vpc_origin_id, _attributes(record)


def update(
    physical_id: str, _old_props: Properties, new_props: Properties, _stack_name: str
) -> tuple[str, Attributes]:
    """Update the endpoint; refused while a distribution uses it, as on AWS."""
    record = cloudfront._vpc_origins.get(physical_id)
    if record is None:
        raise ValueError(f"The specified vpc origin does not exist: {physical_id}")
    etag = cloudfront._vpc_origin_etag(record["Version"])
    _succeed(
        cloudfront._update_vpc_origin(physical_id, {"if-match": etag}, tostring(_endpoint_config(new_props)))
    )
    cloudfront._tags[record["Arn"]] = [dict(tag) for tag in new_props.get("Tags") or []]
    return physical_id, _attributes(record)


def delete(physical_id: str, _props: Properties) -> None:
    """Delete the VPC origin; one that is gone already is no error."""
    record = cloudfront._vpc_origins.get(physical_id)
    if record is not None:
        etag = cloudfront._vpc_origin_etag(record["Version"])
        _succeed(cloudfront._delete_vpc_origin(physical_id, {"if-match": etag}))


def _endpoint_config(props: Properties) -> Element:
    config = props.get("VpcOriginEndpointConfig") or {}
    element = Element("VpcOriginEndpointConfig")
    for name, value in (
        ("Name", config.get("Name", "")),
        ("Arn", config.get("Arn", "")),
        ("HTTPPort", config.get("HTTPPort", 80)),
        ("HTTPSPort", config.get("HTTPSPort", 443)),
        ("OriginProtocolPolicy", config.get("OriginProtocolPolicy", "match-viewer")),
    ):
        SubElement(element, name).text = str(value)
    protocols = config.get("OriginSSLProtocols")
    if protocols:
        block = SubElement(element, "OriginSslProtocols")
        SubElement(block, "Quantity").text = str(len(protocols))
        items = SubElement(block, "Items")
        for protocol in protocols:
            SubElement(items, "SslProtocol").text = str(protocol)
    if config.get("IpAddressType"):
        SubElement(element, "IpAddressType").text = str(config["IpAddressType"])
    return element


def _attributes(record: dict[str, Any]) -> Attributes:
    names = ("Id", "Arn", "AccountId", "Status", "CreatedTime", "LastModifiedTime")
    return {name: record[name] for name in names}


def _succeed(answer: tuple[int, dict[str, str], bytes]) -> Element:
    """The answer's document. Raises ValueError for an error of the API."""
    status, _headers, body = answer
    # The document is the emulator's own, not a client's.
    document = fromstring(body)  # noqa: S314
    if status >= 400:
        code = document.findtext(".//{*}Code") or str(status)
        raise ValueError(
            f"{document.findtext('.//{*}Message') or ''} (Service: CloudFront, Error Code: {code})"
        )
    return document


def _require_internet_gateway() -> None:
    """CloudFront enters only a VPC that has an internet gateway, though no route to it is needed.

    https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/private-content-vpc-origins.html
    """
    check = cloudfront._vpc_origin_endpoint_missing
    if getattr(check, "requires_internet_gateway", False):
        return

    def checked(spec: Any, arn: str) -> Any:
        error = check(spec, arn)
        balancer = find_by_arn(arn) if error is None else None
        if balancer is None:
            return error
        vpc_id = balancer_vpc(balancer.account, balancer.region, balancer.record)
        with balancer.scope():
            attached = any(
                attachment.get("VpcId") == vpc_id
                for gateway in ec2._internet_gateways.values()
                for attachment in gateway.get("Attachments") or []
            )
        if attached:
            return None
        message = f"The parameter VpcOriginEndpointConfig Arn is in {vpc_id}, which has no internet gateway."
        return cloudfront._error("InvalidArgument", message, 400)

    checked.requires_internet_gateway = True  # type: ignore[attr-defined]
    cloudfront._vpc_origin_endpoint_missing = checked


def balancer_vpc(account: str, region: str, record: dict[str, Any]) -> str:
    """The VPC of a load balancer: a template names its subnets, never its VPC."""
    for subnet_id in record.get("Subnets") or []:
        subnet = ec2._subnets.get_scoped(account, region, subnet_id)
        if subnet is not None:
            return str(subnet["VpcId"])
    return str(record.get("VpcId", ""))


def _check_distributions() -> None:
    """A template's distribution that names a missing VPC origin fails, as it does through the API."""
    handlers = provisioners._RESOURCE_HANDLERS[_DISTRIBUTION]
    if getattr(handlers["create"], "checks_vpc_origins", False):
        return
    create_distribution, update_distribution = handlers["create"], handlers["update"]

    def checked_create(logical_id: str, props: Properties, stack_name: str) -> Any:
        _check_vpc_origin_ids(props)
        return create_distribution(logical_id, props, stack_name)

    def checked_update(
        physical_id: str,
        old_props: Properties,
        new_props: Properties,
        stack_name: str,
        logical_id: str | None = None,
    ) -> Any:
        _check_vpc_origin_ids(new_props)
        return update_distribution(physical_id, old_props, new_props, stack_name, logical_id=logical_id)

    checked_create.checks_vpc_origins = True  # type: ignore[attr-defined]
    provisioners._RESOURCE_HANDLERS[_DISTRIBUTION] = {
        **handlers,
        "create": checked_create,
        "update": checked_update,
    }


def _check_vpc_origin_ids(props: Properties) -> None:
    origins = (props.get("DistributionConfig") or {}).get("Origins") or []
    for origin in origins if isinstance(origins, list) else []:
        vpc_origin_id = (origin.get("VpcOriginConfig") or {}).get("VpcOriginId")
        if vpc_origin_id is not None and vpc_origin_id not in cloudfront._vpc_origins:
            raise ValueError(
                f"The specified vpc origin does not exist: {vpc_origin_id} "
                "(Service: CloudFront, Error Code: EntityNotFound)"
            )
