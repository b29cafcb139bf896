"""Break the handlers in many ways and see the unit tests notice: `make test-mutants`.

A mutant is one module of `custom_resources` with one change: a comparison or condition turned round, a
number or truth value changed, a statement left out, a result that is None. Each runs against the unit tests
of its module, in a process forked from one that has boto3 and pytest loaded; the change is made on the way
from source to bytecode, so no file is touched. Of every module the same mutants are drawn each time; `--all`
runs every one there is, `--seed` draws others. The command fails where fewer than nine in ten are noticed.
"""

from __future__ import annotations

import argparse
import ast
import copy
import importlib.abc
import importlib.util
import os
import random
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import CodeType, ModuleType

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "custom_resources"
TESTS = Path(__file__).parent
SHARE_WANTED = 0.9
FEWEST = 25
PER_MODULE = 6
LONGEST_SECONDS = 40

# The tests of modules that aren't tested by a file of their own name alone.
TESTED_BY = {
    "aws": ("aws", "package", "smoke_test_hook", "tool_call"),
    "certificates": ("edge_certificate", "tags"),
    "edge": ("edge_web_acl", "edge_certificate"),
    "edge_access_log": ("edge_access_log", "tags"),
    "edge_certificate": ("edge_certificate", "tags"),
    "edge_web_acl": ("edge_web_acl", "tags"),
    "expected_call": ("tool_call", "smoke_test_hook", "smoke_test_probe"),
    "helper": ("lifecycle",),
    "issuers": ("tokens", "signing_keys"),
    "listener_rule": ("listener_rule", "tags"),
    "log_deliveries": ("edge_access_log", "tags"),
    "log_groups": ("edge_web_acl", "edge_access_log", "tags"),
    "mcp_probe": ("mcp_probe", "smoke_test_probe", "tool_call"),
    "ownership": ("ownership", "edge_web_acl", "edge_certificate"),
    "properties": ("properties", "tags", "tool_call"),
    "targets": ("gateway_target",),
    "waiting": ("waiting", "gateway_target"),
    "web_acls": ("edge_web_acl", "tags"),
}
# Lines whose change makes no difference a test could see, each with the reason.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("emptied", "return True"): "`poll` ends at whatever isn't None, and nobody looks at what it was",
    ("helper", "self._timer.daemon = True"): "matters to a process that exits, which Lambda's doesn't",
    ("response", "return False"): "only its truth is asked for, which None shares",
    ("targets", "return True"): "`poll` ends at whatever isn't None, and nobody looks at what it was",
    ("lifecycle", 'return ""'): "only its truth is asked for, which None shares",
}

_TURNED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}


@dataclass(frozen=True)
class Mutant:
    """One change of one module: of the node with this number in `ast.walk`'s order."""

    module: str
    number: int
    line: int
    source: str
    change: str

    def __str__(self) -> str:
        return f"custom_resources/{self.module}.py:{self.line}: {self.change}"


def mutants(module: str) -> list[Mutant]:
    """Return every mutant of a module."""
    tree, lines = _parse(module), (PACKAGE / f"{module}.py").read_text().splitlines()
    ignored = {id(inner) for node in ast.walk(tree) if _is_talk(node) for inner in ast.walk(node)}
    found = []
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in ignored:
            continue
        change = _change(copy.deepcopy(node))
        if change is not None:
            line = getattr(node, "lineno", 1)
            shown = f"{_shown(node)} -> {_shown(change)}"
            found.append(Mutant(module, number, line, lines[line - 1].strip(), shown))
    return found


def compiled(mutant: Mutant) -> CodeType:
    """Return the module's bytecode with the change in it."""
    tree = _parse(mutant.module)
    wanted = next(node for number, node in enumerate(ast.walk(tree)) if number == mutant.number)
    changed = _change(copy.deepcopy(wanted))
    assert changed is not None

    class Swap(ast.NodeTransformer):
        def visit(self, node: ast.AST) -> ast.AST | None:
            return changed if node is wanted else self.generic_visit(node)

    Swap().visit(tree)
    code: CodeType = compile(ast.fix_missing_locations(tree), str(PACKAGE / f"{mutant.module}.py"), "exec")
    return code


def _parse(module: str) -> ast.Module:
    return ast.parse((PACKAGE / f"{module}.py").read_text())


def _is_talk(node: ast.AST) -> bool:
    """Whether nothing depends on a node but what is logged, typed or documented."""
    if isinstance(node, ast.Call):
        return ast.unparse(node.func).startswith("logger.") or ast.unparse(node.func).endswith(".doing")
    if isinstance(node, ast.If):
        return ast.unparse(node.test) == "TYPE_CHECKING"
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Constant) or _is_talk(node.value)
    if isinstance(node, ast.Assign):
        return ast.unparse(node.targets[0]) in {"attributes", "failures", "logger"}
    if isinstance(node, ast.Raise):
        # The end of `for pause in intervals()`, which has none.
        return node.exc is not None and ast.unparse(node.exc).startswith("AssertionError")
    return isinstance(node, ast.keyword) and node.arg in {"description", "frozen", "update"}


def _change(node: ast.AST) -> ast.AST | None:
    """Return the node in its changed form, None where there is none; may change the node itself."""
    if isinstance(node, ast.Compare) and type(node.ops[0]) in _TURNED:
        node.ops[0] = _TURNED[type(node.ops[0])]()
    elif isinstance(node, ast.BoolOp):
        node.op = ast.Or() if isinstance(node.op, ast.And) else ast.And()
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return node.operand
    elif isinstance(node, ast.If):
        node.test = ast.UnaryOp(ast.Not(), node.test)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        node.value = not node.value
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        node.value = node.value * 10 + 1
    elif isinstance(node, ast.Return) and node.value is not None and ast.unparse(node.value) != "None":
        node.value = ast.Constant(None)
    elif isinstance(node, ast.Raise) or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)):
        return ast.copy_location(ast.Pass(), node)
    else:
        return None
    return node


def _shown(node: ast.AST) -> str:
    text = ast.unparse(node).partition("\n")[0]
    return text if len(text) <= 70 else f"{text[:70]}…"


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Imports the mutant in the module's place."""

    def __init__(self, mutant: Mutant) -> None:
        self._name = f"custom_resources.{mutant.module}"
        self._code = compiled(mutant)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Know the one module."""
        origin = str(PACKAGE / f"{self._name.partition('.')[2]}.py")
        if fullname != self._name:
            return None
        return importlib.util.spec_from_file_location(fullname, origin, loader=self)

    def exec_module(self, module: ModuleType) -> None:
        """Run the changed code."""
        exec(self._code, module.__dict__)  # noqa: S102 - our own source


def tests_of(module: str) -> list[str]:
    """Return the test files that a module's mutants run against."""
    names = TESTED_BY.get(module, (module,))
    paths = [TESTS / f"test_{name}.py" for name in names]
    missing = [path.name for path in paths if not path.is_file()]
    assert not missing, f"{module} has no {', '.join(missing)}; name its tests in TESTED_BY"
    return [str(path) for path in paths]


Run = tuple[Mutant | None, str]
"""A change, None for none, and the module whose tests run with it."""


def outcomes(runs: Sequence[Run], workers: int) -> Iterator[tuple[Run, bool]]:
    """Yield each run with whether its tests failed, or never ended; `workers` children at a time."""
    waiting, running = list(reversed(runs)), dict[int, tuple[Run, float]]()
    while waiting or running:
        while waiting and len(running) < workers:
            run = waiting.pop()
            running[_start(*run)] = run, time.monotonic() + LONGEST_SECONDS
        time.sleep(0.02)
        for child, (run, deadline) in list(running.items()):
            if time.monotonic() > deadline:
                os.killpg(child, signal.SIGKILL)
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                del running[child]
                yield run, status != 0


def _start(mutant: Mutant | None, module: str) -> int:
    """Run a module's tests in a child of this process; return its id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        # A session of its own, so that what the tests start can be ended with them.
        os.setsid()
        os._exit(_run_tests(mutant, module))
    return child


def _run_tests(mutant: Mutant | None, module: str) -> int:
    import pytest

    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    try:
        if mutant is not None:
            sys.meta_path.insert(0, Finder(mutant))
        options = ["-x", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-p", "no:randomly"]
        return int(pytest.main([*options, *tests_of(module)]))
    except BaseException:
        return 1


def modules() -> list[str]:
    """Return the names of the modules with something to break."""
    return sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem not in {"__init__", "errors"})


def drawn(seed: int, everything: bool) -> list[Mutant]:
    """Return the mutants to run: the same for the same seed."""
    chosen: list[Mutant] = []
    for module in modules():
        every = [mutant for mutant in mutants(module) if (module, mutant.source) not in EQUIVALENT]
        generator = random.Random(f"{seed} {module}")  # noqa: S311 - draws tests
        chosen += every if everything else generator.sample(every, min(PER_MODULE, len(every)))
    return chosen


def _preload() -> None:
    """Load what every child needs, and nothing of the package under test."""
    for name in ("boto3", "botocore.stub", "crhelper", "cryptography.x509", "pytest"):
        importlib.import_module(name)
    assert not [name for name in sys.modules if name.startswith("custom_resources.")]


def main() -> int:
    """Run the mutants; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="run every mutant there is")
    parser.add_argument("--seed", type=int, default=0, help="draw others")
    parser.add_argument("--module", action="append", help="only this module; may be repeated")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    os.chdir(ROOT)
    _preload()
    chosen = [
        one
        for one in drawn(arguments.seed, arguments.all)
        if not arguments.module or one.module in arguments.module
    ]
    unchanged: list[Run] = [(None, module) for module in sorted({one.module for one in chosen})]
    broken = [module for (_, module), failed in outcomes(unchanged, arguments.workers) if failed]
    if broken:
        print(f"These modules' tests fail without a change: {', '.join(broken)}")
        return 2
    unnoticed = 0
    for (mutant, _), noticed in outcomes([(one, one.module) for one in chosen], arguments.workers):
        if not noticed:
            unnoticed += 1
            print(f"not noticed: {mutant}", flush=True)
    killed = len(chosen) - unnoticed
    print(f"mutants noticed: {killed} of {len(chosen)}, in {len({one.module for one in chosen})} modules")
    enough = killed >= SHARE_WANTED * len(chosen) and (len(chosen) >= FEWEST or arguments.module)
    return 0 if enough else 1


if __name__ == "__main__":
    sys.exit(main())
