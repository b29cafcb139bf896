"""The page about alarms and the picture of the dashboard, from the templates: `make docs` writes them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.infrastructure.cloudformation import ROOT, Template, Templates, load_templates, resources, walk
from tests.infrastructure.promises.operations import ADVICE, ALARM, COMPOSITE
from tests.operations.definition import queries, text
from tests.operations.picture import draw
from tests.operations.published import PUBLISHED

PAGE, PICTURE = ROOT / "docs" / "operations.md", ROOT / "docs" / "dashboard.svg"
SIGNS = {
    "GreaterThanOrEqualToThreshold": "≥",
    "GreaterThanThreshold": ">",
    "LessThanThreshold": "<",
}


def page(templates: Templates, written: str) -> str:
    """Return the page with its generated parts, between `<!-- name -->` and `<!-- end -->`, renewed."""
    parts = {
        "alarms": _alarms(templates),
        "rollback alarms": _table(templates["rollback-alarms"], [*_of(templates["rollback-alarms"], ALARM)]),
        "queries": _queries(templates),
        "metrics": _metrics(),
    }
    for name, lines in parts.items():
        marked = re.compile(rf"(?s)(<!-- {name}: [^>]*-->\n).*?(<!-- end -->)")
        if not marked.search(written):
            raise ValueError(f"{PAGE.name} has no place for the {name}")
        content = "\n".join(lines)
        written = marked.sub(lambda match, content=content: f"{match[1]}\n{content}\n\n{match[2]}", written)  # type: ignore[misc]
    return written


def _of(template: Template, kind: str) -> list[str]:
    return [*resources(template, kind)]


def _alarms(templates: Templates) -> Iterator[str]:
    template = templates["alarms"]
    for index, (name, alarm) in enumerate(resources(template, COMPOSITE).items()):
        told = _advice(alarm["AlarmDescription"])
        rule = " ".join(value for _, value in walk(alarm["AlarmRule"]) if isinstance(value, str))
        named = re.findall(r"ALARM\(\"\$\{(\w+)\}\"\)", rule)
        yield from [] if index == 0 else [""]
        yield f"### {_title(name)}"
        yield ""
        yield f"{told['wrong']} {told['look']} {told['do']}"
        yield ""
        pairs = re.findall(r"ALARM\(\"\$\{(\w+)\}\"\) AND ALARM\(\"\$\{(\w+)\}\"\)", rule)
        for one, other in pairs:
            yield f"`{one}` counts only while `{other}` is on too."
            yield ""
        # One that is in several rules is told of where it stands alone.
        yield from _table(template, [item for item in named if item not in [other for _, other in pairs]])


def _title(name: str) -> str:
    words = re.sub(r"(?<!^)(?=[A-Z])", " ", name.removesuffix("Alarm")).lower()
    return f"{words.capitalize()} (`{name}`)"


def _table(template: Template, names: list[str]) -> Iterator[str]:
    yield "| alarm | comes when | what is wrong | look at | do |"
    yield "|---|---|---|---|---|"
    for name in names:
        alarm = template["Resources"][name]["Properties"]
        told = _advice(alarm["AlarmDescription"])
        look = told["look"].removeprefix("Look at ")
        do = told["do"].removeprefix("Do: ")
        cells = [f"`{name}`", _trigger(template, name), told["wrong"], look, do]
        yield "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def _advice(description: dict[str, str]) -> dict[str, str]:
    match = ADVICE.fullmatch(description["Fn::Sub"])
    if match is None:
        raise ValueError(f"{description} isn't made of three parts")
    return {name: _for_readers(part) for name, part in match.groupdict().items()}


def _for_readers(words: str) -> str:
    words = re.sub(r"^\$\{ProjectName\} \(\$\{Stage\}\)", "The server", words)
    words = words.replace("${ProjectName} (${Stage})", "the server")
    # Within a command brackets need no escape.
    parts = words.split("`")
    for index, part in enumerate(parts):
        parts[index] = re.sub(r"\$\{(\w+)\}", r"<\1>" if index % 2 else r"&lt;\1&gt;", part)
    return "`".join(parts)


def _trigger(template: Template, name: str) -> str:
    resource = template["Resources"][name]
    alarm = resource["Properties"]
    if "Metrics" in alarm:
        (query,) = alarm["Metrics"]
        match = re.match(r"SELECT (\w+)\((\w+)\)", text(query["Expression"], template))
        statistic, metric, period = (*(match.groups() if match else ("", "")), query["Period"])
    else:
        statistic = alarm.get("Statistic") or alarm["ExtendedStatistic"]
        metric, period = alarm["MetricName"], alarm["Period"]
    limit = text(alarm["Threshold"], template).replace("<", "").replace(">", "")
    times = alarm["EvaluationPeriods"]
    sign = SIGNS[alarm["ComparisonOperator"]]
    where = {
        "IsEdgeRegion": "; in us-east-1 only",
        "HasGreenTargetGroup": "; with two target groups",
        "HasSigningKeys": "; with `Egress` endpoints",
        None: "",
    }[resource.get("Condition")]
    missing = "; no data too" if alarm["TreatMissingData"] == "breaching" else ""
    each = "" if times == 1 else f", {times} times in a row"
    return f"`{metric}` {statistic.lower()} {sign} {limit} in {period // 60} min{each}{missing}{where}"


def _queries(templates: Templates) -> Iterator[str]:
    first = True
    for name, query in queries(templates).items():
        if name.startswith("widget "):
            continue
        yield from [] if first else [""]
        first = False
        yield f"**{name}**"
        yield ""
        yield "```"
        yield query
        yield "```"


def _metrics() -> Iterator[str]:
    yield "| namespace | metrics | source |"
    yield "|---|---|---|"
    for name, namespace in PUBLISHED.items():
        metrics = ", ".join(f"`{metric}`" for metric in namespace.metrics)
        yield f"| `{name}` | {metrics} | [AWS]({namespace.source}) |"


def written() -> dict[Path, str]:
    """Return what belongs into each file."""
    templates: Any = load_templates()
    return {PAGE: page(templates, PAGE.read_text(encoding="utf-8")), PICTURE: draw(templates)}


if __name__ == "__main__":
    for path, content in written().items():
        path.write_text(content, encoding="utf-8")
