"""Reading a Dockerfile: instructions, stages and variables.

Source of the grammar: the Dockerfile reference (comments, line continuation, ``ARG`` before ``FROM``,
``${name:-default}`` and ``${name:+value}``). Heredocs are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

INSTRUCTIONS = frozenset(
    {
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "FROM",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    }
)

_VARIABLE = re.compile(r"\\\$|\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_HEREDOC = re.compile(r"<<-?\s*[\"']?\w+[\"']?")


class DockerfileError(Exception):
    """The Dockerfile can't be built; worded as docker words it where docker has such an error."""


@dataclass(frozen=True)
class Instruction:
    """One instruction: its keyword (upper case), its text and the line it starts on."""

    keyword: str
    text: str
    line: int


@dataclass
class Stage:
    """One ``FROM`` and what follows it."""

    base: str
    name: str
    platform: str | None = None
    instructions: list[Instruction] = field(default_factory=list)


@dataclass
class Dockerfile:
    """The stages of a Dockerfile, ``FROM`` lines already expanded, and its global arguments."""

    stages: list[Stage]
    global_arguments: dict[str, str]


def parse(text: str, build_arguments: Mapping[str, str]) -> Dockerfile:
    """Split ``text`` into stages. Raises DockerfileError."""
    global_arguments: dict[str, str] = {}
    stages: list[Stage] = []
    for instruction in _instructions(text):
        if instruction.keyword == "FROM":
            stages.append(_stage(instruction, global_arguments))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif instruction.keyword == "ARG":
            name, value = argument(instruction.text, global_arguments)
            chosen = build_arguments.get(name, value)
            if chosen is not None:
                global_arguments[name] = chosen
        else:
            raise DockerfileError(
                f"dockerfile parse error on line {instruction.line}: no build stage in current context"
            )
    if not stages:
        raise DockerfileError("file with no instructions")
    return Dockerfile(stages, global_arguments)


def _instructions(text: str) -> list[Instruction]:
    found: list[Instruction] = []
    pending, start = "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("#") or (not line.strip() and pending):
            continue
        if not pending:
            start = number
        continued = line.rstrip().endswith("\\")
        pending += line.rstrip().removesuffix("\\") if continued else line
        if continued:
            continue
        statement, pending = pending.strip(), ""
        if statement:
            found.append(_instruction(statement, start))
    if pending.strip():
        found.append(_instruction(pending.strip(), start))
    return found


def _instruction(statement: str, line: int) -> Instruction:
    keyword, _, rest = statement.partition(" ")
    keyword = keyword.upper()
    if keyword not in INSTRUCTIONS:
        raise DockerfileError(f"dockerfile parse error on line {line}: unknown instruction: {keyword}")
    if keyword in {"RUN", "COPY", "ADD"} and _HEREDOC.search(rest):
        raise DockerfileError(
            f"dockerfile line {line}: the local cloud's docker doesn't build here-documents; use && instead."
        )
    return Instruction(keyword, rest.strip(), line)


def _stage(instruction: Instruction, global_arguments: Mapping[str, str]) -> Stage:
    words = expand(instruction.text, global_arguments).split()
    platform = None
    while words and words[0].startswith("--"):
        flag, _, value = words.pop(0).partition("=")
        if flag != "--platform":
            raise DockerfileError(
                f"dockerfile parse error on line {instruction.line}: unknown flag: {flag[2:]}"
            )
        platform = value or None
    if len(words) == 1:
        return Stage(words[0], "", platform)
    if len(words) == 3 and words[1].lower() == "as":
        return Stage(words[0], words[2].lower(), platform)
    raise DockerfileError(
        f"dockerfile parse error on line {instruction.line}: FROM requires either one or three arguments"
    )


def argument(text: str, variables: Mapping[str, str]) -> tuple[str, str | None]:
    """Name and default of an ``ARG``; the default is ``None`` when it has none."""
    name, equals, value = text.partition("=")
    return name.strip(), (unquote(expand(value.strip(), variables)) if equals else None)


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$name``, ``${name}``, ``${name:-word}`` and ``${name:+word}``."""

    def replaced(match: re.Match[str]) -> str:
        if match[0] == "\\$":
            return "$"
        name, operator, word = match[1] or match[2], match[3], match[4] or ""
        value = variables.get(name, "")
        if operator == "-":
            return value or expand(word, variables)
        if operator == "+":
            return expand(word, variables) if value else ""
        return value

    return _VARIABLE.sub(replaced, text)


def unquote(text: str) -> str:
    """Drop one pair of surrounding quotes."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def key_values(text: str, variables: Mapping[str, str]) -> dict[str, str]:
    """Read the pairs of an ``ENV`` or ``LABEL``; the old form ``ENV name value`` too."""
    first = text.split(maxsplit=1)
    if first and "=" not in first[0]:
        return {first[0]: expand(first[1] if len(first) > 1 else "", variables)}
    pairs = {}
    for word in re.findall(r"""(?:[^\s"'\\]|\\.|"(?:[^"\\]|\\.)*"|'[^']*')+""", text):
        name, equals, value = word.partition("=")
        if not equals:
            raise DockerfileError(f"syntax error in {text!r}: {word!r} must be of the form: name=value")
        pairs[unquote(name)] = expand(re.sub(r"\\([\s\"'])", r"\1", unquote(value)), variables)
    return pairs


def command_form(text: str) -> list[str]:
    """Give the argument vector of a ``CMD``, ``ENTRYPOINT`` or ``RUN``: a JSON list, else a shell's line."""
    if text.startswith("["):
        try:
            words = json.loads(text)
        except ValueError:
            words = None
        if isinstance(words, list) and all(isinstance(word, str) for word in words):
            return words
    return ["/bin/sh", "-c", text]
