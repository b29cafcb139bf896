"""``AWS::BedrockAgentCore::OAuth2CredentialProvider`` for templates: the control API's calls."""

from __future__ import annotations

from typing import Any

from ministack.core.responses import get_account_id, get_region  # type: ignore[import-untyped]

from .control_api import ControlApi
from .errors import ApiError, ResourceNotFoundError
from .gateway_type import failure_text, params_of
from .state import Place

TYPE_NAME = "AWS::BedrockAgentCore::OAuth2CredentialProvider"

Properties = dict[str, Any]
Attributes = dict[str, Any]


class OAuthProviderType:
    """The handlers of the resource type, whose physical id is the provider's ARN."""

    def __init__(self, api: ControlApi) -> None:
        self._api = api

    def create(self, _logical_id: str, props: Properties, _stack_name: str) -> tuple[str, Attributes]:
        """Create the provider. Raises ValueError with the API's message."""
        made = self._call("CreateOauth2CredentialProvider", props)
        return made["credentialProviderArn"], _attributes(made)

    def update(
        self, physical_id: str, old_props: Properties, new_props: Properties, stack_name: str
    ) -> tuple[str, Attributes]:
        """Replace the configuration; another name or vendor is another provider."""
        if any(old_props.get(key) != new_props.get(key) for key in ("Name", "CredentialProviderVendor")):
            return self.create(physical_id, new_props, stack_name)
        untagged = {key: value for key, value in new_props.items() if key != "Tags"}
        return physical_id, _attributes(self._call("UpdateOauth2CredentialProvider", untagged))

    def delete(self, physical_id: str, _props: Properties) -> None:
        """Delete the provider; one that is gone already is no error."""
        try:
            self._raw("DeleteOauth2CredentialProvider", {"name": physical_id.rpartition("/")[2]})
        except ResourceNotFoundError:
            return

    def _call(self, operation: str, props: Properties) -> dict[str, Any]:
        try:
            return self._raw(operation, params_of(operation, props))
        except ApiError as error:
            raise ValueError(failure_text(error)) from error

    def _raw(self, operation: str, params: dict[str, Any]) -> dict[str, Any]:
        return self._api.call(Place(get_account_id(), get_region()), operation, params)


def _attributes(made: dict[str, Any]) -> Attributes:
    return {
        "CredentialProviderArn": made["credentialProviderArn"],
        "ClientSecretArn.SecretArn": made["clientSecretArn"]["secretArn"],
        "ClientSecretSource": made["clientSecretSource"],
        "Status": made["status"],
    }
