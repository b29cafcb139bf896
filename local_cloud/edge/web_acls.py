"""WAF's API for web ACLs: where the emulator is too kind, and the logging that it lacks.

A web ACL of scope CLOUDFRONT is known in CloudFront's region only, can't be deleted while a distribution uses
it, and logs to log groups of that region whose name begins with `aws-waf-logs-`. Rules are kept, not applied.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from ministack.core.responses import (  # type: ignore[import-untyped]
    error_response_json,
    get_region,
    json_response,
)
from ministack.services import cloudwatch_logs, waf  # type: ignore[import-untyped]

from ..cloudformation import patching
from . import CLOUDFRONT_REGION
from .distributions import using_web_acl

LOG_GROUP_PREFIX = "aws-waf-logs-"
# Capacity units that AWS gives its own rule groups; any other costs one unit a rule.
# https://docs.aws.amazon.com/waf/latest/developerguide/aws-managed-rule-groups-list.html
CAPACITIES = {
    "AWSManagedRulesCommonRuleSet": 700,
    "AWSManagedRulesKnownBadInputsRuleSet": 200,
    "AWSManagedRulesAmazonIpReputationList": 25,
}
_KEPT = ("DataProtectionConfig", "Description", "AssociationConfig", "CustomResponseBodies")

Answer = tuple[int, dict[str, str], bytes]
_logging: dict[str, dict[str, Any]] = {}


def install() -> None:
    """Wrap the emulator's API."""
    _logging.clear()
    patching.wrap(waf, "handle_request", _with_checks)


def _with_checks(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        action = headers.get("x-amz-target", "").rpartition(".")[2]
        data = json.loads(body or b"{}")
        refusal = _refusal(action, data)
        if refusal is not None:
            return refusal
        if action in _LOGGING:
            return _LOGGING[action](data)
        answer: Answer = await original(method, path, headers, body, query_params)
        if answer[0] == 200:
            _complete(action, data)
        return answer

    return handle


def _refusal(action: str, data: dict[str, Any]) -> Answer | None:
    if data.get("Scope") == "CLOUDFRONT" and get_region() != CLOUDFRONT_REGION:
        message = "Error reason: The scope is not valid., field: SCOPE_VALUE, parameter: CLOUDFRONT"
        return _error("WAFInvalidParameterException", message)
    if action == "DeleteWebACL":
        acl = waf.web_acl_record(data.get("Id", ""), data.get("Scope"))
        users = using_web_acl(acl["ARN"]) if acl else []
        if users:
            message = "AWS WAF couldn\u2019t perform the operation because your resource is being used by "
            return _error("WAFAssociatedItemException", message + "another resource or it\u2019s associated.")
    return None


def _complete(action: str, data: dict[str, Any]) -> None:
    """Keep what the emulator leaves out of a web ACL."""
    scope = data.get("Scope")
    if action == "DeleteWebACL":
        for arn in [arn for arn in _logging if arn.endswith(f"/{data['Id']}")]:
            del _logging[arn]
    if action not in {"CreateWebACL", "UpdateWebACL"}:
        return
    acls = waf._values_for_scope(waf._web_acls, scope)
    for acl in [acl for acl in acls if acl["Name"] == data["Name"]]:
        for name in _KEPT:
            acl.pop(name, None)
        acl.update({name: data[name] for name in _KEPT if name in data})
        acl["Capacity"] = sum(_capacity(rule) for rule in acl["Rules"])
        acl["LabelNamespace"] = f"awswaf:{acl['ARN'].split(':')[4]}:webacl:{acl['Name']}:"


def _capacity(rule: dict[str, Any]) -> int:
    statement = rule.get("Statement", {})
    if "ManagedRuleGroupStatement" in statement:
        return CAPACITIES.get(statement["ManagedRuleGroupStatement"]["Name"], 1)
    return 2 if "RateBasedStatement" in statement else 1


def _put_logging(data: dict[str, Any]) -> Answer:
    configuration = data["LoggingConfiguration"]
    _, refusal = waf._resolve_local_web_acl(configuration["ResourceArn"])
    if refusal is not None:
        return refusal  # type: ignore[no-any-return]
    for destination in configuration["LogDestinationConfigs"]:
        prefix, _, group = destination.removesuffix(":*").rpartition(":log-group:")
        if not prefix or not group.startswith(LOG_GROUP_PREFIX):
            message = "Error reason: The ARN isn't valid., field: LOG_DESTINATION, parameter: "
            return _error("WAFInvalidParameterException", message + destination)
        if prefix.split(":")[3] != CLOUDFRONT_REGION or group not in cloudwatch_logs._log_groups:
            message = "Unable to deliver logs to the configured destination. You might need to grant "
            return _error(
                "WAFLogDestinationPermissionIssueException", message + "log delivery permissions for it."
            )
    _logging[configuration["ResourceArn"]] = configuration
    return json_response({"LoggingConfiguration": configuration})  # type: ignore[no-any-return]


def _get_logging(data: dict[str, Any]) -> Answer:
    configuration = _logging.get(data["ResourceArn"])
    if configuration is None:
        return _no_logging()
    return json_response({"LoggingConfiguration": configuration})  # type: ignore[no-any-return]


def _delete_logging(data: dict[str, Any]) -> Answer:
    if _logging.pop(data["ResourceArn"], None) is None:
        return _no_logging()
    return json_response({})  # type: ignore[no-any-return]


def _no_logging() -> Answer:
    message = "AWS WAF couldn\u2019t perform the operation because your resource doesn\u2019t exist."
    return _error("WAFNonexistentItemException", message)


def _error(code: str, message: str) -> Answer:
    return error_response_json(code, message, 400)  # type: ignore[no-any-return]


_LOGGING: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "PutLoggingConfiguration": _put_logging,
    "GetLoggingConfiguration": _get_logging,
    "DeleteLoggingConfiguration": _delete_logging,
}
