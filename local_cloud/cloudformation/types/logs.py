"""Saved queries of CloudWatch Logs: the API that the emulator lacks, and CloudFormation's type of them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from typing import Any

from ministack.core.responses import (  # type: ignore[import-untyped]
    AccountRegionScopedDict,
    error_response_json,
    json_response,
)
from ministack.services import cloudwatch_logs  # type: ignore[import-untyped]

from ...context import CloudContext
from .. import patching, registry
from ..registry import Properties, Result

Answer = tuple[int, dict[str, str], bytes]
_definitions = AccountRegionScopedDict()
_FIELDS = {
    "LogGroupNames": "logGroupNames",
    "Name": "name",
    "Parameters": "parameters",
    "QueryLanguage": "queryLanguage",
    "QueryString": "queryString",
}


def install(_context: CloudContext) -> None:
    """Add the API and register the type."""
    _definitions.clear()
    patching.wrap(cloudwatch_logs, "handle_request", _with_saved_queries)
    registry.register("AWS::Logs::QueryDefinition", create=_create, update=_update, delete=_delete)


def _with_saved_queries(original: Callable[..., Any]) -> Callable[..., Any]:
    async def handle(
        method: str, path: str, headers: dict[str, str], body: bytes, query_params: dict[str, Any]
    ) -> Answer:
        action = _ACTIONS.get(headers.get("x-amz-target", "").rpartition(".")[2])
        if action is not None:
            return action(json.loads(body or b"{}"))
        answer: Answer = await original(method, path, headers, body, query_params)
        return answer

    return handle


def _put(data: dict[str, Any]) -> Answer:
    known = data.get("queryDefinitionId")
    if known is not None and known not in _definitions:
        return _unknown(known)
    query_id = known or str(uuid.uuid4())
    kept = {name: data[name] for name in _FIELDS.values() if name in data}
    _definitions[query_id] = {**kept, "queryDefinitionId": query_id, "lastModified": int(time.time() * 1000)}
    answer: Answer = json_response({"queryDefinitionId": query_id})
    return answer


def _describe(data: dict[str, Any]) -> Answer:
    prefix = data.get("queryDefinitionNamePrefix", "")
    found = [item for item in _definitions.values() if item["name"].startswith(prefix)]
    answer: Answer = json_response({"queryDefinitions": sorted(found, key=lambda item: str(item["name"]))})
    return answer


def _remove(data: dict[str, Any]) -> Answer:
    query_id = data["queryDefinitionId"]
    if query_id not in _definitions:
        return _unknown(query_id)
    del _definitions[query_id]
    answer: Answer = json_response({"success": True})
    return answer


def _unknown(query_id: str) -> Answer:
    message = f"The specified query definition does not exist: {query_id}"
    answer: Answer = error_response_json("ResourceNotFoundException", message, 400)
    return answer


_ACTIONS: dict[str, Callable[[dict[str, Any]], Answer]] = {
    "PutQueryDefinition": _put,
    "DescribeQueryDefinitions": _describe,
    "DeleteQueryDefinition": _remove,
}


def _create(_logical_id: str, props: Properties, _stack_name: str) -> Result:
    return _store(props, {})


def _update(query_id: str, _old: Properties, new: Properties, _stack_name: str) -> Result:
    return _store(new, {"queryDefinitionId": query_id})


def _store(props: Properties, also: dict[str, str]) -> Result:
    status, _, body = _put({**{_FIELDS[name]: value for name, value in props.items()}, **also})
    answer = json.loads(body)
    if status != 200:
        raise RuntimeError(answer["message"])
    return answer["queryDefinitionId"], {"QueryDefinitionId": answer["queryDefinitionId"]}


def _delete(query_id: str, _props: Properties) -> None:
    _remove({"queryDefinitionId": query_id})
