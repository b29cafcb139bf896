"""The dashboard's definition as a drawing: each widget in its place, what it shows, no made-up data."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from html import escape
from typing import Any

from tests.infrastructure.cloudformation import Templates, resources
from tests.operations.definition import dashboard
from tests.operations.insights import commands

COLUMN, ROW, MARGIN = 50, 30, 4
LINE = 16
# CloudWatch's own colours, in its order, for metrics without one.
PALETTE = ("#1f77b4", "#ff7f0e", "#2ca02c", "#d62728", "#9467bd")
STYLE = (
    "text { font: 12px sans-serif; fill: #16191f } .title { font-weight: bold; font-size: 13px } "
    ".small { font-size: 11px; fill: #545b64 } rect.widget { fill: #fff; stroke: #aab7b8 }"
)


def draw(templates: Templates) -> str:
    """Return the drawing as SVG; the same templates give the same bytes."""
    widgets = dashboard(templates)["widgets"]
    width = 24 * COLUMN
    height = max(widget["y"] + widget["height"] for widget in widgets) * ROW
    shapes = "\n".join(_widget(widget, templates) for widget in widgets)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" '
        f'height="{height}">\n<style>{STYLE}</style>\n'
        f'<rect width="{width}" height="{height}" fill="#f2f3f3"/>\n{shapes}\n</svg>\n'
    )


def _widget(widget: dict[str, Any], templates: Templates) -> str:
    x, y = widget["x"] * COLUMN + MARGIN, widget["y"] * ROW + MARGIN
    width, height = widget["width"] * COLUMN - 2 * MARGIN, widget["height"] * ROW - 2 * MARGIN
    properties = widget["properties"]
    lines = [f'<rect class="widget" x="0.5" y="0.5" width="{width - 1}" height="{height - 1}" rx="3"/>']
    if "title" in properties:
        lines.append(_text(10, 20, properties["title"], "title"))
    drawn = {"text": _markdown, "metric": _metrics, "log": _table}.get(widget["type"])
    content = drawn(properties, width) if drawn else _alarms(properties, width, templates)
    return f'<g transform="translate({x} {y})">\n' + "\n".join([*lines, *content]) + "\n</g>"


def _text(x: int, y: int, words: str, kind: str = "") -> str:
    name = f' class="{kind}"' if kind else ""
    return f'<text x="{x}" y="{y}"{name}>{escape(words)}</text>'


def _markdown(properties: dict[str, Any], width: int) -> Iterator[str]:
    y = 22
    for paragraph in properties["markdown"].replace("**", "").split("\n"):
        if not paragraph:
            continue
        kind = "title" if paragraph.startswith("# ") else "small"
        for line in textwrap.wrap(paragraph.removeprefix("# "), width // 6):
            yield _text(10, y, line, kind)
            y += LINE - 2
        y += 3


def _metrics(properties: dict[str, Any], width: int) -> Iterator[str]:
    axis = properties.get("yAxis", {})
    units = [f"{side}: {axis[side]['label']}" for side in axis if "label" in axis[side]]
    yield f'<path d="M 30 35 V 105 H {width - 30}" fill="none" stroke="#aab7b8"/>'
    if units:
        yield _text(36, 48, ", ".join(units), "small")
    for mark in properties.get("annotations", {}).get("horizontal", []):
        yield f'<path d="M 30 58 H {width - 30}" fill="none" stroke="#7f7f7f" stroke-dasharray="4 3"/>'
        yield _text(36, 72, f"{mark['label']} {mark['value']}", "small")
    for index, entry in enumerate(properties["metrics"]):
        options = next((item for item in entry if isinstance(item, dict)), {})
        colour = options.get("color", PALETTE[index % len(PALETTE)])
        x, y = 12 + index % 2 * (width // 2), 125 + index // 2 * LINE
        yield f'<rect x="{x}" y="{y - 8}" width="10" height="8" fill="{colour}"/>'
        side = " (right axis)" if options.get("yAxis") == "right" else ""
        yield _text(x + 15, y, options["label"] + side, "small")


def _table(properties: dict[str, Any], width: int) -> Iterator[str]:
    columns = _columns(properties["query"])
    yield f'<rect x="8" y="32" width="{width - 16}" height="22" fill="#eaeded"/>'
    for index, column in enumerate(columns):
        yield _text(14 + index * (width - 28) // len(columns), 47, column, "small")
    for y in range(76, 180, 22):
        yield f'<path d="M 8 {y} H {width - 8}" stroke="#eaeded"/>'


def _columns(query: str) -> list[str]:
    for name, rest in commands(query):
        if name == "fields":
            return [column.strip() for column in rest.split(",")]
        if name == "stats":
            made, _, groups = rest.rpartition(" by ")
            names = [part.split()[0].strip(",") for part in made.split(" as ")[1:]]
            return [group.strip() for group in groups.split(",")] + names
    raise ValueError(f"{query!r} shows no columns")


def _alarms(properties: dict[str, Any], width: int, templates: Templates) -> Iterator[str]:
    known = {
        "<PagingAlarmArns>": [*resources(templates["alarms"], "AWS::CloudWatch::CompositeAlarm")],
        "<AlarmArns>": [*resources(templates["alarms"], "AWS::CloudWatch::Alarm")],
        "<RollbackAlarmArns>": [
            f"{name} (rollback)" for name in resources(templates["rollback-alarms"], "AWS::CloudWatch::Alarm")
        ],
    }
    names = [name for entry in properties["alarms"] for name in known[entry]]
    columns = 1 if len(names) < 8 else 2
    rows = -(-len(names) // columns)
    step = min(LINE + 8, 140 // rows)
    for index, name in enumerate(names):
        x, y = 12 + index // rows * (width // columns), 40 + index % rows * step
        yield f'<rect x="{x}" y="{y - 8}" width="8" height="8" fill="#2ca02c"/>'
        yield _text(x + 13, y, name.replace("Alarm", ""), "small")
