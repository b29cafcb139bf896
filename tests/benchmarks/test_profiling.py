from __future__ import annotations

from collections import Counter

import pytest

from benchmarks.profiling import by_function, by_layer, by_package, package_of, parse

MAIN = "<module> (/srv/server/__main__.py:9)"
CALL = "call (/home/a/site-packages/fastmcp/server.py:3)"
FOLDED = [f"{MAIN};{CALL};loads (/usr/lib/python3.11/json/decoder.py:1) 3", f"{MAIN};{CALL} 1"]


@pytest.mark.parametrize(
    ("frame", "package"),
    [
        ("call (/usr/lib/python3/site-packages/mcp/server/session.py:12)", "mcp"),
        ("__init__ (/usr/lib/python3/site-packages/typing_extensions.py:1)", "typing_extensions"),
        ("serve (/tmp/made/src/server/answers.py:7)", "server (generated)"),
        ("run (/usr/lib/python3.11/asyncio/runners.py:5)", "asyncio"),
        ("loads (/usr/lib/python3.11/json/__init__.py:5)", "Python's library"),
        ("epoll_wait", "interpreter"),
    ],
)
def test_a_frame_belongs_to_the_package_of_its_file(frame: str, package: str) -> None:
    assert package_of(frame, "server") == package


def test_a_thread_that_waits_uses_no_processor() -> None:
    waiting = f"{MAIN};Condition.wait (/usr/lib/python3.11/threading.py:327) 90"
    polling = f"{MAIN};EpollSelector.select (/usr/lib/python3.11/selectors.py:468) 90"
    own = "Task.wait (/home/a/site-packages/fastmcp/tasks.py:1)"
    assert parse([waiting, polling, f"{own} 1"]) == {(own,): 1}


def test_shares_are_of_all_samples_once_a_stack() -> None:
    stacks = parse(FOLDED)
    assert stacks.total() == 4
    rows = {name: (alone, anywhere) for name, alone, anywhere in by_package(stacks, "server").rows}
    assert rows["fastmcp"] == ("25.0%", "100.0%")
    recursive = "f (/x/site-packages/a/b.py:1)", "f (/x/site-packages/a/b.py:2)"
    assert by_function(Counter({recursive: 1}), "server").rows == [("`f` (a)", "100.0%", "100.0%", "`f` (a)")]


def test_a_function_is_shown_with_who_calls_it_most() -> None:
    loads = next(row for row in by_function(parse(FOLDED), "server").rows if row[0].startswith("`loads`"))
    assert loads == ("`loads` (Python's library)", "75.0%", "75.0%", "`call` (fastmcp)")


def test_layers_are_sorted_by_what_goes_on_below_them() -> None:
    assert [row[:2] for row in by_layer(parse(FOLDED), "server").rows][-1] == (
        "`loads` (Python's library)",
        "75.0%",
    )
