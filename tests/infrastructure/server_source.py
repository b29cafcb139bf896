"""What the server's own source says, read without importing it: the promises compare templates with that."""

import ast
import operator
from functools import cache
from pathlib import Path

from tests.infrastructure.cloudformation import PROJECT

SOURCES = PROJECT / "src"
_OPERATIONS = {ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul}

Constant = int | float | str


def constant(module: str, name: str) -> Constant:
    """Return a constant of a module, such as `PING_SECONDS` of `answers`; KeyError where there is none."""
    return _constants(_path(module))[name]


def default(variable: str) -> Constant:
    """Return what `Settings` takes for a variable that isn't set; KeyError where it knows no such one."""
    return _defaults(_path("settings"))[variable]


def _path(module: str) -> Path:
    (path,) = SOURCES.glob(f"*/{module}.py")
    return path


@cache
def _constants(path: Path) -> dict[str, Constant]:
    found: dict[str, Constant] = {}
    for statement in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            value = _value(statement.value, found)
            if value is not None:
                found[statement.targets[0].id] = value
    return found


@cache
def _defaults(path: Path) -> dict[str, Constant]:
    found: dict[str, Constant] = {}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or getattr(node.func, "id", "") != "Field" or not node.args:
            continue
        names = [
            child.value
            for keyword in node.keywords
            if keyword.arg == "validation_alias"
            for child in ast.walk(keyword.value)
            if isinstance(child, ast.Constant)
        ]
        value = _value(node.args[0], _constants(path))
        found |= {str(name): value for name in names if value is not None}
    return found


def _value(node: ast.expr, known: dict[str, Constant]) -> Constant | None:
    """Return what a literal, a name or a sum of them comes to; None for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float | str):
        return node.value
    if isinstance(node, ast.Name):
        return known.get(node.id)
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        left, right = _value(node.left, known), _value(node.right, known)
        if isinstance(left, int | float) and isinstance(right, int | float):
            result: int | float = _OPERATIONS[type(node.op)](left, right)
            return result
    return None
