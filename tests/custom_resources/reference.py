"""The reference pages of the custom resources: `make reference` writes them.

A page has the shape of the pages of CloudFormation's own types. Properties, limits and update behaviour come
from the model that parses them, return values and failure reasons from the resource's class, permissions and
the example from the templates. So a page says what the code does, and a test fails where it no longer does.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from custom_resources.lifecycle import Resource
from custom_resources.properties import Documented, documented
from tests.infrastructure.cloudformation import INFRASTRUCTURE, Template, get_att, load_templates, walk

PAGES = Path(__file__).parents[2] / "custom_resources" / "reference"
NOTE = "<!-- Written by `make reference`. Change the model, the docstrings or the template instead. -->"


@dataclass(frozen=True)
class CustomResource:
    """A `Custom::…` type, as the first template that has one uses it."""

    type_name: str
    resource: type[Resource[Any]]
    template: str
    logical_id: str
    statements: tuple[dict[str, Any], ...]
    """The statements of the policies of the function's role."""


def custom_resources() -> list[CustomResource]:
    """Return every type that the templates use, sorted by name."""
    found: dict[str, CustomResource] = {}
    for stem, template in load_templates().items():
        for logical_id, resource in template["Resources"].items():
            kind = resource["Type"]
            if kind.startswith("Custom::") and kind not in found:
                function = template["Resources"][_owner(resource["Properties"]["ServiceToken"])]["Properties"]
                found[kind] = CustomResource(
                    type_name=kind,
                    resource=resource_class(function["Handler"].rpartition(".")[0]),
                    template=stem,
                    logical_id=logical_id,
                    statements=tuple(statements(template, _owner(function["Role"]))),
                )
    return [found[kind] for kind in sorted(found)]


def resource_class(module_name: str) -> type[Resource[Any]]:
    """Return the one resource class that a handler's module defines."""
    module = importlib.import_module(module_name)
    (found,) = [
        value
        for _, value in inspect.getmembers(module, inspect.isclass)
        if issubclass(value, Resource) and value.__module__ == module_name and not inspect.isabstract(value)
    ]
    return found


def statements(template: Template, role: str) -> Iterator[dict[str, Any]]:
    """Yield the Allow statements of a role's inline policies, those under a condition too."""
    for _, node in walk(template["Resources"][role]["Properties"].get("Policies", [])):
        if isinstance(node, dict) and node.get("Effect") == "Allow":
            yield node


def page(custom: CustomResource) -> str:
    """Return the Markdown of a type's page."""
    summary, _, rest = _prose(custom.resource).partition("\n\n")
    parts = [
        f"# {custom.type_name}\n{NOTE}",
        summary,
        rest,
        "## Syntax",
        _syntax(custom),
        "## Properties",
        *_properties(custom.resource.model),
        "## Return values",
        f"### Ref\n\n{_prose(custom.resource.identify).removeprefix('Return ')}",
        *_attributes(custom),
        "## Create, update and delete",
        *(_behaviour(custom.resource, name) for name in ("create", "update", "delete")),
        "## Permissions",
        "The function's role allows these actions:",
        _permissions(custom),
        *_failures(custom),
        "## Example",
        f"From `infrastructure/{custom.template}.yaml`:",
        _example(custom),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _syntax(custom: CustomResource) -> str:
    lines = [
        f"Type: {custom.type_name}",
        "Properties:",
        "  ServiceToken: String",
        "  ServiceTimeout: Integer",
    ]
    for item in documented(custom.resource.model):
        listed = item.kind.type_name.startswith("List of ")
        inner = item.kind.type_name.removeprefix("List of ").partition(",")[0]
        lines += [f"  {item.name}:", f"    - {inner}"] if listed else [f"  {item.name}: {inner}"]
    return "```yaml\n" + "\n".join(lines) + "\n```"


def _properties(model: type[Any]) -> Iterator[str]:
    nested = []
    for item in documented(model):
        yield f"`{item.name}`\n\n{item.kind.description}\n\n" + "\n".join(_facts(item))
        if item.kind.model is not None:
            nested.append(item.kind.model)
    for inner in nested:
        yield f"### {inner.__name__}"
        yield from _properties(inner)


def _facts(item: Documented) -> Iterator[str]:
    yield f"- *Required*: {'Yes' if item.default is None else 'No'}"
    yield f"- *Type*: {item.kind.type_name}"
    if item.kind.expected and "Allowed values" not in item.kind.limits:
        yield f"- *Expected*: {item.kind.expected}"
    for name, value in item.kind.limits.items():
        yield f"- *{name}*: `{value}`"
    if item.default:
        yield f"- *Default*: `{item.default}`"
    yield f"- *Update requires*: {item.kind.update.value}"


def _attributes(custom: CustomResource) -> Iterator[str]:
    yield "### Fn::GetAtt"
    if not custom.resource.attributes:
        yield "No attributes."
    for name, meaning in custom.resource.attributes.items():
        yield f"`{name}`\n\n{meaning}"


def _behaviour(resource: type[Resource[Any]], name: str) -> str:
    return f"*{name.capitalize()}*: {_prose(getattr(resource, name))}"


def _permissions(custom: CustomResource) -> str:
    lines = ["| action | on |", "|---|---|"]
    for statement in custom.statements:
        actions = statement["Action"] if isinstance(statement["Action"], list) else [statement["Action"]]
        for action in actions:
            lines.append(
                f"| `{action}` | {' or '.join(f'`{text}`' for text in in_words(statement['Resource']))} |"
            )
    return "\n".join(lines)


def _failures(custom: CustomResource) -> Iterator[str]:
    if not custom.resource.failures:
        return
    yield "## Failure reasons"
    rows = [f"| {reason} | {remedy} |" for reason, remedy in custom.resource.failures.items()]
    yield "\n".join(["| the reason says | do |", "|---|---|", *rows])


def _example(custom: CustomResource) -> str:
    text = (INFRASTRUCTURE / f"{custom.template}.yaml").read_text()
    found = re.search(rf"^  {custom.logical_id}:\n(?:(?:    .*)?\n)+", text, re.MULTILINE)
    assert found is not None, f"{custom.logical_id} isn't found in {custom.template}.yaml"
    return f"```yaml\n{textwrap.dedent(found.group()).rstrip()}\n```"


def in_words(node: Any) -> list[str]:
    """Return a policy's resources as text: intrinsic functions as `${…}`, both sides of a condition."""
    if isinstance(node, str):
        return [node]
    if isinstance(node, list):
        return [text for item in node for text in in_words(item)]
    ((function, argument),) = node.items()
    if function == "Ref":
        return [] if argument == "AWS::NoValue" else [f"${{{argument}}}"]
    if function == "Fn::Sub":
        return [argument if isinstance(argument, str) else argument[0]]
    if function == "Fn::If":
        return in_words(argument[1:])
    name = get_att(node)
    assert name is not None, f"{function} in a policy isn't known here"
    return [f"${{{name}}}"]


def _owner(node: Any) -> str:
    return str(get_att(node)).partition(".")[0]


def _prose(documented_object: Any) -> str:
    """Return a docstring with each paragraph on lines as they are written."""
    text = inspect.getdoc(documented_object)
    assert text, f"{documented_object} has no docstring"
    return text


def pages() -> dict[str, str]:
    """Return every page by its file's name."""
    return {f"{custom.resource.__name__}.md": page(custom) for custom in custom_resources()}


def main() -> None:
    """Write all pages, and remove those of types that are no more."""
    PAGES.mkdir(exist_ok=True)
    wanted = pages()
    for path in PAGES.glob("*.md"):
        if path.name not in wanted:
            path.unlink()
    for name, text in wanted.items():
        (PAGES / name).write_text(text)


if __name__ == "__main__":
    main()
