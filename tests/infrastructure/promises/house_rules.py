"""What the templates promise of themselves: order, names, wiring, tags."""

import itertools
import re
from typing import Any

from tests.infrastructure.cloudformation import (
    Template,
    Templates,
    resources,
    walk,
)
from tests.infrastructure.promises.registry import differences, promise

SECTIONS = [
    "AWSTemplateFormatVersion",
    "Description",
    "Metadata",
    "Parameters",
    "Rules",
    "Mappings",
    "Conditions",
    "Resources",
    "Outputs",
]


@promise
def sections_come_in_order(templates: Templates) -> list[str]:
    """The order every template keeps, so that a reader knows where to look."""
    return [
        breach
        for stem, template in templates.items()
        for breach in differences(
            stem, list(template), [section for section in SECTIONS if section in template]
        )
    ]


@promise
def conditions_read_as_questions(templates: Templates) -> list[str]:
    """Has… or Is…"""
    return [
        f"{stem} has a condition {name}"
        for stem, template in templates.items()
        for name in template.get("Conditions", {})
        if not re.match(r"(Has|Is)[A-Z]", name)
    ]


PLACES = {
    "a partition": re.compile(r"\barn:aws"),
    "a region": re.compile(r"\b(af|ap|ca|cn|eu|il|me|mx|sa|us)-(gov-)?[a-z]+-\d\b"),
    "an account": re.compile(r"\b\d{12}\b"),
    "a DNS suffix": re.compile(r"(?<!\w)[\w-]+\.amazonaws\.com"),
}
# Names of services, of endpoints and of prefix lists, which are the same in every partition.
NO_PLACE = re.compile(r"^[a-z-]+(\.elasticloadbalancing)?\.amazonaws\.com$|^com\.amazonaws\.")


def _asks_for_the_region(template: Template, path: tuple[str | int, ...]) -> bool:
    """Return whether the path leads to the region of `!Equals [!Ref AWS::Region, <region>]`, asked by name.

    Or to what a given certificate must look like: CloudFront takes those of one region only.
    """
    if path[:2] == ("Parameters", "CertificateArn"):
        return True
    if path[0] not in ("Conditions", "Rules") or path[-2:-1] != ("Fn::Equals",):
        return False
    node: Any = template
    for key in path[:-1]:
        node = node[key]
    return bool(node[0] == {"Ref": "AWS::Region"})


@promise
def vpc_origin_zones_are_named_where_one_is_excluded(templates: Templates) -> list[str]:
    """Where CloudFront leaves a zone out, both zones are chosen by id, so that no account gets that zone."""
    network = templates["network"]
    excluded = {"apne1-az3", "cac1-az3", "use1-az3", "usw1-az2"}
    named = [
        {
            node
            for _, node in walk(subnet.get("AvailabilityZoneId", {}))
            if "-az" in str(node) and isinstance(node, str)
        }
        for name, subnet in resources(network, "AWS::EC2::Subnet").items()
        if name.startswith("Private")
    ]
    # us-west-1 has but two others.
    breaches = differences("regions with named zones", [len(zones) for zones in named], [4, 4, 3])
    breaches += [f"zone {zone} can't hold a VPC origin" for zones in named for zone in zones & excluded]
    return breaches + [
        f"zone {zone} is used twice"
        for one, other in itertools.combinations(named, 2)
        for zone in one & other
    ]


@promise
def nothing_is_tied_to_a_place(templates: Templates) -> list[str]:
    """No partition, region, account or DNS suffix, but in Mappings and where the region is asked for."""
    return [
        f"{stem}: {'.'.join(map(str, path))} names {what}"
        for stem, template in templates.items()
        for section in SECTIONS
        if section not in ("AWSTemplateFormatVersion", "Mappings")
        for path, node in walk(template.get(section, {}), (section,))
        if isinstance(node, str) and not NO_PLACE.match(node) and not _asks_for_the_region(template, path)
        for what, pattern in PLACES.items()
        if pattern.search(node)
    ]


NAMES = re.compile(
    r"^(Alarm|Bucket|Cluster|Dashboard|Function|Group|LoadBalancer|LogGroup|Repository|Role|Service|Topic)Name$|^Family$"
)


@promise
def names_come_from_the_stack(templates: Templates) -> list[str]:
    """CloudFormation makes the names, so that two stacks never collide."""
    return [
        f"{stem}.{name} has a fixed {key}"
        for stem, template in templates.items()
        for name, properties in resources(template, "AWS::*").items()
        for key in properties
        if NAMES.match(key)
        # These name what is there already.
        and template["Resources"][name]["Type"]
        not in (
            "AWS::EC2::FlowLog",
            "AWS::EC2::VPCEndpoint",
            "AWS::Lambda::Permission",
            "AWS::Logs::MetricFilter",
        )
    ]
