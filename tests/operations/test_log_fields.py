"""Metric filters and queries name fields that the server writes, and select the lines they are meant for."""

from __future__ import annotations

import re

import pytest

from tests.infrastructure.cloudformation import load_templates, resources
from tests.operations.definition import queries
from tests.operations.insights import Line, pattern, selected, unknown_fields

TEMPLATES = load_templates()
FILTERS = resources(TEMPLATES["alarms"], "AWS::Logs::MetricFilter")
QUERIES = queries(TEMPLATES)

# Every way a line comes to be counted, by the metric.
EXPECTED = {
    "ToolCalls": {("tool.succeeded", "info"), ("tool.failed", "warning"), ("tool.failed", "error")},
    "ToolDuration": {("tool.succeeded", "info"), ("tool.failed", "warning"), ("tool.failed", "error")},
    "ToolFailures": {("tool.failed", "warning"), ("tool.failed", "error")},
    "ToolErrors": {("tool.failed", "error")},
    "RefusedCalls": {("request.failed", "warning")},
    "Crashes": {("crashed", "critical"), ("Ended by force: a tool did not stop", "critical")},
}


def fields(lines: list[Line]) -> set[str]:
    return {name for line in lines for name in line}


def kinds(lines: list[Line]) -> set[tuple[str, str]]:
    return {(line["event"], line["level"]) for line in lines}


@pytest.mark.parametrize("name", FILTERS)
def test_a_metric_counts_the_lines_it_is_meant_for(lines: list[Line], name: str) -> None:
    condition, named = pattern(FILTERS[name]["FilterPattern"])
    (transformation,) = FILTERS[name]["MetricTransformations"]
    counted = [line for line in lines if condition(line)]
    assert named <= fields(lines)
    assert kinds(counted) == EXPECTED[transformation["MetricName"]]
    value = transformation["MetricValue"]
    if value.startswith("$."):
        assert all(isinstance(line[value.removeprefix("$.")], float) for line in counted)
    else:
        assert value == "1"


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_finds_lines_and_fields_that_are_in_them(lines: list[Line], name: str) -> None:
    trace_id = next(line["trace_id"] for line in lines if line["trace_id"])
    query = QUERIES[name].replace("put the trace id here", trace_id)
    found = selected(query, lines)
    assert found
    assert unknown_fields(query, fields(found)) == []


def test_the_query_over_slow_tools_is_the_one_everybody_knows() -> None:
    text = re.sub(r"\s+", " ", QUERIES["Slow tools"])
    assert text == (
        "fields @timestamp, tool, duration_ms | filter ispresent(tool) | stats avg(duration_ms) as avg_ms, "
        "pct(duration_ms, 99) as p99_ms by tool | sort p99_ms desc"
    )


def test_refused_calls_are_those_without_and_with_a_bad_token(lines: list[Line]) -> None:
    found = {line["event"] for line in selected(QUERIES["Refused calls"], lines)}
    assert found == {"request.failed", "bearer token refused"}


@pytest.mark.parametrize(
    ("query", "unknown"),
    [
        ("filter ispresent(tol)", ["tol"]),
        ("fields @timestamp, duration | sort duration desc", ["duration", "duration"]),
        ("stats count(*) as calls by tool | sort call desc", ["call"]),
        ("stats avg(duration_ms) as mean by tool | fields event", ["event"]),
        ("SOURCE 'group' | filter event = 'a|b' and (level in ['x', 'y'] or status >= 400) | limit 5", []),
    ],
)
def test_what_nobody_writes_is_noticed(query: str, unknown: list[str]) -> None:
    known = {"tool", "duration_ms", "event", "level", "status"}
    assert unknown_fields(query, known) == unknown


@pytest.mark.parametrize(
    "query", ["filter tool ~ 'x'", "filter tool =", "display tool", "stats median(tool)"]
)
def test_what_cannot_be_read_is_refused(query: str) -> None:
    with pytest.raises(ValueError, match=r"known here|can't be read|expected"):
        unknown_fields(query, {"tool"})


def test_a_pattern_reads_as_cloudwatch_reads_it() -> None:
    condition, named = pattern('{ ($.event = "a") && (($.status = 401) || ($.status = 403)) }')
    assert named == {"event", "status"}
    given: list[Line] = [
        {"event": "a", "status": 403},
        {"event": "b", "status": 401},
        {"event": "a", "status": 200},
    ]
    assert [condition(line) for line in [*given, {"event": "a"}]] == [True, False, False, False]
