"""The templates' alarms, dashboard and queries as data, with readable stand-ins for what differs."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from tests.infrastructure.cloudformation import Template, Templates, resources

REGION, EDGE_REGION = "eu-central-1", "us-east-1"
_PSEUDO = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::StackName": "knowledge-prod-Dashboard-1A2B3C",
    "AWS::URLSuffix": "amazonaws.com",
}
# Parameters that are lists; what splits one gets the name of the whole.
_LISTS = frozenset({"PagingAlarmArns", "AlarmArns", "RollbackAlarmArns"})


def text(node: Any, template: Template, conditions: dict[str, bool] | None = None) -> str:
    """Return what a node becomes; a parameter or a resource that it refers to stands in it as `<Name>`.

    A condition that isn't given holds. Raises KeyError at a function that the templates don't use here.
    """
    holds = conditions or {}

    def value(node: Any, local: dict[str, Any]) -> Any:
        if not isinstance(node, dict):
            return node
        ((function, argument),) = node.items()
        if function == "Ref":
            return _PSEUDO.get(argument, f"<{argument}>")
        if function == "Fn::GetAtt":
            parts = argument.split(".") if isinstance(argument, str) else argument
            return f"<{parts[0]}>"
        if function == "Fn::Sub":
            template_text, names = argument if isinstance(argument, list) else (argument, {})
            found = {name: value(item, local) for name, item in names.items()}
            return re.sub(
                r"\$\{([\w:.]+)\}",
                lambda match: str(found.get(match[1]) or ("" if match[1] in found else _stand_in(match[1]))),
                template_text,
            )
        if function == "Fn::If":
            condition, then, otherwise = argument
            return value(then if holds.get(condition, True) else otherwise, local)
        if function == "Fn::Join":
            return argument[0].join(str(value(item, local)) for item in _list(argument[1], local))
        if function == "Fn::Select":
            return _list(argument[1], local)[int(argument[0])]
        if function == "Fn::FindInMap":
            name, *_, attribute = argument
            return template["Mappings"][name]["aws"][attribute]
        raise KeyError(function)

    def _list(node: Any, local: dict[str, Any]) -> list[Any]:
        if isinstance(node, list):
            return [value(item, local) for item in node]
        separator, source = node["Fn::Split"]
        if isinstance(source, dict) and source.get("Ref") in _LISTS:
            return [f"<{source['Ref']}>"]
        return str(value(source, local)).split(separator)

    return str(value(node, {}))


def _stand_in(name: str) -> str:
    return _PSEUDO.get(name, f"<{name.removesuffix('.Arn')}>")


def dashboard(templates: Templates, two_groups: bool = True) -> dict[str, Any]:
    """Return the body of the dashboard, with one target group or two."""
    template = templates["dashboard"]
    (properties,) = resources(template, "AWS::CloudWatch::Dashboard").values()
    body = text(properties["DashboardBody"], template, {"HasGreenTargetGroup": two_groups})
    found: dict[str, Any] = json.loads(body)
    return found


def queries(templates: Templates) -> dict[str, str]:
    """Return `{name: query}` of the dashboard's log widgets and the saved queries, folders left out."""
    template = templates["dashboard"]
    found = {
        f"widget {widget['properties']['title']}": widget["properties"]["query"]
        for widget in dashboard(templates)["widgets"]
        if widget["type"] == "log"
    }
    for query in resources(template, "AWS::Logs::QueryDefinition").values():
        found[text(query["Name"], template).partition("/")[2]] = query["QueryString"]
    return found


@dataclass(frozen=True)
class Metric:
    """A metric somebody looks at.

    Attributes:
        where: the alarm or the widget.
        namespace: its namespace; `<LogMetricsNamespace>` is that of the log lines.
        name: its name.
        dimensions: their values by name; None where a search or a query finds all there are.
        region: where it is looked for.

    """

    where: str
    namespace: str
    name: str
    dimensions: dict[str, str] | None
    region: str


OWN_NAMESPACE = "<LogMetricsNamespace>"
_SEARCH = re.compile(
    r"""Namespace="(?P<namespace>[^"]+)" MetricName="(?P<name>\w+)" (?P<label>\w+)="[^"]+\""""
)
_SELECT = re.compile(
    r"""SELECT \w+\((?P<name>\w+)\) FROM "(?P<namespace>[^"]+)"\s+WHERE (?P<label>\w+) = '[^']+'"""
)


def of_dashboard(templates: Templates, two_groups: bool = True) -> list[Metric]:
    """Return the metrics of every widget, the shorthands `.` and `...` written out."""
    found = []
    for widget in dashboard(templates, two_groups)["widgets"]:
        properties = widget["properties"]
        previous: list[str] = []
        for entry in properties.get("metrics", []):
            words = [item for item in entry if isinstance(item, str)]
            options = next((item for item in entry if isinstance(item, dict)), {})
            title, region = properties["title"], properties["region"]
            if "expression" in options:
                found.append(_by_expression(title, options["expression"], _SEARCH, region))
                continue
            if words == ["..."]:
                words = previous
            words = [previous[index] if word == "." else word for index, word in enumerate(words)]
            previous = words
            dimensions = dict(zip(words[2::2], words[3::2], strict=True))
            found.append(Metric(title, words[0], words[1], dimensions, region))
    return found


def of_alarms(templates: Templates) -> list[Metric]:
    """Return the metrics of every alarm."""
    found = []
    for stem in ("alarms", "rollback-alarms"):
        template = templates[stem]
        own = text(template["Outputs"].get("LogMetricsNamespace", {}).get("Value", ""), template)
        for name, alarm in resources(template, "AWS::CloudWatch::Alarm").items():
            for item in alarm.get("Metrics", []):
                expression = text(item["Expression"], template)
                found.append(_by_expression(name, expression, _SELECT, REGION))
            if "MetricName" not in alarm:
                continue
            namespace = text(alarm["Namespace"], template)
            dimensions = {item["Name"]: text(item["Value"], template) for item in alarm.get("Dimensions", [])}
            region = EDGE_REGION if template["Resources"][name].get("Condition") == "IsEdgeRegion" else REGION
            namespace = OWN_NAMESPACE if namespace == own else namespace
            found.append(Metric(name, namespace, alarm["MetricName"], dimensions, region))
    return found


def _by_expression(where: str, expression: str, form: re.Pattern[str], region: str) -> Metric:
    match = form.search(expression)
    if match is None:
        raise ValueError(f"{where}: {expression} has another form than is read here")
    return Metric(where, match["namespace"], match["name"], None, region)
