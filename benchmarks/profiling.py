"""Where a server's processor time goes under load: self and inclusive shares by package, seen by py-spy."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

from . import wrk
from .context import Context, Table
from .parts.calls import CONNECTIONS, DEFAULTS, LOW_LEVEL, generated, python
from .processes import running, wait_for
from .report import markdown
from .throughput import Variant, prepare
from .wire import Wire

SECONDS = 10
RATE = 400
TARGETS = ("generated", "defaults", "lowlevel")
# A frame as py-spy writes it; time in compiled code counts for the Python function that called it.
FRAME = re.compile(r"(?P<function>.*) \((?P<file>[^()]*?)(:\d+)?\)$")
# Threads that wait for a lock, and an event loop that waits for a socket, use no processor.
IDLE = re.compile(r"(\w+\.)*(wait|select) \(.*/(threading|selectors)\.py(:\d+)?\)$")
SHOWN_FUNCTIONS = 25
LEAST_SHARE = 0.005
LEAST_LAYER = 0.03


class ProfileError(Exception):
    """py-spy isn't there or failed."""


def profile(context: Context, target: str) -> str:
    """Load a server on both wires, sample its stacks, and return tables of Markdown."""
    variant = {
        "generated": generated(context.project),
        "defaults": Variant(DEFAULTS, python("fastmcp_defaults.py"), "/health", in_sessions=True),
        "lowlevel": Variant(LOW_LEVEL, python("lowlevel.py")),
    }[target]
    texts = []
    seconds = 2 if context.quick else SECONDS
    for wire in Wire:
        context.say(f"profiling {variant.name}, {wire}")
        stacks = _stacks(context, variant, wire, seconds)
        own = context.project.package
        texts.append(f"### {variant.name}, {wire} clients, {CONNECTIONS} connections")
        texts.append(markdown(by_package(stacks, own)))
        texts.append(markdown(by_function(stacks, own)))
        texts.append(markdown(by_layer(stacks, own)))
    return "\n\n".join(texts)


def _stacks(context: Context, variant: Variant, wire: Wire, seconds: int) -> Counter[tuple[str, ...]]:
    spy = Path(sys.executable).with_name("py-spy")
    if not spy.exists():
        raise ProfileError("py-spy isn't installed: make .venv/ready")
    folded = context.directory / "stacks.txt"
    with running(variant.command, context.directory) as server:
        wait_for(server, variant.health)
        call = prepare(variant, server, wire, CONNECTIONS)
        load = {"connections": CONNECTIONS, "directory": context.directory}
        wrk.load(server.port, call, seconds=1, **load)  # type: ignore[arg-type]
        # The process is stopped for each sample: else two stacks of three are read halfway on Python 3.13.
        record = ["record", "--full-filenames", "--format", "raw", "--rate", str(RATE)]
        spying = subprocess.Popen(
            [
                str(spy),
                *record,
                "--duration",
                str(seconds),
                "--pid",
                str(server.process.pid),
                "--output",
                str(folded),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        wrk.load(server.port, call, seconds=seconds + 1, **load)  # type: ignore[arg-type]
        output, _ = spying.communicate(timeout=60)
        if spying.returncode:
            raise ProfileError(f"py-spy ended with status {spying.returncode}:\n{output}")
    return parse(folded.read_text().splitlines())


def parse(lines: Iterable[str]) -> Counter[tuple[str, ...]]:
    """Read folded stacks, `outermost;…;innermost count` a line, without those that only wait."""
    found: Counter[tuple[str, ...]] = Counter()
    for line in lines:
        stack, _, count = line.rpartition(" ")
        frames = tuple(stack.split(";"))
        if not IDLE.match(frames[-1]):
            found[frames] += int(count)
    return found


def package_of(frame: str, own: str) -> str:
    """Return the package a frame's file belongs to; `own` names the generated one."""
    match = FRAME.match(frame)
    if match is None:
        return "interpreter"
    parts = match["file"].split("/")
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1].removesuffix(".py")
    if own in parts:
        return f"{own} (generated)"
    return "asyncio" if "asyncio" in parts else "Python's library"


def by_package(stacks: Counter[tuple[str, ...]], own: str) -> Table:
    """Return each package's share of all samples: innermost, and anywhere in the stack."""
    alone, anywhere = _count(stacks, lambda frame: package_of(frame, own))
    return _shares("package", alone, anywhere, stacks.total())


def by_function(stacks: Counter[tuple[str, ...]], own: str) -> Table:
    """Return the functions with the largest shares of their own, and who calls each most often."""
    alone, anywhere = _count(stacks, lambda frame: described(frame, own))
    callers: dict[str, Counter[str]] = {}
    for stack, count in stacks.items():
        caller = described(stack[-2], own) if len(stack) > 1 else ""
        callers.setdefault(described(stack[-1], own), Counter())[caller] += count
    table = _shares("function", Counter(dict(alone.most_common(SHOWN_FUNCTIONS))), anywhere, stacks.total())
    rows = [(*row, callers[row[0]].most_common(1)[0][0]) for row in table.rows]
    return Table((*table.headings, "called by"), rows)


def by_layer(stacks: Counter[tuple[str, ...]], own: str) -> Table:
    """Return the functions below which most of the time goes: what a layer of the server costs."""
    alone, anywhere = _count(stacks, lambda frame: described(frame, own))
    total = stacks.total()
    rows = [
        (name, f"{count / total:.1%}", f"{alone[name] / total:.1%}")
        for name, count in anywhere.most_common()
        if count / total >= LEAST_LAYER
    ]
    return Table(("layer", "inclusive", "self"), rows)


def described(frame: str, own: str) -> str:
    """Return a frame's function and package."""
    match = FRAME.match(frame)
    return f"`{match['function'] if match else frame}` ({package_of(frame, own)})"


def _count(stacks: Counter[tuple[str, ...]], key: Callable[[str], str]) -> tuple[Counter[str], Counter[str]]:
    """Count samples by a frame's key: of innermost frames, and of all, once a stack."""
    alone: Counter[str] = Counter()
    anywhere: Counter[str] = Counter()
    for stack, count in stacks.items():
        keys = [key(frame) for frame in stack]
        alone[keys[-1]] += count
        for name in set(keys):
            anywhere[name] += count
    return alone, anywhere


def _shares(what: str, alone: Counter[str], anywhere: Counter[str], total: int) -> Table:
    rows = [
        (name, f"{count / total:.1%}", f"{anywhere[name] / total:.1%}")
        for name, count in alone.most_common()
        if count / total >= LEAST_SHARE
    ]
    return Table((what, "self", "inclusive"), rows)
