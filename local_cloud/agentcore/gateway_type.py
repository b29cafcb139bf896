"""``AWS::BedrockAgentCore::Gateway`` for templates: the control API's calls, and the wait for READY."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botocore.model import ListShape, MapShape, Shape, StructureShape
from ministack.core.responses import get_account_id, get_region  # type: ignore[import-untyped]

from ..cloudformation.registry import ResourceFailedError
from . import service_model
from .control_api import ControlApi
from .errors import ApiError, ResourceNotFoundError, ValidationError
from .state import Place

TYPE_NAME = "AWS::BedrockAgentCore::Gateway"
_STABILIZE = 60.0
_DELETE_RETRY = 15.0
_POLL = 0.05

Properties = dict[str, Any]
Attributes = dict[str, Any]


class GatewayType:
    """The handlers of the resource type; they block until the gateway is stable."""

    def __init__(self, api: ControlApi) -> None:
        self._api = api

    def create(self, _logical_id: str, props: Properties, _stack_name: str) -> tuple[str, Attributes]:
        """Create the gateway and wait. Raises ValueError with the API's message or the gateway's reasons."""
        gateway_id = self._call("CreateGateway", params_of("CreateGateway", props))["gatewayId"]
        try:
            return gateway_id, self._wait(gateway_id)
        except ValueError as error:
            raise ResourceFailedError(str(error), gateway_id) from error

    def update(
        self, physical_id: str, old_props: Properties, new_props: Properties, _stack_name: str
    ) -> tuple[str, Attributes]:
        """Replace the whole configuration; what can't be changed fails, as on AWS."""
        params = params_of("UpdateGateway", {k: v for k, v in new_props.items() if k != "Tags"})
        self._call("UpdateGateway", {"gatewayIdentifier": physical_id, **params})
        self._update_tags(physical_id, old_props.get("Tags") or {}, new_props.get("Tags") or {})
        return physical_id, self._wait(physical_id)

    def delete(self, physical_id: str, _props: Properties) -> None:
        """Delete the gateway and wait until it is gone; one that is gone already is no error."""
        deadline = time.monotonic() + _DELETE_RETRY
        while True:
            try:
                self._raw("DeleteGateway", {"gatewayIdentifier": physical_id})
                break
            except ResourceNotFoundError:
                return
            except ApiError as error:
                # The service counts a deleted target for a while; a target that is there will stay there.
                targets = self._call("ListGatewayTargets", {"gatewayIdentifier": physical_id})["items"]
                if targets or not isinstance(error, ValidationError) or time.monotonic() > deadline:
                    raise ValueError(failure_text(error)) from error
                time.sleep(_POLL)
        self._until(lambda: self._shape(physical_id) is None, f"Gateway {physical_id} was not deleted")

    def _wait(self, gateway_id: str) -> Attributes:
        self._until(
            lambda: (self._shape(gateway_id) or {}).get("status") not in {"CREATING", "UPDATING"},
            f"Gateway {gateway_id} did not become READY",
        )
        shape = self._shape(gateway_id) or {}
        if shape.get("status") != "READY":
            reasons = " ".join(shape.get("statusReasons") or [])
            raise ValueError(
                f"Gateway {gateway_id} failed to stabilize, status: {shape.get('status')}, reason: {reasons}"
            )
        identity = shape["workloadIdentityDetails"]["workloadIdentityArn"]
        return {
            "GatewayIdentifier": gateway_id,
            "GatewayArn": shape["gatewayArn"],
            "GatewayUrl": shape["gatewayUrl"],
            "Status": shape["status"],
            "StatusReasons": shape.get("statusReasons") or [],
            "CreatedAt": shape["createdAt"].isoformat(),
            "UpdatedAt": shape["updatedAt"].isoformat(),
            "WorkloadIdentityDetails": {"WorkloadIdentityArn": identity},
            "WorkloadIdentityDetails.WorkloadIdentityArn": identity,
        }

    def _until(self, done: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + _STABILIZE
        while not done():
            if time.monotonic() > deadline:
                raise ValueError(f"{failure} within {_STABILIZE:g} s")
            time.sleep(_POLL)

    def _shape(self, gateway_id: str) -> dict[str, Any] | None:
        try:
            return self._raw("GetGateway", {"gatewayIdentifier": gateway_id})
        except ResourceNotFoundError:
            return None

    def _update_tags(self, gateway_id: str, old: dict[str, str], new: dict[str, str]) -> None:
        arn = (self._shape(gateway_id) or {})["gatewayArn"]
        removed = [key for key in old if key not in new]
        if removed:
            self._call("UntagResource", {"resourceArn": arn, "tagKeys": removed})
        if new:
            self._call("TagResource", {"resourceArn": arn, "tags": new})

    def _call(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        try:
            return self._raw(operation, params)
        except ApiError as error:
            raise ValueError(failure_text(error)) from error

    def _raw(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return self._api.call(Place(get_account_id(), get_region()), operation, params)


def params_of(operation: str, props: Properties) -> dict[str, Any]:
    """The API's parameters for a template's properties, checked against the model. Raises ValueError."""
    model = service_model.service_model().operation_model(operation)
    params = _from_properties(model.input_shape, props, "")
    uri_members = {"gatewayIdentifier": "a-0000000000"} if operation == "UpdateGateway" else {}
    try:
        service_model.check(model, {**uri_members, **params})
    except ApiError as error:
        raise ValueError(failure_text(error)) from error
    return dict(params)


def failure_text(error: ApiError) -> str:
    """What CloudFormation tells of an API's refusal."""
    details = f"Status Code: {error.status}, Error Code: {error.code}"
    return f"{error.message} (Service: BedrockAgentCoreControl, {details})"


def _from_properties(shape: Shape | None, value: Any, path: str) -> Any:
    """``value`` with the API's member names, which differ from the template's in case only.

    Raises ValueError for a property that the API has no member for.
    """
    if isinstance(shape, StructureShape) and isinstance(value, dict):
        members = {name.lower(): name for name in shape.members}
        result = {}
        for name, item in value.items():
            member = members.get(name.lower())
            if member is None:
                raise ValueError(f"extraneous key [{path}{name}] is not permitted")
            result[member] = _from_properties(shape.members[member], item, f"{path}{name}/")
        return result
    if isinstance(shape, ListShape) and isinstance(value, list):
        return [_from_properties(shape.member, item, path) for item in value]
    if isinstance(shape, MapShape):
        return value
    if shape is not None and shape.type_name == "boolean" and isinstance(value, str):
        return value.lower() == "true"
    if shape is not None and shape.type_name == "integer" and isinstance(value, str):
        return int(value)
    return value
