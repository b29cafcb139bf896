"""The page and the picture say what the templates say."""

from __future__ import annotations

import copy
import re
from xml.etree import ElementTree

import pytest

from tests.infrastructure.cloudformation import load_templates, resources
from tests.infrastructure.promises.operations import ALARM, COMPOSITE
from tests.operations.definition import dashboard
from tests.operations.pages import PAGE, page, written
from tests.operations.picture import COLUMN, ROW, draw

TEMPLATES = load_templates()
SVG = "{http://www.w3.org/2000/svg}"


def test_they_are_up_to_date() -> None:
    for path, content in written().items():
        assert path.read_text(encoding="utf-8") == content, f"{path.name} isn't: run `make docs`"


def test_every_alarm_has_a_row() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for stem in ("alarms", "rollback-alarms"):
        for name in resources(TEMPLATES[stem], ALARM):
            assert f"\n| `{name}` | " in text, name
    for name in resources(TEMPLATES["alarms"], COMPOSITE):
        assert f"(`{name}`)\n" in text, name


def test_a_changed_alarm_changes_the_page_and_a_new_widget_the_picture() -> None:
    changed = copy.deepcopy(TEMPLATES)
    changed["alarms"]["Resources"]["CpuAlarm"]["Properties"]["Threshold"] = 90
    text = PAGE.read_text(encoding="utf-8")
    assert page(changed, text) != text
    body = changed["dashboard"]["Resources"]["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"]
    body[0] = body[0].replace('"CPU and memory"', '"Memory and CPU"')
    assert draw(changed) != draw(TEMPLATES)


def test_a_page_without_a_place_for_the_alarms_is_refused() -> None:
    with pytest.raises(ValueError, match="no place for the alarms"):
        page(TEMPLATES, "# Operations\n")


def test_the_picture_holds_every_widget() -> None:
    root = ElementTree.fromstring(draw(TEMPLATES))  # noqa: S314 - our own
    texts = {element.text for element in root.iter(f"{SVG}text")}
    widgets = dashboard(TEMPLATES)["widgets"]
    assert {widget["properties"]["title"] for widget in widgets if "title" in widget["properties"]} <= texts
    assert len(root.findall(f"{SVG}g")) == len(widgets)


def test_nothing_is_drawn_past_the_edge_of_its_widget() -> None:
    groups = ElementTree.fromstring(draw(TEMPLATES)).findall(f"{SVG}g")  # noqa: S314 - our own
    for group, widget in zip(groups, dashboard(TEMPLATES)["widgets"], strict=True):
        for element in group.iter(f"{SVG}text"):
            # Letters of this size are some six pixels wide.
            end = float(element.attrib["x"]) + 5.6 * len(element.text or "")
            assert end <= widget["width"] * COLUMN, element.text
            assert float(element.attrib["y"]) <= widget["height"] * ROW - 10, element.text


def test_widgets_fill_rows_and_do_not_overlap() -> None:
    cells = [
        (x, y)
        for widget in dashboard(TEMPLATES)["widgets"]
        for x in range(widget["x"], widget["x"] + widget["width"])
        for y in range(widget["y"], widget["y"] + widget["height"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len(cells) == 24 * (max(y for _, y in cells) + 1)


def test_alarms_name_queries_that_are_saved() -> None:
    saved = set(re.findall(r"\n\*\*(.+)\*\*\n", PAGE.read_text(encoding="utf-8")))
    for stem in ("alarms", "rollback-alarms"):
        for name, alarm in resources(TEMPLATES[stem], ALARM).items():
            named = set(re.findall(r"'([A-Z][^']+)'", alarm["AlarmDescription"]["Fn::Sub"]))
            assert named <= saved, name
