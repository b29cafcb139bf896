"""Alarms and dashboard look at metrics that are published, of things that are in the templates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.infrastructure.cloudformation import Templates, get_att, load_templates, resources, walk
from tests.operations.definition import (
    EDGE_REGION,
    OWN_NAMESPACE,
    REGION,
    Metric,
    of_alarms,
    of_dashboard,
)
from tests.operations.published import CONSTANT, DIMENSIONS, PUBLISHED

TEMPLATES = load_templates()
METRICS = [*of_alarms(TEMPLATES), *of_dashboard(TEMPLATES)]


def problems(metric: Metric, templates: Templates) -> list[str]:
    """Return why a metric shows nothing."""
    if metric.namespace == OWN_NAMESPACE:
        made = {
            transformation["MetricName"]
            for log_filter in resources(templates["alarms"], "AWS::Logs::MetricFilter").values()
            for transformation in log_filter["MetricTransformations"]
        }
        return [] if metric.name in made and not metric.dimensions else [f"no filter makes {metric.name}"]
    namespace = PUBLISHED.get(metric.namespace)
    if namespace is None or metric.name not in namespace.metrics:
        return [f"nobody publishes {metric.namespace} {metric.name}"]
    region = EDGE_REGION if metric.namespace == "AWS/CloudFront" else REGION
    found = [] if metric.region == region else [f"it is in {region}, not in {metric.region}"]
    if metric.dimensions is None:
        return found
    if frozenset(metric.dimensions) not in namespace.metrics[metric.name]:
        found.append(f"{metric.name} isn't published by {sorted(metric.dimensions)}")
    return found


def sources(templates: Templates, stem: str, name: str) -> set[tuple[str, str]]:
    """Return the (resource type, attribute) pairs that a name in a child's template can stand for.

    The name is a resource of it, or a parameter, which the root gives it from another child's output.
    """
    template = templates[stem]
    if name in template["Resources"]:
        return {(template["Resources"][name]["Type"], "")}
    root = templates["main"]
    (child,) = (
        resource["Properties"]
        for resource in root["Resources"].values()
        if resource["Properties"]["TemplateURL"]["Fn::Sub"].endswith(f"/{stem}.yaml")
    )
    return _given(templates, child["Parameters"].get(name, ""))


def _given(templates: Templates, value: Any) -> set[tuple[str, str]]:
    root, found = templates["main"], set[tuple[str, str]]()
    for _, node in walk(value):
        target = get_att(node)
        if target is None:
            continue
        logical_id, _, output = target.partition(".Outputs.")
        url = root["Resources"][logical_id]["Properties"]["TemplateURL"]["Fn::Sub"]
        template = templates[url.rpartition("/")[2].removesuffix(".yaml")]
        for _, inner in walk(template["Outputs"][output]["Value"]):
            if attribute := get_att(inner):
                resource, _, name = attribute.partition(".")
                found.add((template["Resources"][resource]["Type"], name))
            elif isinstance(inner, dict) and inner.get("Ref") in template["Resources"]:
                found.add((template["Resources"][inner["Ref"]]["Type"], "Ref"))
    return found


@pytest.mark.parametrize("metric", METRICS, ids=[f"{metric.where}:{metric.name}" for metric in METRICS])
def test_it_is_published(metric: Metric) -> None:
    assert problems(metric, TEMPLATES) == []


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "AWS/ALB"},
        {"name": "TargetLatency"},
        {"dimensions": {"TargetGroup": "<BlueTargetGroupFullName>"}},
        {"region": EDGE_REGION},
        {"namespace": OWN_NAMESPACE},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_published_is_noticed(change: dict[str, Any]) -> None:
    metric = next(metric for metric in METRICS if metric.name == "TargetResponseTime")
    assert problems(replace(metric, **change), TEMPLATES) != []


@pytest.mark.parametrize("stem", ["alarms", "rollback-alarms", "dashboard"])
def test_dimensions_are_of_things_that_are_there(stem: str) -> None:
    metrics = (
        of_dashboard(TEMPLATES)
        if stem == "dashboard"
        else [metric for metric in of_alarms(TEMPLATES) if metric.where in TEMPLATES[stem]["Resources"]]
    )
    pairs = {pair for metric in metrics for pair in (metric.dimensions or {}).items()} - CONSTANT
    assert pairs
    for dimension, value in pairs:
        kind, attribute = DIMENSIONS[dimension]
        found = sources(TEMPLATES, stem, value.strip("<>"))
        # A second target group may not be there yet.
        if not found and value == "<GreenTargetGroupFullName>":
            continue
        assert {found_kind for found_kind, _ in found} == {kind}, (dimension, value)
        assert {name for _, name in found} <= {attribute, ""}, (dimension, value)


def test_one_target_group_is_shown_as_well_as_two() -> None:
    one, two = of_dashboard(TEMPLATES, two_groups=False), of_dashboard(TEMPLATES)
    assert [metric for metric in two if metric in one] == one
    more = [metric.name for metric in two if metric not in one]
    assert more == ["HealthyHostCount", "UnHealthyHostCount"]


def test_every_table_row_is_looked_at() -> None:
    looked_at = {(metric.namespace, metric.name) for metric in METRICS}
    rows = {(namespace, name) for namespace, entry in PUBLISHED.items() for name in entry.metrics}
    assert rows <= looked_at
