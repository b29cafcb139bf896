"""Associations of regional web ACLs with load balancers; as everywhere here, their rules block nothing."""

from __future__ import annotations

from ministack.services import waf  # type: ignore[import-untyped]

from ...context import CloudContext
from ...data_plane.load_balancer_state import find_by_arn
from .. import registry
from ..registry import Properties, Result

_TYPE = "AWS::WAFv2::WebACLAssociation"


def install(_context: CloudContext) -> None:
    """Register the type."""
    registry.register(_TYPE, create=_create, delete=_delete)


def _create(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    resource, acl = props["ResourceArn"], props["WebACLArn"]
    if find_by_arn(resource) is None:
        raise ValueError(
            _refused("AWS WAF couldn't perform the operation because your resource doesn't exist.")
        )
    status, _, _body = waf._associate_web_acl({"ResourceArn": resource, "WebACLArn": acl})
    if status >= 400:
        raise ValueError(_refused(f"AWS WAF found no web ACL {acl}."))
    return f"{resource}|{acl}", {}


def _delete(physical_id: str, _props: Properties) -> None:
    resource, _, acl = physical_id.partition("|")
    # A replacement has its own association already when its predecessor goes.
    if waf._associations.get(resource) == acl:
        waf._disassociate_web_acl({"ResourceArn": resource})


def _refused(text: str) -> str:
    return f'Resource handler returned message: "{text} (Service: Wafv2, Status Code: 400)"'
