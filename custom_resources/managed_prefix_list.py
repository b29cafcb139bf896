"""`Custom::ManagedPrefixList`: the id that a prefix list of AWS's own has in this region.

A security group rule names a prefix list by id; CloudFormation has no way to look one up by name.
"""

import logging
from dataclasses import dataclass

from custom_resources.errors import ResourceError
from custom_resources.lifecycle import Attributes, Request, Resource, lambda_handler_for
from custom_resources.properties import Raw, Update, required_text, text

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class ManagedPrefixListProperties:
    """Properties of `Custom::ManagedPrefixList`."""

    prefix_list_name: str = text(
        r"com\.amazonaws\.[a-z0-9.\-]{1,200}",
        "the name of a prefix list managed by AWS",
        description="Name of the list.",
        update=Update.REPLACEMENT,
    )


class ManagedPrefixList(Resource[ManagedPrefixListProperties]):
    """Finds the id that one of AWS's own prefix lists has in the stack's region.

    A security group rule needs the id, and CloudFormation can't look it up by name.
    """

    model = ManagedPrefixListProperties
    attributes = {"PrefixListId": "Id of the list, `pl-…`."}  # noqa: RUF012 - ClassVar in the base
    failures = {  # noqa: RUF012
        "AWS has no managed prefix list …": (
            "check the name, and that the service has such a list in this region"
        )
    }

    @staticmethod
    def identify(raw: Raw) -> str:
        """Return `managed-prefix-list|<name>`."""
        return f"managed-prefix-list|{required_text(raw, 'PrefixListName')}"

    def create(self, request: Request, properties: ManagedPrefixListProperties) -> Attributes:  # noqa: ARG002
        """Look the list up."""
        name = properties.prefix_list_name
        self.runtime.doing(f"looking up prefix list {name}")
        found = self.runtime.call(
            lambda: self.runtime.clients.ec2().describe_managed_prefix_lists(
                Filters=[
                    {"Name": "prefix-list-name", "Values": [name]},
                    {"Name": "owner-id", "Values": ["AWS"]},
                ]
            )
        )["PrefixLists"]
        if not found:
            raise ResourceError(f"AWS has no managed prefix list {name} in this region; check PrefixListName")
        return {"PrefixListId": found[0]["PrefixListId"]}

    def update(
        self,
        request: Request,
        properties: ManagedPrefixListProperties,
        previous: ManagedPrefixListProperties | None,  # noqa: ARG002
    ) -> Attributes:
        """Look again."""
        return self.create(request, properties)

    def delete(self, request: Request, properties: ManagedPrefixListProperties | None) -> None:  # noqa: ARG002
        """Leave AWS's list alone."""
        logger.info("%s is AWS's own", request.physical_resource_id)


handler = lambda_handler_for(ManagedPrefixList)
