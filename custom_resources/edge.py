"""Where CloudFront keeps what belongs to a distribution: one region of the partition, whatever the stack's.

The web ACL, the certificate and the log delivery of a distribution exist in US East (N. Virginia) only:
https://docs.aws.amazon.com/waf/latest/developerguide/how-aws-waf-works-resources.html,
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/cnames-and-https-requirements.html,
https://docs.aws.amazon.com/AmazonCloudFront/latest/DeveloperGuide/standard-logging.html.
"""

from __future__ import annotations

from dataclasses import dataclass

from custom_resources.errors import ResourceError

# CloudFront of the China partition is another product, without web ACLs; GovCloud has none of its own.
_EDGE_REGIONS = {"aws": "us-east-1"}


@dataclass(frozen=True)
class Place:
    """Partition, region and account of a stack, read from its ARN."""

    partition: str
    region: str
    account: str

    @classmethod
    def of_stack(cls, stack_id: str) -> Place:
        """Return the place in `arn:<partition>:cloudformation:<region>:<account>:stack/…`."""
        parts = stack_id.split(":")
        if len(parts) < 6 or parts[0] != "arn":
            raise ResourceError(f"{stack_id!r} isn't the ARN of a stack")
        return cls(partition=parts[1], region=parts[3], account=parts[4])

    @property
    def has_edge(self) -> bool:
        """Whether this partition has the CloudFront that these resources are for."""
        return self.partition in _EDGE_REGIONS

    @property
    def edge_region(self) -> str:
        """The region that holds what belongs to a distribution; raises ResourceError where there is none."""
        if not self.has_edge:
            raise ResourceError(
                f"Partition {self.partition} has no CloudFront with web ACLs and ACM certificates; "
                f"known are {', '.join(_EDGE_REGIONS)}"
            )
        return _EDGE_REGIONS[self.partition]
