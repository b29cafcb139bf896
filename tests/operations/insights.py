"""Queries of CloudWatch Logs Insights and patterns of metric filters: fields they name, lines they select.

As much of both languages as the templates use; anything else is a ValueError, so that nothing goes unread.
https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/CWL_QuerySyntax.html
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

Line = dict[str, Any]
Condition = Callable[[Line], bool]

# Fields that CloudWatch Logs adds to a line.
ADDED = frozenset({"@timestamp", "@message", "@logStream"})
FUNCTIONS = frozenset(
    {"avg", "count", "earliest", "ispresent", "latest", "max", "min", "pct", "strcontains", "sum"}
)
_TOKEN = re.compile(
    r"""\s*(?:(?P<text>'[^']*'|"[^"]*")|(?P<number>\d+(?:\.\d+)?)|(?P<name>[A-Za-z_@][\w@.]*)"""
    r"""|(?P<sign>>=|<=|!=|[()\[\],=<>*]))"""
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True)
class Token:
    """A word of a query: kind is text, number, name or sign."""

    kind: str
    value: str


def _tokens(text: str) -> list[Token]:
    found, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ValueError(f"can't be read from {text[position:]!r}")
        kind = str(match.lastgroup)
        found.append(Token(kind, match[kind]))
        position = match.end()
    return found


@dataclass
class _ConditionParser:
    """A condition: comparisons, `in`, `ispresent`, joined by `and`, `or` and parentheses."""

    tokens: list[Token]
    fields: set[str] = field(default_factory=set)
    position: int = 0

    def whole(self) -> Condition:
        condition = self._either()
        if self.position != len(self.tokens):
            raise ValueError(f"can't be read from {self.tokens[self.position].value!r}")
        return condition

    def _peek(self) -> str:
        return self.tokens[self.position].value if self.position < len(self.tokens) else ""

    def _next(self, expected: str = "") -> Token:
        if self.position == len(self.tokens) or (expected and self._peek() != expected):
            raise ValueError(f"expected {expected or 'more'}, found {self._peek()!r}")
        self.position += 1
        return self.tokens[self.position - 1]

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._peek() == "or":
            self._next()
            parts.append(self._both())
        return lambda line: any(part(line) for part in parts)

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._peek() == "and":
            self._next()
            parts.append(self._one())
        return lambda line: all(part(line) for part in parts)

    def _one(self) -> Condition:
        if self._peek() == "(":
            self._next()
            inner = self._either()
            self._next(")")
            return inner
        if self._peek() == "ispresent":
            self._next()
            self._next("(")
            present = self._field()
            self._next(")")
            return lambda line: line.get(present) is not None
        name = self._field()
        sign = self._next().value
        if sign == "in":
            self._next("[")
            values = [self._value()]
            while self._peek() == ",":
                self._next()
                values.append(self._value())
            self._next("]")
            return lambda line: line.get(name) in values
        compare, value = _COMPARISONS[sign], self._value()
        return lambda line: line.get(name) is not None and compare(line[name], value)

    def _field(self) -> str:
        token = self._next()
        if token.kind != "name":
            raise ValueError(f"{token.value!r} is no field")
        self.fields.add(token.value)
        return token.value

    def _value(self) -> Any:
        token = self._next()
        if token.kind == "text":
            return token.value[1:-1]
        if token.kind == "number":
            return float(token.value)
        raise ValueError(f"{token.value!r} is no value")


def pattern(text: str) -> tuple[Condition, set[str]]:
    """Return what a metric filter's JSON pattern selects, and the fields it names."""
    match = re.fullmatch(r"\{(.*)\}", text)
    if match is None:
        raise ValueError(f"{text!r} is no pattern for JSON lines")
    parser = _ConditionParser(
        _tokens(match[1].replace("$.", "").replace("&&", " and ").replace("||", " or "))
    )
    return parser.whole(), parser.fields


def commands(query: str) -> list[tuple[str, str]]:
    """Return the commands of a query as (name, the rest), without a dashboard's SOURCE."""
    parts = [part.strip() for part in re.split(r"\|(?=(?:[^']*'[^']*')*[^']*$)", query)]
    found = [(name, rest.strip()) for name, _, rest in (part.partition(" ") for part in parts)]
    return [(name, rest) for name, rest in found if name != "SOURCE"]


def selected(query: str, lines: Iterable[Line]) -> list[Line]:
    """Return the lines that pass every filter of a query."""
    conditions = [
        _ConditionParser(_tokens(rest)).whole() for name, rest in commands(query) if name == "filter"
    ]
    return [line for line in lines if all(condition(line) for condition in conditions)]


def unknown_fields(query: str, known: set[str]) -> list[str]:
    """Return the names in a query that are neither a field of a line nor a name the query gave.

    After `stats`, what it made and what it grouped by is all there is.
    """
    available = known | ADDED
    unknown: list[str] = []
    for name, rest in commands(query):
        if name == "limit":
            continue
        if name == "filter":
            parser = _ConditionParser(_tokens(rest))
            parser.whole()
            used, made = sorted(parser.fields), set[str]()
        elif name in ("fields", "sort", "stats"):
            used, made = _names(_tokens(rest))
        else:
            raise ValueError(f"{name} is no command known here")
        unknown += [item for item in used if item not in available]
        if name == "stats":
            grouped = re.split(r"\bby\b", rest)[1:]
            available = made | {token.value for part in grouped for token in _tokens(part)}
    return unknown


def _names(tokens: list[Token]) -> tuple[list[str], set[str]]:
    """Return the fields used and the names made by `as` in a list of expressions."""
    used, made = [], set()
    for index, token in enumerate(tokens):
        before = tokens[index - 1].value if index else ""
        after = tokens[index + 1].value if index + 1 < len(tokens) else ""
        if token.kind != "name" or token.value in ("as", "by", "asc", "desc"):
            continue
        if before == "as":
            made.add(token.value)
        elif after == "(":
            if token.value not in FUNCTIONS:
                raise ValueError(f"{token.value} is no function known here")
        else:
            used.append(token.value)
    return used, made
